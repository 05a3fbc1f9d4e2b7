"""What the lists of what runs by the clock tell and cost, and when it looks at requests again, on the fakes and on
DynamoDB (moto, MiniStack, DynamoDB Local)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.adapters.request_items import ended_shard, request_to_item
from erasure.domain.audit import broken_at, next_entry
from erasure.domain.request import FINISHED, REQUESTED, STARTED
from erasure.domain.times import format_time
from erasure.ports import ClockRow, SlaRow
from tests.contract.clock_calls import (
    DAY,
    GONE,
    HOUR,
    LATER,
    MILLISECOND,
    cancelled,
    closed,
    entry_for,
    held,
    hold,
    purge,
    raise_level,
    record_of,
)
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.stores import ENGINES, NOW, Stores, a_request, first_entry, make_stores, stores_on
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


# Lists


def test_open_ones_are_due_by_their_time(stores: Stores) -> None:
    """Those whose time has come, not a millisecond earlier, oldest first, no more than asked for."""
    moments = [NOW + number * HOUR for number in (5, 2, 9, 1, 7, 3, 8, 4, 6, 0)]
    requests = [stores.accepted(a_request(clock_at=moment)) for moment in moments]
    in_order = [request.request_id for request in sorted(requests, key=lambda request: request.clock_at or NOW)]
    assert stores.clock.open_due(NOW - MILLISECOND, 20) == []
    assert stores.clock.open_due(NOW, 20) == in_order[:1]
    assert stores.clock.open_due(NOW + 9 * HOUR - MILLISECOND, 20) == in_order[:9]
    assert stores.clock.open_due(LATER, 20) == in_order
    assert stores.clock.open_due(LATER, 4) == in_order[:4]
    assert stores.clock.ended_due(LATER, 20) == []


def test_a_request_without_a_time_is_looked_at_when_it_is_due(stores: Stores) -> None:
    """Nobody can forget to have a request watched."""
    request = stores.accepted(a_request(clock_at=None))
    assert stores.clock.open_due(request.due_at - MILLISECOND, 5) == []
    assert stores.clock.open_due(request.due_at, 5) == [request.request_id]


def test_starting_leaves_the_clock_as_it_is(stores: Stores) -> None:
    """A request that a job has claimed is looked at as if it had not: its execution may die."""
    request = stores.started()
    assert record_of(stores, request).clock_at == request.clock_at
    assert stores.clock.open_due(LATER, 5) == [request.request_id]


def test_held_ones_are_on_a_list_of_their_own(stores: Stores) -> None:
    """A held request is never due, and is listed by when it was held."""
    late, early = held(stores, NOW + HOUR), held(stores, NOW)
    other = stores.accepted(a_request())
    assert stores.clock.held(10) == [early.request_id, late.request_id]
    assert stores.clock.held(1) == [early.request_id]
    assert stores.clock.open_due(LATER + 3650 * DAY, 10) == [other.request_id]
    assert (early.clock_at, early.held_at, early.hold_id) == (None, NOW, "lh_1")


def test_ended_ones_are_due_by_the_time_given_when_they_end(stores: Stores) -> None:
    """Finished and cancelled requests leave the open ones' list and come up at their time; at ``purged_by`` if none
    was given."""
    second, first = closed(stores, NOW + 2 * HOUR), cancelled(stores, NOW + HOUR)
    finished, never = closed(stores), cancelled(stores)
    assert stores.clock.open_due(LATER, 10) == []
    assert stores.clock.ended_due(NOW + HOUR - MILLISECOND, 10) == []
    assert stores.clock.ended_due(LATER, 10) == [first.request_id, second.request_id]
    for request in (finished, never):
        assert request.clock_at == request.purged_by
    assert set(stores.clock.ended_due(finished.purged_by, 10)[2:]) == {finished.request_id, never.request_id}


def test_closing_without_an_end_moves_the_clock_if_it_says_so(stores: Stores) -> None:
    """A request that stays open is looked at when its closing says, else when it would have been."""
    moved, as_it_was = closed(stores, LATER, finished=False), closed(stores, finished=False)
    assert (moved.state, moved.clock_at) == (STARTED, LATER)
    assert as_it_was.clock_at == a_request().clock_at
    assert stores.clock.open_due(LATER - MILLISECOND, 5) == [as_it_was.request_id]


def test_finishing_is_not_parked(stores: Stores) -> None:
    """A parked request that is finished after all waits for nobody any more."""
    request = closed(stores, finished=False)
    assert stores.clock.look_again(request, LATER, tries=8, parked_at=NOW)
    parked = record_of(stores, request)
    entry = entry_for(stores, request)
    assert stores.requests.close(parked, "job-2", GONE, NOW, entry, finished=True, attention=False)
    assert record_of(stores, request).parked_at is None


def test_all_open_and_all_ended_ones(stores: Stores) -> None:
    """Rows of all open requests, held ones told apart, and of all that have ended and are not purged."""
    waiting, started = stores.accepted(a_request()), stores.started()
    on_hold, finished, called_off, gone = held(stores), closed(stores), cancelled(stores), cancelled(stores)
    assert purge(stores, gone)
    assert {row.request_id: row for row in stores.clock.open_rows()} == {
        waiting.request_id: ClockRow(waiting.request_id, waiting.due_at),
        started.request_id: ClockRow(started.request_id, started.due_at),
        on_hold.request_id: ClockRow(on_hold.request_id, on_hold.due_at, held=True),
    }
    assert {row.request_id: row for row in stores.clock.ended_rows()} == {
        finished.request_id: ClockRow(finished.request_id, finished.due_at, finished_at=NOW),
        called_off.request_id: ClockRow(called_off.request_id, called_off.due_at),
    }


def test_what_the_figures_of_a_tenant_need(stores: Stores) -> None:
    """The newest of a tenant's requests in a state, with when they were due and finished."""
    first, second = sorted((closed(stores), closed(stores)), key=lambda request: request.request_id)
    stores.accepted(a_request("other"))
    waiting = stores.accepted(a_request())
    rows = [SlaRow(request.request_id, request.due_at, NOW) for request in (second, first)]
    assert stores.clock.sla_rows("acme", FINISHED, 5) == rows
    assert stores.clock.sla_rows("acme", FINISHED, 1) == rows[:1]
    assert stores.clock.sla_rows("acme", REQUESTED, 5) == [SlaRow(waiting.request_id, waiting.due_at)]
    assert stores.clock.sla_rows("nobody", REQUESTED, 5) == []


