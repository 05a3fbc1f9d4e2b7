"""Start a request at once that waits for its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.request import REQUESTED, ErasureRequest
from erasure.domain.times import due_at, format_time, purged_by
from erasure.errors import TransitionError, UnavailableError
from erasure.ports import AuditLog, Clock, ClockStore, JobQueue
from erasure.services.commands import ErasurePolicy

_EXPEDITED = "expedited"
_TRIES = 3


def expedite(
    request_id: str,
    read: Callable[[], ErasureRequest],
    *,
    clock: ClockStore,
    audit: AuditLog,
    queue: JobQueue,
    now: Clock,
    policy: ErasurePolicy,
    key_id: str,
    run_id: str,
) -> None:
    """From now on the request waits for nothing, its promise counts from now, and it is sent off.

    ``read`` returns the request as it is, or raises what tells that there is none. ``run_id``: of the call; the same
    call again sends it once more, which claiming makes harmless. Whoever dies before it is sent leaves a request that
    is late for its first look, and is sent then. Raises :class:`TransitionError` for a request that does not wait.
    """
    for _ in range(_TRIES):
        # The trail first: if its next place is free when we write, the record is the latest one.
        entries = audit.entries(request_id)
        request = read()
        if not _is_ours(run_id, entries):
            moment = now()
            waited_until = _check_waiting(request, moment)
            changed = _at_once(request, moment, policy)
            details = {"key_id": key_id, "run_id": run_id, "not_before": format_time(waited_until)}
            last = entries[-1] if entries else None
            entry = next_entry(request_id, last, _EXPEDITED, moment, details)
            try:
                if not clock.expedite(request, moment, changed, entry):
                    continue  # it was cancelled, held or sent off in between: look at it again
            except UnavailableError:
                continue  # somebody wrote an audit entry in between: follow that one
        elif request.state != REQUESTED:
            return
        queue.send([request_id], request.attempt + 1)
        return
    raise UnavailableError("the request was changed at the same moment")


def _is_ours(run_id: str, entries: Sequence[AuditEntry]) -> bool:
    """Whether this call has put it on record before."""
    return any(entry.event == _EXPEDITED and entry.details.get("run_id") == run_id for entry in entries)


def _check_waiting(request: ErasureRequest, moment: datetime) -> datetime:
    """Until when the request waits. Raises :class:`TransitionError` if it does not."""
    if request.state != REQUESTED:
        raise TransitionError(f"the request is {request.state}: it cannot be expedited")
    if request.not_before is None or request.not_before <= moment:
        raise TransitionError("the request does not wait for its time")
    return request.not_before


def _at_once(request: ErasureRequest, moment: datetime, policy: ErasurePolicy) -> ErasureRequest:
    return replace(
        request,
        not_before=moment,
        due_at=due_at(moment, policy.sla_hours),
        purged_by=purged_by(moment, policy.purge_days),
        # Pauses before its promise began do not count in it any more.
        paused_seconds=0,
        clock_at=ClockPolicy(patience=policy.patience).first_look(moment),
    )
