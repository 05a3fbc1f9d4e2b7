"""Read items by key with strong consistency, a hundred in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, THROTTLED, Calls
from erasure.targets.dynamodb_plan import Attributes, ErasePlan
from erasure.targets.protocol import Deadline

GET_ITEMS = 100
"""What BatchGetItem takes at most."""


def get_items(
    calls: Calls, plan: ErasePlan, keys: Sequence[Attributes], deadline: Deadline, more: Sequence[str] = ()
) -> Iterator[list[Attributes]]:
    """The items that exist of at most 100 different ``keys``, in some order, as the table answers: what the plan looks
    at of each, and ``more`` attributes. Raises :class:`TargetError`; an iteration that ends has asked for every key."""
    names, expression = plan.projection(*plan.looked_at, *more)
    request: dict[str, Any] = {
        plan.table: {
            "Keys": list(keys),
            "ConsistentRead": True,
            "ProjectionExpression": expression,
            "ExpressionAttributeNames": names,
        }
    }
    attempt = 0
    while request:
        response = calls.ask("batch_get_item", {"RequestItems": request}, deadline)
        found = [item for items in response["Responses"].values() for item in items]
        yield found
        request = response.get("UnprocessedKeys") or {}
        attempt = 1 if found else attempt + 1
        if request and (attempt >= MAX_ATTEMPTS or not calls.pause(attempt, deadline)):
            raise TargetError(THROTTLED, permanent=False)
