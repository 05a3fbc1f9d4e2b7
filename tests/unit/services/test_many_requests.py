"""Jobs for many requests: what happens to one is not the others' fate."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import ALREADY_ABSENT, DETACHED, ERASED, FAILED, TargetOutcome
from erasure.domain.plan import ERASED_UNVERIFIED, PENDING, TASK_PARTS, UNIT_SIZE, VERIFIED, Part
from erasure.domain.plan import FAILED as PART_FAILED
from erasure.domain.request import CANCELLED, FINISHED, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import PinnedMap
from erasure.services.close_job import ClosedJob
from erasure.services.erase_unit import COUNT_EVERY, MAX_STALLS
from erasure.services.start_jobs import batch_job_id
from erasure.services.verify_unit import NextStep
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.unit.services.world import MAP, NAMES, World

JOB = "jb_0-1"
UNIT = "dynamodb-00"
DENIED = SliceResult(0, done=False, problem="access_denied", permanent=True)
THROTTLED = SliceResult(0, done=False, problem="throttled")
LEFT = VerifyResult(1, complete=True)


@pytest.fixture
def world() -> World:
    return World()


def ids_of(requests: list[ErasureRequest]) -> list[str]:
    return [request.request_id for request in requests]


def outcomes(world: World, request: ErasureRequest) -> dict[str, tuple[str, int]]:
    return {name: (outcome.outcome, outcome.count) for name, outcome in world.outcomes(request).items()}


def everything(outcome: str = ERASED, count: int = 3) -> dict[str, tuple[str, int]]:
    return dict.fromkeys(NAMES, (outcome, count))


# Planning


def test_a_request_that_another_job_has_is_left_out(world: World) -> None:
    """A batch delivered again in another composition works on what nobody has yet, and closes nothing else."""
    one, two, three = world.requests_of("ann", "bob", "eve")
    first, second = (batch_job_id(ids_of(requests), 1) for requests in ([one, two], [two, three]))
    world.plan(first, one.request_id, two.request_id)
    world.loop(second, world.plan(second, two.request_id, three.request_id))
    assert world.close(second, two.request_id, three.request_id) == ClosedJob((0.0,), (), within=1)
    assert [world.record(request).state for request in (one, two, three)] == [STARTED, STARTED, FINISHED]
    assert {user for _, users in world.target.erase_calls for user in users} == {"eve"}
    world.run_many(first, [one, two])
    for request in (one, two, three):
        assert (world.record(request).state, outcomes(world, request)) == (FINISHED, everything())
        assert [entry.event for entry in world.trail(request)] == ["requested", "planned", "finished"]


def test_a_job_of_nobody_does_nothing(world: World) -> None:
    """A job of which every request belongs to another one has no units, leaves no record and closes nothing."""
    requests = world.requests_of("ann", "bob")
    world.plan(JOB, *ids_of(requests))
    assert world.plan("jb_1-1", *ids_of(requests)) == []
    assert world.tasks.pinned("jb_1-1") is None
    assert world.close("jb_1-1", *ids_of(requests)) == ClosedJob((), ())
    assert {world.record(request).job_id for request in requests} == {JOB}


def test_a_request_whose_time_has_not_come_is_left_out(world: World) -> None:
    """What may be started later only is not touched by a job that comes too early; the others are erased."""
    early, due = world.requests_of("ann", "bob")
    world.requests.records[early.request_id] = replace(early, not_before=world.clock() + timedelta(seconds=1))
    world.run_many(JOB, [early, due])
    assert [world.record(request).state for request in (early, due)] == [REQUESTED, FINISHED]
    assert {user for _, users in world.target.erase_calls for user in users} == {"bob"}


def test_a_request_that_cannot_be_claimed_fails_the_plan_after_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store fails for one request, planning fails, and planning again has all of them in the job."""
    requests = world.requests_of("ann", "bob", "eve")
    start = world.requests.start

    def fail(request: ErasureRequest, *arguments: object) -> bool:
        if request == requests[0]:
            raise UnavailableError
        return start(request, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.requests, "start", fail)
    with pytest.raises(UnavailableError):
        world.plan(JOB, *ids_of(requests))
    monkeypatch.undo()
    assert world.run_many(JOB, requests) == ClosedJob((0.0, 0.0, 0.0), (), within=3)


def test_a_request_given_twice_is_worked_on_once(world: World) -> None:
    """A request that stands twice in a job's input has one part of each target and is closed once."""
    (request,) = world.requests_of("ann")
    world.loop(JOB, world.plan(JOB, request.request_id, request.request_id))
    assert world.close(JOB, request.request_id, request.request_id) == ClosedJob((0.0,), (), within=1)
    assert outcomes(world, request) == everything()


