"""A legal hold is put before and after every single call that a job makes: from then on no slice begins that erases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial, wraps
from itertools import count
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import new_batch_id
from erasure.domain.outcome import ERASED
from erasure.domain.request import FINISHED, HELD, REQUESTED
from erasure.domain.subject import Subject
from erasure.services.held_requests import ResumeDependencies, resume_free
from erasure.services.holds import HoldCommand, HoldService
from erasure.targets.protocol import Deadline
from tests.unit.services.world import KEY, World

pytestmark = pytest.mark.timeout(120)

JOB = f"jb_{'0' * 40}-1"
ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")
PUBLIC = "abcdefghijklmnopqrstuvwxyz"


class Interruption:
    """Somebody else acts at the ``moment``-th point of a process; there is one before and one behind every watched
    call."""

    def __init__(self, moment: int, act: Callable[[], object]) -> None:
        self._left = moment
        self._act = act
        self._lock = threading.Lock()
        self._inside = threading.local()
        self.is_over = False

    def point(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left != -1:
                return
        self._inside.a_call = True
        try:
            self._act()
        finally:
            self._inside.a_call = False
        self.is_over = True

    def end(self) -> None:
        """Nobody acts any more."""
        self._left = -1

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
                return method(*arguments, **named)
            self.point()
            self._inside.a_call = True
            try:
                result = method(*arguments, **named)
            finally:
                self._inside.a_call = False
            self.point()
            return result

        return call


class HeldWorld(World):
    """Ann and bob in one job. ``hidden``: the index does not show ann's request yet when the hold is put."""

    def __init__(self, *, hidden: bool = False) -> None:
        super().__init__()
        self.ann, self.bob = self.requests_of("ann", "bob")
        self.hidden = hidden
        self.is_held = False
        self.service_of_holds = HoldService(
            holds=self.holds,
            requests=self.requests,
            clock=self.by_clock,
            audit=self.audit,
            queue=self.queue,
            digest_key=lambda: KEY,
            now=self.clock,
            policy=ClockPolicy(),
        )

    def hold(self) -> None:
        shown = self.requests.rows_of_subject
        if self.hidden:
            self.requests.rows_of_subject = lambda *_, **__: []  # type: ignore[method-assign]
        self.service_of_holds.put(HoldCommand(ANN, "a lawsuit", "legal", "a-key"), new_batch_id())
        self.requests.rows_of_subject = shown  # type: ignore[method-assign]
        self.is_held = True

    def lift(self) -> None:
        self.service_of_holds.lift(ANN, "a-key", new_batch_id())

    def left(self, subject: Subject) -> set[str]:
        ends = (f"{subject.tenant_id}#{subject.id}", f"{subject.tenant_id}/{subject.id}/")
        return {thing for thing in self.target.things if thing.endswith(ends)}

    def run_steps(self, attempt: int = 1) -> None:
        """The job, as the state machine runs it. What begins after the hold has been put erases nothing of ann's."""
        job_id, ids = f"{JOB[:-1]}{attempt}", [self.ann.request_id, self.bob.request_id]
        for unit in self.step(partial(self.plan, job_id, *ids, attempt=attempt)):
            for _ in range(20):
                self.step(partial(self.erase, job_id, unit.name))
                if not self.step(partial(self.verify, job_id, unit.name)).again:
                    break
        self.step(partial(self.close, job_id, *ids))

    def step(self, function: Callable[[], Any]) -> Any:
        before = self.left(ANN) if self.is_held else None
        result = function()
        assert before is None or self.left(ANN) == before
        return result

    def send_off(self) -> None:
        """What the batch lane does with its messages, whoever has sent them."""
        messages, self.queue.messages = self.queue.messages, []
        for request_ids, attempt in messages:
            self.run_many(f"jb_{'1' * 40}-{attempt}", [self.requests.records[name] for name in request_ids], attempt)

    def check_erased(self, request: Any) -> None:
        assert self.record(request).state == FINISHED
        assert not self.record(request).attention
        assert not self.left(request.subject)
        for outcome in self.outcomes(request).values():
            assert outcome.outcome == ERASED
            assert outcome.count == 3 or (outcome.at_least and outcome.count < 3)
        assert broken_at(self.trail(request)) is None


