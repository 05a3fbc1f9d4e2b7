"""Look again: what of the subject's is still in the table. Reads only.

Uses DescribeTable, Query and BatchGetItem, so it runs under a role that cannot write.
"""

from __future__ import annotations

from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, THROTTLED, Calls
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity
from erasure.targets.protocol import Deadline, VerifyResult

LEFT_BOUND = 1000
"""Counting stops here: it only matters whether anything is left, and roughly how much."""

_GET_ITEMS = 100
"""What BatchGetItem takes at most."""


def count_left(calls: Calls, plan: ErasePlan, deadline: Deadline) -> VerifyResult:
    """Count what still matches, up to about ``LEFT_BOUND``.

    An item is counted if the *table* says with strong consistency that it matches; what a global index still lists
    after its item has gone, or changed hands, is not left. What has not reached the index yet is not seen.
    Raises :class:`TargetError`.
    """
    query = plan.query() | {"Select": "COUNT"} if plan.consistent else plan.key_query()
    left = 0
    while True:
        if deadline.expired():
            return VerifyResult(left, complete=False)
        page = calls.ask("query", query, deadline)
        if plan.consistent:
            left += page["Count"]
        else:
            for found in _chunks(plan, page["Items"]):
                if deadline.expired():
                    return VerifyResult(left, complete=False)
                left += _still_matching(calls, plan, found, deadline)
        cursor = page.get("LastEvaluatedKey")
        if not cursor or left >= LEFT_BOUND:
            return VerifyResult(min(left, LEFT_BOUND), complete=True)
        query = query | {"ExclusiveStartKey": cursor}


def _chunks(plan: ErasePlan, items: list[Attributes]) -> list[list[Attributes]]:
    # An item whose index key changes between two reads can be listed twice; a key may be asked for only once.
    keys = list({identity(key): key for key in map(plan.key_of, items)}.values())
    return [keys[start : start + _GET_ITEMS] for start in range(0, len(keys), _GET_ITEMS)]


def _still_matching(calls: Calls, plan: ErasePlan, keys: list[Attributes], deadline: Deadline) -> int:
    names, expression = plan.projection()
    request: dict[str, Any] = {
        plan.table: {
            "Keys": keys,
            "ConsistentRead": True,
            "ProjectionExpression": expression,
            "ExpressionAttributeNames": names,
        }
    }
    matching, attempt = 0, 0
    while request:
        response = calls.ask("batch_get_item", {"RequestItems": request}, deadline)
        found = [item for items in response["Responses"].values() for item in items]
        matching += sum(1 for item in found if plan.covers(item))
        request = response.get("UnprocessedKeys") or {}
        attempt = 1 if found else attempt + 1
        if request and (attempt >= MAX_ATTEMPTS or not calls.pause(attempt, deadline)):
            raise TargetError(THROTTLED, permanent=False)
    return matching
