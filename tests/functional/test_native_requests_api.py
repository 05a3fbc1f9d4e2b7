"""The native family over the API: looking at requests, cancelling them, trying again; every status as a problem."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.identifiers import new_batch_id, new_request_id
from erasure.domain.request import CANCELLED, FINISHED, HELD, STARTED
from erasure.domain.times import format_time
from erasure.targets.protocol import SliceResult
from tests.functional.backend_calls import BackendApi, Reply, body_of, header_of
from tests.functional.backend_world import OTHER_TENANT, TENANT, USER
from tests.functional.native_calls import PATH, accept, act, check_problem, check_rule, listed, post, show, users

ACTIONS = [("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/audit")]


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def change(api: BackendApi, request_id: str, **fields: Any) -> None:
    api.world.requests.records[request_id] = replace(api.world.requests.records[request_id], **fields)


class TestOneRequest:
    def test_from_requested_to_finished(self, api: BackendApi) -> None:
        """Each target with its category, what was seen of it, and how much went."""
        api.world.put_user(count=3)
        request_id = accept(api)
        waiting = body_of(show(api, request_id))
        assert (waiting["state"], {target["state"] for target in waiting["targets"]}) == ("requested", {"waiting"})
        api.world.clock.advance(5)
        api.world.run_batch()
        view, record = body_of(show(api, request_id)), api.world.request(request_id)
        assert record.started_at is not None
        assert record.finished_at is not None
        assert (view["state"], view["attention"]) == ("finished", False)
        assert view["started_at"] == format_time(record.started_at) > view["requested_at"]
        assert view["finished_at"] == format_time(record.finished_at)
        by_name = {target["name"]: target for target in view["targets"]}
        assert by_name["accounts"] == {"name": "accounts", "category": "account", "state": "erased", "count": 3}
        assert set(by_name) == {"accounts", "sessions", "mfa-factors", "memberships", "audit-events", "files"}

    def test_what_was_not_there_is_told_apart(self, api: BackendApi) -> None:
        """Nothing found is no erasure."""
        request_id = accept(api)
        api.world.run_batch()
        assert {entry["state"] for entry in body_of(show(api, request_id))["targets"]} == {"already_absent"}

    def test_a_failure_is_never_finished(self, api: BackendApi) -> None:
        """The target that failed says why, the request asks for attention, and the others are told as they are."""
        api.world.put_user()
        api.world.target.always["accounts"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
        request_id = accept(api)
        api.world.run_batch()
        view = body_of(show(api, request_id))
        assert (view["state"], view["attention"], "finished_at" in view) == ("started", True, False)
        states = {target["name"]: (target["state"], target.get("reason")) for target in view["targets"]}
        assert states["accounts"] == ("failed", "access_denied")
        assert states["sessions"] == ("erased", None)

    def test_a_lost_count_is_a_lower_bound(self, api: BackendApi) -> None:
        """``at_least`` is there exactly where it is so."""
        request_id = accept(api)
        api.world.run_batch()
        first, *others = api.world.request(request_id).outcomes
        change(api, request_id, outcomes=(replace(first, outcome="erased", at_least=True), *others))
        told = [target.get("at_least") for target in body_of(show(api, request_id))["targets"]]
        assert told == [True] + [None] * len(others)

    def test_a_purged_request_keeps_its_rest(self, api: BackendApi) -> None:
        """When the record's own copy of the id is gone, it is null."""
        request_id = accept(api)
        before = body_of(show(api, request_id))
        change(api, request_id, subject=replace(api.world.request(request_id).subject, id=""))
        assert body_of(show(api, request_id)) == {**before, "subject": {"type": "user", "id": None}}


