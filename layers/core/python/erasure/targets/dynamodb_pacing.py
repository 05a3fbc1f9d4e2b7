"""How fast to write and to scan: what the table allows, of which the application keeps a share.

DynamoDB allows about 1,000 write units and 3,000 read units a second to one partition; a provisioned table, and each
of its global indexes, has a sum of its own for all partitions, of which erasing takes no more than its share. Going
faster only buys refusals, the application's among them, so a pace begins there and gives way when the table throttles
all the same (other writers, a hot partition): multiplicative decrease, additive increase.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

PARTITION_UNITS_PER_SECOND = 1000.0
MOST_PARTITIONS = 4
"""Partitions' worth of writes that a slice may take at once, if its subjects lie in so many."""

PARTITION_READ_UNITS_PER_SECOND = 3000.0

ON_DEMAND_TABLE_UNITS_PER_SECOND = 40_000.0
"""Read or write units that an account's default quota allows to an on-demand table."""

_MOST_ON_DEMAND = {"ReadCapacityUnits": "MaxReadRequestUnits", "WriteCapacityUnits": "MaxWriteRequestUnits"}
"""What the owner of an on-demand table may limit it to: the application has no more either."""

DEFAULT_CAPACITY_SHARE = 0.5

NO_WEIGHTS: Mapping[str, float] = {}

_BURST_SECONDS = 0.9
"""What may be written at once after a rest: a partition allows its units by the second. Small erasures never wait."""

_DECREASE = 0.3
"""Share of the rate that is given up when a whole batch is refused; less when less of it is."""

_INCREASE_PER_SECOND = 0.2
"""Of the rate that was too much, so that small and large tables recover equally fast."""

_QUIET_SECONDS = 5.0
"""After so long without a refusal, the increase is of the present rate: a pace that a long storm has brought down to
next to nothing doubles every few seconds."""

_SETTLE_SECONDS = 0.2
"""Batches in flight are throttled together; they count as one event."""

_PAUSE_SECONDS = 0.05
"""Silence after a refusal, so that the table has a little to spare again."""

_SLOWEST_UNITS_PER_SECOND = 1.0


class Pacer:
    """A token bucket whose rate adapts: units of capacity, at most ``ceiling`` a second. ``weights``: by global index,
    how many of the table's units one of its own stands for. ``clock`` returns seconds. Thread-safe."""

    def __init__(
        self,
        clock: Callable[[], float],
        ceiling: float = PARTITION_UNITS_PER_SECOND,
        weights: Mapping[str, float] = NO_WEIGHTS,
    ) -> None:
        self.ceiling = ceiling
        self.weights = weights
        self._clock = clock
        self._rate = ceiling
        self._slowest = min(_SLOWEST_UNITS_PER_SECOND, ceiling)
        self._step = ceiling * _INCREASE_PER_SECOND
        self._tokens = ceiling * _BURST_SECONDS
        self._refilled_at = clock()
        self._throttled_at = float("-inf")
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Units a second at the moment."""
        with self._lock:
            self._refill()
            return self._rate

    def reserve(self, units: float) -> float:
        """Take ``units``; return the seconds to wait before using them."""
        with self._lock:
            self._refill()
            self._tokens -= units
            return max(0.0, -self._tokens / self._rate)

    def settle(self, reserved: float, used: float) -> None:
        """Correct a reservation once the table has said what it really cost."""
        with self._lock:
            self._tokens += reserved - used

    def throttled(self, share: float = 1.0) -> None:
        """The table refused ``share`` of a full batch: slow down, once for all that were on their way together."""
        with self._lock:
            self._refill()
            self._tokens = min(self._tokens, -self._rate * _PAUSE_SECONDS)
            if self._refilled_at - self._throttled_at < _SETTLE_SECONDS:
                return
            self._throttled_at = self._refilled_at
            self._step = self._rate * _INCREASE_PER_SECOND
            self._rate = max(self._slowest, self._rate * (1 - _DECREASE * share))

    def _refill(self) -> None:
        now = self._clock()
        elapsed = max(0.0, now - self._refilled_at)
        self._refilled_at = now
        if now - self._throttled_at >= _QUIET_SECONDS:
            self._step = max(self._step, self._rate * _INCREASE_PER_SECOND)
        self._rate = min(self.ceiling, self._rate + elapsed * self._step)
        self._tokens = min(self._rate * _BURST_SECONDS, self._tokens + elapsed * self._rate)


@dataclass(frozen=True, slots=True)
class Share:
    """What one task may take of a table. ``of_capacity``: more than 0, at most 1. ``of_table``: the share of the table
    that is the task's; others work on the rest at the same time."""

    of_capacity: float = DEFAULT_CAPACITY_SHARE
    of_table: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.of_capacity <= 1 or not 0 < self.of_table <= 1:
            raise ValueError("a share is more than 0 and at most 1")

    def of_units(self, units: float) -> float:
        return units * self.of_capacity * self.of_table


