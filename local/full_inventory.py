"""An independent reader of the full sample: everything there is, and what erasures should make of it.

It shares nothing with the service and knows no data map. It reads each table by Scan and each bucket version by
version, in both accounts, and goes by what the sample's plan says of each item and each key.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.full_sample import (
    BUCKETS,
    DIGEST,
    INVOICES_KEPT_UNTIL,
    LOCKED,
    LOCKED_UNTIL,
    PARTNER_BUCKETS,
    PARTNER_TABLES,
    PENSION_FILES_KEPT_UNTIL,
    TABLES,
    Claim,
    FullItem,
    FullObject,
    FullOwner,
    items,
    objects,
)
from local.full_seeding import partner_of
from local.inventory import canonical, digest_of
from local.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

_THREADS = 8
_DIGEST_FORM = re.compile(rf"{DIGEST}[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """Of one item, version, delete marker or upload. ``place``: table or bucket; ``key``: an item's, as one text, or an
    object's; ``id``: of the version or upload."""

    place: str
    key: str
    kind: str = "item"
    id: str = ""


World = Mapping[Name, str]
"""Everything at one moment: each thing with its whole content, or a digest of it, as one text."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was asked for. ``organizations``: it was limited to these. ``but``: targets that it leaves alone, or for
    which its time has not come."""

    owner: FullOwner
    organizations: Collection[str] = ()
    but: Collection[str] = ()

    def covers(self, owner: FullOwner | None, target: str, organization: str) -> bool:
        if owner != self.owner or target in self.but:
            return False
        return not self.organizations or organization in self.organizations


@dataclass(slots=True)
class Found:
    """Of one target: how many things go or change, how many are still there afterwards, until when the last is kept
    (``None``: nobody knows)."""

    count: int = 0
    kept: int = 0
    until: str | None = None


def read_world(stack: Stack) -> dict[Name, str]:
    world: dict[Name, str] = {}
    for account, tables, buckets in (
        (stack, TABLES, BUCKETS),
        (partner_of(stack), PARTNER_TABLES, PARTNER_BUCKETS),
    ):
        dynamodb, s3 = account.client("dynamodb"), account.client("s3")
        for table in tables:
            world.update(_table(dynamodb, table))
        for bucket, kind in buckets.items():
            world.update(_versions(s3, bucket, has_locks=kind == LOCKED))
            world.update(_uploads(s3, bucket))
    return world


def _table(dynamodb: DynamoDBClient, table: str) -> Iterator[tuple[Name, str]]:
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            yield _name_of(table, item), canonical(item)


def _name_of(table: str, item: Mapping[str, Any]) -> Name:
    names = TABLES.get(table) or PARTNER_TABLES[table]
    return Name(table, canonical([item[name] for name in names if name]))


def _versions(s3: S3Client, bucket: str, *, has_locks: bool) -> Iterator[tuple[Name, str]]:
    def look(version: Any) -> tuple[Name, str]:
        place: Any = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        content = digest_of(s3.get_object(**place)["Body"].read())
        told = f"{content} {_latest(version)} {_lock(s3, place) if has_locks else ''}"
        return Name(bucket, version["Key"], "version", version["VersionId"]), told

    with ThreadPoolExecutor(_THREADS) as pool:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            yield from pool.map(look, page.get("Versions", []))
            for marker in page.get("DeleteMarkers", []):
                yield Name(bucket, marker["Key"], "delete marker", marker["VersionId"]), _latest(marker)


def _latest(entry: Any) -> str:
    return "latest" if entry["IsLatest"] else ""


def _lock(s3: Any, place: Any) -> str:
    told = []
    for ask, what in ((s3.get_object_retention, "Retention"), (s3.get_object_legal_hold, "LegalHold")):
        try:
            told.append(str(ask(**place)[what]))
        except ClientError:
            told.append("none")
    return " ".join(told)


def _uploads(s3: S3Client, bucket: str) -> Iterator[tuple[Name, str]]:
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            place: Any = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
            parts = s3.list_parts(**place).get("Parts", [])
            content = canonical([[part["PartNumber"], part["ETag"]] for part in parts])
            yield Name(bucket, upload["Key"], "upload", upload["UploadId"]), content


def planned_items() -> dict[Name, FullItem]:
    return {_name_of(item.table, item.attributes): item for item in items()}


def planned_objects() -> dict[tuple[str, str], FullObject]:
    return {(stored.bucket, stored.key): stored for stored in objects()}


def expected(before: World, erasures: Collection[Erasure]) -> dict[Name, str]:
    """What is there after the erasures; digests that redacting leaves are shortened, as :func:`comparable` does it."""
    after = dict(before)
    for name, _, becomes in _touched(before, erasures):
        if becomes is None:
            del after[name]
        else:
            after[name] = becomes
    return after


def found(before: World, erasure: Erasure) -> dict[str, Found]:
    """What an erasure has to find, by target."""
    by_target: dict[str, Found] = defaultdict(Found)
    for name, target, becomes in _touched(before, [erasure]):
        by_target[target].count += becomes != before[name]
        by_target[target].kept += _is_kept(name, target, becomes)
    untils = {"invoices": INVOICES_KEPT_UNTIL, "pension-files": PENSION_FILES_KEPT_UNTIL}
    untils["contracts"] = LOCKED_UNTIL.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    for target, own in by_target.items():
        own.until = untils.get(target) if own.kept else None
    return dict(by_target)


def _is_kept(name: Name, target: str, becomes: str | None) -> bool:
    return becomes is not None and (name.kind == "version" or target in ("invoices", "pension-files"))


def _touched(before: World, erasures: Collection[Erasure]) -> Iterator[tuple[Name, str, str | None]]:
    """Each thing that the erasures cover, by which target, and what it becomes."""
    of_items, of_objects = planned_items(), planned_objects()
    for name in before:
        if name.kind == "item":
            claim = _claim_on(of_items.get(name), erasures)
            if claim is not None:
                yield name, claim.target, None if claim.becomes is None else canonical(claim.becomes)
            continue
        stored = of_objects.get((name.place, name.key))
        if stored is not None and any(
            erasure.covers(stored.owner, stored.target, stored.organization) for erasure in erasures
        ):
            yield name, stored.target, before[name] if _is_locked(stored, name, before[name]) else None


def _claim_on(item: FullItem | None, erasures: Collection[Erasure]) -> Claim | None:
    """Of several, the one by which the item goes."""
    claims = [
        claim
        for claim in (() if item is None else item.claims)
        if any(erasure.covers(claim.subject, claim.target, claim.organization) for erasure in erasures)
    ]
    return min(claims, key=lambda claim: claim.becomes is not None, default=None)


def _is_locked(stored: FullObject, name: Name, content: str) -> bool:
    locked = {digest_of(stored.versions[number]) for number in stored.locks or {}}
    return name.kind == "version" and content.split(" ")[0] in locked


def comparable(world: World) -> dict[Name, str]:
    """Without what nobody can foretell: the digests that redacting leaves."""
    return {name: _DIGEST_FORM.sub(DIGEST, content) for name, content in world.items()}


def digests_in(content: str) -> list[str]:
    """The digests that redacting has left in an item, in the order of the attributes' names."""
    return _DIGEST_FORM.findall(content)


def differences(one: World, other: World) -> list[tuple[Name, str | None, str | None]]:
    """What is not the same in both."""
    return [
        (name, one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