class TestNobodyElses:
    @pytest.mark.parametrize(("method", "action"), ACTIONS)
    def test_not_told_apart(self, api: BackendApi, method: str, action: str) -> None:
        """Another tenant's id, an unknown one, a malformed one and an id of another kind: the same 404."""
        others_key = api.make_key(OTHER_TENANT)
        others_id = accept(api, key=others_key)
        ids = [others_id, new_request_id(), others_id.lower(), "er_x", "x", "%2E%2E", new_batch_id()]
        replies = [api.call(method, f"{PATH}/{request_id}{action}") for request_id in ids]
        for reply in replies:
            assert check_problem(reply, 404, "resource_not_found") == []
        assert len({reply["body"] for reply in replies}) == 1
        assert body_of(show(api, others_id, key=others_key))["state"] == "requested"

    def test_malformed_ids_reach_no_store(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """What cannot be a request's id is looked for nowhere."""
        asked: list[str] = []
        monkeypatch.setattr(api.world.requests, "get", asked.append)
        for method, action in ACTIONS:
            api.call(method, f"{PATH}/er_x{action}")
        assert asked == []

    def test_lists_are_the_tenants_own(self, api: BackendApi) -> None:
        """Neither all of them, nor by state, nor by a subject's id that another tenant has too."""
        others_key = api.make_key(OTHER_TENANT)
        accept(api)
        for query in ("", "?state=requested", f"?subject_id={USER}"):
            assert listed(api, query) == [USER]
            assert listed(api, query, key=others_key) == []


class TestLists:
    def test_pages_follow_each_other(self, api: BackendApi) -> None:
        """Newest first, without gaps, and no cursor behind the last one; 25 without a limit."""
        ids = [f"user-{number:02}" for number in range(27)]
        for user_id in ids:
            accept(api, user_id)
            api.world.clock.advance(1)
        assert len(listed(api)) == 25
        seen: list[str] = []
        cursor, pages = "", 0
        while cursor is not None:
            page = body_of(api.call("GET", f"{PATH}?limit=10{cursor and '&cursor=' + cursor}"))
            seen += [entry["subject"]["id"] for entry in page["requests"]]
            cursor, pages = page.get("cursor"), pages + 1
        assert (seen, pages) == (ids[::-1], 3)

    def test_every_state(self, api: BackendApi) -> None:
        """Each lists its own, and without one all are listed."""
        for state in (STARTED, HELD, FINISHED, CANCELLED, "requested"):
            change(api, accept(api, state), state=state)
            api.world.clock.advance(1)
        for state in (STARTED, HELD, FINISHED, CANCELLED, "requested"):
            assert listed(api, f"?state={state}") == [state]
        assert listed(api) == ["requested", CANCELLED, FINISHED, HELD, STARTED]

    def test_of_a_subject(self, api: BackendApi) -> None:
        """By id and type, also together with a state; a user is no group."""
        post(api, [*users("same", "other"), {"type": "group", "id": "same"}])
        for query, kinds in (
            ("?subject_id=same", ["user"]),
            ("?subject_id=same&type=user", ["user"]),
            ("?subject_id=same&type=group", ["group"]),
            ("?subject_id=same&state=requested", ["user"]),
            ("?subject_id=same&state=finished", []),
            ("?subject_id=unknown", []),
        ):
            found = body_of(api.call("GET", f"{PATH}{query}"))["requests"]
            assert [entry["subject"]["type"] for entry in found] == kinds

    def test_requests_of_other_families(self, api: BackendApi) -> None:
        """They are requests like all others."""
        api.call("POST", "/api/platform/data_management/user_deletion_request", {"user_id": "june's"})
        assert listed(api) == ["june's"]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("state=", "state"),
            ("state=Requested", "state"),
            ("subject_id=", "subject_id"),
            ("subject_id=%00", "subject_id"),
            ("subject_id=a&type=", "type"),
            ("subject_id=a&type=users", "type"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=", "limit"),
            ("limit=-1", "limit"),
            ("limit=%2B1", "limit"),
            ("limit=1_0", "limit"),
            ("limit=%D9%A1", "limit"),
            ("cursor=", "cursor"),
            ("cursor=er_x", "cursor"),
        ],
    )
    def test_every_parameter_has_a_rule(self, api: BackendApi, query: str, field: str) -> None:
        """400 with its name."""
        check_rule(api.call("GET", f"{PATH}?{query}"), field, "must")


