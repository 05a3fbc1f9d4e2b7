"""The June family over the API: the calls of its documentation, its lists, and every status in its envelope."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from erasure.domain.request import CANCELLED, HELD
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from erasure.targets.protocol import SliceResult
from tests.functional.backend_calls import BackendApi, Reply, body_of, header_of
from tests.functional.backend_world import BACKEND_KEY, OTHER_TENANT, TENANT, USER

PREFIX = "/api/platform/data_management"
KINDS = ("user", "group")
EXAMPLE = "abcd-256"


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def post(api: BackendApi, subject_id: object = EXAMPLE, kind: str = "user", **more: Any) -> Reply:
    return api.call("POST", f"{PREFIX}/{kind}_deletion_request", {f"{kind}_id": subject_id}, **more)


def get(api: BackendApi, query: str = "", kind: str = "user", **more: Any) -> Reply:
    return api.call("GET", f"{PREFIX}/{kind}_deletion_requests{query}", **more)


def listed(api: BackendApi, query: str = "", kind: str = "user", **more: Any) -> list[str]:
    """The subjects of a page, in its order."""
    reply = get(api, query, kind, **more)
    assert reply["statusCode"] == 200
    return [entry[f"{kind}_id"] for entry in body_of(reply)["data"]]


def check_error(reply: Reply, status: int, code: str) -> str:
    """The flat envelope; returns the message."""
    body: dict[str, str] = body_of(reply)
    assert (reply["statusCode"], body["error"]) == (status, code)
    assert set(body) == {"error", "message"}
    assert body["message"]
    return body["message"]


class TestDocumentedCalls:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_deletion_request(self, api: BackendApi, kind: str) -> None:
        """``{"user_id": "abcd-256"}`` with a Basic key makes a request and answers with it; so for groups."""
        reply = post(api, kind=kind, headers={"Authorization": f"Basic {api.key}"})
        request = api.world.only_request()
        assert reply["statusCode"] == 200
        assert body_of(reply) == {
            "id": request.request_id,
            f"{kind}_id": EXAMPLE,
            "state": "requested",
            "requested_at": format_time(request.requested_at),
            "due_at": format_time(request.due_at),
            "purged_by": format_time(request.purged_by),
        }
        assert header_of(reply, "X-Erasure-Request-Id") == request.request_id
        assert (request.due_at - request.requested_at).total_seconds() == 72 * 3600
        assert (request.purged_by - request.requested_at).days == 90
        assert request.subject == Subject(TENANT, EXAMPLE, kind)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("query", ["", "?state=requested", "?page=1"])
    def test_the_lists(self, api: BackendApi, kind: str, query: str) -> None:
        """The three list calls of the documentation show the request."""
        shown = body_of(post(api, kind=kind))
        headers = {"Authorization": f"Basic {api.key}"}
        body = body_of(get(api, query, kind, headers=headers))
        assert body == {"data": [shown], "page": 1, "per_page": 25, "total": 1}


class TestRequests:
    def test_everything_is_erased_and_suppressed(self, api: BackendApi) -> None:
        """Every category goes, and the id is on the suppression list from the acceptance on."""
        subject = api.world.put_user()
        post(api, USER)
        ((tenant_id, _),) = api.world.registry.suppressed
        assert tenant_id == TENANT
        api.world.run_batch()
        assert api.world.left(subject) == set()
        entry = body_of(get(api))["data"][0]
        assert entry["state"] == "finished"
        assert entry["started_at"] <= entry["finished_at"]

    def test_a_group_is_not_its_members(self, api: BackendApi) -> None:
        """Erasing a group leaves a user of the same id alone, and the other way round."""
        user, group = api.world.put_user(EXAMPLE), api.world.put_group(EXAMPLE)
        before = api.world.left(user)
        post(api, kind="group")
        api.world.run_batch()
        assert (api.world.left(group), api.world.left(user)) == (set(), before)
        assert listed(api) == []

    def test_an_open_request_is_given_again(self, api: BackendApi) -> None:
        """A second call for the same subject gets the first one's request, until that is finished."""
        first, second = post(api), post(api)
        assert second["statusCode"] == 200
        assert body_of(second)["id"] == body_of(first)["id"] == header_of(second, "X-Erasure-Request-Id")
        api.world.run_batch()
        assert body_of(post(api))["id"] != body_of(first)["id"]

    def test_a_failure_adds_no_state(self, api: BackendApi) -> None:
        """What could not be erased stays started, with attention, and is listed there."""
        api.world.target.always["accounts"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
        post(api)
        api.world.run_batch()
        (entry,) = body_of(get(api, "?state=started"))["data"]
        assert (entry["state"], entry["attention"]) == ("started", True)
        assert "finished_at" not in entry

    def test_two_tenants_with_equal_ids(self, api: BackendApi) -> None:
        """Each tenant has its own requests; erasing one leaves the other's data untouched."""
        other, others_key = api.world.put_user(tenant_id=OTHER_TENANT), api.make_key(OTHER_TENANT)
        before = api.world.left(other)
        post(api, USER)
        api.world.run_batch()
        assert api.world.left(other) == before
        assert listed(api, key=others_key) == []
        assert body_of(post(api, USER, key=others_key))["state"] == "requested"

    def test_an_idempotency_key_gives_the_first_answer(self, api: BackendApi) -> None:
        """The same key with the same body is answered alike, with another body 409; kinds do not mix."""
        headers = {"Idempotency-Key": "k-1"}
        first = post(api, headers=headers)
        api.world.run_batch()
        assert post(api, headers=headers)["body"] == first["body"]
        assert len(api.world.requests.records) == 1
        check_error(post(api, "another", headers=headers), 409, "conflict")
        assert post(api, kind="group", headers=headers)["statusCode"] == 200

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("subject_id", [None, "", " ", 7, ["a"], "u" * 257, "a\x00b"])
    def test_what_is_no_id_is_a_400(self, api: BackendApi, kind: str, subject_id: object) -> None:
        """The message names the field."""
        message = check_error(post(api, subject_id, kind), 400, "invalid_request")
        assert message.startswith(f"{kind}_id: ")
        assert api.world.requests.records == {}

    def test_the_other_kinds_field_is_no_id(self, api: BackendApi) -> None:
        """``user_id`` on the groups' path names nobody."""
        reply = api.call("POST", f"{PREFIX}/group_deletion_request", {"user_id": EXAMPLE})
        check_error(reply, 400, "invalid_request")

    def test_the_longest_id_is_taken(self, api: BackendApi) -> None:
        """256 characters are an id."""
        assert body_of(post(api, "ü" * 256))["user_id"] == "ü" * 256

    def test_an_id_that_cannot_be_named_safely_is_a_400(self, api: BackendApi) -> None:
        """An id that would reach into another's files is refused by its field's name; nothing is suppressed."""
        message = check_error(post(api, "a/b"), 400, "invalid_request")
        assert message.startswith("user_id: ")
        assert api.world.registry.suppressed == {}

    @pytest.mark.parametrize("text", ["", "{", "[]", "null"])
    def test_what_is_no_json_object_is_a_400(self, api: BackendApi, text: str) -> None:
        """The body has to be an object."""
        check_error(api.call("POST", f"{PREFIX}/user_deletion_request", text), 400, "invalid_request")

    def test_a_purged_request_keeps_its_rest(self, api: BackendApi) -> None:
        """When the request's own copy of the id is gone, it is null, and the rest is as it was."""
        shown = body_of(post(api))
        request = api.world.only_request()
        api.world.requests.records[request.request_id] = replace(request, subject=replace(request.subject, id=""))
        assert body_of(get(api))["data"] == [{**shown, "user_id": None}]


class TestLists:
    def test_newest_first_in_pages_of_25(self, api: BackendApi) -> None:
        """Pages follow each other without gaps; past the end a page is empty, with the total."""
        ids = [f"user-{number:02}" for number in range(30)]
        for subject_id in ids:
            post(api, subject_id)
            api.world.clock.advance(1)
        assert listed(api) + listed(api, "?page=2") == ids[::-1]
        assert body_of(get(api, "?page=3")) == {"data": [], "page": 3, "per_page": 25, "total": 30}
        assert body_of(get(api, "?page=999999999"))["data"] == []

    def test_states(self, api: BackendApi) -> None:
        """Each state lists its own; what is held counts as requested; what was cancelled is not listed at all."""
        for name in ("finished", "started", "held", "cancelled", "requested"):
            post(api, name)
            request = list(api.world.requests.records.values())[-1]
            if name in ("finished", "started"):
                changed = replace(request, state=name, started_at=api.world.clock())
                api.world.requests.records[request.request_id] = changed
            if name in (HELD, CANCELLED):
                api.world.requests.records[request.request_id] = replace(request, state=name)
            api.world.clock.advance(1)
        assert listed(api, "?state=requested") == ["requested", "held"]
        assert listed(api, "?state=started") == ["started"]
        assert listed(api, "?state=finished") == ["finished"]
        assert listed(api) == ["requested", "held", "started", "finished"]
        assert {entry["state"] for entry in body_of(get(api, "?state=requested"))["data"]} == {"requested"}

    def test_only_this_familys_requests(self, api: BackendApi) -> None:
        """Requests that came another way are not June's."""
        api.world.put_user()
        assert api.user("DELETE")["statusCode"] == 204
        assert body_of(get(api))["total"] == 0

    @pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.5", "%2B1", "1_0", "%20", "9999999999", "%D9%A1"])
    def test_a_page_that_is_none(self, api: BackendApi, page: str) -> None:
        """Pages are whole numbers from 1."""
        assert check_error(get(api, f"?page={page}"), 400, "invalid_request").startswith("page: ")

    @pytest.mark.parametrize("state", ["", "Requested", "held", "cancelled", "x"])
    def test_a_state_that_is_none(self, api: BackendApi, state: str) -> None:
        """There are three states."""
        message = check_error(get(api, f"?state={state}"), 400, "invalid_request")
        assert message == "state: must be one of requested, started, finished"

    def test_unknown_parameters_are_ignored(self, api: BackendApi) -> None:
        """What the family does not know changes nothing."""
        post(api)
        assert listed(api, "?color=red") == [EXAMPLE]


class TestRefusals:
    def test_keys(self, api: BackendApi) -> None:
        """No key, a wrong key, a key without the scope, another tenant: 401, 401, 403, 403."""
        check_error(get(api, key=""), 401, "missing_token")
        check_error(get(api, headers={"Authorization": "Basic YOUR_API_KEY"}), 401, "invalid_api_key")
        reader = api.make_key(scopes=["erasure:read"])
        assert get(api, key=reader)["statusCode"] == 200
        check_error(post(api, key=reader), 403, "insufficient_permissions")
        check_error(get(api, headers={"X-Tenant-ID": OTHER_TENANT}), 403, "tenant_mismatch")
        assert api.world.requests.records == {}

    def test_too_many_calls(self) -> None:
        """429 with ``Retry-After``."""
        api = BackendApi(calls_per_minute=1)
        get(api)
        reply = get(api)
        check_error(reply, 429, "rate_limit_exceeded")
        assert header_of(reply, "Retry-After")

    def test_what_cannot_be_accepted_is_a_500(self, api: BackendApi) -> None:
        """When the request cannot be queued nothing is promised, and the same call works later."""
        api.world.queue.down = True
        reply = post(api)
        check_error(reply, 500, "internal_error")
        assert header_of(reply, "Retry-After")
        assert listed(api) == []
        api.world.queue.down = False
        assert post(api)["statusCode"] == 200

    def test_without_a_target_nothing_is_accepted(self, api: BackendApi) -> None:
        """A map that covers nothing of a group refuses its request."""
        data_map = api.world.maps.maps[0]
        users = tuple(target for target in data_map.targets if "user" in target.subjects)
        api.world.maps.maps[:] = [replace(data_map, targets=users)]
        check_error(post(api, kind="group"), 400, "invalid_request")
        assert api.world.requests.records == {}

    def test_no_id_is_logged(self, api: BackendApi) -> None:
        """Neither accepting nor refusing writes an id into the log."""
        post(api, "someone-special")
        post(api, "someone/special")
        assert "someone" not in api.log.getvalue()
        assert BACKEND_KEY not in json.dumps(api.log.getvalue())
