"""The HelloJohn family over the API: the calls of its documentation, every status in its envelope, and what is kept."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.targets.protocol import SliceResult
from tests.functional.backend_calls import BackendApi, Reply, body_of, header_of
from tests.functional.backend_world import OTHER_TENANT, TENANT, USER, BackendWorld, a_map

DENIED = SliceResult(0, done=False, problem="access_denied", permanent=True)


@pytest.fixture
def api() -> BackendApi:
    api = BackendApi()
    api.world.put_user()
    return api


def check_error(reply: Reply, status: int, code: str, message: str | None = None) -> dict[str, Any]:
    """The flat envelope, the same in every refusal; returns the body."""
    body: dict[str, Any] = body_of(reply)
    assert (reply["statusCode"], body["error"]) == (status, code)
    assert body["request_id"] == header_of(reply, "X-Request-Id")
    assert isinstance(body["message"], str)
    assert body["message"]
    if message is not None:
        assert body["message"] == message
    assert USER not in reply["body"]
    assert set(body) == {"error", "message", "request_id"} | ({"retry_after"} if status == 429 else set())
    return body


def is_gone(api: BackendApi, user_id: str = USER) -> bool:
    reply = api.user("GET", user_id)
    if reply["statusCode"] == 404:
        check_error(reply, 404, "resource_not_found", "User not found.")
    return bool(reply["statusCode"] == 404)


class TestDelete:
    def test_the_documented_call(self, api: BackendApi) -> None:
        """``DELETE /v1/users/{id}`` with key and tenant: 204 without a body, the request's id in a header, and from
        then on the documented 404."""
        reply = api.user("DELETE", headers={"X-Tenant-ID": TENANT})
        assert (reply["statusCode"], reply["body"]) == (204, "")
        assert header_of(reply, "X-Erasure-Request-Id") == api.world.only_request().request_id
        check_error(api.user("GET"), 404, "resource_not_found", "User not found.")

    def test_the_second_time_is_not_found(self, api: BackendApi) -> None:
        """A user is deleted once."""
        assert api.user("DELETE")["statusCode"] == 204
        check_error(api.user("DELETE"), 404, "resource_not_found", "User not found.")

    def test_a_failed_eraser_is_a_500_and_the_user_stays_gone(self, api: BackendApi) -> None:
        """While sessions are left there is no 204: the answer says that it goes on, names the request; GET is 404."""
        api.world.target.always["sessions"] = DENIED
        reply = api.user("DELETE")
        body = check_error(reply, 500, "internal_error")
        assert "goes on by itself; calling again is safe" in body["message"]
        assert header_of(reply, "X-Erasure-Request-Id") == api.world.only_request().request_id
        assert header_of(reply, "Retry-After")
        assert is_gone(api)

    def test_repeated_after_a_failure_it_succeeds_with_the_same_request(self, api: BackendApi) -> None:
        """When the workers answer again, the repeated call brings the first one's request to its promise."""
        answers = dict(api.world.functions.answers)
        del api.world.functions.answers["erase_dynamodb"]
        first = api.user("DELETE")
        assert first["statusCode"] == 500
        api.world.functions.answers.update(answers)
        again = api.user("DELETE")
        assert again["statusCode"] == 204
        assert header_of(again, "X-Erasure-Request-Id") == header_of(first, "X-Erasure-Request-Id")
        assert len(api.world.requests.records) == 1

    def test_what_is_deleted_and_what_is_kept(self, api: BackendApi) -> None:
        """Account, sessions, MFA factors, memberships and content go; audit events stay."""
        api.user("DELETE")
        api.world.run_batch()
        assert api.world.left(api.world.only_request().subject) == {"audit-events"}

    def test_equal_ids_of_two_tenants_are_two_users(self, api: BackendApi) -> None:
        """One tenant's deletion leaves the other tenant's user of the same id untouched."""
        other = api.world.put_user(tenant_id=OTHER_TENANT)
        before = api.world.left(other)
        assert api.user("DELETE")["statusCode"] == 204
        api.world.run_batch()
        assert api.world.left(other) == before
        others_key = api.make_key(OTHER_TENANT)
        assert api.user("GET", key=others_key)["statusCode"] == 200

    def test_a_user_of_another_tenant_is_one_who_does_not_exist(self, api: BackendApi) -> None:
        """Both are the same 404."""
        api.world.put_user("theirs", OTHER_TENANT)
        theirs, nobodys = api.user("DELETE", "theirs"), api.user("DELETE", "nobodys")
        for reply in (theirs, nobodys):
            check_error(reply, 404, "resource_not_found", "User not found.")
        assert api.world.requests.records == {}

    @pytest.mark.parametrize(
        "user_id", ["u" * 256, "a/b", "%2F", "..", "*", "ann+b@example.com", "Зоя", "a b", "{user_id}", "a?b#c"]
    )
    def test_ids_are_taken_as_they_are(self, user_id: str) -> None:
        """Whatever an id looks like, exactly its owner is deleted, and nobody whose id begins like it."""
        targets = [
            {
                "name": "accounts",
                "category": "account",
                "dynamodb": {"table": "app-accounts", "key": {"pk": "{tenant_id}", "sk": "{user_id}"}},
            }
        ]
        api = BackendApi(BackendWorld(a_map(targets)))
        neighbours = [api.world.put_user(f"{user_id}x"[-256:]), api.world.put_user("x"), api.world.put_user("a")]
        owner = api.world.put_user(user_id)
        assert body_of(api.user("GET", user_id))["id"] == user_id
        assert api.user("DELETE", user_id)["statusCode"] == 204
        assert api.world.left(owner) == set()
        assert all(api.world.left(neighbour) for neighbour in neighbours)

    @pytest.mark.parametrize("user_id", ["u" * 257, " ", "a\nb", "\x7f"])
    def test_ids_that_break_the_rule_are_422(self, api: BackendApi, user_id: str) -> None:
        """257 characters, a blank and control characters are no ids."""
        body = check_error(api.user("DELETE", user_id), 422, "validation_error")
        assert body["message"].startswith("user_id: ")

    def test_an_id_that_cannot_be_named_safely_is_422(self, api: BackendApi) -> None:
        """An id that would reach into another person's files refuses the call before anything is written."""
        api.world.put_user("a")
        spec = api.world.maps.maps[-1].targets[0]
        api.world.target.put(spec, {"tenant_id": TENANT, "user_id": "a/b"}, 1)
        body = check_error(api.user("DELETE", "a/b"), 422, "validation_error")
        assert body["message"].startswith("user_id: ")
        assert api.world.requests.records == {}

    def test_an_idempotency_key_gives_the_first_answer(self, api: BackendApi) -> None:
        """With the same key the 204 comes again; for another user the key is a 422."""
        headers = {"Idempotency-Key": "k-1"}
        first, again = api.user("DELETE", headers=headers), api.user("DELETE", headers=headers)
        assert [first["statusCode"], again["statusCode"]] == [204, 204]
        assert header_of(first, "X-Erasure-Request-Id") == header_of(again, "X-Erasure-Request-Id")
        check_error(api.user("DELETE", "another", headers=headers), 422, "validation_error")

    def test_what_is_accepted_is_pseudonymous_in_the_audit_trail(self, api: BackendApi) -> None:
        """No entry of the trail holds the user's id."""
        request_id = str(header_of(api.user("DELETE"), "X-Erasure-Request-Id"))
        details = [dict(entry.details) for entry in api.world.audit.entries(request_id)]
        assert details
        assert USER not in json.dumps(details)


