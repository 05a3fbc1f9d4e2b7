"""What a job is doing, as its operator can see it: the execution's states, the tasks' counts, the request's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.stack import LocalError, Stack


@dataclass(frozen=True, slots=True)
class TaskView:
    """One target of the job. ``status``: ``pending``, ``erased`` (not verified yet), ``verified`` or ``failed``.

    ``running``: a slice is at work on it.
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
        page = self._dynamodb.query(
            TableName=self._requests_table,
            KeyConditionExpression="pk = :job AND begins_with(sk, :task)",
            ExpressionAttributeValues={":job": {"S": f"JOB#{job_id}"}, ":task": {"S": "TASK#"}},
        )
        tasks = ({name: _plain(value) for name, value in item.items()} for item in page["Items"])
        return tuple(
            TaskView(task["target"], task["status"], int(task["erased"]), int(task["rounds"]), "running" in task)
            for task in tasks
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
