"""From a request and a data map to tasks and units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from erasure.domain.collisions import check_alone
from erasure.domain.request import FAMILY_CATEGORIES, ErasureRequest
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


@dataclass(frozen=True, slots=True)
class Task:
    """One target for one request.

    ``erased``: confirmed deletions so far. ``at_least``: a slice died without writing its count. ``rounds``: how often
    verification sent it back. ``stalls``: slices in a row that erased nothing and still were not done.
    ``running``: the slice that is at work, if any. ``reason``: fixed code of the latest problem.
    """

    job_id: str
    unit: str
    number: int
    request_id: str
    spec: TargetSpec
    status: str = PENDING
    erased: int = 0
    at_least: bool = False
    rounds: int = 0
    stalls: int = 0
    running: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """Tasks of one kind that one eraser call works on together. ``name`` is ``dynamodb-00``, ``s3-00``, ..."""

    name: str
    kind: str
    tasks: tuple[Task, ...]


def passes_of_each(units: int) -> int:
    """The passes of each unit of a job with so many ``units``."""
    return max(1, PASSES_OF_A_JOB // max(1, units))


def targets_for(request: ErasureRequest, targets: Iterable[TargetSpec]) -> list[TargetSpec]:
    """The targets that this request covers: by the categories of the family that it came through."""
    categories = FAMILY_CATEGORIES[request.family]
    return [target for target in targets if categories is None or target.category in categories]


def plan_units(job_id: str, requests: Sequence[ErasureRequest], targets: Sequence[TargetSpec]) -> list[Unit]:
    """The units of a job, kinds in a fixed order, so that planning twice gives the same.

    A target that cannot be rendered safely for a subject becomes a task that has failed already: it must show in
    the outcome, and no eraser may try it.
    """
    by_kind: dict[str, list[tuple[ErasureRequest, TargetSpec]]] = {}
    for request in requests:
        for spec in targets_for(request, targets):
            by_kind.setdefault(spec.kind, []).append((request, spec))
    units = []
    for kind in sorted(by_kind):
        wanted = by_kind[kind]
        for start in range(0, len(wanted), UNIT_SIZE):
            name = f"{kind}-{start // UNIT_SIZE:02d}"
            tasks = tuple(
                _task(job_id, name, number, request, spec, targets)
                for number, (request, spec) in enumerate(wanted[start : start + UNIT_SIZE])
            )
            units.append(Unit(name, kind, tasks))
    return units


def _task(
    job_id: str, unit: str, number: int, request: ErasureRequest, spec: TargetSpec, all_targets: Sequence[TargetSpec]
) -> Task:
    try:
        check_alone(spec, all_targets, request.subject.values())
    except TargetError as error:
        return Task(job_id, unit, number, request.request_id, spec, status=FAILED, reason=error.code)
    return Task(job_id, unit, number, request.request_id, spec)
