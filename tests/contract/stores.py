"""The stores behind ``erasure.ports``, on the fakes and on three DynamoDB engines, for one suite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore, DynamoDBDeleteIdStore
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.idempotency_store import DynamoDBIdempotencyStore
from erasure.adapters.registry_store import DynamoDBSubjectRegistry, DynamoDBSuppressionStore
from erasure.adapters.request_items import request_id_of, request_key, tenant_state
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.task_store import DynamoDBTaskStore
from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import new_batch_id, new_request_id
from erasure.domain.request import OPEN_STATES, ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import due_at, purged_by
from erasure.ports import Acceptance, Batch, IdempotencyRecord
from tests import fake_clock_stores, fake_jobs, fakes

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LIFETIME = timedelta(seconds=300)
KEY = b"a key of the tests"

INDEXES = {
    "by-tenant-state": ("tenant_state", "pk"),
    "by-clock": ("clock_shard", "clock_at"),
    "by-subject": ("subject_digest", "pk"),
}
PROJECTIONS: dict[str, dict[str, Any]] = {
    name: {"ProjectionType": "INCLUDE", "NonKeyAttributes": attributes}
    for name, attributes in {
        "by-tenant-state": ["family", "subject_type", "due_at", "finished_at"],
        "by-subject": ["family", "subject_type"],
        "by-clock": ["due_at", "finished_at"],
    }.items()
}


@dataclass(frozen=True)
class Stores:
    """All stores on one engine. ``force_state`` sets a request's state behind the store's back. ``everything``: all
    that the table of requests holds, as text."""

    requests: Any
    clock: Any
    tasks: Any
    delete_ids: Any
    acceptance: Any
    idempotency: Any
    registry: Any
    suppressions: Any
    data_maps: Any
    audit: Any
    force_state: Callable[[str, str], None]
    open_request_ids: Callable[[], set[str]]
    everything: Callable[[], str]

    def accepted(self, request: ErasureRequest, **options: Any) -> ErasureRequest:
        """The request, accepted."""
        self.acceptance.accept(an_acceptance(request, **options), NOW)
        return request

    def started(self, job_id: str = "job-1", attempt: int = 1) -> ErasureRequest:
        request = self.accepted(a_request())
        assert self.requests.start(request, NOW, 1, job_id, attempt)
        return replace(request, state="started")


def a_request(tenant_id: str = "acme", user_id: str = "ann", **attributes: Any) -> ErasureRequest:
    subject = Subject(tenant_id, user_id)
    request = ErasureRequest(
        request_id=new_request_id(),
        subject=subject,
        subject_digest=subject_digest(KEY, subject),
        family="h2o",
        requested_at=NOW.replace(microsecond=NOW.microsecond // 1000 * 1000),
        due_at=due_at(NOW, 72),
        purged_by=purged_by(NOW, 90),
        clock_at=ClockPolicy().first_look(NOW),
    )
    return replace(request, **attributes)


def an_acceptance(request: ErasureRequest, **options: Any) -> Acceptance:
    return Acceptance(request, first_entry(request), **options)


def a_batch(*requests: ErasureRequest) -> Batch:
    ids = tuple(request.request_id for request in requests)
    return Batch(new_batch_id(), "acme", "velt", ids, 2 * len(ids), NOW)


def first_entry(request: ErasureRequest) -> AuditEntry:
    return next_entry(request.request_id, None, "requested", NOW, {"subject_digest": request.subject_digest})


def a_record(request: ErasureRequest, key_digest: str = "key", body_digest: str = "body") -> IdempotencyRecord:
    expires_at = NOW + timedelta(hours=24)
    return IdempotencyRecord(key_digest, body_digest, request.request_id, expires_at, f'"{request.request_id}"')


def a_data_map(*names: str) -> Any:
    targets = [
        {"name": name, "category": "content", "s3": {"bucket": "files", "prefix": f"{name}/{{tenant_id}}/{{user_id}}/"}}
        for name in names
    ]
    return parse_data_map({"version": 1, "targets": targets})


def make_fakes() -> Stores:
    audit = fakes.FakeAuditLog()
    requests = fakes.FakeRequestStore(audit)
    delete_ids = fakes.FakeDeleteIdStore()
    idempotency = fakes.FakeIdempotencyStore()

    def force_state(request_id: str, state: str) -> None:
        requests.records[request_id] = replace(requests.records[request_id], state=state)

    return Stores(
        requests=requests,
        clock=fake_clock_stores.FakeClockStore(requests),
        tasks=fake_jobs.FakeTaskStore(),
        delete_ids=delete_ids,
        acceptance=fakes.FakeAcceptanceStore(delete_ids, requests, audit, idempotency),
        idempotency=idempotency,
        registry=requests.registry,
        suppressions=fakes.FakeSuppressionStore(requests.registry),
        data_maps=fakes.FakeDataMapStore(),
        audit=audit,
        force_state=force_state,
        # Not as a subject shows itself: that hides its id.
        everything=lambda: repr([asdict(record) for record in requests.records.values()]),
        open_request_ids=lambda: {key for key, record in requests.records.items() if record.state in OPEN_STATES},
    )


class OneAtATime:
    """A client for threads on moto, which does not serve several."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        real = getattr(self._client, operation)

        def call(**arguments: Any) -> Any:
            with self._lock:
                return real(**arguments)

        return call


