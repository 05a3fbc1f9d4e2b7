"""A data map's targets in the model's words: what each matches, and what it makes of an item. Written from the pages
about the data map, without anything of the service.

Items and attributes are in DynamoDB's own form. A *place* is where a thing lies: ``(table, *key)`` or
``(bucket, key, version or upload)``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Item = dict[str, Any]
Place = tuple[str, ...]
Values = Mapping[str, str]

HOLD = "hold"
DIGEST_KEY = b"a key of the tests"
NULL = {"NULL": True}
ORGANIZATION = "organization_id"
AMBIGUOUS, MISMATCH, MISSING_TABLE, REJECTED = "ambiguous_identifier", "map_mismatch", "target_missing", "rejected"

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_ERASED = re.compile(r"erased:[0-9a-f]{64}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class RefusedError(Exception):
    """Nobody can say whose it is, or how it should be changed. ``reason``: as the outcome tells it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class State:
    """Everything that an application has: items by place, and what lies in buckets with its lock: ``None``, the end of
    its retention, or :data:`HOLD`. ``schemas``: the key of each table, and of each of its indexes."""

    schemas: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]]
    buckets: frozenset[str]
    items: dict[Place, Item] = field(default_factory=dict)
    objects: dict[Place, str | None] = field(default_factory=dict)

    def copy(self) -> State:
        return State(self.schemas, self.buckets, dict(self.items), dict(self.objects))


@dataclass(frozen=True)
class Part:
    """What one attribute (or, of a bucket, the key) has to be: the template's text, or a beginning."""

    attribute: str
    template: str
    prefix: bool = False


