"""What taking subjects out of items that others own promises, on three engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.target_spec import DetachRule, KeyRule, TargetSpec
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.dynamodb_items import spec, strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

ORG = KeyRule("org", "{tenant_id}")
FOR = KeyRule("for", "MENTION#{user_id}#", prefix=True)
REJECTED = SliceResult(0, done=False, problem="rejected", permanent=True)


def table_of(engine: Engine, *items: Item) -> str:
    table = engine.create_table(["id"], indexes={"by-mention": ["org", "for"]})
    engine.put(table, items)
    return table


def mentions(table: str, attribute: str = "mentions") -> TargetSpec:
    return spec(table, ORG, FOR, "by-mention", DetachRule(attribute))


def comment(number: str, who: str, held: Any = None, tenant: str = "acme") -> Item:
    item = strings(id=number, org=tenant, text="hello", **{"for": f"MENTION#{who}#1"})
    return item if held is None else item | {"mentions": held}


def without(item: Item, *names: str, **changes: Any) -> Item:
    return {name: value for name, value in item.items() if name not in names} | changes


def texts(*values: str) -> Any:
    return {"L": [{"S": value} for value in values]}


def by_id(items: Iterable[Item]) -> dict[str, Item]:
    """Items in a form in which neither their order nor that of a set's members matters."""
    return {
        item["id"]["S"]: {
            name: {"SS": frozenset(value["SS"])} if "SS" in value else value for name, value in item.items()
        }
        for item in items
    }


def assert_stored(engine: Engine, table: str, *items: Item) -> None:
    """Exactly these items are in the table."""
    assert by_id(engine.everything(table)) == by_id(items)


def detach(engine: Engine, rule: TargetSpec, *who: str, client: Any = None) -> list[SliceResult]:
    return engine.target(client).erase(rule, [user(each) for each in who], Deadline(60))


def left(engine: Engine, rule: TargetSpec, *who: str) -> list[int]:
    results = engine.target().verify(rule, [user(each) for each in who], Deadline(60))
    assert all(result.complete and result.problem is None for result in results)
    return [result.left for result in results]


@pytest.mark.parametrize(
    ("held", "after"),
    [
        ({"SS": ["1", "10", "2"]}, {"SS": ["10", "2"]}),
        ({"SS": ["1"]}, None),
        ({"SS": ["10", "2"]}, {"SS": ["10", "2"]}),
        (texts("10", "1", "2", "1", "01"), texts("10", "2", "01")),
        (texts("1"), texts()),
        (texts(), texts()),
        (texts("10"), texts("10")),
        ({"S": "1"}, None),
        ({"S": "10"}, {"S": "10"}),
        ({"S": "1,10"}, {"S": "1,10"}),
        (None, None),
    ],
    ids=str,
)
def test_value_leaves_the_attribute_and_the_item_the_index(dynamodb: Engine, held: Any, after: Any) -> None:
    """The value goes wherever it stands, ids that hold or begin with it stay, and the item leaves the index."""
    item, other = comment("a", "1", held), comment("b", "10", held)
    table = table_of(dynamodb, item, other)
    rule = mentions(table)
    assert left(dynamodb, rule, "1", "10") == [1, 1]
    assert detach(dynamodb, rule, "1") == [SliceResult(1, done=True)]
    expected = without(item, "for", "mentions") | ({} if after is None else {"mentions": after})
    assert_stored(dynamodb, table, expected, other)
    assert left(dynamodb, rule, "1", "10") == [0, 1]
    assert detach(dynamodb, rule, "1") == [SliceResult(0, done=True)]


def maps(*members: Any) -> Any:
    """A list of maps; a text stands for the map that names somebody of this id."""
    return {"L": [person(member) if isinstance(member, str) else member for member in members]}


def person(who: str, *, role: str = "editor") -> Any:
    details = {"since": {"N": "1700000000.5"}, "tags": {"L": [{"S": who}]}, "1": {"NULL": True}}
    return {"M": {"user_id": {"S": who}, "role": {"S": role}, "details": {"M": details}}}


