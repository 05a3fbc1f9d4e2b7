"""Rules of AWS that the emulators do not enforce; each says where AWS states it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from erasure.adapters.events import EventBridgeBus
from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.domain.data_map_schema import MAX_REDACTED, MAX_TARGETS
from erasure.domain.holds import MAX_ALIASES, marks_of
from erasure.domain.identifiers import new_request_id
from erasure.domain.plan import passes_of_each
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.target_spec import RedactRule
from erasure.ports import Event, Hold
from erasure.services.start_jobs import JOB_REQUESTS
from erasure.targets.dynamodb_plan import ErasePlan, Match, Treatment
from erasure.targets.dynamodb_redact import make_redaction
from erasure.targets.dynamodb_verdict import judge
from tests.unit.translated_template import ROOT, of_type, resources, source, translated

ADAPTERS = sorted((ROOT / "layers" / "core" / "python" / "erasure" / "adapters").glob("*.py"))
AWS = resources()

# --- the template ------------------------------------------------------------------------------------------------


def test_a_queues_policy_covers_one_queue() -> None:
    """SQS: "Each policy must cover only a single queue" (developer guide, special information for SQS policies)."""
    for policy in of_type(AWS, "AWS::SQS::QueuePolicy").values():
        (queue,) = policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]:
            assert isinstance(statement["Resource"], str)
            assert statement["Resource"].endswith(f":{queue}")


def test_nothing_depends_on_what_may_not_be_there() -> None:
    """CloudFormation: DependsOn takes no functions, and a resource whose condition is false is unresolved (E3005)."""
    found = translated()["Resources"]
    for name, resource in found.items():
        listed = resource.get("DependsOn", [])
        for needed in [listed] if isinstance(listed, str) else listed:
            assert found[needed].get("Condition") in (None, resource.get("Condition")), f"{name} depends on {needed}"


def test_access_logs_wait_for_the_regions_role() -> None:
    """API Gateway refuses a stage with access logs while the region's settings have no role to write them with."""
    waits = source()["Resources"]["ApiLogs"]["Metadata"]["WaitsFor"]["Fn::If"]
    assert waits[:2] == ["SetsApiGatewayRole", {"Ref": "ApiGatewayAccount"}]
    assert translated()["Resources"]["ApiGatewayAccount"]["Condition"] == waits[0]
    (stage,) = of_type(translated()["Resources"], "AWS::ApiGateway::Stage").values()
    assert "${ApiLogs}" in stage["AccessLogSetting"]["DestinationArn"]["Fn::Sub"]


def test_names_fit_with_a_stack_name_of_48_characters() -> None:
    """Lambda: a function's name has 64 characters at most. Step Functions: a state machine's has 80."""
    written = [resource["Properties"] for resource in source()["Resources"].values()]
    functions = [properties["FunctionName"]["Fn::Sub"] for properties in written if "FunctionName" in properties]
    assert len(functions) == 10
    stack = "s" * 48
    assert max(len(name.replace("${AWS::StackName}", stack)) for name in functions) == 64
    machine = source()["Resources"]["ErasureJob"]["Properties"]["Name"]["Fn::Sub"]
    assert len(machine.replace("${AWS::StackName}", stack)) <= 80


def test_a_mapping_of_more_than_ten_messages_has_a_window() -> None:
    """Lambda: "when you set BatchSize to a value greater than 10, you must set MaximumBatchingWindowInSeconds to at
    least 1" (CreateEventSourceMapping)."""
    for window in ("0", "1", "300"):
        for mapping in of_type(resources({"BatchWindowSeconds": window}), "AWS::Lambda::EventSourceMapping").values():
            assert mapping["BatchSize"] <= 10 or int(mapping["MaximumBatchingWindowInSeconds"]) >= 1


def test_a_rate_of_one_is_singular() -> None:
    """EventBridge: "if the value is equal to 1, the unit must be singular", else plural (rate expressions)."""
    for minutes in range(1, source()["Parameters"]["SweepMinutes"]["MaxValue"] + 1):
        both = {"SweepMinutes": str(minutes), "WatchMinutes": str(minutes)}
        rules = of_type(resources(both), "AWS::Events::Rule").values()
        rate = f"rate({minutes} minute{'s' if minutes > 1 else ''})"
        assert [rule["ScheduleExpression"] for rule in rules] == [rate, rate]


