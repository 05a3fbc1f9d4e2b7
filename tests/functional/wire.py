"""The wire between the service and AWS, of which moto is at the other end: tests see the calls, and spoil some."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from moto.core.botocore_stubber import BotocoreStubber

from tests.functional.job_stack import JobStack

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@dataclass(frozen=True)
class Call:
    """A call to AWS. ``place``: the table or bucket that it is about; of several, the first."""

    service: str
    operation: str
    place: str
    body: bytes = b""

    @property
    def of_application(self) -> bool:
        return self.place.startswith("app-")


class Wire:
    """What a test does to the calls that go over it, other than the test's own (see :meth:`aside`).

    ``before`` may answer instead of AWS; ``after`` is called when a call has had its effect and nobody knows it yet.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Callable[[Call], Answer | None] = lambda _: None
        self.after: Callable[[Call], None] = lambda _: None
        self._aside = threading.local()
        real = BotocoreStubber.process_request

        def process(stubber: BotocoreStubber, request: Any) -> Any:
            if getattr(self._aside, "inside", False):
                return real(stubber, request)
            call = call_of(request)
            answer: Any = self.before(call)
            if answer is None and call.operation in ("GET retention", "GET legal-hold"):
                # Moto answers with the object; AWS says that a bucket without Object Lock has no locks.
                answer = refusal(call, "", "InvalidRequest", 400)
            if answer is None:
                answer = real(stubber, request)
            self.aside(lambda: self.after(call))
            return answer

        monkeypatch.setattr(BotocoreStubber, "process_request", process)

    def aside(self, work: Callable[[], Any]) -> Any:
        """Do something over the wire that nothing is done to."""
        self._aside.inside = True
        try:
            return work()
        finally:
            self._aside.inside = False


def call_of(request: Any) -> Call:
    url = urlsplit(request.url)
    target = request.headers.get("X-Amz-Target", b"")
    target = target.decode() if isinstance(target, bytes) else target
    if target.startswith("DynamoDB"):
        body = json.loads(request.body)
        place = body.get("TableName") or next(iter(body.get("RequestItems", {"": None})))
        return Call("dynamodb", target.partition(".")[2], place)
    if ".s3." in f".{url.netloc}":
        bucket = url.netloc.partition(".s3")[0] if not url.netloc.startswith("s3") else url.path.split("/")[1]
        kind = url.query.partition("&")[0].partition("=")[0]
        return Call("s3", f"{request.method} {kind}".strip(), unquote(bucket), request.body or b"")
    return Call("", target, "")


def refusal(call: Call, dynamodb_code: str, s3_code: str, s3_status: int) -> Answer:
    """The error with which the service of the call answers."""
    if call.service == "dynamodb":
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{dynamodb_code}", "message": "no"}).encode()
        return _response(400, "application/x-amz-json-1.0", body)
    return _response(s3_status, "application/xml", f"<Error><Code>{s3_code}</Code><Message/></Error>".encode())


def _response(status: int, content_type: str, body: bytes) -> Answer:
    return status, {"Content-Type": content_type}, body


def partly_deleted(call: Call, stack: JobStack, errors: Mapping[str, str]) -> Answer:
    """DeleteObjects as S3 answers it when some keys have ``errors``, by key: the others are gone."""
    namespace = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    asked = [
        {name: entry.findtext(f"{namespace}{name}") or "" for name in ("Key", "VersionId")}
        for entry in ElementTree.fromstring(call.body).iter(f"{namespace}Object")  # noqa: S314 - our own client wrote it
    ]
    rest = [entry for entry in asked if entry["Key"] not in errors]
    if rest:
        stack.s3.delete_objects(Bucket=call.place, Delete={"Objects": rest})
    failed = "".join(
        f"<Error><Key>{entry['Key']}</Key><VersionId>{entry['VersionId']}</VersionId>"
        f"<Code>{errors[entry['Key']]}</Code><Message/></Error>"
        for entry in asked
        if entry["Key"] in errors
    )
    return _response(200, "application/xml", f"<DeleteResult>{failed}</DeleteResult>".encode())


def denied(call: Call) -> Answer:
    return refusal(call, "AccessDeniedException", "AccessDenied", 403)


def missing(call: Call) -> Answer:
    return refusal(call, "ResourceNotFoundException", "NoSuchBucket", 404)


def throttled(call: Call) -> Answer:
    return refusal(call, "ThrottlingException", "SlowDown", 503)
