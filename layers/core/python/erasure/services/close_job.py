"""Close a job: add up the outcomes and say honestly which requests are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import ClockPolicy, level_at
from erasure.domain.follow_ups import follow_up_at
from erasure.domain.outcome import TargetOutcome, is_finished, merge_outcomes
from erasure.domain.request import FINISHED, SECOND_LOOK, STARTED, ErasureRequest
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, RequestStore, TaskStore
from erasure.services.earlier_jobs import CLOSED
from erasure.services.side_by_side import side_by_side
from erasure.services.sla_alerts import SlaAlerts
from erasure.services.task_parts import outcomes_of, parts_by_request, words_of

PARALLEL_REQUESTS = 8
ACCESS_REVOKED, ACCESS_NOT_REVOKED = "access_revoked", "access_not_revoked"
"""The events with which a partial job closes a request."""
_FINISHED, _ATTENTION, _WAITS_FOR_SCAN = "finished", "attention", "waits_for_scan"
"""The events with which any other job does."""
LATE_ARRIVALS = "late_arrivals"
"""The event with which a second look's request tells the one that it follows what it has found."""
_TRIES = 5
_POLICY = ClockPolicy()


@dataclass(frozen=True, slots=True)
class ClosedJob:
    """``finished`` and ``attention``: requests that this job closed, with the seconds since each was requested. Of a
    partial job, ``finished`` has those of which all that it covered is gone.

    ``within`` and ``late``: how many of them ended by when they were due, and later. ``late_arrivals``: how many things
    were erased that had been written after an erasure. ``told``: levels of promises of which the outside was told by
    this call.

    Also what an earlier call closed: it may have died before anybody was told.
    """

    finished: tuple[float, ...]
    attention: tuple[float, ...]
    within: int = 0
    late: int = 0
    late_arrivals: int = 0
    told: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Closed:
    """``finished_at``: of one that has ended; ``None`` if it goes on, also if all that the job covered is done.
    ``told``: levels of its promise that the outside has been told of now."""

    request: ErasureRequest
    is_done: bool
    finished_at: datetime | None = None
    told: tuple[int, ...] = ()


