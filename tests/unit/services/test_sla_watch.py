"""The watch over the promise: alarms, and requests that nobody works on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.clock import LEVELS, MAX_TRIES
from erasure.domain.request import CANCELLED, FINISHED, STARTED, ErasureRequest
from erasure.domain.times import format_time
from erasure.services.held_requests import hold_requests
from erasure.services.sla_watch import ROUND, SlaWatch
from erasure.targets.protocol import Deadline
from tests.unit.services.watch_world import HOUR, POLICY, Killed, WatchWorld, Writes

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> WatchWorld:
    return WatchWorld()


def ids_of_levels(request: ErasureRequest, *levels: int) -> set[str]:
    return {f"{request.request_id}:sla:{level}" for level in levels}


# Alarms


def test_nobody_is_told_of_a_request_in_its_first_half(world: WatchWorld) -> None:
    """A minute before half of the promised time, there is no alarm."""
    request = world.add_started("ann", 36 * HOUR - MINUTE)
    world.executions.living.add("jb_ann-1")
    world.run()
    assert (world.alarms(request), world.events.events) == ([], [])


def test_each_level_is_told_when_it_comes(world: WatchWorld) -> None:
    """Looked at every five minutes for 80 hours: each level is on record and told once, within one look of its time,
    the last one as a broken promise."""
    request = world.add_started("ann", timedelta(0))
    world.executions.living.add("jb_ann-1")
    told: list[datetime] = []
    for _ in range(80 * 12):
        world.now.advance(300)
        if world.run().told:
            told.append(world.now())
    assert world.alarms(request) == ["sla:50", "sla:75", "sla:90", "sla:100"]
    assert [event.event_id for event in world.events.events] == [
        f"{request.request_id}:sla:{level}" for level in LEVELS
    ]
    assert [event.kind for event in world.events.events] == ["erasure.sla_at_risk"] * 3 + ["erasure.sla_breached"]
    for moment, level in zip(told, LEVELS, strict=True):
        late = moment - (request.requested_at + 72 * HOUR * level / 100)
        assert timedelta(0) <= late <= timedelta(minutes=10)
    assert world.record(request).sla_told == 100
    assert broken_at(world.audit.entries(request.request_id)) is None


def test_an_alarm_says_what_it_is_about(world: WatchWorld) -> None:
    """Request, family, when it is due, percent and what is left of the time, and nobody's id."""
    request = world.add("ann", 54 * HOUR)
    report = world.run()
    (first, second) = world.events.events
    assert {**first.details, "percent": 75} == second.details
    assert second.details == {
        "request_id": request.request_id,
        "family": "native",
        "due_at": format_time(request.due_at),
        "percent": 75,
        "remaining_seconds": 18 * 3600,
    }
    assert dict(report.told) == {50: 1, 75: 1}


def test_a_schedule_that_was_off_for_five_days_tells_each_level_once(world: WatchWorld) -> None:
    """All levels that were passed, in order, and the request goes on with the attempt that was lost."""
    request = world.add("ann", 120 * HOUR)
    world.run()
    world.now.advance(300)
    world.run()
    assert world.alarms(request) == [f"sla:{level}" for level in LEVELS]
    assert len(world.events.events) == len(LEVELS)
    assert world.sent(request) == [1]


def test_what_was_told_before_is_not_told_again(world: WatchWorld) -> None:
    """A watch that comes by with nothing new puts no event."""
    request = world.add_started("ann", 40 * HOUR, sla_level=50, sla_told=50)
    world.executions.living.add("jb_ann-1")
    assert world.run().told == {}
    assert (world.alarms(request), world.events.events) == ([], [])


def test_a_bus_that_is_down_is_tried_again_soon(world: WatchWorld) -> None:
    """The level is on record once; the event comes when the bus is there again; nothing else waits for it."""
    request = world.add("ann", 40 * HOUR)
    world.events.down = True
    report = world.watch().run(Deadline(60))
    assert len(report.errors) == 1
    assert world.sent(request) == [1]
    world.events.down = False
    world.now.advance(600)
    world.run()
    assert world.alarms(request) == ["sla:50"]
    assert world.events.ids() == ids_of_levels(request, 50)
    assert world.record(request).sla_told == 50


