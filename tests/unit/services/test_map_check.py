"""A data map held against an account that is made up here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from erasure.domain.account import Bucket, Index, Table
from erasure.domain.data_map import DataMap
from erasure.domain.permissions import Grant, Place
from erasure.domain.target_spec import (
    AgeRule,
    DetachRule,
    DynamoDBRule,
    KeyRule,
    RedactRule,
    RoleRule,
    S3Rule,
    TargetSpec,
)
from erasure.services.map_check import DRIFT, ERROR, NOTE, WARNING, Finding, buckets_of, check_map, roles_of, tables_of

ROLES = {name: f"arn:aws:iam::123456789012:role/{name}" for name in ("erase_dynamodb", "erase_s3", "verify_target")}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"
NOTES = Table(
    (("pk", "S"), ("at", "N")),
    {
        "by-author": Index((("author", "S"), ("sk", "S")), whole=False, ready=True),
        "by-room": Index((("room", "S"),), whole=True, ready=False),
    },
)


@dataclass
class FakeAccount:
    """``denied``: pairs of a function and an action, or a function, an action and a resource."""

    known_tables: dict[str, Table] = field(default_factory=lambda: {"app-notes": NOTES})
    known_buckets: dict[str, Bucket] = field(default_factory=lambda: {"app-files": Bucket("Enabled")})
    denied: set[tuple[str, ...]] = field(default_factory=set)
    asked: list[tuple[str, Grant]] = field(default_factory=list)
    place: Place = field(default_factory=lambda: Place("aws", "eu-west-1", "123456789012"))

    def table(self, name: str) -> Table | None:
        return self.known_tables.get(name)

    def bucket(self, name: str) -> Bucket | None:
        return self.known_buckets.get(name)

    def tables(self) -> Sequence[str]:
        return list(self.known_tables)

    def buckets(self) -> Sequence[str]:
        return list(self.known_buckets)

    def refused(self, role_arn: str, grant: Grant) -> Sequence[str]:
        function = role_arn.rpartition("/")[2]
        self.asked.append((function, grant))
        return [
            action
            for action in grant.actions
            if {(function, action), *((function, action, resource) for resource in grant.resources)} & self.denied
        ]


def the_map(*targets: TargetSpec) -> DataMap:
    return DataMap({}, targets, "digest")


def notes(
    partition: str = "pk", sort: str | None = None, *, index: str | None = None, name: str = "notes", **more: object
) -> TargetSpec:
    rule = DynamoDBRule("app-notes", KeyRule(partition, "{user_id}"), sort and KeyRule(sort, "X"), index)  # type: ignore[arg-type]
    return TargetSpec(name, "content", dynamodb=rule, **more)  # type: ignore[arg-type]


FILES = TargetSpec("files", "content", s3=S3Rule("app-files", prefix="{user_id}/"))


def found(data_map: DataMap, account: FakeAccount | None = None) -> list[Finding]:
    return check_map(data_map, account or FakeAccount(), ignored=["*"])


def test_what_fits_is_not_mentioned() -> None:
    """Tables and buckets that are there and fit are not worth a word."""
    assert found(the_map(notes(), FILES)) == []


@pytest.mark.parametrize(
    ("spec", "path", "text"),
    [
        (TargetSpec("x", "content", dynamodb=DynamoDBRule("app-gone", KeyRule("pk", "{user_id}"))), "table", "no such"),
        (notes("author", index="by-nobody"), "index", "no such index"),
        (notes("id"), "key.id", "the partition key of the table is pk"),
        (notes("at"), "key.at", "the partition key of the table is pk (the order counts: the partition key first)"),
        (notes("pk", "when"), "key.when", "the sort key of the table is at"),
        (notes("pk", "at"), "key.at", "is of type N: only text (S) can be matched"),
        (notes("room", "at", index="by-room"), "key.at", "the index has no sort key"),
        (notes("writer", index="by-author"), "key.writer", "the partition key of the index is author"),
    ],
)
def test_a_target_that_would_fail(spec: TargetSpec, path: str, text: str) -> None:
    """What is missing or does not fit is an error, at the place of the map that says it."""
    (error,) = [finding for finding in found(the_map(FILES, spec)) if finding.level == ERROR]
    assert error.path == f"targets[1].dynamodb.{path}"
    assert text in error.text


def test_an_index_of_keys_alone_is_fine() -> None:
    """An index without the items' other attributes is noted as good enough; one in the making is a warning."""
    (note,) = found(the_map(notes("author", index="by-author")))
    assert (note.level, note.path) == (NOTE, "targets[0].dynamodb.index")
    assert "which is fine" in note.text
    (warning,) = found(the_map(notes("room", index="by-room")))
    assert warning.level == WARNING
    assert "not active" in warning.text


