"""Going through a table when slices end early, calls fail and one subject makes trouble. On moto."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erasure.domain.plan import Shard
from erasure.domain.target_spec import DynamoDBRule, KeyRule, RedactRule, RetainRule, TargetSpec
from erasure.errors import SliceLostError, TargetError
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, ScanRange, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.contract.dynamodb_items import strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)

THROTTLE = client_error("ProvisionedThroughputExceededException")
SEGMENTS = 8
ANN, BOB = user("ann"), user("bob")


class Time:
    """A clock that moves when somebody sleeps, so that waiting takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds

    def clock(self) -> float:
        return self.now


class World:
    """A table with 60 items of ann, 20 of bob and 30 of anna, in eight segments."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.time = engine, Time()
        self.table = engine.create_table(["pk"])
        for name, count in (("ann", 60), ("bob", 20), ("anna", 30)):
            engine.put(self.table, [event(name, number) for number in range(count)])
        self.spec = TargetSpec(
            "target", "content", dynamodb=DynamoDBRule(self.table, KeyRule("user_id", "{user_id}"), scan=True)
        )

    def client(self, **hooks: Callable[..., Any]) -> HookedClient:
        return HookedClient(self.engine.client, **hooks)

    def one_by_one(self, **hooks: Callable[..., Any]) -> HookedClient:
        """A client of a table with so little capacity that its segments are read one after the other."""
        return self.client(describe_table=provisioned(1000), **hooks)

    def slow(self, call: Any, **arguments: Any) -> Any:
        """A call that takes a second."""
        self.time.sleep(1)
        return call(**arguments)

    def target(self, client: Any, **options: Any) -> DynamoDBTarget:
        fast = {"sleep": self.time.sleep, "clock": self.time.clock, "random": lambda: 1.0}
        return self.engine.target(client, **fast, **options)

    def deadline(self, seconds: float = 600) -> Deadline:
        return Deadline(seconds, self.time.clock)

    def erase(self, client: Any, scan: ScanRange, **options: Any) -> list[SliceResult]:
        return self.target(client, **options).erase(self.spec, [ANN, BOB], self.deadline(), scan=scan)

    def left(self, *names: str, first: int = 0, end: int = SEGMENTS) -> int:
        """Items of these people in some of the segments."""
        pages = [
            self.engine.client.scan(TableName=self.table, Segment=segment, TotalSegments=SEGMENTS, ConsistentRead=True)
            for segment in range(first, end)
        ]
        return sum(item["user_id"]["S"] in names for page in pages for item in page["Items"])


def event(name: str, number: int) -> Item:
    return strings(pk=f"{name}-{number}", user_id=name, text="x")


def provisioned(units: int) -> Callable[..., Any]:
    """A DescribeTable that says that the table is paid for so many units, and holds 110 items of 2 KB."""

    def describe(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        answer["Table"] |= {
            "BillingModeSummary": {"BillingMode": "PROVISIONED"},
            "ProvisionedThroughput": {"ReadCapacityUnits": units, "WriteCapacityUnits": units},
            "TableSizeBytes": 110 * 2048,
            "ItemCount": 110,
        }
        return answer

    return describe


def whole() -> ScanRange:
    return ScanRange(SEGMENTS, 0, SEGMENTS)


@pytest.fixture
def world(moto_dynamodb: Engine) -> World:
    return World(moto_dynamodb)


def test_slice_that_ends_goes_on_where_it_was(world: World) -> None:
    """Slices that end at any moment erase everything between them; what counts as gone through holds nothing any more,
    and is not read again."""
    scan, erased, slices = whole(), [0, 0], 0
    while scan.done < SEGMENTS:
        client, done_before = world.one_by_one(scan=world.slow), scan.done
        results = world.target(client, workers=1).erase(world.spec, [ANN, BOB], world.deadline(5), scan=scan)
        erased = [count + result.erased for count, result in zip(erased, results, strict=True)]
        assert world.left("ann", "bob", end=scan.done) == 0
        assert all(result.done == (scan.done == SEGMENTS) for result in results)
        assert min(arguments["Segment"] for name, arguments in client.calls if name == "scan") == done_before
        slices += 1
        assert slices < 20
    assert slices > 1
    assert erased == [60, 20]
    assert world.left("anna") == 30


def test_slice_that_dies_has_counted_no_more_than_it_did(world: World) -> None:
    """If telling of progress ends the slice, segments count as gone through only where all was settled."""

    def lost(_: int, __: int) -> None:
        raise SliceLostError

    scan, target = whole(), world.target(world.client(delete_item=world.slow), workers=1)
    with pytest.raises(SliceLostError):
        target.erase(world.spec, [ANN, BOB], world.deadline(), lost, scan)
    assert world.left("ann", "bob", end=scan.done) == 0
    assert world.left("ann", "bob") > 0
    world.erase(world.engine.client, scan)
    assert world.left("ann", "bob") == 0


def test_scan_that_is_refused_for_long_is_told_and_goes_on_later(world: World) -> None:
    """A table that throttles all reads after a while: what was gone through counts, the rest is for another slice."""

    def throttled(call: Any, **arguments: Any) -> Any:
        if arguments["Segment"] >= 4:
            raise THROTTLE
        return call(**arguments)

    scan = whole()
    results = world.erase(world.one_by_one(scan=throttled), scan, workers=1)
    assert [(result.done, result.problem, result.permanent) for result in results] == [(False, "throttled", False)] * 2
    assert 0 < scan.done <= 4
    assert world.left("ann", "bob", end=scan.done) == 0
    again = world.erase(world.engine.client, scan)
    assert all(result.done for result in again)
    assert sum(result.erased for result in results + again) == 80


def test_denied_scan_is_permanent_and_nothing_counts(world: World) -> None:
    """Without the right to read the table, everybody fails, when erasing and when looking."""

    def denied(_: Any, **__: Any) -> Any:
        raise client_error("AccessDeniedException")

    client, scan = world.client(scan=denied), whole()
    assert world.erase(client, scan) == [SliceResult(0, done=False, problem="access_denied", permanent=True)] * 2
    left = world.target(client).verify(world.spec, [ANN, BOB], world.deadline(), scan)
    assert left == [VerifyResult(0, complete=False, problem="access_denied", permanent=True)] * 2
    assert scan.done == 0


def test_one_subjects_refusal_is_nobody_elses(world: World) -> None:
    """Items of ann that the engine does not let go fail ann for good; bob's go, and the table is gone through."""

    def delete(call: Any, **arguments: Any) -> Any:
        if arguments["ExpressionAttributeValues"][":m0"] == {"S": "ann"}:
            raise client_error("ValidationException")
        return call(**arguments)

    scan = whole()
    ann, bob = world.erase(world.client(delete_item=delete), scan)
    assert (ann.erased, ann.done, ann.problem, ann.permanent) == (0, False, "rejected", True)
    assert bob == SliceResult(20, done=True)
    assert scan.done == SEGMENTS


