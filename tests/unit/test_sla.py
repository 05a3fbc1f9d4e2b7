"""What the promise means at a moment, and when a request is looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.clock import LEVELS, MAX_TRIES, ClockPolicy, level_at, moment_of_level
from erasure.domain.request import PURPOSES, ErasureRequest
from erasure.domain.sla import SlaFigures, figures_of
from erasure.domain.subject import Subject

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = ClockPolicy()
REQUEST = ErasureRequest(
    request_id="er_01K8ZQ4W7M3T9X5B2C6D8F0G1H",
    subject=Subject("acme", "ann"),
    subject_digest="digest",
    family="native",
    requested_at=NOW,
    due_at=NOW + 72 * HOUR,
    purged_by=NOW + timedelta(days=90),
)


@pytest.mark.parametrize(
    ("hours", "level"),
    [(-1, 0), (0, 0), (35.99, 0), (36, 50), (54, 75), (64.8, 90), (71.99, 90), (72, 100), (900, 100)],
)
def test_levels_are_reached_at_their_share_of_the_promise(hours: float, level: int) -> None:
    """From when it was accepted to when it is due, to the second; before that, and by a clock behind, none."""
    assert level_at(REQUEST, NOW + hours * HOUR) == level


def test_levels_count_from_when_it_may_be_started() -> None:
    """Whoever waits for a month has used up nothing of the promise."""
    begin = NOW + timedelta(days=30)
    waiting = replace(REQUEST, not_before=begin, due_at=begin + 72 * HOUR)
    assert level_at(waiting, begin) == 0
    assert level_at(waiting, begin + 36 * HOUR) == 50


@given(st.integers(0, 10**6))
def test_a_pause_shifts_what_was_to_come_by_its_length(seconds: int) -> None:
    """Every level, by exactly the time that the request was held."""
    pause = timedelta(seconds=seconds)
    paused = replace(REQUEST, due_at=REQUEST.due_at + pause, paused_seconds=seconds)
    for level in LEVELS:
        assert moment_of_level(paused, level) == moment_of_level(REQUEST, level) + pause


@given(st.floats(-100, 3000), st.sampled_from([0, *LEVELS]), st.one_of(st.none(), st.floats(-100, 3000)))
def test_an_open_request_is_looked_at_when_something_comes(hours: float, level: int, heal: float | None) -> None:
    """Never at once and never in circles; and not later than its next level, when it is to be healed, and its purge,
    or half the patience after now."""
    now, heal_at = NOW + hours * HOUR, None if heal is None else NOW + heal * HOUR
    request = replace(REQUEST, sla_level=level)
    next_at = POLICY.next_look(request, now, heal_at)
    soonest = now + POLICY.patience / 2
    moments = [moment_of_level(request, upper) for upper in LEVELS if upper > level]
    assert next_at >= soonest
    assert next_at <= max(min([*moments, heal_at or REQUEST.purged_by, REQUEST.purged_by]), soonest)


def test_pauses_grow_and_fit_into_the_promise() -> None:
    """Twice as long each time, up to half a day; all of them together leave time for a person to act."""
    pauses = [POLICY.pause_after(tries) for tries in range(MAX_TRIES + 1)]
    assert pauses[:4] == [POLICY.patience * factor for factor in (1, 2, 4, 8)]
    assert pauses == sorted(pauses)
    assert POLICY.pause_after(10**6) == 12 * HOUR
    assert 30 * HOUR < sum(pauses, timedelta(0)) < 72 * HOUR


def test_what_is_finished_is_looked_at_once_more_and_then_purged() -> None:
    """People, groups and organizations, if the service is to; nobody later than the purge, which is before any backup
    of the service's own tables could have what must be gone."""
    ended = NOW + HOUR
    purge_at = REQUEST.purged_by - POLICY.own_backups
    assert POLICY.after_finishing(REQUEST, ended) == ended + POLICY.second_look
    assert ClockPolicy(second_look=timedelta(0)).after_finishing(REQUEST, ended) == purge_at
    for purpose in PURPOSES:
        assert POLICY.after_finishing(replace(REQUEST, purpose=purpose), ended) == purge_at
    rule = replace(REQUEST, subject=Subject("*", "a rule", "retention"))
    assert POLICY.after_finishing(rule, ended) == purge_at
    late = REQUEST.purged_by - HOUR
    assert POLICY.after_finishing(REQUEST, late) == late


def test_figures_of_nothing() -> None:
    """No requests: no age, and no deadline that could be told."""
    assert figures_of([], NOW, 72) == SlaFigures()


def test_figures_leave_out_who_is_held_and_who_has_not_begun() -> None:
    """Held ones are counted, and nothing else of them; one that waits for its time is not old."""
    promises = [
        (NOW - 100 * HOUR, True),
        (NOW + 71 * HOUR, False),
        (NOW + 30 * HOUR, False),
        (NOW + 500 * HOUR, False),
    ]
    assert figures_of(promises, NOW, 72) == SlaFigures(4, 1, 0, 42 * 3600, 30 * 3600)
    assert figures_of(promises[-1:], NOW, 72) == SlaFigures(1, 0, 0, 0, 500 * 3600)
    assert figures_of(promises[:1], NOW, 72) == SlaFigures(1, 1)


def test_figures_of_a_broken_promise_are_negative() -> None:
    """The time to the deadline goes below zero, from the second at which it passes."""
    assert figures_of([(NOW, False), (NOW - HOUR, False)], NOW, 72) == SlaFigures(2, 0, 2, 73 * 3600, -3600)
