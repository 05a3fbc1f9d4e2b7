"""One slice: work on the unfinished tasks of a unit until they are done or the time is up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, Task
from erasure.domain.request import STARTED, ErasureRequest
from erasure.errors import SliceLostError, TargetError, places_of
from erasure.ports import RequestStore, TaskStore
from erasure.targets.protocol import Deadline, SliceResult, Target

MAX_STALLS = 10
"""Slices in a row without anything erased, after which a task is given up (with the pauses between: some minutes)."""
PARALLEL_TASKS = 4
COUNT_EVERY = 5_000
"""Deletions after which a slice writes its count down, so that progress shows and a crash loses little of it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EraseUnitDependencies:
    requests: RequestStore
    tasks: TaskStore
    targets: Mapping[str, Target]


def erase_unit(job_id: str, unit: str, slice_id: str, deadline: Deadline, use: EraseUnitDependencies) -> bool:
    """Work on the unit; returns whether more slices are needed.

    ``slice_id`` is unique for each call. Nothing that goes wrong with one task keeps the others from being worked on.
    """
    pending = [task for task in use.tasks.tasks(job_id, unit) if task.status == PENDING]
    requests = _load(pending, use.requests)
    workable = [task for task in pending if _may_erase(requests.get(task.request_id))]
    if not workable:
        return False
    with ThreadPoolExecutor(max_workers=min(PARALLEL_TASKS, len(workable))) as pool:
        more = list(
            pool.map(lambda task: _run_slice(task, requests[task.request_id], slice_id, deadline, use), workable)
        )
    return any(more)


def _load(tasks: Sequence[Task], store: RequestStore) -> dict[str, ErasureRequest]:
    requests = {}
    for request_id in {task.request_id for task in tasks}:
        request = store.get(request_id)
        if request is not None:
            requests[request_id] = request
    return requests


def _may_erase(request: ErasureRequest | None) -> bool:
    # Asked before every slice: a request that is no longer started must not lose another item.
    return request is not None and request.state == STARTED


def _run_slice(
    task: Task, request: ErasureRequest, slice_id: str, deadline: Deadline, use: EraseUnitDependencies
) -> bool:
    if deadline.expired():
        return True
    try:
        task = use.tasks.begin_slice(task, slice_id)
    except SliceLostError:
        return True  # another slice began at the same moment, and is at work
    counter = _Counter(task, slice_id, use.tasks)
    status, reason = PENDING, None
    try:
        result = use.targets[task.spec.kind].erase(
            task.spec, request.subject.values(), deadline, on_erased=counter.count
        )
        status, reason = _judge(result)
        counter.reach(result.erased)
    except TargetError as error:
        reason = error.code
        status = FAILED if error.permanent else PENDING
    except SliceLostError:
        return True
    except Exception as error:
        # Its text may hold anything, so only its kind is told. The task stalls and is given up if this goes on.
        _logger.error("an eraser failed: %s at %s", type(error).__name__, places_of(error))
        reason = "internal_error"
    stalls = 0 if counter.seen or status == ERASED_UNVERIFIED else task.stalls + 1
    if status == PENDING and stalls >= MAX_STALLS:
        status, reason = FAILED, reason or "no_progress"
    try:
        use.tasks.end_slice(task, slice_id, count=counter.seen, status=status, stalls=stalls, reason=reason)
    except SliceLostError:
        return True
    return status == PENDING


def _judge(result: SliceResult) -> tuple[str, str | None]:
    if result.done and result.problem is None:
        return ERASED_UNVERIFIED, None
    return PENDING, result.problem


class _Counter:
    """Adds up what a slice erases and writes it down now and then."""

    def __init__(self, task: Task, slice_id: str, tasks: TaskStore) -> None:
        self._task = task
        self._slice_id = slice_id
        self._tasks = tasks
        self.seen = 0
        self._written = 0

    def count(self, erased: int) -> None:
        self.seen += erased
        if self.seen - self._written >= COUNT_EVERY:
            self._tasks.add_erased(self._task, self._slice_id, self.seen)
            self._written = self.seen

    def reach(self, total: int) -> None:
        """What the slice has erased in all, as the target says at its end."""
        self.seen = max(self.seen, total)