def members(table: str, key: str = "user_id") -> TargetSpec:
    return spec(table, ORG, FOR, "by-mention", DetachRule("mentions", key=key))


NOBODY: Any = {"M": {"user": {"S": "1"}, "details": {"M": {"user_id": {"S": "1"}}}}}
NULL_MEMBER: Any = {"M": {"user_id": {"NULL": True}}}


@pytest.mark.parametrize(
    ("held", "after"),
    [
        (maps("10", "1", "2"), maps("10", "2")),
        (maps("1", "10", person("1", role="owner"), "01"), maps("10", "01")),
        (maps("1"), maps()),
        (maps(), maps()),
        (maps("10", "2"), maps("10", "2")),
        (maps({"S": "1"}, NOBODY, "1", {"N": "1"}, {"M": {}}), maps({"S": "1"}, NOBODY, {"N": "1"}, {"M": {}})),
        (maps(NULL_MEMBER, "1"), maps(NULL_MEMBER)),
        (maps(*["1", "10"] * 130), maps(*["10"] * 130)),
        (None, None),
    ],
    ids=["among others", "twice", "alone", "none", "not there", "no maps", "null", "often", "no attribute"],
)
def test_maps_that_name_the_subject_leave_the_list(dynamodb: Engine, held: Any, after: Any) -> None:
    """Every map whose key names the subject goes as a whole; all other elements stay as they are."""
    item, other = comment("a", "1", held), comment("b", "10", held)
    table = table_of(dynamodb, item, other)
    rule = members(table)
    assert left(dynamodb, rule, "1", "10") == [1, 1]
    assert detach(dynamodb, rule, "1") == [SliceResult(1, done=True)]
    expected = without(item, "for", "mentions") | ({} if after is None else {"mentions": after})
    assert_stored(dynamodb, table, expected, other)
    assert left(dynamodb, rule, "1", "10") == [0, 1]


@pytest.mark.parametrize(
    ("held", "changed", "after"),
    [
        (maps("2", "1", "3"), maps("9", "2", "1", "3"), maps("9", "2", "3")),
        (maps("2", "1"), maps("2", "1", "9", "1"), maps("2", "9")),
        (maps("2", "1"), maps(person("2", role="owner"), "1"), maps(person("2", role="owner"))),
        (maps("2", "1"), maps("1", "2"), maps("2")),
        (maps("1", "2"), maps("2"), maps("2")),
        (maps("2"), maps("2", "1"), maps("2")),
    ],
    ids=["before it", "once more", "another's role", "order", "gone", "came"],
)
def test_maps_that_others_write_meanwhile_are_kept(dynamodb: Engine, held: Any, changed: Any, after: Any) -> None:
    """Whatever another writer does to the list of maps in between stays, and the subject's map goes all the same."""
    item = comment("a", "1", held)
    table = table_of(dynamodb, item)
    write = before_the_first_update(lambda: dynamodb.put(table, [item | {"mentions": changed}]))
    client = HookedClient(dynamodb.client, update_item=write)
    assert detach(dynamodb, members(table), "1", client=client) == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(item, "for", mentions=after))


def test_map_that_came_back_is_seen_while_the_index_still_lists_the_item(dynamodb: Engine) -> None:
    """An item that a stale index lists, without the key but with the subject's map, is not clean; without it it is."""
    table = table_of(dynamodb)
    for held, count in ((maps("2", "1"), 1), (maps("2", NOBODY, {"S": "1"}), 0)):
        dynamodb.put(table, [comment("a", "1", held)])

        def query(call: Any, held: Any = held, **arguments: Any) -> Any:
            answer = call(**arguments)
            dynamodb.put(table, [without(comment("a", "1", held), "for")])
            return answer

        client = HookedClient(dynamodb.client, query=query)
        (found,) = dynamodb.target(client).verify(members(table), [user("1")], Deadline(60))
        assert found == VerifyResult(count, complete=True)


