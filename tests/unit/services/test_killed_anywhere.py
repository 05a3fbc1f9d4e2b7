"""Processes die before and after every single call that they make to a store or the queue: what was promised holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from itertools import count
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.outcome import ERASED
from erasure.domain.request import FINISHED, REQUESTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.errors import NotFoundError
from erasure.services import erase_unit
from erasure.services.erasures import IdempotencyClaim
from tests.fake_jobs import FakeTaskStore
from tests.functional.backend_world import ACCESS, BACKEND_KEY, OTHER_TENANT, TENANT, USER, BackendWorld
from tests.unit.services.world import World

pytestmark = pytest.mark.timeout(120)

JOB = f"jb_{'0' * 40}-1"
PEOPLE = ("ann", "bob", "eve")
NEIGHBOURS = (Subject("acme", "ann2"), Subject("other", "ann"))
PUBLIC = "abcdefghijklmnopqrstuvwxyz"


class KilledError(BaseException):
    """No handler of errors is meant to see it."""


class Killer:
    """Lets a process die at its ``moment``-th point; there is one before and one behind every watched call.

    A dead process does nothing more, in none of its threads, until it is ``revived``: what comes then does not die.
    """

    def __init__(self, moment: int) -> None:
        self._left = moment
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._is_paused = False
        self._is_over = False
        self.has_killed = False

    def point(self) -> None:
        with self._lock:
            if self._is_paused or self._is_over:
                return
            if self._left == 0:
                self.has_killed = True
            self._left -= 1
            if self.has_killed:
                raise KilledError

    def revive(self) -> None:
        self._is_over = True

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Another process is at work meanwhile, which does not die."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def watch(self, *things: Any) -> None:
        for thing in things:
            for name in dir(thing):
                method = getattr(thing, name)
                if name[0] in PUBLIC and callable(method):
                    setattr(thing, name, self._watched(method))

    def _watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inside, "a_call", False):
                return method(*arguments, **named)  # what a fake does by way of another is one write
            self.point()
            self._inside.a_call = True
            try:
                result = method(*arguments, **named)
            finally:
                self._inside.a_call = False
            self.point()
            return result

        return call


class TornTaskStore(FakeTaskStore):
    """Its process may also die between the writes of a plan's tasks."""

    def __init__(self, killer: Killer) -> None:
        super().__init__()
        self._killer = killer

    def create_job(self, job_id: str, job: Any, data_map: Any, tasks: Any) -> None:
        for number in range(len(tasks) + 1):
            super().create_job(job_id, job, data_map, tasks[:number])
            self._killer.point()


def every_moment(scenario: Callable[[Killer], None]) -> int:
    """Play the scenario with a death at each of its points; how many there were."""
    for moment in count():
        killer = Killer(moment)
        scenario(killer)
        if not killer.has_killed:
            return moment
    raise AssertionError


# A job for several requests


class Job:
    def __init__(self, killer: Killer) -> None:
        self.killer = killer
        self.world = World(tasks=TornTaskStore(killer))
        self.requests = self.world.requests_of(*PEOPLE)
        for neighbour in NEIGHBOURS:
            self.world.put_things(neighbour)
        killer.watch(self.world.requests, self.world.tasks, self.world.audit)

    def run(self, step: Callable[[Callable[[], Any]], Any]) -> None:
        """The state machine. ``step`` calls one of its functions."""
        world, ids = self.world, [request.request_id for request in self.requests]
        for unit in step(lambda: world.plan(JOB, *ids)):
            for _ in range(20):
                step(partial(world.erase, JOB, unit.name))
                if not step(partial(world.verify, JOB, unit.name)).again:
                    break
        step(lambda: world.close(JOB, *ids))

    def left(self, subject: Subject) -> set[str]:
        ends = (f"{subject.tenant_id}#{subject.id}", f"{subject.tenant_id}/{subject.id}/")
        return {thing for thing in self.world.target.things if thing.endswith(ends)}

    def check(self) -> None:
        """Whoever is told to be finished is, with all that was erased; nobody else has lost anything."""
        for request in self.requests:
            record = self.world.record(request)
            assert broken_at(self.world.trail(request)) is None
            if record.state == FINISHED:
                assert not self.left(request.subject)
                assert len(record.outcomes) == 3
                for outcome in record.outcomes:
                    assert outcome.outcome == ERASED
                    assert outcome.count == 3 or (outcome.at_least and outcome.count < 3)
        assert all(len(self.left(neighbour)) == 3 for neighbour in NEIGHBOURS)

    def states(self) -> set[str]:
        return {self.world.record(request).state for request in self.requests}


@pytest.fixture
def exact_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase_unit, "COUNT_EVERY", 1)


