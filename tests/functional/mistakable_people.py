"""An application full of people, groups and organizations that are easily mistaken for each other.

Where it keeps what is written down here once more, without the service's templates: what a test compares with must not
be wrong in the same way. It keeps nothing for ids at places where the ids themselves do not tell people apart (an id
with a slash in a folder): the service refuses such ids, and no one could say whose a thing there is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from erasure.domain.subject import USER, Subject
from erasure.domain.target_spec import KeyRule, TargetSpec
from erasure.targets.protocol import Deadline, OnErased, SliceResult, Values, VerifyResult
from tests.functional.job_stack import JobStack

ITEMS, LINKS, FILES = "app-items", "app-links", "app-pictures"
WRITER = "a writer of comments"
"""Owns the comments in which others are mentioned. Nobody asks for this one's erasure."""

TABLES: dict[str, tuple[str, ...]] = {ITEMS: ("pk", "sk"), LINKS: ("id",)}
"""Key attributes of each table."""

INDEXES = {
    "by-user": ("tenant_user",),
    "by-member": ("tenant", "member"),
    "by-writer": ("writer",),
    "by-mention": ("mention",),
}
"""Of the second table."""


def _items(name: str, category: str, pk: str, sk: object = None, **more: Any) -> dict[str, Any]:
    key = {"pk": pk} if sk is None else {"pk": pk, "sk": sk}
    return {"name": name, "category": category, "dynamodb": {"table": ITEMS, "key": key}, **more}


def _links(name: str, category: str, index: str, *templates: str, **more: Any) -> dict[str, Any]:
    key = dict(zip(INDEXES[index], templates, strict=True))
    return {"name": name, "category": category, "dynamodb": {"table": LINKS, "index": index, "key": key}, **more}


_PERSON = "TENANT#{tenant_id}#USER#{user_id}"
_BOTH = "{tenant_id}#{user_id}"
_DETACH = {"detach": {"attribute": "mentioned"}}
TARGETS = [
    _items("account", "account", _PERSON, "PROFILE"),
    _items("preferences", "preference", _PERSON, {"prefix": "PREFERENCE#"}),
    _items("diary", "content", f"DIARY#{_BOTH}"),
    _items("rooms", "content", "ROOMS#{tenant_id}", {"prefix": "{user_id}:"}),
    _items("workspace-notes", "content", f"NOTES#{_BOTH}", {"prefix": "{organization_id}#"}),
    _items("invoices", "record", f"INVOICES#{_BOTH}"),
    _items("group-items", "content", "GROUP#{tenant_id}#{group_id}", subjects=["group"]),
    _links("sessions", "session", "by-user", _BOTH),
    _links("memberships", "membership", "by-member", "{tenant_id}", "{user_id}"),
    _links("remarks", "content", "by-writer", _BOTH),
    _links("mentions", "membership", "by-mention", _BOTH, action=_DETACH),
    {"name": "avatar", "s3": {"bucket": FILES, "key": "avatars/{tenant_id}/{user_id}"}},
    {"name": "files", "s3": {"bucket": FILES, "prefix": "{tenant_id}/{user_id}/"}},
    {"name": "workspace-files", "s3": {"bucket": FILES, "prefix": "work/{tenant_id}/{user_id}/{organization_id}/"}},
    {"name": "group-files", "subjects": ["group"], "s3": {"bucket": FILES, "prefix": "{tenant_id}/groups/{group_id}/"}},
]
_FOLDERS = {"rooms", "files", "workspace-files", "group-files"}
WITH_FOLDERS = {"version": 1, "targets": TARGETS}
"""Ids that hold a separator of its folders are refused."""

WITHOUT_FOLDERS = {"version": 1, "targets": [target for target in TARGETS if target["name"] not in _FOLDERS]}
"""Every identifier names its owner in whole keys, so that hardly one is refused."""

_CATEGORIES = {target["name"]: target.get("category", "content") for target in TARGETS}
Place = tuple[str, ...]


@dataclass(frozen=True)
class Thing:
    """What the application keeps: an item or an object of ``owner``, or (``mentions``) somebody else's that names it.

    ``place``: table and key, or bucket and key. ``attributes``: the item's others.
    """

    owner: Subject
    target: str
    place: Place
    attributes: dict[str, Any] = field(default_factory=dict, compare=False)
    organization_id: str | None = None

    def is_covered(self, named: Collection[Subject], categories: Collection[str], organizations: Sequence[str]) -> bool:
        """Whether erasing the subjects ``named``, of whom this much is asked for, erases this."""
        return (
            self.owner in named
            and _CATEGORIES[self.target] in categories
            and (not organizations or self.organization_id in organizations)
        )


