"""An independent reader of the sample application: everything there is, whose it is, and what changed.

It shares nothing with the service. It reads every table by Scan and every bucket version by version, and goes by
what the seeder wrote down for it: the owner attributes of an item, and the plan's exact list of object keys.
What nobody planned belongs to nobody, and may no more change than a neighbour's data. The one way in which an erasure
may change what is not its subject's: a comment of somebody else may lose exactly its mention of the subject.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.sample import MENTIONS, TABLES, Group, Owner, Person, StoredObject, objects
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
    for its whole content. ``owner`` is None for what nobody planned. ``organization``: in which it is the owner's, if
    any. ``mentions``: whom it mentions, with the digest that it has without exactly this mention.
    """

    kind: str
    container: str
    name: str
    digest: str
    owner: Owner | None
    category: str
    organization: str = ""
    mentions: Mapping[Person, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment, by (kind, container, name)."""

    things: Mapping[tuple[str, str, str], Thing]

    def of(self, owner: Owner, categories: Iterable[str] | None = None) -> list[Thing]:
        wanted = None if categories is None else frozenset(categories)
        return [
            thing
            for thing in self.things.values()
            if thing.owner == owner and (wanted is None or thing.category in wanted)
        ]

    def mentioning(self, owner: Owner) -> list[Thing]:
        """What somebody else owns and mentions them."""
        return [thing for thing in self.things.values() if owner in thing.mentions and thing.owner != owner]

    def counts(self, owner: Owner, categories: Iterable[str] | None = None) -> Counter[tuple[str, str]]:
        """How many things of the owner there are, by (container, kind)."""
        return Counter((thing.container, thing.kind) for thing in self.of(owner, categories))

    def owners(self) -> list[Owner]:
        return sorted({thing.owner for thing in self.things.values() if thing.owner}, key=str)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that should have stayed as it was: ``what`` is ``lost``, ``altered`` or ``appeared``."""

    what: str
    thing: Thing


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left``: what is still there of what should be gone, mentions included. ``changed``: what should not have been
    touched. ``detached``: how many things of others lost exactly their mention of the subject, as they should."""

    erased: int
    left: tuple[Thing, ...]
    changed: tuple[Change, ...]
    detached: int = 0

    @property
    def clean(self) -> bool:
        return not self.left and not self.changed


def compare(
    before: Snapshot,
    after: Snapshot,
    subject: Owner,
    categories: Iterable[str] | None = SELF_DELETION,
    organizations: Collection[str] = (),
) -> Comparison:
    """What an erasure of the subject's ``categories`` (``None``: all) left behind, and what else it changed.

    ``organizations``: it was limited to these. Mentions go with their category, and not if there was such a limit.
    """
    wanted = None if categories is None else frozenset(categories)

    def to_erase(thing: Thing) -> bool:
        if thing.owner != subject or (organizations and thing.organization not in organizations):
            return False
        return wanted is None or thing.category in wanted

    def to_detach(thing: Thing) -> bool:
        if thing.owner == subject or organizations or subject not in thing.mentions:
            return False
        return wanted is None or MENTIONS in wanted

    left = tuple(thing for thing in after.things.values() if to_erase(thing) or to_detach(thing))
    gone = [thing for key, thing in before.things.items() if to_erase(thing) and key not in after.things]
    detached = 0
    changed: list[Change] = []
    for key in before.things.keys() | after.things.keys():
        old, new = before.things.get(key), after.things.get(key)
        known = old or new
        if known is None or to_erase(known) or old == new:
            continue
        if old is not None and new is not None and to_detach(old) and _lost_mention(old, new, subject):
            detached += 1
            continue
        changed.append(Change("lost" if new is None else "appeared" if old is None else "altered", known))
    ordered = tuple(sorted(changed, key=lambda change: change.thing.name))
    return Comparison(len(gone), left, ordered, detached)


def _lost_mention(old: Thing, new: Thing, subject: Owner) -> bool:
    return isinstance(subject, Person) and new.digest == old.mentions[subject] and new.owner == old.owner


def take_snapshot(
    stack: Stack, *, trust_etags_of: Owner | None = None, progress: Callable[[int], None] | None = None
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


def _read(stack: Stack, trust_etags_of: Owner | None) -> Iterator[Thing]:
    dynamodb, s3 = stack.client("dynamodb"), stack.client("s3")
    for page in dynamodb.get_paginator("list_tables").paginate():
        for table in page["TableNames"]:
            if table in TABLES:
                yield from _table(dynamodb, table)
    planned = {(stored.bucket, stored.key): stored for stored in objects()}
    for bucket in s3.list_buckets()["Buckets"]:
        if bucket["Name"].startswith("app-"):
            yield from _bucket(s3, bucket["Name"], planned, trust_etags_of)


def _table(dynamodb: DynamoDBClient, table: str) -> Iterator[Thing]:
    keys = [name for name in TABLES[table] if name]
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            noted = {name.removeprefix("owner_"): item[name]["S"] for name in item if name.startswith("owner_")}
            yield Thing(
                "item",
                table,
                canonical({key: item[key] for key in keys}),
                digest_of(canonical(item).encode()),
                _owner(noted),
                noted.get("category", ""),
                noted.get("organization", ""),
                _mentions(item, noted.get("tenant", "")),
            )


def _owner(noted: Mapping[str, str]) -> Owner | None:
    if "tenant" not in noted:
        return None
    if "group" in noted:
        return Group(noted["tenant"], noted["group"])
    return Person(noted["tenant"], noted["user"]) if "user" in noted else None


def _mentions(item: Mapping[str, Any], tenant: str) -> dict[Person, str]:
    """Whom the item mentions, each with the digest of what is left of it without that mention."""
    listed = item.get("mentioned_user_ids", {}).get("SS", [])
    indexed = item.get("mention", {}).get("S", "").removeprefix(f"{tenant}#")
    found = {}
    for user in {*listed, indexed} - {""}:
        rest = {name: value for name, value in item.items() if name != "mentioned_user_ids"}
        if user == indexed:
            del rest["mention"]
        if others := [other for other in listed if other != user]:
            rest["mentioned_user_ids"] = {"SS": others}
        found[Person(tenant, user)] = digest_of(canonical(rest).encode())
    return found


_Planned = Mapping[tuple[str, str], StoredObject]


def _bucket(s3: S3Client, bucket: str, planned: _Planned, trust_etags_of: Owner | None) -> Iterator[Thing]:
    def thing(kind: str, key: str, identity: str, digest: str) -> Thing:
        stored = planned.get((bucket, key))
        name = f"{key}\0{identity}"
        if stored is None:
            return Thing(kind, bucket, name, digest, None, "")
        return Thing(kind, bucket, name, digest, stored.owner, stored.category, stored.organization)

    def version(entry: Any) -> Thing:
        key, version_id = entry["Key"], entry["VersionId"]
        stored = planned.get((bucket, key))
        content = entry["ETag"]
        if stored is None or stored.owner != trust_etags_of:
            content = digest_of(s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)["Body"].read())
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
            yield thing("upload", key, upload_id, canonical([[part["PartNumber"], part["ETag"]] for part in parts]))


def canonical(value: object) -> str:
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


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
