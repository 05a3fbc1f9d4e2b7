"""What closing leaves for those who run by the clock: when to look next, what was told, what came late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.clock import ClockPolicy, moment_of_level
from erasure.domain.request import FINISHED, SECOND_LOOK, STARTED, ErasureRequest
from erasure.errors import UnavailableError
from erasure.services.close_job import ClosedJob, close_job
from erasure.services.sla_alerts import SlaAlerts
from erasure.services.start_jobs import job_id_for
from erasure.targets.protocol import SliceResult
from tests.fake_clock_stores import FakeClockStore
from tests.unit.services.watch_world import FakeEventBus
from tests.unit.services.world import World

POLICY = ClockPolicy()
HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    world = World()
    world.put_things()
    return world


def change(world: World, request: ErasureRequest, **changes: Any) -> None:
    world.requests.records[request.request_id] = replace(world.record(request), **changes)


def work(world: World, request: ErasureRequest) -> str:
    """Everything but closing; the job's id."""
    job_id = job_id_for(request.request_id, 1)
    world.loop(job_id, world.plan(job_id, request.request_id))
    return job_id


def close(world: World, job_id: str, request: ErasureRequest, events: FakeEventBus | None = None) -> ClosedJob:
    return close_job(
        job_id,
        [request.request_id],
        requests=world.requests,
        tasks=world.tasks,
        audit=world.audit,
        now=world.clock,
        alerts=alerts_of(world, events),
        policy=POLICY,
    )


def alerts_of(world: World, events: FakeEventBus | None) -> SlaAlerts | None:
    if events is None:
        return None
    return SlaAlerts(FakeClockStore(world.requests), world.requests, world.audit, events)


def fail(world: World) -> None:
    world.target.script["comments"] = [SliceResult(0, done=False, problem="access_denied", permanent=True)]


def test_what_is_finished_is_looked_at_once_more(world: World) -> None:
    """After the time of the second look, for what was written late."""
    request = world.a_request()
    close(world, work(world, request), request)
    assert world.record(request).clock_at == world.clock() + POLICY.second_look


def test_what_a_second_look_has_finished_waits_for_its_purge(world: World) -> None:
    """Nobody looks a third time."""
    request = world.a_request()
    change(world, request, purpose=SECOND_LOOK, follows="er_first")
    close(world, work(world, request), request)
    assert world.record(request).clock_at == request.purged_by - POLICY.own_backups


def test_what_failed_is_looked_at_after_a_pause(world: World) -> None:
    """A longer one after each try, but not later than its promise's next level."""
    for tries in (0, 3):
        fail(world)
        request = world.a_request()
        change(world, request, tries=tries)
        close(world, work(world, request), request)
        assert world.record(request).clock_at == world.clock() + POLICY.pause_after(tries)
    fail(world)
    request = world.a_request()
    change(world, request, tries=8)
    world.clock.advance(35 * 3600)
    close(world, work(world, request), request)
    assert world.record(request).clock_at == moment_of_level(request, 50) == world.clock() + HOUR


def test_what_is_parked_is_not_healed_by_the_clock(world: World) -> None:
    """A person's retry that fails leaves it parked: only its promise is looked at."""
    fail(world)
    request = world.a_request()
    change(world, request, parked_at=world.clock(), sla_level=90, sla_told=90)
    close(world, work(world, request), request)
    assert world.record(request).clock_at == request.due_at


def test_a_part_of_the_work_moves_nothing(world: World) -> None:
    """A deletion at once is looked at when its request would have been."""
    request = world.a_request()
    change(world, request, clock_at=world.clock() + HOUR)
    world.close(work(world, request), request.request_id, partial=True)
    assert world.record(request).clock_at == world.clock() + HOUR


@pytest.mark.parametrize(("seconds", "within"), [(0, 1), (72 * 3600, 1), (72 * 3600 + 1, 0)])
def test_what_is_finished_in_time_and_late_is_counted(world: World, seconds: int, within: int) -> None:
    """By when it was due, to the second; also by a second call, which adds nothing to the record."""
    request = world.a_request()
    world.clock.advance(seconds)
    job_id = work(world, request)
    for _ in range(2):
        closed = close(world, job_id, request)
        assert (closed.within, closed.late) == (within, 1 - within)
        world.clock.advance(80 * 3600)


def test_what_goes_on_is_neither_in_time_nor_late(world: World) -> None:
    """A request with attention, and one of which only a part was done, have not ended."""
    fail(world)
    failed = world.a_request()
    closed = close(world, work(world, failed), failed)
    assert (closed.within, closed.late) == (0, 0)
    part = world.a_request()
    closed = world.close(work(world, part), part.request_id, partial=True)
    assert (len(closed.finished), closed.within, closed.late) == (1, 0, 0)


