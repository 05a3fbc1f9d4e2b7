"""Plans of erasures: what would be found of a subject, target by target, and a hash that an erasure may name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from erasure.domain.identifiers import new_batch_id
from erasure.domain.scope import needs
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import milliseconds
from erasure.errors import InvalidInputError
from erasure.ports import Clock, DataReader, PinnedMap, Preview
from erasure.services.commands import ErasureCommand, ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.drafts import Draft, make_drafts, new_requests
from erasure.services.identify import neighbours_to_tell, rules_for
from erasure.services.side_by_side import side_by_side
from erasure.services.tenant_settings import TenantSettings

MAX_SUBJECTS = 10
"""Of one call: each is looked for in all targets while the caller waits."""


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """``out_of_scope``: names of targets that cannot be limited to the organizations named. ``not_before``: when an
    erasure that is asked for now would be started first, unless at once."""

    subject: Subject
    plan_hash: str
    targets: tuple[Preview, ...]
    out_of_scope: tuple[str, ...]
    not_before: datetime | None = None


class ErasurePlans:
    """Writes nothing. ``digest_key`` returns the HMAC key of the subject digests. ``settings``: of tenants, for
    commands that take their grace; ``None``: there are none."""

    def __init__(
        self,
        data_map: CurrentMap,
        reader: DataReader,
        digest_key: Callable[[], bytes],
        now: Clock,
        settings: TenantSettings | None = None,
    ) -> None:
        self._map = data_map
        self._reader = reader
        self._digest_key = digest_key
        self._now = now
        self._settings = settings

    def make(self, command: ErasureCommand) -> list[ErasurePlan]:
        """One for each different subject, in the order of the command. Raises ``InvalidInputError`` (too many subjects,
        none), ``UnavailableError``."""
        subjects = command.different_subjects()
        if not subjects:
            raise InvalidInputError("subjects", "must not be empty")
        if len(subjects) > MAX_SUBJECTS:
            raise InvalidInputError("subjects", f"must not name more than {MAX_SUBJECTS} different ones")
        data_map = self._map.get(now=True)
        now = self._now()
        if self._settings is not None:
            command = self._settings.with_grace(command, now)
        run_id = new_batch_id(milliseconds(now))
        requests = new_requests(command, run_id, self._digest_key(), ErasurePolicy())
        drafts = make_drafts(command, requests, data_map)
        return side_by_side(lambda draft: self._plan(draft, data_map), drafts, MAX_SUBJECTS)

    def _plan(self, draft: Draft, data_map: PinnedMap) -> ErasurePlan:
        request = draft.request
        to_look_at = map_to_look_at(data_map, [spec for spec, _ in draft.targets])
        found = self._reader.preview(request.subject, request.organization_ids, to_look_at)
        plan_hash = draft.plan_hash(data_map)
        return ErasurePlan(request.subject, plan_hash, tuple(found), draft.out_of_scope, request.not_before)


def map_to_look_at(data_map: PinnedMap, specs: Sequence[TargetSpec]) -> PinnedMap:
    """The map limited to these of its targets, as :meth:`erasure.ports.DataReader.preview` takes it: with the
    identifiers that they need and the neighbours beside which they have to be looked at."""
    names = {name for spec in specs for name in needs(spec)[1]}
    return replace(
        data_map,
        targets=tuple(_with_neighbours(spec, data_map.targets) for spec in specs),
        identifiers=tuple(rules_for(data_map, names)),
    )


def _with_neighbours(spec: TargetSpec, targets: Sequence[TargetSpec]) -> TargetSpec:
    """Whoever knows the subject's further ids can then tell whether they also stand for somebody else's things."""
    return replace(
        spec,
        beside=neighbours_to_tell(spec, targets),
        for_each=None if spec.for_each is None else _with_neighbours(spec.for_each, targets),
    )
