"""The pace of writes."""

from __future__ import annotations

from typing import Any

import pytest

from erasure.targets.dynamodb_pacing import Pacer, write_units


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spend(pacer: Pacer, clock: Clock, seconds: float, units: float = 25) -> int:
    """Write as fast as the pacer allows; returns the units written."""
    until, written = clock.now + seconds, 0
    while True:
        clock.now += pacer.reserve(units)
        if clock.now >= until:
            return written
        written += int(units)


def test_small_erasure_never_waits() -> None:
    """What a partition takes in a second may almost go at once."""
    pacer = Pacer(Clock())
    assert [pacer.reserve(25) for _ in range(36)] == [0.0] * 36
    assert pacer.reserve(25) == pytest.approx(0.025)


def test_a_partition_gets_what_it_allows_and_no_more() -> None:
    """Ten seconds are worth 10,000 units plus the first burst, and rest earns no more than one burst."""
    clock = Clock()
    pacer = Pacer(clock)
    assert spend(pacer, clock, 10) == pytest.approx(10_900, abs=50)
    clock.now += 1000
    assert spend(pacer, clock, 10) == pytest.approx(10_900, abs=50)


def test_throttling_slows_down_once_for_what_was_in_flight_together() -> None:
    """Four batches throttled at the same moment are one event; a later one counts again."""
    clock = Clock()
    pacer = Pacer(clock)
    for _ in range(4):
        pacer.throttled()
    assert pacer.rate == pytest.approx(700)
    clock.now += 0.2
    pacer.throttled()
    assert pacer.rate < 700


def test_pace_recovers_but_not_beyond_the_ceiling() -> None:
    """After a throttle the rate climbs back within two seconds and stays at the ceiling."""
    clock = Clock()
    pacer = Pacer(clock)
    pacer.throttled()
    clock.now += 0.5
    assert 700 < pacer.rate < 1000
    clock.now += 1.5
    assert pacer.rate == 1000
    clock.now += 1000
    assert pacer.rate == 1000


def test_pace_comes_down_to_a_small_table_and_never_stops() -> None:
    """Lasting throttles bring the rate to a table of a few units, not to zero."""
    clock = Clock()
    pacer = Pacer(clock)
    for _ in range(200):
        pacer.throttled()
        clock.now += 0.2
    assert 0.5 < pacer.rate < 2


def test_small_refusals_slow_down_a_little() -> None:
    """The fewer of a batch were refused, the less the pace gives way; what comes next waits a moment."""
    clock = Clock()
    pacer = Pacer(clock)
    pacer.throttled(0.2)
    assert pacer.rate == pytest.approx(940)
    assert 0.05 < pacer.reserve(5) < 0.06


def test_large_items_are_paced_by_what_they_really_cost() -> None:
    """A batch that cost forty units an item holds the next one back."""
    pacer = Pacer(Clock())
    pacer.reserve(25)
    pacer.settle(25, 1000)
    assert pacer.reserve(25) == pytest.approx(0.125)


def test_refused_writes_are_not_charged() -> None:
    """What a table did not take costs nothing."""
    pacer = Pacer(Clock())
    for _ in range(100):
        assert pacer.reserve(25) == 0
        pacer.settle(25, 0)


@pytest.mark.parametrize(
    ("response", "units"),
    [
        ({}, 25),
        ({"ConsumedCapacity": {"CapacityUnits": 3.0}}, 3),
        ({"ConsumedCapacity": [{"CapacityUnits": 9.0, "Table": {"CapacityUnits": 4.0}}]}, 4),
        (
            {
                "ConsumedCapacity": [
                    {
                        "Table": {"CapacityUnits": 4.0},
                        "LocalSecondaryIndexes": {"l": {"CapacityUnits": 3.0}},
                        "GlobalSecondaryIndexes": {"g": {"CapacityUnits": 5.0}, "h": {"CapacityUnits": 6.0}},
                    }
                ]
            },
            7,
        ),
    ],
)
def test_what_counts_is_the_busiest_partition(response: dict[str, Any], units: float) -> None:
    """A table's local indexes share its partition, each global one has its own; an engine may not tell at all."""
    assert write_units(response, 25) == units