@pytest.mark.parametrize(
    ("alarm", "metric", "minutes"),
    [("WatchSilentAlarm", "OpenRequests", "WatchMinutes"), ("SweepSilentAlarm", "RequestsPurged", "SweepMinutes")],
)
def test_silence_is_told_within_the_hour(alarm: str, metric: str, minutes: str) -> None:
    """CloudWatch looks further back than the periods of an alarm, and takes missing data to be breaching only if it
    finds none there either: hours late ("how alarm state is evaluated when data is missing"). Zeros that are filled in
    are data. A function that is called as rarely as may be, and fails every other time, is not silent."""
    looks, filled = AWS[alarm]["Properties"]["Metrics"]
    assert (looks["MetricStat"]["Metric"]["MetricName"], looks["MetricStat"]["Stat"]) == (metric, "SampleCount")
    assert (filled["Expression"], looks["ReturnData"]) == (f"FILL({looks['Id']}, 0)", False)
    told = AWS[alarm]["Properties"]
    assert (told["ComparisonOperator"], told["Threshold"]) == ("LessThanThreshold", 1)
    assert (told["EvaluationPeriods"], told["TreatMissingData"]) == (1, "breaching")
    period = looks["MetricStat"]["Period"]
    assert period == 3600
    assert 2 * 60 * source()["Parameters"][minutes]["MaxValue"] <= period


def test_a_dead_letter_that_is_looked_at_stays_an_alarm() -> None:
    """SQS does not count a message as visible while its receiver has it; the watch receives those that stay again and
    again."""
    told = AWS["DeadLettersAlarm"]["Properties"]
    counted = {query["Id"]: query["MetricStat"] for query in told["Metrics"] if "MetricStat" in query}
    (expression,) = (query["Expression"] for query in told["Metrics"] if "Expression" in query)
    assert set(expression.split(" + ")) == set(counted)
    assert {stat["Metric"]["MetricName"] for stat in counted.values()} == {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
    }
    queues = {dimension["Value"] for stat in counted.values() for dimension in stat["Metric"]["Dimensions"]}
    assert queues == {"DeadLetterQueue.QueueName"}


def test_an_index_is_keyed_by_attributes_that_are_defined() -> None:
    """DynamoDB: AttributeDefinitions names exactly the attributes that keys of the table or an index consist of."""
    for table in of_type(AWS, "AWS::DynamoDB::Table").values():
        schemas = [table["KeySchema"], *(index["KeySchema"] for index in table.get("GlobalSecondaryIndexes", []))]
        keys = {key["AttributeName"] for schema in schemas for key in schema}
        assert {definition["AttributeName"] for definition in table["AttributeDefinitions"]} == keys


def test_an_api_has_at_most_300_resources() -> None:
    """API Gateway: 300 resources for each API; every segment of a path is one."""
    (api,) = of_type(AWS, "AWS::ApiGateway::RestApi").values()
    parts = [path.strip("/").split("/") for path in api["Body"]["paths"]]
    assert len({tuple(segments[:end]) for segments in parts for end in range(1, len(segments) + 1)}) <= 300


@pytest.mark.parametrize("function", ["SubjectApi", "BackendApi"])
def test_a_functions_policy_has_room_for_its_routes(function: str) -> None:
    """Lambda: 20 KB for a function's resource-based policy, to which each route of SAM's adds a statement."""
    stack = "s" * 48
    permissions = [
        (name, permission)
        for name, permission in of_type(AWS, "AWS::Lambda::Permission").items()
        if permission["FunctionName"].rpartition(":")[2] == function
    ]
    assert permissions
    statements = [
        {
            "Sid": f"{stack}-{name}-ABCDEFGHIJKL",
            "Effect": "Allow",
            "Principal": {"Service": permission["Principal"]},
            "Action": permission["Action"],
            "Resource": f"arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:{stack}-subject-api",
            "Condition": {"ArnLike": {"AWS:SourceArn": permission["SourceArn"].replace("Api/", "a1b2c3d4e5/")}},
        }
        for name, permission in permissions
    ]
    assert len(json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements})) <= 20 * 1024


def test_a_stack_fits_into_cloudformation() -> None:
    """CloudFormation: 500 resources, 200 parameters and 200 outputs for each template, of at most 1 MB."""
    template = translated()
    assert len(template["Resources"]) <= 500
    assert len(template["Parameters"]) <= 200
    assert len(template["Outputs"]) <= 200
    assert len(json.dumps(template)) <= 1_000_000


