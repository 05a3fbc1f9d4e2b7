"""What going through a whole table for many subjects promises, on three engines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import DynamoDBRule, KeyRule, RedactRule, RetainRule, TargetSpec
from erasure.targets.protocol import Deadline, ScanRange, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.dynamodb_items import strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

BY_USER = KeyRule("user_id", "{user_id}")
BY_TENANT = KeyRule("tenant", "{tenant_id}")
SEGMENTS = 5


def scanned(table: str, first: KeyRule = BY_USER, second: KeyRule | None = BY_TENANT) -> TargetSpec:
    return TargetSpec("target", "content", dynamodb=DynamoDBRule(table, first, second, scan=True))


def whole(total: int = SEGMENTS) -> ScanRange:
    return ScanRange(total, 0, total)


def events(user_id: str, count: int, tenant_id: str = "acme") -> list[Item]:
    return [
        strings(pk=f"{tenant_id}/{user_id}/{number}", user_id=user_id, tenant=tenant_id, text="x" * 50)
        for number in range(count)
    ]


def table_of(engine: Engine, *items: Item) -> str:
    table = engine.create_table(["pk"])
    engine.put(table, items)
    return table


def keyed(items: Iterable[Item]) -> dict[str, Item]:
    """The items by their keys: engines differ in the order of attributes."""
    return {item["pk"]["S"]: item for item in items}


def gone(count: int) -> SliceResult:
    return SliceResult(count, done=True)


def test_everybodys_items_go_in_one_pass(dynamodb: Engine) -> None:
    """Each subject is told its own count, items of anybody else stay, and reading costs the same for any number."""
    others = [*events("10", 9), *events("1", 8, "globex"), strings(pk="a", user_id="1"), strings(pk="b", tenant="acme")]
    table = table_of(dynamodb, *events("1", 61), *events("2", 1), *others)
    client = HookedClient(dynamodb.client)
    target, subjects = dynamodb.target(client), [user("1"), user("2"), user("3")]
    found = target.verify(scanned(table), subjects, Deadline(60), whole())
    assert found == [VerifyResult(count, complete=True) for count in (61, 1, 0)]
    scan = whole()
    told: list[tuple[int, int]] = []
    results = target.erase(
        scanned(table), subjects, Deadline(60), lambda position, count: told.append((position, count)), scan
    )
    assert results == [gone(61), gone(1), gone(0)]
    assert sum(count for position, count in told if position == 0) == 61
    assert scan == ScanRange(SEGMENTS, 0, SEGMENTS, SEGMENTS)
    assert keyed(dynamodb.everything(table)) == keyed(others)
    assert client.count("scan") == 2 * SEGMENTS
    assert target.verify(scanned(table), subjects, Deadline(60), whole()) == [VerifyResult(0, complete=True)] * 3


def test_more_subjects_than_an_engine_compares_with(dynamodb: Engine) -> None:
    """Of 150 subjects at once each loses its own items, and nobody else any."""
    table = table_of(dynamodb, *(item for number in range(160) for item in events(f"u{number}", 2)))
    subjects = [user(f"u{number}") for number in range(150)]
    assert dynamodb.target().erase(scanned(table), subjects, Deadline(60), scan=whole()) == [gone(2)] * 150
    assert {item["user_id"]["S"] for item in dynamodb.everything(table)} == {f"u{number}" for number in range(150, 160)}


def test_shards_share_a_table(dynamodb: Engine) -> None:
    """Ranges that make up a table erase all of it between them, each item once."""
    table = table_of(dynamodb, *events("ann", 80), *events("bob", 20))
    ranges = [ScanRange(6, 0, 2), ScanRange(6, 2, 3), ScanRange(6, 3, 6)]
    results = [dynamodb.target().erase(scanned(table), [user("ann")], Deadline(60), scan=scan)[0] for scan in ranges]
    assert all(result.done for result in results)
    assert sum(result.erased for result in results) == 80
    assert keyed(dynamodb.everything(table)) == keyed(events("bob", 20))


def test_item_that_changed_hands_after_it_was_read_stays(dynamodb: Engine) -> None:
    """What is somebody else's by the time of its deletion is not deleted."""
    table = table_of(dynamodb, *events("ann", 3))
    stolen = events("ann", 1)[0] | strings(user_id="bob")

    def scan(call: Any, **arguments: Any) -> Any:
        page = call(**arguments)
        dynamodb.put(table, [stolen])
        return page

    target = dynamodb.target(HookedClient(dynamodb.client, scan=scan))
    assert target.erase(scanned(table), [user("ann")], Deadline(60), scan=whole(1)) == [gone(2)]
    assert dynamodb.everything(table) == [stolen]


def test_matched_attribute_may_be_a_key(dynamodb: Engine) -> None:
    """A sort key that names the person can be matched too, with other people's items beside it."""
    table = dynamodb.create_table(["pk", "user_id"])
    others = [strings(pk=f"{number}", user_id="anna") for number in range(5)]
    dynamodb.put(table, [strings(pk=f"{number}", user_id="ann") for number in range(30)] + others)
    assert dynamodb.target().erase(scanned(table, BY_USER, None), [user("ann")], Deadline(60), scan=whole()) == [
        gone(30)
    ]
    left = dynamodb.everything(table)
    assert len(left) == 5
    assert {item["user_id"]["S"] for item in left} == {"anna"}


