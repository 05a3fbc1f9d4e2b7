"""Items that lead to other things, on each engine: they are read with what leads there, and go only when it is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import KeyRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.dynamodb_linked import ENOUGH_HELD
from erasure.targets.protocol import CHILDREN_LEFT, Deadline, Item, SliceResult, Verdict
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.contract.dynamodb_items import spec, strings

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

ANN = {"tenant_id": "acme", "user_id": "ann"}
GO = Verdict(may_go=True)
HOLD = Verdict(may_go=False, problem=CHILDREN_LEFT)
STAYS = Verdict(may_go=False, kept=Kept(1))
NO_TIME = TargetError("unavailable", permanent=False)

EVERY_TYPE: list[dict[str, Any]] = [
    {"S": "one"},
    {"N": "12.5"},
    {"SS": ["one", "two", "three"]},
    {"NS": ["1", "2"]},
    {"L": [{"S": "one"}, {"N": "2"}, {"L": []}]},
    {"NULL": True},
]


class Judge:
    """A guard that judges by the attribute ``file``; ``asked``: what it was asked about."""

    attributes = ("file", "more.or less")

    def __init__(self, judge: Callable[[Item], Verdict] = lambda _: GO) -> None:
        self._judge = judge
        self.asked: list[tuple[int, Item]] = []

    def look(self, items: Sequence[tuple[int, Item]], deadline: Deadline) -> list[Verdict]:  # noqa: ARG002
        self.asked += items
        return [self._judge(item) for _, item in items]


class Fixture:
    """A table with documents of ann's and bob's, found by key and through an index."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.table = engine.create_table(["pk", "sk"], indexes={"by-owner": ["owner"]})
        self.rules = {
            "key": spec(self.table, KeyRule("pk", "U#{user_id}")),
            "index": spec(self.table, KeyRule("owner", "{user_id}"), index="by-owner"),
        }

    def put(self, number: int, who: str = "ann", **attributes: Any) -> None:
        self.engine.put(self.table, [strings(pk=f"U#{who}", sk=f"{number:05}", owner=who) | attributes])

    def left(self) -> list[str]:
        return sorted(item["pk"]["S"][2:] + item["sk"]["S"] for item in self.engine.everything(self.table))

    def erase(self, how: str, guard: Judge, client: Any = None, subjects: Sequence[Any] = (ANN,)) -> list[SliceResult]:
        target = self.engine.target(client, sleep=lambda _: None)
        results: list[SliceResult] = target.erase(self.rules[how], subjects, Deadline(60), guard=guard)
        return results

    def items(self, rule: TargetSpec, attributes: Sequence[str]) -> list[Item]:
        target = self.engine.target()
        return [item for page in target.items(rule, ANN, attributes, Deadline(60)) for item in page]


@pytest.fixture
def fixture(dynamodb: Engine) -> Fixture:
    return Fixture(dynamodb)


@pytest.fixture
def on_moto(moto_dynamodb: Engine) -> Fixture:
    return Fixture(moto_dynamodb)


HOWS = pytest.mark.parametrize("how", ["key", "index"])


@HOWS
def test_what_leads_somewhere_is_read(fixture: Fixture, how: str) -> None:
    """All of a person's items come, with the attributes asked for, in whatever type, and nothing of another person's;
    an attribute that an item does not have is missing."""
    for number, value in enumerate(EVERY_TYPE):
        fixture.put(number, file=value, text={"S": "long"})
    for number in range(len(EVERY_TYPE), 250):
        fixture.put(number)
    fixture.put(0, "bob", file={"S": "bobs"})
    found = {item["sk"]["S"]: item for item in fixture.items(fixture.rules[how], ["file", "more.or less"])}
    assert len(found) == 250
    for number, value in enumerate(EVERY_TYPE):
        ((kind, told),) = found[f"{number:05}"]["file"].items()
        assert (sorted(told) if kind in ("SS", "NS") else told) == (
            sorted(value[kind]) if kind in ("SS", "NS") else value[kind]
        )
        assert "text" not in found[f"{number:05}"]
    assert "file" not in found["00249"]


