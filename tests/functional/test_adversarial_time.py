"""What runs by the clock, attacked: people who come back, keys that look like others', holds at bad moments, calls that
are repeated after the world has changed."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest

from erasure.domain.audit import next_entry
from erasure.domain.holds import alias_digest, mentions
from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import ERASED, TargetOutcome
from erasure.domain.plan import ERASED_UNVERIFIED, PENDING, VERIFIED, Unit
from erasure.domain.request import CANCELLED, FINISHED, HELD, REPLAY, REQUESTED, RETENTION, STARTED, ErasureRequest
from erasure.domain.retention_runs import RetentionRun
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.domain.times import format_time, milliseconds
from erasure.ports import Acceptance
from erasure.services.current_map import CurrentMap
from erasure.services.holds import HoldCommand, end_due
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.services.replay import ReplayCommand, Replays
from erasure.targets.protocol import Deadline, SliceResult
from tests.contract.s3_fake import Bucket, FakeS3, Request, Version
from tests.fake_clock_stores import FakeHoldStore
from tests.functional.aged_items import OLD, RUN, YOUNG, AgedItems, hold_of, in_a_run
from tests.functional.clock_world import POLICY, TENANT, ClockWorld, Functions
from tests.unit.services.ended_world import KEY
from tests.unit.services.test_follow_ups import KeepingWorld
from tests.unit.services.test_scan_tasks import ScanWorld

if TYPE_CHECKING:
    from erasure.services.start_jobs import Job
    from tests.contract.dynamodb_engines import Engine
    from tests.contract.s3_engines import Engine as S3Engine

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(120)

DAY = timedelta(days=1)
AVATARS = TargetSpec("avatars", "content", s3=S3Rule("app-documents", key="avatars/{user_id}"))


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
    return _found_late(world, first)


def _found_late(world: ClockWorld, first: str) -> str:
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


def test_a_replay_does_not_repeat_what_a_rule_of_age_has_erased() -> None:
    """A run by a rule of age is about nobody: after a restore the rule runs by itself, by the age that things have."""
    world = _world()
    functions, now = world.main, world.shared.clock()
    run = RetentionRun("erase", "0123456789abcdef", now)
    request = ErasureRequest(
        new_request_id(milliseconds(now)),
        run.subject(),
        "digest",
        RETENTION,
        now,
        now + 3 * DAY,
        now + 90 * DAY,
        purpose=RETENTION,
        only_targets=("notes",),
    )
    entries = [next_entry(request.request_id, None, "requested", now, {})]
    functions.acceptance.accept(Acceptance(request, entries[0]), now)
    assert functions.requests.start(request, now, 1, "a-job", 1)
    started = world.record(request.request_id)
    gone = [TargetOutcome("notes", "content", ERASED, 3)]
    closing = next_entry(request.request_id, entries[0], "finished", now, {})
    assert functions.requests.close(started, "a-job", gone, now, closing, finished=True, attention=False)
    report = Replays(
        clock=functions.clock,
        requests=functions.requests,
        acceptance=functions.acceptance,
        audit=functions.audit,
        accounts=world.shared,
        reader=world.shared.reader,
        data_map=CurrentMap(world.shared.maps, lambda: 0.0),
        queue=world.shared.queue,
        now=world.shared.clock,
        policy=POLICY,
    ).run(ReplayCommand(now - DAY, frozenset({"notes"})))
    assert (report.found, world.shared.queue.messages) == (0, [])


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


def test_an_object_in_a_folder_beside_somebodys_is_nobodys(fake_s3: FakeS3, fake_engine: S3Engine) -> None:
    """The same for whole keys of objects: what lies deeper than the template says stays."""
    bucket = fake_s3.buckets.setdefault("app-documents", Bucket(versioning="Enabled"))
    for key in ("avatars/ann", "avatars/defaults/blue"):
        bucket.keys[key] = [Version("1", modified=format_time(OLD))]
    target = fake_engine.target(holds=FakeHoldStore(), digest_key=lambda: KEY, sleep=lambda _: None)
    assert target.erase(in_a_run(AVATARS, attribute=None), RUN, Deadline(60)) == [SliceResult(1, done=True)]
    assert set(bucket.keys) == {"avatars/defaults/blue"}


# Objects that change at the last moment


@pytest.mark.xfail(strict=True, reason="without versioning a deletion names no version, and none is made conditional")
def test_an_object_that_is_written_anew_before_it_goes_stays(fake_s3: FakeS3, fake_engine: S3Engine) -> None:
    """In a bucket without versions, an object that is old when it is listed is replaced before it is deleted: the new
    one is young, and stays."""
    bucket = fake_s3.buckets.setdefault("app-documents", Bucket())
    bucket.keys["avatars/ann"] = [Version("null", modified=format_time(OLD))]

    def replaced(request: Request) -> None:
        if request.operation == "delete":
            bucket.keys["avatars/ann"] = [Version("null", modified=format_time(YOUNG))]

    fake_s3.fault = replaced
    target = fake_engine.target(holds=FakeHoldStore(), digest_key=lambda: KEY, sleep=lambda _: None)
    target.erase(in_a_run(AVATARS, attribute=None), RUN, Deadline(60))
    assert "avatars/ann" in bucket.keys


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


# Holds


def test_a_hold_by_an_id_that_only_the_first_erasure_knew_stands_for_its_replay() -> None:
    """A replay goes by the further ids of the moment that came back; whoever had another one then is held by that one
    as well, as the first request was."""
    world = _world()
    first = world.main.accept("ann")
    world.work()
    now = world.shared.clock()
    subject = Subject(TENANT, "ann")
    request = replace(
        world.record(first),
        request_id=new_request_id(milliseconds(now)),
        state=REQUESTED,
        outcomes=(),
        job_id=None,
        attempt=0,
        closed_jobs=frozenset(),
        purpose=REPLAY,
        follows=first,
        only_targets=("notes",),
        hold_digests=(alias_digest(KEY, TENANT, "old@example.org"),),
        clock_at=now + DAY,
        leaves_tombstone=False,
    )
    entry = next_entry(request.request_id, None, "requested", now, {})
    world.main.acceptance.accept(Acceptance(request, entry), now)
    command = HoldCommand(Subject(TENANT, "somebody"), "a case", "legal", "key", aliases=("old@example.org",))
    world.main.hold_service().put(command, f"eb_{'7' * 26}")
    before = _put_things(world, subject.id)
    world.shared.queue.send([request.request_id], 1)
    world.work()
    assert world.record(request.request_id).state == HELD
    assert world.things("ann") == before > 0


def test_what_was_late_waits_for_a_hold_by_an_id_that_is_gone_by_now() -> None:
    """A hold names an address that stood in the account, which is erased: nobody can read it any more, but the request
    that erased it knows its mark, and what follows that is held by it."""
    world = _world()
    first = world.main.accept("ann")
    (job,) = world.take_jobs()
    units = world.functions("plan").plan(job)
    marks = (alias_digest(KEY, TENANT, "ann@example.org"),)
    assert world.main.requests.note_identifiers(world.record(first), job.job_id, {"email": ("ann@example.org",)}, marks)
    world.main.erase(job, units)
    world.main.close(job)
    following = _found_late(world, first)
    command = HoldCommand(Subject(TENANT, "somebody"), "a case", "legal", "key", aliases=("ann@example.org",))
    world.main.hold_service().put(command, f"eb_{'7' * 26}")
    before = _put_things(world, "ann")
    world.work()
    assert world.record(following).state == HELD
    assert world.things("ann") == before > 0


def test_what_had_to_stay_waits_for_a_hold_by_an_id_that_is_gone_by_now() -> None:
    """The same of a follow-up: what a lock let go at last stays under a hold by the address that the account had."""
    world = KeepingWorld()
    request = world.finished()
    mark = alias_digest(KEY, TENANT, "ann@example.org")
    world.requests.records[request.request_id] = replace(world.record(request), hold_digests=(mark,))
    somebody = hold_of(Subject(TENANT, "somebody"), "ann@example.org", key=KEY)
    assert mark in somebody.marks
    world.holds.put(somebody, None)
    assert world.sweep_later() == 1
    following = world.follow_up_of(request)
    world.run(following)
    assert world.record(following).state == HELD


PEOPLE = [
    Subject(tenant, user, kind)
    for tenant in ("a", "a#b", "HOLDS#a", "*")
    for user in ("b#c", "c", "#", "~", "held#2026-01-01T00:00:00.000Z", "\u00e9", "e\u0301", "{user_id}")
    for kind in ("user", "group")
]


def test_a_hold_is_of_one_subject_whatever_it_is_called() -> None:
    """Tenants and ids with separators, words of keys, braces, accents: each hold holds its own subject and no other,
    is found again, ends by itself at its time, and none of its marks stays."""
    world = ClockWorld()
    until = world.shared.clock() + DAY
    service = world.main.hold_service()
    digests = {subject: subject_digest(KEY, subject) for subject in PEOPLE}
    for number, subject in enumerate(PEOPLE):
        service.put(HoldCommand(subject, "a case 7", "legal", "key", until), f"eb_{number:026d}")
        assert set(world.main.holds.held(list(digests.values()))) == {digests[subject]}
        assert [hold.subject_digest for hold in service.list(subject.tenant_id, after=None, limit=9)] == [
            digests[subject]
        ]
        if number % 2:
            service.lift(subject, "key", f"eb_{number:026d}")
        else:
            end_due(holds=world.main.holds, audit=world.main.audit, now=lambda: until + DAY, deadline=Deadline(60))
        assert world.main.holds.held(list(digests.values())) == {}


@pytest.mark.parametrize("moment", range(1, 12))
def test_a_hold_that_dies_while_it_is_put_holds_or_says_nothing(moment: int) -> None:
    """Killed at any of its calls: either nothing of it is there, or nothing is erased any more of the subject by the
    job that is planned next. Lifted, everything goes."""
    world = _world()
    request_id = world.main.accept("ann")
    before = world.things("ann")
    dying = Functions(world.shared, client=_Dying(world.shared.client, moment))
    with suppress(_Killed):
        dying.hold("ann")
    is_held = bool(world.main.holds.held([world.record(request_id).subject_digest]))
    world.work()
    state = world.record(request_id).state
    assert (state, world.things("ann")) == ((HELD, before) if is_held else (FINISHED, 0))
    if is_held:
        world.main.lift("ann")
        assert world.settle(request_id, FINISHED).attention is False
        assert world.things("ann") == 0


class _Killed(BaseException):
    pass


class _Dying:
    """A client of a process that is gone at its call of this number."""

    def __init__(self, inner: Any, number: int) -> None:
        self._inner, self._left = inner, number

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise _Killed
            return getattr(self._inner, name)(**arguments)

        return call


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
