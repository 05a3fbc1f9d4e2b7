"""Requests that change hands: what an earlier job has erased is told once, by the job that has the request then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.audit import broken_at, next_entry
from erasure.domain.outcome import ALREADY_ABSENT, ERASED, FAILED, TargetOutcome
from erasure.domain.plan import PENDING, Part
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.ports import PinnedMap
from erasure.services.close_job import ClosedJob
from erasure.services.start_jobs import job_id_for
from erasure.targets.protocol import SliceResult, VerifyResult
from tests.unit.services.world import MAP, NAMES, World

UNITS = ("dynamodb-00", "s3-00")
BATCH = "jb_0-1"


@pytest.fixture
def world() -> World:
    world = World()
    world.put_things()
    return world


def counts(world: World, request: ErasureRequest) -> dict[str, tuple[str, int, bool]]:
    return {name: (found.outcome, found.count, found.at_least) for name, found in world.outcomes(request).items()}


def everything(outcome: str = ERASED, count: int = 3, *, at_least: bool = False) -> dict[str, tuple[str, int, bool]]:
    return dict.fromkeys(NAMES, (outcome, count, at_least))


def die(*_arguments: object) -> None:
    raise MemoryError


def begin(world: World, request: ErasureRequest, attempt: int) -> str:
    """A job that has been planned."""
    job_id = job_id_for(request.request_id, attempt)
    world.plan(job_id, request.request_id, attempt=attempt)
    return job_id


def erase(world: World, job_id: str) -> None:
    for unit in UNITS:
        world.erase(job_id, unit)


def kill_a_slice(world: World, job_id: str, name: str) -> None:
    """A slice erases everything of a target and dies before it can say so."""
    (task,) = [task for task in world.tasks.tasks(job_id) if task.spec.name == name]
    world.tasks.begin_slice(task, "killed")
    world.target.put(task.spec, {"tenant_id": "acme", "user_id": "ann"}, 0)


@pytest.mark.parametrize("is_verified", [True, False])
def test_what_a_dead_job_erased_is_told(world: World, is_verified: bool) -> None:
    """A job that erased everything and died before it closed: the next one tells exactly what was erased, and not that
    nothing was there."""
    request = world.a_request()
    first = begin(world, request, 1)
    erase(world, first)
    if is_verified:
        for unit in UNITS:
            world.verify(first, unit)
    world.run(request, attempt=2)
    assert world.record(request).state == FINISHED
    assert counts(world, request) == everything()
    assert broken_at(world.trail(request)) is None
    taken_over = world.trail(request)[2]
    assert (taken_over.event, taken_over.details) == (
        "taken_over",
        {"job_id": job_id_for(request.request_id, 2), "from": first},
    )


def test_a_job_that_died_before_it_erased_anything_is_no_estimate(world: World) -> None:
    """What the earlier job had not begun is told as the next one finds it: there or not there."""
    request, nobody = world.a_request(), world.a_request(Subject("acme", "nobody"))
    for one in (request, nobody):
        begin(world, one, 1)
        world.run(one, attempt=2)
    assert counts(world, request) == everything()
    assert counts(world, nobody) == everything(ALREADY_ABSENT, 0)


def test_a_slice_that_died_with_its_job_makes_at_least(world: World) -> None:
    """A target that a slice was at work on when its job died was erased, of at least what was written down; all others
    are told exactly."""
    request = world.a_request()
    first = begin(world, request, 1)
    world.erase(first, "s3-00")
    kill_a_slice(world, first, "notes")
    world.run(request, attempt=2)
    assert counts(world, request) == {
        "notes": (ERASED, 0, True),
        "comments": (ERASED, 3, False),
        "files": (ERASED, 3, False),
    }


def test_a_slice_that_died_before_its_job_closed_makes_at_least(world: World) -> None:
    """A job that closes while a slice is at work tells of at least its count; the next job does not call absent what
    that slice has erased."""
    request = world.a_request()
    first = begin(world, request, 1)
    kill_a_slice(world, first, "notes")
    world.close(first, request.request_id)
    assert world.outcomes(request)["notes"] == TargetOutcome("notes", "content", FAILED, 0, True, "not_finished")
    world.run(request, attempt=2)
    assert counts(world, request)["notes"] == (ERASED, 0, True)


def test_many_owners_count_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose jobs die one after the other, one of them before it could plan: what each erased is counted, and
    counted once."""
    request = world.a_request()
    world.target.script["notes"] = [SliceResult(1, done=False), SliceResult(1, done=False)]
    world.erase(begin(world, request, 1), "dynamodb-00")
    monkeypatch.setattr(world.tasks, "create_job", die)
    with pytest.raises(MemoryError):
        begin(world, request, 2)
    monkeypatch.undo()
    world.erase(begin(world, request, 3), "dynamodb-00")
    world.run(request, attempt=4)
    assert counts(world, request) == everything() | {"notes": (ERASED, 5, False)}


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_plan_that_died_takes_over_when_it_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Planning that died between claiming the request and writing its last task still takes over all of it."""
    request = world.a_request()
    erase(world, begin(world, request, 1))
    create = world.tasks.create_job

    def die_on_the_way(job_id: str, request_ids: Sequence[str], data_map: PinnedMap, tasks: Sequence[Any]) -> None:
        if written:
            create(job_id, request_ids, data_map, tasks[:written])
        raise MemoryError

    monkeypatch.setattr(world.tasks, "create_job", die_on_the_way)
    with pytest.raises(MemoryError):
        begin(world, request, 2)
    monkeypatch.undo()
    world.run(request, attempt=2)
    assert counts(world, request) == everything()
    assert [entry.event for entry in world.trail(request)].count("taken_over") == 1


def test_a_closed_job_is_not_taken_over(world: World) -> None:
    """What a job has told by closing is not counted again, and a retry leaves no mark but its own."""
    world.target.script["comments:verify"] = [VerifyResult(0, False, "access_denied", permanent=True)]
    request = world.a_request()
    world.run(request)
    world.run(request, attempt=2)
    assert counts(world, request) == everything()
    assert [entry.event for entry in world.trail(request)] == [
        "requested",
        "planned",
        "attention",
        "planned",
        "finished",
    ]


def test_nothing_is_looked_for_where_nobody_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning reads a request's trail once, to write to it, if no job had the request before or the last one that had
    it has closed it."""
    world.target.script["notes:verify"] = [VerifyResult(0, False, "access_denied", permanent=True)]
    request = world.a_request()
    read: list[str] = []
    entries = world.audit.entries

    def note(request_id: str) -> Any:
        read.append(request_id)
        return entries(request_id)

    monkeypatch.setattr(world.audit, "entries", note)
    for attempt in (1, 2):
        read.clear()
        job_id = begin(world, request, attempt)
        assert read == [request.request_id]
        world.loop(job_id, world.plan(job_id, request.request_id, attempt=attempt))
        world.close(job_id, request.request_id)


