"""The stack that an operator's command is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore
from erasure.adapters.account import AwsAccount
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.aws import Clients
from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.data_reader import LambdaDataReader
from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.adapters.key_store import DynamoDBKeyStore
from erasure.adapters.messaging import LambdaAccountReader, LambdaFunctions, SQSJobQueue
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.secret import DigestKey
from erasure.domain.clock import ClockPolicy
from erasure.entry.wiring import utc_now
from erasure.errors import InvalidInputError, NotFoundError
from erasure.services.api_keys import ApiKeyService
from erasure.services.current_map import CurrentMap
from erasure.services.holds import HoldService
from erasure.services.replay import Replays

_OUTPUTS = {
    "REGISTRY_TABLE": "RegistryTable",
    "REQUESTS_TABLE": "RequestsTable",
    "AUDIT_TABLE": "AuditTable",
    "INTERACTIVE_QUEUE_URL": "InteractiveQueueUrl",
    "BATCH_QUEUE_URL": "BatchQueueUrl",
    "DIGEST_KEY_SECRET_ARN": "DigestKeySecretArn",
    "KEY_MODE": "KeyMode",
    "VERIFY_TARGET_FUNCTION_NAME": "VerifyTargetFunctionName",
}
_NUMBERS = {
    "SLA_HOURS": ("SlaHours", 72),
    "PURGE_DAYS": ("PurgeDays", 90),
    "PATIENCE_MINUTES": ("PatienceMinutes", 15),
    "SECOND_LOOK_HOURS": ("SecondLookHours", 24),
    "OWN_BACKUP_DAYS": ("OwnBackupDays", 7),
    "RETENTION_HOURS": ("RetentionHours", 24),
    "RETENTION_REPORT_HOURS": ("RetentionReportHours", 24),
}
"""The template's parameters, with their defaults there."""
ANSWER_SECONDS = 60.0
"""How long a command waits for the verifier."""
_ROLES = {
    "erase_dynamodb": "EraseDynamodbRole",
    "erase_s3": "EraseS3Role",
    "verify_target": "VerifyTargetRole",
}
"""Of the functions that work on targets, by their logical ids in the template."""

_OWN_DATA = ("AWS::DynamoDB::Table", "AWS::S3::Bucket")
_OWN_NAMES = ("DELETE_IDS_TABLE", "REQUESTS_TABLE", "REGISTRY_TABLE", "AUDIT_TABLE", "CONTROL_BUCKET")


