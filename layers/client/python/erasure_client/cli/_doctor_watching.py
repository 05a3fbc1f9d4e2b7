"""What tells of trouble, and who may do what: alarms, logs, roles, the API's stage and the event bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from erasure_client.cli._doctor_account import Account, StackView
from erasure_client.cli._doctor_checks import DEPLOY_AGAIN, Check, GoneError, looked_at, missing

ALARMS = (
    *("ApiErrorsAlarm", "AttentionAlarm", "BatchQueueAgeAlarm", "JobsAbortedAlarm", "JobsFailedAlarm"),
    *("JobsTimedOutAlarm", "OverdueAlarm", "ParkedAlarm", "QueueAgeAlarm", "SlaAtRiskAlarm", "SlaBreachedAlarm"),
    *("SlaNearlyBreachedAlarm", "BackendApiErrorsAlarm", "CloseJobErrorsAlarm", "EraseDynamodbErrorsAlarm"),
    *("EraseS3ErrorsAlarm", "PlanJobErrorsAlarm", "RetentionSweepErrorsAlarm", "SlaWatchErrorsAlarm"),
    *("StartJobsErrorsAlarm", "SubjectApiErrorsAlarm", "VerifyTargetErrorsAlarm"),
)
ALARMS_ON_AWS = ("DeadLettersAlarm", "WatchSilentAlarm", "SweepSilentAlarm")
"""Those that the emulator cannot create."""
_NAMES_A_CALL = 100
_TRUSTED = {"ErasureJobRole": "states.amazonaws.com", "ApiGatewayRole": "apigateway.amazonaws.com"}


def check_alarms(account: Account, stack: StackView) -> Iterator[Check]:
    """Whether any rings, whether all can, and whether somebody hears it."""
    alarms = stack.of("AWS::CloudWatch::Alarm")
    yield from missing("alarms", ALARMS if stack.is_local else (*ALARMS, *ALARMS_ON_AWS), alarms)
    yield from looked_at("alarms", "AlarmTopicArn", _topic, account, stack)
    names = list(alarms.items())
    for start in range(0, len(names), _NAMES_A_CALL):
        some = names[start : start + _NAMES_A_CALL]
        yield from looked_at("alarms", "all", _alarms, account, stack, some)


def _topic(account: Account, stack: StackView) -> Check:
    topic = stack.parameters.get("AlarmTopicArn", "")
    if not topic:
        if stack.is_local:
            return Check("alarms", "AlarmTopicArn", "skipped", "a local stack tells nobody")
        step = "Deploy with AlarmTopicArn, an SNS topic that somebody reads."
        return Check("alarms", "AlarmTopicArn", "warning", "nobody is told: they only show in CloudWatch", step)
    found = account.look_if_any("sns", "get_topic_attributes", TopicArn=topic).get("Attributes")
    if found is None:
        step = "Make the topic, or deploy with one that is there."
        return Check("alarms", "AlarmTopicArn", "problem", "nobody is told: the topic is not there", step)
    if found.get("SubscriptionsConfirmed") == "0":
        step = "Subscribe somebody to the topic, and confirm it."
        return Check("alarms", "AlarmTopicArn", "problem", "nobody is told: the topic has no subscriber", step)
    return Check("alarms", "AlarmTopicArn", "ok", "the topic has subscribers")


def _alarms(account: Account, stack: StackView, alarms: Sequence[tuple[str, str]]) -> Iterator[Check]:
    found = {
        each["AlarmName"]: each
        for each in account.pages(
            "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNames=[alarm for _, alarm in alarms]
        )
    }
    for name, alarm in alarms:
        yield from looked_at("alarms", name, _alarm, stack, name, found.get(alarm))


def _alarm(stack: StackView, name: str, alarm: Mapping[str, Any] | None) -> Check:
    if alarm is None:
        raise GoneError
    topic, state = stack.parameters.get("AlarmTopicArn", ""), alarm.get("StateValue")
    if state == "ALARM":
        return Check("alarms", name, "problem", f"rings{_since(alarm)}", f"Operations guide, Alarms: {name}.")
    if topic and not alarm.get("ActionsEnabled", True):
        mend = f"`aws cloudwatch enable-alarm-actions --alarm-names {alarm['AlarmName']}`"
        return Check("alarms", name, "problem", "tells nobody: its actions are switched off", mend)
    if topic and topic not in alarm.get("AlarmActions", []):
        return Check("alarms", name, "problem", "does not tell the topic", DEPLOY_AGAIN)
    if state == "OK":
        return Check("alarms", name, "ok", "quiet")
    if stack.is_emulated:
        return Check("alarms", name, "skipped", "the emulator evaluates no alarms")
    return Check("alarms", name, "warning", "has no data yet", "Normal in the first minutes after a deployment.")


def _since(alarm: Mapping[str, Any]) -> str:
    at = alarm.get("StateUpdatedTimestamp")
    return "" if at is None else f" since {at:%Y-%m-%d %H:%M} UTC"


def check_logs(account: Account, stack: StackView) -> Iterator[Check]:
    """Whether there is something to look into, and whether it goes away some day."""
    for name, group in stack.of("AWS::Logs::LogGroup").items():
        yield from looked_at("logs", name, _log_group, account, name, group)
    if "ApiId" in stack.outputs:
        yield from looked_at("logs", "Api", _stage, account, stack)


def _log_group(account: Account, name: str, group: str) -> Check:
    listed = account.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=group)
    found = next((each for each in listed if each.get("logGroupName") == group), None)
    if found is None:
        raise GoneError
    days = found.get("retentionInDays")
    if days is None:
        return Check("logs", name, "warning", "its lines are kept for ever", DEPLOY_AGAIN)
    return Check("logs", name, "ok", f"lines are kept for {days} days")


def _stage(account: Account, stack: StackView) -> Check:
    stage = stack.outputs.get("StageName", "")
    found = account.look("apigateway", "get_stage", restApiId=stack.outputs["ApiId"], stageName=stage)
    if found.get("accessLogSettings", {}).get("destinationArn"):
        return Check("logs", "Api", "ok", "calls are logged")
    if stack.is_emulated:
        return Check("logs", "Api", "skipped", "the emulator logs no calls")
    return Check("logs", "Api", "warning", "calls are not logged", DEPLOY_AGAIN)


def check_roles(account: Account, stack: StackView) -> Iterator[Check]:
    """Whether each role is there and the right service may use it. What it allows is `data-map check`'s."""
    for name, role in stack.of("AWS::IAM::Role").items():
        yield from looked_at("roles", name, _role, account, name, role)


