"""Goals 5, 8 and 11 at size: one person's 100,000 objects of two versions and 100,000 items, and what grows with them.

Plan, erasers and verifier as the functions have them (:mod:`tests.bench.big_work`), in a process of their own for each
measurement. Tables are DynamoDB Local's, at the real pace of a partition; buckets those of :mod:`tests.bench.s3_store`
with S3's latencies (without, where each item leads to one object). Afterwards everything has to be gone, and what
belongs to somebody else, whose id begins alike, to be there. Goals are counts, memory, and the processor's time for
each thing, from 1,000 to 100,000; seconds are for information: they are the engines' for the most part.

By itself: ``python -m tests.bench.bench_big``; single ones: ``python -m tests.bench.bench_big redact 100000``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from erasure.domain.data_map import parse_data_map
from tests.bench import s3_store, s3_stub
from tests.bench.bench_s3 import ENVIRONMENT, MEGABYTE, row_of
from tests.bench.big_work import Measured
from tests.bench.s3_stub import PAGE_ENTRIES, StubProcess
from tests.contract.dynamodb_engines import Engine, dynamodb_local, make_client

SIZES = (1_000, 10_000, 100_000)
FEWER = SIZES[:2]
"""Where each thing takes a call of its own: 100,000 of them take minutes, and show nothing else."""

VERSIONS = 2
KINDS = 4
"""Targets with items, in partitions of their own."""

FOUND_OF = 100
"""Of so many scanned items, one is the subjects'."""
MANY_USERS = 100

MOST_GROWTH = 1.1
MICROSECONDS = 1e6
USER, NEIGHBOUR = "user-00001", "user-000012"
BESIDE = 100
"""Items of the neighbour."""
FIRST_PORT = 6341

ITEM_BYTES = 950
DESCRIBED = ("TableName", "TableStatus", "KeySchema", "AttributeDefinitions", "BillingModeSummary")

Row = dict[str, Any]
Table = dict[str, Any]
"""As DescribeTable tells about it."""
Target = dict[str, Any]

OBJECTS: Target = {"name": "objects", "category": "content", "s3": {"bucket": "bench", "prefix": "tenant/{user_id}/"}}
ITEMS: list[Target] = [
    {"name": f"items-{kind}", "category": "content", "key": {"pk": f"{kind}#{{tenant_id}}#{{user_id}}"}}
    for kind in range(KINDS)
]
REDACTED = [item | {"action": {"redact": {"name": "remove", "contact.email": "digest"}}} for item in ITEMS]
SCANNED: Target = {"name": "scanned", "category": "content", "scan": {"actor": "{tenant_id}#{user_id}"}}
LINKED: list[Target] = [
    ITEMS[0],
    {"name": "files", "for_each": "items-0", "s3": {"bucket": "bench", "key": "{items-0.file}"}},
]


def run() -> list[Row]:
    """Rows as of :mod:`tests.bench.bench_s3`."""
    rows = _rows_of_objects({size: measure_objects(size) for size in SIZES})
    with tables() as engine:
        if engine is None:
            missing = {"goal": 8, "what": "items at size: DynamoDB Local is not installed", "measured": None}
            return [*rows, missing | {"bound": None, "ratio": None, "verdict": "skipped"}]
        one, many, items = {}, {}, {}
        for size in SIZES:
            one[size], many[size], items[size] = measure_table(engine, size)
        rows += _rows_of_items(items)
        rows += _rows_of_scans(one, many)
        rows += _rows_of_redacting({size: measure_redacting(engine, size) for size in FEWER})
        rows += _rows_of_links({size: measure_links(engine, size) for size in FEWER})
    return rows


# -- what is measured ---------------------------------------------------------------------------------------------


