"""How a request stands to its promise at a moment, as its callers see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.clock import LEVELS, level_at, pause_until, promised_time
from erasure.domain.request import CANCELLED, FINISHED, HELD, ErasureRequest

ON_TIME, AT_RISK, BREACHED, PAUSED, MET, MISSED = "on_time", "at_risk", "breached", "paused", "met", "missed"
STATES = (ON_TIME, AT_RISK, BREACHED, PAUSED, MET, MISSED)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SlaView:
    """Whole seconds. ``age_seconds``: since it might be started, without pauses, until it ended if it has.
    ``remaining_seconds``: until it is due; negative when it is late. ``percent`` of the promised time that is over,
    more than 100 when it is late. ``paused_seconds``: how long it was held, up to now."""

    age_seconds: int
    remaining_seconds: int
    percent: int
    paused_seconds: int
    state: str


def sla_view(request: ErasureRequest, now: datetime) -> SlaView | None:
    """``None``: nothing is promised any more, it was cancelled."""
    if request.state == CANCELLED:
        return None
    stopped_at = {FINISHED: request.finished_at, HELD: request.held_at}.get(request.state) or now
    begin = request.not_before or request.requested_at
    paused = timedelta(seconds=request.paused_seconds)
    # Functions' clocks differ: what has only just begun for one of them may not have for another.
    age = max(stopped_at - begin - paused, timedelta())
    promised = promised_time(request)
    return SlaView(
        age_seconds=age // SECOND,
        remaining_seconds=(request.due_at - stopped_at) // SECOND,
        percent=100 * age // promised if promised > timedelta() else 100,
        paused_seconds=(paused + pause_until(request, now)) // SECOND,
        state=_state(request, now),
    )


def _state(request: ErasureRequest, now: datetime) -> str:
    if request.state == HELD:
        return PAUSED
    if request.state == FINISHED:
        return MET if request.finished_at is None or request.finished_at <= request.due_at else MISSED
    level = level_at(request, now)
    if level == LEVELS[-1]:
        return BREACHED
    return AT_RISK if level else ON_TIME