@HOWS
def test_only_what_may_go_goes(fixture: Fixture, how: str) -> None:
    """Items that lead to what is left stay, with the problem that says so; those that lead to what is locked stay
    without one; the others go, and are counted; nobody else's are asked about."""
    for number, value in enumerate(EVERY_TYPE):
        fixture.put(number, file=value)
    fixture.put(90, file={"S": "held"})
    fixture.put(91, file={"S": "locked"})
    dotted: dict[str, Any] = {"more.or less": {"S": "dotted"}}
    fixture.put(92, **dotted)
    fixture.put(0, "bob", file={"S": "one"})
    verdicts = {"held": HOLD, "locked": STAYS}
    guard = Judge(lambda item: verdicts.get(item.get("file", {}).get("S", ""), GO))
    erased = len(EVERY_TYPE) + 1
    assert fixture.erase(how, guard) == [SliceResult(erased, done=False, problem=CHILDREN_LEFT)]
    assert fixture.left() == ["ann00090", "ann00091", "bob00000"]
    assert {position for position, _ in guard.asked} == {0}
    verdicts["held"] = GO
    assert fixture.erase(how, guard) == [SliceResult(1, done=True)]
    assert fixture.left() == ["ann00091", "bob00000"]


@HOWS
@pytest.mark.parametrize("change", ["SET #file = :other", "REMOVE #file", "SET more = :other"])
def test_item_that_changes_is_judged_anew(fixture: Fixture, how: str, change: str) -> None:
    """An item whose attribute is changed between looking and deleting is not deleted on the old verdict: it is read
    and judged again. A change of anything else keeps nothing from going."""
    fixture.put(1, file={"S": "one"})
    changed: list[str] = []

    def judge(item: Item) -> Verdict:
        if not changed:
            changed.append("now")
            fixture.engine.client.update_item(
                TableName=fixture.table,
                Key=strings(pk="U#ann", sk="00001"),
                UpdateExpression=change,
                **({"ExpressionAttributeNames": {"#file": "file"}} if "#file" in change else {}),
                **({"ExpressionAttributeValues": {":other": {"S": "other"}}} if ":other" in change else {}),
            )
            return GO
        return HOLD if item.get("file") != {"S": "one"} else GO

    guard = Judge(judge)
    results = fixture.erase(how, guard)
    if change.endswith("more = :other"):
        assert (results, len(guard.asked)) == ([SliceResult(1, done=True)], 1)
    else:
        assert results == [SliceResult(0, done=False, problem=CHILDREN_LEFT)]
        assert fixture.left() == ["ann00001"]
        assert len(guard.asked) == 2


def test_item_that_changes_hands_is_left(fixture: Fixture) -> None:
    """An item found through an index that becomes somebody else's before it is deleted stays."""
    fixture.put(1, file={"S": "one"})

    def judge(_: Item) -> Verdict:
        fixture.engine.client.update_item(
            TableName=fixture.table,
            Key=strings(pk="U#ann", sk="00001"),
            UpdateExpression="SET #owner = :bob",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":bob": {"S": "bob"}},
        )
        return GO

    assert fixture.erase("index", Judge(judge)) == [SliceResult(0, done=True)]
    assert fixture.left() == ["ann00001"]


@HOWS
def test_item_that_is_gone_is_not_counted(fixture: Fixture, how: str) -> None:
    """An item that somebody else deletes before it could be is done, and not counted as deleted here; one without
    any of the attributes neither."""
    fixture.put(1)

    def judge(_: Item) -> Verdict:
        fixture.engine.client.delete_item(TableName=fixture.table, Key=strings(pk="U#ann", sk="00001"))
        return GO

    assert fixture.erase(how, Judge(judge)) == [SliceResult(0, done=True)]


def test_subjects_that_share_an_item_are_both_asked_about(on_moto: Fixture) -> None:
    """An item that is found for two values of a subject goes only if neither of them leads to what is left."""
    on_moto.put(1, file={"S": "one"})
    both = [ANN, ANN | {"email": "ann@example.org"}]
    guard = Judge()
    positions: list[int] = []

    def look(items: Sequence[tuple[int, Item]], deadline: Deadline) -> list[Verdict]:
        positions.extend(position for position, _ in items)
        return [HOLD if position == 1 else GO for position, _ in items]

    guard.look = look  # type: ignore[method-assign]
    results = on_moto.erase("key", guard, subjects=both)
    assert positions == [0, 1]
    assert [result.problem for result in results] == [CHILDREN_LEFT] * 2
    assert on_moto.left() == ["ann00001"]


