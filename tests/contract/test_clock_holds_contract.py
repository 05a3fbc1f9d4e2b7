"""Holding, resuming and bringing forward, each once and only where it may be, on the fakes and on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, TRANSITIONS, ErasureRequest
from erasure.ports import Standing, Tombstone
from tests.contract.clock_calls import (
    DAY,
    GONE,
    HOUR,
    LATER,
    MILLISECOND,
    cancelled,
    entry_for,
    expedite,
    held,
    hold,
    record_of,
    resume,
)
from tests.contract.stores import ENGINES, NOW, Stores, a_request, stores_on
from tests.contract.test_stores_contract import at_once

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["fakes", "moto", *ENGINES])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


@pytest.fixture(params=["fakes", *ENGINES])
def shared_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Without moto, which does not serve several threads."""
    yield from stores_on(request)


# Holding and resuming


def resume_later(stores: Stores, request: ErasureRequest) -> bool:
    return resume(stores, request, NOW + HOUR)


def test_holds_follow_the_table_of_states(stores: Stores) -> None:
    """From every state, holding and resuming are done exactly if the table of transitions has it, once."""
    for state in TRANSITIONS:
        for change, wanted in ((hold, HELD), (resume_later, REQUESTED)):
            request = stores.accepted(a_request())
            stores.force_state(request.request_id, state)
            read = replace(record_of(stores, request), held_at=NOW if state == HELD else None)
            if state == HELD:
                request = held(stores)
                read = request
            may = wanted in TRANSITIONS[state]
            assert [change(stores, read), change(stores, read)] == [may, False], (state, wanted)
            assert record_of(stores, request).state == (wanted if may else state)
            assert broken_at(stores.audit.entries(request.request_id)) is None


def test_a_held_request_does_not_wait_for_its_time(stores: Stores) -> None:
    """Holding takes a request off the list of those that wait; a time that is still to come puts it back."""
    request = stores.accepted(a_request(not_before=LATER, leaves_tombstone=True))
    assert hold(stores, request)
    assert stores.requests.due(LATER, 5) == []
    assert not stores.requests.release(request, LATER)
    assert resume(stores, record_of(stores, request), LATER - MILLISECOND)
    assert stores.requests.due(LATER - MILLISECOND, 5) == []
    assert stores.requests.due(LATER, 5) == [request.request_id]
    assert stores.registry.standing(request.subject_digest) == Standing()
    assert stores.requests.release(record_of(stores, request), LATER)
    assert stores.registry.standing(request.subject_digest).tombstone == Tombstone(request.request_id, LATER)


def test_a_time_that_came_while_it_was_held(stores: Stores) -> None:
    """Then it waits no more when it is resumed, and its tombstone is written as its release would have."""
    request = stores.accepted(a_request(not_before=LATER, leaves_tombstone=True))
    assert hold(stores, request)
    assert resume(stores, record_of(stores, request), LATER + HOUR)
    assert stores.requests.due(LATER + DAY, 5) == []
    tombstone = Tombstone(request.request_id, LATER + HOUR)
    assert stores.registry.standing(request.subject_digest).tombstone == tombstone
    assert stores.requests.start(request, LATER + HOUR, 1, "job-1", 1)


@pytest.mark.parametrize("knows", [True, False])
def test_a_held_request_does_not_wait_for_its_scan(stores: Stores, knows: bool) -> None:
    """Holding takes it off that list too, also if its job has put it there since the request was read."""
    request = stores.started()
    assert stores.requests.wait_for_scan(request, "job-1", LATER)
    assert hold(stores, record_of(stores, request) if knows else request)
    assert stores.requests.due(LATER, 5) == []
    assert record_of(stores, request).scan_at is None
    assert not stores.requests.wait_for_scan(request, "job-1", LATER)
    assert stores.requests.due(LATER, 5) == []


def test_a_held_request_is_nobodys(stores: Stores) -> None:
    """The job that had it can neither close it nor write anything down, and no other gets it."""
    request = stores.started()
    assert hold(stores, request)
    before = record_of(stores, request)
    entry = entry_for(stores, request)
    assert not stores.requests.close(request, "job-1", GONE, NOW, entry, finished=True, attention=False)
    assert not stores.requests.note_identifiers(request, "job-1", {"email": ("a@example.com",)}, ["m"])
    assert not stores.requests.start(request, NOW, 1, "job-2", 2)
    assert not stores.requests.cancel(request, entry)
    assert record_of(stores, request) == before


def test_resuming_moves_the_promise(stores: Stores) -> None:
    """By the whole seconds that it was held, each time; what it had tried before starts anew."""
    request = stores.accepted(a_request())
    assert stores.clock.look_again(request, LATER, tries=3, parked_at=NOW)
    assert hold(stores, record_of(stores, request), NOW)
    assert resume(stores, record_of(stores, request), NOW + 2 * HOUR + timedelta(milliseconds=900))
    first = record_of(stores, request)
    assert first == replace(
        request,
        due_at=request.due_at + 2 * HOUR,
        purged_by=request.purged_by + 2 * HOUR,
        paused_seconds=7200,
        clock_at=NOW + 3 * HOUR + timedelta(milliseconds=900),
    )
    assert stores.clock.open_due(LATER, 5) == [request.request_id]
    assert [row.due_at for row in stores.clock.open_rows()] == [first.due_at]
    assert hold(stores, first, NOW + DAY)
    assert resume(stores, record_of(stores, request), NOW + DAY + HOUR)
    assert record_of(stores, request).due_at == request.due_at + 3 * HOUR
    assert record_of(stores, request).paused_seconds == 10800


