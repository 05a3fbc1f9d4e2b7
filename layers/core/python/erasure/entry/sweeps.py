"""The functions that run by the clock. Nothing here logs more than numbers, and what kind of error came from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from erasure.domain.clock import LEVELS
from erasure.errors import UnexpectedError, places_of
from erasure.services.purge import purge_due
from erasure.services.release_due import Sweep, release_due
from erasure.targets.protocol import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aws_lambda_powertools.logging.logger import Logger

    from erasure.domain.clock import ClockPolicy
    from erasure.ports import AuditLog, Clock, ClockStore, JobQueue, RequestStore
    from erasure.services.follow_ups import FollowUps
    from erasure.services.retention_runs import RetentionRuns
    from erasure.services.second_look import SecondLooks
    from erasure.services.sla_watch import SlaReport, SlaWatch

SWEEP_MARGIN_SECONDS = 60.0
"""No round begins this long before the function's time is up: one of 1,000 requests takes a few seconds, and a look at
a subject's data up to 45."""
WATCH_MARGIN_SECONDS = 150.0
"""A round of 1,000 requests that all have to be sent again takes 20, and up to 100 where asking for their executions is
throttled."""


@dataclass(frozen=True, slots=True)
class Sweeps:
    """All that the sweep does, each in its turn. ``queue``: the batch lane."""

    requests: RequestStore
    clock: ClockStore
    audit: AuditLog
    queue: JobQueue
    now: Clock
    policy: ClockPolicy
    follow_ups: FollowUps
    second_looks: SecondLooks
    retention: RetentionRuns

    def run(self, deadline: Deadline) -> tuple[dict[str, int], list[Exception]]:
        """Numbers of requests by what was done with them, and what went wrong; everything else went on."""
        figures: dict[str, int] = {}
        errors: list[Exception] = []

        def attempt(step: Callable[[], dict[str, int]]) -> None:
            try:
                figures.update(step())
            except Exception as error:
                errors.append(error)

        released = Sweep()

        def release() -> dict[str, int]:
            nonlocal released
            released = release_due(self.requests, self.queue, self.now, deadline)
            return {"sent": released.sent, "released": released.released}

        attempt(release)
        # The promise with a date before what asks the verifier and may take all the time.
        attempt(lambda: {"purged": self._purge(deadline)})
        attempt(lambda: {"followed": self.follow_ups.take_up(released.finished, deadline)})
        attempt(self._settle)
        attempt(lambda: {"rules_started": self.retention.start_due(deadline)})
        attempt(lambda: self._look(deadline))
        return figures, errors

    def _purge(self, deadline: Deadline) -> int:
        return purge_due(self.clock, self.requests, self.audit, self.now, deadline, self.policy)

    def _settle(self) -> dict[str, int]:
        settled = self.retention.settle()
        return {"rules_finished": settled.finished, "rules_given_up": settled.given_up}

    def _look(self, deadline: Deadline) -> dict[str, int]:
        looks = self.second_looks.look(deadline)
        return {"looked": looks.looked, "late": looks.late, "not_looked": looks.not_looked}


def make_retention_sweep(sweeps: Sweeps, logger: Logger) -> Callable[[Any, Any], dict[str, int]]:
    """EMF metrics ``RequestsPurged``, ``SecondLooks``, ``LateSubjects``, ``RetentionRunsGivenUp``."""
    metrics = Metrics()

    @metrics.log_metrics
    def handle(_event: Any, context: Any) -> dict[str, int]:
        figures, errors = sweeps.run(_deadline(context, SWEEP_MARGIN_SECONDS))
        named = {
            "RequestsPurged": "purged",
            "SecondLooks": "looked",
            "LateSubjects": "late",
            "RetentionRunsGivenUp": "rules_given_up",
        }
        for metric, name in named.items():
            metrics.add_metric(metric, MetricUnit.Count, figures.get(name, 0))
        logger.info("swept", extra=figures)
        _raise_first(errors, logger)
        return figures

    return handle


def make_sla_watch(watch: SlaWatch, logger: Logger) -> Callable[[Any, Any], dict[str, int]]:
    """EMF metrics: how many requests are open, held and overdue, the oldest's age and the time that the next one has
    left; and how many alarms were told, requests sent again and parked."""
    metrics = Metrics()

    @metrics.log_metrics
    def handle(_event: Any, context: Any) -> dict[str, int]:
        report = watch.run(_deadline(context, WATCH_MARGIN_SECONDS))
        _add_gauges(metrics, report)
        counts = {
            **{f"SlaAtRisk{level}": report.told[level] for level in LEVELS[:-1]},
            "SlaBreached": report.told[LEVELS[-1]],
            "RequestsResent": report.resent,
            "RequestsParked": report.parked,
        }
        for name, count in counts.items():
            metrics.add_metric(name, MetricUnit.Count, count)
        answer = {
            "looked_at": report.looked_at,
            "alerts": report.told.total(),
            "resent": report.resent,
            "parked": report.parked,
            "held": report.held,
            "resumed": report.resumed,
        }
        logger.info("watched", extra=answer)
        _raise_first(report.errors, logger)
        return answer

    return handle


def _add_gauges(metrics: Metrics, report: SlaReport) -> None:
    figures = report.figures
    if figures is None:
        return
    metrics.add_metric("OpenRequests", MetricUnit.Count, figures.open)
    metrics.add_metric("HeldRequests", MetricUnit.Count, figures.held)
    metrics.add_metric("OverdueRequests", MetricUnit.Count, figures.overdue)
    metrics.add_metric("OldestRequestAge", MetricUnit.Seconds, figures.oldest_age_seconds)
    if figures.seconds_to_deadline is not None:
        metrics.add_metric("TimeToDeadline", MetricUnit.Seconds, figures.seconds_to_deadline)


def _deadline(context: Any, margin_seconds: float) -> Deadline:
    return Deadline(context.get_remaining_time_in_millis() / 1000 - margin_seconds)


def _raise_first(errors: Sequence[Exception], logger: Logger) -> None:
    """The call has failed, although all the rest was done: Lambda's metric of errors has to show it."""
    for error in errors:
        logger.error("a step failed", kind=type(error).__name__, places=places_of(error))
    if errors:
        # By its kind only: a foreign error may say anything.
        raise UnexpectedError(type(errors[0]).__name__) from None