def close_job(
    job_id: str,
    request_ids: Sequence[str],
    *,
    requests: RequestStore,
    tasks: TaskStore,
    audit: AuditLog,
    now: Clock,
    partial: bool = False,
    alerts: SlaAlerts | None = None,
    policy: ClockPolicy = _POLICY,
) -> ClosedJob:
    """Write the outcomes of the job's requests. Closing again changes nothing.

    ``partial``: the job covered a part of what has to be erased, so that its requests go on, whatever it came to; a
    later job's counts are added. Requests that another job has by now, or that the job never got, are left alone: a
    job that takes a request over counts as its own what was erased before. ``alerts``: nothing ends before its trail
    and the outside know of the levels of its promise that it has reached. Raises ``UnavailableError`` when a request
    could not be closed, after the others were.
    """
    own = parts_by_request(tasks.tasks(job_id))
    pinned = tasks.pinned(job_id)
    scanning = frozenset(pinned.scanning if pinned is not None else ())
    use = _Closing(requests, audit, now, alerts, policy)

    def close(request_id: str) -> tuple[_Closed, float, int] | None:
        parts = own.get(request_id, [])
        job = _Job(job_id, outcomes_of(parts), words_of(parts), partial, request_id in scanning)
        closed = use.close(request_id, job)
        if closed is None:
            return None
        found = use.report_late_arrivals(closed, job)
        return closed, (now() - closed.request.requested_at).total_seconds(), found

    told = [told for told in side_by_side(close, list(dict.fromkeys(request_ids)), PARALLEL_REQUESTS) if told]
    ends = [(closed.finished_at, closed.request.due_at) for closed, _, _ in told if closed.finished_at is not None]
    within = sum(finished_at <= due_at for finished_at, due_at in ends)
    return ClosedJob(
        finished=tuple(seconds for closed, seconds, _ in told if closed.is_done),
        attention=tuple(seconds for closed, seconds, _ in told if not closed.is_done),
        within=within,
        late=len(ends) - within,
        late_arrivals=sum(found for _, _, found in told),
        told=tuple(level for closed, _, _ in told for level in closed.told),
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


@dataclass(frozen=True, slots=True)
class _Closing:
    requests: RequestStore
    audit: AuditLog
    now: Clock
    alerts: SlaAlerts | None
    policy: ClockPolicy

    def close(self, request_id: str, job: _Job) -> _Closed | None:
        """``None`` if the request is not this job's, or neither open nor as this job left it."""
        for _ in range(_TRIES):
            # The trail first, then the record: another job takes the request over by claiming it and writing to the
            # trail, so if the place after this trail is still free when we write, the request was ours to the end.
            entries = self.audit.entries(request_id)
            request = self.requests.get(request_id)
            if request is None:
                return None
            told = next((entry.event for entry in entries if entry.event_id == job.event_id), None)
            if told is not None:
                done = job.stands(request, told)
                finished_at = None if job.partial else request.finished_at
                return None if done is None else _Closed(request, done, finished_at)
            if request.state != STARTED or request.job_id != job.job_id:
                return None
            if self._is_late_unnoted(request, job):
                continue
            try:
                return self._write(request, job, entries)
            except UnavailableError:
                continue  # somebody else wrote an audit entry in between: follow that one
        raise UnavailableError("the request could not be closed")

    def report_late_arrivals(self, closed: _Closed, job: _Job) -> int:
        """If the request looked once more after another one: tell that one's trail what was erased. How much it was.

        After closing: a call that dies before this is made again, and comes by here."""
        request = closed.request
        if closed.finished_at is None or request.purpose != SECOND_LOOK or request.follows is None:
            return 0
        outcomes = request.outcomes if request.state == FINISHED else _merged(request, job)
        count = sum(outcome.count for outcome in outcomes)
        self.audit.append(
            request.follows,
            LATE_ARRIVALS,
            self.now(),
            {"count": count, "request_id": request.request_id},
            event_id=f"{LATE_ARRIVALS}:{request.request_id}",
        )
        return count

    def _write(self, request: ErasureRequest, job: _Job, entries: Sequence[AuditEntry]) -> _Closed | None:
        now = self.now()
        outcomes = _merged(request, job)
        waits = job.waits(request)
        # This job must have covered something, or have something to wait for: outcomes of an earlier attempt alone do
        # not finish a request.
        done = is_finished(job.outcomes if job.partial else outcomes) if job.outcomes else waits and not outcomes
        is_finished_now = done and not job.partial and not waits
        levels = self._tell(request, now) if is_finished_now else ()
        is_written = self.requests.close(
            request,
            job.job_id,
            outcomes,
            now,
            _entry(request, job, outcomes, entries, now, done=done),
            finished=is_finished_now,
            # A partial job neither calls for attention, since the rest is still to come, nor calls it off.
            attention=request.attention if job.partial else not done,
            scanned=job.scanned,
            follow_up_at=follow_up_at(request, outcomes, now) if is_finished_now else None,
            clock_at=self._clock_at(request, job, now, done=done),
        )
        if not is_written or (waits and done):
            return None
        return _Closed(request, done, now if is_finished_now else None, levels)

    def _is_late_unnoted(self, request: ErasureRequest, job: _Job) -> bool:
        """Whether the request has reached a level of its promise since the watch looked, which is noted by now: with
        the trail gone on, everything has to be read again."""
        if self.alerts is None or job.partial or level_at(request, self.now()) <= request.sla_level:
            return False
        self.alerts.note_one(request, self.now())
        return True

    def _tell(self, request: ErasureRequest, now: datetime) -> tuple[int, ...]:
        """Whoever noted a level may have died before he told of it, and nobody looks at what has ended."""
        return () if self.alerts is None else tuple(self.alerts.tell([request], now))

    def _clock_at(self, request: ErasureRequest, job: _Job, now: datetime, *, done: bool) -> datetime | None:
        if job.partial:
            return None
        if job.waits(request) and done and request.scan_at is not None:
            return self.policy.next_look(request, now, request.scan_at + self.policy.patience)
        if done:
            return self.policy.after_finishing(request, now)
        heal_at = now + self.policy.pause_after(request.tries) if request.parked_at is None else None
        return self.policy.next_look(request, now, heal_at)


def _merged(request: ErasureRequest, job: _Job) -> tuple[TargetOutcome, ...]:
    return merge_outcomes(request.outcomes, job.outcomes, job.words)


def _entry(
    request: ErasureRequest,
    job: _Job,
    outcomes: Sequence[TargetOutcome],
    entries: Sequence[AuditEntry],
    now: datetime,
    *,
    done: bool,
) -> AuditEntry:
    waits = job.waits(request)
    details: dict[str, object] = {"job_id": job.job_id, "outcomes": [outcome.to_dict() for outcome in outcomes]}
    if waits and request.scan_at is not None:
        details["scan_at"] = format_time(request.scan_at)
    elif not job.outcomes:
        details["reason"] = "no_targets"
    last = entries[-1] if entries else None
    event = job.event(done=done, waits=waits)
    return next_entry(request.request_id, last, event, now, details, event_id=job.event_id)
