"""What does the work: functions, what calls them, the queues between them and the workflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from erasure_client.cli._doctor_account import Account, StackView
from erasure_client.cli._doctor_checks import DEPLOY_AGAIN, Check, GoneError, looked_at, missing

FUNCTIONS = (
    *("SubjectApi", "BackendApi", "StartJobs", "PlanJob", "EraseDynamodb", "EraseS3", "VerifyTarget", "CloseJob"),
    *("SlaWatch", "RetentionSweep"),
)
SCHEDULES: Mapping[str, str] = {"SlaWatchWatch": "SlaWatch", "RetentionSweepSweep": "RetentionSweep"}
"""Rules, and the functions that they call."""
LANES: Mapping[str, str] = {"InteractiveQueue": "the interactive lane", "BatchQueue": "the batch lane"}
"""Queues whose messages StartJobs is called with."""
DEAD_LETTERS = "DeadLetterQueue"
WORKFLOW = "ErasureJob"
API_FUNCTIONS = ("SubjectApi", "BackendApi")
RECENT = timedelta(days=1)
_PAGE = 100


def check_functions(account: Account, stack: StackView) -> Iterator[Check]:
    """Whether each could run if it were called."""
    functions = stack.of("AWS::Lambda::Function")
    yield from missing("functions", FUNCTIONS, functions)
    for name, function in functions.items():
        yield from looked_at("functions", name, _function, account, stack, name, function)
        yield from looked_at("functions", f"{name} concurrency", _concurrency, account, name, function)
    for name in (each for each in API_FUNCTIONS if each in functions):
        yield from looked_at("functions", f"{name} permission", _open_to_the_api, account, name, functions[name])


def _function(account: Account, stack: StackView, name: str, function: str) -> Check:
    found = account.look("lambda", "get_function_configuration", FunctionName=function)
    state, update = found.get("State"), found.get("LastUpdateStatus")
    role = stack.of("AWS::IAM::Role").get(f"{name}Role")
    if state == "Failed":
        return Check("functions", name, "problem", f"cannot run ({_code(found, 'StateReasonCode')})", DEPLOY_AGAIN)
    if update == "Failed":
        said = f"its last update failed ({_code(found, 'LastUpdateStatusReasonCode')})"
        return Check("functions", name, "problem", said, DEPLOY_AGAIN)
    if role is not None and not str(found.get("Role", "")).endswith(f"/{role}"):
        return Check("functions", name, "problem", "runs with a role that is not the stack's", DEPLOY_AGAIN)
    if state == "Pending" or update == "InProgress":
        return Check("functions", name, "warning", "is being updated", "Run it again in a minute.")
    if state == "Inactive":
        return Check("functions", name, "warning", "has not been called for weeks", "Its first call may fail once.")
    if state != "Active":
        return Check("functions", name, "unknown", "does not say in which state it is")
    return Check("functions", name, "ok", "active, last update good")


def _code(found: Mapping[str, Any], key: str) -> str:
    return str(found.get(key) or "no reason given")


def _concurrency(account: Account, name: str, function: str) -> Check:
    found = account.look("lambda", "get_function_concurrency", FunctionName=function)
    reserved = found.get("ReservedConcurrentExecutions")
    if reserved == 0:
        mend = f"`aws lambda delete-function-concurrency --function-name {function}`"
        said = "never called: its reserved concurrency is 0"
        return Check("functions", f"{name} concurrency", "problem", said, mend)
    said = "may run as often as is needed" if reserved is None else f"at most {reserved} at a time"
    return Check("functions", f"{name} concurrency", "ok", said)


def _open_to_the_api(account: Account, name: str, function: str) -> Check:
    if any(_allows(each, "apigateway.amazonaws.com") for each in _statements(account, function)):
        return Check("functions", f"{name} permission", "ok", "the API may call it")
    return Check("functions", f"{name} permission", "problem", "the API may not call it", DEPLOY_AGAIN)


def _statements(account: Account, function: str) -> list[Mapping[str, Any]]:
    policy = account.look_if_any("lambda", "get_policy", FunctionName=function).get("Policy", "{}")
    return list(json.loads(policy).get("Statement", []))


def _allows(statement: Mapping[str, Any], service: str, source_arn: str | None = None) -> bool:
    """Whether a statement of a function's own policy lets the service call it, for this source."""
    principal, conditions = statement.get("Principal"), statement.get("Condition", {})
    services = principal.get("Service") if isinstance(principal, dict) else principal
    if statement.get("Effect") != "Allow" or service not in (services if isinstance(services, list) else [services]):
        return False
    sources = [
        value
        for condition in conditions.values()
        for key, given in condition.items()
        if key.lower() == "aws:sourcearn"
        for value in (given if isinstance(given, list) else [given])
    ]
    return source_arn is None or not sources or any(fnmatchcase(source_arn, each) for each in sources)