def test_roles_are_named_by_cloudformation() -> None:
    """CloudFormation: a stack that names roles or policies of IAM itself needs CAPABILITY_NAMED_IAM, and cannot be
    there twice in an account; ours is deployed with CAPABILITY_IAM."""
    for kind, name in (("AWS::IAM::Role", "RoleName"), ("AWS::IAM::ManagedPolicy", "ManagedPolicyName")):
        found = of_type(translated()["Resources"], kind).values()
        assert found
        assert not any(name in properties for properties in found)
    assert 'capabilities = "CAPABILITY_IAM"' in (ROOT / "samconfig.toml").read_text(encoding="utf-8")


def test_an_event_bus_may_be_called_like_its_stack() -> None:
    """EventBridge: 256 characters of these for a bus's name. A stack's has 128 of the first two kinds."""
    (bus,) = of_type(AWS, "AWS::Events::EventBus").values()
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,256}", bus["Name"].replace("erasure", "s" * 128))
    assert "${AWS::StackName}" in source()["Resources"]["EventBus"]["Properties"]["Name"]["Fn::Sub"]


def test_a_tables_recovery_reaches_back_as_far_as_it_may() -> None:
    """DynamoDB: 1 to 35 days (RecoveryPeriodInDays of UpdateContinuousBackups)."""
    days = source()["Parameters"]["OwnBackupDays"]
    assert (days["MinValue"], days["MaxValue"]) == (1, 35)


@pytest.mark.parametrize("function", of_type(AWS, "AWS::Lambda::Function"))
def test_a_functions_variables_fit(function: str) -> None:
    """Lambda: 4 KB for all environment variables of a function, names included. With the longest stack name, and the
    addresses of an issuer that are as long as they may get."""
    address = "https://" + "a" * 250
    given = {"OidcIssuer": address, "OidcJwksUri": address, "TargetExternalId": "e" * 1224}
    variables = of_type(resources(given), "AWS::Lambda::Function")[function]["Environment"]["Variables"]
    # A name that CloudFormation makes has the stack's and fourteen characters more; a queue's is behind its address.
    made = 48 + 14 + len("https://sqs.us-gov-west-1.amazonaws.com/123456789012/")
    size = sum(len(name) + len(str(value)) for name, value in variables.items())
    assert size + made * sum(str(value).rpartition(":")[2] in AWS for value in variables.values()) <= 4096


@pytest.mark.parametrize("role", ["EraseDynamodbRole", "EraseS3Role", "VerifyTargetRole"])
def test_a_roles_policies_have_room_for_targets(role: str) -> None:
    """IAM: 10,240 characters for all inline policies of a role, white space not counted. 40 tables and 40 buckets with
    names of 24 characters, a key and 5 roles in other accounts fit, whatever the stack's name (docs/limits.md)."""
    parameters = {
        "TargetTables": ",".join(f"table-{number:018}" for number in range(40)),
        "TargetBuckets": ",".join(f"bucket-{number:017}" for number in range(40)),
        "TargetKeys": "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "TargetRoles": ",".join(f"arn:aws:iam::21098765432{number}:role/data-erasure" for number in range(5)),
    }
    policies = of_type(resources(parameters), "AWS::IAM::Role")[role]["Policies"]
    size = sum(len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) for policy in policies)
    names = 8 * 48  # the stack's, in the names of its tables, log groups and secret
    assert size + names <= 10_240


@pytest.mark.parametrize("role", of_type(AWS, "AWS::IAM::Role"))
def test_every_roles_policies_fit(role: str) -> None:
    """The same limit for the roles that have no targets."""
    policies = of_type(AWS, "AWS::IAM::Role")[role].get("Policies", [])
    size = sum(len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) for policy in policies)
    # Each resource is named by its stack, and made unique, which the translated template leaves out.
    resources_named = sum(json.dumps(policy["PolicyDocument"]).count("arn:aws:") for policy in policies)
    assert size + resources_named * (48 + 14) <= 10_240


# --- the state machine -------------------------------------------------------------------------------------------

HISTORY = 25_000
"""Events of an execution, its inline Map's included; at this number it fails ("avoid reaching the history quota")."""
TASK = ("StateEntered", "Scheduled", "Started", "Succeeded", "StateExited")
FAILED_ATTEMPT = ("Failed", "Scheduled", "Started")
OTHER_STATE = ("StateEntered", "StateExited")

