"""Look again: what of the subjects' is still in the table. Reads only.

Uses DescribeTable, Query and BatchGetItem, so it runs under a role that cannot write.
"""

from __future__ import annotations

from collections.abc import Sequence

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import Calls
from erasure.targets.dynamodb_plan import ErasePlan, identity
from erasure.targets.dynamodb_reads import GET_ITEMS, get_items
from erasure.targets.dynamodb_sweep import Claim, Outcome, Progress, Sweep, Way
from erasure.targets.protocol import Deadline

LEFT_BOUND = 1000
"""Counting a subject's items stops here: it only matters whether anything is left, and roughly how much."""


def count_left(calls: Calls, subjects: Sequence[Progress], deadline: Deadline, workers: int) -> TargetError | None:
    """Count what still matches, up to about ``LEFT_BOUND`` of each subject; returns the table's problem, if any.

    An item is counted if the *table* says with strong consistency that it matches; what a global index still lists
    after its item has gone, or changed hands, is not left. What has not reached the index yet is not seen.
    Of items that are detached, one that the index lists is also left while it still holds the value.
    """
    plan = subjects[0].plan
    if plan.consistent:
        way = Way(lambda plan: plan.query() | {"Select": "COUNT"}, None, 0, enough=LEFT_BOUND)
    else:
        look = _Looker(calls, plan, deadline).look
        way = Way(ErasePlan.key_query, look, GET_ITEMS, enough=LEFT_BOUND)
    return Sweep(calls, subjects, deadline, way, workers).run()


class _Looker:
    def __init__(self, calls: Calls, plan: ErasePlan, deadline: Deadline) -> None:
        self._calls = calls
        self._plan = plan
        self._deadline = deadline

    def look(self, claims: list[Claim]) -> Outcome:
        """Count the items that are still each subject's by what the table says."""
        outcome = Outcome()
        if self._deadline.expired():
            outcome.time_up = True
            return outcome
        found_for = {identity(claim.key): claim.subjects for claim in claims}
        try:
            for items in get_items(self._calls, self._plan, [claim.key for claim in claims], self._deadline):
                for item in items:
                    for subject in found_for[identity(self._plan.key_of(item))]:
                        outcome.counted[subject] += subject.plan.attached(item)
        except TargetError as error:
            outcome.error = error
            return outcome
        for claim in claims:
            outcome.settled.update(claim.subjects)
        return outcome
