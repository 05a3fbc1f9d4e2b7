"""Take a subject out of items that others own: the items stay, and what others write to them is never lost.

Each item is read with strong consistency and changed by one UpdateItem whose conditions say that all on which it was
based is still so; otherwise the item is read anew. The same update takes away the index's key attributes that name the
subject, so that the item leaves the index exactly when the value has left the attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import (
    MAX_ATTEMPTS,
    REJECTED,
    THROTTLED,
    UNAVAILABLE,
    Calls,
    ConditionFailedError,
)
from erasure.targets.dynamodb_pacing import Pacer, write_units
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity
from erasure.targets.dynamodb_reads import get_items
from erasure.targets.dynamodb_sweep import Claim, Outcome, Progress
from erasure.targets.protocol import Deadline

POSITIONS = 100
"""List elements that one update removes: an expression holds 4 KB."""

_SHARE_OF_A_BATCH = 1 / 25


@dataclass(slots=True)
class Update:
    """One UpdateItem in the making. ``complete``: nothing of the subject is left in the item after it."""

    removals: list[str] = field(default_factory=list)
    deletion: str | None = None
    conditions: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    complete: bool = True

    def arguments(self, plan: ErasePlan, key: Attributes) -> dict[str, Any]:
        clauses = [f"REMOVE {', '.join(self.removals)}"] if self.removals else []
        clauses += [f"DELETE {self.deletion}"] if self.deletion else []
        return {
            "TableName": plan.table,
            "Key": key,
            "UpdateExpression": " ".join(clauses),
            "ConditionExpression": " AND ".join(self.conditions),
            "ExpressionAttributeNames": self.names,
            "ExpressionAttributeValues": self.values,
            "ReturnConsumedCapacity": "INDEXES",
        }


def make_update(plan: ErasePlan, item: Attributes) -> Update | None:
    """What detaches the subject from ``item`` as it was read; ``None``: it has nothing of the subject.

    Raises :class:`TargetError` ``rejected`` if the attribute is of a type of which nobody can say what it holds.
    """
    detachment = plan.detachment
    assert detachment is not None  # noqa: S101 - plans without are deleted
    if not plan.attached(item):
        return None
    # UpdateItem would bring an item that has gone back to life.
    update = Update(conditions=["attribute_exists(#k)"], names={"#k": plan.key[0]})
    naming = []
    for position, match in enumerate(plan.conditions):
        name, value = f"#m{position}", f":m{position}"
        update.names[name] = match.attribute
        if match.attribute in item:
            update.values[value] = item[match.attribute]
            update.conditions.append(f"{name} = {value}")
        else:
            update.conditions.append(f"attribute_not_exists({name})")
        if match.attribute in detachment.naming and match.attribute in item:
            naming.append(name)
    if detachment.attribute not in detachment.naming:
        update.names["#a"] = detachment.attribute
        _take_out(update, item.get(detachment.attribute), detachment.value)
    if update.complete:
        update.removals += naming
    return update


def _take_out(update: Update, found: Any, value: str) -> None:
    """Let ``update`` take ``value`` out of the attribute ``#a``, which was ``found``."""
    if found is None:
        update.conditions.append("attribute_not_exists(#a)")
        return
    ((kind, content),) = found.items()
    if kind == "SS":
        # Others may add to the set and take from it meanwhile: only this one member matters.
        update.values |= {":a": {"S": value}, ":t": {"S": "SS"}}
        update.conditions.append("attribute_type(#a, :t)")
        if value in content:
            update.values[":s"] = {"SS": [value]}
            update.deletion = "#a :s"
        update.conditions.append("contains(#a, :a)" if value in content else "NOT contains(#a, :a)")
        return
    if kind not in ("S", "L") or (kind == "L" and any("S" not in element for element in content)):
        raise TargetError(REJECTED, permanent=True, detail="the attribute holds neither strings nor a string")
    # The whole of it: a position holds the value only as long as nobody puts anything before it, and the value may
    # come in at another place.
    update.values[":a"] = found
    update.conditions.append("#a = :a")
    if kind == "S":
        update.removals += ["#a"] if content == value else []
        return
    positions = [position for position, element in enumerate(content) if element["S"] == value]
    # From the end, so that it does not matter whether an engine counts anew after each.
    update.removals += [f"#a[{position}]" for position in reversed(positions[-POSITIONS:])]
    update.complete = len(positions) <= POSITIONS


class Detacher:
    """Detaches batches of plans that differ in their texts only, of which ``plan`` is one; several threads may use it
    at once."""

    def __init__(self, calls: Calls, plan: ErasePlan, pacer: Pacer, deadline: Deadline) -> None:
        self._calls = calls
        self._plan = plan
        self._pacer = pacer
        self._deadline = deadline

    def detach(self, claims: Sequence[Claim]) -> Outcome:
        """Detach at most 100 different items; those that others change at the same time are read again, for a while."""
        outcome, left, attempt = Outcome(), list(claims), 0
        try:
            while left:
                if attempt == MAX_ATTEMPTS:
                    changing = TargetError(UNAVAILABLE, permanent=False, detail="an item keeps changing")
                    outcome.failed |= {subject: changing for claim in left for subject in claim.subjects}
                    return outcome
                if attempt and not self._calls.pause(attempt, self._deadline):
                    outcome.time_up = True
                    return outcome
                left = self._once(left, outcome)
                if outcome.time_up:
                    return outcome
                attempt += 1
        except TargetError as error:
            outcome.error = error
        return outcome

    def _once(self, claims: list[Claim], outcome: Outcome) -> list[Claim]:
        """Read and change each item once; returns what has to be read again."""
        missing, again = {identity(claim.key): claim for claim in claims}, []
        for items in get_items(self._calls, self._plan, [claim.key for claim in claims], self._deadline):
            for item in items:
                claim = missing.pop(identity(self._plan.key_of(item)))
                left = [subject for subject in claim.subjects if not self._settle(subject, item, outcome)]
                if outcome.time_up:
                    return []
                if left:
                    again.append(Claim(claim.key, left))
        for claim in missing.values():
            outcome.settled.update(claim.subjects)
        return again

    def _settle(self, subject: Progress, item: Attributes, outcome: Outcome) -> bool:
        """Whether no more need be done about the item, for this subject."""
        if subject in outcome.failed or outcome.time_up:
            return True
        try:
            update = make_update(subject.plan, item)
            if update is not None and not self._send(update.arguments(self._plan, self._plan.key_of(item))):
                outcome.time_up = True
                return True
        except ConditionFailedError:
            return False
        except TargetError as error:
            if error.code != REJECTED:
                raise
            outcome.failed[subject] = error
            return True
        if update is not None and not update.complete:
            return False
        outcome.counted[subject] += update is not None
        outcome.settled[subject] += 1
        return True

    def _send(self, arguments: dict[str, Any]) -> bool:
        """One update, again while what keeps it may pass; False: there is no time for it."""
        attempt = 0
        while self._calls.wait(self._pacer.reserve(1), self._deadline):
            try:
                response = self._calls.once("update_item", arguments)
            except TargetError as error:
                self._pacer.settle(1, 0)
                if error.code == THROTTLED:
                    self._pacer.throttled(_SHARE_OF_A_BATCH)
                attempt += 1
                if error.permanent or attempt >= MAX_ATTEMPTS or not self._calls.pause(attempt, self._deadline):
                    raise
                continue
            self._pacer.settle(1, write_units(response, 1))
            return True
        return False
