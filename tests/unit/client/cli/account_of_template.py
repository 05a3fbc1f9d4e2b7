"""An account in which a stack of the template is well, as boto3 would tell it, until a test breaks something."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

from erasure_client.cli._doctor_account import Account
from tests.unit.translated_template import of_type, resources

STACK = "erasure"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
PARAMETERS = {
    "AlarmTopicArn": TOPIC,
    "IsLocal": "false",
    "KeyMode": "live",
    "OidcIssuer": "https://login.example.com",
    "OwnBackupDays": "7",
    "TargetBuckets": "their-bucket",
    "TargetKeys": KEY,
    "TargetRoles": "",
    "TargetTables": "their-table,their-other-table",
}
_ARN = "arn:aws:{}:eu-west-1:123456789012:{}"
Answer: TypeAlias = Mapping[str, Any]


class AccountOfTemplate:
    """``resources``: type to the template's names to physical names. ``calls``: (service, operation) of all calls that
    were made. ``change``: gets what would be answered and the call's arguments."""

    def __init__(self, endpoint: str = "https://cloudformation.eu-west-1.amazonaws.com", **parameters: str) -> None:
        self.parameters = {**PARAMETERS, **parameters}
        self.endpoint = endpoint
        found = resources({"AlarmTopicArn": TOPIC, "IsLocal": self.parameters["IsLocal"]})
        self.kinds: dict[str, str] = {name: resource["Type"] for name, resource in found.items()}
        self.properties = {name: resource["Properties"] for name, resource in found.items()}
        self.physical = {name: self._physical(name) for name in self.kinds}
        self.calls: list[tuple[str, str]] = []
        self._changes: dict[tuple[str, str], Callable[[dict[str, Any], Answer], Any]] = {}
        self.account = Account(self._client)

    def _physical(self, name: str) -> str:
        kind = self.kinds[name]
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.eu-west-1.amazonaws.com/123456789012/the-{name}"
        if kind == "AWS::StepFunctions::StateMachine":
            return _ARN.format("states", f"stateMachine:the-{name}")
        return f"the-{name}"

    def name_of(self, physical: str) -> str:
        """The template's name of what is called so."""
        return next(name for name, own in self.physical.items() if own == physical)

    def change(self, service: str, operation: str, change: Callable[[dict[str, Any], Answer], Any]) -> None:
        """What the operation answers from now on: what ``change(healthy answer, arguments)`` returns, or raises."""
        self._changes[service, operation] = change

    def refuse(self, service: str, operation: str, code: str) -> None:
        def refuse(answer: dict[str, Any], arguments: Answer) -> Any:
            raise ClientError({"Error": {"Code": code, "Message": f"the secret name in {arguments}"}}, operation)

        self.change(service, operation, refuse)

    def remove(self, name: str) -> None:
        """The stack was deployed without it."""
        del self.kinds[name]

    def _client(self, service: str) -> Any:
        return _Client(self, service)

    def answer(self, service: str, operation: str, arguments: Answer) -> dict[str, Any]:
        self.calls.append((service, operation))
        answer: dict[str, Any] = getattr(_Healthy(self), f"{service}_{operation}")(arguments)
        change = self._changes.get((service, operation))
        return answer if change is None else change(answer, arguments) or answer


class _Client:
    def __init__(self, account: AccountOfTemplate, service: str) -> None:
        self._account, self._service = account, service
        self.meta = SimpleNamespace(endpoint_url=account.endpoint)

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        return lambda **arguments: self._account.answer(self._service, operation, arguments)

    def get_paginator(self, operation: str) -> Any:
        def pages(**arguments: Any) -> Iterator[dict[str, Any]]:
            yield self._account.answer(self._service, operation, arguments)

        return SimpleNamespace(paginate=pages)