def test_what_another_slice_can_settle_is_come_back_for(world: World) -> None:
    """An item of ann that keeps changing holds back its segment, though nobody else; the next slice settles it."""
    held = event("ann", 7)["pk"]

    def update(call: Any, **arguments: Any) -> Any:
        if arguments["Key"]["pk"] == held:
            raise client_error("ConditionalCheckFailedException")
        return call(**arguments)

    world.spec = replace(world.spec, redact=(RedactRule("text", "remove"),))
    scan = whole()
    ann, bob = world.erase(world.client(update_item=update), scan)
    assert (ann.done, ann.problem, ann.permanent) == (False, "unavailable", False)
    assert bob == SliceResult(20, done=True)
    assert scan.done < SEGMENTS
    (again,) = world.target(world.engine.client).erase(world.spec, [ANN], world.deadline(), scan=scan)
    assert again.done
    assert ann.erased + again.erased == 60
    left = world.target(world.engine.client).verify(world.spec, [ANN, BOB], world.deadline(), whole())
    assert left == [VerifyResult(0, complete=True)] * 2


def test_flaw_is_told_by_the_part_in_which_it_is_found(world: World) -> None:
    """An item without the time until which it is kept is told also if the rest of the table was not looked at."""
    world.spec = replace(world.spec, retain=RetainRule("tax", "5y", "at"))
    scan, client = whole(), world.one_by_one(scan=world.slow)
    target = world.target(client, workers=1, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    results = target.verify(world.spec, [ANN], world.deadline(7), scan)
    assert scan.done < SEGMENTS
    assert [(result.complete, result.problem) for result in results] == [(False, "retention_unknown")]


def test_looking_sees_every_write_and_erasing_pays_half(world: World) -> None:
    """Verification reads with strong consistency, erasing does not; both ask for keys and matches only."""
    client = world.client()
    target = world.target(client)
    target.erase(world.spec, [ANN], world.deadline(), scan=whole())
    target.verify(world.spec, [ANN], world.deadline(), whole())
    asked = [arguments for name, arguments in client.calls if name == "scan"]
    assert [arguments["ConsistentRead"] for arguments in asked] == [False] * SEGMENTS + [True] * SEGMENTS
    names = {frozenset(arguments["ExpressionAttributeNames"].values()) for arguments in asked}
    assert names == {frozenset({"pk", "user_id"})}
    assert all("ProjectionExpression" in arguments for arguments in asked)


def test_nobodys_text_is_ever_part_of_an_expression(world: World) -> None:
    """What is looked for goes as values, however odd it is."""
    client = world.client()
    odd = user('ann") OR attribute_exists(pk')
    results = world.target(client).erase(world.spec, [odd, ANN], world.deadline(), scan=whole())
    assert [result.erased for result in results] == [0, 60]
    asked = [arguments for name, arguments in client.calls if name == "scan"]
    assert all("ann" not in arguments["FilterExpression"] for arguments in asked)
    assert world.left("bob", "anna") == 50


@pytest.mark.parametrize("count", [100, 101])
def test_engine_is_told_whom_to_look_for_if_they_are_few(world: World, count: int) -> None:
    """Up to a hundred are compared by the engine, more by ourselves; each is found either way."""
    client = world.client()
    subjects = [ANN, *(user(f"x{number}") for number in range(count - 1))]
    results = world.target(client).erase(world.spec, subjects, world.deadline(), scan=whole())
    assert [result.erased for result in results] == [60] + [0] * (count - 1)
    asked = [arguments for name, arguments in client.calls if name == "scan"]
    assert all(("FilterExpression" in arguments) == (count == 100) for arguments in asked)
    assert world.left("bob", "anna") == 50


def test_pages_of_a_small_table_are_small(world: World) -> None:
    """A page asks for no more than a second's worth of the share of a small provisioned table."""
    client = world.client(describe_table=provisioned(4))
    assert all(result.done for result in world.erase(client, whole()))
    limits = {arguments["Limit"] for name, arguments in client.calls if name == "scan"}
    assert limits == {8}  # half of 4 units pay for 16 KB without strong consistency
    assert world.left("ann", "bob") == 0


def test_rare_finds_do_not_wait_for_each_other(world: World) -> None:
    """A segment is done as soon as its own few finds are settled, not when a batch is full."""
    carl = [event("carl", number) for number in range(4)]
    world.engine.put(world.table, carl)
    scan, target = whole(), world.target(world.one_by_one(scan=world.slow), workers=1)
    target.erase(world.spec, [user("carl")], world.deadline(6.5), scan=scan)
    assert scan.done >= 4


def test_shards_come_from_the_table(world: World) -> None:
    """A small table is one shard, and only what is scanned has any."""
    target = world.target(world.engine.client)
    assert target.shards(world.spec, world.deadline()) == (Shard(1, 0, 1),)
    by_key = TargetSpec("target", "content", dynamodb=DynamoDBRule(world.table, KeyRule("pk", "{user_id}")))
    with pytest.raises(TargetError, match="map_mismatch"):
        target.shards(by_key, world.deadline())
    nowhere = replace(world.spec, dynamodb=DynamoDBRule("nowhere", KeyRule("user_id", "{user_id}"), scan=True))
    with pytest.raises(TargetError, match="target_missing"):
        target.shards(nowhere, world.deadline())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.sampled_from(["1", "01", "10", "a", "A", "a ", "ä", "a\u0308"]), max_size=40),
    erased=st.sets(st.sampled_from(["1", "01", "10", "a", "A", "a ", "ä", "a\u0308"]), min_size=1),
    segments=st.integers(1, 6),
)
def test_exactly_those_named_are_erased(
    moto_dynamodb: Engine, owners: list[str], erased: set[str], segments: int
) -> None:
    """Whoever the items belong to and however the table is divided: what is left is everybody else's, untouched."""
    table = moto_dynamodb.create_table(["pk"])
    items = [strings(pk=str(number), user_id=owner) for number, owner in enumerate(owners)]
    moto_dynamodb.put(table, items)
    spec = TargetSpec("target", "content", dynamodb=DynamoDBRule(table, KeyRule("user_id", "{user_id}"), scan=True))
    subjects = sorted(erased)
    scan = ScanRange(segments, 0, segments)
    results = moto_dynamodb.target().erase(spec, list(map(user, subjects)), Deadline(60), scan=scan)
    assert results == [SliceResult(owners.count(name), done=True) for name in subjects]
    left = [item for item in items if item["user_id"]["S"] not in erased]
    assert moto_dynamodb.everything(table) == sorted(left, key=repr)
