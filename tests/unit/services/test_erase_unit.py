"""Slices of a unit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, Part, Task
from erasure.domain.request import CANCELLED, FINISHED, HELD, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import SliceLostError
from erasure.services.erase_unit import COUNT_EVERY, MAX_STALLS, EraseUnitDependencies, erase_unit
from erasure.targets.protocol import Deadline, OnErased, SliceResult, Values, VerifyResult
from tests.unit.services.world import World

# The port's signature is kept whole.
# ruff: noqa: ARG002, ARG005

JOB = "job-1"
UNIT = "dynamodb-00"


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


def test_a_slice_erases_a_units_tasks(world: World, request_: ErasureRequest) -> None:
    """A slice that gets to the end leaves its tasks erased with their counts, and no other unit's."""
    assert world.erase(JOB, UNIT) is False
    assert [
        (task.spec.name, part.status, part.erased, task.running)
        for task in world.tasks.tasks(JOB)
        for part in task.parts
    ] == [
        ("notes", ERASED_UNVERIFIED, 3, None),
        ("comments", ERASED_UNVERIFIED, 3, None),
        ("files", PENDING, 0, None),
    ]


def test_erased_tasks_are_not_erased_again(world: World, request_: ErasureRequest) -> None:
    """Another call for a unit that is done does nothing."""
    world.erase(JOB, UNIT)
    calls = list(world.target.erase_calls)
    assert world.erase(JOB, UNIT) is False
    assert world.target.erase_calls == calls


def test_time_that_runs_out_asks_for_more(world: World, request_: ErasureRequest) -> None:
    """A slice that ran out of time keeps what it counted and asks for another one, without a problem."""
    world.target.script["notes"] = [SliceResult(2, done=False)]
    assert world.erase(JOB, UNIT) is True
    assert part(world) == Part(request_.request_id, PENDING, erased=2)
    assert task(world).running is None
    assert part(world, "comments").status == ERASED_UNVERIFIED
    assert world.erase(JOB, UNIT) is False
    assert (part(world).erased, part(world).at_least) == (5, False)


def test_no_time_begins_nothing(world: World, request_: ErasureRequest) -> None:
    """With no time left, no task is begun, and none of them counts it as a stall."""
    before = world.tasks.tasks(JOB)
    assert world.erase(JOB, UNIT, Deadline(-1)) is True
    assert world.tasks.tasks(JOB) == before
    assert world.target.erase_calls == []


@pytest.mark.parametrize("state", [CANCELLED, HELD, FINISHED])
def test_a_stopped_request_loses_nothing_more(world: World, request_: ErasureRequest, state: str) -> None:
    """Once a request is not started any more, a slice touches none of its data; other requests' goes on."""
    other = world.a_request(Subject("acme", "bob"))
    world.plan("job-2", request_.request_id, other.request_id, attempt=2)
    world.requests.records[request_.request_id] = replace(world.record(request_), state=state)
    assert world.erase(JOB, UNIT) is False
    assert world.target.erase_calls == []
    assert world.erase("job-2", UNIT) is False
    assert sorted(world.target.erase_calls) == [("comments", ("bob",)), ("notes", ("bob",))]
    assert len(world.target.things) == 3


