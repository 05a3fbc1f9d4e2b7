"""Legal holds over the API, and what everybody else is told while one stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from erasure.domain.identifiers import new_batch_id
from erasure.domain.request import FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import format_time
from erasure.services.hold_refusals import trail_of
from erasure.services.holds import HoldCommand
from tests.functional.backend_calls import BackendApi, Reply, body_of
from tests.functional.backend_world import KEY, OTHER_TENANT, TENANT, USER
from tests.functional.native_calls import accept, act, check_nothing_was_written, check_problem, check_rule, show

PATH = "/v1/legal-holds"
BODY = {"reason": "a lawsuit, file 7", "author": "legal@example.com"}
DIGEST = subject_digest(KEY, Subject(TENANT, USER))


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def ask(api: BackendApi, method: str = "GET", subject_id: str = USER, query: str = "", **more: Any) -> Reply:
    return api.call(method, f"{PATH}/{quote(subject_id, safe='')}{query}", **more)


def put(api: BackendApi, subject_id: str = USER, query: str = "", key: str | None = None, **fields: Any) -> Reply:
    headers = {"Idempotency-Key": fields.pop("once")} if "once" in fields else {}
    return ask(api, "PUT", subject_id, query, body={**BODY, **fields}, key=key, headers=headers)


def lift(api: BackendApi, subject_id: str = USER, query: str = "", **more: Any) -> Reply:
    return ask(api, "DELETE", subject_id, query, **more)


def put_meanwhile(api: BackendApi) -> None:
    """Another process does; the API answers one call at a time."""
    command = HoldCommand(Subject(TENANT, USER), BODY["reason"], BODY["author"], "a-key")
    api.world.hold_service.put(command, new_batch_id())


def trail(api: BackendApi, digest: str = DIGEST) -> list[str]:
    return [entry.event for entry in api.world.audit.entries(trail_of(digest))]


class TestPut:
    def test_a_new_hold(self, api: BackendApi) -> None:
        """201 with what it says, by the subject's digest, and how many requests wait; it is read back the same."""
        until = api.world.clock() + timedelta(days=30)
        reply = put(api, until=format_time(until), aliases=["ann@example.com", USER, "+49 1"])
        hold_id = body_of(reply)["hold_id"]
        assert hold_id.startswith("lh_")
        shown = {
            "hold_id": hold_id,
            "subject_type": "user",
            "subject_digest": DIGEST,
            **BODY,
            "set_at": format_time(api.world.clock()),
            "until": format_time(until),
            "aliases": 2,
        }
        assert (reply["statusCode"], body_of(reply)) == (201, {**shown, "held_requests": 0})
        assert (ask(api)["statusCode"], body_of(ask(api))) == (200, shown)
        assert body_of(api.call("GET", PATH)) == {"legal_holds": [shown]}
        assert trail(api) == ["hold_set"]

    def test_the_same_again_changes_nothing(self, api: BackendApi) -> None:
        """200 with the hold as it is, its trail as well."""
        first = body_of(put(api, aliases=["one", "two"]))
        api.world.clock.advance(60)
        again = put(api, aliases=["two", "one"])
        assert (again["statusCode"], body_of(again)) == (200, first)
        assert trail(api) == ["hold_set"]

    def test_a_changed_hold(self, api: BackendApi) -> None:
        """200: it keeps its id, says what was said last, and the trail has each change."""
        first = body_of(put(api, until=format_time(api.world.clock() + timedelta(days=1))))
        api.world.clock.advance(60)
        second = body_of(put(api, reason="another", aliases=["ann@example.com"]))
        assert second == {
            **{name: value for name, value in first.items() if name != "until"},
            "reason": "another",
            "set_at": format_time(api.world.clock()),
            "aliases": 1,
        }
        assert trail(api) == ["hold_set", "hold_changed"]
        put(api)
        assert trail(api) == ["hold_set", "hold_changed", "hold_changed"]

    def test_a_repeated_call_is_answered_alike(self, api: BackendApi) -> None:
        """Whatever has happened since: one that was lifted in between is not put again. The key belongs to what was
        said with it."""
        first = put(api, once="k")
        again = put(api, once="k")
        assert (again["statusCode"], again["body"]) == (201, first["body"]) == (first["statusCode"], again["body"])
        lift(api)
        assert put(api, once="k")["body"] == first["body"]
        check_problem(ask(api), 404, "resource_not_found")
        check_problem(put(api, once="k", reason="another"), 409, "conflict")

    def test_by_type(self, api: BackendApi) -> None:
        """A group and an organization of the same id have holds of their own."""
        for kind in ("group", "organization"):
            assert body_of(put(api, query=f"?type={kind}"))["subject_type"] == kind
        check_problem(ask(api), 404, "resource_not_found")
        assert lift(api, query="?type=group")["statusCode"] == 204
        check_problem(ask(api, query="?type=group"), 404, "resource_not_found")
        assert ask(api, query="?type=organization")["statusCode"] == 200

    @pytest.mark.parametrize(
        ("fields", "field", "rule"),
        [
            ({"reason": ""}, "reason", "must be a text of 1 to 500"),
            ({"reason": " "}, "reason", "must be a text of 1 to 500"),
            ({"reason": "x" * 501}, "reason", "must be a text of 1 to 500"),
            ({"reason": None}, "reason", "must be a text of 1 to 500"),
            ({"reason": "a\x00"}, "reason", "must be a text of 1 to 500"),
            ({"reason": "\ud800"}, "reason", "must be a text of 1 to 500"),
            ({"author": "x" * 201}, "author", "must be a text of 1 to 200"),
            ({"author": 7}, "author", "must be a text of 1 to 200"),
            ({"reason": f"about ({USER.upper()})"}, "reason", "must not name the subject"),
            ({"author": "Ann@Example.com", "aliases": ["ann@example.com"]}, "author", "must not name the subject"),
            ({"until": "2020-01-01T00:00:00Z"}, "until", "must be in the future"),
            ({"until": "tomorrow"}, "until", "must be a time"),
            ({"until": None}, "until", "must be a time"),
            ({"aliases": "a"}, "aliases", "must be a list"),
            ({"aliases": ["a", ""]}, "aliases[1]", "must have 1 to 256"),
            ({"aliases": [f"a{number}" for number in range(21)]}, "aliases", "must not name more than 20"),
            ({"more": 1}, "body", "may only have the fields"),
        ],
    )
    def test_rules(self, api: BackendApi, fields: dict[str, Any], field: str, rule: str) -> None:
        """400 with the field and the rule, and nothing is held."""
        check_rule(put(api, **fields), field, rule)
        check_problem(ask(api), 404, "resource_not_found")
        assert trail(api) == []

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    @pytest.mark.parametrize(
        ("subject_id", "query", "field"),
        [
            ("u" * 257, "", "subject_id"),
            ("a\x00b", "", "subject_id"),
            ("a", "?type=User", "type"),
            ("a", "?typ=group", "query"),
            ("a", "?type=user&Type=group", "query"),
        ],
    )
    def test_of_whom(self, api: BackendApi, method: str, subject_id: str, query: str, field: str) -> None:
        """400 for what names nobody, or perhaps somebody else."""
        check_rule(ask(api, method, subject_id, query, body=BODY), field, "m")

    def test_the_longest(self, api: BackendApi) -> None:
        """Twenty further ids, the longest that there are, each character of six bytes in JSON."""
        aliases = [f"{number:02d}" + "\u0250" * 254 for number in range(20)]
        reply = put(api, aliases=aliases, reason="ɐ" * 500)
        assert (reply["statusCode"], body_of(reply)["aliases"]) == (201, 20)


