"""The service of the simulation: its real use cases on stores in memory, each call of which goes through the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from erasure.domain.audit import AuditEntry
from erasure.domain.clock import ClockPolicy
from erasure.domain.plan import Unit
from erasure.ports import Event
from erasure.services.close_job import close_job
from erasure.services.commands import ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.erasures import ErasureService
from erasure.services.follow_ups import FollowUps
from erasure.services.holds import HoldService
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.services.purge import purge_due
from erasure.services.release_due import release_due
from erasure.services.replay import ReplayCommand, Replays
from erasure.services.replayed_erasures import is_under_way
from erasure.services.second_look import SecondLooks
from erasure.services.sla_alerts import SlaAlerts
from erasure.services.sla_watch import SlaWatch
from erasure.services.tenant_settings import TenantSettings
from erasure.services.verify_unit import VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline
from tests.fakes import (
    FakeAcceptanceStore,
    FakeAuditLog,
    FakeDataMapStore,
    FakeDeleteIdStore,
    FakeIdempotencyStore,
    FakeSuppressionStore,
)
from tests.functional.simulation_engine import (
    BATCH_LANE,
    INTERACTIVE_LANE,
    Agenda,
    DeadLetterQueue,
    Execution,
    Queue,
    Steps,
    Workflow,
    start_jobs_of,
)
from tests.functional.simulation_faults import Gate, Gated
from tests.functional.simulation_ledger import Ledger, Slice
from tests.functional.simulation_stores import (
    LaggingIndex,
    SimClockStore,
    SimHoldStore,
    SimRequestStore,
    SimTaskStore,
)
from tests.functional.simulation_world import Engine, Reader, World

DIGEST_KEY = b"a key of the simulation"
SLICE_SECONDS = 60.0
SWEEP_SECONDS = 240.0


class SimEventBus:
    """Told events, each as often as it was told."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def put(self, events: list[Event]) -> None:
        self.told.extend(events)


class SimSettings:
    """:class:`erasure.ports.TenantSettingsStore`."""

    def __init__(self) -> None:
        self.graces: dict[str, timedelta] = {}

    def grace(self, tenant_id: str) -> timedelta:
        return self.graces.get(tenant_id, timedelta(0))

    def set_grace(self, tenant_id: str, grace: timedelta) -> None:
        self.graces[tenant_id] = grace


class Watched:
    """A queue in front of which it is noted what is sent."""

    def __init__(self, gate: Gate, queue: Queue, ledger: Ledger) -> None:
        self._gate = gate
        self._queue = queue
        self._ledger = ledger

    def send(self, request_ids: list[str], attempt: int, *, delay_seconds: int = 0) -> None:
        self._ledger.on_sent(self._gate.stack[-1], request_ids, attempt)
        self._queue.send(request_ids, attempt, delay_seconds=delay_seconds)


