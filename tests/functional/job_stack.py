"""The service's functions, built as in the cloud, on moto, with an application's tables and bucket beside them."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import moto
import pytest

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore, DynamoDBDeleteIdStore
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.aws import Clients
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.adapters.key_store import DynamoDBKeyStore
from erasure.adapters.messaging import SQSJobQueue
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.task_store import DynamoDBTaskStore
from erasure.domain.api_key import SCOPES
from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject
from erasure.entry.wiring import BUILDERS, Handler
from erasure.services.api_keys import ApiKeyService, KeyCommand
from erasure.services.self_deletion import SelfDeletionService
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.s3 import S3Target
from erasure.targets.s3_client import make_s3_client
from tests.contract.stores import INDEXES, PROJECTIONS
from tests.functional.backend_calls import make_event
from tests.functional.enforced_roles import EnforcedRoles, carry_context

EVENTS = Path(__file__).resolve().parents[2] / "events"
EXAMPLE_REQUEST = "er_01K8ZQ4W7M3T9X5B2C6D8F0G1H"
"""The request that all example events are about; tests put their own in its place."""

BATCH_QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:erasure-batch"
CONTROL_BUCKET = "erasure-control"
EVENT_BUS = "erasure"
DIGEST_KEY = "a key of the tests"
ERASERS = {"erasure-erase-dynamodb": "erase_dynamodb", "erasure-erase-s3": "erase_s3"}
Keys = tuple[str, ...]
TABLES: dict[str, Keys] = {"accounts": ("pk", "sk"), "notes": ("pk", "sk"), "comments": ("id",)}
DATA_MAP: dict[str, Any] = {
    "version": 1,
    "targets": [
        {
            "name": "account",
            "category": "account",
            "dynamodb": {"table": "app-accounts", "key": {"pk": "TENANT#{tenant_id}#USER#{user_id}", "sk": "PROFILE"}},
        },
        {
            "name": "preferences",
            "category": "preference",
            "dynamodb": {
                "table": "app-accounts",
                "key": {"pk": "TENANT#{tenant_id}#USER#{user_id}", "sk": {"prefix": "PREFERENCE#"}},
            },
        },
        {
            "name": "notes",
            "category": "content",
            "dynamodb": {"table": "app-notes", "key": {"pk": "{tenant_id}#{user_id}"}},
        },
        {
            "name": "comments",
            "category": "content",
            "dynamodb": {"table": "app-comments", "index": "by-author", "key": {"author": "{tenant_id}#{user_id}"}},
        },
        {"name": "files", "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}},
        {
            "name": "avatar",
            "category": "content",
            "s3": {"bucket": "app-files", "key": "avatars/{tenant_id}/{user_id}"},
        },
    ],
}
ERASED = {"preferences": 2, "notes": 30, "comments": 3, "files": 4, "avatar": 1}
"""What :meth:`JobStack.put_data` puts for a person, by the targets that the self-deletion covers."""


@dataclass
class Context:
    """What a function is told about its call."""

    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    milliseconds: int = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def example(path: str, request_id: str = EXAMPLE_REQUEST) -> Any:
    """An example event, about this request."""
    return json.loads((EVENTS / path).read_text(encoding="utf-8").replace(EXAMPLE_REQUEST, request_id))


def clients(session: botocore.session.Session) -> tuple[Any, ...]:
    return tuple(session.create_client(service) for service in ("dynamodb", "sqs", "stepfunctions", "s3"))


class JobStack:
    """Built inside of ``moto.mock_aws``. ``outputs`` collects what the functions answered, ``entered`` the states that
    jobs entered. ``inline_units``: a job of more has a manifest."""

    def __init__(self) -> None:
        self.inline_units = 40
        session = botocore.session.Session()
        self.dynamodb, self.sqs, self.stepfunctions, self.s3 = clients(session)
        self._create_tables()
        self.s3.create_bucket(Bucket="app-files")
        self.s3.put_bucket_versioning(Bucket="app-files", VersioningConfiguration={"Status": "Enabled"})
        self.s3.create_bucket(Bucket=CONTROL_BUCKET)
        self.queue_url = self.sqs.create_queue(QueueName="erasure-interactive")["QueueUrl"]
        self.batch_queue_url = self.sqs.create_queue(QueueName="erasure-batch")["QueueUrl"]
        self.dead_letter_queue_url = self.sqs.create_queue(QueueName="erasure-dead-letters")["QueueUrl"]
        definition = json.dumps({"StartAt": "Plan", "States": {"Plan": {"Type": "Pass", "End": True}}})
        machine = self.stepfunctions.create_state_machine(
            name="erasure-job", definition=definition, roleArn="arn:aws:iam::123456789012:role/erasure-job"
        )
        self.state_machine = machine["stateMachineArn"]
        self.targets: dict[str, Any] = {
            "dynamodb": DynamoDBTarget(self.dynamodb, conditional="single"),
            "s3": S3Target(make_s3_client(session)),
        }
        secrets: Any = session.create_client("secretsmanager")
        events: Any = session.create_client("events")
        self.events = events
        self.events.create_event_bus(Name=EVENT_BUS)
        self.secret = secrets.create_secret(Name="digest-key", SecretString=DIGEST_KEY)
        self.clients = Clients(
            session,
            overrides={
                "dynamodb": self.dynamodb,
                "sqs": self.sqs,
                "stepfunctions": self.stepfunctions,
                "events": self.events,
                "lambda": _Workers(self),
            },
        )
        self.requests = DynamoDBRequestStore(self._dynamodb, "Requests", "Audit", "Registry")
        self.tasks = DynamoDBTaskStore(self._dynamodb, "Requests")
        self.audit = DynamoDBAuditLog(self._dynamodb, "Audit")
        self.holds = DynamoDBHoldStore(self._dynamodb, "Registry")
        self.maps = DynamoDBDataMapStore(self._dynamodb, "Registry")
        self.maps.put(parse_data_map(DATA_MAP), datetime.now(UTC))
        self.handlers: dict[str, Handler] = {}
        self.roles = EnforcedRoles()
        self.roles.watch(self.dynamodb, self.sqs, self.events, session)
        self.outputs: list[Any] = []
        self.entered: list[str] = []

    def _dynamodb(self) -> Any:
        return self.dynamodb

    def environment(self) -> dict[str, str]:
        return {
            "DELETE_IDS_TABLE": "DeleteIds",
            "REQUESTS_TABLE": "Requests",
            "REGISTRY_TABLE": "Registry",
            "AUDIT_TABLE": "Audit",
            "INTERACTIVE_QUEUE_URL": self.queue_url,
            "BATCH_QUEUE_URL": self.batch_queue_url,
            "BATCH_QUEUE_ARN": BATCH_QUEUE_ARN,
            "STATE_MACHINE_ARN": self.state_machine,
            "ERASE_DYNAMODB_FUNCTION": "erasure-erase-dynamodb",
            "ERASE_S3_FUNCTION": "erasure-erase-s3",
            "VERIFY_TARGET_FUNCTION": "erasure-verify-target",
            "READER_FUNCTION": "erasure-verify-target",
            "CONTROL_BUCKET": CONTROL_BUCKET,
            "INLINE_UNITS": str(self.inline_units),
            "DIGEST_KEY_SECRET_ARN": self.secret["ARN"],
            "DEAD_LETTER_QUEUE_URL": self.dead_letter_queue_url,
            "EVENT_BUS": EVENT_BUS,
        }

    def _build(self, name: str) -> Handler:
        arguments: list[Any] = [self.environment(), self.clients]
        if name in ("erase_dynamodb", "erase_s3", "verify_target"):
            arguments.append(self.targets)
        return BUILDERS[name](*arguments)

    def _create_tables(self) -> None:
        self.create_table("Requests", ("pk", "sk"), INDEXES, PROJECTIONS)
        for name in ("Registry", "Audit"):
            self.create_table(name, ("pk", "sk"))
        self.create_table("DeleteIds", ("pk",))
        for name, keys in TABLES.items():
            self.create_table(f"app-{name}", keys, {"by-author": ("author",)} if name == "comments" else {})

    def create_table(
        self,
        name: str,
        keys: tuple[str, ...],
        indexes: Mapping[str, tuple[str, ...]] | None = None,
        projections: Mapping[str, Any] | None = None,
    ) -> None:
        names = dict.fromkeys([*keys, *(key for index in (indexes or {}).values() for key in index)])
        arguments: dict[str, Any] = {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": _schema(keys),
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in names],
        }
        if indexes:
            arguments["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": index,
                    "KeySchema": _schema(keys),
                    "Projection": (projections or {}).get(index, {"ProjectionType": "KEYS_ONLY"}),
                }
                for index, keys in indexes.items()
            ]
        self.dynamodb.create_table(**arguments)

    # The application's data

    def put_data(self, subject: Subject) -> None:
        tenant, user = subject.tenant_id, subject.id
        for sort in ("PROFILE", "PREFERENCE#theme", "PREFERENCE#language"):
            self._put("accounts", pk=f"TENANT#{tenant}#USER#{user}", sk=sort)
        for number in range(ERASED["notes"]):
            self._put("notes", pk=f"{tenant}#{user}", sk=f"{number:03d}")
        for number in range(ERASED["comments"]):
            self._put("comments", id=f"{uuid.uuid4()}", author=f"{tenant}#{user}", number=str(number))
        for _version in range(2):
            for name in ("a.txt", "b/c.txt"):
                self.s3.put_object(Bucket="app-files", Key=f"{tenant}/{user}/{name}", Body=b"text")
        self.s3.put_object(Bucket="app-files", Key=f"avatars/{tenant}/{user}", Body=b"picture")

    def _put(self, table: str, **attributes: str) -> None:
        item = {name: {"S": value} for name, value in attributes.items()}
        self.dynamodb.put_item(TableName=f"app-{table}", Item=item)

    def data(self) -> set[str]:
        """Everything that the application has, each thing as text."""
        things = set()
        for name in TABLES:
            table = f"app-{name}"
            for page in self.dynamodb.get_paginator("scan").paginate(TableName=table):
                things |= {json.dumps([table, item], sort_keys=True, ensure_ascii=False) for item in page["Items"]}
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket="app-files"):
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                things.add(f"app-files {version['Key']} {version['VersionId']}")
        return things

    # The service's way

    def service(self, queue: Any = None) -> SelfDeletionService:
        return SelfDeletionService(
            delete_ids=DynamoDBDeleteIdStore(self._dynamodb, "DeleteIds"),
            acceptance=DynamoDBAcceptanceStore(
                self._dynamodb,
                delete_ids_table="DeleteIds",
                requests_table="Requests",
                audit_table="Audit",
                registry_table="Registry",
            ),
            requests=self.requests,
            data_maps=self.maps,
            queue=queue or SQSJobQueue(lambda: self.sqs, self.queue_url),
            holds=self.holds,
            audit=self.audit,
            digest_key=DIGEST_KEY.encode,
            now=lambda: datetime.now(UTC),
        )

    def confirm(self, subject: Subject) -> str:
        service = self.service()
        return service.confirm(subject, service.issue_delete_id(subject).delete_id)

    def call(self, function: str, event: Any, context: Context | None = None) -> Any:
        """Call a function as Lambda does: what goes in and comes out is JSON."""
        if function not in self.handlers:  # built on the first call, as in the cloud: within the test, that is
            self.handlers[function] = self._build(function)
        with self.roles.within(function):
            answer = self.handlers[function](json.loads(json.dumps(event)), context or Context())
        output = json.loads(json.dumps(answer))
        self.outputs.append(output)
        return output

    def messages(self, queue_url: str | None = None) -> list[Any]:
        """Take the messages of a queue (default: the interactive lane's), as records of an SQS event."""
        queue_url = queue_url or self.queue_url
        (template,) = example("start_jobs/one_message.json")["Records"]
        if queue_url == self.batch_queue_url:
            template["eventSourceARN"] = BATCH_QUEUE_ARN
        records: list[Any] = []
        while taken := self.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
            for message in taken:
                self.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                records.append({**template, "messageId": message["MessageId"], "body": message["Body"]})
        return records

    def executions(self) -> dict[str, str]:
        """The input of every execution, by its name."""
        listed = self.stepfunctions.list_executions(stateMachineArn=self.state_machine)["executions"]
        return {
            execution["name"]: self.stepfunctions.describe_execution(executionArn=execution["executionArn"])["input"]
            for execution in listed
        }

    def run_job(self, job_input: Any, between: Callable[[str], None] | None = None) -> Any:
        """What the state machine does with an execution's input. ``between`` is called after each plan, slice and
        verification (the first is one for all units) with what it was: ``Plan``, ``Erase``, ``Verify``."""
        note = between or (lambda _state: None)
        planned = self.call("plan_job", job_input)
        self.entered.append("Plan")
        note("Plan")
        self.entered.append("EraseUnits")
        erased = [self._slice(unit, note, "Erase") for unit in planned["units"]]
        self.entered.append("VerifyUnits")
        first = self.call("verify_target", {"job_id": planned["job_id"], "units": erased})
        note("Verify")
        self.entered.append("AnythingLeft")
        if planned["manifest"]:
            self.entered.append("EraseManyUnits")
            body = self.s3.get_object(Bucket=CONTROL_BUCKET, Key=planned["manifest"])["Body"]
            for unit in json.loads(body.read()):
                self._finish(self._one_pass(unit, note, "EraseOfMany", "VerifyOfMany"), note, "OfMany", "DoneOfMany")
        elif first["again"]:
            self.entered.append("EraseLeft")
            for unit in first["units"]:
                self._finish(unit, note, "Again", "UnitDone")
        self.entered.append("Close")
        return self.call("close_job", {"job_id": planned["job_id"], "request_ids": planned["request_ids"]})

    def _slice(self, unit: Any, note: Callable[[str], None], state: str) -> Any:
        self.entered.append(state)
        unit = self.call(ERASERS[unit["eraser"]], unit)
        note("Erase")
        return unit

    def _one_pass(self, unit: Any, note: Callable[[str], None], erase: str, verify: str) -> Any:
        unit = self._slice(unit, note, erase)
        self.entered.append(verify)
        unit = self.call("verify_target", unit)
        note("Verify")
        return unit

    def _finish(self, unit: Any, note: Callable[[str], None], suffix: str, done: str) -> None:
        """The loop of a unit, from where it is chosen whether to go on. Nobody waits here."""
        choice = "Again" if suffix == "Again" else f"Again{suffix}"
        for _round in range(60):
            self.entered.append(choice)
            if not unit["again"]:
                self.entered.append(done)
                return
            unit = self._one_pass(unit, note, f"Erase{suffix}", f"Verify{suffix}")
        raise AssertionError("the loop does not end")

    def work(self, between: Callable[[str], None] | None = None) -> list[Any]:
        """Take what is in the queues through start_jobs and the state machine; what close_job answered, each."""
        known = set(self.executions())
        for queue_url in (self.queue_url, self.batch_queue_url):
            records = self.messages(queue_url)
            if records:
                assert self.call("start_jobs", {"Records": records}) == {"batchItemFailures": []}
        return [
            self.run_job(json.loads(text), between) for name, text in self.executions().items() if name not in known
        ]

    # The backends' way

    def api_key(self, tenant_id: str = "acme", scopes: Iterable[str] = SCOPES) -> str:
        """The text of a new API key."""
        keys = ApiKeyService(
            DynamoDBKeyStore(self._dynamodb, "Registry"),
            mode="live",
            digest_key=DIGEST_KEY.encode,
            now=lambda: datetime.now(UTC),
        )
        return keys.create(KeyCommand(tenant_id, frozenset(scopes)))[1]

    def ask(self, key: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A call of the backends' API; its status and body."""
        sent = {"Authorization": f"Bearer {key}", **headers}
        reply = self.call("backend_api", make_event(method, path, sent, None if body is None else json.dumps(body)))
        return reply["statusCode"], json.loads(reply["body"] or "null")

    # What became of it

    def request(self, request_id: str) -> ErasureRequest:
        request = self.requests.get(request_id)
        assert request is not None
        return request

    def outcomes(self, request_id: str) -> dict[str, TargetOutcome]:
        return {outcome.target: outcome for outcome in self.request(request_id).outcomes}

    def items(self, table: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.dynamodb.scan(TableName=table)["Items"]
        return items


class _Workers:
    """Lambda, as far as the API calls it: the workers, synchronously."""

    def __init__(self, stack: JobStack) -> None:
        self._stack = stack

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert InvocationType == "RequestResponse"
        name = FunctionName.removeprefix("erasure-").replace("-", "_")
        try:
            answer = self._stack.call(name, json.loads(Payload))
        except Exception as error:  # as Lambda answers for a function that raised
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(type(error).__name__).encode())}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def _schema(keys: Keys) -> list[dict[str, str]]:
    return [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)]


def stack_on_moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    """A stack whose functions log to the test's own standard output."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_METRICS_NAMESPACE": "ErasureService",
        # A logger belongs to its service's name and to the standard output of the moment when it is first made.
        "POWERTOOLS_SERVICE_NAME": f"erasure-{uuid.uuid4()}",
        "POWERTOOLS_LOG_LEVEL": "DEBUG",
    }.items():
        monkeypatch.setenv(name, value)
    carry_context(monkeypatch)
    with moto.mock_aws():
        stack = JobStack()
        yield stack
    assert not stack.roles.denied, f"on AWS, roles of the template would deny: {sorted(stack.roles.denied)}"