INLINE_UNITS: int = source()["Parameters"]["InlineUnits"]["MaxValue"]
LOOP = ("Again", "Pause", "EraseAgain", "VerifyAgain")
LOOP_OF_MANY = ("AgainOfMany", "PauseOfMany", "EraseOfMany", "VerifyOfMany")


def events_of(names: tuple[str, ...]) -> int:
    """The events of a pass through these states, with two failed attempts."""
    states = workflow_states()
    events = sum(len(TASK) if states[name]["Type"] == "Task" else len(OTHER_STATE) for name in names)
    return events + 2 * len(FAILED_ATTEMPT)


@pytest.mark.parametrize("units", range(1, INLINE_UNITS + 1))
def test_a_job_closes_before_its_history_is_full(units: int) -> None:
    """All passes of all units, each with a pause and two failed attempts, leave room for planning and closing."""
    states = workflow_states()
    around = sum(
        len(TASK) + len(FAILED_ATTEMPT) * sum(retry["MaxAttempts"] for retry in states[name]["Retry"])
        for name in ("Plan", "Close")
    )
    maps = ("MapStateEntered", "MapStateStarted", "MapStateSucceeded", "MapStateExited")
    around += 2 * len(maps) + len(OTHER_STATE) + len(("ExecutionStarted", "ExecutionSucceeded"))
    # In both Maps, and once more the choice that ends it.
    each_unit = 2 * len(("MapIterationStarted", "MapIterationSucceeded")) + 2 * len(OTHER_STATE)
    assert around + units * (each_unit + passes_of_each(units) * events_of(LOOP)) < HISTORY


def test_a_unit_of_many_ends_before_its_history_is_full() -> None:
    """It has an execution of its own, and as many passes as the only unit of a job."""
    around = len(("ExecutionStarted", "ExecutionSucceeded", *OTHER_STATE))
    assert around + passes_of_each(1) * events_of(LOOP_OF_MANY) < HISTORY


def test_every_state_of_a_loop_is_counted() -> None:
    """The states that a pass goes through are the Map's, but for the two in which a unit ends."""
    for name, loop in (("EraseLeft", LOOP), ("EraseManyUnits", LOOP_OF_MANY)):
        states = workflow()["States"][name]["ItemProcessor"]["States"]
        ends = {state for state, body in states.items() if body["Type"] == "Succeed" or body.get("End")}
        assert len(ends) == 2
        assert set(loop) == set(states) - ends


PAYLOAD = 256 * 1024


def test_a_jobs_payload_fits() -> None:
    """Step Functions: 256 KiB for the input or output of a state. The units are in it twice after the first pass, with
    the ids of all requests; a unit that is worked on by levels names the function of each."""
    name = "f" * 64
    unit = {
        "job_id": "j" * 80,
        "unit": "linked-39",
        "level": 0,
        "eraser": name,
        "erasers": [name] * 20,
        "passes_left": 1200,
        "again": True,
        "wait": 300,
    }
    job = {
        "job_id": "j" * 80,
        "request_ids": [new_request_id()] * JOB_REQUESTS,
        "units": [unit] * INLINE_UNITS,
        "manifest": None,
        "first": {"units": [unit] * INLINE_UNITS, "again": json.dumps([True] * INLINE_UNITS)},
    }
    assert len(json.dumps(job)) < PAYLOAD


def workflow() -> dict[str, Any]:
    path = ROOT / "functions" / "erasure_job" / "workflow.asl.json"
    machine: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return machine


def workflow_states() -> dict[str, Any]:
    states = dict(workflow()["States"])
    for state in workflow()["States"].values():
        states |= state.get("ItemProcessor", {}).get("States", {})
    return states


def test_a_catch_all_stands_alone_and_last() -> None:
    """States Language: ``States.ALL`` must be alone in its list, and its retrier or catcher the last one."""
    lists = [state[kind] for state in workflow_states().values() for kind in ("Retry", "Catch") if kind in state]
    assert lists
    for rules in lists:
        assert [rule["ErrorEquals"] for rule in rules if "States.ALL" in rule["ErrorEquals"]] == [["States.ALL"]]
        assert rules[-1]["ErrorEquals"] == ["States.ALL"]