@pytest.mark.usefixtures("exact_counts")
def test_a_job_whose_function_died_finishes_everybody() -> None:
    """Whenever a function dies, the state machine calls it again and every request of the job is finished."""

    def scenario(killer: Killer) -> None:
        job = Job(killer)

        def step(function: Callable[[], Any]) -> Any:
            try:
                return function()
            except KilledError:
                killer.revive()
                job.check()
                return function()

        job.run(step)
        killer.revive()
        assert job.states() == {FINISHED}
        job.check()

    assert every_moment(scenario) > 60


@pytest.mark.usefixtures("exact_counts")
def test_a_job_that_died_for_good_is_made_good_by_others() -> None:
    """Whenever a job dies for good, a further attempt at each of its requests finishes it; should the dead job come
    back then, it changes nothing."""

    def scenario(killer: Killer) -> None:
        job = Job(killer)
        with suppress(KilledError):
            job.run(lambda function: function())
        killer.revive()
        job.check()
        for request in job.requests:
            if job.world.record(request).state != FINISHED:
                job.world.run(request, attempt=2)
        assert job.states() == {FINISHED}
        job.check()
        told = [job.world.record(request) for request in job.requests]
        job.run(lambda function: function())
        assert [job.world.record(request) for request in job.requests] == told

    assert every_moment(scenario) > 60


# A deletion that a caller waits for

ANN = Subject(TENANT, USER)


class Deletion:
    def __init__(self, killer: Killer, claim: IdempotencyClaim | None) -> None:
        self.claim = claim
        self.world = world = BackendWorld()
        self.others = [world.put_user(f"{USER}2"), world.put_user(tenant_id=OTHER_TENANT)]
        world.put_user()
        self.before = [world.left(other) for other in self.others]
        call = world.functions.call

        def call_worker(*arguments: Any) -> Any:
            with killer.elsewhere():
                return call(*arguments)

        world.functions.call = call_worker  # type: ignore[method-assign, assignment]
        killer.watch(world.requests, world.tasks, world.audit, world.registry, world.acceptance, world.queue)
        killer.watch(world.idempotency, world.functions)

    def ask(self) -> str:
        return self.world.accounts.delete(TENANT, USER, BACKEND_KEY, self.claim)

    def check(self) -> None:
        """Nobody is told that access is gone while it is not; nobody else has lost anything."""
        world, tombstone = self.world, self.world.tombstone(ANN)
        if tombstone is not None and tombstone.effective_at is not None:
            assert not world.left(ANN) & set(ACCESS)
        assert [world.left(other) for other in self.others] == self.before
        for request in world.requests.records.values():
            assert request.state != FINISHED or world.left(ANN) == {"audit-events"}

    def requests(self) -> list[ErasureRequest]:
        return list(self.world.requests.records.values())


@pytest.mark.parametrize("claim", [None, IdempotencyClaim("a key", "hellojohn.delete", "body")], ids=["", "with a key"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_deletion_that_died_is_taken_up_by_the_next_call(claim: IdempotencyClaim | None, batch_first: bool) -> None:
    """Whenever the call dies, calling again takes up what there is: it says done when access is gone, not before, and
    the batch lane finishes the one request."""

    def scenario(killer: Killer) -> None:
        deletion = Deletion(killer, claim)
        world = deletion.world
        with suppress(KilledError):
            deletion.ask()
        killer.revive()
        deletion.check()
        if batch_first and world.queue.messages:
            world.run_batch()
            deletion.check()
        if killer.has_killed:
            with suppress(NotFoundError):  # it had come to its end, or nearly
                deletion.ask()
        assert not world.left(ANN) & set(ACCESS)
        deletion.check()
        if world.queue.messages:
            world.run_batch()
        (request,) = deletion.requests()
        assert (request.state, world.left(ANN)) == (FINISHED, {"audit-events"})
        tombstone = world.tombstone(ANN)
        assert tombstone is not None
        assert tombstone.effective_at is not None
        assert broken_at(world.audit.entries(request.request_id)) is None

    assert every_moment(scenario) > 25


def test_a_deletion_that_died_and_was_sent_is_finished_without_another_call() -> None:
    """Once the message is sent, the batch lane erases everything; before, nothing has been erased at all."""

    def scenario(killer: Killer) -> None:
        deletion = Deletion(killer, None)
        world = deletion.world
        everything = world.left(ANN)
        with suppress(KilledError):
            deletion.ask()
        killer.revive()
        if world.queue.messages:
            world.run_batch()
            (request,) = deletion.requests()
            assert (request.state, world.left(ANN)) == (FINISHED, {"audit-events"})
        else:
            assert world.left(ANN) == everything
            assert all(request.state == REQUESTED for request in deletion.requests())
        deletion.check()

    assert every_moment(scenario) > 25
