"""The pace of writes."""

from __future__ import annotations

from typing import Any

import pytest

from erasure.targets.dynamodb_pacing import (
    Pacer,
    Pacers,
    Share,
    is_provisioned,
    read_ceiling,
    read_units,
    write_ceiling,
    write_units,
)


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


def table(read: int = 0, write: int = 0, **indexes: int) -> dict[str, Any]:
    """A description; no units: paid by request. ``indexes``: their write units."""
    return {
        "TableName": "app_data",
        "BillingModeSummary": {"BillingMode": "PROVISIONED" if write else "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": read, "WriteCapacityUnits": write},
        "GlobalSecondaryIndexes": [
            {"IndexName": name, "ProvisionedThroughput": {"WriteCapacityUnits": units}}
            for name, units in indexes.items()
        ],
    }


def test_a_provisioned_table_keeps_the_applications_share() -> None:
    """Of 80 write units and 600 read units, half is taken, or as much as is said; a shard takes its part of that."""
    assert write_ceiling(table(600, 80), Share(), 4)[0] == 40
    assert read_ceiling(table(600, 80), Share()) == 300
    assert write_ceiling(table(600, 80), Share(0.25), 4)[0] == 20
    assert read_ceiling(table(600, 80), Share(0.25, of_table=0.5)) == 75


def test_a_partition_allows_no_more_however_much_is_paid_for() -> None:
    """A thousand write units for each partition, three thousand read units for a task."""
    assert write_ceiling(table(100_000, 100_000), Share(), 1)[0] == 1000
    assert write_ceiling(table(100_000, 100_000), Share(), 4)[0] == 4000
    assert read_ceiling(table(100_000, 100_000), Share()) == 3000


def test_what_is_paid_by_request_is_limited_by_partitions_and_quota() -> None:
    """An on-demand table has no sum to share, but sixteen shards together leave half of an account's quota."""
    assert write_ceiling(table(), Share(0.1), 1)[0] == 1000
    assert read_ceiling(table(), Share()) == 3000
    assert 16 * read_ceiling(table(), Share(of_table=1 / 16)) == pytest.approx(20_000)


def test_a_maximum_of_an_on_demand_table_is_shared_like_capacity() -> None:
    """Of what its owner has limited it to, the application keeps its share; -1 is no limit."""
    limited = table() | {"OnDemandThroughput": {"MaxReadRequestUnits": 600, "MaxWriteRequestUnits": 80}}
    assert (read_ceiling(limited, Share()), write_ceiling(limited, Share(0.25), 4)[0]) == (300, 20)
    assert is_provisioned(limited)
    unlimited = table() | {"OnDemandThroughput": {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1}}
    assert (read_ceiling(unlimited, Share()), write_ceiling(unlimited, Share(), 1)[0]) == (3000, 1000)
    index = {"IndexName": "small", "OnDemandThroughput": {"MaxWriteRequestUnits": 100}}
    assert write_ceiling(table() | {"GlobalSecondaryIndexes": [index]}, Share(), 1)[1] == {"small": 20}


@pytest.mark.parametrize("share", [0, -0.5, 1.1])
def test_share_is_a_share(share: float) -> None:
    """Nothing at all would never end, more than everything would leave nothing."""
    with pytest.raises(ValueError, match="share"):
        Share(share)


def test_an_index_with_little_capacity_slows_only_what_touches_it() -> None:
    """A write that an index of 10 units is charged for counts as 20 of the table's 200; others count as they are."""
    ceiling, weights = write_ceiling(table(200, 200, small=10, large=400), Share(), 1)
    assert (ceiling, weights) == (100, {"small": 20, "large": 0.5})
    touched = {"Table": {"CapacityUnits": 1.0}, "GlobalSecondaryIndexes": {"small": {"CapacityUnits": 1.0}}}
    untouched = {"Table": {"CapacityUnits": 1.0}}
    assert write_units({"ConsumedCapacity": touched}, 1, weights) == 20
    assert write_units({"ConsumedCapacity": untouched}, 1, weights) == 1


def test_indexes_of_on_demand_tables_weigh_as_much_as_the_table() -> None:
    """Partitions of tables and of indexes allow the same."""
    assert write_ceiling(table(0, 0, small=0), Share(), 2)[1] == {"small": 1}


def test_a_table_is_provisioned_if_it_says_so_or_says_nothing_else() -> None:
    """Tables that were never switched have no summary; some engines leave units on tables paid by request."""
    assert is_provisioned(table(5, 5))
    assert is_provisioned({"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}})
    assert not is_provisioned({"ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}})
    assert not is_provisioned(table(5, 5) | {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}})


def test_tasks_on_one_provisioned_table_share_its_pace() -> None:
    """Two at the same time take together what one may; tasks on tables paid by request have a pace each."""
    pacers = Pacers(Clock())
    first, second = (pacers.for_writes(table(20, 20), Share(), 1) for _ in range(2))
    assert first.reserve(9) == second.reserve(0) == 0
    assert second.reserve(5) == pytest.approx(0.5)
    assert pacers.for_writes(table(), Share(), 1) is not pacers.for_writes(table(), Share(), 1)
    assert pacers.for_writes(table(20, 20), Share(of_table=0.5), 1) is not first


def test_pace_of_a_tiny_table_gives_way_below_its_share() -> None:
    """Half a unit a second is not brought up to one by a refusal."""
    clock = Clock()
    pacer = Pacer(clock, 0.5)
    for _ in range(20):
        pacer.throttled()
        clock.now += 0.3
        assert pacer.rate <= 0.5


def test_long_storm_is_not_held_against_the_table_for_long() -> None:
    """From a hundredth of its rate, the pace is back within half a minute of quiet."""
    clock = Clock()
    pacer = Pacer(clock)
    while pacer.rate > 10:
        pacer.throttled()
        clock.now += 0.2
    for _ in range(300):
        clock.now += 0.1
        pacer.reserve(0)
    assert pacer.rate == 1000


def test_what_reading_was_charged() -> None:
    """As told, or what was expected."""
    assert read_units({"ConsumedCapacity": {"CapacityUnits": 128.5}}, 3) == 128.5
    assert read_units({}, 3) == 3