def test_a_plan_that_is_repeated_takes_nothing_from_a_closed_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry whose planning died and is repeated still sees that the job before it has closed."""
    world.target.script["comments:verify"] = [VerifyResult(0, False, "access_denied", permanent=True)]
    request = world.a_request()
    world.run(request)
    monkeypatch.setattr(world.tasks, "create_job", die)
    with pytest.raises(MemoryError):
        begin(world, request, 2)
    monkeypatch.undo()
    world.run(request, attempt=2)
    assert counts(world, request) == everything()
    assert "taken_over" not in [entry.event for entry in world.trail(request)]


def test_an_overtaken_job_that_plans_again_takes_nothing_back(world: World) -> None:
    """An older job that plans once more after it has lost its request does not claim to have taken it over."""
    request = world.a_request()
    for attempt in (1, 2, 3, 2):
        begin(world, request, attempt)
    taken = [entry.details["from"] for entry in world.trail(request) if entry.event == "taken_over"]
    assert taken == [job_id_for(request.request_id, attempt) for attempt in (1, 2)]
    assert world.record(request).job_id == job_id_for(request.request_id, 3)


def test_a_job_that_closes_at_the_last_moment_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier job that writes its outcomes just before it is told that it has lost the request: its counts are in
    the record, and are not taken over as well."""
    request = world.a_request()
    first = begin(world, request, 1)
    world.loop(first, world.plan(first, request.request_id))
    append = world.audit.append

    def close_just_before(request_id: str, event: str, *arguments: Any, **named: Any) -> Any:
        if event == "taken_over":
            monkeypatch.undo()
            last = world.trail(request)[-1]
            entry = next_entry(request_id, last, "attention", world.clock(), {}, event_id=f"closed:{first}")
            told = [TargetOutcome(name, "content", ERASED, 3) for name in NAMES]
            assert world.requests.close(request, first, told, world.clock(), entry, finished=False, attention=True)
        return append(request_id, event, *arguments, **named)

    monkeypatch.setattr(world.audit, "append", close_just_before)
    world.run(request, attempt=2)
    assert counts(world, request) == everything()


