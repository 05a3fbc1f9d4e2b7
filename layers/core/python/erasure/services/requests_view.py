"""Requests as backends see them: one with its progress, lists of them, batches, the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from erasure.domain.audit import AuditEntry, broken_at
from erasure.domain.identifiers import is_request_id
from erasure.domain.outcome import NOTHING_KEPT, Kept, TargetOutcome, merge_outcomes
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, VERIFIED, Part, Task, targets_for
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import parse_time
from erasure.errors import InvalidInputError, NotFoundError, UnavailableError
from erasure.ports import AuditLog, Clock, RequestRow, RequestStore
from erasure.services.current_map import CurrentMap
from erasure.services.earlier_jobs import PLANNED
from erasure.services.sla_view import SECOND, SlaView, sla_view
from erasure.services.task_parts import outcomes_of, words_of

WAITING = "waiting"
ERASING = "erasing"
VERIFYING = "verifying"

_ENDED = (VERIFIED, FAILED)

_STATES = (REQUESTED, STARTED, HELD, FINISHED, CANCELLED)
"""In the order in which requests go through them: one that moves on while they are read is seen twice, not never."""


class TaskReader(Protocol):
    """What is needed of :class:`erasure.ports.TaskStore`."""

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]: ...


@dataclass(frozen=True, slots=True)
class TargetProgress:
    """``state``: ``waiting``, ``erasing``, ``verifying`` or an outcome. ``kept``: what is still there and may be, by
    the law's ``basis`` or because the bucket does not let it go."""

    name: str
    category: str
    state: str
    count: int
    at_least: bool
    reason: str | None = None
    kept: Kept = NOTHING_KEPT
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """The job that has the request now. ``age_seconds``: since it has planned, or started the request."""

    attempt: int
    age_seconds: int