def test_what_a_second_look_erased_is_told_to_the_first_request(world: World) -> None:
    """Once, with the count and the request that has erased it, however often the job is closed."""
    first, second = world.a_request(), world.a_request()
    change(world, second, purpose=SECOND_LOOK, follows=first.request_id)
    job_id = work(world, second)
    assert [close(world, job_id, second).late_arrivals for _ in range(2)] == [9, 9]
    told = [entry for entry in world.trail(first) if entry.event == "late_arrivals"]
    assert [entry.details for entry in told] == [{"count": 9, "request_id": second.request_id}]


def test_a_close_that_dies_before_it_tells_tells_when_it_is_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between closing the second request and writing to the first one's trail."""
    first, second = world.a_request(), world.a_request()
    change(world, second, purpose=SECOND_LOOK, follows=first.request_id)
    job_id = work(world, second)

    def dies(*_arguments: object, **_named: object) -> object:
        raise UnavailableError("gone")

    monkeypatch.setattr(world.audit, "append", dies)
    with pytest.raises(UnavailableError):
        close(world, job_id, second)
    monkeypatch.undo()
    assert world.record(second).state == FINISHED
    assert close(world, job_id, second).late_arrivals == 9
    assert [entry.event for entry in world.trail(first)] == ["requested", "late_arrivals"]


def test_only_a_second_look_that_has_ended_tells_of_late_arrivals(world: World) -> None:
    """Neither another request nor one that has failed."""
    first, follow_up = world.a_request(), world.a_request()
    change(world, follow_up, purpose="follow_up", follows=first.request_id)
    assert close(world, work(world, follow_up), follow_up).late_arrivals == 0
    fail(world)
    failed = world.a_request()
    change(world, failed, purpose=SECOND_LOOK, follows=first.request_id)
    assert close(world, work(world, failed), failed).late_arrivals == 0
    assert [entry.event for entry in world.trail(first)] == ["requested"]


def test_nothing_ends_before_its_alarms_were_told(world: World) -> None:
    """A watch that noted two levels died before it told of them: closing tells, under the same ids."""
    request = world.a_request()
    change(world, request, sla_level=75, sla_told=0)
    events = FakeEventBus()
    close(world, work(world, request), request, events)
    assert [event.event_id for event in events.events] == [f"{request.request_id}:sla:{level}" for level in (50, 75)]


def test_nothing_is_told_by_closing_that_was_told_or_goes_on(world: World) -> None:
    """What is open still is the watch's."""
    events = FakeEventBus()
    told = world.a_request()
    change(world, told, sla_level=75, sla_told=75)
    close(world, work(world, told), told, events)
    fail(world)
    failed = world.a_request()
    change(world, failed, sla_level=75, sla_told=0)
    close(world, work(world, failed), failed, events)
    assert events.events == []


def test_what_could_not_be_told_is_not_ended(world: World) -> None:
    """The bus is down: the close fails, so that it is made again, and nothing is written."""
    request = world.a_request()
    change(world, request, sla_level=50)
    events = FakeEventBus()
    events.down = True
    job_id = work(world, request)
    with pytest.raises(UnavailableError):
        close(world, job_id, request, events)
    assert world.record(request).state == STARTED
    events.down = False
    assert close(world, job_id, request, events).within == 1


@pytest.mark.parametrize(("hours", "levels"), [(35, []), (37, [50]), (70, [50, 75, 90]), (73, [50, 75, 90, 100])])
def test_what_ends_between_two_looks_of_the_watch_is_not_silently_late(
    world: World, hours: int, levels: list[int]
) -> None:
    """What it has reached of its promise by its end is in its trail, once, and told; closing again tells nothing."""
    request, events = world.a_request(), FakeEventBus()
    world.clock.advance(hours * 3600)
    job_id = work(world, request)
    assert close(world, job_id, request, events).told == tuple(levels)
    assert world.record(request).state == FINISHED
    assert [event.event_id for event in events.events] == [f"{request.request_id}:sla:{level}" for level in levels]
    world.clock.advance(80 * 3600)
    assert close(world, job_id, request, events).told == ()
    noted = [entry.event_id for entry in world.trail(request) if entry.event_id.startswith("sla:")]
    assert noted == [f"sla:{level}" for level in levels]
    assert world.trail(request)[-1].event == "finished"


def test_nothing_ends_late_without_having_been_told(world: World) -> None:
    """If the bus takes nothing, the request is closed by a later call, and its level is told then."""
    request, events = world.a_request(), FakeEventBus()
    world.clock.advance(80 * 3600)
    job_id = work(world, request)
    events.down = True
    with pytest.raises(UnavailableError):
        close(world, job_id, request, events)
    assert world.record(request).state == STARTED
    events.down = False
    assert close(world, job_id, request, events).told == (50, 75, 90, 100)
    assert world.record(request).state == FINISHED
