"""The stack that an operator's command is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from erasure.adapters.account import AwsAccount
from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.aws import Clients
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.key_store import DynamoDBKeyStore
from erasure.adapters.secret import DigestKey
from erasure.entry.wiring import utc_now
from erasure.errors import InvalidInputError, NotFoundError
from erasure.services.api_keys import ApiKeyService

_OUTPUTS = {
    "REGISTRY_TABLE": "RegistryTable",
    "REQUESTS_TABLE": "RequestsTable",
    "AUDIT_TABLE": "AuditTable",
    "INTERACTIVE_QUEUE_URL": "InteractiveQueueUrl",
    "DIGEST_KEY_SECRET_ARN": "DigestKeySecretArn",
    "KEY_MODE": "KeyMode",
}
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
        self._outputs: dict[str, str] | None = None
        self.clients = Clients()

    def name(self, variable: str) -> str:
        if self._stack_name is None:
            value = self._environment.get(variable)
            if not value:
                raise InvalidInputError(variable, "is not in the environment; name the stack with --stack-name")
            return value
        if self._outputs is None:
            stacks = self.clients.get("cloudformation").describe_stacks(StackName=self._stack_name)["Stacks"]
            self._outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
        if _OUTPUTS[variable] not in self._outputs:
            raise NotFoundError(f"the stack has no output {_OUTPUTS[variable]}")
        return self._outputs[_OUTPUTS[variable]]

    def dynamodb(self) -> Any:
        return self.clients.get("dynamodb")

    def data_maps(self) -> DynamoDBDataMapStore:
        return DynamoDBDataMapStore(self.dynamodb, self.name("REGISTRY_TABLE"))

    def audit(self) -> DynamoDBAuditLog:
        return DynamoDBAuditLog(self.dynamodb, self.name("AUDIT_TABLE"))

    def api_keys(self) -> ApiKeyService:
        return ApiKeyService(
            DynamoDBKeyStore(self.dynamodb, self.name("REGISTRY_TABLE")),
            mode=self.name("KEY_MODE"),
            digest_key=DigestKey(lambda: self.clients.get("secretsmanager"), self.name("DIGEST_KEY_SECRET_ARN")),
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
