"""The account as doctor sees it: through calls that only read, each with the permission that it takes.

:data:`READS` is all that doctor ever calls. None of it reads what is in a table, an object, a message or a secret.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from erasure_client.cli._doctor_checks import GoneError, NotSeenError

READS: Mapping[tuple[str, str], str] = {
    ("apigateway", "get_stage"): "apigateway:GET",
    ("cloudformation", "describe_stacks"): "cloudformation:DescribeStacks",
    ("cloudformation", "list_stack_resources"): "cloudformation:ListStackResources",
    ("cloudwatch", "describe_alarms"): "cloudwatch:DescribeAlarms",
    ("dynamodb", "describe_continuous_backups"): "dynamodb:DescribeContinuousBackups",
    ("dynamodb", "describe_table"): "dynamodb:DescribeTable",
    ("dynamodb", "describe_time_to_live"): "dynamodb:DescribeTimeToLive",
    ("events", "describe_event_bus"): "events:DescribeEventBus",
    ("events", "describe_rule"): "events:DescribeRule",
    ("events", "list_targets_by_rule"): "events:ListTargetsByRule",
    ("iam", "get_role"): "iam:GetRole",
    ("kms", "describe_key"): "kms:DescribeKey",
    ("lambda", "get_function_concurrency"): "lambda:GetFunctionConcurrency",
    ("lambda", "get_function_configuration"): "lambda:GetFunctionConfiguration",
    ("lambda", "get_policy"): "lambda:GetPolicy",
    ("lambda", "list_event_source_mappings"): "lambda:ListEventSourceMappings",
    ("logs", "describe_log_groups"): "logs:DescribeLogGroups",
    ("s3", "get_bucket_encryption"): "s3:GetEncryptionConfiguration",
    ("s3", "get_bucket_lifecycle_configuration"): "s3:GetLifecycleConfiguration",
    ("s3", "get_bucket_policy"): "s3:GetBucketPolicy",
    ("s3", "get_bucket_versioning"): "s3:GetBucketVersioning",
    ("s3", "get_public_access_block"): "s3:GetBucketPublicAccessBlock",
    ("secretsmanager", "describe_secret"): "secretsmanager:DescribeSecret",
    ("sns", "get_topic_attributes"): "sns:GetTopicAttributes",
    ("sqs", "get_queue_attributes"): "sqs:GetQueueAttributes",
    ("stepfunctions", "describe_state_machine"): "states:DescribeStateMachine",
    ("stepfunctions", "list_executions"): "states:ListExecutions",
}
"""(service, operation) to the IAM action that it takes."""

_DENIED = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "Forbidden"),
    *("NotAuthorized", "UnauthorizedException", "UnauthorizedOperation", "403"),
}
_NOT_SIGNED_IN = {
    *("AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId"),
    *("InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken", "RequestExpired"),
    *("SignatureDoesNotMatch", "UnrecognizedClientException"),
}
_GONE = {
    *("404", "AWS.SimpleQueueService.NonExistentQueue", "NoSuchBucket", "NoSuchBucketPolicy", "NoSuchEntity"),
    *("NoSuchLifecycleConfiguration", "NoSuchPublicAccessBlockConfiguration", "NotFound", "NotFoundException"),
    *("QueueDoesNotExist", "ResourceNotFoundException", "ServerSideEncryptionConfigurationNotFoundError"),
    *("StateMachineDoesNotExist", "TableNotFoundException"),
}
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
SIGN_IN = "Sign in to AWS: `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID."


class NotSignedInError(NotSeenError):
    """There are no credentials of AWS, or none that it takes."""


Clients: TypeAlias = Callable[[str], Any]
"""Name of a service to its boto3 client."""


class Account:
    """Reads of one account and region. May be shared by threads."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def is_emulated(self) -> bool:
        """Whether something else than AWS answers, by its address."""
        try:
            host = urlsplit(str(self._client("cloudformation").meta.endpoint_url)).hostname or ""
        except BotoCoreError:
            return False
        return not host.endswith(_AWS_DOMAINS)

    def look(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer. Raises :class:`GoneError`, :class:`NotSeenError`, :class:`NotSignedInError`."""
        permission = READS[service, operation]
        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**arguments)
        except ClientError as error:
            raise _reason(error, permission) from error
        except BotoCoreError as error:
            raise _unreached(error) from error
        return answer

    def look_if_any(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer; empty if there is no such thing. Raises :class:`NotSeenError`, :class:`NotSignedInError`."""
        try:
            return self.look(service, operation, **arguments)
        except GoneError:
            return {}

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """What all pages hold under ``key``. Raises as :meth:`look`."""
        permission = READS[service, operation]
        try:
            pages = self._client(service).get_paginator(operation).paginate(**arguments)
            return [each for page in pages for each in page.get(key, [])]
        except ClientError as error:
            raise _reason(error, permission) from error
        except BotoCoreError as error:
            raise _unreached(error) from error

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._made:
                self._made[service] = self._clients(service)
            return self._made[service]


def boto3_clients(region: str | None) -> Clients:
    """Clients with the credentials that any AWS tool would take here, which do not wait for long."""
    session = boto3.Session(region_name=region)
    config = Config(
        connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 4}, max_pool_connections=16
    )
    make: Any = session.client
    return lambda service: make(service, config=config)


