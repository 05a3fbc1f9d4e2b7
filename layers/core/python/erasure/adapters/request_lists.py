"""Lists of requests, out of the indexes of the Requests table. They lag behind it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from erasure.adapters.attributes import Item
from erasure.adapters.request_items import request_key

BY_TENANT_STATE = ("by-tenant-state", "tenant_state")
BY_SUBJECT = ("by-subject", "subject_digest")
"""An index and its partition key; both sort by the request's key."""


def newest_first(
    client: Any, table: str, index: tuple[str, str], value: str, before: str | None, limit: int | None
) -> Iterator[Item]:
    """What the index has under ``value``, those older than the request id ``before``, at most ``limit``."""
    name, attribute = index
    values = {":value": {"S": value}}
    condition = f"{attribute} = :value"
    if before is not None:
        values[":before"] = request_key(before)["pk"]
        condition += " AND pk < :before"
    query = {
        "TableName": table,
        "IndexName": name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
        "ScanIndexForward": False,
    }
    return islice(queried(client, query, limit), limit)


def queried(client: Any, query: dict[str, Any], page: int | None = None) -> Iterator[Item]:
    """What a query finds, page after page as it is asked for. ``page``: items of one at most."""
    paging: dict[str, Any] = {} if page is None else {"Limit": page}
    while True:
        answer = client.query(**query, **paging)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        paging["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
