"""How far a task that scans is: first through its range to erase, then again to verify.

The cursor counts the segments of the pass that is under way; no key is ever kept. All parts go through the range
together, but for those that have failed: what one part makes necessary to read again, all read again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from erasure.domain.outcome import NOTHING_KEPT
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Task
from erasure.targets.protocol import ScanRange

FROM_THE_START = 0
NOT_FINISHED = "not_finished"


def range_of(task: Task) -> ScanRange | None:
    """The task's range, with what has been gone through in the pass that is under way; ``None``: it does not scan."""
    if task.shard is None:
        return None
    return ScanRange(task.shard.total, task.shard.first, task.shard.end, task.cursor)


def is_at_end(scan: ScanRange) -> bool:
    return scan.first + scan.done >= scan.end


def left_out(task: Task, status: str, working: Container[str]) -> list[Part]:
    """The parts of this status whose requests are not worked on now, as failed; none unless the task scans. The others
    go on without them, under a hold maybe that is lifted soon: then these would go on behind segments that nobody has
    gone through for them. Another job goes through all of them.
    """
    if task.shard is None:
        return []
    missed = (part for part in task.parts_in(status) if part.request_id not in working)
    return [replace(part, status=FAILED, reason=NOT_FINISHED) for part in missed]


def after_erasing(parts: Sequence[Part], scan: ScanRange) -> tuple[list[Part], int]:
    """The parts that were worked on, and the cursor, after a slice."""
    if is_at_end(scan) and all(part.status in (ERASED_UNVERIFIED, FAILED) for part in parts):
        return list(parts), FROM_THE_START
    back = [replace(part, status=PENDING) if part.status == ERASED_UNVERIFIED else part for part in parts]
    return back, FROM_THE_START if is_at_end(scan) else scan.done


def after_verifying(before: Sequence[Part], parts: Sequence[Part], scan: ScanRange) -> tuple[list[Part], int]:
    """The parts that were looked at, and the cursor, after a call of the verifier. ``before``: as they were."""
    if any(part.status == PENDING for part in parts):
        return [_again(part, PENDING) for part in parts], FROM_THE_START
    if all(part.status in (VERIFIED, FAILED) for part in parts):
        return list(parts), FROM_THE_START
    if is_at_end(scan):
        return [_again(part, ERASED_UNVERIFIED) for part in parts], FROM_THE_START
    stayed = {part.request_id: part for part in before}
    return [
        replace(part, status=stayed[part.request_id].status) if part.status == VERIFIED else part for part in parts
    ], scan.done


def _again(part: Part, status: str) -> Part:
    return part if part.status == FAILED else replace(part, status=status, kept=NOTHING_KEPT)