def _reason(error: ClientError, permission: str) -> GoneError | NotSeenError:
    """By the code: AWS's texts hold names."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _NOT_SIGNED_IN:
        return NotSignedInError("AWS does not take the credentials that are set here", SIGN_IN)
    if code in _DENIED:
        return NotSeenError(f"not allowed to look: {permission} is missing", f"Allow {permission}, and run it again.")
    if code in _GONE or (code == "ValidationError" and permission.startswith("cloudformation:")):
        return GoneError()
    return NotSeenError(f"AWS answered {code or 'with an error'}", "Run it again.")


def _unreached(error: BotoCoreError) -> NotSeenError:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return NotSignedInError("there are no AWS credentials here", SIGN_IN)
    if isinstance(error, NoRegionError):
        return NotSignedInError("it is not known in which region to look", "Give --region, or set AWS_DEFAULT_REGION.")
    if isinstance(error, ConnectionError | HTTPClientError):
        return NotSeenError("AWS could not be reached", "Run it again. Is this machine connected?")
    # Among them everything that may be wrong with single sign-on. Their texts may hold names.
    return NotSignedInError(f"AWS could not be asked ({type(error).__name__})", SIGN_IN)


@dataclass(frozen=True, slots=True)
class StackView:
    """A stack as CloudFormation tells it. ``resources``: by type, the template's name for each to its own."""

    name: str
    status: str
    drift: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_emulated: bool = False

    @property
    def is_local(self) -> bool:
        """Deployed for the emulator: without what that cannot create."""
        return self.parameters.get("IsLocal") == "true"

    def of(self, kind: str) -> Mapping[str, str]:
        return self.resources.get(kind, {})

    def names(self, parameter: str) -> frozenset[str]:
        """What a parameter that is a list holds."""
        return frozenset(name.strip() for name in self.parameters.get(parameter, "").split(",")) - {""}


def describe_stack(account: Account, stack_name: str) -> StackView:
    """The stack without its resources. Raises as :meth:`Account.look`."""
    described = account.look("cloudformation", "describe_stacks", StackName=stack_name)["Stacks"][0]
    return StackView(
        name=stack_name,
        status=str(described.get("StackStatus", "")),
        drift=str(described.get("DriftInformation", {}).get("StackDriftStatus", "NOT_CHECKED")),
        parameters={each["ParameterKey"]: each["ParameterValue"] for each in described.get("Parameters", [])},
        outputs={each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])},
        is_emulated=account.is_emulated,
    )


def list_resources(account: Account, stack_name: str) -> dict[str, dict[str, str]]:
    listed: dict[str, dict[str, str]] = {}
    for each in account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack_name):
        if each.get("ResourceStatus") != "DELETE_COMPLETE" and each.get("PhysicalResourceId"):
            listed.setdefault(each["ResourceType"], {})[each["LogicalResourceId"]] = each["PhysicalResourceId"]
    return listed
