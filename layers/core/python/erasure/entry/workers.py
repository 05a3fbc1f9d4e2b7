"""The functions behind the queue: parse, log ids, call one use case, answer.

What each takes and returns is in ``docs/architecture.md``. Nothing here logs more than request, job and unit ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.logger import Logger

from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import InvalidInputError, places_of
from erasure.ports import AuditLog, Clock, RequestStore, TaskStore, Workflow
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.verify_unit import VerifyUnitDependencies, holds_anything, verify_unit
from erasure.targets.protocol import Deadline

if TYPE_CHECKING:
    from erasure.services.plan_job import PlanJobDependencies

Handler = Callable[[Any, Any], Any]


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


def make_plan_job(use: PlanJobDependencies, erasers: Mapping[str, str], logger: Logger) -> Handler:
    """``erasers``: function name by kind of target."""
    from erasure.domain.plan import passes_of_each
    from erasure.services.plan_job import plan_job

    def handle(event: Any, _context: Any) -> dict[str, Any]:
        job_id, request_ids = event["job_id"], event["request_ids"]
        units = plan_job(job_id, request_ids, event["attempt"], use)
        logger.info("job planned", job_id=job_id, units=len(units), tasks=sum(len(unit.tasks) for unit in units))
        passes = passes_of_each(len(units))
        return {
            "job_id": job_id,
            "request_ids": request_ids,
            "units": [
                {"job_id": job_id, "unit": unit.name, "eraser": erasers[unit.kind], "passes_left": passes}
                for unit in units
            ],
        }

    return handle


def _deadline(event: Mapping[str, Any], context: Any, margin_seconds: int) -> Deadline:
    """Stop ``margin_seconds`` before the function's time is up, but work for half of it at least: a margin that is
    longer than the timeout would make slices that do nothing, for ever. A caller who waits says in ``seconds`` how
    long it does."""
    remaining = context.get_remaining_time_in_millis() / 1000
    own = max(remaining - margin_seconds, remaining / 2)
    return Deadline(min(own, event["seconds"]) if "seconds" in event else own)


def _unit_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The unit as it travels on, without what the functions before have told about it."""
    return {name: event[name] for name in ("job_id", "unit", "eraser", "passes_left", "seconds") if name in event}


def make_eraser(use: EraseUnitDependencies, margin_seconds: int, logger: Logger) -> Handler:
    """One slice of a unit."""

    def handle(event: Any, context: Any) -> dict[str, Any]:
        job_id, unit = event["job_id"], event["unit"]
        more = erase_unit(job_id, unit, context.aws_request_id, _deadline(event, context, margin_seconds), use)
        logger.info("slice ended", job_id=job_id, unit=unit, more=more)
        return {**_unit_of(event), "more": more}

    return handle


def make_verify_target(use: VerifyUnitDependencies, margin_seconds: int, logger: Logger) -> Handler:
    """Verify a unit and say what comes next. A unit without passes left goes no further, whatever is left of it.

    Also answers whether some targets hold anything of a subject: this function's role may read them. That call has the
    subject's id in it, so nothing of it is logged.
    """

    def look_up(lookup: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        subject = Subject(lookup["subject"]["tenant_id"], lookup["subject"]["id"], lookup["subject"]["type"])
        specs = [TargetSpec.from_dict(spec) for spec in lookup["specs"]]
        return {"found": holds_anything(subject, specs, use.targets, deadline)}

    def handle(event: Any, context: Any) -> dict[str, Any]:
        deadline = _deadline(event, context, margin_seconds)
        if "lookup" in event:
            return look_up(event["lookup"], deadline)
        job_id, unit = event["job_id"], event["unit"]
        step = verify_unit(job_id, unit, deadline, use)
        logger.info("unit verified", job_id=job_id, unit=unit, again=step.again, wait=step.wait)
        left = event["passes_left"] - 1
        if step.again and left <= 0:
            logger.error("unit has no passes left", job_id=job_id, unit=unit)
        return {**_unit_of(event), "passes_left": left, "again": step.again and left > 0, "wait": step.wait}

    return handle


def make_close_job(*, requests: RequestStore, tasks: TaskStore, audit: AuditLog, now: Clock, logger: Logger) -> Handler:
    """Close the job and count it: EMF metrics ``RequestsFinished``, ``RequestsWithAttention``, ``SecondsToFinish``."""
    from aws_lambda_powertools.metrics import Metrics, MetricUnit

    from erasure.services.close_job import close_job

    metrics = Metrics()

    @metrics.log_metrics
    def handle(event: Any, _context: Any) -> dict[str, Any]:
        job_id = event["job_id"]
        closed = close_job(job_id, event["request_ids"], requests=requests, tasks=tasks, audit=audit, now=now)
        metrics.add_metric("RequestsFinished", MetricUnit.Count, len(closed.finished))
        metrics.add_metric("RequestsWithAttention", MetricUnit.Count, len(closed.attention))
        for seconds in closed.finished:
            metrics.add_metric("SecondsToFinish", MetricUnit.Seconds, seconds)
        level = logger.warning if closed.attention else logger.info
        level("job closed", job_id=job_id, finished=len(closed.finished), attention=len(closed.attention))
        return {"job_id": job_id, "finished": len(closed.finished), "attention": len(closed.attention)}

    return handle
