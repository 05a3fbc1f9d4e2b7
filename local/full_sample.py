"""A larger sample application, for a data map with everything: who there is, each item and object of theirs, and what
is to become of it.

What an erasure makes of a thing is written down here, beside the thing, and not worked out from the data map: whoever
compares needs no idea of the service's own. Ids are chosen to be mistaken for one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.sample import Group, Owner, Person

PARTNER = "210987654321"
"""The other account, in which PARTNER_ROLE may be assumed by whoever knows the external id."""
PARTNER_ROLE = "erasure-full"
PARTNER_EXTERNAL_ID = "the-erasure-service"

TABLES: dict[str, tuple[str, str | None]] = {
    "full-accounts": ("pk", "sk"),
    "full-notes": ("tenant_user", "note_id"),
    "full-comments": ("comment_id", None),
    "full-memberships": ("team_id", "member_id"),
    "full-newsletters": ("recipient", "newsletter"),
    "full-imported": ("import_id", None),
    "full-events": ("event_id", None),
    "full-access-log": ("entry_id", None),
    "full-documents": ("tenant_user", "document_id"),
    "full-pages": ("document_id", "page"),
    "full-reviews": ("review_id", None),
    "full-invoices": ("invoice_id", None),
    "full-pension-files": ("tenant_user", "file_id"),
    "full-tasks": ("task_id", None),
    "full-workspace-notes": ("tenant_user", "note_id"),
    "full-group-items": ("tenant_group", "item_id"),
    "full-organization-items": ("tenant_organization", "item_id"),
    "full-boards": ("board_id", None),
}
INDEXES: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "full-comments": (("by-author", "author", None), ("by-mention", "mention", None)),
    "full-memberships": (("by-member", "tenant_id", "user_id"),),
    "full-imported": (("by-legacy-number", "legacy_number", None),),
    "full-reviews": (("by-reviewer", "reviewer", None),),
    "full-invoices": (("by-customer", "customer", None),),
    "full-tasks": (("by-watcher", "watcher", None),),
    "full-boards": (("by-member", "member", None),),
}
"""As in :mod:`local.sample`: table → keys, and table → (index, partition key, sort key)."""
PARTNER_TABLES: dict[str, tuple[str, str | None]] = {"full-partner-orders": ("tenant_user", "order_id")}

VERSIONED, UNVERSIONED, SUSPENDED, LOCKED = "versioned", "unversioned", "suspended", "locked"
BUCKETS: dict[str, str] = {
    "full-images": VERSIONED,
    "full-attachments": VERSIONED,
    "full-files": VERSIONED,
    "full-avatars": UNVERSIONED,
    "full-drafts": SUSPENDED,
    "full-contracts": LOCKED,
    "full-workspaces": VERSIONED,
}
PARTNER_BUCKETS: dict[str, str] = {"full-partner-files": VERSIONED}


@dataclass(frozen=True, slots=True)
class Organization:
    tenant: str
    organization: str

    def __str__(self) -> str:
        return f"{self.tenant}/organization {self.organization}"


FullOwner = Owner | Organization

SUBJECT = Person("acme", "1")
"""Has something of everything. All others have the same, under ids that resemble these."""
PEOPLE = (
    SUBJECT,
    *(Person("acme", user) for user in ("10", "11", "01", "1/", "1#", "2")),
    *(Person("acme-labs", user) for user in ("1", "10")),
    Person("globex", "1"),
)
GROUPS = (Group("acme", "1"), Group("acme", "10"), Group("globex", "1"))
ORGANIZATIONS = ("north", "north-east")
WHOLE_ORGANIZATIONS = (
    Organization("acme", "north"),
    Organization("acme", "north-east"),
    Organization("globex", "north"),
)
"""Erased themselves, with what is theirs and nobody's of their people."""
WITHOUT_LEGACY_NUMBER = Person("acme", "11")

LOCKED_UNTIL = datetime(2099, 12, 31, 12, tzinfo=UTC)
DIGEST = "erased:"
"""How a digest begins that redacting leaves; 64 hexadecimal digits follow."""

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """Erasing ``subject`` finds the item by ``target``. ``becomes``: its attributes then, with :data:`DIGEST` for each
    digest; ``None``: it is gone. ``kept_until``: until when a law keeps it. ``organization``: in which it is."""

    subject: FullOwner
    target: str
    becomes: Attributes | None = None
    kept_until: str | None = None
    organization: str = ""


@dataclass(frozen=True, slots=True)
class FullItem:
    """``attributes`` in DynamoDB's own JSON. Without claims it is nobody's that could be erased."""

    table: str
    attributes: Attributes
    claims: tuple[Claim, ...]

    @property
    def is_partners(self) -> bool:
        return self.table in PARTNER_TABLES


