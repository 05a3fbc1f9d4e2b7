"""The botocore client of the S3 target: botocore's, less the work that bulk deletion does not need.

Three things are hung into it, all through botocore's own events:

- listings are read by :mod:`erasure.targets.s3_listing`;
- the body of DeleteObjects is written straight from the entries (validating and building an element tree for
  1,000 of them costs five times as much as everything else in the call);
- an answer to DeleteObjects that is no such answer is an error. botocore reads an empty body, or a page of a
  proxy, as "no errors", and this service would take that for "deleted".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config
from botocore.parsers import ResponseParserError
from botocore.session import Session

from erasure.targets.s3_listing import read_listing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_OBJECT = "<Object><Key>{}</Key><VersionId>{}</VersionId></Object>"
_ENTRIES = "erasure_delete_entries"
_ENTRY_MEMBERS = {"Key", "VersionId"}

_DELETE_RESULT = re.compile(rb"\s*(?:<\?xml [^<>]*\?>)?\s*<(?:\w+:)?DeleteResult[\s/>]")
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile("[&<>\t\n\r]")
# Line breaks as references: an XML parser would turn "\r\n" and "\r" into "\n", which is another key.
_ESCAPES = {ord(character): f"&#{ord(character)};" for character in "\t\n\r"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}


def make_s3_client(session: Session, config: Config | None = None, *, endpoint_url: str | None = None) -> S3Client:
    """A client for :class:`erasure.targets.s3.S3Target`, and for nothing else.

    Its ``list_object_versions`` answers with the members that :func:`erasure.targets.s3_listing.parse_listing`
    names only. ``config`` should allow as many pool connections as calls that are under way at the same time
    (targets worked on at once x (concurrency + 2)).
    """
    client = cast("S3Client", session.create_client("s3", config=config, endpoint_url=endpoint_url))
    events = client.meta.events
    # By this name it comes before botocore's own handlers, which would parse the whole page to look for an error.
    events.register_first("before-parse.*.ListObjectVersions", read_listing, unique_id="erasure-read-listing")
    events.register("before-parameter-build.s3.DeleteObjects", _take_entries, unique_id="erasure-take-entries")
    events.register("before-call.s3.DeleteObjects", _write_entries, unique_id="erasure-write-entries")
    events.register("after-call.s3.DeleteObjects", _check_written, unique_id="erasure-check-written")
    require_delete_results(client)
    return client


def require_delete_results(client: Any) -> None:
    """Make ``client`` raise ResponseParserError for an answer to DeleteObjects that is not a DeleteResult."""
    client.meta.events.register(
        "before-parse.s3.DeleteObjects", _check_delete_result, unique_id="erasure-check-delete-result"
    )


def fits_xml(text: str) -> bool:
    """Whether XML 1.0 has a way to write ``text``. Keys of S3 may hold control characters, which have none."""
    return _NOT_XML.search(text) is None


def render_delete(entries: list[dict[str, str]]) -> bytes:
    """The body of a quiet DeleteObjects call for ``entries`` (``Key`` and ``VersionId``).

    Raises ValueError for a text that does not fit into XML.
    """
    texts = [text for entry in entries for text in (entry["Key"], entry["VersionId"])]
    everything = "".join(texts)
    if not fits_xml(everything):
        raise ValueError("XML cannot carry one of the keys")
    if _SPECIAL.search(everything):
        texts = [text.translate(_ESCAPES) for text in texts]
    body = "".join(map(_OBJECT.format, texts[::2], texts[1::2]))
    return f'<Delete xmlns="{_NAMESPACE}">{body}<Quiet>true</Quiet></Delete>'.encode()


def _take_entries(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Put the entries aside and leave one for botocore to validate and serialise."""
    delete = params.get("Delete", {})
    entries = delete.get("Objects")
    if (
        isinstance(entries, list)
        and delete.get("Quiet") is True
        and all(isinstance(entry, dict) and entry.keys() == _ENTRY_MEMBERS for entry in entries)
    ):
        context[_ENTRIES] = entries
        params["Delete"] = {"Objects": entries[:1], "Quiet": True}


def _write_entries(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Replace botocore's body; it adds checksum and signature after this."""
    entries = context.pop(_ENTRIES, None)
    if entries is not None:
        params["body"] = render_delete(entries)


def _check_written(context: dict[str, Any], **_: Any) -> None:
    if _ENTRIES in context:
        raise RuntimeError("the entries to delete were not sent")


def _check_delete_result(response_dict: dict[str, Any], **_: Any) -> None:
    # botocore has turned the 200 of a body with an <Error> into a 500 by now.
    if response_dict["status_code"] < 300 and not _DELETE_RESULT.match(response_dict["body"] or b""):
        raise ResponseParserError("DeleteObjects was answered with something else")
