"""Jobs and their tasks in the Requests table: pk ``JOB#<job id>``, sk ``META`` or ``TASK#<unit>#<number>``.

Tasks hold the target's templates and counts, never a rendered key or a cursor: nothing in them names a subject. The
parts are one text, short because every write of an item costs by the size of all of it: see :func:`parts_to_text`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_attribute, to_item
from erasure.adapters.aws import error_code
from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Shard, Task
from erasure.domain.target_spec import TargetSpec
from erasure.errors import SliceLostError, UnavailableError
from erasure.ports import PinnedJob, PinnedMap

_BATCH = 25
_WRITE_TRIES = 8
_LETTERS = {PENDING: "p", ERASED_UNVERIFIED: "e", VERIFIED: "v", FAILED: "f"}
_STATUSES = {letter: status for status, letter in _LETTERS.items()}
_DEFAULTS: list[Any] = ["p", 0, 0, 0, 0, None, 0, None, 0, 0]

_WORKED_ON_BY_US = "running = :slice"
_NOT_WORKED_ON = "attribute_not_exists(running)"
_AS_IT_WAS_READ = "revision = :revision"
_PLANNED_ALIKE = "data_map_version = :version AND request_ids = :requests"


def job_key(job_id: str) -> Item:
    return {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": "META"}}


def task_key(task: Task) -> Item:
    return {"pk": {"S": f"JOB#{task.job_id}"}, "sk": {"S": f"TASK#{task.unit}#{task.number:04d}"}}


def parts_to_text(parts: Iterable[Part]) -> str:
    """JSON: for each part ``[request id, status p|e|v|f, erased, at least 0|1, rounds, stalls, reason, kept, until,
    kept more 0|1, unreadable]``, without what stands at its end and is as in a new part."""
    rows = []
    for part in parts:
        row = [_LETTERS[part.status], part.erased, int(part.at_least), part.rounds, part.stalls, part.reason]
        row += [part.kept.count, part.kept.until, int(part.kept.more), part.kept.unreadable]
        while row and row[-1] == _DEFAULTS[len(row) - 1]:
            row.pop()
        rows.append([part.request_id, *row])
    return json.dumps(rows, separators=(",", ":"))


def text_to_parts(text: str) -> tuple[Part, ...]:
    parts = []
    rows: list[list[Any]] = json.loads(text)
    for request_id, *row in rows:
        letter, erased, at_least, rounds, stalls, reason, kept, until, more, unreadable = [*row, *_DEFAULTS[len(row) :]]
        all_kept = Kept(kept, until, bool(more), unreadable) if kept or unreadable else NOTHING_KEPT
        parts.append(Part(request_id, _STATUSES[letter], erased, bool(at_least), rounds, stalls, reason, all_kept))
    return tuple(parts)


def task_to_item(task: Task) -> Item:
    values: dict[str, Any] = {
        "target": task.spec.name,
        "spec": task.spec.to_json(),
        "parts": parts_to_text(task.parts),
        "revision": task.revision,
    }
    if task.level:
        values["level"] = task.level
    if task.shard is not None:
        values["shard"] = [task.shard.total, task.shard.first, task.shard.end]
    return {**task_key(task), **to_item(values)}


def item_to_task(item: Item) -> Task:
    values = from_item(item)
    _, unit, number = values["sk"].split("#")
    return Task(
        job_id=values["pk"].removeprefix("JOB#"),
        unit=unit,
        number=int(number),
        spec=TargetSpec.from_json(values["spec"]),
        parts=text_to_parts(values["parts"]),
        running=values.get("running"),
        revision=values["revision"],
        level=values.get("level", 0),
        shard=Shard(*values["shard"]) if "shard" in values else None,
        cursor=values.get("cursor", 0),
    )


def _scans_to_text(job: PinnedJob) -> str:
    scans = {name: [[shard.total, shard.first, shard.end] for shard in shards] for name, shards in job.scans.items()}
    return json.dumps([scans, job.scanning], separators=(",", ":"))


def _moved(task: Task, cursor: int, values: dict[str, Any]) -> str:
    if cursor == task.cursor:
        return ""
    values[":cursor"] = cursor
    return ", #cursor = :cursor"


class DynamoDBTaskStore:
    """:class:`erasure.ports.TaskStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def pinned(self, job_id: str) -> PinnedJob | None:
        answer = self._client().get_item(TableName=self._table, Key=job_key(job_id), ConsistentRead=True)
        if "Item" not in answer:
            return None
        job = from_item(answer["Item"])
        scans, scanning = json.loads(job["scans"]) if "scans" in job else ({}, ())
        shards = {name: tuple(Shard(*shard) for shard in rows) for name, rows in scans.items()}
        return PinnedJob(job["data_map_version"], tuple(job["request_ids"]), shards, tuple(scanning))

    def create_job(self, job_id: str, job: PinnedJob, data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        # The job's own item first: it pins what the job is planned with, so that planning again after a crash makes
        # the same tasks.
        values: dict[str, Any] = {
            "request_ids": list(job.request_ids),
            "data_map_version": data_map.version,
            "data_map_digest": data_map.digest,
        }
        planned_alike = _PLANNED_ALIKE
        alike = {":version": to_attribute(data_map.version), ":requests": to_attribute(values["request_ids"])}
        if job.scans or job.scanning:
            values["scans"] = _scans_to_text(job)
            planned_alike += " AND scans = :scans"
            alike[":scans"] = to_attribute(values["scans"])
        else:
            planned_alike += " AND attribute_not_exists(scans)"
        try:
            self._client().put_item(
                TableName=self._table,
                Item={**job_key(job_id), **to_item(values)},
                ConditionExpression=f"attribute_not_exists(pk) OR ({planned_alike})",
                ExpressionAttributeValues=alike,
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise UnavailableError("the job was planned otherwise at the same moment") from None
        known = {(task.unit, task.number) for task in self.tasks(job_id)}
        missing = [task_to_item(task) for task in tasks if (task.unit, task.number) not in known]
        for start in range(0, len(missing), _BATCH):
            self._write(missing[start : start + _BATCH])

    def _write(self, items: list[Item]) -> None:
        requests = {self._table: [{"PutRequest": {"Item": item}} for item in items]}
        for attempt in range(_WRITE_TRIES):
            requests = self._client().batch_write_item(RequestItems=requests).get("UnprocessedItems") or {}
            if not requests:
                return
            time.sleep(random.uniform(0.01, 0.03) * 2**attempt)  # noqa: S311 - jitter
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
        parts, expression = task.parts, "SET running = :slice, revision = :next"
        values: dict[str, Any] = {":slice": slice_id, ":revision": task.revision, ":next": task.revision + 1}
        if task.running is not None:
            # The mark was left by a slice that died: what it had not counted yet is lost.
            parts = tuple(replace(part, at_least=True) if part.status == PENDING else part for part in parts)
            expression += ", parts = :parts"
            values[":parts"] = parts_to_text(parts)
        # Ours already: this is the client's own repetition of a call whose answer was lost.
        self._update(task, expression, f"{_AS_IT_WAS_READ} OR {_WORKED_ON_BY_US}", values)
        return replace(task, parts=parts, running=slice_id, revision=task.revision + 1)

    # Parts are written whole, with sums: the client repeats a call whose answer was lost.
    def note_progress(self, task: Task, slice_id: str, parts: Sequence[Part]) -> None:
        self._update(
            task,
            "SET parts = :parts, revision = revision + :one",
            _WORKED_ON_BY_US,
            {":slice": slice_id, ":parts": parts_to_text(parts), ":one": 1},
        )

    def end_slice(self, task: Task, slice_id: str, parts: Sequence[Part], cursor: int = 0) -> None:
        values = {":slice": slice_id, ":parts": parts_to_text(parts), ":one": 1}
        expression = f"SET parts = :parts, revision = revision + :one{_moved(task, cursor, values)} REMOVE running"
        self._update(task, expression, _WORKED_ON_BY_US, values)

    def set_verified(self, task: Task, parts: Sequence[Part], cursor: int = 0) -> None:
        values = {":parts": parts_to_text(parts), ":revision": task.revision, ":next": task.revision + 1}
        expression = f"SET parts = :parts, revision = :next{_moved(task, cursor, values)}"
        self._update(task, expression, f"{_AS_IT_WAS_READ} AND {_NOT_WORKED_ON}", values)

    def _update(self, task: Task, expression: str, condition: str, values: dict[str, Any]) -> None:
        """The update under a condition. Raises :class:`SliceLostError`."""
        try:
            self._client().update_item(
                TableName=self._table,
                Key=task_key(task),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues={name: to_attribute(value) for name, value in values.items()},
                **({"ExpressionAttributeNames": {"#cursor": "cursor"}} if ":cursor" in values else {}),
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise SliceLostError("another slice has taken this task over") from None
