"""What a data map says, held against the account in which it is to erase: does it exist, does it fit, may it be done,
and what is there that the map does not name?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from erasure.domain.account import Bucket, Table
from erasure.domain.data_map import DataMap
from erasure.domain.permissions import ERASE, VERIFY, Grant, Place, grants, key_actions
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.domain.templates import names_subject

ERROR, WARNING, DRIFT, NOTE = "error", "warning", "drift", "note"
"""Erasing would fail; it deserves a second look; the map does not name it; it is as it should be, and worth knowing."""

ERASE_FUNCTIONS = {"dynamodb": "erase_dynamodb", "s3": "erase_s3"}
VERIFY_FUNCTION = "verify_target"


@dataclass(frozen=True, slots=True)
class Finding:
    """``path``: the place in the map, or the table or bucket that no place names."""

    level: str
    path: str
    text: str


class Account(Protocol):
    """The account and region that are looked at. Raises what its calls raise."""

    @property
    def place(self) -> Place: ...

    def table(self, name: str) -> Table | None: ...

    def bucket(self, name: str) -> Bucket | None: ...

    def tables(self) -> Sequence[str]: ...

    def buckets(self) -> Sequence[str]: ...

    def refused(self, role_arn: str, grant: Grant) -> Sequence[str]:
        """The grant's actions that the role's policies do not allow on one of its resources."""


def check_map(
    data_map: DataMap,
    account: Account,
    *,
    roles: Mapping[str, str] | None = None,
    own: Iterable[str] = (),
    ignored: Sequence[str] = (),
) -> list[Finding]:
    """Everything that is found, in the order of the map, then what no target names.

    ``roles``: ARNs by function (``erase_dynamodb``, ``erase_s3``, ``verify_target``), if permissions are to be looked
    at. ``own``: the service's own tables and buckets. ``ignored``: patterns (``*``, ``?``) of names that are known to
    hold nothing of anybody.
    """
    found = []
    tables = {name: account.table(name) for name in tables_of(data_map)}
    buckets = {name: account.bucket(name) for name in buckets_of(data_map)}
    for number, spec in enumerate(data_map.targets):
        path = f"targets[{number}]"
        if spec.role is not None:
            found.append(Finding(NOTE, f"{path}.role_arn", "in another account: not looked at"))
        elif spec.dynamodb is not None:
            found += _check_table(spec, spec.dynamodb, tables[spec.dynamodb.table], path)
        elif spec.s3 is not None:
            found += _check_bucket(buckets[spec.s3.bucket], f"{path}.s3.bucket")
        found += _check_rule_of_age(spec, None if spec.s3 is None else buckets.get(spec.s3.bucket), path)
    if roles is not None:
        found += _check_permissions(data_map, account, roles, tables)
    found += _drift("table", account.tables(), {*tables, *own}, ignored)
    found += _drift("bucket", account.buckets(), {*buckets, *own}, ignored)
    return found


def tables_of(data_map: DataMap) -> list[str]:
    """The stack's own account's tables that the map names, in its order."""
    return _unique(spec.dynamodb.table for spec in data_map.targets if spec.dynamodb is not None and spec.role is None)


def buckets_of(data_map: DataMap) -> list[str]:
    return _unique(spec.s3.bucket for spec in data_map.targets if spec.s3 is not None and spec.role is None)


def roles_of(data_map: DataMap) -> list[str]:
    return _unique(spec.role.arn for spec in data_map.targets if spec.role is not None)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _check_table(spec: TargetSpec, rule: DynamoDBRule, table: Table | None, path: str) -> Iterator[Finding]:
    if table is None:
        yield Finding(ERROR, f"{path}.dynamodb.table", "there is no such table in this account and region")
        return
    keys = table.keys
    if rule.index is not None:
        index = table.indexes.get(rule.index)
        if index is None:
            yield Finding(ERROR, f"{path}.dynamodb.index", "the table has no such index")
            return
        if not index.ready:
            yield Finding(WARNING, f"{path}.dynamodb.index", "is not active: targets wait for it, or fail")
        if not index.whole:
            text = "does not hold whole items, which is fine: what it lacks is read from the table"
            yield Finding(NOTE, f"{path}.dynamodb.index", text)
        keys = index.keys
    if not rule.scan:
        yield from _check_keys(rule, keys, f"{path}.dynamodb.key")
    yield from _check_changes(spec, rule, table, path)


def _check_keys(rule: DynamoDBRule, keys: tuple[tuple[str, str], ...], path: str) -> Iterator[Finding]:
    whose = "the index" if rule.index is not None else "the table"
    kinds = ("partition key", "sort key")
    for position, key_rule in enumerate(_key_rules(rule)):
        here, kind = f"{path}.{key_rule.attribute}", kinds[position]
        if position >= len(keys):
            yield Finding(ERROR, here, f"{whose} has no {kind}")
            continue
        attribute, kept_as = keys[position]
        if attribute != key_rule.attribute:
            others = [name for name, _ in keys]
            hint = " (the order counts: the partition key first)" if key_rule.attribute in others else ""
            yield Finding(ERROR, here, f"the {kind} of {whose} is {attribute}{hint}")
        elif kept_as != "S":
            yield Finding(ERROR, here, f"is of type {kept_as}: only text (S) can be matched")


def _key_rules(rule: DynamoDBRule) -> tuple[KeyRule, ...]:
    return (rule.partition,) if rule.sort is None else (rule.partition, rule.sort)


def _check_changes(spec: TargetSpec, rule: DynamoDBRule, table: Table, path: str) -> Iterator[Finding]:
    """The table's own key cannot be changed: an item that loses it is another item."""
    own = {attribute for attribute, _ in table.keys}
    if spec.detach is not None:
        named = {each.attribute for each in _key_rules(rule) if names_subject(each.parsed().names)}
        for attribute in sorted(own & {spec.detach.attribute, *named}):
            text = f"would take the person out of {attribute}, which is a key of the table: that cannot be changed"
            yield Finding(ERROR, f"{path}.action.detach", text)
    for redaction in spec.redact:
        if redaction.path.partition(".")[0].removesuffix("[]") in own:
            text = "is a key of the table: that cannot be changed"
            yield Finding(ERROR, f"{path}.action.redact.{redaction.path}", text)


