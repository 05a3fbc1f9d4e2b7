"""How the native routes show requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from erasure_client.testing._checks import format_time
from erasure_client.testing._maps import Target
from erasure_client.testing._records import CANCELLED, FAILED, FINISHED, HELD, OPEN, Record

LEVELS = (50, 75, 90)
_SECOND = timedelta(seconds=1)


def shown_request(record: Record) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": record.request_id,
        "subject": {"type": record.whom.type, "id": record.whom.id or None},
        "state": record.state,
        "attention": record.attention,
        "requested_at": format_time(record.requested_at),
        "due_at": format_time(record.due_at),
        "purged_by": format_time(record.purged_by),
    }
    times = {
        "not_before": record.not_before,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "held_since": record.held_at,
        "purged_at": record.purged_at,
    }
    shown |= {name: format_time(moment) for name, moment in times.items() if moment is not None}
    if record.organization_ids:
        shown["organization_ids"] = list(record.organization_ids)
    if record.batch_id is not None:
        shown["batch_id"] = record.batch_id
    return shown


def shown_view(record: Record, planned: Sequence[Target], now: datetime) -> dict[str, Any]:
    """``planned``: the targets that the request covers now."""
    shown, times = shown_request(record), {}
    if record.state != CANCELLED:
        shown["sla"] = _sla(record, now)
        if record.state in OPEN:
            times = {name: shown["sla"][name] for name in ("age_seconds", "remaining_seconds")}
    if record.working and record.started_at is not None:
        shown["job"] = {"attempt": record.attempt, **times, "age_seconds": (now - record.started_at) // _SECOND}
    return {**shown, "targets": _targets(record, planned, times)}


def _targets(record: Record, planned: Sequence[Target], times: Mapping[str, int]) -> list[dict[str, Any]]:
    shown = {
        outcome.name: {
            "name": outcome.name,
            "category": outcome.category,
            "state": outcome.state,
            **outcome.rest(),
            **(times if outcome.state == FAILED else {}),
        }
        for outcome in record.outcomes.values()
    }
    is_told = bool(record.outcomes) and not record.is_partial and not record.working
    if record.state in (FINISHED, CANCELLED) or is_told:
        return list(shown.values())
    for target in planned:
        state, count = record.working.get(target.name, ("waiting", 0))
        one = {"name": target.name, "category": target.category, "state": state, "count": count, **times}
        if target.name in record.working:
            before = record.outcomes.get(target.name)
            shown.pop(target.name, None)
            shown[target.name] = {**one, "count": count + (before.count if before else 0)}
        else:
            shown.setdefault(target.name, one)
    return list(shown.values())


def _sla(record: Record, now: datetime) -> dict[str, Any]:
    stopped_at = {FINISHED: record.finished_at, HELD: record.held_at}.get(record.state) or now
    age = max(stopped_at - record.begin - timedelta(seconds=record.paused_seconds), timedelta())
    promised = _promised(record)
    return {
        "age_seconds": age // _SECOND,
        "remaining_seconds": (record.due_at - stopped_at) // _SECOND,
        "percent": 100 * age // promised if promised > timedelta() else 100,
        "paused_seconds": record.paused_seconds + record.pause_until(now),
        "state": _state(record, now),
    }


def _promised(record: Record) -> timedelta:
    return record.due_at - record.begin - timedelta(seconds=record.paused_seconds)


def _state(record: Record, now: datetime) -> str:
    if record.state == HELD:
        return "paused"
    if record.state == FINISHED:
        return "met" if record.finished_at is None or record.finished_at <= record.due_at else "missed"
    if now >= record.due_at:
        return "breached"
    return "at_risk" if now >= record.due_at - _promised(record) * (100 - LEVELS[0]) / 100 else "on_time"
