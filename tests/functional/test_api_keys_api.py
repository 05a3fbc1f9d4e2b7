"""API keys over the API: one key makes, lists and revokes others, within what it may do itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.api_key import SCOPES, parse_key
from erasure.domain.times import format_time
from tests.functional.backend_calls import BackendApi, Reply, body_of, header_of
from tests.functional.backend_world import OTHER_TENANT
from tests.functional.native_calls import PATH, check_problem, check_rule

KEYS = "/v1/api-keys"


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def create(api: BackendApi, *, key: str | None = None, repeat: str | None = None, **fields: Any) -> Reply:
    """``repeat``: an idempotency key."""
    headers = {} if repeat is None else {"Idempotency-Key": repeat}
    return api.call("POST", KEYS, {"scopes": ["erasure:read"], **fields}, key=key, headers=headers)


def key_id_of(text: str) -> str:
    parsed = parse_key(text)
    assert parsed is not None
    return parsed.key_id


def listed(api: BackendApi, **more: Any) -> list[dict[str, Any]]:
    reply = api.call("GET", KEYS, **more)
    assert reply["statusCode"] == 200
    keys: list[dict[str, Any]] = body_of(reply)["keys"]
    return keys


class TestCreate:
    def test_a_key_that_works(self, api: BackendApi) -> None:
        """201 with its text, and it may do exactly what it was made for."""
        valid_until = format_time(api.world.clock() + timedelta(days=1))
        reply = create(api, name="nightly", valid_until=valid_until, calls_per_minute=7)
        body = body_of(reply)
        text = body.pop("key")
        assert reply["statusCode"] == 201
        assert body == {
            "key_id": key_id_of(text),
            "mode": "live",
            "scopes": ["erasure:read"],
            "name": "nightly",
            "created_at": format_time(api.world.clock()),
            "valid_until": valid_until,
            "calls_per_minute": 7,
        }
        reading = api.call("GET", PATH, key=text)
        assert (reading["statusCode"], header_of(reading, "X-RateLimit-Limit")) == (200, "7")
        check_problem(api.call("GET", KEYS, key=text), 403, "insufficient_permissions")

    def test_its_secret_is_kept_nowhere(self, api: BackendApi) -> None:
        """Neither in the record nor in the list nor in the log."""
        text = body_of(create(api))["key"]
        secret = text.split("_", 3)[3]
        assert secret not in repr(api.keys.keys) + repr(listed(api)) + api.log.getvalue()

    def test_scopes_that_its_maker_does_not_have(self, api: BackendApi) -> None:
        """403, whichever others it asks for as well; no key is made."""
        maker = api.make_key(scopes=["keys:write", "erasure:read"])
        before = dict(api.keys.keys)
        for scopes in (["map:write"], ["erasure:read", "users:write"], list(SCOPES)):
            check_problem(create(api, key=maker, scopes=scopes), 403, "insufficient_permissions")
        assert api.keys.keys.keys() == before.keys()
        assert create(api, key=maker, scopes=["erasure:read", "keys:write"])["statusCode"] == 201

    def test_a_key_is_its_makers_tenants(self, api: BackendApi) -> None:
        """A platform key makes keys for the tenant that the call names, and none of the platform's."""
        platform = api.make_key("*")
        body = {"scopes": ["erasure:read"]}
        made = body_of(api.call("POST", KEYS, body, key=platform, headers={"X-Tenant-ID": OTHER_TENANT}))
        assert api.keys.keys[made["key_id"]].tenant_id == OTHER_TENANT
        refused = api.call("POST", KEYS, body, key=platform, headers={"X-Tenant-ID": "*"})
        check_rule(refused, "X-Tenant-ID", "must name a tenant")

    @pytest.mark.parametrize(
        ("fields", "field", "rule"),
        [
            ({"scopes": None}, "scopes", "must be a list"),
            ({"scopes": "erasure:read"}, "scopes", "must be a list"),
            ({"scopes": []}, "scopes", "must list at least one"),
            ({"scopes": [1]}, "scopes", "must be a list"),
            ({"scopes": ["everything"]}, "scopes", "may only list"),
            ({"name": 1}, "name", "must be text"),
            ({"name": "n" * 101}, "name", "must have 100"),
            ({"name": "a\nb"}, "name", "must not hold control"),
            ({"name": "\ud800"}, "name", "must not hold control"),
            ({"valid_until": 1}, "valid_until", "must be a time"),
            ({"valid_until": "2030-01-01T00:00:00"}, "valid_until", "must be a time"),
            ({"valid_until": "2026-03-01T12:00:00Z"}, "valid_until", "must be in the future"),
            ({"valid_until": "9999-12-31T23:59:59-23:59"}, "valid_until", "must be a time"),
            ({"calls_per_minute": 0}, "calls_per_minute", "must be a whole number"),
            ({"calls_per_minute": 60_001}, "calls_per_minute", "must be a whole number"),
            ({"calls_per_minute": True}, "calls_per_minute", "must be a whole number"),
            ({"calls_per_minute": 1.5}, "calls_per_minute", "must be a whole number"),
            ({"tenant_id": OTHER_TENANT}, "body", "may only have the fields"),
        ],
    )
    @pytest.mark.parametrize("repeat", [None, "k"])
    def test_every_field_has_a_rule(
        self, api: BackendApi, fields: dict[str, Any], field: str, rule: str, repeat: str | None
    ) -> None:
        """400 with its name, with an idempotency key and without; no key is made."""
        before = len(api.keys.keys)
        check_rule(create(api, repeat=repeat, **fields), field, rule)
        assert len(api.keys.keys) == before