def _check_rule_of_age(spec: TargetSpec, bucket: Bucket | None, path: str) -> Iterator[Finding]:
    if spec.retention is None:
        return
    if spec.dynamodb is not None:
        yield Finding(
            NOTE, path, "every run of its retention rule reads the whole table, once to erase and once to verify"
        )
    elif bucket is not None and bucket.reachable and bucket.versioning != "Enabled":
        text = "what is written anew in the moment in which a run of its retention rule deletes the old, may go with it"
        yield Finding(WARNING, path, text)


def _check_bucket(bucket: Bucket | None, here: str) -> Iterator[Finding]:
    if bucket is None:
        yield Finding(ERROR, here, "there is no such bucket")
        return
    if not bucket.reachable:
        text = "belongs to another account, or refuses to be looked at: the erasers reach this account's only"
        yield Finding(ERROR, here, text)
        return
    if bucket.mfa_delete:
        text = "has MFA delete: no function can delete versions, every erasure would fail"
        yield Finding(ERROR, here, text)
    if bucket.versioning == "Suspended":
        text = "has its versioning suspended: versions from before are still there, and are erased too"
        yield Finding(WARNING, here, text)
    elif bucket.versioning != "Enabled":
        text = "has no versioning: what is overwritten or deleted by mistake cannot be brought back by anybody"
        yield Finding(WARNING, here, text)
    if bucket.lock is not None:
        text = f"has Object Lock ({bucket.lock}): locked versions stay until their date, and are told as blocked"
        yield Finding(WARNING, here, text)


def _check_permissions(
    data_map: DataMap, account: Account, roles: Mapping[str, str], tables: Mapping[str, Table | None]
) -> Iterator[Finding]:
    known: dict[tuple[str, Grant], Sequence[str]] = {}
    for number, spec in enumerate(data_map.targets):
        missing: dict[str, list[str]] = {}
        for function, grant in _needed(spec, account.place, tables):
            if (function, grant) not in known:
                known[function, grant] = account.refused(roles[function], grant)
            missing.setdefault(function, []).extend(known[function, grant])
        for function, actions in missing.items():
            if actions:
                told = ", ".join(_unique(actions))
                yield Finding(ERROR, f"targets[{number}]", f"the role of {function} may not do {told}")


def _needed(spec: TargetSpec, place: Place, tables: Mapping[str, Table | None]) -> Iterator[tuple[str, Grant]]:
    """What each function has to be allowed for a target, and for those that lead to it."""
    eraser = ERASE_FUNCTIONS[spec.kind]
    uses = [(eraser, spec, ERASE), (VERIFY_FUNCTION, spec, VERIFY)]
    if spec.for_each is not None:
        # Items of the parents tell what to erase; a parent's item goes when what it leads to is seen gone.
        uses += [(eraser, parent, VERIFY) for parent in spec.ancestors()]
        uses.append((ERASE_FUNCTIONS[spec.for_each.kind], spec, VERIFY))
    for function, used, purpose in uses:
        if used.role is not None:
            yield function, Grant(("sts:AssumeRole",), (used.role.arn,))
            continue
        for grant in grants(used, purpose, place):
            yield function, grant
        table = None if used.dynamodb is None else tables.get(used.dynamodb.table)
        if table is not None and table.key_arn is not None:
            yield function, Grant(key_actions(purpose), (table.key_arn,))


def _drift(kind: str, names: Iterable[str], named: set[str], ignored: Sequence[str]) -> Iterator[Finding]:
    for name in sorted(names):
        if name not in named and not any(fnmatchcase(name, pattern) for pattern in ignored):
            yield Finding(DRIFT, f"{kind} {name}", "no target names it: what it holds of anybody stays")
