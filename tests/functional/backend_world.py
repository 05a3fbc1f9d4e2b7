"""What stands behind the backend API, in memory: the stores, the use cases, and the workers as they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from erasure.domain.clock import ClockPolicy
from erasure.domain.data_map import parse_data_map
from erasure.domain.request import ErasureRequest
from erasure.domain.scope import for_all_organizations
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.target_spec import TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import PinnedMap, Tombstone
from erasure.services.accounts import AccountService
from erasure.services.close_job import close_job
from erasure.services.current_map import CurrentMap
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.erasure_plans import ErasurePlans
from erasure.services.erasures import ErasureService
from erasure.services.holds import HoldService
from erasure.services.idempotent import Idempotency
from erasure.services.immediate import ImmediateJobs
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.services.start_jobs import batch_job_id
from erasure.services.tenant_settings import TenantSettings
from erasure.services.verify_unit import VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline
from tests import fake_jobs, fakes
from tests.fake_clock_stores import FakeClockStore, FakeHoldStore
from tests.fake_tenant_settings import FakeTenantSettingsStore

KEY = b"a key of the tests"
TENANT, OTHER_TENANT = "tnt_01HABCDEF654321", "tnt_01HABCDEF000000"
USER = "usr_01HABCDEF123456"
BACKEND_KEY = "akeyofthebackend"


def table(name: str, category: str, subject: str = "user") -> dict[str, Any]:
    key = {"pk": f"{{tenant_id}}#{{{subject}_id}}"}
    return {
        "name": name,
        "category": category,
        "subjects": [subject],
        "dynamodb": {"table": f"app-{name}", "key": key},
    }


TARGETS: list[dict[str, Any]] = [
    table("accounts", "account"),
    table("sessions", "session"),
    table("mfa-factors", "credential"),
    table("memberships", "membership"),
    table("audit-events", "record"),
    table("group-events", "content", "group"),
    {
        "name": "files",
        "category": "content",
        "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/{organization_id}/"},
    },
]
ACCESS = ("accounts", "sessions", "mfa-factors")


def a_map(targets: Sequence[Mapping[str, Any]] = TARGETS, version: int = 1) -> PinnedMap:
    parsed = parse_data_map({"version": 1, "targets": [dict(target) for target in targets]})
    return PinnedMap(version, parsed.digest, parsed.targets)


class TargetReader:
    """Looks into the target itself, as the verifier does. ``down``: cannot tell."""

    def __init__(self, target: fake_jobs.FakeTarget) -> None:
        self._target = target
        self.down = False

    def exists(self, subject: Subject, specs: Sequence[TargetSpec]) -> bool:
        if self.down:
            raise UnavailableError("the targets could not be read")
        deadline = Deadline(1)
        return any(self._target.verify(spec, [subject.values()], deadline)[0].left for spec in specs)


class BackendWorld:
    """``target`` serves both kinds; ``functions`` are the workers on it. Time moves only when somebody sleeps, or when
    ``seconds_of_a_call`` is set and a worker is called."""

    def __init__(self, data_map: PinnedMap | None = None) -> None:
        self.clock = fakes.FakeClock()
        self.moment = 0.0
        self.seconds_of_a_call = 0.0
        self.audit = fakes.FakeAuditLog()
        self.registry = fakes.FakeSubjectRegistry()
        self.requests = fakes.FakeRequestStore(self.audit, self.registry)
        self.requests_by_clock = FakeClockStore(self.requests)
        self.holds = FakeHoldStore()
        self.tenants = FakeTenantSettingsStore()
        self.settings = TenantSettings(self.tenants, self.monotonic)
        self.idempotency = fakes.FakeIdempotencyStore()
        self.delete_ids = fakes.FakeDeleteIdStore()
        self.acceptance = fakes.FakeAcceptanceStore(self.delete_ids, self.requests, self.audit, self.idempotency)
        self.tasks = fake_jobs.FakeTaskStore()
        self.queue, self.retry_queue = fake_jobs.FakeJobQueue(), fake_jobs.FakeJobQueue()
        self.maps = fakes.FakeDataMapStore(data_map or a_map())
        self.target = fake_jobs.FakeTarget()
        self.reader = TargetReader(self.target)
        self.data_reader = fake_jobs.FakeDataReader()
        self.functions = fake_jobs.FakeFunctions(
            {"erase_dynamodb": self.erase, "erase_s3": self.erase, "verify_target": self.verify}
        )
        self.jobs = ImmediateJobs(
            requests=self.requests,
            tasks=self.tasks,
            data_maps=self.maps,
            audit=self.audit,
            functions=self.functions,
            reader=self.data_reader,
            holds=self.holds,
            clock=self.requests_by_clock,
            digest_key=lambda: KEY,
            now=self.clock,
            sleep=self.sleep,
        )
        self.erasures = ErasureService(
            acceptance=self.acceptance,
            requests=self.requests,
            clock=self.requests_by_clock,
            tasks=self.tasks,
            registry=self.registry,
            data_maps=self.maps,
            audit=self.audit,
            queue=self.queue,
            retry_queue=self.retry_queue,
            idempotency=self.idempotency,
            settings=self.settings,
            digest_key=lambda: KEY,
            now=self.clock,
            monotonic=self.monotonic,
        )
        self.hold_service = HoldService(
            holds=self.holds,
            requests=self.requests,
            clock=self.requests_by_clock,
            audit=self.audit,
            queue=self.queue,
            digest_key=lambda: KEY,
            now=self.clock,
            policy=ClockPolicy(),
        )
        self.plans = ErasurePlans(
            CurrentMap(self.maps, self.monotonic), self.data_reader, lambda: KEY, self.clock, self.settings
        )
        self.once = Idempotency(self.idempotency, lambda: KEY, self.clock)
        self.accounts = AccountService(
            erasures=self.erasures,
            registry=self.registry,
            requests=self.requests,
            data_map=CurrentMap(self.maps, self.monotonic),
            accounts=self.reader,
            jobs=self.jobs,
            holds=self.holds,
            audit=self.audit,
            idempotency=self.once,
            digest_key=lambda: KEY,
            now=self.clock,
            monotonic=self.monotonic,
        )

    def monotonic(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += seconds
        self.clock.advance(seconds)

    # The application's data.

    def put_user(self, user_id: str = USER, tenant_id: str = TENANT, *, count: int = 2) -> Subject:
        """A user with things in every target of users."""
        return self._put(Subject(tenant_id, user_id), count)

    def put_group(self, group_id: str, tenant_id: str = TENANT, *, count: int = 2) -> Subject:
        return self._put(Subject(tenant_id, group_id, "group"), count)

    def _put(self, subject: Subject, count: int) -> Subject:
        for spec, values in self._places(subject):
            self.target.put(spec, values, count)
        return subject

    def left(self, subject: Subject) -> set[str]:
        """The targets that hold something of the subject."""
        deadline, unscripted = Deadline(1), fake_jobs.FakeTarget()
        unscripted.things = self.target.things
        return {
            spec.name for spec, values in self._places(subject) if unscripted.verify(spec, [values], deadline)[0].left
        }

    def _places(self, subject: Subject) -> list[tuple[TargetSpec, dict[str, str]]]:
        specs = self.maps.maps[-1].targets
        return [(for_all_organizations(spec), subject.values()) for spec in specs if subject.type in spec.subjects]

    # The workers.

    def erase(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self.sleep(self.seconds_of_a_call)
        use = EraseUnitDependencies(
            self.requests, self.tasks, {"dynamodb": self.target, "s3": self.target}, holds=self.holds
        )
        slice_id = f"slice-{len(self.functions.calls)}"
        more = erase_unit(event["job_id"], event["unit"], slice_id, Deadline(event["seconds"]), use)
        return {**event, "more": more}

    def verify(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self.sleep(self.seconds_of_a_call)
        use = VerifyUnitDependencies(
            self.requests, self.tasks, {"dynamodb": self.target, "s3": self.target}, holds=self.holds
        )
        step = verify_unit(event["job_id"], event["unit"], Deadline(event["seconds"]), use)
        return {**event, "again": step.again, "wait": step.wait}

    def run_batch(self) -> None:
        """What the batch lane does with its messages: one job for all of them."""
        request_ids = sorted({request_id for ids, _ in self.queue.messages for request_id in ids})
        attempt = max((attempt for _, attempt in self.queue.messages), default=1)
        self.queue.messages.clear()
        self.queue.delays.clear()
        self.run_job(batch_job_id(request_ids, attempt), request_ids, attempt)

    def planning(self) -> PlanJobDependencies:
        return PlanJobDependencies(
            self.requests,
            self.tasks,
            self.maps,
            self.audit,
            self.data_reader,
            self.clock,
            self.holds,
            self.requests_by_clock,
            lambda: KEY,
        )

    def run_job(self, job_id: str, request_ids: Sequence[str], attempt: int) -> None:
        """A whole job, as the state machine runs it."""
        stores = {"requests": self.requests, "tasks": self.tasks, "audit": self.audit, "now": self.clock}
        for unit in plan_job(job_id, request_ids, attempt, self.planning()):
            event = {"job_id": job_id, "unit": unit.name, "seconds": 60}
            for _ in range(20):
                self.erase(event)
                if not self.verify(event)["again"]:
                    break
        close_job(job_id, request_ids, **stores)  # type: ignore[arg-type]

    # What has become of it.

    def request(self, request_id: str) -> ErasureRequest:
        return self.requests.records[request_id]

    def only_request(self) -> ErasureRequest:
        (request,) = self.requests.records.values()
        return request

    def tombstone(self, subject: Subject) -> Tombstone | None:
        return self.registry.found.get(subject_digest(KEY, subject))
