"""From rule and table description to what is read and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.target_spec import DynamoDBRule, KeyRule
from erasure.errors import TargetError
from erasure.targets.dynamodb_plan import ErasePlan, Match, identity, make_plan, render_matches

VALUES = {"tenant_id": "acme", "user_id": "ann"}


def schema(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def description(**changes: Any) -> dict[str, Any]:
    return {
        "KeySchema": schema("pk", "sk"),
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "user_id")],
        "GlobalSecondaryIndexes": [{"IndexName": "by-user", "KeySchema": schema("user_id"), "IndexStatus": "ACTIVE"}],
    } | changes


def plan(rule: DynamoDBRule, table: dict[str, Any] | None = None) -> ErasePlan:
    return make_plan(rule, render_matches(rule, VALUES), table or description())


BY_USER = DynamoDBRule("t", KeyRule("user_id", "{user_id}"), index="by-user")


def test_values_and_names_stay_placeholders() -> None:
    """Nothing of the subject and no attribute name stands in an expression."""
    rule = DynamoDBRule("t", KeyRule("pk", "{tenant_id}"), KeyRule("sk", "U#{user_id}#", prefix=True))
    query = plan(rule).key_query()
    assert query["KeyConditionExpression"] == "#m0 = :m0 AND begins_with(#m1, :m1)"
    assert query["ExpressionAttributeValues"] == {":m0": {"S": "acme"}, ":m1": {"S": "U#ann#"}}
    assert query["ProjectionExpression"] == "#p0, #p1"
    assert query["ExpressionAttributeNames"] == {"#m0": "pk", "#m1": "sk", "#p0": "pk", "#p1": "sk"}
    assert query["ConsistentRead"] is True


def test_key_alone_needs_no_condition_and_an_index_does() -> None:
    """What the table's key settles is no condition of the deletion; what only the index says is."""
    assert plan(DynamoDBRule("t", KeyRule("pk", "{user_id}"))).conditions == ()
    by_user = plan(BY_USER)
    assert by_user.conditions == (Match("user_id", "ann", prefix=False),)
    assert (by_user.key, by_user.consistent) == (("pk", "sk"), False)


@pytest.mark.parametrize(
    "rule",
    [
        DynamoDBRule("t", KeyRule("pk", "{user_id}", prefix=True)),
        DynamoDBRule("t", KeyRule("pk", "{tenant_id}")),
        DynamoDBRule("t", KeyRule("pk", "{tenant_id}"), KeyRule("sk", "PROFILE")),
        DynamoDBRule("t", KeyRule("pk", "{tenant_id}"), KeyRule("sk", "U#{user_id}", prefix=True)),
        DynamoDBRule("t", KeyRule("pk", "{user_id}"), KeyRule("sk", "", prefix=True)),
        DynamoDBRule("t", KeyRule("pk", "{user_id")),
    ],
    ids=["partition prefix", "no subject", "no subject in both", "open prefix", "empty prefix", "not a template"],
)
def test_rule_that_could_reach_others_is_refused(rule: DynamoDBRule) -> None:
    """Rules that match everybody, or the neighbours, are refused before any call."""
    with pytest.raises(TargetError) as caught:
        render_matches(rule, VALUES)
    assert (caught.value.code, caught.value.permanent) == ("map_mismatch", True)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "missing_value"),
        ({"user_id": ""}, "missing_value"),
        ({"user_id": "a#b"}, "ambiguous_identifier"),
        ({"user_id": "a\ud800"}, "ambiguous_identifier"),
    ],
)
def test_values_that_name_nobody_or_several_are_refused(values: dict[str, str], code: str) -> None:
    """A missing value, one with the separator in it, and broken Unicode are errors of the target."""
    with pytest.raises(TargetError) as caught:
        render_matches(DynamoDBRule("t", KeyRule("pk", "U#{user_id}#X")), values)
    assert (caught.value.code, caught.value.permanent) == (code, True)


@pytest.mark.parametrize(
    ("changes", "permanent"),
    [
        ({"IndexStatus": "CREATING"}, False),
        ({"IndexStatus": "ACTIVE", "Backfilling": True}, False),
        ({"IndexStatus": "DELETING"}, True),
        ({"IndexName": "other"}, True),
        ({"KeySchema": [*schema("user_id"), {"AttributeName": "pk", "KeyType": "HASH"}]}, True),
    ],
)
def test_index_that_cannot_be_relied_on(changes: dict[str, Any], permanent: bool) -> None:
    """An index that is incomplete would miss items: it is refused, for now or for good."""
    index = description()["GlobalSecondaryIndexes"][0] | changes
    with pytest.raises(TargetError) as caught:
        plan(BY_USER, description(GlobalSecondaryIndexes=[index]))
    assert (caught.value.code, caught.value.permanent) == ("map_mismatch", permanent)


def test_index_whose_capacity_changes_is_used() -> None:
    """UPDATING is a change of capacity; the index answers as before."""
    index = description()["GlobalSecondaryIndexes"][0] | {"IndexStatus": "UPDATING"}
    assert plan(BY_USER, description(GlobalSecondaryIndexes=[index])).index == "by-user"


@pytest.mark.parametrize("attribute", ['user"id', "user id", "usér", "user?id", "a'b", "user.id", "a:b"])
def test_names_that_may_need_escaping_stay_out_of_statements(attribute: str) -> None:
    """Only plain names are quoted into PartiQL; the rest is deleted by DeleteItem."""
    odd = ErasePlan("t", "i", False, ("pk",), (Match(attribute, "ann", prefix=False),))
    assert not odd.fits_statement
    plain = (Match("user_id", "ann", prefix=False),)
    assert ErasePlan("t-t_1", "i", False, ("pk",), plain).fits_statement
    assert not ErasePlan("t.t", "i", False, ("pk",), plain).fits_statement


TEXT = st.text(alphabet="a#é😀", max_size=4)


@given(TEXT, TEXT, st.booleans())
def test_guard_is_text_comparison(found: str, wanted: str, prefix: bool) -> None:
    """The guard holds exactly for equal text, or for text that begins with the prefix."""
    expected = found[: len(wanted)] == wanted if prefix else found == wanted
    assert Match("sk", wanted, prefix).holds({"sk": {"S": found}}) == expected


@pytest.mark.parametrize("item", [{}, {"sk": {"N": "1"}}, {"sk": {"B": b"1"}}, {"sk": {"L": [{"S": "1"}]}}])
def test_guard_holds_for_strings_only(item: dict[str, Any]) -> None:
    """A value of another type is never the subject's."""
    assert not Match("sk", "1", prefix=False).holds(item)
    assert not Match("sk", "1", prefix=True).holds(item)


def test_identity_tells_types_and_borders_apart() -> None:
    """Keys that look alike are different keys."""
    keys: list[dict[str, Any]] = [
        {"pk": {"S": "1"}, "sk": {"S": "2"}},
        {"pk": {"N": "1"}, "sk": {"S": "2"}},
        {"pk": {"S": "12"}, "sk": {"S": ""}},
        {"pk": {"B": b"1"}, "sk": {"S": "2"}},
    ]
    assert len({identity(key) for key in keys}) == 4
    assert identity({"sk": {"S": "2"}, "pk": {"S": "1"}}) == identity(keys[0])
