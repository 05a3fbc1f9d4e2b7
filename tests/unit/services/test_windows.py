"""Requests whose data only a scan finds: the rest goes at once, the scan is shared at the end of its window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from erasure.domain.outcome import ALREADY_ABSENT, ERASED
from erasure.domain.outcome import FAILED as OUTCOME_FAILED
from erasure.domain.plan import Shard
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.domain.times import format_time
from erasure.ports import PinnedMap
from erasure.services.plan_job import end_of_window
from erasure.services.release_due import release_due
from erasure.services.start_jobs import batch_job_id
from erasure.targets.protocol import Deadline, SliceResult
from tests.unit.services.world import MAP, World

ARCHIVE = TargetSpec(
    "archive",
    "content",
    DynamoDBRule("app-events", KeyRule("user", "{user_id}"), KeyRule("tenant", "{tenant_id}"), scan=True),
    window_hours=24,
)


@pytest.fixture
def world() -> World:
    world = World()
    world.maps.maps = [PinnedMap(1, "digest", (*MAP.targets, ARCHIVE))]
    return world


def a_person(world: World, user_id: str) -> ErasureRequest:
    (request,) = world.requests_of(user_id)
    world.target.put(ARCHIVE, request.subject.values(), 5)
    return request


def run(world: World, request: ErasureRequest, attempt: int) -> None:
    run_all(world, [request.request_id], attempt)


def run_all(world: World, request_ids: list[str], attempt: int) -> None:
    job_id = batch_job_id(request_ids, attempt)
    world.loop(job_id, world.plan(job_id, *request_ids, attempt=attempt))
    world.close(job_id, *request_ids)


def sweep(world: World) -> list[tuple[tuple[str, ...], int]]:
    release_due(world.requests, world.queue, world.clock, Deadline(60))
    messages, world.queue.messages = world.queue.messages, []
    return messages


def outcomes(world: World, request: ErasureRequest) -> dict[str, tuple[str, int]]:
    record = world.requests.records[request.request_id]
    return {outcome.target: (outcome.outcome, outcome.count) for outcome in record.outcomes}


def test_what_needs_no_scan_goes_at_once(world: World) -> None:
    """The job erases everything else; the request stays started, without attention, until the end of the window."""
    request = a_person(world, "ann")
    run(world, request, 1)
    record = world.requests.records[request.request_id]
    assert (record.state, record.attention) == (STARTED, False)
    assert outcomes(world, request) == dict.fromkeys(("notes", "comments", "files"), (ERASED, 3))
    assert record.scan_at == end_of_window(world.clock(), 24)
    last = world.audit.entries(request.request_id)[-1]
    assert last.event == "waits_for_scan"
    assert last.details["scan_at"] == format_time(record.scan_at)


def test_people_of_a_window_share_one_scan(world: World) -> None:
    """Whoever came while the window was open is in one message and one task; nothing is planned a second time."""
    people = [a_person(world, f"user-{number}") for number in range(3)]
    for request in people:
        run(world, request, 1)
        world.clock.advance(60)
    assert sweep(world) == []
    late = world.requests.records[people[0].request_id].scan_at
    assert late is not None
    world.clock.advance((late - world.clock()).total_seconds())
    ((ids, attempt),) = sweep(world)
    assert (sorted(ids), attempt) == (sorted(request.request_id for request in people), 2)
    calls = len(world.target.erase_calls)
    run_all(world, list(ids), attempt)
    assert [(name, len(users)) for name, users in world.target.erase_calls[calls:]] == [("archive", 3)]
    for request in people:
        record = world.requests.records[request.request_id]
        assert (record.state, record.scan_at) == (FINISHED, None)
        assert outcomes(world, request)["archive"] == (ERASED, 5)
    assert sweep(world) == []


def test_request_that_only_needs_a_scan_waits_for_it(world: World) -> None:
    """Nothing to do at once is no reason for attention as long as something is to come."""
    world.maps.maps = [PinnedMap(1, "digest", (ARCHIVE,))]
    request = a_person(world, "ann")
    run(world, request, 1)
    record = world.requests.records[request.request_id]
    assert (record.state, record.attention, record.outcomes) == (STARTED, False, ())
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    run_all(world, list(ids), attempt)
    assert world.requests.records[request.request_id].state == FINISHED


def test_request_that_only_needs_a_scan_is_taken_over_from_a_dead_job(world: World) -> None:
    """A job that had planned it, without any task, and died before it closed is in nobody's way."""
    world.maps.maps = [PinnedMap(1, "digest", (ARCHIVE,))]
    request = a_person(world, "ann")
    world.plan(batch_job_id([request.request_id], 1), request.request_id)
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    run_all(world, list(ids), attempt)
    assert world.requests.records[request.request_id].state == FINISHED
    assert outcomes(world, request) == {"archive": (ERASED, 5)}


