"""What a data map must and may not say."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.errors import DataMapError, TargetError

GOOD: dict[str, Any] = {
    "version": 1,
    "targets": [
        {
            "name": "notes",
            "category": "content",
            "dynamodb": {
                "table": "app-notes",
                "index": "by-user",
                "key": {"PK": "T#{tenant_id}#U#{user_id}", "SK": {"prefix": "NOTE#"}},
            },
        },
        {"name": "files", "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}},
        {"name": "avatar", "category": "preference", "s3": {"bucket": "app-files", "key": "{tenant_id}/{user_id}"}},
    ],
}


def changed(path: str, value: Any, of: dict[str, Any] = GOOD) -> dict[str, Any]:
    """The map with another value at a path such as ``targets.0.name``; ``...`` removes what is there."""
    document = copy.deepcopy(of)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = document
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def problems(document: object) -> list[tuple[str, str]]:
    with pytest.raises(DataMapError) as caught:
        parse_data_map(document)
    assert str(caught.value) == ": ".join(caught.value.problems[0])
    return caught.value.problems


def test_good_map_becomes_specs() -> None:
    """An accepted map gives the targets in its order, with the partition key first, and warns of nothing."""
    data_map = parse_data_map(GOOD)
    notes = DynamoDBRule(
        "app-notes", KeyRule("PK", "T#{tenant_id}#U#{user_id}"), KeyRule("SK", "NOTE#", prefix=True), "by-user"
    )
    assert data_map.targets == (
        TargetSpec("notes", "content", dynamodb=notes),
        TargetSpec("files", "content", s3=S3Rule("app-files", prefix="{tenant_id}/{user_id}/")),
        TargetSpec("avatar", "preference", s3=S3Rule("app-files", key="{tenant_id}/{user_id}")),
    )
    assert data_map.warnings == ()


@pytest.mark.parametrize("spec", parse_data_map(GOOD).targets, ids=lambda spec: spec.name)
def test_specs_survive_their_text_form(spec: TargetSpec) -> None:
    """A task's text form of a target gives the same target."""
    assert TargetSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("path", "value", "where", "rule"),
    [
        ("version", 2, "version", "input should be 1"),
        ("targets", ..., "targets", "field required"),
        ("targets", [], "targets", "at least 1"),
        ("purge", {}, "purge", "not a known key"),
        ("targets.0.name", "No Spaces", "targets[0].name", "match pattern"),
        ("targets.1.name", "notes", "targets[1].name", "already the name of targets[0]"),
        ("targets.0.category", "junk", "targets[0].category", "input should be"),
        ("targets.0.Category", "content", "targets[0].Category", "not a known key"),
        ("targets.0.action", "redact", "targets[0].action", "delete"),
        ("targets.0.dynamodb", ..., "targets[0]", "exactly one of dynamodb and s3"),
        ("targets.0.s3", {"bucket": "bbb", "key": "{user_id}"}, "targets[0]", "exactly one of dynamodb and s3"),
        ("targets.0.dynamodb.table", "a/b", "targets[0].dynamodb.table", "match pattern"),
        ("targets.0.dynamodb.Index", "by-x", "targets[0].dynamodb.Index", "not a known key"),
        ("targets.0.dynamodb.key", {}, "targets[0].dynamodb.key", "at least 1"),
        ("targets.0.dynamodb.key", {"a": "{user_id}", "b": "b", "c": "c"}, "targets[0].dynamodb.key", "at most 2"),
        ("targets.0.dynamodb.key.PK", 7, "targets[0].dynamodb.key.PK", "valid string"),
        ("targets.0.dynamodb.key.PK", "", "targets[0].dynamodb.key.PK", "at least 1"),
        ("targets.0.dynamodb.key.SK", {"prefx": "x"}, "targets[0].dynamodb.key.SK.prefix", "required"),
        ("targets.0.dynamodb.key.SK", {"prefix": 1}, "targets[0].dynamodb.key.SK.prefix", "valid string"),
        ("targets.0.dynamodb.key.PK", {"prefix": "{user_id}#"}, "targets[0].dynamodb.key.PK", "matched whole"),
        ("targets.0.dynamodb.key.PK", "T#{tenant_id}", "targets[0].dynamodb.key", "must hold {user_id}"),
        ("targets.0.dynamodb.key.PK", "{user_id", "targets[0].dynamodb.key.PK", "braces"),
        ("targets.0.dynamodb.key.PK", "{tenant_id}{user_id}", "targets[0].dynamodb.key.PK", "separator between"),
        ("targets.0.dynamodb.key.PK", "{email}#{user_id}", "targets[0].dynamodb.key.PK", "{email} is not a known"),
        ("targets.0.dynamodb.key.SK", {"prefix": "{user_id}"}, "targets[0].dynamodb.key.SK", "needs a separator"),
        ("targets.0.dynamodb.key.SK", {"prefix": "{user_id}-"}, "targets[0].dynamodb.key.SK", "must begin with one of"),
        ("targets.1.s3.bucket", "UPPER", "targets[1].s3.bucket", "match pattern"),
        ("targets.1.s3.bucket", "name\n", "targets[1].s3.bucket", "match pattern"),
        ("targets.1.s3.key", "{user_id}", "targets[1].s3", "exactly one of prefix and key"),
        ("targets.1.s3.prefix", ..., "targets[1].s3", "exactly one of prefix and key"),
        ("targets.1.s3.prefix", "", "targets[1].s3.prefix", "at least 1"),
        ("targets.1.s3.prefix", "{tenant_id}/{user_id}", "targets[1].s3.prefix", "needs a separator"),
        ("targets.1.s3.prefix", "{tenant_id}-{user_id}/", "targets[1].s3.prefix", "must begin with one of"),
        ("targets.1.s3.prefix", "{tenant_id}/", "targets[1].s3.prefix", "must hold {user_id}"),
        ("targets.1.s3.prefix", "all/", "targets[1].s3.prefix", "must hold {user_id}"),
        ("targets.2.s3.key", "avatar.png", "targets[2].s3.key", "must hold {user_id}"),
    ],
)
def test_problems_name_path_and_rule(path: str, value: Any, where: str, rule: str) -> None:
    """A broken rule is told with the whole path of what breaks it."""
    found = problems(changed(path, value))
    assert found[0][0] == where
    assert rule in found[0][1]


