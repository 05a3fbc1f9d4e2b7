"""What runs by the clock reads what is due, and little else, however many requests there are.

The real sweep and the real watch, on the service's stores over :mod:`tests.bench.indexed_dynamodb`. Counts, no times:
calls, items and read units, by what was read. Nobody has set numbers for them; the bounds are what reading exactly what
is due takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.bench.clock_tables import put_finished, put_lost, put_waiting
from tests.bench.indexed_dynamodb import Counted
from tests.functional.clock_world import REQUESTS, ClockWorld

MANY = 100_000
DUE = MANY // 100
KEYS_OF_A_CALL = 100
BY_CLOCK = f"{REQUESTS}/by-clock"
LISTS = 8
"""Partitions of the index, and of the list of those that wait."""
BETWEEN = timedelta(minutes=5)
"""Two looks of the watch."""


def swept(put: Callable[..., list[str]], number: int, due: int) -> tuple[dict[str, int], Counted]:
    """What a sweep over so many requests tells, and what it takes."""
    world = ClockWorld()
    put(world.shared.client, world.shared.clock(), number, due)
    figures, errors = world.main.sweep()
    if errors:
        raise errors[0]
    return figures, world.shared.client.take()


def watched(is_open: int, due: int, finished: int = 0) -> tuple[Any, Counted]:
    """What the watch tells of so many open requests beside finished ones, and what it takes."""
    world = ClockWorld()
    now = world.shared.clock()
    put_lost(world.shared.client, now, is_open, due)
    put_finished(world.shared.client, now, finished, 0, first=is_open)
    report = world.main.watch()
    if report.errors:
        raise report.errors[0]
    return report, world.shared.client.take()


def run(many: int = MANY, due: int = DUE) -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict`` (``pass``, ``miss`` or
    ``info``)."""
    return [*_rows_of_waiting(many, due), *_rows_of_ended(many, due), *_rows_of_watch(many, due)]


def _rows_of_waiting(many: int, due: int) -> list[dict[str, Any]]:
    _, counted = swept(put_waiting, many, due)
    what = f"a sweep over {many:,} that wait, {due:,} of them due"
    lists = [(place, name) for place, name in counted.items if name == "Query" and place == REQUESTS]
    return [
        _row(f"{what}: requests listed", sum(counted.items[each] for each in lists), due),
        _row(f"{what}: records read", counted.items[REQUESTS, "BatchGetItem"], due),
        _row(f"{what}: calls that read records", counted.calls[REQUESTS, "BatchGetItem"], _batches(due)),
        # One round, and one to see that there is nothing more.
        _row(f"{what}: calls that list", sum(counted.calls[each] for each in lists), 2 * LISTS),
        _told(f"{what}: read units", sum(counted.units.values())),
    ]


def _rows_of_ended(many: int, due: int) -> list[dict[str, Any]]:
    _, counted = swept(put_finished, many, due)
    what = f"a sweep over {many:,} that have ended, {due:,} of them due"
    # The purge sees all of them, the second look what the purge has left.
    seen = due + due // 2
    return [
        _row(f"{what}: records read", counted.items[REQUESTS, "BatchGetItem"], seen),
        _row(
            f"{what}: calls that read records",
            counted.calls[REQUESTS, "BatchGetItem"],
            _batches(due) + _batches(due // 2),
        ),
        _told(f"{what}: requests listed", counted.items[BY_CLOCK, "Query"]),
        _told(f"{what}: calls that list", counted.calls[BY_CLOCK, "Query"]),
        _told(f"{what}: read units", sum(counted.units.values())),
    ]


def _rows_of_watch(many: int, due: int) -> list[dict[str, Any]]:
    _, few = watched(due, due // 10, 100)
    _, counted = watched(due, due // 10, many)
    what = f"sla_watch with {many:,} finished requests, against 100"
    _, of_open = watched(many, due)
    beside = f"sla_watch with {many:,} open requests, {due:,} of them due"
    return [
        _row(f"{what}: calls", counted.calls.total(), few.calls.total()),
        _row(f"{what}: items read", counted.items.total(), few.items.total()),
        _row(f"{what}: read units", sum(counted.units.values()), sum(few.units.values())),
        _row(f"{beside}: records read", of_open.items[REQUESTS, "BatchGetItem"], due),
        _row(f"{beside}: calls that read records", of_open.calls[REQUESTS, "BatchGetItem"], _batches(due)),
        # The figures are those of all that are open.
        _told(f"{beside}: calls that list", of_open.calls[BY_CLOCK, "Query"]),
        _told(
            f"{beside}: read units of lists, every {BETWEEN.seconds // 60} minutes", of_open.units[BY_CLOCK, "Query"]
        ),
    ]


def _batches(records: int) -> int:
    return math.ceil(records / KEYS_OF_A_CALL)


def _row(what: str, measured: float, bound: float) -> dict[str, Any]:
    ratio = round(measured / bound, 3)
    verdict = "pass" if ratio <= 1 else "miss"
    return {"goal": "-", "what": what, "measured": measured, "bound": bound, "ratio": ratio, "verdict": verdict}


def _told(what: str, measured: float) -> dict[str, Any]:
    return {"goal": "-", "what": what, "measured": measured, "bound": None, "ratio": None, "verdict": "info"}


def main() -> None:
    for row in run():
        print(f"{row['verdict']:5} {row['measured']:>10} / {row['bound']!s:>8}  {row['what']}")


if __name__ == "__main__":
    main()
