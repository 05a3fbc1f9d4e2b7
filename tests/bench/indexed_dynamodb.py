"""A DynamoDB in this process with indexes that are kept in order, for tables that moto cannot serve.

Moto reads and sorts a whole table for each query, and copies it for each transaction: 100,000 requests take minutes.
This one is given to the service's adapters in the place of a client. It knows what they use for requests, tasks, trails
and the registry, evaluates their expressions, and raises botocore's errors; ``tests/functional/test_time_scale.py``
compares it with moto. What is read is counted, and charged by the rules of :mod:`tests.bench.capacity`.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tests.bench.capacity import read_units, size_of
from tests.bench.expressions import condition_of, update_of

Item = dict[str, Any]
Key = tuple[str, str]

PAGE_BYTES = 1_048_576
MOST_KEYS = 100
"""Of one BatchGetItem, and actions of one transaction."""
_HIGHEST = chr(0x10FFFF)
_NO_SORT_KEY = {"S": ""}
_KEY_CONDITION = re.compile(
    r"(?P<hash>\w+) = (?P<value>:\w+)"
    r"(?: AND (?:(?P<range>\w+) (?P<order><=|<|>=|>) (?P<bound>:\w+)|begins_with\(\w+, (?P<prefix>:\w+)\)))?"
)


@dataclass
class _Index:
    """``entries``: by partition, in order: sort key, and the item's own. ``projected``: ``None`` for whole items."""

    hash: str
    range: str
    projected: frozenset[str] | None
    entries: dict[str, list[tuple[str, Key]]] = field(default_factory=lambda: defaultdict(list))

    def place_of(self, item: Item | None) -> tuple[str, str] | None:
        if item is None or self.hash not in item or self.range not in item:
            return None
        return item[self.hash]["S"], item[self.range]["S"]


@dataclass
class _Table:
    """All tables have the key ``pk``, most ``sk`` too. A table is an index of itself, with the name ``""``."""

    indexes: dict[str, _Index]
    items: dict[Key, Item] = field(default_factory=dict)

    def write(self, key: Key, new: Item | None) -> None:
        old = self.items.get(key)
        for index in self.indexes.values():
            before, after = index.place_of(old), index.place_of(new)
            if before == after:
                continue
            if before is not None:
                entries = index.entries[before[0]]
                del entries[bisect_left(entries, (before[1], key))]
            if after is not None:
                insort(index.entries[after[0]], (after[1], key))
        if new is None:
            self.items.pop(key, None)
        else:
            self.items[key] = new

    def load(self, items: Iterable[Item]) -> None:
        for item in items:
            key = _key_of(item)
            self.items[key] = item
            for index in self.indexes.values():
                place = index.place_of(item)
                if place is not None:
                    index.entries[place[0]].append((place[1], key))
        for index in self.indexes.values():
            for entries in index.entries.values():
                entries.sort()


