"""What a finished request had to leave is taken up again when its time has passed, if that is safe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.data_map import parse_data_map
from erasure.domain.follow_ups import MARGIN, UNKNOWN_END, follow_up_at
from erasure.domain.outcome import Kept, TargetOutcome
from erasure.domain.request import FINISHED, FOLLOW_UP, REQUESTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import due_at, format_time, purged_by
from erasure.errors import UnavailableError
from erasure.ports import PinnedMap
from erasure.services.commands import ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.follow_ups import AT_ONCE, PATIENCE, FollowUps
from erasure.services.release_due import release_due
from erasure.targets.protocol import Deadline, VerifyResult
from tests.unit.services.world import ANN, World

FILES = {"name": "files", "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}}
PEOPLE = {
    "name": "people",
    "category": "account",
    "dynamodb": {"table": "app-people", "key": {"pk": "{tenant_id}#{user_id}"}},
}


class KeepingWorld(World):
    """A bucket that keeps a version for five days. ``accounts``: subjects that have one, now."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.put_map(PEOPLE, FILES)
        self.accounts: set[str] = set()
        self.reader_is_up = True
        self.asked = 0

    def put_map(self, *targets: object) -> None:
        data_map = parse_data_map({"version": 1, "targets": list(targets)})
        self.maps.maps.append(PinnedMap(len(self.maps.maps) + 1, data_map.digest, data_map.targets))

    def exists(self, subject: Subject, specs: Sequence[TargetSpec]) -> bool:
        self.asked += 1
        if not self.reader_is_up:
            raise UnavailableError("a function did not answer")
        assert [spec.name for spec in specs] == ["people"]
        return subject.id in self.accounts

    def asked_for(self, subject: Subject = ANN) -> ErasureRequest:
        request = replace(self.a_request(subject), family="native")
        self.requests.records[request.request_id] = request
        return request

    def finished(self, subject: Subject = ANN) -> ErasureRequest:
        """A request of which a job has erased everything but one file."""
        request = self.asked_for(subject)
        kept = Kept(1, format_time(self.clock() + timedelta(days=5)))
        self.target.script["files:verify"] = [VerifyResult(0, complete=True, kept=kept)]
        self.run(request)
        assert self.record(request).state == FINISHED
        return self.record(request)

    def follow_ups(self) -> FollowUps:
        return FollowUps(
            requests=self.requests,
            acceptance=self.acceptance,
            audit=self.audit,
            accounts=self,
            data_map=CurrentMap(self.maps),
            queue=self.queue,
            now=self.clock,
            policy=ErasurePolicy(48, 60, timedelta(minutes=20)),
        )

    def sweep(self) -> int:
        """How many follow-ups are made."""
        due = release_due(self.requests, self.queue, self.clock, Deadline(60)).finished
        return self.follow_ups().take_up(due, Deadline(60))

    def sweep_later(self) -> int:
        self.clock.advance((timedelta(days=5) + MARGIN).total_seconds())
        return self.sweep()

    def follow_up_of(self, request: ErasureRequest) -> ErasureRequest:
        return self.requests.records[self.record(request).followed_by or ""]

    def reason(self, request: ErasureRequest) -> object:
        assert len(self.requests.records) == 1
        assert self.queue.messages == []
        assert self.requests.waiting == {}
        assert self.record(request).followed_by is None
        (entry,) = [entry for entry in self.trail(request) if entry.event == "not_followed"]
        return entry.details["reason"]


@pytest.fixture
def world() -> KeepingWorld:
    return KeepingWorld()


