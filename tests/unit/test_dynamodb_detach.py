"""From an item to the update that takes somebody out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from erasure.errors import TargetError
from erasure.targets.dynamodb_detach import make_update
from erasure.targets.dynamodb_plan import Detachment, ErasePlan, Match, Treatment

PLAN = ErasePlan(
    table="t",
    index="i",
    consistent=False,
    key=("id",),
    matches=(Match("org", "acme", prefix=False), Match("for", "U#ann#", prefix=True)),
    treatment=Treatment(Detachment("likes", "ann", frozenset({"for"}))),
)


def item(**changes: Any) -> dict[str, Any]:
    return {"id": {"S": "1"}, "org": {"S": "acme"}, "for": {"S": "U#ann#7"}} | changes


def arguments(found: dict[str, Any]) -> dict[str, Any]:
    update = make_update(PLAN, found)
    assert update is not None
    return update.arguments(PLAN, {"id": found["id"]})


def test_update_rests_on_all_that_was_read() -> None:
    """Conditions hold the values as they were read, not only what the rule says, and the item must exist."""
    made = arguments(item(likes={"L": [{"S": "bob"}, {"S": "ann"}]}))
    assert made["UpdateExpression"] == "REMOVE #a[1], #m1"
    assert made["ConditionExpression"] == "attribute_exists(#k) AND #m0 = :m0 AND #m1 = :m1 AND #a = :a"
    assert made["ExpressionAttributeNames"] == {"#k": "id", "#m0": "org", "#m1": "for", "#a": "likes"}
    assert made["ExpressionAttributeValues"] == {
        ":m0": {"S": "acme"},
        ":m1": {"S": "U#ann#7"},
        ":a": {"L": [{"S": "bob"}, {"S": "ann"}]},
    }


def test_set_may_change_in_everything_but_the_value() -> None:
    """Of a set, only its type and the one member are conditions: it may be a busy one."""
    made = arguments(item(likes={"SS": ["bob", "ann"]}))
    assert made["UpdateExpression"] == "REMOVE #m1 DELETE #a :s"
    assert made["ConditionExpression"].endswith("#m1 = :m1 AND attribute_type(#a, :t) AND contains(#a, :a)")
    assert made["ExpressionAttributeValues"][":s"] == {"SS": ["ann"]}
    without = arguments(item(likes={"SS": ["anna"]}))
    assert without["UpdateExpression"] == "REMOVE #m1"
    assert without["ConditionExpression"].endswith("AND NOT contains(#a, :a)")


def test_item_without_the_key_must_still_exist() -> None:
    """The value that is left in an item whose key attribute has gone does not bring a deleted item back."""
    found = item(likes={"SS": ["ann"]})
    del found["for"]
    made = arguments(found)
    assert made["UpdateExpression"] == "DELETE #a :s"
    assert made["ConditionExpression"].startswith("attribute_exists(#k) AND #m0 = :m0 AND attribute_not_exists(#m1)")


@pytest.mark.parametrize(
    "changes",
    [
        {"org": {"S": "globex"}},
        {"for": {"S": "U#anna#7"}},
        {"for": {"S": "U#bob#7"}},
        {"for": {"N": "7"}},
    ],
)
def test_item_of_somebody_else_is_left(changes: dict[str, Any]) -> None:
    """An item of another tenant, or whose key names another, is not changed although it holds the value."""
    assert make_update(PLAN, item(likes={"SS": ["ann"]}) | changes) is None
    assert not PLAN.attached(item(likes={"SS": ["ann"]}) | changes)


@pytest.mark.parametrize("likes", [{"N": "1"}, {"M": {}}, {"BOOL": True}, {"NS": ["1"]}, {"L": [{"L": []}]}], ids=str)
def test_other_types_are_refused(likes: dict[str, Any]) -> None:
    """What cannot be searched for the value is refused, but only if the item is the subject's."""
    with pytest.raises(TargetError) as caught:
        make_update(PLAN, item(likes=likes))
    assert (caught.value.code, caught.value.permanent) == ("rejected", True)
    assert "ann" not in str(caught.value)
    others = item(likes=likes)
    del others["for"]
    assert make_update(PLAN, others) is None


def test_maps_are_taken_out_of_the_list_as_it_was_read() -> None:
    """Of maps, those whose key is the value go, under the condition that the list is as it was read."""
    of_maps = replace(PLAN, treatment=Treatment(Detachment("likes", "ann", frozenset({"for"}), "id")))
    ann, anna = {"M": {"id": {"S": "ann"}}}, {"M": {"id": {"S": "anna"}}}
    likes = {"L": [ann, anna, {"S": "ann"}, ann]}
    update = make_update(of_maps, item(likes=likes))
    assert update is not None
    made = update.arguments(of_maps, {"id": {"S": "1"}})
    assert made["UpdateExpression"] == "REMOVE #a[3], #a[0], #m1"
    assert made["ConditionExpression"].endswith(" AND #a = :a")
    assert made["ExpressionAttributeValues"][":a"] == likes
    assert of_maps.detachment is not None
    assert of_maps.detachment.holds({"likes": likes})
    assert not of_maps.detachment.holds({"likes": {"L": likes["L"][1:3]}})


def test_one_update_never_outgrows_an_expression() -> None:
    """Of a thousand elements the last go first, and the item stays in the index until the last update."""
    update = make_update(PLAN, item(likes={"L": [{"S": "ann"}] * 1000}))
    assert update is not None
    assert not update.complete
    made = update.arguments(PLAN, {"id": {"S": "1"}})
    assert made["UpdateExpression"].startswith("REMOVE #a[999], #a[998], ")
    assert "#m1" not in made["UpdateExpression"]
    assert len(made["UpdateExpression"]) < 4096
