"""Checks of what callers give: only for what could not be sent, or would be taken for something else. All else is the
service's to refuse. Every function raises :class:`ConfigurationError`, whose text never holds the value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from erasure_client._subjects import check_id
from erasure_client.errors import ConfigurationError


def texts_of(values: Iterable[str], what: str) -> list[str]:
    """A text by itself is refused: its letters are not what anybody means."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{what} must be a list of texts")
    return [check_id(value, f"each of {what}") for value in values]


def moment_text(moment: datetime, what: str) -> str:
    """In UTC. A time without an offset would be another moment on another machine."""
    if not isinstance(moment, datetime):
        raise ConfigurationError(f"{what} must be a datetime")
    if moment.utcoffset() is None:
        raise ConfigurationError(f"{what} must have an offset: give the datetime a tzinfo")
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise ConfigurationError(f"{what} is no time of UTC's calendar") from None
