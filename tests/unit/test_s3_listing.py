"""The fast ways of the S3 client say exactly what botocore's own say."""

from __future__ import annotations

import contextlib
from typing import Any, cast
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import unquote_str
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError, ResponseParserFactory
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from erasure.targets.s3_client import make_s3_client, render_delete
from erasure.targets.s3_listing import parse_listing
from erasure.targets.s3_pages import decode_key

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MEMBERS = (
    "Name",
    "Prefix",
    "EncodingType",
    "KeyMarker",
    "VersionIdMarker",
    "NextKeyMarker",
    "NextVersionIdMarker",
    "IsTruncated",
)

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_SERVICE = botocore.session.Session().get_service_model("s3")
_LISTING = _SERVICE.operation_model("ListObjectVersions")

XML_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=12)
PLAIN = st.text("abcXYZ019-_.~/%+ ", max_size=12)
TEXT = st.one_of(
    PLAIN,
    XML_TEXT,
    st.sampled_from(
        ["", " ", "+", "%2B", "&", "<", "]]>", "a&b;", "\n", "\r\n", "\t", "é", "e\u0301", "😀", "<Key>", "null"]
    ),
)


def element(name: str, text: str) -> str:
    return f"<{name}>{escape(text, {chr(13): '&#13;'})}</{name}>"


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Mostly what a url-encoded listing holds."""
    return draw(TEXT if _seldom(draw) else PLAIN)


def _seldom(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 19)) == 19


@st.composite
def entries(draw: st.DrawFn) -> str:
    """A Version or DeleteMarker, mostly as S3 writes it, now and then with parts missing, moved or added."""
    parts = [element("Key", draw(texts())), element("VersionId", draw(texts()))]
    parts += draw(st.lists(st.sampled_from(OTHERS), max_size=5, unique=True))
    if _seldom(draw):
        parts = draw(st.permutations(parts))[draw(st.integers(0, 1)) :]
    kind = draw(st.sampled_from(["Version", "DeleteMarker"]))
    return f"<{kind}>{''.join(parts)}</{kind}>"


OTHERS = [
    "<IsLatest>true</IsLatest>",
    "<LastModified>2026-01-02T03:04:05.000Z</LastModified>",
    "<ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag>",
    "<Size>434234</Size>",
    "<StorageClass>STANDARD</StorageClass>",
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>",
    "<Owner><ID>75aa57f09aa0c8ca</ID><DisplayName>Jürgen &amp; Söhne</DisplayName></Owner>",
    "<Owner/>",
    "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>",
]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Answers to ListObjectVersions: mostly well-formed, in and out of the form that S3 uses."""
    scalars = [
        element(name, draw(texts())) if draw(st.booleans()) else f"<{name}/>"
        for name in draw(st.lists(st.sampled_from([m for m in MEMBERS if m != "IsTruncated"]), unique=True))
    ]
    if not _seldom(draw):
        scalars.append(element("IsTruncated", draw(st.sampled_from(["true", "false"]))))
    scalars.append("<MaxKeys>1000</MaxKeys>")
    listed = draw(st.lists(entries(), max_size=6))
    cut = draw(st.integers(0, len(scalars)))
    parts = [*scalars[:cut], *listed, *scalars[cut:]]
    if _seldom(draw):
        parts.append("<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>")
    if _seldom(draw):
        parts = draw(st.permutations(parts))
    opening = draw(st.sampled_from(["", '<?xml version="1.0" encoding="UTF-8"?>\n', '<?xml version="1.0"?>']))
    namespace = draw(st.sampled_from([f' xmlns="{NAMESPACE}"', ""]))
    between = draw(st.sampled_from(["\n", "<!-- remark -->"])) if _seldom(draw) else ""
    return f"{opening}<ListVersionsResult{namespace}>{between.join(parts)}</ListVersionsResult>".encode()


def response(body: bytes) -> dict[str, Any]:
    return {"status_code": 200, "headers": {}, "body": body, "context": {"operation_name": "ListObjectVersions"}}


def botocore_reads(body: bytes) -> dict[str, Any]:
    """What botocore's parser makes of it, reduced to what erasing needs."""
    parsed = ResponseParserFactory().create_parser("rest-xml").parse(response(body), _LISTING.output_shape)
    reduced = {name: parsed[name] for name in MEMBERS if name in parsed}
    for member in ("Versions", "DeleteMarkers"):
        if member in parsed:
            reduced[member] = [
                {name: entry[name] for name in ("Key", "VersionId") if name in entry} for entry in parsed[member]
            ]
    return reduced


