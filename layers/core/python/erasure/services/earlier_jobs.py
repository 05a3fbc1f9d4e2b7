"""What a job that takes requests over finds done already.

A job says what it has erased by closing, and closes only requests that are its own. When it died, or was overtaken,
before it closed, its counts stand in its tasks and nowhere else: the job that takes the request over goes on from them.
Otherwise it would call absent what was erased only just before it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from erasure.domain.plan import PENDING, Task, Unit
from erasure.domain.request import ErasureRequest
from erasure.domain.target_spec import REPORT_ACTION
from erasure.errors import SliceLostError
from erasure.ports import AuditLog, Clock, TaskStore
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import parts_by_request

PARALLEL_CALLS = 8
PLANNED, TAKEN_OVER, CLOSED = "planned:", "taken_over:", "closed:"
"""Begin the ids of the audit events with which a job plans, takes over and closes a request; its own id follows."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was erased of a target. ``at_least``: or more, which nobody has written down."""

    erased: int
    at_least: bool


DoneBefore = Mapping[tuple[str, str], Done]
"""By request and name of the target."""


def take_over(
    job_id: str, attempt: int, requests: Iterable[ErasureRequest], *, tasks: TaskStore, audit: AuditLog, now: Clock
) -> DoneBefore:
    """What earlier jobs have erased for these requests without having told. ``requests``: this job's, as they were
    read before it claimed them. Costs nothing for those that no job had, or whose last job has closed them.
    """
    # An earlier job that claimed between reading and claiming cannot have begun to erase: it has to plan first.
    unclear = [
        request for request in requests if request.job_id is not None and request.job_id not in request.closed_jobs
    ]
    earlier_jobs = side_by_side(
        lambda request: _silenced(job_id, attempt, request.request_id, audit, now), unclear, PARALLEL_CALLS
    )
    taken: dict[str, set[str]] = {}
    for request, earlier in zip(unclear, earlier_jobs, strict=True):
        if earlier is not None:
            taken.setdefault(earlier, set()).add(request.request_id)
    return {
        place: done for earlier, request_ids in taken.items() for place, done in _counts(earlier, request_ids, tasks)
    }


def going_on_from(units: Sequence[Unit], done: DoneBefore) -> list[Unit]:
    """The units, with parts that go on from what was done before. Of a target that is worked on in several pieces, the
    first one does."""
    left = dict(done)
    return [replace(unit, tasks=tuple(_task_from(task, left) for task in unit.tasks)) for unit in units]


def _silenced(job_id: str, attempt: int, request_id: str, audit: AuditLog, now: Clock) -> str | None:
    """The job whose counts are to be taken over, unless it has told them itself; from now on it cannot any more.

    It is the latest one before this job that has planned: its parts hold what it took over itself, and one that has
    not planned has erased nothing.
    """
    entries = audit.entries(request_id)
    planned = [entry.event_id.removeprefix(PLANNED) for entry in entries if entry.event_id.startswith(PLANNED)]
    earlier = max((name for name in planned if _attempt(name) < attempt), key=_attempt, default=None)
    if earlier is None or _has_closed(earlier, [entry.event_id for entry in entries]):
        return None
    # To close, a job reads the trail, sees that the request is its own, and writes the trail's next entry. After this
    # entry it sees that the request is ours; if it looked before, its place is taken.
    audit.append(request_id, "taken_over", now(), {"job_id": job_id, "from": earlier}, event_id=f"{TAKEN_OVER}{job_id}")
    closed_at_the_last_moment = _has_closed(earlier, [entry.event_id for entry in audit.entries(request_id)])
    return None if closed_at_the_last_moment else earlier


def _has_closed(job_id: str, event_ids: Sequence[str]) -> bool:
    return f"{CLOSED}{job_id}" in event_ids


def _counts(job_id: str, request_ids: set[str], store: TaskStore) -> list[tuple[tuple[str, str], Done]]:
    concerned = [task for task in store.tasks(job_id) if any(part.request_id in request_ids for part in task.parts)]
    is_stopped = dict(
        zip(
            ((task.unit, task.number) for task in concerned),
            side_by_side(lambda task: _stop(task, store), concerned, PARALLEL_CALLS),
            strict=True,
        )
    )
    own = parts_by_request(concerned)
    counts: dict[tuple[str, str], Done] = {}
    for request_id in request_ids:
        # A request of which there was nothing but scans to wait for has none.
        for task, part in own.get(request_id, ()):
            place = (request_id, task.spec.name)
            before = counts.get(place, Done(0, at_least=False))
            unclear = part.at_least or (part.status == PENDING and not is_stopped[task.unit, task.number])
            counts[place] = Done(before.erased + part.erased, before.at_least or unclear)
    return list(counts.items())


def _stop(task: Task, store: TaskStore) -> bool:
    """Whether the task's counts are final for requests that have been taken over: no slice is at work on it, and none
    begins that has read it, and the requests after it, before now."""
    if task.running is not None:
        return False
    try:
        store.set_verified(task, task.parts)
    except SliceLostError:
        return False
    return True


def _task_from(task: Task, left: dict[tuple[str, str], Done]) -> Task:
    parts = []
    for part in task.parts:
        # What is only counted is counted anew.
        before = None if task.spec.action == REPORT_ACTION else left.pop((part.request_id, task.spec.name), None)
        parts.append(part if before is None else replace(part, erased=before.erased, at_least=before.at_least))
    return replace(task, parts=tuple(parts))


def _attempt(job_id: str) -> int:
    number = job_id.rpartition("-")[2]
    return int(number) if number.isdigit() else 0
