"""The functions behind the queue: parse, log ids, call one use case, answer.

What each takes and returns is in ``docs/architecture.md``. Nothing here logs more than request, job and unit ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.logger import Logger

from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.entry import reader
from erasure.errors import InvalidInputError, places_of
from erasure.ports import AuditLog, Clock, RequestStore, TaskStore, Workflow
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.side_by_side import side_by_side
from erasure.services.verify_unit import NextStep, VerifyUnitDependencies, holds_anything, verify_unit
from erasure.targets.protocol import Deadline

if TYPE_CHECKING:
    from erasure.adapters.manifests import S3Manifests
    from erasure.adapters.sessions import SessionName
    from erasure.domain.clock import ClockPolicy
    from erasure.domain.plan import Unit
    from erasure.services.plan_job import PlanJobDependencies
    from erasure.services.sla_alerts import SlaAlerts

Handler = Callable[[Any, Any], Any]

UNITS_AT_ONCE = 2
"""Verified side by side in one call: as many as a usual job has, one of tables and one of buckets. What a unit holds in
memory is bounded, and there is room for two."""


def make_start_jobs(workflow: Workflow, batch_queue_arn: str, logger: Logger) -> Handler:
    """SQS batch in, partial batch response out: one bad message, or one job that cannot be started, never takes the
    others along. ``batch_queue_arn``: whose messages are packed together."""
    from erasure.services.start_jobs import Job, Message, job_of, pack, read_message

    def read(records: Iterable[Any], failed: list[str]) -> list[Message]:
        messages = []
        for record in records:
            try:
                messages.append(read_message(record["messageId"], record["body"]))
            except InvalidInputError as error:
                logger.error("message refused", field=error.field, rule=error.rule, message_id=record["messageId"])
                failed.append(record["messageId"])
        return messages

    def start(job: Job, failed: list[str]) -> None:
        try:
            workflow.start(job.job_id, job.request_ids, job.attempt)
        except Exception as error:
            # The queue delivers the messages again. Without this line nobody would know why.
            kind, places = type(error).__name__, places_of(error)
            logger.error("job not started", kind=kind, places=places, job_id=job.job_id)
            failed.extend(job.message_ids)
        else:
            logger.info("job started", job_id=job.job_id, requests=len(job.request_ids))

    def handle(event: Any, _context: Any) -> dict[str, Any]:
        failed: list[str] = []
        lanes: dict[bool, list[Any]] = {True: [], False: []}
        for record in event["Records"]:
            lanes[record["eventSourceARN"] == batch_queue_arn].append(record)
        jobs = [*map(job_of, read(lanes[False], failed)), *pack(read(lanes[True], failed))]
        for job in jobs:
            start(job, failed)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    return handle


def make_plan_job(
    use: PlanJobDependencies, erasers: Mapping[str, str], manifests: S3Manifests, inline_units: int, logger: Logger
) -> Handler:
    """``erasers``: function name by kind of target. ``inline_units``: with more, the units are not answered but put
    into the job's manifest: the payload stays small, and each of them has an execution and its history for itself."""
    from erasure.domain.plan import passes_of_each
    from erasure.services.plan_job import plan_job

    def handle(event: Any, _context: Any) -> dict[str, Any]:
        job_id, request_ids = event["job_id"], event["request_ids"]
        units = plan_job(job_id, request_ids, event["attempt"], use)
        logger.info("job planned", job_id=job_id, units=len(units), tasks=sum(len(unit.tasks) for unit in units))
        is_inline = len(units) <= inline_units
        passes = passes_of_each(len(units) if is_inline else 1)
        events = [_event_of(job_id, unit, erasers, passes) for unit in units]
        return {
            "job_id": job_id,
            "request_ids": request_ids,
            "units": events if is_inline else [],
            "manifest": None if is_inline else manifests.put(job_id, events),
        }

    return handle


def _event_of(job_id: str, unit: Unit, erasers: Mapping[str, str], passes: int) -> dict[str, Any]:
    """What its first eraser is called with. A unit that is worked on level by level also has the eraser of each."""
    event = {"job_id": job_id, "unit": unit.name, "eraser": erasers[unit.kind], "passes_left": passes}
    if len(unit.kinds) > 1:
        event |= {"level": 0, "erasers": [erasers[kind] for kind in unit.kinds]}
    return event


def _deadline(event: Mapping[str, Any], context: Any, margin_seconds: int) -> Deadline:
    """Stop ``margin_seconds`` before the function's time is up, but work for half of it at least: a margin that is
    longer than the timeout would make slices that do nothing, for ever. A caller who waits says in ``seconds`` how
    long it does."""
    remaining = context.get_remaining_time_in_millis() / 1000
    own = max(remaining - margin_seconds, remaining / 2)
    return Deadline(min(own, event["seconds"]) if "seconds" in event else own)


