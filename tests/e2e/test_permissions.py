"""What the deployed roles may do, asked of the IAM that enforces them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from local.sample import BUCKETS, TABLES
from local.stack import REGION, Stack

pytestmark = pytest.mark.stack

ACCOUNT = "000000000000"
WORKERS = ["erase_dynamodb", "erase_s3", "verify_target"]
OTHERS = ["subject_api", "backend_api", "start_jobs", "plan_job", "close_job", "retention_sweep", "sla_watch"]
WRITES = {f"dynamodb:{name}" for name in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")} | {
    f"dynamodb:PartiQL{name}" for name in ("Insert", "Update", "Delete")
}
READS = {f"dynamodb:{name}" for name in ("GetItem", "Query", "Scan", "BatchGetItem", "DescribeTable", "PartiQLSelect")}
LISTS = {"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"}
LOCKS = {"s3:GetObjectRetention", "s3:GetObjectLegalHold"}
REMOVALS = {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"}
TABLE = next(iter(TABLES))
BUCKET = next(iter(BUCKETS))

Allowed = Callable[[str, str], set[str]]


def table_arn(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:dynamodb:{REGION}:{account}:table/{name}"


@pytest.fixture(scope="module")
def allowed(stack: Stack) -> Allowed:
    """``allowed(function, arn)``: which actions, of all that this module knows, the function's role may do there."""
    client: Any = stack.client
    iam, functions = client("iam"), client("lambda")

    @functools.cache
    def role(function: str) -> str:
        name = stack[f"{function.upper()}_FUNCTION_NAME"]
        return str(functions.get_function_configuration(FunctionName=name)["Role"])

    def simulate(function: str, arn: str) -> set[str]:
        known = (
            sorted(WRITES | READS)
            if ":dynamodb:" in arn
            else sorted({*LISTS, *REMOVALS, *LOCKS, "s3:GetObject", "s3:PutObject"})
        )
        results = iam.simulate_principal_policy(PolicySourceArn=role(function), ActionNames=known, ResourceArns=[arn])[
            "EvaluationResults"
        ]
        assert len(results) == len(known)
        return {result["EvalActionName"] for result in results if result["EvalDecision"] == "allowed"}

    return simulate


@pytest.mark.parametrize("table", TABLES)
def test_eraser_may_delete_from_target_tables(allowed: Allowed, table: str) -> None:
    """Every table of the list can be queried, through its indexes too, scanned, deleted from, and changed."""
    assert allowed("erase_dynamodb", table_arn(table)) == {
        *("dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan"),
        *("dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:PartiQLDelete", "dynamodb:UpdateItem"),
    }
    assert allowed("erase_dynamodb", f"{table_arn(table)}/index/by-user") == {"dynamodb:Query"}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_eraser_may_delete_from_target_buckets(allowed: Allowed, bucket: str) -> None:
    """Of every bucket of the list, versions, markers and uploads can be listed and removed, and none opened."""
    assert allowed("erase_s3", f"arn:aws:s3:::{bucket}") == LISTS
    assert allowed("erase_s3", f"arn:aws:s3:::{bucket}/acme/ann/1") == REMOVALS


def test_eraser_may_not_touch_other_tables(allowed: Allowed, stack: Stack) -> None:
    """Tables that are not in the list, or whose name only begins like one, and the service's own are out of reach, but
    for reading marks of legal holds in the registry (AWS checks that it is these)."""
    own = [stack[f"{name}_TABLE"] for name in ("AUDIT", "DELETE_IDS")]
    for name in ("somebody-elses-table", f"{TABLE}-archive", TABLE[:-1], *own):
        assert allowed("erase_dynamodb", table_arn(name)) == set()
    assert allowed("erase_dynamodb", table_arn(stack["REGISTRY_TABLE"])) == {"dynamodb:BatchGetItem"}
    assert not allowed("erase_dynamodb", table_arn(stack["REQUESTS_TABLE"])) & (WRITES - {"dynamodb:UpdateItem"})


