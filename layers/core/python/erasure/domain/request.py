"""The erasure request: its record and the one table of its states.

::

    requested ──▶ started ──▶ finished
        │  ▲          │
        │  └─ held ◀──┤
        └▶ cancelled  └─ (attention: stays started)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from erasure.domain.outcome import TargetOutcome
from erasure.domain.subject import Subject

REQUESTED = "requested"
STARTED = "started"
FINISHED = "finished"
CANCELLED = "cancelled"
HELD = "held"

TRANSITIONS: dict[str, frozenset[str]] = {
    REQUESTED: frozenset({STARTED, CANCELLED, HELD}),
    STARTED: frozenset({FINISHED, HELD}),
    HELD: frozenset({REQUESTED}),
    FINISHED: frozenset(),
    CANCELLED: frozenset(),
}
"""From each state, the states that may follow. Stores take the conditions of their writes from it."""

OPEN_STATES = frozenset({REQUESTED, STARTED, HELD})


def sources_of(state: str) -> tuple[str, ...]:
    """The states from which ``state`` may be entered, sorted: what a conditional write must require."""
    return tuple(sorted(source for source, following in TRANSITIONS.items() if state in following))


FAMILY_CATEGORIES: dict[str, frozenset[str] | None] = {
    "h2o": frozenset({"content", "preference"}),
}
"""Which categories of the data map each wire family erases by default; ``None``: all of them."""


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """The record of one request. Times are aware and in UTC.

    ``subject`` is the only place in the service that holds the subject's id, until ``purged_by``.
    ``attention``: something failed; a person or a retry is needed.
    """

    request_id: str
    subject: Subject
    subject_digest: str
    family: str
    requested_at: datetime
    due_at: datetime
    purged_by: datetime
    state: str = REQUESTED
    attention: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    data_map_version: int | None = None
    outcomes: tuple[TargetOutcome, ...] = ()
