"""DynamoDB in memory, as far as the erasers, the verifier and the reader call it: a botocore client's methods.

It is small enough to be read at one go, and knows no more of DynamoDB than what those calls need: any expression of
another form is an error of the test. Pages are short, and calls for several items do not do everything at once, so that
whoever forgets the rest is seen.
"""

from __future__ import annotations

import copy
import random
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
Key = tuple[str, ...]

_STATEMENT = re.compile(r'DELETE FROM "([^"]+)" WHERE (.+)')
_CLAUSE = re.compile(r'(?:"(?P<equal>[^"]+)" = \?|begins_with\("(?P<begins>[^"]+)", \?\))')
_CALL = re.compile(r"(NOT )?([a-z_]+)\((\S+?)(?:, (\S+))?\)")


def client_error(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "about ann"}}, operation)


@dataclass
class Table:
    """``indexes``: the key attributes of each; one that begins with the table's partition key is a local one. ``size``:
    what DescribeTable says of it, in bytes."""

    name: str
    key: Key
    indexes: dict[str, Key] = field(default_factory=dict)
    size: int = 0
    items: dict[Key, Item] = field(default_factory=dict)

    def place_of(self, item: Mapping[str, Any]) -> Key:
        return tuple(item[name]["S"] for name in self.key)

    def put(self, item: Item) -> None:
        self.items[self.place_of(item)] = copy.deepcopy(item)

    def schema(self, key: Key) -> list[dict[str, str]]:
        return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]

    def description(self) -> dict[str, Any]:
        names = dict.fromkeys([*self.key, *(name for key in self.indexes.values() for name in key)])
        indexes: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for name, key in self.indexes.items():
            indexes[self.is_local(key)].append({"IndexName": name, "KeySchema": self.schema(key)})
        return {
            "TableName": self.name,
            "KeySchema": self.schema(self.key),
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "TableSizeBytes": self.size,
            "LocalSecondaryIndexes": indexes[True],
            "GlobalSecondaryIndexes": [{**index, "IndexStatus": "ACTIVE"} for index in indexes[False]],
        }

    def is_local(self, key: Key) -> bool:
        return len(self.key) == 2 and key[0] == self.key[0]

    def check(self, item: Item) -> None:
        """What may stand in a table: every key attribute that is there is a text, and not an empty one."""
        names = [*self.key, *(name for key in self.indexes.values() for name in key)]
        if any(not item[name].get("S") for name in names if name in item) or any(name not in item for name in self.key):
            raise client_error("UpdateItem", "ValidationException")


