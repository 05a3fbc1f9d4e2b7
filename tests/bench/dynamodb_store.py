"""A DynamoDB with one large table, with the latencies and the partitions of :mod:`tests.bench.dynamodb_stub`.

``python -m tests.bench.dynamodb_store --items 100000`` prints its port. The table has so many items of 1,000 bytes of
one user, in :data:`KINDS` partitions, and :data:`BESIDE` of a neighbour whose id begins like the user's. It knows
DescribeTable, Query, Scan by segments, BatchWriteItem and conditional DELETE by BatchExecuteStatement. The operation
``Place`` puts every hundredth item back with another ``actor``, of ``users`` in turn. ``GET /stats`` tells how many
items are left of the user (``own``) and of the neighbour (``beside``), how many deletions named something that was not
there (``strays``), and the calls.

DynamoDB Local reads a whole table to describe it, and more of it for each page of a scan than the page has: 100,000
items of it cannot be scanned in a reasonable time.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import Any

from tests.bench.dynamodb_stub import QUERY_SECONDS, WRITE_SECONDS, Answer, Bucket, serve

USER, NEIGHBOUR = "user-00001", "user-000012"
KINDS = 4
BESIDE = 100
FOUND_OF = 100
"""Of so many items, one has an actor."""

ITEM_BYTES = 1000
PAGE_ITEMS = 1000
SCAN_SECONDS = 0.040
"""A guess, for a page of 1 MB."""

RATE = 1000

Item = dict[str, Any]
Key = tuple[str, str]


class Table:
    def __init__(self, items: int) -> None:
        self._items: dict[Key, Item] = {}
        for user, number in ((USER, items), (NEIGHBOUR, BESIDE)):
            for position in range(number):
                key = (f"{position % KINDS}#acme#{user}", f"{position:08d}")
                self._items[key] = {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
        self._keys = sorted(self._items)
        self._places = {key: place for place, key in enumerate(self._keys)}
        self._partitions = {pk: list(keys) for pk, keys in groupby(self._keys, key=itemgetter(0))}
        self._buckets = {pk: Bucket(RATE, RATE) for pk in self._partitions}
        self._of_actors = [key for key in self._keys if not key[0].endswith(NEIGHBOUR)][::FOUND_OF]
        self._left = Counter(own=items, beside=BESIDE)
        self._size = items
        self.seen: Counter[str] = Counter()

    def stats(self) -> dict[str, Any]:
        return {**self._left, "strays": 0, **self.seen}

    async def answer(self, operation: str, request: dict[str, Any]) -> Answer:
        self.seen[operation] += 1
        seconds = {"Query": QUERY_SECONDS, "Scan": SCAN_SECONDS}.get(operation, WRITE_SECONDS)
        known = {
            "DescribeTable": self._describe,
            "Query": self._query,
            "Scan": self._scan,
            "BatchWriteItem": self._write,
            "BatchExecuteStatement": self._execute,
            "Place": self._place,
        }
        loop = asyncio.get_running_loop()
        answer_at = loop.time() + seconds
        content = known[operation](request)
        await asyncio.sleep(answer_at - loop.time())
        return 200, content

    def _describe(self, _: dict[str, Any]) -> dict[str, Any]:
        schema = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        table = {
            "TableName": "bench",
            "TableStatus": "ACTIVE",
            "KeySchema": schema,
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ItemCount": self._size,
            "TableSizeBytes": self._size * ITEM_BYTES,
        }
        return {"Table": table}

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = self._partitions.get(request["ExpressionAttributeValues"][":m0"]["S"], [])
        page = self._page(keys, request)
        return page | {"Count": len(page["Items"])}

    def _scan(self, request: dict[str, Any]) -> dict[str, Any]:
        total, segment = request["TotalSegments"], request["Segment"]
        size = len(self._keys)
        page = self._page(self._keys[size * segment // total : size * (segment + 1) // total], request)
        read = len(page["Items"]) * ITEM_BYTES / (4096 if request["ConsistentRead"] else 8192)
        if "FilterExpression" in request:
            wanted = [value["S"] for value in request["ExpressionAttributeValues"].values() if "S" in value]
            page["Items"] = [item for item in page["Items"] if item.get("actor", {}).get("S") in wanted]
        return page | {"Count": len(page["Items"]), "ConsumedCapacity": {"TableName": "bench", "CapacityUnits": read}}

    def _page(self, keys: list[Key], request: dict[str, Any]) -> dict[str, Any]:
        """The items from behind the one where the page before ended, whether that is still there or not."""
        start = request.get("ExclusiveStartKey")
        place = self._places[start["pk"]["S"], start["sk"]["S"]] + 1 if start else 0
        first = place - self._places[keys[0]] if start and keys else 0
        found: list[Key] = []
        most = min(PAGE_ITEMS, request.get("Limit", PAGE_ITEMS))
        for key in keys[first:]:
            if key in self._items:
                found.append(key)
            if len(found) == most:
                break
        page: dict[str, Any] = {"Items": [self._items[key] for key in found]}
        if len(found) == most and found[-1] != keys[-1]:
            page["LastEvaluatedKey"] = {"pk": {"S": found[-1][0]}, "sk": {"S": found[-1][1]}}
        return page

    def _write(self, request: dict[str, Any]) -> dict[str, Any]:
        ((table, writes),) = request["RequestItems"].items()
        refused = [write for write in writes if not self._takes(write["DeleteRequest"]["Key"]["pk"]["S"])]
        taken = [write for write in writes if write not in refused]
        for write in taken:
            key = write["DeleteRequest"]["Key"]
            self._delete((key["pk"]["S"], key["sk"]["S"]))
        consumed = {"TableName": table, "CapacityUnits": len(taken), "Table": {"CapacityUnits": len(taken)}}
        return {"UnprocessedItems": {table: refused} if refused else {}, "ConsumedCapacity": [consumed]}

    def _execute(self, request: dict[str, Any]) -> dict[str, Any]:
        """``DELETE … WHERE "pk" = ? AND "sk" = ? AND "actor" = ?``."""
        responses: list[dict[str, Any]] = []
        for statement in request["Statements"]:
            pk, sk, actor = (value["S"] for value in statement["Parameters"])
            if not self._takes(pk):
                responses.append({"Error": {"Code": "ThrottlingError", "Message": "slow down"}})
            elif self._items.get((pk, sk), {}).get("actor") == {"S": actor}:
                self._delete((pk, sk))
                responses.append({})
            else:
                responses.append({"Error": {"Code": "ConditionalCheckFailed", "Message": "is another's"}})
        consumed = {"TableName": "bench", "CapacityUnits": len(responses)}
        return {"Responses": responses, "ConsumedCapacity": [consumed]}

    def _takes(self, pk: str) -> bool:
        taken = self._buckets[pk].take(1)
        self.seen["refused"] += not taken
        return taken

    def _delete(self, key: Key) -> None:
        if self._items.pop(key, None) is None:
            self.seen["strays"] += 1
        else:
            self._left["beside" if key[0].endswith(NEIGHBOUR) else "own"] -= 1

    def _place(self, request: dict[str, Any]) -> dict[str, Any]:
        users = request["users"]
        for number, key in enumerate(self._of_actors):
            self._left["own"] += key not in self._items
            self._items[key] = {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
            if users:
                self._items[key]["actor"] = {"S": f"acme#{users[number % len(users)]}"}
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, required=True)
    asyncio.run(serve(Table(parser.parse_args().items)))


if __name__ == "__main__":
    main()
