"""At its time a request forgets whom it was about, and keeps what proves the erasure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import new_request_id
from erasure.domain.plan import Part, plan_units
from erasure.domain.request import CANCELLED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.errors import UnavailableError
from erasure.ports import PinnedMap
from erasure.services.due_rounds import ROUND
from erasure.services.identify import identify, rules_for
from erasure.services.task_parts import workable_requests
from erasure.targets.protocol import Deadline
from tests.fake_clock_stores import FakeHoldStore
from tests.unit.services.ended_world import ANN, PEOPLE, POLICY, EndedWorld


@pytest.fixture
def world() -> EndedWorld:
    return EndedWorld()


def due(world: EndedWorld, **changes: Any) -> ErasureRequest:
    """A finished request whose purge is at the moment that is passed to."""
    request = world.ended(organization_ids=("north",), **changes)
    purge_at = request.purged_by - POLICY.own_backups
    request = replace(request, clock_at=purge_at, late_arrivals=0)
    world.requests.records[request.request_id] = request
    world.clock.now = purge_at
    return request


def test_all_that_identifies_goes_and_all_that_proves_stays(world: EndedWorld) -> None:
    """So early that no backup has it at purged_by, and not a moment earlier; the trail tells, and stays whole."""
    request = due(world)
    world.clock.advance(-0.001)
    assert world.purge() == 0
    assert world.record(request) == request
    world.clock.advance(0.001)
    assert world.purge() == 1
    assert world.record(request) == replace(
        request,
        subject=Subject("acme", ""),
        identifiers={},
        organization_ids=(),
        hold_digests=(),
        clock_at=None,
        purged_at=world.clock(),
    )
    assert [entry.event for entry in world.trail(request)] == ["requested", "purged"]
    assert broken_at(world.trail(request)) is None
    assert world.purge() == 0
    assert len(world.trail(request)) == 2


def test_who_ends_late_is_purged_at_once(world: EndedWorld) -> None:
    """A request that ends after its time has no further look and no day of grace."""
    request = world.ended()
    late = replace(request, finished_at=request.purged_by + timedelta(days=1))
    world.requests.records[request.request_id] = replace(late, clock_at=late.finished_at)
    world.clock.now = late.finished_at or world.clock()
    assert world.look().looked == 0
    assert world.purge() == 1
    assert world.record(request).subject.id == ""


def test_a_look_that_never_came_keeps_nothing(world: EndedWorld) -> None:
    """Until its time a request that waits for its second look stays, then it goes all the same."""
    request = world.ended()
    world.clock.now = request.purged_by - POLICY.own_backups - timedelta(seconds=1)
    assert world.purge() == 0
    world.clock.advance(1)
    assert (world.look().looked, world.purge()) == (0, 1)
    assert world.record(request).late_arrivals is None


@pytest.mark.parametrize(
    "changes", [{"state": STARTED}, {"state": HELD}, {"state": HELD, "parked_at": datetime(2026, 3, 2, tzinfo=UTC)}]
)
def test_what_goes_on_or_is_held_stays(world: EndedWorld, changes: dict[str, Any]) -> None:
    """A request that somebody works on, or that is held, is not touched, however old it is."""
    request = due(world, **changes)
    world.pass_(timedelta(days=365))
    assert world.purge() == 0
    assert world.record(request) == request


@pytest.mark.parametrize("state", [REQUESTED, STARTED])
def test_what_is_parked_goes_at_the_last_moment(world: EndedWorld, state: str) -> None:
    """Until purged_by somebody may mend it; then its promise to forget counts, and it stays as unfinished as it was."""
    request = due(world, state=state, attention=True, parked_at=world.clock(), finished_at=None)
    world.clock.now = request.purged_by - timedelta(seconds=1)
    assert world.purge() == 0
    world.clock.advance(1)
    assert world.purge() == 1
    record = world.record(request)
    assert (record.subject.id, record.state, record.attention) == ("", state, True)
    assert (record.outcomes, record.finished_at) == (request.outcomes, None)


@pytest.mark.parametrize("listing", ["ended_due", "open_due"])
def test_one_list_that_cannot_be_read_keeps_not_the_other(
    world: EndedWorld, monkeypatch: pytest.MonkeyPatch, listing: str
) -> None:
    """Whichever of the two fails, what the other has is purged, and the sweep fails."""
    ended, parked = due(world), due(world, state=STARTED, parked_at=world.clock(), finished_at=None)
    world.clock.now = parked.purged_by

    def down(*_: Any) -> list[str]:
        raise UnavailableError("down")

    monkeypatch.setattr(world.times, listing, down)
    with pytest.raises(UnavailableError):
        world.purge()
    gone = parked if listing == "ended_due" else ended
    assert [world.record(request).subject.id == "" for request in (ended, parked)] == [gone is ended, gone is parked]


def test_cancelled_ones_go_too(world: EndedWorld) -> None:
    """A request that was never begun knows somebody as well."""
    request = due(world, state=CANCELLED, finished_at=None, started_at=None)
    assert world.purge() == 1
    assert world.record(request).subject.id == ""


def test_a_year_of_waiting_comes_first(world: EndedWorld) -> None:
    """A deletion that waits for a year is not purged before: its promises count from when it may be started."""
    begin = world.clock() + timedelta(days=365)
    waiting = world.ended(
        state=CANCELLED,
        finished_at=None,
        not_before=begin,
        purged_by=begin + timedelta(days=90),
        clock_at=begin + timedelta(days=83),
    )
    world.clock.now = begin
    assert world.purge() == 0
    world.pass_(timedelta(days=83))
    assert world.purge() == 1
    assert world.record(waiting).purged_at == world.clock()


def test_what_was_still_to_be_taken_up_is_told_not_to_be(world: EndedWorld) -> None:
    """Who can no more be followed up, because nobody knows the subject, has that in the trail, before the purge."""
    request = due(world, follow_up_at=world.clock() + timedelta(days=85))
    world.requests.waiting[request.request_id] = request.follow_up_at or world.clock()
    assert world.purge() == 1
    told = [(entry.event, dict(entry.details)) for entry in world.trail(request)[1:]]
    assert told == [("not_followed", {"reason": "subject_id_expired"}), ("purged", {})]
    assert world.requests.waiting == {}


def test_an_entry_written_in_between_is_followed(world: EndedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's entry takes the place in the trail: the purge takes the next one."""
    request = due(world)
    real, others = world.audit.entries, iter([True])

    def entries(request_id: str) -> Any:
        trail = real(request_id)
        if next(others, False):
            world.audit.write_next(request_id, "late_arrivals", world.clock())
        return trail

    monkeypatch.setattr(world.audit, "entries", entries)
    assert world.purge() == 1
    assert [entry.event for entry in real(request.request_id)] == ["requested", "late_arrivals", "purged"]


