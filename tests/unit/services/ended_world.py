"""Requests that have ended, and everything that the clock does to them, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from erasure.domain.audit import AuditEntry
from erasure.domain.clock import ClockPolicy
from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import ERASED, TargetOutcome
from erasure.domain.request import FINISHED, ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import due_at, purged_by
from erasure.errors import UnavailableError
from erasure.ports import Event, PinnedMap, Preview
from erasure.services.current_map import CurrentMap
from erasure.services.purge import purge_due
from erasure.services.second_look import SecondLookFigures, SecondLooks
from erasure.targets.protocol import Deadline
from tests import fake_clock_stores, fake_jobs, fakes

KEY = b"a key of the tests"
ANN = Subject("acme", "ann")
POLICY = ClockPolicy()


def _table(name: str, category: str, subject: str = "user", placeholder: str = "user_id") -> dict[str, Any]:
    key = {"pk": f"{{tenant_id}}#{{{placeholder}}}"}
    return {
        "name": name,
        "category": category,
        "subjects": [subject],
        "dynamodb": {"table": f"app-{name}", "key": key},
    }


PEOPLE, NOTES = _table("people", "account"), _table("notes", "content")
EVENTS = _table("events", "content", "group", "group_id")
TARGETS = (PEOPLE, NOTES, EVENTS)


class Bus:
    """``down``: takes nothing."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    def put(self, events: Sequence[Event]) -> None:
        if self.down:
            raise UnavailableError("the bus did not take the events")
        self.events += events


class Seen(fake_jobs.FakeDataReader):
    """``left``: how many things a target has of a subject, by both names; ``None``: that cannot be told."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[tuple[str, str], int | None] = {}
        self.looked_at: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []

    def preview(self, subject: Subject, organization_ids: Sequence[str], data_map: PinnedMap) -> list[Preview]:
        self._answer()
        names = tuple(spec.name for spec in data_map.targets)
        self.looked_at.append((subject.id, tuple(organization_ids), names))
        counts = [self.left.get((spec.name, subject.id), 0) for spec in data_map.targets]
        return [
            Preview(spec.name, spec.category, spec.action, count, problem="timed_out" if count is None else None)
            for spec, count in zip(data_map.targets, counts, strict=True)
        ]


@dataclass
class EndedWorld:
    """``accounts``: ids of subjects who have one."""

    clock: fakes.FakeClock = field(default_factory=fakes.FakeClock)
    audit: fakes.FakeAuditLog = field(default_factory=fakes.FakeAuditLog)
    queue: fake_jobs.FakeJobQueue = field(default_factory=fake_jobs.FakeJobQueue)
    bus: Bus = field(default_factory=Bus)
    reader: Seen = field(default_factory=Seen)
    maps: fakes.FakeDataMapStore = field(default_factory=fakes.FakeDataMapStore)
    accounts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.requests = fakes.FakeRequestStore(self.audit)
        self.acceptance = fakes.FakeAcceptanceStore(fakes.FakeDeleteIdStore(), self.requests, self.audit)
        self.times = fake_clock_stores.FakeClockStore(self.requests)
        self.accounts_are_read = True
        self.put_map(*TARGETS)

    def put_map(self, *targets: Any, **more: Any) -> None:
        self.maps.put(parse_data_map({"version": 1, "targets": list(targets), **more}), self.clock())

    def exists(self, subject: Subject, _specs: Sequence[TargetSpec]) -> bool:
        if not self.accounts_are_read:
            raise UnavailableError("a function did not answer")
        return subject.id in self.accounts

    def ended(self, subject: Subject = ANN, **changes: Any) -> ErasureRequest:
        """A request that has just erased something of each target, and is looked at a day later."""
        now = self.clock()
        erased = [TargetOutcome(name, "content", ERASED, 1) for name in ("people", "notes", "events")]
        values: dict[str, Any] = {
            "state": FINISHED,
            "started_at": now,
            "finished_at": now,
            "outcomes": tuple(erased),
            "clock_at": now + POLICY.second_look,
            "identifiers": {"email": (f"{subject.id}@example.org",)},
            "hold_digests": ("a digest",),
            "job_id": "job-1",
            **changes,
        }
        digest = subject_digest(KEY, subject)
        promises = due_at(now, POLICY.sla_hours), purged_by(now, 90)
        values = {"due_at": promises[0], "purged_by": promises[1], **values}
        request = ErasureRequest(new_request_id(), subject, digest, values.pop("family", "native"), now, **values)
        self.requests.records[request.request_id] = request
        self.audit.append(request.request_id, "requested", now, {})
        return request

    def record(self, request: ErasureRequest) -> ErasureRequest:
        return self.requests.records[request.request_id]

    def trail(self, request: ErasureRequest) -> list[AuditEntry]:
        return self.audit.entries(request.request_id)

    def pass_(self, time: timedelta) -> None:
        self.clock.advance(time.total_seconds())

    def looks(self) -> SecondLooks:
        return SecondLooks(
            clock=self.times,
            requests=self.requests,
            acceptance=self.acceptance,
            audit=self.audit,
            registry=self.requests.registry,
            suppressions=fakes.FakeSuppressionStore(self.requests.registry),
            accounts=self,
            reader=self.reader,
            data_map=CurrentMap(self.maps, lambda: self.clock().timestamp()),
            queue=self.queue,
            events=self.bus,
            now=self.clock,
            clock_policy=POLICY,
        )

    def look(self) -> SecondLookFigures:
        return self.looks().look(Deadline(60))

    def look_later(self) -> SecondLookFigures:
        self.pass_(POLICY.second_look)
        return self.look()

    def purge(self, deadline: Deadline | None = None) -> int:
        return purge_due(self.times, self.requests, self.audit, self.clock, deadline or Deadline(60), POLICY)
