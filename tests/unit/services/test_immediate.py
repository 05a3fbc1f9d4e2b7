"""A small job right now: how far it goes, what it leaves, and who may take over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from erasure.domain.request import FINISHED, STARTED
from erasure.domain.subject import Subject
from erasure.services.accounts import ACCESS_CATEGORIES, FAMILY
from erasure.services.erasures import ErasureCommand
from erasure.services.plan_job import plan_job
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.functional.backend_world import ACCESS, BACKEND_KEY, TARGETS, TENANT, USER, BackendWorld, a_map

ANN = Subject(TENANT, USER)


@pytest.fixture
def world() -> BackendWorld:
    world = BackendWorld()
    world.put_user()
    return world


def accept(world: BackendWorld, categories: tuple[str, ...] | None = None) -> str:
    command = ErasureCommand(TENANT, FAMILY, (ANN,), BACKEND_KEY, lambda _: "id", categories=categories)
    request = world.erasures.create(command).dispositions[0].request
    assert request is not None
    return request.request_id


def run(world: BackendWorld, request_id: str, seconds: float = 18) -> bool:
    return world.jobs.run(request_id, Deadline(seconds, world.monotonic), ACCESS_CATEGORIES)


def outcomes(world: BackendWorld, request_id: str) -> dict[str, tuple[str, int]]:
    return {outcome.target: (outcome.outcome, outcome.count) for outcome in world.request(request_id).outcomes}


def test_only_the_categories_are_erased_and_the_request_stays_open(world: BackendWorld) -> None:
    """Targets of the categories are gone when it returns True; the others are untouched, the request is not finished
    and does not ask for attention."""
    request_id = accept(world)
    assert run(world, request_id)
    assert world.left(ANN) == {"memberships", "audit-events", "files"}
    request = world.request(request_id)
    assert (request.state, request.attention, request.job_id) == (STARTED, False, f"{request_id}-0")
    assert outcomes(world, request_id) == dict.fromkeys(ACCESS, ("erased", 2))


def test_the_batch_job_takes_over_and_adds_up(world: BackendWorld) -> None:
    """The batch lane's job covers everything, finishes the request, and what was erased before still counts."""
    request_id = accept(world)
    run(world, request_id)
    world.run_batch()
    assert world.request(request_id).state == FINISHED
    assert world.left(ANN) == {"audit-events"}
    assert outcomes(world, request_id) == dict.fromkeys((*ACCESS, "memberships", "files"), ("erased", 2))


def test_workers_are_called_with_the_unit_and_the_time_that_is_left(world: BackendWorld) -> None:
    """Each call carries the unit and the seconds that its slice may take, less than are left for the caller."""
    request_id = accept(world)
    world.seconds_of_a_call = 2.0
    assert run(world, request_id, seconds=10)
    unit = {"job_id": f"{request_id}-0", "unit": "dynamodb-00", "eraser": "erase_dynamodb", "passes_left": 1000}
    assert world.functions.calls == [
        ("erase_dynamodb", {**unit, "seconds": 9.0}),
        ("verify_target", {**unit, "seconds": 7.0}),
    ]


def test_units_of_both_kinds_are_worked_on(world: BackendWorld) -> None:
    """A target in S3 of one of the categories is erased by the other eraser."""
    avatars = {"name": "avatars", "category": "account", "s3": {"bucket": "app-avatars", "prefix": "{user_id}/"}}
    world = BackendWorld(a_map([*TARGETS, avatars]))
    world.put_user()
    assert run(world, accept(world))
    assert {function for function, _ in world.functions.calls} == {"erase_dynamodb", "erase_s3", "verify_target"}
    assert "avatars" not in world.left(ANN)


def test_what_the_verifier_still_finds_is_erased_again(world: BackendWorld) -> None:
    """A session that appears behind the eraser's back is found by the verifier and erased in the next round."""
    world.target.script["sessions:verify"] = [VerifyResult(1, complete=True)]
    request_id = accept(world)
    assert run(world, request_id)
    assert [name for name, _ in world.target.erase_calls].count("sessions") == 2


def test_never_done_while_something_is_left(world: BackendWorld) -> None:
    """A verifier that keeps finding sessions makes the job fail, not succeed."""
    world.target.always["sessions:verify"] = VerifyResult(1, complete=True)
    request_id = accept(world)
    assert not run(world, request_id)
    request = world.request(request_id)
    assert (request.state, request.attention) == (STARTED, False)


@pytest.mark.parametrize("function", ["erase_dynamodb", "verify_target"])
def test_a_worker_that_does_not_answer_is_no_success(world: BackendWorld, function: str) -> None:
    """Without an answer of a worker nothing counts as gone; when it answers again, the same job comes to its end."""
    request_id = accept(world)
    answer = world.functions.answers.pop(function)
    assert not run(world, request_id)
    world.functions.answers[function] = answer
    assert run(world, request_id)
    assert outcomes(world, request_id) == dict.fromkeys(ACCESS, ("erased", 2))


