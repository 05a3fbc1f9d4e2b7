"""Finds open requests that nobody works on, and puts them back: a message got lost, an execution failed, timed out, was
aborted or never started; or a target failed and may have been repaired.

A request whose execution lives is left alone, and so is one of which that cannot be told. One that no job has claimed
gets the attempt once more that it was sent with: jobs of one attempt exclude each other. It gets a higher one only when
that has not helped for long: an execution's name is used up by starting it, even if it fails before it plans.

What a look sends is put on record before, under the look's name. The same look made again, because the first one died,
or by another at the same moment, sends the same attempt.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.audit import AuditEntry
from erasure.domain.clock import MAX_TRIES, ClockPolicy
from erasure.domain.outcome import FAILED
from erasure.domain.request import REQUESTED, ErasureRequest
from erasure.domain.times import format_time, parse_time
from erasure.ports import AuditLog, Event, EventBus, Executions, JobQueue
from erasure.services.retries import RETRIED, attempt_of, next_attempt, retried_attempts
from erasure.services.side_by_side import each_for_itself
from erasure.services.start_jobs import JOB_REQUESTS

PARALLEL_REQUESTS = 8
RESENT, PARKED, RESUMED = "resent", "parked", "resumed"
TARGETS_FAILED, NOT_FINISHED = "targets_failed", "not_finished"
"""Why a request is parked: what its last job told of its targets, or no job has come to its end."""
_PARTED_FROM = 3
_RESENT = f"{RESENT}:"
"""Begins the ids of audit events of what was sent with an attempt that had been sent before."""


@dataclass(frozen=True, slots=True)
class Healing:
    """What a look has come to. ``again_at``: when it is to be healed next; ``None``: it is parked. ``attempt``: with
    which it is sent off now. ``parks``: from now on it waits for a person."""

    again_at: datetime | None
    attempt: int | None = None
    parks: bool = False


@dataclass(frozen=True, slots=True)
class LostRequests:
    """``queue``: the batch lane."""

    executions: Executions
    audit: AuditLog
    queue: JobQueue
    events: EventBus
    policy: ClockPolicy

    def heal(self, requests: Sequence[ErasureRequest], now: datetime, errors: list[Exception]) -> dict[str, Healing]:
        """What became of each of these requests, which are ``requested`` or ``started``, by its id. Those are missing
        with which something went wrong: they are to be looked at again as they are."""
        living = self.living_jobs(requests, errors)
        healings = each_for_itself(
            lambda request: self._healing(request, now, living), requests, PARALLEL_REQUESTS, errors
        )
        found = {
            request.request_id: healing
            for request, healing in zip(requests, healings, strict=True)
            if healing is not None
        }
        for request_id in self._send(found, errors):
            del found[request_id]
        return found

    def living_jobs(self, requests: Sequence[ErasureRequest], errors: list[Exception]) -> frozenset[str]:
        """The jobs of these requests that live, or may: nothing is sent beside what may be alive."""
        jobs = sorted(
            {request.job_id for request in requests if request.job_id is not None and _has_execution(request)}
        )
        are_living = each_for_itself(self.executions.is_living, jobs, PARALLEL_REQUESTS, errors)
        return frozenset(job for job, is_living in zip(jobs, are_living, strict=True) if is_living is not False)

    def resend(self, request: ErasureRequest, attempt: int, now: datetime, run_id: str) -> None:
        """Put on record that the attempt is sent once more; sending it is the caller's."""
        self.audit.append(
            request.request_id, RESENT, now, {"attempt": attempt, "run_id": run_id}, event_id=f"{_RESENT}{run_id}"
        )

    def park(self, request: ErasureRequest, now: datetime) -> None:
        """Say, in the trail and to the outside, that the request waits for a person, and why."""
        reasons = {told.target: told.reason or FAILED for told in request.outcomes if told.outcome == FAILED}
        reason = TARGETS_FAILED if reasons else NOT_FINISHED
        event_id = f"{PARKED}:{request.job_id or request.attempt}"
        self.audit.append(
            request.request_id,
            PARKED,
            now,
            {"reason": reason, "targets": reasons, "tries": request.tries},
            event_id=event_id,
        )
        details = {
            "request_id": request.request_id,
            "family": request.family,
            "due_at": format_time(request.due_at),
            "reason": reason,
            "targets": reasons,
        }
        self.events.put([Event(f"{request.request_id}:{event_id}", "erasure.failed", now, details)])

    def _healing(self, request: ErasureRequest, now: datetime, living: frozenset[str]) -> Healing:
        waits_until = self._waits_until(request, now, living)
        if request.parked_at is not None or waits_until is not None:
            return Healing(None if request.parked_at is not None else waits_until)
        if now >= request.purged_by - self.policy.own_backups:
            # Its record has to go soon: what is begun now might not come to an end.
            self.park(request, now)
            return Healing(None, parks=True)
        entries = self.audit.entries(request.request_id)
        run_id = f"watch:{format_time(request.clock_at or now)}"
        next_time = now + self.policy.pause_after(request.tries + 1)
        known = attempt_of(run_id, entries)
        if known is not None and known > request.attempt:
            return Healing(next_time, known)
        rested_at = self._rested_at(request, entries)
        if rested_at is not None and rested_at > now:
            return Healing(rested_at)
        if request.attention and request.tries >= MAX_TRIES:
            self.park(request, now)
            return Healing(None, parks=True)
        attempt, is_new = self._attempt(request, entries, now)
        if is_new:
            # On record before it is sent, as every attempt that is made.
            details: dict[str, object] = {"attempt": attempt, "run_id": run_id}
            self.audit.append(request.request_id, RESENT, now, details, event_id=f"{RETRIED}{attempt}")
        else:
            self.resend(request, attempt, now, run_id)
        return Healing(next_time, attempt)

    def _waits_until(self, request: ErasureRequest, now: datetime, living: frozenset[str]) -> datetime | None:
        """When to look at a request again with which nothing is wrong; ``None``: something is, or may be."""
        patience = self.policy.patience
        if request.state == REQUESTED:
            is_to_wait = request.not_before is not None and request.not_before > now
            return self.policy.first_look(request.not_before) if is_to_wait and request.not_before else None
        if _has_execution(request) and request.job_id in living:
            return now + patience
        if _is_closed(request) and request.scan_at is not None and not request.attention:
            # The sweep sends it off when its window has ended.
            return request.scan_at + patience if request.scan_at + patience > now else None
        return None

    def _rested_at(self, request: ErasureRequest, entries: Sequence[AuditEntry]) -> datetime | None:
        """Until when it is given time, after it was sent or has failed last; ``None``: neither is known."""
        moments = [parse_time(entry.at) for entry in entries if entry.event_id.startswith((RETRIED, _RESENT))]
        if request.attention and request.closed_at is not None:
            moments.append(request.closed_at)
        return max(moments) + self.policy.pause_after(request.tries) if moments else None

    def _attempt(self, request: ErasureRequest, entries: Sequence[AuditEntry], now: datetime) -> tuple[int, bool]:
        """With which attempt it is sent, and whether that is a new one."""
        retried = retried_attempts(entries)
        latest = max(retried, default=0)
        sent_at = None
        if latest > request.attempt:
            pending, sent_at = latest, parse_time(retried[latest].at)
        elif _is_untaken(request):
            # Sent without being on record: when it was accepted, released or resumed.
            pending = request.attempt + 1
            sent_at = _begin(request, entries) if request.tries else None
        else:
            return next_attempt(request, entries) + _parting(request), True
        is_given_up = sent_at is not None and now >= sent_at + 3 * self.policy.patience
        return (next_attempt(request, entries) + _parting(request), True) if is_given_up else (pending, False)

    def _send(self, healings: Mapping[str, Healing], errors: list[Exception]) -> list[str]:
        """Send what is to be sent, all of an attempt together; returns the ids of those that could not be."""
        by_attempt: dict[int, list[str]] = {}
        for request_id, healing in healings.items():
            if healing.attempt is not None:
                by_attempt.setdefault(healing.attempt, []).append(request_id)
        failed: list[str] = []
        for attempt, request_ids in sorted(by_attempt.items()):
            for start in range(0, len(request_ids), JOB_REQUESTS):
                message = request_ids[start : start + JOB_REQUESTS]
                try:
                    self.queue.send(message, attempt)
                except Exception as error:
                    errors.append(error)
                    failed += message
        return failed


def _is_untaken(request: ErasureRequest) -> bool:
    """No job that has an execution has claimed it: a deletion at once, attempt 0, has none."""
    return request.state == REQUESTED or request.attempt == 0


def _is_closed(request: ErasureRequest) -> bool:
    return request.job_id in request.closed_jobs


def _has_execution(request: ErasureRequest) -> bool:
    """Whether a job has it that has not closed it and may be at work."""
    return not _is_untaken(request) and not _is_closed(request)


def _parting(request: ErasureRequest) -> int:
    """Half of those that were lost together again and again skip a number, another half each time: if it is one of them
    for which no job can be planned, the others soon are in a job without it."""
    if request.attention or request.tries < _PARTED_FROM:
        return 0
    return zlib.crc32(request.request_id.encode()) >> request.tries % 32 & 1


def _begin(request: ErasureRequest, entries: Sequence[AuditEntry]) -> datetime:
    resumed = [parse_time(entry.at) for entry in entries if entry.event == RESUMED]
    return max([request.not_before or request.requested_at, *resumed])