def test_clocks_that_differ_do_not_bring_the_promise_forward(stores: Stores) -> None:
    """Resumed by a clock that is behind the one by which it was held, it was held for no time at all."""
    request = held(stores, NOW)
    assert resume(stores, request, NOW - HOUR)
    assert (record_of(stores, request).due_at, record_of(stores, request).paused_seconds) == (request.due_at, 0)


def test_another_hold_is_not_ended_by_whoever_saw_the_first(stores: Stores) -> None:
    """A request that was resumed and held anew meanwhile stays held."""
    first = held(stores, NOW)
    assert resume(stores, first, NOW + HOUR)
    assert hold(stores, record_of(stores, first), NOW + 2 * HOUR)
    second = record_of(stores, first)
    assert not resume(stores, first, NOW + 3 * HOUR)
    assert record_of(stores, first) == second


def test_after_a_hold_only_a_later_attempt_gets_it(stores: Stores) -> None:
    """The job that had it may be planned once more; it does not get the request back, and the next attempt does."""
    request = stores.started("job-1", 1)
    assert hold(stores, request)
    assert resume(stores, record_of(stores, request), NOW + HOUR)
    again = record_of(stores, request)
    assert again.state == REQUESTED
    assert not stores.requests.start(again, LATER, 1, "job-1", 1)
    assert stores.requests.start(again, LATER, 2, "job-2", 2)
    assert record_of(stores, request).started_at == NOW


@pytest.mark.parametrize("other", ["start", "cancel", "close"])
def test_a_hold_at_the_same_moment(shared_stores: Stores, other: str) -> None:
    """A hold and something else in the same moment: the state is that of the one that was told it came last, or alone;
    the trail is whole."""
    stores = shared_stores
    request = stores.started() if other == "close" else stores.accepted(a_request())
    read = record_of(stores, request)
    entry = entry_for(stores, request, other)
    others: dict[str, Callable[[], bool]] = {
        "start": lambda: stores.requests.start(read, NOW, 1, "job-1", 1),
        "cancel": lambda: stores.requests.cancel(read, entry),
        "close": lambda: stores.requests.close(read, "job-1", GONE, NOW, entry, finished=True, attention=False),
    }
    is_held, is_done = at_once(2, lambda position: others[other]() if position else hold(stores, read))
    state = record_of(stores, request).state
    if is_held is True:
        # It may have been started just before.
        assert (state, is_done is True) in [(HELD, False), (HELD, other == "start")]
    else:
        assert (state, is_done) == ({"start": STARTED, "cancel": CANCELLED, "close": FINISHED}[other], True)
    assert broken_at(stores.audit.entries(request.request_id)) is None


def test_one_of_two_resumes(shared_stores: Stores) -> None:
    """Of sweeps that resume at the same moment one does, and the promise moves once."""
    stores, request = shared_stores, held(shared_stores)
    entry = entry_for(stores, request, "resumed")
    results = at_once(3, lambda _: stores.clock.resume(request, NOW + HOUR, LATER, entry))
    assert results.count(True) == 1
    assert record_of(stores, request).due_at == request.due_at + HOUR


# Expediting


def test_what_waits_is_brought_forward(stores: Stores) -> None:
    """Its time is now, the promise counts from now, it waits no more, and its tombstone is written."""
    request = stores.accepted(a_request(not_before=LATER, leaves_tombstone=True, clock_at=LATER + HOUR))
    assert not stores.requests.start(request, NOW + HOUR, 1, "job-1", 1)
    assert expedite(stores, request, NOW + HOUR)
    record = record_of(stores, request)
    assert record == replace(
        request,
        not_before=NOW + HOUR,
        due_at=NOW + 73 * HOUR,
        purged_by=NOW + HOUR + 90 * DAY,
        clock_at=NOW + 2 * HOUR,
    )
    assert stores.requests.due(LATER, 5) == []
    assert stores.registry.standing(request.subject_digest).tombstone == Tombstone(request.request_id, NOW + HOUR)
    assert stores.requests.start(record, NOW + HOUR, 1, "job-1", 1)


def test_only_what_waits_is_brought_forward(stores: Stores) -> None:
    """Not what waits for nothing, what has been brought forward, what is held or cancelled, or whose time has come."""
    waiting = a_request(not_before=LATER)
    assert not expedite(stores, stores.accepted(a_request()), NOW)
    assert [expedite(stores, stores.accepted(waiting), NOW) for _ in range(2)] == [True, False]
    assert not expedite(stores, stores.accepted(a_request(not_before=LATER)), LATER)
    for request in (held(stores, not_before=LATER), cancelled(stores, not_before=LATER)):
        assert not expedite(stores, replace(request, state=REQUESTED), NOW)
        assert record_of(stores, request) == request
