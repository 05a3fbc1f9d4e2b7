"""Looks at every open request whose time to be looked at has come: is it on time, does somebody work on it?

What it reads are requests whose ``clock_at`` has passed, and no others, the oldest first. What is not reached within
one call comes first in the next. Nothing is changed but under the condition that it is as it was read, what is told is
told under ids of its own, and what is sent is sent before it is noted: so a watch may die anywhere, come late, or run
beside another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from erasure.domain.clock import ClockPolicy
from erasure.domain.request import REQUESTED, STARTED, ErasureRequest
from erasure.domain.sla import SlaFigures, figures_of
from erasure.ports import (
    AuditLog,
    Clock,
    ClockStore,
    DeadLetters,
    EventBus,
    Executions,
    HoldStore,
    JobQueue,
    RequestStore,
)
from erasure.services.dead_letters import DeadLetterDesk
from erasure.services.held_requests import ResumeDependencies, held_among, hold_requests, resume_free
from erasure.services.holds import end_due
from erasure.services.lost_requests import Healing, LostRequests
from erasure.services.side_by_side import each_for_itself
from erasure.services.sla_alerts import SlaAlerts
from erasure.targets.protocol import Deadline

ROUND = 1000
MOST_OF_A_CALL = 20_000
"""Requests that are listed in one call, far more than it can look at."""
PARALLEL_REQUESTS = 8


@dataclass(slots=True)
class SlaReport:
    """What one call of the watch has done. ``told``: how many alarms, by level in percent. ``errors``: what went wrong,
    beside which everything else went on; there is nothing in their texts that may not be logged, or they are foreign.
    """

    figures: SlaFigures | None = None
    looked_at: int = 0
    told: Counter[int] = field(default_factory=Counter)
    resent: int = 0
    parked: int = 0
    held: int = 0
    resumed: int = 0
    holds_ended: int = 0
    letters_dropped: int = 0
    errors: list[Exception] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SlaWatch:
    """``queue``: the batch lane."""

    clock: ClockStore
    requests: RequestStore
    holds: HoldStore
    audit: AuditLog
    queue: JobQueue
    executions: Executions
    events: EventBus
    dead_letters: DeadLetters
    now: Clock
    policy: ClockPolicy

    def run(self, deadline: Deadline) -> SlaReport:
        """One call. No round of requests begins when the time is up; each has :data:`ROUND` at most. Nothing is raised:
        what failed is in the report, and whoever called has to fail after having told the figures."""
        report = SlaReport()
        steps: Sequence[Callable[[SlaReport, Deadline], None]] = (
            self._end_holds,
            self._resume,
            self._clear_dead_letters,
            self._look_at_all,
            self._count,
        )
        for step in steps:
            try:
                step(report, deadline)
            except Exception as error:
                report.errors.append(error)
        return report

    def _end_holds(self, report: SlaReport, deadline: Deadline) -> None:
        report.holds_ended = end_due(holds=self.holds, audit=self.audit, now=self.now, deadline=deadline)

    def _resume(self, report: SlaReport, deadline: Deadline) -> None:
        use = ResumeDependencies(self.holds, self.requests, self.clock, self.audit, self.queue, self.now, self.policy)
        report.resumed = resume_free(use, deadline)

    def _clear_dead_letters(self, report: SlaReport, deadline: Deadline) -> None:
        desk = DeadLetterDesk(self.clock, self.requests, self.queue, self.dead_letters, self._lost(), self.policy)
        report.letters_dropped = desk.clear(self.now(), deadline, report.errors)

    def _look_at_all(self, report: SlaReport, deadline: Deadline) -> None:
        # Listed once: the list lags, and would show again what has just been looked at.
        due = self.clock.open_due(self.now(), MOST_OF_A_CALL)
        for start in range(0, len(due), ROUND):
            if deadline.expired():
                return
            try:
                self._look_at(due[start : start + ROUND], report)
            except Exception as error:
                report.errors.append(error)

    def _count(self, report: SlaReport, _deadline: Deadline) -> None:
        promises = ((row.due_at, row.held) for row in self.clock.open_rows())
        report.figures = figures_of(promises, self.now(), self.policy.sla_hours)

    def _lost(self) -> LostRequests:
        return LostRequests(self.executions, self.audit, self.queue, self.events, self.policy)

    def _look_at(self, request_ids: Sequence[str], report: SlaReport) -> None:
        now = self.now()
        found = self.requests.get_many(request_ids)
        due = [found[request_id] for request_id in request_ids if request_id in found]
        due = [request for request in due if _is_due(request, now)]
        report.looked_at += len(due)
        due = self._without_held(due, report)
        alerts = SlaAlerts(self.clock, self.requests, self.audit, self.events)
        due = [request for request in alerts.note(due, now, report.errors) if _is_due(request, now)]
        try:
            report.told.update(alerts.tell(due, now))
            is_told = True
        except Exception as error:
            report.errors.append(error)
            is_told = False
        healings = self._lost().heal(due, now, report.errors)
        report.resent += sum(healing.attempt is not None for healing in healings.values())
        report.parked += sum(healing.parks for healing in healings.values())

        def note(request: ErasureRequest) -> None:
            healing = healings.get(request.request_id)
            if healing is not None:
                self._note(request, healing, now, is_told=is_told)

        each_for_itself(note, due, PARALLEL_REQUESTS, report.errors)

    def _note(self, request: ErasureRequest, healing: Healing, now: datetime, *, is_told: bool) -> None:
        """When it is looked at next, and what this look has come to; nothing, if somebody else has been at it since."""
        is_untold = request.sla_told < request.sla_level
        if request.parked_at is not None and now >= request.purged_by and not is_untold:
            return  # as it is, it is due to be purged
        self.clock.look_again(
            request,
            self.policy.next_look(request, now, now if is_untold and not is_told else healing.again_at),
            tries=None if healing.attempt is None else request.tries + 1,
            sla_told=request.sla_level if is_untold and is_told else None,
            parked_at=now if healing.parks else None,
        )

    def _without_held(self, requests: Sequence[ErasureRequest], report: SlaReport) -> list[ErasureRequest]:
        """Those that no hold in force names; the others are held from now on."""
        named = held_among(requests, self.holds)
        try:
            report.held += hold_requests(
                named, requests=self.requests, clock=self.clock, audit=self.audit, now=self.now
            )
        except Exception as error:
            report.errors.append(error)
        return [request for request in requests if request.request_id not in named]


def _is_due(request: ErasureRequest, now: datetime) -> bool:
    """By the record, and not by the list: it lags."""
    is_open = request.state in (REQUESTED, STARTED) and request.purged_at is None
    return is_open and request.clock_at is not None and request.clock_at <= now
