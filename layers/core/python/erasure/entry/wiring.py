"""The composition root: which adapter stands behind which port, for each function.

``handler_for("plan_job")`` is what ``functions/plan_job/app.py`` exposes. It costs nothing until it is first called;
then it reads the environment, builds what the function needs, once for each worker, and keeps it. Tests call the
``build_…`` functions with an environment, clients and targets of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.logger import Logger

from erasure.adapters.aws import Clients
from erasure.cold_start import kept_for_good
from erasure.entry import settings as env
from erasure.errors import ErasureError, UnexpectedError, places_of

if TYPE_CHECKING:
    from erasure.adapters.sessions import AssumedSessions
    from erasure.services.erasure_plans import ErasurePlans
    from erasure.targets.protocol import Target

Handler = Callable[[Any, Any], Any]
Environment = Mapping[str, str] | None
Targets = Mapping[str, "Target"]
PREVIEW_SECONDS = 18.0
"""How long the reader looks for a person's data while they wait."""
PREVIEW_CALL_SECONDS = 22.0
"""How long its answer is waited for, within the 26 seconds that the API's function has."""
READER_SECONDS = 240
"""How long planning waits for what the reader finds out; it has a minute for the rest."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def handler_for(function: str) -> Handler:
    """The handler of a function, built on its first call.

    What it raises ends up in logs and in the execution's history, so only the service's own errors get out: a foreign
    one may say anything. It is logged by its kind and place, and :class:`UnexpectedError` stands for it.
    """
    build = BUILDERS[function]
    built: list[Handler] = []

    def handler(event: Any, context: Any) -> Any:
        try:
            if not built:
                with kept_for_good():
                    built.append(build(None, Clients()))
            return built[0](event, context)
        except ErasureError as error:
            raise error from None
        except Exception as error:
            kind = type(error).__name__
            Logger().error("unexpected", function=function, kind=kind, places=places_of(error))
        # Outside of the except block, so that nothing of the other error hangs on this one.
        raise UnexpectedError(kind)

    return handler


def build_subject_api(environment: Environment, clients: Clients) -> Handler:
    from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore, DynamoDBDeleteIdStore
    from erasure.adapters.audit_log import DynamoDBAuditLog
    from erasure.adapters.data_map_store import DynamoDBDataMapStore
    from erasure.adapters.hold_store import DynamoDBHoldStore
    from erasure.adapters.messaging import SQSJobQueue
    from erasure.adapters.request_store import DynamoDBRequestStore
    from erasure.adapters.secret import DigestKey
    from erasure.entry.subject_api import make_subject_api
    from erasure.entry.tokens import TokenVerifier
    from erasure.services.self_deletion import SelfDeletionPolicy, SelfDeletionService

    settings = env.SubjectApiSettings.load(environment)
    dynamodb = _getter(clients, "dynamodb")
    data_maps = DynamoDBDataMapStore(dynamodb, settings.registry_table)
    digest_key = DigestKey(_getter(clients, "secretsmanager"), settings.digest_key_secret_arn)

    def plans() -> ErasurePlans:
        # Loaded for whoever wants a preview: it is the rarest of calls, and a person waits for the others.
        from erasure.adapters.data_reader import LambdaDataReader
        from erasure.adapters.messaging import LambdaFunctions
        from erasure.services.current_map import CurrentMap
        from erasure.services.erasure_plans import ErasurePlans

        functions = LambdaFunctions(
            lambda: clients.get("lambda", read_timeout=PREVIEW_CALL_SECONDS, total_max_attempts=1),
            {"verify_target": settings.reader_function},
        )
        return ErasurePlans(CurrentMap(data_maps), LambdaDataReader(functions, PREVIEW_SECONDS), digest_key, utc_now)

    service = SelfDeletionService(
        delete_ids=DynamoDBDeleteIdStore(dynamodb, settings.delete_ids_table),
        acceptance=DynamoDBAcceptanceStore(
            dynamodb,
            delete_ids_table=settings.delete_ids_table,
            requests_table=settings.requests_table,
            audit_table=settings.audit_table,
            registry_table=settings.registry_table,
        ),
        requests=DynamoDBRequestStore(dynamodb, settings.requests_table, settings.audit_table),
        data_maps=data_maps,
        queue=SQSJobQueue(_getter(clients, "sqs"), settings.interactive_queue_url),
        digest_key=digest_key,
        now=utc_now,
        policy=SelfDeletionPolicy.of(
            settings.delete_id_seconds, settings.clock.sla_hours, settings.purge_days, settings.clock.patience_minutes
        ),
        holds=DynamoDBHoldStore(dynamodb, settings.registry_table),
        audit=DynamoDBAuditLog(dynamodb, settings.audit_table),
    )
    verifier = TokenVerifier.from_settings(settings.oidc)
    return make_subject_api(service, verifier, settings, Logger(), plans)


def build_backend_api(environment: Environment, clients: Clients) -> Handler:
    # Several times what the others need: only this function loads it.
    from erasure.entry.backend_wiring import build

    return build(env.BackendApiSettings.load(environment), clients)


def build_start_jobs(environment: Environment, clients: Clients) -> Handler:
    from erasure.adapters.messaging import StepFunctionsWorkflow
    from erasure.entry.workers import make_start_jobs

    settings = env.StartJobsSettings.load(environment)
    workflow = StepFunctionsWorkflow(_getter(clients, "stepfunctions"), settings.state_machine_arn)
    return make_start_jobs(workflow, settings.batch_queue_arn, Logger())


def build_plan_job(environment: Environment, clients: Clients) -> Handler:
    from erasure.adapters.audit_log import DynamoDBAuditLog
    from erasure.adapters.clock_store import DynamoDBClockStore
    from erasure.adapters.data_map_store import DynamoDBDataMapStore
    from erasure.adapters.data_reader import LambdaDataReader
    from erasure.adapters.hold_store import DynamoDBHoldStore
    from erasure.adapters.manifests import S3Manifests
    from erasure.adapters.messaging import LambdaAccountReader, LambdaFunctions
    from erasure.adapters.request_store import DynamoDBRequestStore
    from erasure.adapters.secret import DigestKey
    from erasure.adapters.task_store import DynamoDBTaskStore
    from erasure.entry.workers import make_plan_job
    from erasure.services.plan_job import PlanJobDependencies

    settings = env.PlanJobSettings.load(environment)
    dynamodb = _getter(clients, "dynamodb")
    # As long as the reader may take, and no repetition: planning again is the state machine's to decide.
    functions = LambdaFunctions(
        lambda: clients.get("lambda", read_timeout=READER_SECONDS, total_max_attempts=1),
        {"verify_target": settings.reader_function},
    )
    use = PlanJobDependencies(
        requests=DynamoDBRequestStore(dynamodb, settings.requests_table, settings.audit_table),
        tasks=DynamoDBTaskStore(dynamodb, settings.requests_table),
        data_maps=DynamoDBDataMapStore(dynamodb, settings.registry_table),
        audit=DynamoDBAuditLog(dynamodb, settings.audit_table),
        reader=LambdaDataReader(functions),
        now=utc_now,
        holds=DynamoDBHoldStore(dynamodb, settings.registry_table),
        clock=DynamoDBClockStore(dynamodb, settings.requests_table, settings.audit_table),
        digest_key=DigestKey(_getter(clients, "secretsmanager"), settings.digest_key_secret_arn),
        accounts=LambdaAccountReader(functions),
    )
    erasers = {"dynamodb": settings.erase_dynamodb_function, "s3": settings.erase_s3_function}
    manifests = S3Manifests(_getter(clients, "s3"), settings.control_bucket)
    return make_plan_job(use, erasers, manifests, settings.inline_units, Logger())


def build_erase_dynamodb(environment: Environment, clients: Clients, targets: Targets | None = None) -> Handler:
    from erasure.entry.target_wiring import ERASES_ITEMS

    return _build_eraser(env.EraserSettings.load(environment), clients, ERASES_ITEMS, targets)


def build_erase_s3(environment: Environment, clients: Clients, targets: Targets | None = None) -> Handler:
    from erasure.entry.target_wiring import ERASES_OBJECTS

    return _build_eraser(env.EraserSettings.load(environment), clients, ERASES_OBJECTS, targets)


def _build_eraser(
    settings: env.EraserSettings,
    clients: Clients,
    purpose: Mapping[str, str],
    targets: Targets | None,
) -> Handler:
    from erasure.adapters.hold_store import DynamoDBHoldStore
    from erasure.adapters.request_store import DynamoDBRequestStore
    from erasure.adapters.secret import DigestKey
    from erasure.adapters.sessions import SessionName
    from erasure.adapters.task_store import DynamoDBTaskStore
    from erasure.entry.target_wiring import MadeReader, make_targets
    from erasure.entry.workers import make_eraser
    from erasure.services.erase_unit import EraseUnitDependencies

    dynamodb, name = _getter(clients, "dynamodb"), SessionName()
    sessions = _sessions(clients, name, settings.external_id)
    holds = DynamoDBHoldStore(dynamodb, settings.registry_table)
    key = DigestKey(_getter(clients, "secretsmanager"), settings.digest_key_secret_arn)
    own = targets or make_targets(
        clients, sessions, purpose, capacity_share=settings.capacity_share, digest_key=key, holds=holds
    )
    use = EraseUnitDependencies(
        DynamoDBRequestStore(dynamodb, settings.requests_table),
        DynamoDBTaskStore(dynamodb, settings.requests_table),
        own,
        MadeReader(own),
        holds=holds,
    )
    return make_eraser(use, settings.slice_margin_seconds, name, Logger())


def build_verify_target(environment: Environment, clients: Clients, targets: Targets | None = None) -> Handler:
    from erasure.adapters.hold_store import DynamoDBHoldStore
    from erasure.adapters.request_store import DynamoDBRequestStore
    from erasure.adapters.secret import DigestKey
    from erasure.adapters.sessions import SessionName
    from erasure.adapters.task_store import DynamoDBTaskStore
    from erasure.entry.target_wiring import READS, MadeReader, make_targets
    from erasure.entry.workers import make_verify_target
    from erasure.services.verify_unit import VerifyUnitDependencies

    settings = env.VerifyTargetSettings.load(environment)
    dynamodb, name = _getter(clients, "dynamodb"), SessionName()
    sessions = _sessions(clients, name, settings.external_id)
    holds = DynamoDBHoldStore(dynamodb, settings.registry_table)
    key = DigestKey(_getter(clients, "secretsmanager"), settings.digest_key_secret_arn)
    own = targets or make_targets(
        clients, sessions, READS, capacity_share=settings.capacity_share, digest_key=key, holds=holds
    )
    use = VerifyUnitDependencies(
        DynamoDBRequestStore(dynamodb, settings.requests_table),
        DynamoDBTaskStore(dynamodb, settings.requests_table),
        own,
        settings.max_verify_rounds,
        MadeReader(own),
        holds=holds,
    )
    return make_verify_target(use, settings.slice_margin_seconds, name, Logger())


def _sessions(clients: Clients, name: Callable[[], str], external_id: str) -> AssumedSessions:
    from erasure.adapters.sessions import AssumedSessions

    sts = _getter(clients, "sts")
    return AssumedSessions(sts, clients.session, session_name=name, external_id=external_id or None)


def build_close_job(environment: Environment, clients: Clients) -> Handler:
    from erasure.adapters.audit_log import DynamoDBAuditLog
    from erasure.adapters.clock_store import DynamoDBClockStore
    from erasure.adapters.events import EventBridgeBus
    from erasure.adapters.request_store import DynamoDBRequestStore
    from erasure.adapters.task_store import DynamoDBTaskStore
    from erasure.domain.clock import ClockPolicy
    from erasure.entry.workers import make_close_job
    from erasure.services.sla_alerts import SlaAlerts

    settings = env.CloseJobSettings.load(environment)
    dynamodb = _getter(clients, "dynamodb")
    requests = DynamoDBRequestStore(dynamodb, settings.requests_table, settings.audit_table)
    clock = DynamoDBClockStore(dynamodb, settings.requests_table, settings.audit_table)
    audit = DynamoDBAuditLog(dynamodb, settings.audit_table)
    return make_close_job(
        requests=requests,
        tasks=DynamoDBTaskStore(dynamodb, settings.requests_table),
        audit=audit,
        alerts=SlaAlerts(clock, requests, audit, EventBridgeBus(_getter(clients, "events"), settings.event_bus)),
        policy=ClockPolicy.of(*settings.clock),
        now=utc_now,
        logger=Logger(),
    )


def build_retention_sweep(environment: Environment, clients: Clients) -> Handler:
    from erasure.entry.clock_wiring import build_retention_sweep as build

    return build(env.RetentionSweepSettings.load(environment), clients)


def build_sla_watch(environment: Environment, clients: Clients) -> Handler:
    from erasure.entry.clock_wiring import build_sla_watch as build

    return build(env.SlaWatchSettings.load(environment), clients)


def _getter(clients: Clients, service: str) -> Callable[[], Any]:
    return lambda: clients.get(service)


BUILDERS: dict[str, Callable[..., Handler]] = {
    "subject_api": build_subject_api,
    "backend_api": build_backend_api,
    "start_jobs": build_start_jobs,
    "plan_job": build_plan_job,
    "erase_dynamodb": build_erase_dynamodb,
    "erase_s3": build_erase_s3,
    "verify_target": build_verify_target,
    "close_job": build_close_job,
    "retention_sweep": build_retention_sweep,
    "sla_watch": build_sla_watch,
}
