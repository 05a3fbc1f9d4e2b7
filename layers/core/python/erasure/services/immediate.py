"""A small job right now, while a caller waits: planned and closed here, erased and verified by the workers.

It is attempt 0 of its request, so the batch lane's job, attempt 1, takes over whatever it leaves undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from erasure.domain.outcome import BLOCKED, FINAL_OUTCOMES
from erasure.domain.plan import FAILED, VERIFIED, Part, Task, Unit, targets_for
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from erasure.domain.target_spec import TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import (
    AuditLog,
    Clock,
    ClockStore,
    DataMapStore,
    DataReader,
    Functions,
    HoldReader,
    RequestStore,
    TaskStore,
)
from erasure.services.close_job import close_job
from erasure.services.plan_job import PlanJobDependencies, plan_job
from erasure.services.side_by_side import side_by_side
from erasure.services.start_jobs import job_id_for
from erasure.targets.protocol import Deadline

ATTEMPT = 0
VERIFIER = "verify_target"
ERASERS = {"dynamodb": "erase_dynamodb", "s3": "erase_s3"}
"""Functions by kind of target."""

_GONE = FINAL_OUTCOMES - {BLOCKED}
"""What the law wants kept is kept in every family; what a bucket does not let go is not gone."""

PARALLEL_UNITS = 4
ANSWER_SECONDS = 1.0
"""What a worker needs besides its slice: it is told to work for so much less than there is time left."""

_PASSES = 1000
"""More than fit into any call: here, time is what ends."""


class ImmediateJobs:
    """``sleep`` takes seconds and can be replaced in tests."""

    def __init__(
        self,
        *,
        requests: RequestStore,
        tasks: TaskStore,
        data_maps: DataMapStore,
        audit: AuditLog,
        functions: Functions,
        reader: DataReader,
        now: Clock,
        holds: HoldReader,
        clock: ClockStore,
        digest_key: Callable[[], bytes],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._requests = requests
        self._tasks = tasks
        self._data_maps = data_maps
        self._audit = audit
        self._functions = functions
        self._planning = PlanJobDependencies(requests, tasks, data_maps, audit, reader, now, holds, clock, digest_key)
        self._now = now
        self._sleep = sleep

    def run(self, request_id: str, deadline: Deadline, categories: Sequence[str] | None = None) -> bool:
        """Work on the request's targets of these categories (``None``: all that it covers); whether they were seen
        erased, by this job or by another one that has the request.

        With categories the request stays open for the rest, and none of its targets being of them is fine. May be
        called again after it has returned False or died. Raises what the stores raise.
        """
        job_id = job_id_for(request_id, ATTEMPT)
        units = plan_job(job_id, [request_id], ATTEMPT, self._planning, categories)
        request = self._requests.get(request_id)
        if request is None:
            return False
        # Planning may have put it aside, for a hold that was put at this moment.
        is_ours = request.state == STARTED and request.job_id == job_id
        if not is_ours and self._was_erased(request, categories):
            return True
        side_by_side(lambda unit: self._work_on(job_id, unit, deadline), units, PARALLEL_UNITS)
        own = [(task, part) for task in self._tasks.tasks(job_id) for part in task.parts]
        statuses = [part.status for _, part in own]
        if not statuses:
            # Nothing of these categories to do is fine. A map that covers nothing of the subject at all is not.
            return is_ours and categories is not None and bool(self._covered(request))
        # What is still being worked on is left open: closing would end the counting, and a job is closed only once.
        if all(status in (VERIFIED, FAILED) for status in statuses):
            self._close(job_id, request_id, is_partial=categories is not None)
        return all(_is_gone(task, part) for task, part in own)

    def _close(self, job_id: str, request_id: str, *, is_partial: bool) -> None:
        close_job(
            job_id,
            [request_id],
            requests=self._requests,
            tasks=self._tasks,
            audit=self._audit,
            now=self._now,
            partial=is_partial,
        )

    def _work_on(self, job_id: str, unit: Unit, deadline: Deadline) -> None:
        """Erase and verify in turn until the verifier wants no more or time is up. The tasks tell how far it got."""
        event: dict[str, Any] = {
            "job_id": job_id,
            "unit": unit.name,
            "eraser": ERASERS[unit.kind],
            "passes_left": _PASSES,
        }
        if len(unit.kinds) > 1:
            event |= {"level": 0, "erasers": [ERASERS[kind] for kind in unit.kinds]}
        try:
            while True:
                if self._call(event["eraser"], event, deadline) is None:
                    return
                step = self._call(VERIFIER, event, deadline)
                if step is None or not step["again"] or step["wait"] >= deadline.remaining():
                    return
                event |= {name: step[name] for name in ("eraser", "level") if name in step}
                if step["wait"]:
                    self._sleep(step["wait"])
        except UnavailableError:
            return

    def _call(self, function: str, event: dict[str, Any], deadline: Deadline) -> dict[str, Any] | None:
        """The worker's answer; ``None``: there is no time left for it."""
        seconds = round(deadline.remaining() - ANSWER_SECONDS, 1)
        return self._functions.call(function, {**event, "seconds": seconds}) if seconds > 0 else None

    def _was_erased(self, request: ErasureRequest, categories: Sequence[str] | None) -> bool:
        """Whether other jobs have seen these targets erased."""
        if request.state == FINISHED:
            own = [told for told in request.outcomes if categories is None or told.category in categories]
            return all(told.outcome in _GONE for told in own)
        if categories is None or request.state != STARTED:
            return False
        covered = self._covered(request)
        if not covered:
            return False
        wanted = {target.name for target in covered if target.category in categories}
        told = {outcome.target for outcome in request.outcomes if outcome.outcome in _GONE}
        return wanted <= told | self._verified(request)

    def _covered(self, request: ErasureRequest) -> list[TargetSpec]:
        """By the map of the job that has claimed the request."""
        version = request.data_map_version
        data_map = self._data_maps.version(version) if version else None
        return [] if data_map is None else targets_for(request, data_map.targets, data_map.families)

    def _verified(self, request: ErasureRequest) -> set[str]:
        """Targets that the job which has the request has seen erased. It may take long until it closes."""
        tasks = self._tasks.tasks(request.job_id) if request.job_id is not None else []
        return {
            task.spec.name
            for task in tasks
            for part in task.parts
            if part.request_id == request.request_id and _is_gone(task, part)
        }


def _is_gone(task: Task, part: Part) -> bool:
    return part.status == VERIFIED and (task.spec.retain is not None or not part.kept.count)
