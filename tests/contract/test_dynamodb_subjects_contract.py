"""What erasing many subjects from DynamoDB at once promises, on three engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.target_spec import KeyRule
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.dynamodb_items import spec, strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

BY_KEY = KeyRule("pk", "TENANT#{tenant_id}#USER#{user_id}")
BY_USER = KeyRule("user_id", "{user_id}")


def items_of(user_id: str, count: int, tenant_id: str = "acme") -> list[Item]:
    return [
        strings(pk=f"TENANT#{tenant_id}#USER#{user_id}", sk=f"{number:03}", user_id=user_id) for number in range(count)
    ]


def table_of(engine: Engine, *items: Item) -> str:
    table = engine.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    engine.put(table, items)
    return table


@pytest.mark.parametrize("by_index", [False, True], ids=["key", "index"])
def test_batches_are_full_across_subjects(dynamodb: Engine, by_index: bool) -> None:
    """Ten subjects of seven items are three calls, not ten, and each subject is told its own count."""
    mine = [item for number in range(10) for item in items_of(f"u{number}", 7)]
    table = table_of(dynamodb, *mine, *items_of("u10", 3), *items_of("u", 3))
    rule = spec(table, BY_USER, index="by-user") if by_index else spec(table, BY_KEY)
    client = HookedClient(dynamodb.client)
    target, subjects = dynamodb.target(client), [user(f"u{number}") for number in range(10)]
    assert target.verify(rule, subjects, Deadline(60)) == [VerifyResult(7, complete=True)] * 10
    told: list[tuple[int, int]] = []
    results = target.erase(rule, subjects, Deadline(60), lambda position, count: told.append((position, count)))
    assert results == [SliceResult(7, done=True)] * 10
    assert sorted(told) == [(number, 7) for number in range(10)]
    assert {item["user_id"]["S"] for item in dynamodb.everything(table)} == {"u10", "u"}
    assert len(dynamodb.everything(table)) == 6
    if not by_index:
        assert client.count("batch_write_item") == 3
    elif dynamodb.conditional == "batch":
        assert client.count("batch_execute_statement") == 3
    assert target.verify(rule, subjects, Deadline(60)) == [VerifyResult(0, complete=True)] * 10
    if by_index:
        assert client.count("batch_get_item") == 1


@pytest.mark.parametrize("by_index", [False, True], ids=["key", "index"])
def test_each_is_told_what_was_its_own(dynamodb: Engine, by_index: bool) -> None:
    """Counts belong to the subject whose item it was: many, one, none, and an id that begins like another."""
    counts = {"1": 61, "10": 1, "2": 0, "01": 30}
    table = table_of(dynamodb, *(item for who, count in counts.items() for item in items_of(who, count)))
    rule = spec(table, BY_USER, index="by-user") if by_index else spec(table, BY_KEY)
    subjects, target = [user(who) for who in counts], dynamodb.target()
    assert target.verify(rule, subjects, Deadline(60)) == [VerifyResult(n, complete=True) for n in counts.values()]
    assert target.erase(rule, subjects, Deadline(60)) == [SliceResult(n, done=True) for n in counts.values()]
    assert dynamodb.everything(table) == []


def test_equal_ids_of_two_tenants_are_two_people(dynamodb: Engine) -> None:
    """Of two tenants with a user of the same id, each loses its own user's items, also when a third has one too."""
    tenants = {"acme": 4, "globex": 30, "initech": 5}
    table = table_of(dynamodb, *(item for name, count in tenants.items() for item in items_of("1", count, name)))
    target, subjects = dynamodb.target(), [user("1", "acme"), user("1", "globex")]
    results = target.erase(spec(table, BY_KEY), subjects, Deadline(60))
    assert results == [SliceResult(4, done=True), SliceResult(30, done=True)]
    assert dynamodb.everything(table) == sorted(items_of("1", 5, "initech"), key=repr)


def test_one_that_cannot_be_named_keeps_nobody_from_being_erased(dynamodb: Engine) -> None:
    """A subject whose id holds the separator, or that has none, is refused alone; the others are erased."""
    table = table_of(dynamodb, *items_of("ann", 30), *items_of("bob", 2), *items_of("a#X", 3))
    rule = spec(table, KeyRule("pk", "TENANT#{tenant_id}#USER#{user_id}"))
    odd = {"tenant_id": "acme#USER#x", "user_id": "ann"}
    subjects = [user("ann"), odd, user("bob"), {"tenant_id": "acme"}]
    target = dynamodb.target()
    before = target.verify(rule, subjects, Deadline(60))
    assert [left.left for left in before] == [30, 0, 2, 0]
    assert [left.problem for left in before] == [None, "ambiguous_identifier", None, "missing_value"]
    assert target.erase(rule, subjects, Deadline(60)) == [
        SliceResult(30, done=True),
        SliceResult(0, done=False, problem="ambiguous_identifier", permanent=True),
        SliceResult(2, done=True),
        SliceResult(0, done=False, problem="missing_value", permanent=True),
    ]
    assert dynamodb.everything(table) == sorted(items_of("a#X", 3), key=repr)


def test_item_found_for_two_goes_once_and_counts_for_its_owner(dynamodb: Engine) -> None:
    """An item that changed hands between two reads of the index is named once in a call, and is its owner's."""
    table = table_of(dynamodb, *items_of("ann", 3), *items_of("bob", 3))
    stolen = items_of("ann", 3)[0] | strings(user_id="bob")
    dynamodb.put(table, [stolen])

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        if arguments["ExpressionAttributeValues"][":m0"]["S"] == "ann":
            answer["Items"].append(items_of("ann", 1)[0])
        return answer

    client = HookedClient(dynamodb.client, query=query)
    rule = spec(table, BY_USER, index="by-user")
    results = dynamodb.target(client).erase(rule, [user("ann"), user("bob")], Deadline(60))
    assert results == [SliceResult(2, done=True), SliceResult(4, done=True)]
    assert dynamodb.everything(table) == []
    for name, asked in client.calls:
        if name == "batch_execute_statement":
            keys = [repr(statement["Parameters"][:2]) for statement in asked["Statements"]]
            assert len(set(keys)) == len(keys)


def test_missing_table_is_everybodys_problem(dynamodb: Engine) -> None:
    """A table that does not exist fails all its subjects, none of them silently."""
    rule, subjects = spec("app-nowhere", BY_KEY), [user("ann"), user("bob")]
    missing = SliceResult(0, done=False, problem="target_missing", permanent=True)
    assert dynamodb.target().erase(rule, subjects, Deadline(60)) == [missing] * 2
    left = VerifyResult(0, complete=False, problem="target_missing", permanent=True)
    assert dynamodb.target().verify(rule, subjects, Deadline(60)) == [left] * 2