class FakeDynamoDB:
    """``chance`` decides how long pages are and what calls leave for another time."""

    def __init__(self, tables: Mapping[str, Table], chance: random.Random) -> None:
        self.tables = tables
        self._chance = chance
        self._lock = threading.RLock()

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        return found if name.startswith("_") or name == "tables" else self._one_at_a_time(found)

    def _one_at_a_time(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with self._lock:
                return copy.deepcopy(method(**copy.deepcopy(arguments)))

        return call

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise client_error("DescribeTable", "ResourceNotFoundException")
        return self.tables[name]

    def describe_table(self, **asked: Any) -> dict[str, Any]:
        return {"Table": self._table(asked["TableName"]).description()}

    def query(self, **asked: Any) -> dict[str, Any]:
        table = self._table(asked["TableName"])
        key = table.indexes[asked["IndexName"]] if "IndexName" in asked else table.key
        assert not asked["ConsistentRead"] or "IndexName" not in asked or table.is_local(key)
        found = [item for item in table.items.values() if all(name in item for name in key)]
        found = [item for item in found if _holds(asked["KeyConditionExpression"], item, asked)]
        return self._page(found, asked, lambda item: (*(item[name]["S"] for name in key), *table.place_of(item)))

    def scan(self, **asked: Any) -> dict[str, Any]:
        table = self._table(asked["TableName"])
        total, segment = asked["TotalSegments"], asked["Segment"]
        assert 0 <= segment < total
        own = [item for place, item in table.items.items() if zlib.crc32(place[0].encode()) % total == segment]
        return self._page(own, asked, table.place_of)

    def _page(self, found: list[Item], asked: Mapping[str, Any], order: Callable[[Item], Key]) -> dict[str, Any]:
        found = sorted(found, key=order)
        if "ExclusiveStartKey" in asked:
            # The item that it names may be gone.
            start = tuple(asked["ExclusiveStartKey"]["order"])
            found = [item for item in found if order(item) > start]
        most = min(asked.get("Limit", 1000), self._chance.choice((1, 2, 3, 100)))
        page, rest = found[:most], found[most:]
        answer: dict[str, Any] = {"LastEvaluatedKey": {"order": list(order(page[-1]))}} if rest else {}
        if "FilterExpression" in asked:
            page = [item for item in page if _holds(asked["FilterExpression"], item, asked)]
        if asked.get("Select") == "COUNT":
            return {**answer, "Count": len(page)}
        return {**answer, "Count": len(page), "Items": [_projected(item, asked) for item in page]}

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        ((name, wanted),) = asked["RequestItems"].items()
        table = self._table(name)
        keys, later = self._some(wanted["Keys"])
        places = [table.place_of(key) for key in keys]
        assert len(set(places)) == len(places) <= 100
        found = [_projected(table.items[place], wanted) for place in places if place in table.items]
        self._chance.shuffle(found)
        return {"Responses": {name: found}, "UnprocessedKeys": {name: {**wanted, "Keys": later}} if later else {}}

    def batch_write_item(self, **asked: Any) -> dict[str, Any]:
        ((name, requests),) = asked["RequestItems"].items()
        table = self._table(name)
        now, later = self._some(requests)
        places = [table.place_of(request["DeleteRequest"]["Key"]) for request in requests]
        assert len(set(places)) == len(places) <= 25
        for request in now:
            table.items.pop(table.place_of(request["DeleteRequest"]["Key"]), None)
        return {"UnprocessedItems": {name: later} if later else {}}

    def _some(self, things: list[Any]) -> tuple[list[Any], list[Any]]:
        """Those that are done at once, at least one of them, and the others."""
        number = len(things) if self._chance.random() < 0.7 else self._chance.randint(1, len(things))
        return things[:number], things[number:]

    def batch_execute_statement(self, **asked: Any) -> dict[str, Any]:
        return {"Responses": [self._execute(each["Statement"], each["Parameters"]) for each in asked["Statements"]]}

    def _execute(self, statement: str, parameters: list[dict[str, str]]) -> dict[str, Any]:
        matched = _STATEMENT.fullmatch(statement)
        assert matched is not None
        clauses = [_CLAUSE.fullmatch(clause) for clause in matched[2].split(" AND ")]
        table, wanted = self._table(matched[1]), list(zip(clauses, parameters, strict=True))
        place = tuple(value["S"] for clause, value in wanted if clause is not None and clause["equal"] in table.key)
        item = table.items.get(place)
        for clause, value in wanted:
            assert clause is not None
            found = (item or {}).get(clause["equal"] or clause["begins"], {}).get("S")
            is_so = found is not None and (found == value["S"] if clause["equal"] else found.startswith(value["S"]))
            if not is_so:
                return {"Error": {"Code": "ConditionalCheckFailed"}}
        del table.items[place]
        return {}

    def delete_item(self, **asked: Any) -> dict[str, Any]:
        table, _ = self._conditional("DeleteItem", asked)
        table.items.pop(table.place_of(asked["Key"]), None)
        return {}

    def update_item(self, **asked: Any) -> dict[str, Any]:
        table, item = self._conditional("UpdateItem", asked)
        changed = _updated(item or asked["Key"], asked)
        table.check(changed)
        if table.place_of(changed) != table.place_of(asked["Key"]):
            raise client_error("UpdateItem", "ValidationException")
        table.put(changed)
        return {}

    def _conditional(self, operation: str, asked: Mapping[str, Any]) -> tuple[Table, Item | None]:
        table = self._table(asked["TableName"])
        assert set(asked["Key"]) == set(table.key)
        item = table.items.get(table.place_of(asked["Key"]))
        if not _holds(asked["ConditionExpression"], item or {}, asked):
            raise client_error(operation, "ConditionalCheckFailedException")
        return table, item


def _names(path: str, asked: Mapping[str, Any]) -> list[str]:
    return [asked["ExpressionAttributeNames"][placeholder] for placeholder in path.split(".")]


def _at(path: str, item: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    found: Any = {"M": item}
    for name in _names(path, asked):
        found = (found or {}).get("M", {}).get(name)
    return found


def _projected(item: Item, asked: Mapping[str, Any]) -> Item:
    names = {asked["ExpressionAttributeNames"][each] for each in asked["ProjectionExpression"].split(", ")}
    return {name: value for name, value in item.items() if name in names}


def _holds(expression: str, item: Item, asked: Mapping[str, Any]) -> bool:
    return all(_clause_holds(clause, item, asked) for clause in expression.split(" AND "))


def _clause_holds(clause: str, item: Item, asked: Mapping[str, Any]) -> bool:
    values = asked.get("ExpressionAttributeValues", {})
    if " IN (" in clause:
        path, _, among = clause.removesuffix(")").partition(" IN (")
        return any(is_same(_at(path, item, asked), values[each]) for each in among.split(", "))
    if " = " in clause:
        path, value = clause.split(" = ")
        return is_same(_at(path, item, asked), values[value])
    called = _CALL.fullmatch(clause)
    assert called is not None, clause
    negated, function, path, value = called.groups()
    found = _at(path, item, asked)
    if function in ("attribute_exists", "attribute_not_exists"):
        return (found is not None) == (function == "attribute_exists")
    found, wanted = found or {}, values[value]["S"]
    answers = {
        "begins_with": "S" in found and found["S"].startswith(wanted),
        "attribute_type": wanted in found,
        "contains": wanted in found.get("SS", ()),
    }
    return answers[function] != bool(negated)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values in DynamoDB's own form are equal for DynamoDB: sets have no order, numbers one value."""
    return bool(_comparable(one) == _comparable(other))


def _comparable(value: Any) -> Any:
    if value is None:
        return None
    ((kind, content),) = value.items()
    if kind in ("SS", "NS", "BS"):
        return kind, frozenset(map(Decimal, content)) if kind == "NS" else frozenset(content)
    if kind == "M":
        return kind, {name: _comparable(each) for name, each in content.items()}
    if kind == "L":
        return kind, [_comparable(each) for each in content]
    return kind, Decimal(content) if kind == "N" else content


def _updated(item: Item, asked: Mapping[str, Any]) -> Item:
    changed, values = copy.deepcopy(item), asked.get("ExpressionAttributeValues", {})
    positions: list[tuple[list[str], int]] = []
    for word, path, value in _changes(asked["UpdateExpression"]):
        bare, _, position = path.removesuffix("]").partition("[")
        *way, last = _names(bare, asked)
        inside = changed
        for name in way:
            if "M" not in inside.get(name, {}):
                raise client_error("UpdateItem", "ValidationException")
            inside = inside[name]["M"]
        if word == "SET":
            inside[last] = copy.deepcopy(values[value])
        elif word == "DELETE":
            inside[last]["SS"] = [each for each in inside[last]["SS"] if each not in values[value]["SS"]]
            if not inside[last]["SS"]:
                del inside[last]
        elif position:
            assert not way
            positions.append(([last], int(position)))
        else:
            inside.pop(last, None)
    # Positions are those that the list had before.
    for (name,), number in sorted(positions, key=lambda each: each[1], reverse=True):
        del changed[name]["L"][number]
    return changed


def _changes(expression: str) -> Iterator[tuple[str, str, str]]:
    """Word, path, and the placeholder of a value."""
    for word, clauses in re.findall(r"(SET|REMOVE|DELETE) (.+?)(?= SET | REMOVE | DELETE |$)", expression):
        for clause in clauses.split(", "):
            path, _, value = clause.replace(" = ", " ").partition(" ")
            yield word, path, value