def test_scan_job_takes_along_what_failed_before(world: World) -> None:
    """A target that had failed is tried again with the scan; those that are at their end are left alone."""
    request = a_person(world, "ann")
    world.target.always["notes"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    run(world, request, 1)
    assert world.requests.records[request.request_id].attention
    del world.target.always["notes"]
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    calls = len(world.target.erase_calls)
    run_all(world, list(ids), attempt)
    assert sorted(name for name, _ in world.target.erase_calls[calls:]) == ["archive", "notes"]
    assert world.requests.records[request.request_id].state == FINISHED


def test_retry_while_the_window_is_open_leaves_the_scan_to_its_end(world: World) -> None:
    """Another attempt before the end plans no scan, and does not lose it."""
    request = a_person(world, "ann")
    run(world, request, 1)
    scan_at = world.requests.records[request.request_id].scan_at
    world.clock.advance(60)
    run(world, request, 2)
    record = world.requests.records[request.request_id]
    assert (record.state, record.scan_at) == (STARTED, scan_at)
    world.clock.advance(24 * 3600)
    assert sweep(world) == [((request.request_id,), 3)]


def test_failed_scan_is_made_again_in_a_later_window(world: World) -> None:
    """A scan that failed calls for attention; the retry waits for a window of its own and finishes the request."""
    request = a_person(world, "ann")
    run(world, request, 1)
    world.clock.advance(24 * 3600)
    world.target.always["archive"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    ((ids, attempt),) = sweep(world)
    run_all(world, list(ids), attempt)
    record = world.requests.records[request.request_id]
    assert (record.state, record.attention, record.scan_at) == (STARTED, True, None)
    assert outcomes(world, request)["archive"][0] == OUTCOME_FAILED
    del world.target.always["archive"]
    run(world, request, 3)
    world.clock.advance(24 * 3600)
    assert sweep(world) == [((request.request_id,), 4)]
    run(world, request, 4)
    assert world.requests.records[request.request_id].state == FINISHED
    assert outcomes(world, request)["archive"] == (ERASED, 5)


def test_scan_job_does_the_work_of_a_job_that_never_closed(world: World) -> None:
    """A main job that died is no reason to finish without its targets: the scan's job plans them too."""
    request = a_person(world, "ann")
    job_id = batch_job_id([request.request_id], 1)
    world.plan(job_id, request.request_id)
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    run_all(world, list(ids), attempt)
    assert outcomes(world, request) == {
        **dict.fromkeys(("notes", "comments", "files"), (ERASED, 3)),
        "archive": (ERASED, 5),
    }
    assert world.requests.records[request.request_id].state == FINISHED


def test_shards_add_up_to_one_outcome(world: World) -> None:
    """A table in several shards is one target: counts are added, and one failed shard fails it."""
    request = a_person(world, "ann")
    world.reader.shards_of["archive"] = (Shard(10, 0, 5), Shard(10, 5, 10))
    run(world, request, 1)
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    world.target.script["archive"] = [SliceResult(0, done=False, problem="access_denied", permanent=True)]
    run_all(world, list(ids), attempt)
    assert outcomes(world, request)["archive"] == (OUTCOME_FAILED, 5)
    assert world.requests.records[request.request_id].attention


def test_planning_again_keeps_the_shards(world: World) -> None:
    """A scan that was planned with some shards is planned with the same ones, whatever the table has become."""
    request = a_person(world, "ann")
    run(world, request, 1)
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    job_id = batch_job_id(list(ids), attempt)
    world.reader.shards_of["archive"] = (Shard(10, 0, 5), Shard(10, 5, 10))
    first = world.plan(job_id, *ids, attempt=attempt)
    world.reader.shards_of["archive"] = (Shard(1, 0, 1),)
    again = world.plan(job_id, *ids, attempt=attempt)
    assert [unit.name for unit in first] == ["scan-00", "scan-01"]
    assert [(unit.name, [task.shard for task in unit.tasks]) for unit in again] == [
        (unit.name, [task.shard for task in unit.tasks]) for unit in first
    ]


def test_nothing_to_scan_is_absent(world: World) -> None:
    """A person of whom the table has nothing: already absent, and finished."""
    (request,) = world.requests_of("ann")
    run(world, request, 1)
    world.clock.advance(24 * 3600)
    ((ids, attempt),) = sweep(world)
    run_all(world, list(ids), attempt)
    assert outcomes(world, request)["archive"] == (ALREADY_ABSENT, 0)
    assert world.requests.records[request.request_id].state == FINISHED


@pytest.mark.parametrize("hours", [1, 7, 24, 48])
def test_windows_end_at_the_same_times_for_everybody(hours: int) -> None:
    """A window ends after the moment, at most its length later, and everybody in it gets the same end."""
    moment = datetime(2026, 5, 4, 12, 34, 56, tzinfo=UTC)
    end = end_of_window(moment, hours)
    assert moment < end <= moment + timedelta(hours=hours)
    assert end_of_window(end - timedelta(seconds=1), hours) == end
    assert end_of_window(end, hours) == end + timedelta(hours=hours)
