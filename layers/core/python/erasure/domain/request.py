"""The erasure request: its record and the one table of its states.

::

    requested ──▶ started ──▶ finished
        │  ▲          │
        │  └─ held ◀──┤
        └▶ cancelled  └─ (attention: stays started)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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

FOLLOW_UP, SECOND_LOOK, REPLAY, RETENTION = "follow_up", "second_look", "replay", "retention"
PURPOSES = (FOLLOW_UP, SECOND_LOOK, REPLAY, RETENTION)
"""Of requests that the service makes itself: for what had to stay until its time, for what was written late, for what a
restored backup brought back, and by the data map's retention rules."""

OPEN_STATES = frozenset({REQUESTED, STARTED, HELD})


def sources_of(state: str) -> tuple[str, ...]:
    """The states from which ``state`` may be entered, sorted: what a conditional write must require."""
    return tuple(sorted(source for source, following in TRANSITIONS.items() if state in following))


CATEGORIES = ("account", "session", "credential", "membership", "content", "preference", "record")
"""The kinds of personal data that targets of a data map are sorted into."""

FAMILY_CATEGORIES: Mapping[str, frozenset[str] | None] = {
    "h2o": frozenset({"content", "preference"}),
    "hellojohn": frozenset(CATEGORIES) - {"record"},
    "velt": frozenset({"membership", "content", "preference"}),
    "june": None,
    "native": None,
}
"""Which categories each wire family erases unless the data map's ``families`` says otherwise; ``None``: all of them.
Source: wire contracts, "What a family erases"."""


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """The record of one request. Times are aware and in UTC.

    ``subject`` is the only place in the service that holds the subject's id, until ``purged_by``.
    ``attention``: something failed; a person or a retry is needed. ``categories``: erase these only, whatever the
    family would; ``None``: the family's. ``organization_ids``: erase within these organizations only; empty: in all.
    ``not_before``: may not be started earlier. ``batch_id``: the call that it came with, if that named a batch.
    ``leaves_tombstone``: the subject counts as deleted from when it is started. ``job_id``, ``attempt``: the job that
    has claimed it last, and that job's number. ``closed_at``: when a job last wrote outcomes; ``closed_jobs``: all that
    did. ``identifiers``: further ids of the subject by name, as they were when it was planned; personal data like the
    subject's id, and nowhere else either. ``scan_at``: when the window ends at whose end tables without an index are
    scanned for it; ``None``: there is nothing to scan, or it has been scanned. ``follow_up_at``: when what it had to
    leave is to be taken up again, by the request ``followed_by`` in the end.

    ``clock_at``: when a function that runs by the clock has to look at it next (:mod:`erasure.domain.clock`); ``None``
    while it is held, and when it is purged. ``tries``: how often it was sent off again by itself; ``parked_at``: since
    when it is not any more, and waits for a person. ``sla_level``: the highest level of its promise that its trail
    knows; ``sla_told``: that the outside has been told of. ``held_at``, ``hold_id``: since when it waits, and by which
    legal hold; ``paused_seconds``: how long it was held before, by which ``due_at`` and ``purged_by`` have moved.
    ``hold_digests``: keyed digests of its ``identifiers``, by which holds may name the subject.

    ``purpose``: why the service itself has made it, one of :data:`PURPOSES`, for the request that it ``follows``.
    ``only_targets``: names of targets to which it is limited; empty: all. ``late_arrivals``: what was found when it was
    looked at once more; ``None``: it was not. ``purged_at``: when the record lost ``subject.id`` (empty then),
    ``identifiers``, ``organization_ids`` and ``hold_digests``.
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
    categories: tuple[str, ...] | None = None
    organization_ids: tuple[str, ...] = ()
    not_before: datetime | None = None
    batch_id: str | None = None
    leaves_tombstone: bool = False
    job_id: str | None = None
    attempt: int = 0
    closed_at: datetime | None = None
    closed_jobs: frozenset[str] = frozenset()
    identifiers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scan_at: datetime | None = None
    follow_up_at: datetime | None = None
    followed_by: str | None = None
    clock_at: datetime | None = None
    tries: int = 0
    parked_at: datetime | None = None
    sla_level: int = 0
    sla_told: int = 0
    held_at: datetime | None = None
    hold_id: str | None = None
    paused_seconds: int = 0
    hold_digests: tuple[str, ...] = ()
    purpose: str | None = None
    follows: str | None = None
    only_targets: tuple[str, ...] = ()
    late_arrivals: int | None = None
    purged_at: datetime | None = None
