"""Items that go because they are old, whosever they are: those, and no others. On moto."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.subject import GROUP, Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, RedactRule, TargetSpec
from erasure.errors import SliceLostError, UnavailableError
from erasure.targets.protocol import Deadline, ScanRange, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.functional.aged_items import NOW, OLD, RUN, YOUNG, AgedItems, hold_of, in_a_run, reporting

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)

WRITES = ("delete_item", "update_item", "put_item", "batch_write_item", "batch_execute_statement")


@pytest.fixture
def world(moto_dynamodb: Engine) -> AgedItems:
    return AgedItems(moto_dynamodb)


def test_what_is_old_goes_whosever_it_is(world: AgedItems) -> None:
    """Everybody's old items go, to the very moment; younger ones stay, and the verifier finds nothing left."""
    for user in ("ann", "bob"):
        world.put(user, f"SESSION#old {user}")
        world.put(user, f"SESSION#young {user}", YOUNG)
    world.put("ann", "SESSION#exactly", NOW.replace(month=5, day=2))
    world.put("ann", "SESSION#a millisecond later", {"S": "2026-05-02T12:00:00.001Z"})
    spec = in_a_run(world.spec())
    assert world.erase(spec) == SliceResult(3, done=True)
    assert world.sorts() == {"SESSION#young ann", "SESSION#young bob", "SESSION#a millisecond later"}
    assert world.verify(spec) == VerifyResult(0, complete=True)
    assert world.erase(spec) == SliceResult(0, done=True)


def test_what_is_not_certainly_of_the_target_stays(world: AgedItems) -> None:
    """Items of other forms of keys, or with values that are nobody's id, stay however old they are."""
    others = [
        ("T#acme#U#", "SESSION#1"),
        ("T##U#ann", "SESSION#1"),
        ("T#acme#U# ", "SESSION#1"),
        ("T#acme#U#a\u0085b", "SESSION#1"),
        ("T#acme#U#" + "a" * 257, "SESSION#1"),
        ("t#acme#U#ann", "SESSION#1"),
        ("T#acme#ann", "SESSION#1"),
        ("T#acme#G#ann", "SESSION#1"),
        ("T#acme#U#ann", "ORDER#1"),
        ("T#acme#U#ann", "SESSION"),
        ("T#acme#U#ann", "session#1"),
    ]
    for number, (partition, sort) in enumerate(others):
        world.put("", sort, pk={"S": partition}, number={"N": str(number)})
    before = world.engine.everything(world.table)
    spec = in_a_run(world.spec())
    assert world.erase(spec) == SliceResult(0, done=True)
    assert world.verify(spec) == VerifyResult(0, complete=True)
    assert world.engine.everything(world.table) == before
    assert len(before) == len(others)


def test_what_may_be_anothers_by_another_target_stays(world: AgedItems) -> None:
    """A user whose id looks like another target's key: nobody can tell whose such an item is, so it stays."""
    partition = KeyRule("pk", "T#{tenant_id}#U#{user_id}")
    mine = TargetSpec("mine", "session", dynamodb=DynamoDBRule(world.table, partition, KeyRule("sk", "S")))
    of_groups = TargetSpec(
        "groups",
        "content",
        dynamodb=DynamoDBRule(world.table, KeyRule("pk", "T#{tenant_id}#U#groups#{group_id}"), KeyRule("sk", "S")),
        subjects=(GROUP,),
    )
    world.put("ann", "S")
    world.put("groups#1", "S")
    assert world.erase(in_a_run(mine, of_groups)) == SliceResult(1, done=True)
    assert [item["pk"]["S"] for item in world.engine.everything(world.table)] == ["T#acme#U#groups#1"]


@pytest.mark.parametrize(
    "seen_at", [None, {"S": "yesterday"}, {"N": "20260131"}, {"NULL": True}, {"S": ""}, {"BOOL": False}, {"N": "2000"}]
)
def test_an_age_that_cannot_be_read_keeps_the_item(world: AgedItems, seen_at: Any) -> None:
    """An item without a moment, or with one that could mean another, stays and is told of; the others go."""
    world.put("ann", "SESSION#unclear", seen_at)
    world.put("ann", "SESSION#clear")
    world.put("ann", "ORDER#not of the target", None)
    spec = in_a_run(world.spec())
    assert world.erase(spec) == SliceResult(1, done=True)
    assert world.sorts() == {"SESSION#unclear", "ORDER#not of the target"}
    assert world.verify(spec) == VerifyResult(0, complete=True, kept=Kept(unreadable=1))