@dataclass(frozen=True, slots=True)
class RequestView:
    """``sla``: ``None`` when it is cancelled. ``job``: ``None`` unless one has it and has not closed it."""

    request: ErasureRequest
    targets: tuple[TargetProgress, ...]
    sla: SlaView | None = None
    job: JobView | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor``: for the next page; ``None``: this was the last one."""

    requests: tuple[ErasureRequest, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class BatchView:
    """``tasks_left`` is 0 exactly when every request of the batch is finished. ``last_completed_at``: when a job last
    wrote outcomes of any of them."""

    batch_id: str
    tasks: int
    tasks_left: int
    is_finished: bool
    attention: int
    last_completed_at: datetime | None


def outcome_progress(outcome: TargetOutcome) -> TargetProgress:
    return TargetProgress(
        outcome.target,
        outcome.category,
        outcome.outcome,
        outcome.count,
        outcome.at_least,
        outcome.reason,
        Kept(outcome.kept, outcome.until, outcome.kept_more),
        outcome.basis,
    )


class RequestReader:
    """All lookups are by tenant: what belongs to another tenant is a ``NotFoundError``, as what does not exist."""

    def __init__(
        self,
        requests: RequestStore,
        tasks: TaskReader,
        audit: AuditLog,
        current_map: CurrentMap,
        digest_key: Callable[[], bytes],
        now: Clock,
    ) -> None:
        self._requests = requests
        self._tasks = tasks
        self._audit = audit
        self._map = current_map
        self._digest_key = digest_key
        self._now = now

    def show(self, tenant_id: str, request_id: str) -> RequestView:
        request = self._own(tenant_id, request_id)
        now = self._now()
        return RequestView(request, self._progress(request), sla_view(request, now), self._job(request, now))

    def list(
        self, tenant_id: str, *, state: str | None, subject: Subject | None, cursor: str | None, limit: int
    ) -> Page:
        """Newest first. Raises ``InvalidInputError`` for a cursor that is none of ours."""
        if cursor is not None and not is_request_id(cursor):
            raise InvalidInputError("cursor", "must be one that an earlier page gave")
        digest = None if subject is None else subject_digest(self._digest_key(), subject)
        shown: list[ErasureRequest] = []
        while True:
            # One more than is shown, to know whether there is another page.
            rows = self._rows(tenant_id, state, digest, cursor, limit - len(shown) + 1)
            now_shown = rows[: limit - len(shown)]
            shown += self._records(tenant_id, now_shown, None if state is None else (state,))
            if len(now_shown) == len(rows):
                return Page(tuple(shown), None)
            cursor = now_shown[-1].request_id
            if len(shown) == limit:
                return Page(tuple(shown), cursor)

    def numbered_page(
        self, tenant_id: str, *, family: str, subject_type: str, states: tuple[str, ...], page: int, per_page: int
    ) -> tuple[Sequence[ErasureRequest], int]:
        """Page ``page`` (from 1) of a family's requests, newest first, and how many there are in all."""
        rows = [
            row
            for row in _newest_first(self._requests.rows(tenant_id, state) for state in _in_order(states))
            if row.family == family and row.subject_type == subject_type
        ]
        wanted = rows[(page - 1) * per_page : page * per_page]
        return self._records(tenant_id, wanted, states), len(rows)

    def batch(self, tenant_id: str, batch_id: str) -> BatchView:
        batch = self._requests.batch(batch_id)
        if batch is None or batch.tenant_id != tenant_id:
            raise NotFoundError("there is no such batch")
        requests = self._requests.get_many(batch.request_ids)
        finished = [request for request in requests.values() if request.state == FINISHED]
        is_finished = len(finished) == len(batch.request_ids)
        done = sum(len(request.outcomes) for request in finished) + self._verified(requests.values())
        times = [request.closed_at for request in requests.values() if request.closed_at is not None]
        return BatchView(
            batch_id=batch_id,
            tasks=batch.tasks,
            # The map may have changed since: then the numbers are not exact, but 0 always means what it says.
            tasks_left=0 if is_finished else max(1, batch.tasks - done),
            is_finished=is_finished,
            attention=sum(request.attention for request in requests.values()),
            last_completed_at=max(times, default=None),
        )

    def audit(self, tenant_id: str, request_id: str) -> tuple[Sequence[AuditEntry], bool]:
        """The trail, oldest first, and whether it is whole."""
        self._own(tenant_id, request_id)
        entries = self._audit.entries(request_id)
        return entries, broken_at(entries) is None

    def _own(self, tenant_id: str, request_id: str) -> ErasureRequest:
        request = self._requests.get(request_id)
        if request is None or request.subject.tenant_id != tenant_id:
            raise NotFoundError("there is no such erasure request")
        return request

    def _rows(
        self, tenant_id: str, state: str | None, digest: str | None, before: str | None, limit: int
    ) -> Sequence[RequestRow]:
        if digest is not None:
            return self._requests.rows_of_subject(digest, before=before, limit=limit)
        states = _STATES if state is None else (state,)
        return _newest_first(self._requests.rows(tenant_id, wanted, before=before, limit=limit) for wanted in states)[
            :limit
        ]

    def _records(
        self, tenant_id: str, rows: Sequence[RequestRow], states: tuple[str, ...] | None
    ) -> Sequence[ErasureRequest]:
        """The rows' records, without those that are in another state by now than an index said."""
        records = self._requests.get_many([row.request_id for row in rows])
        found = [records[row.request_id] for row in rows if row.request_id in records]
        return [
            record
            for record in found
            if record.subject.tenant_id == tenant_id and (states is None or record.state in states)
        ]

    def _job(self, request: ErasureRequest, now: datetime) -> JobView | None:
        if request.state != STARTED or request.job_id is None or request.started_at is None or _is_told(request):
            return None
        began_at = request.started_at
        if request.attempt > 1:
            # The record knows when the first job has started it; when the others have, is in the trail.
            planned = f"{PLANNED}{request.job_id}"
            known = [entry.at for entry in self._audit.entries(request.request_id) if entry.event_id == planned]
            began_at = parse_time(known[0]) if known else now
        return JobView(request.attempt, max(now - began_at, timedelta()) // SECOND)

    def _verified(self, requests: Iterable[ErasureRequest]) -> int:
        """How many parts are done of requests that are still being worked on."""
        working = {request.request_id: request.job_id for request in requests if request.state == STARTED}
        parts = [
            (part, job_id)
            for job_id in sorted({job_id for job_id in working.values() if job_id is not None})
            for task in self._tasks.tasks(job_id)
            for part in task.parts_in(VERIFIED)
        ]
        return sum(working.get(part.request_id) == job_id for part, job_id in parts)

    def _progress(self, request: ErasureRequest) -> tuple[TargetProgress, ...]:
        known = self._worked_on(request)
        if request.state != STARTED or request.scan_at is None:
            return known
        # Its jobs so far have left out what has to be scanned for, and that is no less to come.
        names = {target.name for target in known}
        return known + tuple(spec for spec in self._planned(request, scans_only=True) if spec.name not in names)

    def _worked_on(self, request: ErasureRequest) -> tuple[TargetProgress, ...]:
        done = {outcome.target: outcome for outcome in request.outcomes}
        is_told = request.job_id is not None and _is_told(request)
        # Attempt 0 is a job that covers a part of the targets: what it leaves is still to come.
        if request.state in (FINISHED, CANCELLED) or (is_told and request.attempt > 0):
            return tuple(map(outcome_progress, done.values()))
        own = [] if is_told else self._own_parts(request)
        working = {task.spec.name for task, part in own if part.status not in _ENDED}
        ended = outcomes_of([(task, part) for task, part in own if task.spec.name not in working])
        merged = merge_outcomes(request.outcomes, ended, words_of(own))
        progress = {outcome.target: outcome_progress(outcome) for outcome in merged}
        for task, part in own:
            if part.status not in _ENDED:
                progress[task.spec.name] = _working(task, part, done.get(task.spec.name))
        if not own or request.attempt == 0:
            for spec in self._planned(request):
                progress.setdefault(spec.name, spec)
        return tuple(progress.values())

    def _own_parts(self, request: ErasureRequest) -> Sequence[tuple[Task, Part]]:
        if request.job_id is None:
            return []
        tasks = self._tasks.tasks(request.job_id)
        return [(task, part) for task in tasks for part in task.parts if part.request_id == request.request_id]

    def _planned(self, request: ErasureRequest, *, scans_only: bool = False) -> Sequence[TargetProgress]:
        try:
            data_map = self._map.get()
        except UnavailableError:
            return []
        targets = targets_for(request, data_map.targets, data_map.families)
        wanted = [spec for spec in targets if spec.is_scan or not scans_only]
        return [TargetProgress(spec.name, spec.category, WAITING, 0, False) for spec in wanted]


def _is_told(request: ErasureRequest) -> bool:
    """Whether what its latest job did is in the request's outcomes already."""
    return request.job_id in request.closed_jobs


def _working(task: Task, part: Part, before: TargetOutcome | None) -> TargetProgress:
    """A part that is not at its end. ``before``: what earlier attempts made of the target."""
    if part.status == ERASED_UNVERIFIED:
        state = VERIFYING
    else:
        begun = task.running is not None or part != replace(Part(part.request_id), status=part.status)
        state = ERASING if begun else WAITING
    count, at_least = (before.count, before.at_least) if before else (0, False)
    return TargetProgress(
        task.spec.name, task.spec.category, state, count + part.erased, at_least or part.at_least, part.reason
    )


def _in_order(states: Iterable[str]) -> Sequence[str]:
    return sorted(states, key=_STATES.index)


def _newest_first(lists: Iterable[Sequence[RequestRow]]) -> Sequence[RequestRow]:
    """All rows, each request once: one that changes its state may stand in two lists."""
    rows = {row.request_id: row for some in lists for row in some}
    return sorted(rows.values(), key=lambda row: row.request_id, reverse=True)
