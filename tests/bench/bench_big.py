"""Goals 5, 8 and 11 at size: one person's 100,000 objects of two versions and 100,000 items, and what grows with them.

Plan, erasers and verifier as the functions have them (:mod:`tests.bench.big_work`), in a process of their own for each
measurement, against engines that keep and delete: :mod:`tests.bench.s3_store` and :mod:`tests.bench.dynamodb_store`,
with latencies and a partition's pace; where items are redacted or lead to objects, DynamoDB Local, and the buckets
without latencies. Afterwards everything has to be gone, and what belongs to somebody else, whose id begins alike, to be
there. Goals are counts, memory, and the processor's time for each thing; seconds are for information where they are
the engines' for the most part.

By itself: ``python -m tests.bench.bench_big``; single ones: ``python -m tests.bench.bench_big redact 100000``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from erasure.domain.data_map import parse_data_map
from tests.bench import dynamodb_store, s3_store, s3_stub
from tests.bench.bench_dynamodb import RATE, WALL_GOAL
from tests.bench.bench_s3 import ENVIRONMENT, MEGABYTE, row_of
from tests.bench.big_work import Measured
from tests.bench.dynamodb_store import BESIDE, FOUND_OF, KINDS, NEIGHBOUR, USER
from tests.bench.s3_stub import PAGE_ENTRIES, StubProcess
from tests.contract.dynamodb_engines import Engine, dynamodb_local, make_client

SIZES = (1_000, 10_000, 100_000)
FEWER = SIZES[:2]
"""Where each thing takes a call of its own: 100,000 of them take minutes, and show nothing else."""

VERSIONS = 2
MANY_USERS = 100
MOST_GROWTH = 1.1
MICROSECONDS = 1e6
FIRST_PORT = 6341
ROOT = Path(__file__).parents[2]

Row = dict[str, Any]
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
    on_tables = {size: measure_table(size) for size in SIZES}
    one, many, items = ({size: on_tables[size][which] for size in SIZES} for which in range(3))
    rows += [*_rows_of_items(items), *_rows_of_scans(one, many)]
    with tables() as engine:
        if engine is None:
            what = "items redacted, and items that lead to objects: DynamoDB Local is not installed"
            skipped = {"goal": 8, "what": what, "measured": None, "bound": None, "ratio": None, "verdict": "skipped"}
            return [*rows, skipped]
        rows += _rows_of_redacting({size: measure_redacting(engine, size) for size in FEWER})
        rows += _rows_of_links({size: measure_links(engine, size) for size in FEWER})
    return rows


# -- what is measured ---------------------------------------------------------------------------------------------


def work(targets: Sequence[Target], users: Sequence[str], **endpoints: str) -> Measured:
    """One job, in a process of its own."""
    specs = [spec.to_dict() for spec in parse_data_map({"version": 1, "targets": list(targets)}).targets]
    places = {f"AWS_ENDPOINT_URL_{service.upper()}": endpoint for service, endpoint in endpoints.items()}
    places |= {"AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.big_work"],
        input=json.dumps({"specs": specs, "users": users}),
        env=os.environ | ENVIRONMENT | places,
        cwd=ROOT,
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
def large_table(items: int) -> Iterator[str]:
    """A table with so many items of the user, of which nothing may be left in the end, and nothing else may be gone."""
    command = [sys.executable, "-m", dynamodb_store.__name__, f"--items={items}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
            yield endpoint
            with urllib.request.urlopen(f"{endpoint}/stats") as answer:
                stats = json.load(answer)
            expect(
                {name: stats[name] for name in ("own", "beside", "strays")}, {"own": 0, "beside": BESIDE, "strays": 0}
            )
        finally:
            process.terminate()


def place(endpoint: str, users: Sequence[str]) -> None:
    """Make one of a hundred items these users', in turn, whether it is there or not."""
    headers, body = {"X-Amz-Target": "Bench.Place"}, json.dumps({"users": users}).encode()
    urllib.request.urlopen(urllib.request.Request(endpoint, body, headers)).close()


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


