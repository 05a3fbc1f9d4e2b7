"""What doctor sees of a stack, on an account that answers as a healthy one of the template does, but for one thing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import parliament
import pytest
from botocore.exceptions import NoCredentialsError

from erasure_client.cli._doctor_account import READS
from erasure_client.cli._doctor_aws import check_map, look_at_stack
from erasure_client.cli._doctor_checks import Check, exit_code
from tests.unit.client.cli.account_of_template import STACK, AccountOfTemplate

EMULATOR = "http://127.0.0.1:4566"
DENIED = [each for each in READS if each != ("cloudformation", "describe_stacks")]
Change = Callable[[dict[str, Any], Any], Any]


def seen(world: AccountOfTemplate) -> list[Check]:
    return look_at_stack(world.account, STACK)[1]


def not_well(checks: list[Check]) -> set[tuple[str, str, str]]:
    return {(check.area, check.name, check.status) for check in checks if check.status != "ok"}


def of_one(name: str, **changes: Any) -> Change:
    """Changed in the answer on the one that is called so."""

    def change(answer: dict[str, Any], asked: Any) -> Any:
        return {**answer, **changes} if f"the-{name}" in str(asked) else None

    return change


def within(name: str, *path: str, **changes: Any) -> Change:
    """The same, some levels down."""

    def change(answer: dict[str, Any], asked: Any) -> Any:
        if f"the-{name}" in str(asked):
            inner = answer
            for step in path:
                inner = inner[step]
            inner.update(changes)
        return answer

    return change


def alarm(name: str, **changes: Any) -> Change:
    def change(answer: dict[str, Any], _: Any) -> Any:
        for each in answer["MetricAlarms"]:
            if each["AlarmName"] == f"the-{name}":
                each.update(changes)

    return change


def lane(name: str, **changes: Any) -> Change:
    def change(answer: dict[str, Any], _: Any) -> Any:
        for each in answer["EventSourceMappings"]:
            if name in each["EventSourceArn"]:
                each.update(changes)

    return change


def no_lane(answer: dict[str, Any], _: Any) -> Any:
    return {"EventSourceMappings": answer["EventSourceMappings"][1:]}


def ended(at: datetime) -> Change:
    return lambda _, asked: {
        "executions": [{"startDate": at, "stopDate": at}] if asked["statusFilter"] == "FAILED" else []
    }


def stack_is(**changes: Any) -> Change:
    return lambda answer, _: answer["Stacks"][0].update(changes)


NOW = datetime.now(UTC)
A_MESSAGE = {"ApproximateNumberOfMessages": "1"}
HIDDEN = {"ApproximateNumberOfMessagesNotVisible": "1"}
TABLE, BACKUPS = ("dynamodb", "describe_table"), ("dynamodb", "describe_continuous_backups")
FUNCTION, QUEUE = ("lambda", "get_function_configuration"), ("sqs", "get_queue_attributes")
ALARMS, LANES = ("cloudwatch", "describe_alarms"), ("lambda", "list_event_source_mappings")
STACKS, MACHINE = ("cloudformation", "describe_stacks"), ("stepfunctions", "describe_state_machine")
SECRET, KEY = ("secretsmanager", "describe_secret"), ("kms", "describe_key")
RECOVERY = ("ContinuousBackupsDescription", "PointInTimeRecoveryDescription")
LAPSED = {"InaccessibleEncryptionDateTime": NOW, "Status": "ENABLED"}

BROKEN: dict[str, tuple[tuple[str, str], Change, str, str, str]] = {
    "a function that cannot run": (FUNCTION, of_one("PlanJob", State="Failed"), "functions", "PlanJob", "problem"),
    "an update that failed": (
        FUNCTION,
        of_one("PlanJob", LastUpdateStatus="Failed"),
        "functions",
        "PlanJob",
        "problem",
    ),
    "an update under way": (
        FUNCTION,
        of_one("PlanJob", LastUpdateStatus="InProgress"),
        "functions",
        "PlanJob",
        "warning",
    ),
    "another role": (FUNCTION, of_one("EraseS3", Role="arn:::role/admin"), "functions", "EraseS3", "problem"),
    "a state not told": (FUNCTION, of_one("EraseS3", State=None), "functions", "EraseS3", "unknown"),
    "a function switched off": (
        ("lambda", "get_function_concurrency"),
        of_one("SlaWatch", ReservedConcurrentExecutions=0),
        *("functions", "SlaWatch concurrency", "problem"),
    ),
    "a schedule switched off": (
        ("events", "describe_rule"),
        of_one("SlaWatchWatch", State="DISABLED"),
        *("schedules", "SlaWatchWatch", "problem"),
    ),
    "a schedule that calls nothing": (
        ("events", "list_targets_by_rule"),
        of_one("RetentionSweepSweep", Targets=[]),
        *("schedules", "RetentionSweepSweep", "problem"),
    ),
    "a schedule that may not call": (
        ("lambda", "get_policy"),
        of_one("SlaWatch", Policy=json.dumps({"Statement": []})),
        *("schedules", "SlaWatchWatch", "problem"),
    ),
    "an API that may not call": (
        ("lambda", "get_policy"),
        of_one("BackendApi", Policy=json.dumps({"Statement": []})),
        *("functions", "BackendApi permission", "problem"),
    ),
    "a lane switched off": (LANES, lane("BatchQueue", State="Disabled"), "queues", "BatchQueue reader", "problem"),
    "a lane without a reader": (LANES, no_lane, "queues", "InteractiveQueue reader", "problem"),
    "a lane being changed": (LANES, lane("BatchQueue", State="Updating"), "queues", "BatchQueue reader", "warning"),
    "a lane that fails": (
        LANES,
        lane("BatchQueue", LastProcessingResult="PROBLEM: function call failed"),
        *("queues", "BatchQueue reader", "warning"),
    ),
    "a dead letter": (
        QUEUE,
        within("DeadLetterQueue", "Attributes", **A_MESSAGE),
        *("queues", "DeadLetterQueue", "problem"),
    ),
    "a dead letter that is being looked at": (
        QUEUE,
        within("DeadLetterQueue", "Attributes", **HIDDEN),
        *("queues", "DeadLetterQueue", "problem"),
    ),
    "a lane without dead letters": (
        QUEUE,
        within("BatchQueue", "Attributes", RedrivePolicy="{}"),
        *("queues", "BatchQueue", "problem"),
    ),
    "a lane in clear": (
        QUEUE,
        within("BatchQueue", "Attributes", SqsManagedSseEnabled="false"),
        *("queues", "BatchQueue", "warning"),
    ),
    "a workflow that goes away": (
        MACHINE,
        of_one("ErasureJob", status="DELETING"),
        "workflow",
        "ErasureJob",
        "problem",
    ),
    "a workflow with another role": (
        MACHINE,
        of_one("ErasureJob", roleArn="arn:::role/admin"),
        *("workflow", "ErasureJob", "problem"),
    ),
    "a workflow without a log": (
        MACHINE,
        of_one("ErasureJob", loggingConfiguration={"level": "OFF"}),
        *("workflow", "ErasureJob log", "warning"),
    ),
    "a job that failed": (
        ("stepfunctions", "list_executions"),
        ended(NOW - timedelta(hours=23)),
        *("workflow", "jobs of the last day", "warning"),
    ),
    "a table that is not there yet": (
        TABLE,
        within("Audit", "Table", TableStatus="CREATING"),
        *("tables", "Audit", "problem"),
    ),
    "a table whose key is lost": (
        TABLE,
        within("Audit", "Table", SSEDescription=LAPSED),
        *("tables", "Audit", "problem"),
    ),
    "a table without an index": (
        TABLE,
        within("Requests", "Table", GlobalSecondaryIndexes=[{"IndexStatus": "CREATING"}]),
        *("tables", "Requests", "problem"),
    ),
    "a table that may be deleted": (
        TABLE,
        within("Registry", "Table", DeletionProtectionEnabled=False),
        *("tables", "Registry protection", "problem"),
    ),
    "a table with a key of AWS": (
        TABLE,
        within("Registry", "Table", SSEDescription={}),
        *("tables", "Registry encryption", "warning"),
    ),
    "a table without recovery": (
        BACKUPS,
        within("Audit", *RECOVERY, PointInTimeRecoveryStatus="DISABLED"),
        *("tables", "Audit recovery", "problem"),
    ),
    "backups that outlast the promise": (
        BACKUPS,
        within("Requests", *RECOVERY, RecoveryPeriodInDays=35),
        *("tables", "Requests recovery", "problem"),
    ),
    "a table that forgets nothing": (
        ("dynamodb", "describe_time_to_live"),
        within("DeleteIds", "TimeToLiveDescription", TimeToLiveStatus="DISABLED"),
        *("tables", "DeleteIds expiry", "problem"),
    ),
    "a secret that is to be deleted": (SECRET, of_one("DigestKey", DeletedDate=NOW), "storage", "DigestKey", "problem"),
    "a secret without a value": (SECRET, of_one("DigestKey", VersionIdsToStages={}), "storage", "DigestKey", "problem"),
    "a key that is switched off": (
        KEY,
        lambda _, __: {"KeyMetadata": {"KeyState": "Disabled"}},
        *("storage", "key 1 of TargetKeys", "problem"),
    ),
    "a bucket that could be opened": (
        ("s3", "get_public_access_block"),
        lambda _, __: {"PublicAccessBlockConfiguration": {"BlockPublicAcls": False}},
        *("storage", "ControlBucket public access", "warning"),
    ),
    "an alarm that rings": (ALARMS, alarm("OverdueAlarm", StateValue="ALARM"), "alarms", "OverdueAlarm", "problem"),
    "an alarm without data": (
        ALARMS,
        alarm("OverdueAlarm", StateValue="INSUFFICIENT_DATA"),
        *("alarms", "OverdueAlarm", "warning"),
    ),
    "an alarm that is silenced": (
        ALARMS,
        alarm("ParkedAlarm", ActionsEnabled=False),
        *("alarms", "ParkedAlarm", "problem"),
    ),
    "an alarm without an action": (ALARMS, alarm("ParkedAlarm", AlarmActions=[]), "alarms", "ParkedAlarm", "problem"),
    "an alarm that is gone": (ALARMS, alarm("ParkedAlarm", AlarmName="no"), "alarms", "ParkedAlarm", "problem"),
    "a topic that nobody reads": (
        ("sns", "get_topic_attributes"),
        lambda _, __: {"Attributes": {"SubscriptionsConfirmed": "0"}},
        *("alarms", "AlarmTopicArn", "problem"),
    ),
    "log lines for ever": (
        ("logs", "describe_log_groups"),
        lambda _, asked: "PlanJob" in str(asked) and {"logGroups": [{"logGroupName": asked["logGroupNamePrefix"]}]},
        *("logs", "PlanJobLogs", "warning"),
    ),
    "calls that are not logged": (
        ("apigateway", "get_stage"),
        lambda _, __: {"accessLogSettings": {}},
        *("logs", "Api", "warning"),
    ),
    "a role that others may use": (
        ("iam", "get_role"),
        within("EraseS3Role", "Role", AssumeRolePolicyDocument={"Statement": [{"Effect": "Allow", "Principal": "*"}]}),
        *("roles", "EraseS3Role", "problem"),
    ),
    "a deployment that failed": (STACKS, stack_is(StackStatus="UPDATE_ROLLBACK_FAILED"), "stack", "status", "problem"),
    "a deployment taken back": (STACKS, stack_is(StackStatus="UPDATE_ROLLBACK_COMPLETE"), "stack", "status", "warning"),
    "a deployment under way": (STACKS, stack_is(StackStatus="UPDATE_IN_PROGRESS"), "stack", "status", "warning"),
    "changes by hand": (
        STACKS,
        stack_is(DriftInformation={"StackDriftStatus": "DRIFTED"}),
        *("stack", "drift", "warning"),
    ),
}


def test_a_healthy_stack_is_well() -> None:
    """A stack as the template makes it, with all that works, has nothing to tell of; so doctor knows the template's
    functions, schedules, lanes, tables and alarms."""
    checks = seen(AccountOfTemplate())
    assert not_well(checks) == set()
    assert {check.area for check in checks} >= {"functions", "schedules", "queues", "tables", "alarms", "roles"}
    assert exit_code(checks) == 0


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_seen_and_nothing_else(case: str) -> None:
    """Each thing that would wake somebody is told once, under its name in the template, with what to do."""
    operation, change, *expected = BROKEN[case]
    world = AccountOfTemplate()
    world.change(*operation, change)
    checks = seen(world)
    assert not_well(checks) == {tuple(expected)}
    (found,) = [check for check in checks if check.status != "ok"]
    assert found.next or found.status == "unknown"
    assert exit_code(checks) == (1 if found.status == "problem" else 0)


@pytest.mark.parametrize(
    "name",
    [
        *("SlaWatchWatch", "StartJobs", "DeadLetterQueue", "Audit", "ErasureJob", "ControlBucket", "DigestKey"),
        *("WatchSilentAlarm", "OverdueAlarm", "EventBus"),
    ],
)
def test_what_the_stack_lacks_is_a_problem(name: str) -> None:
    """A stack that was deployed without something that this version has is not well."""
    world = AccountOfTemplate()
    world.remove(name)
    assert name in {check.name for check in seen(world) if check.status == "problem"}


@pytest.mark.parametrize(
    ("operation", "code", "name"),
    [
        (("lambda", "get_function_configuration"), "ResourceNotFoundException", "PlanJob"),
        (("events", "describe_rule"), "ResourceNotFoundException", "SlaWatchWatch"),
        (("sqs", "get_queue_attributes"), "AWS.SimpleQueueService.NonExistentQueue", "BatchQueue"),
        (("dynamodb", "describe_table"), "ResourceNotFoundException", "Audit"),
        (("s3", "get_bucket_versioning"), "NoSuchBucket", "ControlBucket"),
        (("iam", "get_role"), "NoSuchEntity", "EraseS3Role"),
        (("secretsmanager", "describe_secret"), "ResourceNotFoundException", "DigestKey"),
        (("stepfunctions", "describe_state_machine"), "StateMachineDoesNotExist", "ErasureJob"),
        (("kms", "describe_key"), "NotFoundException", "key 1 of TargetKeys"),
        (("sns", "get_topic_attributes"), "NotFound", "AlarmTopicArn"),
    ],
)
def test_what_is_gone_is_a_problem(operation: tuple[str, str], code: str, name: str) -> None:
    """What the stack lists and somebody has deleted is told as gone."""
    world = AccountOfTemplate()
    world.refuse(*operation, code)
    assert (name, "problem") in {(check.name, check.status) for check in seen(world)}


@pytest.mark.parametrize("operation", DENIED, ids=".".join)
def test_without_a_permission_the_rest_is_looked_at(operation: tuple[str, str]) -> None:
    """A refused call is told as unknown, with the permission that it takes, and is never taken for a problem."""
    world = AccountOfTemplate()
    world.refuse(*operation, "AccessDeniedException")
    checks = seen(world)
    others = [check for check in checks if check.status != "unknown"]
    unknown = [check for check in checks if check.status == "unknown"]
    assert unknown
    assert all(READS[operation] in check.said and READS[operation] in check.next for check in unknown)
    assert {check.status for check in others} == {"ok"}
    assert exit_code(checks) == 0


def test_without_any_permission_nothing_is_called_well() -> None:
    """Who may look at nothing is told so, and does not get the exit code of health."""
    world = AccountOfTemplate()
    for operation in READS:
        world.refuse(*operation, "AccessDenied")
    checks = seen(world)
    assert {check.status for check in checks} == {"unknown"}
    assert exit_code(checks) == 1


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_bad_credentials_are_told_as_such(code: str) -> None:
    """Credentials that AWS does not take are one problem, not one for each thing."""
    world = AccountOfTemplate()
    world.refuse("cloudformation", "describe_stacks", code)
    (check,) = seen(world)
    assert (check.status, "sso login" in check.next) == ("problem", True)


def test_no_credentials_are_told_as_such() -> None:
    """Without credentials there is one problem, with what to do."""
    world = AccountOfTemplate()

    def fail(answer: dict[str, Any], asked: Any) -> Any:
        raise NoCredentialsError

    world.change("cloudformation", "describe_stacks", fail)
    (check,) = seen(world)
    assert (check.status, check.said) == ("problem", "there are no AWS credentials here")


def test_a_stack_that_is_not_there_is_told() -> None:
    """A wrong name or region is said, whatever CloudFormation calls it."""
    world = AccountOfTemplate()
    world.refuse("cloudformation", "describe_stacks", "ValidationError")
    (check,) = seen(world)
    assert (check.status, "--region" in check.next) == ("problem", True)


def test_an_answer_that_cannot_be_read_ends_nothing() -> None:
    """An answer without what is expected makes one thing unknown; the others are looked at."""
    world = AccountOfTemplate()
    world.change("dynamodb", "describe_table", lambda _, __: {"Tables": []})
    checks = seen(world)
    assert not_well(checks) == {("tables", name, "unknown") for name in ("Requests", "Registry", "Audit", "DeleteIds")}


def test_jobs_of_other_days_are_no_news() -> None:
    """A job that failed more than a day ago is not told."""
    world = AccountOfTemplate()
    world.change("stepfunctions", "list_executions", ended(NOW - timedelta(hours=25)))
    assert not_well(seen(world)) == set()


def test_alarms_that_tell_nobody_are_told_once() -> None:
    """Without a topic there is one warning, not one for each alarm."""
    checks = seen(AccountOfTemplate(AlarmTopicArn=""))
    assert not_well(checks) == {("alarms", "AlarmTopicArn", "warning")}


def test_what_an_emulator_lacks_is_not_called_well() -> None:
    """What the emulator drops is told as skipped, with that reason; what it keeps is looked at as anywhere."""
    world = AccountOfTemplate(EMULATOR, IsLocal="true", AlarmTopicArn="")
    world.change("dynamodb", "describe_table", lambda _, __: {"Table": {"TableStatus": "ACTIVE"}})
    world.change("cloudwatch", "describe_alarms", alarm("OverdueAlarm", StateValue="INSUFFICIENT_DATA"))
    world.change("s3", "get_bucket_lifecycle_configuration", lambda _, __: {"Rules": []})
    world.change("sqs", "get_queue_attributes", within("DeadLetterQueue", "Attributes", **A_MESSAGE))
    found = {(check.name, check.status): check.said for check in seen(world) if check.status != "ok"}
    assert ("DeadLetterQueue", "problem") in found
    assert found["OverdueAlarm", "skipped"] == "the emulator evaluates no alarms"
    assert found["Audit encryption", "skipped"] == "the emulator keeps no encryption of tables"
    assert "emulator" in found["ControlBucket lifecycle", "skipped"]
    assert {status for _, status in found} == {"problem", "skipped"}


def test_a_local_stack_on_aws_is_a_problem() -> None:
    """IsLocal leaves protection out, and is told wherever it is AWS that answers."""
    assert ("stack", "IsLocal", "problem") in not_well(seen(AccountOfTemplate(IsLocal="true")))


def test_defaults_that_let_nothing_happen_are_told() -> None:
    """No issuer and no targets are what a first deployment forgets."""
    world = AccountOfTemplate(OidcIssuer="https://issuer.invalid", TargetTables="erasure-no-table-yet")
    assert not_well(seen(world)) == {("stack", "OidcIssuer", "warning"), ("stack", "TargetTables", "warning")}


def test_it_only_reads() -> None:
    """All that is called describes, gets or lists, and nothing of it opens what is kept: no item, object, message or
    secret; and all of it is in the list of permissions."""
    world = AccountOfTemplate()
    seen(world)
    assert set(world.calls) == set(READS)
    assert all(re.match("(describe|get|list)_", operation) for _, operation in READS)
    assert not {operation for _, operation in READS} & {"get_item", "get_object", "get_secret_value", "get_records"}


def test_a_call_that_is_not_listed_is_not_made() -> None:
    """The one way to the account refuses whatever is not in the list."""
    world = AccountOfTemplate()
    with pytest.raises(KeyError):
        world.account.look("dynamodb", "delete_table", TableName="any")
    assert world.calls == []


def test_the_permissions_are_ones_that_iam_knows() -> None:
    """What doctor says is missing can be put into a policy: parliament knows every action."""
    statement = {"Effect": "Allow", "Action": sorted(set(READS.values())), "Resource": "*"}
    analysis = parliament.analyze_policy_string(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    # Many of them have no resource to name.
    assert {finding.issue for finding in analysis.findings} <= {"RESOURCE_STAR"}


@pytest.mark.parametrize("code", ["AccessDenied", "ResourceNotFoundException", "InternalError"])
def test_no_name_of_a_table_or_bucket_is_told(code: str) -> None:
    """Whatever goes wrong: neither the service's tables and bucket nor the customer's are named, and AWS's own text,
    which names them, is not passed on."""
    world = AccountOfTemplate()
    for operation in READS:
        if operation[0] != "cloudformation":
            world.refuse(*operation, code)
    checks = [*seen(world), *check_map({"targets": [{"name": "t", "dynamodb": {"table": "secret-table"}}]}, stack_of())]
    told = json.dumps([check.document() for check in checks])
    tables = [f"the-{name}" for name in ("Requests", "Registry", "Audit", "DeleteIds", "ControlBucket")]
    assert not [name for name in (*tables, "their-", "secret-table", "secret name") if name in told]


def stack_of(**parameters: str) -> Any:
    return look_at_stack(AccountOfTemplate(**parameters).account, STACK)[0]


def test_a_map_is_held_against_the_parameters() -> None:
    """A target in a table, a bucket or another account that the erasers do not reach is a problem of its own; what they
    reach without need is a warning."""
    role = "arn:aws:iam::210987654321:role/theirs"
    targets = [
        {"name": "notes", "dynamodb": {"table": "their-table"}},
        {"name": "files", "s3": {"bucket": "their-bucket"}},
        {"name": "partner", "role_arn": role, "s3": {"bucket": "elsewhere"}},
    ]
    assert [check.status for check in check_map({"targets": targets[:2]}, stack_of(TargetTables="their-table"))] == [
        "ok"
    ]
    checks = list(check_map({"targets": targets}, stack_of(TargetBuckets="another")))
    assert [(check.name, check.status) for check in checks] == [
        ("files", "problem"),
        ("partner", "problem"),
        ("reach", "warning"),
    ]
    assert checks[-1].said.endswith("1 of TargetTables, 1 of TargetBuckets")
    assert [check.status for check in check_map({"targets": targets}, stack_of(TargetRoles=role))] == ["ok", "warning"]
