"""From requests and a data map to tasks and units."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from erasure.domain.collisions import check_alone, neighbours
from erasure.domain.outcome import FINAL_OUTCOMES, NOTHING_KEPT, Kept
from erasure.domain.request import FAMILY_CATEGORIES, ErasureRequest
from erasure.domain.retention_runs import RULE_CHANGED, targets_of_run
from erasure.domain.scope import in_scope, needs, value_sets
from erasure.domain.subject import RETENTION
from erasure.domain.target_spec import VOID, TargetSpec
from erasure.errors import TargetError

PENDING = "pending"
"""Something may be left: the eraser has to work on it (again)."""
ERASED_UNVERIFIED = "erased"
"""The eraser saw nothing left; the verifier has not looked yet."""
VERIFIED = "verified"
FAILED = "failed"

PASSES_OF_A_JOB = 1200
"""How often a job's units may go through erasing and verifying, all together.

An execution's history holds 25,000 events; one that reaches them fails at once, without closing its job. A pass takes
12 events, 14 with a pause; 6 more are allowed for its retries. A unit that has used up its share ends unfinished, and
closing the job says so.
"""

UNIT_SIZE = 25
"""Tasks of one unit: small enough for one slice of a usual subject, large enough to keep state transitions few."""

TASK_PARTS = 100
"""Requests of one task: enough to fill deleting calls across subjects, few enough for one small record."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one request has of a task.

    ``erased``: confirmed deletions so far. ``at_least``: a slice died without writing its count. ``rounds``: how often
    verification sent it back. ``stalls``: slices in a row that erased nothing and still were not done. ``reason``:
    fixed code of the latest problem. ``kept``: what verification left in its place because it may stay.
    """

    request_id: str
    status: str = PENDING
    erased: int = 0
    at_least: bool = False
    rounds: int = 0
    stalls: int = 0
    reason: str | None = None
    kept: Kept = NOTHING_KEPT


@dataclass(frozen=True, slots=True)
class Shard:
    """A share of a table that is scanned: of ``total`` segments, those from ``first`` to before ``end``."""

    total: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Task:
    """One target for some requests of a job, each with a part of its own: what happens to one is not the others' fate.

    ``running``: the slice that is at work, if any. ``revision`` counts the writes of its record. ``level``: in a
    unit of targets that lead to each other, the place in the order in which they are worked on, the children first.
    ``shard``: of a scan; ``cursor``: how many of its segments have been gone through.
    """

    job_id: str
    unit: str
    number: int
    spec: TargetSpec
    parts: tuple[Part, ...]
    running: str | None = None
    revision: int = 0
    level: int = 0
    shard: Shard | None = None
    cursor: int = 0

    def parts_in(self, status: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.status == status)


@dataclass(frozen=True, slots=True)
class Unit:
    """Tasks that one eraser call works on together. ``name`` is ``dynamodb-00``, ``s3-00``, ...

    Tasks of targets that lead to each other are in one unit, ``linked-00``, and are worked on level by level;
    ``kind`` is that of the first level. Tasks of all other units are of one kind, scans in units of their own
    (``scan-00``).
    """

    name: str
    kind: str
    tasks: tuple[Task, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each level."""
        return tuple(kind for _, kind in sorted({(task.level, task.spec.kind) for task in self.tasks}))


Families = Mapping[str, frozenset[str] | None]

Scans = Mapping[str, Sequence[Shard]]
"""The shards of each target that scans, by its name."""

NO_SCANS: Scans = {}

MISSING_VALUE = "missing_value"
"""The reason of a part whose subject has no value for one of the target's placeholders."""