def measure_table(size: int) -> tuple[Measured, Measured, Measured]:
    """A scan for one subject, one for many, and then everything by key."""
    measured = []
    with large_table(size) as endpoint:
        for users in ([USER], [f"user-{number:03d}" for number in range(MANY_USERS)]):
            place(endpoint, users)
            measured.append(expected(_on_table("bench", [SCANNED], users, dynamodb=endpoint), size // FOUND_OF))
        place(endpoint, [])
        measured.append(expected(_on_table("bench", ITEMS, [USER], dynamodb=endpoint), size))
    one, many, items = measured
    return one, many, items


def measure_redacting(engine: Engine, size: int) -> Measured:
    table = _table_of(engine, map(_item, range(size)))
    measured = expected(_on_table(table, REDACTED, [USER], dynamodb=_endpoint(engine)), size)
    named = {"FilterExpression": "attribute_exists(#n)", "ExpressionAttributeNames": {"#n": "name"}}
    expect([_count(engine, table, USER), _count(engine, table, USER, **named)], [size, 0])
    expect(_count(engine, table, NEIGHBOUR, **named), BESIDE)
    return measured


def measure_links(engine: Engine, size: int) -> Measured:
    """Items that lead to one object each."""
    table = _table_of(engine, (_item(n, kinds=1) | {"file": {"S": s3_store.key_of(n)}} for n in range(size)))
    with buckets(size, no_wait=True) as store:
        places = {"dynamodb": _endpoint(engine), "s3": store.endpoint}
        measured = expected(_on_table(table, LINKED, [USER], **places), size * (1 + VERSIONS))
    expect([_count(engine, table, USER), _count(engine, table, NEIGHBOUR)], [0, BESIDE])
    return measured


def _on_table(table: str, targets: Sequence[Target], users: Sequence[str], **endpoints: str) -> Measured:
    return work([_in_table(target, table) for target in targets], users, **endpoints)


def _endpoint(engine: Engine) -> str:
    return str(engine.client.meta.endpoint_url)


def _in_table(target: Target, table: str) -> Target:
    rule = {name: target[name] for name in ("key", "scan") if name in target}
    rest = {name: value for name, value in target.items() if name not in rule}
    return rest | ({"dynamodb": {"table": table} | rule} if rule else {})


def _table_of(engine: Engine, items: Iterable[dict[str, Any]]) -> str:
    """A new table with these items and some of the neighbour."""
    table, every = engine.create_table(["pk", "sk"]), [*items, *(_item(n, user=NEIGHBOUR) for n in range(BESIDE))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: engine.put(table, every[at : at + 25]), range(0, len(every), 25)))
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


def _count(engine: Engine, table: str, user: str, **options: Any) -> int:
    """By partitions: DynamoDB Local takes seconds for each page of a scan."""
    queried = engine.client.get_paginator("query")
    found = 0
    for kind in range(KINDS):
        values = {":pk": {"S": f"{kind}#acme#{user}"}}
        pages = queried.paginate(
            TableName=table,
            Select="COUNT",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=values,
            **options,
        )
        found += sum(page["Count"] for page in pages)
    return found


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
    each = SIZES[-1] / KINDS
    what = f"{SIZES[-1]:,} items: seconds against 1.1 x what {KINDS} partitions bear"
    rows.append(row_of(8, what, _last(measured).seconds, WALL_GOAL * (each - RATE) / RATE, 1))
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
        # Against fewer it would say nothing: 1,000 items in four partitions are not a page of each yet.
        *_memory("items redacted", measured)[:1],
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

ON_TABLES: dict[str, Callable[[Engine, int], Measured]] = {"redact": measure_redacting, "links": measure_links}


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        for row in run():
            print(json.dumps(row))
        return
    name, size = arguments[0], int(arguments[1])
    if name not in ON_TABLES:
        print(measure_objects(size) if name == "objects" else measure_table(size))
        return
    with tables() as engine:
        if engine is None:
            raise SystemExit("DynamoDB Local is not installed")
        print(ON_TABLES[name](engine, size))


if __name__ == "__main__":
    main(sys.argv[1:])
