"""What a job is doing, as its operator can see it: the execution's states, the tasks' counts, the request's record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.stack import LocalError, Stack

_STATUSES = {"p": "pending", "e": "erased", "f": "failed", "v": "verified"}
"""By the letter in a task's parts, the one furthest behind first."""

_NEW_PART: list[Any] = ["p", 0, 0, 0]
"""Status, erased, whether that is at least so many, rounds."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """One target of the job, for all its requests together. ``running``: a slice is at work on it.

    ``status``: of the request that is furthest behind, ``pending``, ``erased`` (not verified yet), ``verified`` or
    ``failed``. ``erased``: of all; ``rounds``: the most that one of them needed.
    """

    target: str
    status: str
    erased: int
    rounds: int
    running: bool


@dataclass(frozen=True, slots=True)
class JobView:
    """A moment of a job. ``states``: how often each state of the state machine was entered, in order of first entry."""

    states: Mapping[str, int] = field(default_factory=dict)
    tasks: tuple[TaskView, ...] = ()


class JobWatcher:
    """Finds the execution that begins after this object was made, and looks at it from the outside."""

    def __init__(self, stack: Stack) -> None:
        self._requests_table = stack["REQUESTS_TABLE"]
        self._state_machine = stack["STATE_MACHINE_ARN"]
        self._dynamodb = stack.client("dynamodb")
        self._stepfunctions = stack.client("stepfunctions")
        self._earlier = {name for name, _ in self._executions()}
        self._execution: tuple[str, str] | None = None

    @property
    def job_id(self) -> str | None:
        if self._execution is None:
            new = [execution for execution in self._executions() if execution[0] not in self._earlier]
            self._execution = new[0] if new else None
        return self._execution[0] if self._execution else None

    def look(self) -> JobView:
        """The job now; an empty view before it has begun."""
        job_id = self.job_id
        if job_id is None or self._execution is None:
            return JobView()
        return JobView(self._states(self._execution[1]), self._tasks(job_id))

    def has_failed(self) -> bool:
        """Whether the execution has ended without closing the job: waiting longer is of no use."""
        if self.job_id is None or self._execution is None:
            return False
        status = self._stepfunctions.describe_execution(executionArn=self._execution[1])["status"]
        return status not in {"RUNNING", "SUCCEEDED"}

    def request(self, request_id: str) -> dict[str, Any]:
        """The request's ``state``, ``attention`` and ``outcomes``.

        Raises :class:`LocalError` if there is no such request.
        """
        answer = self._dynamodb.get_item(
            TableName=self._requests_table,
            Key={"pk": {"S": f"REQUEST#{request_id}"}, "sk": {"S": "META"}},
            ConsistentRead=True,
        )
        if "Item" not in answer:
            raise LocalError("the service answered with the id of a request that it does not have")
        item = {name: _plain(value) for name, value in answer["Item"].items()}
        return {name: item.get(name) for name in ("state", "attention", "outcomes", "started_at", "finished_at")}

    def _executions(self) -> list[tuple[str, str]]:
        pages = self._stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=self._state_machine)
        return [(entry["name"], entry["executionArn"]) for page in pages for entry in page["executions"]]

    def _states(self, arn: str) -> dict[str, int]:
        states: dict[str, int] = {}
        for page in self._stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn):
            for event in page["events"]:
                name = event.get("stateEnteredEventDetails", {}).get("name")
                if name:
                    states[name] = states.get(name, 0) + 1
        return states

    def _tasks(self, job_id: str) -> tuple[TaskView, ...]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._requests_table,
            KeyConditionExpression="pk = :job AND begins_with(sk, :task)",
            ExpressionAttributeValues={":job": {"S": f"JOB#{job_id}"}, ":task": {"S": "TASK#"}},
        )
        return tuple(_task_view(item) for page in pages for item in page["Items"])


def _task_view(item: Mapping[str, Any]) -> TaskView:
    """A task's item; its ``parts`` are described in ``erasure.adapters.task_store``."""
    # What stands at the end of a row is left out where it is as in a new part.
    rows = [[*row[1:], *_NEW_PART[len(row) - 1 :]] for row in json.loads(item["parts"]["S"])]
    furthest_behind = min((row[0] for row in rows), key=list(_STATUSES).index)
    return TaskView(
        target=item["target"]["S"],
        status=_STATUSES[furthest_behind],
        erased=sum(row[1] for row in rows),
        rounds=max(row[3] for row in rows),
        running="running" in item,
    )


def _plain(value: Any) -> Any:
    """A DynamoDB attribute as plain data."""
    ((kind, inner),) = value.items()
    match kind:
        case "N":
            return int(inner) if inner.lstrip("-").isdigit() else float(inner)
        case "M":
            return {name: _plain(part) for name, part in inner.items()}
        case "L":
            return [_plain(part) for part in inner]
        case "NULL":
            return None
        case _:
            return inner
