"""The sample application's data, as a plan: who there is, and every item and object of theirs.

Things are a person's, in one organization or in none, or a group's. Comments mention people that do not own them.
The plan depends on nothing but a seed number, so what was written can be checked byte for byte, and whose an
object is can be told from its key without asking the service. Ids are chosen to be mistaken for one another:
prefixes of each other, the same id in two tenants, letters that look alike, characters that mean something to
somebody.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SEED = 2026
TABLES: dict[str, tuple[str, str | None]] = {
    "app-accounts": ("pk", "sk"),
    "app-sessions": ("session_id", None),
    "app-mfa-factors": ("tenant_user", "factor_id"),
    "app-oauth-connections": ("tenant_user", "provider"),
    "app-memberships": ("group_id", "member"),
    "app-documents": ("tenant_user", "document_id"),
    "app-comments": ("document_id", "comment_id"),
    "app-workspace-notes": ("tenant_user", "note_id"),
    "app-invoices": ("tenant_user", "invoice_id"),
    "app-group-items": ("tenant_group", "item_id"),
}
"""Table → (partition key, sort key)."""
INDEXES: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "app-sessions": (("by-user", "tenant_user", None),),
    "app-memberships": (("by-member", "tenant_id", "user_id"),),
    "app-comments": (("by-author", "author", None), ("by-mention", "mention", None)),
}
"""Table → (index, partition key, sort key) of each of its indexes."""
BUCKETS = ("app-documents", "app-attachments", "app-avatars", "app-workspaces")
MENTIONS = "membership"
"""The category under which people are taken out of the comments that mention them."""
ORGANIZATIONS = ("north", "north-east", "ann")

# fmt: off
_IDS = {
    "acme": [
        "ann", "anna", "annabel", "an", "Ann", "1", "10", "100", "a+b", "x#y", "50%", "%2F", "*", "{user_id}",
        "o'brien \"ob\"", "white space", "张伟", "张", "👩\u200d💻", "👩", "jos\u00e9", "jose\u0301",
        "team/ops", "acme",
    ],
    "acme-labs": ["ann", "1", "10", "张伟", "maria.lopez@example.com", "USER#ann", "${user_id}", "a\\b", "null"],
    "globex": [
        "ann", "anna", "1", "11", "a+b", "José", "نور", "auth0|5f7c8ec7", "0", "-", "_", "true", "zoë", "?x=1&y=2",
        "d9b2d63d-a233-4123-847a-7b6f3c1c5b1e", "kim.lee@example.com", "kim.lee",
    ],
}
_GROUP_IDS = {"acme": ["ann", "editors"], "acme-labs": ["ann", "10"], "globex": ["editors", "张"]}
# fmt: on


@dataclass(frozen=True, slots=True)
class Person:
    tenant: str
    user: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.user}"


@dataclass(frozen=True, slots=True)
class Group:
    tenant: str
    group: str

    def __str__(self) -> str:
        return f"{self.tenant}/group {self.group}"


Owner = Person | Group

HEAVY = Person("acme", "ann")
"""5,000 items and 5,000 objects with two versions each are this person's."""


@dataclass(frozen=True, slots=True)
class Item:
    """One DynamoDB item; ``attributes`` in DynamoDB's own JSON. ``organization``: where it is the owner's, if any."""

    table: str
    owner: Owner
    category: str
    attributes: dict[str, Any]
    organization: str = ""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """All that is written under one S3 key, oldest first; then ``deleted``: a delete marker on top.

    ``uploads``: multipart uploads that are begun and never finished.
    """

    bucket: str
    key: str
    owner: Owner
    category: str
    versions: tuple[bytes, ...]
    deleted: bool = False
    uploads: int = 0
    organization: str = ""


def people() -> tuple[Person, ...]:
    """The 50 people of the three tenants."""
    return tuple(Person(tenant, user) for tenant, users in _IDS.items() for user in users)


def groups() -> tuple[Group, ...]:
    """The six groups, two in each tenant, some called like people."""
    return tuple(Group(tenant, group) for tenant, names in _GROUP_IDS.items() for group in names)