def test_eraser_may_not_touch_other_buckets(allowed: Allowed, stack: Stack) -> None:
    """Neither another bucket, nor one whose name only begins like one of the list, nor the control bucket."""
    for name in ("somebody-elses-bucket", f"{BUCKET}-archive", BUCKET[:-1], stack["CONTROL_BUCKET"]):
        assert allowed("erase_s3", f"arn:aws:s3:::{name}") == allowed("erase_s3", f"arn:aws:s3:::{name}/x") == set()


@pytest.mark.parametrize("function", ["erase_dynamodb", "verify_target"])
def test_eraser_and_verifier_stay_in_their_account(allowed: Allowed, function: str) -> None:
    """A table of the same name in another account is another table."""
    assert allowed(function, table_arn(TABLE))
    assert allowed(function, table_arn(TABLE, account="111111111111")) == set()


def test_verifier_only_reads_tables(allowed: Allowed) -> None:
    """The verifier reads target tables by key, by index and from end to end; it cannot write to them."""
    reads = {"dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:Scan", "dynamodb:GetItem", "dynamodb:BatchGetItem"}
    assert allowed("verify_target", table_arn(TABLE)) == reads
    assert allowed("verify_target", f"{table_arn(TABLE)}/index/by-user") == {"dynamodb:Query"}


def test_verifier_only_lists_buckets(allowed: Allowed) -> None:
    """The verifier lists target buckets, asks how long an object is locked, and opens, writes or removes none."""
    assert allowed("verify_target", f"arn:aws:s3:::{BUCKET}") == LISTS
    assert allowed("verify_target", f"arn:aws:s3:::{BUCKET}/x") == LOCKS


def test_erasers_only_look_at_the_other_kind(allowed: Allowed) -> None:
    """Where items lead to objects, the eraser of either reads where the other's are, and changes nothing there."""
    assert allowed("erase_dynamodb", f"arn:aws:s3:::{BUCKET}") == LISTS
    assert allowed("erase_dynamodb", f"arn:aws:s3:::{BUCKET}/x") == LOCKS
    reads = {"dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem"}
    assert allowed("erase_s3", table_arn(TABLE)) == reads
    assert allowed("erase_s3", f"{table_arn(TABLE)}/index/by-user") == {"dynamodb:Query"}


def test_only_planning_writes_manifests(allowed: Allowed, stack: Stack) -> None:
    """Of the control bucket, plan_job may write manifests and read nothing; nobody else of the functions reaches it."""
    bucket = f"arn:aws:s3:::{stack['CONTROL_BUCKET']}"
    assert allowed("plan_job", f"{bucket}/manifests/er_1-1.json") == {"s3:PutObject"}
    assert allowed("plan_job", f"{bucket}/x") == allowed("plan_job", bucket) == set()
    for function in (*OTHERS, *WORKERS):
        if function != "plan_job":
            assert allowed(function, f"{bucket}/manifests/er_1-1.json") == set()


@pytest.mark.parametrize("function", OTHERS)
def test_other_functions_may_not_touch_targets(allowed: Allowed, function: str) -> None:
    """Who accepts, starts, plans, closes or sweeps cannot read or delete anybody's data."""
    for arn in (table_arn(TABLE), f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/x"):
        assert allowed(function, arn) == set()


@pytest.mark.parametrize("function", [*OTHERS, *WORKERS])
def test_audit_is_append_only(allowed: Allowed, stack: Stack, function: str) -> None:
    """No function can change or remove an audit entry."""
    assert allowed(function, table_arn(stack["AUDIT_TABLE"])) <= {"dynamodb:PutItem", "dynamodb:Query"}


def test_api_reads_the_registry_by_key_only(allowed: Allowed, stack: Stack) -> None:
    """The API function can put and get registry items (AWS checks the conditions on keys), not list or change them."""
    assert allowed("subject_api", table_arn(stack["REGISTRY_TABLE"])) == {
        "dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:BatchGetItem",
    }  # fmt: skip
