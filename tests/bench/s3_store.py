"""An S3 that keeps versions and deletes them, with the latencies of :mod:`tests.bench.s3_stub`, for large numbers.

It begins with ``--objects`` under :data:`PREFIX` and :data:`BESIDE` more under :data:`NEIGHBOUR`, a prefix that begins
like the other one's last name, each object with ``--versions``. ``GET /_left`` tells what is still there: ``own`` and
``beside``, and how many deletions named something that was not there (``strays``).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from urllib.parse import parse_qs

from tests.bench.s3_stub import DELETE_SECONDS, LIST_SECONDS, PAGE_ENTRIES, PREFIX, Stub, document, main, version_entry

NEIGHBOUR = PREFIX.replace("user-00001", "user-000012")
BESIDE = 500

_TRUNCATED = (
    "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>"
)
_WHOLE = "<IsTruncated>false</IsTruncated>"
_OBJECT = re.compile(r"<Object><Key>([^<]*)</Key><VersionId>([^<]*)</VersionId></Object>")


def key_of(number: int, prefix: str = PREFIX) -> str:
    return f"{prefix}documents/{number:08d}.txt"


class Store(Stub):
    """Versions of a key are called ``1``, ``2``, ... and listed in this order."""

    def __init__(self, objects: int, versions: int) -> None:
        super().__init__(objects, versions)
        self._versions = [str(number + 1) for number in range(versions)]
        keys = [key_of(number) for number in range(objects)] + [key_of(number, NEIGHBOUR) for number in range(BESIDE)]
        self._keys = sorted(keys)
        self._left = {key: list(self._versions) for key in keys}
        self._strays = 0

    def answer(self, method: str, target: str, body: bytes) -> tuple[float, bytes]:
        path, _, query_text = target.partition("?")
        query = {name: values[0] for name, values in parse_qs(query_text, keep_blank_values=True).items()}
        if path == "/_left":
            return 0.0, json.dumps(self._counted()).encode()
        if method == "GET" and "versions" in query:
            self.counts["list"] += 1
            return LIST_SECONDS, self._list(query)
        if method == "POST":
            self.counts["delete"] += 1
            return DELETE_SECONDS, self._delete(body.decode())
        if method == "GET" and ("uploads" in query or path == "/_counts"):
            return super().answer(method, target, body)
        raise NotImplementedError(method)

    def _list(self, query: dict[str, str]) -> bytes:
        """A page, from behind the version that the markers name, whether it is still there or not."""
        prefix, marker = query.get("prefix", ""), query.get("key-marker", "")
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, marker) if marker else 0)
        found: list[tuple[str, str]] = []
        if marker and (behind := query.get("version-id-marker")):
            found += [(marker, version) for version in self._left.get(marker, ()) if int(version) > int(behind)]
        for place in range(start, len(self._keys)):
            key = self._keys[place]
            if len(found) > PAGE_ENTRIES or not key.startswith(prefix):
                break
            found += [(key, version) for version in self._left.get(key, ())]
        page = found[:PAGE_ENTRIES]
        end = _TRUNCATED.format(*page[-1]) if len(found) > PAGE_ENTRIES else _WHOLE
        entries = (version_entry(key, version, is_latest=version == "1") for key, version in page)
        head = "<Name>b</Name><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>"
        return document("ListVersionsResult", head.encode(), end.encode(), "".join(entries).encode())

    def _delete(self, body: str) -> bytes:
        objects = _OBJECT.findall(body)
        if not 1 <= len(objects) <= PAGE_ENTRIES:
            raise ValueError("a call for 1 to 1,000 versions")
        for key, version in objects:
            versions = self._left.get(key, [])
            if version in versions:
                versions.remove(version)
            else:
                self._strays += 1
            if not versions:
                self._left.pop(key, None)
        return document("DeleteResult")

    def _counted(self) -> dict[str, int]:
        sizes = {True: 0, False: 0}
        for key, versions in self._left.items():
            sizes[key.startswith(PREFIX)] += len(versions)
        return {"own": sizes[True], "beside": sizes[False], "strays": self._strays}


if __name__ == "__main__":
    main(Store)
