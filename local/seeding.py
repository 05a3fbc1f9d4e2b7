"""Write the sample application's data into the emulator, until it is exactly what the plan says.

May be run again at any time: items are overwritten with the same content, and a key of a bucket is left alone
if all its versions, markers and uploads are as planned, or else emptied and written anew. Whatever the plan does
not know stays as it is.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from local.sample import BUCKETS, INDEXES, TABLES, Owner, StoredObject, groups, items, objects, people
from local.stack import LocalError, Stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeDefinitionTypeDef, KeySchemaElementTypeDef
    from mypy_boto3_s3 import S3Client

_Work = TypeVar("_Work")
_THREADS = 8
_BATCH = 25
Keys = tuple[str, str | None]
"""Partition key and sort key of a table."""
Indexes = Mapping[str, Sequence[tuple[str, str, str | None]]]
"""By table: name, partition key and sort key of each of its indexes."""
Progress = Callable[[str, int, int], None]
"""Called with what is being written (``items`` or ``objects``), how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What the sample application holds now."""

    people: int
    items: int
    objects: int
    versions: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"people={self.people} items={self.items} objects={self.objects} "
            f"versions={self.versions} seconds={self.seconds:.1f}"
        )


@dataclass(slots=True)
class KeyState:
    """What a bucket holds under one key, oldest first: ETags of versions, ``None`` for a delete marker."""

    history: list[str | None] = field(default_factory=list)
    version_ids: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)

    def holds(self, versions: Sequence[bytes], *, deleted: bool, uploads: int) -> bool:
        """Whether these are all versions, a delete marker follows or not, and there are so many uploads."""
        history: list[str | None] = [f'"{_md5(content)}"' for content in versions]
        return self.history == history + [None] * deleted and len(self.uploads) == uploads


def seed(stack: Stack, progress: Progress | None = None, *, of: Collection[Owner] | None = None) -> Seeded:
    """Create the sample's tables and buckets where they are missing, and fill them as planned.

    ``of``: only the data of these people and groups (default: everybody's). Raises :class:`LocalError`.
    """
    began = time.monotonic()
    tell = progress or (lambda _what, _done, _all: None)
    dynamodb, s3 = stack.client("dynamodb"), stack.client("s3")
    who: frozenset[Owner] = frozenset((*people(), *groups()) if of is None else of)
    planned_items = [item for item in items() if item.owner in who]
    planned_objects = [stored for stored in objects() if stored.owner in who]
    create_tables(dynamodb, TABLES, INDEXES)
    _create_buckets(s3)
    pairs = [(item.table, item.attributes) for item in planned_items]
    write_items(dynamodb, pairs, lambda done: tell("items", done, len(pairs)))
    _write_objects(s3, planned_objects, tell)
    versions = sum(len(stored.versions) for stored in planned_objects)
    return Seeded(
        len(who.intersection(people())), len(planned_items), len(planned_objects), versions, time.monotonic() - began
    )


def create_tables(dynamodb: DynamoDBClient, tables: Mapping[str, Keys], indexes_of: Indexes) -> None:
    """Create those that are missing. Their keys are strings."""
    existing = {name for page in dynamodb.get_paginator("list_tables").paginate() for name in page["TableNames"]}
    for table, (partition, sort) in tables.items():
        if table in existing:
            continue
        indexes = indexes_of.get(table, ())
        attributes = {partition, sort, *(name for index in indexes for name in index[1:])} - {None}
        definitions: list[AttributeDefinitionTypeDef] = [
            {"AttributeName": name, "AttributeType": "S"} for name in sorted(filter(None, attributes))
        ]
        extra: dict[str, Any] = {}
        if indexes:
            # Keys only: an index that copies everything would hide that erasing goes by the table's own key.
            extra["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": name,
                    "KeySchema": _key_schema(index_partition, index_sort),
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
                for name, index_partition, index_sort in indexes
            ]
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=definitions,
            KeySchema=_key_schema(partition, sort),
            **extra,
        )
        dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _key_schema(partition: str, sort: str | None) -> list[KeySchemaElementTypeDef]:
    schema: list[KeySchemaElementTypeDef] = [{"AttributeName": partition, "KeyType": "HASH"}]
    if sort:
        schema.append({"AttributeName": sort, "KeyType": "RANGE"})
    return schema


def _create_buckets(s3: S3Client) -> None:
    existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in BUCKETS:
        if bucket not in existing:
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def write_items(
    dynamodb: DynamoDBClient, planned: Sequence[tuple[str, Mapping[str, Any]]], done: Callable[[int], None]
) -> None:
    """Put the items, each with its table; ``done`` hears how many were."""
    batches = [planned[start : start + _BATCH] for start in range(0, len(planned), _BATCH)]

    def write(batch: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
        requests: Any = {}
        for table, item in batch:
            requests.setdefault(table, []).append({"PutRequest": {"Item": item}})
        for _ in range(10):
            requests = dynamodb.batch_write_item(RequestItems=requests).get("UnprocessedItems")
            if not requests:
                return len(batch)
        raise LocalError("the emulator keeps leaving items of a batch unprocessed")

    _in_parallel(write, batches, done)


def _write_objects(s3: S3Client, planned: Sequence[StoredObject], tell: Progress) -> None:
    present = {bucket: key_states(s3, bucket) for bucket in BUCKETS}

    def write(stored: StoredObject) -> int:
        state = present[stored.bucket].get(stored.key, KeyState())
        if not state.holds(stored.versions, deleted=stored.deleted, uploads=stored.uploads):
            empty_key(s3, stored.bucket, stored.key, state)
            _write_object(s3, stored)
        return 1

    _in_parallel(write, planned, lambda done: tell("objects", done, len(planned)))


def key_states(s3: S3Client, bucket: str) -> dict[str, KeyState]:
    """What a bucket holds, by key."""
    states: dict[str, KeyState] = defaultdict(KeyState)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        entries: list[tuple[Any, str | None]] = [(version, version["ETag"]) for version in page.get("Versions", [])]
        entries += [(marker, None) for marker in page.get("DeleteMarkers", [])]
        # The listing has versions and markers apart, each newest first; the marker of the plan is always the newest.
        for entry, etag in entries:
            state = states[entry["Key"]]
            state.version_ids.append(entry["VersionId"])
            if etag is None:
                state.history.append(None)
            else:
                state.history.insert(0, etag)
    for upload in _uploads(s3, bucket):
        states[upload["Key"]].uploads.append(upload["UploadId"])
    return states


def _uploads(s3: S3Client, bucket: str) -> Iterator[Any]:
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        yield from page.get("Uploads", [])


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def empty_key(s3: S3Client, bucket: str, key: str, state: KeyState) -> None:
    for upload_id in state.uploads:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    for version_id in state.version_ids:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version_id)


def _write_object(s3: S3Client, stored: StoredObject) -> None:
    place: Any = {"Bucket": stored.bucket, "Key": stored.key}
    for content in stored.versions:
        s3.put_object(**place, Body=content)
    if stored.deleted:
        s3.delete_object(**place)
    for _ in range(stored.uploads):
        begin_upload(s3, stored.bucket, stored.key)


def begin_upload(s3: S3Client, bucket: str, key: str) -> None:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=b"never finished")


def _in_parallel(work: Callable[[_Work], int], pieces: Iterable[_Work], done: Callable[[int], None]) -> None:
    """Run ``work`` on every piece; ``done`` hears the sum of what it returned so far."""
    count = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for number in pool.map(work, pieces):
                count += number
                done(count)
        except ClientError as error:
            pool.shutdown(cancel_futures=True)
            raise LocalError(f"the emulator refused a call of the seeder: {error}") from error
