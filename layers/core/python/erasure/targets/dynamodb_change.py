"""Change or delete items one by one, each as the verdict over it says, on the condition that it is as it was read.

An item that somebody else writes to at the same time fails its condition and is read anew, with strong consistency:
what others write is never lost, and what they made somebody else's, or brought under the law, is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, REJECTED, UNAVAILABLE, Calls, ConditionFailedError
from erasure.targets.dynamodb_pacing import Pacer
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity
from erasure.targets.dynamodb_reads import get_items
from erasure.targets.dynamodb_sweep import Claim, Outcome, Progress
from erasure.targets.dynamodb_verdict import judge
from erasure.targets.dynamodb_writes import ConditionalWriter, UnansweredError
from erasure.targets.protocol import Deadline


@dataclass(slots=True)
class _Course:
    """What has come of a batch so far. ``unanswered``: items, and for whom, that may have been written although no
    answer said so: if nothing is left to do to them, it was this write that did it."""

    outcome: Outcome = field(default_factory=Outcome)
    unanswered: set[tuple[Progress, tuple[str, ...]]] = field(default_factory=set)

    def settle(self, subject: Progress, key: Attributes, written: bool) -> None:
        self.outcome.counted[subject] += written or (subject, identity(key)) in self.unanswered
        self.outcome.settled[subject] += 1


class Changer:
    """Changes batches of plans that differ in their texts only, of which ``plan`` is one; several threads may use it
    at once. ``now``: aware; what is retained until later stays."""

    def __init__(self, calls: Calls, plan: ErasePlan, pacer: Pacer, deadline: Deadline, now: datetime) -> None:
        self._calls = calls
        self._plan = plan
        self._writer = ConditionalWriter(calls, pacer, deadline)
        self._deadline = deadline
        self._now = now

    def change(self, claims: Sequence[Claim]) -> Outcome:
        """Work on at most 100 different items; those that others change at the same time are read again, for a while.

        An item that cannot be changed, or of which nobody knows how long it is kept, is settled, with a flaw."""
        course, left, attempt = _Course(), list(claims), 0
        outcome = course.outcome
        try:
            while left:
                if attempt == MAX_ATTEMPTS:
                    changing = TargetError(UNAVAILABLE, permanent=False, detail="an item keeps changing")
                    outcome.failed |= {subject: changing for claim in left for subject in claim.subjects}
                    return outcome
                if attempt and not self._calls.pause(attempt, self._deadline):
                    outcome.time_up = True
                    return outcome
                left = self._once(left, course)
                if outcome.time_up:
                    return outcome
                attempt += 1
        except TargetError as error:
            outcome.error = error
        return outcome

    def _once(self, claims: list[Claim], course: _Course) -> list[Claim]:
        """Read and change each item once; returns what has to be read again."""
        missing, again = {}, []
        for claim in claims:
            if claim.item is None:
                missing[identity(claim.key)] = claim
            else:
                again += self._work_on(claim, claim.item, course)
        if missing and not course.outcome.time_up:
            for items in get_items(self._calls, self._plan, [claim.key for claim in missing.values()], self._deadline):
                for item in items:
                    again += self._work_on(missing.pop(identity(self._plan.key_of(item))), item, course)
        if course.outcome.time_up:
            return []
        for claim in missing.values():
            for subject in claim.subjects:
                course.settle(subject, claim.key, written=False)
        return again

    def _work_on(self, claim: Claim, item: Attributes, course: _Course) -> list[Claim]:
        """What has to be read again of the claim."""
        left = [subject for subject in claim.subjects if not self._settle(subject, item, course)]
        return [Claim(claim.key, left)] if left else []

    def _settle(self, subject: Progress, item: Attributes, course: _Course) -> bool:
        """Whether no more need be done about the item, for this subject."""
        if course.outcome.time_up:
            return True
        verdict, key = judge(subject.plan, item, self._now), self._plan.key_of(item)
        written, problem = verdict.operation is not None, verdict.problem
        try:
            if written and not self._writer.send(str(verdict.operation), verdict.arguments):
                course.outcome.time_up = True
                return True
        except ConditionFailedError as error:
            if isinstance(error, UnansweredError):
                course.unanswered.add((subject, identity(key)))
            return False
        except TargetError as error:
            if error.code != REJECTED:
                raise
            written, problem = False, error
        if not verdict.complete and problem is None:
            return False
        if problem is not None:
            course.outcome.flaws.setdefault(subject, problem)
        course.settle(subject, key, written)
        return True
