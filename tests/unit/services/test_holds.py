"""Putting, changing, lifting and ending legal holds while others do, and after calls that died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import new_batch_id
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.errors import InvalidInputError, NotFoundError, UnavailableError
from erasure.ports import Hold
from erasure.services.held_requests import ResumeDependencies, hold_requests, resume_free
from erasure.services.hold_refusals import trail_of
from erasure.services.holds import HoldCommand, HoldService, PutHold, end_due
from erasure.targets.protocol import Deadline
from tests.unit.services.world import ANN, KEY, World

RUN = new_batch_id()
SKEW = timedelta(minutes=1)


class Registry(World):
    def __init__(self) -> None:
        super().__init__()
        self.service_of_holds = HoldService(
            holds=self.holds,
            requests=self.requests,
            clock=self.by_clock,
            audit=self.audit,
            queue=self.queue,
            digest_key=lambda: KEY,
            now=self.clock,
            policy=ClockPolicy(),
        )
        self.digest = subject_digest(KEY, ANN)

    def put(self, run_id: str | None = None, subject: Subject = ANN, **fields: Any) -> PutHold:
        command = HoldCommand(subject, **{"reason": "a lawsuit", "author": "legal", "key_id": "a-key", **fields})
        return self.service_of_holds.put(command, run_id or new_batch_id())

    def lift(self, run_id: str | None = None, subject: Subject = ANN) -> None:
        self.service_of_holds.lift(subject, "a-key", run_id or new_batch_id())

    def end_due(self) -> int:
        return end_due(holds=self.holds, audit=self.audit, now=self.clock, deadline=Deadline(60))

    def resume_free(self, deadline: Deadline | None = None) -> int:
        use = ResumeDependencies(
            self.holds, self.requests, self.by_clock, self.audit, self.queue, self.clock, ClockPolicy()
        )
        return resume_free(use, deadline or Deadline(60))

    def hold_by_id(self, request: ErasureRequest) -> int:
        return hold_requests(
            {request.request_id: "lh_1"}, requests=self.requests, clock=self.by_clock, audit=self.audit, now=self.clock
        )

    def events(self) -> list[str]:
        return [entry.event for entry in self.audit.entries(trail_of(self.digest))]

    def force(self, request: ErasureRequest, **changes: Any) -> None:
        self.requests.records[request.request_id] = replace(self.record(request), **changes)


@pytest.fixture
def world() -> Registry:
    return Registry()


def once_before(thing: Any, name: str, act: Callable[[], object]) -> None:
    """Let somebody else act before the next call of this method."""
    real = getattr(thing, name)

    def call(*arguments: Any, **named: Any) -> Any:
        setattr(thing, name, real)
        act()
        return real(*arguments, **named)

    setattr(thing, name, call)


def dies_after(thing: Any, name: str) -> None:
    """The next call of this method has its effect, and nobody hears of it."""
    real = getattr(thing, name)

    def call(*arguments: Any, **named: Any) -> Any:
        setattr(thing, name, real)
        real(*arguments, **named)
        raise UnavailableError("no answer")

    setattr(thing, name, call)


class TestPutting:
    def test_two_calls_at_once(self, world: Registry) -> None:
        """The second one changes what the first one has put, and the trail has both."""
        once_before(world.holds, "put", lambda: world.put(reason="another"))
        made = world.put()
        assert (made.is_new, made.hold.reason) == (False, "a lawsuit")
        assert world.holds.get("acme", world.digest) == made.hold
        assert world.events() == ["hold_set", "hold_changed"]

    @pytest.mark.parametrize("point", [("holds", "put"), ("audit", "append"), ("by_clock", "hold")])
    def test_a_call_that_died_is_completed_by_the_next(self, world: Registry, point: tuple[str, str]) -> None:
        """Under the same run it is told as new, and all that belongs to it is done, once."""
        request = world.a_request()
        dies_after(getattr(world, point[0]), point[1])
        try:
            made = world.put(RUN)
        except UnavailableError:
            made = world.put(RUN)
        assert (made.is_new, made.held_requests) == (True, 1)
        assert world.record(request).state == HELD
        assert world.events() == ["hold_set"]
        assert [entry.event for entry in world.trail(request)] == ["requested", "held"]
        assert not world.put().is_new

    def test_each_change_is_on_record(self, world: Registry) -> None:
        """Also of two in one millisecond, and of one by a clock that is behind."""
        moments = [world.put(reason="first").hold.set_at, world.put(reason="second").hold.set_at]
        world.clock.advance(-3600)
        moments.append(world.put(reason="first").hold.set_at)
        assert moments == sorted(set(moments))
        assert world.events() == ["hold_set", "hold_changed", "hold_changed"]

    def test_other_aliases(self, world: Registry) -> None:
        """What only the earlier further ids named goes on when the watch comes by; what the new ones name waits."""
        before, after = (world.a_request(Subject("acme", user)) for user in ("before", "after"))
        world.put(aliases=("before",))
        assert world.put(aliases=("after",)).held_requests == 1
        assert world.resume_free() == 1
        assert (world.record(before).state, world.record(after).state) == (REQUESTED, HELD)

    def test_a_hold_that_is_over_cannot_be_put_again(self, world: Registry) -> None:
        """As long as nobody has lifted it, it stands; the same once more is refused, as it would end at once."""
        until = world.clock() + timedelta(hours=1)
        world.put(until=until)
        world.clock.advance(3600)
        with pytest.raises(InvalidInputError, match="must be in the future"):
            world.put(until=until)
        assert world.put(until=world.clock() + timedelta(hours=1)).is_new is False

    @pytest.mark.parametrize("state", [FINISHED, CANCELLED])
    def test_what_has_ended_stays_so(self, world: Registry, state: str) -> None:
        """Nor is it counted, nor a request whose subject nobody knows any more."""
        request, purged = world.a_request(), world.a_request()
        world.force(request, state=state)
        world.force(purged, state=STARTED, attention=True, purged_at=world.clock())
        assert world.put().held_requests == 0
        assert (world.record(request).state, world.record(purged).state) == (state, STARTED)

    def test_what_is_finished_at_this_moment_stays_finished(self, world: Registry) -> None:
        """Read as started, it has ended by the time it is to be held."""
        request = world.a_request()
        world.force(request, state=STARTED, job_id="job-1")
        once_before(world.by_clock, "hold", lambda: world.force(request, state=FINISHED))
        assert world.put().held_requests == 0
        assert world.record(request).state == FINISHED

    def test_a_trail_that_goes_on_is_followed(self, world: Registry) -> None:
        """Somebody writes to it while the request is being held."""
        request = world.a_request()
        once_before(world.by_clock, "hold", lambda: world.audit.append(request.request_id, "kept", world.clock(), {}))
        assert world.hold_by_id(request) == 1
        assert [entry.event for entry in world.trail(request)] == ["requested", "kept", "held"]


class TestLifting:
    def test_a_hold_that_is_changed_at_this_moment_is_lifted_as_it_is_then(self, world: Registry) -> None:
        """With the marks that it has by then."""
        world.put()
        once_before(world.holds, "lift", lambda: world.put(aliases=("another",)))
        world.lift()
        assert world.holds.holds == {}

    @pytest.mark.parametrize("point", [("audit", "append"), ("holds", "lift")])
    def test_a_call_that_died_is_completed_by_the_next(self, world: Registry, point: tuple[str, str]) -> None:
        """Under the same run it succeeds, on record once; any other call finds nothing to lift."""
        world.put()
        dies_after(getattr(world, point[0]), point[1])
        with pytest.raises(UnavailableError):
            world.lift(RUN)
        world.lift(RUN)
        assert world.holds.holds == {}
        assert world.events() == ["hold_set", "hold_lifted"]
        with pytest.raises(NotFoundError):
            world.lift()

    def test_a_queue_that_is_down_lifts_all_the_same(self, world: Registry) -> None:
        """The hold is gone, the request requested again and known to the watch by its time."""
        request = world.a_request()
        world.put()
        world.queue.down = True
        world.lift()
        record = world.record(request)
        assert world.holds.holds == {}
        assert (record.state, record.clock_at) == (REQUESTED, world.clock() + ClockPolicy().patience)

    def test_everything_that_it_held_goes_on_at_once(self, world: Registry) -> None:
        """Its subject's requests, those of further ids, and those that know a further id only as such."""
        own, named, knowing = (world.a_request(Subject("acme", user)) for user in ("ann", "ann-2", "bob"))
        hold = world.put(aliases=("ann-2", "ann@example.com")).hold
        world.force(knowing, hold_digests=(hold.marks[5],))
        hold_requests(
            {knowing.request_id: hold.hold_id},
            requests=world.requests,
            clock=world.by_clock,
            audit=world.audit,
            now=world.clock,
        )
        world.lift()
        assert {world.record(request).state for request in (own, named, knowing)} == {REQUESTED}
        assert sorted(world.queue.messages) == sorted(((each.request_id,), 2) for each in (own, named, knowing))

    def test_an_attempt_is_never_sent_twice(self, world: Registry) -> None:
        """One that a job had goes on as the next attempt, whatever that job was called."""
        request = world.a_request()
        world.force(request, state=STARTED, job_id=f"{request.request_id}-3", attempt=3)
        world.put()
        world.lift()
        world.put()
        world.lift()
        assert [attempt for _, attempt in world.queue.messages] == [4, 5]


