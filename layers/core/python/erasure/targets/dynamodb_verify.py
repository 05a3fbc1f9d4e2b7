"""Look again: what of the subjects' is still in the table. Reads only.

Uses DescribeTable, Query and BatchGetItem, so it runs under a role that cannot write.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import REJECTED, Calls
from erasure.targets.dynamodb_deletes import BATCH_ITEMS
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity
from erasure.targets.dynamodb_reads import GET_ITEMS, get_items
from erasure.targets.dynamodb_sweep import Claim, Outcome, Progress, Sweep, Way
from erasure.targets.dynamodb_verdict import judge
from erasure.targets.protocol import Deadline

LEFT_BOUND = 1000
"""Counting a subject's items stops here: it only matters whether anything is left, and roughly how much."""


def count_left(
    calls: Calls, subjects: Sequence[Progress], deadline: Deadline, workers: int, now: datetime
) -> TargetError | None:
    """Count what is still to be done, up to about ``LEFT_BOUND`` of each subject, and what is kept (``now``: aware);
    returns the table's problem, if any.

    An item is counted if the *table* says with strong consistency that it matches; what a global index still lists
    after its item has gone, or changed hands, is not left. What has not reached the index yet is not seen.
    Of items that are detached, one that the index lists is also left while it still holds the value.
    Of items that are redacted, those are left in which something can or could not be redacted.
    """
    plan = subjects[0].plan
    look = Looker(calls, plan, deadline, now).look
    if plan.told_by_pages:
        way = Way(ErasePlan.item_query, look, BATCH_ITEMS, enough=LEFT_BOUND, carries=True)
    elif plan.deletes and plan.consistent:
        way = Way(lambda plan: plan.query() | {"Select": "COUNT"}, None, 0, enough=LEFT_BOUND)
    else:
        way = Way(ErasePlan.key_query, look, GET_ITEMS, enough=LEFT_BOUND)
    return Sweep(calls, subjects, deadline, way, workers).run()


class Looker:
    """Looks at batches of items of plans that differ in their texts only, of which ``plan`` is one."""

    def __init__(self, calls: Calls, plan: ErasePlan, deadline: Deadline, now: datetime) -> None:
        self._calls = calls
        self._plan = plan
        self._deadline = deadline
        self._now = now

    def look(self, claims: list[Claim]) -> Outcome:
        """Count at most 100 items that are still each subject's by what the table says, and that there is something to
        do to; and those that are kept."""
        outcome = Outcome()
        if self._deadline.expired():
            outcome.time_up = True
            return outcome
        unread = {identity(claim.key): claim for claim in claims if claim.item is None}
        for claim in claims:
            if claim.item is not None:
                self._count(claim, claim.item, outcome)
        try:
            if unread:
                keys = [claim.key for claim in unread.values()]
                for items in get_items(self._calls, self._plan, keys, self._deadline):
                    for item in items:
                        self._count(unread[identity(self._plan.key_of(item))], item, outcome)
        except TargetError as error:
            outcome.error = error
            return outcome
        for claim in claims:
            outcome.settled.update(claim.subjects)
        return outcome

    def _count(self, claim: Claim, item: Attributes, outcome: Outcome) -> None:
        for subject in claim.subjects:
            verdict = judge(subject.plan, item, self._now)
            is_rejected = verdict.problem is not None and verdict.problem.code == REJECTED
            outcome.counted[subject] += verdict.operation is not None or is_rejected
            if verdict.kept_until is not None:
                outcome.keep(subject, verdict.kept_until)
            if verdict.problem is not None and not is_rejected:
                outcome.flaws.setdefault(subject, verdict.problem)
