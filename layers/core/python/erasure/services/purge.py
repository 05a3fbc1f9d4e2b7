"""At its time, the record of a request loses the subject's id and all else that identifies anybody.

What stays is what proves the erasure: the keyed digest, times, counts, outcomes, and the trail, which never had more.
A purged request can be done no more: nothing can be retried, replayed or taken up for it.
"""

from __future__ import annotations

from datetime import datetime

from erasure.domain.audit import next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.request import CANCELLED, FINISHED, ErasureRequest
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, ClockStore, RequestStore
from erasure.services.due_rounds import work_through
from erasure.services.follow_ups import NOT_FOLLOWED, SUBJECT_ID_EXPIRED
from erasure.targets.protocol import Deadline

PURGED = "purged"
_TRIES = 5


def purge_due(
    clock: ClockStore, requests: RequestStore, audit: AuditLog, now: Clock, deadline: Deadline, policy: ClockPolicy
) -> int:
    """Purge the requests that have ended and whose time has come; returns how many this sweep has purged. One that is
    open is parked and purged by the watch over open requests. Raises ``UnavailableError`` if one could not be purged,
    after all the others."""

    def purge(request: ErasureRequest) -> bool:
        moment = now()
        return _is_to_go(request, moment, policy) and _purge(request, clock, audit, moment)

    return work_through(lambda limit: clock.ended_due(now(), limit), requests, purge, deadline)


def _is_to_go(request: ErasureRequest, now: datetime, policy: ClockPolicy) -> bool:
    """So early that at ``purged_by`` no backup of the service's own tables has it. Until then it may be due for the
    second look only; at that time it goes, looked at or not."""
    if request.state not in (FINISHED, CANCELLED) or request.clock_at is None or request.clock_at > now:
        return False
    return now >= policy.purge_at(request.purged_by, request.finished_at or request.requested_at)


def _purge(request: ErasureRequest, clock: ClockStore, audit: AuditLog, now: datetime) -> bool:
    if request.follow_up_at is not None:
        # It would have been taken up later than its subject's id is known.
        audit.append(request.request_id, NOT_FOLLOWED, now, {"reason": SUBJECT_ID_EXPIRED})
    for _ in range(_TRIES):
        entries = audit.entries(request.request_id)
        entry = next_entry(request.request_id, entries[-1] if entries else None, PURGED, now, {})
        try:
            return clock.purge(request, now, entry)
        except UnavailableError:
            continue  # somebody else wrote an audit entry in between: follow that one
    raise UnavailableError("the request could not be purged")