def test_two_targets_in_one_table_have_their_own_rules(world: AgedItems) -> None:
    """A run takes its own target's items and none of another's, whatever prefix that has."""
    for sort in ("SESSION#1", "ORDER#1"):
        world.put("ann", sort)
    assert world.erase(in_a_run(world.spec("ORDER#"), world.spec())) == SliceResult(1, done=True)
    assert world.sorts() == {"SESSION#1"}


def test_through_an_index_the_item_is_told_by_its_attributes(world: AgedItems) -> None:
    """A target that is found through an index: the index's attributes tell whose an item is, and its own key deletes
    it; an item without them, or with a number there, is nobody's."""
    world.put("x", "1", owner={"S": "acme#ann"})
    world.put("x", "2", owner={"S": "acme"})
    world.put("x", "3")
    assert world.erase(in_a_run(world.by_owner())) == SliceResult(1, done=True)
    assert world.sorts() == {"2", "3"}


def test_scanned_attributes_tell_whose_an_item_is(moto_dynamodb: Engine) -> None:
    """A target that scans anyway: by its attributes; numbers are nobody's."""
    world = AgedItems(moto_dynamodb)
    rule = DynamoDBRule(world.table, KeyRule("who", "{user_id}"), scan=True)
    world.put("x", "1", who={"S": "ann"})
    world.put("x", "2", who={"N": "1"})
    assert world.erase(in_a_run(TargetSpec("t", "content", dynamodb=rule))) == SliceResult(1, done=True)
    assert world.sorts() == {"2"}


REDACTED = (RedactRule("email", "digest"), RedactRule("name", "remove"))


def test_old_items_are_redacted_where_the_target_redacts(world: AgedItems) -> None:
    """Redacting instead of deleting: old ones lose what the map says, once; young ones nothing."""
    for sort, seen_at in (("SESSION#old", OLD), ("SESSION#young", YOUNG)):
        world.put("ann", sort, seen_at, email={"S": "a@example.org"}, name={"S": "Ann"})
    spec = in_a_run(world.spec(redact=REDACTED))
    assert world.verify(spec).left == 1
    assert world.erase(spec) == SliceResult(1, done=True)
    items = {item["sk"]["S"]: item for item in world.engine.everything(world.table)}
    assert items["SESSION#old"].keys() == {"pk", "sk", "seen_at", "email"}
    assert items["SESSION#old"]["email"]["S"].startswith("erased:")
    assert items["SESSION#young"]["email"] == {"S": "a@example.org"}
    assert world.verify(spec) == VerifyResult(0, complete=True)
    assert world.erase(spec) == SliceResult(0, done=True)


def test_an_item_that_cannot_be_redacted_keeps_no_other(world: AgedItems) -> None:
    """One whose path leads through something else is told of, after all the others are done."""
    world.put("ann", "SESSION#1", profile={"S": "text"})
    world.put("bob", "SESSION#2", profile={"M": {"name": {"S": "Bob"}}})
    spec = in_a_run(world.spec(redact=(RedactRule("profile.name", "remove"),)))
    assert world.erase(spec) == SliceResult(1, done=False, problem="rejected", permanent=True)
    assert world.verify(spec).problem == "rejected"


def test_a_report_counts_and_writes_nothing(world: AgedItems) -> None:
    """What a report finds is what the run then takes; its calls are reading ones only."""
    for number in range(60):
        world.put(f"user{number % 7}", f"SESSION#{number:03d}", OLD if number % 2 else YOUNG)
    world.put("ann", "SESSION#unclear", None)
    spec = in_a_run(world.spec())
    client = HookedClient(world.engine.client)
    before = world.engine.everything(world.table)
    target = world.target(client)
    assert world.erase(reporting(spec), target) == SliceResult(30, done=True)
    assert world.verify(reporting(spec), target) == VerifyResult(0, complete=True, kept=Kept(unreadable=1))
    assert not [name for name, _ in client.calls if name in WRITES]
    assert world.engine.everything(world.table) == before
    assert world.erase(spec) == SliceResult(30, done=True)


