"""The deleting calls of the S3 target, each for entries of one subject or of several, and what became of whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from erasure.errors import TargetError
from erasure.targets.s3_errors import (
    BLOCKED,
    CALL_ERRORS,
    DENIED,
    GONE,
    PASSING,
    REJECTED,
    THROTTLED,
    UNAVAILABLE,
    error_for,
    meaning_of,
    meaning_of_exception,
)
from erasure.targets.s3_pages import Entry
from erasure.targets.s3_scope import Scope


@dataclass(frozen=True, slots=True)
class Share:
    """What one call deletes for one subject. ``owner``: the subject's position among all."""

    owner: int
    scope: Scope
    entries: Sequence[Entry]


@dataclass(slots=True)
class Outcome:
    """What one call did. ``erased``: confirmed, by owner. ``again``: neither deleted nor given up, for ``reason``.

    ``problems``: why some entries will stay, as pairs with their owner; a lock of the bucket is none, for there is
    nothing that the eraser could do about it, and who verifies looks at what it left. ``failure``: why none of the
    bucket can be deleted, for good.
    """

    erased: Counter[int] = field(default_factory=Counter)
    again: Sequence[Share] = ()
    reason: str | None = None
    problems: set[tuple[int, str]] = field(default_factory=set)
    failure: TargetError | None = None
    refused: bool = False
    """The call as a whole failed, as opposed to single keys."""


Call = Callable[[Any, Sequence[Share]], Outcome]
"""One deleting call for shares of the same bucket. Raises only :class:`TargetError`, before anything is deleted."""


def delete_versions(client: Any, shares: Sequence[Share]) -> Outcome:
    """DeleteObjects for up to :data:`PAGE_ENTRIES` versions, all shares together, whose keys XML can carry."""
    _check(shares)
    entries = [entry for share in shares for entry in share.entries]
    try:
        answer = client.delete_objects(**shares[0].scope.location, Delete={"Objects": entries, "Quiet": True})
    except CALL_ERRORS as error:
        return _refused(shares, error)
    errors = answer.get("Errors") or ()
    return _sorted(shares, errors) if errors else Outcome(erased=_sizes(shares))


def delete_version(client: Any, shares: Sequence[Share]) -> Outcome:
    """DeleteObject for the one entry: a key with characters that XML 1.0 cannot carry fits into a URL only."""
    return _single(client.delete_object, shares)


def abort_upload(client: Any, shares: Sequence[Share]) -> Outcome:
    """AbortMultipartUpload for the one entry."""
    return _single(client.abort_multipart_upload, shares)


def _check(shares: Sequence[Share]) -> None:
    """The guard: every share's keys against its own scope, and no call for two buckets."""
    for share in shares:
        share.scope.check(entry["Key"] for entry in share.entries)
        if share.scope.location != shares[0].scope.location:
            raise error_for("map_mismatch", "one call for two buckets")


def _sizes(shares: Sequence[Share]) -> Counter[int]:
    sizes = Counter[int]()
    for share in shares:
        sizes[share.owner] += len(share.entries)
    return sizes


def _single(call: Callable[..., object], shares: Sequence[Share]) -> Outcome:
    _check(shares)
    ((share,), (entry,)) = shares, shares[0].entries
    try:
        call(**share.scope.location, **entry)
    except CALL_ERRORS as error:
        meaning = meaning_of_exception(error)
        if meaning == DENIED:  # for this key; others may well be allowed
            return Outcome(problems={(share.owner, DENIED)})
        if meaning == BLOCKED:
            return Outcome()
        return _refused(shares, error)
    return Outcome(erased=_sizes(shares))


def _refused(shares: Sequence[Share], error: Exception) -> Outcome:
    meaning = meaning_of_exception(error)
    if meaning == GONE:
        return Outcome()
    if meaning == BLOCKED:
        meaning = REJECTED  # a lock holds single versions: which, a refusal of the whole call does not say
    if meaning in (*PASSING, REJECTED):
        return Outcome(again=shares, reason=meaning, refused=True)
    return Outcome(failure=error_for(meaning), refused=True)


def _sorted(shares: Sequence[Share], errors: Sequence[Any]) -> Outcome:
    """What became of each entry, given the errors in the answer."""
    asked = {(entry["Key"], entry["VersionId"]): share for share in shares for entry in share.entries}
    meanings: dict[_Identity, str] = {}
    for error in errors:
        meaning = meaning_of(str(error.get("Code", "")), str(error.get("Message", "")), otherwise=REJECTED)
        identities = _identities(error, asked)
        if not identities:
            # It failed for something that cannot be told apart: nothing of the call counts as deleted.
            return Outcome(again=shares, reason=meaning if meaning in PASSING else UNAVAILABLE, refused=True)
        meanings.update(dict.fromkeys(identities, meaning))
    outcome = Outcome(erased=Counter(share.owner for identity, share in asked.items() if identity not in meanings))
    again = {identity for identity, meaning in meanings.items() if meaning in PASSING}
    if again:
        outcome.again = _only(shares, again)
        outcome.reason = THROTTLED if THROTTLED in meanings.values() else UNAVAILABLE
    outcome.problems = {
        (asked[identity].owner, meaning)
        for identity, meaning in meanings.items()
        if meaning not in (*PASSING, GONE, BLOCKED)
    }
    return outcome


_Identity = tuple[str, str]


def _only(shares: Sequence[Share], identities: set[_Identity]) -> list[Share]:
    kept = [
        Share(share.owner, share.scope, [e for e in share.entries if (e["Key"], e["VersionId"]) in identities])
        for share in shares
    ]
    return [share for share in kept if share.entries]


def _identities(error: Any, asked: Mapping[_Identity, Share]) -> list[_Identity]:
    key, version_id = error.get("Key"), error.get("VersionId")
    if version_id:
        return [(key, version_id)] if (key, version_id) in asked else []
    # Not every engine repeats the version: then none of the key's versions is taken as deleted.
    return [identity for identity in asked if identity[0] == key]