def test_a_permanent_error_fails_its_target_only(world: World, request_: ErasureRequest) -> None:
    """A table that is missing fails that target, with its code; the others of the unit are erased."""
    world.target.script["notes"] = [SliceResult(0, done=False, problem="target_missing", permanent=True)]
    assert world.erase(JOB, UNIT) is False
    assert (part(world).status, part(world).reason, task(world).running) == (FAILED, "target_missing", None)
    assert part(world, "comments").status == ERASED_UNVERIFIED


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (SliceResult(0, done=False, problem="throttled"), "throttled"),
        (RuntimeError("ann's secret"), "internal_error"),
        (SliceResult(0, done=False, problem="rejected"), "rejected"),
        (SliceResult(0, done=True, problem="rejected"), "rejected"),
        (SliceResult(0, done=False), None),
    ],
)
def test_stalls_are_counted_and_given_up(
    world: World,
    request_: ErasureRequest,
    step: Exception | SliceResult,
    reason: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A task that gets nowhere slice after slice is given up with its reason; what made it fail is not logged."""
    world.target.script["notes"] = [step] * MAX_STALLS
    with caplog.at_level(logging.DEBUG):
        for number in range(1, MAX_STALLS):
            assert world.erase(JOB, UNIT) is True
            assert (part(world).status, part(world).stalls, part(world).reason) == (PENDING, number, reason)
        assert world.erase(JOB, UNIT) is False
    assert (part(world).status, part(world).reason) == (FAILED, reason or "no_progress")
    assert "secret" not in caplog.text


def test_progress_forgets_stalls(world: World, request_: ErasureRequest) -> None:
    """A slice that erases something starts the count of stalls anew, even if it has a problem."""
    stalled, moving = SliceResult(0, done=False, problem="throttled"), SliceResult(1, done=False, problem="throttled")
    world.target.script["notes"] = [*[stalled] * (MAX_STALLS - 1), moving, stalled]
    for _ in range(MAX_STALLS):
        world.erase(JOB, UNIT)
    assert (part(world).stalls, part(world).erased) == (0, 1)
    world.erase(JOB, UNIT)
    assert (part(world).status, part(world).stalls) == (PENDING, 1)


def test_done_with_a_problem_is_not_done(world: World, request_: ErasureRequest) -> None:
    """A slice that reached the end but had rejected deletions is not called erased."""
    world.target.script["notes"] = [SliceResult(2, done=True, problem="rejected")]
    assert world.erase(JOB, UNIT) is True
    assert (part(world).status, part(world).erased, part(world).reason) == (PENDING, 2, "rejected")


def test_a_dead_slice_makes_at_least(world: World, request_: ErasureRequest) -> None:
    """After a slice that was killed, the next one finishes the task and the count is "at least"."""
    world.tasks.begin_slice(task(world), "killed")
    assert world.erase(JOB, UNIT) is False
    assert (part(world).status, part(world).erased, part(world).at_least) == (ERASED_UNVERIFIED, 3, True)
    assert part(world, "comments").at_least is False


Step = Callable[[Callable[[int], None]], SliceResult]


class Steps:
    """A target whose ``erase`` is a function of the test, for one subject."""

    def __init__(self, run: Step) -> None:
        self.run = run

    def erase(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, on_erased: OnErased | None = None
    ) -> list[SliceResult]:
        assert on_erased is not None
        (_,) = subjects
        return [self.run(lambda count: on_erased(0, count))]

    def verify(self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline) -> list[VerifyResult]:
        return [VerifyResult(0, complete=True) for _ in subjects]


def erase_with(world: World, run: Step, slice_id: str = "mine") -> bool:
    use = EraseUnitDependencies(world.requests, world.tasks, {"s3": Steps(run)}, holds=world.holds)
    return erase_unit(JOB, "s3-00", slice_id, Deadline(60), use)


def test_counts_are_written_on_the_way(world: World, request_: ErasureRequest) -> None:
    """A slice that is killed after thousands of deletions loses only what it had not written down yet."""

    def die_late(on_erased: Callable[[int], None]) -> SliceResult:
        for _ in range(7):
            on_erased(COUNT_EVERY // 2)
        raise SystemExit  # what a killed process looks like: nothing after it runs

    with pytest.raises(SystemExit):
        erase_with(world, die_late)
    assert (part(world, "files").erased, task(world, "files").running) == (3 * COUNT_EVERY, "mine")
    erase_with(world, lambda on_erased: SliceResult(1, done=True), "next")
    assert (part(world, "files").erased, part(world, "files").at_least) == (3 * COUNT_EVERY + 1, True)


@pytest.mark.parametrize("reported", [0, 4, 10, COUNT_EVERY + 1])
def test_nothing_is_counted_twice(world: World, request_: ErasureRequest, reported: int) -> None:
    """What a target reports on the way and its total at the end are the same deletions."""

    def run(on_erased: Callable[[int], None]) -> SliceResult:
        on_erased(reported)
        return SliceResult(COUNT_EVERY + 10, done=True)

    erase_with(world, run)
    assert part(world, "files").erased == COUNT_EVERY + 10


@pytest.mark.parametrize("permanent", [True, False])
def test_an_error_keeps_what_was_counted(world: World, request_: ErasureRequest, permanent: bool) -> None:
    """Deletions before an error count, whatever the error."""

    def run(on_erased: Callable[[int], None]) -> SliceResult:
        on_erased(4)
        if permanent:
            return SliceResult(4, done=False, problem="access_denied", permanent=True)
        raise RuntimeError

    erase_with(world, run)
    assert (part(world, "files").status, part(world, "files").erased) == (FAILED if permanent else PENDING, 4)


def test_an_exception_makes_at_least(world: World, request_: ErasureRequest) -> None:
    """A target that raises may have erased more than it has told: its parts are "at least" from then on, so that what
    is gone by the next slice is not called absent."""
    world.target.script["notes"] = [RuntimeError()]
    world.erase(JOB, UNIT)
    assert (part(world).at_least, part(world, "comments").at_least) == (True, False)
    world.target.put(task(world).spec, request_.subject.values(), 0)
    world.loop(JOB, world.plan(JOB, request_.request_id))
    world.close(JOB, request_.request_id)
    assert world.outcomes(request_)["notes"] == TargetOutcome("notes", "content", "erased", 0, at_least=True)


@pytest.mark.parametrize("when", ["on the way", "at the end"])
def test_an_overtaken_slice_asks_for_more_and_counts_nothing(world: World, request_: ErasureRequest, when: str) -> None:
    """A slice that another one has overtaken changes nothing any more and does not call the task done."""

    def run(on_erased: Callable[[int], None]) -> SliceResult:
        world.tasks.begin_slice(task(world, "files"), "other")
        if when == "on the way":
            on_erased(COUNT_EVERY)
        return SliceResult(9, done=True)

    assert erase_with(world, run) is True
    assert task(world, "files").running == "other"
    assert part(world, "files") == Part(request_.request_id, PENDING, 0, at_least=True)


def test_losing_a_task_at_its_beginning_leaves_the_others(
    world: World, request_: ErasureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another slice begins a task at the same moment, this one goes on with the rest of the unit."""
    begin = world.tasks.begin_slice

    def contested(wanted: Task, slice_id: str) -> Task:
        if wanted.spec.name == "notes":
            raise SliceLostError
        return begin(wanted, slice_id)

    monkeypatch.setattr(world.tasks, "begin_slice", contested)
    assert world.erase(JOB, UNIT) is True
    assert part(world, "comments").status == ERASED_UNVERIFIED


def test_doubled_slices_do_no_harm(world: World, request_: ErasureRequest) -> None:
    """Two slices of one unit at the same moment: both return, the data is gone, and no count is too high."""
    barrier = threading.Barrier(2)

    def run(number: int) -> None:
        barrier.wait()
        world.erase(JOB, UNIT, slice_id=f"twin-{number}")

    twins = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()
    world.loop(JOB, world.plan(JOB, request_.request_id))
    world.close(JOB, request_.request_id)
    assert world.record(request_).state == FINISHED
    assert world.target.things == {}
    for outcome in world.record(request_).outcomes:
        assert outcome.count == 3 or (outcome.at_least and outcome.count < 3)


def test_a_held_request_is_taken_up_where_it_was(world: World, request_: ErasureRequest) -> None:
    """A request held half-way keeps its tasks; started again, another job finishes it, and tells of all that either
    has erased."""
    world.target.script["notes"] = [SliceResult(1, done=False)]
    world.erase(JOB, UNIT)
    world.target.put(task(world).spec, request_.subject.values(), 2)
    world.requests.records[request_.request_id] = replace(world.record(request_), state=HELD)
    assert world.verify(JOB, UNIT).again is False
    assert world.close(JOB, request_.request_id).attention == ()
    assert world.record(request_).state == HELD
    world.requests.records[request_.request_id] = replace(world.record(request_), state="requested")
    world.run(request_, attempt=2)
    assert world.record(request_).state == FINISHED
    assert world.outcomes(request_)["notes"] == TargetOutcome("notes", "content", "erased", 3)


def test_states_are_what_was_meant(world: World, request_: ErasureRequest) -> None:
    """The requests of these tests are started, so that erasing them is what is expected."""
    assert world.record(request_).state == STARTED
