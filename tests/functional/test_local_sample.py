"""The sample application's plan holds what the demo and the tests need it to hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml

from erasure.domain.collisions import check_alone
from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.scope import in_scope, value_sets
from erasure.domain.subject import GROUP, USER, Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import TargetError
from local.inventory import SELF_DELETION
from local.sample import (
    HEAVY,
    INDEXES,
    ORGANIZATIONS,
    TABLES,
    Item,
    Owner,
    Person,
    StoredObject,
    groups,
    items,
    objects,
    organizations_of,
    people,
)

EVERYBODY: tuple[Owner, ...] = (*people(), *groups())
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


def test_two_groups_in_each_tenant() -> None:
    """Six groups, one of them called like a person of its tenant, each with items and files."""
    assert Counter(group.tenant for group in groups()) == {"acme": 2, "acme-labs": 2, "globex": 2}
    assert any(Person(group.tenant, group.group) in people() for group in groups())
    owners = {item.owner for item in items()} & {stored.owner for stored in objects()}
    assert set(groups()) <= owners


def test_mentions_stand_in_comments_of_others() -> None:
    """Somebody mentions the heavy person; some comments mention one person alone, some hold the author's id too."""
    mentioning = [item for item in items() if "mention" in item.attributes]
    assert {item.table for item in mentioning} == {"app-comments"}
    assert {len(item.attributes["mentioned_user_ids"]["SS"]) for item in mentioning} == {1, 2}
    for item in mentioning:
        assert isinstance(item.owner, Person)
        mentioned = item.attributes["mention"]["S"].removeprefix(f"{item.owner.tenant}#")
        assert set(item.attributes["mentioned_user_ids"]["SS"]) - {item.owner.user} == {mentioned}
    assert any(item.attributes["mention"]["S"] == "acme#ann" for item in mentioning)


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
    """For every person and group, the map's rules pick their things of each category and nobody else's."""
    planned: dict[tuple[Owner, str], set[object]] = defaultdict(set)
    for number, thing in enumerate(_THINGS):
        planned[thing.owner, thing.category].add(number)
    picked: dict[tuple[Owner, str], set[object]] = defaultdict(set)
    for owner in EVERYBODY:
        for target in data_map.targets:
            if target.detach is None:
                picked[owner, target.category] |= _picked(target, owner)
    assert {who: things for who, things in picked.items() if things} == planned


@pytest.mark.parametrize("organizations", [ORGANIZATIONS[:1], ORGANIZATIONS[1:]], ids="+".join)
def test_map_can_be_limited_to_organizations(data_map: DataMap, organizations: tuple[str, ...]) -> None:
    """Limited to organizations, the rules pick what the person has in these, and nothing else."""
    for person in people():
        picked: set[object] = set()
        for target in data_map.targets:
            picked |= _picked(target, person, organizations)
        assert picked == {
            number
            for number, thing in enumerate(_THINGS)
            if thing.owner == person and thing.organization in organizations
        }
    assert any(set(organizations_of(person)) & set(organizations) for person in people())


def test_map_finds_exactly_the_mentions(data_map: DataMap) -> None:
    """The target that detaches picks the comments that hold the person's id without being theirs."""
    (mentions,) = (target for target in data_map.targets if target.detach is not None)
    assert mentions.detach is not None
    for person in people():
        assert _picked(mentions, person) == {
            number
            for number, thing in enumerate(_THINGS)
            if isinstance(thing, Item)
            and thing.owner != person
            and thing.owner.tenant == person.tenant
            and person.user in thing.attributes.get(mentions.detach.attribute, {}).get("SS", [])
        }


def test_only_an_id_with_a_separator_cannot_be_named(data_map: DataMap) -> None:
    """One person's id holds the separator of the S3 prefixes; the map can name everybody else everywhere."""
    refused = set()
    for owner in EVERYBODY:
        for organizations in ((), ORGANIZATIONS):
            for target in data_map.targets:
                try:
                    for spec, values in _applied(target, owner, organizations):
                        check_alone(spec, data_map.targets, values)
                except TargetError:
                    refused.add(owner)
    assert refused == {Person("acme", "team/ops")}


def test_demo_person_shows_six_targets(data_map: DataMap) -> None:
    """The person of the demo has data in at least six targets that the self-deletion erases."""
    erased = [target for target in data_map.targets if target.category in SELF_DELETION]
    filled = [target for target in erased if _picked(target, HEAVY)]
    assert len(filled) >= 6


_THINGS: list[Item | StoredObject] = [*items(), *objects()]


def _applied(
    target: TargetSpec, owner: Owner, organizations: tuple[str, ...] = ()
) -> list[tuple[TargetSpec, dict[str, str]]]:
    """The target as it applies to the owner, with the values of each time that it is rendered."""
    subject = _subject(owner)
    spec = in_scope(target, organizations) if subject.type in target.subjects else None
    return [] if spec is None else [(spec, values) for values in value_sets(subject, organizations, spec)]


def _subject(owner: Owner) -> Subject:
    if isinstance(owner, Person):
        return Subject(owner.tenant, owner.user, USER)
    return Subject(owner.tenant, owner.group, GROUP)


def _picked(target: TargetSpec, owner: Owner, organizations: tuple[str, ...] = ()) -> set[object]:
    """Positions of the planned things that the target matches; none if it refuses the owner's id."""
    picked: set[object] = set()
    for spec, values in _applied(target, owner, organizations):
        try:
            spec.check_values(values)
        except TargetError:
            continue
        wanted = _wanted(spec, values)
        picked |= {number for number, thing in enumerate(_THINGS) if _holds(thing, spec, wanted)}
    return picked


def _wanted(spec: TargetSpec, values: dict[str, str]) -> list[tuple[str, str, bool]]:
    """Attribute (the object's key, in a bucket), rendered text, and whether it is a prefix."""
    if spec.dynamodb is not None:
        assert [key.attribute for key in _rules(spec.dynamodb)] == _key_names(spec.dynamodb)
        return [(key.attribute, key.parsed().render(values), key.prefix) for key in _rules(spec.dynamodb)]
    assert spec.s3 is not None
    (text,) = (template.render(values) for template in spec.templates())
    return [("key", text, spec.s3.prefix is not None)]


def _holds(thing: Item | StoredObject, spec: TargetSpec, wanted: list[tuple[str, str, bool]]) -> bool:
    if isinstance(thing, StoredObject):
        return spec.s3 is not None and thing.bucket == spec.s3.bucket and _matches(thing.key, *wanted[0][1:])
    return (
        spec.dynamodb is not None
        and thing.table == spec.dynamodb.table
        and all(
            name in thing.attributes and _matches(thing.attributes[name]["S"], text, is_prefix)
            for name, text, is_prefix in wanted
        )
    )


def _rules(rule: DynamoDBRule) -> list[KeyRule]:
    return [key for key in (rule.partition, rule.sort) if key is not None]


def _key_names(rule: DynamoDBRule) -> list[str]:
    """The key attributes that the rule must use, partition first: the index's, or the table's."""
    indexes = {name: keys for name, *keys in INDEXES.get(rule.table, ())}
    names = indexes[rule.index] if rule.index else TABLES[rule.table]
    return [name for name in names if name][: len(_rules(rule))]


def _matches(value: str, text: str, is_prefix: bool) -> bool:
    return value.startswith(text) if is_prefix else value == text
