"""Delete up to 25 items in one call, and say how many the engine confirmed.

Two ways, chosen by what the key proves:

- The table's key settles that an item is the subject's: **BatchWriteItem**. One write unit an item of 1 KB.
- It was found by other attributes (an index): it may belong to somebody else by now, so each deletion is
  **conditional** on them: 25 PartiQL statements in one BatchExecuteStatement, or one DeleteItem each.

BatchExecuteStatement counts an item that is already gone as deleted (the engine does not tell them apart without
returning whole items); DeleteItem does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import (
    MAX_ATTEMPTS,
    THROTTLED,
    UNAVAILABLE,
    Calls,
    ConditionFailedError,
    error_for,
    is_failed_condition,
)
from erasure.targets.dynamodb_pacing import Pacer
from erasure.targets.dynamodb_plan import (
    Attributes,
    ErasePlan,
    condition_expression,
    condition_values,
    identity,
    placeholders,
)
from erasure.targets.protocol import Deadline

BATCH_ITEMS = 25
"""What BatchWriteItem and BatchExecuteStatement take at most."""

Conditional = Literal["batch", "single"]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What came of one batch. ``all_sent=False``: time ran out before everything was settled."""

    erased: int
    all_sent: bool = True
    error: TargetError | None = None


@dataclass(slots=True)
class _Answer:
    """What one call did. ``again``: keys to send once more, because of ``error``."""

    erased: int
    units: float
    again: list[Attributes]
    error: TargetError | None = None


class Deleter:
    """Deletes batches of one plan; several threads may use it at once."""

    def __init__(
        self, calls: Calls, plan: ErasePlan, pacer: Pacer, deadline: Deadline, conditional: Conditional
    ) -> None:
        self._calls = calls
        self._plan = plan
        self._pacer = pacer
        self._deadline = deadline
        self._conditions = plan.conditions
        if not self._conditions:
            self._send = self._write_batch
        elif conditional == "batch" and plan.fits_statement:
            self._send = self._execute_batch
            self._statement = _delete_statement(plan)
        else:
            self._send = self._delete_each

    def delete(self, keys: Sequence[Attributes]) -> Deleted:
        """Delete ``keys`` (at most 25, all different); only what the engine did not take is sent again."""
        left, erased, attempt = list(keys), 0, 0
        while left:
            reserved = len(left)
            if not self._calls.wait(self._pacer.reserve(reserved), self._deadline):
                return Deleted(erased, all_sent=False)
            answer = self._send(left)
            self._pacer.settle(reserved, answer.units)
            erased += answer.erased
            attempt = attempt + 1 if len(answer.again) == len(left) else 1
            left = answer.again
            if answer.error is not None:
                if answer.error.code == THROTTLED:
                    self._pacer.throttled(len(answer.again) / BATCH_ITEMS)
                if answer.error.permanent or attempt >= MAX_ATTEMPTS or not self._calls.pause(attempt, self._deadline):
                    return Deleted(erased, all_sent=not left, error=answer.error)
        return Deleted(erased)

    def _write_batch(self, keys: list[Attributes]) -> _Answer:
        table = self._plan.table
        requests = [{"DeleteRequest": {"Key": key}} for key in keys]
        try:
            response = self._calls.once(
                "batch_write_item", {"RequestItems": {table: requests}, "ReturnConsumedCapacity": "INDEXES"}
            )
        except TargetError as error:
            return _Answer(0, 0, keys, error)
        unprocessed = [request for requests in response.get("UnprocessedItems", {}).values() for request in requests]
        if not unprocessed:
            return _Answer(len(keys), _units(response, len(keys)), [])
        # Nothing is ever sent that was not checked: an answer can only name keys of the question.
        sent = {identity(key): key for key in keys}
        again = {identity(request["DeleteRequest"]["Key"]) for request in unprocessed if "DeleteRequest" in request}
        if not again or not again <= sent.keys():
            return _Answer(0, len(keys), [], TargetError("rejected", permanent=True, detail="unexpected answer"))
        erased = len(keys) - len(again)
        throttled = TargetError(THROTTLED, permanent=False)
        return _Answer(erased, _units(response, erased), [sent[key] for key in again], throttled)

    def _execute_batch(self, keys: list[Attributes]) -> _Answer:
        settled = [{"S": match.text} for match in self._conditions]
        statements = [
            {"Statement": self._statement, "Parameters": [*(key[name] for name in self._plan.key), *settled]}
            for key in keys
        ]
        try:
            response = self._calls.once(
                "batch_execute_statement", {"Statements": statements, "ReturnConsumedCapacity": "INDEXES"}
            )
        except TargetError as error:
            return _Answer(0, 0, keys, error)
        responses = response.get("Responses", [])
        if len(responses) != len(keys):
            return _Answer(0, 0, keys, TargetError(UNAVAILABLE, permanent=False, detail="an answer is missing"))
        answer = _Answer(0, _units(response, len(keys)), [])
        for key, result in zip(keys, responses, strict=True):
            code = result.get("Error", {}).get("Code")
            if code is None:
                answer.erased += 1
            elif not is_failed_condition(code):  # else the item is somebody else's by now: none of ours
                answer.again.append(key)
                answer.error = _graver(answer.error, error_for(code, _status(code)))
        return answer

    def _delete_each(self, keys: list[Attributes]) -> _Answer:
        answer = _Answer(0, 0, [])
        condition = {
            "TableName": self._plan.table,
            "ConditionExpression": condition_expression(self._conditions),
            "ExpressionAttributeNames": placeholders(self._conditions),
            "ExpressionAttributeValues": condition_values(self._conditions),
        }
        for position, key in enumerate(keys):
            if position and self._deadline.expired():
                answer.again.extend(keys[position:])
                return answer
            try:
                self._calls.once("delete_item", condition | {"Key": key})
                answer.erased += 1
                answer.units += 1
            except ConditionFailedError:
                answer.units += 1
            except TargetError as error:
                answer.error = error
                answer.again.extend(keys[position:])
                return answer
        return answer


def _delete_statement(plan: ErasePlan) -> str:
    """Values are parameters; names are quoted and hold nothing that would end a quotation (``fits_statement``)."""
    clauses = [f'"{name}" = ?' for name in plan.key]
    clauses += [
        f'begins_with("{match.attribute}", ?)' if match.prefix else f'"{match.attribute}" = ?'
        for match in plan.conditions
    ]
    return f'DELETE FROM "{plan.table}" WHERE {" AND ".join(clauses)}'  # noqa: S608 - quoted names only


def _status(code: str) -> int:
    return 500 if code.startswith("InternalServer") else 400


def _graver(first: TargetError | None, second: TargetError) -> TargetError:
    return second if first is None or (second.permanent and not first.permanent) else first


def _units(response: dict[str, Any], otherwise: int) -> float:
    """Write units that the busiest partition can have been charged; ``otherwise`` if the engine does not tell.

    Local indexes live in the table's partition, each global index has partitions of its own.
    """
    most = 0.0
    for consumed in response.get("ConsumedCapacity") or ():
        local = (consumed.get("LocalSecondaryIndexes") or {}).values()
        table = sum(part.get("CapacityUnits", 0.0) for part in (consumed.get("Table", consumed), *local))
        most = max(most, table, *_index_units(consumed))
    return most or otherwise


def _index_units(consumed: dict[str, Any]) -> list[float]:
    return [part.get("CapacityUnits", 0.0) for part in (consumed.get("GlobalSecondaryIndexes") or {}).values()]
