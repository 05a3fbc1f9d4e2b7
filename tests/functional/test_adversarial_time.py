"""What runs by the clock, attacked: people who come back, keys that look like others', holds at bad moments, calls that
are repeated after the world has changed."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from erasure.domain.holds import mentions
from erasure.domain.plan import ERASED_UNVERIFIED, PENDING, VERIFIED, Unit
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.targets.protocol import SliceResult
from tests.functional.aged_items import AgedItems, hold_of, in_a_run
from tests.functional.clock_world import TENANT, ClockWorld, Functions
from tests.unit.services.ended_world import KEY
from tests.unit.services.test_scan_tasks import ScanWorld

if TYPE_CHECKING:
    from erasure.services.start_jobs import Job
    from tests.contract.dynamodb_engines import Engine

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

DAY = timedelta(days=1)


# People who come back


class _Planning(Functions):
    """Plans as the function does, which asks whether people have come back."""

    def plan(self, job: Job) -> list[Unit]:
        shared = self.shared
        use = PlanJobDependencies(
            self.requests,
            shared.tasks,
            shared.maps,
            self.audit,
            shared.reader,
            self.now,
            self.holds,
            self.clock,
            lambda: KEY,
            shared,
        )
        return plan_job(job.job_id, job.request_ids, job.attempt, use)


def _world() -> ClockWorld:
    world = ClockWorld()
    world.of["plan"] = _Planning(world.shared)
    return world


def _put_things(world: ClockWorld, user: str) -> int:
    data_map = world.shared.maps.current()
    assert data_map is not None
    for spec in data_map.targets:
        world.shared.target.put(spec, {"tenant_id": TENANT, "user_id": user}, 3)
    return world.things(user)


def _written_late(world: ClockWorld) -> str:
    """Ann is erased, and something is found that was written late; returns the request for it, which is on its way."""
    first = world.main.accept("ann")
    world.work()
    assert world.record(first).state == FINISHED
    world.shared.reader.left["notes", "ann"] = 1
    world.shared.clock.advance(DAY.total_seconds() + 60)
    assert world.main.sweep()[1] == []
    following = world.record(first).followed_by
    assert following is not None
    return following


def test_who_comes_back_while_what_was_late_is_held_keeps_everything() -> None:
    """What was written late is to be erased, and waits for a hold. Meanwhile the person registers again, and writes:
    when the hold is lifted, nothing of the new account goes, and the trail says why."""
    world = _world()
    following = _written_late(world)
    world.main.hold("ann")
    world.work()
    assert world.record(following).state == HELD
    world.shared.accounts.add("ann")
    before = _put_things(world, "ann")
    world.main.lift("ann")
    world.work()
    assert world.things("ann") == before > 0
    assert world.record(following).state == CANCELLED
    assert world.trail(following)[-1].details == {"reason": "account_exists"}


def test_who_comes_back_before_what_was_late_is_tried_again_keeps_everything() -> None:
    """The job that was to erase it died after it had begun; the person is back when the next one is planned."""
    world = _world()
    following = _written_late(world)
    (job,) = world.take_jobs()
    world.functions("plan").plan(job)
    world.shared.accounts.add("ann")
    before = _put_things(world, "ann")
    for _ in range(30):
        world.tick(60)
    assert world.things("ann") == before > 0
    assert world.record(following).state == STARTED


def test_what_was_late_is_erased_of_who_stays_away() -> None:
    """Nobody came back: it goes, after a hold as well."""
    world = _world()
    following = _written_late(world)
    assert _put_things(world, "ann") > 0
    world.main.hold("ann")
    world.work()
    assert world.record(following).state == HELD
    world.main.lift("ann")
    world.work()
    assert world.record(following).state == FINISHED


# Keys that look like somebody's


@pytest.mark.parametrize("user", ["ann#PREFERENCES", "ann#", "#", "ann#U#bob"])
def test_a_key_that_goes_on_behind_somebodys_is_nobodys(moto_dynamodb: Engine, user: str) -> None:
    """An exact key behind which another one goes on, after a separator that the target's own template has, may be an
    item of another kind of the same person, which no target names: it stays, however old it is."""
    world = AgedItems(moto_dynamodb)
    rule = DynamoDBRule(world.table, KeyRule("pk", "T#{tenant_id}#U#{user_id}"))
    world.put("ann", "1")
    world.put(user, "2")
    spec = in_a_run(TargetSpec("people", "content", dynamodb=rule))
    assert world.erase(spec) == SliceResult(1, done=True)
    assert world.sorts() == {"2"}


# Scans


def test_who_was_left_out_of_a_part_of_a_scan_is_not_called_gone() -> None:
    """A hold is put and lifted again while a table is scanned, twice: first the eraser, then the verifier go by some
    segments without ann. She is not told to be gone by a job that has not gone through all of them with her."""
    world = ScanWorld()
    world.scanner.pace = 1
    ann, _ = world.people
    hold = hold_of(ann.subject, key=KEY)
    assert ann.subject_digest in hold.marks
    looked_at: set[int] = set()

    def look(*, held: bool) -> None:
        before = len(world.scanner.seen)
        if held:
            world.holds.put(hold, None)
        world.look()
        for _, first, _, done, users in world.scanner.seen[before:]:
            if "ann" in users:
                looked_at.add(first + done)
        if held:
            world.holds.lift(hold)

    for _ in range(30):
        if not world.slice():
            break
    for number in range(30):
        look(held=number == 1)
        if world.statuses[0] not in (PENDING, ERASED_UNVERIFIED):
            break
        for _ in range(30):
            if not world.slice():
                break
    assert world.statuses[0] != VERIFIED or looked_at == set(range(4, 8))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_who_comes_back_into_a_scan_does_not_make_others_verified_unseen(number: int) -> None:
    """Ann is held while bob is erased; lifted while the verifier goes through the table for bob, she is erased then: he
    is looked for in every segment all the same."""
    world = ScanWorld()
    world.scanner.pace = 1
    ann, _ = world.people
    hold = hold_of(ann.subject, key=KEY)
    world.holds.put(hold, None)
    for _ in range(4):
        world.slice()
    assert world.statuses[1] == ERASED_UNVERIFIED
    looked_at: set[int] = set()

    def look() -> None:
        before = len(world.scanner.seen)
        world.look()
        looked_at.update(first + done for _, first, _, done, users in world.scanner.seen[before:] if "bob" in users)

    for _ in range(number):
        look()
    world.holds.lift(hold)
    for _ in range(60):
        world.slice()
        look()
        if world.statuses[1] not in (PENDING, ERASED_UNVERIFIED):
            break
    assert world.statuses[1] == VERIFIED
    assert looked_at == set(range(4, 8))


# Waiting, paused, parked


def test_a_hold_before_the_promise_begins_does_not_move_it() -> None:
    """A request waits for 30 days, and was held for ten of these: its promise had not begun, so it is due as it was."""
    world = ClockWorld()
    begin = world.shared.clock() + 30 * DAY
    request_id = world.main.accept("ann", begin)
    due_at = world.record(request_id).due_at
    world.main.hold("ann")
    assert world.record(request_id).state == HELD
    world.shared.clock.advance((10 * DAY).total_seconds())
    world.main.lift("ann")
    request = world.record(request_id)
    assert (request.state, request.due_at, request.paused_seconds) == (REQUESTED, due_at, 0)


def test_of_a_hold_over_the_beginning_of_a_promise_the_rest_counts() -> None:
    """Held from five days before it may be started until two days after: the promise moves by two days."""
    world = ClockWorld()
    begin = world.shared.clock() + 30 * DAY
    request_id = world.main.accept("ann", begin)
    due_at = world.record(request_id).due_at
    world.shared.clock.advance((25 * DAY).total_seconds())
    world.main.hold("ann")
    world.shared.clock.advance((7 * DAY).total_seconds())
    world.main.lift("ann")
    request = world.record(request_id)
    assert (request.due_at, request.paused_seconds) == (due_at + 2 * DAY, 2 * 24 * 3600)


def test_a_parked_request_that_somebody_retries_is_not_lost() -> None:
    """Parked, repaired, retried, and the execution of the retry dies: the watch takes it up again, or says once more
    that it is parked."""
    world = ClockWorld()
    request_id = world.main.accept("ann")
    world.shared.target.always["notes"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    for _ in range(400):
        world.tick(60)
        if world.record(request_id).parked_at is not None:
            break
    assert world.record(request_id).parked_at is not None
    told = len([event for event in world.shared.bus.events if event.kind == "erasure.failed"])
    world.shared.target.always.clear()
    world.main.erasures().retry("acme", request_id, "key")
    (job,) = world.take_jobs()
    world.main.plan(job)  # and there it dies
    for _ in range(48):
        world.tick(60)
    is_told = len([event for event in world.shared.bus.events if event.kind == "erasure.failed"]) > told
    assert world.record(request_id).state == FINISHED or is_told


# What is kept in clear


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_a_reason_names_nobody_in_another_spelling(form: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> None:
    """However its accents are composed, whatever the width of its letters: an id is found in a text."""
    name = "Jos\u00e9\uff21"
    assert mentions(unicodedata.normalize(form, f"the case of {name.upper()}, 2026"), [name])
    assert mentions(f"the case of {name}, 2026", [unicodedata.normalize(form, name)])
