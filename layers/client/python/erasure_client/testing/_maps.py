"""Data maps, as far as the fake needs them: which targets there are, of whom, and which ids they cannot name.

What is checked of a document: its keys, version, and each target's name, category, type of subject, kind and
placeholders. The service checks more: what it refuses for other reasons, the fake takes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erasure_client.testing._checks import CATEGORIES, SUBJECT_TYPES, BrokenRuleRefused, MapRefused
from erasure_client.testing._exchange import Whom

UNNAMEABLE = "holds a character that separates ids where this service's data is kept"
_FAMILIES: dict[str, frozenset[str] | None] = {
    "h2o": frozenset({"content", "preference"}),
    "hellojohn": frozenset(CATEGORIES) - {"record"},
    "velt": frozenset({"membership", "content", "preference"}),
    "june": None,
    "native": None,
}
_TOP = {"version", "identifiers", "targets", "families", "retention"}
_OF_TARGET = {
    *("name", "category", "subjects", "for_each", "dynamodb", "s3"),
    *("action", "retain", "window", "role_arn", "external_id"),
}
_NAME = re.compile("[a-z0-9][a-z0-9_-]{0,62}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """``templates``: in which its ids stand. ``action``: ``delete``, ``detach`` or ``redact``."""

    name: str
    category: str
    subject_type: str
    kind: str
    action: str
    templates: tuple[str, ...]
    is_led_to: bool = False

    @property
    def by_organization(self) -> bool:
        """Whether an erasure can be limited to organizations here."""
        return self.subject_type != "organization" and any("{organization_id}" in each for each in self.templates)

    def wrong_id(self, whom: Whom, organization_ids: Sequence[str]) -> str | None:
        """Whose id cannot be named here: ``tenant``, ``organization`` or ``subject``."""
        templates = self.templates
        if self.by_organization and not organization_ids:
            templates = tuple(each.partition("{organization_id}")[0] for each in templates)
        values = {"tenant_id": [whom.tenant_id], "organization_id": organization_ids, f"{whom.type}_id": [whom.id]}
        for template in templates:
            for name, separator in _PLACEHOLDER.findall(template):
                if separator and any(separator in value for value in values.get(name, ())):
                    own = name == f"{whom.type}_id"
                    return "subject" if own else name.removesuffix("_id")
        return None


@dataclass(frozen=True, slots=True)
class Retention:
    target: str
    older_than: str
    attribute: str | None
    only_report: bool


@dataclass(frozen=True, slots=True)
class DataMap:
    version: int
    digest: str
    document: Mapping[str, Any]
    targets: tuple[Target, ...]
    families: Mapping[str, frozenset[str] | None]
    retention: tuple[Retention, ...]

    def covers(
        self,
        family: str,
        whom_type: str,
        categories: Sequence[str] | None = None,
        organization_ids: Sequence[str] = (),
    ) -> list[Target]:
        """The targets of an erasure that came through the ``family``."""
        wanted = self.families[family] if categories is None else frozenset(categories)
        return [
            target
            for target in self.targets
            if target.subject_type == whom_type
            and (wanted is None or target.category in wanted)
            and (not organization_ids or target.by_organization)
        ]

    def accounts(self) -> list[Target]:
        """Where it is looked up whether a user exists."""
        return [
            target
            for target in self.targets
            if target.category == "account" and target.subject_type == "user" and not target.is_led_to
        ]


def parse_map(document: Mapping[str, Any], version: int) -> DataMap:
    """Raises :class:`MapRefused`."""
    problems = list(_problems(document))
    if problems:
        raise MapRefused(problems)
    families = dict(_FAMILIES)
    for name, chosen in document.get("families", {}).items():
        families[name] = None if chosen == "all" else frozenset(chosen)
    text = json.dumps(document, ensure_ascii=False)
    retention = tuple(
        Retention(rule["target"], rule["older_than"], rule.get("attribute"), rule.get("mode") == "report")
        for rule in document.get("retention", ())
    )
    targets = tuple(_target(each, document["targets"]) for each in document["targets"])
    return DataMap(version, hashlib.sha256(text.encode()).hexdigest(), document, targets, families, retention)


def whose_rule(whose: str, field: str) -> BrokenRuleRefused:
    """The refusal for an id that cannot be named. ``field``: the caller's name of the subject."""
    if whose != "subject":
        return BrokenRuleRefused(f"{whose} id", UNNAMEABLE)
    return BrokenRuleRefused(field, UNNAMEABLE, reason="ambiguous_identifier")


def _target(each: Mapping[str, Any], all_targets: Sequence[Mapping[str, Any]]) -> Target:
    parents = {other["name"]: other for other in all_targets}
    parent = parents.get(each.get("for_each", ""), {})
    action = each.get("action", "delete")
    return Target(
        each["name"],
        each.get("category", parent.get("category", "content")),
        each.get("subjects", parent.get("subjects", ["user"]))[0],
        "s3" if "s3" in each else "dynamodb",
        action if isinstance(action, str) else next(iter(action)),
        tuple(_templates(each)),
        "for_each" in each,
    )