@dataclass
class Service:
    gate: Gate
    world: World
    agenda: Agenda
    policy: ErasurePolicy
    clock_policy: ClockPolicy
    units: dict[str, list[Unit]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        gate = self.gate
        self.index = LaggingIndex(gate)
        self.audit = FakeAuditLog()
        self.requests = SimRequestStore(self.audit, self.index)
        self.clock = SimClockStore(self.requests)
        self.tasks = SimTaskStore()
        self.holds = SimHoldStore()
        self.maps = FakeDataMapStore(self.world.data_map)
        self.idempotency = FakeIdempotencyStore()
        self.acceptance = FakeAcceptanceStore(FakeDeleteIdStore(), self.requests, self.audit, self.idempotency)
        self.bus = SimEventBus()
        self.settings = SimSettings()
        self.workflow = Workflow(gate, self.agenda, Steps(self._plan, self._erase, self._verify, self._close))
        start = start_jobs_of(Gated(gate, self.workflow))
        self.lanes = {name: Queue(gate, self.agenda, name, start) for name in (BATCH_LANE, INTERACTIVE_LANE)}
        self.ledger = Ledger(
            gate, self.world, self.requests.records, self.workflow.is_living, lambda key: self.audit.entries(key)
        )
        self.requests.records.told.append(self.ledger.on_record)
        self.world.on_erased = self.ledger.on_erased
        self._build()

    def _build(self) -> None:
        gate, now = self.gate, self.gate.now
        engine, reader = Engine(self.world), Reader(self.world)
        self.g_requests: Any = Gated(gate, self.requests)
        self.g_clock: Any = Gated(gate, self.clock)
        self.g_audit: Any = Gated(gate, self.audit)
        self.g_holds: Any = Gated(gate, self.holds)
        self.g_tasks: Any = Gated(gate, self.tasks)
        self.g_acceptance: Any = Gated(gate, self.acceptance, ours=True)
        self.g_reader: Any = Gated(gate, reader, ours=True)
        self.g_events: Any = Gated(gate, self.bus, ours=True)
        self.g_executions: Any = Gated(gate, self.workflow, ours=True)
        self.g_maps: Any = Gated(gate, self.maps)
        self.batch_lane: Any = self._lane(BATCH_LANE)
        self.current_map = CurrentMap(self.g_maps, gate.monotonic)
        targets: Any = {"dynamodb": engine, "s3": engine}
        self.erasures = ErasureService(
            acceptance=self.g_acceptance,
            requests=self.g_requests,
            clock=self.g_clock,
            tasks=self.g_tasks,
            registry=Gated(gate, self.requests.registry),
            data_maps=self.g_maps,
            audit=self.g_audit,
            queue=self.batch_lane,
            retry_queue=self._lane(INTERACTIVE_LANE),
            idempotency=Gated(gate, self.idempotency),
            settings=TenantSettings(Gated(gate, self.settings), gate.monotonic),
            digest_key=lambda: DIGEST_KEY,
            now=now,
            policy=self.policy,
            clock_policy=self.clock_policy,
            monotonic=gate.monotonic,
        )
        self.hold_service = HoldService(
            holds=self.g_holds,
            requests=self.g_requests,
            clock=self.g_clock,
            audit=self.g_audit,
            queue=self.batch_lane,
            digest_key=lambda: DIGEST_KEY,
            now=now,
            policy=self.clock_policy,
        )
        self.watch = SlaWatch(
            clock=self.g_clock,
            requests=self.g_requests,
            holds=self.g_holds,
            audit=self.g_audit,
            queue=self.batch_lane,
            executions=self.g_executions,
            events=self.g_events,
            dead_letters=Gated(gate, DeadLetterQueue(list(self.lanes.values()))),
            now=now,
            policy=self.clock_policy,
        )
        self.follow_ups = FollowUps(
            requests=self.g_requests,
            acceptance=self.g_acceptance,
            audit=self.g_audit,
            accounts=self.g_reader,
            data_map=self.current_map,
            queue=self.batch_lane,
            now=now,
            policy=self.policy,
        )
        self.second_looks = SecondLooks(
            clock=self.g_clock,
            requests=self.g_requests,
            acceptance=self.g_acceptance,
            audit=self.g_audit,
            registry=Gated(gate, self.requests.registry),
            suppressions=Gated(gate, FakeSuppressionStore(self.requests.registry)),
            accounts=self.g_reader,
            reader=self.g_reader,
            data_map=self.current_map,
            queue=self.batch_lane,
            events=self.g_events,
            now=now,
            clock_policy=self.clock_policy,
        )
        self.replays = Replays(
            clock=self.g_clock,
            requests=self.g_requests,
            acceptance=self.g_acceptance,
            audit=self.g_audit,
            accounts=self.g_reader,
            reader=self.g_reader,
            data_map=self.current_map,
            queue=self.batch_lane,
            now=now,
            policy=self.clock_policy,
            purge_days=self.policy.purge_days,
        )
        self.planning = PlanJobDependencies(
            requests=self.g_requests,
            tasks=self.g_tasks,
            data_maps=self.g_maps,
            audit=self.g_audit,
            reader=self.g_reader,
            now=now,
            holds=self.g_holds,
            clock=self.g_clock,
            digest_key=lambda: DIGEST_KEY,
        )
        self.erasing = EraseUnitDependencies(self.g_requests, self.g_tasks, targets, holds=self.g_holds)
        self.verifying = VerifyUnitDependencies(self.g_requests, self.g_tasks, targets, holds=self.g_holds)

    def _lane(self, name: str) -> Any:
        return Gated(self.gate, Watched(self.gate, self.lanes[name], self.ledger), ours=True)

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self.gate.monotonic)

    # What the state machine calls

    def _plan(self, execution: Execution) -> list[str]:
        units = plan_job(execution.job_id, execution.request_ids, execution.attempt, self.planning)
        return [unit.name for unit in units]

    def _erase(self, execution: Execution, unit: str) -> None:
        slice_ = Slice(execution.job_id, self.gate.next_number())
        self.ledger.slices.append(slice_)
        try:
            erase_unit(execution.job_id, unit, f"slice-{slice_.number}", self.deadline(SLICE_SECONDS), self.erasing)
        finally:
            self.ledger.slices.pop()

    def _verify(self, execution: Execution, unit: str) -> tuple[bool, int]:
        step = verify_unit(execution.job_id, unit, self.deadline(SLICE_SECONDS), self.verifying)
        return step.again, step.wait

    def _close(self, execution: Execution) -> None:
        close_job(
            execution.job_id,
            execution.request_ids,
            requests=self.g_requests,
            tasks=self.g_tasks,
            audit=self.g_audit,
            now=self.gate.now,
            policy=self.clock_policy,
            alerts=SlaAlerts(self.g_clock, self.g_requests, self.g_audit, self.g_events),
        )

    # What the schedules call

    def run_watch(self) -> None:
        report = self.watch.run(self.deadline(SWEEP_SECONDS))
        if report.errors:
            raise report.errors[0]

    def run_sweep(self) -> None:
        deadline = self.deadline(SWEEP_SECONDS)
        errors: list[Exception] = []

        def alone(step: Any) -> None:
            """As the sweep's function does: one step's failure keeps none of the others from being done."""
            try:
                step()
            except Exception as error:
                errors.append(error)

        def release() -> None:
            sweep = release_due(self.g_requests, self.batch_lane, self.gate.now, deadline)
            self.follow_ups.take_up(sweep.finished, deadline)

        alone(release)
        alone(lambda: self.second_looks.look(deadline))
        alone(
            lambda: purge_due(self.g_clock, self.g_requests, self.g_audit, self.gate.now, deadline, self.clock_policy)
        )
        if errors:
            raise errors[0]

    def replay(self, since: datetime, until: datetime, restored: Sequence[str], run: str) -> bool:
        """What the operator does after a restore; whether everything is on its way."""
        report = self.replays.run(ReplayCommand(since, frozenset(restored), until, run))
        started = [record for record in self.requests.records.values() if is_under_way(record)]
        busy = [record for record in started if record.started_at is not None and record.started_at <= until]
        # What is parked waits for a person, and is looked at from the start by the attempt that they ask for.
        if busy and all(record.parked_at is not None for record in busy):
            report = replace(report, under_way=0)
        return report.is_complete

    def stores(self) -> list[object]:
        """All that the service keeps anywhere, but for the requests themselves."""
        return [
            self.requests.batches,
            self.requests.waiting,
            self.requests.registry,
            self.audit.trails,
            self.tasks.jobs,
            self.tasks.records,
            self.idempotency.records,
            self.holds.holds,
            self.bus.told,
            [list(lane.messages.values()) + list(lane.dead.values()) for lane in self.lanes.values()],
            self.workflow.executions,
        ]

    def trail(self, request_id: str) -> list[AuditEntry]:
        return self.audit.trails.get(request_id, [])

    def began(self, request_id: str) -> datetime:
        record = self.requests.records[request_id]
        return record.not_before or record.requested_at