def test_taken_up_when_the_time_has_passed(world: KeepingWorld) -> None:
    """Not a moment earlier, another request of the same subject is made, told of in both trails, and sent off; it does
    only what was kept, by today's promises. The first one is told which it is."""
    request = world.finished()
    world.clock.advance((timedelta(days=5) + MARGIN).total_seconds() - 1)
    assert world.sweep() == 0
    world.clock.advance(1)
    assert world.sweep() == 1
    follow_up, now = world.follow_up_of(request), world.clock()
    assert (follow_up.subject, follow_up.subject_digest, follow_up.family) == (ANN, request.subject_digest, "native")
    assert (follow_up.state, follow_up.categories, follow_up.leaves_tombstone) == (REQUESTED, ("content",), False)
    assert (follow_up.requested_at, follow_up.due_at, follow_up.purged_by) == (now, due_at(now, 48), purged_by(now, 60))
    assert (follow_up.purpose, follow_up.follows) == (FOLLOW_UP, request.request_id)
    assert follow_up.clock_at == now + timedelta(minutes=20)
    assert world.queue.messages == [((follow_up.request_id,), 1)]
    (first,) = world.trail(follow_up)
    assert (first.event, first.details["follows"]) == ("requested", request.request_id)
    assert world.trail(request)[-1].details == {"followed_by": follow_up.request_id}
    assert broken_at(world.trail(request)) is None
    assert world.sweep() == 0
    assert len(world.requests.records) == 2


def test_a_follow_up_ends_or_is_followed_itself(world: KeepingWorld) -> None:
    """Its job erases what may go by then; what is still kept is taken up once more."""
    request = world.finished()
    world.sweep_later()
    follow_up = world.follow_up_of(request)
    later = format_time(world.clock() + timedelta(days=5))
    world.target.script["files:verify"] = [VerifyResult(0, complete=True, kept=Kept(1, later))]
    world.run(follow_up)
    assert world.sweep_later() == 1
    last = world.follow_up_of(follow_up)
    world.run(last)
    assert (world.record(last).state, world.record(last).follow_up_at) == (FINISHED, None)
    assert set(world.outcomes(last)) == {"files"}
    assert world.requests.waiting == {}