@pytest.mark.parametrize("subject_id", ["a/b", "..", "%2F", "ü 😀", "*", "a?b=c", "a+b"])
def test_ids_in_paths_are_decoded_once(api: BackendApi, subject_id: str) -> None:
    """An id is compared byte for byte, whatever a path makes of its characters."""
    put(api, subject_id)
    digest = subject_digest(KEY, Subject(TENANT, subject_id))
    assert list(api.world.holds.holds) == [(TENANT, digest)]
    assert body_of(ask(api, subject_id=subject_id))["subject_digest"] == digest
    assert lift(api, subject_id)["statusCode"] == 204
    assert api.world.holds.holds == {}


def test_pages_follow_each_other(api: BackendApi) -> None:
    """All of the tenant's holds once, in the order of their digests, and no cursor behind the last one."""
    for number in range(7):
        put(api, f"user-{number}")
    put(api, "theirs", key=api.make_key(OTHER_TENANT))
    seen: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        page = body_of(api.call("GET", f"{PATH}?limit=3{cursor and '&cursor=' + cursor}"))
        seen += [hold["subject_digest"] for hold in page["legal_holds"]]
        cursor, pages = page.get("cursor"), pages + 1
    own = sorted(subject_digest(KEY, Subject(TENANT, f"user-{number}")) for number in range(7))
    assert (seen, pages) == (own, 3)
    check_rule(api.call("GET", f"{PATH}?cursor=x"), "cursor", "must be one")


