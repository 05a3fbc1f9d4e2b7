"""That calls which IAM would refuse are seen: every test on the stack of moto relies on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.domain.holds import marks_of
from erasure.domain.subject import Subject, subject_digest
from erasure.ports import Hold
from tests.functional.enforced_roles import Need
from tests.functional.job_stack import DIGEST_KEY, JobStack, stack_on_moto

REGISTRY = "arn:aws:dynamodb:eu-west-1:123456789012:table/Registry"
REQUESTS = "arn:aws:dynamodb:eu-west-1:123456789012:table/Requests"


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def key(partition: str) -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": "x"}}


def asked_by(stack: JobStack, function: str | None, call: str, **arguments: Any) -> set[Need]:
    """What the function's role would refuse of one call, which is forgotten afterwards."""
    with stack.roles.within(function), ThreadPoolExecutor(1) as pool:
        pool.submit(getattr(stack.dynamodb, call), **arguments).result()
    found = {need for _, need in stack.roles.denied}
    stack.roles.denied.clear()
    return found


def test_a_partition_that_a_role_does_not_name_is_refused(stack: JobStack) -> None:
    """By its leading key, in a thread of the function too, and in a batch if one of the keys is another; what is not a
    function's call is not looked at."""
    assert asked_by(stack, "sla_watch", "get_item", TableName="Registry", Key=key("HELD#1")) == set()
    refused = Need("dynamodb:GetItem", REGISTRY, ("KEY#1",))
    assert asked_by(stack, "sla_watch", "get_item", TableName="Registry", Key=key("KEY#1")) == {refused}
    assert asked_by(stack, None, "get_item", TableName="Registry", Key=key("KEY#1")) == set()
    both = {"Registry": {"Keys": [key("HELD#1"), key("KEY#1")]}}
    assert asked_by(stack, "sla_watch", "batch_get_item", RequestItems=both) == {
        Need("dynamodb:BatchGetItem", REGISTRY, ("HELD#1", "KEY#1"))
    }


def test_each_part_of_a_transaction_is_asked_for(stack: JobStack) -> None:
    """As the single write that it is, with its own key."""
    parts = [
        {"Put": {"TableName": "Requests", "Item": key("WAITING#1")}},
        {"Put": {"TableName": "Requests", "Item": key("REQUEST#1")}},
        {"Delete": {"TableName": "Requests", "Key": key("JOB#1")}},
    ]
    assert asked_by(stack, "sla_watch", "transact_write_items", TransactItems=parts) == {
        Need("dynamodb:PutItem", REQUESTS, ("REQUEST#1",)),
        Need("dynamodb:DeleteItem", REQUESTS, ("JOB#1",)),
    }


def test_a_query_is_of_its_partition_and_index(stack: JobStack) -> None:
    """Of the table by the key that it compares first; of an index by the index's name."""
    query = {
        "TableName": "Registry",
        "KeyConditionExpression": "pk = :pk AND sk <= :sk",
        "ExpressionAttributeValues": {":pk": {"S": "KEYS#acme"}, ":sk": {"S": "x"}},
    }
    refused = Need("dynamodb:Query", REGISTRY, ("KEYS#acme",))
    assert asked_by(stack, "sla_watch", "query", **query) == {refused}
    assert asked_by(stack, "backend_api", "query", **query) == set()
    index = {
        "TableName": "Requests",
        "IndexName": "by-clock",
        "KeyConditionExpression": "clock_shard = :shard",
        "ExpressionAttributeValues": {":shard": {"S": "open#1"}},
    }
    assert asked_by(stack, "sla_watch", "query", **index) == set()
    assert asked_by(stack, "close_job", "query", **index) == {
        Need("dynamodb:Query", f"{REQUESTS}/index/by-clock", ("open#1",))
    }


def test_the_watch_may_end_holds_and_clear_dead_letters(stack: JobStack) -> None:
    """A hold whose end has come is lifted with its marks, and a message whose requests are taken care of is dropped:
    nothing that this needs is refused."""
    long_ago = datetime.now(UTC) - timedelta(days=2)
    subject = Subject("acme", "ann", "user")
    digest = subject_digest(DIGEST_KEY.encode(), subject)
    marks = marks_of(DIGEST_KEY.encode(), subject, ["ann@example.com"])
    hold = Hold("lh_1", "acme", "user", digest, "a case", "legal", long_ago, "key", long_ago, 1, marks)
    assert stack.holds.put(hold, None)
    request_id = stack.confirm(Subject("acme", "bob", "user"))
    stack.work()
    body = json.dumps({"request_ids": [request_id], "attempt": 1})
    stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody=body)
    stack.call("sla_watch", {})
    assert stack.holds.get("acme", digest) is None
    assert stack.holds.held(marks) == {}
    asked = {(need.action, need.keys) for function, need in stack.roles.asked if function == "sla_watch"}
    assert ("dynamodb:DeleteItem", ("HOLD_ENDS",)) in asked
    assert ("sqs:DeleteMessage", ()) in asked