@pytest.mark.parametrize(
    "held",
    [
        {"SS": ["1"]},
        {"S": "1"},
        {"M": {"user_id": {"S": "1"}}},
        maps({"M": {"user_id": {"N": "1"}}}),
        maps("1", {"M": {"user_id": {"SS": ["1"]}}}),
    ],
    ids=str,
)
def test_list_of_which_nobody_can_say_whom_it_names_is_left_and_told(dynamodb: Engine, held: Any) -> None:
    """With a key, anything but a list, or a map whose key is no string, is not touched and is told."""
    odd, fine = comment("a", "1", held), comment("b", "2", maps("1", "2"))
    table = table_of(dynamodb, odd, fine)
    assert detach(dynamodb, members(table), "1", "2") == [REJECTED, SliceResult(1, done=True)]
    assert_stored(dynamodb, table, odd, without(fine, "for", mentions=maps("1")))
    assert left(dynamodb, members(table), "1", "2") == [1, 0]


@pytest.mark.parametrize(
    "held",
    [{"N": "1"}, {"L": [{"M": {"id": {"S": "1"}}}]}, {"L": [{"S": "1"}, {"N": "1"}]}, {"M": {"1": {"S": "1"}}}],
    ids=str,
)
def test_attribute_of_another_type_is_left_and_told(dynamodb: Engine, held: Any) -> None:
    """What nobody can say whom it holds is not touched, and is that subject's problem alone."""
    odd, fine = comment("a", "1", held), comment("b", "2", {"SS": ["1", "2"]})
    table = table_of(dynamodb, odd, fine)
    assert detach(dynamodb, mentions(table), "1", "2") == [REJECTED, SliceResult(1, done=True)]
    assert_stored(dynamodb, table, odd, without(fine, "for", mentions={"SS": ["1"]}))
    assert left(dynamodb, mentions(table), "1", "2") == [1, 0]


def test_calls_are_filled_across_subjects(dynamodb: Engine) -> None:
    """Twelve items of each of ten subjects are two reads and one update each; everybody else's stay as they are."""
    people = [f"u{number}" for number in range(10)]
    items = [comment(f"{who}-{number}", who, {"SS": [who, "x"]}) for who in people for number in range(12)]
    others = [comment("o1", "u", {"SS": ["u", "u1"]}), comment("o2", "u10", {"SS": ["u1", "u10"]})]
    table = table_of(dynamodb, *items, *others)
    client = HookedClient(dynamodb.client)
    assert detach(dynamodb, mentions(table), *people, client=client) == [SliceResult(12, done=True)] * 10
    assert (client.count("batch_get_item"), client.count("update_item")) == (2, 120)
    assert_stored(dynamodb, table, *others, *(without(item, "for", mentions={"SS": ["x"]}) for item in items))
    assert left(dynamodb, mentions(table), *people, "u", "u10") == [0] * 10 + [1, 1]


def test_two_tenants_with_equal_ids(dynamodb: Engine) -> None:
    """The user of the same id in another tenant stays where it is."""
    mine, theirs = comment("a", "1", texts("1", "2")), comment("b", "1", texts("1", "2"), tenant="globex")
    table = table_of(dynamodb, mine, theirs)
    assert detach(dynamodb, mentions(table), "1") == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(mine, "for", mentions=texts("2")), theirs)


def test_long_list_that_holds_the_value_often(dynamodb: Engine) -> None:
    """A list is emptied of the value however often it stands there, and counts as one item."""
    item = comment("a", "1", texts(*["1", "10"] * 230))
    table = table_of(dynamodb, item)
    assert detach(dynamodb, mentions(table), "1") == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(item, "for", mentions=texts(*["10"] * 230)))


def test_attribute_that_is_the_indexs_key(dynamodb: Engine) -> None:
    """If the attribute is the index's key itself, it goes; the item stays, out of the index."""
    table = dynamodb.create_table(["id"], indexes={"by-assignee": ["assignee"]})
    dynamodb.put(table, [strings(id="a", assignee="1", x="y"), strings(id="b", assignee="10")])
    rule = spec(table, KeyRule("assignee", "{user_id}"), None, "by-assignee", DetachRule("assignee"))
    assert detach(dynamodb, rule, "1") == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, strings(id="a", x="y"), strings(id="b", assignee="10"))
    assert left(dynamodb, rule, "1", "10") == [0, 1]


