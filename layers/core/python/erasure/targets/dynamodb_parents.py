"""Read a subject's items with some of their attributes: what other targets are found by stands in them. Reads only.

Uses Query, and BatchGetItem for items found through an index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import REJECTED, UNAVAILABLE, Calls
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity
from erasure.targets.dynamodb_reads import GET_ITEMS, get_items
from erasure.targets.protocol import Deadline


def read_items(
    calls: Calls, plan: ErasePlan, attributes: Sequence[str], deadline: Deadline
) -> Iterator[list[Attributes]]:
    """The plan's items, at most a hundred at a time, as the table has them with strong consistency: key, what was
    matched, and ``attributes``. Raises :class:`TargetError`, also when the deadline passes before all is read."""
    # An index need not hold the attributes, and a global one may lag behind its table.
    is_told = plan.index is None
    query = (plan.item_query(*attributes) if is_told else plan.key_query()) | {"Limit": GET_ITEMS}
    while True:
        if deadline.expired():
            raise TargetError(UNAVAILABLE, permanent=False, detail="there is no time to read on")
        page = calls.ask("query", query, deadline)
        items: list[Attributes] = page["Items"]
        if not all(map(plan.covers, items)):
            raise TargetError(REJECTED, permanent=True, detail="an item beyond the rule was answered")
        if not is_told:
            keys = {identity(key): key for key in map(plan.key_of, items)}
            found = get_items(calls, plan, list(keys.values()), deadline, attributes) if keys else ()
            items = [item for some in found for item in some if plan.covers(item)]
        if items:
            yield items
        if not page.get("LastEvaluatedKey"):
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
