"""What was written of a subject after it had been erased is looked for once more, a day later, and erased.

Whoever stays, or has come back, goes on writing, and nobody asked to erase that: it is looked only for subjects that
are seen to be gone, where their own ids lead. Further ids may be somebody else's by now. In any doubt nothing is done,
and the trail says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import derived_request_id
from erasure.domain.plan import final_targets, root_of, targets_for
from erasure.domain.request import FINISHED, SECOND_LOOK, ErasureRequest
from erasure.domain.scope import needs
from erasure.domain.subject import SUBJECT_TYPES, USER
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import due_at, milliseconds
from erasure.errors import UnavailableError
from erasure.ports import (
    Acceptance,
    AcceptanceStore,
    AccountReader,
    AuditLog,
    Clock,
    ClockStore,
    DataReader,
    Event,
    EventBus,
    JobQueue,
    PinnedMap,
    RequestStore,
    SubjectRegistry,
    SuppressionStore,
)
from erasure.services.account_targets import account_specs, why_not_gone
from erasure.services.current_map import CurrentMap
from erasure.services.due_rounds import work_through
from erasure.services.erasure_plans import map_to_look_at
from erasure.targets.protocol import Deadline

PATIENCE = timedelta(days=3)
"""So long targets or accounts may not be readable, until that counts as doubt."""
PAUSE = timedelta(hours=1)
"""So long it is waited until they are asked again."""

MAY_EXIST, NOWHERE, UNREADABLE = "may_exist", "nowhere_to_look", "unreadable"
"""Why it is not looked, in the trail, unless an account says so: nothing tells that the group or organization is gone;
no target that was erased is found by the subject's own ids; the targets or accounts could not be read."""
NOT_LOOKED = "not_looked"
LATE_ARRIVALS = "erasure.late_arrivals"
_POSITION = 1
"""In what the id of the request that follows is derived from: a follow-up (0) is another one."""


@dataclass(frozen=True, slots=True)
class SecondLookFigures:
    """Numbers of requests. ``looked``: at whose subjects was looked; ``late``: for how many of them something was
    found; ``not_looked``: in doubt."""

    looked: int = 0
    late: int = 0
    not_looked: int = 0