def test_it_ends_when_the_time_is_up(world: BackendWorld) -> None:
    """An eraser that is never done is not called any more when the caller has no time left."""
    world.seconds_of_a_call = 3.0
    world.target.always["sessions"] = SliceResult(1, done=False)
    assert not run(world, accept(world), seconds=10)
    assert world.moment <= 10


def test_it_does_not_wait_for_what_comes_too_late(world: BackendWorld) -> None:
    """A pause that is longer than the caller's time is not begun."""
    world.target.always["sessions"] = SliceResult(0, done=False, problem="throttled")
    assert not run(world, accept(world), seconds=10)
    assert world.moment < 10


def test_a_faster_batch_job_is_asked_by_its_outcomes(world: BackendWorld) -> None:
    """When another job has the request, its outcomes decide: not before it has closed, and then at once."""
    request_id = accept(world)
    world.target.always["files"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    world.run_batch()
    assert world.request(request_id).attention
    assert run(world, request_id)
    assert world.functions.calls == []


def test_a_batch_job_that_has_not_closed_yet_is_no_success(world: BackendWorld) -> None:
    """A request that another job has only begun does not count as erased."""
    request_id = accept(world)
    world.requests.start(world.request(request_id), world.clock(), 1, f"jb_{'0' * 40}-1", 1)
    assert not run(world, request_id)


def test_a_batch_job_that_has_verified_is_believed_before_it_closes(world: BackendWorld) -> None:
    """A request that the batch job took over half-way: this one works on it no more, says no until the batch job has
    seen all of the categories' targets gone, and then yes, although that job has other work left."""
    request_id, batch = accept(world), f"jb_{'0' * 40}-1"
    world.functions.answers.pop("verify_target")
    assert not run(world, request_id)
    world.functions.answers["verify_target"] = world.verify
    world.target.script["sessions:verify"] = [VerifyResult(1, complete=True)]
    plan_job(batch, [request_id], 1, world.planning())
    for _ in range(2):
        calls = list(world.target.erase_calls)
        assert not run(world, request_id)
        assert world.target.erase_calls == calls
        event = {"job_id": batch, "unit": "dynamodb-00", "seconds": 60}
        world.erase(event)
        world.verify(event)
    assert run(world, request_id)
    assert world.request(request_id).state == STARTED
    assert "files" in world.left(ANN)


def test_another_jobs_failure_is_no_success(world: BackendWorld) -> None:
    """A target that the batch job could not erase is not gone."""
    request_id = accept(world)
    world.target.always["sessions"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    world.run_batch()
    assert not run(world, request_id)


def test_no_target_of_the_categories_is_fine_for_a_part_only() -> None:
    """Nothing to do for these categories is done; a whole request that covers nothing is not."""
    world = BackendWorld(a_map([target for target in TARGETS if target["name"] not in ACCESS]))
    assert run(world, accept(world))
    sessions = BackendWorld()
    request_id = accept(sessions, ("session",))
    sessions.maps.maps.append(a_map(TARGETS[3:], version=2))
    assert not sessions.jobs.run(request_id, Deadline(18, sessions.monotonic))


@pytest.mark.parametrize("targets", [[], [TARGETS[5]]], ids=["no map", "another map"])
def test_a_map_that_covers_nothing_of_a_user_is_no_success(world: BackendWorld, targets: list[dict[str, Any]]) -> None:
    """When the map has gone, or has lost everything about users, since the request was accepted, nobody is told that
    it is done."""
    request_id = accept(world)
    world.maps.maps[:] = [a_map(targets, version=2)] if targets else []
    for _ in range(2):
        assert not run(world, request_id)
    assert world.target.erase_calls == []


def test_a_whole_request_is_finished(world: BackendWorld) -> None:
    """Without categories the job closes its request for good."""
    request_id = accept(world, ("session",))
    assert world.jobs.run(request_id, Deadline(18, world.monotonic))
    assert world.request(request_id).state == FINISHED
    assert "sessions" not in world.left(ANN)
    assert "accounts" in world.left(ANN)


def test_a_whole_request_is_not_finished_by_another_jobs_part(world: BackendWorld) -> None:
    """When another job could not finish the request, neither has this one."""
    world.target.always["sessions"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    request_id = accept(world, ("session",))
    world.run_batch()
    assert not world.jobs.run(request_id, Deadline(18, world.monotonic))


def test_a_cancelled_request_is_not_worked_on(world: BackendWorld) -> None:
    """A request that may not be started is no success, and no worker hears of it."""
    request_id = accept(world)
    world.erasures.cancel(TENANT, request_id, BACKEND_KEY)
    assert not run(world, request_id)
    assert world.functions.calls == []


def test_a_target_that_cannot_name_the_user_safely_is_no_success(world: BackendWorld) -> None:
    """A part that is refused from the start, by a newer map, is not gone, and no worker hears of it."""
    request_id = accept(world)
    world.requests.records[request_id] = replace(world.request(request_id), subject=Subject(TENANT, "a/b"))
    sessions = {"name": "sessions", "category": "session", "s3": {"bucket": "app-files", "prefix": "{user_id}/"}}
    world.maps.maps.append(a_map([sessions], version=2))
    assert not run(world, request_id)
    assert world.functions.calls == []