def test_all_problems_are_told() -> None:
    """Problems in different places are told together, in the document's order, and in words without Python types."""
    document = changed("targets.0.dynamodb.key.PK", "T#{tenant_id}")
    document["targets"][1]["s3"]["prefix"] = "{user_id}"
    document["targets"][2]["name"] = "notes"
    assert [path for path, _ in problems(document)] == [
        "targets[0].dynamodb.key",
        "targets[1].s3.prefix",
        "targets[2].name",
    ]


@pytest.mark.parametrize("document", [None, [], "version: 1", 7, {}, {1: 2}, {"version": 1, "targets": {"a": {}}}])
def test_no_map_at_all_is_a_problem(document: object) -> None:
    """Whatever is not a map of the right form is refused with a problem, never with another exception."""
    assert problems(document)


def test_misspelt_rules_do_not_pass() -> None:
    """A key that is unknown anywhere in the document is refused: a rule must not silently not apply."""
    for place in ["extra", "targets.0.extra", "targets.0.dynamodb.extra", "targets.1.s3.extra"]:
        ((where, rule),) = problems(changed(place, "x"))
        assert where.endswith("extra")
        assert rule == "is not a known key here"


def test_targets_without_tenant_are_warned_of() -> None:
    """A target that does not name the tenant is accepted and warned of."""
    ((where, _),) = parse_data_map(changed("targets.2.s3.key", "{user_id}")).warnings
    assert where == "targets[2]"


def test_the_digest_knows_the_order_of_keys() -> None:
    """Partition and sort key swapped make another map, although canonical JSON would not see it."""
    first = changed("targets.0.dynamodb.key", {"a": "{user_id}", "b": "{tenant_id}"})
    second = changed("targets.0.dynamodb.key", {"b": "{tenant_id}", "a": "{user_id}"})
    assert parse_data_map(first).digest != parse_data_map(second).digest
    assert parse_data_map(first).digest == parse_data_map(copy.deepcopy(first)).digest


