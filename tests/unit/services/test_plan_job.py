"""Planning a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.plan import FAILED, PENDING
from erasure.domain.request import CANCELLED, FINISHED, HELD, STARTED
from erasure.domain.subject import Subject
from erasure.errors import NotFoundError
from erasure.ports import PinnedMap
from tests.unit.services.world import MAP, World

OTHER_MAP = parse_data_map(
    {
        "version": 1,
        "targets": [{"name": "other", "category": "content", "s3": {"bucket": "app-other", "key": "{user_id}"}}],
    }
)


@pytest.fixture
def world() -> World:
    return World()


def test_planning_starts_and_records(world: World) -> None:
    """A planned request is started, its tasks are written, and the trail names map and targets."""
    request = world.a_request()
    units = world.plan("job-1", request.request_id)
    assert [(unit.name, [task.spec.name for task in unit.tasks]) for unit in units] == [
        ("dynamodb-00", ["notes", "comments"]),
        ("s3-00", ["files"]),
    ]
    record = world.record(request)
    assert (record.state, record.started_at, record.data_map_version) == (STARTED, world.clock(), 1)
    assert world.tasks.tasks("job-1") == [task for unit in units for task in unit.tasks]
    entry = world.trail(request)[-1]
    assert (entry.event, entry.event_id) == ("planned", "planned:job-1")
    assert entry.details == {
        "job_id": "job-1",
        "data_map_version": 1,
        "data_map_digest": MAP.digest,
        "targets": ["notes", "comments", "files"],
        "refused": {},
    }


def test_planning_twice_is_planning_once(world: World) -> None:
    """Planning again, after a new map was put and work has begun, changes nothing and gives the same units."""
    world.put_things()
    request = world.a_request()
    first = world.plan("job-1", request.request_id)
    world.erase("job-1", "s3-00")
    tasks = world.tasks.tasks("job-1")
    world.maps.put(OTHER_MAP, world.clock())
    second = world.plan("job-1", request.request_id)
    assert [unit.name for unit in second] == [unit.name for unit in first]
    assert world.tasks.tasks("job-1") == tasks
    assert [entry.event for entry in world.trail(request)] == ["requested", "planned"]


def test_a_crash_between_start_and_tasks_is_made_good(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If planning dies after starting the request, planning again writes the tasks."""
    request = world.a_request()
    monkeypatch.setattr(world.tasks, "create_job", _die)
    with pytest.raises(MemoryError):
        world.plan("job-1", request.request_id)
    monkeypatch.undo()
    assert world.record(request).state == STARTED
    assert len(world.plan("job-1", request.request_id)) == 2
    assert len(world.tasks.tasks("job-1")) == 3


def _die(*_arguments: object) -> None:
    raise MemoryError


def test_another_attempt_uses_the_latest_map(world: World) -> None:
    """A new job is planned with the map that is current then."""
    request = world.a_request()
    world.plan("job-1", request.request_id)
    world.maps.put(OTHER_MAP, world.clock())
    (unit,) = world.plan("job-2", request.request_id, attempt=2)
    assert [task.spec.name for task in unit.tasks] == ["other"]


@pytest.mark.parametrize("state", [CANCELLED, HELD, FINISHED])
def test_what_may_not_start_is_left_out(world: World, state: str) -> None:
    """A request that is cancelled, held or finished gets no tasks; others of the same job do."""
    stopped, other = world.a_request(), world.a_request(Subject("acme", "bob"))
    world.requests.records[stopped.request_id] = replace(stopped, state=state)
    world.plan("job-1", stopped.request_id, other.request_id)
    parts = [part for task in world.tasks.tasks("job-1") for part in task.parts]
    assert {part.request_id for part in parts} == {other.request_id}
    assert world.record(stopped).state == state
    assert [entry.event for entry in world.trail(stopped)] == ["requested"]


def test_a_job_for_nothing_fails(world: World) -> None:
    """A job whose request does not exist is an error, and none of its other requests is touched."""
    request = world.a_request()
    with pytest.raises(NotFoundError):
        world.plan("job-1", request.request_id, "er_00000000000000000000000000")
    assert world.tasks.tasks("job-1") == []
    assert world.record(request).started_at is None


def test_what_cannot_be_rendered_is_refused_and_shown(world: World) -> None:
    """Targets that a subject's id makes ambiguous become failed parts, are on record, and no eraser gets them."""
    request = world.a_request(Subject("acme", "a/b"))
    units = world.plan("job-1", request.request_id)
    assert [unit.name for unit in units] == ["dynamodb-00"]
    assert [(task.spec.name, part.status) for task in world.tasks.tasks("job-1") for part in task.parts] == [
        ("notes", PENDING),
        ("comments", PENDING),
        ("files", FAILED),
    ]
    assert world.trail(request)[-1].details["refused"] == {"files": "ambiguous_identifier"}


@pytest.mark.parametrize("maps", [[], [PinnedMap(1, "digest", ())]])
def test_covering_nothing_never_finishes(world: World, maps: list[PinnedMap]) -> None:
    """Without a map, or without targets, the job closes with attention and the reason, and can be tried again."""
    request = world.a_request()
    world.maps.maps, good = maps, world.maps.maps
    closed = world.run(request)
    assert (closed.finished, len(closed.attention)) == ((), 1)
    assert (world.record(request).state, world.record(request).attention) == (STARTED, True)
    assert world.trail(request)[-1].details["reason"] == "no_targets"
    world.maps.maps = good
    world.run(request, attempt=2)
    assert world.record(request).state == FINISHED
