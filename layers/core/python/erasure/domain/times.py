"""Moments as this service writes them: aware, UTC, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def format_time(moment: datetime) -> str:
    """``2026-01-31T12:00:00.000Z``: sorts as text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def due_at(requested_at: datetime, sla_hours: int) -> datetime:
    """Until when everything must be erased: the 72-hour promise."""
    return requested_at + timedelta(hours=sla_hours)


def purged_by(requested_at: datetime, purge_days: int) -> datetime:
    """Until when the request's own copy of the subject id must be gone."""
    return requested_at + timedelta(days=purge_days)