def texts(longest: int) -> list[str]:
    pieces = ["{tenant_id}", "{user_id}", "/", "#", "-", "a"]
    return ["".join(text) for length in range(longest + 1) for text in itertools.product(pieces, repeat=length)]


def rules() -> Iterator[dict[str, Any]]:
    """Thousands of targets, right and wrong ones."""
    for text in texts(4):
        yield {"s3": {"bucket": "app-files", "prefix": text}}
        yield {"s3": {"bucket": "app-files", "key": text}}
    for partition in texts(2):
        yield {"dynamodb": {"table": "app-notes", "key": {"pk": partition}}}
        for sort in texts(2):
            for match in (sort, {"prefix": sort}):
                yield {"dynamodb": {"table": "app-notes", "key": {"pk": partition, "sk": match}}}


@functools.cache
def accepted() -> list[DataMap]:
    """The maps of all ``rules()`` that are accepted."""
    maps = []
    for rule in rules():
        with contextlib.suppress(DataMapError):
            maps.append(parse_data_map({"version": 1, "targets": [{"name": "t", "category": "content", **rule}]}))
    return maps


def exact_and_prefixes(spec: TargetSpec, values: dict[str, str]) -> tuple[list[str], list[str]] | None:
    """The rendered exact texts and prefixes of a target; None if it refuses these values."""
    rules = [spec.dynamodb.partition, spec.dynamodb.sort] if spec.dynamodb else []
    try:
        spec.check_values(values)
        if spec.s3 is not None:
            (text,) = [template.render(values) for template in spec.templates()]
            return ([], [text]) if spec.s3.prefix is not None else ([text], [])
        texts = [(rule.parsed().render(values), rule.prefix) for rule in rules if rule is not None]
    except TargetError:
        return None
    return [text for text, prefix in texts if not prefix], [text for text, prefix in texts if prefix]


def test_no_map_without_the_subject_is_accepted() -> None:
    """Whatever is accepted names the user in what it matches."""
    assert len(accepted()) > 100
    for data_map in accepted():
        assert any("user_id" in template.names for template in data_map.targets[0].templates())


VALUES = st.text(alphabet="ab/#-", min_size=1, max_size=3)


@settings(max_examples=400)
@given(st.data(), VALUES, VALUES, VALUES, VALUES)
def test_accepted_targets_never_reach_a_neighbour(data: st.DataObject, t1: str, u1: str, t2: str, u2: str) -> None:
    """What an accepted target matches for one subject, it does not match for another one.

    Subjects that differ only in the tenant count as one for a target that does not name the tenant (it is warned of).
    """
    data_map = data.draw(st.sampled_from(accepted()))
    spec = data_map.targets[0]
    names_tenant = any("tenant_id" in template.names for template in spec.templates())
    assert bool(data_map.warnings) is not names_tenant
    assume(u1 != u2 or (names_tenant and t1 != t2))
    one = exact_and_prefixes(spec, {"tenant_id": t1, "user_id": u1})
    other = exact_and_prefixes(spec, {"tenant_id": t2, "user_id": u2})
    if one is None or other is None:
        return  # refused, and so out of anybody's reach
    reaches = all(text == theirs for text, theirs in zip(one[0], other[0], strict=True)) and all(
        theirs.startswith(text) for text, theirs in zip(one[1], other[1], strict=True)
    )
    assert not reaches


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_junk_is_refused(document: Any) -> None:
    """No junk makes the parser fail in another way than with a list of problems."""
    with pytest.raises(DataMapError) as caught:
        parse_data_map(document)
    assert all(rule for _, rule in caught.value.problems)


def test_values_are_not_repeated() -> None:
    """Errors tell where and which rule, never the value: maps hold names of tables."""
    document = changed("targets.0.dynamodb.table", "very secret table!")
    document["targets"][1]["s3"]["bucket"] = "VERY-SECRET-BUCKET"
    assert "secret" not in json.dumps(problems(document)).lower()