def test_limited_categories_are_planned_alone(world: World) -> None:
    """A job for some categories has tasks of these only, and only of those that the request covers at all."""
    world.maps.maps = [PinnedMap(1, "d", tuple(replace(spec, category=spec.name) for spec in MAP.targets))]
    (request,) = world.requests_of("ann")
    world.requests.records[request.request_id] = replace(request, categories=("notes", "files"))
    units = world.plan("er-0", request.request_id, attempt=0, categories=["notes", "comments"])
    assert [task.spec.name for unit in units for task in unit.tasks] == ["notes"]


# A thousand requests


def test_a_thousand_requests_in_one_job(world: World) -> None:
    """1,000 requests for three targets are 30 tasks of 100 parts in units of 25; planned twice they are the same, and
    each request is finished with its own counts."""
    requests = world.requests_of(*(f"user-{number}" for number in range(1000)))
    first = world.plan(JOB, *ids_of(requests))
    tasks = world.tasks.tasks(JOB)
    assert [(unit.name, len(unit.tasks)) for unit in first] == [(UNIT, 20), ("s3-00", 10)]
    assert {len(task.parts) for task in tasks} == {TASK_PARTS}
    assert Counter(part.request_id for task in tasks for part in task.parts) == dict.fromkeys(ids_of(requests), 3)
    assert world.plan(JOB, *ids_of(requests)) == first
    assert world.tasks.tasks(JOB) == tasks
    world.loop(JOB, first)
    assert world.close(JOB, *ids_of(requests)) == ClosedJob((0.0,) * 1000, (), within=1000)
    assert world.target.things == {}
    assert {len(users) for _, users in world.target.erase_calls} == {TASK_PARTS}
    for request in requests:
        assert (world.record(request).state, outcomes(world, request)) == (FINISHED, everything())


def test_a_thousand_requests_for_many_targets(world: World) -> None:
    """Ten targets make 100 tasks: units of at most 25, each task in one of them, every request in every target."""
    rules = [DynamoDBRule(f"app-{number}", KeyRule("pk", "{tenant_id}#{user_id}")) for number in range(10)]
    targets = tuple(TargetSpec(rule.table, "content", dynamodb=rule) for rule in rules)
    world.maps.maps = [PinnedMap(1, "d", targets)]
    requests = [world.a_request(Subject("acme", f"user-{number}")) for number in range(1000)]
    units = world.plan(JOB, *ids_of(requests))
    assert [len(unit.tasks) for unit in units] == [UNIT_SIZE] * 4
    places = [(task.spec.name, part.request_id) for unit in units for task in unit.tasks for part in task.parts]
    assert len(places) == len(set(places)) == 10_000
    assert world.tasks.tasks(JOB) == [task for unit in units for task in unit.tasks]


# Slices


def test_each_part_has_its_own_end(world: World) -> None:
    """In one slice of one target: one person's data is refused, one's throttled, one's left for lack of time, one's
    not there; each part says so, and the rest is erased."""
    requests = world.requests_of("ann", "bob", "eve", "joe", "sue")
    world.target.script |= {
        "notes@ann": [DENIED],
        "notes@bob": [THROTTLED],
        "notes@eve": [SliceResult(2, done=False)],
    }
    world.target.put(MAP.targets[0], requests[3].subject.values(), 0)
    world.plan(JOB, *ids_of(requests))
    assert world.erase(JOB, UNIT) is True
    ann, bob, eve, joe, sue = (world.part(JOB, request) for request in requests)
    assert (ann.status, ann.reason) == (PART_FAILED, "access_denied")
    assert (bob.status, bob.reason, bob.stalls) == (PENDING, "throttled", 0)
    assert (eve.status, eve.erased, eve.stalls) == (PENDING, 2, 0)
    assert [(part.status, part.erased) for part in (joe, sue)] == [(ERASED_UNVERIFIED, 0), (ERASED_UNVERIFIED, 3)]
    world.verify(JOB, UNIT)
    assert world.erase(JOB, UNIT) is False
    assert world.target.erase_calls[-1] == ("notes", ("bob", "eve"))


def test_one_subject_that_always_stalls_is_given_up_alone(world: World) -> None:
    """A person whose data can never be erased ends as failed; nobody else's request has to wait for that or fails."""
    requests = world.requests_of("ann", "bob", "eve")
    world.target.always["notes@bob"] = THROTTLED
    closed = world.run_many(JOB, requests)
    assert (len(closed.finished), len(closed.attention)) == (2, 1)
    assert [world.record(request).state for request in requests] == [FINISHED, STARTED, FINISHED]
    assert world.outcomes(requests[1])["notes"] == TargetOutcome("notes", "content", FAILED, reason="throttled")
    assert outcomes(world, requests[0]) == outcomes(world, requests[2]) == everything()