def test_a_pause_moves_all_levels(world: WatchWorld) -> None:
    """A request that was held for two days reaches no level during them."""
    paused = 48 * HOUR
    request = world.add_started("ann", 40 * HOUR + paused)
    record = replace(request, due_at=request.due_at + paused, paused_seconds=int(paused.total_seconds()))
    world.requests.records[request.request_id] = record
    world.executions.living.add("jb_ann-1")
    world.run()
    assert world.alarms(request) == ["sla:50"]


def test_one_that_waits_for_its_time_has_no_level(world: WatchWorld) -> None:
    """A request of last month that may start tomorrow is on time, and is left alone until then."""
    request = world.add("ann", 720 * HOUR, not_before=world.now() + 24 * HOUR, clock_at=world.now())
    world.run()
    assert (world.alarms(request), world.sent(request)) == ([], [])
    assert world.record(request).clock_at == world.now() + 24 * HOUR + POLICY.patience


# Requests that nobody works on


def test_one_that_nobody_has_taken_up_is_sent_again(world: WatchWorld) -> None:
    """With the same attempt first, since its message may be on its way still; with higher ones after three times the
    patience, since that one's execution may be used up; and with longer pauses each time."""
    request = world.add("ann", timedelta(0))
    sent_at: list[timedelta] = []
    for _ in range(24 * 12):
        world.now.advance(300)
        if world.run().resent:
            sent_at.append(world.now() - request.requested_at)
    assert world.sent(request)[:2] == [1, 2]
    assert world.sent(request) == sorted(set(world.sent(request)))
    assert sent_at[0] == 15 * MINUTE
    assert sent_at[1] >= 45 * MINUTE
    pauses = [later - earlier for earlier, later in pairwise(sent_at)]
    assert all(later >= 2 * earlier - 15 * MINUTE for earlier, later in pairwise(pauses))
    assert len(sent_at) == 6
    assert world.record(request).parked_at is None


def test_what_is_sent_is_on_record_before(world: WatchWorld) -> None:
    """The trail has each sending before the message leaves, and the request is not moved on before that."""
    request = world.add("ann", HOUR)
    world.queue.down = True
    report = world.watch().run(Deadline(60))
    assert len(report.errors) == 1
    assert world.trail(request)[1:] == [f"resent:watch:{format_time(request.clock_at or world.now())}"]
    assert world.record(request) == request
    world.queue.down = False
    world.now.advance(300)
    world.run()
    assert (world.sent(request), world.record(request).tries) == ([1], 1)
    assert len(world.trail(request)) == 2


def test_one_whose_job_lives_is_left_alone(world: WatchWorld) -> None:
    """However long it takes, nothing is sent beside a living execution."""
    request = world.add_started("ann", timedelta(0))
    world.executions.living.add("jb_ann-1")
    for _ in range(70):
        world.now.advance(3600)
        world.run()
    assert world.sent(request) == []


def test_nothing_is_sent_when_nobody_can_tell_whether_the_job_lives(world: WatchWorld) -> None:
    """It may: the request is looked at again soon, and the call fails so that somebody knows."""
    request = world.add_started("ann", HOUR)
    world.executions.down = True
    report = world.watch().run(Deadline(60))
    assert (len(report.errors), world.sent(request)) == (1, [])
    world.executions.down = False
    world.now.advance(900)
    world.run()
    assert world.sent(request) == [2]


def test_requests_of_one_job_are_asked_about_once(world: WatchWorld) -> None:
    """A batch of hundreds costs one question and one message."""
    requests = [world.add_started(f"p{number}", HOUR, job_id="jb_many-1") for number in range(300)]
    assert world.run().resent == 300
    assert world.executions.asked == {"jb_many-1": 1}
    assert [(len(request_ids), attempt) for request_ids, attempt in world.queue.messages] == [(300, 2)]
    assert all(world.record(request).tries == 1 for request in requests)


def test_a_dead_job_is_followed_by_the_next_attempt(world: WatchWorld) -> None:
    """On record under the attempt's own name, and the same one again while nobody has claimed it."""
    request = world.add_started("ann", HOUR, attempt=3)
    world.run()
    assert (world.sent(request), world.trail(request)[-1]) == ([4], "retried:4")
    world.now.advance(1800)
    world.run()
    assert world.sent(request) == [4, 4]
    world.now.advance(3600)
    world.run()
    assert world.sent(request) == [4, 4, 5]


