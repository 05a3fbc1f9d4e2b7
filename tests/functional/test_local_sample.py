"""The sample application's plan holds what the demo and the tests need it to hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import TargetError
from local.inventory import SELF_DELETION
from local.sample import HEAVY, INDEXES, TABLES, Person, items, objects, people

DATA_MAP = Path(__file__).resolve().parents[2] / "local" / "data-map.yaml"


@pytest.fixture(scope="module")
def data_map() -> DataMap:
    return parse_data_map(yaml.safe_load(DATA_MAP.read_text()))


def test_fifty_different_people_in_three_tenants() -> None:
    """50 people, no two alike, ids that are prefixes of each other, the same id in several tenants."""
    everybody = people()
    assert len(set(everybody)) == len(everybody) == 50
    assert len({person.tenant for person in everybody}) == 3
    acme = {person.user for person in everybody if person.tenant == "acme"}
    assert {"1", "10", "100", "an", "ann", "anna", "annabel"} <= acme
    assert Counter(person.user for person in everybody)["ann"] == 3
    assert any(not user.isascii() for user in acme)


def test_heavy_person_has_what_was_promised() -> None:
    """Exactly 5,000 items to erase, and 5,000 objects of two versions; delete markers and unfinished uploads too."""
    own_items = [item for item in items() if item.owner == HEAVY and item.category in SELF_DELETION]
    own_objects = [stored for stored in objects() if stored.owner == HEAVY]
    assert len(own_items) == 5_000
    assert len(own_objects) == 5_000
    assert {len(stored.versions) for stored in own_objects} == {2}
    assert sum(stored.deleted for stored in own_objects) > 50
    assert sum(stored.uploads for stored in own_objects) > 5


def test_plan_is_the_same_every_time() -> None:
    """Two runs plan the same bytes, or nothing could be compared byte for byte."""
    assert list(items()) == list(items())
    assert list(objects()) == list(objects())


def test_no_two_things_share_a_key() -> None:
    """Every item and every object has a key of its own, so the plan says exactly whose a key is."""
    keys = [(item.table, *(item.attributes[name]["S"] for name in TABLES[item.table] if name)) for item in items()]
    assert len(keys) == len(set(keys))
    names = [(stored.bucket, stored.key) for stored in objects()]
    assert len(names) == len(set(names))


def test_map_matches_exactly_what_the_plan_gives_each_person(data_map: DataMap) -> None:
    """For every person, the map's rules pick their things of each category and nobody else's."""
    planned: dict[tuple[Person, str], set[object]] = defaultdict(set)
    for number, item in enumerate(items()):
        planned[item.owner, item.category].add(number)
    for stored in objects():
        planned[stored.owner, stored.category].add((stored.bucket, stored.key))
    picked: dict[tuple[Person, str], set[object]] = defaultdict(set)
    for person in people():
        for target in data_map.targets:
            picked[person, target.category] |= _picked_items(target, person) | _picked_objects(target, person)
    assert {who: things for who, things in picked.items() if things} == planned


def test_only_an_id_with_a_separator_cannot_be_named(data_map: DataMap) -> None:
    """One person's id holds the separator of the S3 prefixes; the map can name all the others everywhere."""
    refused = set()
    for person in people():
        for target in data_map.targets:
            try:
                target.check_values(_values(person))
            except TargetError:
                refused.add(person)
    assert refused == {Person("acme", "team/ops")}


def test_demo_person_shows_six_targets(data_map: DataMap) -> None:
    """The person of the demo has data in at least six targets that the self-deletion erases."""
    erased = [target for target in data_map.targets if target.category in SELF_DELETION]
    filled = [target for target in erased if _picked_items(target, HEAVY) or _picked_objects(target, HEAVY)]
    assert len(filled) >= 6


def _values(person: Person) -> dict[str, str]:
    return {"tenant_id": person.tenant, "user_id": person.user}


_ITEMS = list(items())
_OBJECTS = list(objects())


def _picked_items(target: TargetSpec, person: Person) -> set[object]:
    """Positions of the planned items that the target's rule matches, index keys included."""
    rule = target.dynamodb
    if rule is None:
        return set()
    assert [key.attribute for key in _rules(rule)] == _key_names(rule)
    wanted = [(key.attribute, key.parsed().render(_values(person)), key.prefix) for key in _rules(rule)]
    return {
        number
        for number, item in enumerate(_ITEMS)
        if item.table == rule.table
        and all(_matches(item.attributes[name]["S"], text, is_prefix) for name, text, is_prefix in wanted)
    }


def _rules(rule: DynamoDBRule) -> list[KeyRule]:
    return [key for key in (rule.partition, rule.sort) if key is not None]


def _key_names(rule: DynamoDBRule) -> list[str]:
    """The key attributes that the rule must use, partition first: the index's, or the table's."""
    names = INDEXES[rule.table][1:] if rule.index else TABLES[rule.table]
    return [name for name in names if name][: len(_rules(rule))]


def _matches(value: str, text: str, is_prefix: bool) -> bool:
    return value.startswith(text) if is_prefix else value == text


def _picked_objects(target: TargetSpec, person: Person) -> set[object]:
    rule = target.s3
    if rule is None:
        return set()
    try:
        (text,) = (template.render(_values(person)) for template in target.templates())
    except TargetError:
        return set()
    return {
        (stored.bucket, stored.key)
        for stored in _OBJECTS
        if stored.bucket == rule.bucket and _matches(stored.key, text, rule.prefix is not None)
    }