def work(targets: Sequence[Target], users: Sequence[str], table: Table | None = None, **endpoints: str) -> Measured:
    """One job, in a process of its own. ``table``: the description of its table."""
    specs = [spec.to_dict() for spec in parse_data_map({"version": 1, "targets": list(targets)}).targets]
    places = {f"AWS_ENDPOINT_URL_{service.upper()}": endpoint for service, endpoint in endpoints.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.big_work"],
        input=json.dumps({"specs": specs, "users": users, "table": table}, default=str),
        env=os.environ
        | ENVIRONMENT
        | places
        | {"AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return Measured(**json.loads(ended.stdout))


@contextmanager
def buckets(objects: int, *, no_wait: bool = False) -> Iterator[StubProcess]:
    """A bucket with so many objects, of which nothing may be left in the end, and nothing else may be gone."""
    with s3_stub.running(objects, VERSIONS, no_wait=no_wait, module=s3_store.__name__) as store:
        yield store
        expect(store.ask("left"), {"own": 0, "beside": s3_store.BESIDE * VERSIONS, "strays": 0})


@contextmanager
def tables() -> Iterator[Engine | None]:
    with ExitStack() as stack:
        local = dynamodb_local(Path(stack.enter_context(tempfile.TemporaryDirectory())), FIRST_PORT)
        if local is None:
            yield None
        else:
            yield Engine("dynamodb_local", make_client(stack.enter_context(local)), "batch")


def measure_objects(size: int) -> Measured:
    with buckets(size) as store:
        return expected(work([OBJECTS], [USER], s3=store.endpoint), size * VERSIONS)


def measure_table(engine: Engine, size: int) -> tuple[Measured, Measured, Measured]:
    """A scan for one subject, one for many, and then everything by key."""
    table, found = _table_of(engine, size), size // FOUND_OF
    measured = []
    for users in ([USER], [f"user-{number:03d}" for number in range(MANY_USERS)]):
        # Put in the place of others, so that the table is as large each time.
        _put(engine, table, ({"actor": {"S": f"acme#{users[n % len(users)]}"}} | _item(n) for n in range(found)))
        measured.append(expected(_on_table(engine, table, [SCANNED], users), found))
        _put(engine, table, map(_item, range(found)))
    measured.append(expected(_on_table(engine, table, ITEMS, [USER]), size))
    expect(_count(engine, table), BESIDE)
    one, many, items = measured
    return one, many, items


def measure_redacting(engine: Engine, size: int) -> Measured:
    table = _table_of(engine, size)
    measured = expected(_on_table(engine, table, REDACTED, [USER]), size)
    expect(_count(engine, table), size + BESIDE)
    named = {"FilterExpression": "attribute_exists(#n)", "ExpressionAttributeNames": {"#n": "name"}}
    expect(_count(engine, table, **named), BESIDE)
    return measured


def measure_links(engine: Engine, size: int) -> Measured:
    """Items that lead to one object each."""
    table = _table_of(engine, 0)
    _put(engine, table, (_item(n, kinds=1) | {"file": {"S": s3_store.key_of(n)}} for n in range(size)))
    with buckets(size, no_wait=True) as store:
        measured = expected(_on_table(engine, table, LINKED, [USER], s3=store.endpoint), size * (1 + VERSIONS))
    expect(_count(engine, table), BESIDE)
    return measured


def _on_table(
    engine: Engine, table: Table, targets: Sequence[Target], users: Sequence[str], **endpoints: str
) -> Measured:
    named = [_in_table(target, table["TableName"]) for target in targets]
    return work(named, users, table, dynamodb=engine.client.meta.endpoint_url, **endpoints)


def _in_table(target: Target, table: str) -> Target:
    rule = {name: target[name] for name in ("key", "scan") if name in target}
    rest = {name: value for name, value in target.items() if name not in rule}
    return rest | ({"dynamodb": {"table": table} | rule} if rule else {})


def _table_of(engine: Engine, size: int) -> Table:
    """The description of a new table with so many items of the user and some of the neighbour."""
    described = engine.client.describe_table(TableName=engine.create_table(["pk", "sk"]))["Table"]
    table = {name: described[name] for name in DESCRIBED} | {"ItemCount": size, "TableSizeBytes": size * ITEM_BYTES}
    _put(engine, table, map(_item, range(size)))
    _put(engine, table, (_item(number, user=NEIGHBOUR) for number in range(BESIDE)))
    return table


def _item(number: int, *, user: str = USER, kinds: int = KINDS) -> dict[str, Any]:
    """An item of less than 1 KB, which costs one write unit."""
    return {
        "pk": {"S": f"{number % kinds}#acme#{user}"},
        "sk": {"S": f"{number:08d}"},
        "name": {"S": "Ann"},
        "contact": {"M": {"email": {"S": "ann@example.com"}}},
        "text": {"S": "x" * 850},
    }


def _put(engine: Engine, table: Table, items: Iterator[dict[str, Any]]) -> None:
    every, name = list(items), table["TableName"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: engine.put(name, every[at : at + 25]), range(0, len(every), 25)))


def _count(engine: Engine, table: Table, **options: Any) -> int:
    pages = engine.client.get_paginator("scan").paginate(TableName=table["TableName"], Select="COUNT", **options)
    return sum(page["Count"] for page in pages)


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise RuntimeError(f"not measured: {found} instead of {wanted}")


def expected(measured: Measured, erased: int) -> Measured:
    expect(sum(measured.erased.values()), erased)
    return measured


# -- rows ---------------------------------------------------------------------------------------------------------

BySize = Mapping[int, Measured]


def _rows_of_objects(measured: BySize) -> list[Row]:
    rows = []
    for size, own in measured.items():
        pages = size * VERSIONS // PAGE_ENTRIES
        # Of the unfinished uploads one list each, and one of the versions that are not there any more.
        what = f"{size:,} objects x {VERSIONS}: calls, erasing and verifying"
        rows.append(row_of(5, what, sum(own.calls.values()), 2 * pages + 3))
    rows.append(_seconds(6, "objects x 2, S3's latencies", measured))
    return [*rows, *_level(6, "a version", measured, VERSIONS), *_memory("objects x 2", measured)]


def _rows_of_items(measured: BySize) -> list[Row]:
    rows = []
    for size, own in measured.items():
        batches = KINDS * ceil(size / KINDS / 25)
        rows.append(
            row_of(8, f"{size:,} items in {KINDS} targets: deleting calls", own.calls["BatchWriteItem"], batches)
        )
    # What can be written at once is as in dynamodb_pacing: 900 units.
    paced = max(1.0, SIZES[-1] / KINDS - 900) / 1000
    row = row_of(
        8, f"{SIZES[-1]:,} items: seconds against the pace of {KINDS} partitions", _last(measured).seconds, paced, 1
    )
    rows.append(row | {"verdict": "info"})
    return [*rows, *_level(8, "an item", measured), *_memory("items", measured)]


def _rows_of_scans(one: BySize, many: BySize) -> list[Row]:
    few, all_ = _last(one), _last(many)
    size = max(many)
    what = f"{size:,} items scanned, {size // FOUND_OF:,} found"
    more = f"{what}, {MANY_USERS} subjects against 1"
    return [
        row_of(8, f"{more}: read units", all_.read_units, few.read_units),
        row_of(8, f"{more}: calls that read", all_.calls["Scan"], few.calls["Scan"]),
        row_of(8, f"{what}: deleting calls", all_.calls["BatchExecuteStatement"], ceil(size / FOUND_OF / 25)),
        _seconds(8, f"items scanned twice for {MANY_USERS} subjects", many),
        *_level(8, "an item scanned", many),
        *_memory("items scanned for 1 subject", one),
        *_memory(f"items scanned for {MANY_USERS} subjects", many),
    ]


def _rows_of_redacting(measured: BySize) -> list[Row]:
    size = max(measured)
    return [
        row_of(8, f"{size:,} items redacted: UpdateItem calls", _last(measured).calls["UpdateItem"], size),
        _seconds(8, "items redacted", measured),
        *_level(8, "an item redacted", measured),
        *_memory("items redacted", measured),
    ]


def _rows_of_links(measured: BySize) -> list[Row]:
    size, own = max(measured), _last(measured)
    what = f"{size:,} items that lead to an object x {VERSIONS}"
    return [
        # To erase, to verify, and right before the item goes.
        row_of(5, f"{what}: lists of versions", own.calls["ListObjectVersions"], 3 * size),
        row_of(5, f"{what}: deletes, one for each 100 items", own.calls["DeleteObjects"], size / 100),
        row_of(8, f"{what}: conditional deletes of items", own.calls["DeleteItem"], size),
        _seconds(8, f"items that lead to an object x {VERSIONS}, no latencies", measured),
        *_level(8, "an item that leads to an object", measured),
        *_memory("items that lead to an object", measured),
    ]


def _last(measured: BySize) -> Measured:
    return measured[max(measured)]


def _seconds(goal: int, what: str, measured: BySize) -> Row:
    """For information: the largest, beside as many times the smallest."""
    few, many = min(measured), max(measured)
    bound = measured[few].seconds * many / few
    return row_of(goal, f"{many:,} {what}: seconds", measured[many].seconds, bound, 1) | {"verdict": "info"}


def _level(goal: int, what: str, measured: BySize, each: int = 1) -> list[Row]:
    """The processor's time for each thing must not grow."""
    spent = {size: own.cpu_seconds / size / each * MICROSECONDS for size, own in measured.items()}
    few, *_, many = sorted(spent)
    what = f"us of processor {what}, of {many:,} against 1.1 x of {few:,}"
    return [row_of(goal, what, spent[many], MOST_GROWTH * spent[few])]


def _memory(what: str, measured: BySize) -> list[Row]:
    few, many, own = min(measured), max(measured), _last(measured)
    bound = 1.25 * own.imported + 64 * MEGABYTE
    return [
        row_of(11, f"MB resident after {many:,} {what}", own.peak / MEGABYTE, bound / MEGABYTE, 1),
        row_of(
            11, f"the same against 1.25 x after {few:,}", own.peak / MEGABYTE, 1.25 * measured[few].peak / MEGABYTE, 1
        ),
    ]


# -- one by one ---------------------------------------------------------------------------------------------------

ON_TABLES: dict[str, Callable[[Engine, int], Measured | tuple[Measured, ...]]] = {
    "table": measure_table,
    "redact": measure_redacting,
    "links": measure_links,
}


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        for row in run():
            print(json.dumps(row))
        return
    name, size = arguments[0], int(arguments[1])
    if name == "objects":
        print(measure_objects(size))
        return
    with tables() as engine:
        if engine is None:
            raise SystemExit("DynamoDB Local is not installed")
        print(ON_TABLES[name](engine, size))


if __name__ == "__main__":
    main(sys.argv[1:])
