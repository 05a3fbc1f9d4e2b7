"""A job of more units than its own execution works on, on the deployed stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local.inventory import compare, take_snapshot
from local.sample import Person
from local.stack import Stack
from tests.e2e.calls import Caller, execution_arn, request_of, states_entered

pytestmark = pytest.mark.stack

UNITS = 2
"""Of the sample's self-deletion: one of tables, one of buckets."""


@pytest.fixture
def many(stack: Stack) -> Iterator[None]:
    """Two units are too many, for as long as a test lasts."""
    function = stack["PLAN_JOB_FUNCTION_NAME"]
    services: Any = stack.client
    client = services("lambda")
    variables = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    client.update_function_configuration(
        FunctionName=function, Environment={"Variables": {**variables, "INLINE_UNITS": str(UNITS - 1)}}
    )
    yield
    client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})


def test_each_unit_of_a_manifest_is_worked_on(stack: Stack, many: None) -> None:
    """The Map over the manifest has an item for each unit, all succeed, the person is erased and nobody else."""
    person = Person("globex", "11")
    before = take_snapshot(stack)
    assert before.of(person, {"content"})
    request_id = Caller(stack, person).erase()
    result = compare(before, take_snapshot(stack), person)
    assert not result.left
    assert not result.changed
    assert sum(outcome.count for outcome in request_of(stack, request_id).outcomes) == result.erased

    job_id = f"{request_id}-1"
    assert "EraseManyUnits" in states_entered(stack, job_id)
    client: Any = stack.client("stepfunctions")
    (listed,) = client.list_map_runs(executionArn=execution_arn(stack, job_id))["mapRuns"]
    counts = client.describe_map_run(mapRunArn=listed["mapRunArn"])["itemCounts"]
    assert (counts["total"], counts["succeeded"], counts["failed"]) == (UNITS, UNITS, 0)
    children = client.list_executions(mapRunArn=listed["mapRunArn"])["executions"]
    assert len(children) == UNITS
    for child in children:
        assert client.describe_execution(executionArn=child["executionArn"])["output"] == "{}"
    manifest = stack.client("s3").get_object(Bucket=stack["CONTROL_BUCKET"], Key=f"manifests/{job_id}.json")
    text = manifest["Body"].read().decode()
    assert person.tenant not in text
