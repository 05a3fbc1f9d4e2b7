"""What is made again after a restore, and what is not, in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import BLOCKED, ERASED, TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, REPLAY, REQUESTED, RETENTION, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.errors import InvalidInputError, UnavailableError
from erasure.services.current_map import CurrentMap
from erasure.services.replay import ReplayCommand, ReplayReport, Replays
from tests.unit.services.ended_world import ANN, NOTES, PEOPLE, POLICY, TARGETS, EndedWorld

BOB = Subject("acme", "bob")
LETTERS: dict[str, Any] = {"name": "letters", "dynamodb": {"table": "app-letters", "key": {"pk": "{email}"}}}
EMAIL = {"email": {"from": "people", "attribute": "email"}}
DOCS: dict[str, Any] = {"name": "docs", "dynamodb": {"table": "app-docs", "key": {"pk": "{tenant_id}#{user_id}"}}}
PAGES: dict[str, Any] = {
    "name": "pages",
    "for_each": "docs",
    "dynamodb": {"table": "app-pages", "key": {"pk": "{docs.id}"}},
}


class ReplayingWorld(EndedWorld):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.since = self.clock() - timedelta(days=1)

    def replays(self) -> Replays:
        return Replays(
            clock=self.times,
            requests=self.requests,
            acceptance=self.acceptance,
            audit=self.audit,
            accounts=self,
            reader=self.reader,
            data_map=CurrentMap(self.maps, lambda: self.clock().timestamp()),
            queue=self.queue,
            now=self.clock,
            policy=POLICY,
        )

    def replay(self, *restored: str, since: datetime | None = None, **more: Any) -> ReplayReport:
        return self.replays().run(ReplayCommand(since or self.since, frozenset(restored), **more))

    def made(self) -> list[ErasureRequest]:
        return [record for record in self.requests.records.values() if record.purpose == REPLAY]


@pytest.fixture
def world() -> ReplayingWorld:
    return ReplayingWorld()


def test_one_request_for_all_erasures_of_a_subject(world: ReplayingWorld) -> None:
    """What several requests of one family have erased is made again by one, in the targets of each; another family's
    and another limit to organizations is another."""
    first = world.ended(only_targets=("people",))
    world.pass_(timedelta(hours=1))
    second = world.ended(categories=("content",), purged_by=first.purged_by + timedelta(days=5))
    velt = world.ended(family="velt")
    limited = world.ended(organization_ids=("org-1",))
    report = world.replay("people", "notes")
    by_follows = {request.follows: request for request in world.made()}
    assert by_follows.keys() == {first.request_id, velt.request_id}
    assert (report.found, report.replayed, report.skipped) == (3, 2, {"nothing_there": 1})
    made = by_follows[first.request_id]
    assert (made.only_targets, made.categories) == (("notes", "people"), ("account", "content"))
    assert (made.purged_by, made.state) == (second.purged_by, REQUESTED)
    assert made.clock_at == POLICY.first_look(made.requested_at)
    assert by_follows[velt.request_id].only_targets == ("notes",)
    assert limited.request_id not in by_follows


def test_who_is_not_known_any_more_is_told(world: ReplayingWorld) -> None:
    """After its time nothing is made, although the record has not been purged yet, and the trail says so."""
    request = world.ended()
    world.clock.advance((request.purged_by - world.clock()).total_seconds())
    report = world.replay("notes")
    assert (report.skipped, report.is_complete, world.made()) == ({"expired": 1}, False, [])
    assert (world.trail(request)[-1].event, world.trail(request)[-1].details) == ("not_replayed", {"reason": "expired"})


def test_a_runs_own_requests_are_never_made_again_by_it(world: ReplayingWorld) -> None:
    """Also when the first request has been purged meanwhile; another run makes them again."""
    first = world.ended()
    world.replay("notes", run="one")
    (made,) = world.made()
    now = world.clock()
    world.requests.records[made.request_id] = replace(made, state=FINISHED, started_at=now, finished_at=now)
    del world.requests.records[first.request_id]
    assert world.replay("notes", run="one").found == 0
    assert world.replay("notes", run="two").replayed == 1


def test_what_the_first_request_knew_goes_on(world: ReplayingWorld) -> None:
    """Of two that knew an address the earlier one's is taken, and holds by any of them are seen."""
    world.put_map(*TARGETS, LETTERS, identifiers=EMAIL)
    world.ended(identifiers={"email": ("old",)}, hold_digests=("one",))
    world.pass_(timedelta(hours=1))
    world.ended(identifiers={"email": ("new",)}, hold_digests=("two",))
    world.replay("letters")
    (made,) = world.made()
    assert (made.identifiers, made.hold_digests) == ({"email": ("old",)}, ("one", "two"))