@pytest.mark.parametrize("name", ["Again", "AgainOfMany"])
def test_no_choice_looks_for_what_may_be_missing(name: str) -> None:
    """Step Functions: a comparison with a variable that is not there fails the execution, past every Catch. Rules are
    tried in their order; what And does after a condition that is false is written nowhere. A unit that gave up in its
    first slice has no ``wait``."""
    leave, pause = workflow_states()[name]["Choices"]
    assert leave == {"Not": {"Variable": "$.again", "BooleanEquals": True}, "Next": leave["Next"]}
    assert workflow_states()[leave["Next"]]["Type"] == "Succeed"
    assert pause["Variable"] == "$.wait"


def test_execution_names_are_taken() -> None:
    """StartExecution: up to 80 characters, and A-Z a-z 0-9 - _ are the ones that can also be logged."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", f"{new_request_id()}-{10**9}")


# --- DynamoDB's expressions --------------------------------------------------------------------------------------

RESERVED = {word.upper() for word in ReservedKeywords.get_reserved_keywords()}
_SIGNS_OF_AN_EXPRESSION = re.compile(
    r"(?:^|[ (])(?:SET|ADD|REMOVE) \S|\b(?:attribute_(?:not_)?exists|begins_with|contains)\(|[=<>] ?:\w| IN \("
)
_SYNTAX = {"SET", "ADD", "REMOVE", "AND", "OR", "NOT", "IN", "BETWEEN"}
_FUNCTIONS = {"attribute_exists", "attribute_not_exists", "begins_with", "contains", "size", "if_not_exists"}
_WORD = re.compile(r"[#:]?[A-Za-z_][A-Za-z0-9_]*")


def literals(tree: ast.AST) -> Iterator[str]:
    """Every text of a module that is no documentation; the fixed parts of a formatted one joined by a space."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield " ".join(part.value for part in node.values if isinstance(part, ast.Constant))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation | inner:
            yield node.value


def bare_names(text: str) -> set[str]:
    """Attribute names that an expression has without a placeholder; none if the text is no expression."""
    if not _SIGNS_OF_AN_EXPRESSION.search(text):
        return set()
    words = _WORD.findall(text)
    return {word for word in words if word[0] not in "#:" and word not in _SYNTAX | _FUNCTIONS}


@pytest.mark.parametrize("module", ADAPTERS, ids=lambda path: path.stem)
def test_expressions_name_no_reserved_word(module: Path) -> None:
    """DynamoDB refuses an expression with one of its 573 reserved words as an attribute's name."""
    names = set().union(*map(bare_names, literals(ast.parse(module.read_text(encoding="utf-8")))))
    assert {name for name in names if name.upper() in RESERVED} == set()


def test_attributes_of_requests_are_no_reserved_words() -> None:
    """Updates of a request are put together from the names of its attributes: all but `state` may stand as they are,
    and `family`, which is never changed."""
    attributes = {field.name for field in fields(ErasureRequest)} | {"clock_shard", "tenant_state", "subject_id"}
    assert {name for name in attributes if name.upper() in RESERVED} == {"state", "family"}


def test_the_search_for_reserved_words_finds_them() -> None:
    """The list is the whole one, expressions are recognised, and a reserved word in one of them is seen."""
    assert len(RESERVED) == 573
    names: set[str] = set()
    for module in ADAPTERS:
        names |= set().union(*map(bare_names, literals(ast.parse(module.read_text(encoding="utf-8")))))
    assert names >= {"pk", "sk", "expires_at", "clock_at", "running", "attempt", "closed_jobs", "version", "calls"}
    for bad in (
        "SET status = :s",
        "x = :y AND ttl > :z",
        "ADD count :n",
        "contains(state, :x)",
        "a = :b REMOVE region",
    ):
        assert {name.upper() for name in bare_names(bad)} & RESERVED, bad
    assert bare_names("the state of a request is in the table") == set()


def test_a_plans_expressions_use_placeholders_only() -> None:
    """A team's attributes may be called anything, reserved words included: none of their names is in an expression."""
    plan = ErasePlan("t", "i", False, ("status", "date"), (Match("user", "ann", False), Match("date", "2026#", True)))
    arguments: dict[str, Any] = plan.key_query()
    for name in ("KeyConditionExpression", "ProjectionExpression"):
        words = set(_WORD.findall(arguments[name])) - {"AND", "begins_with"}
        assert words
        assert all(word[0] in "#:" for word in words)


EXPRESSION = 4096


