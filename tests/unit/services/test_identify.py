"""A subject's further ids: all that its items hold, from no item of anybody else, and never a part for the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from erasure.domain.subject import GROUP, Subject
from erasure.domain.target_spec import DynamoDBRule, IdentifierRule, KeyRule, TargetSpec
from erasure.errors import TargetError, UnavailableError
from erasure.ports import PinnedMap
from erasure.services.identify import MAX_ITEMS, MAX_VALUES_BYTES, identify, identify_all, rules_for
from erasure.targets.protocol import Deadline, Item, Values

ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")
ACCOUNTS = TargetSpec("accounts", "account", DynamoDBRule("app", KeyRule("pk", "{tenant_id}#{user_id}")))
EMAIL = IdentifierRule("email", ACCOUNTS, "email")


class Items:
    """Items by what the target's partition renders to, in pages; an error in the place of a page is raised."""

    def __init__(self, **pages: Sequence[list[Item] | TargetError]) -> None:
        self.pages = dict(pages)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def items(
        self, spec: TargetSpec, values: Values, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[list[Item]]:
        assert not deadline.expired()
        key = spec.templates()[0].render(values)
        self.asked.append((key, tuple(attributes)))
        for page in self.pages.get(key.replace("#", "_"), ()):
            if isinstance(page, TargetError):
                raise page
            yield page


def emails(*attributes: Mapping[str, Any]) -> list[Item]:
    return [{"email": attribute} for attribute in attributes]


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ({"S": "a@example.com"}, ("a@example.com",)),
        ({"N": "17"}, ("17",)),
        ({"SS": ["b", "a", ""]}, ("a", "b")),
        ({"NS": ["1", "2"]}, ("1", "2")),
        ({"L": [{"S": "a"}, {"N": "1"}, {"S": ""}, {"NULL": True}, {"S": "a"}]}, ("a", "1")),
        ({"S": ""}, ()),
        ({"NULL": True}, ()),
        ({"L": []}, ()),
    ],
)
def test_values_of_an_attribute(attribute: Mapping[str, Any], values: tuple[str, ...]) -> None:
    """Strings, numbers, sets and lists of them are values; what is empty is none."""
    assert identify(ANN, [EMAIL], Items(acme_ann=[emails(attribute)]), Deadline(9)).values == {"email": values}


def test_all_items_of_all_pages_count() -> None:
    """Each value once, from every item; an item without the attribute has none."""
    items = Items(acme_ann=[emails({"S": "a"}, {"S": "b"}), [{}], emails({"S": "b"}, {"S": "c"})])
    assert identify_all([ANN, BOB], [EMAIL], items, Deadline(9)) == [{"email": ("a", "b", "c")}, {"email": ()}]


def test_only_the_attribute_is_asked_for() -> None:
    """Nothing else of an item is read."""
    items = Items()
    identify(ANN, [EMAIL], items, Deadline(9))
    assert items.asked == [("acme#ann", ("email",))]


def test_a_source_of_users_knows_nothing_of_groups() -> None:
    """A group has no value there, and nothing is read for it."""
    items = Items()
    assert identify_all([Subject("acme", "g", GROUP)], [EMAIL], items, Deadline(9)) == [{"email": ()}]
    assert items.asked == []


def many(count: int) -> list[Item]:
    return [{"email": {"S": f"{number}"}} for number in range(count)]


@pytest.mark.parametrize(
    "page",
    [
        many(MAX_ITEMS + 1),
        emails({"SS": [f"{number}-{'x' * 1000}" for number in range(80)]}),
        emails({"M": {"home": {"S": "a"}}}),
        emails({"BOOL": True}),
        TargetError("target_missing", permanent=True),
    ],
)
def test_what_will_never_be_readable_is_left_out(page: list[Item] | TargetError) -> None:
    """Neither missing nor known in part, and nobody else's problem."""
    items = Items(acme_ann=[emails({"S": "a"}), page], acme_bob=[emails({"S": "b"})])
    assert identify_all([ANN, BOB], [EMAIL], items, Deadline(9)) == [{}, {"email": ("b",)}]


def test_as_many_items_as_may_be_are_read() -> None:
    """The limit itself is not too many."""
    items = Items(acme_ann=[many(MAX_ITEMS)])
    assert len(identify(ANN, [EMAIL], items, Deadline(9)).values["email"]) == MAX_ITEMS


def test_all_identifiers_of_a_subject_have_one_bound() -> None:
    """What the request keeps fits into its record, however many identifiers the map has; nobody else has less room."""
    rules = [replace(EMAIL, name=f"id_{number}") for number in range(20)]
    items = Items(acme_ann=[emails({"S": "é" * 2000})], acme_bob=[emails({"S": "b"})])
    ann, bob = identify_all([ANN, BOB], rules, items, Deadline(9))
    assert 0 < len(ann) < len(bob) == 20
    assert len(json.dumps(ann)) < MAX_VALUES_BYTES + 1024


def test_what_may_be_readable_later_is_asked_for_again() -> None:
    """A passing problem of one source ends the whole question."""
    items = Items(acme_ann=[TargetError("throttled", permanent=False)], acme_bob=[emails({"S": "b"})])
    with pytest.raises(UnavailableError):
        identify_all([ANN, BOB], [EMAIL], items, Deadline(9))


def test_items_of_others_are_not_read() -> None:
    """A subject whose items would also be somebody else's by another target is not looked for."""
    archive = TargetSpec("archive", "record", DynamoDBRule("app", KeyRule("pk", "{tenant_id}#archive#{user_id}")))
    loose = replace(ACCOUNTS, dynamodb=DynamoDBRule("app", KeyRule("pk", "{tenant_id}#{user_id}")))
    data_map = PinnedMap(1, "digest", (loose, archive), identifiers=(replace(EMAIL, source=loose),))
    items = Items()
    victim = Subject("acme", "archive#bob")
    assert identify_all([victim], rules_for(data_map, {"email"}), items, Deadline(9)) == [{}]
    assert items.asked == []


def test_only_the_rules_that_are_needed() -> None:
    """A map's other identifiers are not read."""
    data_map = PinnedMap(1, "digest", (ACCOUNTS,), identifiers=(EMAIL, replace(EMAIL, name="phone")))
    assert [rule.name for rule in rules_for(data_map, {"phone"})] == ["phone"]