def test_local_index(dynamodb: Engine) -> None:
    """Through a local index, whose partition is the table's own, only its sort attribute is taken away."""
    table = dynamodb.create_table(["org", "id"], local_indexes={"by-mention": ["org", "for"]})
    item, other = comment("a", "1", texts("1")), comment("b", "2", texts("1"))
    dynamodb.put(table, [item, other])
    assert left(dynamodb, mentions(table), "1") == [1]
    assert detach(dynamodb, mentions(table), "1") == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(item, "for", mentions=texts()), other)
    assert left(dynamodb, mentions(table), "1") == [0]


def test_value_of_another_form(dynamodb: Engine) -> None:
    """What is taken out is what the template says, not the bare id."""
    item = comment("a", "1", {"SS": ["acme/1", "1", "globex/1"]})
    table = table_of(dynamodb, item)
    rule = spec(table, ORG, FOR, "by-mention", DetachRule("mentions", "{tenant_id}/{user_id}"))
    assert detach(dynamodb, rule, "1") == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(item, "for", mentions={"SS": ["1", "globex/1"]}))


def before_the_first_update(change: Callable[[], Any]) -> Callable[..., Any]:
    """A hook for ``update_item``: somebody else writes between the eraser's reading and its writing."""
    done: list[bool] = []

    def update(call: Any, **arguments: Any) -> Any:
        if not done:
            done.append(True)
            change()
        return call(**arguments)

    return update


HELD_AND_CHANGED = [
    (texts("2", "1", "3"), texts("9", "2", "1", "3"), texts("9", "2", "3")),
    (texts("2", "1"), texts("2", "1", "9", "1"), texts("2", "9")),
    (texts("2", "1", "3"), texts("2", "1", "1"), texts("2")),
    (texts("1", "2"), texts("2"), texts("2")),
    (texts("2"), texts("2", "1"), texts("2")),
    (texts("1"), {"SS": ["1", "2"]}, {"SS": ["2"]}),
    ({"SS": ["1", "2"]}, {"SS": ["1", "2", "3"]}, {"SS": ["2", "3"]}),
    ({"SS": ["1", "2"]}, {"SS": ["2", "3"]}, {"SS": ["2", "3"]}),
    ({"SS": ["2"]}, {"SS": ["1", "2"]}, {"SS": ["2"]}),
    ({"SS": ["1", "2"]}, {"S": "012"}, {"S": "012"}),
    ({"S": "1"}, {"S": "2"}, {"S": "2"}),
    ({"S": "2"}, {"S": "1"}, None),
    (None, {"SS": ["1", "2"]}, {"SS": ["2"]}),
]


@pytest.mark.parametrize(("held", "changed", "after"), HELD_AND_CHANGED, ids=str)
def test_what_others_write_meanwhile_is_kept(dynamodb: Engine, held: Any, changed: Any, after: Any) -> None:
    """Whatever another writer does to the attribute in between: it stays, and the value goes all the same."""
    item = comment("a", "1", held)
    table = table_of(dynamodb, item)
    write = before_the_first_update(lambda: dynamodb.put(table, [item | {"mentions": changed, "text": {"S": "new"}}]))
    client = HookedClient(dynamodb.client, update_item=write)
    assert detach(dynamodb, mentions(table), "1", client=client) == [SliceResult(1, done=True)]
    expected = without(item, "for", "mentions", text={"S": "new"}) | ({} if after is None else {"mentions": after})
    assert_stored(dynamodb, table, expected)


