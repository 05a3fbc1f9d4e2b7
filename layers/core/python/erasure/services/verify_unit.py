"""Look again: what the eraser calls done is only done when a reader with other rights finds nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Task
from erasure.domain.request import STARTED, ErasureRequest
from erasure.errors import SliceLostError, TargetError, places_of
from erasure.ports import RequestStore, TaskStore
from erasure.services.erase_unit import MAX_STALLS, PARALLEL_TASKS
from erasure.targets.protocol import Deadline, Target

LONGEST_PAUSE_SECONDS = 60

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VerifyUnitDependencies:
    requests: RequestStore
    tasks: TaskStore
    targets: Mapping[str, Target]
    max_rounds: int = 3


@dataclass(frozen=True, slots=True)
class NextStep:
    """``again``: the unit goes back to its eraser; ``wait``: after so many seconds, 0 for at once."""

    again: bool
    wait: int


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: str
    rounds: int
    stalls: int
    reason: str | None


def verify_unit(job_id: str, unit: str, deadline: Deadline, use: VerifyUnitDependencies) -> NextStep:
    """Verify the unit's erased tasks; returns what has to happen next.

    A task in which something is left goes back to ``pending``, ``max_rounds`` times at most. Tasks that the eraser has
    not finished are not looked at.
    """
    tasks = use.tasks.tasks(job_id, unit)
    requests: dict[str, ErasureRequest] = {}
    for request_id in {task.request_id for task in tasks}:
        request = use.requests.get(request_id)
        if request is not None and request.state == STARTED:
            requests[request_id] = request
    # A request that may no longer be erased is not worked on again: its tasks stay as they are.
    live = [task for task in tasks if task.request_id in requests]
    erased = [task for task in live if task.status == ERASED_UNVERIFIED]
    open_tasks = [(task.stalls, task.reason) for task in live if task.status == PENDING]
    if erased:
        with ThreadPoolExecutor(max_workers=min(PARALLEL_TASKS, len(erased))) as pool:
            verdicts = pool.map(lambda task: _verify(task, requests[task.request_id], deadline, use), erased)
        open_tasks += [
            (verdict.stalls, verdict.reason) for verdict in verdicts if verdict.status in (PENDING, ERASED_UNVERIFIED)
        ]
    stalls = max((stalls for stalls, reason in open_tasks if reason), default=0)
    return NextStep(again=bool(open_tasks), wait=min(LONGEST_PAUSE_SECONDS, 2**stalls) if stalls else 0)


def _verify(task: Task, request: ErasureRequest, deadline: Deadline, use: VerifyUnitDependencies) -> _Verdict:
    if deadline.expired():
        return _Verdict(ERASED_UNVERIFIED, task.rounds, task.stalls, None)  # others had the time: its turn comes
    verdict = _judge(task, request, deadline, use)
    try:
        use.tasks.set_verified(
            task, status=verdict.status, rounds=verdict.rounds, stalls=verdict.stalls, reason=verdict.reason
        )
    except SliceLostError:
        return _Verdict(PENDING, task.rounds, 0, None)  # an eraser is at it again: look later
    return verdict


def _judge(task: Task, request: ErasureRequest, deadline: Deadline, use: VerifyUnitDependencies) -> _Verdict:
    try:
        result = use.targets[task.spec.kind].verify(task.spec, request.subject.values(), deadline)
    except TargetError as error:
        if error.permanent:
            return _Verdict(FAILED, task.rounds, 0, error.code)
        return _stalled(task, error.code)
    except Exception as error:
        _logger.error("a verifier failed: %s at %s", type(error).__name__, places_of(error))
        return _stalled(task, "internal_error")
    if result.left:
        rounds = task.rounds + 1
        if rounds >= use.max_rounds:
            return _Verdict(FAILED, rounds, 0, "still_present")
        return _Verdict(PENDING, rounds, 0, None)
    if not result.complete:
        return _stalled(task, "verification_incomplete")
    return _Verdict(VERIFIED, task.rounds, 0, None)


def _stalled(task: Task, reason: str) -> _Verdict:
    stalls = task.stalls + 1
    if stalls >= MAX_STALLS:
        return _Verdict(FAILED, task.rounds, stalls, reason)
    return _Verdict(ERASED_UNVERIFIED, task.rounds, stalls, reason)