def test_number_that_may_be_the_person_is_told(dynamodb: Engine) -> None:
    """An item with 1 as a number may be of user 1 or 01: both fail, nothing of it is touched, others are erased."""
    odd = {"pk": {"S": "odd"}, "user_id": {"N": "1.0"}, "tenant": {"S": "acme"}}
    table = table_of(dynamodb, odd, *events("2", 3))
    subjects = [user("1"), user("01"), user("2")]
    target = dynamodb.target()
    unclear = SliceResult(0, done=False, problem="map_mismatch", permanent=True)
    left = VerifyResult(0, complete=False, problem="map_mismatch", permanent=True)
    verified = target.verify(scanned(table), subjects, Deadline(60), whole())
    assert verified == [left, left, VerifyResult(3, complete=True)]
    assert target.erase(scanned(table), subjects, Deadline(60), scan=whole()) == [unclear, unclear, gone(3)]
    assert [item["pk"]["S"] for item in dynamodb.everything(table)] == ["odd"]


def test_number_that_no_table_holds_is_in_nobodys_way(dynamodb: Engine) -> None:
    """An id of more digits than a number may have is looked for as a text only: everybody's items go."""
    long_id = f"{'1' * 38}.1"
    table = table_of(dynamodb, *events(long_id, 2), *events("ann", 3))
    results = dynamodb.target().erase(scanned(table), [user(long_id), user("ann")], Deadline(60), scan=whole())
    assert results == [gone(2), gone(3)]
    assert dynamodb.everything(table) == []


def test_key_of_another_type_is_a_mistake_of_the_map(dynamodb: Engine) -> None:
    """A table whose key is a number cannot be matched by a text."""
    table = dynamodb.create_table(["pk", "user_id"], types={"user_id": "N"})
    (result,) = dynamodb.target().erase(scanned(table, BY_USER, None), [user("1")], Deadline(60), scan=whole())
    assert (result.problem, result.permanent) == ("map_mismatch", True)


def test_items_are_redacted_where_they_are_found(dynamodb: Engine) -> None:
    """Redacting by a scan leaves the items, without the text; a second look finds nothing to do."""
    table = table_of(dynamodb, *events("ann", 30), *events("bob", 2))
    rule = replace(scanned(table), redact=(RedactRule("text", "remove"),))
    target = dynamodb.target()
    assert target.verify(rule, [user("ann")], Deadline(60), whole()) == [VerifyResult(30, complete=True)]
    assert target.erase(rule, [user("ann")], Deadline(60), scan=whole()) == [gone(30)]
    assert target.verify(rule, [user("ann")], Deadline(60), whole()) == [VerifyResult(0, complete=True)]
    assert keyed(item for item in dynamodb.everything(table) if "text" in item) == keyed(events("bob", 2))
    assert len(dynamodb.everything(table)) == 32


def test_what_the_law_keeps_is_kept(dynamodb: Engine) -> None:
    """Of items found by a scan, those whose time has not come stay and are told with it; one without a time is told
    as a problem."""
    dated = [item | strings(at=at) for item, at in zip(events("ann", 2), ("2020-01-01", "2024-01-01"), strict=True)]
    table = table_of(dynamodb, *dated)
    rule = replace(scanned(table), retain=RetainRule("tax", "5y", "at"))
    target = dynamodb.target(now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert target.erase(rule, [user("ann")], Deadline(60), scan=whole()) == [gone(1)]
    kept = Kept(1, "2029-01-01T00:00:00.000Z")
    assert target.verify(rule, [user("ann")], Deadline(60), whole()) == [VerifyResult(0, complete=True, kept=kept)]
    dynamodb.put(table, [events("ann", 3)[2]])
    (result,) = target.verify(rule, [user("ann")], Deadline(60), whole())
    assert (result.complete, result.problem, result.permanent) == (False, "retention_unknown", True)


def test_scan_without_a_range_is_no_scan(dynamodb: Engine) -> None:
    """Nothing is called done of which nobody said how much of it there is to do, and no other rule takes a range."""
    table = table_of(dynamodb, *events("ann", 2))
    by_key = TargetSpec("target", "content", dynamodb=DynamoDBRule(table, KeyRule("pk", "{user_id}")))
    wrong = SliceResult(0, done=False, problem="map_mismatch", permanent=True)
    assert dynamodb.target().erase(scanned(table), [user("ann")], Deadline(60)) == [wrong]
    assert dynamodb.target().erase(by_key, [user("ann")], Deadline(60), scan=whole()) == [wrong]
    assert dynamodb.target().verify(scanned(table), [user("ann")], Deadline(60))[0].complete is False
    assert len(dynamodb.everything(table)) == 2


def test_missing_table_is_everybodys_problem(dynamodb: Engine) -> None:
    """A table that does not exist fails all subjects, and no segment of it counts as gone through."""
    scan = whole()
    missing = SliceResult(0, done=False, problem="target_missing", permanent=True)
    results = dynamodb.target().erase(scanned("app-nowhere"), [user("ann"), user("bob")], Deadline(60), scan=scan)
    assert results == [missing] * 2
    assert scan.done == 0