def test_who_was_being_erased_at_that_moment_is_found_by_what_was_noted(world: ReplayingWorld) -> None:
    """The restored account may have been gone by then already, and the rest not."""
    world.put_map(*TARGETS, LETTERS, identifiers=EMAIL)
    world.ended(started_at=world.clock() - timedelta(days=3))
    assert world.replay("people", "letters").in_part == 0
    (made,) = world.made()
    assert (made.only_targets, made.identifiers) == (("letters", "people"), {"email": ("ann@example.org",)})


@pytest.mark.parametrize(
    ("known", "told"), [({"email": ("ann@example.org",)}, {}), ({}, {}), ({"email": ()}, {"email": ()})]
)
def test_nobody_says_absent_of_what_may_have_been_erased_anew(
    world: ReplayingWorld, known: dict[str, tuple[str, ...]], told: dict[str, tuple[str, ...]]
) -> None:
    """The restored account says nothing of an optional address: unless the erasure had seen that there is none, it is
    not known."""
    world.put_map(*TARGETS, LETTERS, identifiers={"email": {**EMAIL["email"], "if_missing": "absent"}})
    world.reader.identifiers.clear()
    world.ended(identifiers=known)
    world.replay("people", "letters")
    (made,) = world.made()
    assert (made.only_targets, made.identifiers) == (("letters", "people"), told)


def test_who_came_back_and_had_only_content_erased_is_replayed(world: ReplayingWorld) -> None:
    """The account that is there again says nothing of an erasure that never touched it."""
    world.ended(only_targets=("people",))
    world.ended(family="velt", categories=("content",), outcomes=(TargetOutcome("notes", "content", ERASED, 1),))
    world.accounts.add("ann")
    report = world.replay("notes")
    assert (report.replayed, report.skipped) == (1, {"nothing_there": 1})
    assert [request.family for request in world.made()] == ["velt"]


def test_a_parked_request_is_not_under_way(world: ReplayingWorld) -> None:
    """Its last job has died without closing it: nobody is to be waited for."""
    request = world.ended(state=STARTED, finished_at=None, job_id="er_x-3", closed_jobs=frozenset())
    assert world.replay("notes", run="one").under_way == 1
    world.requests.records[request.request_id] = replace(request, parked_at=world.clock())
    assert world.replay("notes", run="two").under_way == 0


def test_without_an_answer_nobody_is_taken_for_somebody_else(world: ReplayingWorld) -> None:
    """If a restored source cannot be read, whoever would be found by it is left for the next call."""
    world.put_map(*TARGETS, LETTERS, identifiers=EMAIL)
    world.ended()
    world.ended(BOB, family="june", categories=("account",))
    world.reader.down = True
    report = world.replay("people", "letters")
    assert (report.replayed, report.skipped, report.is_complete) == (1, {"unreadable": 1}, False)
    world.reader.down = False
    assert world.replay("people", "letters").done_before == 0
    assert {request.subject for request in world.made()} == {ANN, BOB}


@pytest.mark.parametrize(("kept", "targets"), [(0, ("docs",)), (2, ("docs", "pages"))])
def test_a_tree_of_which_something_was_left_is_looked_at_whole(
    world: ReplayingWorld, kept: int, targets: tuple[str, ...]
) -> None:
    """So that the item which leads there does not go before it; otherwise what is elsewhere is not touched."""
    world.put_map(PEOPLE, DOCS, PAGES)
    pages = TargetOutcome("pages", "content", BLOCKED if kept else ERASED, 1, kept=kept)
    world.ended(outcomes=(TargetOutcome("docs", "content", ERASED, 1), pages))
    world.replay("docs")
    (made,) = world.made()
    assert made.only_targets == targets