@dataclass
class Counted:
    """By place (a table, or ``table/index``) and operation: ``calls``; ``items`` and ``units`` that were read.
    ``actions`` of transactions and batches by table and kind."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    items: Counter[tuple[str, str]] = field(default_factory=Counter)
    units: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def by_operation(self) -> Counter[str]:
        """All calls."""
        calls = Counter[str]()
        for (_, operation), number in self.calls.items():
            calls[operation] += number
        return calls

    def read(self, place: str, operation: str, sizes: Sequence[int], units: float) -> None:
        self.calls[place, operation] += 1
        self.items[place, operation] += len(sizes)
        self.units[place, operation] += units


class IndexedDynamoDB:
    """Has the methods of botocore's client. Each call is one step: what happens at once happens one after another."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._lock = threading.RLock()
        self.counted = Counted()

    def create_table(self, **request: Any) -> None:
        indexes = {"": _Index("pk", "sk", None)}
        for index in request.get("GlobalSecondaryIndexes", ()):
            partition, sort = (element["AttributeName"] for element in index["KeySchema"])
            also = index["Projection"].get("NonKeyAttributes", ())
            indexes[index["IndexName"]] = _Index(partition, sort, frozenset(["pk", "sk", partition, sort, *also]))
        self._tables[request["TableName"]] = _Table(indexes)

    def load(self, table: str, items: Iterable[Item]) -> None:
        """Put many items, uncounted. They may share what they hold: nothing is changed in place."""
        self._tables[table].load(items)

    def everything(self, table: str) -> list[Item]:
        """All items, uncounted."""
        return list(self._tables[table].items.values())

    def take(self) -> Counted:
        """What was counted since the last time."""
        with self._lock:
            taken, self.counted = self.counted, Counted()
        return taken

    # Reading

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            item = self._tables[TableName].items.get(_key_of(Key))
            sizes = [] if item is None else [size_of(item)]
            self.counted.read(TableName, "GetItem", sizes, read_units(sum(sizes), consistent=ConsistentRead))
            return {} if item is None else {"Item": item}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((table, request),) = RequestItems.items()
        keys = [_key_of(key) for key in request["Keys"]]
        if len(keys) > MOST_KEYS or len(set(keys)) < len(keys):
            raise _error("ValidationException", "BatchGetItem")
        with self._lock:
            found = [self._tables[table].items[key] for key in keys if key in self._tables[table].items]
            sizes, missing = [size_of(item) for item in found], [0] * (len(keys) - len(found))
            consistent = request.get("ConsistentRead", False)
            units = sum(read_units(size, consistent=consistent) for size in [*sizes, *missing])
            self.counted.read(table, "BatchGetItem", sizes, units)
            return {"Responses": {table: found}}

    def query(self, **request: Any) -> dict[str, Any]:
        name, values = request.get("IndexName", ""), request["ExpressionAttributeValues"]
        matched = _KEY_CONDITION.fullmatch(request["KeyConditionExpression"])
        if matched is None or "FilterExpression" in request or (name and request.get("ConsistentRead")):
            raise _error("ValidationException", "Query")
        with self._lock:
            table = self._tables[request["TableName"]]
            index = table.indexes[name]
            if matched["hash"] != index.hash or matched["range"] not in (None, index.range):
                raise _error("ValidationException", "Query")
            entries = index.entries.get(values[matched["value"]]["S"], [])
            first, end = _bounds(entries, matched, values)
            forward = request.get("ScanIndexForward", True)
            if start := request.get("ExclusiveStartKey"):
                place = start[index.range]["S"], _key_of(start)
                if forward:
                    first = max(first, bisect_right(entries, place))
                else:
                    end = min(end, bisect_left(entries, place))
            positions: Sequence[int] = range(first, end) if forward else range(end - 1, first - 1, -1)
            return self._page(request, table, index, [entries[each][1] for each in positions])

    def _page(self, request: Any, table: _Table, index: _Index, keys: Sequence[Key]) -> dict[str, Any]:
        most, size = request.get("Limit"), 0
        found: list[Item] = []
        sizes: list[int] = []
        for key in keys:
            if len(found) == most or size >= PAGE_BYTES:
                break
            found.append(_projected(table.items[key], index))
            sizes.append(size_of(found[-1]))
            size += sizes[-1]
        place = "/".join(filter(None, (request["TableName"], request.get("IndexName"))))
        units = read_units(size, consistent=request.get("ConsistentRead", False))
        self.counted.read(place, "Query", sizes, units)
        page: dict[str, Any] = {"Items": found, "Count": len(found), "ScannedCount": len(found)}
        # As on AWS: a page that its limit has ended says so, whether anything comes after it or not.
        if found and (len(found) == most or len(found) < len(keys)):
            names = {"pk", "sk", index.hash, index.range}
            page["LastEvaluatedKey"] = {name: found[-1][name] for name in names}
        return page

    # Writing

    def put_item(self, **request: Any) -> dict[str, Any]:
        return self._write("Put", request)

    def update_item(self, **request: Any) -> dict[str, Any]:
        return self._write("Update", request)

    def delete_item(self, **request: Any) -> dict[str, Any]:
        return self._write("Delete", request)

    def batch_write_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((table, requests),) = RequestItems.items()
        with self._lock:
            self.counted.calls[table, "BatchWriteItem"] += 1
            for request in requests:
                ((kind, what),) = request.items()
                self._act(kind.removesuffix("Request"), {"TableName": table, **what})
        return {"UnprocessedItems": {}}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        actions = [(kind, request) for action in TransactItems for kind, request in action.items()]
        places = [(request["TableName"], _place(request)) for _, request in actions]
        if len(actions) > MOST_KEYS or len(set(places)) < len(places):
            raise _error("ValidationException", "TransactWriteItems")
        with self._lock:
            self.counted.calls[places[0][0], "TransactWriteItems"] += 1
            holds = [self._condition_holds(request) for _, request in actions]
            if not all(holds):
                codes = [{"Code": "None" if each else "ConditionalCheckFailed"} for each in holds]
                raise _error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=codes)
            for kind, request in actions:
                self._act(kind, request)
        return {}

    def _write(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.counted.calls[request["TableName"], f"{kind}Item"] += 1
            if not self._condition_holds(request):
                raise _error("ConditionalCheckFailedException", f"{kind}Item")
            old = self._tables[request["TableName"]].items.get(_place(request))
            self._apply(kind, request)
        return {"Attributes": old} if old is not None and request.get("ReturnValues") == "ALL_OLD" else {}

    def _condition_holds(self, request: Mapping[str, Any]) -> bool:
        text = request.get("ConditionExpression")
        if text is None:
            return True
        item = self._tables[request["TableName"]].items.get(_place(request), {})
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        return condition_of(text)(item, names, values)

    def _act(self, kind: str, request: Mapping[str, Any]) -> None:
        self.counted.actions[request["TableName"], kind] += 1
        self._apply(kind, request)

    def _apply(self, kind: str, request: Mapping[str, Any]) -> None:
        table, place = self._tables[request["TableName"]], _place(request)
        if kind == "Put":
            table.write(place, request["Item"])
        elif kind == "Delete":
            table.write(place, None)
        elif kind == "Update":
            names, values = request.get("ExpressionAttributeNames", {}), request["ExpressionAttributeValues"]
            old = table.items.get(place) or dict(request["Key"])
            table.write(place, update_of(request["UpdateExpression"])(old, names, values))


def _key_of(item: Mapping[str, Any]) -> Key:
    return item["pk"]["S"], item.get("sk", _NO_SORT_KEY)["S"]


def _place(request: Mapping[str, Any]) -> Key:
    return _key_of(request.get("Key") or request["Item"])


def _projected(item: Item, index: _Index) -> Item:
    names = index.projected
    return item if names is None else {name: value for name, value in item.items() if name in names}


def _bounds(entries: list[tuple[str, Key]], matched: re.Match[str], values: Mapping[str, Any]) -> tuple[int, int]:
    if matched["prefix"]:
        begin = values[matched["prefix"]]["S"]
        return bisect_left(entries, (begin,)), bisect_left(entries, (begin + _HIGHEST,))
    if not matched["order"]:
        return 0, len(entries)
    bound = values[matched["bound"]]["S"]
    before, behind = bisect_left(entries, (bound,)), bisect_left(entries, (bound, (_HIGHEST, "")))
    places: dict[str, Callable[[], tuple[int, int]]] = {
        "<": lambda: (0, before),
        "<=": lambda: (0, behind),
        ">": lambda: (behind, len(entries)),
        ">=": lambda: (before, len(entries)),
    }
    return places[matched["order"]]()


def _error(code: str, operation: str, **more: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": code}, **more}
    return ClientError(answer, operation)
