"""An S3 that only answers, after a fixed time: what is left of a measurement is the client's own doing.

``python -m tests.bench.s3_stub --objects 10000 --versions 2`` prints its port and serves one bucket until its
standard input ends. It knows ListObjectVersions, ListObjectsV2, ListObjects, ListMultipartUploads (none), DeleteObjects
and DeleteObject, deletes nothing, and checks nothing. ``GET /_counts`` answers with the calls since it was last asked;
after ``GET /_empty`` there are no versions any more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

LIST_SECONDS = 0.040
DELETE_SECONDS = 0.200
DELETE_ONE_SECONDS = 0.020
PAGE_ENTRIES = 1000
PREFIX = "tenant/user-00001/"
"""Whose objects it lists, unless another prefix is asked for: then that one has as many."""

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_PAGE_NUMBER = b"@@@@@@"
_OWNER = "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>"
_COMMON = (
    "<LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>"
    f"<Size>100</Size><StorageClass>STANDARD</StorageClass>{_OWNER}"
)


def version_entry(key: str, version_id: str, *, is_latest: bool) -> str:
    latest = "true" if is_latest else "false"
    return (
        f"<Version><Key>{key}</Key><VersionId>{version_id}</VersionId><IsLatest>{latest}</IsLatest>{_COMMON}</Version>"
    )


def version_entries(versions: int, count: int = PAGE_ENTRIES, number: bytes = _PAGE_NUMBER) -> bytes:
    """One page of versions as S3 writes them."""
    page = number.decode()
    return "".join(
        version_entry(
            f"{PREFIX}documents/{page}-{position // versions:04d}.txt",
            f"3HL4kqtJlcpXroDTDmJ.rmSp{page}{position:04d}",
            is_latest=position % versions == 0,
        )
        for position in range(count)
    ).encode()


def object_entries(count: int = PAGE_ENTRIES) -> bytes:
    """One page of ListObjectsV2."""
    page = _PAGE_NUMBER.decode()
    return "".join(
        f"<Contents><Key>{PREFIX}documents/{page}-{position:04d}.txt</Key>{_COMMON}</Contents>"
        for position in range(count)
    ).encode()


def document(root: str, *parts: bytes) -> bytes:
    opening = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{_NAMESPACE}">'.encode()
    return b"".join((opening, *parts, f"</{root}>".encode()))


def version_page(entries: bytes, page: int, last: bool) -> bytes:
    """The answer to ListObjectVersions for page ``page`` (from 0)."""
    number = b"%06d" % page
    markers = b"" if last else b"<NextKeyMarker>%s</NextKeyMarker><NextVersionIdMarker>m</NextVersionIdMarker>" % number
    head = b"<Name>b</Name><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>%s</IsTruncated>" % (
        b"false" if last else b"true"
    )
    return document("ListVersionsResult", head, markers, entries.replace(_PAGE_NUMBER, number))


class Stub:
    """What is answered to what."""

    def __init__(self, objects: int, versions: int) -> None:
        self.version_pages = max(1, -(-objects * versions // PAGE_ENTRIES))
        self.object_pages = max(1, -(-objects // PAGE_ENTRIES))
        self._version_entries = version_entries(versions, min(PAGE_ENTRIES, objects * versions))
        self._object_entries = object_entries()
        self._is_empty = False
        self.counts: Counter[str] = Counter()

    def answer(self, method: str, target: str, body: bytes) -> tuple[float, bytes]:
        """Seconds to wait, and the body."""
        path, _, query_text = target.partition("?")
        query = parse_qs(query_text, keep_blank_values=True)
        if path == "/_counts":
            counts, self.counts = self.counts, Counter()
            return 0.0, json.dumps(counts).encode()
        if path == "/_empty":
            self._is_empty = True
            return 0.0, b""
        if method == "GET" and "versions" in query:
            self.counts["list"] += 1
            if self._is_empty:
                return LIST_SECONDS, version_page(b"", 0, last=True)
            page = int(query["key-marker"][0]) + 1 if query.get("key-marker", [""])[0] else 0
            answer = version_page(self._version_entries, page, page + 1 >= self.version_pages)
            prefix = query.get("prefix", [PREFIX])[0]
            return LIST_SECONDS, answer if prefix == PREFIX else answer.replace(PREFIX.encode(), prefix.encode())
        if method == "GET" and "uploads" in query:
            self.counts["uploads"] += 1
            return LIST_SECONDS, document("ListMultipartUploadsResult", b"<IsTruncated>false</IsTruncated>")
        if method == "GET":
            self.counts["list"] += 1
            if "list-type" in query:
                return LIST_SECONDS, self._objects(int(query.get("continuation-token", ["0"])[0]))
            after = query.get("marker", [""])[0].rpartition("/")[2]  # of ListObjects: the last key of a page
            return LIST_SECONDS, self._objects(int(after.partition("-")[0]) + 1 if after else 0)
        if method == "POST":
            self.counts["delete"] += 1
            quiet = b"<Quiet>true</Quiet>" in body
            start, end = body.find(b"<Object>"), body.rfind(b"</Object>") + len(b"</Object>")
            deleted = b"" if quiet else body[start:end].replace(b"Object>", b"Deleted>")
            return DELETE_SECONDS, document("DeleteResult", deleted)
        self.counts["delete_one"] += 1
        return DELETE_ONE_SECONDS, b""

    def _objects(self, page: int) -> bytes:
        last = page + 1 >= self.object_pages
        head = b"<Name>b</Name><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>%s</IsTruncated>" % (
            b"false" if last else b"true"
        )
        token = b"" if last else b"<NextContinuationToken>%d</NextContinuationToken>" % (page + 1)
        return document("ListBucketResult", head, token, self._object_entries.replace(_PAGE_NUMBER, b"%06d" % page))


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, as much of it as clients of S3 use."""

    def __init__(self, stub: Stub, fixed: bool) -> None:
        self._stub = stub
        self._fixed = fixed
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(rest) < length:
                return
            self._received = rest[length:]
            loop = asyncio.get_running_loop()
            asked_at = loop.time()
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            seconds, body = self._stub.answer(method, target, rest[:length])
            status = b"204 No Content" if method == "DELETE" else b"200 OK"
            answer = b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
            loop.call_at(asked_at + (seconds if self._fixed else 0.0), self._transport.write, answer + body)


