"""Goals 5 and 6: from 1,000 to 100,000 objects, the time for each must not grow, and neither must the calls.

Once with S3's latencies, where a list after the other is the least that anybody needs, and once on a stub that answers
at once, where only the client's own work is left. By itself: ``python -m tests.bench.bench_s3_growth``.
"""

from __future__ import annotations

import json
from typing import Any

from erasure.targets.s3 import S3Target
from tests.bench import s3_stub
from tests.bench.bench_s3 import MOST_OF_CRITICAL_PATH, critical_path, erase_all, make_client, row_of, seconds_of
from tests.bench.s3_stub import DELETE_SECONDS, LIST_SECONDS, PAGE_ENTRIES

SIZES = (1_000, 10_000, 100_000)
VERSIONS = 2
REPETITIONS = 3
MOST_GROWTH = 1.1
MICROSECONDS = 1e6


def run() -> list[dict[str, Any]]:
    """Rows as of :mod:`tests.bench.bench_s3`."""
    return [*_client_work(), *_wall_time()]


def _client_work() -> list[dict[str, Any]]:
    """Microseconds for each version, on a stub that does not wait: the best of some runs of each size."""
    best = {objects: _no_wait_seconds(objects) / (objects * VERSIONS) * MICROSECONDS for objects in SIZES}
    few, some, many = (best[objects] for objects in SIZES)
    what = "us a version without latencies, 100,000 objects x 2 against 1.1 x"
    return [
        row_of(6, f"{what} 1,000", many, MOST_GROWTH * few, 2),
        row_of(6, f"{what} 10,000", many, MOST_GROWTH * some, 2),
    ]


def _no_wait_seconds(objects: int) -> float:
    with s3_stub.running(objects, VERSIONS, no_wait=True) as stub:
        target = S3Target(make_client(stub.endpoint))
        erase_all(target, objects * VERSIONS)  # connections are there from now on
        return min(seconds_of(lambda: erase_all(target, objects * VERSIONS)) for _ in range(REPETITIONS))


def _wall_time() -> list[dict[str, Any]]:
    """With latencies: calls, and seconds against the lists that have to follow each other and one delete."""
    rows, each = [], {}
    for objects in SIZES:
        entries = objects * VERSIONS
        pages = entries // PAGE_ENTRIES
        with s3_stub.running(objects, VERSIONS) as stub:
            target = S3Target(make_client(stub.endpoint))
            stub.counts()
            ours = seconds_of(lambda: erase_all(target, entries))  # noqa: B023 - called at once
            calls = sum(stub.counts().values())
            bare = seconds_of(lambda: critical_path(stub.endpoint, pages))  # noqa: B023 - called at once
        each[objects] = ours / entries * MICROSECONDS
        name = f"{objects:,} objects x {VERSIONS}"
        rows.append(row_of(5, f"{name}: calls", calls, 2 * pages + 1))
        nominal = max(bare, pages * LIST_SECONDS + DELETE_SECONDS)
        row = row_of(6, f"{name}: seconds against 1.3 x critical path", ours, MOST_OF_CRITICAL_PATH * nominal, 3)
        # The look for uploads comes after the last list: of few pages it is a large part, for anybody.
        rows.append(row if pages >= 20 else row | {"verdict": "info"})
    what = "us a version with latencies, 100,000 objects x 2 against 1,000"
    return [*rows, row_of(6, what, each[SIZES[-1]], each[SIZES[0]], 2)]


if __name__ == "__main__":
    for printed in run():
        print(json.dumps(printed))
