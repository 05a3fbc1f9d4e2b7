"""What was written of a subject after its erasure is found and erased, where nobody can be there to have written it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.outcome import FAILED, TargetOutcome
from erasure.domain.request import CANCELLED, CATEGORIES, REQUESTED, SECOND_LOOK, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.times import due_at
from erasure.errors import UnavailableError
from erasure.services.second_look import PATIENCE, PAUSE, SecondLookFigures
from erasure.targets.protocol import Deadline
from tests.unit.services.ended_world import ANN, NOTES, PEOPLE, POLICY, TARGETS, EndedWorld

CREW = Subject("acme", "crew", "group")


@pytest.fixture
def world() -> EndedWorld:
    return EndedWorld()


def purge_at(request: ErasureRequest) -> Any:
    return request.purged_by - POLICY.own_backups


def following(world: EndedWorld, request: ErasureRequest) -> ErasureRequest:
    return world.requests.records[world.record(request).followed_by or ""]


def check_not_looked(world: EndedWorld, request: ErasureRequest, reason: str) -> None:
    """Nothing is made or told, the trail says why, and the record does not claim that nothing was found."""
    last = world.trail(request)[-1]
    assert (last.event, last.details) == ("not_looked", {"reason": reason})
    record = world.record(request)
    assert (record.late_arrivals, record.followed_by, record.clock_at) == (None, None, purge_at(request))
    assert (len(world.requests.records), world.queue.messages, world.bus.events) == (1, [], [])
    assert world.look() == SecondLookFigures()


def test_nothing_was_written(world: EndedWorld) -> None:
    """A day after the end and not a moment earlier, all targets of the subject are looked at once, and that nothing was
    found is on record."""
    request = world.ended()
    world.pass_(POLICY.second_look - timedelta(seconds=1))
    assert world.look() == SecondLookFigures()
    world.clock.advance(1)
    assert world.look() == SecondLookFigures(looked=1)
    assert world.reader.looked_at == [("ann", (), ("people", "notes"))]
    record = world.record(request)
    assert (record.late_arrivals, record.followed_by, record.clock_at) == (0, None, purge_at(request))
    assert [(entry.event, entry.details) for entry in world.trail(request)[1:]] == [("second_look", {"found": {}})]
    assert world.look() == SecondLookFigures()
    assert len(world.reader.looked_at) == 1
    assert (world.queue.messages, world.bus.events) == ([], [])


def test_what_was_written_late_is_erased(world: EndedWorld) -> None:
    """By a request of its own, for the targets in which something was found, told of in both trails and to the outside
    without anybody's id; it ends with the first one's purge, and has no second look itself."""
    prefix = "{tenant_id}/{user_id}/{organization_id}/"
    files = {"name": "events", "category": "content", "s3": {"bucket": "app-files", "prefix": prefix}}
    world.put_map(PEOPLE, NOTES, files)
    request = world.ended(organization_ids=("north",), categories=("account", "content"))
    world.reader.left["events", "ann"] = 3
    assert world.look_later() == SecondLookFigures(looked=1, late=1)
    made, now = following(world, request), world.clock()
    assert made == replace(
        made,
        subject=ANN,
        subject_digest=request.subject_digest,
        family=request.family,
        state=REQUESTED,
        requested_at=now,
        due_at=due_at(now, POLICY.sla_hours),
        purged_by=request.purged_by,
        categories=("account", "content"),
        organization_ids=("north",),
        purpose=SECOND_LOOK,
        follows=request.request_id,
        only_targets=("events",),
        clock_at=now + POLICY.patience,
        identifiers={},
    )
    assert world.reader.looked_at == [("ann", ("north",), ("events",))]
    assert world.queue.messages == [((made.request_id,), 1)]
    assert world.record(request).late_arrivals == 3
    assert world.trail(request)[-1].details == {"found": {"events": 3}, "followed_by": made.request_id}
    (first,) = world.trail(made)
    assert (first.event, first.details["follows"], first.details["purpose"]) == (
        "requested",
        request.request_id,
        SECOND_LOOK,
    )
    (event,) = world.bus.events
    assert (event.kind, event.event_id) == ("erasure.late_arrivals", f"{request.request_id}:late_arrivals")
    assert event.details == {
        "request_id": request.request_id,
        "family": "native",
        "found": 3,
        "followed_by": made.request_id,
    }
    assert broken_at(world.trail(request)) is None
    assert world.look() == SecondLookFigures()


def test_who_is_there_is_left_alone(world: EndedWorld) -> None:
    """Somebody who stays, or has come back, has written what there is."""
    request = world.ended()
    world.accounts.add("ann")
    world.reader.left["notes", "ann"] = 3
    assert world.look_later() == SecondLookFigures(not_looked=1)
    check_not_looked(world, request, "account_exists")
    assert world.reader.looked_at == []


@pytest.mark.parametrize("mark", ["tombstone", "suppression"])
def test_an_account_outweighs_every_mark(world: EndedWorld, mark: str) -> None:
    """Whoever has an account is there, deleted and suppressed or not."""
    request = world.ended()
    world.accounts.add("ann")
    registry = world.requests.registry
    if mark == "tombstone":
        registry.leave_tombstone(request, world.clock())
    else:
        registry.suppress(request, world.clock())
    world.look_later()
    check_not_looked(world, request, "account_exists")


def test_without_accounts_nobody_is_seen_gone(world: EndedWorld) -> None:
    """Where the map keeps no account of users, nobody can tell."""
    world.put_map(NOTES)
    request = world.ended()
    world.look_later()
    check_not_looked(world, request, "account_unknown")


def test_a_group_is_gone_if_something_says_so(world: EndedWorld) -> None:
    """A group of which a part was erased, and that neither list names, may be there: in doubt it is left alone."""
    request = world.ended(CREW, categories=("content",))
    world.reader.left["events", "crew"] = 1
    world.look_later()
    check_not_looked(world, request, "may_exist")


@pytest.mark.parametrize("sign", ["suppression", "tombstone"])
def test_a_group_that_is_gone(world: EndedWorld, sign: str) -> None:
    """It is suppressed, or has a tombstone."""
    request = world.ended(CREW)
    world.reader.left["events", "crew"] = 1
    if sign == "suppression":
        world.requests.registry.suppress(request, world.clock())
    else:
        world.requests.registry.leave_tombstone(request, world.clock())
    assert world.look_later() == SecondLookFigures(looked=1, late=1)
    assert following(world, request).only_targets == ("events",)


@pytest.mark.parametrize("categories", [None, CATEGORIES])
def test_a_group_that_was_erased_whole_may_be_there_again(
    world: EndedWorld, categories: tuple[str, ...] | None
) -> None:
    """Nothing tells that it has not been made anew since."""
    request = world.ended(CREW, categories=categories)
    world.look_later()
    check_not_looked(world, request, "may_exist")


def test_a_groups_own_account_counts_like_a_users(world: EndedWorld) -> None:
    """Where the map keeps accounts of groups, one that has one is there, whatever else says that it is not."""
    account = {**PEOPLE, "name": "groups", "subjects": ["group"]}
    account["dynamodb"] = {"table": "app-groups", "key": {"pk": "{tenant_id}#{group_id}"}}
    world.put_map(*TARGETS, account)
    request = world.ended(CREW)
    world.requests.registry.suppress(request, world.clock())
    world.accounts.add("crew")
    world.look_later()
    check_not_looked(world, request, "account_exists")


SCANNED = {
    "name": "events",
    "category": "content",
    "dynamodb": {"table": "app-log", "scan": {"actor": "{user_id}", "tenant": "{tenant_id}"}},
}
BY_ADDRESS = {
    "name": "events",
    "category": "content",
    "dynamodb": {"table": "app-mails", "key": {"pk": "{tenant_id}#{email}"}},
}
ADDRESS = {"email": {"from": "people", "attribute": "email"}}


@pytest.mark.parametrize(("target", "more"), [(SCANNED, {}), (BY_ADDRESS, {"identifiers": ADDRESS})])
def test_only_where_the_own_ids_lead(world: EndedWorld, target: Any, more: Any) -> None:
    """Tables that have to be scanned, and what further ids lead to, are not looked at."""
    world.put_map(PEOPLE, target, **more)
    world.ended()
    assert world.look_later().looked == 1
    assert world.reader.looked_at == [("ann", (), ("people",))]


def test_the_whole_tree_goes(world: EndedWorld) -> None:
    """What was found leads to other things, or others lead to it: all of these are erased with it, in their order."""
    pages = {"name": "pages", "for_each": "notes", "s3": {"bucket": "app-pages", "key": "{notes.id}"}}
    world.put_map(PEOPLE, NOTES, pages)
    request = world.ended()
    world.reader.left["notes", "ann"] = 1
    assert world.look_later().late == 1
    assert following(world, request).only_targets == ("notes", "pages")


def test_only_what_was_erased_can_be_late(world: EndedWorld) -> None:
    """A target that the request had not erased, since the map did not have it, or that failed, is not looked at."""
    outcomes = (TargetOutcome("notes", "content", FAILED, reason="x"),)
    request = world.ended(outcomes=outcomes)
    world.reader.left["people", "ann"] = 1
    world.look_later()
    check_not_looked(world, request, "nowhere_to_look")


@pytest.mark.parametrize("what", ["accounts", "reader", "target"])
def test_what_cannot_be_read_is_asked_again(world: EndedWorld, what: str) -> None:
    """Once an hour, by a sweep that fails, so that somebody is told; after three days it counts as doubt."""
    request = world.ended()
    world.accounts_are_read = what != "accounts"
    world.reader.down = what == "reader"
    if what == "target":
        world.reader.left["notes", "ann"] = None
    with pytest.raises(UnavailableError):
        world.look_later()
    assert world.record(request).clock_at == world.clock() + PAUSE
    assert world.look() == SecondLookFigures()
    world.pass_(PATIENCE - timedelta(seconds=1))
    with pytest.raises(UnavailableError):
        world.look()
    world.pass_(PAUSE)
    assert world.look() == SecondLookFigures(not_looked=1)
    check_not_looked(world, request, "unreadable")


def test_what_is_found_beside_an_unreadable_target_is_erased(world: EndedWorld) -> None:
    """Not to know of one target is no reason to leave another as it is."""
    request = world.ended()
    world.reader.left |= {("notes", "ann"): 1, ("people", "ann"): None}
    assert world.look_later().late == 1
    assert following(world, request).only_targets == ("notes",)


def test_one_that_fails_keeps_no_other(world: EndedWorld) -> None:
    """The others are looked at, and the sweep fails after them."""
    failing, other = world.ended(), world.ended(Subject("acme", "bob"))
    world.reader.left |= {("notes", "ann"): None, ("notes", "bob"): 2}
    with pytest.raises(UnavailableError):
        world.look_later()
    assert world.record(failing).late_arrivals is None
    assert world.record(other).late_arrivals == 2


@pytest.mark.parametrize(
    "changes", [{"purpose": SECOND_LOOK}, {"state": CANCELLED}, {"state": STARTED}, {"late_arrivals": 0}]
)
def test_who_is_not_looked_at(world: EndedWorld, changes: dict[str, Any]) -> None:
    """Requests of the service itself, those that erased nothing or go on, and those who were looked at."""
    request = world.ended(**changes)
    assert world.look_later() == SecondLookFigures()
    assert world.record(request) == request
    assert world.reader.looked_at == []


STEPS = ["accept", "send", "put", "append", "note_second_look"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dies_after", [False, True])
def test_a_sweep_that_dies_makes_one(
    world: EndedWorld, monkeypatch: pytest.MonkeyPatch, step: str, *, dies_after: bool
) -> None:
    """Whichever of its steps fails or is the last one, the next sweep completes the same request, also if the first
    one's job has erased by then what there was."""
    request = world.ended()
    world.reader.left["notes", "ann"] = 2
    places = {"accept": world.acceptance, "send": world.queue, "put": world.bus, "append": world.audit}
    place: Any = places.get(step, world.times)
    real = getattr(place, step)

    def dying(*values: Any, **more: Any) -> None:
        if dies_after:
            real(*values, **more)
        raise UnavailableError("died")

    with monkeypatch.context() as patched:
        patched.setattr(place, step, dying)
        with pytest.raises(UnavailableError):
            world.look_later()
    if step != "append" or dies_after:
        world.reader.left.clear()
    world.pass_(PAUSE)
    world.look()
    made = following(world, request)
    assert (made.only_targets, len(world.requests.records)) == (("notes",), 2)
    assert set(world.queue.messages) == {((made.request_id,), 1)}
    assert {event.event_id for event in world.bus.events} == {f"{request.request_id}:late_arrivals"}
    assert world.record(request).late_arrivals == 2
    assert [entry.event for entry in world.trail(request)] == ["requested", "second_look"]


def test_of_two_sweeps_at_once_one_counts(world: EndedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see it due, the other ends it first: one request, one entry, and it is counted once."""
    request = world.ended()
    world.reader.left["notes", "ann"] = 2
    world.pass_(POLICY.second_look)
    other = world.looks()
    real, figures = world.reader.preview, list[SecondLookFigures]()

    def preview(*values: Any) -> Any:
        if not figures:
            figures.append(SecondLookFigures())
            figures.append(other.look(Deadline(60)))
        return real(*values)

    monkeypatch.setattr(world.reader, "preview", preview)
    assert world.look() == SecondLookFigures()
    assert figures[1] == SecondLookFigures(looked=1, late=1)
    assert len(world.requests.records) == 2
    assert [entry.event for entry in world.trail(request)] == ["requested", "second_look"]


def test_a_sweep_ends_with_its_time(world: EndedWorld) -> None:
    """Nothing is looked at when the time is up; the next sweep does."""
    world.ended()
    world.pass_(POLICY.second_look)
    assert world.looks().look(Deadline(0)) == SecondLookFigures()
    assert world.look().looked == 1