def test_a_deletion_at_once_that_stopped_half_way_gets_its_first_attempt(world: WatchWorld) -> None:
    """Its own job has no execution; the message for the first attempt was sent and may have got lost."""
    request = world.add_started("ann", HOUR, attempt=0)
    world.run()
    assert world.sent(request) == [1]
    assert world.executions.asked == {}


def test_one_that_waits_for_the_end_of_a_window_is_left_until_then(world: WatchWorld) -> None:
    """The sweep sends it off; only if that got lost, the watch does, with the attempt that the sweep would take."""
    scan_at = world.now() + 5 * HOUR
    closed: dict[str, Any] = {"closed_jobs": frozenset({"jb_ann-1"}), "closed_at": world.now(), "scan_at": scan_at}
    request = world.add_started("ann", HOUR, **closed)
    world.run()
    assert (world.sent(request), world.record(request).clock_at) == ([], scan_at + POLICY.patience)
    world.now.now = scan_at + POLICY.patience
    world.run()
    assert world.sent(request) == [2]


def test_what_failed_is_tried_again_with_pauses_and_parked_in_the_end(world: WatchWorld) -> None:
    """Eight times, each after a longer pause; then it waits for a person, the trail and an event say why, once, and
    only levels are looked at."""
    request = world.add_failed("ann", timedelta(0), clock_at=world.now() + POLICY.pause_after(0))
    parked_after = None
    for _ in range(100 * 12):
        world.now.advance(300)
        report = world.run()
        record = world.record(request)
        if report.resent:
            # The job fails as the one before.
            attempt = world.sent(request)[-1]
            job_id = f"jb_ann-{attempt}"
            clock_at = POLICY.next_look(record, world.now(), world.now() + POLICY.pause_after(record.tries))
            world.requests.records[request.request_id] = replace(
                record,
                job_id=job_id,
                attempt=attempt,
                closed_jobs=record.closed_jobs | {job_id},
                closed_at=world.now(),
                clock_at=clock_at,
            )
        if report.parked:
            parked_after = world.now() - request.requested_at
    assert world.sent(request) == list(range(2, 2 + MAX_TRIES))
    assert parked_after is not None
    assert 30 * HOUR < parked_after < 72 * HOUR
    assert world.record(request).parked_at is not None
    parked = [entry for entry in world.audit.entries(request.request_id) if entry.event == "parked"]
    assert [entry.details["targets"] for entry in parked] == [{"notes": "access_denied"}]
    assert parked[0].details["reason"] == "targets_failed"
    failed = [event for event in world.events.events if event.kind == "erasure.failed"]
    assert [event.details["targets"] for event in failed] == [{"notes": "access_denied"}]
    assert world.alarms(request) == [f"sla:{level}" for level in LEVELS]
    assert world.record(request).clock_at == request.purged_by


def test_a_person_who_has_just_retried_is_not_interfered_with(world: WatchWorld) -> None:
    """An attempt that somebody has sent a minute ago is given its time."""
    request = world.add_failed("ann", HOUR, closed_at=world.now() - HOUR)
    world.audit.append(request.request_id, "retried", world.now() - MINUTE, {"attempt": 2}, event_id="retried:2")
    world.run()
    assert world.sent(request) == []
    world.now.advance(900)
    world.run()
    assert world.sent(request) == [2]


def test_requests_that_were_lost_together_are_parted(world: WatchWorld) -> None:
    """One for which no job can be planned takes the others of its job along, but not forever: half of those that are
    with it get an attempt of another number each time, and nobody is in the same message with it in the end."""
    requests = [world.add_started(f"p{number}", HOUR, job_id="jb_many-1") for number in range(64)]
    poison = requests[0]
    for _ in range(12):
        world.queue.messages.clear()
        world.run()
        for request_ids, attempt in world.queue.messages:
            for request_id in request_ids:
                record = world.requests.records[request_id]
                # Whoever is with it is claimed by a job that dies; the others are erased.
                fails = poison.request_id in request_ids
                done = {"job_id": f"jb_{attempt}", "attempt": attempt} if fails else {"state": FINISHED}
                world.requests.records[request_id] = replace(record, **done)
        world.now.advance(13 * 3600)
    assert [request for request in requests if world.record(request).state != FINISHED] == [poison]


