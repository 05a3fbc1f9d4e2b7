"""Whether what a function asks of AWS is what its role of the template allows.

The emulators do not look at ``dynamodb:LeadingKeys``, and moto at no policy at all. So each call that a function makes
is held against the statements of its role here, the parts of a transaction one by one, as AWS does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.unit.translated_template import of_type, resources, statements

_TABLES = "arn:aws:dynamodb:eu-west-1:123456789012:table/"
_OWN = {"DeleteIds", "Requests", "Registry", "Audit"}
_TARGET = "app-table"
"""Stands for every table of an application."""
_ONE_BY_ONE = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
_QUEUES = {
    "erasure-interactive": "InteractiveQueue",
    "erasure-batch": "BatchQueue",
    "erasure-dead-letters": "DeadLetterQueue",
}
_SERVICES = ("dynamodb", "sqs", "events", "lambda", "secretsmanager")
_LEADING_KEYS = {"ForAllValues:StringLike": "dynamodb:LeadingKeys"}


class Need(NamedTuple):
    """What a call has to be allowed. ``keys``: the partition keys that it names, where it names any."""

    action: str
    resource: str
    keys: tuple[str, ...] = ()


@cache
def statements_of_functions() -> dict[str, list[dict[str, Any]]]:
    """The statements of each function's role, by the function's folder."""
    found = resources({"TargetTables": _TARGET})
    roles = of_type(found, "AWS::IAM::Role")
    return {
        function["FunctionName"].removeprefix("erasure-").replace("-", "_"): list(
            statements(roles[function["Role"].rpartition("/")[2]])
        )
        for function in of_type(found, "AWS::Lambda::Function").values()
    }


class EnforcedRoles:
    """``denied``: what functions asked for that their roles do not allow, with the function. ``asked``: all that they
    asked for."""

    def __init__(self) -> None:
        self._function: ContextVar[str | None] = ContextVar("function", default=None)
        self.asked: set[tuple[str, Need]] = set()
        self.denied: set[tuple[str, Need]] = set()

    @contextmanager
    def within(self, function: str | None) -> Iterator[None]:
        """Calls are the function's, in this thread and in those that it begins; ``None``: somebody else's, who has no
        role of the template."""
        token = self._function.set(function)
        try:
            yield
        finally:
            self._function.reset(token)

    def watch(self, *clients: Any) -> None:
        """Look at all calls of these clients, or of those that a session makes from now on."""
        for client in clients:
            register = client.meta.events.register if hasattr(client, "meta") else client.register
            for service in _SERVICES:
                register(f"before-parameter-build.{service}", self._check)

    def _check(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        function = self._function.get()
        if function is not None:
            for need in needs(model.service_model.endpoint_prefix, model.name, params):
                self.asked.add((function, need))
                if not any(_allows(statement, need) for statement in statements_of_functions()[function]):
                    self.denied.add((function, need))


def needs(service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    """What IAM is asked for a call; nothing of services that are not looked at."""
    if service == "dynamodb":
        yield from _needs_of_dynamodb(operation, params)
    elif service == "sqs":
        queue = params["QueueUrl"].rpartition("/")[2]
        yield Need(f"sqs:{operation}", f"arn:aws:sqs:eu-west-1:123456789012:{_QUEUES.get(queue, queue)}")
    elif service == "events":
        yield Need(f"events:{operation}", "arn:aws:events:eu-west-1:123456789012:event-bus/EventBus")
    elif service == "secretsmanager":
        yield Need(f"secretsmanager:{operation}", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:DigestKey")


def _needs_of_dynamodb(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    if operation == "TransactWriteItems":
        for part in params["TransactItems"]:
            ((kind, action),) = part.items()
            yield _on_items(_ONE_BY_ONE[kind], action["TableName"], [action.get("Key") or action["Item"]])
    elif operation == "BatchGetItem":
        for table, wanted in params["RequestItems"].items():
            yield _on_items(operation, table, wanted["Keys"])
    elif operation == "BatchWriteItem":
        for table, wanted in params["RequestItems"].items():
            written = [request["PutRequest"]["Item"] for request in wanted if "PutRequest" in request]
            deleted = [request["DeleteRequest"]["Key"] for request in wanted if "DeleteRequest" in request]
            yield _on_items(operation, table, [*written, *deleted])
    elif operation in {"Query", "Scan", "DescribeTable"}:
        index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
        keys = (_queried(params),) if operation == "Query" else ()
        yield Need(f"dynamodb:{operation}", f"{_table(params['TableName'])}{index}", keys)
    else:
        yield _on_items(operation, params["TableName"], [params.get("Key") or params["Item"]])


def _on_items(operation: str, table: str, items: Sequence[Mapping[str, Any]]) -> Need:
    # Only the service's own tables have keys that conditions name, and there the partition key is pk.
    keys = {item["pk"]["S"] for item in items if "S" in item.get("pk", {})}
    return Need(f"dynamodb:{operation}", _table(table), tuple(sorted(keys)))


def _table(name: str) -> str:
    return _TABLES + (name if name in _OWN else _TARGET)


def _queried(params: Mapping[str, Any]) -> str:
    """The partition that a query reads: of what its condition compares, what comes first."""
    match = re.match(r"\s*\(?[#\w]+ = (:\w+)", params["KeyConditionExpression"])
    assert match is not None, params["KeyConditionExpression"]
    (value,) = params["ExpressionAttributeValues"][match.group(1)].values()
    return str(value)


def _allows(statement: Mapping[str, Any], need: Need) -> bool:
    if need.action not in statement["Action"]:
        return False
    if not any(fnmatchcase(need.resource, pattern) for pattern in statement["Resource"]):
        return False
    # Region and account are the stack's own here; what is left are the partition keys.
    for operator, condition in statement.get("Condition", {}).items():
        name = _LEADING_KEYS.get(operator)
        if name is not None and not all(
            any(fnmatchcase(key, pattern) for pattern in condition[name]) for key in need.keys
        ):
            return False
    return True


def carry_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a pool belong to the function that uses it."""
    submit: Callable[..., Future[Any]] = ThreadPoolExecutor.submit

    def submitted(self: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return submit(self, copy_context().run, work, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submitted)
