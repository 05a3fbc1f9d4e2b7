"""What goes wrong on the deployed stack ends honestly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml

from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.domain.data_map import parse_data_map
from erasure.entry.wiring import utc_now
from local.inventory import compare, take_snapshot
from local.sample import Person
from local.stack import ROOT, Stack
from tests.e2e.calls import Caller, audit_of, execution_arn, request_of, unscheduled, wait_for

pytestmark = pytest.mark.stack


def _sqs(stack: Stack) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=stack["AWS_ENDPOINT_URL"],
        region_name=stack["AWS_DEFAULT_REGION"],
        aws_access_key_id=stack["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def map_with_a_missing_table(stack: Stack) -> Iterator[None]:
    """The sample's map plus a target whose table does not exist; the sample's map again afterwards."""
    document = yaml.safe_load((ROOT / "local/data-map.yaml").read_text())
    store = DynamoDBDataMapStore(lambda: stack.client("dynamodb"), stack["REGISTRY_TABLE"])
    gone = {
        "name": "gone",
        "category": "content",
        "dynamodb": {"table": "app-gone", "key": {"tenant_user": "{tenant_id}#{user_id}"}},
    }
    store.put(parse_data_map({**document, "targets": [*document["targets"], gone]}), utc_now())
    yield
    store.put(parse_data_map(document), utc_now())


@pytest.fixture
def unwatched(stack: Stack) -> Iterator[None]:
    """Nothing heals by itself, and dead letters stay where they are."""
    with unscheduled(stack, "SLA_WATCH"):
        yield


@pytest.mark.usefixtures("map_with_a_missing_table", "unwatched")
def test_missing_table_fails_its_target_only_and_a_retry_heals(stack: Stack) -> None:
    """One target fails with its reason, the others are erased, the person is told so; once mended, a retry finishes."""
    person = Person("acme", "Ann")
    before = take_snapshot(stack)
    caller = Caller(stack, person)
    answer = caller.confirm(caller.request_deletion())
    assert answer.status_code == 500
    request_id = answer.json()["request_id"]
    request = request_of(stack, request_id)
    assert (request.state, request.attention) == ("started", True)
    failed = {outcome.target: outcome.reason for outcome in request.outcomes if outcome.outcome == "failed"}
    # Nobody may reach a table that the template's parameters do not list, so IAM refuses before DynamoDB can tell.
    assert failed == {"gone": "access_denied"} or failed == {"gone": "target_missing"}
    result = compare(before, take_snapshot(stack), person)
    assert not result.left
    assert not result.changed

    # The world is mended: the map's target names a table that exists.
    document = yaml.safe_load((ROOT / "local/data-map.yaml").read_text())
    store = DynamoDBDataMapStore(lambda: stack.client("dynamodb"), stack["REGISTRY_TABLE"])
    gone = {
        "name": "gone",
        "category": "content",
        "dynamodb": {"table": "app-documents", "key": {"tenant_user": "{tenant_id}#{user_id}"}},
    }
    store.put(parse_data_map({**document, "targets": [*document["targets"], gone]}), utc_now())
    assert _operator(stack, "retry", request_id)["attempt"] == 2
    wait_for(lambda: request_of(stack, request_id).state == "finished", "the retry to finish", seconds=90)
    outcomes = {outcome.target: outcome for outcome in request_of(stack, request_id).outcomes}
    assert outcomes["gone"].outcome == "already_absent"
    assert outcomes["documents"].outcome == "erased"
    assert [entry.event for entry in audit_of(stack).entries(request_id)] == [
        "requested", "planned", "attention", "retried", "planned", "finished",
    ]  # fmt: skip


def test_message_delivered_twice_starts_one_job(stack: Stack) -> None:
    """The same message again, after the job has ended: no second execution, no changed outcome."""
    request_id = Caller(stack, Person("globex", "José")).erase()
    finished = request_of(stack, request_id)
    body = json.dumps({"request_ids": [request_id], "attempt": 1})
    sqs = _sqs(stack)
    for _ in range(2):
        sqs.send_message(QueueUrl=stack["INTERACTIVE_QUEUE_URL"], MessageBody=body)
    _wait_until_empty(sqs, stack["INTERACTIVE_QUEUE_URL"])
    states = stack.client("stepfunctions")
    executions = states.list_executions(stateMachineArn=stack["STATE_MACHINE_ARN"], maxResults=1000)["executions"]
    assert sum(execution["name"].startswith(request_id) for execution in executions) == 1
    assert request_of(stack, request_id) == finished


@pytest.mark.usefixtures("unwatched")
def test_malformed_messages_end_in_the_dead_letter_queue(stack: Stack) -> None:
    """Garbage goes to the dead-letter queue and does not keep good messages from being worked off."""
    sqs, queue = _sqs(stack), stack["INTERACTIVE_QUEUE_URL"]
    usual = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    try:
        bad = ["not json", "[]", '{"request_ids": ["../etc"], "attempt": 1}', '{"request_ids": null, "attempt": 1}']
        for body in bad:
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        Caller(stack, Person("globex", "zoë")).erase()
        found: set[str] = set()

        def all_there() -> bool:
            messages = sqs.receive_message(
                QueueUrl=stack["DEAD_LETTER_QUEUE_URL"], MaxNumberOfMessages=10, VisibilityTimeout=600
            ).get("Messages", [])
            found.update(message["Body"] for message in messages)
            return found >= set(bad)

        wait_for(all_there, "the bad messages in the dead-letter queue", seconds=90)
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=usual)


def test_message_about_no_request_ends_red(stack: Stack) -> None:
    """A well-formed message about a request that does not exist: the execution fails, it does not end green."""
    request_id = "er_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    _sqs(stack).send_message(
        QueueUrl=stack["INTERACTIVE_QUEUE_URL"], MessageBody=json.dumps({"request_ids": [request_id], "attempt": 1})
    )
    states = stack.client("stepfunctions")

    def status() -> str:
        try:
            return states.describe_execution(executionArn=execution_arn(stack, f"{request_id}-1"))["status"]
        except states.exceptions.ExecutionDoesNotExist:
            return ""

    wait_for(lambda: status() not in ("", "RUNNING"), "the execution to end", seconds=120)
    assert status() == "FAILED"


def _operator(stack: Stack, *arguments: str) -> Any:
    """An operator's command as an operator runs it; returns the JSON that it prints."""
    command = [sys.executable, "-m", "erasure.entry.operator", *arguments]
    result = subprocess.run(command, env=stack.environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def _wait_until_empty(sqs: Any, queue: str) -> None:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def empty() -> bool:
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return all(attributes[name] == "0" for name in names)

    wait_for(empty, "the queue to be empty")