@dataclass(frozen=True, eq=False)
class Rule:
    """One target."""

    raw: Mapping[str, Any]
    parent: Rule | None
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def category(self) -> str:
        # What is found through items is, unless it says otherwise, of their category, and of their owners.
        return str(self.raw.get("category") or (self.parent.category if self.parent else "content"))

    @property
    def subject(self) -> str:
        said = self.raw.get("subjects")
        return str(said[0]) if said else self.parent.subject if self.parent else "user"

    @property
    def dynamodb(self) -> Mapping[str, Any] | None:
        return self.raw.get("dynamodb")

    @property
    def is_scan(self) -> bool:
        return self.dynamodb is not None and "scan" in self.dynamodb

    @property
    def action(self) -> Any:
        return self.raw.get("action", "delete")

    @property
    def redact(self) -> Mapping[str, Any]:
        return self.action.get("redact", {}) if isinstance(self.action, dict) else {}

    @property
    def detach(self) -> Mapping[str, str] | None:
        return self.action.get("detach") if isinstance(self.action, dict) else None

    @property
    def retain(self) -> Mapping[str, str] | None:
        return self.raw.get("retain")

    @property
    def deletes(self) -> bool:
        return self.action == "delete" and self.retain is None

    @property
    def word(self) -> str:
        return "redacted" if self.redact else "detached" if self.detach else "erased"

    @property
    def root(self) -> Rule:
        return self.parent.root if self.parent else self

    def leading(self) -> list[Rule]:
        """Those whose items lead here, the first one first."""
        return [*self.parent.leading(), self.parent] if self.parent else []

    @property
    def detached_value(self) -> str:
        assert self.detach is not None
        return str(self.detach.get("value") or f"{{{self.subject}_id}}")

    def templates(self) -> list[str]:
        return [part.template for part in self.parts] + ([self.detached_value] if self.detach else [])

    def names(self) -> set[str]:
        """Every placeholder that has to have a value before any item is read."""
        own = {name for template in self.templates() for name in _PLACEHOLDER.findall(template) if "." not in name}
        return own | (self.parent.names() if self.parent else set())

    def link_names(self) -> list[str]:
        """The attributes of the parent's items in the templates."""
        found = {name for part in self.parts for name in _PLACEHOLDER.findall(part.template) if "." in name}
        return sorted(name.partition(".")[2] for name in found)

    @property
    def names_organization(self) -> bool:
        """Whether a request may be limited to some organizations of the subject, and then covers this. Where the
        organization is the subject, it limits nothing."""
        return self.subject != "organization" and ORGANIZATION in self.names()

    def for_all_organizations(self) -> Rule:
        """Cut off where it begins to speak of the organization."""
        if self.subject == "organization":
            return self
        parts = []
        for part in self.parts:
            before, found, _ = part.template.partition(f"{{{ORGANIZATION}}}")
            if not found:
                parts.append(part)
            elif before:
                parts.append(Part(part.attribute, before, prefix=True))
        return Rule(self.raw, self.parent.for_all_organizations() if self.parent else None, tuple(parts))

    # What it matches

    def broken(self, state: State) -> str | None:
        """Why it does not fit what there is."""
        if self.dynamodb is None:
            return None if self.raw["s3"]["bucket"] in state.buckets else MISSING_TABLE
        if self.dynamodb["table"] not in state.schemas:
            return MISSING_TABLE
        key, indexes = state.schemas[self.dynamodb["table"]]
        if not self.is_scan:
            schema = indexes.get(self.dynamodb["index"]) if "index" in self.dynamodb else key
            found = tuple(self.dynamodb["key"])
            if schema is None or found != schema[: len(found)]:
                return MISMATCH
        index_keys = {name for index in indexes.values() for name in index}
        tops = {path: _steps(path)[0] for path in self.redact}
        if any(top in key or (top in index_keys and self.redact[path] in ("null", None)) for path, top in tops.items()):
            return MISMATCH
        if self.detach and not {self.detach["attribute"], *self.naming()}.isdisjoint(key):
            return MISMATCH
        return None

    def naming(self) -> set[str]:
        """The attributes of the index that name the subject."""
        nobody = {"tenant_id"} if self.subject == "organization" else {"tenant_id", ORGANIZATION}
        return {part.attribute for part in self.parts if not nobody.issuperset(_PLACEHOLDER.findall(part.template))}

    def texts(self, values: Values) -> list[str]:
        """The templates with their values. Raises :class:`RefusedError` where a value holds what ends it."""
        return [render(part.template, values) for part in self.parts]

    def check(self, values: Values) -> None:
        for template in self.templates():
            render(template, values)

    def places(self, state: State, values: Values) -> list[Place]:
        wanted = list(zip(self.parts, self.texts(values), strict=True))
        if self.dynamodb is None:
            ((part, text),) = wanted
            own = [place for place in state.objects if place[0] == self.raw["s3"]["bucket"]]
            return [place for place in own if (place[1].startswith(text) if part.prefix else place[1] == text)]
        table, found = self.dynamodb["table"], []
        index = state.schemas[table][1][self.dynamodb["index"]] if "index" in self.dynamodb else ()
        for place, item in state.items.items():
            if place[0] != table or any(name not in item for name in index):
                continue
            texts = [(part.prefix, item.get(part.attribute, {}).get("S"), text) for part, text in wanted]
            if all(have is not None and (have.startswith(text) if pre else have == text) for pre, have, text in texts):
                found.append(place)
        return found

    def mistakable(self, state: State, values: Values) -> bool:
        """Whether a scan meets an item that has a number where a text is looked for that reads like it."""
        assert self.dynamodb is not None
        wanted = list(zip(self.parts, self.texts(values), strict=True))
        for place, item in state.items.items():
            have = [(item.get(part.attribute, {}), text) for part, text in wanted]
            alike = [value.get("S") == text or _reads_like(value, text) for value, text in have]
            if place[0] == self.dynamodb["table"] and all(alike) and any("N" in value for value, _ in have):
                return True
        return False

    def lookups(self, state: State, values: Values) -> Iterator[dict[str, str] | RefusedError]:
        """The values with which things are looked for; a refusal in the place of those that are not."""
        if self.parent is None:
            yield dict(values)
            return
        for found in self.parent.lookups(state, values):
            if isinstance(found, RefusedError):
                yield found
            else:
                for place in self.parent.places(state, found):
                    yield from self.through(state.items[place], values)

    def through(self, item: Item, values: Values) -> Iterator[dict[str, str] | RefusedError]:
        """The same for one item of the parent."""
        assert self.parent is not None
        own = {name: value for name, value in values.items() if "." not in name}
        try:
            several = [texts_of(item.get(name)) for name in self.link_names()]
        except RefusedError as error:
            yield error
            return
        for found in itertools.product(*several):
            links = {f"{self.parent.name}.{name}": text for name, text in zip(self.link_names(), found, strict=True)}
            try:
                self.check(own | links)
            except RefusedError as error:
                yield error
            else:
                yield own | links

    # What it makes of an item

    def changed(self, item: Item, values: Values) -> Item:
        """The item, detached or redacted. Raises :class:`RefusedError`."""
        return self._detached(item, values) if self.detach else self._redacted(item)

    def _detached(self, item: Item, values: Values) -> Item:
        assert self.detach is not None
        attribute, value = self.detach["attribute"], render(self.detached_value, values)
        left = {name: found for name, found in item.items() if name not in self.naming()}
        if attribute in left:
            rest = _without(left.pop(attribute), value, self.detach.get("key"))
            left |= {} if rest is None else {attribute: rest}
        return left

    def _redacted(self, item: Item) -> Item:
        whole: Any = {"M": item}
        for path, form in self.redact.items():
            whole = _rewritten(whole, _steps(path), path, form)
        return dict(whole["M"])

    def kept_until(self, item: Item) -> datetime:
        """Raises :class:`RefusedError`."""
        assert self.retain is not None
        moment = MOMENTS.get(json.dumps(item.get(self.retain["from"])))
        if moment is None:
            raise RefusedError("retention_unknown")
        number, unit = int(self.retain["for"][:-1]), self.retain["for"][-1]
        if unit == "y":
            return moment.replace(year=moment.year + number)
        return moment + {"d": timedelta(days=number), "h": timedelta(hours=number)}[unit]


