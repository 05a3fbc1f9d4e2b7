"""Goals 5, 6, 7 and 11: calls, wall time, client work and memory of erasing from S3.

Wall time is measured on a stub with fixed latencies, next to ``s5cmd rm`` in the same run; s5cmd gets the time that
it takes to start taken off. Client work is counted in instructions by valgrind's callgrind, as the difference between
two numbers of pages, so that start-up cancels out. By itself: ``python -m tests.bench.bench_s3``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.targets.protocol import Deadline
from erasure.targets.s3 import S3Target, make_s3_client
from tests.bench import s3_stub
from tests.bench.s3_stub import DELETE_SECONDS, LIST_SECONDS, PAGE_ENTRIES

OBJECTS = 10_000
REPETITIONS = 5
MOST_OF_CRITICAL_PATH = 1.3
MOST_OF_BOTO3 = 0.15
FEW, MANY = 1_000, 1_000_000
MEGABYTE = 1024 * 1024

SPEC = TargetSpec("documents", "content", s3=S3Rule("bucket", prefix="tenant/{user_id}/"))
VALUES = {"user_id": "user-00001"}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def run() -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict`` (``pass`` or ``miss``)."""
    return [*_wall_time(1), *_wall_time(2), *_calls_of_many(), *_client_work(), *_memory()]


def row_of(goal: int, what: str, measured: float, bound: float, digits: int = 0) -> dict[str, Any]:
    return {
        "goal": goal,
        "what": what,
        "measured": round(measured, digits),
        "bound": round(bound, digits),
        "ratio": round(measured / bound, 3),
        "verdict": "pass" if measured <= bound else "miss",
    }


def make_client(endpoint: str | None) -> Any:
    session = botocore.session.Session()
    session.set_credentials("test", "test")
    config = Config(
        region_name="us-east-1", s3={"addressing_style": "path"}, retries={"mode": "standard"}, max_pool_connections=16
    )
    return make_s3_client(session, config, endpoint_url=endpoint)


# -- goals 5 and 6 ------------------------------------------------------------------------------------------------


def _wall_time(versions: int) -> list[dict[str, Any]]:
    entries = OBJECTS * versions
    pages = entries // PAGE_ENTRIES
    name = f"{OBJECTS:,} objects x {versions}"
    with s3_stub.running(OBJECTS, versions) as stub:
        target, s5cmd = S3Target(make_client(stub.endpoint)), s5cmd_remover(stub.endpoint, all_versions=versions > 1)
        times: dict[str, list[float]] = {"ours": [], "bare": [], "s5cmd": []}
        calls = 0
        for _ in range(REPETITIONS):  # in turn, so that a noisy moment is everybody's
            stub.counts()
            times["ours"].append(seconds_of(lambda: erase_all(target, entries)))
            calls = max(calls, sum(stub.counts().values()))
            times["bare"].append(seconds_of(lambda: critical_path(stub.endpoint, pages)))
            times["s5cmd"].append(s5cmd())
    best = {who: min(seconds) for who, seconds in times.items()}
    nominal = pages * LIST_SECONDS + DELETE_SECONDS
    return [
        row_of(5, f"{name}: calls", calls, 2 * pages + 1),
        row_of(6, f"{name}: seconds against 1.3 x critical path", best["ours"], MOST_OF_CRITICAL_PATH * nominal, 3),
        row_of(6, f"{name}: seconds against 1.3 x it on bare sockets", best["ours"],
             MOST_OF_CRITICAL_PATH * best["bare"], 3),
        row_of(6, f"{name}: seconds against s5cmd", best["ours"], best["s5cmd"], 3),
    ]  # fmt: skip