def _unit_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The unit as it travels on, without what the functions before have told about it."""
    names = ("job_id", "unit", "level", "eraser", "erasers", "passes_left", "seconds")
    return {name: event[name] for name in names if name in event}


def make_eraser(use: EraseUnitDependencies, margin_seconds: int, session_name: SessionName, logger: Logger) -> Handler:
    """One slice of a unit, of its ``level`` if its targets lead to each other. ``session_name``: of roles that are
    assumed meanwhile.

    The answer says ``again`` whatever has been done: only the verifier can tell that a unit needs no more."""

    def handle(event: Any, context: Any) -> dict[str, Any]:
        job_id, unit, level = event["job_id"], event["unit"], event.get("level", 0)
        deadline = _deadline(event, context, margin_seconds)
        with session_name.of(job_id):
            more = erase_unit(job_id, unit, context.aws_request_id, deadline, use, level)
        logger.info("slice ended", job_id=job_id, unit=unit, more=more)
        return {**_unit_of(event), "more": more, "again": True, "wait": 0}

    return handle


def make_verify_target(
    use: VerifyUnitDependencies, margin_seconds: int, session_name: SessionName, logger: Logger
) -> Handler:
    """Verify a unit, or all ``units`` of a job, and say what comes next.

    Also answers whether some targets hold anything of a subject, and what :mod:`erasure.entry.reader` does: this
    function's role may read them. Those calls have subjects' ids in them, so nothing of them is logged.
    """
    verifier = _Verifier(use, logger)

    def look_up(lookup: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        subject = Subject(lookup["subject"]["tenant_id"], lookup["subject"]["id"], lookup["subject"]["type"])
        specs = [TargetSpec.from_dict(spec) for spec in lookup["specs"]]
        return {"found": holds_anything(subject, specs, use.targets, deadline, use.reader)}

    def handle(event: Any, context: Any) -> dict[str, Any]:
        deadline = _deadline(event, context, margin_seconds)
        if "lookup" in event:
            return look_up(event["lookup"], deadline)
        if not reader.QUESTIONS.isdisjoint(event):
            return reader.answer(event, use.targets, use.reader, deadline)
        with session_name.of(event["job_id"]):
            if "units" in event:
                return verifier.verify_all(event["units"], deadline)
            return verifier.verify(event, deadline)

    return handle


@dataclass(frozen=True, slots=True)
class _Verifier:
    """Verifies units and says what comes next. A unit without passes left goes no further, whatever is left of it.
    ``erasers`` of a unit has the function of each level; the next one's becomes its ``eraser``."""

    use: VerifyUnitDependencies
    logger: Logger

    def verify(self, event: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        job_id, unit = event["job_id"], event["unit"]
        step = verify_unit(job_id, unit, deadline, self.use, event.get("level", 0))
        self.logger.info("unit verified", job_id=job_id, unit=unit, again=step.again, wait=step.wait)
        return self._following(event, step)

    def verify_all(self, units: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[str, Any]:
        verified = side_by_side(lambda unit: self._verify_beside_others(unit, deadline), units, UNITS_AT_ONCE)
        return {"units": verified, "again": any(unit["again"] for unit in verified)}

    def _verify_beside_others(self, event: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        """What goes wrong with one unit, or takes all the time, is no other's matter: a unit that was not verified
        goes on, and is verified by itself then."""
        if not event["again"]:  # its eraser gave up
            return {**_unit_of(event), "again": False, "wait": 0}
        if not deadline.expired():
            try:
                return self.verify(event, deadline)
            except Exception as error:
                kind, places = type(error).__name__, places_of(error)
                ids = {"job_id": event["job_id"], "unit": event["unit"]}
                self.logger.error("unit not verified", kind=kind, places=places, **ids)
        return self._following(event, NextStep(again=True, wait=0, level=event.get("level", 0)))

    def _following(self, event: Mapping[str, Any], step: NextStep) -> dict[str, Any]:
        left = event["passes_left"] - 1
        if step.again and left <= 0:
            self.logger.error("unit has no passes left", job_id=event["job_id"], unit=event["unit"])
        following = {"passes_left": left, "again": step.again and left > 0, "wait": step.wait}
        if "erasers" in event:
            following |= {"level": step.level, "eraser": event["erasers"][step.level]}
        return {**_unit_of(event), **following}


def make_close_job(
    *,
    requests: RequestStore,
    tasks: TaskStore,
    audit: AuditLog,
    alerts: SlaAlerts,
    policy: ClockPolicy,
    now: Clock,
    logger: Logger,
) -> Handler:
    """Close the job and count it: EMF metrics ``RequestsFinished``, ``RequestsWithAttention``, ``SecondsToFinish``,
    ``FinishedWithinSla``, ``FinishedLate``, ``LateArrivals``, and the watch's for levels that it has not told of."""
    from aws_lambda_powertools.metrics import Metrics, MetricUnit

    from erasure.domain.clock import LEVELS
    from erasure.services.close_job import close_job

    metrics = Metrics()

    @metrics.log_metrics
    def handle(event: Any, _context: Any) -> dict[str, Any]:
        job_id = event["job_id"]
        closed = close_job(
            job_id,
            event["request_ids"],
            requests=requests,
            tasks=tasks,
            audit=audit,
            now=now,
            alerts=alerts,
            policy=policy,
        )
        counts = {
            "RequestsFinished": len(closed.finished),
            "RequestsWithAttention": len(closed.attention),
            "FinishedWithinSla": closed.within,
            "FinishedLate": closed.late,
            "LateArrivals": closed.late_arrivals,
        }
        for name, count in counts.items():
            metrics.add_metric(name, MetricUnit.Count, count)
        for reached in closed.told:
            metrics.add_metric("SlaBreached" if reached == LEVELS[-1] else f"SlaAtRisk{reached}", MetricUnit.Count, 1)
        for seconds in closed.finished:
            metrics.add_metric("SecondsToFinish", MetricUnit.Seconds, seconds)
        level = logger.warning if closed.attention else logger.info
        level("job closed", job_id=job_id, finished=len(closed.finished), attention=len(closed.attention))
        return {"job_id": job_id, "finished": len(closed.finished), "attention": len(closed.attention)}

    return handle
