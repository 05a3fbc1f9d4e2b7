"""Delete items that lead to other targets' things, each only once what it leads to is gone.

Without the item, nobody would find the rest any more. So a batch of items is read with strong consistency, the guard
looks whether anything is left of what they lead to, and an item is deleted on the condition that the attributes which
led there are as they were read. An item that is written to meanwhile is read and looked at anew.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, REJECTED, UNAVAILABLE, Calls, ConditionFailedError
from erasure.targets.dynamodb_pacing import Pacer
from erasure.targets.dynamodb_plan import (
    Attributes,
    ErasePlan,
    condition_expression,
    condition_values,
    identity,
    placeholders,
)
from erasure.targets.dynamodb_reads import get_items
from erasure.targets.dynamodb_sweep import Claim, Outcome, Progress
from erasure.targets.dynamodb_writes import ConditionalWriter, UnansweredError
from erasure.targets.protocol import CHILDREN_LEFT, Deadline, Guard, Verdict

ENOUGH_HELD = 1000
"""A subject with so many items that have to wait for what they lead to is left for another slice."""

_Unanswered = dict[tuple[str, ...], Progress]
"""Items, and for whom, that may have been deleted although no answer said so: if they are gone, they were."""


class GuardedDeleter:
    """Deletes batches of plans that differ in their texts only, of which ``plan`` is one; several threads may use it
    at once."""

    def __init__(self, calls: Calls, plan: ErasePlan, pacer: Pacer, deadline: Deadline, guard: Guard) -> None:
        self._calls = calls
        self._plan = plan
        self._writer = ConditionalWriter(calls, pacer, deadline)
        self._deadline = deadline
        self._guard = guard
        self._attributes = tuple(name for name in guard.attributes if name not in plan.key)
        self._held: Counter[Progress] = Counter()
        self._lock = threading.Lock()

    def delete(self, claims: Sequence[Claim]) -> Outcome:
        """Work on at most 100 different items. One that has to stay is settled, with a flaw if it has to go later."""
        outcome, left, attempt = Outcome(), list(claims), 0
        unanswered: _Unanswered = {}
        try:
            while left and not outcome.time_up:
                if attempt == MAX_ATTEMPTS:
                    changing = TargetError(UNAVAILABLE, permanent=False, detail="an item keeps changing")
                    outcome.failed |= {subject: changing for claim in left for subject in claim.subjects}
                    return outcome
                if self._deadline.expired() or (attempt and not self._calls.pause(attempt, self._deadline)):
                    outcome.time_up = True
                    return outcome
                left = self._once(left, outcome, unanswered)
                attempt += 1
        except TargetError as error:
            outcome.error = error
        return outcome

    def _once(self, claims: list[Claim], outcome: Outcome, unanswered: _Unanswered) -> list[Claim]:
        """Read, look at and delete each item once; returns what has to be read again."""
        keys, found = [claim.key for claim in claims], dict[tuple[str, ...], Attributes]()
        for items in get_items(self._calls, self._plan, keys, self._deadline, self._attributes):
            found |= {identity(self._plan.key_of(item)): item for item in items}
        owned: list[tuple[Claim, Progress, Attributes]] = []
        for claim in claims:
            item = found.get(identity(claim.key))
            owner = next((own for own in claim.subjects if item is not None and own.plan.covers(item)), None)
            if item is None or owner is None:
                if item is None and identity(claim.key) in unanswered:
                    outcome.counted[unanswered[identity(claim.key)]] += 1
                outcome.settled.update(claim.subjects)  # it is gone, or none of theirs any more
            else:
                owned.append((claim, owner, item))
        # Subjects whose rules render alike share their items, and each of them may have something that these lead to.
        asked = [(position, item) for _, owner, item in owned for position in owner.positions]
        verdicts = iter(self._guard.look(asked, self._deadline)) if asked else iter(())
        again = []
        for claim, owner, item in owned:
            verdict = _gravest([next(verdicts) for _ in owner.positions])
            again += self._follow(verdict, claim, owner, item, outcome, unanswered)
        return again

    def _follow(
        self,
        verdict: Verdict,
        claim: Claim,
        owner: Progress,
        item: Attributes,
        outcome: Outcome,
        unanswered: _Unanswered,
    ) -> list[Claim]:
        """What has to be read again of the claim."""
        if outcome.time_up:
            return []
        if verdict.may_go:
            return self._delete(claim, owner, item, outcome, unanswered)
        if verdict.problem == CHILDREN_LEFT:
            self._hold(owner, outcome)
        elif verdict.problem is not None:
            self._note(verdict.problem, verdict.permanent, owner, outcome)
            return []
        outcome.settled.update(claim.subjects)
        return []

    def _hold(self, owner: Progress, outcome: Outcome) -> None:
        held = TargetError(CHILDREN_LEFT, permanent=False)
        outcome.flaws.setdefault(owner, held)
        with self._lock:
            self._held[owner] += 1
            if self._held[owner] >= ENOUGH_HELD:
                outcome.failed.setdefault(owner, held)

    def _note(self, problem: str, permanent: bool, owner: Progress, outcome: Outcome) -> None:
        """What kept the guard from seeing anything."""
        if permanent:
            outcome.failed.setdefault(owner, TargetError(problem, permanent=True))
        elif self._deadline.expired():
            outcome.time_up = True
        else:
            raise TargetError(problem, permanent=False)

    def _delete(
        self, claim: Claim, owner: Progress, item: Attributes, outcome: Outcome, unanswered: _Unanswered
    ) -> list[Claim]:
        try:
            if not self._writer.send("delete_item", self._arguments(owner.plan, item)):
                outcome.time_up = True
                return []
        except UnansweredError:
            unanswered[identity(claim.key)] = owner
            return [claim]
        except ConditionFailedError:
            return [claim]
        except TargetError as error:
            if error.code != REJECTED:
                raise
            outcome.failed.setdefault(owner, error)
            return []
        outcome.counted[owner] += 1
        outcome.settled.update(claim.subjects)
        return []

    def _arguments(self, plan: ErasePlan, item: Attributes) -> dict[str, Any]:
        """The deletion, on the condition that the item is there and is, as far as it matters, as it was read."""
        names = placeholders(plan.conditions) | {"#key": plan.key[0]}
        values = condition_values(plan.conditions)
        clauses = ["attribute_exists(#key)"]
        if plan.conditions:
            clauses.append(condition_expression(plan.conditions))
        for position, name in enumerate(self._attributes):
            names[f"#g{position}"] = name
            if name in item:
                values[f":g{position}"] = item[name]
                clauses.append(f"#g{position} = :g{position}")
            else:
                clauses.append(f"attribute_not_exists(#g{position})")
        arguments = {
            "TableName": plan.table,
            "Key": plan.key_of(item),
            "ConditionExpression": " AND ".join(clauses),
            "ExpressionAttributeNames": names,
            "ReturnConsumedCapacity": "INDEXES",
        }
        return arguments | ({"ExpressionAttributeValues": values} if values else {})


def _gravest(verdicts: Sequence[Verdict]) -> Verdict:
    """The one that decides: an item that must stay for one of its subjects stays."""
    return max(verdicts, key=lambda verdict: (not verdict.may_go, verdict.problem is not None, verdict.permanent))
