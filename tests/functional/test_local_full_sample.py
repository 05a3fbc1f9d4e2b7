"""The map of the full sample says everything that a map can say, and the sample has what it names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.target_spec import CONSTANT, DIGEST, NULL, REMOVE
from erasure.services.map_check import buckets_of, roles_of, tables_of
from local.full_sample import (
    BUCKETS,
    INDEXES,
    PARTNER,
    PARTNER_BUCKETS,
    PARTNER_ROLE,
    PARTNER_TABLES,
    PEOPLE,
    SUBJECT,
    TABLES,
    items,
    objects,
)

DATA_MAP = Path(__file__).resolve().parents[2] / "local" / "data-map-full.yaml"


@pytest.fixture(scope="module")
def data_map() -> DataMap:
    return parse_data_map(yaml.safe_load(DATA_MAP.read_text()))


def test_map_is_good_without_a_warning(data_map: DataMap) -> None:
    """Nothing in it deserves a second look: it is what others copy from."""
    assert data_map.warnings == ()


def test_sample_has_what_the_map_names(data_map: DataMap) -> None:
    """Tables, indexes, buckets and the role are those of the map, no more and no less."""
    assert sorted(tables_of(data_map)) == sorted(TABLES)
    assert sorted(buckets_of(data_map)) == sorted(BUCKETS)
    assert list(roles_of(data_map)) == [f"arn:aws:iam::{PARTNER}:role/{PARTNER_ROLE}"]
    in_the_other = [target for target in data_map.targets if target.role is not None]
    assert [target.dynamodb.table for target in in_the_other if target.dynamodb] == list(PARTNER_TABLES)
    assert [target.s3.bucket for target in in_the_other if target.s3] == list(PARTNER_BUCKETS)
    used = {(rule.table, rule.index) for target in data_map.targets if (rule := target.dynamodb) and rule.index}
    assert used == {(table, index[0]) for table, indexes in INDEXES.items() for index in indexes}


def test_map_uses_every_feature(data_map: DataMap) -> None:
    """Each way of finding, each action with each form, each limit and each kind of subject occurs."""
    targets = data_map.targets
    tables = [target.dynamodb for target in targets if target.dynamodb is not None]
    assert {True, False} == {rule.scan for rule in tables} == {rule.index is not None for rule in tables}
    assert {None, True, False} == {rule.sort and rule.sort.prefix for rule in tables if not rule.scan}
    assert {1, 2} == {1 + (rule.sort is not None) for rule in tables if rule.scan}
    assert {True, False} == {target.s3.key is None for target in targets if target.s3 is not None}
    assert {(target.action, target.retain is not None) for target in targets} == {
        ("delete", False), ("delete", True), ("redact", False), ("redact", True), ("detach", False),
    }  # fmt: skip
    redacted = [rule for target in targets for rule in target.redact]
    assert {rule.how for rule in redacted} == {REMOVE, NULL, CONSTANT, DIGEST}
    assert {("." in rule.path, "[]" in rule.path) for rule in redacted} >= {(True, False), (True, True)}
    assert {len(list(target.ancestors())) for target in targets} == {0, 1, 2}
    assert {target.subjects for target in targets} == {("user",), ("group",), ("organization",)}
    assert {bool(target.detach.key) for target in targets if target.detach} == {True, False}
    assert {rule.optional for rule in data_map.identifiers} == {True, False}
    names = Counter(name for target in targets for template in target.templates() for name in template.names)
    assert {"organization_id", "email", "legacy_number", "documents.document_id", "pages.image_keys"} <= set(names)


def test_no_two_things_share_a_key() -> None:
    """Each item and object has a key of its own, so the plan says exactly what is to become of it."""
    keys = Counter(
        json.dumps([item.table, *(item.attributes[name] for name in (TABLES | PARTNER_TABLES)[item.table] if name)])
        for item in items()
    )
    keys.update(f"{stored.bucket} {stored.key}" for stored in objects())
    assert set(keys.values()) == {1}


def test_ids_are_there_to_be_mistaken() -> None:
    """Others are called like the subject with something behind it, or like it in another tenant."""
    others = [person for person in PEOPLE if person != SUBJECT]
    assert sum(person.user.startswith(SUBJECT.user) for person in others if person.tenant == SUBJECT.tenant) >= 4
    assert sum(person.user == SUBJECT.user for person in others) >= 2
    assert any(person.tenant.startswith(SUBJECT.tenant) for person in others if person.tenant != SUBJECT.tenant)
