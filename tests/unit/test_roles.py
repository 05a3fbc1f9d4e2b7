"""What each role of the template may and may not do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import parliament
import pytest

from erasure.domain.permissions import ERASE, VERIFY, Place, grants
from erasure.domain.target_spec import DetachRule, DynamoDBRule, KeyRule, S3Rule, TargetSpec
from tests.unit.translated_template import of_type, resources, statements

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::210987654321:role/data/erasure"
PARAMETERS = {
    "TargetTables": "app-accounts,app-sessions",
    "TargetBuckets": "app-documents,app-avatars",
    "TargetKeys": KEY,
    "TargetRoles": ROLE,
}
ROLES: dict[str, Any] = of_type(resources(PARAMETERS), "AWS::IAM::Role")
FUNCTION_ROLES = sorted(
    function["Role"].rpartition("/")[2] for function in of_type(resources(PARAMETERS), "AWS::Lambda::Function").values()
)
ERASERS = ("EraseDynamodbRole", "EraseS3Role")
MANIFESTS = "arn:aws:s3:::ControlBucket/manifests/*"
AUDIT = "arn:aws:dynamodb:eu-west-1:123456789012:table/Audit"
REGISTRY = "arn:aws:dynamodb:eu-west-1:123456789012:table/Registry"
TARGETS = (
    "arn:aws:dynamodb:eu-west-1:123456789012:table/app-accounts",
    "arn:aws:dynamodb:eu-west-1:123456789012:table/app-sessions/index/by-user",
    "arn:aws:s3:::app-documents",
    "arn:aws:s3:::app-avatars/acme/ann/1.png",
)
OURS = tuple(f"arn:aws:dynamodb:eu-west-1:123456789012:table/{name}" for name in ("DeleteIds", "Requests", "Registry"))


def allowed(role: str, resource: str) -> set[str]:
    """Actions that the role's own policies allow on the resource, conditions left aside."""
    return {
        action
        for statement in statements(ROLES[role])
        if any(fnmatchcase(resource, pattern) for pattern in statement["Resource"] if pattern != "*")
        for action in statement["Action"]
    }


def actions(names: Iterable[str], prefix: str) -> set[str]:
    return {f"{prefix}:{name}" for name in names}


@pytest.mark.parametrize("name", ROLES)
def test_every_policy_is_sound(name: str) -> None:
    """parliament finds no unknown action, no action that does not fit its resource, and nothing malformed."""
    for policy in ROLES[name].get("Policies", []):
        analysis = parliament.analyze_policy_string(json.dumps(policy["PolicyDocument"]))
        findings = [str(finding) for finding in analysis.findings if not is_about_express(finding)]
        assert findings == []


def is_about_express(finding: Any) -> bool:
    """parliament believes that DescribeExecution needs an express execution beside a standard one."""
    mismatch = {"action": "states:DescribeExecution", "required_format": "arn:*:states:*:*:express:*:*:*"}
    return bool(finding.detail == [mismatch])


