"""Send requests off again: those that nobody has taken up, and one for another attempt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from erasure.domain.audit import AuditEntry
from erasure.domain.clock import ClockPolicy
from erasure.domain.request import CANCELLED, REQUESTED, STARTED, ErasureRequest
from erasure.errors import TransitionError
from erasure.ports import AuditLog, Clock, ClockStore, JobQueue, RequestStore
from erasure.services.side_by_side import side_by_side

_PARALLEL_ENTRIES = 8
RETRIED = "retried:"
_PLANNED = "planned:"
"""Begin the ids of audit events: of a retry, the attempt follows; of a plan, the job's id, which ends in it."""


def keep(request_ids: Sequence[str], *, audit: AuditLog, now: Clock) -> None:
    """From now on, the call that made these requests cannot take them back: somebody else relies on them.

    To take one back is to write the second entry of its trail; this writes it. Whoever keeps requests looks afterwards
    whether that was in time: what is cancelled then was taken back before.
    """
    side_by_side(lambda request_id: audit.append(request_id, "kept", now(), {}), request_ids, _PARALLEL_ENTRIES)


def send_untaken(
    request_ids: Sequence[str],
    *,
    requests: RequestStore,
    audit: AuditLog,
    queue: JobQueue,
    now: Clock,
    delay_seconds: int = 0,
) -> set[str]:
    """Keep those of the requests that no job has taken yet, and queue what does not wait for its time; returns those
    that are cancelled.

    The call that made them may have died before it did. A second message does no harm: jobs claim their requests.
    """
    found = requests.get_many(request_ids) if request_ids else {}
    untaken = [request_id for request_id, request in found.items() if request.state == REQUESTED]
    if untaken:
        keep(untaken, audit=audit, now=now)
        found = {**found, **requests.get_many(untaken)}
    moment = now()
    to_send = [request_id for request_id in untaken if _is_to_be_sent(found[request_id], moment)]
    if to_send:
        queue.send(to_send, 1, delay_seconds=delay_seconds)
    return {request_id for request_id, request in found.items() if request.state == CANCELLED}


def _is_to_be_sent(request: ErasureRequest, now: datetime) -> bool:
    return request.state == REQUESTED and (request.not_before is None or request.not_before <= now)


def send_again(
    request: ErasureRequest,
    *,
    audit: AuditLog,
    queue: JobQueue,
    now: Clock,
    key_id: str | None = None,
    run_id: str | None = None,
) -> int:
    """Queue another attempt; returns its number, one more than any so far.

    ``run_id``: of the call; the same call again sends the same attempt. Raises :class:`TransitionError` for a request
    that is finished, cancelled, held or purged, or whose time has not come.
    """
    if request.state not in (REQUESTED, STARTED):
        raise TransitionError(f"the request is {request.state}: there is nothing to try again")
    if request.purged_at is not None:
        raise TransitionError("the request's time is over: nobody knows any more whom it was about")
    if request.not_before is not None and request.not_before > now():
        raise TransitionError("the request waits for its time")
    entries = audit.entries(request.request_id)
    attempt = attempt_of(run_id, entries) or next_attempt(request, entries)
    details: dict[str, object] = {"attempt": attempt, "key_id": key_id, "run_id": run_id}
    # On record before it is sent: an execution's name is used up by starting it, even if it fails before it plans.
    audit.append(
        request.request_id,
        "retried",
        now(),
        {name: value for name, value in details.items() if value is not None},
        event_id=f"{RETRIED}{attempt}",
    )
    queue.send([request.request_id], attempt)
    return attempt


def take_up(request: ErasureRequest, *, clock: ClockStore, now: Clock, policy: ClockPolicy) -> None:
    """If the request is parked, have the clock look after it again as if it were new: a retry may get lost, and its
    execution die, as any other."""
    if request.parked_at is not None and request.state in (REQUESTED, STARTED):
        moment = now()
        clock.look_again(request, policy.next_look(request, moment, policy.first_look(moment)), anew=True)


def attempt_of(run_id: str | None, entries: Sequence[AuditEntry]) -> int | None:
    """The attempt that this call has put on record before, if it has."""
    known = [entry for entry in entries if run_id is not None and entry.details.get("run_id") == run_id]
    return int(known[0].details["attempt"]) if known else None


def next_attempt(request: ErasureRequest, entries: Sequence[AuditEntry]) -> int:
    """The first attempt is the one that accepting sent off, whether or not a job has planned it yet."""
    numbers = [entry.event_id.rpartition("-")[2] for entry in entries if entry.event_id.startswith(_PLANNED)]
    planned = [int(number) for number in numbers if number.isdigit()]
    return max([1, request.attempt, *planned, *retried_attempts(entries)]) + 1


def retried_attempts(entries: Sequence[AuditEntry]) -> dict[int, AuditEntry]:
    """The attempts that were put on record before they were sent, with their entries."""
    retried = [entry for entry in entries if entry.event_id.startswith(RETRIED)]
    return {int(entry.event_id.removeprefix(RETRIED)): entry for entry in retried}