class TestCancel:
    def test_while_it_is_requested(self, api: BackendApi) -> None:
        """200 with the request, as often as it is asked; nothing of the subject is erased."""
        subject = api.world.put_user()
        before = api.world.left(subject)
        request_id = accept(api)
        first, second = act(api, request_id, "cancel"), act(api, request_id, "cancel")
        assert (first["statusCode"], body_of(first)["state"]) == (200, "cancelled")
        assert second["body"] == first["body"]
        api.world.run_batch()
        assert api.world.left(subject) == before
        assert [entry.event for entry in api.world.audit.entries(request_id)] == ["requested", "cancelled"]

    def test_its_record_is_purged_in_time(self, api: BackendApi) -> None:
        """A week before ``purged_by``, so that no backup of the service's own knows the subject by then."""
        request_id = accept(api)
        act(api, request_id, "cancel")
        request = api.world.request(request_id)
        assert request.clock_at == request.purged_by - timedelta(days=7)

    @pytest.mark.parametrize("state", [STARTED, HELD, FINISHED])
    def test_in_any_other_state(self, api: BackendApi, state: str) -> None:
        """409, and it stays as it is."""
        request_id = accept(api)
        change(api, request_id, state=state)
        check_problem(act(api, request_id, "cancel"), 409, "conflict")
        assert api.world.request(request_id).state == state

    def test_one_that_is_held_is_told_why(self, api: BackendApi) -> None:
        """What keeps it from being cancelled is the hold, and lifting that is the way."""
        request_id = accept(api)
        change(api, request_id, state=HELD)
        assert "legal hold" in body_of(act(api, request_id, "cancel"))["detail"]

    def test_its_key_is_for_one_request(self, api: BackendApi) -> None:
        """The same key for another request is a 409, which stays as it is."""
        first, second = accept(api, "a"), accept(api, "b")
        headers = {"Idempotency-Key": "k"}
        replies = [act(api, first, "cancel", headers=headers) for _ in range(2)]
        assert replies[0]["body"] == replies[1]["body"]
        check_problem(act(api, second, "cancel", headers=headers), 409, "conflict")
        assert api.world.request(second).state == "requested"


class TestRetry:
    def test_another_attempt(self, api: BackendApi) -> None:
        """202 with its number, over the interactive lane; what failed before is erased then."""
        subject = api.world.put_user()
        denied = SliceResult(0, done=False, problem="access_denied", permanent=True)
        api.world.target.always["accounts"] = denied
        request_id = accept(api)
        api.world.run_batch()
        del api.world.target.always["accounts"]
        reply = act(api, request_id, "retry")
        assert (reply["statusCode"], body_of(reply)) == (202, {"id": request_id, "attempt": 2})
        assert header_of(reply, "X-Erasure-Request-Id") == request_id
        assert api.world.retry_queue.messages == [((request_id,), 2)]
        api.world.run_job(f"{request_id}-2", [request_id], 2)
        assert api.world.left(subject) == set()
        assert body_of(show(api, request_id))["state"] == "finished"

    def test_repeated_with_its_key(self, api: BackendApi) -> None:
        """The same key is the same attempt; without one each call is another."""
        request_id, headers = accept(api), {"Idempotency-Key": "k"}
        attempts = [body_of(act(api, request_id, "retry", headers=headers))["attempt"] for _ in range(2)]
        assert attempts == [2, 2]
        assert body_of(act(api, request_id, "retry"))["attempt"] == 3
        assert [attempt for _, attempt in api.world.retry_queue.messages] == [2, 3]

    @pytest.mark.parametrize("state", [HELD, FINISHED, CANCELLED])
    def test_what_is_not_to_be_worked_on(self, api: BackendApi, state: str) -> None:
        """409, and nothing is sent."""
        request_id = accept(api)
        change(api, request_id, state=state)
        check_problem(act(api, request_id, "retry"), 409, "conflict")
        assert api.world.retry_queue.messages == []

    def test_what_waits_for_its_time(self, api: BackendApi) -> None:
        """A retry is no way around ``not_before``."""
        request_id = accept(api, not_before=format_time(api.world.clock() + timedelta(days=1)))
        check_problem(act(api, request_id, "retry"), 409, "conflict")
        assert api.world.retry_queue.messages == []


class TestAudit:
    def test_the_trail(self, api: BackendApi) -> None:
        """Every event with its digest and the one before it, oldest first, and not the subject's id."""
        api.world.put_user()
        request_id = accept(api)
        api.world.run_batch()
        reply = show(api, request_id, "/audit")
        body = body_of(reply)
        entries = body["entries"]
        assert (reply["statusCode"], body["id"], body["whole"]) == (200, request_id, True)
        assert [entry["event"] for entry in entries] == ["requested", "planned", "finished"]
        assert [entry["sequence"] for entry in entries] == [1, 2, 3]
        assert [entry["previous_digest"] for entry in entries[1:]] == [entry["digest"] for entry in entries[:-1]]
        assert entries[0]["details"]["family"] == "native"
        assert USER not in reply["body"]

    def test_a_changed_trail_is_not_whole(self, api: BackendApi) -> None:
        """It is shown, and said to be broken."""
        request_id = accept(api)
        trail = api.world.audit.trails[request_id]
        trail[0] = replace(trail[0], details={**trail[0].details, "key_id": "another"})
        assert body_of(show(api, request_id, "/audit"))["whole"] is False


