"""Close a job: add up the outcomes and say honestly whether the request is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.outcome import FAILED as OUTCOME_FAILED
from erasure.domain.outcome import TargetOutcome, is_finished, merge_outcomes, outcome_of_erasure
from erasure.domain.plan import FAILED, VERIFIED, Task
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, RequestStore, TaskStore

_TRIES = 5
_FINISHED, _ATTENTION = "finished", "attention"
"""The events with which a job closes a request."""
_CLOSED = "closed:"
"""Begins the id of the audit event with which a job closes a request; the job's id follows."""


@dataclass(frozen=True, slots=True)
class ClosedJob:
    """``finished`` and ``attention``: requests that this job closed, with the seconds since each was requested.

    Also what an earlier call closed: it may have died before anybody was told.
    """

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
        closed = _close(request_id, job_id, own, requests, audit, now)
        if closed is not None:
            request, is_done = closed
            (finished if is_done else attention).append((now() - request.requested_at).total_seconds())
    return ClosedJob(tuple(finished), tuple(attention))


def _close(
    request_id: str, job_id: str, tasks: Sequence[Task], requests: RequestStore, audit: AuditLog, now: Clock
) -> tuple[ErasureRequest, bool] | None:
    """The request and whether it is finished; ``None`` if it is neither open nor as this job left it."""
    for _ in range(_TRIES):
        # The trail first, then the record: another job closes by writing both, so if the place after this trail is
        # still free when we write, the record that we add our outcomes to is the latest one.
        entries = audit.entries(request_id)
        request = requests.get(request_id)
        if request is None:
            return None
        told = next((entry.event for entry in entries if entry.event_id == f"{_CLOSED}{job_id}"), None)
        if told is not None:
            return (request, told == _FINISHED) if told == _standing(request) else None
        if request.state != STARTED:
            return None
        outcomes = _merged(request, job_id, tasks, entries)
        # This job must have covered something: outcomes of an earlier attempt alone do not finish a request.
        done = bool(tasks) and is_finished(outcomes)
        details: dict[str, object] = {"job_id": job_id, "outcomes": [outcome.to_dict() for outcome in outcomes]}
        if not tasks:
            details["reason"] = "no_targets"
        entry = next_entry(
            request_id,
            entries[-1] if entries else None,
            _FINISHED if done else _ATTENTION,
            now(),
            details,
            event_id=f"{_CLOSED}{job_id}",
        )
        try:
            return (request, done) if requests.close(request, job_id, outcomes, now(), entry, finished=done) else None
        except UnavailableError:
            continue  # somebody else wrote an audit entry in between: follow that one
    raise UnavailableError("the request could not be closed")


def _standing(request: ErasureRequest) -> str | None:
    """The event that would have left the request as it is."""
    if request.state == FINISHED:
        return _FINISHED
    return _ATTENTION if request.state == STARTED and request.attention else None


def _merged(
    request: ErasureRequest, job_id: str, tasks: Sequence[Task], entries: Sequence[AuditEntry]
) -> tuple[TargetOutcome, ...]:
    own = [_outcome(task) for task in tasks]
    later = any(entry.event_id.startswith(_CLOSED) and _attempt(entry.event_id) > _attempt(job_id) for entry in entries)
    # What a later attempt found is newer, although this job ends after it: it must not be painted over.
    return merge_outcomes(own, request.outcomes) if later else merge_outcomes(request.outcomes, own)


def _attempt(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _outcome(task: Task) -> TargetOutcome:
    name, category = task.spec.name, task.spec.category
    if task.status == VERIFIED:
        return outcome_of_erasure(name, category, task.erased, at_least=task.at_least)
    reason = (task.reason if task.status == FAILED else None) or "not_finished"
    return TargetOutcome(name, category, OUTCOME_FAILED, task.erased, task.at_least, reason)