@UNHURRIED
@given(bodies())
@example(b"")
@example(b"<ListVersionsResult/>")
@example(b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>")
def test_reads_what_botocore_reads(body: bytes) -> None:
    """The fast parser either agrees with botocore's or leaves the answer to it."""
    listing = parse_listing(body)
    if listing is not None:
        assert listing == botocore_reads(body)


@UNHURRIED
@given(st.binary(max_size=40), st.integers(0, 10_000))
def test_never_reads_a_damaged_answer_differently(noise: bytes, position: int) -> None:
    """Bytes overwritten anywhere: the answer is left to botocore, or read as botocore reads it."""
    body = page(3)
    position %= len(body)
    damaged = body[:position] + noise + body[position + len(noise) :]
    listing = parse_listing(damaged)
    if listing is None:
        return
    named = [*listing.get("Versions", ()), *listing.get("DeleteMarkers", ())]
    assert len(named) == damaged.count(b"<Key>")
    assert all("<" not in text and "&" not in text for entry in named for text in entry.values())
    with contextlib.suppress(ResponseParserError, ValueError):  # what does not concern keys is not looked at
        assert listing == botocore_reads(damaged)


def test_the_property_is_about_the_fast_way() -> None:
    """A good part of the answers above are read by the fast parser, entries included."""
    fast: list[bool] = []

    @settings(UNHURRIED, max_examples=100, database=None, derandomize=True)
    @given(bodies())
    def collect(body: bytes) -> None:
        listing = parse_listing(body)
        fast.append(listing is not None and ("Versions" in listing or "DeleteMarkers" in listing))

    collect()
    assert sum(fast) > len(fast) / 5


def page(number: int) -> bytes:
    """A page as S3 writes it: versions and markers in turn."""
    rows = "".join(
        f"<{kind}><Key>acme/ann/file+{n:04d}%26.txt</Key><VersionId>3HL4kqtJlcpXroDTDmJ{n:04d}</VersionId>"
        f"{''.join(OTHERS[:2])}{OTHERS[6]}</{kind}>"
        for n in range(number)
        for kind in ("DeleteMarker", "Version")
    )
    head = "<Name>app-documents</Name><Prefix>acme%2Fann%2F</Prefix><KeyMarker/><VersionIdMarker></VersionIdMarker>"
    head += "<NextKeyMarker>acme/ann/z%2B</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>"
    head += "<MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
    root = f'<ListVersionsResult xmlns="{NAMESPACE}">{head}{rows}</ListVersionsResult>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode()


@pytest.mark.parametrize("number", [0, 1, 500])
def test_takes_the_fast_way_for_what_s3_writes(number: int) -> None:
    """Ordinary pages, empty ones included, do not fall back."""
    listing = parse_listing(page(number))
    assert listing is not None
    assert listing == botocore_reads(page(number))
    assert len(listing.get("Versions", [])) == number


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-1],
        lambda body: body[: len(body) // 2],
        lambda body: body.replace(b"<IsTruncated>true</IsTruncated>", b""),
        lambda body: body.replace(b"<IsTruncated>true</IsTruncated>", b"<IsTruncated>maybe</IsTruncated>"),
        lambda body: body.replace(b"<VersionId>", b"<VersionId><!-- -->", 1),
        lambda body: body.replace(b"</Key>", b"&amp;</Key>", 1),
        lambda body: body.replace(b"</Key>", b"\x00</Key>", 1),
        lambda body: body.replace(b"</Key>", b"\xff</Key>", 1),
        lambda body: body.replace(b"ListVersionsResult", b"ListBucketResult"),
        lambda body: body.replace(b"<Version>", b"<Version><VersionId>1</VersionId>", 1),
        lambda body: body.replace(b"<Version>", b"<Version></Version><Version>", 1),
        lambda body: body.replace(b"</Version>", b"</Version><Size>1</Size>", 1),
        lambda body: body.replace(b"</ListVersionsResult>", b"<Version/></ListVersionsResult>"),
        lambda body: body.replace(b"</ListVersionsResult>", b"<DeleteMarker></DeleteMarker></ListVersionsResult>"),
        lambda body: body.replace(b"<Name>", b"<CommonPrefixes/><Name>"),
        lambda body: body.replace(b"<Key>", b"<Key/><Key>", 1),
        lambda _: b"<html><body>Welcome</body></html>",
    ],
)
def test_leaves_what_it_does_not_know_to_botocore(spoil: Any) -> None:
    """Anything unusual is no business of the fast parser."""
    assert parse_listing(spoil(page(2))) is None