MOMENTS = {
    json.dumps(attribute): moment
    for attribute, moment in (
        ({"S": "2001-02-03"}, datetime(2001, 2, 3, tzinfo=UTC)),
        ({"S": "2001-02-03T04:05:06Z"}, datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ({"S": "2090-05-06T01:00:00+02:00"}, datetime(2090, 5, 5, 23, 0, 0, tzinfo=UTC)),
        ({"S": "2091-01-01 00:30"}, datetime(2091, 1, 1, 0, 30, tzinfo=UTC)),
        ({"N": "1000000000"}, datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
        ({"N": "4102444800000"}, datetime(2100, 1, 1, tzinfo=UTC)),
        ({"S": "06.05.2090"}, None),
        ({"S": "2090"}, None),
        ({"N": "20900506"}, None),
        ({"BOOL": True}, None),
    )
}
"""Attributes, and what moment anybody can read in them."""


def rules_of(document: Mapping[str, Any]) -> dict[str, Rule]:
    raw = {target["name"]: target for target in document["targets"]}
    return {name: _rule(target, raw) for name, target in raw.items()}


def _rule(target: Mapping[str, Any], raw: Mapping[str, Mapping[str, Any]]) -> Rule:
    parent = _rule(raw[target["for_each"]], raw) if "for_each" in target else None
    if "s3" in target:
        found = target["s3"]
        parts = [Part("", found.get("prefix") or found["key"], "prefix" in found)]
    else:
        matched = target["dynamodb"].get("key") or target["dynamodb"]["scan"]
        parts = [
            Part(name, each["prefix"], prefix=True) if isinstance(each, dict) else Part(name, each)
            for name, each in matched.items()
        ]
    return Rule(target, parent, tuple(parts))


def _without(attribute: Mapping[str, Any], value: str, key: str | None) -> Item | None:
    """The attribute without the value; ``None``: nothing is left. ``key``: it is a list of maps, of which those go that
    have the value there. Raises :class:`RefusedError` where nobody can say what it holds."""
    ((kind, content),) = attribute.items()
    if key is not None:
        named = [each.get("M", {}).get(key, NULL) for each in content] if kind == "L" else [{}]
        if any("S" not in each and each != NULL for each in named):
            raise RefusedError(REJECTED)
        return {kind: [each for each, name in zip(content, named, strict=True) if name != {"S": value}]}
    if kind == "S":
        return None if content == value else dict(attribute)
    if kind != "SS" and not (kind == "L" and all("S" in each for each in content)):
        raise RefusedError(REJECTED)
    rest = [each for each in content if each not in (value, {"S": value})]
    return None if kind == "SS" and not rest else {kind: rest}


def render(template: str, values: Values) -> str:
    """Raises :class:`RefusedError` if a value holds the character that follows its placeholder."""
    for found in _PLACEHOLDER.finditer(template):
        if template[found.end() : found.end() + 1] and template[found.end()] in values[found[1]]:
            raise RefusedError(AMBIGUOUS)
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def texts_of(attribute: Mapping[str, Any] | None) -> list[str]:
    """What an attribute stands for: one text, or several, or nothing. Raises :class:`RefusedError`."""
    if attribute is None or attribute == NULL:
        return []
    ((kind, content),) = attribute.items()
    if kind in ("S", "N"):
        found = [content]
    elif kind in ("SS", "NS"):
        found = sorted(content)
    elif kind == "L":
        found = [text for each in content for text in texts_of(each)]
    else:
        raise RefusedError(MISMATCH)
    return [text for text in dict.fromkeys(found) if text]


def _reads_like(value: Mapping[str, Any], text: str) -> bool:
    return "N" in value and _NUMBER.fullmatch(text) is not None and Decimal(value["N"]) == Decimal(text)


def _steps(path: str) -> list[str]:
    return path.replace("[]", ".[]").split(".")


def _rewritten(value: Any, steps: Sequence[str], path: str, form: Any) -> Any:
    """``None``: it is to be removed."""
    if not steps:
        return _replacement(value, path, form)
    step, *rest = steps
    if value == NULL:
        return value
    if step == "[]":
        if "L" not in value:
            raise RefusedError(REJECTED)
        elements = [_rewritten(each, rest, path, form) for each in value["L"]]
        return {"L": [each for each in elements if each is not None]}
    if "M" not in value:
        raise RefusedError(REJECTED)
    content = dict(value["M"])
    if step in content:
        new = _rewritten(content.pop(step), rest, path, form)
        content |= {} if new is None else {step: new}
    return {"M": content}


def _replacement(value: Any, path: str, form: Any) -> Any:
    if form == "remove":
        return None
    if form in ("null", None):
        return NULL
    if form != "digest":
        return {"S": form["constant"]}
    if _ERASED.fullmatch(value.get("S", "")):
        return value
    plain = json.dumps([path, _plain(value)], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {"S": f"erased:{hmac.new(DIGEST_KEY, plain.encode(), hashlib.sha256).hexdigest()}"}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: sorted(each) if name in ("SS", "NS") else _plain(each) for name, each in value.items()}
    return value
