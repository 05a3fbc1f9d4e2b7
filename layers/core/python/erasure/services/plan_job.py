"""Plan a job: which targets, in which units. Planning again after a crash gives the same plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from erasure.domain.plan import (
    FAILED,
    PENDING,
    Families,
    Scans,
    Task,
    Unit,
    final_targets,
    plan_units,
    targets_for,
)
from erasure.domain.request import ErasureRequest
from erasure.errors import NotFoundError
from erasure.ports import (
    AccountReader,
    AuditLog,
    Clock,
    ClockStore,
    DataMapStore,
    DataReader,
    HoldReader,
    PinnedJob,
    PinnedMap,
    RequestStore,
    TaskStore,
)
from erasure.services.earlier_jobs import PLANNED, going_on_from, take_over
from erasure.services.held_requests import held_among, hold_requests
from erasure.services.noted_identifiers import note_identifiers
from erasure.services.returned import without_returned
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import parts_by_request

PARALLEL_REQUESTS = 8


@dataclass(frozen=True, slots=True)
class PlanJobDependencies:
    """``reader``: asked for further ids of subjects and for the sizes of tables, if the map has a use for them.
    ``digest_key`` returns the HMAC key of the digests by which holds name subjects; asked for if there are any.
    ``accounts``: asked whether subjects have come back for whom the service itself has made a request; whoever plans
    none of these needs none."""

    requests: RequestStore
    tasks: TaskStore
    data_maps: DataMapStore
    audit: AuditLog
    reader: DataReader
    now: Clock
    holds: HoldReader
    clock: ClockStore
    digest_key: Callable[[], bytes]
    accounts: AccountReader | None = None


def plan_job(
    job_id: str,
    request_ids: Sequence[str],
    attempt: int,
    use: PlanJobDependencies,
    categories: Sequence[str] | None = None,
) -> list[Unit]:
    """Claim the requests, write their tasks, and return the units that have something to do.

    Requests that may not be started (cancelled, held, finished, not due yet) or that another job of this attempt has
    are left out; so are those that a legal hold concerns, which are held from then on, and those of subjects who have
    come back (:mod:`erasure.services.returned`). What an earlier job has erased and not told, this one goes on from.
    ``categories``: of what each request covers, these only, and nothing that has to be scanned.
    Raises :class:`NotFoundError` when a request does not exist at all: such a job must not end green.
    """
    pinned = use.tasks.pinned(job_id)
    data_map = _map_of(pinned, use.data_maps)
    if pinned is None:
        # What claiming leaves has the identifiers and the scans that it will be planned with.
        wanted = _without_returned(_load(request_ids, use.requests), data_map, use)
        claimed = _claim(job_id, wanted, attempt, data_map, use)
        claimed = note_identifiers(job_id, claimed, data_map, use.requests, use.reader, use.digest_key)
        # Only now it is known by which ids a hold may name them, and nothing of them has been erased yet.
        claimed = _without_held(claimed, use)
        scanning = _scan_now(job_id, claimed, data_map, use) if categories is None else []
        scans = _shards(scanning, data_map, use.reader)
        pinned = PinnedJob(data_map.version, _ids(claimed), scans, _ids(scanning))
        own_now = claimed
    else:
        # What the job was planned with, also if a request may not be started any more by now: its erasers see to that.
        claimed = _load(pinned.request_ids, use.requests)
        # Planned again, a job may have been overtaken itself.
        own_now = [request for request in claimed if request.job_id == job_id]
    done_before = take_over(job_id, attempt, own_now, tasks=use.tasks, audit=use.audit, now=use.now)
    units = plan_units(
        job_id,
        [request if categories is None else _limited(request, categories, data_map.families) for request in claimed],
        data_map.targets,
        data_map.families,
        data_map.optional,
        pinned.scans,
        pinned.scanning,
    )
    units = going_on_from(units, done_before) if done_before else units
    all_tasks = [task for unit in units for task in unit.tasks]
    if claimed:
        use.tasks.create_job(job_id, pinned, data_map, all_tasks)
    _record(job_id, claimed, data_map, all_tasks, use)
    return [unit for unit in units if any(task.parts_in(PENDING) for task in unit.tasks)]


def _without_returned(
    requests: Sequence[ErasureRequest], data_map: PinnedMap, use: PlanJobDependencies
) -> Sequence[ErasureRequest]:
    if use.accounts is None:
        return requests
    return without_returned(requests, data_map, accounts=use.accounts, store=use.requests, audit=use.audit, now=use.now)


def _claim(
    job_id: str, requests: Sequence[ErasureRequest], attempt: int, data_map: PinnedMap, use: PlanJobDependencies
) -> list[ErasureRequest]:
    own = side_by_side(
        lambda request: use.requests.start(request, use.now(), data_map.version, job_id, attempt),
        requests,
        PARALLEL_REQUESTS,
    )
    return [request for request, is_ours in zip(requests, own, strict=True) if is_ours]


def _without_held(requests: Sequence[ErasureRequest], use: PlanJobDependencies) -> list[ErasureRequest]:
    held = held_among(requests, use.holds)
    hold_requests(held, requests=use.requests, clock=use.clock, audit=use.audit, now=use.now)
    return [request for request in requests if request.request_id not in held]


def _scan_now(
    job_id: str, requests: Sequence[ErasureRequest], data_map: PinnedMap, use: PlanJobDependencies
) -> list[ErasureRequest]:
    """The requests whose window has ended. Those whose window is open are noted to be scanned at its end."""
    scanning = []
    for request in requests:
        if request.scan_at is not None and request.scan_at <= use.now():
            # Also if the map has nothing to scan any more: nobody else comes by to end the waiting.
            scanning.append(request)
            continue
        final = final_targets(request)
        windows = [
            spec.window_hours
            for spec in targets_for(request, data_map.targets, data_map.families)
            if spec.is_scan and spec.name not in final
        ]
        if windows:
            use.requests.wait_for_scan(request, job_id, request.scan_at or end_of_window(use.now(), max(windows)))
    return scanning


def end_of_window(now: datetime, hours: int) -> datetime:
    """When the window ends in which ``now`` is: all windows of so many hours end at the same times for everybody, so
    that requests share a scan."""
    seconds = hours * 3600
    return datetime.fromtimestamp((int(now.timestamp()) // seconds + 1) * seconds, UTC)


def _shards(scanning: Sequence[ErasureRequest], data_map: PinnedMap, reader: DataReader) -> Scans:
    specs = {
        spec.name: spec
        for request in scanning
        for spec in targets_for(request, data_map.targets, data_map.families)
        if spec.is_scan
    }
    return reader.shards(list(specs.values())) if specs else {}


def _record(
    job_id: str,
    requests: Sequence[ErasureRequest],
    data_map: PinnedMap,
    tasks: Sequence[Task],
    use: PlanJobDependencies,
) -> None:
    planned = parts_by_request(tasks)

    def record(request: ErasureRequest) -> None:
        own = planned.get(request.request_id, [])
        use.audit.append(
            request.request_id,
            "planned",
            use.now(),
            {
                "job_id": job_id,
                "data_map_version": data_map.version,
                "data_map_digest": data_map.digest,
                "targets": list(dict.fromkeys(task.spec.name for task, _ in own)),
                "refused": {task.spec.name: part.reason for task, part in own if part.status == FAILED},
            },
            event_id=f"{PLANNED}{job_id}",
        )

    side_by_side(record, requests, PARALLEL_REQUESTS)


def _ids(requests: Sequence[ErasureRequest]) -> tuple[str, ...]:
    return tuple(request.request_id for request in requests)


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
