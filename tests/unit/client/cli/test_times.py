"""Times, spans and numbers as people read them, and the times that people write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_client.cli._people_arguments import WHEN
from erasure_client.cli._times import counted, local, moment, number, relative, span

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
def in_kathmandu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_kathmandu")
def test_times_are_local_and_tell_their_offset() -> None:
    """A time is shown as this machine's clock has it, with the offset that makes it one moment."""
    assert local(NOON) == "2026-11-25 17:45 +05:45"
    assert local(NOON, seconds=True) == "2026-11-25 17:45:00 +05:45"
    assert moment(NOON, NOON - timedelta(hours=52)) == "2026-11-25 17:45 +05:45, in 2 d 4 h"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (725, "12 min 5 s"),
        (3_600, "1 h"),
        (3_659, "1 h"),
        (11_520, "3 h 12 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
        (-187_200, "2 d 4 h"),
    ],
)
def test_a_span_is_its_two_largest_units(seconds: float, text: str) -> None:
    """Two units are enough to know how long it is."""
    assert span(seconds) == text


def test_past_and_future_are_told_apart() -> None:
    """A deadline that has passed does not read like one to come."""
    assert relative(NOON, NOON - timedelta(days=1)) == "in 1 d"
    assert relative(NOON, NOON + timedelta(days=1)) == "1 d ago"
    assert relative(NOON, NOON) == "now"


def test_numbers_have_separators() -> None:
    """Large numbers can be read; one thing is not several."""
    assert number(1_200_000) == "1,200,000"
    assert counted(1, "thing", "things") == "1 thing"
    assert counted(1_200, "thing", "things") == "1,200 things"


_OFFSETS = st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=_OFFSETS))  # noqa: DTZ001
def test_a_time_with_its_offset_is_that_moment(at: datetime) -> None:
    """What people write with an offset is understood as that moment, in UTC."""
    understood = WHEN.convert(at.isoformat(), None, None)
    assert understood == at
    assert understood.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "ahead"), [("+90m", timedelta(minutes=90)), ("+36h", timedelta(hours=36)), ("+7d", timedelta(days=7))]
)
def test_a_time_may_be_counted_from_now(text: str, ahead: timedelta) -> None:
    """``+36h`` is 36 hours from now."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert before + ahead <= WHEN.convert(text, None, None) <= datetime.now(UTC) + ahead


@pytest.mark.parametrize(
    "text", ["2027-01-31T12:00:00", "2027-01-31", "tomorrow", "+7w", "+", "+-7d", "7d", "", "+9999999d"]
)
def test_a_time_that_could_be_two_is_refused(text: str) -> None:
    """Without an offset, or not a time at all: it is refused, and how to write it is said."""
    with pytest.raises(click.BadParameter, match=r"2027-01-31T12:00:00\+01:00"):
        WHEN.convert(text, None, None)