def test_one_subject_that_breaks_the_eraser_is_given_up_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A person at whom the eraser raises an exception, every time, takes nobody along: the others are erased in calls
    of their own, and what the exception said is not logged."""
    requests = world.requests_of("ann", "bob", "eve")
    world.target.always["notes@bob"] = RuntimeError("bob's secret")
    with caplog.at_level(logging.DEBUG):
        world.run_many(JOB, requests)
    assert [world.record(request).state for request in requests] == [FINISHED, STARTED, FINISHED]
    assert world.outcomes(requests[1])["notes"].reason == "internal_error"
    for request in (requests[0], requests[2]):
        assert world.outcomes(request)["notes"].outcome == ERASED
    tries = [users for name, users in world.target.erase_calls if name == "notes" and "bob" in users]
    assert tries == [("ann", "bob", "eve"), *[("bob",)] * (MAX_STALLS - 1)]
    assert "secret" not in caplog.text


def test_one_subject_that_breaks_the_verifier_is_given_up_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A person at whom the verifier raises an exception is never called erased; all others are verified."""
    requests = world.requests_of("ann", "bob", "eve")
    world.target.always["notes:verify@bob"] = RuntimeError("bob's secret")
    with caplog.at_level(logging.DEBUG):
        world.run_many(JOB, requests)
    assert [world.record(request).state for request in requests] == [FINISHED, STARTED, FINISHED]
    assert world.outcomes(requests[1])["notes"].reason == "internal_error"
    assert "secret" not in caplog.text


def test_a_target_that_forgets_a_subject_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a target answers for fewer subjects than it was asked about, nobody is taken for erased."""
    requests = world.requests_of("ann", "bob")
    erase = world.target.erase
    monkeypatch.setattr(world.target, "erase", lambda *given, **named: erase(*given, **named)[:-1])
    world.plan(JOB, *ids_of(requests))
    world.erase(JOB, UNIT)
    assert {world.part(JOB, request).status for request in requests} == {PENDING}


def test_a_request_that_is_cancelled_meanwhile_is_left_alone(world: World) -> None:
    """Of two requests of a task, one stops being started between two slices: its data is not touched any more, and the
    other is finished."""
    stopped, other = requests = world.requests_of("ann", "bob")
    world.target.script["notes"] = [SliceResult(0, done=False)]
    units = world.plan(JOB, *ids_of(requests))
    world.erase(JOB, UNIT)
    world.requests.records[stopped.request_id] = replace(world.record(stopped), state=CANCELLED)
    world.loop(JOB, units)
    assert world.close(JOB, *ids_of(requests)) == ClosedJob((0.0,), (), within=1)
    assert [users for name, users in world.target.erase_calls if name == "notes"] == [("ann", "bob"), ("bob",)]
    assert (world.record(stopped).state, world.record(stopped).outcomes) == (CANCELLED, ())
    assert outcomes(world, other) == everything()


def test_a_request_that_is_cancelled_is_not_verified(world: World) -> None:
    """Nor is it looked at again: its part stays as it is, and the unit does not wait for it."""
    stopped, other = requests = world.requests_of("ann", "bob")
    world.plan(JOB, *ids_of(requests))
    world.erase(JOB, UNIT)
    world.requests.records[stopped.request_id] = replace(world.record(stopped), state=CANCELLED)
    assert world.verify(JOB, UNIT) == NextStep(again=False, wait=0)
    assert [world.part(JOB, request).status for request in requests] == [ERASED_UNVERIFIED, VERIFIED]
    assert {user for _, users in world.target.verify_calls for user in users} == {"bob"}
    assert world.record(other).state == STARTED


def test_a_dead_slice_makes_at_least_for_what_was_open(world: World) -> None:
    """Of a task with parts, a killed slice makes only those inexact that were not done yet."""
    done, still_open = requests = world.requests_of("ann", "bob")
    world.target.script["notes@bob"] = [SliceResult(1, done=False)]
    units = world.plan(JOB, *ids_of(requests))
    world.erase(JOB, UNIT)
    (task,) = [task for task in world.tasks.tasks(JOB) if task.spec.name == "notes"]
    world.tasks.begin_slice(task, "killed")
    world.loop(JOB, units)
    world.close(JOB, *ids_of(requests))
    assert world.outcomes(done)["notes"] == TargetOutcome("notes", "content", ERASED, 3)
    assert world.outcomes(still_open)["notes"] == TargetOutcome("notes", "content", ERASED, 4, at_least=True)


def test_counts_are_written_on_the_way_for_each_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice that is killed after thousands of deletions has written down whose they were."""
    small, large = requests = world.requests_of("ann", "bob")
    world.target.put(MAP.targets[2], large.subject.values(), COUNT_EVERY)

    def die(*_arguments: object) -> None:
        raise MemoryError

    world.plan(JOB, *ids_of(requests))
    monkeypatch.setattr(world.tasks, "end_slice", die)
    with pytest.raises(MemoryError):
        world.erase(JOB, "s3-00")
    assert [world.part(JOB, request, "files").erased for request in requests] == [3, COUNT_EVERY]
    assert world.part(JOB, small, "files") == Part(small.request_id, PENDING, 3)


