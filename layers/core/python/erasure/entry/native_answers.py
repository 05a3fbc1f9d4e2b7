"""What the native family answers with: requests with their promise, plans, trails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from erasure.domain.outcome import FINAL_OUTCOMES
from erasure.domain.request import OPEN_STATES
from erasure.domain.times import format_time
from erasure.services.commands import ACCEPTED, Disposition, PlannedTarget, SubjectPlan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from erasure.domain.audit import AuditEntry
    from erasure.domain.outcome import Kept
    from erasure.domain.request import ErasureRequest
    from erasure.services.requests_view import RequestView, TargetProgress
    from erasure.services.sla_view import SlaView


def shown_disposition(disposition: Disposition) -> dict[str, Any]:
    subject = disposition.subject
    result: dict[str, Any] = {"subject": {"type": subject.type, "id": subject.id}, "status": disposition.status}
    if disposition.status == ACCEPTED and disposition.request is not None:
        result["request"] = shown_request(disposition.request)
    if disposition.reason is not None:
        result["reason"] = disposition.reason
    return result


def shown_request(request: ErasureRequest) -> dict[str, Any]:
    """A request as it is told about. The subject's id is null when the record's own copy of it has been purged."""
    shown: dict[str, Any] = {
        "id": request.request_id,
        "subject": {"type": request.subject.type, "id": request.subject.id or None},
        "state": request.state,
        "attention": request.attention,
        "requested_at": format_time(request.requested_at),
        "due_at": format_time(request.due_at),
        "purged_by": format_time(request.purged_by),
    }
    times = {
        "not_before": request.not_before,
        "started_at": request.started_at,
        "scan_at": request.scan_at,
        "finished_at": request.finished_at,
        "follow_up_at": request.follow_up_at,
        "held_since": request.held_at,
        "parked_at": request.parked_at,
        "purged_at": request.purged_at,
    }
    shown.update({name: format_time(moment) for name, moment in times.items() if moment is not None})
    if request.organization_ids:
        shown["organization_ids"] = list(request.organization_ids)
    rest = {
        "batch_id": request.batch_id,
        "followed_by": request.followed_by,
        "purpose": request.purpose,
        "follows": request.follows,
        "late_arrivals": request.late_arrivals,
    }
    shown.update({name: value for name, value in rest.items() if value is not None})
    return shown


def shown_view(view: RequestView) -> dict[str, Any]:
    """A request with its promise, the job that has it, and how far each target is."""
    shown, times = shown_request(view.request), {}
    if view.sla is not None:
        shown["sla"] = _shown_sla(view.sla)
        if view.request.state in OPEN_STATES:
            times = {"age_seconds": view.sla.age_seconds, "remaining_seconds": view.sla.remaining_seconds}
    if view.job is not None:
        shown["job"] = {"attempt": view.job.attempt, **times, "age_seconds": view.job.age_seconds}
    return {**shown, "targets": [_shown_target(seen, times) for seen in view.targets]}


def _shown_sla(sla: SlaView) -> dict[str, Any]:
    return {
        "age_seconds": sla.age_seconds,
        "remaining_seconds": sla.remaining_seconds,
        "percent": sla.percent,
        "paused_seconds": sla.paused_seconds,
        "state": sla.state,
    }


def _shown_target(seen: TargetProgress, times: Mapping[str, int]) -> dict[str, Any]:
    """``times``: what is told of targets that are not at their end."""
    shown: dict[str, Any] = {
        "name": seen.name,
        "category": seen.category,
        "state": seen.state,
        "count": seen.count,
    }
    if seen.at_least:
        shown["at_least"] = True
    if seen.reason is not None:
        shown["reason"] = seen.reason
    open_times = {} if seen.state in FINAL_OUTCOMES else times
    return {**shown, **shown_kept(seen.kept, seen.basis), **open_times}


def shown_kept(kept: Kept, basis: str | None) -> dict[str, Any]:
    """What is still there and may be. ``until`` is null where nobody knows how long."""
    if not kept.count:
        return {}
    shown: dict[str, Any] = {"kept": kept.count, "until": kept.until}
    if kept.more:
        shown["kept_more"] = True
    if basis is not None:
        shown["basis"] = basis
    return shown


def shown_plan(plan: SubjectPlan) -> dict[str, Any]:
    return {
        "subject": {"type": plan.subject.type, "id": plan.subject.id},
        **shown_moment(plan.not_before),
        "targets": [_shown_planned(target) for target in plan.targets],
        "out_of_scope": list(plan.out_of_scope),
    }


def shown_moment(not_before: datetime | None) -> dict[str, Any]:
    return {} if not_before is None else {"not_before": format_time(not_before)}


def _shown_planned(target: PlannedTarget) -> dict[str, Any]:
    shown = {"name": target.name, "category": target.category, "kind": target.kind, "action": target.action}
    return shown if target.reason is None else {**shown, "reason": target.reason}


def shown_entry(entry: AuditEntry) -> dict[str, Any]:
    """All that its digest covers, so that whoever keeps the trail can check it."""
    return {
        "request_id": entry.request_id,
        "sequence": entry.sequence,
        "event_id": entry.event_id,
        "event": entry.event,
        "at": entry.at,
        "details": dict(entry.details),
        "previous_digest": entry.previous_digest,
        "digest": entry.digest,
    }
