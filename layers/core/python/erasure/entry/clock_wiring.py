"""What stands behind the functions that run by the clock; the part of :mod:`erasure.entry.wiring` that they load."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.logger import Logger

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.data_reader import LambdaDataReader
from erasure.adapters.dead_letters import SQSDeadLetters
from erasure.adapters.events import EventBridgeBus
from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.adapters.messaging import LambdaAccountReader, LambdaFunctions, SQSJobQueue, StepFunctionsWorkflow
from erasure.adapters.registry_store import DynamoDBSubjectRegistry, DynamoDBSuppressionStore
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.retention_store import DynamoDBRetentionStore
from erasure.domain.clock import ClockPolicy
from erasure.entry.sweeps import Sweeps, make_retention_sweep, make_sla_watch
from erasure.entry.wiring import utc_now
from erasure.services.commands import ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.follow_ups import FollowUps
from erasure.services.retention_rules import RetentionPolicy
from erasure.services.retention_runs import RetentionRuns
from erasure.services.second_look import SecondLooks
from erasure.services.sla_watch import SlaWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from erasure.adapters.aws import Clients
    from erasure.entry.settings import RetentionSweepSettings, SlaWatchSettings
    from erasure.entry.wiring import Handler

LOOK_SECONDS = 40.0
"""How long the reader looks for what was written late of one subject."""
ANSWER_SECONDS = 5.0
"""What it needs besides."""


class _Stores:
    """The adapters that both functions use."""

    def __init__(self, settings: RetentionSweepSettings | SlaWatchSettings, clients: Clients) -> None:
        dynamodb, sqs = _getter(clients, "dynamodb"), _getter(clients, "sqs")
        tables = settings.requests_table, settings.audit_table, settings.registry_table
        self.requests = DynamoDBRequestStore(dynamodb, *tables)
        self.clock = DynamoDBClockStore(dynamodb, *tables)
        self.audit = DynamoDBAuditLog(dynamodb, settings.audit_table)
        self.queue = SQSJobQueue(sqs, settings.batch_queue_url)
        self.events = EventBridgeBus(_getter(clients, "events"), settings.event_bus)
        self.policy = ClockPolicy.of(*settings.clock)


def build_sla_watch(settings: SlaWatchSettings, clients: Clients) -> Handler:
    stores = _Stores(settings, clients)
    watch = SlaWatch(
        clock=stores.clock,
        requests=stores.requests,
        holds=DynamoDBHoldStore(_getter(clients, "dynamodb"), settings.registry_table),
        audit=stores.audit,
        queue=stores.queue,
        executions=StepFunctionsWorkflow(_getter(clients, "stepfunctions"), settings.state_machine_arn),
        events=stores.events,
        dead_letters=SQSDeadLetters(_getter(clients, "sqs"), settings.dead_letter_queue_url),
        now=utc_now,
        policy=stores.policy,
    )
    return make_sla_watch(watch, Logger())


def build_retention_sweep(settings: RetentionSweepSettings, clients: Clients) -> Handler:
    stores, dynamodb = _Stores(settings, clients), _getter(clients, "dynamodb")
    policy = ErasurePolicy(settings.clock.sla_hours, settings.purge_days, stores.policy.patience)
    data_maps = DynamoDBDataMapStore(dynamodb, settings.registry_table)
    data_map = CurrentMap(data_maps)
    acceptance = DynamoDBAcceptanceStore(
        dynamodb,
        requests_table=settings.requests_table,
        audit_table=settings.audit_table,
        registry_table=settings.registry_table,
    )
    names = {"verify_target": settings.reader_function}
    # Nothing is asked twice: the next sweep asks again.
    functions = LambdaFunctions(
        lambda: clients.get("lambda", read_timeout=LOOK_SECONDS + ANSWER_SECONDS, total_max_attempts=1), names
    )
    accounts = LambdaAccountReader(functions)
    return make_retention_sweep(
        Sweeps(
            requests=stores.requests,
            clock=stores.clock,
            audit=stores.audit,
            queue=stores.queue,
            now=utc_now,
            policy=stores.policy,
            follow_ups=FollowUps(
                requests=stores.requests,
                acceptance=acceptance,
                audit=stores.audit,
                accounts=accounts,
                data_map=data_map,
                queue=stores.queue,
                now=utc_now,
                policy=policy,
            ),
            second_looks=SecondLooks(
                clock=stores.clock,
                requests=stores.requests,
                acceptance=acceptance,
                audit=stores.audit,
                registry=DynamoDBSubjectRegistry(dynamodb, settings.registry_table),
                suppressions=DynamoDBSuppressionStore(dynamodb, settings.registry_table),
                accounts=accounts,
                reader=LambdaDataReader(functions, LOOK_SECONDS),
                data_map=data_map,
                queue=stores.queue,
                events=stores.events,
                now=utc_now,
                clock_policy=stores.policy,
            ),
            retention=RetentionRuns(
                requests=stores.requests,
                acceptance=acceptance,
                rules=DynamoDBRetentionStore(dynamodb, settings.registry_table),
                data_maps=data_maps,
                queue=stores.queue,
                now=utc_now,
                policy=RetentionPolicy(
                    stores.policy,
                    settings.purge_days,
                    timedelta(hours=settings.retention_hours),
                    timedelta(hours=settings.retention_report_hours),
                ),
            ),
        ),
        Logger(),
    )


def _getter(clients: Clients, service: str) -> Callable[[], Any]:
    return lambda: clients.get(service)
