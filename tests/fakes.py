"""In-memory stand-ins for everything in ``erasure.ports``, and for a target. What they do has to be obvious.

They pass the same contract suite as the stores on DynamoDB (``tests/contract/test_stores_contract.py``).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.data_map import DataMap
from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import ERASED_UNVERIFIED, PENDING, Task
from erasure.domain.request import CANCELLED, FINISHED, REQUESTED, STARTED, ErasureRequest
from erasure.domain.target_spec import TargetSpec
from erasure.errors import DeleteIdRejectedError, IdempotencyKeyUsedError, SliceLostError, UnavailableError
from erasure.ports import IdempotencyRecord, PinnedMap
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeAuditLog:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.trails: dict[str, list[AuditEntry]] = {}

    def entries(self, request_id: str) -> list[AuditEntry]:
        with self.lock:
            return list(self.trails.get(request_id, []))

    def append(
        self, request_id: str, event: str, at: datetime, details: dict[str, object], *, event_id: str | None = None
    ) -> AuditEntry:
        with self.lock:
            entries = self.entries(request_id)
            for entry in entries:
                if entry.event_id == (event_id or event):
                    return entry
            entry = next_entry(request_id, entries[-1] if entries else None, event, at, details, event_id=event_id)
            self.write(entry)
            return entry

    def write_next(self, request_id: str, event: str, at: datetime) -> None:
        """Append an event without asking ``entries``, as another process would."""
        trail = self.trails[request_id]
        self.write(next_entry(request_id, trail[-1], event, at, {}))

    def has_place_for(self, entry: AuditEntry) -> bool:
        return entry.sequence not in [known.sequence for known in self.entries(entry.request_id)]

    def write(self, entry: AuditEntry) -> None:
        self.trails.setdefault(entry.request_id, []).append(entry)


class FakeRequestStore:
    def __init__(self, audit: FakeAuditLog) -> None:
        self._audit = audit
        self._lock = audit.lock
        self.records: dict[str, ErasureRequest] = {}
        self.closed_by: set[tuple[str, str]] = set()

    def get(self, request_id: str) -> ErasureRequest | None:
        return self.records.get(request_id)

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int) -> bool:
        with self._lock:
            record = self.records.get(request.request_id)
            if record is not None and record.state == REQUESTED:
                record = replace(record, state=STARTED, started_at=now, data_map_version=data_map_version)
                self.records[request.request_id] = record
            return record is not None and record.state == STARTED

    def cancel(self, request: ErasureRequest, entry: AuditEntry) -> bool:
        with self._lock:
            record = self.records.get(request.request_id)
            if record is None or record.state != REQUESTED:
                return False
            if not self._audit.has_place_for(entry):
                raise UnavailableError("the request was changed at the same moment")
            self._audit.write(entry)
            self.records[request.request_id] = replace(record, state=CANCELLED)
            return True

    def close(
        self,
        request: ErasureRequest,
        job_id: str,
        outcomes: Sequence[TargetOutcome],
        now: datetime,
        entry: AuditEntry,
        *,
        finished: bool,
    ) -> bool:
        with self._lock:
            record = self.records.get(request.request_id)
            if record is None or record.state != STARTED or (request.request_id, job_id) in self.closed_by:
                return False
            if not self._audit.has_place_for(entry):
                raise UnavailableError("the request was changed at the same moment")
            self._audit.write(entry)
            self.closed_by.add((request.request_id, job_id))
            record = replace(record, outcomes=tuple(outcomes), attention=not finished)
            if finished:
                record = replace(record, state=FINISHED, finished_at=now)
            self.records[request.request_id] = record
            return True


class FakeDeleteIdStore:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.subject_of: dict[str, str] = {}
        self.expires_at: dict[str, datetime] = {}
        self.consumed: set[str] = set()

    def put(self, delete_id_digest: str, subject_digest: str, expires_at: datetime) -> datetime:
        with self.lock:
            if delete_id_digest not in self.subject_of:
                self.subject_of[delete_id_digest] = subject_digest
                self.expires_at[delete_id_digest] = _whole_seconds(expires_at)
            return self.expires_at[delete_id_digest]


class FakeAcceptanceStore:
    def __init__(self, delete_ids: FakeDeleteIdStore, requests: FakeRequestStore, audit: FakeAuditLog) -> None:
        self._delete_ids = delete_ids
        self._requests = requests
        self._audit = audit
        self.idempotency: dict[str, IdempotencyRecord] = {}

    def accept(
        self,
        delete_id_digest: str,
        request: ErasureRequest,
        entry: AuditEntry,
        now: datetime,
        idempotency: IdempotencyRecord | None,
    ) -> None:
        ids = self._delete_ids
        with ids.lock:
            if idempotency is not None:
                known = self.idempotency.get(idempotency.key_digest)
                if known is not None and known.expires_at > now:
                    raise IdempotencyKeyUsedError("Idempotency-Key")
            if (
                ids.subject_of.get(delete_id_digest) != request.subject_digest
                or ids.expires_at[delete_id_digest] <= now
                or delete_id_digest in ids.consumed
            ):
                raise DeleteIdRejectedError
            ids.consumed.add(delete_id_digest)
            self._requests.records[request.request_id] = request
            self._audit.write(entry)
            if idempotency is not None:
                whole = replace(idempotency, expires_at=_whole_seconds(idempotency.expires_at))
                self.idempotency[idempotency.key_digest] = whole

    def find_idempotency(self, key_digest: str) -> IdempotencyRecord | None:
        return self.idempotency.get(key_digest)


def _whole_seconds(moment: datetime) -> datetime:
    return datetime.fromtimestamp(math.ceil(moment.timestamp()), UTC)


class FakeTaskStore:
    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.versions: dict[str, int] = {}
        self.records: dict[tuple[str, str, int], Task] = {}

    def pinned_version(self, job_id: str) -> int | None:
        return self.versions.get(job_id)

    def create_job(self, job_id: str, request_ids: Sequence[str], data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        with self._lock:
            if self.versions.setdefault(job_id, data_map.version) != data_map.version:
                raise UnavailableError("the job was planned with another data map at the same moment")
            for task in tasks:
                self.records.setdefault(_place(task), task)

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]:
        with self._lock:
            places = sorted(place for place in self.records if place[0] == job_id and unit in (None, place[1]))
            return [self.records[place] for place in places]

    def begin_slice(self, task: Task, slice_id: str) -> Task:
        with self._lock:
            record = self._record(task, running=task.running)
            if record.status != PENDING:
                raise SliceLostError("another slice has taken this task over")
            at_least = task.at_least or task.running is not None
            return self._write(replace(record, running=slice_id, at_least=at_least))

    def add_erased(self, task: Task, slice_id: str, count: int) -> None:
        with self._lock:
            record = self._record(task, running=slice_id)
            self._write(replace(record, erased=task.erased + count))

    def end_slice(self, task: Task, slice_id: str, *, count: int, status: str, stalls: int, reason: str | None) -> None:
        with self._lock:
            record = self._record(task, running=slice_id)
            erased = task.erased + count
            self._write(replace(record, erased=erased, status=status, stalls=stalls, reason=reason, running=None))

    def set_verified(self, task: Task, *, status: str, rounds: int, stalls: int, reason: str | None) -> None:
        with self._lock:
            record = self._record(task, running=None)
            if record.status != ERASED_UNVERIFIED:
                raise SliceLostError("another slice has taken this task over")
            self._write(replace(record, status=status, rounds=rounds, stalls=stalls, reason=reason))

    def _record(self, task: Task, *, running: str | None) -> Task:
        record = self.records[_place(task)]
        if record.running != running:
            raise SliceLostError("another slice has taken this task over")
        return record

    def _write(self, task: Task) -> Task:
        self.records[_place(task)] = task
        return task


def _place(task: Task) -> tuple[str, str, int]:
    return task.job_id, task.unit, task.number


class FakeDataMapStore:
    def __init__(self, *maps: PinnedMap) -> None:
        self.maps = list(maps)

    def current(self) -> PinnedMap | None:
        return self.maps[-1] if self.maps else None

    def version(self, version: int) -> PinnedMap | None:
        return next((known for known in self.maps if known.version == version), None)

    def put(self, data_map: DataMap, now: datetime) -> int:
        current = self.current()
        if current is None or current.digest != data_map.digest:
            self.maps.append(PinnedMap(len(self.maps) + 1, data_map.digest, data_map.targets))
        return len(self.maps)


class FakeQueue:
    """``down``: sending fails. ``arrives_anyway``: it fails, but only the answer was lost."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int]] = []
        self.down = False
        self.arrives_anyway: Callable[[str], object] | None = None

    def send(self, request_id: str, attempt: int) -> None:
        if self.arrives_anyway is not None:
            self.arrives_anyway(request_id)
        if self.down:
            raise UnavailableError("the queue did not take the message")
        self.messages.append((request_id, attempt))


