"""A parser for the answers of ListObjectVersions, and how botocore comes to use it.

botocore builds an element tree, then walks the service model for every element, then parses every timestamp:
most of an eraser's work, for members that it never looks at. This parser cuts key and version id out of the
text instead. It only reads what has exactly the form that S3 writes; for anything else (another order of
elements, white space between them, entities, common prefixes, an error) it steps aside for botocore's parser.
Signing, retries, endpoints and all other operations stay botocore's own.
"""

from __future__ import annotations

import re
from typing import Any

from botocore.parsers import ResponseParserFactory

_OPENING = re.compile(r'\s*(?:<\?xml [^<>]*\?>)?\s*<ListVersionsResult(?: xmlns="[^"<>&]*")?>')
_CLOSING = re.compile(r"</ListVersionsResult>\s*\Z")
_SCALAR = re.compile(r"<([A-Za-z]+)>([^<&]*)</\1>|<([A-Za-z]+) ?/>")

_TEXT_MEMBERS = frozenset(
    {"Name", "Prefix", "EncodingType", "KeyMarker", "VersionIdMarker", "NextKeyMarker", "NextVersionIdMarker"}
)
_ENTRY_KINDS = {"Version": "Versions", "DeleteMarker": "DeleteMarkers"}


class ListingParserFactory(ResponseParserFactory):
    """botocore's parsers, with :func:`parse_listing` in front of the one for S3."""

    def create_parser(self, protocol_name: str) -> Any:
        parser = super().create_parser(protocol_name)
        return _ListingParser(parser) if protocol_name == "rest-xml" else parser


class _ListingParser:
    def __init__(self, otherwise: Any) -> None:
        self._otherwise = otherwise

    def parse(self, response: dict[str, Any], shape: Any) -> Any:
        if response["status_code"] == 200 and response["context"].get("operation_name") == "ListObjectVersions":
            listing = parse_listing(response["body"])
            if listing is not None:
                headers = {name.lower(): value for name, value in response["headers"].items()}
                listing["ResponseMetadata"] = {
                    "RequestId": headers.get("x-amz-request-id", ""),
                    "HostId": headers.get("x-amz-id-2", ""),
                    "HTTPStatusCode": response["status_code"],
                    "HTTPHeaders": headers,
                }
                return listing
        return self._otherwise.parse(response, shape)


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
    if opening is None or closing is None or "<!" in text or text.count("<?") > 1:
        return None
    parts = text[opening.end() : closing.start()].split("<Key>")
    scalars = parts[0]
    entries: dict[str, list[dict[str, str]]] = {}
    if len(parts) > 1:
        if text.count("<VersionId>") != len(parts) - 1:
            return None
        cut = _parse_entries(parts, entries)
        if cut is None:
            return None
        scalars = cut
    listing = _parse_scalars(scalars)
    if listing is not None:
        listing.update(entries)
    return listing


def _parse_entries(parts: list[str], entries: dict[str, list[dict[str, str]]]) -> str | None:
    """Fill ``entries`` from ``parts`` (the text between ``<Key>`` tags); return what is around the entries."""
    head, kind = _cut_opening_tag(parts[0])
    last = len(parts) - 1
    tail = ""
    for position in range(1, last + 1):
        if kind is None:
            return None
        key, _, rest = parts[position].partition("</Key><VersionId>")
        version_id, closed, rest = rest.partition("</VersionId>")
        # What S3 writes is url encoded; whatever would need an XML parser to be understood is left to one.
        if not closed or not (_is_plain(key) and _is_plain(version_id)):
            return None
        entries.setdefault(_ENTRY_KINDS[kind], []).append({"Key": key, "VersionId": version_id})
        if position == last:
            _, closed, tail = rest.partition(f"</{kind}>")
        else:
            before, next_kind = _cut_opening_tag(rest)
            if not before.endswith(f"</{kind}>"):
                return None
            kind = next_kind
    if not closed:
        return None
    return head + tail


def _cut_opening_tag(text: str) -> tuple[str, str | None]:
    for kind in _ENTRY_KINDS:
        tag = f"<{kind}>"
        if text.endswith(tag):
            return text[: -len(tag)], kind
    return text, None


def _is_plain(text: str) -> bool:
    return text.isprintable() and "<" not in text and "&" not in text


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
        if name in found or not value.isprintable():
            return None
        found[name] = value
        position = match.end()
    truncated = found.get("IsTruncated")
    if truncated not in ("true", "false"):
        return None
    listing: dict[str, Any] = {name: value for name, value in found.items() if name in _TEXT_MEMBERS}
    listing["IsTruncated"] = truncated == "true"
    return listing