@pytest.mark.parametrize(
    "held",
    [
        Subject("acme", "ann"),
        Subject("other tenant", "ann"),
        Subject("acme", "somebody", "user"),
    ],
    ids=["own id", "same id elsewhere", "alias"],
)
def test_items_of_held_people_stay(world: AgedItems, held: Subject) -> None:
    """A hold that names the owner, by their id or by another, keeps their items; they are told as kept."""
    world.holds.put(hold_of(held, *(["ann"] if held.id != "ann" else [])), None)
    world.put("ann", "SESSION#held")
    world.put("anna", "SESSION#free")
    spec = in_a_run(world.spec())
    assert world.erase(reporting(spec)) == SliceResult(1, done=True)
    assert world.erase(spec) == SliceResult(1, done=True)
    assert world.sorts() == {"SESSION#held"}
    assert world.verify(spec) == VerifyResult(0, complete=True, kept=Kept(1))


def test_a_hold_that_is_set_meanwhile_keeps_what_is_left(world: AgedItems) -> None:
    """Holds are asked about right before: one that is set between two pieces of work keeps what has not gone yet."""
    for number in range(30):
        world.put("ann", f"SESSION#{number:03d}")
    world.segments = 1

    def delete(call: Callable[..., Any], **arguments: Any) -> Any:
        if not world.holds.holds:
            world.holds.put(hold_of(Subject("acme", "ann")), None)
        return call(**arguments)

    result = world.erase(in_a_run(world.spec()), world.target(HookedClient(world.engine.client, delete_item=delete)))
    assert result.done
    assert len(world.sorts()) == 30 - result.erased >= 5