def test_near_its_purge_nothing_is_begun_any_more(world: WatchWorld) -> None:
    """A request that nobody could ever work on is parked, told of and left to be purged; a job that lives goes on."""
    lost, living = world.add("lost", 84 * 24 * HOUR), world.add_started("living", 84 * 24 * HOUR)
    world.executions.living.add("jb_living-1")
    world.run()
    assert (world.sent(lost), world.sent(living)) == ([], [])
    assert (world.record(lost).parked_at, world.record(living).parked_at) == (world.now(), None)
    assert world.record(lost).clock_at == lost.purged_by
    assert world.audit.entries(lost.request_id)[-1].details["reason"] == "not_finished"
    world.now.now = lost.purged_by + HOUR
    world.run()
    assert world.record(lost).clock_at == lost.purged_by  # due to be purged, by whoever does that


# Holds and dead letters


def test_one_that_a_hold_names_is_held_and_not_sent(world: WatchWorld) -> None:
    """Neither an alarm nor a message: it waits, with the hold's id in its trail."""
    request = world.add("ann", 60 * HOUR)
    world.hold(request)
    assert world.run().held == 1
    assert world.is_held(request)
    assert (world.alarms(request), world.sent(request)) == ([], [])
    assert world.audit.entries(request.request_id)[-1].details == {"hold_id": "lh_1"}


def test_one_whose_hold_ended_goes_on(world: WatchWorld) -> None:
    """A hold whose end has come is lifted, and its request sent off in the same call."""
    request = world.add("ann", HOUR)
    hold = world.hold(request)
    world.run()
    world.holds.holds[hold.tenant_id, hold.subject_digest] = replace(hold, until=world.now() + HOUR)
    world.now.advance(2 * 3600)
    report = world.run()
    assert (report.holds_ended, report.resumed, world.holds.holds) == (1, 1, {})
    assert len(world.sent(request)) == 1
    assert not world.is_held(request)


def test_a_dead_letter_puts_its_requests_back(world: WatchWorld) -> None:
    """Those that its attempt has not reached are sent at once with that attempt; then the message is gone."""
    lost, claimed = world.add("lost", MINUTE), world.add_started("claimed", MINUTE)
    world.letter(lost, claimed)
    assert world.run().letters_dropped == 1
    assert world.dead_letters.bodies == {}
    assert (world.sent(lost), world.sent(claimed)) == ([1], [])
    assert world.record(lost).tries == 1
    assert (world.record(lost).clock_at or world.now()) > world.now()


def test_a_dead_letter_about_what_has_ended_is_dropped(world: WatchWorld) -> None:
    """Finished, cancelled, held, waiting for its time, or in the hands of a job that lives."""
    later = world.now() + 24 * HOUR
    requests = [
        world.add("a", HOUR, state=FINISHED),
        world.add("b", HOUR, state=CANCELLED),
        world.add("c", HOUR, not_before=later, clock_at=later),
        world.add_started("d", HOUR),
    ]
    world.executions.living.add("jb_d-1")
    world.letter(*requests, attempt=2)
    world.run()
    assert (world.dead_letters.bodies, world.queue.messages) == ({}, [])


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        json.dumps({"request_ids": ["er_01K8ZQ4W7M3T9X5B2C6D8F0G1H"], "attempt": "1"}),
        json.dumps({"request_ids": ["er_01K8ZQ4W7M3T9X5B2C6D8F0G1H"], "attempt": 1}),
    ],
    ids=["text", "list", "attempt", "unknown request"],
)
def test_what_is_none_of_our_messages_stays(world: WatchWorld, body: str) -> None:
    """Somebody has to look at it; it stands in nobody's way."""
    request = world.add("lost", MINUTE)
    for _ in range(11):
        world.dead_letters.put(body)
    world.letter(request)
    assert world.run().letters_dropped == 1
    assert set(world.dead_letters.bodies.values()) == {body}
    assert world.sent(request) == [1]