def test_parliament_would_object() -> None:
    """The check above can fail: an action that does not exist is found."""
    statement = {"Effect": "Allow", "Action": "dynamodb:EraseItem", "Resource": AUDIT}
    analysis = parliament.analyze_policy_string(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert analysis.findings


@pytest.mark.parametrize("name", FUNCTION_ROLES)
def test_functions_name_their_resources(name: str) -> None:
    """No function's role allows an action, or all actions of a service, on everything."""
    for statement in statements(ROLES[name]):
        assert "*" not in statement["Resource"]
        assert not any("*" in action for action in statement["Action"])


def test_only_telemetry_has_no_resource() -> None:
    """What is allowed on "*" is only what has no ARN: traces, sampling rules and log deliveries."""
    found = resources(PARAMETERS)
    policies = [s for role in ROLES.values() for s in statements(role)]
    for policy in of_type(found, "AWS::IAM::ManagedPolicy").values():
        policies += statements({"Policies": [policy]})
    everywhere = {action for s in policies if "*" in s["Resource"] for action in s["Action"]}
    assert {action.split(":")[0] for action in everywhere} == {"xray", "logs"}
    assert not {"logs:PutLogEvents", "logs:CreateLogStream", "logs:CreateLogGroup"} & everywhere


def test_each_function_has_its_own_role() -> None:
    """Ten functions, ten roles, none shared."""
    assert len(FUNCTION_ROLES) == len(set(FUNCTION_ROLES)) == 10


@pytest.mark.parametrize("name", FUNCTION_ROLES)
def test_logs_go_to_the_functions_own_group(name: str) -> None:
    """A role may write into one log group, its function's."""
    own = f"arn:aws:logs:eu-west-1:123456789012:log-group:{name.removesuffix('Role')}Logs:*"
    groups = {r for s in statements(ROLES[name]) for r in s["Resource"] if r.startswith("arn:aws:logs:")}
    assert groups == {own}


@pytest.mark.parametrize("name", sorted(set(ROLES) - {*ERASERS, "VerifyTargetRole"}))
@pytest.mark.parametrize("target", TARGETS)
def test_others_cannot_touch_targets(name: str, target: str) -> None:
    """API, planning, starting and closing functions, and the state machine, have no action on anybody's data."""
    assert allowed(name, target) == set()


@pytest.mark.parametrize("target", TARGETS)
def test_verifier_only_reads(target: str) -> None:
    """The verifier cannot write or open an object; of an object it may ask how long it is locked."""
    reading = actions(["DescribeTable", "Query", "Scan", "GetItem", "BatchGetItem"], "dynamodb")
    listing = actions(["ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"], "s3")
    locks = actions(["GetObjectRetention", "GetObjectLegalHold"], "s3")
    assert allowed("VerifyTargetRole", target) <= reading | listing | locks


def test_verifier_can_see_everything_that_is_erased() -> None:
    """Whatever an eraser reaches, the verifier can list or query: tables, indexes, versions and uploads."""
    table, index, bucket, _object = TARGETS
    assert allowed("VerifyTargetRole", table) >= actions(["DescribeTable", "Query", "GetItem"], "dynamodb")
    assert allowed("VerifyTargetRole", index) == {"dynamodb:Query"}
    assert allowed("VerifyTargetRole", bucket) >= actions(["ListBucketVersions", "ListBucketMultipartUploads"], "s3")


def test_erasers_reach_exactly_the_lists() -> None:
    """The erasers' ARNs are those of the template's lists, for tables, their indexes, buckets and objects."""
    table_arns, other_tables = (
        {r for s in statements(ROLES[name]) for r in s["Resource"] if "/app-" in r} for name in ERASERS
    )
    listed_buckets, bucket_arns = (
        {r for s in statements(ROLES[name]) for r in s["Resource"] if ":::" in r} for name in ERASERS
    )
    names = ("app-accounts", "app-sessions")
    tables = {f"arn:*:dynamodb:*:*:table/{name}{tail}" for name in names for tail in ("", "/index/*")}
    assert table_arns == other_tables == tables
    names = ("app-documents", "app-avatars")
    assert bucket_arns == {f"arn:*:s3:::{name}{tail}" for name in names for tail in ("", "/*")}
    assert listed_buckets == {f"arn:*:s3:::{name}{tail}" for name in names for tail in ("", "/*")}


@pytest.mark.parametrize("name", [*ERASERS, "VerifyTargetRole"])
def test_wildcard_arns_are_pinned_to_the_account(name: str) -> None:
    """Where partition, region or account is a wildcard, a condition pins the stack's own."""
    for statement in statements(ROLES[name]):
        if any(resource.startswith("arn:*:") for resource in statement["Resource"]):
            expected = {"aws:ResourceAccount": "123456789012"}
            if any(":dynamodb:" in resource for resource in statement["Resource"]):
                expected["aws:RequestedRegion"] = "eu-west-1"
            assert statement["Condition"] == {"StringEquals": expected}


def test_keys_of_tables_are_used_through_dynamodb_only() -> None:
    """DynamoDB decrypts in its caller's name: erasers and verifier may use the keys that are given, through it alone;
    who writes no items may only decrypt."""
    using = {
        name: statement
        for name, role in ROLES.items()
        for statement in statements(role)
        if any(action.startswith("kms:") for action in statement["Action"])
    }
    assert set(using) == {*ERASERS, "VerifyTargetRole"}
    for statement in using.values():
        assert statement["Resource"] == [KEY]
        assert statement["Condition"] == {"StringLike": {"kms:ViaService": "dynamodb.*"}}
    for name in ("EraseS3Role", "VerifyTargetRole"):
        assert using[name]["Action"] == ["kms:Decrypt", "kms:DescribeKey"]
    without = of_type(resources(), "AWS::IAM::Role")
    assert "kms:" not in json.dumps(without)


def test_roles_are_assumed_by_who_works_on_targets() -> None:
    """Erasers and the verifier may assume the roles that are given and no other; without any, nobody may."""
    assumed = {
        name: statement["Resource"]
        for name, role in ROLES.items()
        for statement in statements(role)
        if any(action.startswith("sts:") for action in statement["Action"])
    }
    assert assumed == {name: [ROLE] for name in (*ERASERS, "VerifyTargetRole")}
    for role in of_type(resources(), "AWS::IAM::Role").values():
        assert not any(action.startswith("sts:") for s in statements(role) for action in s["Action"])


ACCOUNTS = KeyRule("pk", "{user_id}")
SCANNED = TargetSpec("scanned", "content", dynamodb=DynamoDBRule("app-accounts", ACCOUNTS, scan=True))
FILES = TargetSpec("files", "content", s3=S3Rule("app-documents", prefix="{user_id}/"))


@pytest.mark.parametrize(
    ("spec", "role", "purpose"),
    [
        (TargetSpec("deleted", "content", dynamodb=DynamoDBRule("app-accounts", ACCOUNTS)), ERASERS[0], ERASE),
        (
            TargetSpec(
                "detached",
                "content",
                dynamodb=DynamoDBRule("app-accounts", ACCOUNTS, index="by-user"),
                detach=DetachRule("members"),
            ),
            ERASERS[0],
            ERASE,
        ),
        (SCANNED, ERASERS[0], ERASE),
        (SCANNED, "VerifyTargetRole", VERIFY),
        (FILES, ERASERS[1], ERASE),
        (FILES, "VerifyTargetRole", VERIFY),
    ],
)
def test_roles_have_what_their_targets_need(spec: TargetSpec, role: str, purpose: str) -> None:
    """What a target's action needs, by the list that `data-map check` and other accounts' sessions go by, the
    template's role allows."""
    for grant in grants(spec, purpose, Place("aws", "eu-west-1", "123456789012")):
        for resource in grant.resources:
            assert set(grant.actions) <= allowed(role, resource)


def test_an_eraser_has_one_kind() -> None:
    """The eraser of tables changes nothing in buckets, nor the eraser of buckets in tables: each may only look there,
    where an item of a table leads to objects of a bucket."""
    listing = actions(["ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"], "s3")
    assert allowed("EraseDynamodbRole", TARGETS[2]) == listing
    locks = actions(["GetObjectRetention", "GetObjectLegalHold"], "s3")
    assert allowed("EraseDynamodbRole", TARGETS[3]) == locks
    reading = actions(["DescribeTable", "Query", "GetItem", "BatchGetItem"], "dynamodb")
    assert allowed("EraseS3Role", TARGETS[0]) == reading
    assert allowed("EraseS3Role", TARGETS[1]) == {"dynamodb:Query"}


def test_nobody_opens_an_object() -> None:
    """No object of anybody's is ever opened; the one that is read is the manifest, by the state machine alone. No items
    are selected by statements."""
    everything = [(name, s) for name, role in ROLES.items() for s in statements(role)]
    opening = {"s3:GetObject", "s3:GetObjectVersion", "dynamodb:PartiQLSelect"}
    found = {(name, action, *s["Resource"]) for name, s in everything for action in opening & set(s["Action"])}
    assert found == {("ErasureJobRole", "s3:GetObject", MANIFESTS)}


def test_tables_are_scanned_by_who_erases_and_who_verifies_items() -> None:
    """No other role may read a table from end to end, and no role an index or one of the service's own tables."""
    scanning = {
        (name, resource)
        for name, role in ROLES.items()
        for s in statements(role)
        if "dynamodb:Scan" in s["Action"]
        for resource in s["Resource"]
    }
    tables = {f"arn:*:dynamodb:*:*:table/{name}" for name in ("app-accounts", "app-sessions")}
    assert scanning == {(name, table) for name in ("EraseDynamodbRole", "VerifyTargetRole") for table in tables}


def test_the_control_bucket_has_manifests_only() -> None:
    """Planning writes a job's units there, the state machine reads them; no other role reaches the bucket."""
    found = {
        (name, *sorted(s["Action"]), resource)
        for name, role in ROLES.items()
        for s in statements(role)
        for resource in s["Resource"]
        if "ControlBucket" in resource
    }
    assert found == {
        ("PlanJobRole", "s3:PutObject", MANIFESTS),
        ("ErasureJobRole", "s3:GetObject", MANIFESTS),
    }


@pytest.mark.parametrize("name", ROLES)
def test_audit_is_append_only(name: str) -> None:
    """No role can change or remove an audit entry, one by one or in a batch."""
    assert allowed(name, AUDIT) <= actions(["PutItem", "Query"], "dynamodb")


@pytest.mark.parametrize("name", ERASERS)
def test_erasers_cannot_read_registry_or_audit(name: str) -> None:
    """Erasers know the requests table and their targets; of the rest of the service, the marks of legal holds."""
    assert allowed(name, AUDIT) == allowed(name, OURS[0]) == set()
    assert leading_keys(name, REGISTRY) == {"BatchGetItem": {"HELD#*"}}


def leading_keys(name: str, table: str) -> dict[str, set[str] | None]:
    """What the role may do on the table, and with which partition keys; ``None``: with any."""
    found: dict[str, set[str] | None] = {}
    for statement in statements(ROLES[name]):
        if table in statement["Resource"]:
            condition = statement.get("Condition")
            keys = set(condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]) if condition else None
            for action in statement["Action"]:
                assert action not in found, f"{action} is allowed twice"
                found[action.removeprefix("dynamodb:")] = keys
    return found


