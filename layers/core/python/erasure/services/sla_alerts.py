"""Tells of open requests that have reached a level of their promise: at 50, 75 and 90 percent, and when it is broken.

First the level is noted in the request, with an entry of its trail for each that was reached, all or nothing: so no
level gets a second entry, whoever looks and however often. Then the outside is told, and then it is noted that it was.
Whoever dies in between has told nothing, or tells again under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import LEVELS, level_at
from erasure.domain.request import OPEN_STATES, ErasureRequest
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, ClockStore, Event, EventBus, RequestStore
from erasure.services.side_by_side import each_for_itself

PARALLEL_REQUESTS = 8
AT_RISK, BREACHED = "sla_at_risk", "sla_breached"
"""The events of the trail; to the outside, ``erasure.`` stands before them."""
_BROKEN = LEVELS[-1]
_TRIES = 5


@dataclass(frozen=True, slots=True)
class SlaAlerts:
    clock: ClockStore
    requests: RequestStore
    audit: AuditLog
    events: EventBus

    def note(self, requests: Sequence[ErasureRequest], now: datetime, errors: list[Exception]) -> list[ErasureRequest]:
        """The requests with the levels that they have reached, as they are when these are noted. Those of which that
        failed are left out."""
        noted = each_for_itself(lambda request: self.note_one(request, now), requests, PARALLEL_REQUESTS, errors)
        return [request for request in noted if request is not None]

    def tell(self, requests: Sequence[ErasureRequest], now: datetime) -> list[int]:
        """Tell of every level that is noted and was not told; returns the levels. Raises what the bus raises."""
        untold = [(request, level) for request in requests for level in untold_levels(request)]
        if untold:
            self.events.put([event_of_level(request, level, now) for request, level in untold])
        return [level for _, level in untold]

    def note_one(self, request: ErasureRequest, now: datetime) -> ErasureRequest | None:
        """``None`` if the request is not there any more. Raises ``UnavailableError``."""
        for _ in range(_TRIES):
            level = level_at(request, now)
            if level <= request.sla_level:
                return request
            entries = _entries(request, level, self.audit.entries(request.request_id), now)
            try:
                if self.clock.raise_level(request, level, entries):
                    return replace(request, sla_level=level)
                # Held or ended meanwhile, or somebody else was faster.
                return self.requests.get(request.request_id)
            except UnavailableError:
                known = self.requests.get(request.request_id)
            if known is None or known.state not in OPEN_STATES:
                return known
            request = known
        raise UnavailableError("the trail is too busy")


def untold_levels(request: ErasureRequest) -> list[int]:
    return [level for level in LEVELS if request.sla_told < level <= request.sla_level]


def event_of_level(request: ErasureRequest, level: int, now: datetime) -> Event:
    return Event(
        f"{request.request_id}:sla:{level}",
        f"erasure.{_event(level)}",
        now,
        {
            "request_id": request.request_id,
            "family": request.family,
            "due_at": format_time(request.due_at),
            "percent": level,
            "remaining_seconds": int((request.due_at - now).total_seconds()),
        },
    )


def _event(level: int) -> str:
    return BREACHED if level == _BROKEN else AT_RISK


def _entries(request: ErasureRequest, level: int, trail: Sequence[AuditEntry], now: datetime) -> list[AuditEntry]:
    # The trail is read after the request: what somebody else has noted in between stands in it.
    known = {entry.event_id for entry in trail}
    last = trail[-1] if trail else None
    entries = []
    for reached in LEVELS:
        event_id = f"sla:{reached}"
        if request.sla_level < reached <= level and event_id not in known:
            details = {"percent": reached, "due_at": format_time(request.due_at)}
            last = next_entry(request.request_id, last, _event(reached), now, details, event_id=event_id)
            entries.append(last)
    return entries