def test_a_message_that_dies_again_and_again_is_not_sent_for_ever(world: WatchWorld) -> None:
    """After as many times as anything is tried, the request waits for its next look."""
    request = world.add("lost", timedelta(0), clock_at=world.now() + 1000 * HOUR, due_at=world.now() + 2000 * HOUR)
    for _ in range(MAX_TRIES + 5):
        world.letter(request)
        world.run()
        world.now.advance(60)
    assert len(world.sent(request)) == MAX_TRIES


# Many, and little time


def test_ten_thousand_are_looked_at_in_messages_of_a_thousand(world: WatchWorld) -> None:
    """All of them in one call, if there is time."""
    for number in range(10 * ROUND):
        world.add(f"{number:05d}", HOUR)
    assert world.run().resent == 10 * ROUND
    assert [len(request_ids) for request_ids, _ in world.queue.messages] == [ROUND] * 10
    assert world.run().looked_at == 0


def test_what_is_not_reached_comes_first_next_time(world: WatchWorld) -> None:
    """A call without time for all looks at the oldest; the next one at the rest, and at none twice."""
    for number in range(2 * ROUND):
        world.add(f"{number:05d}", HOUR + number * timedelta(seconds=1))
    ticks = count()
    for expected in ({f"{number:05d}" for number in range(ROUND, 2 * ROUND)}, {f"{n:05d}" for n in range(ROUND)}):
        world.queue.messages.clear()
        # Somebody asks for the time for the holds, the dead letters and before each round.
        report = world.run(deadline=Deadline(3.5, clock=ticks.__next__))
        assert report.looked_at == ROUND
        ids = [request_id for request_ids, _ in world.queue.messages for request_id in request_ids]
        sent = {world.requests.records[request_id].subject.id for request_id in ids}
        assert sent == expected


def test_one_that_cannot_be_looked_at_holds_up_nobody(world: WatchWorld) -> None:
    """Its error is told, everything else goes on, and it comes again."""
    broken, fine = world.add("broken", 40 * HOUR), world.add("fine", 40 * HOUR)

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.audit, name)

        def entries(self, request_id: str) -> Any:
            if request_id == broken.request_id:
                raise RuntimeError("unreadable")
            return world.audit.entries(request_id)

    report = replace(world.watch(), audit=Broken()).run(Deadline(60))
    assert [type(error) for error in report.errors] == [RuntimeError]
    assert (world.alarms(fine), world.sent(fine), world.sent(broken)) == (["sla:50"], [1], [])
    world.run()
    assert (world.alarms(broken), world.sent(broken)) == (["sla:50"], [1])


@pytest.mark.parametrize("step", ["ended", "held", "receive", "open_due", "open_rows"])
def test_a_step_that_fails_keeps_no_other_from_running(world: WatchWorld, step: str) -> None:
    """Whatever cannot be read: the others' work is done, and the error is told."""

    class Failing:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == step:
                raise RuntimeError(name)
            return getattr(self._inner, name)

    due, letter = world.add("due", HOUR), world.add("letter", MINUTE)
    world.letter(letter)
    watch = world.watch()
    watch = replace(
        watch, clock=Failing(watch.clock), holds=Failing(watch.holds), dead_letters=Failing(watch.dead_letters)
    )
    if step == "held":
        world.holds.held = lambda _marks: {}  # type: ignore[assignment, method-assign]
        watch = replace(watch, holds=world.holds)
    report = watch.run(Deadline(60))
    assert [str(error) for error in report.errors] == [step]
    assert world.sent(due) == ([] if step == "open_due" else [1])
    assert world.sent(letter) == ([] if step == "receive" else [1])
    assert (report.figures is None) == (step == "open_rows")


def test_the_figures_are_those_of_all_open_requests(world: WatchWorld) -> None:
    """Open, held and overdue ones, the oldest age and the next deadline, as they are after this call's work."""
    held = world.add("held", 200 * HOUR)
    world.hold(held)
    world.add("young", HOUR)
    world.add("late", 73 * HOUR)
    world.add("waiting", 500 * HOUR, not_before=world.now() + HOUR, clock_at=world.now() + HOUR)
    world.add("done", HOUR, state=FINISHED)
    figures = world.run().figures
    assert figures is not None
    assert (figures.open, figures.held, figures.overdue) == (4, 1, 1)
    assert (figures.oldest_age_seconds, figures.seconds_to_deadline) == (73 * 3600, -3600)