@pytest.mark.parametrize("name", ROLES)
def test_service_records_are_not_deleted(name: str) -> None:
    """Of the service's own tables, requests, jobs, keys and the data map are never deleted: only what says that a
    request waits, what stands of a subject, and a key given up; a batch, which can delete too, is for tasks only."""
    found = {
        (action, table.rpartition("/")[2], key)
        for table in OURS
        for action, keys in leading_keys(name, table).items()
        if action in {"DeleteItem", "PartiQLDelete", "BatchWriteItem"}
        for key in keys or {"*"}
    }
    tasks = ("BatchWriteItem", "Requests", "JOB#*")
    waiting = ("DeleteItem", "Requests", "WAITING#*")
    holds = {("DeleteItem", "Registry", key) for key in ("HOLDS#*", "HOLD_ENDS")}
    assert found == {
        "PlanJobRole": {tasks, waiting},
        "BackendApiRole": {
            *(tasks, waiting, *holds),
            *(("DeleteItem", "Registry", key) for key in ("SUBJECT#*", "SUPPRESSION#*", "IDEMPOTENCY#*")),
        },
        "RetentionSweepRole": {waiting, ("DeleteItem", "Registry", "RETENTION")},
        "SlaWatchRole": {waiting, *holds},
        "CloseJobRole": {waiting},
    }.get(name, set())


