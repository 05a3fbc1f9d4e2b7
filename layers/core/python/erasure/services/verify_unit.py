"""Look again: what the eraser calls done is only done when a reader with other rights finds nothing.

Of a unit whose targets lead to each other (:mod:`erasure.services.linked_units`), all that has been erased is looked
at, whatever its level; then the unit goes on with its next level.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import groupby
from typing import Any

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Task
from erasure.domain.scope import for_all_organizations
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import SliceLostError, UnavailableError, places_of
from erasure.ports import HoldReader, RequestStore, TaskStore
from erasure.services.erase_unit import MAX_STALLS, PARALLEL_TASKS
from erasure.services.linked_targets import target_of
from erasure.services.linked_units import below, go_back, kept_by_children, sent_back
from erasure.services.scan_progress import after_verifying, left_out, range_of
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import (
    INTERNAL_ERROR,
    Group,
    Requests,
    all_kept,
    groups_of,
    replaced,
    sharing_targets,
    workable_requests,
)
from erasure.targets.protocol import Deadline, ItemReader, ScanRange, Target, VerifyResult

LONGEST_PAUSE_SECONDS = 60

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VerifyUnitDependencies:
    """``targets``: by kind. ``reader``: reads the items that lead to others; without one, units of targets that lead to
    each other cannot be verified."""

    requests: RequestStore
    tasks: TaskStore
    targets: Mapping[str, Target]
    max_rounds: int = 3
    reader: ItemReader | None = None
    _: KW_ONLY
    holds: HoldReader


@dataclass(frozen=True, slots=True)
class NextStep:
    """``again``: the unit goes back to the eraser of its ``level``; ``wait``: after so many seconds, 0 for at once."""

    again: bool
    wait: int
    level: int = 0


def verify_unit(job_id: str, unit: str, deadline: Deadline, use: VerifyUnitDependencies, level: int = 0) -> NextStep:
    """Verify the unit's erased parts; returns what has to happen next. ``level``: that of the eraser which was at work.

    A part of which something is left goes back to ``pending``, ``max_rounds`` times at most. Parts that the eraser has
    not finished are not looked at.
    """
    tasks = use.tasks.tasks(job_id, unit)
    # A request that may no longer be erased is not worked on again: its parts stay as they are.
    still_open = [part for task in tasks for part in task.parts if _is_open(part)]
    requests = workable_requests(job_id, still_open, use.requests, use.holds)
    shared = replace(use, targets=sharing_targets(tasks, use.targets))
    verified: list[Task] = []
    for _, same in groupby(sorted(tasks, key=_level), key=_level):
        work = [_Work(task, below(task, verified), requests) for task in same]
        verified += side_by_side(lambda own: _verify_task(own, deadline, shared), work, PARALLEL_TASKS)
    tasks = go_back(verified, requests, use.tasks, use.max_rounds)
    open_parts = [
        (task.level, part) for task in tasks for part in task.parts if part.request_id in requests and _is_open(part)
    ]
    stalls = max((part.stalls for _, part in open_parts if part.reason), default=0)
    return NextStep(
        again=bool(open_parts),
        wait=min(LONGEST_PAUSE_SECONDS, 2**stalls) if stalls else 0,
        level=_next_level({own for own, _ in open_parts}, level),
    )


def _level(task: Task) -> int:
    return task.level


def _next_level(levels: set[int], last: int) -> int:
    """Upwards, from the children to the parents: what is gone already need not wait for all the rest. Then from the
    start again."""
    return min((level for level in levels if level > last), default=min(levels, default=last))


@dataclass(frozen=True, slots=True)
class _Work:
    """A task, the tasks of all that its items lead to (``below``) as they have just been verified, and the requests
    that may be worked on."""

    task: Task
    below: Sequence[Task]
    requests: Requests

    @property
    def stays(self) -> bool:
        """Whether something stays that the items lead to: then they do, too."""
        return any(part.kept.count for child in self.below for part in child.parts)


def holds_anything(
    subject: Subject,
    specs: Sequence[TargetSpec],
    targets: Mapping[str, Target],
    deadline: Deadline,
    reader: ItemReader | None = None,
) -> bool:
    """Whether any of these targets holds something of the subject now. Raises ``UnavailableError`` if that cannot be
    told: only what was looked at to its end is empty."""
    is_clear = True
    for spec in specs:
        target = target_of(spec, targets, reader)
        (result,) = target.verify(for_all_organizations(spec), [subject.values()], deadline)
        if result.left or result.kept.count:
            return True
        is_clear = is_clear and result.complete and result.problem is None
    if not is_clear:
        raise UnavailableError("the targets could not be read")
    return False


def _is_open(part: Part) -> bool:
    return part.status in (PENDING, ERASED_UNVERIFIED)


def _verify_task(work: _Work, deadline: Deadline, use: VerifyUnitDependencies) -> Task:
    """The task as it is afterwards."""
    task = work.task
    parts = [part for part in task.parts_in(ERASED_UNVERIFIED) if part.request_id in work.requests]
    if not parts:
        return task
    results: dict[str, VerifyResult | None] = {}
    scan = range_of(task)
    for group in groups_of(task, parts, work.requests):
        if not deadline.expired():
            results.update(_verify_group(work, group, scan, deadline, use))
    after, cursor = _judge(parts, results, use.max_rounds, scan is not None and scan.done > task.cursor), task.cursor
    if scan is not None:
        after, cursor = after_verifying(parts, after, scan)
    after += left_out(task, ERASED_UNVERIFIED, work.requests)
    changed = replace(task, parts=replaced(task, after), cursor=cursor)
    if changed == task:
        return task  # others had the time: its turn comes
    try:
        use.tasks.set_verified(task, changed.parts, cursor)
    except SliceLostError:
        return replace(task, parts=replaced(task, [replace(part, status=PENDING, stalls=0) for part in parts]))
    return replace(changed, revision=task.revision + 1)


def _verify_group(
    work: _Work, group: Group, scan: ScanRange | None, deadline: Deadline, use: VerifyUnitDependencies
) -> dict[str, VerifyResult | None]:
    """By request, what the target found of its part; ``None`` where it raised an exception."""
    spec, results = work.task.spec, list[VerifyResult | None]()
    asked: dict[str, Any] = {} if scan is None else {"scan": scan}
    try:
        target = target_of(spec, use.targets, use.reader)
        found = target.verify(spec, group.subjects, deadline, **asked)
        if work.stays and use.reader is not None:
            found = kept_by_children(
                work.task, group, found, work.below, work.requests, use.targets, use.reader, deadline
            )
        results = [*group.verify_results(found)]
    except Exception as error:
        _logger.error("a verifier failed: %s at %s", type(error).__name__, places_of(error))
        results = [None] * len(group.parts)
    return {part.request_id: result for part, result in zip(group.parts, results, strict=True)}


def _judge(
    parts: Sequence[Part], results: Mapping[str, VerifyResult | None], max_rounds: int, got_on: bool
) -> list[Part]:
    """The parts with what was found. Those that were not looked at stay as they are. ``got_on``: with a scan."""
    moved = got_on or any(result is not None and (result.complete or result.left) for result in results.values())
    return [
        _judged(part, results[part.request_id], max_rounds, moved=moved, got_on=got_on)
        if part.request_id in results
        else part
        for part in parts
    ]


def _judged(part: Part, result: VerifyResult | None, max_rounds: int, *, moved: bool, got_on: bool) -> Part:
    """``moved``: the verifier has got somewhere, with this part or another."""
    if result is None:
        return _stalled(part, INTERNAL_ERROR)
    if result.permanent:
        return replace(part, status=FAILED, stalls=0, reason=result.problem)
    if result.left:
        return sent_back(part, max_rounds)
    # What a scan has seen so far, in segments that are not looked at again.
    kept = all_kept([part.kept, result.kept])
    if result.complete:
        return replace(part, status=VERIFIED, stalls=0, reason=None, kept=kept)
    if got_on:
        return replace(part, stalls=0, reason=None, kept=kept)
    if moved:
        return part  # the time, or what the table bears, went to other parts: its turn comes
    return _stalled(part, result.problem or "verification_incomplete")


def _stalled(part: Part, reason: str) -> Part:
    stalls = part.stalls + 1
    return replace(part, status=FAILED if stalls >= MAX_STALLS else part.status, stalls=stalls, reason=reason)