def organizations_of(person: Person) -> tuple[str, ...]:
    """The organizations in which the person keeps something: two, for a third of the people."""
    number = people().index(person)
    if number % 3 != 1 or person == HEAVY:
        return ()
    return tuple(ORGANIZATIONS[(number // 3 + step) % len(ORGANIZATIONS)] for step in (0, 1))


def _text(*parts: object, size: int = 96) -> str:
    """Text that looks random and depends on ``parts`` only."""
    digest = hashlib.sha256("\0".join(map(str, (SEED, *parts))).encode()).hexdigest()
    return (digest * (size // len(digest) + 1))[:size]


def _opaque(prefix: str, *parts: object) -> str:
    """An id that tells nothing about whose it is."""
    return f"{prefix}-{_text(*parts, size=20)}"


def _item(table: str, owner: Owner, category: str, organization: str = "", /, **attributes: Any) -> Item:
    typed = {name: {"S": value} if isinstance(value, str) else value for name, value in attributes.items()}
    # The independent reader goes by these, never by keys: it must not share the service's idea of whose data it is.
    noted = {"owner_tenant": owner.tenant, "owner_category": category, "owner_organization": organization}
    noted |= {"owner_user": owner.user} if isinstance(owner, Person) else {"owner_group": owner.group}
    typed |= {name: {"S": value} for name, value in noted.items() if value}
    return Item(table, owner, category, typed, organization)


def document_id(owner: Person, number: int) -> str:
    return _opaque("doc", "document", owner, number)


def items() -> Iterator[Item]:
    """Every item, in a stable order."""
    for person in people():
        heavy = person == HEAVY
        chance = random.Random(f"{SEED}:{person}")
        yield from _account_items(person, preferences=20 if heavy else chance.randint(2, 4))
        yield from _access_items(person, chance)
        yield from _document_items(person, count=3_200 if heavy else chance.randint(3, 8))
        yield from _comment_items(person, count=1_780 if heavy else chance.randint(3, 8))
        yield from _workspace_items(person)
        yield from _invoice_items(person)
    for group in groups():
        yield from _group_items(group)


def _account_items(person: Person, preferences: int) -> Iterator[Item]:
    pk = f"TENANT#{person.tenant}#USER#{person.user}"
    logins = {"N": str(len(person.user) * 7)}
    yield _item(
        "app-accounts", person, "account", pk=pk, sk="PROFILE", name=_text(person, "name", size=16), logins=logins
    )
    for number in range(preferences):
        value = {"M": {"on": {"BOOL": number % 2 == 0}, "level": {"N": f"{number}.5"}, "seen": {"NULL": True}}}
        yield _item("app-accounts", person, "preference", pk=pk, sk=f"PREFERENCE#{number:03}", value=value)


def _access_items(person: Person, chance: random.Random) -> Iterator[Item]:
    tenant_user = f"{person.tenant}#{person.user}"
    for number in range(chance.randint(1, 3)):
        session = _opaque("session", person, number)
        yield _item("app-sessions", person, "session", session_id=session, tenant_user=tenant_user)
    for number in range(chance.randint(1, 2)):
        factor, secret = f"totp-{number}", {"B": _text(person, "mfa", number, size=20).encode()}
        yield _item("app-mfa-factors", person, "credential", tenant_user=tenant_user, factor_id=factor, secret=secret)
    for provider in chance.sample(["github", "google", "okta"], chance.randint(1, 2)):
        grants = {"SS": ["email", "profile"]}
        yield _item(
            "app-oauth-connections", person, "credential", tenant_user=tenant_user, provider=provider, grants=grants
        )
    for group in chance.sample(["board", "editors", "readers"], chance.randint(1, 2)):
        yield _item(
            "app-memberships",
            person,
            "membership",
            group_id=f"{person.tenant}:{group}",
            member=_opaque("member", person),
            tenant_id=person.tenant,
            user_id=person.user,
        )


def _document_items(person: Person, count: int) -> Iterator[Item]:
    for number in range(count):
        yield _item(
            "app-documents",
            person,
            "content",
            tenant_user=f"{person.tenant}#{person.user}",
            document_id=document_id(person, number),
            title=_text(person, "title", number, size=24),
            body=_text(person, "body", number, size=180),
        )


def _comment_items(person: Person, count: int) -> Iterator[Item]:
    """Comments on other people's documents, and one on the heavy person's, which must outlive it."""
    others = [other for other in people() if other.tenant == person.tenant and other != person]
    for number in range(count):
        host = HEAVY if number == 0 and person.tenant == HEAVY.tenant else others[number % len(others)]
        yield _item(
            "app-comments",
            person,
            "content",
            document_id=document_id(host, number % 3),
            comment_id=_opaque("comment", person, number),
            author=f"{person.tenant}#{person.user}",
            text=_text(person, "comment", number, size=120),
            **_mention(person, host, number),
        )


def _mention(author: Person, host: Person, number: int) -> dict[str, Any]:
    """Some comments mention whose document it is; in some of them, the author's own id stands beside it."""
    if number > 30 or number % 3 == 2 or host == author:
        return {}
    mentioned = sorted({host.user, author.user}) if number % 2 == 0 else [host.user]
    return {"mention": f"{host.tenant}#{host.user}", "mentioned_user_ids": {"SS": mentioned}}


def _workspace_items(person: Person) -> Iterator[Item]:
    for organization in organizations_of(person):
        for number in range(2):
            yield _item(
                "app-workspace-notes",
                person,
                "content",
                organization,
                tenant_user=f"{person.tenant}#{person.user}",
                note_id=f"{organization}#{number:03}",
                text=_text(person, organization, "note", number),
            )


def _invoice_items(person: Person) -> Iterator[Item]:
    """What the law wants kept: a record."""
    yield _item(
        "app-invoices",
        person,
        "record",
        tenant_user=f"{person.tenant}#{person.user}",
        invoice_id=_opaque("invoice", person),
        total={"N": "49.90"},
    )


def _group_items(group: Group) -> Iterator[Item]:
    for number in range(3):
        yield _item(
            "app-group-items",
            group,
            "content",
            tenant_group=f"{group.tenant}#{group.group}",
            item_id=_opaque("item", group, number),
            text=_text(group, "item", number),
        )


def objects() -> Iterator[StoredObject]:
    """Every object, in a stable order."""
    for person in people():
        heavy = person == HEAVY
        chance = random.Random(f"{SEED}:objects:{person}")
        yield _object("app-avatars", f"{person.tenant}/{person.user}", person, 2, size=400)
        if "/" in person.user:
            continue  # such an id has no prefix of its own: `a/b/` would lie under `a/`
        for folder, bucket, count in (
            ("", "app-documents", 3_600 if heavy else chance.randint(2, 4)),
            ("attachments/", "app-attachments", 1_399 if heavy else chance.randint(1, 2)),
        ):
            for number in range(count):
                yield _object(
                    bucket,
                    f"{folder}{person.tenant}/{person.user}/{_file_name(number)}",
                    person,
                    2 if heavy else chance.randint(1, 3),
                    deleted=number % 40 == 0 if heavy else chance.random() < 0.15,
                    uploads=1 if number % (500 if heavy else 4) == 1 else 0,
                )
        for organization in organizations_of(person):
            place = f"{person.tenant}/{person.user}/{organization}"
            for number in range(2):
                key = f"{place}/{_file_name(number)}"
                yield _object("app-workspaces", key, person, 2, deleted=number == 1, organization=organization)
    for group in groups():
        for number in range(4):
            key = f"{group.tenant}/groups/{group.group}/{_file_name(number)}"
            yield _object("app-documents", key, group, 2, deleted=number == 2, uploads=number == 3)


def _file_name(number: int) -> str:
    """Folders, and now and then a name that needs care in a URL or in XML."""
    odd = ("überblick & co.txt", "50% <draft>+final.txt", "報告.pdf", "a  b.txt")
    name = odd[number // 25 % len(odd)] if number % 25 == 3 else "note.txt"
    return f"{number // 100:02}/{number:04}-{name}"


def _object(
    bucket: str,
    key: str,
    owner: Owner,
    versions: int,
    *,
    size: int = 160,
    deleted: bool = False,
    uploads: int = 0,
    organization: str = "",
) -> StoredObject:
    contents = tuple(_text(bucket, key, version, size=size).encode() for version in range(versions))
    return StoredObject(bucket, key, owner, "content", contents, deleted, uploads, organization)
