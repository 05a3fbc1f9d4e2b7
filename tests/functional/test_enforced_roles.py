"""That calls which IAM would refuse are seen: every test on the stack of moto relies on it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.functional.enforced_roles import Need
from tests.functional.job_stack import JobStack, stack_on_moto

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