def test_what_was_left_in_restored_places_leads_nowhere_else(world: ReplayingWorld) -> None:
    """It is looked at anyway."""
    files = {"name": "files", "for_each": "docs", "s3": {"bucket": "app-files", "key": "{docs.file}"}}
    world.put_map(PEOPLE, DOCS, PAGES, files)
    pages = TargetOutcome("pages", "content", BLOCKED, 1, kept=2)
    erased = [TargetOutcome(name, "content", ERASED, 1) for name in ("docs", "files")]
    world.ended(outcomes=(*erased, pages))
    world.replay("docs", "pages")
    (made,) = world.made()
    assert made.only_targets == ("docs", "pages")


def test_only_what_was_done_is_made_again(world: ReplayingWorld) -> None:
    """Neither what was taken back, nor runs by age, nor what nobody has begun, nor what ended before."""
    now = world.clock()
    world.ended(state=CANCELLED, finished_at=None)
    world.ended(Subject("*", "erase#0#2026-01-01T00:00:00.000Z", "retention"), purpose=RETENTION, family="retention")
    world.ended(state=REQUESTED, started_at=None, finished_at=None, outcomes=(), job_id=None)
    world.ended(finished_at=now - timedelta(days=2))
    world.ended(state=STARTED, finished_at=None, closed_at=now - timedelta(days=2), closed_jobs=frozenset({"job-1"}))
    report = world.replay("notes", "people", "events")
    assert (report.found, report.under_way, report.is_complete, world.made()) == (0, 0, True, [])


def test_many_go_in_few_messages(world: ReplayingWorld) -> None:
    """A thousand in each."""
    for number in range(1001):
        world.ended(Subject("acme", f"person-{number}"))
    assert world.replay("notes", "people").replayed == 1001
    assert sorted(len(request_ids) for request_ids, _ in world.queue.messages) == [1, 1000]


def test_a_queue_that_is_down_is_made_up_for(world: ReplayingWorld) -> None:
    """The same command sends what was made and not sent."""
    world.ended()
    world.queue.down = True
    with pytest.raises(UnavailableError):
        world.replay("notes")
    world.queue.down = False
    assert world.replay("notes").replayed == 1
    assert world.queue.messages == [((world.made()[0].request_id,), 1)]


def test_a_group_is_replayed_as_well(world: ReplayingWorld) -> None:
    """It has no account that could be asked for."""
    world.ended(Subject("acme", "crew", "group"))
    assert world.replay("events").replayed == 1


def test_accounts_that_only_other_things_lead_to_say_nothing(world: ReplayingWorld) -> None:
    """Then nobody can tell whether somebody has come back, and nothing is made."""
    table = {"table": "app-profiles", "key": {"pk": "{email}"}}
    profiles = {"name": "profiles", "category": "account", "dynamodb": table}
    world.put_map(NOTES, profiles, identifiers={"email": {"from": "notes", "attribute": "email"}})
    world.ended(outcomes=(TargetOutcome("profiles", "account", ERASED, 1),))
    assert world.replay("notes").skipped == {"account_unknown": 1}
    assert world.replay("notes", include_returned=True).replayed == 1


def test_places_have_to_be_the_maps(world: ReplayingWorld) -> None:
    """No place at all must not come to mean all of them."""
    for restored in ((), ("notes", "nowhere")):
        with pytest.raises(InvalidInputError):
            world.replay(*restored)


def test_ids_follow_from_what_is_replayed() -> None:
    """The same command is the same run on any day; other moments and places are others."""
    moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    command = ReplayCommand(moment, frozenset({"a", "b"}))
    assert command.named_run() == replace(command, dry_run=True).named_run()
    others = [
        replace(command, restored=frozenset({"a"})),
        replace(command, since=moment + timedelta(seconds=1)),
        replace(command, until=moment),
        replace(command, run=new_request_id()),
    ]
    assert len({command.named_run(), *(other.named_run() for other in others)}) == 5
