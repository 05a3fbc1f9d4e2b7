"""Close a job: add up the outcomes and say honestly which requests are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.follow_ups import follow_up_at
from erasure.domain.outcome import TargetOutcome, is_finished, merge_outcomes
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, RequestStore, TaskStore
from erasure.services.earlier_jobs import CLOSED
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import outcomes_of, parts_by_request, words_of

PARALLEL_REQUESTS = 8
ACCESS_REVOKED, ACCESS_NOT_REVOKED = "access_revoked", "access_not_revoked"
"""The events with which a partial job closes a request."""
_FINISHED, _ATTENTION, _WAITS_FOR_SCAN = "finished", "attention", "waits_for_scan"
"""The events with which any other job does."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class ClosedJob:
    """``finished`` and ``attention``: requests that this job closed, with the seconds since each was requested. Of a
    partial job, ``finished`` has those of which all that it covered is gone.

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
    partial: bool = False,
) -> ClosedJob:
    """Write the outcomes of the job's requests. Closing again changes nothing.

    ``partial``: the job covered a part of what has to be erased, so that its requests go on, whatever it came to; a
    later job's counts are added. Requests that another job has by now, or that the job never got, are left alone: a
    job that takes a request over counts as its own what was erased before. Raises ``UnavailableError`` when a request
    could not be closed, after the others were.
    """
    own = parts_by_request(tasks.tasks(job_id))
    pinned = tasks.pinned(job_id)
    scanning = frozenset(pinned.scanning if pinned is not None else ())

    def close(request_id: str) -> tuple[bool, float] | None:
        parts = own.get(request_id, [])
        job = _Job(job_id, outcomes_of(parts), words_of(parts), partial, request_id in scanning)
        closed = _close(request_id, job, requests, audit, now)
        if closed is None:
            return None
        request, is_done = closed
        return is_done, (now() - request.requested_at).total_seconds()

    closed = [told for told in side_by_side(close, list(dict.fromkeys(request_ids)), PARALLEL_REQUESTS) if told]
    return ClosedJob(
        finished=tuple(seconds for is_done, seconds in closed if is_done),
        attention=tuple(seconds for is_done, seconds in closed if not is_done),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """A job as one of its requests sees it. ``outcomes``: of the targets that it covered for this request.
    ``words``: what each calls it when it has done something. ``scanned``: it has scanned what there was to scan for the
    request."""

    job_id: str
    outcomes: tuple[TargetOutcome, ...]
    words: Mapping[str, str]
    partial: bool
    scanned: bool = False

    def waits(self, request: ErasureRequest) -> bool:
        """Whether tables are still to be scanned for the request, at the end of its window."""
        return request.scan_at is not None and not self.scanned and not self.partial

    @property
    def event_id(self) -> str:
        return f"{CLOSED}{self.job_id}"

    def event(self, *, done: bool, waits: bool) -> str:
        if self.partial:
            return ACCESS_REVOKED if done else ACCESS_NOT_REVOKED
        if waits and done:
            return _WAITS_FOR_SCAN
        return _FINISHED if done else _ATTENTION

    def stands(self, request: ErasureRequest, told: str) -> bool | None:
        """Whether the request is done with this job, which has told so before; ``None`` if it stands otherwise now."""
        if self.partial:
            names = {outcome.target for outcome in self.outcomes}
            return is_finished(outcome for outcome in request.outcomes if outcome.target in names)
        if request.state == FINISHED:
            return True if told == _FINISHED else None
        return False if told == _ATTENTION and request.state == STARTED and request.attention else None


def _close(
    request_id: str, job: _Job, requests: RequestStore, audit: AuditLog, now: Clock
) -> tuple[ErasureRequest, bool] | None:
    """The request and whether it is done; ``None`` if it is not this job's, or neither open nor as this job left it."""
    for _ in range(_TRIES):
        # The trail first, then the record: another job takes the request over by claiming it and writing to the trail,
        # so if the place after this trail is still free when we write, the request was ours to the end.
        entries = audit.entries(request_id)
        request = requests.get(request_id)
        if request is None:
            return None
        told = next((entry.event for entry in entries if entry.event_id == job.event_id), None)
        if told is not None:
            done = job.stands(request, told)
            return None if done is None else (request, done)
        if request.state != STARTED or request.job_id != job.job_id:
            return None
        try:
            return _write(request, job, entries, requests, now())
        except UnavailableError:
            continue  # somebody else wrote an audit entry in between: follow that one
    raise UnavailableError("the request could not be closed")


def _write(
    request: ErasureRequest, job: _Job, entries: Sequence[AuditEntry], requests: RequestStore, now: datetime
) -> tuple[ErasureRequest, bool] | None:
    outcomes = merge_outcomes(request.outcomes, job.outcomes, job.words)
    waits = job.waits(request)
    # This job must have covered something, or have something to wait for: outcomes of an earlier attempt alone do not
    # finish a request.
    done = is_finished(job.outcomes if job.partial else outcomes) if job.outcomes else waits and not outcomes
    details: dict[str, object] = {"job_id": job.job_id, "outcomes": [outcome.to_dict() for outcome in outcomes]}
    if waits and request.scan_at is not None:
        details["scan_at"] = format_time(request.scan_at)
    elif not job.outcomes:
        details["reason"] = "no_targets"
    entry = next_entry(
        request.request_id,
        entries[-1] if entries else None,
        job.event(done=done, waits=waits),
        now,
        details,
        event_id=job.event_id,
    )
    is_finished_now = done and not job.partial and not waits
    is_written = requests.close(
        request,
        job.job_id,
        outcomes,
        now,
        entry,
        finished=is_finished_now,
        # A partial job neither calls for attention, since the rest is still to come, nor calls it off.
        attention=request.attention if job.partial else not done,
        scanned=job.scanned,
        follow_up_at=follow_up_at(request, outcomes, now) if is_finished_now else None,
    )
    return (request, done) if is_written and not (waits and done) else None
