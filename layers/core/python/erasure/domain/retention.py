"""How long items are kept by law: from an item's own moment, for a period.

A moment that could be read in two ways is not read at all: what depends on it is kept, and somebody is told.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from erasure.errors import InvalidInputError

RETENTION_UNKNOWN = "retention_unknown"
"""The reason of a target with things of which nobody can tell how old they are, or how long they have to be kept: so
they are."""

_PERIOD = re.compile(r"([1-9][0-9]{0,5})([ymwdh])")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:\d{2})?)?", re.ASCII)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST_SECOND = 10**8
"""March 1973. Below, a number may as well be a year, or a date's digits (``20260131``), which would end long ago."""
_MOST_SECONDS = 10**11
"""Beyond, a number counts milliseconds."""
_FIRST_MILLISECOND = 3 * 10**11
"""July 1979. Below, it may as well be the digits of a date and a time (``202601311200``)."""

_TIMES = {"w": timedelta(weeks=1), "d": timedelta(days=1), "h": timedelta(hours=1)}
_MONTHS = {"y": 12, "m": 1}


@dataclass(frozen=True, slots=True)
class Period:
    """``number`` of years (``y``), months (``m``), weeks (``w``), days (``d``) or hours (``h``)."""

    number: int
    unit: str


def parse_period(text: str) -> Period:
    """``10y``, ``6m``, ``2w``, ``30d`` or ``12h``. Raises :class:`InvalidInputError`."""
    matched = _PERIOD.fullmatch(text)
    if matched is None:
        raise InvalidInputError("period", "a period is a number and y, m, w, d or h, such as 10y")
    return Period(int(matched[1]), matched[2])


def keep_until(moment: datetime, period: str) -> datetime:
    """The end of ``period`` (as :func:`parse_period` takes it) after ``moment``, aware, in UTC.

    Years and months go by the calendar, up to the last day of a shorter month. What lies beyond the year 9999 ends
    with it.
    """
    parsed = parse_period(period)
    moment = moment.astimezone(UTC)
    try:
        if parsed.unit in _TIMES:
            return moment + parsed.number * _TIMES[parsed.unit]
        years, month = divmod(moment.month - 1 + parsed.number * _MONTHS[parsed.unit], 12)
        year, month = moment.year + years, month + 1
        day = min(moment.day, calendar.monthrange(year, month)[1]) if year <= _LAST.year else moment.day
        return moment.replace(year=year, month=month, day=day)
    except (OverflowError, ValueError):
        return _LAST


def moment_of(attribute: Mapping[str, Any]) -> datetime | None:
    """The moment that a DynamoDB attribute (``{"S": ...}`` or ``{"N": ...}``) holds, aware, in UTC.

    A date or a date and time as RFC 3339 and ISO 8601 write them (without an offset: UTC), or seconds or milliseconds
    since 1970. ``None``: it holds none that can be read for certain.
    """
    try:
        if isinstance(text := attribute.get("S"), str):
            return _moment_of_text(text)
        if isinstance(number := attribute.get("N"), str):
            return _moment_of_number(Decimal(number))
    except (ValueError, ArithmeticError):
        return None
    return None


def _moment_of_text(text: str) -> datetime | None:
    if _MOMENT.fullmatch(text) is None:
        return None
    moment = datetime.fromisoformat(text.upper())
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _moment_of_number(number: Decimal) -> datetime | None:
    if _MOST_SECONDS < number < _FIRST_MILLISECOND:
        return None
    seconds = number / 1000 if number > _MOST_SECONDS else number
    return _EPOCH + timedelta(seconds=float(seconds)) if seconds >= _FIRST_SECOND else None
