"""The audit trail: one chain of entries for each request.

Each entry's digest covers the digest of the one before it, so an entry that is changed, dropped or slipped in
later breaks the chain from there on. Entries hold no identifiers: the subject appears as its keyed digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure.domain.canonical import digest_of
from erasure.domain.times import format_time

GENESIS = "0" * 64
"""The "previous digest" of a first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """``event_id`` is unique within the request and makes appending the same event twice harmless.

    ``digest`` is SHA-256 over the canonical JSON of everything else, ``previous_digest`` included.
    """

    request_id: str
    sequence: int
    event_id: str
    event: str
    at: str
    previous_digest: str
    details: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def computed_digest(self) -> str:
        return _digest(
            self.request_id, self.sequence, self.event_id, self.event, self.at, self.previous_digest, self.details
        )


def next_entry(
    request_id: str,
    previous: AuditEntry | None,
    event: str,
    at: datetime,
    details: Mapping[str, Any],
    *,
    event_id: str | None = None,
) -> AuditEntry:
    """The entry that follows ``previous`` (``None``: the first one), with its digest."""
    sequence, previous_digest = (previous.sequence + 1, previous.digest) if previous else (1, GENESIS)
    event_id, moment = event_id or event, format_time(at)
    digest = _digest(request_id, sequence, event_id, event, moment, previous_digest, details)
    return AuditEntry(request_id, sequence, event_id, event, moment, previous_digest, details, digest)


def broken_at(entries: Iterable[AuditEntry]) -> int | None:
    """The sequence number at which a trail (in order) stops being whole; ``None`` if it is whole.

    What it cannot see is a trail that was cut off at its end: for that the last digest must be known from elsewhere.
    """
    previous_digest, expected = GENESIS, 1
    for entry in entries:
        if (
            entry.sequence != expected
            or entry.previous_digest != previous_digest
            or entry.digest != entry.computed_digest()
        ):
            return expected
        previous_digest, expected = entry.digest, expected + 1
    return None


def _digest(
    request_id: str,
    sequence: int,
    event_id: str,
    event: str,
    at: str,
    previous_digest: str,
    details: Mapping[str, Any],
) -> str:
    return digest_of(
        {
            "request_id": request_id,
            "sequence": sequence,
            "event_id": event_id,
            "event": event,
            "at": at,
            "previous_digest": previous_digest,
            "details": dict(details),
        }
    )
