"""What is measured by :mod:`tests.bench.bench_big`: one job in a process of its own, whose memory is nobody else's.

``python -m tests.bench.big_work`` reads the job as JSON from its standard input: ``specs`` (targets as tasks have them)
and ``users``. It plans, erases and verifies as the functions do, with their own wiring, and prints :class:`Measured`.
Tasks and requests are kept in memory; tables and buckets are where the environment says.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from erasure.adapters.aws import Clients
from erasure.domain.plan import VERIFIED, Unit, plan_units
from erasure.domain.request import STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.entry.target_wiring import ERASES_ITEMS, ERASES_OBJECTS, MadeReader, make_targets
from erasure.ports import PinnedJob, PinnedMap, RequestStore
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.verify_unit import VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline
from tests.bench.counting import CallCounter
from tests.fake_clock_stores import FakeHoldStore
from tests.fake_jobs import FakeTaskStore

JOB = "jb_bench-1"
SLICE_SECONDS = 585.0
NOW = datetime(2026, 1, 2, tzinfo=UTC)

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured:
    """``imported``, ``peak``: bytes resident before the job, and at most during it. ``calls``: by operation.
    ``read_units``: of scans. ``erased``: things, by target. ``slices``: calls of the erasers."""

    imported: int
    peak: int
    seconds: float
    cpu_seconds: float
    calls: dict[str, int]
    read_units: float
    erased: dict[str, int]
    slices: int


class _Requests:
    """As much of a store as erasers and verifier ask for."""

    def __init__(self, users: Sequence[str]) -> None:
        self.all = [
            ErasureRequest(
                f"er_{number:026d}", Subject("acme", user), "", "native", NOW, NOW, NOW, state=STARTED, job_id=JOB
            )
            for number, user in enumerate(users)
        ]
        self._by_id = {request.request_id: request for request in self.all}

    def get_many(self, request_ids: Sequence[str]) -> dict[str, ErasureRequest]:
        return {request_id: self._by_id[request_id] for request_id in request_ids}


class _Job:
    def __init__(self, specs: Sequence[TargetSpec], users: Sequence[str]) -> None:
        self.calls, self.read_units, self.slices = CallCounter(), 0.0, 0
        self._specs = specs
        self._requests, self._tasks = _Requests(users), FakeTaskStore()
        clients = Clients()
        self.calls.watch_session(clients.session)
        watched: Any = clients.session
        watched.register("after-call.dynamodb.Scan", self._note_units)
        nobody: Any = None  # no target is in another account
        purpose = {**ERASES_ITEMS, **ERASES_OBJECTS}
        targets = make_targets(clients, nobody, purpose, capacity_share=50, digest_key=lambda: b"bench")
        self._reader = MadeReader(targets)
        store = cast("RequestStore", self._requests)
        self._erase = EraseUnitDependencies(store, self._tasks, targets, self._reader, holds=FakeHoldStore())
        self._verify = VerifyUnitDependencies(store, self._tasks, targets, reader=self._reader, holds=FakeHoldStore())
        for kind in {spec.kind for spec in specs}:
            targets[kind]

    def run(self) -> None:
        scanned = [spec for spec in self._specs if spec.is_scan]
        scans = {spec.name: self._reader.shards(spec, Deadline(60)) for spec in scanned}
        requests = self._requests.all
        scanning = [request.request_id for request in requests] if scanned else []
        units = plan_units(JOB, requests, self._specs, scans=scans, scanning=scanning)
        tasks = [task for unit in units for task in unit.tasks]
        ids = tuple(request.request_id for request in requests)
        self._tasks.create_job(JOB, PinnedJob(1, ids), PinnedMap(1, "", tuple(self._specs)), tasks)
        for unit in units:
            self._work_on(unit)

    def _work_on(self, unit: Unit) -> None:
        level, again = 0, True
        while again:
            more = True
            while more:
                self.slices += 1
                deadline = Deadline(SLICE_SECONDS)
                more = erase_unit(JOB, unit.name, f"slice-{self.slices}", deadline, self._erase, level)
            step = verify_unit(JOB, unit.name, Deadline(SLICE_SECONDS), self._verify, level)
            level, again = step.level, step.again

    def erased(self) -> dict[str, int]:
        """Things, by target. Raises if anything was not verified as gone."""
        erased: Counter[str] = Counter()
        for task in self._tasks.tasks(JOB):
            for part in task.parts:
                if part.status != VERIFIED:
                    raise RuntimeError(f"not erased: {part}")
                erased[task.spec.name] += part.erased
        return dict(erased)

    def _note_units(self, parsed: Any, **_: Any) -> None:
        self.read_units += parsed.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)


def _resident() -> int:
    """Bytes at present; from now on, :func:`_peak` is about what comes."""
    if not _STATUS.exists():
        return _peak()
    Path("/proc/self/clear_refs").write_text("5")
    return _told("VmRSS")


def _peak() -> int:
    return _told("VmHWM") if _STATUS.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _told(name: str) -> int:
    """A figure of Linux, which remembers a peak of its own: loading botocore takes more than is kept, and would hide
    what the job takes."""
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def measure(specs: Sequence[TargetSpec], users: Sequence[str]) -> Measured:
    job = _Job(specs, users)
    imported, wall, cpu = _resident(), time.perf_counter(), time.process_time()
    job.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    calls = dict(job.calls.calls)
    return Measured(imported, _peak(), wall, cpu, calls, job.read_units, job.erased(), job.slices)


def main() -> None:
    job = json.load(sys.stdin)
    specs = [TargetSpec.from_dict(spec) for spec in job["specs"]]
    print(json.dumps(asdict(measure(specs, job["users"]))))


if __name__ == "__main__":
    main()