@pytest.mark.parametrize("unit", UNITS)
def test_an_overtaken_job_works_no_more(world: World, unit: str) -> None:
    """An eraser or verifier of a job that has lost its request touches nothing of it, asks for nothing, and its close
    writes nothing."""
    request = world.a_request()
    first = begin(world, request, 1)
    second = begin(world, request, 2)
    tasks = world.tasks.tasks(first)
    assert world.erase(first, unit) is False
    assert world.verify(first, unit).again is False
    assert world.close(first, request.request_id) == ClosedJob((), ())
    assert (world.target.erase_calls, world.target.verify_calls) == ([], [])
    assert world.tasks.tasks(first) == tasks
    assert (world.record(request).outcomes, world.record(request).job_id) == ((), second)


def test_a_job_that_has_closed_works_no_more(world: World) -> None:
    """Nobody would count what a job erases after it has told its outcomes."""
    request = world.a_request()
    first = begin(world, request, 1)
    world.close(first, request.request_id)
    assert world.record(request).state == STARTED
    erase(world, first)
    assert world.target.erase_calls == []


def overtaken_while(world: World, monkeypatch: pytest.MonkeyPatch, request: ErasureRequest, step: str) -> None:
    """The second attempt plans just before the first one's eraser takes this step."""
    store: Any = {"get_many": world.requests, "begin_slice": world.tasks, "end_slice": world.tasks}[step]
    real: Callable[..., Any] = getattr(store, step)

    def overtake_first(*arguments: Any) -> Any:
        monkeypatch.undo()
        begin(world, request, 2)
        return real(*arguments)

    monkeypatch.setattr(store, step, overtake_first)