def check_schedules(account: Account, stack: StackView) -> Iterator[Check]:
    """Whether the watch and the sweep are called: rules enabled, pointed at them, and allowed to."""
    rules, functions = stack.of("AWS::Events::Rule"), stack.of("AWS::Lambda::Function")
    yield from missing("schedules", SCHEDULES, rules)
    for name, function in SCHEDULES.items():
        if name in rules:
            called = functions.get(function, "")
            yield from looked_at("schedules", name, _schedule, account, name, rules[name], called)


def _schedule(account: Account, name: str, rule: str, function: str) -> Check:
    found = account.look("events", "describe_rule", Name=rule)
    if not str(found.get("State", "")).startswith("ENABLED"):
        return Check("schedules", name, "problem", "is switched off", f"`aws events enable-rule --name {rule}`")
    targets = account.look("events", "list_targets_by_rule", Rule=rule).get("Targets", [])
    if not function or not any(str(each.get("Arn", "")).endswith(f":function:{function}") for each in targets):
        return Check("schedules", name, "problem", "does not call its function", DEPLOY_AGAIN)
    if not any(_allows(each, "events.amazonaws.com", found.get("Arn")) for each in _statements(account, function)):
        return Check("schedules", name, "problem", "may not call its function", DEPLOY_AGAIN)
    return Check("schedules", name, "ok", f"enabled, {found.get('ScheduleExpression', 'without a rate')}")


def check_queues(account: Account, stack: StackView) -> Iterator[Check]:
    """The lanes lead to StartJobs, what cannot be started goes to the dead letters, and nothing lies there."""
    queues = stack.of("AWS::SQS::Queue")
    yield from missing("queues", (*LANES, DEAD_LETTERS), queues)
    for name in (each for each in LANES if each in queues):
        yield from looked_at("queues", name, _lane, account, queues, name)
        yield from looked_at("queues", f"{name} reader", _reader, account, stack, name)
    if DEAD_LETTERS in queues:
        yield from looked_at("queues", DEAD_LETTERS, _dead_letters, account, queues[DEAD_LETTERS])


