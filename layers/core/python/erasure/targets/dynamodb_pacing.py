"""How fast to write: DynamoDB allows about 1,000 write units a second to one partition.

Going faster only buys rejected writes, so the pace starts at that rate and gives way when the table throttles
(a small provisioned table, other writers): multiplicative decrease, additive increase.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

PARTITION_UNITS_PER_SECOND = 1000.0
MOST_PARTITIONS = 4
"""Partitions' worth of writes that a slice may take at once, if its subjects lie in so many."""

_BURST_SECONDS = 0.9
"""What may be written at once after a rest: a partition allows its units by the second. Small erasures never wait."""

_DECREASE = 0.3
"""Share of the rate that is given up when a whole batch is refused; less when less of it is."""

_INCREASE_PER_SECOND = 0.2
"""Of the rate that was too much, so that small and large tables recover equally fast."""

_SETTLE_SECONDS = 0.2
"""Batches in flight are throttled together; they count as one event."""

_PAUSE_SECONDS = 0.05
"""Silence after a refusal, so that the table has a little to spare again."""

_SLOWEST_UNITS_PER_SECOND = 1.0


class Pacer:
    """A token bucket whose rate adapts. Units are write units; ``clock`` returns seconds. Thread-safe."""

    def __init__(self, clock: Callable[[], float], ceiling: float = PARTITION_UNITS_PER_SECOND) -> None:
        self._clock = clock
        self._ceiling = ceiling
        self._rate = ceiling
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
            self._rate = max(_SLOWEST_UNITS_PER_SECOND, self._rate * (1 - _DECREASE * share))

    def _refill(self) -> None:
        now = self._clock()
        elapsed = max(0.0, now - self._refilled_at)
        self._refilled_at = now
        self._rate = min(self._ceiling, self._rate + elapsed * self._step)
        self._tokens = min(self._rate * _BURST_SECONDS, self._tokens + elapsed * self._rate)


def write_units(response: dict[str, Any], otherwise: int) -> float:
    """Write units that the busiest partition can have been charged; ``otherwise`` if the engine does not tell.

    Local indexes live in the table's partition, each global index has partitions of its own.
    """
    most = 0.0
    told = response.get("ConsumedCapacity") or ()
    for consumed in [told] if isinstance(told, dict) else told:
        local = (consumed.get("LocalSecondaryIndexes") or {}).values()
        table = sum(part.get("CapacityUnits", 0.0) for part in (consumed.get("Table", consumed), *local))
        most = max(most, table, *_index_units(consumed))
    return most or otherwise


def _index_units(consumed: dict[str, Any]) -> list[float]:
    return [part.get("CapacityUnits", 0.0) for part in (consumed.get("GlobalSecondaryIndexes") or {}).values()]
