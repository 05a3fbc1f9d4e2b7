"""What runs by the clock, over as many requests as anybody has: it reads what is due, and little else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import moto
import pytest

from erasure.services.sla_watch import ROUND
from tests.bench.bench_clock import BY_CLOCK, DUE, LISTS, MANY, swept, watched
from tests.bench.clock_tables import put_finished, put_lost, put_waiting
from tests.bench.indexed_dynamodb import Counted
from tests.contract.dynamodb_engines import make_client
from tests.contract.stores import OneAtATime
from tests.functional.clock_world import AUDIT, REGISTRY, REQUESTS, ClockWorld

pytestmark = pytest.mark.timeout(240)


def costs(counted: Counted) -> tuple[Any, ...]:
    return counted.calls, counted.items, counted.units, counted.actions


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (put_waiting, {"sent": DUE, "released": DUE}),
        (put_finished, {"purged": DUE // 2, "looked": DUE // 2}),
    ],
)
def test_a_sweep_costs_what_is_due(put: Callable[..., list[str]], told: dict[str, int]) -> None:
    """Over 100,000 requests of which one in a hundred is due, it makes the calls and reads the items that it does where
    there are no others: no record is read that is not due, and all that are, are dealt with."""
    figures, counted = swept(put, MANY, DUE)
    assert {name: number for name, number in figures.items() if number} == told
    assert costs(counted) == costs(swept(put, DUE, DUE)[1])
    assert counted.items[REQUESTS, "BatchGetItem"] <= DUE + DUE // 2
    listed = counted.items[REQUESTS, "Query"] + counted.items[BY_CLOCK, "Query"]
    assert DUE <= listed <= 2 * DUE


@pytest.mark.parametrize("put", [put_waiting, put_finished])
def test_a_sweep_without_anything_due_reads_nothing(put: Callable[..., list[str]]) -> None:
    """A few calls that find nothing, one for each partition of a list."""
    figures, counted = swept(put, MANY // 10, 0)
    assert not any(figures.values())
    assert counted.items.total() == 0
    assert set(counted.calls) == {(place, "Query") for place in (REQUESTS, BY_CLOCK, REGISTRY)}
    assert counted.calls.total() <= 4 * LISTS + 2


def test_the_watch_does_not_see_what_has_ended() -> None:
    """Beside 100,000 finished requests it makes the same calls and reads the same items as beside a hundred."""
    report, counted = watched(DUE, DUE // 10, MANY)
    assert (report.looked_at, report.resent, report.figures.open) == (DUE // 10, DUE // 10, DUE)
    assert costs(counted) == costs(watched(DUE, DUE // 10, 100)[1])


def test_the_watch_reads_the_records_of_those_that_are_due() -> None:
    """Of 100,000 open requests it reads the records of the due ones, a hundred in a call; the others are counted, each
    once, in the index, by thousands."""
    report, counted = watched(MANY, DUE)
    assert (report.looked_at, report.figures.open) == (DUE, MANY)
    assert counted.items[REQUESTS, "BatchGetItem"] == DUE
    assert counted.calls[REQUESTS, "BatchGetItem"] == math.ceil(DUE / 100)
    assert counted.items[BY_CLOCK, "Query"] == DUE + MANY
    # Held ones, due ones, and pages of all: 7,000 of an index of some 150 bytes each.
    assert counted.calls[BY_CLOCK, "Query"] <= 2 * LISTS + LISTS * math.ceil(MANY / LISTS / 7000)


def test_ten_thousand_open_ones_at_once() -> None:
    """None of which has been taken up: one look sends all of them, in messages of a thousand, each once, and costs as
    much for each of them as for one; the next look has nothing to do."""
    number = 10 * ROUND
    world = ClockWorld()
    ids = put_lost(world.shared.client, world.shared.clock(), number, number)
    report = world.main.watch()
    counted = world.shared.client.take()
    assert (report.errors, report.looked_at, report.resent) == ([], number, number)
    messages = world.shared.queue.messages
    assert [(len(request_ids), attempt) for request_ids, attempt in messages] == [(ROUND, 1)] * 10
    assert Counter(each for request_ids, _ in messages for each in request_ids) == Counter(ids)
    alone = watched(1, 1)[1]
    one_by_one = [(AUDIT, "Query"), (AUDIT, "PutItem"), (REQUESTS, "UpdateItem")]
    assert [counted.calls[each] for each in one_by_one] == [number * alone.calls[each] for each in one_by_one]
    assert counted.calls.total() <= sum(counted.calls[each] for each in one_by_one) + number // 40 + 4 * LISTS
    again = world.main.watch()
    assert (again.errors, again.looked_at, again.resent) == ([], 0, 0)
    assert world.shared.client.take().calls.total() <= 4 * LISTS + number // 7000


class Watched:
    """A client of moto whose calls are counted by operation."""

    def __init__(self, client: Any) -> None:
        self._client = OneAtATime(client)
        self.calls: Counter[str] = Counter()

    def load(self, table: str, items: Iterator[dict[str, Any]]) -> None:
        for item in items:
            self._client.put_item(TableName=table, Item=item)

    def everything(self, table: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._client.scan(TableName=table)["Items"]
        return items

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        real = getattr(self._client, operation)

        def call(**arguments: Any) -> Any:
            self.calls["".join(word.capitalize() for word in operation.split("_"))] += 1
            return real(**arguments)

        return call


def test_what_counts_here_does_as_moto_does() -> None:
    """The same sweep and the same looks over a few requests of each kind: the same calls, the same figures, and the
    same items in the end."""
    seen = []
    with moto.mock_aws():
        for client in (Watched(make_client()), None):
            world = ClockWorld(client)
            table, now = world.shared.client, world.shared.clock()
            put_waiting(table, now, 6, 3)
            put_lost(table, now, 6, 4, first=10)
            put_finished(table, now, 8, 4, first=20)
            before = Counter(getattr(table, "calls", ()))
            figures: list[Any] = [world.main.sweep()[0]]
            report = world.main.watch()
            world.shared.clock.advance(80 * 3600)
            late = world.main.watch()
            counted = table.calls - before if client is not None else table.take().by_operation()
            figures += [(each.looked_at, each.resent, dict(each.told)) for each in (report, late)]
            items = [sorted(table.everything(name), key=repr) for name in (REQUESTS, AUDIT, REGISTRY)]
            seen.append((figures, counted, world.shared.queue.messages, items))
    assert seen[0] == seen[1]
    (swept_now, now_seen, later_seen), *_ = seen[0]
    assert (swept_now["sent"], swept_now["purged"], swept_now["looked"]) == (3, 2, 2)
    assert now_seen[1] > 0
    assert later_seen[2][100] > 0
