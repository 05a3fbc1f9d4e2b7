"""The native way in with everything behind it in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from erasure.domain.audit import next_entry
from erasure.domain.plan import Part, Task
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DetachRule, DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.ports import PinnedJob, PinnedMap
from erasure.services.erasures import Accepted, ErasureCommand, ErasureService, IdempotencyClaim
from erasure.services.tenant_settings import TenantSettings
from tests import fake_jobs, fakes
from tests.fake_clock_stores import FakeClockStore
from tests.fake_tenant_settings import FakeTenantSettingsStore

KEY = b"a key of the tests"


def table(name: str, category: str, key: str, **attributes: Any) -> TargetSpec:
    return TargetSpec(name, category, dynamodb=DynamoDBRule(f"app-{name}", KeyRule("pk", key)), **attributes)


NOTES = table("notes", "content", "{tenant_id}#{user_id}")
FILES = TargetSpec("files", "content", s3=S3Rule("app-files", prefix="{tenant_id}/{user_id}/"))
SESSIONS = table("sessions", "session", "{tenant_id}#{user_id}")
TEAMS = TargetSpec(
    "teams",
    "membership",
    dynamodb=DynamoDBRule("app-teams", KeyRule("pk", "{tenant_id}#{user_id}"), KeyRule("sk", "ORG#{organization_id}")),
)
CREWS = table("crews", "content", "{tenant_id}#{group_id}", subjects=("group",))
MENTIONS = TargetSpec(
    "mentions",
    "content",
    dynamodb=DynamoDBRule("app-mentions", KeyRule("user", "{tenant_id}#{user_id}"), index="by-user"),
    detach=DetachRule("mentioned"),
)
TARGETS = (NOTES, FILES, SESSIONS, TEAMS, CREWS, MENTIONS)


def users(*ids: str) -> tuple[Subject, ...]:
    return tuple(Subject("acme", user_id) for user_id in ids)


ANN, BOB = users("ann", "bob")


@dataclass
class Desk:
    clock: fakes.FakeClock = field(default_factory=fakes.FakeClock)
    audit: fakes.FakeAuditLog = field(default_factory=fakes.FakeAuditLog)
    tasks: fake_jobs.FakeTaskStore = field(default_factory=fake_jobs.FakeTaskStore)
    queue: fake_jobs.FakeJobQueue = field(default_factory=fake_jobs.FakeJobQueue)
    retry_queue: fake_jobs.FakeJobQueue = field(default_factory=fake_jobs.FakeJobQueue)
    idempotency: fakes.FakeIdempotencyStore = field(default_factory=fakes.FakeIdempotencyStore)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.requests = fakes.FakeRequestStore(self.audit)
        self.registry = self.requests.registry
        self.settings = FakeTenantSettingsStore()
        self.acceptance = fakes.FakeAcceptanceStore(
            fakes.FakeDeleteIdStore(), self.requests, self.audit, self.idempotency
        )
        self.maps = fakes.FakeDataMapStore(PinnedMap(1, "digest", TARGETS))
        self.service = self.new_service()

    def new_service(self) -> ErasureService:
        return ErasureService(
            acceptance=self.acceptance,
            requests=self.requests,
            clock=FakeClockStore(self.requests),
            tasks=self.tasks,
            registry=self.registry,
            data_maps=self.maps,
            audit=self.audit,
            queue=self.queue,
            retry_queue=self.retry_queue,
            idempotency=self.idempotency,
            settings=TenantSettings(self.settings, lambda: self.seconds),
            digest_key=lambda: KEY,
            now=self.clock,
            monotonic=lambda: self.seconds,
        )

    def create(self, *subjects: Subject, **options: Any) -> Accepted:
        self.clock.advance(1)
        return self.service.create(command(*subjects, **options))

    def one(self, subject: Subject = ANN, **options: Any) -> ErasureRequest:
        request = self.create(subject, **options).dispositions[0].request
        assert request is not None
        return request

    def sent(self) -> list[str]:
        """The ids in all messages of the batch lane, in the order in which they were sent."""
        return [request_id for ids, _ in self.queue.messages for request_id in ids]

    def states(self) -> list[str]:
        return [record.state for record in self.requests.records.values()]

    def start(self, request: ErasureRequest, job_id: str = "job-1", attempt: int = 1) -> None:
        assert self.requests.start(request, self.clock(), 1, job_id, attempt)

    def start_all(self, request_ids: Sequence[str]) -> None:
        for request_id in request_ids:
            self.start(self.requests.records[request_id])

    def plan_tasks(self, job_id: str, *tasks: tuple[TargetSpec, tuple[Part, ...]]) -> None:
        data_map = self.maps.current()
        assert data_map is not None
        made = [Task(job_id, "unit-00", number, spec, parts) for number, (spec, parts) in enumerate(tasks)]
        ids = sorted({part.request_id for _, parts in tasks for part in parts})
        self.tasks.create_job(job_id, PinnedJob(data_map.version, tuple(ids)), data_map, made)

    def close(self, request: ErasureRequest, job_id: str, *outcomes: Any, finished: bool) -> None:
        entry = self.audit.append(request.request_id, "closing", self.clock(), {}, event_id=f"closing:{job_id}")
        following = next_entry(request.request_id, entry, "closed", self.clock(), {})
        assert self.requests.close(
            request, job_id, outcomes, self.clock(), following, finished=finished, attention=not finished
        )


def command(*subjects: Subject, key: str | None = None, body: str = "{}", **options: Any) -> ErasureCommand:
    settings: dict[str, Any] = {
        "tenant_id": "acme",
        "family": "native",
        "subjects": subjects,
        "key_id": "key-1",
        "field_of": lambda position: f"subjects[{position}].id",
        "idempotency": None if key is None else IdempotencyClaim(key, "native.create", body),
    }
    return ErasureCommand(**{**settings, **options})