def test_a_scan_matches_any_attribute() -> None:
    """Attributes of a scan need not be keys, nor text."""
    rule = DynamoDBRule("app-notes", KeyRule("owner", "{user_id}"), KeyRule("at", "{tenant_id}"), scan=True)
    assert found(the_map(TargetSpec("events", "content", dynamodb=rule, window_hours=24))) == []


def test_a_tables_own_key_cannot_be_changed() -> None:
    """Redacting or detaching what identifies an item is an error; any other attribute is not."""
    redacting = notes(redact=(RedactRule("name", "remove"), RedactRule("at", "remove"), RedactRule("pk.x", "null")))
    assert [(each.level, each.path) for each in found(the_map(redacting))] == [
        (ERROR, "targets[0].action.redact.at"),
        (ERROR, "targets[0].action.redact.pk.x"),
    ]
    table = Table((("author", "S"),), {"by-author": Index((("author", "S"),), whole=True, ready=True)})
    account = FakeAccount({"app-notes": table})
    (error,) = found(the_map(notes("author", index="by-author", detach=DetachRule("members"))), account)
    assert (error.level, error.path) == (ERROR, "targets[0].action.detach")
    assert found(the_map(notes("author", index="by-author", detach=DetachRule("members"))))[0].level == NOTE


@pytest.mark.parametrize(
    ("bucket", "level", "text"),
    [
        (None, ERROR, "no such bucket"),
        (Bucket(reachable=False), ERROR, "another account"),
        (Bucket("Enabled", mfa_delete=True), ERROR, "MFA delete"),
        (Bucket(""), WARNING, "no versioning"),
        (Bucket("Suspended"), WARNING, "versions from before"),
        (Bucket("Enabled", lock="governance, 30 days for new objects"), WARNING, "(governance, 30 days for new"),
    ],
)
def test_buckets(bucket: Bucket | None, level: str, text: str) -> None:
    """What keeps a bucket's objects from being erased is an error, what deserves a second look a warning."""
    account = FakeAccount(known_buckets={} if bucket is None else {"app-files": bucket})
    (finding,) = found(the_map(FILES), account)
    assert (finding.level, finding.path) == (level, "targets[0].s3.bucket")
    assert text in finding.text


def test_what_no_target_names_is_told() -> None:
    """Tables and buckets that are in no target, not the service's own and not ignored are drift."""
    account = FakeAccount(
        dict.fromkeys(("app-notes", "app-old", "Registry", "metrics-1"), NOTES),
        {name: Bucket("Enabled") for name in ("app-files", "app-backups", "control")},
    )
    drift = check_map(the_map(notes()), account, own=["Registry", "control"], ignored=["metrics-*"])
    assert [(each.level, each.path) for each in drift] == [
        (DRIFT, "table app-old"),
        (DRIFT, "bucket app-backups"),
        (DRIFT, "bucket app-files"),
    ]


def test_other_accounts_are_not_looked_at() -> None:
    """A target with a role is noted; the own account's table of its name is neither checked for it nor named by it."""
    role = RoleRule("arn:aws:iam::210987654321:role/erasure")
    spec = notes("nothing-like-it", role=role)
    findings = check_map(the_map(spec), FakeAccount(known_buckets={}))
    assert [(each.level, each.path) for each in findings] == [
        (NOTE, "targets[0].role_arn"),
        (DRIFT, "table app-notes"),
    ]
    assert (tables_of(the_map(spec, notes())), roles_of(the_map(spec))) == (["app-notes"], [role.arn])
    assert (tables_of(the_map(spec)), buckets_of(the_map(FILES, FILES))) == ([], ["app-files"])