# Clocks that differ


def test_what_another_clock_put_into_the_future_is_left_until_then(world: WatchWorld) -> None:
    """The record decides, also when the list is behind it."""
    request = world.add("ann", HOUR, clock_at=world.now() + MINUTE)
    world.clock.open_due = lambda _now, _limit: [request.request_id]  # type: ignore[assignment, method-assign]
    assert world.run().looked_at == 0
    assert world.sent(request) == []


def test_a_request_of_the_future_is_on_time(world: WatchWorld) -> None:
    """Accepted by a clock ten minutes ahead: no level, no age below zero, and no message before its first look."""
    request = world.add("ann", -10 * MINUTE)
    report = world.run()
    assert report.figures is not None
    assert report.figures.oldest_age_seconds == 0
    assert (world.alarms(request), world.sent(request)) == ([], [])


def test_watches_whose_clocks_differ_tell_everything_once(world: WatchWorld) -> None:
    """Two that run in turn, one ten minutes ahead and one behind, for 80 hours: each level is on record once, in
    order, told once, and what is lost is sent a few times only, each attempt later than the one before."""
    request = world.add("ann", timedelta(0))
    skewed: list[Callable[[], datetime]] = [lambda: world.now() + 10 * MINUTE, lambda: world.now() - 10 * MINUTE]
    for number in range(80 * 12):
        world.now.advance(300)
        world.run(now=skewed[number % 2])
    assert world.alarms(request) == [f"sla:{level}" for level in LEVELS]
    assert [event.event_id for event in world.events.events] == [
        f"{request.request_id}:sla:{level}" for level in LEVELS
    ]
    assert world.sent(request) == sorted(world.sent(request))
    assert len(world.sent(request)) <= 12


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_a_watch_behind_gets_in_while_one_ahead_reads(world: WatchWorld, reads: int) -> None:
    """Between any two reads of the trail by one for which two levels have come, another notes the first of them."""
    request = world.add("ann", 50 * HOUR, tries=1)
    ahead, behind = world.watch(now=lambda: world.now() + 5 * HOUR), world.watch()
    seen: list[str] = []

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.audit, name)

        def entries(self, request_id: str) -> Any:
            seen.append(request_id)
            if len(seen) == reads:
                assert behind.run(Deadline(60)).errors == []
            return world.audit.entries(request_id)

    assert replace(ahead, audit=Interrupted()).run(Deadline(60)).errors == []
    assert world.alarms(request) == ["sla:50", "sla:75"]
    assert world.events.ids() == ids_of_levels(request, 50, 75)
    assert broken_at(world.audit.entries(request.request_id)) is None


# Watches that die, and two at once


def a_mixed_world() -> tuple[WatchWorld, dict[str, ErasureRequest]]:
    world = WatchWorld()
    requests = {
        "lost": world.add("lost", 40 * HOUR),
        "dead": world.add_started("dead", 55 * HOUR),
        "living": world.add_started("living", 66 * HOUR),
        "broken": world.add_failed(
            "broken",
            73 * HOUR,
            attempt=9,
            closed_at=world.now() - 20 * HOUR,
            tries=MAX_TRIES,
            sla_level=90,
            sla_told=90,
        ),
        "held": world.add("held", 40 * HOUR),
        "letter": world.add("letter", MINUTE),
        "freed": world.add("freed", 2 * HOUR),
    }
    world.executions.living.add("jb_living-1")
    freed = replace(world.hold(requests["freed"]), until=world.now() + HOUR)
    world.holds.holds[freed.tenant_id, freed.subject_digest] = freed
    hold_ids = {requests["freed"].request_id: freed.hold_id}
    hold_requests(hold_ids, requests=world.requests, clock=world.clock, audit=world.audit, now=world.now)
    world.now.advance(2 * 3600)
    world.hold(requests["held"])
    world.letter(requests["letter"])
    return world, requests


