"""Delete up to 25 items in one call, whoever's they are, and say how many of each subject the engine confirmed.

Two ways, chosen by what the key proves:

- The table's key settles that an item is the subject's: **BatchWriteItem**. One write unit an item of 1 KB.
- It was found by other attributes (an index): it may belong to somebody else by now, so each deletion is
  **conditional** on them: 25 PartiQL statements in one BatchExecuteStatement, or one DeleteItem each.

BatchExecuteStatement counts an item that is already gone as deleted (the engine does not tell them apart without
returning whole items); DeleteItem does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import (
    MAX_ATTEMPTS,
    REJECTED,
    THROTTLED,
    UNAVAILABLE,
    Calls,
    ConditionFailedError,
    error_for,
    is_failed_condition,
)
from erasure.targets.dynamodb_pacing import Pacer, write_units
from erasure.targets.dynamodb_plan import (
    ErasePlan,
    condition_expression,
    condition_values,
    identity,
    placeholders,
)
from erasure.targets.dynamodb_sweep import Claim, Outcome, Progress, graver
from erasure.targets.protocol import Deadline

BATCH_ITEMS = 25
"""What BatchWriteItem and BatchExecuteStatement take at most."""

Conditional = Literal["batch", "single"]


@dataclass(slots=True)
class _Answer:
    """What one call did. ``again``: claims to send once more, because of ``error`` if there is one.

    ``refused``: the call as a whole is not acceptable, and nothing of it was done.
    """

    units: float = 0.0
    again: list[Claim] = field(default_factory=list)
    error: TargetError | None = None
    refused: bool = False


class Deleter:
    """Deletes batches of plans that differ in their texts only, of which ``plan`` is one; several threads may use it
    at once."""

    def __init__(
        self, calls: Calls, plan: ErasePlan, pacer: Pacer, deadline: Deadline, conditional: Conditional
    ) -> None:
        self._calls = calls
        self._plan = plan
        self._pacer = pacer
        self._deadline = deadline
        if not plan.conditions:
            self._send = self._write_batch
        elif conditional == "batch" and plan.fits_statement:
            self._send = self._execute_batch
            self._statement = _delete_statement(plan)
        else:
            self._send = self._delete_each

    def delete(self, claims: Sequence[Claim]) -> Outcome:
        """Delete at most 25 different items; only what the engine did not take is sent again."""
        outcome, left, attempt = Outcome(), list(claims), 0
        while left:
            reserved = len(left)
            if not self._calls.wait(self._pacer.reserve(reserved), self._deadline):
                outcome.time_up = True
                return outcome
            answer = self._send(left, outcome)
            self._pacer.settle(reserved, answer.units)
            if answer.refused:
                return self._find_refused(left, outcome)
            attempt = attempt + 1 if len(answer.again) == len(left) else 1
            left = answer.again
            if answer.error is not None:
                if answer.error.code == THROTTLED:
                    self._pacer.throttled(len(left) / BATCH_ITEMS)
                if answer.error.permanent or attempt >= MAX_ATTEMPTS or not self._calls.pause(attempt, self._deadline):
                    outcome.error = answer.error
                    return outcome
        return outcome

    def _find_refused(self, claims: list[Claim], outcome: Outcome) -> Outcome:
        """One item can make a call unacceptable: each subject's go alone, so that it is no one else's problem."""
        by_subject: dict[Progress, list[Claim]] = {}
        for claim in claims:
            by_subject.setdefault(claim.subjects[0], []).append(claim)
        for subject, own in by_subject.items():
            if len(by_subject) == 1:
                outcome.failed[subject] = TargetError(REJECTED, permanent=True)
            else:
                outcome.add(self.delete(own))
        return outcome

    def _write_batch(self, claims: list[Claim], outcome: Outcome) -> _Answer:
        requests = [{"DeleteRequest": {"Key": claim.key}} for claim in claims]
        arguments = {"RequestItems": {self._plan.table: requests}, "ReturnConsumedCapacity": "INDEXES"}
        try:
            response = self._calls.once("batch_write_item", arguments)
        except TargetError as error:
            return _failed(claims, error)
        unprocessed = [request for requests in response.get("UnprocessedItems", {}).values() for request in requests]
        # Nothing is ever sent that was not checked: an answer can only name keys of the question.
        sent = {identity(claim.key): claim for claim in claims}
        again = {identity(request["DeleteRequest"]["Key"]) for request in unprocessed if "DeleteRequest" in request}
        if unprocessed and (not again or not again <= sent.keys()):
            unexpected = TargetError(REJECTED, permanent=True, detail="unexpected answer")
            return _Answer(len(claims), error=unexpected)
        for key, claim in sent.items():
            if key not in again:
                _deleted(claim, outcome)
        units = write_units(response, len(claims) - len(again), self._pacer.weights)
        if not again:
            return _Answer(units)
        return _Answer(units, [sent[key] for key in again], TargetError(THROTTLED, permanent=False))

    def _execute_batch(self, claims: list[Claim], outcome: Outcome) -> _Answer:
        statements = [{"Statement": self._statement, "Parameters": self._parameters(claim)} for claim in claims]
        try:
            response = self._calls.once(
                "batch_execute_statement", {"Statements": statements, "ReturnConsumedCapacity": "INDEXES"}
            )
        except TargetError as error:
            return _failed(claims, error)
        responses = response.get("Responses", [])
        if len(responses) != len(claims):
            missing = TargetError(UNAVAILABLE, permanent=False, detail="an answer is missing")
            return _Answer(0, claims, missing)
        answer = _Answer(write_units(response, len(claims), self._pacer.weights))
        for claim, result in zip(claims, responses, strict=True):
            code = result.get("Error", {}).get("Code")
            if code is None:
                _deleted(claim, outcome)
            elif is_failed_condition(code):
                answer.again += _not_the_firsts(claim, outcome)
            else:
                failure = error_for(code, _status(code))
                if failure.code == REJECTED:
                    outcome.failed[claim.subjects[0]] = failure
                else:
                    answer.again.append(claim)
                    answer.error = graver(answer.error, failure)
        return answer

    def _parameters(self, claim: Claim) -> list[Any]:
        conditions = claim.subjects[0].plan.conditions
        return [*(claim.key[name] for name in self._plan.key), *({"S": match.text} for match in conditions)]

    def _delete_each(self, claims: list[Claim], outcome: Outcome) -> _Answer:
        answer = _Answer()
        for position, claim in enumerate(claims):
            if position and self._deadline.expired():
                answer.again += claims[position:]
                return answer
            conditions = claim.subjects[0].plan.conditions
            arguments = {
                "TableName": self._plan.table,
                "Key": claim.key,
                "ConditionExpression": condition_expression(conditions),
                "ExpressionAttributeNames": placeholders(conditions),
                "ExpressionAttributeValues": condition_values(conditions),
            }
            try:
                self._calls.once("delete_item", arguments)
                _deleted(claim, outcome)
            except ConditionFailedError:
                answer.again += _not_the_firsts(claim, outcome)
            except TargetError as error:
                if error.code != REJECTED:
                    answer.error = error
                    answer.again += claims[position:]
                    return answer
                outcome.failed[claim.subjects[0]] = error
                continue
            answer.units += 1
        return answer


def _failed(claims: list[Claim], error: TargetError) -> _Answer:
    return _Answer(refused=True) if error.code == REJECTED else _Answer(0, claims, error)


def _deleted(claim: Claim, outcome: Outcome) -> None:
    outcome.counted[claim.subjects[0]] += 1
    outcome.settled.update(claim.subjects)


def _not_the_firsts(claim: Claim, outcome: Outcome) -> list[Claim]:
    """The item is not that subject's any more. It may be the next one's for which it was found, if there is any."""
    first, *others = claim.subjects
    outcome.settled[first] += 1
    return [Claim(claim.key, others)] if others else []


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
