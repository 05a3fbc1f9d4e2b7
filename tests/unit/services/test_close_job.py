"""Adding up what became of a request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.audit import broken_at
from erasure.domain.outcome import ALREADY_ABSENT, ERASED, FAILED, TargetOutcome
from erasure.domain.plan import ERASED_UNVERIFIED, PENDING, VERIFIED
from erasure.domain.plan import FAILED as PART_FAILED
from erasure.domain.request import FINISHED, HELD, STARTED
from erasure.domain.subject import Subject
from erasure.errors import UnavailableError
from erasure.services.start_jobs import job_id_for
from erasure.targets.protocol import SliceResult, VerifyResult
from tests.unit.services.world import NAMES, World


@pytest.fixture
def world() -> World:
    world = World()
    world.put_things()
    return world


def test_everything_erased_is_finished(world: World) -> None:
    """A request of which everything is erased and verified is finished, with its counts, on record and in time."""
    request = world.a_request()
    world.clock.advance(90)
    closed = world.run(request)
    assert closed.finished == (90.0,)
    record = world.record(request)
    assert (record.state, record.attention, record.finished_at) == (FINISHED, False, world.clock())
    assert world.outcomes(request) == {name: TargetOutcome(name, "content", ERASED, 3) for name in NAMES}
    trail = world.trail(request)
    assert [entry.event for entry in trail] == ["requested", "planned", "finished"]
    assert trail[-1].details["outcomes"] == [outcome.to_dict() for outcome in record.outcomes]
    assert broken_at(trail) is None


def test_nothing_there_is_already_absent(world: World) -> None:
    """A person of whom nothing is kept is finished, and not told that something was erased."""
    request = world.a_request(Subject("acme", "nobody"))
    world.run(request)
    assert {outcome.outcome for outcome in world.record(request).outcomes} == {ALREADY_ABSENT}
    assert world.record(request).state == FINISHED


def test_a_failed_target_is_attention(world: World) -> None:
    """One failed target: the others are erased, the request stays started with attention and the reason."""
    world.target.script["comments"] = [SliceResult(0, done=False, problem="target_missing", permanent=True)]
    request = world.a_request()
    closed = world.run(request)
    assert (closed.finished, len(closed.attention)) == ((), 1)
    record = world.record(request)
    assert (record.state, record.attention, record.finished_at) == (STARTED, True, None)
    assert world.outcomes(request)["comments"] == TargetOutcome("comments", "content", FAILED, reason="target_missing")
    assert world.outcomes(request)["notes"].outcome == world.outcomes(request)["files"].outcome == ERASED
    assert world.trail(request)[-1].event == "attention"


def test_a_retry_heals(world: World) -> None:
    """Another attempt that gets everything finishes the request, and what the first one erased still counts."""
    world.target.script["comments"] = [
        SliceResult(1, done=False),
        SliceResult(0, done=False, problem="access_denied", permanent=True),
    ]
    request = world.a_request()
    world.run(request)
    assert world.outcomes(request)["comments"].count == 1
    world.run(request, attempt=2)
    record = world.record(request)
    assert (record.state, record.attention) == (FINISHED, False)
    assert world.outcomes(request)["comments"] == TargetOutcome("comments", "content", ERASED, 4)
    assert world.outcomes(request)["notes"] == TargetOutcome("notes", "content", ERASED, 3)
    assert [entry.event_id for entry in world.trail(request)][-2:] == [
        f"planned:{request.request_id}-2",
        f"closed:{request.request_id}-2",
    ]


def test_a_target_that_left_the_map_does_not_heal(world: World) -> None:
    """A failure is not forgotten because a later map does not name its target any more."""
    world.target.script["files"] = [SliceResult(0, done=False, problem="target_missing", permanent=True)]
    request = world.a_request()
    world.run(request)
    pinned = world.maps.maps[-1]
    world.maps.maps.append(replace(pinned, version=2, targets=pinned.targets[:2]))
    world.run(request, attempt=2)
    assert world.record(request).state == STARTED
    assert world.outcomes(request)["files"].reason == "target_missing"


def test_closing_again_changes_nothing(world: World) -> None:
    """A job that is closed again, finished or not, adds no outcome, no count and no entry, and tells the same again:
    the first call may have died before anybody was told."""
    for name in ("no such target", "comments"):
        world.target.script[name] = [SliceResult(0, done=False, problem="target_missing", permanent=True)]
        request = world.a_request()
        world.run(request)
        record, trail = world.record(request), world.trail(request)
        closed = world.close(job_id_for(request.request_id, 1), request.request_id)
        assert (len(closed.finished), len(closed.attention)) == ((1, 0) if record.state == FINISHED else (0, 1))
        assert (world.record(request), world.trail(request)) == (record, trail)


def test_an_old_job_closed_again_after_a_retry_changes_nothing(world: World) -> None:
    """The first job's close, delivered once more after the second job's, does not bring its outcomes back."""
    world.target.script["comments:verify"] = [
        VerifyResult(0, complete=False, problem="access_denied", permanent=True)
    ] * 2
    request = world.a_request()
    world.run(request)
    world.run(request, attempt=2)
    record, trail = world.record(request), world.trail(request)
    world.close(job_id_for(request.request_id, 1), request.request_id)
    assert (world.record(request), world.trail(request)) == (record, trail)


def test_nobody_is_called_for_what_a_later_attempt_has_finished(world: World) -> None:
    """The first job's close, delivered once more after the second one finished the request, asks for no attention."""
    world.target.script["comments:verify"] = [VerifyResult(0, complete=False, problem="access_denied", permanent=True)]
    request = world.a_request()
    world.run(request)
    world.run(request, attempt=2)
    assert world.record(request).state == FINISHED
    closed = world.close(job_id_for(request.request_id, 1), request.request_id)
    assert (closed.finished, closed.attention) == ((), ())


