"""The functions that run by the clock, and those beside them, on the service's own stores over a DynamoDB in memory.

Each function may have a clock and a client of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.adapters.idempotency_store import DynamoDBIdempotencyStore
from erasure.adapters.registry_store import DynamoDBSubjectRegistry, DynamoDBSuppressionStore
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.retention_store import DynamoDBRetentionStore
from erasure.domain.clock import ClockPolicy
from erasure.domain.data_map import parse_data_map
from erasure.domain.plan import Unit
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import USER, Subject
from erasure.entry.sweeps import Sweeps
from erasure.errors import HeldError, TransitionError
from erasure.ports import PinnedMap
from erasure.services.close_job import close_job
from erasure.services.commands import ErasureCommand, ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.erasures import ErasureService
from erasure.services.follow_ups import FollowUps
from erasure.services.holds import HoldCommand, HoldService
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.services.retention_rules import RetentionPolicy
from erasure.services.retention_runs import RetentionRuns
from erasure.services.second_look import SecondLooks
from erasure.services.sla_alerts import SlaAlerts
from erasure.services.sla_watch import SlaReport, SlaWatch
from erasure.services.start_jobs import Job, Message, pack
from erasure.services.tenant_settings import TenantSettings
from erasure.services.verify_unit import VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline
from tests import fake_jobs, fakes
from tests.bench.indexed_dynamodb import IndexedDynamoDB
from tests.contract.stores import INDEXES, PROJECTIONS
from tests.fake_tenant_settings import FakeTenantSettingsStore
from tests.functional.backend_world import BACKEND_KEY
from tests.unit.services.ended_world import KEY, NOTES, PEOPLE, Bus, Seen
from tests.unit.services.watch_world import FakeDeadLetters, FakeExecutions

POLICY = ClockPolicy()
TENANT = "acme"
REQUESTS, REGISTRY, AUDIT = "Requests", "Registry", "Audit"
_MAP = parse_data_map({"version": 1, "targets": [PEOPLE, NOTES]})
_TICK = timedelta(minutes=15)


def make_tables(client: Any) -> None:
    """The service's tables that the clock knows."""
    for name in (REGISTRY, AUDIT):
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=_schema("pk", "sk"),
            AttributeDefinitions=_strings("pk", "sk"),
        )
    names = dict.fromkeys(["pk", "sk", *(name for keys in INDEXES.values() for name in keys)])
    client.create_table(
        TableName=REQUESTS,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=_schema("pk", "sk"),
        AttributeDefinitions=_strings(*names),
        GlobalSecondaryIndexes=[
            {"IndexName": name, "KeySchema": _schema(*keys), "Projection": PROJECTIONS[name]}
            for name, keys in INDEXES.items()
        ],
    )


def _schema(*keys: str) -> list[dict[str, str]]:
    return [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)]


def _strings(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


@dataclass
class Shared:
    """What all functions have in common. ``client``: a DynamoDB."""

    client: Any = field(default_factory=IndexedDynamoDB)
    clock: fakes.FakeClock = field(default_factory=fakes.FakeClock)
    queue: fake_jobs.FakeJobQueue = field(default_factory=fake_jobs.FakeJobQueue)
    workflow: fake_jobs.FakeWorkflow = field(default_factory=fake_jobs.FakeWorkflow)
    executions: FakeExecutions = field(default_factory=FakeExecutions)
    tasks: fake_jobs.FakeTaskStore = field(default_factory=fake_jobs.FakeTaskStore)
    target: fake_jobs.FakeTarget = field(default_factory=fake_jobs.FakeTarget)
    reader: Seen = field(default_factory=Seen)
    bus: Bus = field(default_factory=Bus)
    dead_letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)
    accounts: set[str] = field(default_factory=set)
    maps: fakes.FakeDataMapStore = field(
        default_factory=lambda: fakes.FakeDataMapStore(PinnedMap(1, _MAP.digest, _MAP.targets))
    )
    numbers: Any = field(default_factory=count)

    def exists(self, subject: Subject, _specs: object) -> bool:
        return subject.id in self.accounts


