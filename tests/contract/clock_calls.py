"""The calls of the clock's store, as its contract suites make them, and requests to make them for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import ErasureRequest
from tests.contract.stores import NOW, Stores, a_request

MILLISECOND, HOUR, DAY = timedelta(milliseconds=1), timedelta(hours=1), timedelta(days=1)
LATER = NOW + 30 * DAY
GONE = [TargetOutcome("notes", "content", "erased", 7)]


def entry_for(stores: Stores, request: ErasureRequest, event: str = "changed") -> AuditEntry:
    """What would come next in the request's trail."""
    entries = stores.audit.entries(request.request_id)
    return next_entry(request.request_id, entries[-1] if entries else None, event, NOW, {})


def record_of(stores: Stores, request: ErasureRequest) -> ErasureRequest:
    found: ErasureRequest = stores.requests.get(request.request_id)
    return found


def cancelled(stores: Stores, clock_at: datetime | None = None, **attributes: Any) -> ErasureRequest:
    request = stores.accepted(a_request(**attributes))
    assert stores.requests.cancel(request, entry_for(stores, request), clock_at)
    return record_of(stores, request)


def closed(stores: Stores, clock_at: datetime | None = None, *, finished: bool = True, **more: Any) -> ErasureRequest:
    request = stores.started()
    assert stores.requests.close(
        request,
        "job-1",
        GONE,
        NOW,
        entry_for(stores, request),
        finished=finished,
        attention=not finished,
        clock_at=clock_at,
        **more,
    )
    return record_of(stores, request)


def held(stores: Stores, at: datetime = NOW, **attributes: Any) -> ErasureRequest:
    request = stores.accepted(a_request(**attributes))
    assert hold(stores, request, at)
    return record_of(stores, request)


def hold(stores: Stores, request: ErasureRequest, at: datetime = NOW) -> bool:
    return bool(stores.clock.hold(request, "lh_1", at, entry_for(stores, request, "held")))


def resume(stores: Stores, request: ErasureRequest, at: datetime) -> bool:
    return bool(stores.clock.resume(request, at, at + HOUR, entry_for(stores, request, "resumed")))


def expedite(stores: Stores, request: ErasureRequest, at: datetime) -> bool:
    changed = replace(request, not_before=at, due_at=at + 72 * HOUR, purged_by=at + 90 * DAY, clock_at=at + HOUR)
    return bool(stores.clock.expedite(request, at, changed, entry_for(stores, request, "expedited")))


def purge(stores: Stores, request: ErasureRequest) -> bool:
    return bool(stores.clock.purge(request, LATER, entry_for(stores, request, "purged")))


def raise_level(stores: Stores, request: ErasureRequest, level: int) -> bool:
    return bool(stores.clock.raise_level(request, level, [entry_for(stores, request, "sla_at_risk")]))