class TestDisable:
    def test_the_documented_call(self, api: BackendApi) -> None:
        """``{"revoke_sessions": true}`` disables the user; the sessions are gone with the answer, all else stays."""
        reply = api.user("POST", action="/disable", body={"revoke_sessions": True})
        assert reply["statusCode"] == 200
        at = format_time(api.world.clock())
        assert body_of(reply) == {"status": "disabled", "disabled_at": at}
        assert body_of(api.user("GET")) == {"id": USER, "status": "disabled", "disabled_at": at}
        assert "sessions" not in api.world.left(api.world.only_request().subject)

    def test_a_deletion_after_days_and_its_undoing(self, api: BackendApi) -> None:
        """``delete_after_days`` says when; enabling takes it back."""
        reply = api.user("POST", action="/disable", body={"revoke_sessions": False, "delete_after_days": 30})
        assert header_of(reply, "X-Erasure-Request-Id") == api.world.only_request().request_id
        assert body_of(reply)["delete_at"] == format_time(api.world.clock() + timedelta(days=30))
        assert body_of(api.user("GET"))["delete_at"] == body_of(reply)["delete_at"]
        reply = api.user("POST", action="/enable")
        assert (reply["statusCode"], body_of(reply)) == (200, {"status": "active"})
        assert body_of(api.user("GET")) == {"id": USER, "status": "active"}
        assert api.world.requests.waiting == {}

    def test_the_user_is_gone_when_the_time_has_come(self, api: BackendApi) -> None:
        """What waited is released by the sweep: GET answers 404 and everything is erased."""
        api.user("POST", action="/disable", body={"delete_after_days": 1})
        api.world.clock.advance(86_400)
        request = api.world.only_request()
        assert api.world.requests.due(api.world.clock(), 10) == [request.request_id]
        api.world.queue.send([request.request_id], 1)
        api.world.requests.release(request, api.world.clock())
        assert is_gone(api)
        api.world.run_batch()
        assert api.world.left(request.subject) == {"audit-events"}

    def test_a_deletion_that_has_begun_is_a_409(self, api: BackendApi) -> None:
        """Enabling comes too late when the deletion is under way."""
        api.user("POST", action="/disable", body={"delete_after_days": 1})
        api.world.clock.advance(86_400)
        api.world.requests.start(api.world.only_request(), api.world.clock(), 1, f"jb_{'0' * 40}-1", 1)
        check_error(api.user("POST", action="/enable"), 409, "conflict")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"revoke_sessions": "yes"}, "revoke_sessions"),
            ({"revoke_sessions": None}, "revoke_sessions"),
            ({"delete_after_days": 0}, "delete_after_days"),
            ({"delete_after_days": -1}, "delete_after_days"),
            ({"delete_after_days": 3651}, "delete_after_days"),
            ({"delete_after_days": 1.5}, "delete_after_days"),
            ({"delete_after_days": True}, "delete_after_days"),
            ({"delete_after_days": "30"}, "delete_after_days"),
        ],
    )
    def test_wrong_values_are_422_and_change_nothing(self, api: BackendApi, body: object, field: str) -> None:
        """The message names the field and the rule."""
        answer = check_error(api.user("POST", action="/disable", body=body), 422, "validation_error")
        assert answer["message"].startswith(f"{field}: must ")
        assert body_of(api.user("GET"))["status"] == "active"

    @pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "NaN"])
    def test_what_is_no_json_object_is_400(self, api: BackendApi, text: str) -> None:
        """The body itself is wrong, not a value in it."""
        check_error(api.user("POST", action="/disable", body=text), 400, "invalid_request")

    def test_nobody_can_be_disabled_who_is_not_there(self, api: BackendApi) -> None:
        """404 for users that do not exist."""
        for action in ("/disable", "/enable"):
            reply = api.user("POST", "nobody", action, {"revoke_sessions": True})
            check_error(reply, 404, "resource_not_found", "User not found.")


