"""A bucket in another region than the stack: S3 says where it is, and the call goes there. No emulator has regions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import Session

from erasure.adapters.aws import client_config
from erasure.targets.s3_client import make_s3_client

LISTING = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>b</Name><IsTruncated>false</IsTruncated>"
    "<Version><Key>k</Key><VersionId>v</VersionId></Version></ListVersionsResult>"
)
DELETED = '<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'
THERE = {"x-amz-bucket-region": "us-west-2"}


def error(code: str, more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>elsewhere</Message>{more}</Error>"


REFUSALS = {
    "redirect": (301, THERE, error("PermanentRedirect")),
    "redirect without region": (301, {}, error("PermanentRedirect")),
    "signed for the wrong region": (400, {}, error("AuthorizationHeaderMalformed", "<Region>us-west-2</Region>")),
}


class _Raw(io.BytesIO):
    def stream(self) -> Any:
        yield self.read()


class Regions:
    """Answers in S3's place: the bucket is in us-west-2, every other region refuses."""

    def __init__(self, refusal: tuple[int, dict[str, str], str]) -> None:
        self.refusal = refusal
        self.served: list[tuple[str, bytes]] = []

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        def answer(status: int, headers: dict[str, str], text: str) -> AWSResponse:
            return AWSResponse(request.url, status, headers, _Raw(text.encode()))

        if request.method == "HEAD":
            return answer(200 if self.is_there(request) else 301, THERE, "")
        if not self.is_there(request):
            return answer(*self.refusal)
        self.served.append((request.method, request.body or b""))
        return answer(200, {}, LISTING if request.method == "GET" else DELETED)

    def is_there(self, request: AWSPreparedRequest) -> bool:
        return ".us-west-2." in str(urlsplit(request.url).hostname)


Connect = Callable[[str, str], tuple[Any, Regions]]


@pytest.fixture
def connect() -> Connect:
    def make(region: str, refusal: str) -> tuple[Any, Regions]:
        session = Session()
        session.set_credentials("key", "secret")
        session.set_config_variable("region", region)
        client = make_s3_client(session, client_config())
        regions = Regions(REFUSALS[refusal])
        client.meta.events.register("before-send.s3", regions)
        return client, regions

    return make


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_listing_follows_the_bucket(connect: Connect, region: str, refusal: str) -> None:
    """The stack's region refuses, the bucket's own answers, and that answer is read."""
    client, regions = connect(region, refusal)
    listing = client.list_object_versions(Bucket="bucket", Prefix="k", EncodingType="url")
    assert listing["Versions"] == [{"Key": "k", "VersionId": "v"}]
    assert [method for method, _body in regions.served] == ["GET"]


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_deletion_follows_the_bucket_whole(connect: Connect, region: str, refusal: str) -> None:
    """All entries of a DeleteObjects call arrive in the bucket's region, although another one refused them first."""
    client, regions = connect(region, refusal)
    entries = [{"Key": f"k{number}", "VersionId": "null"} for number in range(3)]
    client.delete_objects(Bucket="bucket", Delete={"Objects": entries, "Quiet": True})
    ((method, body),) = regions.served
    assert method == "POST"
    assert body.count(b"<Object>") == 3
    assert all(f"<Key>k{number}</Key>".encode() in body for number in range(3))
