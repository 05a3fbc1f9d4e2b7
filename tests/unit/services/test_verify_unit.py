"""Looking again after erasing."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Task
from erasure.domain.request import CANCELLED, FINISHED, HELD, STARTED, ErasureRequest
from erasure.errors import SliceLostError
from erasure.services.erase_unit import MAX_STALLS
from erasure.services.verify_unit import LONGEST_PAUSE_SECONDS, NextStep
from erasure.targets.protocol import SliceResult, VerifyResult
from tests.unit.services.world import World

JOB = "job-1"
UNIT = "dynamodb-00"
LEFT = VerifyResult(2, complete=True)


@pytest.fixture
def world() -> World:
    world = World()
    world.put_things()
    return world


@pytest.fixture
def request_(world: World) -> ErasureRequest:
    request = world.a_request()
    world.plan(JOB, request.request_id)
    return request


def task(world: World, name: str = "notes") -> Task:
    (found,) = [task for task in world.tasks.tasks(JOB) if task.spec.name == name]
    return found


def part(world: World, name: str = "notes") -> Part:
    """The only part of a target."""
    (found,) = task(world, name).parts
    return found


def test_what_is_gone_is_verified(world: World, request_: ErasureRequest) -> None:
    """Erased tasks of which nothing is found are verified, and the unit is done."""
    world.erase(JOB, UNIT)
    assert world.verify(JOB, UNIT) == NextStep(again=False, wait=0)
    assert {part.status for task in world.tasks.tasks(JOB, UNIT) for part in task.parts} == {VERIFIED}
    calls = list(world.target.verify_calls)
    world.verify(JOB, UNIT)
    assert world.target.verify_calls == calls


def test_unfinished_tasks_are_not_looked_at(world: World, request_: ErasureRequest) -> None:
    """A task that the eraser has not finished asks for another slice at once."""
    world.target.script["notes"] = [SliceResult(1, done=False)]
    world.erase(JOB, UNIT)
    assert world.verify(JOB, UNIT) == NextStep(again=True, wait=0)
    assert world.target.verify_calls == [("comments", ("ann",))]
    assert part(world).status == PENDING


def test_leftovers_go_back_and_are_given_up(world: World, request_: ErasureRequest) -> None:
    """What verification still finds goes back to the eraser, and after three rounds fails as still present."""
    world.target.script["notes:verify"] = [LEFT] * 5
    for rounds in (1, 2):
        world.erase(JOB, UNIT)
        assert world.verify(JOB, UNIT) == NextStep(again=True, wait=0)
        assert (part(world).status, part(world).rounds) == (PENDING, rounds)
    world.erase(JOB, UNIT)
    assert world.verify(JOB, UNIT).again is False
    assert (part(world).status, part(world).reason) == (FAILED, "still_present")
    assert part(world, "comments").status == VERIFIED


def test_leftovers_that_go_are_counted(world: World, request_: ErasureRequest) -> None:
    """A task in which something was found and then erased is verified, with everything counted."""
    world.target.script["notes:verify"] = [VerifyResult(2, complete=False)]
    world.erase(JOB, UNIT)
    world.verify(JOB, UNIT)
    world.target.put(task(world).spec, request_.subject.values(), 2)
    world.loop(JOB, world.plan(JOB, request_.request_id))
    assert (part(world).status, part(world).erased) == (VERIFIED, 5)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (VerifyResult(0, complete=False, problem="throttled"), "throttled"),
        (RuntimeError("ann's secret"), "internal_error"),
        (VerifyResult(0, complete=False), "verification_incomplete"),
    ],
)
def test_unclear_verification_is_never_verified(
    world: World,
    request_: ErasureRequest,
    step: Exception | VerifyResult,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A verification without a result is repeated with growing pauses and given up with its reason, never passed."""
    world.target.script["notes:verify"] = [step] * MAX_STALLS
    world.erase(JOB, UNIT)
    pauses = []
    with caplog.at_level(logging.DEBUG):
        for stalls in range(1, MAX_STALLS):
            following = world.verify(JOB, UNIT)
            assert (part(world).status, part(world).stalls) == (ERASED_UNVERIFIED, stalls)
            assert following.again
            pauses.append(following.wait)
            assert world.erase(JOB, UNIT) is False
        assert world.verify(JOB, UNIT).again is False
    assert (part(world).status, part(world).reason) == (FAILED, reason)
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert pauses[-1] <= LONGEST_PAUSE_SECONDS
    assert "secret" not in caplog.text


