"""Write down the further ids of subjects in their requests, before anything is erased (docs/decisions/0016).

What an earlier job of a request has read stays known: the items that it was read from may be gone. What another request
has read is never used: what was this subject's address then may be somebody else's now. It only casts doubt: where the
map says that a subject without a value has nothing there, and another request that has not erased it all knows a value,
nobody can say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from erasure.domain.holds import digests_of_identifiers
from erasure.domain.outcome import FINAL_OUTCOMES
from erasure.domain.plan import has_done_something, targets_for
from erasure.domain.request import FINISHED, REPLAY, ErasureRequest
from erasure.domain.scope import needs
from erasure.ports import DataReader, PinnedMap, RequestStore
from erasure.services.identify import rules_for
from erasure.services.side_by_side import side_by_side

PARALLEL_REQUESTS = 8


def note_identifiers(
    job_id: str,
    requests: Sequence[ErasureRequest],
    data_map: PinnedMap,
    store: RequestStore,
    reader: DataReader,
    digest_key: Callable[[], bytes],
) -> list[ErasureRequest]:
    """The requests with all that is known of their subjects' further ids, which is written down by then, and with the
    digests by which a hold may name them. Those that another job has taken meanwhile are left out. Raises
    ``UnavailableError`` if reading again may help."""
    wanted = {request.request_id: _wanted(request, data_map) for request in requests}
    rules = rules_for(data_map, frozenset[str]().union(*wanted.values()))
    asking = [request for request in requests if wanted[request.request_id]]
    found = reader.identify([request.subject for request in asking], rules) if asking else []
    known = {
        request.request_id: merged_identifiers(request.identifiers, read)
        for request, read in zip(asking, found, strict=True)
    }

    def noted(request: ErasureRequest) -> ErasureRequest | None:
        # What a request was made with, or an earlier map has read, may name somebody who is held as well.
        identifiers = known.get(request.request_id, dict(request.identifiers))
        if request.request_id in known:
            for name in _in_doubt(request, identifiers, data_map, store):
                del identifiers[name]
        tenant_id = request.subject.tenant_id
        digests = digests_of_identifiers(digest_key(), tenant_id, identifiers) if any(identifiers.values()) else ()
        # Also those of ids that the request which this one follows knew: by them a hold may name the subject still.
        digests = tuple(sorted({*request.hold_digests, *digests}))
        after = replace(request, identifiers=identifiers, hold_digests=digests)
        is_noted = after == request or store.note_identifiers(request, job_id, identifiers, digests)
        return after if is_noted else None

    return [request for request in side_by_side(noted, requests, PARALLEL_REQUESTS) if request is not None]


def merged_identifiers(
    first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """All values of both, by name, each once."""
    return {name: tuple(dict.fromkeys([*first.get(name, ()), *second.get(name, ())])) for name in {**first, **second}}


def _wanted(request: ErasureRequest, data_map: PinnedMap) -> frozenset[str]:
    """The identifiers that the request's targets need, and those of which one day may be said that there are none: a
    request that erases their source is the last that can know them. None for a replay, which was made with those of the
    moment that its places went back to: what is read today may have been somebody else's then."""
    if request.purpose == REPLAY:
        return frozenset()
    covered = targets_for(request, data_map.targets, data_map.families)
    erased = {spec.name for spec in covered}
    sources = (rule.name for rule in data_map.identifiers if rule.optional and rule.source.name in erased)
    return frozenset(name for spec in covered for name in needs(spec)[1]).union(sources)


def _in_doubt(
    request: ErasureRequest, identifiers: Mapping[str, Sequence[str]], data_map: PinnedMap, store: RequestStore
) -> list[str]:
    """The optional identifiers that have no value now, although there may have been one: another request of the subject
    knows it without having erased what it leads to, or a request has erased what it would have been read from before
    the map said so."""
    missing = [name for name in data_map.optional if name in identifiers and not identifiers[name]]
    if not missing:
        return []
    rows = store.rows_of_subject(request.subject_digest)
    others = store.get_many([row.request_id for row in rows if row.request_id != request.request_id]).values()
    covered = targets_for(request, data_map.targets, data_map.families)
    sources = {rule.name: rule.source.name for rule in data_map.identifiers}
    return [
        name
        for name in missing
        if any(_has_erased_unread(each, name, sources[name]) for each in (request, *others))
        or any(
            other.identifiers.get(name)
            and not _has_erased(other, (spec.name for spec in covered if name in needs(spec)[1]))
            for other in others
        )
    ]


def _has_erased_unread(request: ErasureRequest, name: str, source: str) -> bool:
    return name not in request.identifiers and has_done_something(request, source)


def _has_erased(request: ErasureRequest, targets: Iterable[str]) -> bool:
    final = {outcome.target for outcome in request.outcomes if outcome.outcome in FINAL_OUTCOMES and not outcome.kept}
    return request.state == FINISHED and final.issuperset(targets)
