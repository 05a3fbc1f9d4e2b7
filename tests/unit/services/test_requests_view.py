"""Requests as backends see them: progress, lists, batches, trails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import InvalidInputError, UnavailableError
from erasure.ports import PinnedMap, RequestRow
from tests.unit.services.desk import ANN, BOB, FILES, MENTIONS, NOTES, SESSIONS, TEAMS, Desk, command, users

EVENTS = TargetSpec("events", "content", dynamodb=DynamoDBRule("app-events", KeyRule("actor", "{user_id}"), scan=True))
STATES = (REQUESTED, STARTED, HELD, FINISHED, CANCELLED)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def progress(desk: Desk, request: ErasureRequest) -> dict[str, tuple[str, int]]:
    view = desk.service.show("acme", request.request_id)
    return {target.name: (target.state, target.count) for target in view.targets}


def put_in(desk: Desk, request: ErasureRequest, state: str) -> None:
    desk.requests.records[request.request_id] = replace(desk.requests.records[request.request_id], state=state)


# Progress


def test_before_it_starts_everything_waits(desk: Desk) -> None:
    """A requested one shows the targets that it would cover now, also once a job has it that has not planned yet."""
    request = desk.one(categories=("content",))
    expected = {"notes": ("waiting", 0), "files": ("waiting", 0), "mentions": ("waiting", 0)}
    assert progress(desk, request) == expected
    desk.start(request)
    assert progress(desk, request) == expected


def test_without_a_map_there_is_nothing_to_show(desk: Desk) -> None:
    """If the map is gone, a requested one is still shown."""
    request = desk.one()
    desk.maps.maps = []
    desk.service = desk.new_service()
    assert progress(desk, request) == {}


def test_while_it_is_worked_on(desk: Desk) -> None:
    """Each target shows how far its own part is, and nothing of the other requests in its task."""
    ann, bob = desk.one(ANN), desk.one(BOB)
    for request in (ann, bob):
        desk.start(request)

    def own(**attributes: Any) -> tuple[Part, ...]:
        return Part(bob.request_id, erased=99), Part(ann.request_id, **attributes)

    desk.plan_tasks(
        "job-1",
        (NOTES, own(status=VERIFIED, erased=3)),
        (FILES, own(status=PENDING)),
        (SESSIONS, own(status=PENDING, erased=7, rounds=1)),
        (TEAMS, own(status=ERASED_UNVERIFIED, erased=2)),
        (MENTIONS, own(status=VERIFIED, erased=1)),
    )
    assert progress(desk, ann) == {
        "notes": ("erased", 3),
        "mentions": ("detached", 1),
        "files": ("waiting", 0),
        "sessions": ("erasing", 7),
        "teams": ("verifying", 2),
    }


def test_a_slice_at_work_is_erasing(desk: Desk) -> None:
    """A part whose task is being worked on is not waiting, although it has no count yet."""
    request = desk.one()
    desk.start(request)
    desk.plan_tasks("job-1", (NOTES, (Part(request.request_id),)))
    (task,) = desk.tasks.tasks("job-1")
    desk.tasks.begin_slice(task, "slice")
    assert progress(desk, request) == {"notes": ("erasing", 0)}


def test_failures_and_nothing_found(desk: Desk) -> None:
    """A failed part shows why; what was not there is told as such."""
    request = desk.one()
    desk.start(request)
    parts = (Part(request.request_id, FAILED, 4, at_least=True, reason="access_denied"),)
    desk.plan_tasks("job-1", (NOTES, parts), (FILES, (Part(request.request_id, VERIFIED),)))
    targets = {target.name: target for target in desk.service.show("acme", request.request_id).targets}
    assert (targets["notes"].state, targets["notes"].reason) == ("failed", "access_denied")
    assert (targets["notes"].count, targets["notes"].at_least) == (4, True)
    assert targets["files"].state == "already_absent"


def test_what_earlier_attempts_did_counts(desk: Desk) -> None:
    """While a second attempt works, its counts come on top of what the first one told, and once it is closed, they
    are not added twice."""
    request = desk.one()
    desk.start(request)
    failed = TargetOutcome("notes", "content", "failed", 5, reason="throttled")
    desk.close(request, "job-1", failed, TargetOutcome("old", "content", "erased", 1), finished=False)
    assert progress(desk, request) == {"notes": ("failed", 5), "old": ("erased", 1)}
    desk.start(request, "job-2", 2)
    desk.plan_tasks(
        "job-2",
        (NOTES, (Part(request.request_id, PENDING, 2),)),
        (FILES, (Part(request.request_id, VERIFIED, 1),)),
    )
    assert progress(desk, request) == {"notes": ("erasing", 7), "files": ("erased", 1), "old": ("erased", 1)}
    desk.close(
        request,
        "job-2",
        TargetOutcome("notes", "content", "erased", 7),
        TargetOutcome("files", "content", "erased", 1),
        finished=True,
    )
    assert progress(desk, request) == {"notes": ("erased", 7), "files": ("erased", 1)}


def test_an_open_request_after_its_job_shows_what_was_told(desk: Desk) -> None:
    """A job that has written its outcomes is not counted a second time from its tasks."""
    request = desk.one()
    desk.start(request)
    desk.plan_tasks("job-1", (NOTES, (Part(request.request_id, VERIFIED, 3),)))
    desk.close(request, "job-1", TargetOutcome("notes", "content", "erased", 3), finished=False)
    assert progress(desk, request) == {"notes": ("erased", 3)}


def test_what_has_to_be_scanned_for_is_still_to_come(desk: Desk) -> None:
    """While everything else is done, and until its own job has told what became of it."""
    desk.maps.maps = [PinnedMap(1, "digest", (NOTES, EVENTS))]
    desk.service = desk.new_service()
    request = desk.one()
    desk.start(request)
    assert desk.requests.wait_for_scan(request, "job-1", desk.clock() + timedelta(hours=1))
    desk.plan_tasks("job-1", (NOTES, (Part(request.request_id, PENDING),)))
    assert progress(desk, request) == {"notes": ("waiting", 0), "events": ("waiting", 0)}
    request = desk.requests.records[request.request_id]
    desk.close(request, "job-1", TargetOutcome("notes", "content", "erased", 3), finished=False)
    assert progress(desk, request) == {"notes": ("erased", 3), "events": ("waiting", 0)}

    desk.start(request, "job-2", attempt=2)
    desk.plan_tasks("job-2", (EVENTS, (Part(request.request_id, ERASED_UNVERIFIED, 2),)))
    assert progress(desk, request) == {"notes": ("erased", 3), "events": ("verifying", 2)}
    request = desk.requests.records[request.request_id]
    desk.close(request, "job-2", TargetOutcome("events", "content", "erased", 2), finished=True)
    assert progress(desk, request) == {"events": ("erased", 2)}


# Batches


def test_a_batch_counts_down_to_nothing(desk: Desk) -> None:
    """Tasks left go down as parts are verified and requests finish, and are 0 exactly when all are finished."""
    accepted = desk.create(ANN, BOB)
    ann, bob = (disposition.request for disposition in accepted.dispositions)
    assert ann is not None
    assert bob is not None

    def told() -> tuple[int, bool, int]:
        view = desk.service.batch("acme", accepted.batch_id)
        assert view.tasks == 10
        return view.tasks_left, view.is_finished, view.attention

    assert told() == (10, False, 0)
    assert desk.service.batch("acme", accepted.batch_id).last_completed_at is None
    for request in (ann, bob):
        desk.start(request)
    done, left = Part(ann.request_id, VERIFIED), Part(ann.request_id)
    desk.plan_tasks("job-1", (NOTES, (done, Part(bob.request_id))), (FILES, (left,)), (TEAMS, (done,)))
    assert told() == (8, False, 0)
    outcomes = [TargetOutcome(name, "content", "erased") for name in "abcde"]
    desk.close(ann, "job-1", *outcomes, finished=True)
    closed_at = desk.clock()
    desk.clock.advance(60)
    assert told() == (5, False, 0)
    desk.close(bob, "job-1", *outcomes, finished=False)
    assert told() == (5, False, 1)
    desk.start(bob, "job-2", 2)
    desk.close(bob, "job-2", *outcomes, *outcomes, finished=True)
    assert told() == (0, True, 0)
    assert desk.service.batch("acme", accepted.batch_id).last_completed_at == desk.clock() > closed_at


@pytest.mark.parametrize("state", [REQUESTED, STARTED, HELD, CANCELLED])
def test_something_is_left_while_one_is_not_finished(desk: Desk, state: str) -> None:
    """However many outcomes there are, a batch with a request that is not finished is not."""
    accepted = desk.create(ANN, BOB)
    outcomes = tuple(TargetOutcome(str(number), "content", "erased") for number in range(50))
    for request_id in list(desk.requests.records):
        record = replace(desk.requests.records[request_id], state=FINISHED, outcomes=outcomes)
        desk.requests.records[request_id] = record
    desk.requests.records[request_id] = replace(record, state=state)
    view = desk.service.batch("acme", accepted.batch_id)
    assert not view.is_finished
    assert view.tasks_left > 0


# Lists


def test_lists_are_newest_first_and_end(desk: Desk) -> None:
    """All pages together are all of the tenant's requests, newest first, each once; the last page has no cursor."""
    requests = [desk.one(Subject("acme", f"u{number % 3}")) for number in range(7)]
    desk.create(Subject("other", "u0"), tenant_id="other")
    for number, state in enumerate(STATES):
        put_in(desk, requests[number], state)
    newest = [request.request_id for request in reversed(requests)]
    for limit in (1, 2, 3, 7, 50):
        assert pages(desk, limit) == newest
    assert pages(desk, 2, state=REQUESTED) == [newest[number] for number in (0, 1, 6)]
    own = [request.request_id for request in reversed(requests[1::3])]
    assert pages(desk, 1, subject=Subject("acme", "u1")) == own
    assert pages(desk, 1, subject=Subject("acme", "u1"), state=STARTED) == own[-1:]
    assert pages(desk, 1, subject=Subject("other", "u0")) == []
    assert pages(desk, 1, subject=Subject("acme", "u1", "group")) == []


