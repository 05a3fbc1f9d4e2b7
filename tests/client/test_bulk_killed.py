"""A bulk of thousands of ids, killed again and again: every id gets exactly one request.

The service is the real handlers of its API, with its stores in memory, behind HTTP; the command line is a process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import erasure_client
from erasure.entry.native import NativeFamily
from tests.client.gateway import Gateway
from tests.functional.backend_calls import BackendApi

IDS = int(os.environ.get("ERASURE_BULK_IDS", "10000"))
CHUNK = IDS // 20
PACKAGE = str(Path(erasure_client.__file__).parent.parent)

COMMAND = "from erasure_client.cli import main; raise SystemExit(main())"
KILLED_AFTER_AN_ANSWER = f"""
import os, signal
from erasure_client import ErasureClient
from erasure_client._requests import Requests
create = Requests.create
def answered(*arguments, **options):
    create(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
Requests.create = answered
{COMMAND}
"""
"""The command, as it ends when the machine goes down after an answer has come, and before it is written down."""


class Bulk:
    """The command ``erasure bulk`` on a file of ids, and the service that it calls. ``answered``: called with the
    number of each call, from 1, when its work is done and before it is answered."""

    def __init__(self, folder: Path) -> None:
        self.ids = [f"usr_{number:05}" for number in range(IDS)]
        self.api = BackendApi(calls_per_minute=60_000)
        self.calls = 0
        self.answered: Callable[[int], None] = lambda _number: None
        self.url = ""
        self._folder = folder
        self._input, self._results = folder / "people.csv", folder / "results.jsonl"
        self._input.write_text("\n".join(["user_id", *self.ids]) + "\n")

    def handle(self, event: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
        answer = self.api.handle(event, context)
        self.calls += 1
        self.answered(self.calls)
        return answer

    def start(self, code: str = COMMAND) -> subprocess.Popen[str]:
        arguments = [
            "bulk",
            str(self._input),
            "--results",
            str(self._results),
            "--chunk",
            str(CHUNK),
            "--yes",
            "--json",
        ]
        variables = {"ERASURE_URL": self.url, "ERASURE_API_KEY": self.api.key, "PYTHONPATH": PACKAGE}
        variables |= {"ERASURE_CONFIG": str(self._folder / "config.toml"), "PATH": os.environ["PATH"]}
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self._folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines that are in the results."""
        if not self._results.exists():
            return []
        text = self._results.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def made(self) -> dict[str, str]:
        """All requests that the service has: their ids, and whose they are."""
        return {request.request_id: request.subject.id for request in self.api.world.requests.records.values()}


@pytest.fixture
def bulk(tmp_path: Path) -> Iterator[Bulk]:
    bulk = Bulk(tmp_path)
    routes = NativeFamily(bulk.api.world.erasures, bulk.api.world.once, bulk.api.world.clock).routes()
    with Gateway(bulk.handle, routes) as gateway:
        bulk.url = gateway.url
        yield bulk


def killed(process: subprocess.Popen[str]) -> bool:
    process.communicate(timeout=120)
    return process.returncode == -signal.SIGKILL


def test_every_id_gets_exactly_one_request(bulk: Bulk) -> None:
    """Killed half-way, killed when the service has done a chunk's work and not yet answered, and killed when it has
    answered and that is not yet written down, a bulk that is started again ends with one request for each id."""
    half_way = bulk.start()
    while len(bulk.lines()) < IDS * 4 // 10:
        assert half_way.poll() is None, half_way.communicate()
        time.sleep(0.01)
    half_way.kill()
    assert killed(half_way)
    assert IDS * 4 // 10 <= len(bulk.lines()) < IDS

    before, calls = len(bulk.lines()), bulk.calls
    unanswered = bulk.start()
    # The first call may be the chunk that was in doubt; the third is new, and so is what it makes.
    bulk.answered = lambda number: unanswered.kill() if number == calls + 3 else None
    assert killed(unanswered)
    bulk.answered = lambda _number: None
    assert before < len(bulk.lines()) < len(bulk.made())

    unwritten = bulk.start(KILLED_AFTER_AN_ANSWER)
    assert killed(unwritten)
    assert len(bulk.lines()) < len(bulk.made()) < IDS

    told, errors = bulk.start().communicate(timeout=120)
    assert errors == ""
    assert json.loads(told)["accepted"] == IDS
    made = bulk.made()
    assert Counter(made.values()) == dict.fromkeys(bulk.ids, 1)
    lines = bulk.lines()
    assert [(line["id"], line["status"]) for line in lines] == [(each, "accepted") for each in bulk.ids]
    assert all(made[line["request_id"]] == line["id"] for line in lines)