class _Healthy:
    """What a healthy stack's services answer. Of what there are several, by the arguments."""

    def __init__(self, world: AccountOfTemplate) -> None:
        self._world = world

    def cloudformation_describe_stacks(self, _: Answer) -> dict[str, Any]:
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in self._world.parameters.items()]
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in _OUTPUTS.items()]
        drift = {"StackDriftStatus": "IN_SYNC"}
        stack = {"StackStatus": "UPDATE_COMPLETE", "DriftInformation": drift, "Parameters": parameters}
        return {"Stacks": [{**stack, "Outputs": outputs}]}

    def cloudformation_list_stack_resources(self, _: Answer) -> dict[str, Any]:
        summaries = [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": self._world.physical[name],
                "ResourceType": kind,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for name, kind in self._world.kinds.items()
        ]
        return {"StackResourceSummaries": summaries}

    def lambda_get_function_configuration(self, asked: Answer) -> dict[str, Any]:
        name = self._world.name_of(asked["FunctionName"])
        role = f"arn:aws:iam::123456789012:role/the-{name}Role"
        return {"State": "Active", "LastUpdateStatus": "Successful", "Role": role}

    def lambda_get_function_concurrency(self, _: Answer) -> dict[str, Any]:
        return {}

    def lambda_get_policy(self, asked: Answer) -> dict[str, Any]:
        name = self._world.name_of(asked["FunctionName"])
        permissions = of_type(resources(), "AWS::Lambda::Permission").values()
        statements = [
            {
                "Effect": "Allow",
                "Principal": {"Service": each["Principal"]},
                "Action": each["Action"],
                "Condition": {"ArnLike": {"AWS:SourceArn": each["SourceArn"]}},
            }
            for each in permissions
            if each["FunctionName"] == name
        ]
        return {"Policy": json.dumps({"Statement": statements})}

    def lambda_list_event_source_mappings(self, _: Answer) -> dict[str, Any]:
        lanes = ("InteractiveQueue", "BatchQueue")
        return {
            "EventSourceMappings": [
                {"UUID": f"uuid-{lane}", "State": "Enabled", "EventSourceArn": _ARN.format("sqs", f"the-{lane}")}
                for lane in lanes
            ]
        }

    def events_describe_rule(self, asked: Answer) -> dict[str, Any]:
        name = self._world.name_of(asked["Name"])
        rate = self._world.properties[name]["ScheduleExpression"]
        return {"State": "ENABLED", "ScheduleExpression": rate, "Arn": _ARN.format("events", f"rule/{name}")}

    def events_list_targets_by_rule(self, asked: Answer) -> dict[str, Any]:
        function = {"the-SlaWatchWatch": "SlaWatch", "the-RetentionSweepSweep": "RetentionSweep"}[asked["Rule"]]
        return {"Targets": [{"Arn": _ARN.format("lambda", f"function:the-{function}")}]}

    def events_describe_event_bus(self, _: Answer) -> dict[str, Any]:
        return {}

    def sqs_get_queue_attributes(self, asked: Answer) -> dict[str, Any]:
        redrive = {"deadLetterTargetArn": _ARN.format("sqs", "the-DeadLetterQueue"), "maxReceiveCount": 5}
        sizes = {f"ApproximateNumberOfMessages{which}": "0" for which in ("", "NotVisible", "Delayed")}
        attributes = {**sizes, "SqsManagedSseEnabled": "true"}
        if "DeadLetter" not in asked["QueueUrl"]:
            attributes["RedrivePolicy"] = json.dumps(redrive)
        return {"Attributes": attributes}

    def stepfunctions_describe_state_machine(self, _: Answer) -> dict[str, Any]:
        return {
            "status": "ACTIVE",
            "roleArn": "arn:aws:iam::123456789012:role/the-ErasureJobRole",
            "loggingConfiguration": {"level": "ERROR", "destinations": [{}]},
        }

    def stepfunctions_list_executions(self, _: Answer) -> dict[str, Any]:
        return {"executions": []}

    def dynamodb_describe_table(self, _: Answer) -> dict[str, Any]:
        indexes = [{"IndexStatus": "ACTIVE"}]
        table = {"TableStatus": "ACTIVE", "DeletionProtectionEnabled": True, "GlobalSecondaryIndexes": indexes}
        return {"Table": {**table, "SSEDescription": {"Status": "ENABLED"}}}

    def dynamodb_describe_continuous_backups(self, _: Answer) -> dict[str, Any]:
        recovery = {"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 7}
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": recovery}}

    def dynamodb_describe_time_to_live(self, _: Answer) -> dict[str, Any]:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED"}}

    def s3_get_bucket_versioning(self, _: Answer) -> dict[str, Any]:
        return {"Status": "Enabled"}

    def s3_get_bucket_encryption(self, _: Answer) -> dict[str, Any]:
        return {"ServerSideEncryptionConfiguration": {"Rules": [{}]}}

    def s3_get_public_access_block(self, _: Answer) -> dict[str, Any]:
        return {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "RestrictPublicBuckets": True}}

    def s3_get_bucket_lifecycle_configuration(self, _: Answer) -> dict[str, Any]:
        return {"Rules": [{"Status": "Enabled"}]}

    def s3_get_bucket_policy(self, _: Answer) -> dict[str, Any]:
        return {"Policy": json.dumps({"Condition": {"Bool": {"aws:SecureTransport": "false"}}})}

    def secretsmanager_describe_secret(self, _: Answer) -> dict[str, Any]:
        return {"VersionIdsToStages": {"1": ["AWSCURRENT"]}}

    def kms_describe_key(self, _: Answer) -> dict[str, Any]:
        return {"KeyMetadata": {"KeyState": "Enabled"}}

    def cloudwatch_describe_alarms(self, asked: Answer) -> dict[str, Any]:
        alarm = {"StateValue": "OK", "ActionsEnabled": True, "AlarmActions": [TOPIC]}
        at = datetime(2026, 11, 22, 3, 4, tzinfo=UTC)
        names = asked["AlarmNames"]
        return {"MetricAlarms": [{**alarm, "AlarmName": name, "StateUpdatedTimestamp": at} for name in names]}

    def sns_get_topic_attributes(self, _: Answer) -> dict[str, Any]:
        return {"Attributes": {"SubscriptionsConfirmed": "2"}}

    def logs_describe_log_groups(self, asked: Answer) -> dict[str, Any]:
        name = asked["logGroupNamePrefix"]
        return {"logGroups": [{"logGroupName": f"{name}-of-another"}, {"logGroupName": name, "retentionInDays": 30}]}

    def iam_get_role(self, asked: Answer) -> dict[str, Any]:
        policy = self._world.properties[self._world.name_of(asked["RoleName"])]["AssumeRolePolicyDocument"]
        return {"Role": {"AssumeRolePolicyDocument": policy}}

    def apigateway_get_stage(self, _: Answer) -> dict[str, Any]:
        return {"accessLogSettings": {"destinationArn": "arn"}}


_OUTPUTS = {"ApiId": "abc123", "ApiUrl": "https://abc123.example.com/prod", "StageName": "prod"}
