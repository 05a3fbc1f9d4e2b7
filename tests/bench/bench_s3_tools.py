"""Goal 6: what others need for the same 10,000 objects in the same run, each beside the bare lower bound.

``s5cmd rm``, ``aws s3 rm`` (if it is installed), and boto3's ``delete()`` of objects and of versions, on a stub with
S3's latencies. The bound is one list after the other and then one delete, on bare sockets, with nothing done to what
arrives. Programs get the time that they take to start taken off. By itself: ``python -m tests.bench.bench_s3_tools``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.config import Config

from erasure.targets.s3 import S3Target
from tests.bench import s3_stub
from tests.bench.bench_s3 import (
    ENVIRONMENT,
    OBJECTS,
    critical_path,
    erase_all,
    make_client,
    row_of,
    s5cmd_remover,
    seconds_of,
)
from tests.bench.s3_stub import PAGE_ENTRIES, PREFIX, StubProcess

REPETITIONS = 3
AWS_CLI = "aws s3 rm --recursive"

Measure = Callable[[], float]
"""Removes everything once; returns the seconds."""


def run() -> list[dict[str, Any]]:
    """Rows as of :mod:`tests.bench.bench_s3`. Ours passes if nobody was faster; the others are for information."""
    return [*_compare(1), *_compare(2)]


def _compare(versions: int) -> list[dict[str, Any]]:
    name, entries = f"{OBJECTS:,} objects x {versions}", OBJECTS * versions
    with s3_stub.running(OBJECTS, versions) as stub:
        target = S3Target(make_client(stub.endpoint))
        bare = min(
            seconds_of(lambda: critical_path(stub.endpoint, entries // PAGE_ENTRIES)) for _ in range(REPETITIONS)
        )
        ours = min(seconds_of(lambda: erase_all(target, entries)) for _ in range(REPETITIONS))
        seen = {who: _measured(measure, stub) for who, measure in _others(stub.endpoint, versions).items()}
    rows = [
        row_of(6, f"{name}: {who}, seconds against the bare lower bound ({calls:,} calls)", seconds, bare, 3)
        | {"verdict": "info"}
        for who, (seconds, calls) in seen.items()
    ]
    if versions == 1 and AWS_CLI not in seen:
        missing = {"goal": 6, "what": f"{name}: {AWS_CLI}: not installed", "measured": None, "bound": None}
        rows.append({**missing, "ratio": None, "verdict": "skipped"})
    fastest = min(seconds for seconds, _ in seen.values())
    return [
        row_of(6, f"{name}: ours, seconds against the bare lower bound", ours, bare, 3) | {"verdict": "info"},
        row_of(6, f"{name}: ours, seconds against the fastest of the others", ours, fastest, 3),
        *rows,
    ]


def _measured(measure: Measure, stub: StubProcess) -> tuple[float, int]:
    stub.counts()
    return measure(), sum(stub.counts().values())


def _others(endpoint: str, versions: int) -> dict[str, Measure]:
    if versions > 1:  # aws s3 rm and objects.delete() would only put markers on top of them
        return {
            "s5cmd rm --all-versions": s5cmd_remover(endpoint, all_versions=True),
            "boto3 object_versions.delete()": lambda: seconds_of(_versions_of(endpoint).delete),
        }
    others: dict[str, Measure] = {
        "s5cmd rm": s5cmd_remover(endpoint, all_versions=False),
        "boto3 objects.delete()": lambda: seconds_of(_bucket(endpoint).objects.filter(Prefix=PREFIX).delete),
        "boto3 object_versions.delete()": lambda: seconds_of(_versions_of(endpoint).delete),
    }
    aws = shutil.which("aws", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if aws is not None:
        others[AWS_CLI] = lambda: _aws_seconds(aws, endpoint)
    return others


def _bucket(endpoint: str) -> Any:
    import boto3  # the comparator; nothing else may load it

    session = boto3.session.Session("test", "test", region_name="us-east-1")
    config = Config(s3={"addressing_style": "path"})
    return session.resource("s3", endpoint_url=endpoint, config=config).Bucket("bucket")


def _versions_of(endpoint: str) -> Any:
    return _bucket(endpoint).object_versions.filter(Prefix=PREFIX)


def _aws_seconds(aws: str, endpoint: str) -> float:
    environment = os.environ | ENVIRONMENT | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def call(*arguments: str) -> None:
        subprocess.run([aws, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)

    start = seconds_of(lambda: call("--version"))
    remove = ("--endpoint-url", endpoint, "s3", "rm", f"s3://bucket/{PREFIX}", "--recursive", "--quiet")
    return seconds_of(lambda: call(*remove)) - start


if __name__ == "__main__":
    for printed in run():
        print(json.dumps(printed))
