"""What there is to delete: pages of versions, delete markers and unfinished uploads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_plus

from erasure.errors import TargetError
from erasure.targets.protocol import Deadline
from erasure.targets.s3_errors import CALL_ERRORS, MISSING, UNAVAILABLE, error_for, meaning_of_exception
from erasure.targets.s3_listing import whole_listings
from erasure.targets.s3_scope import Owners, Scope

PAGE_ENTRIES = 1000
"""What S3 lists, and deletes, in one call at most."""

Entry = dict[str, str]
"""One thing to delete: ``Key`` and ``VersionId`` of a version or delete marker, or ``Key`` and ``UploadId``."""

DatedEntry = dict[str, Any]
"""A version or delete marker with its age: see :func:`dated_version_pages`."""

LONGEST_KEY_BYTES = 1024
"""What S3 takes as a key. With more it refuses to look: what an item leads to may be any text."""

MOST_SHARED_PAGES = 16
"""Pages of unfinished uploads that are looked through for several subjects: also what bounds the memory they take."""


class OutOfTimeError(Exception):
    """The deadline passed before the listing came to its end."""


class NotSharedError(Exception):
    """One listing for all does not do: each subject's own has to be asked for."""


@dataclass(frozen=True, slots=True)
class _Listing:
    method: str
    members: tuple[str, ...]
    id_member: str
    id_marker: str
    size_parameter: str
    dated: bool = False


_VERSIONS = _Listing("list_object_versions", ("Versions", "DeleteMarkers"), "VersionId", "VersionIdMarker", "MaxKeys")
_DATED_VERSIONS = replace(_VERSIONS, dated=True)
_UPLOADS = _Listing("list_multipart_uploads", ("Uploads",), "UploadId", "UploadIdMarker", "MaxUploads")


def version_pages(client: Any, scope: Scope, deadline: Deadline) -> Iterator[list[Entry]]:
    """Every version and delete marker of ``scope``, page by page, without empty pages.

    An unversioned bucket answers with versions called ``null``. Raises :class:`TargetError`, and
    :class:`OutOfTimeError` instead of beginning a call after the deadline.
    """
    return _pages(client, _VERSIONS, scope, deadline)


def dated_version_pages(client: Any, scope: Scope, deadline: Deadline) -> Iterator[list[DatedEntry]]:
    """The same, with what tells how old each is: ``LastModified`` (aware), and ``IsMarker`` of a delete marker."""
    return _pages(client, _DATED_VERSIONS, scope, deadline)


def upload_pages(client: Any, scope: Scope, deadline: Deadline) -> Iterator[list[Entry]]:
    """Every unfinished multipart upload of ``scope``; else as :func:`version_pages`."""
    return _pages(client, _UPLOADS, scope, deadline)


def shared_uploads(client: Any, scopes: Mapping[int, Scope], deadline: Deadline) -> dict[int, list[Entry]]:
    """Every unfinished upload of several scopes of one bucket, by owner, from one listing of what they have in common.

    Hardly any bucket has many unfinished uploads, so this is one call instead of one for each subject. Raises
    :class:`NotSharedError` if it takes more pages than there are subjects, or than :data:`MOST_SHARED_PAGES`, or is
    refused, which lists of less may not be; else as :func:`version_pages`.
    """
    owners, found = Owners(scopes), dict[int, list[Entry]]()
    try:
        for number, page in enumerate(upload_pages(client, owners.common, deadline), 1):
            if number > min(len(scopes), MOST_SHARED_PAGES):
                raise NotSharedError
            for upload in page:
                for owner in owners.of(upload["Key"]):
                    found.setdefault(owner, []).append(upload)
    except TargetError as error:
        if error.permanent and error.code != MISSING:
            raise NotSharedError from None
        raise
    return found


def _pages(client: Any, listing: _Listing, scope: Scope, deadline: Deadline) -> Iterator[list[dict[str, Any]]]:
    if len(scope.text.encode()) > LONGEST_KEY_BYTES:
        return  # no key begins with it
    arguments: dict[str, Any] = {
        **scope.location,
        "Prefix": scope.text,
        "EncodingType": "url",  # XML cannot carry every key
        listing.size_parameter: PAGE_ENTRIES,
    }
    while True:
        if deadline.expired():
            raise OutOfTimeError
        try:
            with whole_listings() if listing.dated else nullcontext():
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


def _entries(answer: Any, listing: _Listing) -> list[dict[str, Any]]:
    encoded = answer.get("EncodingType") == "url"
    try:
        if listing.dated:
            return [
                {
                    "Key": decode_key(entry["Key"]) if encoded else entry["Key"],
                    "VersionId": entry["VersionId"],
                    "LastModified": entry["LastModified"],
                    "IsMarker": member == "DeleteMarkers",
                }
                for member in listing.members
                for entry in answer.get(member, ())
            ]
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
