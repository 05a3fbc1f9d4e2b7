"""S3 as AWS documents it, in memory, behind a botocore client: bytes in, bytes out.

It passes the same contract suite as the emulators and does what they do not: listings with url-encoded keys,
control characters in keys, refusal of more than 1,000 keys, a strict reading of markers. ``fault`` lets a test
spoil single calls.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse

ENDPOINT = "http://s3.test"
OWNER = "111122223333"
LOCKED = ("AccessDenied", "Access Denied because object protected by object lock.")
"""How AWS refuses to delete a version under Object Lock."""
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

Answer = tuple[int, bytes]


@dataclass
class Version:
    """``until``: retained in either ``mode`` until then (RFC 3339); ``hold``: under a legal hold; ``modified``: when it
    was written, to the millisecond."""

    version_id: str
    marker: bool = False
    mode: str = ""
    until: str = ""
    hold: bool = False
    modified: str = "2026-01-02T03:04:05.000Z"

    def is_locked(self) -> bool:
        is_retained = bool(self.until) and datetime.fromisoformat(self.until) > datetime.now(UTC)
        return self.hold or is_retained


@dataclass
class Bucket:
    """``owner``: the account; ``payer_asks``: requests have to say that the requester pays."""

    versioning: str = ""
    owner: str = OWNER
    payer_asks: bool = False
    has_locks: bool = False
    keys: dict[str, list[Version]] = field(default_factory=dict)
    """Versions of each key, newest first."""
    uploads: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """``operation``: ``list``, ``delete``, ``delete_one``, ``uploads``, ``abort``, ``retention``, ``legal_hold`` or
    something a test needs to prepare.

    ``number`` counts the requests of that operation from 1.
    """

    operation: str
    number: int
    bucket: str
    key: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    """With names in lower case."""


class FakeS3:
    """``attach`` a client; ``requests`` lists what was asked, in order of arrival.

    ``fault(request)`` may return an answer, raise, or return None to let the request through.
    ``errors`` maps a key to the code and message that DeleteObjects refuses it with.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.requests: list[Request] = []
        self.fault: Callable[[Request], Answer | None] = lambda _: None
        self.errors: dict[str, tuple[str, str]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    def attach(self, client: Any) -> None:
        client.meta.events.register("before-send.s3", self._serve)

    def count(self, operation: str) -> int:
        return sum(1 for request in self.requests if request.operation == operation)

    def _serve(self, request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, key = url.path.lstrip("/").partition("/")
        operation = _operation(request.method, query, bool(key))
        body = request.body or b""
        with self._lock:
            headers = {name.lower(): _text(value) for name, value in request.headers.items()}
            asked = Request(operation, self.count(operation) + 1, bucket, unquote(key), query, body, headers)
            self.requests.append(asked)
        answer = self.fault(asked)
        if answer is None:
            with self._lock:
                answer = self._answer(asked)
        status, content = answer
        return AWSResponse(request.url, status, {"Content-Type": "application/xml"}, Raw(content))

    def _answer(self, request: Request) -> Answer:
        if request.operation == "create_bucket":
            has_locks = request.headers.get("x-amz-bucket-object-lock-enabled") == "true"
            self.buckets[request.bucket] = Bucket("Enabled" if has_locks else "", has_locks=has_locks)
            return 200, b""
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            return error(404, "NoSuchBucket")
        if request.headers.get("x-amz-expected-bucket-owner", bucket.owner) != bucket.owner:
            return error(403, "AccessDenied", "Access Denied")
        if len(request.query.get("prefix", "").encode()) > 1024:
            return error(400, "KeyTooLongError", "Your key is too long")
        if bucket.payer_asks and request.headers.get("x-amz-request-payer") != "requester":
            return error(403, "AccessDenied", "Access Denied")
        answer: Answer = getattr(self, f"_{request.operation}")(bucket, request)
        return answer

    def _versioning(self, bucket: Bucket, request: Request) -> Answer:
        bucket.versioning = ElementTree.fromstring(request.body).findtext(f"{{{NAMESPACE}}}Status") or ""  # noqa: S314  # our own client wrote it
        return 200, b""

    def _put(self, bucket: Bucket, request: Request) -> Answer:
        lock = {name: request.headers.get(f"x-amz-object-lock-{name}", "") for name in _LOCK_HEADERS}
        if any(lock.values()) and not bucket.has_locks:
            return error(400, "InvalidRequest", "Bucket is missing ObjectLockConfiguration")
        mode, until, hold = lock.values()
        self._add(bucket, request.key, Version(self._new_id(bucket), mode=mode, until=until, hold=hold == "ON"))
        return 200, b""

    def _retention(self, bucket: Bucket, request: Request) -> Answer:
        version = _lockable(bucket, request)
        if not isinstance(version, Version):
            return version
        if not version.until:
            return error(404, "NoSuchObjectLockConfiguration", NO_LOCK)
        return document("Retention", _tag("Mode", version.mode) + _tag("RetainUntilDate", version.until))

    def _put_legal_hold(self, bucket: Bucket, request: Request) -> Answer:
        bucket.keys[request.key][0].hold = b"<Status>ON<" in request.body
        return 200, b""

    def _legal_hold(self, bucket: Bucket, request: Request) -> Answer:
        version = _lockable(bucket, request)
        if not isinstance(version, Version):
            return version
        if not version.hold:
            return error(404, "NoSuchObjectLockConfiguration", NO_LOCK)
        return document("LegalHold", _tag("Status", "ON"))

    def _new_id(self, bucket: Bucket) -> str:
        return f"{next(self._ids):032d}" if bucket.versioning == "Enabled" else "null"

    def _add(self, bucket: Bucket, key: str, version: Version) -> None:
        versions = bucket.keys.setdefault(key, [])
        versions[:] = [version] + [other for other in versions if other.version_id != version.version_id]

    def _remove(self, bucket: Bucket, key: str, version_id: str | None) -> None:
        if version_id is None and bucket.versioning:
            self._add(bucket, key, Version(self._new_id(bucket), marker=True))
            return
        versions = bucket.keys.get(key, [])
        versions[:] = [version for version in versions if version.version_id != (version_id or "null")]
        if not versions:
            bucket.keys.pop(key, None)

    def _delete_one(self, bucket: Bucket, request: Request) -> Answer:
        if request.key in self.errors:
            return error(403, *self.errors[request.key])
        if _is_locked(bucket, request.key, request.query.get("versionId")):
            return error(403, *LOCKED)
        self._remove(bucket, request.key, request.query.get("versionId"))
        return 204, b""

    def _delete(self, bucket: Bucket, request: Request) -> Answer:
        try:
            objects = list(ElementTree.fromstring(request.body).iterfind(f"{{{NAMESPACE}}}Object"))  # noqa: S314  # likewise
        except ElementTree.ParseError:
            return error(400, "MalformedXML")
        if not 1 <= len(objects) <= 1000:
            return error(400, "MalformedXML")
        refused = []
        for entry in objects:
            key = entry.findtext(f"{{{NAMESPACE}}}Key") or ""
            version_id = entry.findtext(f"{{{NAMESPACE}}}VersionId")
            if key in self.errors:
                refused.append(_refusal(key, version_id, *self.errors[key]))
            elif _is_locked(bucket, key, version_id):
                refused.append(_refusal(key, version_id, *LOCKED))
            else:
                self._remove(bucket, key, version_id)
        return document("DeleteResult", "".join(refused))

    def _list(self, bucket: Bucket, request: Request) -> Answer:
        prefix, most = request.query.get("prefix", ""), int(request.query.get("max-keys", "1000"))
        listed = [
            (key, version, version is versions[0])
            for key, versions in sorted(bucket.keys.items(), key=lambda item: item[0].encode())
            if key.startswith(prefix)
            for version in versions
        ]
        start = _position([(key, version.version_id) for key, version, _ in listed], request, "version-id-marker")
        if start is None:
            return error(400, "InvalidArgument")
        page, rest = listed[start : start + most], listed[start + most :]
        entries = "".join(_entry(key, version, latest) for key, version, latest in page)
        ending = ""
        if rest:
            key, version, _ = page[-1]
            ending = _tag("NextKeyMarker", quote_plus(key, safe="/")) + _tag("NextVersionIdMarker", version.version_id)
        head = f"<Name>{request.bucket}</Name>" + _tag("Prefix", quote_plus(prefix, safe="/"))
        head += f"<MaxKeys>{most}</MaxKeys><EncodingType>url</EncodingType>"
        head += _tag("IsTruncated", "true" if rest else "false")
        return document("ListVersionsResult", head + ending + entries)

    def _uploads(self, bucket: Bucket, request: Request) -> Answer:
        prefix, most = request.query.get("prefix", ""), int(request.query.get("max-uploads", "1000"))
        listed = sorted(upload for upload in bucket.uploads if upload[0].startswith(prefix))
        start = _position(listed, request, "upload-id-marker")
        if start is None:
            return error(400, "InvalidArgument")
        page, rest = listed[start : start + most], listed[start + most :]
        body = _tag("EncodingType", "url") + _tag("IsTruncated", "true" if rest else "false")
        if rest:
            body += _tag("NextKeyMarker", quote_plus(page[-1][0], safe="/")) + _tag("NextUploadIdMarker", page[-1][1])
        for key, upload_id in page:
            body += f"<Upload>{_tag('Key', quote_plus(key, safe='/'))}{_tag('UploadId', upload_id)}</Upload>"
        return document("ListMultipartUploadsResult", body)

    def _begin_upload(self, bucket: Bucket, request: Request) -> Answer:
        bucket.uploads.append((request.key, f"upload-{next(self._ids):08d}"))
        return document("InitiateMultipartUploadResult", _tag("UploadId", bucket.uploads[-1][1]))

    def _abort(self, bucket: Bucket, request: Request) -> Answer:
        upload = (request.key, request.query["uploadId"])
        if upload not in bucket.uploads:
            return error(404, "NoSuchUpload")
        bucket.uploads.remove(upload)
        return 204, b""


NO_LOCK = "The specified object does not have an Object Lock configuration or legal hold"
_LOCK_HEADERS = ("mode", "retain-until-date", "legal-hold")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _version(bucket: Bucket, key: str, version_id: str | None) -> Version | None:
    return next((version for version in bucket.keys.get(key, ()) if version.version_id == version_id), None)


def _is_locked(bucket: Bucket, key: str, version_id: str | None) -> bool:
    version = _version(bucket, key, version_id)
    return version is not None and version.is_locked()


def _lockable(bucket: Bucket, request: Request) -> Version | Answer:
    """The version whose lock is asked for, or why there is none."""
    if not bucket.has_locks:
        return error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
    version = _version(bucket, request.key, request.query.get("versionId"))
    if version is None:
        return error(404, "NoSuchVersion")
    return error(405, "MethodNotAllowed") if version.marker else version


class Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._content


def _operation(method: str, query: dict[str, str], has_key: bool) -> str:
    if not has_key:
        if "versioning" in query:
            return "versioning"
        if "versions" in query:
            return "list"
        if "uploads" in query:
            return "uploads"
        return "delete" if "delete" in query else "create_bucket"
    if "uploads" in query:
        return "begin_upload"
    if method == "GET" and "retention" in query:
        return "retention"
    if method == "GET" and "legal-hold" in query:
        return "legal_hold"
    if method == "DELETE":
        return "abort" if "uploadId" in query else "delete_one"
    return "put_legal_hold" if "legal-hold" in query else "put"


def _position(listed: list[tuple[str, str]], request: Request, id_marker: str) -> int | None:
    """Where the page after the markers begins; None if there is no such entry (AWS would be more lenient)."""
    if "key-marker" not in request.query:
        return 0
    marker = (request.query["key-marker"], request.query.get(id_marker, ""))
    return listed.index(marker) + 1 if marker in listed else None


def _entry(key: str, version: Version, latest: bool) -> str:
    name = "DeleteMarker" if version.marker else "Version"
    common = _tag("Key", quote_plus(key, safe="/")) + _tag("VersionId", version.version_id)
    common += _tag("IsLatest", str(latest).lower()) + _tag("LastModified", version.modified)
    if not version.marker:
        common += "<ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size>"
    owner = "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>"
    return f"<{name}>{common}{owner}</{name}>"


def _refusal(key: str, version_id: str | None, code: str, message: str) -> str:
    key = escape(key, {"\n": "&#10;", "\r": "&#13;"})
    inner = f"<Key>{key}</Key>{_tag('VersionId', version_id or '')}{_tag('Code', code)}{_tag('Message', message)}"
    return f"<Error>{inner}</Error>"


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def document(root: str, content: str) -> Answer:
    """A successful answer."""
    return 200, f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{content}</{root}>'.encode()


def error(status: int, code: str, message: str = "about bucket secret-bucket and person secret-id") -> Answer:
    """An error answer, with a message that must never come through."""
    content = f"<Error>{_tag('Code', code)}{_tag('Message', message)}<RequestId>1</RequestId></Error>"
    return status, f'<?xml version="1.0" encoding="UTF-8"?>\n{content}'.encode()


def on(operation: str, *answers: Answer | Exception | None) -> Callable[[Request], Answer | None]:
    """Answer the first requests of an operation like this, in turn; None lets a request through."""

    def fault(request: Request) -> Answer | None:
        if request.operation != operation or request.number > len(answers):
            return None
        answer = answers[request.number - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fault


def always(operation: str, answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda request: answer if request.operation == operation else None
