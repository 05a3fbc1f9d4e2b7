"""Plan a job: which targets, in which units. Planning again after a crash gives the same plan."""

from __future__ import annotations

from collections.abc import Sequence

from erasure.domain.plan import PENDING, Unit, plan_units
from erasure.domain.request import ErasureRequest
from erasure.errors import NotFoundError
from erasure.ports import AuditLog, Clock, DataMapStore, PinnedMap, RequestStore, TaskStore


def plan_job(
    job_id: str,
    request_ids: Sequence[str],
    *,
    requests: RequestStore,
    tasks: TaskStore,
    data_maps: DataMapStore,
    audit: AuditLog,
    now: Clock,
) -> list[Unit]:
    """Start the requests, write their tasks, and return the units that have something to do.

    Requests that may not be started (cancelled, held, finished) are left out. Raises :class:`NotFoundError` when a
    request does not exist at all: such a job must not end green.
    """
    data_map = _pinned_map(job_id, tasks, data_maps)
    started = [request for request in _load(request_ids, requests) if requests.start(request, now(), data_map.version)]
    units = plan_units(job_id, started, data_map.targets)
    tasks.create_job(
        job_id,
        [request.request_id for request in started],
        data_map,
        [task for unit in units for task in unit.tasks],
    )
    for request in started:
        planned = [task for unit in units for task in unit.tasks if task.request_id == request.request_id]
        audit.append(
            request.request_id,
            "planned",
            now(),
            {
                "job_id": job_id,
                "data_map_version": data_map.version,
                "data_map_digest": data_map.digest,
                "targets": [task.spec.name for task in planned],
                "refused": {task.spec.name: task.reason for task in planned if task.status != PENDING},
            },
            event_id=f"planned:{job_id}",
        )
    return [unit for unit in units if any(task.status == PENDING for task in unit.tasks)]


def _pinned_map(job_id: str, tasks: TaskStore, data_maps: DataMapStore) -> PinnedMap:
    version = tasks.pinned_version(job_id)
    data_map = data_maps.version(version) if version else data_maps.current()
    # No map covers nothing: the job goes on with no targets, and closing it tells so.
    return data_map or PinnedMap(0, "", ())


def _load(request_ids: Sequence[str], requests: RequestStore) -> list[ErasureRequest]:
    loaded = []
    for request_id in request_ids:
        request = requests.get(request_id)
        if request is None:
            raise NotFoundError("there is no such erasure request")
        loaded.append(request)
    return loaded
