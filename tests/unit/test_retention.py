"""Until when items are kept: periods by the calendar, and moments as applications write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.retention import keep_until, moment_of, parse_period
from erasure.domain.times import format_time
from erasure.errors import InvalidInputError


@pytest.mark.parametrize(
    "text", ["", "10", "y", "0d", "-1d", "1.5y", "10Y", "10 y", "1y6m", "01d", "1s", "\u0661d", "1000000d"]
)
def test_other_periods_are_refused(text: str) -> None:
    """Only a whole number, not zero, and one unit."""
    with pytest.raises(InvalidInputError):
        parse_period(text)


@pytest.mark.parametrize(
    ("begin", "period", "end"),
    [
        ("2020-01-31T10:00:00Z", "10y", "2030-01-31T10:00:00.000Z"),
        ("2020-02-29", "1y", "2021-02-28T00:00:00.000Z"),
        ("2020-02-29", "4y", "2024-02-29T00:00:00.000Z"),
        ("2023-01-31", "1m", "2023-02-28T00:00:00.000Z"),
        ("2023-12-31", "2m", "2024-02-29T00:00:00.000Z"),
        ("2023-12-01", "12m", "2024-12-01T00:00:00.000Z"),
        ("2023-12-25", "2w", "2024-01-08T00:00:00.000Z"),
        ("2024-02-28", "2d", "2024-03-01T00:00:00.000Z"),
        ("2024-02-28T20:00:00+02:00", "6h", "2024-02-29T00:00:00.000Z"),
        ("9999-01-01", "1y", "9999-12-31T23:59:59.999Z"),
        ("2020-01-01", "999999y", "9999-12-31T23:59:59.999Z"),
        ("2020-01-01", "999999w", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_period_ends_by_the_calendar(begin: str, period: str, end: str) -> None:
    """Years and months keep the day, or end with a shorter month; nothing overflows."""
    moment = moment_of({"S": begin})
    assert moment is not None
    assert format_time(keep_until(moment, period)) == end


@pytest.mark.parametrize(
    ("attribute", "moment"),
    [
        ({"S": "2026-01-31"}, datetime(2026, 1, 31, tzinfo=UTC)),
        ({"S": "2026-01-31T12:30"}, datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ({"S": "2026-01-31 12:30:01"}, datetime(2026, 1, 31, 12, 30, 1, tzinfo=UTC)),
        ({"S": "2026-01-31T12:30:01.5z"}, datetime(2026, 1, 31, 12, 30, 1, 500000, tzinfo=UTC)),
        ({"S": "2026-01-31T12:30:01.123456789Z"}, datetime(2026, 1, 31, 12, 30, 1, 123456, tzinfo=UTC)),
        ({"S": "2026-01-31T00:30:00+01:00"}, datetime(2026, 1, 30, 23, 30, tzinfo=UTC)),
        ({"N": "1769862600"}, datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ({"N": "1769862600000"}, datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ({"N": "1769862600.5"}, datetime(2026, 1, 31, 12, 30, 0, 500000, tzinfo=UTC)),
    ],
    ids=str,
)
def test_moments_as_applications_write_them(attribute: dict[str, Any], moment: datetime) -> None:
    """Dates and times with an offset or in UTC, seconds and milliseconds."""
    assert moment_of(attribute) == moment


@pytest.mark.parametrize(
    "attribute",
    [
        {"S": ""},
        {"S": "31.01.2026"},
        {"S": "01/02/2026"},
        {"S": "2026-13-01"},
        {"S": "2026-1-1"},
        {"S": "20260131"},
        {"S": "2026-W05"},
        {"S": "2026-01-31T25:00"},
        {"S": "0001-01-01T00:00:00+12:00"},
        {"S": "1769862600"},
        {"N": "0"},
        {"N": "-1769862600"},
        {"N": "2026"},
        {"N": "20260131"},
        {"N": "202601311230"},
        {"N": "1769862600000000"},
        {"N": "1E+120"},
        {"NULL": True},
        {"BOOL": True},
        {"SS": ["2026-01-31"]},
        {"M": {}},
        {},
    ],
    ids=str,
)
def test_what_is_no_moment_for_certain_is_not_read(attribute: dict[str, Any]) -> None:
    """Neither other types and forms nor numbers that may be a date's digits, which would be taken for long ago."""
    assert moment_of(attribute) is None


@given(st.one_of(st.text(), st.from_regex(r"[0-9T:+.Z -]{8,30}", fullmatch=True)))
def test_no_text_fails(text: str) -> None:
    """Whatever stands in an item, there is an answer."""
    assert moment_of({"S": text}) is None or moment_of({"S": text}).tzinfo is UTC  # type: ignore[union-attr]
