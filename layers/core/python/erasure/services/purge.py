"""At its time, the record of a request loses the subject's id and all else that identifies anybody.

What stays is what proves the erasure: the keyed digest, times, counts, outcomes, and the trail, which never had more.
A purged request can be done no more: nothing can be retried, replayed or taken up for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from erasure.domain.audit import next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.request import CANCELLED, FINISHED, HELD, ErasureRequest
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, ClockStore, RequestStore
from erasure.services.due_rounds import work_through
from erasure.services.follow_ups import NOT_FOLLOWED, SUBJECT_ID_EXPIRED
from erasure.services.side_by_side import each_for_itself
from erasure.targets.protocol import Deadline

PURGED = "purged"
_TRIES = 5


def purge_due(
    clock: ClockStore, requests: RequestStore, audit: AuditLog, now: Clock, deadline: Deadline, policy: ClockPolicy
) -> int:
    """Purge the requests whose time has come; returns how many this sweep has purged. Raises ``UnavailableError`` if
    one could not be purged, after all the others."""

    def purge(request: ErasureRequest) -> bool:
        moment = now()
        return _is_to_go(request, moment, policy) and _purge(request, clock, audit, moment)

    def purge_all(listing: Callable[[datetime, int], list[str]]) -> int:
        return work_through(lambda limit: listing(now(), limit), requests, purge, deadline)

    errors: list[Exception] = []
    purged = each_for_itself(purge_all, (clock.ended_due, clock.open_due), 1, errors)
    if errors:
        raise errors[0]
    return sum(count or 0 for count in purged)


def _is_to_go(request: ErasureRequest, now: datetime, policy: ClockPolicy) -> bool:
    """One that has ended, so early that at ``purged_by`` no backup of the service's own tables has it. Until then it
    may be due for the second look only; at that time it goes, looked at or not. One that is open, if it is parked, at
    ``purged_by`` itself: until then somebody may mend what is broken."""
    if request.purged_at is not None or request.clock_at is None or request.clock_at > now:
        return False
    if request.state in (FINISHED, CANCELLED):
        return now >= policy.purge_at(request.purged_by, request.finished_at or request.requested_at)
    return request.state != HELD and request.parked_at is not None and now >= request.purged_by


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