@dataclass(frozen=True, slots=True)
class Lock:
    """Of one version: a legal hold, or a retention until LOCKED_UNTIL in this mode."""

    mode: str = ""
    hold: bool = False


@dataclass(frozen=True, slots=True)
class FullObject:
    """All that is written under one key, oldest first; then ``deleted``: a delete marker on top. ``uploads``: begun and
    never finished. ``locks``: of versions by number. In a suspended bucket the last write comes after the
    suspension."""

    bucket: str
    key: str
    owner: FullOwner | None
    target: str
    versions: tuple[bytes, ...]
    deleted: bool = False
    uploads: int = 0
    organization: str = ""
    locks: Mapping[int, Lock] | None = None

    @property
    def is_partners(self) -> bool:
        return self.bucket in PARTNER_BUCKETS


def _typed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"S": value} if isinstance(value, str) else value for name, value in attributes.items()}


def _own(table: str, owner: FullOwner, target: str, organization: str = "", /, **attributes: Any) -> FullItem:
    """An item that goes with its owner."""
    return FullItem(table, _typed(attributes), (Claim(owner, target, organization=organization),))


def items() -> Iterator[FullItem]:
    """Every item, in a stable order."""
    for number, person in enumerate(PEOPLE):
        id_ = f"{person.tenant}#{person.user}"
        yield from _account_items(person, number)
        yield from _simple_items(person, number, id_)
        yield from _linked_items(person, number, id_)
        yield from _changed_items(person, number, id_)
        yield from _retained_items(person, number, id_)
    for group in GROUPS:
        for name in ("first", "second"):
            id_ = f"{group.tenant}#{group.group}"
            yield _own("full-group-items", group, "group-items", tenant_group=id_, item_id=name, text=f"of {group}")
    for whole in WHOLE_ORGANIZATIONS:
        id_ = f"{whole.tenant}#{whole.organization}"
        yield _own(
            "full-organization-items", whole, "organization-items", tenant_organization=id_, item_id="1", text="a plan"
        )


def _account_items(person: Person, number: int) -> Iterator[FullItem]:
    pk = f"TENANT#{person.tenant}#USER#{person.user}"
    emails = _emails(number)
    profile: dict[str, Any] = {"pk": pk, "sk": "PROFILE", "emails": {"SS": emails}, "logins": {"N": f"{number}.5"}}
    if person != WITHOUT_LEGACY_NUMBER:
        profile["legacy_number"] = {"N": _legacy_number(number)}
        imported = f"{person.tenant}#{_legacy_number(number)}"
        yield _own("full-imported", person, "imported", import_id=f"import-{number}", legacy_number=imported)
    yield _own("full-accounts", person, "accounts", **profile)
    for device in ("phone", "tablet"):
        yield _own("full-accounts", person, "devices", pk=pk, sk=f"DEVICE#{device}", seen={"NULL": True})
    # No target of the map matches this one: it stays, whoever is erased.
    yield FullItem("full-accounts", _typed({"pk": pk, "sk": "DEVICES", "count": {"N": "2"}}), ())
    for email in emails:
        recipient = f"{person.tenant}#{email}"
        yield _own("full-newsletters", person, "newsletters", recipient=recipient, newsletter="weekly")


def _emails(number: int) -> list[str]:
    """Two each. One begins like another's, and people of two tenants share one."""
    suffix = "" if PEOPLE[number] in (SUBJECT, Person("globex", "1")) else f".{number}"
    return [f"eins@mail.example{suffix}", f"one@mail.example{suffix}"]


def _legacy_number(number: int) -> str:
    return f"7{number or ''}"


def _simple_items(person: Person, number: int, id_: str) -> Iterator[FullItem]:
    user, tenant = person.user, person.tenant
    for note in range(3):
        binary = {"B": f"note {note} of {person}".encode()}
        yield _own("full-notes", person, "notes", tenant_user=id_, note_id=f"{note:03}", body=binary)
    for team in ("board", "editors"):
        member = {"team_id": f"{tenant}:{team}", "member_id": f"m-{number}"}
        yield _own("full-memberships", person, "memberships", **member, tenant_id=tenant, user_id=user)
    for event in range(2):
        key = f"event-{number}-{event}"
        yield _own("full-events", person, "events", event_id=key, actor=user, tenant=tenant, what="signed in")
    for organization in ORGANIZATIONS:
        note_id = f"{organization}#1"
        yield _own(
            "full-workspace-notes", person, "workspace-notes", organization, tenant_user=id_, note_id=note_id, text="x"
        )
    yield _own("full-partner-orders", person, "partner-orders", tenant_user=id_, order_id="o-1", total={"N": "10"})


def document_ids(number: int) -> tuple[str, ...]:
    """The subject's are the beginning of everybody else's."""
    return tuple(f"D{document}{number or ''}" for document in (1, 2))


