"""Capacity units by the rules that AWS documents, from what a table held before a call and holds after it.

Emulators count differently (DynamoDB Local reports transactions twice over, moto not at all), so units are worked out
here from items of moto's own tables: 1 write unit for each KB of the larger of both forms of an item, twice in a
transaction; index entries that are new, gone or different likewise (two where their key changes); reads of 4 KB, a
half of one where they are not strongly consistent. Rules: "DynamoDB read and write operations" and "Using Global
Secondary Indexes" in the developer's guide.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType

Item = Mapping[str, Mapping[str, Any]]


def size_of(item: Item) -> int:
    """The bytes of an item: names and values, numbers two digits a byte, three for a list and one for each entry."""
    return sum(len(name.encode()) + _size_of_value(value) for name, value in item.items())


def _size_of_value(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "N":
        return math.ceil(len(str(held).strip("-").strip("0")) / 2) + 1
    if kind in ("S", "B"):
        return len(held.encode() if isinstance(held, str) else held)
    if kind in ("SS", "NS", "BS"):
        return sum(len(str(entry).encode()) for entry in held)
    if kind == "L":
        return 3 + sum(1 + _size_of_value(entry) for entry in held)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _size_of_value(entry) for name, entry in held.items())
    return 1


def kilobytes(*items: Item | None) -> int:
    """Write units for these forms of one item: by the largest, 1 at least."""
    return max(1, *(math.ceil(size_of(item or {}) / 1024) for item in items))


def index_units(before: Item | None, after: Item | None) -> int:
    """Write units of one index, for its entry before and after a write (``None``: there is none)."""
    if before == after:
        return 0
    return kilobytes(before, after)


def read_units(size: int, *, consistent: bool) -> float:
    return max(1, math.ceil(size / 4096)) * (1.0 if consistent else 0.5)


class Meter:
    """Hung into a DynamoDB client on moto. Units by (table, ``read``, ``write`` or ``index``), calls by (table, name);
    a call for several tables counts for the first."""

    def __init__(self, client: Any) -> None:
        self.units: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        client.meta.events.register("provide-client-params.dynamodb", self._before)
        client.meta.events.register("after-call.dynamodb", self._after)

    def take(self) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        """The units and the calls since the last time."""
        with self._lock:
            taken = self.units, self.calls
            self.units, self.calls = Counter(), Counter()
        return taken

    def _before(self, params: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        context["metered"] = params, [(table, key, _stored(table, key)) for table, key in _written(model.name, params)]

    def _after(self, parsed: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        params, before = context["metered"]
        if "Error" in parsed:
            raise RuntimeError("what is refused is not part of any model")
        factor = 2 if model.name == "TransactWriteItems" else 1
        found: dict[tuple[str, str], float] = defaultdict(float)
        for table, key, old in before:
            new = _stored(table, key)
            found[table, "write"] += factor * kilobytes(old, new)
            found[table, "index"] += factor * _indexes(table, old, new)
        for table, units in _read(model.name, params, parsed):
            found[table, "read"] += units
        with self._lock:
            self.units.update(found)
            self.calls[_tables(params)[0], model.name] += 1


def _tables(params: Any) -> list[str]:
    if "TransactItems" in params:
        return [write["TableName"] for action in params["TransactItems"] for write in action.values()]
    return [params["TableName"]] if "TableName" in params else list(params["RequestItems"])


def _backend_table(name: str) -> Any:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[name]


def _stored(table: str, key: Item) -> dict[str, Any] | None:
    held = _backend_table(table)
    values = [DynamoType(dict(key[name])) for name in (held.hash_key_attr, held.range_key_attr) if name]
    item = held.get_item(*values)
    return None if item is None else item.to_json()["Attributes"]


def _key_of(table: str, item: Item) -> dict[str, Any]:
    held = _backend_table(table)
    return {name: item[name] for name in (held.hash_key_attr, held.range_key_attr) if name}


def _written(operation: str, params: Any) -> Iterator[tuple[str, Item]]:
    if operation == "PutItem":
        yield params["TableName"], _key_of(params["TableName"], params["Item"])
    elif operation in ("UpdateItem", "DeleteItem"):
        yield params["TableName"], params["Key"]
    elif operation == "BatchWriteItem":
        for table, requests in params["RequestItems"].items():
            for request in requests:
                put, delete = request.get("PutRequest"), request.get("DeleteRequest")
                yield table, _key_of(table, put["Item"]) if put else delete["Key"]
    elif operation == "TransactWriteItems":
        for action in params["TransactItems"]:
            ((kind, write),) = action.items()
            table = write["TableName"]
            yield table, _key_of(table, write["Item"]) if kind == "Put" else write["Key"]


def _indexes(table: str, old: Item | None, new: Item | None) -> int:
    units = 0
    for index in _backend_table(table).global_indexes:
        before, after = _entry(table, index, old), _entry(table, index, new)
        moved = before and after and any(before[name] != after[name] for name in _names(index))
        # A changed key is an entry deleted and another one put.
        units += index_units(before, None) + index_units(None, after) if moved else index_units(before, after)
    return units


def _names(index: Any) -> list[str]:
    return [element["AttributeName"] for element in index.schema]


def _entry(table: str, index: Any, item: Item | None) -> dict[str, Any] | None:
    if item is None or not set(_names(index)) <= set(item):
        return None
    if index.projection.get("ProjectionType") == "ALL":
        return dict(item)
    names = {*_names(index), *_key_of(table, item), *index.projection.get("NonKeyAttributes", ())}
    return {name: value for name, value in item.items() if name in names}


def _whole(params: Any, item: Item) -> Item:
    """What was read for an item that a projection has made smaller."""
    table = params["TableName"]
    return item if "IndexName" in params else _stored(table, _key_of(table, item)) or item


def _read(operation: str, params: Any, parsed: Any) -> Iterator[tuple[str, float]]:
    if operation == "GetItem":
        size = size_of(parsed.get("Item", {}))
        yield params["TableName"], read_units(size, consistent=params.get("ConsistentRead", False))
    elif operation == "Query":
        size = sum(size_of(_whole(params, item)) for item in parsed.get("Items", ()))
        yield params["TableName"], read_units(size, consistent=params.get("ConsistentRead", False))
    elif operation == "BatchGetItem":
        for table, request in params["RequestItems"].items():
            found = parsed["Responses"].get(table, [])
            consistent = request.get("ConsistentRead", False)
            missing = len(request["Keys"]) - len(found)
            yield table, sum(read_units(size_of(item), consistent=consistent) for item in found)
            yield table, missing * read_units(0, consistent=consistent)