def _calls_of_many() -> list[dict[str, Any]]:
    """Erasing and verifying subjects with few objects: one list each, and all else shared."""
    rows = []
    for number in (1, 100):
        subjects = [{"user_id": f"user-{position:05d}"} for position in range(number)]
        with s3_stub.running(5, 2, no_wait=True) as stub:
            target = S3Target(make_client(stub.endpoint))
            results = target.erase(SPEC, subjects, Deadline(60))
            stub.empty()
            seen = target.verify(SPEC, subjects, Deadline(60))
            if not all(result.done and result.erased == 10 for result in results) or any(look.left for look in seen):
                raise RuntimeError(f"not measured: {results} {seen}")
            calls = sum(stub.counts().values())
        least = (2 * number + 2 + -(-number * 10 // PAGE_ENTRIES)) / number
        name = f"{number} x 5 objects x 2: calls a subject, erasing and verifying"
        rows.append(row_of(5, name, calls / number, least, 2))
    return rows


def critical_path(endpoint: str, pages: int) -> None:
    """One list after the other and then one delete, with nothing done to what arrives."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
    marker = ""
    for page in range(pages):
        connection.request("GET", f"/bucket?versions&key-marker={marker}")
        connection.getresponse().read()
        marker = f"{page:06d}"
    connection.request("POST", "/bucket?delete", body=b"<Delete><Quiet>true</Quiet></Delete>")
    connection.getresponse().read()
    connection.close()


def erase_all(target: S3Target, expected: int) -> None:
    (result,) = target.erase(SPEC, [VALUES], Deadline(3600))
    if not result.done or result.erased != expected:
        raise RuntimeError(f"not measured: {result}")


def seconds_of(work: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at


def s5cmd_remover(endpoint: str, *, all_versions: bool) -> Callable[[], float]:
    """A measurement of s5cmd: the seconds of ``rm`` without those that it needs to start."""
    s5cmd = shutil.which("s5cmd", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if s5cmd is None:
        raise RuntimeError("s5cmd is not installed; it comes with the dev extra")
    remove = [s5cmd, "--endpoint-url", endpoint, "rm", *(["--all-versions"] if all_versions else [])]

    def call(*arguments: str) -> None:
        environment = os.environ | ENVIRONMENT
        subprocess.run(arguments, env=environment, check=True, stdout=subprocess.DEVNULL)

    def measure() -> float:
        start = seconds_of(lambda: call(s5cmd, "version"))
        return seconds_of(lambda: call(*remove, "s3://bucket/tenant/user-00001/*")) - start

    return measure


# -- goal 7 -----------------------------------------------------------------------------------------------------


def _client_work() -> list[dict[str, Any]]:
    if shutil.which("valgrind") is None:
        return []
    # Ours is cheap: more pages for a steadier figure.
    ours = (_instructions("ours", 9) - _instructions("ours", 3)) / (6 * PAGE_ENTRIES)
    boto3 = (_instructions("boto3", 2) - _instructions("boto3", 1)) / PAGE_ENTRIES
    return [row_of(7, "instructions an object against 0.15 x boto3", ours, MOST_OF_BOTO3 * boto3)]


def _instructions(case: str, pages: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable]
        command += ["-m", "tests.bench.bench_s3", f"--work={case}", f"--pages={pages}"]
        environment = os.environ | ENVIRONMENT | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    match = re.search(r"Collected : (\d+)", ended.stderr)
    if match is None:
        raise RuntimeError(ended.stderr[-2000:])
    return int(match[1])


def _work(case: str, pages: int) -> None:
    """What is counted: everything but the network. Answers are canned, and handed over before anything is sent."""
    client = make_client(None) if case == "ours" else _boto3_client()
    entries = s3_stub.version_entries(1)
    answers = {
        "ListObjectVersions": [s3_stub.version_page(entries, page, page == pages - 1) for page in range(pages)],
        "DeleteObjects": [s3_stub.document("DeleteResult")] * pages,
        "ListMultipartUploads": [s3_stub.document("ListMultipartUploadsResult", b"<IsTruncated>false</IsTruncated>")],
    }
    for operation, bodies in answers.items():
        client.meta.events.register(f"before-send.s3.{operation}", _Canned(bodies))
    if case == "ours":
        erase_all(S3Target(client, concurrency=1), pages * PAGE_ENTRIES)
        return
    for page in client.get_paginator("list_object_versions").paginate(Bucket="bucket", Prefix="tenant/user-00001/"):
        objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page["Versions"]]
        client.delete_objects(Bucket="bucket", Delete={"Objects": objects, "Quiet": True})


def _boto3_client() -> Any:
    import boto3  # the comparator; nothing else may load it

    return boto3.client("s3", region_name="us-east-1", config=Config(s3={"addressing_style": "path"}))


class _Canned:
    def __init__(self, bodies: list[bytes]) -> None:
        self._bodies = iter(bodies)

    def __call__(self, request: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        return AWSResponse(request.url, 200, {"Content-Type": "application/xml"}, _Raw(next(self._bodies)))


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._body


# -- goal 11 ----------------------------------------------------------------------------------------------------


def _memory() -> list[dict[str, Any]]:
    imported, few = resident_bytes(FEW)
    _, many = resident_bytes(MANY)
    _, versioned = resident_bytes(100_000, 2)
    bound = 1.25 * imported + 64 * MEGABYTE
    return [
        row_of(11, f"MB resident after {MANY:,} objects", many / MEGABYTE, bound / MEGABYTE, 1),
        row_of(11, "MB resident after 100,000 objects x 2", versioned / MEGABYTE, bound / MEGABYTE, 1),
        row_of(
            11, f"MB after {MANY:,} objects against 1.25 x after {FEW:,}", many / MEGABYTE, 1.25 * few / MEGABYTE, 1
        ),
    ]


def resident_bytes(objects: int, versions: int = 1) -> tuple[int, int]:
    """The most that was resident, before and after erasing so many objects with so many versions each."""
    with s3_stub.running(objects, versions, no_wait=True) as stub:
        entries = objects * versions
        command = [sys.executable, "-m", "tests.bench.bench_s3", f"--memory={entries}", f"--endpoint={stub.endpoint}"]
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    imported, after = json.loads(ended.stdout)
    return imported, after


def _use_memory(entries: int, endpoint: str) -> None:
    target = S3Target(make_client(endpoint))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    erase_all(target, entries)
    print(json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", choices=["ours", "boto3"])
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--endpoint", default="")
    arguments = parser.parse_args()
    if arguments.work:
        _work(arguments.work, arguments.pages)
    elif arguments.memory:
        _use_memory(arguments.memory, arguments.endpoint)
    else:
        for row in run():
            print(json.dumps(row))


if __name__ == "__main__":
    main()
