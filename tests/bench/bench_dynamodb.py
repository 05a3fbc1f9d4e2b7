"""Goal 8: the least possible calls and write units, at the pace that one partition allows.

``run()`` measures :class:`DynamoDBTarget` against the stub of :mod:`tests.bench.dynamodb_stub`, by key and by index.
The *paced bound* is the time in which the stub can take the items at all: ``(items - burst) / rate``.
Subjects that are erased together share the deleting calls; their rows hold the calls of each.
By itself: ``python -m tests.bench.bench_dynamodb``.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.dynamodb_calls import client_options
from erasure.targets.protocol import Deadline, SliceResult
from tests.bench.dynamodb_stub import PAGE_BYTES

GOAL = 8
ITEMS = 5000
SUBJECTS = 100
SUBJECT_ITEMS = 20
ITEM_BYTES = 1000
RATE = 1000
WALL_GOAL = 1.1

BY_KEY = DynamoDBRule("bench", KeyRule("pk", "TENANT#{tenant_id}#USER#{user_id}"))
BY_INDEX = DynamoDBRule("bench", KeyRule("user_id", "{user_id}"), index="by-user")


@dataclass(frozen=True)
class Measured:
    wall_seconds: float
    cpu_seconds: float
    seen: dict[str, Any]


@contextlib.contextmanager
def stub(items: int, burst: int, subjects: int = 1) -> Iterator[str]:
    """A stub of its own for one measurement; yields its endpoint."""
    options = {"--subjects": subjects, "--items": items, "--burst": burst, "--rate": RATE, "--item-bytes": ITEM_BYTES}
    command = [sys.executable, str(Path(__file__).with_name("dynamodb_stub.py"))]
    command += [str(part) for option in options.items() for part in option]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def measure(rule: DynamoDBRule, items: int, burst: int, subjects: int = 1) -> Measured:
    """Erase everything that the stub holds: of each of ``subjects``, ``items``."""
    with stub(items, burst, subjects) as endpoint:
        client = botocore.session.Session().create_client(
            "dynamodb",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            config=Config(**client_options(tasks=1)),
        )
        target = DynamoDBTarget(client)
        values = [{"tenant_id": "acme", "user_id": str(number)} for number in range(subjects)]
        wall, cpu = time.perf_counter(), time.process_time()
        results = target.erase(TargetSpec("bench", "content", dynamodb=rule), values, Deadline(600))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        with urllib.request.urlopen(f"{endpoint}/stats") as answer:
            seen = json.load(answer)
    assert results == [SliceResult(items, done=True)] * subjects, results
    assert seen["left"] == 0
    return Measured(wall, cpu, seen)


def row(what: str, measured: float, bound: float, goal: float = 1.0) -> dict[str, Any]:
    ratio = measured / bound if bound else (1.0 if not measured else math.inf)
    return {
        "goal": GOAL,
        "what": what,
        "measured": round(measured, 3),
        "bound": round(bound, 3),
        "ratio": round(ratio, 3),
        "verdict": "pass" if ratio <= goal + 1e-9 else "miss",
    }


def run(items: int = ITEMS) -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict`` (``pass`` or ``miss``)."""
    writes, pages = math.ceil(items / 25), math.ceil(items / (PAGE_BYTES // ITEM_BYTES))
    key, index, tight = measure(BY_KEY, items, 1000), measure(BY_INDEX, items, 1000), measure(BY_KEY, items, 50)
    many = {
        rule.index is not None: {count: measure(rule, SUBJECT_ITEMS, 1000, count) for count in (1, SUBJECTS)}
        for rule in (BY_KEY, BY_INDEX)
    }
    return [
        row(f"BatchWriteItem calls for {items:,} items by key", key.seen["BatchWriteItem"], writes),
        row("Query calls by key", key.seen["Query"], pages),
        row("all calls by key, with DescribeTable", _calls(key), writes + pages + 1),
        row("write units an item of 1 KB", key.seen["units"] / items, 1),
        row("items deleted twice", key.seen["deleted twice"], 0),
        row("seconds by key, partition of 1,000 units/s", key.wall_seconds, (items - 1000) / RATE, WALL_GOAL),
        row("seconds by key, the same almost without burst", tight.wall_seconds, (items - 50) / RATE, WALL_GOAL),
        row("write units an item, almost without burst", tight.seen["units"] / items, 1),
        row("BatchExecuteStatement calls by index", index.seen["BatchExecuteStatement"], writes),
        row("seconds by index, partition of 1,000 units/s", index.wall_seconds, (items - 1000) / RATE, WALL_GOAL),
        *(
            row(
                f"{operation} calls a subject, {count} of {SUBJECT_ITEMS} items",
                many[by_index][count].seen[operation] / count,
                math.ceil(count * SUBJECT_ITEMS / 25) / count,
            )
            for by_index, operation in ((False, "BatchWriteItem"), (True, "BatchExecuteStatement"))
            for count in (1, SUBJECTS)
        ),
        row(f"Query calls a subject, {SUBJECTS} together", many[False][SUBJECTS].seen["Query"] / SUBJECTS, 1),
    ]


def _calls(measured: Measured) -> int:
    return sum(measured.seen[name] for name in ("DescribeTable", "Query", "BatchWriteItem"))


def main() -> None:
    rows = run()
    for each in rows:
        print(f"{each['verdict']:4}  {each['ratio']:6.3f}  {each['measured']:>9} / {each['bound']:<9} {each['what']}")
    if any(each["verdict"] == "miss" for each in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
