"""The promise in figures: what a dashboard shows of all open requests at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class SlaFigures:
    """``open``: all that are, with the ``held`` ones; ``overdue``: past their ``due_at``. ``oldest_age_seconds``: since
    the one that may have been started first may have been, without its pauses; 0 if there is none.
    ``seconds_to_deadline``: until the first one is due, negative when it is overdue; ``None`` if there is none. Held
    ones count into neither: their promise is paused. Those that wait for their time have no age yet.
    """

    open: int = 0
    held: int = 0
    overdue: int = 0
    oldest_age_seconds: float = 0.0
    seconds_to_deadline: float | None = None


def figures_of(promises: Iterable[tuple[datetime, bool]], now: datetime, sla_hours: int) -> SlaFigures:
    """``promises``: of each open request when it is due, and whether it is held."""
    is_open = held = overdue = 0
    first_due_at: datetime | None = None
    for due_at, is_held in promises:
        is_open += 1
        held += is_held
        if not is_held:
            overdue += due_at <= now
            first_due_at = due_at if first_due_at is None else min(first_due_at, due_at)
    if first_due_at is None:
        return SlaFigures(is_open, held)
    # Pauses move due_at, so whoever is due first is the oldest one without them.
    age = now - (first_due_at - timedelta(hours=sla_hours))
    return SlaFigures(is_open, held, overdue, max(age.total_seconds(), 0.0), (first_due_at - now).total_seconds())