class TestRepetition:
    def test_the_same_key_again(self, api: BackendApi) -> None:
        """A lost answer is told once more, text included, although that is kept nowhere."""
        first = create(api, repeat="k")
        api.world.clock.advance(60)
        again = create(api, repeat="k")
        assert (again["statusCode"], again["body"]) == (201, first["body"])
        assert create(api, repeat="other")["body"] != first["body"]
        assert api.call("GET", PATH, key=body_of(again)["key"])["statusCode"] == 200

    def test_another_body(self, api: BackendApi) -> None:
        """409, and no key is made."""
        create(api, repeat="k")
        before = len(api.keys.keys)
        check_problem(create(api, repeat="k", name="another"), 409, "conflict")
        assert len(api.keys.keys) == before

    def test_nobody_elses_key(self, api: BackendApi) -> None:
        """Who repeats another key's call does not get to see what that one made, which may do more."""
        made = body_of(create(api, repeat="k", scopes=["users:write"]))["key"]
        weaker = api.make_key(scopes=["keys:write"])
        reply = create(api, repeat="k", scopes=["users:write"], key=weaker)
        check_problem(reply, 409, "conflict")
        assert made not in reply["body"]


class TestList:
    def test_all_of_the_tenant(self, api: BackendApi) -> None:
        """Oldest first, revoked and expired ones too, with the day of the last use; no other tenant's."""
        api.make_key(OTHER_TENANT)
        api.world.clock.advance(1)
        text = body_of(create(api, name="second"))["key"]
        api.call("GET", PATH, key=text)
        api.call("DELETE", f"{KEYS}/{key_id_of(text)}")
        own, second = listed(api)
        assert own["key_id"] == key_id_of(api.key)
        assert second == {
            "key_id": key_id_of(text),
            "mode": "live",
            "scopes": ["erasure:read"],
            "name": "second",
            "created_at": format_time(api.world.clock()),
            "revoked_at": format_time(api.world.clock()),
            "last_used_on": "2026-03-01",
        }


class TestRevoke:
    def test_it_stops_working_within_seconds(self, api: BackendApi) -> None:
        """204, also twice; a worker that has just believed the key does so for five seconds more."""
        text = body_of(create(api))["key"]
        assert api.call("GET", PATH, key=text)["statusCode"] == 200
        for _ in range(2):
            reply = api.call("DELETE", f"{KEYS}/{key_id_of(text)}")
            assert (reply["statusCode"], reply["body"]) == (204, "")
        api.world.sleep(5)
        check_problem(api.call("GET", PATH, key=text), 401, "invalid_api_key")

    def test_nobody_elses(self, api: BackendApi) -> None:
        """Another tenant's key, a platform key, an unknown and a malformed id: the same 404; they go on working."""
        others, platform = api.make_key(OTHER_TENANT), api.make_key("*")
        ids = [key_id_of(others), key_id_of(platform), "a" * 16, "x", "%2A"]
        replies = [api.call("DELETE", f"{KEYS}/{key_id}") for key_id in ids]
        for reply in replies:
            check_problem(reply, 404, "resource_not_found")
        assert len({reply["body"] for reply in replies}) == 1
        assert api.call("GET", PATH, key=others)["statusCode"] == 200

    def test_an_expired_key(self, api: BackendApi) -> None:
        """From its end on it is told the same as an unknown one."""
        valid_until = api.world.clock() + timedelta(seconds=1)
        text = body_of(create(api, valid_until=format_time(valid_until)))["key"]
        assert api.call("GET", PATH, key=text)["statusCode"] == 200
        api.world.clock.advance(1)
        check_problem(api.call("GET", PATH, key=text), 401, "invalid_api_key")


class TestScope:
    @pytest.mark.parametrize(("method", "path"), [("POST", KEYS), ("GET", KEYS), ("DELETE", f"{KEYS}/{'a' * 16}")])
    def test_only_with_the_scope_for_it(self, api: BackendApi, method: str, path: str) -> None:
        """Every other scope together is not enough."""
        key = api.make_key(scopes=set(SCOPES) - {"keys:write"})
        check_problem(api.call(method, path, {"scopes": ["erasure:read"]}, key=key), 403, "insufficient_permissions")