def _attributes(account: Account, url: str) -> dict[str, str]:
    answer = account.look("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    return dict(answer["Attributes"])


def _lane(account: Account, queues: Mapping[str, str], name: str) -> Iterator[Check]:
    found = _attributes(account, queues[name])
    dead_letters = json.loads(found.get("RedrivePolicy", "{}")).get("deadLetterTargetArn", "")
    waiting, at_work = (int(found[f"ApproximateNumberOfMessages{which}"]) for which in ("", "NotVisible"))
    if not _is_queue(dead_letters, queues.get(DEAD_LETTERS, "")):
        said = "what cannot be started does not go to the dead letters: it is lost"
        yield Check("queues", name, "problem", said, DEPLOY_AGAIN)
    elif found.get("SqsManagedSseEnabled") != "true" and not found.get("KmsMasterKeyId"):
        yield Check("queues", name, "warning", "is not encrypted", DEPLOY_AGAIN)
    else:
        yield Check("queues", name, "ok", f"{waiting} waiting, {at_work} at work" if waiting or at_work else "empty")


def _is_queue(arn: object, url: str) -> bool:
    name = url.rstrip("/").rpartition("/")[2]
    return bool(name) and str(arn).rpartition(":")[2] == name


def _reader(account: Account, stack: StackView, queue: str) -> Check:
    function, url = stack.of("AWS::Lambda::Function").get("StartJobs"), stack.of("AWS::SQS::Queue")[queue]
    name = f"{queue} reader"
    if function is None:
        raise GoneError
    found = [
        each
        for each in account.pages("lambda", "list_event_source_mappings", "EventSourceMappings", FunctionName=function)
        if _is_queue(each.get("EventSourceArn"), url)
    ]
    if not found:
        return Check("queues", name, "problem", f"nobody reads {LANES[queue]}", DEPLOY_AGAIN)
    if any(each.get("State") == "Enabled" for each in found):
        if str(found[0].get("LastProcessingResult", "")).startswith("PROBLEM"):
            return Check("queues", name, "warning", "the last messages could not be handed over", _LOOK_AT_START_JOBS)
        return Check("queues", name, "ok", "enabled")
    if any(each.get("State") in ("Creating", "Enabling", "Updating") for each in found):
        return Check("queues", name, "warning", "is being changed", "Run it again in a minute.")
    mend = f"`aws lambda update-event-source-mapping --enabled --uuid {found[0].get('UUID')}`"
    return Check("queues", name, "problem", f"nobody reads {LANES[queue]}: it is switched off", mend)


_LOOK_AT_START_JOBS = "Look into the log of StartJobs."


def _dead_letters(account: Account, url: str) -> Check:
    found = _attributes(account, url)
    letters = sum(int(found[f"ApproximateNumberOfMessages{which}"]) for which in ("", "NotVisible", "Delayed"))
    if not letters:
        return Check("queues", DEAD_LETTERS, "ok", "empty")
    return Check(
        "queues",
        DEAD_LETTERS,
        "problem",
        f"{letters} {'message' if letters == 1 else 'messages'} that could not be started",
        "SlaWatch takes up within minutes what it can read. If they stay: operations guide, Dead letters.",
    )


def check_workflow(account: Account, stack: StackView) -> Iterator[Check]:
    """The state machine, and how its executions of the last day ended."""
    machines = stack.of("AWS::StepFunctions::StateMachine")
    yield from missing("workflow", [WORKFLOW], machines)
    if WORKFLOW in machines:
        arn = machines[WORKFLOW]
        yield from looked_at("workflow", WORKFLOW, _machine, account, stack, arn)
        yield from looked_at("workflow", "jobs of the last day", _recent_jobs, account, arn)


def _machine(account: Account, stack: StackView, arn: str) -> Iterable[Check]:
    found = account.look("stepfunctions", "describe_state_machine", stateMachineArn=arn)
    role = stack.of("AWS::IAM::Role").get(f"{WORKFLOW}Role")
    if found.get("status") != "ACTIVE":
        yield Check("workflow", WORKFLOW, "problem", f"is {found.get('status', 'gone').lower()}", DEPLOY_AGAIN)
    elif role is not None and not str(found.get("roleArn", "")).endswith(f"/{role}"):
        yield Check("workflow", WORKFLOW, "problem", "runs with a role that is not the stack's", DEPLOY_AGAIN)
    else:
        yield Check("workflow", WORKFLOW, "ok", "active")
    logging = found.get("loggingConfiguration", {})
    if logging.get("destinations") and logging.get("level") != "OFF":
        yield Check("workflow", f"{WORKFLOW} log", "ok", "writes what fails")
    elif stack.is_emulated:
        yield Check("workflow", f"{WORKFLOW} log", "skipped", "the emulator writes no log of a workflow")
    else:
        yield Check("workflow", f"{WORKFLOW} log", "warning", "writes no log", DEPLOY_AGAIN)


def _recent_jobs(account: Account, arn: str) -> Check:
    """Executions are listed newest first, so the first page has those of the last day, or is full of them."""
    since, ends = datetime.now(UTC) - RECENT, {}
    for status, word in (("FAILED", "failed"), ("TIMED_OUT", "timed out"), ("ABORTED", "aborted")):
        listed = account.look(
            "stepfunctions", "list_executions", stateMachineArn=arn, statusFilter=status, maxResults=_PAGE
        ).get("executions", [])
        ended = sum(each.get("stopDate", each["startDate"]) >= since for each in listed)
        if ended:
            ends[word] = f"{ended}{' or more' if ended == _PAGE else ''} {word}"
    if not ends:
        return Check("workflow", "jobs of the last day", "ok", "none failed")
    return Check(
        "workflow",
        "jobs of the last day",
        "warning",
        ", ".join(ends.values()),
        "SlaWatch sends their requests off again. Why they failed: operations guide, A job failed.",
    )