@dataclass(frozen=True, slots=True)
class SecondLooks:
    """``queue``: the batch lane. ``sla_hours`` are the ``clock_policy``'s."""

    clock: ClockStore
    requests: RequestStore
    acceptance: AcceptanceStore
    audit: AuditLog
    registry: SubjectRegistry
    suppressions: SuppressionStore
    accounts: AccountReader
    reader: DataReader
    data_map: CurrentMap
    queue: JobQueue
    events: EventBus
    now: Clock
    clock_policy: ClockPolicy

    def look(self, deadline: Deadline) -> SecondLookFigures:
        """At all whose time has come. Each look is on record before anything follows from it: a sweep that dies, or
        two at a time, make the same request. Raises ``UnavailableError`` if one could not be ended, after all the
        others."""
        told: list[AuditEntry] = []

        def look(request: ErasureRequest) -> bool:
            entry = self._look(request)
            told.extend([entry] if entry is not None else [])
            return entry is not None

        work_through(lambda limit: self.clock.ended_due(self.now(), limit), self.requests, look, deadline)
        looked = [entry for entry in told if entry.event == SECOND_LOOK]
        return SecondLookFigures(
            looked=len(looked),
            late=sum(bool(entry.details["found"]) for entry in looked),
            not_looked=len(told) - len(looked),
        )

    def _look(self, request: ErasureRequest) -> AuditEntry | None:
        """What the look came to, if it is ended by this; ``None``: it is not due, or another sweep has ended it."""
        now = self.now()
        if not self._is_due(request, now):
            return None
        entry = self._on_record(request) or self._record(request, now)
        if entry.event == NOT_LOOKED:
            is_noted = self.clock.look_again(request, self._purge_at(request))
        else:
            is_noted = self._end(request, entry.details["found"], now)
        return entry if is_noted else None

    def _is_due(self, request: ErasureRequest, now: datetime) -> bool:
        is_of_this_kind = (
            request.state == FINISHED and request.purpose is None and request.subject.type in SUBJECT_TYPES
        )
        is_time = request.clock_at is not None and request.clock_at <= now < self._purge_at(request)
        return is_of_this_kind and is_time and request.late_arrivals is None

    def _purge_at(self, request: ErasureRequest) -> datetime:
        return self.clock_policy.purge_at(request.purged_by, request.finished_at or request.requested_at)

    def _on_record(self, request: ErasureRequest) -> AuditEntry | None:
        """Of a sweep that died before it had ended the look."""
        entries = self.audit.entries(request.request_id)
        return next((entry for entry in entries if entry.event_id == SECOND_LOOK), None)

    def _record(self, request: ErasureRequest, now: datetime) -> AuditEntry:
        try:
            reason, found = self._sight(request)
        except UnavailableError:
            if now - (request.finished_at or now) < self.clock_policy.second_look + PATIENCE:
                self.clock.look_again(request, min(now + PAUSE, self._purge_at(request)))
                raise
            reason, found = UNREADABLE, {}
        details: dict[str, object] = {"found": found} if reason is None else {"reason": reason}
        if found:
            details["followed_by"] = _following_id(request)
        event = SECOND_LOOK if reason is None else NOT_LOOKED
        # One id for both, so that of two sweeps that saw different things one is right.
        return self.audit.append(request.request_id, event, now, details, event_id=SECOND_LOOK)

    def _sight(self, request: ErasureRequest) -> tuple[str | None, dict[str, int]]:
        """Why it is not looked, or how many things each target has in which there is something. Raises
        ``UnavailableError``."""
        data_map = self.data_map.get()
        reason = self._why_not(request, data_map)
        if reason is not None:
            return reason, {}
        erased = final_targets(request)
        specs = [spec for tree in _trees(request, data_map) for spec in tree if spec.name in erased]
        if not specs:
            return NOWHERE, {}
        previews = self.reader.preview(request.subject, request.organization_ids, map_to_look_at(data_map, specs))
        found = {preview.target: preview.count for preview in previews if preview.count}
        if not found and any(preview.count is None for preview in previews):
            raise UnavailableError("the targets could not be read")
        return None, found

    def _why_not(self, request: ErasureRequest, data_map: PinnedMap) -> str | None:
        subject = request.subject
        if subject.type == USER or account_specs(data_map.targets, subject.type):
            return why_not_gone(subject, data_map.targets, self.accounts)
        is_gone = (
            self.suppressions.get(subject.tenant_id, request.subject_digest) is not None
            or self.registry.standing(request.subject_digest).tombstone is not None
        )
        return None if is_gone else MAY_EXIST

    def _end(self, request: ErasureRequest, found: Mapping[str, int], now: datetime) -> bool:
        following = None
        if found:
            following = self._following(request, found, now)
            self.acceptance.accept(Acceptance(following, _first_entry(following)), now)
            self.queue.send([following.request_id], 1)
            self.events.put([_event(request, following, sum(found.values()), now)])
        return self.clock.note_second_look(
            request,
            self._purge_at(request),
            sum(found.values()),
            None if following is None else following.request_id,
        )

    def _following(self, request: ErasureRequest, found: Mapping[str, int], now: datetime) -> ErasureRequest:
        trees = [[spec.name for spec in tree] for tree in _trees(request, self.data_map.get())]
        of_found = [name for tree in trees if not found.keys().isdisjoint(tree) for name in tree]
        return ErasureRequest(
            request_id=_following_id(request),
            subject=request.subject,
            subject_digest=request.subject_digest,
            family=request.family,
            requested_at=now,
            due_at=due_at(now, self.clock_policy.sla_hours),
            # The subject was told when its id would be gone.
            purged_by=request.purged_by,
            categories=request.categories,
            organization_ids=request.organization_ids,
            hold_digests=request.hold_digests,
            clock_at=self.clock_policy.first_look(now),
            purpose=SECOND_LOOK,
            follows=request.request_id,
            # Without any, it would be for all targets: those in which something was found are among them in any case.
            only_targets=tuple(sorted({*found, *of_found})),
        )


def _following_id(request: ErasureRequest) -> str:
    moment = milliseconds(request.finished_at or request.requested_at)
    return derived_request_id(request.request_id, _POSITION, moment)


def _trees(request: ErasureRequest, data_map: PinnedMap) -> list[list[TargetSpec]]:
    """The targets that the request covers, each with those that lead to it or that it leads to, of which none is
    scanned or needs a further id."""
    trees: dict[str, list[TargetSpec]] = {}
    for spec in targets_for(request, data_map.targets, data_map.families):
        trees.setdefault(root_of(spec).name, []).append(spec)
    return [tree for tree in trees.values() if _are_found_by_own_ids(tree)]


def _are_found_by_own_ids(tree: Sequence[TargetSpec]) -> bool:
    return not any(needs(spec)[1] or any(each.is_scan for each in (spec, *spec.ancestors())) for spec in tree)


def _first_entry(request: ErasureRequest) -> AuditEntry:
    details = {
        "family": request.family,
        "subject_digest": request.subject_digest,
        "subject_type": request.subject.type,
        "purpose": request.purpose,
        "follows": request.follows,
        "targets": list(request.only_targets),
    }
    return next_entry(request.request_id, None, "requested", request.requested_at, details)


def _event(request: ErasureRequest, following: ErasureRequest, found: int, now: datetime) -> Event:
    details = {
        "request_id": request.request_id,
        "family": request.family,
        "found": found,
        "followed_by": following.request_id,
    }
    return Event(f"{request.request_id}:late_arrivals", LATE_ARRIVALS, now, details)
