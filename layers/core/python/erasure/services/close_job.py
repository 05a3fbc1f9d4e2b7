"""Close a job: add up the outcomes and say honestly whether the request is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from erasure.domain.audit import next_entry
from erasure.domain.outcome import FAILED as OUTCOME_FAILED
from erasure.domain.outcome import TargetOutcome, is_finished, merge_outcomes, outcome_of_erasure
from erasure.domain.plan import FAILED, VERIFIED, Task
from erasure.domain.request import STARTED, ErasureRequest
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, RequestStore, TaskStore

_TRIES = 5


@dataclass(frozen=True, slots=True)
class ClosedJob:
    """``finished`` and ``attention``: requests that this call closed, with the seconds since each was requested."""

    finished: tuple[float, ...]
    attention: tuple[float, ...]


def close_job(
    job_id: str,
    request_ids: Sequence[str],
    *,
    requests: RequestStore,
    tasks: TaskStore,
    audit: AuditLog,
    now: Clock,
) -> ClosedJob:
    """Write the outcomes of the job's requests. Closing again changes nothing."""
    all_tasks = tasks.tasks(job_id)
    finished: list[float] = []
    attention: list[float] = []
    for request_id in request_ids:
        own = [task for task in all_tasks if task.request_id == request_id]
        request = requests.get(request_id)
        if request is None or request.state != STARTED:
            continue
        is_done = _close(request, job_id, own, requests, audit, now)
        seconds = (now() - request.requested_at).total_seconds()
        if is_done is not None:
            (finished if is_done else attention).append(seconds)
    return ClosedJob(tuple(finished), tuple(attention))


def _close(
    request: ErasureRequest, job_id: str, tasks: Sequence[Task], requests: RequestStore, audit: AuditLog, now: Clock
) -> bool | None:
    """Whether the request is finished; ``None`` if this job had closed it before."""
    outcomes = merge_outcomes(request.outcomes, [_outcome(task) for task in tasks])
    # This job must have covered something: outcomes of an earlier attempt alone do not finish a request.
    done = bool(tasks) and is_finished(outcomes)
    details: dict[str, object] = {"job_id": job_id, "outcomes": [outcome.to_dict() for outcome in outcomes]}
    if not tasks:
        details["reason"] = "no_targets"
    for _ in range(_TRIES):
        entries = audit.entries(request.request_id)
        entry = next_entry(
            request.request_id,
            entries[-1] if entries else None,
            "finished" if done else "attention",
            now(),
            details,
            event_id=f"closed:{job_id}",
        )
        try:
            return done if requests.close(request, job_id, outcomes, now(), entry, finished=done) else None
        except UnavailableError:
            continue  # somebody else wrote an audit entry in between: follow that one
    raise UnavailableError("the request could not be closed")


def _outcome(task: Task) -> TargetOutcome:
    name, category = task.spec.name, task.spec.category
    if task.status == VERIFIED:
        return outcome_of_erasure(name, category, task.erased, at_least=task.at_least)
    reason = (task.reason if task.status == FAILED else None) or "not_finished"
    return TargetOutcome(name, category, OUTCOME_FAILED, task.erased, task.at_least, reason)