def every_point(scenario: Callable[[int], Interruption]) -> int:
    """Play the scenario with the hold at each of its points; how many there were."""
    for moment in count():
        if not scenario(moment).is_over:
            return moment
    raise AssertionError


@pytest.mark.parametrize("hidden", [False, True], ids=["", "not shown by the index"])
def test_no_slice_begins_after_the_hold_was_put(hidden: bool) -> None:
    """At whatever point of a job: the others in it are erased and finished, and the subject either was finished before,
    or waits with all that no slice had got to. Lifted, it is finished with all that was erased, by whichever job."""

    def scenario(moment: int) -> Interruption:
        world = HeldWorld(hidden=hidden)
        interruption = Interruption(moment, world.hold)
        interruption.watch(world.requests, world.tasks, world.audit, world.holds, world.by_clock, world.target)
        world.run_steps()
        world.check_erased(world.bob)
        if not interruption.is_over:
            return interruption
        after = world.record(world.ann)
        if after.state == FINISHED:
            world.check_erased(world.ann)
        elif not hidden:
            assert after.state == HELD
        left = world.left(ANN)
        world.clock.advance(3600)
        world.queue.send([world.ann.request_id], 2)  # somebody tries once more
        world.send_off()
        assert world.left(ANN) == left
        assert world.record(world.ann).state == (FINISHED if after.state == FINISHED else HELD)
        world.lift()
        assert world.record(world.ann).state in (REQUESTED, FINISHED)
        world.send_off()
        world.check_erased(world.ann)
        events = [entry.event for entry in world.trail(world.ann)]
        assert events.count("finished") == 1
        assert events.count("held") == events.count("resumed") == (after.state != FINISHED)
        return interruption

    assert every_point(scenario) > 60


def test_a_hold_that_is_lifted_at_any_point_keeps_nobody() -> None:
    """Lifted while a job is being planned, or runs, for others: whatever of it the job has seen, the request is neither
    held for good nor lost, and is finished by this job or by the attempt that lifting it, or the watch, has sent."""

    def scenario(moment: int) -> Interruption:
        world = HeldWorld()
        world.requests.rows_of_subject = lambda *_, **__: []  # type: ignore[method-assign]
        world.hold()
        world.is_held = False
        interruption = Interruption(moment, world.lift)
        interruption.watch(world.requests, world.tasks, world.audit, world.holds, world.by_clock, world.target)
        world.run_steps()
        world.check_erased(world.bob)
        if not interruption.is_over:
            return interruption
        # What the watch does a little later.
        use = ResumeDependencies(
            world.holds, world.requests, world.by_clock, world.audit, world.queue, world.clock, ClockPolicy()
        )
        resume_free(use, Deadline(60))
        world.send_off()
        world.check_erased(world.ann)
        return interruption

    assert every_point(scenario) > 60


def test_holds_put_at_once_with_a_resumption_lose_nothing() -> None:
    """Another hold is put at any point of lifting the first: the subject is not erased, whichever was faster."""

    def scenario(moment: int) -> Interruption:
        world = HeldWorld()
        world.hold()
        other = HoldCommand(BOB, "another", "legal", "a-key", aliases=("ann",))
        interruption = Interruption(moment, lambda: world.service_of_holds.put(other, new_batch_id()))
        interruption.watch(world.requests, world.audit, world.holds, world.by_clock, world.queue)
        world.lift()
        interruption.end()
        left = world.left(ANN)
        world.send_off()
        if interruption.is_over:
            assert world.left(ANN) == left
            assert world.record(world.ann).state == HELD
        else:
            world.check_erased(world.ann)
        return interruption

    assert every_point(scenario) > 15