class TestBulkDelete:
    def bulk(self, api: BackendApi, user_ids: object, **more: Any) -> Reply:
        return api.call("POST", "/v1/users/bulk-delete", {"user_ids": user_ids}, **more)

    def test_the_documented_ids(self, api: BackendApi) -> None:
        """Both users of the documentation's example are accepted, gone for the outside at once and erased by the
        batch; each different id has one disposition."""
        second = "usr_01HABCDEF789012"
        api.world.put_user(second)
        reply = self.bulk(api, [USER, second, USER])
        assert reply["statusCode"] == 202
        body = body_of(reply)
        assert header_of(reply, "X-Erasure-Request-Id") == body["batch_id"]
        assert [(result["user_id"], result["status"]) for result in body["results"]] == [
            (USER, "accepted"),
            (second, "accepted"),
        ]
        assert {result["request_id"] for result in body["results"]} == set(api.world.requests.records)
        assert is_gone(api)
        assert is_gone(api, second)
        api.world.run_batch()
        assert {request.state for request in api.world.requests.records.values()} == {"finished"}

    def test_each_id_has_its_own_disposition(self, api: BackendApi) -> None:
        """Who is deleted already is not found, an id that cannot be named safely is refused, the rest is accepted."""
        api.user("DELETE")
        api.world.put_user("ben")
        results = body_of(self.bulk(api, [USER, "a/b", "ben"]))["results"]
        assert results[0] == {"user_id": USER, "status": "not_found"}
        assert results[1] == {"user_id": "a/b", "status": "refused", "reason": "ambiguous_identifier"}
        assert results[2]["status"] == "accepted"

    def test_a_thousand_are_accepted_in_one_batch(self, api: BackendApi) -> None:
        """1,000 ids make 1,000 requests and one message."""
        ids = [f"user-{number}" for number in range(1000)]
        results = body_of(self.bulk(api, ids))["results"]
        assert [result["user_id"] for result in results] == ids
        assert {result["status"] for result in results} == {"accepted"}
        ((sent, attempt),) = api.world.queue.messages
        assert (len(set(sent)), attempt) == (1000, 1)

    def test_one_more_is_refused_whole(self, api: BackendApi) -> None:
        """1,001 ids: 400 with the limit, and nothing is written."""
        reply = self.bulk(api, [f"user-{number}" for number in range(1001)])
        body = check_error(reply, 400, "invalid_request")
        assert body["message"] == "user_ids: must not name more than 1000 different ones"
        assert api.world.requests.records == {}

    def test_duplicates_do_not_count_towards_the_limit(self, api: BackendApi) -> None:
        """1,000 different ids, one of them twice, are 1,000."""
        ids = [f"user-{number}" for number in range(1000)]
        assert len(body_of(self.bulk(api, [*ids, ids[0]]))["results"]) == 1000

    @pytest.mark.parametrize(
        ("user_ids", "message"),
        [
            (None, "user_ids: must be a list of texts"),
            (USER, "user_ids: must be a list of texts"),
            ({}, "user_ids: must be a list of texts"),
            ([], "user_ids: must not be empty"),
            (["ann", 3], "user_ids[1]: must be text"),
            (["ann", ""], "user_ids[1]: must have 1 to 256 characters"),
            (["u" * 257], "user_ids[0]: must have 1 to 256 characters"),
        ],
    )
    def test_wrong_values_are_422(self, api: BackendApi, user_ids: object, message: str) -> None:
        """The message names the place in the list."""
        check_error(self.bulk(api, user_ids), 422, "validation_error", message)
        assert api.world.requests.records == {}

    def test_the_longest_ids_fit(self, api: BackendApi) -> None:
        """1,000 ids of 256 characters outside of ASCII, written as JSON escapes, are not too much."""
        ids = [f"{number:04}" + "\U0001f600" * 252 for number in range(1000)]
        text = json.dumps({"user_ids": ids})
        assert api.call("POST", "/v1/users/bulk-delete", text)["statusCode"] == 202

    def test_a_key_gives_the_first_answer(self, api: BackendApi) -> None:
        """The repeated call is answered alike; another body under its key is a 422."""
        headers = {"Idempotency-Key": "k-1"}
        first, again = (self.bulk(api, [USER, "ben"], headers=headers) for _ in range(2))
        assert first["body"] == again["body"]
        assert len(api.world.requests.records) == 2
        check_error(self.bulk(api, ["ben"], headers=headers), 422, "validation_error")


