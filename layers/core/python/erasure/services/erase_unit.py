"""One slice: work on the unfinished parts of a unit until they are done or the time is up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, Part, Task
from erasure.errors import SliceLostError, places_of
from erasure.ports import RequestStore, TaskStore
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import INTERNAL_ERROR, Group, Requests, groups_of, replaced, workable_requests
from erasure.targets.protocol import Deadline, SliceResult, Target

MAX_STALLS = 10
"""Slices in a row without anything erased, after which a part is given up (with the pauses between: some minutes)."""
PARALLEL_TASKS = 4
COUNT_EVERY = 5_000
"""Deletions after which a slice writes its counts down, so that progress shows and a crash loses little of it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EraseUnitDependencies:
    requests: RequestStore
    tasks: TaskStore
    targets: Mapping[str, Target]


def erase_unit(job_id: str, unit: str, slice_id: str, deadline: Deadline, use: EraseUnitDependencies) -> bool:
    """Work on the unit; returns whether more slices are needed.

    ``slice_id`` is unique for each call. Nothing that goes wrong with one task keeps the others from being worked on,
    and nothing that goes wrong with one request's part of a task the other parts.
    """
    tasks = use.tasks.tasks(job_id, unit)
    requests = workable_requests(job_id, [part for task in tasks for part in task.parts_in(PENDING)], use.requests)
    workable = [task for task in tasks if any(part.request_id in requests for part in task.parts_in(PENDING))]
    more = side_by_side(lambda task: _run_slice(task, requests, slice_id, deadline, use), workable, PARALLEL_TASKS)
    return any(more)


def _run_slice(task: Task, requests: Requests, slice_id: str, deadline: Deadline, use: EraseUnitDependencies) -> bool:
    if deadline.expired():
        return True
    try:
        task = use.tasks.begin_slice(task, slice_id)
        parts = [part for part in task.parts_in(PENDING) if part.request_id in requests]
        counter = _Counter(task, slice_id, use.tasks)
        results: dict[str, SliceResult | None] = {}
        for group in groups_of(task, parts, requests):
            if not deadline.expired():
                results.update(_erase_group(task, group, counter, deadline, use))
        after = replaced(task, _judge(parts, results, counter))
        use.tasks.end_slice(task, slice_id, after)
    except SliceLostError:
        return True  # another slice is at work, and its counts are the ones that are written
    return any(part.status == PENDING and part.request_id in requests for part in after)


def _erase_group(
    task: Task, group: Group, counter: _Counter, deadline: Deadline, use: EraseUnitDependencies
) -> dict[str, SliceResult | None]:
    """By request, what the target made of its part; ``None`` where it raised an exception."""

    def count(place: int, erased: int) -> None:
        counter.count(group.parts[group.counts_for[place]].request_id, erased)

    results: list[SliceResult | None]
    try:
        results = [
            *group.slice_results(
                use.targets[task.spec.kind].erase(task.spec, group.subjects, deadline, on_erased=count)
            )
        ]
    except SliceLostError:
        raise
    except Exception as error:
        # Its text may hold anything, so only its kind is told. The parts stall and are given up if this goes on.
        _logger.error("an eraser failed: %s at %s", type(error).__name__, places_of(error))
        results = [None] * len(group.parts)
    return {part.request_id: result for part, result in zip(group.parts, results, strict=True)}


def _judge(parts: list[Part], results: Mapping[str, SliceResult | None], counter: _Counter) -> list[Part]:
    """The parts after the slice. Those that it did not get to stay as they are."""
    for part in parts:
        result = results.get(part.request_id)
        counter.reach(part.request_id, result.erased if result is not None else 0)
    moved = any(counter.seen.values()) or any(result is not None and result.done for result in results.values())
    return [
        _judged(part, results[part.request_id], counter.seen.get(part.request_id, 0), moved)
        for part in parts
        if part.request_id in results
    ]


def _judged(part: Part, result: SliceResult | None, seen: int, moved: bool) -> Part:
    """``moved``: the slice has got somewhere, with this part or another."""
    # Before an exception, a target may have erased more than it has told.
    part = replace(part, erased=part.erased + seen, at_least=part.at_least or result is None)
    if result is not None and result.done:
        return replace(part, status=ERASED_UNVERIFIED, stalls=0, reason=None)
    reason = INTERNAL_ERROR if result is None else result.problem
    if result is not None and result.permanent:
        return replace(part, status=FAILED, reason=reason)
    if seen:
        stalls = 0
    elif moved and reason != INTERNAL_ERROR:
        stalls = part.stalls  # the time, or what the table bears, went to other parts: its turn comes
    else:
        stalls = part.stalls + 1
    if stalls >= MAX_STALLS:
        return replace(part, status=FAILED, stalls=stalls, reason=reason or "no_progress")
    return replace(part, stalls=stalls, reason=reason)


class _Counter:
    """Adds up what a slice erases, by request, and writes it down now and then."""

    def __init__(self, task: Task, slice_id: str, tasks: TaskStore) -> None:
        self._task = task
        self._slice_id = slice_id
        self._tasks = tasks
        self._lock = threading.Lock()
        self._unwritten = 0
        self.seen: dict[str, int] = {}

    def count(self, request_id: str, erased: int) -> None:
        with self._lock:
            self.seen[request_id] = self.seen.get(request_id, 0) + erased
            self._unwritten += erased
            if self._unwritten >= COUNT_EVERY:
                self._tasks.note_progress(self._task, self._slice_id, self._parts())
                self._unwritten = 0

    def reach(self, request_id: str, total: int) -> None:
        """What the slice has erased of it in all, as the target says at its end."""
        if total > self.seen.get(request_id, 0):
            self.seen[request_id] = total

    def _parts(self) -> list[Part]:
        return [replace(part, erased=part.erased + self.seen.get(part.request_id, 0)) for part in self._task.parts]