@pytest.mark.parametrize("held", [texts("1", "2"), {"SS": ["1", "2"]}, {"S": "1"}], ids=str)
def test_item_that_goes_over_to_somebody_else_meanwhile_stays_theirs(dynamodb: Engine, held: Any) -> None:
    """If the index key names another by the time of the update, nothing is changed or counted."""
    item, theirs = comment("a", "1", held), comment("a", "10", held)
    table = table_of(dynamodb, item)
    client = HookedClient(dynamodb.client, update_item=before_the_first_update(lambda: dynamodb.put(table, [theirs])))
    assert detach(dynamodb, mentions(table), "1", client=client) == [SliceResult(0, done=True)]
    assert_stored(dynamodb, table, theirs)


@pytest.mark.parametrize("when", ["query", "update_item"])
def test_item_that_is_deleted_meanwhile_does_not_come_back(dynamodb: Engine, when: str) -> None:
    """An item that its owner deletes while it is being detached stays deleted."""
    table = table_of(dynamodb, comment("a", "1", {"SS": ["1"]}), comment("b", "1", {"SS": ["1", "2"]}))

    def delete() -> None:
        dynamodb.client.delete_item(TableName=table, Key=strings(id="a"))

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        delete()
        return answer

    hook = query if when == "query" else before_the_first_update(delete)
    (result,) = detach(dynamodb, mentions(table), "1", client=HookedClient(dynamodb.client, **{when: hook}))
    assert result.done
    assert 1 <= result.erased <= 2  # two, if the update of the other came first
    assert_stored(dynamodb, table, without(comment("b", "1", {"SS": ["2"]}), "for"))


def test_value_that_came_back_is_taken_out_while_the_index_still_lists_the_item(dynamodb: Engine) -> None:
    """An item that a stale index lists and that holds the value, though no key names the subject, is not clean."""
    table = table_of(dynamodb, comment("a", "1", {"SS": ["1", "2"]}))

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        dynamodb.put(table, [without(comment("a", "1", {"SS": ["1", "2"]}), "for")])
        return answer

    client = HookedClient(dynamodb.client, query=query)
    (found,) = dynamodb.target(client).verify(mentions(table), [user("1")], Deadline(60))
    assert found == VerifyResult(1, complete=True)
    dynamodb.put(table, [comment("a", "1", {"SS": ["1", "2"]})])
    assert detach(dynamodb, mentions(table), "1", client=client) == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(comment("a", "1", {"SS": ["2"]}), "for"))


@pytest.mark.parametrize(
    "rule",
    [
        spec("", KeyRule("id", "{user_id}"), detach=DetachRule("mentions")),
        spec("", KeyRule("for", "{user_id}"), KeyRule("id", "x"), "by-for", DetachRule("id", "{user_id}")),
        spec("", KeyRule("org", "{tenant_id}"), KeyRule("id", "{user_id}"), "by-id", DetachRule("mentions")),
        spec("", ORG, FOR, "by-mention", DetachRule("mentions", "{tenant_id}")),
        spec("", ORG, FOR, "by-mention", DetachRule("mentions", "{user_id")),
    ],
    ids=["no index", "the table's key", "key names the subject", "everybody's value", "no template"],
)
def test_rule_that_cannot_detach_is_refused(dynamodb: Engine, rule: TargetSpec) -> None:
    """What would leave the item in the index, damage its key, or take out everybody's value touches nothing."""
    indexes = {"by-mention": ["org", "for"], "by-for": ["for", "id"], "by-id": ["org", "id"]}
    table = dynamodb.create_table(["id"], indexes=indexes)
    item = comment("1", "1", {"SS": ["1", "acme"]})
    dynamodb.put(table, [item])
    assert rule.dynamodb is not None
    rule = spec(table, rule.dynamodb.partition, rule.dynamodb.sort, rule.dynamodb.index, rule.detach)
    assert detach(dynamodb, rule, "1") == [SliceResult(0, done=False, problem="map_mismatch", permanent=True)]
    (found,) = dynamodb.target().verify(rule, [user("1")], Deadline(60))
    assert (found.complete, found.problem, found.permanent) == (False, "map_mismatch", True)
    assert_stored(dynamodb, table, item)
