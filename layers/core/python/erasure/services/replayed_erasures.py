"""What a replay makes again: erasures that ended after a moment, put together by whose data they erased, and the
targets that this means in places which have been restored to that moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.identifiers import derived_request_id, milliseconds_of
from erasure.domain.outcome import FINAL_OUTCOMES
from erasure.domain.plan import final_targets, targets_for
from erasure.domain.request import FINISHED, HELD, REPLAY, STARTED, ErasureRequest
from erasure.domain.target_spec import TargetSpec
from erasure.ports import PinnedMap
from erasure.services.account_targets import ACCOUNT_CATEGORY


@dataclass(frozen=True, slots=True)
class RestoredPlaces:
    """``names``: of the targets whose tables or buckets have been restored. ``reached``: those of them that can be
    erased again; what other items lead to cannot, unless these have been restored as well: they are gone, and the way
    to it with them."""

    names: frozenset[str]
    reached: frozenset[str]

    @classmethod
    def of(cls, names: Collection[str], targets: Iterable[TargetSpec]) -> RestoredPlaces:
        own = frozenset(names)
        with_ways = (spec for spec in targets if all(parent.name in own for parent in spec.ancestors()))
        return cls(own, own.intersection(spec.name for spec in with_ways))

    @property
    def unreachable(self) -> tuple[str, ...]:
        return tuple(sorted(self.names - self.reached))


@dataclass(frozen=True, slots=True)
class Erasures:
    """All erasures of one subject through one family, with the same limit to organizations, the earliest first."""

    requests: tuple[ErasureRequest, ...]

    @property
    def first(self) -> ErasureRequest:
        return self.requests[0]

    @property
    def purged_by(self) -> datetime:
        return max(request.purged_by for request in self.requests)

    @property
    def started_at(self) -> datetime:
        return min(request.started_at or request.requested_at for request in self.requests)

    @property
    def hold_digests(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(digest for request in self.requests for digest in request.hold_digests))

    def identifiers(self) -> dict[str, tuple[str, ...]]:
        """Of each name the values that were known first: they are nearest to those of the moment that came back."""
        known: dict[str, tuple[str, ...]] = {}
        for request in self.requests:
            known |= {name: values for name, values in request.identifiers.items() if not known.get(name)}
        return known

    def targets(self, data_map: PinnedMap, places: RestoredPlaces) -> list[TargetSpec]:
        """What has to be erased again: the targets in these places that the erasures covered. What they lead to
        elsewhere is erased, and has been written since if there is anything; but if something of it had to be left,
        all of it is looked at once more, so that the way there stays."""
        covered = {
            spec.name: spec
            for request in self.requests
            for spec in targets_for(request, data_map.targets, data_map.families)
        }
        again = {name for name in covered if name in places.reached}
        elsewhere: dict[str, list[str]] = {}
        for name, spec in covered.items():
            parents = [parent.name for parent in spec.ancestors()]
            if name not in places.names and not again.isdisjoint(parents):
                elsewhere.setdefault(parents[-1], []).append(name)
        gone = self._gone()
        for names in elsewhere.values():
            if not gone.issuperset(names):
                again.update(names)
        return [spec for name, spec in covered.items() if name in again]

    def categories(self, targets: Sequence[TargetSpec]) -> tuple[str, ...] | None:
        """Those of the erasures, if they agree; otherwise those of the ``targets``, which are named by name anyway."""
        different = {request.categories for request in self.requests}
        if len(different) == 1:
            return different.pop()
        return tuple(sorted({spec.category for spec in targets}))

    def erased_account(self) -> bool:
        return any(
            outcome.category == ACCOUNT_CATEGORY and outcome.outcome in FINAL_OUTCOMES
            for request in self.requests
            for outcome in request.outcomes
        )

    def _gone(self) -> set[str]:
        """Names of targets of which nothing was left."""
        last = {outcome.target: outcome for request in self.requests for outcome in request.outcomes}
        return {name for name, told in last.items() if told.outcome in FINAL_OUTCOMES and not told.kept}


def put_together(requests: Iterable[ErasureRequest]) -> list[Erasures]:
    """In the order in which the first of each was asked for."""
    together: dict[object, list[ErasureRequest]] = {}
    for request in sorted(requests, key=lambda each: (each.requested_at, each.request_id)):
        key = (request.subject_digest, request.family, frozenset(request.organization_ids))
        together.setdefault(key, []).append(request)
    return [Erasures(tuple(group)) for group in together.values()]


def erased_at(request: ErasureRequest, places: RestoredPlaces) -> datetime | None:
    """When the request was last seen to have erased something that these places may have again; ``None``: it has not.

    One that is open still looks at most of its targets again with its next attempt, but not at all of them.
    """
    if request.state == FINISHED:
        return request.finished_at
    if request.state in (STARTED, HELD) and not final_targets(request).isdisjoint(places.names):
        return request.closed_at
    return None


def is_under_way(request: ErasureRequest) -> bool:
    """Whether a job has the request that may have passed a place before that was restored. Of one that is parked, the
    job has died long since, and whoever tries again looks at everything once more."""
    is_at_work = request.job_id is not None and request.job_id not in request.closed_jobs
    return request.state == STARTED and request.parked_at is None and is_at_work


def replay_id(run: str, follows: str, targets: Sequence[str]) -> str:
    """The same for the same targets in the same run. It stands right behind the request that it follows."""
    return derived_request_id(f"{run}#{follows}#{','.join(targets)}", 0, milliseconds_of(follows) + 1)


def is_of_run(request: ErasureRequest, run: str) -> bool:
    """Whether this very run has made the request."""
    if request.purpose != REPLAY or request.follows is None:
        return False
    return request.request_id == replay_id(run, request.follows, request.only_targets)


def without_accounts_in(places: RestoredPlaces, targets: Iterable[TargetSpec]) -> list[TargetSpec]:
    """The map's targets, but for accounts that have been restored: they tell nothing of who is there today."""
    return [spec for spec in targets if spec.category != ACCOUNT_CATEGORY or spec.name not in places.names]
