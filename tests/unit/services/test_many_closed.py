"""Verifying and closing jobs for many requests, and jobs that are a part of the work only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from erasure.domain.outcome import ERASED
from erasure.domain.plan import PENDING, VERIFIED
from erasure.domain.request import FINISHED, REQUESTED, STARTED, ErasureRequest
from erasure.errors import NotFoundError, UnavailableError
from erasure.ports import PinnedMap
from erasure.services.close_job import ACCESS_NOT_REVOKED, ACCESS_REVOKED, ClosedJob
from erasure.services.verify_unit import NextStep
from tests.unit.services.test_many_requests import DENIED, JOB, LEFT, UNIT, everything, ids_of, outcomes
from tests.unit.services.world import MAP, World


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_left_of_one_is_erased_again_alone(world: World) -> None:
    """Leftovers of one person send that person's part back; the others' are verified and not touched again."""
    requests = world.requests_of("ann", "bob", "eve")
    world.target.script["notes:verify@bob"] = [LEFT]
    units = world.plan(JOB, *ids_of(requests))
    world.erase(JOB, UNIT)
    assert world.verify(JOB, UNIT) == NextStep(again=True, wait=0)
    assert [world.part(JOB, request).status for request in requests] == [VERIFIED, PENDING, VERIFIED]
    world.target.erase_calls.clear()
    world.loop(JOB, units[:1])
    assert world.target.erase_calls == [("notes", ("bob",))]


def test_one_that_is_never_gone_is_given_up_alone(world: World) -> None:
    """A person of whom something is found every time gets attention; the others are finished."""
    requests = world.requests_of("ann", "bob")
    world.target.always["notes:verify@bob"] = LEFT
    world.run_many(JOB, requests)
    assert [world.record(request).state for request in requests] == [FINISHED, STARTED]
    assert world.outcomes(requests[1])["notes"].reason == "still_present"


def test_one_that_cannot_be_closed_fails_the_close_after_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one request can never be written, closing fails, with all others closed; closing again closes the rest and
    tells of all of them."""
    requests = world.requests_of("ann", "bob", "eve")
    units = world.plan(JOB, *ids_of(requests))
    world.loop(JOB, units)
    close = world.requests.close

    def busy(request: ErasureRequest, *arguments: object, **named: object) -> bool:
        if request.request_id == requests[0].request_id:
            raise UnavailableError
        return close(request, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.requests, "close", busy)
    with pytest.raises(UnavailableError):
        world.close(JOB, *ids_of(requests))
    assert [world.record(request).state for request in requests] == [STARTED, FINISHED, FINISHED]
    monkeypatch.undo()
    assert world.close(JOB, *ids_of(requests)) == ClosedJob((0.0, 0.0, 0.0), (), within=3)


def test_a_job_for_something_unknown_fails_whole(world: World) -> None:
    """A job that names a request that does not exist claims none of the others."""
    requests = world.requests_of("ann", "bob")
    with pytest.raises(NotFoundError):
        world.plan(JOB, *ids_of(requests), "er_00000000000000000000000000")
    assert {world.record(request).state for request in requests} == {REQUESTED}


# A part of the work, closed before the rest


def a_small_job(world: World) -> tuple[ErasureRequest, str]:
    """A job for the notes alone, erased."""
    world.maps.maps = [
        PinnedMap(1, "d", (replace(MAP.targets[0], category="preference"), *MAP.targets[1:])),
    ]
    (request,) = world.requests_of("ann")
    job_id = f"{request.request_id}-0"
    world.loop(job_id, world.plan(job_id, request.request_id, attempt=0, categories=["preference"]))
    return request, job_id


def test_a_partial_close_then_the_whole(world: World) -> None:
    """A partial job leaves the request open and calls for nobody; the whole one finishes it, and each thing counts
    once."""
    request, small = a_small_job(world)
    assert world.close(small, request.request_id, partial=True) == ClosedJob((0.0,), ())
    record = world.record(request)
    assert (record.state, record.attention, outcomes(world, request)) == (STARTED, False, {"notes": (ERASED, 3)})
    entry = world.trail(request)[-1]
    assert (entry.event, entry.event_id) == (ACCESS_REVOKED, f"closed:{small}")
    world.run(request)
    assert outcomes(world, request) == everything()
    assert world.record(request).state == FINISHED
    assert world.close(small, request.request_id, partial=True) == ClosedJob((0.0,), ())
    assert [entry.event for entry in world.trail(request)] == [
        "requested",
        "planned",
        ACCESS_REVOKED,
        "planned",
        "finished",
    ]


def test_a_partial_close_that_failed_is_no_attention_yet(world: World) -> None:
    """A partial job that could not erase its part says so on the trail, does not ask for attention, since the whole job
    is still to come, and does not call the request done."""
    world.target.script["notes"] = [DENIED]
    request, small = a_small_job(world)
    assert world.close(small, request.request_id, partial=True) == ClosedJob((), (0.0,))
    assert (world.record(request).state, world.record(request).attention) == (STARTED, False)
    assert world.trail(request)[-1].event == ACCESS_NOT_REVOKED
    assert world.close(small, request.request_id, partial=True) == ClosedJob((), (0.0,))
    world.run(request)
    assert world.record(request).state == FINISHED
    assert outcomes(world, request) == everything()