def ask(operation: str, status: int, body: bytes, **arguments: str) -> dict[str, Any]:
    """What a client makes of an answer."""
    client = make_client()
    answer = AWSResponse("https://s3.test", status, {"x-amz-request-id": "request"}, Raw(body))
    client.meta.events.register("before-send.s3", lambda **_: answer)
    method = getattr(client, operation)
    return cast("dict[str, Any]", method(Bucket="app-documents", **arguments))


def make_client() -> Any:
    session = botocore.session.Session()
    session.set_credentials("test", "test")
    config = Config(region_name="us-east-1", retries={"mode": "standard", "total_max_attempts": 1})
    return make_s3_client(session, config)


class Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._body


def test_the_client_reads_listings_the_fast_way() -> None:
    """The answer has the members that are needed, botocore's metadata, and nothing that was not asked for."""
    answer = ask("list_object_versions", 200, page(2), EncodingType="url")
    metadata = answer.pop("ResponseMetadata")
    assert (metadata["RequestId"], metadata["HTTPStatusCode"]) == ("request", 200)
    assert answer == parse_listing(page(2))
    assert answer["Versions"][0].keys() == {"Key", "VersionId"}


def test_botocore_does_not_parse_a_page_that_has_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of handlers is right: none of botocore's builds a tree of the page before or after."""
    fed: list[int] = []

    class Counting(ElementTree.XMLParser):
        def feed(self, data: Any) -> None:
            fed.append(len(data))
            super().feed(data)

    monkeypatch.setattr("xml.etree.ElementTree.XMLParser", Counting)
    ask("list_object_versions", 200, page(500), EncodingType="url")
    assert fed
    assert max(fed) < 100


def test_keys_are_decoded_for_a_caller_who_did_not_ask_for_encoding() -> None:
    """botocore's own decoding still works on what the fast parser gives it."""
    answer = ask("list_object_versions", 200, page(1))
    assert answer["Versions"][0]["Key"] == "acme/ann/file 0000&.txt"


def test_other_answers_are_botocore_s() -> None:
    """Unusual listings, other operations and errors are read as ever."""
    unusual = page(1).replace(b"<IsTruncated>", b"\n<IsTruncated>")
    assert "ETag" not in ask("list_object_versions", 200, page(1))["Versions"][0]
    assert "LastModified" in ask("list_object_versions", 200, unusual)["Versions"][0]
    uploads = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
    assert ask("list_multipart_uploads", 200, uploads)["IsTruncated"] is False
    for status in (200, 503):
        with pytest.raises(ClientError, match="SlowDown"):
            ask("list_object_versions", status, b"<Error><Code>SlowDown</Code></Error>")


@UNHURRIED
@given(st.one_of(st.text("ab%+ 2B/", max_size=10), st.text(max_size=10)))
def test_decodes_keys_as_botocore_does(text: str) -> None:
    """Url-decoding of listed keys is botocore's, or refuses what is no UTF-8 at all."""
    try:
        decoded = decode_key(text)
    except UnicodeDecodeError:
        return
    assert decoded == unquote_str(text)


@pytest.mark.parametrize(
    ("listed", "key"),
    [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("%C3%A9", "é"),
        ("a%0Ab", "a\nb"),
        ("%01", "\x01"),
        ("é", "é"),
    ],
)
def test_decodes_keys(listed: str, key: str) -> None:
    """A plus sign in a listing is a space, and so on."""
    assert decode_key(listed) == key


@UNHURRIED
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_writes_what_botocore_writes(pairs: list[tuple[str, str]]) -> None:
    """The rendered body of DeleteObjects means the same as botocore's own."""
    objects = [{"Key": key, "VersionId": version_id} for key, version_id in pairs]
    operation = _SERVICE.operation_model("DeleteObjects")
    request = create_serializer("rest-xml", include_validation=False).serialize_to_request(
        {"Bucket": "b", "Delete": {"Objects": objects, "Quiet": True}}, operation
    )
    theirs = request["body"].replace(b"\r", b"&#xD;").replace(b"\n", b"&#xA;")  # what a handler of botocore's does
    assert meaning(render_delete(objects)) == meaning(theirs)


def meaning(body: bytes) -> list[tuple[str, str]]:
    return [(node.tag, node.text or "") for node in ElementTree.fromstring(body).iter()]  # noqa: S314  # our own


def test_refuses_to_write_what_xml_cannot_carry() -> None:
    """A control character never goes into a body, where it would become another key or an error."""
    with pytest.raises(ValueError, match="XML"):
        render_delete([{"Key": "a\x01", "VersionId": "null"}])