def check_mixed_world(world: WatchWorld, requests: dict[str, ErasureRequest]) -> None:
    """What has to be true after a watch has come to its end, whatever happened to those before it."""
    expected = {"lost": LEVELS[:1], "dead": LEVELS[:2], "living": LEVELS[:3], "broken": LEVELS[3:]}
    for name, request in requests.items():
        levels = expected.get(name, ())
        assert world.alarms(request) == [f"sla:{level}" for level in levels], name
        assert ids_of_levels(request, *levels) <= world.events.ids(), name
        trail = world.trail(request)
        assert len(trail) == len(set(trail)), name
        assert broken_at(world.audit.entries(request.request_id)) is None, name
        assert world.record(request).sla_told == max(levels, default=0), name
    told = {event_id for request in requests.values() for event_id in ids_of_levels(request, *LEVELS)}
    assert len(world.events.ids() & told) == 7
    # Whatever was sent, and however often: one attempt of each, and none of what lives, is held or is parked.
    attempts = {name: set(world.sent(request)) for name, request in requests.items()}
    assert attempts == {
        "lost": {1},
        "dead": {2},
        "living": set(),
        "broken": set(),
        "held": set(),
        "letter": {1},
        "freed": attempts["freed"],
    }
    assert world.is_held(requests["held"])
    assert not world.is_held(requests["freed"])
    assert world.record(requests["broken"]).parked_at is not None
    assert world.trail(requests["broken"]).count("parked:jb_broken-9") == 1
    assert f"{requests['broken'].request_id}:parked:jb_broken-9" in world.events.ids()
    assert world.dead_letters.bodies == {}
    due = [name for name, request in requests.items() if is_due(world, request)]
    assert due == [], "nothing is looked at again at once"
    # Resumed and not sent off any more, it is found like any other that nobody has taken up.
    world.now.advance(POLICY.patience.total_seconds())
    world.run()
    assert set(world.sent(requests["freed"])) in ({1}, {2})


def is_due(world: WatchWorld, request: ErasureRequest) -> bool:
    clock_at = world.record(request).clock_at
    return clock_at is not None and clock_at <= world.now()


def writes_of_a_call() -> int:
    world, _ = a_mixed_world()
    writes = Writes()
    world.run(writes)
    return writes.count


def test_an_undisturbed_watch_does_all_of_it() -> None:
    """The world of the tests below, and that they disturb a call with many writes."""
    world, requests = a_mixed_world()
    world.run()
    check_mixed_world(world, requests)
    assert writes_of_a_call() > 20


def test_a_watch_that_dies_anywhere_is_made_up_for_by_the_next() -> None:
    """Killed before each single write and message: the next call tells every alarm that was not told, records none
    twice, sends every request with the same attempt, and none that lives."""
    for number in range(writes_of_a_call()):
        world, requests = a_mixed_world()
        with pytest.raises(Killed):
            world.run(Writes(number))
        world.run()
        check_mixed_world(world, requests)


def test_watches_that_die_one_after_the_other_lose_nothing() -> None:
    """Each one gets one write further than the one before, at the same moment of the clock."""
    world, requests = a_mixed_world()
    for number in range(writes_of_a_call()):
        try:
            world.run(Writes(number))
        except Killed:
            continue
        break
    world.run()
    check_mixed_world(world, requests)


def test_two_watches_at_once_do_everything_once() -> None:
    """A second whole call before each single write of the first one."""
    for number in range(writes_of_a_call()):
        world, requests = a_mixed_world()
        other = world.watch()

        def run_beside(other: SlaWatch = other) -> None:
            assert other.run(Deadline(60)).errors == []

        world.run(Writes(number, run_beside))
        check_mixed_world(world, requests)


def test_a_job_that_claims_meanwhile_is_not_disturbed() -> None:
    """The lost message turns up before each single write: whatever the watch sends then, it is that attempt, which
    finds the request claimed."""
    for number in range(writes_of_a_call()):
        world, requests = a_mixed_world()
        lost = requests["lost"]

        def claim(world: WatchWorld = world, lost: ErasureRequest = lost) -> None:
            world.executions.living.add("jb_late-1")
            assert world.requests.start(lost, world.now(), 1, "jb_late-1", 1)

        world.run(Writes(number, claim))
        assert set(world.sent(lost)) <= {1}
        for _ in range(3):
            world.now.advance(3600)
            world.run()
        assert set(world.sent(lost)) <= {1}
        assert (world.record(lost).state, world.record(lost).job_id) == (STARTED, "jb_late-1")
