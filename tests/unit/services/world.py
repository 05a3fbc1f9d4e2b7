"""Everything that the use cases need, in memory, and the job's loop as the state machine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import Part, Unit
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import due_at, purged_by
from erasure.ports import PinnedMap
from erasure.services.close_job import ClosedJob, close_job
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.services.self_deletion import SelfDeletionService
from erasure.services.start_jobs import job_id_for
from erasure.services.verify_unit import NextStep, VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline
from tests import fake_jobs, fakes
from tests.fake_clock_stores import FakeClockStore, FakeHoldStore

KEY = b"a key of the tests"
ANN = Subject("acme", "ann")

MAP = parse_data_map(
    {
        "version": 1,
        "targets": [
            {
                "name": name,
                "category": "content",
                "dynamodb": {"table": f"app-{name}", "key": {"pk": "{tenant_id}#{user_id}"}},
            }
            for name in ("notes", "comments")
        ]
        + [{"name": "files", "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}}],
    }
)
NAMES = ["notes", "comments", "files"]


@dataclass
class World:
    """``target`` serves both kinds. ``slices`` numbers the calls of the eraser."""

    clock: fakes.FakeClock = field(default_factory=fakes.FakeClock)
    audit: fakes.FakeAuditLog = field(default_factory=fakes.FakeAuditLog)
    delete_ids: fakes.FakeDeleteIdStore = field(default_factory=fakes.FakeDeleteIdStore)
    tasks: fake_jobs.FakeTaskStore = field(default_factory=fake_jobs.FakeTaskStore)
    queue: fake_jobs.FakeJobQueue = field(default_factory=fake_jobs.FakeJobQueue)
    target: fake_jobs.FakeTarget = field(default_factory=fake_jobs.FakeTarget)
    slices: int = 0

    def __post_init__(self) -> None:
        self.requests = fakes.FakeRequestStore(self.audit)
        self.by_clock = FakeClockStore(self.requests)
        self.holds = FakeHoldStore()
        self.acceptance = fakes.FakeAcceptanceStore(self.delete_ids, self.requests, self.audit)
        self.maps = fakes.FakeDataMapStore(PinnedMap(1, MAP.digest, MAP.targets))
        self.reader = fake_jobs.FakeDataReader()

    def cancel(self, request: ErasureRequest) -> bool:
        last = self.audit.entries(request.request_id)[-1]
        return self.requests.cancel(
            request, next_entry(request.request_id, last, "cancelled", self.clock(), {"reason": "test"})
        )

    def service(self) -> SelfDeletionService:
        """With a clock that moves only when somebody sleeps."""
        moment = [0.0]

        def sleep(seconds: float) -> None:
            moment[0] += seconds
            self.clock.advance(seconds)

        return SelfDeletionService(
            delete_ids=self.delete_ids,
            acceptance=self.acceptance,
            requests=self.requests,
            data_maps=self.maps,
            queue=self.queue,
            holds=self.holds,
            audit=self.audit,
            digest_key=lambda: KEY,
            now=self.clock,
            sleep=sleep,
            monotonic=lambda: moment[0],
        )

    def a_request(self, subject: Subject = ANN) -> ErasureRequest:
        """An accepted request, in its first state."""
        now = self.clock()
        digest = subject_digest(KEY, subject)
        request = ErasureRequest(new_request_id(), subject, digest, "h2o", now, due_at(now, 72), purged_by(now, 90))
        self.requests.records[request.request_id] = request
        self.audit.append(request.request_id, "requested", now, {})
        return request

    def requests_of(self, *user_ids: str) -> list[ErasureRequest]:
        """Accepted requests of people who have things everywhere."""
        for user_id in user_ids:
            self.put_things(Subject("acme", user_id))
        return [self.a_request(Subject("acme", user_id)) for user_id in user_ids]

    def put_things(self, subject: Subject = ANN, count: int = 3) -> None:
        for spec in MAP.targets:
            self.target.put(spec, subject.values(), count)

    def plan(
        self, job_id: str, *request_ids: str, attempt: int = 1, categories: Sequence[str] | None = None
    ) -> list[Unit]:
        use = PlanJobDependencies(
            self.requests,
            self.tasks,
            self.maps,
            self.audit,
            self.reader,
            self.clock,
            self.holds,
            self.by_clock,
            lambda: KEY,
        )
        return plan_job(job_id, request_ids, attempt, use, categories)

    def erase(self, job_id: str, unit: str, deadline: Deadline | None = None, slice_id: str | None = None) -> bool:
        self.slices += 1
        use = EraseUnitDependencies(
            self.requests, self.tasks, {"dynamodb": self.target, "s3": self.target}, holds=self.holds
        )
        return erase_unit(job_id, unit, slice_id or f"slice-{self.slices}", deadline or Deadline(60), use)

    def verify(self, job_id: str, unit: str, deadline: Deadline | None = None) -> NextStep:
        use = VerifyUnitDependencies(
            self.requests, self.tasks, {"dynamodb": self.target, "s3": self.target}, holds=self.holds
        )
        return verify_unit(job_id, unit, deadline or Deadline(60), use)

    def close(self, job_id: str, *request_ids: str, partial: bool = False) -> ClosedJob:
        return close_job(
            job_id,
            request_ids,
            requests=self.requests,
            tasks=self.tasks,
            audit=self.audit,
            now=self.clock,
            partial=partial,
        )

    def loop(self, job_id: str, units: Sequence[Unit]) -> int:
        """Erase and verify until nothing asks for more; returns the number of rounds through the loop."""
        rounds = 0
        for unit in units:
            again = True
            while again:
                rounds += 1
                assert rounds < 100, "the loop does not end"
                self.erase(job_id, unit.name)
                again = self.verify(job_id, unit.name).again
        return rounds

    def run(self, request: ErasureRequest, attempt: int = 1) -> ClosedJob:
        """A whole job."""
        job_id = job_id_for(request.request_id, attempt)
        self.loop(job_id, self.plan(job_id, request.request_id, attempt=attempt))
        return self.close(job_id, request.request_id)

    def run_many(self, job_id: str, requests: Sequence[ErasureRequest], attempt: int = 1) -> ClosedJob:
        """A whole job for all of them."""
        request_ids = [request.request_id for request in requests]
        self.loop(job_id, self.plan(job_id, *request_ids, attempt=attempt))
        return self.close(job_id, *request_ids)

    def part(self, job_id: str, request: ErasureRequest, name: str = "notes") -> Part:
        """The request's part of a target."""
        (found,) = [
            part
            for task in self.tasks.tasks(job_id)
            for part in task.parts
            if task.spec.name == name and part.request_id == request.request_id
        ]
        return found

    def record(self, request: ErasureRequest) -> ErasureRequest:
        record = self.requests.get(request.request_id)
        assert record is not None
        return record

    def outcomes(self, request: ErasureRequest) -> dict[str, TargetOutcome]:
        return {outcome.target: outcome for outcome in self.record(request).outcomes}

    def trail(self, request: ErasureRequest) -> list[AuditEntry]:
        return self.audit.entries(request.request_id)
