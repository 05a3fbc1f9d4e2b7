"""The calls of the S3 target: pages of what is there, and what one deleting call did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from erasure.errors import TargetError
from erasure.targets.protocol import Deadline
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
from erasure.targets.s3_scope import Scope

PAGE_ENTRIES = 1000
"""What S3 lists, and deletes, in one call at most."""

Entry = dict[str, str]
"""One thing to delete: ``Key`` and ``VersionId`` of a version or delete marker, or ``Key`` and ``UploadId``."""


class OutOfTimeError(Exception):
    """The deadline passed before the listing came to its end."""


@dataclass(frozen=True, slots=True)
class _Listing:
    method: str
    members: tuple[str, ...]
    id_member: str
    id_marker: str
    size_parameter: str


_VERSIONS = _Listing("list_object_versions", ("Versions", "DeleteMarkers"), "VersionId", "VersionIdMarker", "MaxKeys")
_UPLOADS = _Listing("list_multipart_uploads", ("Uploads",), "UploadId", "UploadIdMarker", "MaxUploads")


def version_pages(client: Any, scope: Scope, deadline: Deadline) -> Iterator[list[Entry]]:
    """Every version and delete marker of ``scope``, page by page, without empty pages.

    An unversioned bucket answers with versions called ``null``. Raises :class:`TargetError`, and
    :class:`OutOfTimeError` instead of beginning a call after the deadline.
    """
    return _pages(client, _VERSIONS, scope, deadline)


def upload_pages(client: Any, scope: Scope, deadline: Deadline) -> Iterator[list[Entry]]:
    """Every unfinished multipart upload of ``scope``; else as :func:`version_pages`."""
    return _pages(client, _UPLOADS, scope, deadline)


def _pages(client: Any, listing: _Listing, scope: Scope, deadline: Deadline) -> Iterator[list[Entry]]:
    arguments: dict[str, Any] = {
        "Bucket": scope.bucket,
        "Prefix": scope.text,
        "EncodingType": "url",  # XML cannot carry every key
        listing.size_parameter: PAGE_ENTRIES,
    }
    while True:
        if deadline.expired():
            raise OutOfTimeError
        try:
            answer = getattr(client, listing.method)(**arguments)
        except CALL_ERRORS as error:
            raise error_for(meaning_of_exception(error)) from None
        truncated = answer.get("IsTruncated")
        if truncated is None:
            # Any answer of S3 has it. Without it, "nothing there" could be a proxy's welcome page.
            raise error_for(UNAVAILABLE, "the listing is not one")
        listed = _entries(answer, listing)
        page = [entry for entry in listed if scope.covers(entry["Key"])]
        if not scope.exact and len(page) != len(listed):
            raise error_for("map_mismatch", "a key outside of the rule was listed")
        if page:
            yield page
        # An exact key comes before every other one that begins with it.
        if not truncated or len(page) != len(listed):
            return
        arguments = _continued(arguments, answer, listing)


def _entries(answer: Any, listing: _Listing) -> list[Entry]:
    encoded = answer.get("EncodingType") == "url"
    try:
        return [
            {"Key": decode_key(entry["Key"]) if encoded else entry["Key"], listing.id_member: entry[listing.id_member]}
            for member in listing.members
            for entry in answer.get(member, ())
        ]
    except (KeyError, UnicodeDecodeError):
        raise error_for(UNAVAILABLE, "the listing has an entry that cannot be named") from None


def decode_key(text: str) -> str:
    """A key from a listing with ``EncodingType=url``: S3 writes a space as ``+`` and a plus sign as ``%2B``."""
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


def _continued(arguments: dict[str, Any], answer: Any, listing: _Listing) -> dict[str, Any]:
    key, identity = answer.get("NextKeyMarker"), answer.get(f"Next{listing.id_marker}")
    if not key:
        raise error_for(UNAVAILABLE, "the listing cannot be continued")
    following = dict(arguments, KeyMarker=decode_key(key) if answer.get("EncodingType") == "url" else key)
    following.pop(listing.id_marker, None)
    if identity:
        following[listing.id_marker] = identity
    if following == arguments:
        raise error_for(UNAVAILABLE, "the listing does not move on")
    return following


def one_behind(pages: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
    """Each page once the next one is there.

    The last entry of a page marks where the next one begins. S3 finds that place even if the entry has been
    deleted, other engines do not: so nothing is deleted before the page that follows it has been listed.
    """
    held: list[Entry] = []
    try:
        for page in pages:
            if held:
                yield held
            held = page
    except TargetError:
        if held:
            yield held
        raise
    if held:
        yield held


def batches(pages: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
    """The same entries in full calls: :data:`PAGE_ENTRIES` each, fewer in the last one only."""
    waiting: list[Entry] = []
    try:
        for page in pages:
            waiting += page
            while len(waiting) >= PAGE_ENTRIES:
                yield waiting[:PAGE_ENTRIES]
                del waiting[:PAGE_ENTRIES]
    except TargetError:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


@dataclass(slots=True)
class Outcome:
    """What one call did. ``erased``: confirmed. ``again``: worth another try, because of ``reason``.

    ``problems``: why some entries will stay. ``failure``: why none could be deleted, for good.
    """

    erased: int = 0
    again: Sequence[Entry] = ()
    reason: str | None = None
    problems: set[str] = field(default_factory=set)
    failure: TargetError | None = None
    refused: bool = False
    """The call as a whole failed, as opposed to single keys."""


Call = Callable[[Any, Scope, Sequence[Entry]], Outcome]
"""One deleting call for some entries. Raises only :class:`TargetError`, before anything is deleted."""


def delete_versions(client: Any, scope: Scope, entries: Sequence[Entry]) -> Outcome:
    """DeleteObjects for up to :data:`PAGE_ENTRIES` versions whose keys XML can carry."""
    scope.check(entry["Key"] for entry in entries)
    try:
        answer = client.delete_objects(Bucket=scope.bucket, Delete={"Objects": list(entries), "Quiet": True})
    except CALL_ERRORS as error:
        return _refused(entries, error)
    errors = answer.get("Errors") or ()
    return _sorted(entries, errors) if errors else Outcome(erased=len(entries))


def delete_version(client: Any, scope: Scope, entries: Sequence[Entry]) -> Outcome:
    """DeleteObject for the one entry: a key with characters that XML 1.0 cannot carry fits into a URL only."""
    (entry,) = entries
    scope.check([entry["Key"]])
    return _single(entries, client.delete_object, Bucket=scope.bucket, **entry)


def abort_upload(client: Any, scope: Scope, entries: Sequence[Entry]) -> Outcome:
    """AbortMultipartUpload for the one entry."""
    (entry,) = entries
    scope.check([entry["Key"]])
    return _single(entries, client.abort_multipart_upload, Bucket=scope.bucket, **entry)


def _single(entries: Sequence[Entry], call: Callable[..., object], **arguments: str) -> Outcome:
    try:
        call(**arguments)
    except CALL_ERRORS as error:
        if meaning_of_exception(error) == DENIED:  # for this key; others may well be allowed
            return Outcome(problems={DENIED})
        return _refused(entries, error)
    return Outcome(erased=len(entries))


def _refused(entries: Sequence[Entry], error: Exception) -> Outcome:
    meaning = meaning_of_exception(error)
    if meaning == GONE:
        return Outcome()
    if meaning in PASSING:
        return Outcome(again=entries, reason=meaning, refused=True)
    if meaning in (BLOCKED, REJECTED):
        return Outcome(problems={meaning})
    return Outcome(failure=error_for(meaning), refused=True)


def _sorted(entries: Sequence[Entry], errors: Sequence[Any]) -> Outcome:
    """What became of each entry, given the errors in the answer."""
    meanings: dict[tuple[str, str], str] = {}
    asked = {(entry["Key"], entry["VersionId"]): entry for entry in entries}
    for error in errors:
        meaning = meaning_of(str(error.get("Code", "")), str(error.get("Message", "")), otherwise=REJECTED)
        identities = _identities(error, asked)
        if not identities:
            # It failed for something that cannot be told apart: nothing of the call counts as deleted.
            return Outcome(again=entries, reason=meaning if meaning in PASSING else UNAVAILABLE, refused=True)
        meanings.update(dict.fromkeys(identities, meaning))
    again = [asked[identity] for identity, meaning in meanings.items() if meaning in PASSING]
    found = set(meanings.values())
    reason = (THROTTLED if THROTTLED in found else UNAVAILABLE) if again else None
    return Outcome(erased=len(asked) - len(meanings), again=again, reason=reason, problems=found - PASSING - {GONE})


def _identities(error: Any, asked: dict[tuple[str, str], Entry]) -> list[tuple[str, str]]:
    key, version_id = error.get("Key"), error.get("VersionId")
    if version_id:
        return [(key, version_id)] if (key, version_id) in asked else []
    # Not every engine repeats the version: then none of the key's versions is taken as deleted.
    return [identity for identity in asked if identity[0] == key]