# Looking again


def test_looking_again_sets_the_time_and_what_is_named(stores: Stores) -> None:
    """What is not named stays as it is."""
    request = stores.accepted(a_request())
    assert stores.clock.look_again(request, LATER, tries=2)
    known = record_of(stores, request)
    assert known == replace(request, clock_at=LATER, tries=2)
    assert stores.clock.look_again(known, LATER + HOUR, sla_told=50, parked_at=NOW)
    parked = record_of(stores, request)
    assert parked == replace(known, clock_at=LATER + HOUR, sla_told=50, parked_at=NOW)
    assert stores.clock.look_again(parked, LATER, anew=True)
    assert record_of(stores, request) == replace(parked, clock_at=LATER, tries=0, parked_at=None)


@pytest.mark.parametrize("meanwhile", ["looked at", "started", "held", "cancelled", "finished"])
def test_looking_again_only_as_read(stores: Stores, meanwhile: str) -> None:
    """Whoever comes late changes nothing: not what was looked at meanwhile, and not what is in another state."""
    request = stores.started() if meanwhile == "finished" else stores.accepted(a_request())
    if meanwhile == "looked at":
        assert stores.clock.look_again(request, LATER)
    elif meanwhile == "started":
        assert stores.requests.start(request, NOW, 1, "job-1", 1)
    elif meanwhile == "held":
        assert hold(stores, request)
    elif meanwhile == "cancelled":
        assert stores.requests.cancel(request, entry_for(stores, request), request.clock_at)
    else:
        entry = entry_for(stores, request)
        assert stores.requests.close(
            request, "job-1", GONE, NOW, entry, finished=True, attention=False, clock_at=request.clock_at
        )
    before = record_of(stores, request)
    assert not stores.clock.look_again(request, LATER + HOUR, tries=5, sla_told=90, parked_at=NOW)
    assert record_of(stores, request) == before


def test_a_held_one_is_not_looked_at_again(stores: Stores) -> None:
    """Its clock stands still, also for whoever has read it as held."""
    request = held(stores)
    assert not stores.clock.look_again(request, LATER)
    assert record_of(stores, request) == request


def test_one_of_two_looks(shared_stores: Stores) -> None:
    """Of two that look at the same moment, one sets the next time."""
    request = shared_stores.accepted(a_request())
    results = at_once(3, lambda number: shared_stores.clock.look_again(request, LATER + number * HOUR))
    assert sorted(results) == [False, False, True]
    assert record_of(shared_stores, request).clock_at == LATER + results.index(True) * HOUR


