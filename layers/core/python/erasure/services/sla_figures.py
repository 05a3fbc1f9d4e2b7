"""How a tenant's requests stand to their promise: the figures of a dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.clock import LEVELS
from erasure.domain.request import FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.sla import SlaFigures, figures_of
from erasure.ports import Clock, ClockStore, SlaRow

MAX_OPEN = 20_000
"""Requests of each state that are counted, the newest ones."""

MAX_FINISHED = 1000
WARNINGS = LEVELS[:-1]

_OPEN = (REQUESTED, STARTED, HELD)
"""In the order in which requests go through them: one that moves on while they are read is seen twice, not never."""


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """Numbers of requests, besides ``total``. ``by_state``: of open ones. ``at_risk``: by the highest level that they
    have reached, without those that are overdue or held. ``next_due_at``: when the first one that is not held is due,
    or was. ``finished``: of so many newest ones, ``within`` were in time. ``more``: there are more open ones than were
    counted, so there may be more of everything.
    """

    sla_hours: int
    total: SlaFigures
    by_state: Mapping[str, int]
    at_risk: Mapping[int, int]
    next_due_at: datetime | None
    finished: int
    within: int
    more: bool


class SlaReader:
    """Reads lists, which lag a little. ``sla_hours``: what is promised."""

    def __init__(self, clock: ClockStore, now: Clock, sla_hours: int) -> None:
        self._clock = clock
        self._now = now
        self._sla_hours = sla_hours

    def figures(self, tenant_id: str) -> TenantFigures:
        is_open: dict[str, tuple[str, SlaRow]] = {}
        more = False
        for state in _OPEN:
            rows = self._clock.sla_rows(tenant_id, state, MAX_OPEN + 1)
            more = more or len(rows) > MAX_OPEN
            is_open.update((row.request_id, (state, row)) for row in rows[:MAX_OPEN])
        finished = self._clock.sla_rows(tenant_id, FINISHED, MAX_FINISHED)
        for row in finished:
            is_open.pop(row.request_id, None)
        now = self._now()
        states = [state for state, _ in is_open.values()]
        running = [row.due_at for state, row in is_open.values() if state != HELD]
        return TenantFigures(
            sla_hours=self._sla_hours,
            total=figures_of(((row.due_at, state == HELD) for state, row in is_open.values()), now, self._sla_hours),
            by_state={state: states.count(state) for state in _OPEN},
            at_risk=self._at_risk(running, now),
            next_due_at=min(running, default=None),
            finished=len(finished),
            within=sum(row.finished_at is not None and row.finished_at <= row.due_at for row in finished),
            more=more,
        )

    def _at_risk(self, due: Iterable[datetime], now: datetime) -> dict[int, int]:
        sla = timedelta(hours=self._sla_hours)
        # A pause moves the deadline, so pauses are left out.
        levels = [max((level for level in LEVELS if now >= at - sla * (100 - level) / 100), default=0) for at in due]
        return {level: levels.count(level) for level in WARNINGS}
