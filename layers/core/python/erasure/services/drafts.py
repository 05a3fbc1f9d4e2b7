"""From a command to the requests that it would make, and what each of them would cover."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from erasure.domain.canonical import digest_of
from erasure.domain.clock import ClockPolicy
from erasure.domain.collisions import neighbours
from erasure.domain.identifiers import derived_request_id, milliseconds_of
from erasure.domain.plan import refusal, root_of, targets_for
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import subject_digest
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import due_at, purged_by, time_of
from erasure.errors import TargetError
from erasure.ports import PinnedMap
from erasure.services.commands import ErasureCommand, ErasurePolicy, PlannedTarget, SubjectPlan


@dataclass(frozen=True, slots=True)
class Draft:
    """``position``: in the command. ``targets``: what the request covers, each with why it cannot be erased safely."""

    request: ErasureRequest
    position: int
    targets: tuple[tuple[TargetSpec, TargetError | None], ...]
    out_of_scope: tuple[str, ...]

    @property
    def refusal(self) -> TargetError | None:
        return next((error for _, error in self.targets if error is not None), None)

    def plan_hash(self, data_map: PinnedMap) -> str:
        """Stands for what would be done to whom, as far as it follows from the ``data_map`` and the request. What is
        found when it is done is not in it: it changes all the time. Hex."""
        return digest_of(
            {
                "data_map": data_map.digest,
                "subject": self.request.subject_digest,
                "organization_ids": sorted(self.request.organization_ids),
                "targets": [
                    [spec.name, spec.action, None if error is None else error.code] for spec, error in self.targets
                ],
            }
        )

    def as_plan(self) -> SubjectPlan:
        targets = tuple(
            PlannedTarget(
                spec.name,
                spec.category,
                spec.kind,
                spec.action,
                None if error is None else error.code,
            )
            for spec, error in self.targets
        )
        return SubjectPlan(self.request.subject, targets, self.out_of_scope, self.request.not_before)


def new_requests(command: ErasureCommand, run_id: str, key: bytes, policy: ErasurePolicy) -> list[ErasureRequest]:
    """A request for each different subject. The same command gives the same ones under the same ``run_id``, which is
    the id of the batch and holds the moment."""
    at = time_of(milliseconds_of(run_id))
    not_before = _later(command.not_before, at)
    first_look = ClockPolicy(patience=policy.patience).first_look(not_before or at)
    subjects = command.different_subjects()
    batch_id = run_id if command.named_batch or len(subjects) > 1 else None
    return [
        ErasureRequest(
            request_id=derived_request_id(run_id, number, milliseconds_of(run_id)),
            subject=subject,
            subject_digest=subject_digest(key, subject),
            family=command.family,
            requested_at=at,
            due_at=due_at(not_before or at, policy.sla_hours),
            purged_by=purged_by(not_before or at, policy.purge_days),
            categories=command.categories,
            organization_ids=command.organization_ids,
            not_before=not_before,
            batch_id=batch_id,
            leaves_tombstone=command.leaves_tombstone,
            clock_at=first_look,
        )
        for number, subject in enumerate(subjects)
    ]


def _later(moment: datetime | None, at: datetime) -> datetime | None:
    return moment if moment is not None and moment > at else None


def make_drafts(command: ErasureCommand, requests: list[ErasureRequest], data_map: PinnedMap) -> list[Draft]:
    """``requests``: from :func:`new_requests`."""
    cover = _Cover(data_map)
    return [
        Draft(request, position, cover.targets(request), cover.out_of_scope(request))
        for request, position in zip(requests, command.different_subjects().values(), strict=True)
    ]


class _Cover:
    """What the map's targets mean for requests that differ in their subjects only.

    ``_of_type``: by type of subject, the targets covered, each with those beside which it has to be looked at.
    """

    def __init__(self, data_map: PinnedMap) -> None:
        self._map = data_map
        self._of_type: dict[str, list[tuple[TargetSpec, tuple[TargetSpec, ...]]]] = {}
        self._left_out: dict[str, tuple[str, ...]] = {}

    def targets(self, request: ErasureRequest) -> tuple[tuple[TargetSpec, TargetError | None], ...]:
        covered = self._of_type.get(request.subject.type)
        if covered is None:
            specs = targets_for(request, self._map.targets, self._map.families)
            # What leads to a target has to be the subject's alone as well.
            covered = [(spec, neighbours(root_of(spec), self._map.targets)) for spec in specs]
            self._of_type[request.subject.type] = covered
        return tuple((spec, refusal(request, spec, beside)) for spec, beside in covered)

    def out_of_scope(self, request: ErasureRequest) -> tuple[str, ...]:
        subject_type = request.subject.type
        if subject_type not in self._left_out:
            everywhere = replace(request, organization_ids=())
            names = {spec.name for spec, _ in self._of_type[subject_type]}
            self._left_out[subject_type] = tuple(
                spec.name
                for spec in targets_for(everywhere, self._map.targets, self._map.families)
                if spec.name not in names
            )
        return self._left_out[subject_type]