# Permissions


def refusals(account: FakeAccount, *targets: TargetSpec) -> list[tuple[str, str]]:
    findings = check_map(the_map(*targets), account, roles=ROLES, ignored=["*"])
    return [(each.path, each.text) for each in findings if each.level == ERROR]


def test_what_a_role_may_not_do_is_told_once_for_each_target() -> None:
    """With the function whose role it is and the actions that it lacks."""
    account = FakeAccount(denied={("erase_dynamodb", "dynamodb:DeleteItem"), ("erase_dynamodb", "dynamodb:Query")})
    assert refusals(account, FILES, notes("author", index="by-author")) == [
        ("targets[1]", "the role of erase_dynamodb may not do dynamodb:Query, dynamodb:DeleteItem")
    ]
    assert refusals(FakeAccount(), FILES, notes()) == []


def test_the_verifier_has_to_see_what_the_erasers_erase() -> None:
    """A target that could be erased and not verified is told too."""
    account = FakeAccount(denied={("verify_target", "s3:ListBucketVersions")})
    assert refusals(account, notes(), FILES) == [
        ("targets[1]", "the role of verify_target may not do s3:ListBucketVersions")
    ]


def test_the_resources_are_the_targets_own() -> None:
    """IAM is asked about exactly the table, the index and the key, each function by its own role, and once."""
    account = FakeAccount({"app-notes": Table(NOTES.keys, NOTES.indexes, KEY)})
    refusals(account, notes("author", index="by-author"), notes("author", index="by-author", name="again"))
    table = "arn:aws:dynamodb:eu-west-1:123456789012:table/app-notes"
    asked = [(function, resource) for function, grant in account.asked for resource in grant.resources]
    assert sorted(asked) == sorted(
        (function, resource)
        for function in ("erase_dynamodb", "verify_target")
        for resource in (table, f"{table}/index/by-author", KEY)
    )


def test_who_erases_children_reads_their_parents() -> None:
    """The eraser of objects that items lead to has to read the items, the items' eraser to see the objects gone."""
    parent = notes()
    child = TargetSpec("attachments", "content", s3=S3Rule("app-files", key="{notes.file}"), for_each=parent)
    account = FakeAccount(denied={("erase_s3", "dynamodb:Query"), ("erase_dynamodb", "s3:ListBucketVersions")})
    assert refusals(account, parent, child) == [
        ("targets[1]", "the role of erase_s3 may not do dynamodb:Query"),
        ("targets[1]", "the role of erase_dynamodb may not do s3:ListBucketVersions"),
    ]


def test_another_accounts_role_has_to_be_assumed() -> None:
    """Of a target in another account, what can be asked here is whether its role may be assumed."""
    role = "arn:aws:iam::210987654321:role/erasure"
    account = FakeAccount(denied={("verify_target", "sts:AssumeRole", role)})
    assert refusals(account, notes(role=RoleRule(role))) == [
        ("targets[0]", "the role of verify_target may not do sts:AssumeRole")
    ]
    assert {function for function, _ in account.asked} == {"erase_dynamodb", "verify_target"}


def test_rules_of_age_are_told_what_they_cost() -> None:
    """A table is read whole in every run; in a bucket without versions, a new object can take the place of an old."""
    (note,) = found(the_map(notes(retention=AgeRule("30d", "at"))))
    assert (note.level, note.path) == (NOTE, "targets[0]")
    assert "reads the whole table" in note.text
    aged = replace(FILES, retention=AgeRule("30d"))
    assert found(the_map(aged)) == []
    plain = FakeAccount(known_buckets={"app-files": Bucket("")})
    assert "written anew" in [finding.text for finding in found(the_map(aged), plain)][-1]
    assert len(found(the_map(FILES), plain)) == len(found(the_map(aged), plain)) - 1
