"""``erasure doctor`` on the deployed stack: what is broken there is seen, and what is mended is well again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.stack import Stack
from tests.e2e.calls import Backend, unscheduled
from tests.functional.client.cli.command_runs import run_command

pytestmark = pytest.mark.stack

ACCOUNT = "000000000000"
"""The emulator's."""
Seen = set[tuple[str, str, str]]


@pytest.fixture(scope="module")
def backend(stack: Stack) -> Iterator[Backend]:
    """Of a tenant without requests; and what other tests have left among the dead letters is thrown away."""
    client(stack, "sqs").purge_queue(QueueUrl=stack["DEAD_LETTER_QUEUE_URL"])
    made = Backend(stack, "doctors")
    yield made
    made.revoke()


@pytest.fixture
def signed_in(stack: Stack, backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "ERASURE_"))]:
        monkeypatch.delenv(name)
    for name, value in stack.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("ERASURE_URL", stack.api_url)
    monkeypatch.setenv("ERASURE_API_KEY", backend.key)
    monkeypatch.setenv("ERASURE_CONFIG", str(tmp_path / "config.toml"))


def client(stack: Stack, service: str) -> Any:
    make: Any = stack.client
    return make(service)


def doctor(stack: Stack) -> tuple[int, Seen]:
    """Exit code, and what is not well."""
    result = run_command("doctor", "--stack-name", stack["STACK_NAME"], "--json")
    checks = json.loads(result.stdout)["checks"]
    assert len(checks) > 90, result.stderr
    return result.exit_code, {(each["area"], each["name"], each["status"]) for each in checks if each["status"] != "ok"}


@contextmanager
def a_dead_letter(stack: Stack) -> Iterator[None]:
    queues, url = client(stack, "sqs"), stack["DEAD_LETTER_QUEUE_URL"]
    sent = queues.send_message(QueueUrl=url, MessageBody="nobody can read this")["MessageId"]
    try:
        yield
    finally:
        for each in queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            if each["MessageId"] == sent:
                queues.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])


@contextmanager
def nobody_at_the_batch_lane(stack: Stack) -> Iterator[None]:
    functions = client(stack, "lambda")
    name = stack["START_JOBS_FUNCTION_NAME"]
    (lane,) = [
        each["UUID"]
        for each in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        if each["EventSourceArn"] == stack["BATCH_QUEUE_ARN"]
    ]
    functions.update_event_source_mapping(UUID=lane, Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=lane, Enabled=True)


@contextmanager
def no_data_map(stack: Stack) -> Iterator[None]:
    tables, table = stack.client("dynamodb"), stack["REGISTRY_TABLE"]
    found = tables.query(
        TableName=table,
        KeyConditionExpression="pk = :map",
        ExpressionAttributeValues={":map": {"S": "DATA_MAP"}},
    )["Items"]
    for item in found:
        tables.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    try:
        yield
    finally:
        for item in found:
            tables.put_item(TableName=table, Item=item)


@pytest.mark.usefixtures("signed_in")
def test_what_is_broken_is_seen_until_it_is_mended(stack: Stack) -> None:
    """A schedule that is off, a dead letter, a lane that nobody reads and a missing data map are problems, and nothing
    else is; then the stack is as it was. What the emulator does not keep is never called well."""
    _, before = doctor(stack)
    assert ("alarms", "OverdueAlarm", "skipped") in before
    assert not {each for each in before if each[2] == "problem"}
    with ExitStack() as broken:
        broken.enter_context(unscheduled(stack, "SLA_WATCH"))
        for break_it in (a_dead_letter, nobody_at_the_batch_lane, no_data_map):
            broken.enter_context(break_it(stack))
        code, seen = doctor(stack)
    assert seen - before == {
        ("schedules", "SlaWatchWatch", "problem"),
        ("queues", "DeadLetterQueue", "problem"),
        ("queues", "BatchQueue reader", "problem"),
        ("data map", "version", "problem"),
        ("data map", "parameters", "unknown"),
    }
    assert code == 1
    assert doctor(stack)[1] == before


@pytest.mark.usefixtures("signed_in")
def test_a_role_of_the_stack_may_not_look(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials that may do next to nothing there, all that is refused is unknown, with its permission."""
    role = client(stack, "cloudformation").describe_stack_resource(
        StackName=stack["STACK_NAME"], LogicalResourceId="StartJobsRole"
    )["StackResourceDetail"]["PhysicalResourceId"]
    session = boto3.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="doctor")[
        "Credentials"
    ]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", session["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", session["SessionToken"])
    result = run_command("doctor", "--stack-name", stack["STACK_NAME"], "--json")
    (stack_check,) = [each for each in json.loads(result.stdout)["checks"] if each["area"] == "stack"]
    assert (stack_check["status"], "cloudformation:DescribeStacks" in stack_check["next"]) == ("unknown", True)
    assert result.exit_code == 0