@pytest.mark.parametrize("step", ["get_many", "begin_slice"])
def test_a_slice_that_comes_late_erases_nothing(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """An eraser that had read its tasks, or its requests too, when the request was taken over, does not begin: the
    new job tells exactly what it erases itself."""
    request = world.a_request()
    first = begin(world, request, 1)
    overtaken_while(world, monkeypatch, request, step)
    world.erase(first, "s3-00")
    assert world.target.erase_calls == []
    world.run(request, attempt=2)
    assert counts(world, request) == everything()


def test_a_slice_at_work_when_the_request_is_taken_over_makes_at_least(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a slice erases of a request that is taken over meanwhile is not called absent."""
    request = world.a_request()
    first = begin(world, request, 1)
    overtaken_while(world, monkeypatch, request, "end_slice")
    world.erase(first, "s3-00")
    world.run(request, attempt=2)
    assert counts(world, request) == everything() | {"files": (ERASED, 0, True)}


def test_one_of_many_is_taken_over(world: World) -> None:
    """A request that is tried again while its batch still runs is taken over alone: the others' counts, and whatever
    the batch does with them, are as if nothing had happened."""
    requests = world.requests_of("ann", "bob", "eve")
    ids = [request.request_id for request in requests]
    units = world.plan(BATCH, *ids)
    world.erase(BATCH, "s3-00")
    begin(world, requests[1], 2)
    world.loop(BATCH, units)
    assert {name for name, users in world.target.erase_calls if "bob" in users} == {"files"}
    assert world.close(BATCH, *ids) == ClosedJob((0.0, 0.0), (), within=2)
    assert world.record(requests[1]).outcomes == ()
    world.run(requests[1], attempt=2)
    for request in requests:
        assert (world.record(request).state, counts(world, request)) == (FINISHED, everything())


def test_a_job_takes_over_from_many_jobs(world: World) -> None:
    """A batch of requests whose jobs of their own have died goes on from each of them."""
    requests = world.requests_of("ann", "bob", "eve")
    for request in requests[:2]:
        erase(world, begin(world, request, 1))
    assert world.run_many("jb_0-2", requests, attempt=2) == ClosedJob((0.0, 0.0, 0.0), (), within=3)
    for request in requests:
        assert counts(world, request) == everything()


def test_a_part_of_the_work_that_died_is_taken_over(world: World) -> None:
    """The small job of an access revocation that died before it closed: the whole job tells what it erased, and the
    small one comes too late to close."""
    request = world.a_request()
    small = job_id_for(request.request_id, 0)
    world.plan(small, request.request_id, attempt=0, categories=["content"])
    erase(world, small)
    world.run(request, attempt=1)
    assert world.close(small, request.request_id, partial=True) == ClosedJob((), ())
    assert counts(world, request) == everything()
    assert world.record(request).state == FINISHED


def test_a_target_that_is_refused_now_keeps_its_count(world: World) -> None:
    """What was erased of a target is told although the new job may not touch that target."""
    request = world.a_request(Subject("acme", "a/b"))
    first = begin(world, request, 1)
    (task,) = [task for task in world.tasks.tasks(first) if task.spec.name == "files"]
    begun = world.tasks.begin_slice(task, "slice")
    world.tasks.end_slice(begun, "slice", [Part(request.request_id, PENDING, 2)])
    world.run(request, attempt=2)
    assert world.outcomes(request)["files"] == TargetOutcome(
        "files", "content", FAILED, 2, reason="ambiguous_identifier"
    )


STEPS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["plan", "erase", "verify", "kill", "close"]), st.sampled_from(UNITS)),
    max_size=14,
)


@given(STEPS)
def test_counts_are_right_whoever_does_what(steps: list[tuple[int, str, str]]) -> None:
    """Three attempts at one request, each doing anything at any time, slices dying on the way, and a fourth that ends
    it: every target is told as erased, with all that was there or with at least so many, and nothing twice."""
    world = World()
    world.put_things()
    request = world.a_request()
    for attempt, step, unit in steps:
        job_id = job_id_for(request.request_id, attempt)
        if step == "plan":
            world.plan(job_id, request.request_id, attempt=attempt)
        elif step == "erase":
            world.erase(job_id, unit)
        elif step == "verify":
            world.verify(job_id, unit)
        elif step == "close":
            world.close(job_id, request.request_id)
        else:
            _kill(world, job_id, unit)
    if world.record(request).state != FINISHED:
        world.run(request, attempt=4)
    assert world.record(request).state == FINISHED
    assert not any(world.target.things.values())
    assert broken_at(world.trail(request)) is None
    for outcome in world.record(request).outcomes:
        assert outcome.outcome == ERASED
        assert outcome.count == 3 or (outcome.at_least and outcome.count < 3)


def _kill(world: World, job_id: str, unit: str) -> None:
    """A slice that is killed before it writes, if the job has anything to do."""
    end = world.tasks.end_slice
    world.tasks.end_slice = die  # type: ignore[method-assign, assignment]
    try:
        world.erase(job_id, unit)
    except MemoryError:
        pass
    finally:
        world.tasks.end_slice = end  # type: ignore[method-assign]


def test_targets_are_those_of_the_map() -> None:
    """The names that these tests expect are the map's."""
    assert [spec.name for spec in MAP.targets] == NAMES