def test_a_verification_that_works_again_counts(world: World, request_: ErasureRequest) -> None:
    """After some stalls, a verification that finds nothing verifies."""
    world.target.script["notes:verify"] = [VerifyResult(0, complete=False)] * (MAX_STALLS - 1)
    world.loop(JOB, world.plan(JOB, request_.request_id))
    assert (part(world).status, part(world).reason) == (VERIFIED, None)


def test_a_permanent_error_fails_its_target_only(world: World, request_: ErasureRequest) -> None:
    """A target that the verifier may not read fails, with its code, and never counts as empty."""
    world.target.script["notes:verify"] = [VerifyResult(0, complete=False, problem="access_denied", permanent=True)]
    world.erase(JOB, UNIT)
    assert world.verify(JOB, UNIT).again is False
    assert (part(world).status, part(world).reason) == (FAILED, "access_denied")
    assert part(world, "comments").status == VERIFIED


def test_a_throttled_eraser_gets_a_pause(world: World, request_: ErasureRequest) -> None:
    """The pause before the next slice grows with the stalls of the unit's tasks, and has a bound."""
    world.target.script["notes"] = [SliceResult(0, done=False, problem="throttled")] * (MAX_STALLS - 1)
    pauses = []
    for _ in range(MAX_STALLS - 1):
        world.erase(JOB, UNIT)
        pauses.append(world.verify(JOB, UNIT).wait)
    assert pauses[:3] == [2, 4, 8]
    assert max(pauses) == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("state", [CANCELLED, HELD, FINISHED])
def test_a_stopped_request_ends_the_loop(world: World, request_: ErasureRequest, state: str) -> None:
    """Tasks of a request that is not started any more stay as they are and ask for nothing."""
    world.erase(JOB, UNIT)
    world.requests.records[request_.request_id] = replace(world.record(request_), state=state)
    before = world.tasks.tasks(JOB)
    assert world.verify(JOB, UNIT) == NextStep(again=False, wait=0)
    assert world.tasks.tasks(JOB) == before
    assert world.target.verify_calls == []


def test_an_eraser_that_comes_late_does_not_take_it_up_again(world: World, request_: ErasureRequest) -> None:
    """An eraser that read the task while it was still open gets no hold of it during its verification."""
    still_open = task(world)
    world.erase(JOB, UNIT)

    def meanwhile() -> VerifyResult:
        with pytest.raises(SliceLostError):
            world.tasks.begin_slice(still_open, "late")
        return VerifyResult(0, complete=True)

    world.target.script["notes:verify"] = [meanwhile]
    assert world.verify(JOB, UNIT).again is False
    assert (part(world).status, task(world).running) == (VERIFIED, None)


def test_a_verdict_that_comes_second_is_dropped(world: World, request_: ErasureRequest) -> None:
    """If the task is not what it was when it has been verified, the verdict is dropped and the loop goes on."""
    world.erase(JOB, UNIT)

    def meanwhile() -> VerifyResult:
        world.tasks.set_verified(task(world), [replace(part(world), status=PENDING, rounds=1)])
        return VerifyResult(0, complete=True)

    world.target.script["notes:verify"] = [meanwhile]
    assert world.verify(JOB, UNIT).again is True
    assert (part(world).status, part(world).rounds) == (PENDING, 1)


def test_states_are_what_was_meant(world: World, request_: ErasureRequest) -> None:
    """The requests of these tests are started."""
    assert world.record(request_).state == STARTED