def pages(desk: Desk, limit: int, between: Any = None, **asked: Any) -> list[str]:
    """The ids on all pages, one after the other. ``between`` is called after each page."""
    seen: list[str] = []
    cursor = None
    while True:
        page = desk.service.list("acme", **{"state": None, "subject": None, "cursor": cursor, "limit": limit, **asked})
        assert len(page.requests) <= limit
        seen += [request.request_id for request in page.requests]
        cursor = page.cursor
        if cursor is None:
            return seen
        assert len(page.requests) == limit, "only the last page is short"
        if between is not None:
            between()


@given(
    st.integers(0, 12),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["add", "move"]), st.integers(0, 30), st.sampled_from(STATES)), max_size=20),
)
def test_pages_stay_right_while_things_change(number: int, limit: int, changes: list[tuple[str, int, str]]) -> None:
    """While requests are added and change their states between pages, each that was there is listed exactly once."""
    desk = Desk()
    there = [desk.one(Subject("acme", f"u{count}")) for count in range(number)]
    left = list(changes)

    def change() -> None:
        for _ in range(2):
            if left:
                kind, position, state = left.pop()
                if kind == "add":
                    desk.one(Subject("acme", f"new-{position}"))
                elif there:
                    put_in(desk, there[position % len(there)], state)

    assert pages(desk, limit, change) == [request.request_id for request in reversed(there)]