@pytest.mark.parametrize(
    ("verdict", "problem", "permanent"),
    [
        (Verdict(may_go=False, problem="access_denied", permanent=True), "access_denied", True),
        (Verdict(may_go=False, problem="throttled"), "throttled", False),
    ],
)
def test_what_cannot_be_looked_at_does_not_go(
    on_moto: Fixture, verdict: Verdict, problem: str, permanent: bool
) -> None:
    """If the guard cannot tell, the item stays, and its problem is told."""
    on_moto.put(1, file={"S": "one"})
    assert on_moto.erase("key", Judge(lambda _: verdict)) == [
        SliceResult(0, done=False, problem=problem, permanent=permanent)
    ]
    assert on_moto.left() == ["ann00001"]


def test_throttled_deletion_is_sent_again(on_moto: Fixture) -> None:
    """A deletion that the table refuses for its load is sent again; one that is refused for good is its subject's."""
    on_moto.put(1, file={"S": "one"})
    on_moto.put(2, "bob", file={"S": "one"})
    refusals = [client_error("ProvisionedThroughputExceededException")] * 3

    def delete(call: Any, **arguments: Any) -> Any:
        if arguments["Key"]["pk"] == {"S": "U#bob"}:
            raise client_error("ValidationException")
        if refusals:
            raise refusals.pop()
        return call(**arguments)

    client = HookedClient(on_moto.engine.client, delete_item=delete)
    bob = {"tenant_id": "acme", "user_id": "bob"}
    assert on_moto.erase("key", Judge(), client, [ANN, bob]) == [
        SliceResult(1, done=True),
        SliceResult(0, done=False, problem="rejected", permanent=True),
    ]
    assert on_moto.left() == ["bob00002"]


def test_deletion_whose_answer_was_lost_is_counted(on_moto: Fixture) -> None:
    """An item that is gone after a try without an answer was deleted by it: nobody may call it absent."""
    on_moto.put(1, file={"S": "one"})
    lost = [client_error("InternalServerError")]

    def delete(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        if lost:
            raise lost.pop()
        return answer

    client = HookedClient(on_moto.engine.client, delete_item=delete)
    assert on_moto.erase("key", Judge(), client) == [SliceResult(1, done=True)]
    assert on_moto.left() == []


def test_a_long_queue_is_left_for_another_slice(on_moto: Fixture) -> None:
    """Of a person whose items all have to wait, a bounded number is looked at; another one's go all the same."""
    for number in range(0, 3 * ENOUGH_HELD, 25):
        items = [strings(pk="U#ann", sk=f"{each:05}", owner="ann", file="held") for each in range(number, number + 25)]
        on_moto.engine.put(on_moto.table, items)
    on_moto.put(1, "bob", file={"S": "one"})
    guard = Judge(lambda item: HOLD if item["file"] == {"S": "held"} else GO)
    bob = {"tenant_id": "acme", "user_id": "bob"}
    results = on_moto.erase("key", guard, subjects=[ANN, bob])
    assert results == [SliceResult(0, done=False, problem=CHILDREN_LEFT), SliceResult(1, done=True)]
    assert ENOUGH_HELD <= len(guard.asked) < 3 * ENOUGH_HELD


def test_no_time_left_deletes_nothing(on_moto: Fixture) -> None:
    """A slice whose time runs out while the guard looks deletes nothing any more, and has no problem."""
    on_moto.put(1, file={"S": "one"})
    moment = [0.0]
    deadline = Deadline(10, lambda: moment[0])

    def judge(_: Item) -> Verdict:
        moment[0] = 11.0
        return GO

    target = on_moto.engine.target(sleep=lambda _: None)
    (result,) = target.erase(on_moto.rules["key"], [ANN], deadline, guard=Judge(judge))
    assert result == SliceResult(0, done=False)
    assert on_moto.left() == ["ann00001"]
    with pytest.raises(TargetError) as caught:
        list(target.items(on_moto.rules["key"], ANN, ["file"], deadline))
    assert (caught.value.code, caught.value.permanent) == (NO_TIME.code, False)


def test_an_answer_beyond_the_rule_is_refused(on_moto: Fixture) -> None:
    """An item of another person's in the answer leads nowhere: reading ends with an error."""

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        answer["Items"].append(strings(pk="U#bob", sk="1", file="bobs"))
        return answer

    target = on_moto.engine.target(HookedClient(on_moto.engine.client, query=query))
    with pytest.raises(TargetError) as caught:
        list(target.items(on_moto.rules["key"], ANN, ["file"], Deadline(60)))
    assert caught.value.code == "rejected"