def test_a_late_first_attempt_does_not_hide_what_a_later_one_found(world: World) -> None:
    """Two jobs of one request side by side: the failure that the later one saw stays, although the earlier one, which
    had verified that target before, closes after it. Its counts are added."""
    request = world.a_request()
    first, second = (job_id_for(request.request_id, attempt) for attempt in (1, 2))
    world.loop(first, world.plan(first, request.request_id))
    world.target.script["notes:verify"] = [VerifyResult(1, complete=True)] * 3
    world.loop(second, world.plan(second, request.request_id, attempt=2))
    world.close(second, request.request_id)
    assert world.close(first, request.request_id).finished == ()
    record = world.record(request)
    assert (record.state, record.attention) == (STARTED, True)
    assert (world.outcomes(request)["notes"].outcome, world.outcomes(request)["notes"].count) == (FAILED, 3)
    assert world.outcomes(request)["files"] == TargetOutcome("files", "content", ERASED, 3)


def test_a_job_that_is_overtaken_while_it_closes_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a later job takes the request over between the earlier one's reading and writing, the earlier one writes
    nothing over its outcomes, and nothing is counted twice."""
    request = world.a_request()
    first, second = (job_id_for(request.request_id, attempt) for attempt in (1, 2))
    world.loop(first, world.plan(first, request.request_id))
    close = world.requests.close

    def close_after_the_other(*arguments: object, **named: object) -> bool:
        monkeypatch.undo()
        world.target.script["notes:verify"] = [VerifyResult(1, complete=True)] * 3
        world.run(request, attempt=2)
        return close(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.requests, "close", close_after_the_other)
    closed = world.close(first, request.request_id)
    assert (closed.finished, closed.attention) == ((), ())
    assert world.record(request).state == STARTED
    assert world.record(request).closed_jobs == {second}
    assert {name: (outcome.outcome, outcome.count) for name, outcome in world.outcomes(request).items()} == {
        "notes": (FAILED, 3),
        "comments": (ERASED, 3),
        "files": (ERASED, 3),
    }
    assert broken_at(world.trail(request)) is None
    assert [entry.event for entry in world.trail(request)] == [
        "requested",
        "planned",
        "taken_over",
        "planned",
        "attention",
    ]


def test_a_busy_trail_is_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that somebody else appends at the same moment is followed, and the trail stays whole."""
    request = world.a_request()
    met: list[bool] = []
    entries = world.audit.entries

    def somebody_is_faster(request_id: str):  # type: ignore[no-untyped-def]
        found = entries(request_id)
        if len(met) < 3 and found and found[-1].event != "requested":
            met.append(True)
            world.audit.write_next(request_id, f"noise-{len(met)}", world.clock())
        return found

    job_id = job_id_for(request.request_id, 1)
    world.loop(job_id, world.plan(job_id, request.request_id))
    monkeypatch.setattr(world.audit, "entries", somebody_is_faster)
    world.close(job_id, request.request_id)
    monkeypatch.undo()
    assert world.record(request).state == FINISHED
    assert broken_at(world.trail(request)) is None
    assert len(world.trail(request)) == 6


def test_a_trail_that_stays_busy_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the request can never be written, closing fails: a job must not end green without an outcome."""
    request = world.a_request()

    def always_busy(*_arguments: object, **_named: object) -> bool:
        raise UnavailableError("the request was changed at the same moment")

    monkeypatch.setattr(world.requests, "close", always_busy)
    with pytest.raises(UnavailableError):
        world.run(request)
    assert world.record(request).state == STARTED


def test_a_held_request_is_not_closed(world: World) -> None:
    """A request that was held in between gets no outcome from a job that went on."""
    request = world.a_request()
    job_id = job_id_for(request.request_id, 1)
    world.plan(job_id, request.request_id)
    world.requests.records[request.request_id] = replace(world.record(request), state=HELD)
    closed = world.close(job_id, request.request_id)
    assert (closed.finished, closed.attention, world.record(request).outcomes) == ((), (), ())
    assert world.record(request).state == HELD


STATUSES = st.tuples(
    st.sampled_from([PENDING, ERASED_UNVERIFIED, VERIFIED, PART_FAILED]), st.integers(0, 3), st.booleans()
)


@given(st.lists(STATUSES, min_size=3, max_size=3))
def test_finished_means_every_part_verified(statuses: list[tuple[str, int, bool]]) -> None:
    """Whatever state the parts are left in, the request is finished exactly if each of them was verified, and every
    target has an outcome that says what was counted."""
    world = World()
    request = world.a_request()
    job_id = job_id_for(request.request_id, 1)
    world.plan(job_id, request.request_id)
    for task, (status, erased, at_least) in zip(world.tasks.tasks(job_id), statuses, strict=True):
        place = (task.job_id, task.unit, task.number)
        part = replace(task.parts[0], status=status, erased=erased, at_least=at_least, reason="code")
        world.tasks.records[place] = replace(task, parts=(part,))
    world.close(job_id, request.request_id)
    everything_verified = all(status == VERIFIED for status, _, _ in statuses)
    assert (world.record(request).state == FINISHED) is everything_verified
    assert world.record(request).attention is not everything_verified
    outcomes = world.record(request).outcomes
    assert len(outcomes) == 3
    for outcome, (status, erased, at_least) in zip(outcomes, statuses, strict=True):
        assert (outcome.count, outcome.at_least) == (erased, at_least)
        assert (outcome.outcome == FAILED) is (status != VERIFIED)
        assert (outcome.reason is not None) is (status != VERIFIED)
