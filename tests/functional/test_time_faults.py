"""What goes wrong with clocks and schedules: functions whose times differ, that come twice, at once, late, or die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from erasure.domain.audit import broken_at, next_entry
from erasure.domain.outcome import ERASED
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.errors import UnavailableError
from erasure.services.start_jobs import Job
from tests.functional.clock_world import ClockWorld, Functions
from tests.functional.turns import in_turns

pytestmark = pytest.mark.timeout(240)

HOUR = timedelta(hours=1)
TEN_MINUTES = timedelta(minutes=10)
THINGS = 6


def check_erased(world: ClockWorld, request_id: str, user: str = "ann") -> None:
    """Everything is gone, told once, and as much as there was."""
    request = world.record(request_id)
    assert (request.state, request.attention, world.things(user)) == (FINISHED, False, 0)
    assert {(told.target, told.outcome, told.count) for told in request.outcomes} == {
        (name, ERASED, 3) for name in ("people", "notes")
    }
    assert world.main.registry.standing(request.subject_digest).tombstone is not None
    check_trail(world, request_id)
    assert Counter(entry.event for entry in world.trail(request_id))["finished"] == 1


def check_untouched(world: ClockWorld, request_id: str, state: str) -> None:
    assert (world.record(request_id).state, world.things("ann")) == (state, THINGS)
    check_trail(world, request_id)


def check_trail(world: ClockWorld, request_id: str) -> None:
    """It is whole, nothing is in it twice, and the lists have the request if it is open, and only then."""
    entries = world.trail(request_id)
    assert broken_at(entries) is None
    assert max(Counter(entry.event_id for entry in entries).values()) == 1
    is_open = request_id in {row.request_id for row in world.main.clock.open_rows()}
    assert is_open is (world.record(request_id).state not in (FINISHED, CANCELLED))
    assert (request_id in world.main.clock.held(10)) is (world.record(request_id).state == HELD)


def is_listed(world: ClockWorld, request_id: str) -> bool:
    return request_id in world.main.requests.due(world.shared.clock() + 1000 * HOUR, 10)


# Clocks that differ


@pytest.mark.parametrize("by", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "behind"])
@pytest.mark.parametrize("function", ["sweep", "plan", "close", "watch"])
def test_a_clock_that_is_wrong(function: str, by: timedelta) -> None:
    """Whichever function's clock is ten minutes ahead or behind, at every minute of its time: a request that waits for
    its time is finished within two hours of it, and begun by no clock that says that it has not come."""
    for minutes in range(46, 61):
        world = ClockWorld()
        world.skew(function, by)
        not_before = world.shared.clock() + timedelta(minutes=minutes)
        request_id = world.main.accept("ann", not_before)
        request = world.settle(request_id, FINISHED)
        check_erased(world, request_id)
        assert request.started_at is not None
        assert request.started_at >= not_before
        assert world.shared.clock() <= not_before + 2 * HOUR
        assert not is_listed(world, request_id)
        assert world.shared.bus.events == []


def test_a_message_that_was_sent_too_early() -> None:
    """A sweep that is ahead sends a request off and takes it from its list; the job finds that its time has not come,
    and leaves it alone. The watch sends it again when its time is over, with another attempt: the first one's
    execution is used up."""
    world = ClockWorld()
    not_before = world.shared.clock() + HOUR
    request_id = world.main.accept("ann", not_before)
    world.skew("sweep", TEN_MINUTES)
    world.tick(55)
    assert not is_listed(world, request_id)
    assert list(world.shared.workflow.started.values()) == [([request_id], 1)]
    check_untouched(world, request_id, REQUESTED)
    world.settle(request_id, FINISHED)
    check_erased(world, request_id)
    assert world.record(request_id).attempt == 2


# Schedules


def test_a_sweep_that_did_not_come_for_a_day() -> None:
    """The watch sends off what was to be released. The sweep that comes then takes it from the list, writes its
    tombstone, and sends nothing."""
    world = ClockWorld()
    request_id = world.main.accept("ann", world.shared.clock() + HOUR)
    for _ in range(25):
        world.shared.clock.advance(3600)
        assert world.main.watch().errors == []
        world.work()
    request = world.record(request_id)
    assert (request.state, is_listed(world, request_id)) == (FINISHED, True)
    assert world.main.registry.standing(request.subject_digest).tombstone is None
    figures, errors = world.main.sweep()
    assert (figures["sent"], figures["released"], errors) == (0, 1, [])
    assert (is_listed(world, request_id), world.shared.queue.messages) == (False, [])
    check_erased(world, request_id)


def test_neither_came_for_two_days() -> None:
    """What was to begin meanwhile begins then, and both levels that were passed are told, once each."""
    world = ClockWorld()
    request_id = world.main.accept("ann", world.shared.clock() + HOUR)
    world.shared.clock.advance(56 * 3600)
    world.settle(request_id, FINISHED)
    check_erased(world, request_id)
    assert [event.event_id for event in world.shared.bus.events] == [f"{request_id}:sla:{level}" for level in (50, 75)]


def test_every_schedule_fires_twice() -> None:
    """At the same moment, each time, until the record has forgotten whom it was about: one job, one second look, one
    purge."""
    world = ClockWorld()
    request_id = world.main.accept("ann", world.shared.clock() + HOUR)
    purged = looked = 0
    for _ in range(100):
        world.shared.clock.advance(24 * 3600)
        for _ in range(2):
            assert world.main.watch().errors == []
            figures, errors = world.main.sweep()
            assert errors == []
            purged += figures["purged"]
            looked += figures["looked"]
        world.work()
    request = world.record(request_id)
    assert (request.state, request.subject.id, request.late_arrivals) == (FINISHED, "", 0)
    assert (purged, looked, len(world.shared.workflow.started)) == (1, 1, 1)
    entries = world.trail(request_id)
    assert broken_at(entries) is None
    # The watch comes first, a day late.
    events = ["requested", "resent", "planned", "finished", "second_look", "purged"]
    assert [entry.event for entry in entries] == events


# Two at once


@dataclass
class Meeting:
    """A request, and two functions that work on it at the same moment."""

    world: ClockWorld
    request_id: str = ""
    is_cancelled: bool | None = None

    def __post_init__(self) -> None:
        self.jobs: list[Job] = []

    def functions(self, client: Any) -> Functions:
        return Functions(self.world.shared, client)

    def cancel(self, client: Any) -> None:
        self.is_cancelled = self.functions(client).cancel(self.request_id)

    def hold(self, client: Any) -> None:
        self.functions(client).hold("ann")

    def hold_unlisted(self, client: Any) -> None:
        """By somebody to whom the index does not show the request yet."""
        self.functions(_Lagging(client)).hold("ann")

    def sweep(self, client: Any) -> None:
        assert self.functions(client).sweep()[1] == []

    def watch(self, client: Any) -> None:
        assert self.functions(client).watch().errors == []

    def plan(self, client: Any) -> None:
        """The rest of the job comes when both have ended, as in :meth:`end_job`."""
        self.functions(client).plan(self.jobs[0])

    def plan_next(self, client: Any) -> None:
        """Another attempt, that somebody has sent who thought that the first one was lost."""
        self.jobs.append(replace(self.jobs[0], job_id=f"{self.request_id}-2", attempt=2))
        self.functions(client).plan(self.jobs[1])

    def close(self, client: Any) -> None:
        self.functions(client).close(self.jobs[0])

    def end_job(self) -> None:
        for job in self.jobs:
            self.world.run(job)


class _Lagging:
    """A client to whom no index shows anything."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def query(self, **request: Any) -> Any:
        return {"Items": []} if "IndexName" in request else self._inner.query(**request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def a_request_in_its_queue(meeting: Meeting) -> None:
    """Its job has been started and has not planned yet."""
    meeting.request_id = meeting.world.main.accept("ann")
    meeting.jobs = meeting.world.take_jobs()


def a_request_whose_time_has_come(meeting: Meeting) -> None:
    world = meeting.world
    meeting.request_id = world.main.accept("ann", world.shared.clock() + HOUR)
    world.shared.clock.advance(3600)


def a_lost_request(meeting: Meeting) -> None:
    """Half of its promise is over, and its message is gone."""
    world = meeting.world
    meeting.request_id = world.main.accept("ann")
    world.shared.queue.messages.clear()
    world.shared.clock.advance(40 * 3600)


def a_late_message(meeting: Meeting) -> None:
    """It turns up when half of the promise is over."""
    a_request_in_its_queue(meeting)
    meeting.world.shared.clock.advance(40 * 3600)


def a_job_at_its_end(meeting: Meeting) -> None:
    """All is erased, and nobody has written that down; to the watch, the execution is dead."""
    a_late_message(meeting)
    (job,) = meeting.jobs
    world = meeting.world
    world.main.erase(job, world.main.plan(job))


def test_cancelling_beside_somebody_who_writes_to_the_trail() -> None:
    """Whoever finds its place in the trail taken is told at once, and reads the trail again."""
    world = ClockWorld()
    request_id = world.main.accept("ann")
    request, before = world.record(request_id), world.trail(request_id)
    world.main.audit.append(request_id, "resent", world.shared.clock(), {})
    world.shared.client.take()
    entry = next_entry(request_id, before[-1], "cancelled", world.shared.clock(), {})
    with pytest.raises(UnavailableError):
        world.main.requests.cancel(request, entry)
    assert world.shared.client.take().by_operation() == {"TransactWriteItems": 1}
    assert world.main.cancel(request_id)


def every_turn(prepare: Callable[[Meeting], None], *names: str) -> Iterator[Meeting]:
    """Both functions, each beginning and ending between any two calls that the other makes to a table."""
    for first, second in dict.fromkeys([names, names[::-1]]):
        for begin in count():
            has_begun = True
            for between in count(1):
                meeting = Meeting(ClockWorld())
                prepare(meeting)
                has_begun, has_met = in_turns(
                    getattr(meeting, first), getattr(meeting, second), meeting.world.shared.client, begin, between
                )
                yield meeting
                if not (has_begun and has_met):
                    break
            if not has_begun:
                break


def check_lifted(meeting: Meeting) -> None:
    """Held, and with all that there was; when the hold is lifted, erased."""
    world, request_id = meeting.world, meeting.request_id
    check_untouched(world, request_id, HELD)
    assert not is_listed(world, request_id)
    world.main.lift("ann")
    world.work()
    world.settle(request_id, FINISHED)
    check_erased(world, request_id)
    events = Counter(entry.event for entry in world.trail(request_id))
    assert (events["held"], events["resumed"]) == (1, 1)


def check_cancelled(meeting: Meeting) -> None:
    """Cancelled for good, whatever is on its way still."""
    world, request_id = meeting.world, meeting.request_id
    for _ in range(2):
        world.tick()
    check_untouched(world, request_id, CANCELLED)
    assert not is_listed(world, request_id)
    assert world.main.registry.standing(world.record(request_id).subject_digest).tombstone is None


@pytest.mark.parametrize(
    ("prepare", "other"),
    [(a_request_in_its_queue, "plan"), (a_request_whose_time_has_come, "sweep"), (a_lost_request, "watch")],
)
def test_a_hold_in_the_same_second(prepare: Callable[[Meeting], None], other: str) -> None:
    """As a job begins, as a request is released or sent again: however their calls are mixed, the subject is held when
    the hold has been put, nothing of it is erased by what was begun, and it goes on when the hold is lifted."""
    turns = 0
    for meeting in every_turn(prepare, "hold", other):
        meeting.end_job()
        meeting.world.work()
        check_lifted(meeting)
        turns += 1
    assert turns > 60


def test_a_hold_that_does_not_find_the_request() -> None:
    """The index lags: however the calls of the hold and of the job are mixed, the job erases nothing once the hold is
    put, and the request is held by the job, or by the watch when that comes by."""
    met = set()
    for meeting in every_turn(a_request_in_its_queue, "hold_unlisted", "plan"):
        met.add(meeting.world.record(meeting.request_id).state)
        meeting.end_job()
        assert meeting.world.things("ann") == THINGS
        meeting.world.settle(meeting.request_id, HELD)
        check_lifted(meeting)
    assert met == {HELD, STARTED}


def test_a_hold_as_a_job_ends() -> None:
    """All is erased by then: the request is finished, or it is held and finished when the hold is lifted, with all that
    was erased."""
    met = set()
    for meeting in every_turn(a_job_at_its_end, "hold", "close"):
        state = meeting.world.record(meeting.request_id).state
        met.add(state)
        check_trail(meeting.world, meeting.request_id)
        meeting.world.main.lift("ann")
        meeting.world.settle(meeting.request_id, FINISHED)
        check_erased(meeting.world, meeting.request_id)
    assert met == {HELD, FINISHED}


def test_a_hold_as_it_is_cancelled() -> None:
    """One of both: cancelled, and not held; or held, and cancelling is refused."""
    met = Counter[bool | None]()
    for meeting in every_turn(a_request_in_its_queue, "hold", "cancel"):
        meeting.end_job()
        met[meeting.is_cancelled] += 1
        if meeting.is_cancelled:
            check_cancelled(meeting)
        else:
            check_lifted(meeting)
    assert set(met) == {True, False}


@pytest.mark.parametrize(
    ("prepare", "other"),
    [(a_request_in_its_queue, "plan"), (a_request_whose_time_has_come, "sweep"), (a_lost_request, "watch")],
)
def test_a_request_that_is_cancelled_in_the_same_second(prepare: Callable[[Meeting], None], other: str) -> None:
    """However their calls are mixed: cancelled, and nothing is erased; or refused, and erased. Only a job that has
    claimed it can be the reason to refuse."""
    met = Counter[bool | None]()
    for meeting in every_turn(prepare, "cancel", other):
        meeting.end_job()
        meeting.world.work()
        met[meeting.is_cancelled] += 1
        if meeting.is_cancelled:
            check_cancelled(meeting)
        else:
            check_erased(meeting.world, meeting.request_id)
    assert set(met) == ({True, False} if other == "plan" else {True})


def test_two_attempts_that_begin_at_once() -> None:
    """The later one has the request in the end, and everything is erased and counted once."""
    for meeting in every_turn(a_request_in_its_queue, "plan", "plan_next"):
        meeting.end_job()
        check_erased(meeting.world, meeting.request_id)
        assert meeting.world.record(meeting.request_id).attempt == 2


@pytest.mark.parametrize(
    ("prepare", "names"),
    [
        (a_late_message, ("watch", "plan")),
        (a_job_at_its_end, ("watch", "close")),
        (a_lost_request, ("watch", "watch")),
        (a_lost_request, ("watch", "sweep")),
        (a_request_whose_time_has_come, ("sweep", "sweep")),
    ],
)
def test_functions_that_meet(prepare: Callable[[Meeting], None], names: tuple[str, str]) -> None:
    """However their calls are mixed: the request is erased, each thing of it counted once; each level of its promise is
    on record once and told under one id."""
    for meeting in every_turn(prepare, *names):
        world, request_id = meeting.world, meeting.request_id
        meeting.end_job()
        world.work()
        world.settle(request_id, FINISHED)
        check_erased(world, request_id)
        assert not is_listed(world, request_id)
        is_late = "watch" in names
        levels = [entry.event_id for entry in world.trail(request_id) if entry.event_id.startswith("sla:")]
        assert levels == (["sla:50"] if is_late else [])
        assert {event.event_id for event in world.shared.bus.events} == {f"{request_id}:{level}" for level in levels}