class FakeWorkflow:
    def __init__(self) -> None:
        self.started: dict[str, list[str]] = {}

    def start(self, job_id: str, request_ids: Sequence[str]) -> bool:
        if job_id in self.started:
            return False
        self.started[job_id] = list(request_ids)
        return True


# The ports' signatures are kept whole, although a fake does not need all of it.
# ruff: noqa: ARG002

Step = SliceResult | VerifyResult | Exception | Callable[[], SliceResult | VerifyResult]


class FakeTarget:
    """Holds things by the rendered text of a spec's templates, and erases them all in one slice.

    ``script``: by a target's name, what its next ``erase`` (or ``verify``, under ``"<name>:verify"``) does instead.
    """

    def __init__(self) -> None:
        self.things: dict[str, int] = {}
        self.script: dict[str, list[Step]] = {}
        self.erase_calls: list[str] = []
        self.verify_calls: list[str] = []

    def put(self, spec: TargetSpec, values: Mapping[str, str], count: int) -> None:
        self.things[_text(spec, values)] = count

    def erase(
        self,
        spec: TargetSpec,
        values: Mapping[str, str],
        deadline: Deadline,
        on_erased: Callable[[int], None] | None = None,
    ) -> SliceResult:
        self.erase_calls.append(spec.name)
        scripted = self._scripted(spec.name)
        if scripted is not None:
            assert isinstance(scripted, SliceResult)
            return scripted
        erased = self.things.pop(_text(spec, values), 0)
        if on_erased is not None and erased:
            on_erased(erased)
        return SliceResult(erased, done=True)

    def verify(self, spec: TargetSpec, values: Mapping[str, str], deadline: Deadline) -> VerifyResult:
        self.verify_calls.append(spec.name)
        scripted = self._scripted(f"{spec.name}:verify")
        if scripted is not None:
            assert isinstance(scripted, VerifyResult)
            return scripted
        return VerifyResult(self.things.get(_text(spec, values), 0), complete=True)

    def _scripted(self, name: str) -> SliceResult | VerifyResult | None:
        steps = self.script.get(name)
        if not steps:
            return None
        step = steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step


def _text(spec: TargetSpec, values: Mapping[str, str]) -> str:
    parts: Iterable[str] = (template.render(values) for template in spec.templates())
    return "\x00".join([spec.name, *parts])
