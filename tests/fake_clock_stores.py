"""In-memory stand-ins for the stores of what runs by the clock: :class:`erasure.ports.ClockStore`, over the records of
a :class:`tests.fakes.FakeRequestStore`, and :class:`erasure.ports.HoldStore`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from erasure.domain.audit import AuditEntry
from erasure.domain.clock import pause_until
from erasure.domain.request import FINISHED, HELD, OPEN_STATES, REQUESTED, STARTED, ErasureRequest
from erasure.errors import UnavailableError
from erasure.ports import ClockRow, Hold, SlaRow
from tests.fakes import FakeRequestStore


class FakeClockStore:
    def __init__(self, requests: FakeRequestStore) -> None:
        self._requests = requests

    def open_due(self, now: datetime, limit: int) -> list[str]:
        return self._by_time(lambda record: _clock(record, now) if _is_open(record) else None, limit)

    def held(self, limit: int) -> list[str]:
        return self._by_time(lambda record: record.held_at if record.state == HELD else None, limit)

    def ended_due(self, now: datetime, limit: int) -> list[str]:
        return self._by_time(lambda record: _clock(record, now) if record.state not in OPEN_STATES else None, limit)

    def open_rows(self) -> Iterator[ClockRow]:
        return self._rows(is_open=True)

    def ended_rows(self) -> Iterator[ClockRow]:
        return self._rows(is_open=False)

    def sla_rows(self, tenant_id: str, state: str, limit: int) -> list[SlaRow]:
        listed = self._requests.rows(tenant_id, state, limit=limit)
        records = [self._requests.records[row.request_id] for row in listed]
        return [SlaRow(record.request_id, record.due_at, record.finished_at) for record in records]

    def _by_time(self, moment_of: Callable[[ErasureRequest], datetime | None], limit: int) -> list[str]:
        moments = [(moment_of(record), record.request_id) for record in self._records()]
        return [request_id for _, request_id in sorted((at, key) for at, key in moments if at is not None)][:limit]

    def _rows(self, *, is_open: bool) -> Iterator[ClockRow]:
        for record in self._records():
            if (record.state in OPEN_STATES) is is_open:
                yield ClockRow(record.request_id, record.due_at, record.state == HELD, record.finished_at)

    def _records(self) -> list[ErasureRequest]:
        with self._requests.lock:
            return [record for record in self._requests.records.values() if record.purged_at is None]

    def look_again(
        self,
        request: ErasureRequest,
        clock_at: datetime,
        *,
        tries: int | None = None,
        sla_told: int | None = None,
        parked_at: datetime | None = None,
        anew: bool = False,
    ) -> bool:
        named = {"tries": tries, "sla_told": sla_told, "parked_at": parked_at}
        changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if anew:
            changes |= {"tries": 0, "parked_at": None}
        return self._change(request, _as_read, lambda _record: {"clock_at": clock_at, **changes})

    def raise_level(self, request: ErasureRequest, level: int, entries: Sequence[AuditEntry]) -> bool:
        return self._change(
            request,
            lambda record, _read: _is_open(record) and record.sla_level < level,
            lambda _record: {"sla_level": level},
            *entries,
        )

    def hold(self, request: ErasureRequest, hold_id: str, now: datetime, entry: AuditEntry) -> bool:
        def changes(record: ErasureRequest) -> dict[str, Any]:
            self._requests.waiting.pop(record.request_id, None)
            return {"state": HELD, "held_at": now, "hold_id": hold_id, "clock_at": None, "scan_at": None}

        return self._change(request, lambda record, _read: _is_open(record), changes, entry)

    def resume(self, request: ErasureRequest, now: datetime, clock_at: datetime, entry: AuditEntry) -> bool:
        def changes(record: ErasureRequest) -> dict[str, Any]:
            pause = pause_until(record, now)
            if record.not_before is not None and record.not_before > now:
                self._requests.waiting[record.request_id] = record.not_before
            elif record.not_before is not None and record.leaves_tombstone:
                self._requests.registry.leave_tombstone(record, now)
            return {
                "state": REQUESTED,
                "due_at": record.due_at + pause,
                "purged_by": record.purged_by + pause,
                "paused_seconds": record.paused_seconds + int(pause.total_seconds()),
                "clock_at": clock_at,
                "held_at": None,
                "hold_id": None,
                "tries": 0,
                "parked_at": None,
            }

        return self._change(request, _held_as_read, changes, entry)

    def expedite(self, request: ErasureRequest, now: datetime, changed: ErasureRequest, entry: AuditEntry) -> bool:
        def waits(record: ErasureRequest, read: ErasureRequest) -> bool:
            is_as_read = record.state == REQUESTED and record.not_before == read.not_before
            return is_as_read and record.not_before is not None and record.not_before > now

        def changes(record: ErasureRequest) -> dict[str, Any]:
            self._requests.waiting.pop(record.request_id, None)
            if record.leaves_tombstone:
                self._requests.registry.leave_tombstone(record, now)
            names = ("not_before", "due_at", "purged_by", "paused_seconds", "clock_at")
            return {name: getattr(changed, name) for name in names}

        return self._change(request, waits, changes, entry)

    def note_second_look(
        self, request: ErasureRequest, clock_at: datetime, late_arrivals: int, followed_by: str | None
    ) -> bool:
        return self._change(
            request,
            lambda record, read: record.state == FINISHED and record.late_arrivals is None and _as_read(record, read),
            lambda record: {
                "clock_at": clock_at,
                "late_arrivals": late_arrivals,
                "followed_by": followed_by or record.followed_by,
            },
        )

    def purge(self, request: ErasureRequest, now: datetime, entry: AuditEntry) -> bool:
        def may_go(record: ErasureRequest, read: ErasureRequest) -> bool:
            names = ("state", "job_id", "scan_at")
            return record.state != HELD and all(getattr(record, name) == getattr(read, name) for name in names)

        def changes(record: ErasureRequest) -> dict[str, Any]:
            self._requests.waiting.pop(record.request_id, None)
            return {
                "purged_at": now,
                "subject": replace(record.subject, id=""),
                "identifiers": {},
                "organization_ids": (),
                "hold_digests": (),
                "clock_at": None,
                "scan_at": None,
                "follow_up_at": None,
            }

        return self._change(request, may_go, changes, entry)

    def _change(
        self,
        read: ErasureRequest,
        may: Callable[[ErasureRequest, ErasureRequest], bool],
        changes: Callable[[ErasureRequest], dict[str, Any]],
        *entries: AuditEntry,
    ) -> bool:
        """Change the record if it ``may`` be, as it is and as it was read, with the entries, or nothing."""
        audit, records = self._requests.audit, self._requests.records
        with self._requests.lock:
            record = records.get(read.request_id)
            if record is None or record.purged_at is not None or not may(record, read):
                return False
            if not all(audit.has_place_for(entry) for entry in entries):
                raise UnavailableError("the request was changed at the same moment")
            for entry in entries:
                audit.write(entry)
            records[read.request_id] = replace(record, **changes(record))
            return True


def _clock(record: ErasureRequest, now: datetime) -> datetime | None:
    return record.clock_at if record.clock_at is not None and record.clock_at <= now else None


def _is_open(record: ErasureRequest) -> bool:
    return record.state in (REQUESTED, STARTED)


def _as_read(record: ErasureRequest, read: ErasureRequest) -> bool:
    return record.state == read.state != HELD and record.clock_at == read.clock_at


def _held_as_read(record: ErasureRequest, read: ErasureRequest) -> bool:
    return record.state == HELD and record.held_at == read.held_at


class FakeHoldStore:
    """``holds``: by tenant and digest of the subject."""

    def __init__(self) -> None:
        self.holds: dict[tuple[str, str], Hold] = {}

    def held(self, marks: Sequence[str]) -> dict[str, str]:
        return {mark: hold.hold_id for mark in marks for hold in self.holds.values() if mark in hold.marks}

    def get(self, tenant_id: str, subject_digest: str) -> Hold | None:
        return self.holds.get((tenant_id, subject_digest))

    def put(self, hold: Hold, replaced: Hold | None) -> bool:
        place = (hold.tenant_id, hold.subject_digest)
        if self.holds.get(place) != replaced:
            return False
        self.holds[place] = hold
        return True

    def lift(self, hold: Hold) -> bool:
        place = (hold.tenant_id, hold.subject_digest)
        if self.holds.get(place) != hold:
            return False
        del self.holds[place]
        return True

    def ended(self, now: datetime, limit: int) -> list[Hold]:
        ended = [hold for hold in self.holds.values() if hold.until is not None and hold.until <= now]
        return sorted(ended, key=lambda hold: (hold.until or now, hold.hold_id))[:limit]

    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Hold]:
        own = [hold for (tenant, _), hold in sorted(self.holds.items()) if tenant == tenant_id]
        return [hold for hold in own if after is None or hold.subject_digest > after][:limit]