# Levels


def test_a_level_is_raised_once_with_its_entries(stores: Stores) -> None:
    """All levels that were crossed are in the trail, in one go; the same or a lower one is not raised again."""
    request = stores.accepted(a_request())
    first = entry_for(stores, request, "sla_at_risk")
    second = next_entry(request.request_id, first, "sla_at_risk", NOW, {"percent": 75}, event_id="sla:75")
    assert stores.clock.raise_level(request, 75, [first, second])
    assert record_of(stores, request) == replace(request, sla_level=75)
    for level in (50, 75):
        assert not raise_level(stores, request, level)
    assert raise_level(stores, request, 90)
    entries = stores.audit.entries(request.request_id)
    assert entries[:3] == [first_entry(request), first, second]
    assert (len(entries), broken_at(entries)) == (4, None)


def test_levels_of_open_ones_only(stores: Stores) -> None:
    """A started request's level is raised, and that of one that is held or has ended is not, whatever was read."""
    assert raise_level(stores, stores.started(), 50)
    for request in (held(stores), cancelled(stores), closed(stores)):
        assert not raise_level(stores, replace(request, state=STARTED), 50)
        assert record_of(stores, request) == request


# What it costs


class Counted:
    """Watches queries: how many, and how many items were read for them."""

    def __init__(self, most: int | None = None) -> None:
        self.calls = self.read = 0
        self._most = most

    def __call__(self, call: Callable[..., Any], **arguments: Any) -> Any:
        if self._most is not None:
            arguments["Limit"] = min(self._most, arguments.get("Limit", self._most))
        answer = call(**arguments)
        self.calls += 1
        self.read += answer["ScannedCount"]
        return answer


def with_ended(engine: Any, client: HookedClient, number: int, due: int) -> Stores:
    """Stores with so many finished requests, of which the first ``due`` are due."""
    stores = make_stores(engine, client)
    items = []
    for position in range(number):
        clock_at = NOW if position < due else LATER + timedelta(seconds=position)
        request = a_request("acme", f"user-{position}", state=FINISHED, clock_at=clock_at)
        ended = {"clock_shard": {"S": ended_shard(request.request_id)}, "finished_at": {"S": format_time(NOW)}}
        items.append({**request_to_item(request), **ended})
    engine.put(engine.tables[0], items)
    return stores


def test_a_sweep_reads_only_what_is_due(moto_dynamodb: Any) -> None:
    """Of 1,000 ended requests of which 1 % is due, a query for each partition reads the ten; looking for open ones
    reads none of them."""
    counted = Counted()
    stores = with_ended(moto_dynamodb, HookedClient(moto_dynamodb.client, query=counted), 1000, 10)
    open_one = stores.accepted(a_request(clock_at=NOW))
    assert len(stores.clock.ended_due(NOW, 1000)) == 10
    assert (counted.calls, counted.read) == (8, 10)
    assert stores.clock.open_due(NOW, 1000) == [open_one.request_id]
    assert [row.request_id for row in stores.clock.open_rows()] == [open_one.request_id]
    assert (counted.calls, counted.read) == (24, 12)


def test_a_round_does_not_read_all_that_is_due(moto_dynamodb: Any) -> None:
    """A limit limits what is read, too: not as much of every partition."""
    counted = Counted()
    stores = with_ended(moto_dynamodb, HookedClient(moto_dynamodb.client, query=counted), 400, 400)
    assert len(stores.clock.ended_due(NOW, 80)) == 80
    assert counted.read <= 3 * 80
    assert counted.calls <= 12


def test_rows_come_page_by_page(moto_dynamodb: Any) -> None:
    """However small the pages are, everything is told once, in the right order; and a page is asked for only when it is
    needed."""
    counted = Counted(most=2)
    stores = with_ended(moto_dynamodb, HookedClient(moto_dynamodb.client, query=counted), 60, 60)
    rows = stores.clock.ended_rows()
    assert counted.calls == 0
    next(rows)
    assert counted.calls == 1
    assert len({row.request_id for row in rows}) == 59
    due = stores.clock.ended_due(NOW, 50)
    assert len(set(due)) == 50
    listed = stores.clock.sla_rows("acme", FINISHED, 50)
    assert [row.request_id for row in listed] == sorted((row.request_id for row in listed), reverse=True)
    assert len(listed) == 50