def things_of(subject: Subject, organizations: Iterable[str], targets: Collection[str]) -> list[Thing]:
    """What the application keeps of the subject in these targets, where it can tell people apart."""
    things = _of_user(subject, organizations) if subject.type == USER else _of_group(subject)
    return [thing for thing in things if thing.target in targets and len(thing.place[-1].encode()) <= 1024]


def _of_user(subject: Subject, organizations: Iterable[str]) -> Iterator[Thing]:
    tenant, user = subject.tenant_id, subject.id
    both = f"{tenant}#{user}"
    person = f"TENANT#{tenant}#USER#{user}"
    yield Thing(subject, "account", (ITEMS, person, "PROFILE"))
    yield Thing(subject, "preferences", (ITEMS, person, "PREFERENCE#theme"))
    yield Thing(subject, "diary", (ITEMS, f"DIARY#{both}", "monday"))
    yield Thing(subject, "invoices", (ITEMS, f"INVOICES#{both}", "2026-01"))
    yield Thing(subject, "sessions", (LINKS, f"session of {both}"), {"tenant_user": {"S": both}})
    member = {"tenant": {"S": tenant}, "member": {"S": user}}
    yield Thing(subject, "memberships", (LINKS, f"membership of {both}"), member)
    yield Thing(subject, "remarks", (LINKS, f"remark of {both}"), {"writer": {"S": both}})
    mention = {
        "writer": {"S": f"{tenant}#{WRITER}"},
        "mention": {"S": both},
        # Names that begin or end alike stay.
        "mentioned": {"SS": sorted({user, f"{user}0", f" {user}", WRITER})},
    }
    yield Thing(subject, "mentions", (LINKS, f"mention of {both}"), mention)
    yield Thing(subject, "avatar", (FILES, f"avatars/{tenant}/{user}"))
    if ":" not in user:
        yield Thing(subject, "rooms", (ITEMS, f"ROOMS#{tenant}", f"{user}:1"))
        # What a user of the id "<user>:1" would have, if such an id could be told from this one.
        yield Thing(subject, "rooms", (ITEMS, f"ROOMS#{tenant}", f"{user}:1:1"))
    if "/" not in user:
        yield Thing(subject, "files", (FILES, f"{tenant}/{user}/letter.txt"))
        # A user "groups" or a tenant "work" with folders has them where the map has others' things.
        if user != "groups" and tenant != "work":
            yield Thing(subject, "files", (FILES, f"{tenant}/{user}/1/letter.txt"))
    for organization in organizations:
        if "#" not in organization:
            note = (ITEMS, f"NOTES#{both}", f"{organization}#1")
            yield Thing(subject, "workspace-notes", note, organization_id=organization)
        if "/" not in user + organization:
            file = (FILES, f"work/{tenant}/{user}/{organization}/plan.txt")
            yield Thing(subject, "workspace-files", file, organization_id=organization)


def _of_group(subject: Subject) -> Iterator[Thing]:
    tenant, group = subject.tenant_id, subject.id
    yield Thing(subject, "group-items", (ITEMS, f"GROUP#{tenant}#{group}", "1"))
    if "/" not in group:
        yield Thing(subject, "group-files", (FILES, f"{tenant}/groups/{group}/poster.txt"))
        yield Thing(subject, "group-files", (FILES, f"{tenant}/groups/{group}/1/poster.txt"))


class Application(Protocol):
    def put(self, things: Iterable[Thing]) -> None: ...

    def contents(self) -> dict[Place, str]:
        """All that there is: items by their place, versions of objects by place and version."""


class InMemory:
    """The application in memory, and a target that does with it what DynamoDB and S3 would do."""

    def __init__(self) -> None:
        self._found: dict[Place, dict[str, Any]] = {}

    def put(self, things: Iterable[Thing]) -> None:
        for thing in things:
            name, *key = thing.place
            attributes = _key(name, key) if name in TABLES else {"key": {"S": key[0]}}
            self._found[thing.place] = {**attributes, **copy.deepcopy(thing.attributes)}

    def contents(self) -> dict[Place, str]:
        return {place: text_of(item) for place, item in self._found.items()}

    def erase(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, on_erased: OnErased | None = None
    ) -> list[SliceResult]:
        return [self._erase(spec, values) for values in subjects]

    def verify(self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline) -> list[VerifyResult]:
        return [VerifyResult(len(self._matched(spec, values)), complete=True) for values in subjects]

    def _erase(self, spec: TargetSpec, values: Values) -> SliceResult:
        matched = self._matched(spec, values)
        for place in matched:
            if spec.detach is None:
                del self._found[place]
            else:
                del self._found[place]["mention"]
                self._found[place]["mentioned"]["SS"].remove(values["user_id"])
        return SliceResult(len(matched), done=True)

    def _matched(self, spec: TargetSpec, values: Values) -> list[Place]:
        if spec.s3 is not None:
            name = spec.s3.bucket
            rules = [KeyRule("key", spec.s3.key or spec.s3.prefix or "", prefix=spec.s3.key is None)]
        else:
            assert spec.dynamodb is not None
            name = spec.dynamodb.table
            rules = [rule for rule in (spec.dynamodb.partition, spec.dynamodb.sort) if rule is not None]
        wanted = [(rule, rule.parsed().render(values)) for rule in rules]
        return [
            place
            for place, item in self._found.items()
            if place[0] == name and all(_is_matched(item, rule, text) for rule, text in wanted)
        ]


