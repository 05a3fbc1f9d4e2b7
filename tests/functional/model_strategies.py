"""Random small applications, with people who are easily mistaken for each other, and data maps over them.

Everything is drawn out of few words, so that things meet: ids that begin alike, ids that look like paths or like words
of a map, items that lead to somebody else's things. A map is put together target by target; what ``parse_data_map``
refuses beside the targets before it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from erasure.domain.data_map import parse_data_map
from erasure.errors import DataMapError
from tests.functional.model import Person, Wish
from tests.functional.model_rules import HOLD, MOMENTS, RefusedError, Rule, render, rules_of
from tests.functional.model_runs import Upload, World
from tests.functional.model_tables import Table

Draw = Callable[..., Any]

TENANTS = ("a", "ab", "b")
IDS = ("1", "10", "1", "10", "100", "a", "ann", "anna", "docs", "1/f", "u#2", "m1", "bills")
ORGANIZATIONS = ("n", "n1", "bills", "n/1")
EMAILS = ("m1", "m10", "m1", "m10", "m/2", "ann")
LINKS = ("r1", "r10", "r1", "r10", "r1", "r10", "r/1", "a/1", "a#1")
NUMBERS = ("1", "10", "7.5")
CATEGORIES = ("content", "content", "content", "record", "preference")
LATER, EARLIER = "2095-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z"
LATEST = "2096-05-06T07:08:09.000Z"

PARTITIONS = ("{T}#{S}", "{T}#{S}", "{T}/{S}", "T#{T}#U#{S}", "{S}", "{T}#docs#{S}", "docs#{S}")
SORTED: tuple[tuple[str, Any], ...] = (
    ("{T}#{S}", None),
    ("{T}#{S}", "NOTE"),
    ("{T}#{S}", {"prefix": "docs#"}),
    ("{T}", "{S}"),
    ("{T}", {"prefix": "{S}/"}),
    ("{T}#{S}", {"prefix": "{O}/"}),
    ("{T}#{S}", "{O}"),
    ("{T}#{S}", {"prefix": "docs/{O}/"}),
    ("docs", {"prefix": "{T}#{S}#"}),
)
BY_EMAIL = ("{E}", "{T}#{E}", "docs#{E}")
PREFIXES = (
    "{T}/{S}/",
    "docs/{T}/{S}/",
    "{T}/docs/{S}/",
    "{T}/{S}/bills/",
    "{T}/{S}/{O}/",
    "{T}|{S}|",
    "{S}:",
)
KEYS = ("{T}/{S}", "{T}/{S}.png", "pic/{T}/{S}", "pic/{S}")
ATTRIBUTES = ("name", "mail", "ref", "num", "who", "doc")
REDACTED = ("name", "doc.street", "doc.tags[]", "doc.people[].mail", "who", "num", "a", "b", "doc.people[].ways[].at")
FORMS = ("remove", "remove", "null", "digest", {"constant": "-"}, None)


def _spelled(template: Any, subject: str) -> Any:
    if isinstance(template, dict):
        return {"prefix": _spelled(template["prefix"], subject)}
    words = {"{T}": "{tenant_id}", "{S}": f"{{{subject}_id}}", "{O}": "{organization_id}", "{E}": "{email}"}
    for short, long in words.items():
        template = template.replace(short, long)
    return template


class _Map:
    """A data map in the making."""

    def __init__(self, draw: Draw, tables: Mapping[str, Table], buckets: Sequence[str]) -> None:
        self.draw = draw
        self.tables = tables
        self.buckets = buckets
        self.document: dict[str, Any] = {"version": 1, "targets": []}
        self.parsed: Any = None

    def one(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self, of: int) -> bool:
        """True once in so many times, and never in the simplest of worlds."""
        return bool(self.draw(st.integers(0, of - 1)) == of - 1)

    def _try_to_add(self, target: dict[str, Any]) -> bool:
        document = {**self.document, "targets": [*self.document["targets"], target]}
        try:
            self.parsed = parse_data_map(document)
        except DataMapError:
            return False
        self.document = document
        return True

    def add(self, number: int) -> None:
        """One more target, if there is one among some that goes with those before."""
        any(self._try_to_add(self._target(f"t{number}")) for _ in range(3))

    def _target(self, name: str) -> dict[str, Any]:
        subject = self.one(("group", "organization")) if self.chance(6) else "user"
        target: dict[str, Any] = {"name": name, "category": self.one(CATEGORIES)}
        if subject != "user":
            target["subjects"] = [subject]
        leading = [each for each in self.document["targets"] if self._may_lead(each)]
        if leading and self.chance(2):
            parent = self.one([*leading, leading[-1]])
            target = {"name": name, "for_each": parent["name"]}
            subject = parent.get("subjects", ["user"])[0]
            self._find(target, subject, f"{{{parent['name']}.{self.one(('ref', 'ref', 'num', 'mail'))}}}")
        else:
            self._find(target, subject, None)
            self._act(target)
        return target

    def _may_lead(self, target: Mapping[str, Any]) -> bool:
        is_found = "scan" not in target.get("dynamodb", {"scan": None})
        return is_found and "action" not in target and "retain" not in target

    def add_identifier(self) -> None:
        sources = [each["name"] for each in self.document["targets"] if "dynamodb" in each]
        if sources and self.chance(2):
            email = {"from": self.one(sources), "attribute": "mail", "if_missing": self.one(("fail", "absent"))}
            document = {**self.document, "identifiers": {"email": email}}
            try:
                self.parsed = parse_data_map(document)
            except DataMapError:
                return
            self.document = document

    def _find(self, target: dict[str, Any], subject: str, link: str | None) -> None:
        has_email = "identifiers" in self.document and subject == "user" and self.chance(2)
        if self.chance(2 if link else 3):
            self._find_objects(target, subject, link, has_email)
            return
        table: Table = self.tables[self.one(sorted(self.tables))]
        rule: dict[str, Any] = {"table": table.name}
        way = self.one(("key", "key", "index", "index", "scan", *["scan"] * has_email))
        if way == "scan" and link is None:
            attributes = self.one((("name",), ("a",), ("name", "ref")))
            texts = ("{T}#{S}",) if len(attributes) == 1 else ("{S}", "{T}")
            if has_email:
                texts = ("{E}",) if len(attributes) == 1 else ("{E}", "{T}")
            rule["scan"] = {each: _spelled(text, subject) for each, text in zip(attributes, texts, strict=True)}
        else:
            key = table.key
            if way == "index":
                rule["index"] = self.one(sorted(table.indexes))
                key = table.indexes[rule["index"]]
            if link is not None:
                partition, sort = self.one((link, f"{{tenant_id}}#{link}", f"docs#{link}")), None
            elif has_email:
                partition, sort = self.one(BY_EMAIL), None
            elif len(key) == 2:
                partition, sort = self.one(SORTED)
            else:
                partition, sort = self.one(PARTITIONS), None
            rule["key"] = {key[0]: _spelled(partition, subject)}
            if sort is not None:
                rule["key"][key[1]] = _spelled(sort, subject)
        if self.chance(60):
            rule["table"] = "no-such-table"
        elif self.chance(60) and "index" in rule:
            rule["index"] = "no-such-index"
        target["dynamodb"] = rule

    def _find_objects(self, target: dict[str, Any], subject: str, link: str | None, has_email: bool) -> None:
        bucket = "no-such-bucket" if self.chance(60) else self.one(self.buckets)
        if self.chance(2):
            choices: Sequence[str] = KEYS if link is None else (link, f"pic/{link}", f"{{T}}/{{S}}/{link}")
            choices = ("{E}", "pic/{E}") if has_email and link is None else choices
            target["s3"] = {"bucket": bucket, "key": _spelled(self.one(choices), subject)}
        else:
            choices = PREFIXES if link is None else (f"{link}/", f"{{T}}/{link}/", f"{link}/{{O}}/")
            choices = ("{E}/", "{T}/{E}/") if has_email and link is None else choices
            target["s3"] = {"bucket": bucket, "prefix": _spelled(self.one(choices), subject)}

    def _act(self, target: dict[str, Any]) -> None:
        if "dynamodb" not in target:
            return
        rule = target["dynamodb"]
        if "index" in rule and self.chance(3):
            target["action"] = {"detach": {"attribute": self.one(("who", "who", "name"))}}
            if self.chance(3):
                target["action"]["detach"] = {"attribute": "who", "key": "id"}
            if self.chance(2):
                target["action"]["detach"]["value"] = _spelled("{T}/{S}", target.get("subjects", ["user"])[0])
        elif self.chance(3):
            paths = self.draw(st.lists(st.sampled_from(REDACTED), min_size=1, max_size=3, unique=True))
            target["action"] = {"redact": {path: self.one(FORMS) for path in paths}}
        if "detach" not in target.get("action", ()) and self.chance(4):
            period = self.one(("10y", "30d", "12h"))
            target["retain"] = {"basis": "tax law", "for": period, "from": "at"}


@st.composite
def applications(draw: Draw) -> tuple[Any, World, list[list[Wish]]]:
    """A map (as parsed), a world, and requests: a list for each job, one after the other."""
    tables = {table.name: table for table in draw(_tables())}
    buckets = draw(_buckets())
    making = _Map(draw, tables, sorted(buckets))
    for number in range(draw(st.integers(1, 8))):
        if number in (1, 2) and "identifiers" not in making.document:
            making.add_identifier()
        making.add(number)
    people = draw(st.lists(_people(), min_size=2, max_size=4, unique=True))
    world = World(tables, buckets, seed=draw(st.integers(0, 99)))
    if making.document["targets"]:
        _fill(making, people, world)
    jobs = draw(st.lists(st.lists(_wishes(people), min_size=1, max_size=3, unique_by=_who), min_size=1, max_size=2))
    return making.parsed, world, jobs


def _who(wish: Wish) -> Person:
    return wish.person


@st.composite
def _tables(draw: Draw) -> list[Table]:
    found = []
    for number in range(draw(st.integers(1, 2))):
        is_sorted = draw(st.booleans())
        indexes: dict[str, tuple[str, ...]] = {"by-a": ("a",), "by-ab": ("a", "b")}
        if is_sorted:
            indexes["local"] = ("pk", "b")
        size = draw(st.sampled_from((0, 2**30, 60 * 2**30)))
        found.append(Table(f"table-{number}", ("pk", "sk") if is_sorted else ("pk",), indexes, size))
    return found


@st.composite
def _buckets(draw: Draw) -> dict[str, tuple[str, bool]]:
    kinds = (("", False), ("Enabled", False), ("Suspended", False), ("Enabled", True), ("Enabled", True))
    return {f"bucket-{number}": draw(st.sampled_from(kinds)) for number in range(draw(st.integers(1, 2)))}


@st.composite
def _people(draw: Draw) -> Person:
    kind = draw(st.sampled_from(("user", "user", "user", "user", "user", "group", "organization")))
    return Person(draw(st.sampled_from(TENANTS)), kind, draw(st.sampled_from(IDS)))


@st.composite
def _wishes(draw: Draw, people: Sequence[Person]) -> Wish:
    categories = None
    if draw(st.integers(0, 4)) == 4:
        categories = tuple(draw(st.lists(st.sampled_from(sorted(set(CATEGORIES))), unique=True)))
    person, organizations = draw(st.sampled_from(people)), tuple[str, ...]()
    if person.kind != "organization" and draw(st.integers(0, 4)) == 4:
        organizations = tuple(draw(st.lists(st.sampled_from(ORGANIZATIONS), min_size=1, max_size=2, unique=True)))
    return Wish(person, categories, organizations)


def _fill(making: _Map, people: Sequence[Person], world: World) -> None:
    """Things where the map looks for them, of these people, and others beside them."""
    draw = making.draw
    for rule in rules_of(making.document).values():
        for person in people:
            if rule.subject == person.kind:
                for values in _some_values(draw, rule, person, world):
                    _put(making, rule, values, world)
    for _ in range(draw(st.integers(0, 3))):
        table = world.tables[draw(st.sampled_from(sorted(world.tables)))]
        world.items.append((table.name, _item(draw, table, {})))


def _some_values(draw: Draw, rule: Rule, person: Person, world: World) -> list[dict[str, str]]:
    """Values that lead to something of the person, or (as what items say) to something at all."""
    found = []
    for _ in range(draw(st.sampled_from((1, 1, 2, 2, 0)))):
        values = _values(draw, person)
        for name in rule.link_names():
            values[f"{rule.raw['for_each']}.{name}"] = draw(st.sampled_from(NUMBERS if name == "num" else LINKS))
        found.append(values)
    if rule.parent is not None and rule.parent.dynamodb is not None:
        leading = [item for table, item in world.items if table == rule.parent.dynamodb["table"]]
        for item in leading[-3:]:
            led = [each for each in rule.through(item, _values(draw, person)) if not isinstance(each, RefusedError)]
            found += led[:1]
    return found


def _values(draw: Draw, person: Person) -> dict[str, str]:
    return {
        "organization_id": draw(st.sampled_from(ORGANIZATIONS)),
        "email": draw(st.sampled_from(EMAILS)),
        **person.values(),
    }


def _put(making: _Map, rule: Rule, values: Mapping[str, str], world: World) -> None:
    draw = making.draw
    texts = {}
    for part in rule.parts:
        text = _plainly(part.template, values)
        texts[part.attribute] = text + draw(st.sampled_from(("", "f", "docs/x", "1/f"))) if part.prefix else text
    if rule.dynamodb is None:
        bucket = rule.raw["s3"]["bucket"]
        if bucket in world.buckets:
            kind = draw(st.sampled_from(("object", "object", "object", "marker", "upload")))
            locks = (None, None, LATER, LATEST, EARLIER, HOLD) if world.buckets[bucket][1] else (None,)
            world.uploads.append(Upload(bucket, texts[""], kind, draw(st.sampled_from(locks))))
    elif rule.dynamodb["table"] in world.tables:
        table = world.tables[rule.dynamodb["table"]]
        # An item without one of an index's keys is not in the index.
        own = table.indexes.get(rule.dynamodb.get("index", ""), ())
        texts |= {name: draw(st.sampled_from(_SOME_TEXTS)) for name in own if name not in texts}
        world.items.append((table.name, _item(draw, table, texts)))


def _plainly(template: str, values: Mapping[str, str]) -> str:
    """Whoever it may be mistaken for."""
    try:
        return render(template, values)
    except RefusedError:
        for name, value in values.items():
            template = template.replace(f"{{{name}}}", value)
        return template


def _item(draw: Draw, table: Table, texts: Mapping[str, str]) -> dict[str, Any]:
    item: dict[str, Any] = {name: {"S": draw(st.sampled_from(_SOME_TEXTS))} for name in table.key}
    for name in ("a", "b"):
        if draw(st.booleans()):
            item[name] = {"S": draw(st.sampled_from(_SOME_TEXTS))}
    for name, choices in _CONTENTS.items():
        chosen = draw(st.sampled_from(choices))
        if chosen is not None:
            item[name] = chosen
    return item | {name: {"S": text} for name, text in texts.items()}


_SOME_TEXTS: tuple[str, ...] = (
    "a#1",
    "a#10",
    "ab#1",
    "a",
    "1",
    "docs",
    "NOTE",
    "n",
    "r1",
    "x1",
    "x2",
    "x3",
    "a#ann",
    "m1",
    "ann",
)
_DIGEST = {"S": "erased:" + "0" * 64}
_PERSON = {"M": {"mail": {"S": "m1"}, "ways": {"L": [{"M": {"at": {"S": "home"}}}]}}}


def _named(name: str) -> dict[str, Any]:
    return {"M": {"id": {"S": name}, "role": {"S": "guest"}}}


_CONTENTS: dict[str, tuple[Any, ...]] = {
    "name": (None, {"S": "Ann"}, {"S": "1"}, {"S": "a#1"}, {"N": "1"}, _DIGEST),
    "mail": (
        *({"S": email} for email in EMAILS),
        {"SS": ["m1", "m10"]},
        {"L": [{"S": "m1"}, {"N": "1"}]},
        {"N": "1"},
        {"S": "m1"},
        None,
        {"S": ""},
        {"NULL": True},
        {"M": {}},
    ),
    "ref": (
        *({"S": link} for link in LINKS),
        {"SS": ["r1", "r10"]},
        {"L": [{"S": "r1"}, {"S": "r1"}]},
        {"S": "r10"},
        {"S": "r1"},
        None,
        {"M": {}},
    ),
    "num": (None, *({"N": number} for number in NUMBERS), {"NS": ["1", "10"]}, {"S": "1"}),
    "who": (
        None,
        {"S": "1"},
        {"S": "ann"},
        {"SS": ["1", "10"]},
        {"SS": ["1"]},
        {"L": [{"S": "1"}, {"S": "a/1"}, {"S": "1"}, {"S": "10"}]},
        {"L": [{"N": "1"}]},
        {"L": [_named("1"), _named("10"), {"M": {"id": {"NULL": True}}}, _named("1"), {"S": "1"}]},
        {"L": [_named("a/1"), {"M": {"role": {"S": "1"}}}, _named("ann")]},
        {"L": [_named("1"), {"M": {"id": {"N": "1"}}}]},
        {"SS": ["a/1", "a/10", "ann"]},
    ),
    "doc": (
        None,
        {"M": {"street": {"S": "Main"}, "tags": {"L": [{"S": "x"}, {"N": "1"}]}, "people": {"L": [_PERSON, _PERSON]}}},
        {"M": {"street": {"NULL": True}, "people": {"L": [{"M": {}}]}}},
        {"M": {"people": {"L": [_PERSON, {"NULL": True}]}, "other": {"BOOL": True}}},
        {"M": {"people": {"S": "nobody"}}},
        {"S": "flat"},
        {"NULL": True},
    ),
    "at": (
        None,
        *map(json.loads, MOMENTS),
        *(json.loads(text) for text, at in MOMENTS.items() if at for _ in range(3)),
    ),
}