def test_api_writes_only_idempotency_records() -> None:
    """Of the registry, the API function can write idempotency records only, and read those and the data map."""
    assert leading_keys("SubjectApiRole", REGISTRY) == {
        "BatchGetItem": {"HELD#*"},
        "PutItem": {"IDEMPOTENCY#*"},
        "GetItem": {"IDEMPOTENCY#*", "DATA_MAP"},
    }


def test_backend_api_reaches_the_registry_by_kind_of_record() -> None:
    """Every kind of the registry's records is named; calls are only counted, keys are never deleted."""
    assert leading_keys("BackendApiRole", REGISTRY) == {
        "GetItem": {"KEY#*", "SUBJECT#*", "SUPPRESSION#*", "IDEMPOTENCY#*", "DATA_MAP", "TENANT#*", "HOLDS#*"},
        "BatchGetItem": {"KEY#*", "SUBJECT#*", "HELD#*"},
        "Query": {"KEYS#*", "SUBJECT#*", "SUPPRESSION#*", "HOLDS#*", "RETENTION"},
        "PutItem": {"KEY#*", "KEYS#*", "SUBJECT#*", "IDEMPOTENCY#*", "DATA_MAP", "HOLDS#*", "HOLD_ENDS"},
        "UpdateItem": {"KEY#*", "CALLS#*", "SUBJECT#*", "SUPPRESSION#*", "IDEMPOTENCY#*", "HELD#*", "HOLDS#*"},
        "DeleteItem": {"SUBJECT#*", "SUPPRESSION#*", "IDEMPOTENCY#*", "HOLDS#*", "HOLD_ENDS"},
    }