class Functions:
    """The service's functions, on one client, by one clock."""

    def __init__(self, shared: Shared, client: Any = None, now: Callable[[], datetime] | None = None) -> None:
        self.shared, self.now = shared, now or shared.clock
        used = client or shared.client

        def get() -> Any:
            return used

        self.requests = DynamoDBRequestStore(get, REQUESTS, AUDIT, REGISTRY)
        self.clock = DynamoDBClockStore(get, REQUESTS, AUDIT, REGISTRY)
        self.audit = DynamoDBAuditLog(get, AUDIT)
        self.holds = DynamoDBHoldStore(get, REGISTRY, sleep=lambda _: None)
        self.registry = DynamoDBSubjectRegistry(get, REGISTRY)
        self.suppressions = DynamoDBSuppressionStore(get, REGISTRY)
        self.idempotency = DynamoDBIdempotencyStore(get, REGISTRY)
        self.rules = DynamoDBRetentionStore(get, REGISTRY)
        self.acceptance = DynamoDBAcceptanceStore(
            get,
            delete_ids_table="",
            requests_table=REQUESTS,
            audit_table=AUDIT,
            registry_table=REGISTRY,
        )

    # By the clock

    def watch(self, seconds: float = 600) -> SlaReport:
        return SlaWatch(
            clock=self.clock,
            requests=self.requests,
            holds=self.holds,
            audit=self.audit,
            queue=self.shared.queue,
            executions=self.shared.executions,
            events=self.shared.bus,
            dead_letters=self.shared.dead_letters,
            now=self.now,
            policy=POLICY,
        ).run(Deadline(seconds))

    def sweep(self, seconds: float = 600) -> tuple[dict[str, int], list[Exception]]:
        shared, common = self.shared, (self.requests, self.acceptance)
        data_map = CurrentMap(shared.maps, lambda: self.now().timestamp())
        return Sweeps(
            requests=self.requests,
            clock=self.clock,
            audit=self.audit,
            queue=shared.queue,
            now=self.now,
            policy=POLICY,
            follow_ups=FollowUps(
                *common, self.audit, shared, data_map, shared.queue, self.now, ErasurePolicy(72, 90, POLICY.patience)
            ),
            second_looks=SecondLooks(
                clock=self.clock,
                requests=self.requests,
                acceptance=self.acceptance,
                audit=self.audit,
                registry=self.registry,
                suppressions=self.suppressions,
                accounts=shared,
                reader=shared.reader,
                data_map=data_map,
                queue=shared.queue,
                events=shared.bus,
                now=self.now,
                clock_policy=POLICY,
            ),
            retention=RetentionRuns(*common, self.rules, shared.maps, shared.queue, self.now, RetentionPolicy(POLICY)),
        ).run(Deadline(seconds))

    # A job

    def plan(self, job: Job) -> list[Unit]:
        shared = self.shared
        use = PlanJobDependencies(
            self.requests,
            shared.tasks,
            shared.maps,
            self.audit,
            shared.reader,
            self.now,
            self.holds,
            self.clock,
            lambda: KEY,
        )
        return plan_job(job.job_id, job.request_ids, job.attempt, use)

    def erase(self, job: Job, units: Sequence[Unit]) -> None:
        shared, targets = self.shared, {"dynamodb": self.shared.target}
        erasing = EraseUnitDependencies(self.requests, shared.tasks, targets, holds=self.holds)
        verifying = VerifyUnitDependencies(self.requests, shared.tasks, targets, holds=self.holds)
        for unit in units:
            for _ in range(20):
                erase_unit(job.job_id, unit.name, f"slice-{next(shared.numbers)}", Deadline(60), erasing)
                if not verify_unit(job.job_id, unit.name, Deadline(60), verifying).again:
                    break

    def close(self, job: Job) -> None:
        close_job(
            job.job_id,
            job.request_ids,
            requests=self.requests,
            tasks=self.shared.tasks,
            audit=self.audit,
            now=self.now,
            alerts=SlaAlerts(self.clock, self.requests, self.audit, self.shared.bus),
            policy=POLICY,
        )

    # The API

    def erasures(self) -> ErasureService:
        shared = self.shared
        return ErasureService(
            acceptance=self.acceptance,
            requests=self.requests,
            clock=self.clock,
            tasks=shared.tasks,
            registry=self.registry,
            data_maps=shared.maps,
            audit=self.audit,
            queue=shared.queue,
            retry_queue=shared.queue,
            idempotency=self.idempotency,
            settings=TenantSettings(FakeTenantSettingsStore()),
            digest_key=lambda: KEY,
            now=self.now,
        )

    def hold_service(self) -> HoldService:
        return HoldService(
            holds=self.holds,
            requests=self.requests,
            clock=self.clock,
            audit=self.audit,
            queue=self.shared.queue,
            digest_key=lambda: KEY,
            now=self.now,
            policy=POLICY,
        )

    def accept(self, user: str, not_before: datetime | None = None) -> str:
        """A request of a person who has things everywhere, and leaves a tombstone."""
        shared, subject = self.shared, Subject(TENANT, user, USER)
        for spec in _MAP.targets:
            shared.target.put(spec, subject.values(), 3)
        accepted = self.erasures().create(
            ErasureCommand(
                TENANT,
                "native",
                (subject,),
                BACKEND_KEY,
                field_of=lambda _position: "subjects[0].id",
                not_before=not_before,
                leaves_tombstone=True,
            )
        )
        request = accepted.dispositions[0].request
        assert request is not None
        return request.request_id

    def cancel(self, request_id: str) -> bool:
        try:
            self.erasures().cancel(TENANT, request_id, BACKEND_KEY)
        except (TransitionError, HeldError):
            return False
        return True

    def hold(self, user: str, until: datetime | None = None) -> None:
        command = HoldCommand(Subject(TENANT, user, USER), "a lawsuit", "legal", BACKEND_KEY, until)
        self.hold_service().put(command, f"eb_{'7' * 26}")

    def lift(self, user: str) -> None:
        self.hold_service().lift(Subject(TENANT, user, USER), BACKEND_KEY, f"eb_{'8' * 26}")


