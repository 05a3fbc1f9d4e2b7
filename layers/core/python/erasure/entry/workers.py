"""The functions behind the queue: parse, log ids, call one use case, answer.

What each takes and returns is in ``docs/architecture.md``. Nothing here logs more than request, job and unit ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.logging.logger import Logger

from erasure.adapters.messaging import StepFunctionsWorkflow
from erasure.errors import InvalidInputError, places_of
from erasure.ports import AuditLog, Clock, DataMapStore, RequestStore, TaskStore
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.verify_unit import VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline

Handler = Callable[[Any, Any], Any]


def make_start_jobs(workflow: StepFunctionsWorkflow, logger: Logger) -> Handler:
    """SQS batch in, partial batch response out: one bad message never takes the others along."""
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

    from erasure.services.start_jobs import start_job

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

    def handle_record(record: Any) -> None:
        try:
            job_id = start_job(record["body"], workflow)
        except InvalidInputError as error:
            logger.error("message refused", field=error.field, rule=error.rule, message_id=record["messageId"])
            raise
        except Exception as error:
            # The queue delivers the message again. Without this line nobody would know why.
            kind, places = type(error).__name__, places_of(error)
            logger.error("job not started", kind=kind, places=places, message_id=record["messageId"])
            raise
        logger.info("job started", job_id=job_id)

    def handle(event: Any, context: Any) -> Any:
        return process_partial_response(event, handle_record, processor, context)

    return handle


def make_plan_job(
    *,
    requests: RequestStore,
    tasks: TaskStore,
    data_maps: DataMapStore,
    audit: AuditLog,
    now: Clock,
    erasers: Mapping[str, str],
    logger: Logger,
) -> Handler:
    """``erasers``: function name by kind of target."""
    from erasure.domain.plan import passes_of_each
    from erasure.services.plan_job import plan_job

    def handle(event: Any, _context: Any) -> dict[str, Any]:
        job_id, request_ids = event["job_id"], event["request_ids"]
        units = plan_job(job_id, request_ids, requests=requests, tasks=tasks, data_maps=data_maps, audit=audit, now=now)
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


def _deadline(context: Any, margin_seconds: int) -> Deadline:
    """Stop ``margin_seconds`` before the function's time is up, but work for half of it at least: a margin that is
    longer than the timeout would make slices that do nothing, for ever."""
    remaining = context.get_remaining_time_in_millis() / 1000
    return Deadline(max(remaining - margin_seconds, remaining / 2))


def _unit_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The unit as it travels on, without what the functions before have told about it."""
    return {name: event[name] for name in ("job_id", "unit", "eraser", "passes_left")}


def make_eraser(use: EraseUnitDependencies, margin_seconds: int, logger: Logger) -> Handler:
    """One slice of a unit."""

    def handle(event: Any, context: Any) -> dict[str, Any]:
        job_id, unit = event["job_id"], event["unit"]
        more = erase_unit(job_id, unit, context.aws_request_id, _deadline(context, margin_seconds), use)
        logger.info("slice ended", job_id=job_id, unit=unit, more=more)
        return {**_unit_of(event), "more": more}

    return handle


def make_verify_target(use: VerifyUnitDependencies, margin_seconds: int, logger: Logger) -> Handler:
    """Verify a unit and say what comes next. A unit without passes left goes no further, whatever is left of it."""

    def handle(event: Any, context: Any) -> dict[str, Any]:
        job_id, unit = event["job_id"], event["unit"]
        step = verify_unit(job_id, unit, _deadline(context, margin_seconds), use)
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