class TestRefusals:
    def test_without_a_key(self, api: BackendApi) -> None:
        """No key: 401 missing_token."""
        check_error(api.user("GET", key=""), 401, "missing_token")

    def test_with_a_wrong_key(self, api: BackendApi) -> None:
        """Unknown keys: 401 invalid_api_key."""
        check_error(api.user("GET", key="sk_live_abc123"), 401, "invalid_api_key")
        api.keys.keys.clear()
        check_error(api.user("GET"), 401, "invalid_api_key")

    def test_with_a_key_that_may_not(self, api: BackendApi) -> None:
        """A key that may only read cannot delete: 403 insufficient_permissions."""
        reader = api.make_key(scopes=["users:read"])
        assert api.user("GET", key=reader)["statusCode"] == 200
        for reply in (
            api.user("DELETE", key=reader),
            api.user("POST", action="/disable", body={"revoke_sessions": True}, key=reader),
            api.user("POST", action="/enable", key=reader),
            api.call("POST", "/v1/users/bulk-delete", {"user_ids": [USER]}, key=reader),
        ):
            check_error(reply, 403, "insufficient_permissions")
        assert api.world.requests.records == {}

    def test_for_another_tenant(self, api: BackendApi) -> None:
        """``X-Tenant-ID`` that is not the key's: 403 tenant_mismatch, whether such a user exists or not."""
        api.world.put_user(tenant_id=OTHER_TENANT)
        reply = api.user("DELETE", headers={"X-Tenant-ID": OTHER_TENANT})
        check_error(reply, 403, "tenant_mismatch")

    def test_a_platform_key_names_the_tenant(self, api: BackendApi) -> None:
        """Without ``X-Tenant-ID`` a platform key is a 400; with it, it acts for that tenant."""
        platform = api.make_key("*")
        check_error(api.user("GET", key=platform), 400, "invalid_request")
        assert api.user("GET", key=platform, headers={"X-Tenant-ID": TENANT})["statusCode"] == 200
        assert api.user("GET", key=platform, headers={"X-Tenant-ID": OTHER_TENANT})["statusCode"] == 404

    def test_too_many_calls(self) -> None:
        """Over the key's limit: 429 with ``retry_after``, and the limits on every answer before."""
        api = BackendApi(calls_per_minute=2)
        api.world.put_user()
        replies = [api.user("GET") for _ in range(3)]
        assert [reply["statusCode"] for reply in replies] == [200, 200, 429]
        body = check_error(replies[2], 429, "rate_limit_exceeded")
        assert str(body["retry_after"]) == header_of(replies[2], "Retry-After")
        assert [header_of(reply, "X-RateLimit-Remaining") for reply in replies] == ["1", "0", "0"]
        assert {header_of(reply, "X-RateLimit-Limit") for reply in replies} == {"2"}
        assert all(header_of(reply, "X-RateLimit-Reset") for reply in replies)

    def test_a_bug_is_a_500_that_tells_nothing(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """The envelope also holds for what nobody expected; neither answer nor log say what the error said."""

        def fail(*_: object) -> None:
            raise RuntimeError(USER)

        monkeypatch.setattr(api.world.registry, "standing", fail)
        check_error(api.user("GET"), 500, "internal_error")
        assert USER not in api.log.getvalue()

    def test_a_dependency_that_does_not_answer(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """500 with ``Retry-After``; nothing is written."""

        def fail(*_: object) -> None:
            raise UnavailableError("the registry did not answer")

        monkeypatch.setattr(api.world.registry, "standing", fail)
        reply = api.user("DELETE")
        check_error(reply, 500, "internal_error")
        assert header_of(reply, "Retry-After")
        assert api.world.requests.records == {}