def _is_matched(item: dict[str, Any], rule: KeyRule, text: str) -> bool:
    found = item.get(rule.attribute, {}).get("S")
    return found is not None and (found.startswith(text) if rule.prefix else found == text)


class OnMoto:
    """The tables and the bucket, on the same moto as ``stack``."""

    def __init__(self, stack: JobStack) -> None:
        self._stack = stack
        stack.s3.create_bucket(Bucket=FILES)
        stack.s3.put_bucket_versioning(Bucket=FILES, VersioningConfiguration={"Status": "Enabled"})
        for table, keys in TABLES.items():
            stack.create_table(table, keys, INDEXES if table == LINKS else {})

    def put(self, things: Iterable[Thing]) -> None:
        """Write them; an avatar twice, so that there are old versions."""
        puts: dict[str, list[Any]] = {}
        for thing in things:
            table, *key = thing.place
            if table in TABLES:
                puts.setdefault(table, []).append({"PutRequest": {"Item": {**_key(table, key), **thing.attributes}}})
            else:
                for _version in range(1 + (thing.target == "avatar")):
                    self._stack.s3.put_object(Bucket=FILES, Key=key[0], Body=b"text")
        write_all(self._stack, puts)

    def clear(self) -> None:
        deletes: dict[str, list[Any]] = {}
        versions: list[Any] = []
        for name, *key in self.contents():
            if name in TABLES:
                deletes.setdefault(name, []).append({"DeleteRequest": {"Key": _key(name, key)}})
            else:
                versions.append({"Key": key[0], "VersionId": key[1]})
        write_all(self._stack, deletes)
        if versions:
            self._stack.s3.delete_objects(Bucket=FILES, Delete={"Objects": versions})

    def contents(self) -> dict[Place, str]:
        found: dict[Place, str] = {}
        for table, keys in TABLES.items():
            for page in self._stack.dynamodb.get_paginator("scan").paginate(TableName=table):
                found |= {(table, *(item[key]["S"] for key in keys)): text_of(item) for item in page["Items"]}
        for page in self._stack.s3.get_paginator("list_object_versions").paginate(Bucket=FILES):
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                found[FILES, version["Key"], version["VersionId"]] = version.get("ETag", "deleted")
        return found


def write_all(stack: JobStack, requests: dict[str, list[Any]]) -> None:
    """``requests``: of BatchWriteItem, any number for each table."""
    for table, wanted in requests.items():
        for start in range(0, len(wanted), 25):
            stack.dynamodb.batch_write_item(RequestItems={table: wanted[start : start + 25]})


def _key(table: str, values: Iterable[str]) -> dict[str, Any]:
    return {attribute: {"S": value} for attribute, value in zip(TABLES[table], values, strict=True)}


def place_of(found: Place) -> Place:
    """The place of a thing, for its place in :meth:`Application.contents`."""
    return found if found[0] in TABLES else found[:2]


def without(contents: dict[Place, str], things: Iterable[Thing]) -> dict[Place, str]:
    """``contents`` when these have been erased, and nothing else."""
    erased = {thing.place: thing for thing in things}
    left = {}
    for found, content in contents.items():
        thing = erased.get(place_of(found))
        if thing is None:
            left[found] = content
        elif thing.target == "mentions":
            left[found] = _without_mention(content, thing.owner.id)
    return left


def _without_mention(content: str, user_id: str) -> str:
    item = json.loads(content)
    del item["mention"]
    item["mentioned"]["SS"].remove(user_id)
    return text_of(item)


def text_of(item: dict[str, Any]) -> str:
    mentioned = item.get("mentioned")
    if mentioned is not None:  # a set has no order
        item = {**item, "mentioned": {"SS": sorted(mentioned["SS"])}}
    return json.dumps(item, sort_keys=True)


# The protocol's signatures are kept whole.
# ruff: noqa: ARG002