class Stack:
    """Names of a stack's tables and queue, found when first needed."""

    def __init__(self, stack_name: str | None, environment: Mapping[str, str]) -> None:
        self._stack_name = stack_name
        self._environment = environment
        self._described: dict[str, Any] | None = None
        self.clients = Clients()

    def name(self, variable: str) -> str:
        if self._stack_name is None:
            value = self._environment.get(variable)
            if not value:
                raise InvalidInputError(variable, "is not in the environment; name the stack with --stack-name")
            return value
        outputs = {output["OutputKey"]: output["OutputValue"] for output in self._description().get("Outputs", [])}
        if _OUTPUTS[variable] not in outputs:
            raise NotFoundError(f"the stack has no output {_OUTPUTS[variable]}")
        return str(outputs[_OUTPUTS[variable]])

    def number(self, variable: str) -> int:
        """A parameter of the stack; from the environment, its default there if it has none."""
        parameter, default = _NUMBERS[variable]
        if self._stack_name is None:
            text = self._environment.get(variable) or str(default)
        else:
            given = self._description().get("Parameters", [])
            values = {each["ParameterKey"]: each["ParameterValue"] for each in given}
            text = values.get(parameter, str(default))
        if not text.isdecimal():
            raise InvalidInputError(variable, "must be a whole number")
        return int(text)

    def _description(self) -> dict[str, Any]:
        if self._described is None:
            stacks = self.clients.get("cloudformation").describe_stacks(StackName=self._stack_name)["Stacks"]
            self._described = stacks[0]
        return self._described

    def dynamodb(self) -> Any:
        return self.clients.get("dynamodb")

    def data_maps(self) -> DynamoDBDataMapStore:
        return DynamoDBDataMapStore(self.dynamodb, self.name("REGISTRY_TABLE"))

    def audit(self) -> DynamoDBAuditLog:
        return DynamoDBAuditLog(self.dynamodb, self.name("AUDIT_TABLE"))

    def digest_key(self) -> DigestKey:
        return DigestKey(lambda: self.clients.get("secretsmanager"), self.name("DIGEST_KEY_SECRET_ARN"))

    def requests(self) -> DynamoDBRequestStore:
        return DynamoDBRequestStore(self.dynamodb, *self._tables())

    def clock(self) -> DynamoDBClockStore:
        return DynamoDBClockStore(self.dynamodb, *self._tables())

    def clock_policy(self) -> ClockPolicy:
        names = ("SLA_HOURS", "PATIENCE_MINUTES", "SECOND_LOOK_HOURS", "OWN_BACKUP_DAYS")
        return ClockPolicy.of(*(self.number(name) for name in names))

    def batch_lane(self) -> SQSJobQueue:
        return SQSJobQueue(lambda: self.clients.get("sqs"), self.name("BATCH_QUEUE_URL"))

    def functions(self) -> LambdaFunctions:
        """Only the verifier is called by commands."""
        names = {"verify_target": self.name("VERIFY_TARGET_FUNCTION_NAME")}
        return LambdaFunctions(
            lambda: self.clients.get("lambda", read_timeout=ANSWER_SECONDS, total_max_attempts=1), names
        )

    def replays(self) -> Replays:
        requests, audit, registry = self._tables()
        functions = self.functions()
        return Replays(
            clock=self.clock(),
            requests=self.requests(),
            acceptance=DynamoDBAcceptanceStore(
                self.dynamodb, requests_table=requests, audit_table=audit, registry_table=registry
            ),
            audit=self.audit(),
            accounts=LambdaAccountReader(functions),
            reader=LambdaDataReader(functions),
            data_map=CurrentMap(self.data_maps()),
            queue=self.batch_lane(),
            now=utc_now,
            policy=self.clock_policy(),
            purge_days=self.number("PURGE_DAYS"),
        )

    def holds(self) -> HoldService:
        return HoldService(
            holds=DynamoDBHoldStore(self.dynamodb, self.name("REGISTRY_TABLE")),
            requests=self.requests(),
            clock=self.clock(),
            audit=self.audit(),
            queue=self.batch_lane(),
            digest_key=self.digest_key(),
            now=utc_now,
            policy=self.clock_policy(),
        )

    def _tables(self) -> tuple[str, str, str]:
        return self.name("REQUESTS_TABLE"), self.name("AUDIT_TABLE"), self.name("REGISTRY_TABLE")

    def api_keys(self) -> ApiKeyService:
        return ApiKeyService(
            DynamoDBKeyStore(self.dynamodb, self.name("REGISTRY_TABLE")),
            mode=self.name("KEY_MODE"),
            digest_key=self.digest_key(),
            now=utc_now,
        )

    def account(self) -> AwsAccount:
        return AwsAccount(self.clients.get)

    def own_data(self) -> list[str]:
        """The service's own tables and buckets."""
        if self._stack_name is None:
            return [self._environment[name] for name in _OWN_NAMES if name in self._environment]
        return [name for kind, _, name in self._resources() if kind in _OWN_DATA]

    def roles(self) -> dict[str, str] | None:
        """ARNs of the roles of the functions that work on targets, by function. ``None``: the stack is not named."""
        if self._stack_name is None:
            return None
        names = {logical: name for _, logical, name in self._resources()}
        missing = [logical for logical in _ROLES.values() if logical not in names]
        if missing:
            raise NotFoundError(f"the stack has no resource {missing[0]}")
        iam = self.clients.get("iam")
        return {function: iam.get_role(RoleName=names[logical])["Role"]["Arn"] for function, logical in _ROLES.items()}

    def _resources(self) -> list[tuple[str, str, str]]:
        """Type, logical id and name of each."""
        pages = (
            self.clients.get("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self._stack_name)
        )
        return [
            (each["ResourceType"], each["LogicalResourceId"], each.get("PhysicalResourceId", ""))
            for page in pages
            for each in page["StackResourceSummaries"]
        ]
