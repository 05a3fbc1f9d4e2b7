"""From requests and a data map to tasks and units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from erasure.domain.collisions import check_alone, neighbours
from erasure.domain.request import FAMILY_CATEGORIES, ErasureRequest
from erasure.domain.scope import in_scope, value_sets
from erasure.domain.target_spec import TargetSpec
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
    fixed code of the latest problem.
    """

    request_id: str
    status: str = PENDING
    erased: int = 0
    at_least: bool = False
    rounds: int = 0
    stalls: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One target for some requests of a job, each with a part of its own: what happens to one is not the others' fate.

    ``running``: the slice that is at work, if any. ``revision`` counts the writes of its record.
    """

    job_id: str
    unit: str
    number: int
    spec: TargetSpec
    parts: tuple[Part, ...]
    running: str | None = None
    revision: int = 0

    def parts_in(self, status: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.status == status)


@dataclass(frozen=True, slots=True)
class Unit:
    """Tasks of one kind that one eraser call works on together. ``name`` is ``dynamodb-00``, ``s3-00``, ..."""

    name: str
    kind: str
    tasks: tuple[Task, ...]


Families = Mapping[str, frozenset[str] | None]


def passes_of_each(units: int) -> int:
    """The passes of each unit of a job with so many ``units``."""
    return max(1, PASSES_OF_A_JOB // max(1, units))


def targets_for(
    request: ErasureRequest, targets: Iterable[TargetSpec], families: Families = FAMILY_CATEGORIES
) -> list[TargetSpec]:
    """The targets that this request covers, each as it applies to it: by the type of its subject, the categories of
    the family that it came through (or its own), and the organizations that it is limited to."""
    categories = families[request.family] if request.categories is None else frozenset(request.categories)
    covered = []
    for target in targets:
        if request.subject.type in target.subjects and (categories is None or target.category in categories):
            scoped = in_scope(target, request.organization_ids)
            if scoped is not None:
                covered.append(scoped)
    return covered


def plan_units(
    job_id: str,
    requests: Sequence[ErasureRequest],
    targets: Sequence[TargetSpec],
    families: Families = FAMILY_CATEGORIES,
) -> list[Unit]:
    """The units of a job, kinds in a fixed order, so that planning twice gives the same.

    A target that cannot be rendered safely for a subject becomes a part that has failed already: it must show in
    the outcome, and no eraser may try it.
    """
    by_target: dict[str, dict[TargetSpec, list[Part]]] = {}
    beside: dict[TargetSpec, tuple[TargetSpec, ...]] = {}
    for request in requests:
        for spec in targets_for(request, targets, families):
            if spec not in beside:
                beside[spec] = neighbours(spec, targets)
            by_target.setdefault(spec.kind, {}).setdefault(spec, []).append(_part(request, spec, beside[spec]))
    units = []
    for kind in sorted(by_target):
        chunks = [
            (spec, tuple(parts[start : start + TASK_PARTS]))
            for spec, parts in by_target[kind].items()
            for start in range(0, len(parts), TASK_PARTS)
        ]
        for start in range(0, len(chunks), UNIT_SIZE):
            name = f"{kind}-{start // UNIT_SIZE:02d}"
            tasks = tuple(
                Task(job_id, name, number, spec, parts)
                for number, (spec, parts) in enumerate(chunks[start : start + UNIT_SIZE])
            )
            units.append(Unit(name, kind, tasks))
    return units


def refusal(request: ErasureRequest, spec: TargetSpec, all_targets: Sequence[TargetSpec]) -> TargetError | None:
    """Why the target cannot be erased safely for this request, if so. ``all_targets``: the map's, or the target's
    neighbours among them."""
    try:
        for values in value_sets(request.subject, request.organization_ids, spec):
            check_alone(spec, all_targets, values)
    except TargetError as error:
        return error
    return None


def _part(request: ErasureRequest, spec: TargetSpec, all_targets: Sequence[TargetSpec]) -> Part:
    error = refusal(request, spec, all_targets)
    return Part(request.request_id) if error is None else Part(request.request_id, FAILED, reason=error.code)
