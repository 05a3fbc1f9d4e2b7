"""When the functions that run by the clock have to look at a request, and what the 72-hour promise means at a moment.

An open request is looked at when its ``clock_at`` has come: for the first time when a healthy one would have been
closed. An ended one is looked at once more for what was written late, and then to be purged. A held one is not looked
at by its time at all: its promise is paused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.request import ErasureRequest
from erasure.domain.subject import SUBJECT_TYPES

LEVELS = (50, 75, 90, 100)
"""Percent of the promised time after which a request that is open is told of. 100: the promise is broken."""

MAX_TRIES = 8
"""How often a request is sent off again by itself, until it is parked: with the pauses between, some forty hours."""
LONGEST_PAUSE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """``sla_hours``: the promise. ``patience``: after so long a healthy request has been closed, or at least a job has
    it. ``second_look``: so long after the end it is looked for what was written late; zero: never. ``own_backups``: how
    far back the service's own tables can be restored: what must be gone at ``purged_by`` goes so much earlier.
    """

    sla_hours: int = 72
    patience: timedelta = timedelta(minutes=15)
    second_look: timedelta = timedelta(hours=24)
    own_backups: timedelta = timedelta(days=7)

    @classmethod
    def of(cls, sla_hours: int, patience_minutes: int, second_look_hours: int, own_backup_days: int) -> ClockPolicy:
        return cls(
            sla_hours,
            timedelta(minutes=patience_minutes),
            timedelta(hours=second_look_hours),
            timedelta(days=own_backup_days),
        )

    def first_look(self, begin: datetime) -> datetime:
        """``begin``: when the request may be started."""
        return begin + self.patience

    def pause_after(self, tries: int) -> timedelta:
        """How long to wait after so many tries: twice as long each time."""
        return min(self.patience * (1 << min(tries, 20)), LONGEST_PAUSE)

    def purge_at(self, purged_by: datetime, ended_at: datetime) -> datetime:
        """When the record of a request that has ended loses the subject's id."""
        return max(purged_by - self.own_backups, ended_at)

    def after_finishing(self, request: ErasureRequest, finished_at: datetime) -> datetime:
        """When one that is finished is looked at: once more for what was written late, if anybody is to; then to be
        purged."""
        purge_at = self.purge_at(request.purged_by, finished_at)
        is_looked_at = self.second_look and request.purpose is None and request.subject.type in SUBJECT_TYPES
        return min(finished_at + self.second_look, purge_at) if is_looked_at else purge_at

    def next_look(self, request: ErasureRequest, now: datetime, heal_at: datetime | None) -> datetime:
        """When one that is open is looked at after ``now``: when its next level comes, at ``heal_at`` (``None``: it is
        not sent off by itself any more), and when its record has to go. Never at once: nobody looks in circles."""
        moments = [moment_of_level(request, level) for level in LEVELS if level > request.sla_level]
        moments.append(request.purged_by)
        if heal_at is not None:
            moments.append(heal_at)
        return max(min(moments), now + self.patience / 2)


def level_at(request: ErasureRequest, now: datetime) -> int:
    """The highest of :data:`LEVELS` that the request, not being held, has reached; 0: none."""
    return max((level for level in LEVELS if now >= moment_of_level(request, level)), default=0)


def moment_of_level(request: ErasureRequest, level: int) -> datetime:
    """When the request reaches the level. Pauses count in ``due_at``, so they shift every level that was to come."""
    return request.due_at - promised_time(request) * (100 - level) / 100


def pause_until(request: ErasureRequest, now: datetime) -> timedelta:
    """How long the promise of a request that is held has been paused at ``now``, by whole seconds. One that has not
    begun is not paused: until the request may be started, a hold takes no time from it."""
    if request.held_at is None:
        return timedelta()
    begin = max(request.held_at, request.not_before or request.held_at)
    return timedelta(seconds=max(int((now - begin).total_seconds()), 0))


def promised_time(request: ErasureRequest) -> timedelta:
    """From when it might be started until it is due, without pauses."""
    begin = request.not_before or request.requested_at
    return request.due_at - begin - timedelta(seconds=request.paused_seconds)
