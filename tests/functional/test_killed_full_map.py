"""A job's functions die at each of their steps in turn, for every way in which data is kept.

A step is a call to the application's tables and buckets, on moto with the real erasers, or a write about the job's
tasks, in memory: each has its effect, and then the process hears nothing of it any more.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from erasure.adapters.data_reader import LambdaDataReader
from erasure.domain.audit import broken_at
from erasure.domain.plan import Task, Unit
from erasure.domain.request import FINISHED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.entry import reader
from erasure.entry.target_wiring import MadeReader
from erasure.ports import PinnedJob, PinnedMap
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.start_jobs import job_id_for
from erasure.services.verify_unit import NextStep, VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline
from tests.fake_jobs import FakeFunctions, FakeTaskStore
from tests.functional.full_application import WAYS, Application, without_waiting
from tests.functional.job_stack import stack_on_moto
from tests.functional.wire import Wire
from tests.unit.services.world import World

pytestmark = pytest.mark.timeout(120)

PASSES = 40


class KilledError(BaseException):
    """No handler of errors is meant to see it."""


class Killer:
    """Lets a process die after its ``moment``-th step, in all its threads, until it is ``revived``."""

    def __init__(self, moment: int) -> None:
        self._left = moment
        self._lock = threading.Lock()
        self._is_over = False
        self.has_killed = False

    def before(self, *_: object) -> None:
        """Nothing is begun by a dead process."""
        if self.has_killed and not self._is_over:
            raise KilledError

    def after(self, *_: object) -> None:
        with self._lock:
            if self._is_over:
                return
            self._left -= 1
            self.has_killed = self.has_killed or self._left == 0
        self.before()

    def revive(self) -> None:
        self._is_over = True


class MortalTaskStore(FakeTaskStore):
    def __init__(self, killer: Killer) -> None:
        super().__init__()
        self._killer = killer

    def create_job(self, job_id: str, job: PinnedJob, data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        super().create_job(job_id, job, data_map, tasks)
        self._killer.after()

    def _write(self, task: Task, parts: Any, running: str | None, cursor: int | None = None) -> Task:
        self._killer.before()
        written = super()._write(task, parts, running, cursor)
        self._killer.after()
        return written


class Job(World):
    """A job for one person, as the state machine runs it: services on stores in memory, the real targets on moto."""

    def __init__(self, application: Application, killer: Killer, user: str) -> None:
        super().__init__(tasks=MortalTaskStore(killer))
        self.targets = application.stack.targets
        self.items = MadeReader(self.targets)
        self.maps.maps.clear()
        self.maps.put(application.data_map(), self.clock())
        answers = {"verify_target": lambda event: reader.answer(event, self.targets, self.items, Deadline(60))}
        self.reader = LambdaDataReader(FakeFunctions(answers))  # type: ignore[assignment]
        self.request: ErasureRequest = self.a_request(Subject("acme", user))
        if application.scans:  # the window has ended
            self.requests.records[self.request.request_id] = replace(self.request, scan_at=self.clock())

    def run_steps(self, attempt: int, step: Callable[[Callable[[], Any]], Any]) -> None:
        """``step`` calls one of the functions."""
        job_id, request_id = job_id_for(self.request.request_id, attempt), self.request.request_id
        units: list[Unit] = step(lambda: self.plan(job_id, request_id, attempt=attempt))
        for unit in units:
            level = 0
            for _ in range(PASSES):
                step(partial(self.erase_level, job_id, unit.name, level))
                following: NextStep = step(partial(self.verify_level, job_id, unit.name, level))
                if not following.again:
                    break
                level = following.level
        step(lambda: self.close(job_id, request_id))

    def erase_level(self, job_id: str, unit: str, level: int) -> bool:
        self.slices += 1
        use = EraseUnitDependencies(self.requests, self.tasks, self.targets, self.items, holds=self.holds)
        return erase_unit(job_id, unit, f"slice-{self.slices}", Deadline(60), use, level)

    def verify_level(self, job_id: str, unit: str, level: int) -> NextStep:
        use = VerifyUnitDependencies(self.requests, self.tasks, self.targets, reader=self.items, holds=self.holds)
        return verify_unit(job_id, unit, Deadline(60), use, level)


class Ward:
    """One way of keeping data, and the people who are erased from it one after the other, each with another death."""

    def __init__(self, application: Application, wire: Wire) -> None:
        self.application = application
        self._wire = wire
        application.put_all("ann")
        application.put_all("p1x")
        self._others = application.things()
        self._number = itertools.count(1)

    def every_moment(self, scenario: Callable[[Job, Killer], None], stride: int = 1) -> int:
        """Play the scenario with a death after each of its steps (or each ``stride``-th); how many there were."""
        for moment in itertools.count(1, stride):
            user, killer = f"p{next(self._number)}", Killer(moment)
            self._wire.aside(partial(self.application.put_all, user))
            job = Job(self.application, killer, user)
            self._wire.before, self._wire.after = killer.before, killer.after
            scenario(job, killer)
            killer.revive()
            self.check(job, user)
            if not killer.has_killed:
                return moment - 1
        raise AssertionError

    def check(self, job: Job, user: str) -> None:
        """The person is erased, with honest counts, and nobody else has lost anything."""
        self._others |= self.application.remains(user)
        assert self.application.things() == self._others
        record = job.record(job.request)
        assert (record.state, record.attention) == (FINISHED, False)
        assert broken_at(job.trail(job.request)) is None
        self.application.check_outcomes(job.outcomes(job.request))

    def check_halfway(self, job: Job) -> None:
        """After a death: nobody else has lost anything, nothing lost its way, and nobody is told what is not so."""
        things = self.application.things()
        assert self._others <= things
        if job.record(job.request).state == FINISHED:
            assert things == self._others | self.application.remains(job.request.subject.id)
        self.application.check_ways_lead_on(things)


@pytest.fixture(params=WAYS)
def ward(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    for stack in stack_on_moto(monkeypatch):
        without_waiting(stack)
        yield Ward(Application(stack, [request.param]), Wire(monkeypatch))


def test_whenever_it_dies_somebody_goes_on(ward: Ward) -> None:
    """A function that died is called again, and a job that died for good is followed by another attempt: after each
    step, the person is erased like any other, and all that was erased is told."""

    def call_again(job: Job, killer: Killer) -> None:
        def step(function: Callable[[], Any]) -> Any:
            try:
                return function()
            except KilledError:
                killer.revive()
                ward.check_halfway(job)
                return function()

        job.run_steps(1, step)

    def retry(job: Job, killer: Killer) -> None:
        with suppress(KilledError):
            job.run_steps(1, lambda function: function())
        killer.revive()
        ward.check_halfway(job)
        if job.record(job.request).state != FINISHED:
            job.run_steps(2, lambda function: function())

    assert ward.every_moment(call_again) >= 7
    is_long = len(ward.application.outcomes()) > 2
    assert ward.every_moment(retry, 4 if is_long else 1) >= 7