def image_keys(document_id: str) -> tuple[str, ...]:
    return tuple(f"{document_id}-{letter}" for letter in "ab")


def _linked_items(person: Person, number: int, id_: str) -> Iterator[FullItem]:
    for document_id in document_ids(number):
        yield _own("full-documents", person, "documents", tenant_user=id_, document_id=document_id, title="a title")
        images = {"L": [{"S": key} for key in image_keys(document_id)]}
        yield _own("full-pages", person, "pages", document_id=document_id, page="1", image_keys=images)
        yield _own("full-pages", person, "pages", document_id=document_id, page="2", text="without images")


def _changed_items(person: Person, number: int, id_: str) -> Iterator[FullItem]:
    """Reviews and a log are redacted; of comments, a person's own go, and those of others lose the mention; tasks lose
    their watcher, boards a member."""
    rest = _typed({"review_id": f"review-{number}", "stars": {"N": "4"}, "text": "good"})
    signed, unsigned = {"S": f"somebody {number}"}, {"S": "a former member"}
    redacted = Claim(person, "reviews", rest | {"signed": unsigned})
    yield FullItem("full-reviews", rest | {"reviewer": {"S": id_}, "signed": signed}, (redacted,))

    rest = _typed({"entry_id": f"entry-{number}", "what": "export"})
    redacted = Claim(person, "access-log", rest | {"who": {"S": DIGEST}})
    yield FullItem("full-access-log", rest | {"who": {"S": id_}, "address": {"S": "10.0.0.1"}}, (redacted,))

    author = PEOPLE[(number + 1) % len(PEOPLE)]
    comment = _typed({"comment_id": f"comment-{number}", "author": f"{author.tenant}#{author.user}", "text": "hello"})
    others = ["10", "1/x", "someone"]
    mentioned = {"mention": {"S": id_}, "mentioned_user_ids": {"SS": [person.user, *(set(others) - {person.user})]}}
    left = {"mentioned_user_ids": {"SS": sorted(set(others) - {person.user})}}
    claims = (Claim(author, "comments"), Claim(person, "mentions", comment | left))
    yield FullItem("full-comments", comment | mentioned, claims)

    task = _typed({"task_id": f"task-{number}", "title": "to do"})
    mark, around = f"{person.tenant}:{person.user}", [f"{person.tenant}:{person.user}0", "acme:x"]
    watchers = {"watcher": {"S": id_}, "watchers": _strings(around[0], mark, around[1], mark)}
    unwatched = Claim(person, "watched-tasks", task | {"watchers": _strings(*around)})
    yield FullItem("full-tasks", task | watchers, (unwatched,))

    board = _typed({"board_id": f"board-{number}", "title": "a board"})
    members = _members(f"{person.user}0", person.user, "x")
    taken_out = Claim(person, "boards", board | {"members": _members(f"{person.user}0", "x")})
    yield FullItem("full-boards", board | {"member": {"S": id_}, "members": members}, (taken_out,))


def _members(*users: str) -> dict[str, Any]:
    return {"L": [{"M": {"user_id": {"S": user}, "role": {"S": "editor"}}} for user in users]}


def _strings(*texts: str) -> dict[str, Any]:
    return {"L": [{"S": text} for text in texts]}


_INVOICES: tuple[tuple[dict[str, str], str | None], ...] = (
    ({"S": "1990-05-31"}, None),
    ({"S": "2024-02-29"}, "2054-02-28T00:00:00.000Z"),
    ({"N": "1735689600"}, "2055-01-01T00:00:00.000Z"),  # 2025-01-01
)
_PENSION_FILES: tuple[tuple[dict[str, str], str | None], ...] = (
    ({"S": "1980-01-31T12:00:00+01:00"}, None),
    ({"S": "2025-08-31T10:00:00Z"}, "2055-08-31T10:00:00.000Z"),
)
"""When they were issued or closed, and until when the map keeps them (``None``: that time has passed)."""
INVOICES_KEPT_UNTIL = "2055-01-01T00:00:00.000Z"
PENSION_FILES_KEPT_UNTIL = "2055-08-31T10:00:00.000Z"


def _retained_items(person: Person, number: int, id_: str) -> Iterator[FullItem]:
    for position, (issued_at, until) in enumerate(_INVOICES):
        fixed = _typed({"invoice_id": f"invoice-{number}-{position}", "customer": id_, "issued_at": issued_at})
        becomes = None if until is None else fixed | _billing(person, redacted=True)
        claim = Claim(person, "invoices", becomes, until)
        yield FullItem("full-invoices", fixed | _billing(person, redacted=False), (claim,))
    for position, (closed_at, until) in enumerate(_PENSION_FILES):
        file = _typed({"tenant_user": id_, "file_id": f"file-{position}", "closed_at": closed_at, "name": "a name"})
        yield FullItem("full-pension-files", file, (Claim(person, "pension-files", file if until else None, until),))


