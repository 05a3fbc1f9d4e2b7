"""Goal 9 and the calls of a job, and the heavy user on the deployed stack.

On moto, in this process: what the functions call for a job of eight targets beside erasing itself, and that the
number of states does not depend on how much there is. On the stack of `make up` (``PORT``; left out without one): the
same count, and the heavy user's erasure in seconds against the same data deleted by plain
loops over full batches. The heavy user's data is seeded before each measurement and again at the end.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from erasure.domain.subject import Subject
from local.sample import HEAVY, TABLES, Item, Person, StoredObject, items, objects
from local.seeding import seed
from local.stack import LocalError, Stack, load_stack
from tests.bench.counting import CallCounter
from tests.bench.moto_stack import counted_stack
from tests.e2e.calls import Caller, request_of, state_transitions
from tests.functional.job_stack import JobStack

GOAL = 9
MOST_TRANSITIONS = 12
LIGHT = Person("globex", "11")
"""Somebody of the sample with a few things in every target."""

LEAST_CALLS = 5 * 3 + 3 * 5
"""For the targets below with one thing in each: DynamoDB reads, deletes and reads again; S3 does so with two listings,
of versions and of unfinished uploads. Everything beyond is the service's own bookkeeping."""

NOT_OF_THE_JOB = ("ReceiveMessage", "DeleteMessage", "ListExecutions", "DescribeExecution")
"""Made by what stands in for SQS and Step Functions here."""


def run() -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict``."""
    return [*_rows_on_moto(), *_rows_on_stack()]


def _row(what: str, measured: float, bound: float, most: float = 1.0) -> dict[str, Any]:
    ratio = round(measured / bound, 3)
    return {
        "goal": GOAL,
        "what": what,
        "measured": round(measured, 1),
        "bound": round(bound, 1),
        "ratio": ratio,
        "verdict": "pass" if ratio <= most else "miss",
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row that no goal is set for."""
    return {**row, "goal": "-", "verdict": "info"}


# --- in this process -----------------------------------------------------------------------------------------------


def _rows_on_moto() -> list[dict[str, Any]]:
    with counted_stack() as (stack, counter):
        few, calls = _job(stack, counter, things=1)
        many, _ = _job(stack, counter, things=300)
    parts = ", ".join(f"{name} {count}" for name, count in sorted(calls.items()))
    return [
        _row("state transitions of a job of 8 targets", few, MOST_TRANSITIONS),
        _row("state transitions with 300 times the data", many, few),
        _told(_row(f"calls of a job of 8 targets with one thing each: {parts}", calls.total(), LEAST_CALLS)),
    ]


def _job(stack: JobStack, counter: CallCounter, things: int) -> tuple[int, Counter[str]]:
    """One erasure from the queue to the end: state transitions, and calls by operation."""
    subject = Subject("acme", f"user-{things}")
    for number in range(5):
        for item in range(things):
            key = {"pk": {"S": f"{number}#acme#{subject.id}"}, "sk": {"S": f"{item:06d}"}}
            stack.dynamodb.put_item(TableName="app-notes", Item=key)
    for number in range(3):
        for item in range(min(things, 30)):
            stack.s3.put_object(Bucket="app-files", Key=f"{number}/acme/{subject.id}/{item}", Body=b"x")
    request_id = stack.confirm(subject)
    counter.take()
    stack.entered.clear()
    stack.work()
    calls = counter.take()
    for name in NOT_OF_THE_JOB:
        del calls[name]
    if stack.request(request_id).state != "finished":
        raise RuntimeError("the job did not finish")
    return len(stack.entered), calls


# --- on the deployed stack -----------------------------------------------------------------------------------------


def _rows_on_stack() -> list[dict[str, Any]]:
    try:
        stack = load_stack()
    except LocalError as error:
        row = {"goal": GOAL, "measured": str(error), "bound": None, "ratio": None, "verdict": "skipped"}
        return [{**row, "what": "the heavy user on the deployed stack"}]
    try:
        seed(stack, of=[HEAVY, LIGHT])
        bare = _seconds(lambda: _delete_bare(stack))
        seed(stack, of=[HEAVY])
        light = state_transitions(stack, Caller(stack, LIGHT).erase())  # first: it starts the workers
        began = time.monotonic()
        request_id = Caller(stack, HEAVY).erase()
        wall = time.monotonic() - began
        heavy = state_transitions(stack, request_id)
    finally:
        seed(stack, of=[HEAVY, LIGHT])
    outcomes = request_of(stack, request_id).outcomes
    erased = sum(outcome.count for outcome in outcomes)
    return [
        _row(f"state transitions on the stack, {len(outcomes)} targets with a few things", light, MOST_TRANSITIONS),
        _row(
            f"state transitions on the stack, {len(outcomes)} targets with {erased:,} things", heavy, MOST_TRANSITIONS
        ),
        _told(
            _row(f"seconds to erase {erased:,} items and versions, against plain loops that verify nothing", wall, bare)
        ),
    ]


def _seconds(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _delete_bare(stack: Stack) -> None:
    """Delete what the self-deletion would, by keys that are known: full batches, eight at a time, nothing verified."""
    with ThreadPoolExecutor(2) as both:
        for work in [both.submit(_delete_items, stack), both.submit(_delete_objects, stack)]:
            work.result()


def _delete_items(stack: Stack) -> None:
    dynamodb = stack.client("dynamodb")
    requests = [(item.table, {"DeleteRequest": {"Key": _key(item)}}) for item in items() if _is_covered(item)]

    def delete(batch: list[tuple[str, Any]]) -> None:
        by_table: dict[str, Any] = {}
        for table, request in batch:
            by_table.setdefault(table, []).append(request)
        while by_table:
            by_table = dynamodb.batch_write_item(RequestItems=by_table).get("UnprocessedItems", {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(delete, [requests[start : start + 25] for start in range(0, len(requests), 25)]))


def _delete_objects(stack: Stack) -> None:
    s3 = stack.client("s3")
    keys: dict[str, set[str]] = {}
    for stored in filter(_is_covered, objects()):
        keys.setdefault(stored.bucket, set()).add(stored.key)

    def delete(bucket: str, page: Any) -> None:
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        listed = [
            {"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in found if entry["Key"] in keys[bucket]
        ]
        if listed:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": listed, "Quiet": True})

    with ThreadPoolExecutor(8) as pool:
        for bucket, names in keys.items():
            prefix = os.path.commonprefix([*names])  # noqa: RUF071 - of keys, not of paths
            pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
            list(pool.map(lambda page, bucket=bucket: delete(bucket, page), pages))


def _is_covered(thing: Item | StoredObject) -> bool:
    return thing.owner == HEAVY and thing.category in ("content", "preference")


def _key(item: Item) -> dict[str, Any]:
    names = [name for name in TABLES[item.table] if name]
    return {name: item.attributes[name] for name in names}
