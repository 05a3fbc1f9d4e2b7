"""A DynamoDB with fixed latencies and throttled partitions, to measure the eraser against.

Runs as a process of its own: ``python tests/bench/dynamodb_stub.py --items 5000``; prints its port. It knows one
table (``pk``, ``sk``, index ``by-user``) with ``--subjects`` partitions of ``--items`` equal items each, answers Query
in 8 ms and batch writes in 12 ms, and takes at most ``--rate`` write units a second and partition (``--burst`` of them
at once); what is beyond comes back unprocessed. ``GET /stats`` tells what it has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections import Counter
from typing import Any, Protocol

QUERY_SECONDS = 0.008
WRITE_SECONDS = 0.012
PAGE_BYTES = 1_000_000
PARTITION = "TENANT#acme#USER#"
"""And the number of the subject."""

Answer = tuple[int, dict[str, Any]]


class Bucket:
    """Write units: ``rate`` a second, at most ``burst`` saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens = rate, burst, burst
        self._at = time.monotonic()

    def take(self, units: float) -> bool:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < units:
            return False
        self._tokens -= units
        return True


class Table:
    def __init__(self, subjects: int, items: int, item_bytes: int, rate: float, burst: float) -> None:
        self._sorts = [f"ITEM#{number:08}" for number in range(items)]
        self._present = {str(number): set(self._sorts) for number in range(subjects)}
        self._buckets = {number: Bucket(rate, burst) for number in self._present}
        self._page_items = max(1, PAGE_BYTES // item_bytes)
        self._item_units = math.ceil(item_bytes / 1024)
        self.seen: Counter[str] = Counter()

    async def answer(self, operation: str, request: dict[str, Any]) -> Answer:
        self.seen[operation] += 1
        if operation == "DescribeTable":
            return 200, {"Table": _description()}
        if operation == "Query":
            await asyncio.sleep(QUERY_SECONDS)
            return 200, self._query(request)
        if operation in {"BatchWriteItem", "BatchExecuteStatement"}:
            await asyncio.sleep(WRITE_SECONDS)
            return self._write(request) if operation == "BatchWriteItem" else self._execute(request)
        return 400, {"__type": "UnknownOperationException"}

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        start = 0
        if cursor := request.get("ExclusiveStartKey"):
            start = int(cursor["sk"]["S"].removeprefix("ITEM#")) + 1
        end = start + min(self._page_items, request.get("Limit", self._page_items))
        user = request["ExpressionAttributeValues"][":m0"]["S"].removeprefix(PARTITION)
        found = [sort for sort in self._sorts[start:end] if sort in self._present[user]]
        items = [{"pk": {"S": PARTITION + user}, "sk": {"S": sort}, "user_id": {"S": user}} for sort in found]
        if "IndexName" not in request:
            items = [{"pk": item["pk"], "sk": item["sk"]} for item in items]
        page: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
        if end < len(self._sorts):
            page["LastEvaluatedKey"] = {"pk": {"S": PARTITION + user}, "sk": {"S": self._sorts[end - 1]}}
        return page

    def _delete(self, pk: str, sort: str) -> bool:
        user = pk.removeprefix(PARTITION)
        if not self._buckets[user].take(self._item_units):
            self.seen["refused"] += 1
            return False
        self.seen["units"] += self._item_units
        self.seen["deleted twice"] += sort not in self._present[user]
        self._present[user].discard(sort)
        return True

    def _write(self, request: dict[str, Any]) -> Answer:
        ((table, writes),) = request["RequestItems"].items()
        keys = [write["DeleteRequest"]["Key"] for write in writes]
        taken = [self._delete(key["pk"]["S"], key["sk"]["S"]) for key in keys]
        if not any(taken):
            return 400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}
        rest = [write for write, ok in zip(writes, taken, strict=True) if not ok]
        units = sum(taken) * self._item_units
        consumed = {"TableName": table, "CapacityUnits": units, "Table": {"CapacityUnits": units}}
        return 200, {"UnprocessedItems": {table: rest} if rest else {}, "ConsumedCapacity": [consumed]}

    def _execute(self, request: dict[str, Any]) -> Answer:
        refused = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}
        taken = [
            self._delete(statement["Parameters"][0]["S"], statement["Parameters"][1]["S"])
            for statement in request["Statements"]
        ]
        consumed = {"TableName": "bench", "CapacityUnits": sum(taken) * self._item_units}
        return 200, {"Responses": [{} if ok else refused for ok in taken], "ConsumedCapacity": [consumed]}

    def stats(self) -> dict[str, Any]:
        return {"left": sum(map(len, self._present.values())), **self.seen}


def _description() -> dict[str, Any]:
    def schema(*names: str) -> list[dict[str, str]]:
        return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]

    return {
        "TableName": "bench",
        "TableStatus": "ACTIVE",
        "KeySchema": schema("pk", "sk"),
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "user_id")],
        "GlobalSecondaryIndexes": [{"IndexName": "by-user", "KeySchema": schema("user_id"), "IndexStatus": "ACTIVE"}],
    }


class Answering(Protocol):
    async def answer(self, operation: str, request: dict[str, Any]) -> Answer: ...

    def stats(self) -> dict[str, Any]:
        """What ``GET /stats`` tells."""
        ...


async def serve(table: Answering) -> None:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if "x-amz-target" in headers:
                    status, answer = await table.answer(headers["x-amz-target"].split(".")[1], json.loads(body))
                else:
                    status, answer = 200, table.stats()
                payload = json.dumps(answer, separators=(",", ":")).encode()
                writer.write(
                    b"HTTP/1.1 %d OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
                    % (status, len(payload))
                )
                writer.write(payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=1)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--item-bytes", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--burst", type=float, default=1000)
    chosen = parser.parse_args()
    asyncio.run(serve(Table(chosen.subjects, chosen.items, chosen.item_bytes, chosen.rate, chosen.burst)))


if __name__ == "__main__":
    main()