def test_a_state_that_has_changed_is_not_listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index may be behind: what a list shows is in the state that was asked for."""
    requests = [desk.one() for _ in range(3)]
    rows = desk.requests.rows("acme", REQUESTED)
    put_in(desk, requests[1], STARTED)

    def behind(*_arguments: object, before: str | None, limit: int) -> list[RequestRow]:
        return [row for row in rows if before is None or row.request_id < before][:limit]

    monkeypatch.setattr(desk.requests, "rows", behind)
    assert pages(desk, 2, state=REQUESTED) == [requests[2].request_id, requests[0].request_id]


@pytest.mark.parametrize(
    "cursor", ["", "x", "er_x", "eb_01K7PC3T8F0000000000000000", "er_01K7PC3T8F0000000000000000\n"]
)
def test_a_cursor_that_is_none_is_refused(desk: Desk, cursor: str) -> None:
    """What no page gave is told as a bad cursor."""
    with pytest.raises(InvalidInputError, match=r"^cursor: "):
        desk.service.list("acme", state=None, subject=None, cursor=cursor, limit=10)


def test_numbered_pages(desk: Desk) -> None:
    """Pages of one family and type of subject, newest first, with the total; behind the end they are empty."""
    asked: dict[str, Any] = {"family": "june", "subject_type": "user", "states": (STARTED, REQUESTED), "per_page": 2}
    own = [desk.one(Subject("acme", f"u{number}"), family="june") for number in range(5)]
    put_in(desk, own[1], STARTED)
    put_in(desk, own[2], CANCELLED)
    desk.create(ANN, family="velt")
    desk.create(Subject("acme", "crew", "group"), family="june")
    desk.create(Subject("other", "u0"), tenant_id="other", family="june")
    expected = [own[number].request_id for number in (4, 3, 1, 0)]
    for number, ids in enumerate([expected[:2], expected[2:], [], []], start=1):
        requests, total = desk.service.numbered_page("acme", page=number, **asked)
        assert [request.request_id for request in requests] == ids
        assert total == 4


# The trail


def test_the_trail_and_whether_it_is_whole(desk: Desk) -> None:
    """The trail comes oldest first, and a gap in it is told."""
    request = desk.one()
    desk.service.cancel("acme", request.request_id, "key-1")
    entries, whole = desk.service.audit("acme", request.request_id)
    assert ([entry.event for entry in entries], whole) == (["requested", "cancelled"], True)
    del desk.audit.trails[request.request_id][0]
    assert desk.service.audit("acme", request.request_id)[1] is False


def test_the_map_is_read_once_a_minute(desk: Desk) -> None:
    """A new map counts within a minute, and not before the old one was a minute old."""
    assert desk.create(ANN).tasks == 5
    desk.maps.maps = [replace(desk.maps.maps[0], targets=(NOTES,))]
    assert desk.create(BOB).tasks == 5
    desk.seconds = 61
    assert desk.create(*users("cid")).tasks == 1
    desk.maps.maps = []
    desk.seconds = 200
    with pytest.raises(UnavailableError):
        desk.service.plan(command(ANN))