async def serve(stub: Stub, *, fixed: bool) -> None:
    """Until the standard input ends. ``fixed``: with the latencies."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(stub, fixed), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextlib.contextmanager
def running(
    objects: int, versions: int, *, no_wait: bool = False, module: str = "tests.bench.s3_stub"
) -> Iterator[StubProcess]:
    """A stub in a process of its own, so that its work does not disturb the client's."""
    command = [sys.executable, "-m", module, f"--objects={objects}", f"--versions={versions}"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command + ["--no-wait"] * no_wait, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield StubProcess(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.stdin.close()
        process.wait(timeout=20)


@dataclass(frozen=True)
class StubProcess:
    endpoint: str

    def empty(self) -> None:
        """From now on there is nothing, as if what was deleted were gone."""
        urllib.request.urlopen(f"{self.endpoint}/_empty").close()

    def counts(self) -> dict[str, int]:
        """Calls since this was last asked."""
        return self.ask("counts")

    def ask(self, question: str) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.endpoint}/_{question}") as answer:
            return dict(json.load(answer))


def main(make: Callable[[int, int], Stub] = Stub) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, required=True)
    parser.add_argument("--versions", type=int, default=1)
    parser.add_argument("--no-wait", action="store_true", help="answer at once")
    arguments = parser.parse_args()
    asyncio.run(serve(make(arguments.objects, arguments.versions), fixed=not arguments.no_wait))


if __name__ == "__main__":
    main()