@pytest.mark.parametrize("absent", [0, 49])
def test_a_redaction_fits_into_an_expression(absent: int) -> None:
    """DynamoDB: 4 KB for an expression. As many paths as a target may have, of eight names each, with nothing in
    common, are redacted by one update, whether all of them lead to something or one."""
    paths = [tuple(f"name{number}_{depth}" for depth in range(8)) for number in range(MAX_REDACTED)]
    redaction = make_redaction([RedactRule(".".join(path), "null") for path in paths])
    matches = (Match("user", "ann", False), Match("kind", "profile", False))
    plan = ErasePlan("t", "i", False, ("pk", "sk"), matches, Treatment(redaction=redaction))
    item: dict[str, Any] = {name: {"S": name} for name in ("pk", "sk")} | {
        "user": {"S": "ann"},
        "kind": {"S": "profile"},
    }
    for number, (first, *within, last) in enumerate(paths):
        value: dict[str, Any] = {"M": {} if number < absent else {last: {"S": "x"}}}
        for name in reversed(within):
            value = {"M": {name: value}}
        item[first] = value
    verdict = judge(plan, item, datetime.now(UTC))
    assert verdict.operation == "update_item"
    assert verdict.arguments["UpdateExpression"].count(" = ") == MAX_REDACTED - absent
    assert len(verdict.arguments["UpdateExpression"]) <= EXPRESSION
    assert len(verdict.arguments["ConditionExpression"]) <= EXPRESSION


# --- what is written and sent by the clock ---------------------------------------------------------------------------

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class RecordingDynamoDB:
    """Takes every transaction, and finds the hold that was put last."""

    def __init__(self) -> None:
        self._hold: dict[str, Any] = {}
        self.transactions: list[list[dict[str, Any]]] = []

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self._hold}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        self.transactions.append(TransactItems)
        ((kind, action),) = TransactItems[0].items()
        if kind == "Put":
            self._hold = action["Item"]
        elif action.get("UpdateExpression") == "REMOVE stale":
            del self._hold["stale"]


def a_hold(aliases: int, until: datetime) -> Hold:
    subject = Subject("acme", "ann", "user")
    further = [f"alias {number} of {aliases}" for number in range(aliases)]
    return Hold(
        hold_id="lh_" + "0" * 26,
        tenant_id=subject.tenant_id,
        subject_type="user",
        subject_digest=subject_digest(b"key", subject),
        reason="r" * 500,
        author="a" * 200,
        set_at=NOW,
        key_id="key",
        until=until,
        aliases=aliases,
        marks=marks_of(b"key", subject, further),
    )


def test_a_holds_transactions_fit() -> None:
    """DynamoDB: 100 actions in a transaction, no two on one item. A hold with all the aliases that one may have is put,
    put in the place of one with as many others, and lifted."""
    client = RecordingDynamoDB()
    store = DynamoDBHoldStore(lambda: client, "Registry")
    first, other = a_hold(MAX_ALIASES, NOW), a_hold(MAX_ALIASES - 1, NOW + timedelta(days=1))
    assert len({*first.marks, *other.marks}) > 100, "at once they would not fit"
    assert store.put(first, None)
    assert store.put(other, first)
    assert store.lift(other)
    assert len(client.transactions) == 4, "what the first one has marked is taken away by one of its own"
    for actions in client.transactions:
        assert len(actions) <= 100
        keys = [action["Item"] if "Item" in action else action["Key"] for each in actions for action in each.values()]
        named = [(key["pk"]["S"], key["sk"]["S"]) for key in keys]
        assert len(set(named)) == len(named)


def test_a_watchs_events_fit() -> None:
    """EventBridge: a source that does not begin with "aws.", a detail-type of 128 characters, and 256 KB for the ten
    entries of a call, of which the largest tells of every target that a map may have."""
    sent: list[dict[str, Any]] = []

    class Client:
        def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            sent.extend(Entries)
            assert len(Entries) <= 10
            return {"FailedEntryCount": 0}

    targets = {"t" * 61 + f"{number:03}": "verification_incomplete" for number in range(MAX_TARGETS)}
    details = {"request_id": new_request_id(), "reason": "targets_failed", "targets": targets}
    events = [Event(f"{number}:parked:{'j' * 80}", "erasure.failed", NOW, details) for number in range(11)]
    EventBridgeBus(Client, "b" * 128).put(events)
    assert len(sent) == 11
    assert 10 * len(json.dumps(sent[0], default=str)) <= 256 * 1024
    assert not sent[0]["Source"].startswith("aws.")
    assert len(sent[0]["DetailType"]) <= 128