def test_another_tenants_holds_are_nobodys(api: BackendApi) -> None:
    """The same 404 as for a hold that never was, and their requests go on."""
    put(api)
    theirs = api.make_key(OTHER_TENANT)
    for method in ("GET", "DELETE"):
        never, foreign = ask(api, method, "nobody"), ask(api, method, key=theirs)
        check_problem(foreign, 404, "resource_not_found")
        assert never["body"] == foreign["body"]
    assert ask(api)["statusCode"] == 200


def test_scopes(api: BackendApi) -> None:
    """Who may read or erase may not hold, and the other way round."""
    put(api)
    reader = api.make_key(scopes=["erasure:read", "erasure:write", "users:write"])
    holder = api.make_key(scopes=["holds:write"])
    refused = [put(api, key=reader), lift(api, key=reader), ask(api, key=holder), api.call("GET", PATH, key=holder)]
    for reply in refused:
        check_problem(reply, 403, "insufficient_permissions")
    assert ask(api, key=reader)["statusCode"] == 200
    assert put(api, key=holder)["statusCode"] == 200
    assert lift(api, key=holder)["statusCode"] == 204


class TestRequests:
    def test_open_requests_wait_from_then_on(self, api: BackendApi) -> None:
        """All of the subject that are open, and those of its further ids as ids; others and finished ones do not."""
        for user_id in ("ann", "ann-2", "bob"):
            api.world.put_user(user_id)
        done = accept(api, "ann")
        api.world.run_batch()
        open_ones = [accept(api, "ann"), accept(api, "ann-2")]
        other = accept(api, "bob")
        reply = put(api, "ann", aliases=["ann-2"])
        assert body_of(reply)["held_requests"] == 2
        assert body_of(put(api, "ann", aliases=["ann-2"]))["held_requests"] == 2
        states = {request_id: api.world.requests.records[request_id].state for request_id in [done, *open_ones, other]}
        assert states == {done: FINISHED, open_ones[0]: HELD, open_ones[1]: HELD, other: REQUESTED}
        api.world.run_batch()
        assert api.world.left(Subject(TENANT, "ann-2"))
        assert not api.world.left(Subject(TENANT, "bob"))
        held = [entry for entry in api.world.audit.entries(open_ones[0]) if entry.event == "held"]
        assert [entry.details for entry in held] == [{"hold_id": body_of(reply)["hold_id"]}]

    def test_accepted_while_the_hold_stands(self, api: BackendApi) -> None:
        """The native family accepts; nothing is erased, and the request is shown as held."""
        subject = api.world.put_user()
        before = api.world.left(subject)
        put(api)
        request_id = accept(api)
        api.world.run_batch()
        assert api.world.left(subject) == before
        assert body_of(show(api, request_id))["state"] == HELD
        assert api.world.requests.records[request_id].hold_id == body_of(ask(api))["hold_id"]

    @pytest.mark.parametrize("action", ["cancel", "retry"])
    def test_a_held_request_can_only_wait(self, api: BackendApi, action: str) -> None:
        """It can be neither cancelled nor tried again: 409, and it stays held."""
        request_id = accept(api)
        put(api)
        check_problem(act(api, request_id, action), 409, "conflict")
        assert api.world.requests.records[request_id].state == HELD

    def test_lifting_goes_on(self, api: BackendApi) -> None:
        """The request is sent off as another attempt, its promise moved by the time that it waited, and finished."""
        subject = api.world.put_user()
        request_id = accept(api)
        due_at = api.world.requests.records[request_id].due_at
        put(api)
        api.world.queue.messages.clear()
        api.world.clock.advance(3600)
        assert lift(api)["statusCode"] == 204
        record = api.world.requests.records[request_id]
        assert (record.state, record.due_at - due_at, record.paused_seconds) == (REQUESTED, timedelta(hours=1), 3600)
        assert api.world.queue.messages == [((request_id,), 2)]
        api.world.run_batch()
        assert api.world.requests.records[request_id].state == FINISHED
        assert not api.world.left(subject)
        assert trail(api) == ["hold_set", "hold_lifted"]
        events = [entry.event for entry in api.world.audit.entries(request_id)]
        assert [event for event in events if event in ("held", "resumed")] == ["held", "resumed"]

    def test_a_repeated_lift_is_answered_alike(self, api: BackendApi) -> None:
        """And lifts no hold that was put in between."""
        put(api)
        headers = {"Idempotency-Key": "k"}
        assert lift(api, headers=headers)["statusCode"] == 204
        put(api)
        assert lift(api, headers=headers)["statusCode"] == 204
        assert ask(api)["statusCode"] == 200
        check_problem(lift(api, "other", headers=headers), 409, "conflict")

    def test_one_that_waits_for_its_time_waits_again(self, api: BackendApi) -> None:
        """Lifted before its time: nothing is sent, and it is on the list of those that wait once more."""
        moment = api.world.clock() + timedelta(days=2)
        request_id = accept(api, not_before=format_time(moment))
        put(api)
        assert api.world.requests.waiting == {}
        lift(api)
        assert api.world.requests.waiting == {request_id: moment.replace(microsecond=500_000)}
        assert api.world.queue.messages == []

    def test_what_another_hold_names_stays(self, api: BackendApi) -> None:
        """Two holds that share a further id: lifting one leaves held what the other names."""
        request_id = accept(api, "shared")
        put(api, "ann", aliases=["shared"])
        put(api, "bob", aliases=["shared"])
        lift(api, "ann")
        assert api.world.requests.records[request_id].state == HELD
        lift(api, "bob")
        assert api.world.requests.records[request_id].state == REQUESTED