def write_ceiling(description: Mapping[str, Any], share: Share, partitions: int) -> tuple[float, Mapping[str, float]]:
    """Write units a second for a task whose writes go to so many ``partitions``, and the weights of the table's global
    indexes, each of which has a capacity of its own. ``description``: DescribeTable's ``Table``."""
    most = PARTITION_UNITS_PER_SECOND * partitions

    def ceiling(place: Mapping[str, Any]) -> float:
        units = _provisioned(description, place, "WriteCapacityUnits")
        return most if units is None else min(most, share.of_units(units))

    own = ceiling(description)
    indexes = description.get("GlobalSecondaryIndexes") or ()
    return own, {index["IndexName"]: own / ceiling(index) for index in indexes}


def read_ceiling(description: Mapping[str, Any], share: Share) -> float:
    """Read units a second for a task that scans its share of the table."""
    units = _provisioned(description, description, "ReadCapacityUnits") or ON_DEMAND_TABLE_UNITS_PER_SECOND
    return min(PARTITION_READ_UNITS_PER_SECOND, share.of_units(units))


def is_provisioned(description: Mapping[str, Any]) -> bool:
    return _provisioned(description, description, "WriteCapacityUnits") is not None


def _provisioned(description: Mapping[str, Any], place: Mapping[str, Any], kind: str) -> float | None:
    """Units a second of the table or of one of its indexes; ``None``: paid by request, and not limited by its owner."""
    if description.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
        most = (place.get("OnDemandThroughput") or {}).get(_MOST_ON_DEMAND[kind]) or 0
        return float(most) if most > 0 else None  # -1: a limit that was taken away
    return float((place.get("ProvisionedThroughput") or {}).get(kind) or 0) or None


class Pacers:
    """One pacer for all that writes to the same provisioned table at the same time, so that together they keep to their
    share of it. It lasts as long as somebody uses it. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shared: WeakValueDictionary[tuple[str, Share], Pacer] = WeakValueDictionary()
        self._lock = threading.Lock()

    def for_writes(self, description: Mapping[str, Any], share: Share, partitions: int) -> Pacer:
        """For a task that writes to so many ``partitions``. What is paid by request has no sum to keep to; of what is
        provisioned, who comes first says how many partitions the pace is for: too slow for others rather than too fast.
        """
        pacer = Pacer(self._clock, *write_ceiling(description, share, partitions))
        if not is_provisioned(description):
            return pacer
        with self._lock:
            return self._shared.setdefault((description["TableName"], share), pacer)

    def for_scan(self, description: Mapping[str, Any], share: Share) -> Pacer:
        return Pacer(self._clock, read_ceiling(description, share))


def write_units(response: Mapping[str, Any], otherwise: float, weights: Mapping[str, float] = NO_WEIGHTS) -> float:
    """Write units that the busiest partition can have been charged; ``otherwise`` if the engine does not tell.

    Local indexes live in the table's partition, each global index has partitions of its own; ``weights`` as in
    :class:`Pacer`, 1 unless told.
    """
    most = 0.0
    told = response.get("ConsumedCapacity") or ()
    for consumed in [told] if isinstance(told, dict) else told:
        local = (consumed.get("LocalSecondaryIndexes") or {}).values()
        table = sum(part.get("CapacityUnits", 0.0) for part in (consumed.get("Table", consumed), *local))
        most = max(most, table, *_index_units(consumed, weights))
    return most or otherwise


def _index_units(consumed: Mapping[str, Any], weights: Mapping[str, float]) -> list[float]:
    indexes = consumed.get("GlobalSecondaryIndexes") or {}
    return [part.get("CapacityUnits", 0.0) * weights.get(name, 1.0) for name, part in indexes.items()]


def read_units(response: Mapping[str, Any], otherwise: float) -> float:
    """Read units that a call was charged; ``otherwise`` if the engine does not tell."""
    return float((response.get("ConsumedCapacity") or {}).get("CapacityUnits") or otherwise)
