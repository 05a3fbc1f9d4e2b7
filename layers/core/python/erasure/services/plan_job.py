"""Plan a job: which targets, in which units. Planning again after a crash gives the same plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from erasure.domain.plan import PENDING, Families, Unit, plan_units
from erasure.domain.request import ErasureRequest
from erasure.errors import NotFoundError
from erasure.ports import AuditLog, Clock, DataMapStore, PinnedJob, PinnedMap, RequestStore, TaskStore
from erasure.services.earlier_jobs import PLANNED, going_on_from, take_over
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import parts_by_request

PARALLEL_REQUESTS = 8


def plan_job(
    job_id: str,
    request_ids: Sequence[str],
    attempt: int,
    *,
    requests: RequestStore,
    tasks: TaskStore,
    data_maps: DataMapStore,
    audit: AuditLog,
    now: Clock,
    categories: Sequence[str] | None = None,
) -> list[Unit]:
    """Claim the requests, write their tasks, and return the units that have something to do.

    Requests that may not be started (cancelled, held, finished, not due yet) or that another job of this attempt has
    are left out. What an earlier job has erased and not told, this one goes on from. ``categories``: of what each
    request covers, these only. Raises :class:`NotFoundError` when a request does not exist at all: such a job must not
    end green.
    """
    pinned = tasks.pinned(job_id)
    data_map = _map_of(pinned, data_maps)
    # What the job was planned with, also if a request may not be started any more by now: its erasers see to that.
    claimed = _load(pinned.request_ids if pinned else request_ids, requests)
    if pinned is None:
        own = side_by_side(
            lambda request: requests.start(request, now(), data_map.version, job_id, attempt),
            claimed,
            PARALLEL_REQUESTS,
        )
        claimed = [request for request, is_ours in zip(claimed, own, strict=True) if is_ours]
    # Planned again, a job may have been overtaken itself.
    own_now = claimed if pinned is None else [request for request in claimed if request.job_id == job_id]
    done_before = take_over(job_id, attempt, own_now, tasks=tasks, audit=audit, now=now)
    units = plan_units(
        job_id,
        [request if categories is None else _limited(request, categories, data_map.families) for request in claimed],
        data_map.targets,
        data_map.families,
    )
    units = going_on_from(units, done_before) if done_before else units
    all_tasks = [task for unit in units for task in unit.tasks]
    if claimed:
        tasks.create_job(job_id, [request.request_id for request in claimed], data_map, all_tasks)
    planned = parts_by_request(all_tasks)

    def record(request: ErasureRequest) -> None:
        own = planned.get(request.request_id, [])
        audit.append(
            request.request_id,
            "planned",
            now(),
            {
                "job_id": job_id,
                "data_map_version": data_map.version,
                "data_map_digest": data_map.digest,
                "targets": [task.spec.name for task, _ in own],
                "refused": {task.spec.name: part.reason for task, part in own if part.status != PENDING},
            },
            event_id=f"{PLANNED}{job_id}",
        )

    side_by_side(record, claimed, PARALLEL_REQUESTS)
    return [unit for unit in units if any(task.parts_in(PENDING) for task in unit.tasks)]


def _map_of(pinned: PinnedJob | None, data_maps: DataMapStore) -> PinnedMap:
    if pinned is None:
        data_map = data_maps.current()
    else:
        data_map = data_maps.version(pinned.data_map_version) if pinned.data_map_version else None
    # No map covers nothing: the job goes on with no targets, and closing it tells so.
    return data_map or PinnedMap(0, "", ())


def _load(request_ids: Sequence[str], requests: RequestStore) -> list[ErasureRequest]:
    different = list(dict.fromkeys(request_ids))
    known = requests.get_many(different)
    if len(known) < len(different):
        raise NotFoundError("there is no such erasure request")
    return [known[request_id] for request_id in different]


def _limited(request: ErasureRequest, categories: Sequence[str], families: Families) -> ErasureRequest:
    covered = families[request.family] if request.categories is None else frozenset(request.categories)
    return replace(
        request, categories=tuple(category for category in categories if covered is None or category in covered)
    )