class TestAtOnce:
    """Families that promise an effect at once do not accept."""

    def test_deleting_a_user(self, api: BackendApi) -> None:
        """409 that says why, before anything is written or the user counts as deleted; each refusal is on record."""
        api.world.put_user()
        hold_id = body_of(put(api))["hold_id"]
        reply = api.user("DELETE")
        assert (reply["statusCode"], body_of(reply)["error"]) == (409, "conflict")
        assert "legal hold" in body_of(reply)["message"]
        assert api.world.requests.records == {}
        assert api.world.registry.found == {}
        assert api.user("GET")["statusCode"] == 200
        api.world.clock.advance(1)
        api.user("DELETE")
        assert trail(api) == ["hold_set", "refused", "refused"]
        assert api.world.audit.entries(trail_of(DIGEST))[-1].details == {"hold_id": hold_id, "family": "hellojohn"}
        lift(api)
        assert api.user("DELETE")["statusCode"] == 204

    def test_a_user_who_is_gone_stays_gone(self, api: BackendApi) -> None:
        """404, as before the hold."""
        api.world.put_user()
        api.user("DELETE")
        put(api)
        assert api.user("DELETE")["statusCode"] == 404

    def test_a_repeated_deletion(self, api: BackendApi) -> None:
        """A refusal does not use the idempotency key up."""
        api.world.put_user()
        put(api)
        headers = {"Idempotency-Key": "k"}
        assert api.user("DELETE", headers=headers)["statusCode"] == 409
        lift(api)
        assert api.user("DELETE", headers=headers)["statusCode"] == 204

    def test_a_hold_between_accepting_and_erasing(self, api: BackendApi) -> None:
        """Accepted a moment before: 409, the request waits, nothing was erased, and lifting finishes it."""
        subject = api.world.put_user()
        before = api.world.left(subject)
        send = api.world.queue.send

        def send_and_hold(*arguments: Any, **named: Any) -> None:
            send(*arguments, **named)
            put_meanwhile(api)

        api.world.queue.send = send_and_hold  # type: ignore[method-assign]
        reply = api.user("DELETE")
        assert (reply["statusCode"], body_of(reply)["error"]) == (409, "conflict")
        assert api.world.left(subject) == before
        (record,) = api.world.requests.records.values()
        assert record.state == HELD
        tombstone = api.world.tombstone(subject)
        assert tombstone is not None
        assert tombstone.effective_at is None
        api.world.queue.send = send  # type: ignore[method-assign]
        lift(api)
        api.world.run_batch()
        assert api.world.requests.records[record.request_id].state == FINISHED

    def test_a_hold_between_two_workers(self, api: BackendApi) -> None:
        """The deletion's job goes no further, the caller is not told that access is gone."""
        subject = api.world.put_user()
        call = api.world.functions.call

        def hold_after(*arguments: Any) -> Any:
            answer = call(*arguments)
            put_meanwhile(api)
            return answer

        api.world.functions.call = hold_after  # type: ignore[method-assign, assignment]
        assert api.user("DELETE")["statusCode"] == 409
        (record,) = api.world.requests.records.values()
        assert (record.state, record.job_id) == (HELD, f"{record.request_id}-0")
        tombstone = api.world.tombstone(subject)
        assert tombstone is not None
        assert tombstone.effective_at is None

    def test_disabling_with_sessions(self, api: BackendApi) -> None:
        """Sessions are data of the user: 409, and the user is not disabled. Disabling alone erases nothing."""
        subject = api.world.put_user()
        put(api)
        reply = api.user("POST", action="/disable", body={"revoke_sessions": True})
        assert reply["statusCode"] == 409
        assert body_of(api.user("GET"))["status"] == "active"
        assert "sessions" in api.world.left(subject)
        assert api.user("POST", action="/disable", body={})["statusCode"] == 200

    def test_a_waiting_deletion_cannot_be_called_off(self, api: BackendApi) -> None:
        """Enabling would have to cancel it: 409 that says that it waits for the hold."""
        api.world.put_user()
        api.user("POST", action="/disable", body={"delete_after_days": 3})
        put(api)
        reply = api.user("POST", action="/enable")
        assert reply["statusCode"] == 409
        assert "legal hold" in body_of(reply)["message"]
        lift(api)
        assert api.user("POST", action="/enable")["statusCode"] == 200

    def test_deleting_many(self, api: BackendApi) -> None:
        """Is accepted as the batch that it is: who is held waits, the others are erased."""
        for user_id in ("ann", "bob"):
            api.world.put_user(user_id)
        put(api, "ann")
        reply = api.call("POST", "/v1/users/bulk-delete", {"user_ids": ["ann", "bob"]})
        assert reply["statusCode"] == 202
        api.world.run_batch()
        states = {record.subject.id: record.state for record in api.world.requests.records.values()}
        assert states == {"ann": HELD, "bob": FINISHED}


def test_a_refused_call_has_written_nothing(api: BackendApi) -> None:
    """Neither a hold nor a trail nor an idempotency key."""
    put(api, once="k", reason=USER)
    check_nothing_was_written(api)
    assert api.world.holds.holds == {}


def test_started_requests_are_held(api: BackendApi) -> None:
    """A request that a job has at this moment waits too; what the job was about to do to it, it does not do."""
    subject = api.world.put_user()
    request_id = accept(api)
    erase = api.world.erase
    assert api.world.queue.messages

    def hold_first(event: Any) -> dict[str, Any]:
        if api.world.requests.records[request_id].state == STARTED:
            put(api)
        return erase(event)

    before = api.world.left(subject)
    api.world.erase = hold_first  # type: ignore[method-assign]
    api.world.run_batch()
    assert api.world.requests.records[request_id].state == HELD
    assert api.world.left(subject) == before
