"""One slice: work on the unfinished parts of a unit until they are done or the time is up.

Of a unit whose targets lead to each other (:mod:`erasure.services.linked_units`), one level is worked on in a slice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, Part, Task
from erasure.errors import SliceLostError, places_of
from erasure.ports import HoldReader, RequestStore, TaskStore
from erasure.services.linked_targets import target_of
from erasure.services.linked_units import CHILDREN_FAILED, below, children_of, guard_for
from erasure.services.scan_progress import after_erasing, left_out, range_of
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import (
    INTERNAL_ERROR,
    Group,
    Requests,
    groups_of,
    replaced,
    sharing_targets,
    workable_requests,
)
from erasure.targets.protocol import CHILDREN_LEFT, Deadline, ItemReader, ScanRange, SliceResult, Target

MAX_STALLS = 10
"""Slices in a row without anything erased, after which a part is given up (with the pauses between: some minutes)."""
PARALLEL_TASKS = 4
COUNT_EVERY = 5_000
"""Deletions after which a slice writes its counts down, so that progress shows and a crash loses little of it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EraseUnitDependencies:
    """``targets``: by kind. In units of targets that lead to each other, those of the other kind are only verified.
    ``reader``: reads the items that lead to others; without one, such a unit cannot be worked on."""

    requests: RequestStore
    tasks: TaskStore
    targets: Mapping[str, Target]
    reader: ItemReader | None = None
    _: KW_ONLY
    holds: HoldReader


def erase_unit(
    job_id: str, unit: str, slice_id: str, deadline: Deadline, use: EraseUnitDependencies, level: int = 0
) -> bool:
    """Work on one level of the unit; returns whether more slices are needed for it.

    ``slice_id`` is unique for each call. Nothing that goes wrong with one task keeps the others from being worked on,
    and nothing that goes wrong with one request's part of a task the other parts.
    """
    tasks = use.tasks.tasks(job_id, unit)
    own = [task for task in tasks if task.level == level]
    pending = [part for task in own for part in task.parts_in(PENDING)]
    requests = workable_requests(job_id, pending, use.requests, use.holds)
    workable = [
        _Work(task, below(task, tasks), requests)
        for task in own
        if any(part.request_id in requests for part in task.parts_in(PENDING))
    ]
    shared = replace(use, targets=sharing_targets(tasks, use.targets))
    more = side_by_side(lambda work: _run_slice(work, slice_id, deadline, shared), workable, PARALLEL_TASKS)
    return any(more)


@dataclass(frozen=True, slots=True)
class _Work:
    """A task, the tasks of all that its items lead to (``below``), and the requests that may be worked on."""

    task: Task
    below: Sequence[Task]
    requests: Requests

    def with_failed_children(self, parts: Sequence[Part]) -> set[str]:
        """The requests for which something that the items lead to could not be erased: the items have to stay."""
        failed = {part.request_id for child in children_of(self.task, self.below) for part in child.parts_in(FAILED)}
        return failed.intersection(part.request_id for part in parts)


def _run_slice(work: _Work, slice_id: str, deadline: Deadline, use: EraseUnitDependencies) -> bool:
    if deadline.expired():
        return True
    try:
        task = use.tasks.begin_slice(work.task, slice_id)
        parts = [part for part in task.parts_in(PENDING) if part.request_id in work.requests]
        stuck = work.with_failed_children(parts)
        given_up = [replace(part, status=FAILED, reason=CHILDREN_FAILED) for part in parts if part.request_id in stuck]
        given_up += left_out(task, PENDING, work.requests)
        parts = [part for part in parts if part.request_id not in stuck]
        counter = _Counter(task, slice_id, use.tasks)
        results: dict[str, SliceResult | None] = {}
        scan = range_of(task)
        for group in groups_of(task, parts, work.requests):
            if not deadline.expired():
                results.update(_erase_group(replace(work, task=task), group, scan, counter, deadline, use))
        advanced = scan is not None and scan.done > task.cursor
        after, cursor = _judge(parts, results, counter, moved=advanced), task.cursor
        if scan is not None:
            after, cursor = after_erasing(after, scan)
        task_parts = replaced(task, [*after, *given_up])
        use.tasks.end_slice(task, slice_id, task_parts, cursor)
    except SliceLostError:
        return True  # another slice is at work, and its counts are the ones that are written
    return any(part.status == PENDING and part.request_id in work.requests for part in task_parts)


def _erase_group(
    work: _Work,
    group: Group,
    scan: ScanRange | None,
    counter: _Counter,
    deadline: Deadline,
    use: EraseUnitDependencies,
) -> dict[str, SliceResult | None]:
    """By request, what the target made of its part; ``None`` where it raised an exception."""
    task = work.task

    def count(place: int, erased: int) -> None:
        counter.count(group.parts[group.counts_for[place]].request_id, erased)

    results: list[SliceResult | None]
    asked: dict[str, Any] = {} if scan is None else {"scan": scan}
    if work.below:
        asked["guard"] = guard_for(task, group, work.below, work.requests, use.targets, use.reader)
    try:
        target = target_of(task.spec, use.targets, use.reader)
        erased = target.erase(task.spec, group.subjects, deadline, on_erased=count, **asked)
        results = [*group.slice_results(erased)]
    except SliceLostError:
        raise
    except Exception as error:
        # Its text may hold anything, so only its kind is told. The parts stall and are given up if this goes on.
        _logger.error("an eraser failed: %s at %s", type(error).__name__, places_of(error))
        results = [None] * len(group.parts)
    return {part.request_id: result for part, result in zip(group.parts, results, strict=True)}


def _judge(
    parts: list[Part], results: Mapping[str, SliceResult | None], counter: _Counter, *, moved: bool
) -> list[Part]:
    """The parts after the slice. Those that it did not get to stay as they are. ``moved``: it got on with a scan."""
    for part in parts:
        result = results.get(part.request_id)
        counter.reach(part.request_id, result.erased if result is not None else 0)
    moved = (
        moved or any(counter.seen.values()) or any(result is not None and result.done for result in results.values())
    )
    return [
        _judged(part, results[part.request_id], counter.seen.get(part.request_id, 0), moved)
        if part.request_id in results
        else part
        for part in parts
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
    if seen or reason == CHILDREN_LEFT:
        stalls = 0  # how long items wait for what they lead to is for that to say
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
