"""A parser for the answers of ListObjectVersions, and how botocore comes to use it.

botocore builds an element tree to look for an error, then another one, then walks the service model for every
element, then parses every timestamp: most of an eraser's work, for members that it never looks at. This parser cuts
key and version id out of the text instead. It only reads what has exactly the form that S3 writes; for anything
else (another order of elements, white space between them, entities, common prefixes, an error) it steps aside for
botocore's parser. Signing, retries, endpoints and all other operations stay botocore's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_IS_WHOLE = ContextVar("is_whole", default=False)

_OPENING = re.compile(r'\s*(?:<\?xml [^<>]*\?>)?\s*<ListVersionsResult(?: xmlns="[^"<>&]*")?>')
_CLOSING = re.compile(r"</ListVersionsResult>\s*\Z")
_ENTRY = re.compile(r"<(Version|DeleteMarker)><Key>([^<&]*)</Key><VersionId>([^<&]*)</VersionId>")
_SCALAR = re.compile(r"<([A-Za-z]+)>([^<&]*)</\1>|<([A-Za-z]+) ?/>")

_TEXT_MEMBERS = frozenset(
    {"Name", "Prefix", "EncodingType", "KeyMarker", "VersionIdMarker", "NextKeyMarker", "NextVersionIdMarker"}
)
_NOT_SCALAR = frozenset({"Version", "DeleteMarker", "CommonPrefixes"})
_AROUND = ""
_ENTRY_MEMBERS = (("Version", "Versions"), ("DeleteMarker", "DeleteMarkers"))


@contextmanager
def whole_listings() -> Iterator[None]:
    """Listings that are asked for within, in this thread, have all members, as botocore gives them: dates, for one."""
    token = _IS_WHOLE.set(True)
    try:
        yield
    finally:
        _IS_WHOLE.reset(token)


def read_listing(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """A handler of botocore's ``before-parse``: read a listing, and leave nothing to read for whoever comes after."""
    if response_dict["status_code"] == 200 and not _IS_WHOLE.get():
        listing = parse_listing(response_dict["body"])
        if listing is not None:
            customized_response_dict.update(listing)
            response_dict["body"] = b"<ListVersionsResult/>"


def parse_listing(body: bytes) -> dict[str, Any] | None:
    """The members of a ListObjectVersions answer that erasing needs, as botocore would give them.

    ``IsTruncated``, the markers, ``Name``, ``Prefix``, ``EncodingType``, and ``Versions`` and
    ``DeleteMarkers`` with ``Key`` and ``VersionId`` only. None: the body does not have the expected form.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    opening, closing = _OPENING.match(text), _CLOSING.search(text, max(0, len(text) - 64))
    if opening is None or closing is None:
        return None
    content = text[opening.end() : closing.start()]
    # Comments, CDATA and instructions. (A single character is found much faster than two.)
    if ("!" in content and "<!" in content) or ("?" in content and "<?" in content):
        return None
    entries = _parse_entries(content)
    if entries is None:
        return None
    listing = _parse_scalars(entries.pop(_AROUND))
    if listing is not None:
        listing.update(entries)
    return listing


def _parse_entries(content: str) -> dict[str, Any] | None:
    """``Versions`` and ``DeleteMarkers``, and the text around them as ``_AROUND``."""
    found = _ENTRY.findall(content)
    # Nothing that is or has a key may be left out, and nothing may stand between two entries.
    if not len(found) == content.count("<Key>") == content.count("<VersionId>"):
        return None
    if not found:
        return {_AROUND: content}
    kinds, keys, version_ids = zip(*found, strict=True)
    present = set(kinds)
    joints = sum(content.count(f"</{kind}><{following}>") for kind in present for following in present)
    if joints != len(found) - 1 or not ("".join(keys) + "".join(version_ids)).isprintable():
        return None
    head = content[: content.index(f"<{kinds[0]}><Key>")]
    _, closing_tag, tail = content[content.rindex("<Key>") :].partition(f"</{kinds[-1]}>")
    if not closing_tag:
        return None
    entries: dict[str, Any] = {_AROUND: head + tail}
    for kind, member in _ENTRY_MEMBERS:
        named = [{"Key": key, "VersionId": version_id} for each, key, version_id in found if each == kind]
        if named:
            entries[member] = named
    return entries


def _parse_scalars(text: str) -> dict[str, Any] | None:
    """Elements without children, one after the other and each once, as members of the answer."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _SCALAR.match(text, position)
        if match is None:
            return None
        name = match[1] or match[3]
        value = match[2] or ""
        if name in found or name in _NOT_SCALAR or not value.isprintable():
            return None
        found[name] = value
        position = match.end()
    truncated = found.get("IsTruncated")
    if truncated not in ("true", "false"):
        return None
    listing: dict[str, Any] = {name: value for name, value in found.items() if name in _TEXT_MEMBERS}
    listing["IsTruncated"] = truncated == "true"
    return listing