@pytest.mark.parametrize("error", [UnavailableError("no answer"), client_error("InternalServerError", 500)])
def test_nothing_goes_while_nobody_can_say_who_is_held(
    world: AgedItems, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds that cannot be read, or that nobody can be asked about: nothing is deleted, and it is told."""
    world.put("ann", "SESSION#1")

    def held(_marks: object) -> dict[str, str]:
        raise error

    monkeypatch.setattr(world.holds, "held", held)
    spec = in_a_run(world.spec())
    assert world.erase(spec) == SliceResult(0, done=False, problem="unavailable")
    assert world.verify(spec) == VerifyResult(0, complete=False, problem="unavailable")
    without = world.engine.target()
    assert world.erase(spec, without) == SliceResult(0, done=False, problem="map_mismatch", permanent=True)
    assert world.sorts() == {"SESSION#1"}


@pytest.mark.parametrize("change", ["touched", "owned by others", "gone"])
def test_an_item_that_changes_under_way_stays(world: AgedItems, change: str) -> None:
    """Between reading and deleting, somebody uses it, hands it over or deletes it: it is not touched, nor counted."""
    item = world.put("x", "1", owner={"S": "acme#ann"})
    spec = in_a_run(world.by_owner())

    def delete(call: Callable[..., Any], **arguments: Any) -> Any:
        if change == "gone":
            world.engine.client.delete_item(TableName=world.table, Key={"pk": item["pk"], "sk": item["sk"]})
        else:
            new = {"seen_at": {"S": "2026-05-31T00:00:00Z"}} if change == "touched" else {"owner": {"S": "acme#bob"}}
            world.put("x", "1", **{"seen_at": OLD, "owner": {"S": "acme#ann"}, **new})
        return call(**arguments)

    assert world.erase(spec, world.target(HookedClient(world.engine.client, delete_item=delete))).erased == 0
    assert len(world.sorts()) == (change != "gone")
    assert world.verify(spec).left == (change == "owned by others")


def test_a_deletion_without_an_answer_counts_once(world: AgedItems) -> None:
    """Carried out, and the answer lost: the repetition finds the item gone, and it counts."""
    world.put("ann", "SESSION#1")
    lost: list[Any] = []

    def delete(call: Callable[..., Any], **arguments: Any) -> Any:
        answer = call(**arguments)
        if not lost:
            lost.append(answer)
            raise client_error("InternalServerError", 500)
        return answer

    client = HookedClient(world.engine.client, delete_item=delete)
    assert world.erase(in_a_run(world.spec()), world.target(client, sleep=lambda _: None)) == SliceResult(1, done=True)


def test_a_page_that_is_behind_takes_nothing_young(world: AgedItems) -> None:
    """A page may be old: the item is read again before it goes."""
    world.put("ann", "SESSION#1", YOUNG)

    def scan(call: Callable[..., Any], **arguments: Any) -> Any:
        page = call(**arguments)
        for item in page["Items"]:
            item["seen_at"] = {"S": "2020-01-01"}
        return page

    client = HookedClient(world.engine.client, scan=scan)
    assert world.erase(in_a_run(world.spec()), world.target(client)) == SliceResult(0, done=True)
    assert world.sorts() == {"SESSION#1"}


def test_a_slice_goes_on_where_the_last_one_ended(world: AgedItems) -> None:
    """Time runs out or reading fails: the segments that are done are not read again, a report counts nothing twice,
    and in the end all is told."""
    for number in range(80):
        world.put(f"user{number}", f"SESSION#{number}")
    world.segments = 8
    spec, read = in_a_run(world.spec()), list[int]()

    def scan(call: Callable[..., Any], **arguments: Any) -> Any:
        read.append(arguments["Segment"])
        if len(read) % 5 == 3:
            raise client_error("AccessDeniedException")
        return call(**arguments)

    target = world.target(HookedClient(world.engine.client, scan=scan))
    found, segments, slices = 0, world.scan(), 0
    while segments.done < segments.end:
        (result,) = target.erase(reporting(spec), RUN, Deadline(60), scan=segments)
        found, slices = found + result.erased, slices + 1
        assert result.done == (segments.done == segments.end)
    assert found == 80
    assert slices > 2


def test_shards_take_what_is_in_them(world: AgedItems) -> None:
    """Two shards of a table, one after the other: each takes its own items and no others'."""
    for number in range(40):
        world.put(f"user{number}", f"SESSION#{number}")
    spec, target = in_a_run(world.spec()), world.target()
    ranges = [ScanRange(8, 0, 4), ScanRange(8, 4, 8)]
    first, second = (target.erase(spec, RUN, Deadline(60), scan=each)[0] for each in ranges)
    assert first.done
    assert second.done
    assert first.erased + second.erased == 40
    assert min(first.erased, second.erased) > 0
    assert world.sorts() == set()


def test_counts_are_told_while_it_goes_on_and_a_lost_slice_stops(world: AgedItems) -> None:
    """What has gone is told in the caller's thread; one who has lost the slice ends it there."""
    for number in range(10):
        world.put(f"user{number}", f"SESSION#{number}")
    told: list[tuple[int, int, str]] = []
    spec = in_a_run(world.spec())

    def lose(position: int, count: int) -> None:
        told.append((position, count, threading.current_thread().name))
        raise SliceLostError

    with pytest.raises(SliceLostError):
        world.target().erase(spec, RUN, Deadline(60), lose, world.scan())
    assert {(position, name) for position, _, name in told} == {(0, threading.current_thread().name)}


def test_a_table_that_does_not_fit_is_told(world: AgedItems) -> None:
    """Another key than the map says, no rule, or no range: permanent, and nothing is read."""
    wrong = DynamoDBRule(world.table, KeyRule("id", "{user_id}"))
    client = HookedClient(world.engine.client)
    mismatch = SliceResult(0, done=False, problem="map_mismatch", permanent=True)
    target = world.target(client)
    assert world.erase(in_a_run(TargetSpec("t", "content", dynamodb=wrong)), target) == mismatch
    assert world.erase(in_a_run(world.spec(), mode="void"), target) == mismatch
    assert target.erase(in_a_run(world.spec()), RUN, Deadline(60)) == [mismatch]
    redacted = replace(in_a_run(world.spec()), redact=(RedactRule("seen_at", "remove"),))
    assert world.erase(redacted, target) == mismatch
    assert client.count("scan") == 0