class TestRefusals:
    def test_keys(self, api: BackendApi) -> None:
        """No key, a wrong key, another tenant: 401, 401, 403."""
        wrong = api.make_key()[:-1] + "!"
        check_problem(api.call("GET", PATH, key=""), 401, "missing_token")
        check_problem(api.call("GET", PATH, key=wrong), 401, "invalid_api_key")
        reply = api.call("GET", PATH, headers={"X-Tenant-ID": OTHER_TENANT})
        check_problem(reply, 403, "tenant_mismatch")

    def test_scopes(self, api: BackendApi) -> None:
        """Reading and writing are two scopes, and neither holds the other."""
        reader, writer = api.make_key(scopes=["erasure:read"]), api.make_key(scopes=["erasure:write"])
        request_id = accept(api, key=writer)
        reads: list[Reply] = [
            api.call("GET", PATH, key=writer),
            show(api, request_id, key=writer),
            show(api, request_id, "/audit", key=writer),
        ]
        writes = [
            post(api, key=reader),
            act(api, request_id, "cancel", key=reader),
            act(api, request_id, "retry", key=reader),
        ]
        for reply in reads + writes:
            check_problem(reply, 403, "insufficient_permissions")
        assert api.world.only_request().state == "requested"
        assert show(api, request_id, key=reader)["statusCode"] == 200

    def test_no_such_path_or_method(self, api: BackendApi) -> None:
        """404 and 405 are problems too, and 405 says what there is."""
        check_problem(api.call("GET", "/v1/nothing"), 404, "resource_not_found")
        reply = api.call("PATCH", PATH)
        check_problem(reply, 405, "method_not_allowed")
        assert header_of(reply, "Allow") == "GET, POST"

    def test_too_many_calls(self) -> None:
        """429 with ``Retry-After``; the limit is on every answer."""
        api = BackendApi(calls_per_minute=1)
        assert header_of(api.call("GET", PATH), "X-RateLimit-Remaining") == "0"
        reply = api.call("GET", PATH)
        check_problem(reply, 429, "rate_limit_exceeded")
        # The clock stands still half a second into a minute.
        assert (header_of(reply, "Retry-After"), header_of(reply, "X-RateLimit-Limit")) == ("60", "1")

    def test_what_cannot_be_queued_was_not_accepted(self, api: BackendApi) -> None:
        """500 with ``Retry-After``, nothing stays open, and the same call works later."""
        api.world.queue.down = True
        reply = post(api, users("a", "b"), idempotency_key="k")
        check_problem(reply, 500, "internal_error")
        assert header_of(reply, "Retry-After") == "5"
        assert {request.state for request in api.world.requests.records.values()} == {"cancelled"}
        api.world.queue.down = False
        assert post(api, users("a", "b"), idempotency_key="k")["statusCode"] == 202

    def test_without_a_target_nothing_is_accepted(self, api: BackendApi) -> None:
        """A scope that the map's targets of groups cannot be limited to covers nothing."""
        scope = {"organization_ids": ["o"]}
        group = {"type": "group", "id": "g"}
        reply = post(api, [group], scope=scope)
        check_problem(reply, 400, "invalid_request")
        assert "subjects[0].id" in body_of(reply)["detail"]
        (plan,) = body_of(post(api, [group], scope=scope, dry_run=True))["plans"]
        assert plan["targets"] == []
        assert api.world.requests.records == {}
        several = body_of(post(api, [group, {"type": "user", "id": "u"}], scope=scope))["requests"]
        assert [one.get("reason") for one in several] == ["not_covered", None]

    def test_an_unexpected_error_tells_nothing(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """500, and its text, which may hold anything, reaches neither the answer nor the log."""

        def fail(_request_id: str) -> None:
            raise RuntimeError(f"app-accounts {TENANT} {USER}")

        request_id = accept(api)
        monkeypatch.setattr(api.world.requests, "get", fail)
        reply = show(api, request_id)
        check_problem(reply, 500, "internal_error")
        for text in ("app-accounts", TENANT, USER):
            assert text not in reply["body"] + api.log.getvalue()
