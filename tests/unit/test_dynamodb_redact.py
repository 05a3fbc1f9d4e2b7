"""From an item to what redacting makes of it, and to the verdict over it."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.target_spec import RedactRule, RetainRule
from erasure.errors import TargetError
from erasure.targets.dynamodb_plan import ErasePlan, Match, Treatment
from erasure.targets.dynamodb_redact import make_redaction
from erasure.targets.dynamodb_verdict import NOTHING, judge

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = b"a key"


def redacted(item: dict[str, Any], *rules: RedactRule) -> dict[str, Any]:
    """``item`` with what its places should hold."""
    result = deepcopy(item)
    for found in make_redaction(rules, KEY).find(item):
        *parents, last = found.names
        held = result
        for name in parents:
            held = held[name]["M"]
        if found.new is None:
            held.pop(last, None)
        else:
            held[last] = found.new
    return result


def digest(value: dict[str, Any], path: str = "a", key: bytes = KEY) -> str:
    (found,) = make_redaction([RedactRule(path, "digest")], key).find({path: value})
    assert found.new is not None
    text: str = found.new["S"]
    return text


def test_digest_is_over_what_a_value_says() -> None:
    """Sets have no order, binary has a form, and path, type and key all tell in the digest."""
    assert digest({"SS": ["b", "a"]}) == digest({"SS": ["a", "b"]})
    assert digest({"BS": [b"\xff", b"a"]}) == digest({"BS": [b"a", b"\xff"]})
    assert digest({"L": [{"NS": ["1", "2"]}]}) == digest({"L": [{"NS": ["2", "1"]}]})
    assert digest({"L": [{"S": "a"}, {"S": "b"}]}) != digest({"L": [{"S": "b"}, {"S": "a"}]})
    different = [
        digest({"S": "1"}),
        digest({"N": "1"}),
        digest({"B": b"1"}),
        digest({"S": "1"}, "b"),
        digest({"S": "1"}, key=b"another"),
        digest({"M": {"SS": {"L": [{"S": "b"}]}}}),
    ]
    assert len(set(different)) == len(different)


def test_digest_is_told_by_its_whole_form() -> None:
    """What only looks like a digest is a value like any other."""
    made = digest({"S": "ann"})
    assert digest({"S": made}) == made
    for odd in (made + "0", made.upper(), made[:-1], f" {made}", f"{made}\n", "erased:" + "g" * 64):
        assert digest({"S": odd}) not in (made, odd)


def test_the_key_is_never_shown() -> None:
    """A plan in a log or an error holds no key."""
    assert "a key" not in repr(make_redaction([RedactRule("a", "digest")], KEY))


NAMES = st.sampled_from(["a", "b", "c"])
LEAVES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"S": "x"}, {"N": "1"}, {"NULL": True}, {"SS": ["p", "q"]}, {"B": b"\x00"}, {"BOOL": False}]
)
VALUES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=3).map(lambda content: {"M": content}),
        st.lists(inner, max_size=3).map(lambda content: {"L": content}),
    ),
    max_leaves=12,
)
ITEMS = st.dictionaries(NAMES, VALUES, max_size=3)
PATHS = st.lists(st.sampled_from(["a", "b", "a[]", "b[]"]), min_size=1, max_size=3).map(".".join)
RULES = st.builds(
    lambda path, how: RedactRule(path, how, "-" if how == "constant" else None),
    PATHS,
    st.sampled_from(["remove", "null", "constant", "digest"]),
)


def leaves(value: Any, steps: list[str]) -> list[Any]:
    """The obvious way to what a path leads to, all of it; an ``AssertionError`` where it leads through another type."""
    if value is None or (steps and value == {"NULL": True}):
        return []
    if not steps:
        return [value]
    if steps[0] == "[]":
        assert "L" in value
        return [leaf for element in value["L"] for leaf in leaves(element, steps[1:])]
    assert "M" in value
    return leaves(value["M"].get(steps[0]), steps[1:])


def is_done(leaf: dict[str, Any], rule: RedactRule) -> bool:
    if rule.how == "digest":
        return bool(leaf.get("S", "").startswith("erased:"))
    return leaf == {"null": {"NULL": True}, "constant": {"S": "-"}}[rule.how]


@given(ITEMS, RULES)
def test_all_that_a_path_leads_to_is_redacted_and_nothing_else(item: dict[str, Any], rule: RedactRule) -> None:
    """Of any item; twice is once; and what leads through another type is refused as a whole."""
    steps = rule.path.replace("[]", ".[]").split(".")
    try:
        found = leaves({"M": item}, steps)
    except AssertionError:
        with pytest.raises(TargetError, match="rejected"):
            redacted(item, rule)
        return
    result = redacted(item, rule)
    after = leaves({"M": result}, steps)
    if rule.how == "remove":
        assert after == []
    else:
        assert len(after) == len(found)
        assert all(is_done(leaf, rule) for leaf in after)
        without = RedactRule(rule.path, "remove")
        assert redacted(result, without) == redacted(item, without)
    assert redacted(result, rule) == result
    assert (result == item) == (found == after)


PLAN = ErasePlan(
    table="t",
    index="i",
    consistent=False,
    key=("id",),
    matches=(Match("owner", "ann", prefix=False),),
    treatment=Treatment(
        redaction=make_redaction([RedactRule("a.b", "remove"), RedactRule("c", "null")], KEY),
        retention=RetainRule("law", "1d", "at"),
    ),
)


def item(**changes: Any) -> dict[str, Any]:
    return {"id": {"S": "1"}, "owner": {"S": "ann"}, "at": {"S": "2026-06-01"}, "c": {"NULL": True}} | changes


def test_update_rests_on_every_place_and_on_whose_the_item_is() -> None:
    """Places that need no change are conditions too, and so is that the item exists."""
    verdict = judge(PLAN, item(a={"M": {"b": {"S": "x"}}}), NOW)
    assert (verdict.operation, verdict.complete, verdict.problem) == ("update_item", True, None)
    assert verdict.kept_until == NOW + timedelta(days=1)
    assert verdict.arguments["UpdateExpression"] == "REMOVE #r0.#r1"
    assert verdict.arguments["ConditionExpression"] == (
        "attribute_exists(#k) AND #m0 = :m0 AND #r0.#r1 = :o0 AND #r2 = :o1"
    )
    assert verdict.arguments["ExpressionAttributeNames"] == {
        "#k": "id", "#m0": "owner", "#r0": "a", "#r1": "b", "#r2": "c"
    }  # fmt: skip
    values = {":m0": {"S": "ann"}, ":o0": {"S": "x"}, ":o1": {"NULL": True}}
    assert verdict.arguments["ExpressionAttributeValues"] == values


def test_deletion_rests_on_the_time_and_on_whose_the_item_is() -> None:
    """Whatever is left to redact in it, an item whose time is over is deleted."""
    verdict = judge(PLAN, item(a={"S": "no map"}), NOW + timedelta(days=1))
    assert (verdict.operation, verdict.kept_until, verdict.problem) == ("delete_item", None, None)
    assert verdict.arguments["ConditionExpression"] == "attribute_exists(#k) AND #m0 = :m0 AND #r = :r"
    assert verdict.arguments["ExpressionAttributeValues"] == {":m0": {"S": "ann"}, ":r": {"S": "2026-06-01"}}


@pytest.mark.parametrize("owner", [None, {"S": "anna"}, {"N": "1"}, {"SS": ["ann"]}], ids=str)
@pytest.mark.parametrize("days", [0, 1000])
def test_item_of_somebody_else_is_nobodys_business(owner: Any, days: int) -> None:
    """Neither deleted nor changed nor counted as kept."""
    others = item(a={"S": "no map"}) | {"owner": owner}
    if owner is None:
        del others["owner"]
    assert judge(PLAN, others, NOW + timedelta(days=days)) == NOTHING


def test_plain_deletion_of_an_item_that_its_key_settles() -> None:
    """Without conditions of the rule it has to exist, and nothing else."""
    verdict = judge(ErasePlan("t", None, True, ("owner",), PLAN.matches), item(), NOW)
    assert verdict.operation == "delete_item"
    assert verdict.arguments["ConditionExpression"] == "attribute_exists(#k)"
    assert "ExpressionAttributeValues" not in verdict.arguments