def passes_of_each(units: int) -> int:
    """The passes of each unit of a job with so many ``units``."""
    return max(1, PASSES_OF_A_JOB // max(1, units))


def targets_for(
    request: ErasureRequest, targets: Iterable[TargetSpec], families: Families = FAMILY_CATEGORIES
) -> list[TargetSpec]:
    """The targets that this request covers, each as it applies to it: by the type of its subject, the categories of
    the family that it came through (or its own), the organizations and the targets that it is limited to.

    A run by a rule of age covers its target as that rule has it, and nothing else does.
    """
    if request.subject.type == RETENTION:
        return targets_of_run(request.subject, request.only_targets, tuple(targets))
    categories = families[request.family] if request.categories is None else frozenset(request.categories)
    covered = []
    for target in targets:
        if request.only_targets and target.name not in request.only_targets:
            continue
        if request.subject.type in target.subjects and (categories is None or target.category in categories):
            scoped = in_scope(_without_rule_of_age(target), request.organization_ids)
            if scoped is not None:
                covered.append(scoped)
    return covered


@lru_cache(maxsize=1024)
def _without_rule_of_age(target: TargetSpec) -> TargetSpec:
    return target if target.retention is None else replace(target, retention=None)


def plan_units(
    job_id: str,
    requests: Sequence[ErasureRequest],
    targets: Sequence[TargetSpec],
    families: Families = FAMILY_CATEGORIES,
    optional: Collection[str] = (),
    scans: Scans = NO_SCANS,
    scanning: Collection[str] = (),
) -> list[Unit]:
    """The units of a job, in a fixed order, so that planning twice gives the same.

    A target that cannot be rendered safely for a subject becomes a part that has failed already: it must show in
    the outcome, and no eraser may try it. ``optional``: identifiers of which it is no fault to have none. ``scanning``:
    requests for which tables are scanned now, in the ``scans``; they get what has no final outcome yet. The others get
    everything but what would have to be scanned.
    """
    by_target: dict[TargetSpec, list[Part]] = {}
    beside: dict[TargetSpec, tuple[TargetSpec, ...]] = {}
    for request in requests:
        covered = targets_for(request, targets, families)
        if request.request_id in scanning:
            covered = _unfinished(request, covered)
        else:
            covered = [spec for spec in covered if not spec.is_scan]
        for spec in covered:
            if spec not in beside:
                # What leads to it has to be the subject's alone as well: others' items would lead to others' things.
                beside[spec] = () if spec.goes_by_age else neighbours(root_of(spec), targets)
            by_target.setdefault(spec, []).append(_part(request, spec, beside[spec], optional))
    linked = linked_groups(by_target)
    alone = {
        spec: parts for spec, parts in by_target.items() if not spec.is_scan and not any(spec in g for g in linked)
    }
    units = []
    for kind in ("dynamodb", "s3"):
        units += _units_of_kind(job_id, kind, {spec: parts for spec, parts in alone.items() if spec.kind == kind})
    units += _linked_units(job_id, linked, by_target)
    units += _scan_units(job_id, {spec: parts for spec, parts in by_target.items() if spec.is_scan}, scans)
    return units


def final_targets(request: ErasureRequest) -> frozenset[str]:
    """Names of the targets about which nothing is left to do for the request."""
    return frozenset(outcome.target for outcome in request.outcomes if outcome.outcome in FINAL_OUTCOMES)


def has_done_something(request: ErasureRequest, target: str) -> bool:
    """Whether an earlier job of the request has erased or changed anything of the target."""
    return any(told.target == target and (told.count or told.at_least) for told in request.outcomes)


def _unfinished(request: ErasureRequest, covered: Sequence[TargetSpec]) -> list[TargetSpec]:
    """What has no final outcome, and all that leads to it or that it leads to."""
    final = final_targets(request)
    roots = {root_of(spec).name for spec in covered if spec.name not in final}
    return [spec for spec in covered if root_of(spec).name in roots]


def root_of(spec: TargetSpec) -> TargetSpec:
    """The first of the targets that lead to this one, or itself."""
    return [spec, *spec.ancestors()][-1]


def linked_groups(specs: Iterable[TargetSpec]) -> list[list[TargetSpec]]:
    """The targets that lead to others or that others lead to, each with those that it belongs to, in their order."""
    groups: dict[str, list[TargetSpec]] = {}
    for spec in specs:
        groups.setdefault(root_of(spec).name, []).append(spec)
    return [group for group in groups.values() if any(spec.for_each is not None for spec in group)]


def _units_of_kind(job_id: str, kind: str, by_target: Mapping[TargetSpec, list[Part]]) -> list[Unit]:
    chunks = [
        (spec, tuple(parts[start : start + TASK_PARTS]))
        for spec, parts in by_target.items()
        for start in range(0, len(parts), TASK_PARTS)
    ]
    units = []
    for start in range(0, len(chunks), UNIT_SIZE):
        name = f"{kind}-{start // UNIT_SIZE:02d}"
        tasks = tuple(
            Task(job_id, name, number, spec, parts)
            for number, (spec, parts) in enumerate(chunks[start : start + UNIT_SIZE])
        )
        units.append(Unit(name, kind, tasks))
    return units


def _linked_units(
    job_id: str, groups: Sequence[Sequence[TargetSpec]], by_target: Mapping[TargetSpec, list[Part]]
) -> list[Unit]:
    """For each group and each hundred of its requests a unit: one request's parts of a group are never apart."""
    units: list[Unit] = []
    for group in groups:
        requests = list(dict.fromkeys(part.request_id for spec in group for part in by_target[spec]))
        for start in range(0, len(requests), TASK_PARTS):
            name, own = f"linked-{len(units):02d}", set(requests[start : start + TASK_PARTS])
            chunks = [(spec, tuple(part for part in by_target[spec] if part.request_id in own)) for spec in group]
            # Counted in each unit: requests that are limited to organizations may leave some targets out.
            levels = _levels([spec for spec, parts in chunks if parts])
            tasks = [
                Task(job_id, name, number, spec, parts, level=levels[spec])
                for number, (spec, parts) in enumerate(chunks)
                if parts
            ]
            first = min(tasks, key=lambda task: task.level)
            units.append(Unit(name, first.spec.kind, tuple(tasks)))
    return units


def _levels(group: Sequence[TargetSpec]) -> dict[TargetSpec, int]:
    """The order in which they are worked on: children before parents, and of one kind at a time."""
    depth = {spec: len(list(spec.ancestors())) for spec in group}
    steps = sorted({(-depth[spec], spec.kind) for spec in group})
    return {spec: steps.index((-depth[spec], spec.kind)) for spec in group}


def _scan_units(job_id: str, by_target: Mapping[TargetSpec, list[Part]], scans: Scans) -> list[Unit]:
    """Each shard of a table is a unit: all subjects in one task, so that the table is read once for all of them."""
    pieces = [(spec, tuple(parts), shard) for spec, parts in by_target.items() for shard in scans[spec.name]]
    return [
        Unit(name := f"scan-{number:02d}", "dynamodb", (Task(job_id, name, 0, spec, parts, shard=shard),))
        for number, (spec, parts, shard) in enumerate(pieces)
    ]


def refusal(request: ErasureRequest, spec: TargetSpec, all_targets: Sequence[TargetSpec]) -> TargetError | None:
    """Why the target cannot be erased safely for this request, if so. ``all_targets``: the map's, or the neighbours
    among them of the target that is looked at. What needs identifiers that have not been read yet cannot be told.

    What items say is not known before they are read: of a target that others lead to, the first of these is looked at.
    A run by age is about nobody: whose each thing is, is looked at when it has been read.
    """
    if spec.goes_by_age:
        return None
    root = root_of(spec)
    try:
        for values in values_of(request, spec):
            check_alone(root, all_targets, values)
    except TargetError as error:
        return error
    return None


def values_of(request: ErasureRequest, spec: TargetSpec) -> list[dict[str, str]]:
    """The values of the request's subject for this target (from :func:`targets_for`); none if one is missing. Raises
    :class:`TargetError` for what :func:`refusal` tells."""
    return value_sets(request.subject, request.organization_ids, spec, request.identifiers)


def _part(
    request: ErasureRequest, spec: TargetSpec, all_targets: Sequence[TargetSpec], optional: Collection[str]
) -> Part:
    if spec.retention is not None and spec.retention.mode == VOID:
        return Part(request.request_id, VERIFIED, reason=RULE_CHANGED)
    error = refusal(request, spec, all_targets)
    if error is not None:
        return _failed(request, error.code)
    if _was_led_to(request, spec):
        return _failed(request, MISSING_VALUE)
    if values_of(request, spec):
        return Part(request.request_id)
    missing = {name for name in needs(spec)[1] if not request.identifiers.get(name)}
    # Nobody can be found by what he does not have: for the map to say whether he has nothing there. What nobody could
    # read is not known to be missing.
    is_absent = bool(missing) and missing.issubset(optional) and missing <= request.identifiers.keys()
    return Part(request.request_id, VERIFIED) if is_absent else _failed(request, MISSING_VALUE)


def _was_led_to(request: ErasureRequest, spec: TargetSpec) -> bool:
    """Whether items that led to the target went with an earlier job, whose map did not know of the target: what they
    said is lost, and that nothing is found now says nothing."""
    is_new = all(told.target != spec.name for told in request.outcomes)
    return is_new and any(has_done_something(request, parent.name) for parent in spec.ancestors())


def _failed(request: ErasureRequest, reason: str) -> Part:
    return Part(request.request_id, FAILED, reason=reason)