class ClockWorld:
    """``of``: a function by its name with a clock of its own; the others use ``main``. ``client``: a DynamoDB without
    tables, other than the one in memory."""

    def __init__(self, client: Any = None) -> None:
        self.shared = Shared() if client is None else Shared(client)
        make_tables(self.shared.client)
        self.main = Functions(self.shared)
        self.of: dict[str, Functions] = {}

    def functions(self, name: str) -> Functions:
        return self.of.get(name, self.main)

    def skew(self, name: str, by: timedelta) -> None:
        """From now on, this function's clock goes wrong by so much."""
        self.of[name] = Functions(self.shared, now=lambda: self.shared.clock() + by)

    def take_jobs(self) -> list[Job]:
        """What ``start_jobs`` makes of the messages that are there: those whose execution is new."""
        taken, self.shared.queue.messages[:] = list(self.shared.queue.messages), []
        messages = [Message(str(number), ids, attempt) for number, (ids, attempt) in enumerate(taken)]
        return [job for job in pack(messages) if self.shared.workflow.start(job.job_id, job.request_ids, job.attempt)]

    def run(self, job: Job) -> None:
        """A job to its end."""
        units = self.functions("plan").plan(job)
        self.main.erase(job, units)
        self.functions("close").close(job)

    def work(self) -> None:
        for job in self.take_jobs():
            self.run(job)

    def tick(self, minutes: float = 15) -> None:
        """So much later: the watch, the sweep, and what they have sent off."""
        self.shared.clock.advance(minutes * 60)
        self.shared.dead_letters.hidden.clear()
        assert self.functions("watch").watch().errors == []
        assert self.functions("sweep").sweep()[1] == []
        self.work()

    def settle(self, request_id: str, *states: str, ticks: int = 40) -> ErasureRequest:
        """Let time go on until the request is in one of the states."""
        for _ in range(ticks):
            request = self.record(request_id)
            if request.state in states:
                return request
            self.tick()
        raise AssertionError(f"after {ticks} ticks it is {self.record(request_id).state}")

    def record(self, request_id: str) -> ErasureRequest:
        request = self.main.requests.get(request_id)
        assert request is not None
        return request

    def trail(self, request_id: str) -> list[Any]:
        return self.main.audit.entries(request_id)

    def things(self, user: str) -> int:
        return sum(number for text, number in self.shared.target.things.items() if text.endswith(f"{TENANT}#{user}"))