def test_one_that_cannot_be_purged_keeps_no_other(world: EndedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of after all the others are purged, by a sweep that fails; nothing of it is in the message."""
    requests = [due(world) for _ in range(3)]
    world.clock.now = max(request.clock_at or world.clock() for request in requests)
    real, bad = world.times.purge, requests[0].request_id

    def purge(request: ErasureRequest, *rest: Any) -> bool:
        if request.request_id == bad:
            raise RuntimeError(f"something about {request.subject.id}")
        return real(request, *rest)

    monkeypatch.setattr(world.times, "purge", purge)
    with pytest.raises(UnavailableError) as caught:
        world.purge()
    assert str(caught.value) == "1 of the requests that are due could not be worked on"
    assert [world.record(request).subject.id for request in requests] == ["ann", "", ""]


def test_a_sweep_ends_with_its_time(world: EndedWorld) -> None:
    """Nothing is begun when the time is up; the next sweep goes on."""
    due(world)
    assert world.purge(Deadline(0)) == 0
    assert world.purge() == 1


def test_those_who_wait_for_their_look_stand_in_nobodys_way(world: EndedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones that are due for something else, more than a round of them, do not hide one that has to go; none is
    read twice."""
    monkeypatch.setattr("erasure.services.due_rounds.ROUND", 3)
    request = world.ended()
    waiting = [world.ended() for _ in range(7)]
    world.clock.now = request.purged_by - POLICY.own_backups
    for each in waiting:
        later = replace(each, purged_by=each.purged_by + timedelta(days=9))
        world.requests.records[each.request_id] = later
    world.requests.records[request.request_id] = replace(request, clock_at=world.clock())
    read: list[str] = []
    real = world.requests.get_many

    def get_many(request_ids: list[str]) -> dict[str, ErasureRequest]:
        read.extend(request_ids)
        return real(request_ids)

    monkeypatch.setattr(world.requests, "get_many", get_many)
    assert world.purge() == 1
    assert sorted(read) == sorted(each.request_id for each in [request, *waiting])
    assert ROUND == 1000


MAIL = {
    "name": "mails",
    "category": "content",
    "dynamodb": {"table": "app-mails", "key": {"pk": "{tenant_id}#{email}"}},
}


def test_a_purged_request_is_nobodys() -> None:
    """Planned by mistake, every target of it fails; and nobody is found to have no address for not being known."""
    source = {"from": "people", "attribute": "email", "if_missing": "absent"}
    parsed = parse_data_map({"version": 1, "targets": [PEOPLE, MAIL], "identifiers": {"email": source}})
    data_map = PinnedMap(1, parsed.digest, parsed.targets, parsed.families, parsed.identifiers)
    world = EndedWorld()
    nobody = replace(
        world.ended(replace(ANN, id="")), request_id=new_request_id(), outcomes=(), identifiers={}, state=STARTED
    )
    units = plan_units("job", [nobody], data_map.targets, data_map.families, data_map.optional)
    parts = [part for unit in units for task in unit.tasks for part in task.parts]
    assert [(part.status, part.reason) for part in parts] == [("failed", "missing_value")] * 2
    reader: Any = None  # would fail, if it were asked
    found = identify(nobody.subject, rules_for(data_map, {"email"}), reader, Deadline(1))
    assert found.values == {}
    assert found.unknown["email"].permanent


def test_no_job_works_for_nobody() -> None:
    """A slice that begins after the purge leaves the request out, and works for the others of its task."""
    world = EndedWorld()
    known = world.ended(state=STARTED, job_id="job", finished_at=None)
    purged = replace(known, request_id=new_request_id(), subject=replace(ANN, id=""), purged_at=world.clock())
    world.requests.records[purged.request_id] = purged
    parts = [Part(request.request_id) for request in (purged, known)]
    found = workable_requests("job", parts, world.requests, FakeHoldStore())
    assert list(found) == [known.request_id]