def test_two_requests_for_one_person_count_once(world: World) -> None:
    """Two requests of a job for the same person: what is erased counts for one of them, for the other there was nothing
    left, and both are finished."""
    world.put_things()
    requests = [world.a_request(), world.a_request()]
    world.run_many(JOB, requests)
    assert [outcomes(world, request) for request in requests] == [everything(), everything(ALREADY_ABSENT, 0)]
    assert {users for _, users in world.target.erase_calls} == {("ann",)}


def test_no_time_stalls_nobody(world: World) -> None:
    """A slice without time begins nothing, and no part counts it."""
    requests = world.requests_of("ann", "bob")
    world.plan(JOB, *ids_of(requests))
    before = world.tasks.tasks(JOB)
    assert world.erase(JOB, UNIT, Deadline(-1)) is True
    assert world.tasks.tasks(JOB) == before


ORGANIZATIONS = parse_data_map(
    {
        "version": 1,
        "targets": [
            {
                "name": "files",
                "category": "content",
                "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/{organization_id}/"},
            },
            {
                "name": "mentions",
                "category": "content",
                "dynamodb": {
                    "table": "app-posts",
                    "index": "by-mention",
                    "key": {"mention": "{tenant_id}#{user_id}"},
                },
                "action": {"detach": {"attribute": "mentions", "value": "{user_id}"}},
            },
        ],
    }
)


def test_organizations_of_a_part_are_added_up(world: World) -> None:
    """A request for three organizations is one part: counts are added, and it is done when all of them are."""
    world.maps.maps = [PinnedMap(1, "d", ORGANIZATIONS.targets)]
    files = ORGANIZATIONS.targets[0]
    request = world.a_request()
    request = replace(request, organization_ids=("red", "green", "blue"))
    world.requests.records[request.request_id] = request
    for number, organization_id in enumerate(("red", "green", "blue", "grey"), 1):
        world.target.put(files, {**request.subject.values(), "organization_id": organization_id}, number)
    world.target.script["files@ann"] = [SliceResult(5, done=False, problem="throttled")]
    units = world.plan(JOB, request.request_id)
    assert world.erase(JOB, "s3-00") is True
    assert world.part(JOB, request, "files") == Part(request.request_id, PENDING, 10, reason="throttled")
    world.loop(JOB, units)
    world.close(JOB, request.request_id)
    assert outcomes(world, request) == {"files": (ERASED, 11)}
    assert list(world.target.things.values()) == [4], "another organization's things stay"


def test_what_is_left_in_one_organization_is_left(world: World) -> None:
    """The verifier finding something in one of two organizations sends the part back."""
    world.maps.maps = [PinnedMap(1, "d", ORGANIZATIONS.targets)]
    request = world.a_request()
    world.requests.records[request.request_id] = replace(request, organization_ids=("red", "green"))
    world.target.script["files:verify@ann"] = [VerifyResult(0, complete=True), LEFT]
    world.plan(JOB, request.request_id)
    world.erase(JOB, "s3-00")
    assert world.verify(JOB, "s3-00").again is True
    assert (world.part(JOB, request, "files").status, world.part(JOB, request, "files").rounds) == (PENDING, 1)


def test_what_is_detached_is_told_as_detached(world: World) -> None:
    """Of a target whose items belong to others, the outcome says that the person was taken out of so many."""
    world.maps.maps = [PinnedMap(1, "d", ORGANIZATIONS.targets[1:])]
    mentioned, nobody = world.a_request(), world.a_request(Subject("acme", "nobody"))
    world.target.put(ORGANIZATIONS.targets[1], mentioned.subject.values(), 7)
    world.run_many(JOB, [mentioned, nobody])
    assert outcomes(world, mentioned) == {"mentions": (DETACHED, 7)}
    assert outcomes(world, nobody) == {"mentions": (ALREADY_ABSENT, 0)}


def test_what_was_detached_before_a_failure_is_told_as_detached(world: World) -> None:
    """When the first attempt failed after it had taken the person out of some items, and the second finds nothing more,
    these are detached: nothing has been erased."""
    world.maps.maps = [PinnedMap(1, "d", ORGANIZATIONS.targets[1:])]
    request = world.a_request()
    world.target.script["mentions"] = [SliceResult(5, done=False, problem="access_denied", permanent=True)]
    world.run(request)
    assert outcomes(world, request) == {"mentions": (FAILED, 5)}
    world.run(request, attempt=2)
    assert outcomes(world, request) == {"mentions": (DETACHED, 5)}
