"""Moments as this service writes them: aware, UTC, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(moment: datetime) -> str:
    """``2026-01-31T12:00:00.000Z``: sorts as text in the order of time."""
    # Without the offset: "+00:00" at the end.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def time_of(milliseconds: int) -> datetime:
    """The moment so many milliseconds after the beginning of Unix time."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since the beginning of Unix time."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def due_at(begin: datetime, sla_hours: int) -> datetime:
    """Until when everything must be erased: the 72-hour promise. ``begin``: when it may be started first."""
    return begin + timedelta(hours=sla_hours)


def purged_by(begin: datetime, purge_days: int) -> datetime:
    """Until when the request's own copy of the subject id must be gone."""
    return begin + timedelta(days=purge_days)
