"""Look again: what the eraser calls done is only done when a reader with other rights finds nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Task
from erasure.domain.scope import for_all_organizations
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import SliceLostError, UnavailableError, places_of
from erasure.ports import RequestStore, TaskStore
from erasure.services.erase_unit import MAX_STALLS, PARALLEL_TASKS
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import INTERNAL_ERROR, Group, Requests, groups_of, replaced, workable_requests
from erasure.targets.protocol import Deadline, Target, VerifyResult

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


def verify_unit(job_id: str, unit: str, deadline: Deadline, use: VerifyUnitDependencies) -> NextStep:
    """Verify the unit's erased parts; returns what has to happen next.

    A part of which something is left goes back to ``pending``, ``max_rounds`` times at most. Parts that the eraser has
    not finished are not looked at.
    """
    tasks = use.tasks.tasks(job_id, unit)
    # A request that may no longer be erased is not worked on again: its parts stay as they are.
    still_open = [part for task in tasks for part in task.parts if _is_open(part)]
    requests = workable_requests(job_id, still_open, use.requests)
    open_parts = [
        part
        for parts in side_by_side(lambda task: _verify_task(task, requests, deadline, use), tasks, PARALLEL_TASKS)
        for part in parts
        if part.request_id in requests and _is_open(part)
    ]
    stalls = max((part.stalls for part in open_parts if part.reason), default=0)
    return NextStep(again=bool(open_parts), wait=min(LONGEST_PAUSE_SECONDS, 2**stalls) if stalls else 0)


def holds_anything(
    subject: Subject, specs: Sequence[TargetSpec], targets: Mapping[str, Target], deadline: Deadline
) -> bool:
    """Whether any of these targets holds something of the subject now. Raises ``UnavailableError`` if that cannot be
    told: only what was looked at to its end is empty."""
    is_clear = True
    for spec in specs:
        (result,) = targets[spec.kind].verify(for_all_organizations(spec), [subject.values()], deadline)
        if result.left:
            return True
        is_clear = is_clear and result.complete and result.problem is None
    if not is_clear:
        raise UnavailableError("the targets could not be read")
    return False


def _is_open(part: Part) -> bool:
    return part.status in (PENDING, ERASED_UNVERIFIED)


def _verify_task(task: Task, requests: Requests, deadline: Deadline, use: VerifyUnitDependencies) -> tuple[Part, ...]:
    """The task's parts as they are afterwards."""
    parts = [part for part in task.parts_in(ERASED_UNVERIFIED) if part.request_id in requests]
    if not parts:
        return task.parts
    results: dict[str, VerifyResult | None] = {}
    for group in groups_of(task, parts, requests):
        if not deadline.expired():
            results.update(_verify_group(task, group, deadline, use))
    after = replaced(task, _judge(parts, results, use.max_rounds))
    if after == task.parts:
        return after  # others had the time: its turn comes
    try:
        use.tasks.set_verified(task, after)
    except SliceLostError:
        return replaced(task, [replace(part, status=PENDING, stalls=0) for part in parts])  # look later
    return after


def _verify_group(
    task: Task, group: Group, deadline: Deadline, use: VerifyUnitDependencies
) -> dict[str, VerifyResult | None]:
    """By request, what the target found of its part; ``None`` where it raised an exception."""
    results: list[VerifyResult | None]
    try:
        results = [*group.verify_results(use.targets[task.spec.kind].verify(task.spec, group.subjects, deadline))]
    except Exception as error:
        _logger.error("a verifier failed: %s at %s", type(error).__name__, places_of(error))
        results = [None] * len(group.parts)
    return {part.request_id: result for part, result in zip(group.parts, results, strict=True)}


def _judge(parts: Sequence[Part], results: Mapping[str, VerifyResult | None], max_rounds: int) -> list[Part]:
    """The parts with what was found. Those that were not looked at stay as they are."""
    moved = any(result is not None and (result.complete or result.left) for result in results.values())
    return [
        _judged(part, results[part.request_id], max_rounds, moved=moved) for part in parts if part.request_id in results
    ]


def _judged(part: Part, result: VerifyResult | None, max_rounds: int, *, moved: bool) -> Part:
    """``moved``: the verifier has got somewhere, with this part or another."""
    if result is None:
        return _stalled(part, INTERNAL_ERROR)
    if result.permanent:
        return replace(part, status=FAILED, stalls=0, reason=result.problem)
    if result.left:
        rounds = part.rounds + 1
        if rounds >= max_rounds:
            return replace(part, status=FAILED, rounds=rounds, stalls=0, reason="still_present")
        return replace(part, status=PENDING, rounds=rounds, stalls=0, reason=None)
    if result.complete:
        return replace(part, status=VERIFIED, stalls=0, reason=None)
    if moved:
        return part  # the time, or what the table bears, went to other parts: its turn comes
    return _stalled(part, result.problem or "verification_incomplete")


def _stalled(part: Part, reason: str) -> Part:
    stalls = part.stalls + 1
    return replace(part, status=FAILED if stalls >= MAX_STALLS else part.status, stalls=stalls, reason=reason)