def make_stores(engine: Engine, client: Any = None) -> Stores:
    """The stores on tables of their own. ``client``: one to use instead of the engine's."""
    requests_table = create_requests_table(engine)
    audit_table, registry_table = engine.create_table(("pk", "sk")), engine.create_table(("pk", "sk"))
    delete_ids_table = engine.create_table(("pk",))

    used = client or engine.client
    if engine.name == "moto":
        used = OneAtATime(used)

    def get() -> Any:
        return used

    def force_state(request_id: str, state: str) -> None:
        engine.client.update_item(
            TableName=requests_table,
            Key=request_key(request_id),
            UpdateExpression="SET #state = :state, tenant_state = :tenant_state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": state}, ":tenant_state": {"S": tenant_state(state, "acme")}},
        )

    def open_request_ids() -> set[str]:
        items = engine.client.scan(TableName=requests_table, IndexName="by-clock")["Items"]
        return {request_id_of(item) for item in items if item["clock_shard"]["S"].startswith("open#")}

    return Stores(
        requests=DynamoDBRequestStore(get, requests_table, audit_table, registry_table),
        clock=DynamoDBClockStore(get, requests_table, audit_table, registry_table),
        tasks=DynamoDBTaskStore(get, requests_table),
        delete_ids=DynamoDBDeleteIdStore(get, delete_ids_table),
        acceptance=DynamoDBAcceptanceStore(
            get,
            delete_ids_table=delete_ids_table,
            requests_table=requests_table,
            audit_table=audit_table,
            registry_table=registry_table,
        ),
        idempotency=DynamoDBIdempotencyStore(get, registry_table),
        registry=DynamoDBSubjectRegistry(get, registry_table),
        suppressions=DynamoDBSuppressionStore(get, registry_table),
        data_maps=DynamoDBDataMapStore(get, registry_table),
        audit=DynamoDBAuditLog(get, audit_table),
        force_state=force_state,
        open_request_ids=open_request_ids,
        everything=lambda: repr(engine.everything(requests_table)),
    )


def create_requests_table(engine: Engine) -> str:
    """With the indexes as the template has them."""
    names = ["pk", "sk", *dict.fromkeys(name for keys in INDEXES.values() for name in keys if name != "pk")]
    table = f"requests-{new_request_id()}"
    engine.client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=_schema("pk", "sk"),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        GlobalSecondaryIndexes=[
            {"IndexName": name, "KeySchema": _schema(*keys), "Projection": PROJECTIONS[name]}
            for name, keys in INDEXES.items()
        ],
    )
    engine.client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    engine.tables.append(table)
    return table


def _schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


ENGINES = [
    pytest.param("ministack", marks=pytest.mark.engine),
    pytest.param("dynamodb_local", marks=pytest.mark.engine),
]


def stores_on(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """The stores on the engine that the fixture's parameter names."""
    if request.param == "fakes":
        yield make_fakes()
        return
    if request.param == "moto":
        yield make_stores(request.getfixturevalue("moto_dynamodb"))
        return
    from tests.contract.dynamodb_engines import Engine, make_client  # a plugin: pytest is to import it first

    endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    engine = Engine(request.param, make_client(endpoint), "batch")
    yield make_stores(engine)
    for table in engine.tables:
        engine.client.delete_table(TableName=table)