@pytest.mark.parametrize("step", ["accept", "send", "append", "end_waiting_for_follow_up"])
def test_a_sweep_that_dies_makes_one(world: KeepingWorld, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whichever of its steps fails or is the last one: the next sweep makes the same request, and completes it."""
    for dies_after in (False, True):
        request = world.finished()
        before = set(world.requests.records)
        place = {"accept": world.acceptance, "send": world.queue, "append": world.audit}.get(step, world.requests)
        real = getattr(place, step)

        def dying(*values: object, real: object = real, dies_after: bool = dies_after, **more: object) -> None:
            if dies_after:
                real(*values, **more)  # type: ignore[operator]
            raise UnavailableError("died")

        with monkeypatch.context() as patched:
            patched.setattr(place, step, dying)
            with pytest.raises(UnavailableError):
                world.sweep_later()
        world.clock.advance(300)
        world.sweep()
        follow_up = world.follow_up_of(request)
        assert set(world.requests.records) - before == {follow_up.request_id}
        assert ((follow_up.request_id,), 1) in world.queue.messages
        assert len(world.trail(follow_up)) == 1
        assert world.requests.waiting == {}


def test_nobody_who_is_there_is_erased_again(world: KeepingWorld) -> None:
    """Somebody who stayed, or has come back, has data that nobody asked to erase: there is no follow-up."""
    request = world.finished()
    world.accounts.add(ANN.id)
    assert world.sweep_later() == 0
    assert world.reason(request) == "account_exists"


AMBIGUOUS = {**PEOPLE, "dynamodb": {"table": "app-people", "key": {"pk": "{tenant_id}~{user_id}"}}}


@pytest.mark.parametrize("targets", [[FILES], [AMBIGUOUS, FILES]])
def test_in_doubt_there_is_no_follow_up(world: KeepingWorld, targets: list[object]) -> None:
    """Where no account is kept, or it could be somebody else's, nobody can tell whether somebody is there."""
    request = world.finished(subject=Subject("ac~me", "ann"))
    world.put_map(*targets)
    assert world.sweep_later() == 0
    assert world.reason(request) == "account_unknown"
    assert world.asked == 0


def test_a_verifier_that_does_not_answer(world: KeepingWorld) -> None:
    """It is asked again by each sweep, which fails, so that somebody is told; after three days there is no
    follow-up."""
    request = world.finished()
    world.reader_is_up = False
    with pytest.raises(UnavailableError):
        world.sweep_later()
    assert set(world.requests.waiting) == {request.request_id}
    world.clock.advance(PATIENCE.total_seconds())
    assert world.sweep() == 0
    assert world.reason(request) == "account_unknown"


def test_not_after_the_subjects_id_is_gone(world: KeepingWorld) -> None:
    """Nothing is listed for a time at which the id is purged, and a sweep that comes too late makes nothing."""
    request = world.finished()
    assert follow_up_at(request, [kept_until(format_time(request.purged_by))], world.clock()) is None
    world.clock.now = request.purged_by
    assert world.sweep() == 0
    assert world.reason(request) == "subject_id_expired"
    assert world.asked == 0


def test_not_for_whom_nobody_knows_any_more(world: KeepingWorld) -> None:
    """A record that is purged before its time, because backups have to be rid of it by then, has no follow-up."""
    request = world.finished()
    nobody = replace(request, subject=replace(request.subject, id=""), purged_at=world.clock())
    world.requests.records[request.request_id] = nobody
    assert world.sweep_later() == 0
    assert world.reason(request) == "subject_id_expired"
    assert world.asked == 0


def test_not_for_whom_the_same_sweep_has_purged(world: KeepingWorld) -> None:
    """What counts is the record, and not what was listed before."""
    listed = world.finished()
    world.clock.advance((timedelta(days=5) + MARGIN).total_seconds())
    nobody = replace(listed.subject, id="")
    purged = replace(listed, subject=nobody, purged_at=world.clock(), follow_up_at=None, clock_at=None)
    world.requests.records[listed.request_id] = purged
    assert world.follow_ups().take_up([listed], Deadline(60)) == 0
    assert list(world.requests.records.values()) == [purged]
    assert [entry.event for entry in world.trail(listed)][-1] == "finished"


def kept_until(until: str | None) -> TargetOutcome:
    return TargetOutcome("files", "content", "blocked", kept=1, until=until)


def test_the_first_end_counts(world: KeepingWorld) -> None:
    """An hour after the first thing may be gone; without an end, after thirty days; nothing kept, nothing to do."""
    request, now = world.a_request(), world.clock()
    times = [now + timedelta(days=days) for days in (40, 3, 80)]
    outcomes = [kept_until(format_time(moment)) for moment in times]
    assert follow_up_at(request, outcomes, now) == times[1] + MARGIN
    assert follow_up_at(request, [outcomes[0], kept_until(None)], now) == now + UNKNOWN_END + MARGIN
    assert follow_up_at(request, [kept_until(format_time(now - timedelta(days=1)))], now) == now + MARGIN
    assert follow_up_at(request, [replace(outcomes[0], kept=0)], now) is None
    group = replace(request, subject=Subject("acme", "team", "group"))
    assert follow_up_at(group, outcomes, now) is None


def test_a_request_that_goes_on_waits_for_nothing(world: KeepingWorld) -> None:
    """While anything has failed, a retry is what helps."""
    request = world.asked_for()
    kept = Kept(1, format_time(world.clock() + timedelta(days=5)))
    world.target.script["files:verify"] = [VerifyResult(0, complete=True, kept=kept)]
    world.target.script["people:verify"] = [VerifyResult(0, complete=False, problem="access_denied", permanent=True)]
    world.run(request)
    assert world.record(request).follow_up_at is None
    assert world.requests.waiting == {}


def test_a_sweep_makes_a_hundred(world: KeepingWorld) -> None:
    """Each asks the verifier; the next sweep goes on. Others that wait are sent off before."""
    requests = [world.finished(subject=Subject("acme", f"user-{number}")) for number in range(AT_ONCE + 2)]
    waiting = replace(world.a_request(), not_before=world.clock())
    world.requests.records[waiting.request_id] = waiting
    world.requests.waiting[waiting.request_id] = world.clock()
    assert world.sweep_later() == AT_ONCE
    assert world.queue.messages[0] == ((waiting.request_id,), 1)
    assert world.sweep() == 2
    assert len({world.record(request).followed_by for request in requests}) == AT_ONCE + 2


def test_a_sweep_ends_with_its_time(world: KeepingWorld) -> None:
    """No follow-up is begun when the time is up; the next sweep makes it."""
    request = world.finished()
    world.clock.advance((timedelta(days=5) + MARGIN).total_seconds())
    assert world.follow_ups().take_up([request], Deadline(0)) == 0
    assert set(world.requests.waiting) == {request.request_id}
    assert world.sweep() == 1