class TestEnding:
    def test_never_early(self, world: Registry) -> None:
        """Not before its end has come by the slowest clock that there may be; then it is lifted, on record, and what
        it held goes on."""
        request = world.a_request()
        until = world.clock() + timedelta(hours=1)
        world.put(until=until)
        world.clock.now = until + SKEW - timedelta(milliseconds=501)
        assert (world.end_due(), world.resume_free()) == (0, 0)
        world.clock.now = until + SKEW
        assert (world.end_due(), world.resume_free()) == (1, 1)
        assert world.holds.holds == {}
        assert world.events() == ["hold_set", "hold_ended"]
        assert world.record(request).state == REQUESTED
        assert (world.end_due(), world.resume_free()) == (0, 0)

    def test_one_that_is_prolonged_at_this_moment_stays(self, world: Registry) -> None:
        """Nothing that it holds is resumed."""
        request = world.a_request()
        world.put(until=world.clock() + timedelta(hours=1))
        world.clock.advance(3600 + 60)
        once_before(world.holds, "lift", lambda: world.put(until=world.clock() + timedelta(hours=1)))
        assert (world.end_due(), world.resume_free()) == (0, 0)
        assert world.record(request).state == HELD

    def test_any_number(self, world: Registry) -> None:
        """All that have ended, in one go."""
        for number in range(103):
            world.put(subject=Subject("acme", f"user-{number}"), until=world.clock() + timedelta(hours=1))
        world.clock.advance(3600 + 60)
        assert world.end_due() == 103
        assert world.holds.holds == {}


