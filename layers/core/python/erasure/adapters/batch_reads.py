"""Many items of one table by their keys, in as few calls as DynamoDB allows."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from erasure.adapters.attributes import Item
from erasure.errors import UnavailableError

_KEYS_OF_A_CALL = 100
_TRIES = 8


def read_items(client: Any, table: str, keys: Iterable[Item]) -> Iterator[Item]:
    """Those items that exist, in no order, strongly consistent. ``keys`` must be different from each other.

    Raises :class:`UnavailableError` if DynamoDB keeps putting some off.
    """
    left = iter(keys)
    while chunk := list(islice(left, _KEYS_OF_A_CALL)):
        yield from _read_chunk(client, table, chunk)


def _read_chunk(client: Any, table: str, keys: list[Item]) -> Iterator[Item]:
    for attempt in range(_TRIES):
        answer = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
        yield from answer["Responses"].get(table, [])
        keys = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
        if not keys:
            return
        time.sleep(random.uniform(0.01, 0.03) * 2**attempt)  # noqa: S311 - jitter
    raise UnavailableError("not everything could be read")
