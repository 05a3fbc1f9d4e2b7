"""Jobs and their tasks in the Requests table: pk ``JOB#<job id>``, sk ``META`` or ``TASK#<unit>#<number>``.

Tasks hold the target's templates and counts, never a rendered key or a cursor: nothing in them names the subject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_attribute, to_item
from erasure.adapters.aws import error_code
from erasure.domain.plan import ERASED_UNVERIFIED, PENDING, Task
from erasure.domain.target_spec import TargetSpec
from erasure.errors import SliceLostError, UnavailableError
from erasure.ports import PinnedMap

_BATCH = 25
_WRITE_TRIES = 8
_WORKED_ON_BY_US = "running = :slice"
_NOT_WORKED_ON = "attribute_not_exists(running)"
_SAME_MAP = "data_map_version = :version"


def job_key(job_id: str) -> Item:
    return {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": "META"}}


def task_key(task: Task) -> Item:
    return {"pk": {"S": f"JOB#{task.job_id}"}, "sk": {"S": f"TASK#{task.unit}#{task.number:04d}"}}


def task_to_item(task: Task) -> Item:
    return {
        **task_key(task),
        **to_item(
            {
                "request_id": task.request_id,
                "target": task.spec.name,
                "spec": task.spec.to_json(),
                "status": task.status,
                "erased": task.erased,
                "at_least": task.at_least,
                "rounds": task.rounds,
                "stalls": task.stalls,
                "reason": task.reason,
            }
        ),
    }


def item_to_task(item: Item) -> Task:
    values = from_item(item)
    _, unit, number = values["sk"].split("#")
    return Task(
        job_id=values["pk"].removeprefix("JOB#"),
        unit=unit,
        number=int(number),
        request_id=values["request_id"],
        spec=TargetSpec.from_json(values["spec"]),
        status=values["status"],
        erased=values["erased"],
        at_least=values["at_least"],
        rounds=values["rounds"],
        stalls=values["stalls"],
        running=values.get("running"),
        reason=values.get("reason") or None,
    )


class DynamoDBTaskStore:
    """:class:`erasure.ports.TaskStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def pinned_version(self, job_id: str) -> int | None:
        answer = self._client().get_item(TableName=self._table, Key=job_key(job_id), ConsistentRead=True)
        return int(answer["Item"]["data_map_version"]["N"]) if "Item" in answer else None

    def create_job(self, job_id: str, request_ids: Sequence[str], data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        # The job's own item first: it pins the data map, so that planning again after a crash makes the same tasks.
        job = {
            "request_ids": list(request_ids),
            "data_map_version": data_map.version,
            "data_map_digest": data_map.digest,
        }
        try:
            self._client().put_item(
                TableName=self._table,
                Item={**job_key(job_id), **to_item(job)},
                ConditionExpression=f"attribute_not_exists(pk) OR {_SAME_MAP}",
                ExpressionAttributeValues={":version": to_attribute(data_map.version)},
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise UnavailableError("the job was planned with another data map at the same moment") from None
        known = {(task.unit, task.number) for task in self.tasks(job_id)}
        missing = [task_to_item(task) for task in tasks if (task.unit, task.number) not in known]
        for start in range(0, len(missing), _BATCH):
            self._write(missing[start : start + _BATCH])

    def _write(self, items: list[Item]) -> None:
        requests = {self._table: [{"PutRequest": {"Item": item}} for item in items]}
        for _ in range(_WRITE_TRIES):
            requests = self._client().batch_write_item(RequestItems=requests).get("UnprocessedItems") or {}
            if not requests:
                return
        raise UnavailableError("the tasks could not be written")

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]:
        tasks: list[Task] = []
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :job AND begins_with(sk, :tasks)",
            "ExpressionAttributeValues": {
                ":job": {"S": f"JOB#{job_id}"},
                ":tasks": {"S": f"TASK#{unit}#" if unit else "TASK#"},
            },
            "ConsistentRead": True,
        }
        while True:
            page = self._client().query(**query)
            tasks.extend(item_to_task(item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return tasks
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def begin_slice(self, task: Task, slice_id: str) -> Task:
        # A mark that is still there was left by a slice that died: what it had not counted yet is lost.
        at_least = task.at_least or task.running is not None
        values: dict[str, Any] = {":slice": slice_id, ":at_least": at_least}
        condition = _NOT_WORKED_ON
        if task.running is not None:
            condition = "running = :before"
            values[":before"] = task.running
        # Ours already: this is the client's own repetition of a call whose answer was lost.
        condition = f"#status = :pending AND ({condition} OR {_WORKED_ON_BY_US})"
        values[":pending"] = PENDING
        now = self._update(task, "SET running = :slice, at_least = :at_least", condition, values)
        return replace(task, running=slice_id, at_least=at_least, erased=now["erased"])

    # Counts are set to a sum, never added to: the client repeats a call whose answer was lost.
    def add_erased(self, task: Task, slice_id: str, count: int) -> None:
        values = {":slice": slice_id, ":erased": task.erased + count}
        self._update(task, "SET erased = :erased", _WORKED_ON_BY_US, values)

    def end_slice(self, task: Task, slice_id: str, *, count: int, status: str, stalls: int, reason: str | None) -> None:
        self._update(
            task,
            "SET #status = :status, stalls = :stalls, reason = :reason, erased = :erased REMOVE running",
            _WORKED_ON_BY_US,
            {
                ":slice": slice_id,
                ":status": status,
                ":stalls": stalls,
                ":reason": reason or "",
                ":erased": task.erased + count,
            },
        )

    def set_verified(self, task: Task, *, status: str, rounds: int, stalls: int, reason: str | None) -> None:
        self._update(
            task,
            "SET #status = :status, rounds = :rounds, stalls = :stalls, reason = :reason",
            f"#status = :erased AND {_NOT_WORKED_ON}",
            {
                ":status": status,
                ":rounds": rounds,
                ":stalls": stalls,
                ":reason": reason or "",
                ":erased": ERASED_UNVERIFIED,
            },
        )

    def _update(self, task: Task, expression: str, condition: str, values: dict[str, Any]) -> dict[str, Any]:
        """The update under a condition; returns the whole record as it is then. Raises :class:`SliceLostError`."""
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "Key": task_key(task),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeValues": {name: to_attribute(value) for name, value in values.items()},
            "ReturnValues": "ALL_NEW",
        }
        if "#status" in expression or "#status" in condition:
            arguments["ExpressionAttributeNames"] = {"#status": "status"}
        try:
            return from_item(self._client().update_item(**arguments)["Attributes"])
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise SliceLostError("another slice has taken this task over") from None