class TestResuming:
    def test_those_behind_many_that_stay_held(self, world: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long the list of those that are held for longer."""
        monkeypatch.setattr("erasure.services.held_requests._AT_A_TIME", 2)
        world.put()
        for _ in range(5):
            world.hold_by_id(world.a_request())
        world.clock.advance(1)
        free = world.a_request(Subject("acme", "bob"))
        world.hold_by_id(free)
        assert world.resume_free() == 1
        assert world.record(free).state == REQUESTED

    def test_no_longer_than_there_is_time(self, world: Registry) -> None:
        """The next call does what is left."""
        free = world.a_request()
        world.hold_by_id(free)
        assert world.resume_free(Deadline(0)) == 0
        assert world.record(free).state == HELD
        assert world.resume_free() == 1

    def test_by_two_at_once(self, world: Registry) -> None:
        """Once, and sent once."""
        free = world.a_request()
        world.hold_by_id(free)
        once_before(world.by_clock, "resume", world.resume_free)
        assert world.resume_free() == 0
        assert world.queue.messages == [((free.request_id,), 2)]
        assert [entry.event for entry in world.trail(free)].count("resumed") == 1

    def test_the_promise_moves_by_what_was_waited(self, world: Registry) -> None:
        """Once for each time that it was held, in whole seconds."""
        request = world.a_request()
        for seconds in (90.5, 3600):
            world.put()
            world.clock.advance(seconds)
            world.lift()
        record = world.record(request)
        assert record.paused_seconds == 90 + 3600
        assert record.due_at - request.due_at == timedelta(seconds=90 + 3600)
        resumed = [entry.details for entry in world.trail(request) if entry.event == "resumed"]
        assert resumed == [{"paused_seconds": 90}, {"paused_seconds": 3600}]


def test_marks_name_nobody(world: Registry) -> None:
    """Neither the hold nor its trail has an id, or what it was put with in clear but reason and author."""
    request = world.a_request()
    hold: Hold = world.put(aliases=("ann@example.com",)).hold
    world.lift()
    told = repr(hold) + repr(world.audit.entries(trail_of(world.digest))) + repr(world.trail(request))
    assert "ann" not in told.replace("'plann", "")