def _billing(person: Person, *, redacted: bool) -> dict[str, Any]:
    def contact(email: str, number: str) -> dict[str, Any]:
        shown = {"S": DIGEST if redacted else email}
        phone = {"kind": {"S": "home"}} | ({} if redacted else {"number": {"S": number}})
        return {"M": {"email": shown, "phone": {"M": phone}, "note": {"S": "by day"}}}

    email = f"{person.user}@mail.example"
    contacts = [contact(email, "1"), contact(f"2{email}", "2"), contact(email, "3"), {"M": {"note": {"S": "nobody"}}}]
    street = {"NULL": True} if redacted else {"S": "High Street 1"}
    billing = {
        "address": {"M": {"street": street, "country": {"S": "DE"}}},
        "contacts": {"L": contacts},
        "city": {"S": "-" if redacted else "Köln"},
        "total": {"N": "49.5"},
    }
    return billing if redacted else billing | {"name": {"S": f"name of {person.user}"}}


def objects() -> Iterator[FullObject]:
    """Every object, in a stable order."""
    for number, person in enumerate(PEOPLE):
        yield from _linked_objects(person, number)
        place = f"{person.tenant}/{person.user}"
        yield _object("full-avatars", f"{place}.png", person, "avatars", 1)
        if "/" in person.user:
            continue  # such an id has no prefix of its own: `a/b/` would lie under `a/`
        yield from _file_objects(person, place)
        yield from _locked_objects(person, place)
        for organization in ORGANIZATIONS:
            key = f"{place}/{organization}/plan.txt"
            yield _object("full-workspaces", key, person, "workspace-files", 2, organization=organization)
        yield _object("full-partner-files", f"{place}/contract.pdf", person, "partner-files", 2, deleted=True)
    for group in GROUPS:
        key = f"groups/{group.tenant}/{group.group}/minutes.txt"
        yield _object("full-files", key, group, "group-files", 2, uploads=1)
    for whole in WHOLE_ORGANIZATIONS:
        key = f"organizations/{whole.tenant}/{whole.organization}/charter.txt"
        yield _object("full-files", key, whole, "organization-files", 2)
    # Right beside the subject's, and nobody's.
    for bucket, key in (
        ("full-files", "people/acme/1"),
        ("full-files", "people/acme/1.txt"),
        ("full-avatars", "acme/1.png.bak"),
        ("full-drafts", "drafts/acme/1"),
        ("full-attachments", "attachments/D1"),
        ("full-images", "D1-"),
        ("full-contracts", "contracts/acme/1"),
    ):
        yield _object(bucket, key, None, "", 1)


def _linked_objects(person: Person, number: int) -> Iterator[FullObject]:
    for document_id in document_ids(number):
        for key in image_keys(document_id):
            yield _object("full-images", key, person, "page-images", 2)
        place = f"attachments/{document_id}"
        yield _object("full-attachments", f"{place}/a b.txt", person, "attachments", 2, deleted=True)
        yield _object("full-attachments", f"{place}/deep/x.txt", person, "attachments", 1, uploads=1)


def _file_objects(person: Person, place: str) -> Iterator[FullObject]:
    for name, versions, deleted, uploads in (
        ("plain.txt", 1, False, 0),
        ("50% <draft>+final & co.txt", 3, False, 0),
        ("folder/", 1, False, 0),
        ("folder/報告.pdf", 2, True, 0),
        ("folder/half.bin", 1, False, 2),
    ):
        key = f"people/{place}/{name}"
        yield _object("full-files", key, person, "files", versions, deleted=deleted, uploads=uploads)
    for name, versions, deleted in (("once.txt", 1, False), ("often.txt", 3, False), ("gone.txt", 2, True)):
        yield _object("full-drafts", f"drafts/{place}/{name}", person, "drafts", versions, deleted=deleted)


def _locked_objects(person: Person, place: str) -> Iterator[FullObject]:
    for name, versions, locks in (
        ("free.pdf", 2, {}),
        ("governance.pdf", 2, {1: Lock("GOVERNANCE")}),
        ("compliance.pdf", 1, {0: Lock("COMPLIANCE")}),
    ):
        yield _object("full-contracts", f"contracts/{place}/{name}", person, "contracts", versions, locks=locks)
    held = {0: Lock(hold=True)}
    yield _object("full-contracts", f"disputes/{place}/held.pdf", person, "disputes", 1, locks=held)


def _object(bucket: str, key: str, owner: FullOwner | None, target: str, versions: int, **more: Any) -> FullObject:
    contents = tuple(f"{bucket} {key} {number}".encode() for number in range(versions))
    return FullObject(bucket, key, owner, target, contents, **more)
