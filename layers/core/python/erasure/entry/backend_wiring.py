"""What stands behind the API of backends; the part of :mod:`erasure.entry.wiring` that only ``backend_api`` loads."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aws_lambda_powertools.logging.logger import Logger

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.data_reader import LambdaDataReader
from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.adapters.idempotency_store import DynamoDBIdempotencyStore
from erasure.adapters.key_store import DynamoDBKeyStore, DynamoDBRateCounter
from erasure.adapters.messaging import LambdaAccountReader, LambdaFunctions, SQSJobQueue
from erasure.adapters.registry_store import DynamoDBSubjectRegistry, DynamoDBSuppressionStore
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.retention_store import DynamoDBRetentionStore
from erasure.adapters.secret import DigestKey
from erasure.adapters.task_store import DynamoDBTaskStore
from erasure.adapters.tenant_settings import DynamoDBTenantSettingsStore
from erasure.domain.clock import ClockPolicy
from erasure.entry.backend_api import make_backend_api
from erasure.entry.backend_auth import KeyVerifier
from erasure.entry.holds import HoldsFamily
from erasure.entry.retention import RetentionFamily
from erasure.entry.sla import SlaFamily
from erasure.entry.wiring import utc_now
from erasure.services.accounts import AccountService
from erasure.services.api_keys import ApiKeyService
from erasure.services.commands import ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.erasures import ErasureService
from erasure.services.holds import HoldService
from erasure.services.idempotent import Idempotency
from erasure.services.immediate import ImmediateJobs
from erasure.services.retention_rules import RetentionPolicy
from erasure.services.sla_figures import SlaReader
from erasure.services.tenant_settings import TenantSettings

if TYPE_CHECKING:
    from typing import Any

    from erasure.adapters.aws import Clients
    from erasure.entry.settings import BackendApiSettings
    from erasure.entry.wiring import Handler
    from erasure.services.erasure_plans import ErasurePlans

CALL_SECONDS = 22.0
"""How long one function waits for another, within the 26 seconds that this one has."""
LOOK_SECONDS = 18.0
"""How long the reader looks for data, so that its answer comes before nobody waits for it."""


class _Stores:
    """The adapters that several services share."""

    def __init__(self, settings: BackendApiSettings, clients: Clients) -> None:
        def dynamodb() -> Any:
            return clients.get("dynamodb")

        def sqs() -> Any:
            return clients.get("sqs")

        tables = settings.requests_table, settings.audit_table, settings.registry_table
        self.acceptance = DynamoDBAcceptanceStore(
            dynamodb, requests_table=tables[0], audit_table=tables[1], registry_table=tables[2]
        )
        self.requests = DynamoDBRequestStore(dynamodb, *tables)
        self.clock = DynamoDBClockStore(dynamodb, *tables)
        self.holds = DynamoDBHoldStore(dynamodb, settings.registry_table)
        self.settings = TenantSettings(DynamoDBTenantSettingsStore(dynamodb, settings.registry_table))
        self.policy = ClockPolicy.of(*settings.clock)
        self.tasks = DynamoDBTaskStore(dynamodb, settings.requests_table)
        self.audit = DynamoDBAuditLog(dynamodb, settings.audit_table)
        self.registry = DynamoDBSubjectRegistry(dynamodb, settings.registry_table)
        self.suppressions = DynamoDBSuppressionStore(dynamodb, settings.registry_table)
        self.data_maps = DynamoDBDataMapStore(dynamodb, settings.registry_table)
        self.idempotency = DynamoDBIdempotencyStore(dynamodb, settings.registry_table)
        self.keys = DynamoDBKeyStore(dynamodb, settings.registry_table)
        self.calls = DynamoDBRateCounter(dynamodb, settings.registry_table)
        self.batch_lane = SQSJobQueue(sqs, settings.batch_queue_url)
        self.interactive_lane = SQSJobQueue(sqs, settings.interactive_queue_url)
        self.digest_key = DigestKey(lambda: clients.get("secretsmanager"), settings.digest_key_secret_arn)


def build(settings: BackendApiSettings, clients: Clients) -> Handler:
    stores = _Stores(settings, clients)
    idempotency = Idempotency(stores.idempotency, stores.digest_key, utc_now)
    erasures = _erasures(settings, stores)
    retention = DynamoDBRetentionStore(lambda: clients.get("dynamodb"), settings.registry_table)
    return make_backend_api(
        verifier=KeyVerifier(
            stores.keys,
            stores.calls,
            mode=settings.key_mode,
            calls_per_minute=settings.calls_per_minute,
            now=utc_now,
        ),
        erasures=erasures,
        plans=lambda: _plans(_functions(settings, clients), stores),
        accounts=_accounts(_functions(settings, clients), stores, erasures, idempotency),
        keys=ApiKeyService(stores.keys, mode=settings.key_mode, digest_key=stores.digest_key, now=utc_now),
        suppressions=stores.suppressions,
        sla=SlaFamily(erasures, SlaReader(stores.clock, utc_now, settings.clock.sla_hours)),
        holds=HoldsFamily(_holds(stores), idempotency),
        retention=RetentionFamily(retention, stores.data_maps, _retention_policy(settings, stores)),
        data_maps=stores.data_maps,
        idempotency=idempotency,
        digest_key=stores.digest_key,
        now=utc_now,
        logger=Logger(),
        paths_are_encoded=settings.paths_are_encoded,
    )


def _erasures(settings: BackendApiSettings, stores: _Stores) -> ErasureService:
    return ErasureService(
        acceptance=stores.acceptance,
        requests=stores.requests,
        tasks=stores.tasks,
        registry=stores.registry,
        data_maps=stores.data_maps,
        audit=stores.audit,
        queue=stores.batch_lane,
        retry_queue=stores.interactive_lane,
        idempotency=stores.idempotency,
        digest_key=stores.digest_key,
        now=utc_now,
        policy=ErasurePolicy(settings.clock.sla_hours, settings.purge_days, stores.policy.patience),
        clock=stores.clock,
        settings=stores.settings,
        clock_policy=stores.policy,
    )


def _holds(stores: _Stores) -> HoldService:
    return HoldService(
        holds=stores.holds,
        requests=stores.requests,
        clock=stores.clock,
        audit=stores.audit,
        queue=stores.batch_lane,
        digest_key=stores.digest_key,
        now=utc_now,
        policy=stores.policy,
    )


def _retention_policy(settings: BackendApiSettings, stores: _Stores) -> RetentionPolicy:
    every, after_report = timedelta(hours=settings.retention_hours), timedelta(hours=settings.retention_report_hours)
    return RetentionPolicy(stores.policy, settings.purge_days, every, after_report)


def _accounts(
    functions: LambdaFunctions, stores: _Stores, erasures: ErasureService, idempotency: Idempotency
) -> AccountService:
    return AccountService(
        erasures=erasures,
        registry=stores.registry,
        requests=stores.requests,
        data_map=CurrentMap(stores.data_maps),
        accounts=LambdaAccountReader(functions),
        jobs=ImmediateJobs(
            requests=stores.requests,
            tasks=stores.tasks,
            data_maps=stores.data_maps,
            audit=stores.audit,
            functions=functions,
            reader=LambdaDataReader(functions, LOOK_SECONDS),
            now=utc_now,
            holds=stores.holds,
            clock=stores.clock,
            digest_key=stores.digest_key,
        ),
        idempotency=idempotency,
        digest_key=stores.digest_key,
        now=utc_now,
        holds=stores.holds,
        audit=stores.audit,
    )


def _plans(functions: LambdaFunctions, stores: _Stores) -> ErasurePlans:
    # Loaded for whoever wants a plan: nobody else's call waits for it.
    from erasure.services.erasure_plans import ErasurePlans

    reader = LambdaDataReader(functions, LOOK_SECONDS)
    return ErasurePlans(CurrentMap(stores.data_maps), reader, stores.digest_key, utc_now, stores.settings)


def _functions(settings: BackendApiSettings, clients: Clients) -> LambdaFunctions:
    names = {
        "erase_dynamodb": settings.erase_dynamodb_function,
        "erase_s3": settings.erase_s3_function,
        "verify_target": settings.verify_target_function,
    }
    # Nothing is called twice: whoever waited for the first answer has no time left for a second.
    return LambdaFunctions(lambda: clients.get("lambda", read_timeout=CALL_SECONDS, total_max_attempts=1), names)
