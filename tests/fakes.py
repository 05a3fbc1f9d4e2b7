"""In-memory stand-ins for the stores of ``erasure.ports``; those of jobs are in :mod:`tests.fake_jobs`.

What they do has to be obvious.

Those of what runs by the clock are in :mod:`tests.fake_clock_stores`. They pass the same contract suite as the stores
on DynamoDB (``tests/contract/test_stores_contract.py``).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.data_map import DataMap
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, OPEN_STATES, REQUESTED, STARTED, ErasureRequest
from erasure.errors import (
    AlreadyDeletedError,
    AlreadyOpenError,
    DeleteIdRejectedError,
    IdempotencyKeyUsedError,
    UnavailableError,
)
from erasure.ports import (
    Acceptance,
    Batch,
    Disabled,
    IdempotencyRecord,
    PinnedMap,
    RequestRow,
    Standing,
    Suppression,
    Tombstone,
)


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


class FakeSubjectRegistry:
    """Also holds the suppression list and the markers of open requests, as the one table does."""

    def __init__(self) -> None:
        self.found: dict[str, Tombstone] = {}
        self.disabled: dict[str, Disabled] = {}
        self.open: dict[tuple[str, str], str] = {}
        self.suppressed: dict[tuple[str, str], Suppression] = {}

    def standing(self, subject_digest: str) -> Standing:
        return Standing(self.found.get(subject_digest), self.disabled.get(subject_digest))

    def tombstones(self, subject_digests: Sequence[str]) -> dict[str, Tombstone]:
        return {digest: self.found[digest] for digest in subject_digests if digest in self.found}

    def make_effective(self, subject_digest: str, request_id: str, now: datetime) -> None:
        known = self.found.get(subject_digest)
        if known is not None and known.request_id == request_id and known.effective_at is None:
            self.found[subject_digest] = replace(known, effective_at=now)

    def disable(self, subject_digest: str, disabled: Disabled) -> None:
        self.disabled[subject_digest] = disabled

    def enable(self, subject_digest: str) -> None:
        self.disabled.pop(subject_digest, None)

    def leave_tombstone(self, request: ErasureRequest, now: datetime) -> None:
        self.found.setdefault(request.subject_digest, Tombstone(request.request_id, now))

    def take_tombstone(self, request: ErasureRequest) -> None:
        known = self.found.get(request.subject_digest)
        if known is not None and known.request_id == request.request_id:
            del self.found[request.subject_digest]

    def suppress(self, request: ErasureRequest, now: datetime) -> None:
        subject = request.subject
        self.suppressed.setdefault(
            (subject.tenant_id, request.subject_digest),
            Suppression(request.subject_digest, subject.type, now, request.request_id),
        )


class FakeSuppressionStore:
    def __init__(self, registry: FakeSubjectRegistry) -> None:
        self._suppressed = registry.suppressed

    def get(self, tenant_id: str, subject_digest: str) -> Suppression | None:
        return self._suppressed.get((tenant_id, subject_digest))

    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Suppression]:
        own = [entry for (tenant, _), entry in sorted(self._suppressed.items()) if tenant == tenant_id]
        return [entry for entry in own if after is None or entry.subject_digest > after][:limit]

    def delete(self, tenant_id: str, subject_digest: str) -> bool:
        return self._suppressed.pop((tenant_id, subject_digest), None) is not None


class FakeRequestStore:
    def __init__(self, audit: FakeAuditLog, registry: FakeSubjectRegistry | None = None) -> None:
        self.audit = audit
        self.lock = audit.lock
        self.registry = registry or FakeSubjectRegistry()
        self.records: dict[str, ErasureRequest] = {}
        self.waiting: dict[str, datetime] = {}
        self.batches: dict[str, Batch] = {}

    def get(self, request_id: str) -> ErasureRequest | None:
        return self.records.get(request_id)

    def get_many(self, request_ids: Sequence[str]) -> dict[str, ErasureRequest]:
        return {request_id: self.records[request_id] for request_id in request_ids if request_id in self.records}

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int, job_id: str, attempt: int) -> bool:
        with self.lock:
            record = self.records.get(request.request_id)
            if record is None:
                return False
            is_due = record.not_before is None or record.not_before <= now
            is_free = (record.state == REQUESTED and is_due) or record.state == STARTED
            is_later = record.job_id is None or record.attempt < attempt
            if is_free and is_later and record.purged_at is None:
                record = replace(
                    record,
                    state=STARTED,
                    started_at=record.started_at or now,
                    data_map_version=data_map_version,
                    job_id=job_id,
                    attempt=attempt,
                )
                self.records[request.request_id] = record
            return record.state == STARTED and record.job_id == job_id

    def note_identifiers(
        self,
        request: ErasureRequest,
        job_id: str,
        identifiers: Mapping[str, Sequence[str]],
        hold_digests: Sequence[str] = (),
    ) -> bool:
        known = {name: tuple(values) for name, values in identifiers.items()}
        digests = tuple(hold_digests)
        return self._note(request, job_id, lambda record: replace(record, identifiers=known, hold_digests=digests))

    def wait_for_scan(self, request: ErasureRequest, job_id: str, scan_at: datetime) -> bool:
        if not self._note(request, job_id, lambda record: replace(record, scan_at=record.scan_at or scan_at)):
            return False
        self.waiting[request.request_id] = self.records[request.request_id].scan_at or scan_at
        return True

    def _note(self, request: ErasureRequest, job_id: str, change: Callable[[ErasureRequest], ErasureRequest]) -> bool:
        with self.lock:
            record = self.records.get(request.request_id)
            if not _is_in(record, STARTED) or record.job_id != job_id:
                return False
            self.records[request.request_id] = change(record)
            return True

    def cancel(self, request: ErasureRequest, entry: AuditEntry, clock_at: datetime | None = None) -> bool:
        with self.lock:
            record = self.records.get(request.request_id)
            if not _is_in(record, REQUESTED):
                return False
            if not self.audit.has_place_for(entry):
                raise UnavailableError("the request was changed at the same moment")
            self.audit.write(entry)
            clock_at = clock_at or record.purged_by
            self.records[request.request_id] = replace(record, state=CANCELLED, clock_at=clock_at)
            self.waiting.pop(request.request_id, None)
            self.registry.take_tombstone(request)
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
        attention: bool,
        scanned: bool = False,
        follow_up_at: datetime | None = None,
        clock_at: datetime | None = None,
    ) -> bool:
        with self.lock:
            record = self.records.get(request.request_id)
            if not _is_in(record, STARTED) or job_id in record.closed_jobs:
                return False
            if not self.audit.has_place_for(entry):
                raise UnavailableError("the request was changed at the same moment")
            self.audit.write(entry)
            record = replace(
                record,
                outcomes=tuple(outcomes),
                attention=attention,
                closed_at=now,
                closed_jobs=record.closed_jobs | {job_id},
                scan_at=None if scanned else record.scan_at,
                follow_up_at=follow_up_at,
                clock_at=clock_at or (record.purged_by if finished else record.clock_at),
            )
            if scanned:
                self.waiting.pop(request.request_id, None)
            if follow_up_at is not None:
                self.waiting[request.request_id] = follow_up_at
            if finished:
                record = replace(record, state=FINISHED, finished_at=now, parked_at=None)
            self.records[request.request_id] = record
            return True

    def rows(
        self, tenant_id: str, state: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        return self._rows(lambda record: record.subject.tenant_id == tenant_id and record.state == state, before, limit)

    def rows_of_subject(
        self, subject_digest: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        return self._rows(lambda record: record.subject_digest == subject_digest, before, limit)

    def _rows(
        self, is_wanted: Callable[[ErasureRequest], bool], before: str | None, limit: int | None
    ) -> list[RequestRow]:
        ids = sorted((key for key, record in self.records.items() if is_wanted(record)), reverse=True)
        wanted = [request_id for request_id in ids if before is None or request_id < before][:limit]
        records = [self.records[request_id] for request_id in wanted]
        return [RequestRow(record.request_id, record.family, record.subject.type) for record in records]

    def batch(self, batch_id: str) -> Batch | None:
        return self.batches.get(batch_id)

    def due(self, now: datetime, limit: int) -> list[str]:
        times = sorted((moment, request_id) for request_id, moment in self.waiting.items() if moment <= now)
        return [request_id for _, request_id in times][:limit]

    def release(self, request: ErasureRequest, now: datetime) -> bool:
        with self.lock:
            record = self.records.get(request.request_id)
            waits = request.request_id in self.waiting
            if record is None or not waits or record.state not in (REQUESTED, STARTED, FINISHED):
                return False
            scan_is_due = record.scan_at is not None and record.scan_at <= now
            del self.waiting[request.request_id]
            if record.leaves_tombstone and not scan_is_due:
                self.registry.leave_tombstone(record, now)
            return True

    def end_waiting_for_follow_up(self, request: ErasureRequest, follow_up_id: str | None) -> bool:
        with self.lock:
            record = self.records[request.request_id]
            if record.follow_up_at is None or record.follow_up_at != request.follow_up_at:
                return False
            del self.waiting[request.request_id]
            self.records[request.request_id] = replace(record, follow_up_at=None, followed_by=follow_up_id)
            return True


def _is_in(record: ErasureRequest | None, state: str) -> TypeGuard[ErasureRequest]:
    return record is not None and record.state == state and record.purged_at is None


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


class FakeIdempotencyStore:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.records: dict[str, IdempotencyRecord] = {}

    def begin(self, record: IdempotencyRecord, now: datetime) -> IdempotencyRecord:
        with self.lock:
            known = self.records.get(record.key_digest)
            if known is not None and known.expires_at > now:
                return known
            self.records[record.key_digest] = replace(record, expires_at=_whole_seconds(record.expires_at))
            return record

    def finish(self, key_digest: str, result: str) -> None:
        with self.lock:
            if key_digest in self.records:
                self.records[key_digest] = replace(self.records[key_digest], result=result)

    def give_up(self, key_digest: str, run_id: str) -> None:
        with self.lock:
            known = self.records.get(key_digest)
            if known is not None and known.run_id == run_id and known.result is None:
                del self.records[key_digest]


class FakeAcceptanceStore:
    """``transactions`` counts them as DynamoDB would need them. ``fails_after``: so many go well, the next does not."""

    def __init__(
        self,
        delete_ids: FakeDeleteIdStore,
        requests: FakeRequestStore,
        audit: FakeAuditLog,
        idempotency: FakeIdempotencyStore | None = None,
    ) -> None:
        self._delete_ids = delete_ids
        self._requests = requests
        self._registry = requests.registry
        self._audit = audit
        self._idempotency = idempotency or FakeIdempotencyStore()
        self.idempotency = self._idempotency.records
        self.transactions = 0
        self.fails_after: int | None = None

    def accept(
        self,
        acceptance: Acceptance,
        now: datetime,
        idempotency: IdempotencyRecord | None = None,
        batch: Batch | None = None,
    ) -> None:
        request = acceptance.request
        with self._audit.lock:
            self._count()
            if idempotency is not None:
                known = self.idempotency.get(idempotency.key_digest)
                if known is not None and known.expires_at > now:
                    raise IdempotencyKeyUsedError("Idempotency-Key")
            if request.request_id in self._requests.records:
                return
            self._check_delete_id(acceptance, now)
            leaves_one_now = request.leaves_tombstone and request.not_before is None
            if leaves_one_now and request.subject_digest in self._registry.found:
                raise AlreadyDeletedError("the subject has been deleted")
            if acceptance.only_one_open:
                self._mark_open(request)
            if acceptance.delete_id_digest is not None:
                self._delete_ids.consumed.add(acceptance.delete_id_digest)
            self._write(acceptance, now)
            if batch is not None:
                self._requests.batches[batch.batch_id] = batch
            if idempotency is not None:
                self._idempotency.begin(idempotency, now)

    def accept_all(self, acceptances: Sequence[Acceptance], batch: Batch, now: datetime) -> None:
        with self._audit.lock:
            room = 0
            for acceptance in acceptances:
                size = 2 + acceptance.suppress
                size += acceptance.request.leaves_tombstone or acceptance.request.not_before is not None
                if size > room:
                    self._count()
                    room = 100 - (batch.batch_id not in self._requests.batches)
                    self._requests.batches[batch.batch_id] = batch
                room -= size
                if acceptance.request.request_id not in self._requests.records:
                    self._write(acceptance, now)

    def find_idempotency(self, key_digest: str) -> IdempotencyRecord | None:
        return self.idempotency.get(key_digest)

    def _count(self) -> None:
        if self.fails_after == self.transactions:
            raise UnavailableError("the request could not be written")
        self.transactions += 1

    def _check_delete_id(self, acceptance: Acceptance, now: datetime) -> None:
        ids, digest = self._delete_ids, acceptance.delete_id_digest
        if digest is not None and (
            ids.subject_of.get(digest) != acceptance.request.subject_digest
            or ids.expires_at[digest] <= now
            or digest in ids.consumed
        ):
            raise DeleteIdRejectedError

    def _mark_open(self, request: ErasureRequest) -> None:
        place = (request.subject_digest, request.family)
        named = self._requests.records.get(self._registry.open.get(place, ""))
        if named is not None and named.state in OPEN_STATES and named.purged_at is None:
            raise AlreadyOpenError(named.request_id)
        self._registry.open[place] = request.request_id

    def _write(self, acceptance: Acceptance, now: datetime) -> None:
        request = acceptance.request
        clock_at = request.clock_at or request.due_at
        self._requests.records[request.request_id] = replace(request, clock_at=clock_at)
        self._audit.write(acceptance.entry)
        if request.not_before is not None:
            self._requests.waiting[request.request_id] = request.not_before
        elif request.leaves_tombstone:
            self._registry.leave_tombstone(request, now)
        if acceptance.suppress:
            self._registry.suppress(request, now)


def _whole_seconds(moment: datetime) -> datetime:
    return datetime.fromtimestamp(math.ceil(moment.timestamp()), UTC)


class FakeDataMapStore:
    def __init__(self, *maps: PinnedMap) -> None:
        self.maps = list(maps)
        self.documents: dict[int, dict[str, Any]] = {}

    def current(self) -> PinnedMap | None:
        return self.maps[-1] if self.maps else None

    def version(self, version: int) -> PinnedMap | None:
        return next((known for known in self.maps if known.version == version), None)

    def put(self, data_map: DataMap, now: datetime) -> int:  # noqa: ARG002 - the port's signature
        current = self.current()
        if current is None or current.digest != data_map.digest:
            self.maps.append(
                PinnedMap(
                    len(self.maps) + 1, data_map.digest, data_map.targets, data_map.families, data_map.identifiers
                )
            )
            self.documents[len(self.maps)] = dict(data_map.document)
        return len(self.maps)

    def document(self, version: int) -> dict[str, Any] | None:
        return self.documents.get(version)