def _templates(each: Mapping[str, Any]) -> Iterator[str]:
    rule = each.get("s3", each.get("dynamodb", {}))
    matched = [rule.get("prefix"), rule.get("key"), *rule.get("scan", {}).values()]
    if isinstance(rule.get("key"), Mapping):
        matched = [value.get("prefix") if isinstance(value, Mapping) else value for value in rule["key"].values()]
    yield from (text for text in matched if isinstance(text, str))


def _problems(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((str(name), "is not a known key here") for name in document if name not in _TOP)
    if document.get("version") != 1 or isinstance(document.get("version"), bool):
        yield "version", "input should be 1"
    for name, kind in (("identifiers", dict), ("families", dict), ("retention", list)):
        if not isinstance(document.get(name, kind()), kind):
            yield name, "input should be a valid " + ("list" if kind is list else "dictionary")
            return
    yield from _problems_of_rules(document)
    targets = document.get("targets")
    if not isinstance(targets, list) or not 1 <= len(targets) <= 200:
        yield "targets", "must be a list of 1 to 200 targets"
        return
    seen: dict[object, int] = {}
    for number, each in enumerate(targets):
        path = f"targets[{number}]"
        if not isinstance(each, dict):
            yield path, "must be an object"
            continue
        yield from _problems_of_target(each, path, document)
        if each.get("name") in seen:
            yield f"{path}.name", f"is already the name of targets[{seen[each.get('name')]}]"
        seen.setdefault(each.get("name"), number)


def _problems_of_rules(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, chosen in document.get("families", {}).items():
        if name not in _FAMILIES:
            yield f"families.{name}", "is not a known family"
        elif chosen != "all" and not (isinstance(chosen, list) and chosen and set(chosen) <= set(CATEGORIES)):
            yield f"families.{name}", f"must be all, or a list of {', '.join(CATEGORIES)}"
    for number, rule in enumerate(document.get("retention", [])):
        if not isinstance(rule, dict) or not isinstance(rule.get("target"), str):
            yield f"retention[{number}]", "must be an object with target and older_than"
        elif not isinstance(rule.get("older_than"), str):
            yield f"retention[{number}].older_than", "must be a period such as 30d"


def _problems_of_target(each: Mapping[str, Any], path: str, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((f"{path}.{name}", "is not a known key here") for name in each if name not in _OF_TARGET)
    if not isinstance(each.get("name"), str) or not _NAME.fullmatch(each["name"]):
        yield f"{path}.name", "must be a name of small letters, digits, _ and -"
    if each.get("category", "content") not in CATEGORIES:
        yield f"{path}.category", f"must be one of {', '.join(CATEGORIES)}"
    subjects = each.get("subjects", ["user"])
    if not isinstance(subjects, list) or len(subjects) != 1 or subjects[0] not in SUBJECT_TYPES:
        yield f"{path}.subjects", f"must be a list of one of {', '.join(SUBJECT_TYPES)}"
        return
    if ("dynamodb" in each) == ("s3" in each):
        yield path, "needs exactly one of dynamodb and s3"
        return
    kind = "dynamodb" if "dynamodb" in each else "s3"
    place = "table" if kind == "dynamodb" else "bucket"
    if not isinstance(each[kind], dict) or not isinstance(each[kind].get(place), str):
        yield f"{path}.{kind}", f"must be an object with {place}"
        return
    action = each.get("action", "delete")
    if action != "delete" and not (isinstance(action, dict) and action.keys() <= {"detach", "redact"} and action):
        yield f"{path}.action", "must be delete, detach or redact"
    yield from _problems_of_names(each, path, kind, subjects[0], document)


def _problems_of_names(
    each: Mapping[str, Any], path: str, kind: str, subject_type: str, document: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What names no subject would be everybody's."""
    templates = list(_templates(each))
    names = {name for template in templates for name, _ in _PLACEHOLDER.findall(template)}
    known = {"tenant_id", "organization_id", f"{subject_type}_id", *document.get("identifiers", {})}
    if "for_each" in each:
        known |= {name for name in names if name.startswith(f"{each['for_each']}.")}
    if not names <= known:
        yield f"{path}.{kind}", f"holds a placeholder that is not one of {', '.join(sorted(known))}"
    elif names <= {"tenant_id", "organization_id"} - {f"{subject_type}_id"}:
        yield f"{path}.{kind}", f"must hold {{{subject_type}_id}}: what does not name the subject is everybody's"


def _place(name: str, category: str, subject_type: str = "user") -> dict[str, Any]:
    key = {"pk": f"{{tenant_id}}#{{{subject_type}_id}}"}
    return {
        "name": name,
        "category": category,
        "subjects": [subject_type],
        "dynamodb": {"table": f"app-{name}", "key": key},
    }


EXAMPLE_MAP: Mapping[str, Any] = {
    "version": 1,
    "targets": [
        _place("accounts", "account"),
        _place("sessions", "session"),
        _place("credentials", "credential"),
        _place("memberships", "membership"),
        _place("documents", "content"),
        {
            "name": "files",
            "category": "content",
            "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/{organization_id}/"},
        },
        _place("preferences", "preference"),
        _place("invoices", "record"),
        _place("group-documents", "content", "group"),
        _place("organization-documents", "content", "organization"),
    ],
}
"""The fake's data map, unless it is given another one."""