def _role(account: Account, name: str, role: str) -> Check:
    policy = account.look("iam", "get_role", RoleName=role)["Role"].get("AssumeRolePolicyDocument", {})
    service = _TRUSTED.get(name, "lambda.amazonaws.com")
    trusted = [
        principal
        for statement in policy.get("Statement", [])
        if statement.get("Effect") == "Allow"
        for principal in _listed(statement.get("Principal", {}))
    ]
    if trusted == [service]:
        return Check("roles", name, "ok", "there, trusts its service only")
    if service in trusted:
        return Check("roles", name, "warning", "others than its service may use it, too", DEPLOY_AGAIN)
    return Check("roles", name, "problem", f"{service} may not use it", DEPLOY_AGAIN)


def _listed(principal: Any) -> list[str]:
    if not isinstance(principal, dict):
        return [str(principal)]
    return [name for given in principal.values() for name in (given if isinstance(given, list) else [given])]


def check_events(account: Account, stack: StackView) -> Iterator[Check]:
    """The bus on which the service tells what happens."""
    buses = stack.of("AWS::Events::EventBus")
    yield from missing("events", ["EventBus"], buses)
    for name, bus in buses.items():
        yield from looked_at("events", name, _bus, account, name, bus)


def _bus(account: Account, name: str, bus: str) -> Check:
    account.look("events", "describe_event_bus", Name=bus)
    return Check("events", name, "ok", "there")