def test_the_sweep_reaches_what_waits_and_nothing_else() -> None:
    """It reads who waits, takes them off the list, writes tombstones, and makes follow-ups by the data map."""
    assert leading_keys("RetentionSweepRole", OURS[1]) == {
        **{
            action: {"REQUEST#*"}
            for action in ("BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "UpdateItem")
        },
        **{action: {"WAITING#*"} for action in ("Query", "DeleteItem")},
    }
    read = {"DATA_MAP", "SUBJECT#*", "SUPPRESSION#*", "RETENTION"}
    rules = {"RETENTION"}
    assert leading_keys("RetentionSweepRole", REGISTRY) == {
        "GetItem": read,
        "Query": read,
        "UpdateItem": {"SUBJECT#*"},
        "PutItem": rules,
        "DeleteItem": rules,
    }


def test_the_watch_reaches_requests_and_holds() -> None:
    """It changes requests, lifts holds whose end has come, and writes no hold of its own."""
    assert leading_keys("SlaWatchRole", OURS[1]) == {
        **{action: {"REQUEST#*"} for action in ("GetItem", "BatchGetItem", "UpdateItem")},
        **{action: {"WAITING#*"} for action in ("PutItem", "DeleteItem")},
    }
    read = {"HOLDS#*", "HELD#*", "HOLD_ENDS"}
    assert leading_keys("SlaWatchRole", REGISTRY) == {
        **dict.fromkeys(("GetItem", "BatchGetItem", "Query"), read),
        "UpdateItem": {"HOLDS#*", "HELD#*", "SUBJECT#*"},
        "DeleteItem": {"HOLDS#*", "HOLD_ENDS"},
    }


@pytest.mark.parametrize("name", ROLES)
def test_who_tells_of_events(name: str) -> None:
    """The functions of the clock, and who closes what was late; on the stack's own bus."""
    buses = {
        resource.rpartition("/")[2]
        for statement in statements(ROLES[name])
        if "events:PutEvents" in statement["Action"]
        for resource in statement["Resource"]
    }
    assert buses == ({"EventBus"} if name in {"SlaWatchRole", "RetentionSweepRole", "CloseJobRole"} else set())


def test_a_pattern_of_keys_names_one_kind() -> None:
    """No pattern covers the records of another kind: what stands before the star ends the kind's name."""
    patterns = set()
    for name in ROLES:
        for table in (*OURS, AUDIT):
            for keys in leading_keys(name, table).values():
                patterns |= keys or set()
    single = {"DATA_MAP", "HOLD_ENDS", "RETENTION"}
    assert all(pattern in single or pattern.endswith("#*") for pattern in patterns)
    assert not [(one, other) for one in patterns for other in patterns - {one} if fnmatchcase(other, one)]


def test_state_machine_calls_only_its_functions() -> None:
    """The workflow may invoke the five functions of a job, and none of an API."""
    assert invoked_by("ErasureJobRole") == {"PlanJob", "EraseDynamodb", "EraseS3", "VerifyTarget", "CloseJob"}


def invoked_by(name: str) -> set[str]:
    return {
        resource.rpartition(":")[2]
        for statement in statements(ROLES[name])
        if "lambda:InvokeFunction" in statement["Action"]
        for resource in statement["Resource"]
    }


@pytest.mark.parametrize("name", FUNCTION_ROLES)
def test_who_calls_workers(name: str) -> None:
    """What must be gone before a call returns, erasers erase and the verifier sees gone, for the API of backends. Who
    only asks what there is of a subject calls the verifier, which reads. No other role calls a function."""
    assert invoked_by(name) == {
        "BackendApiRole": {"EraseDynamodb", "EraseS3", "VerifyTarget"},
        "SubjectApiRole": {"VerifyTarget"},
        "PlanJobRole": {"VerifyTarget"},
        "RetentionSweepRole": {"VerifyTarget"},
    }.get(name, set())


@pytest.mark.parametrize("name", ROLES)
def test_queues_are_written_by_who_accepts(name: str) -> None:
    """The subject's API writes to the interactive lane, the backends' to both, the sweep to the batch lane."""
    queues = {
        resource.rpartition(":")[2]
        for statement in statements(ROLES[name])
        if "sqs:SendMessage" in statement["Action"]
        for resource in statement["Resource"]
    }
    assert queues == {
        "SubjectApiRole": {"InteractiveQueue"},
        "BackendApiRole": {"InteractiveQueue", "BatchQueue"},
        "RetentionSweepRole": {"BatchQueue"},
        "SlaWatchRole": {"BatchQueue"},
    }.get(name, set())


MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:"
"""Where the role of the state machine names it, it is by its full name: that of the stack and its own."""


def test_only_start_jobs_starts() -> None:
    """One role may start executions, of the one state machine; it itself may, for the units of a manifest."""
    may_start = {
        (name, resource)
        for name, role in ROLES.items()
        for statement in statements(role)
        if "states:StartExecution" in statement["Action"]
        for resource in statement["Resource"]
    }
    assert may_start == {
        ("StartJobsRole", f"{MACHINE}ErasureJob"),
        ("ErasureJobRole", f"{MACHINE}erasure-erasure-job"),
    }
    (machine,) = of_type(resources(PARAMETERS), "AWS::StepFunctions::StateMachine").values()
    assert machine["StateMachineName"] == "erasure-erasure-job"


def test_the_state_machine_looks_after_its_own_executions() -> None:
    """It may describe and stop those of its own name, and those of its Map, whose names go on behind a slash. The watch
    may ask whether a job's is living."""
    executions = MACHINE.replace("stateMachine", "execution") + "erasure-erasure-job"
    looked_after = {
        (name, resource)
        for name, role in ROLES.items()
        for statement in statements(role)
        if {"states:DescribeExecution", "states:StopExecution"} & set(statement["Action"])
        for resource in statement["Resource"]
    }
    own = {("ErasureJobRole", f"{executions}:*"), ("ErasureJobRole", f"{executions}/*")}
    assert looked_after == own | {("SlaWatchRole", f"{executions}:*")}
    stopping = {name for name, role in ROLES.items() for s in statements(role) if "states:StopExecution" in s["Action"]}
    assert stopping == {"ErasureJobRole"}


def test_who_reads_the_digest_key() -> None:
    """The HMAC key of the digests is readable by who accepts and plans, and by who erases and verifies: digests stand
    in the place of values, and tell the items of a held subject. Who closes, starts and sweeps knows of no values."""
    readers = {
        name
        for name, role in ROLES.items()
        for statement in statements(role)
        if "secretsmanager:GetSecretValue" in statement["Action"]
    }
    assert readers == {"SubjectApiRole", "BackendApiRole", "PlanJobRole", *ERASERS, "VerifyTargetRole"}
