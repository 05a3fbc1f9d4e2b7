"""An independent reader of the sample application: everything there is, whose it is, and what changed.

It shares nothing with the service. It reads every table by Scan and every bucket version by version, and goes by
what the seeder wrote down for it: the owner attributes of an item, and the plan's exact list of object keys.
What nobody planned belongs to nobody, and may no more change than a neighbour's data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.sample import TABLES, Person, objects
from local.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

SELF_DELETION = frozenset({"content", "preference"})
"""The categories that a person erases by the two-step self-deletion."""
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Thing:
    """One item, object version, delete marker or unfinished upload.

    ``container`` is the table or bucket, ``name`` its key in there (unique with ``kind``), ``digest`` stands
    for its whole content. ``owner`` is None for what nobody planned.
    """

    kind: str
    container: str
    name: str
    digest: str
    owner: Person | None
    category: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment, by (kind, container, name)."""

    things: Mapping[tuple[str, str, str], Thing]

    def of(self, person: Person, categories: Iterable[str] | None = None) -> list[Thing]:
        wanted = None if categories is None else frozenset(categories)
        return [
            thing
            for thing in self.things.values()
            if thing.owner == person and (wanted is None or thing.category in wanted)
        ]

    def counts(self, person: Person, categories: Iterable[str] | None = None) -> Counter[tuple[str, str]]:
        """How many things of the person there are, by (container, kind)."""
        return Counter((thing.container, thing.kind) for thing in self.of(person, categories))

    def owners(self) -> list[Person]:
        return sorted({thing.owner for thing in self.things.values() if thing.owner}, key=str)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that should have stayed as it was: ``what`` is ``lost``, ``altered`` or ``appeared``."""

    what: str
    thing: Thing


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left``: what is still there of what should be gone. ``changed``: what should not have been touched."""

    erased: int
    left: tuple[Thing, ...]
    changed: tuple[Change, ...]

    @property
    def clean(self) -> bool:
        return not self.left and not self.changed


def compare(
    before: Snapshot, after: Snapshot, subject: Person, categories: Iterable[str] = SELF_DELETION
) -> Comparison:
    """What an erasure of the subject's ``categories`` left behind, and what else it changed."""
    wanted = frozenset(categories)

    def to_erase(thing: Thing) -> bool:
        return thing.owner == subject and thing.category in wanted

    left = tuple(thing for thing in after.things.values() if to_erase(thing))
    gone = [thing for key, thing in before.things.items() if to_erase(thing) and key not in after.things]
    changed: list[Change] = []
    for key in before.things.keys() | after.things.keys():
        old, new = before.things.get(key), after.things.get(key)
        known = old or new
        if known is None or to_erase(known) or old == new:
            continue
        changed.append(Change("lost" if new is None else "appeared" if old is None else "altered", known))
    return Comparison(len(gone), left, tuple(sorted(changed, key=lambda change: change.thing.name)))


def take_snapshot(
    stack: Stack, *, trust_etags_of: Person | None = None, progress: Callable[[int], None] | None = None
) -> Snapshot:
    """Read everything in the sample's tables and in every bucket whose name begins with ``app-``.

    Object versions are downloaded and hashed, except those of ``trust_etags_of``: for whoever is about to be
    erased it is enough to know that a version exists, and the heavy person has ten thousand of them.
    ``progress`` hears how many things were read so far.
    """
    things: dict[tuple[str, str, str], Thing] = {}
    for thing in _read(stack, trust_etags_of):
        things[(thing.kind, thing.container, thing.name)] = thing
        if progress and len(things) % 250 == 0:
            progress(len(things))
    return Snapshot(things)


def _read(stack: Stack, trust_etags_of: Person | None) -> Iterator[Thing]:
    dynamodb, s3 = stack.client("dynamodb"), stack.client("s3")
    for page in dynamodb.get_paginator("list_tables").paginate():
        for table in page["TableNames"]:
            if table in TABLES:
                yield from _table(dynamodb, table)
    owners = {(stored.bucket, stored.key): (stored.owner, stored.category) for stored in objects()}
    for bucket in s3.list_buckets()["Buckets"]:
        if bucket["Name"].startswith("app-"):
            yield from _bucket(s3, bucket["Name"], owners, trust_etags_of)


def _table(dynamodb: DynamoDBClient, table: str) -> Iterator[Thing]:
    keys = [name for name in TABLES[table] if name]
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            owner = None
            if "owner_tenant" in item and "owner_user" in item:
                owner = Person(item["owner_tenant"]["S"], item["owner_user"]["S"])
            category = item.get("owner_category", {}).get("S", "")
            name = _canonical({key: item[key] for key in keys})
            yield Thing("item", table, name, _digest(_canonical(item).encode()), owner, category)


_Owners = Mapping[tuple[str, str], tuple[Person, str]]


def _bucket(s3: S3Client, bucket: str, owners: _Owners, trust_etags_of: Person | None) -> Iterator[Thing]:
    def thing(kind: str, key: str, identity: str, digest: str) -> Thing:
        owner, category = owners.get((bucket, key), (None, ""))
        return Thing(kind, bucket, f"{key}\0{identity}", digest, owner, category)

    def version(entry: Any) -> Thing:
        key, version_id = entry["Key"], entry["VersionId"]
        owner, _ = owners.get((bucket, key), (None, ""))
        content = entry["ETag"]
        if owner is None or owner != trust_etags_of:
            content = _digest(s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)["Body"].read())
        return thing("version", key, version_id, f"{content} {entry['Size']} {entry['IsLatest']}")

    with ThreadPoolExecutor(_THREADS) as pool:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            yield from pool.map(version, page.get("Versions", []))
            for marker in page.get("DeleteMarkers", []):
                yield thing("delete marker", marker["Key"], marker["VersionId"], str(marker["IsLatest"]))
    for uploads in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in uploads.get("Uploads", []):
            key, upload_id = upload["Key"], upload["UploadId"]
            parts = s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id).get("Parts", [])
            yield thing("upload", key, upload_id, _canonical([[part["PartNumber"], part["ETag"]] for part in parts]))


def _canonical(value: object) -> str:
    """One text for one value: sets have no order, binary has no JSON."""

    def plain(part: object) -> object:
        if isinstance(part, dict):
            return {
                name: sorted(map(str, inner)) if name in {"SS", "NS"} else plain(inner) for name, inner in part.items()
            }
        if isinstance(part, list | tuple):
            return [plain(inner) for inner in part]
        if isinstance(part, bytes):
            return base64.b64encode(part).decode()
        return part

    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
