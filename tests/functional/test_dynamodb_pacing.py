"""What an application keeps of its table while people are erased from it, in calm and in a storm of refusals.

Against a table in fake time that counts what it is asked for and what it gives, by the second.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, ScanRange, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import client_error
from tests.contract.dynamodb_items import strings, user

pytestmark = pytest.mark.timeout(60)

CALL_SECONDS = 0.01
PAGE_UNITS = 10.0
STORM = range(20, 40)
"""Seconds in which others take nearly everything."""


class SmallTable:
    """A client of a provisioned table that takes ``units`` a second of each kind, and gives erasing ``spare(second)``
    of them; what is beyond is refused. Every call takes a hundredth of a second of ``now``."""

    def __init__(self, units: int, items: int, pages: int, spare: Callable[[int], float]) -> None:
        self.now = 0.0
        self.given: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self._units, self._spare = units, spare
        self._items = {f"{number:05}" for number in range(items)}
        self._pages = pages
        self._tokens, self._refilled_at = float(units), 0.0
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds

    def clock(self) -> float:
        return self.now

    def describe_table(self, **_: Any) -> Any:
        throughput = {"ReadCapacityUnits": self._units, "WriteCapacityUnits": self._units}
        return {
            "Table": {
                "TableName": "app_data",
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                "ProvisionedThroughput": throughput,
            }
        }

    def query(self, **_: Any) -> Any:
        with self._lock:
            items = [strings(pk="ann", sk=sort) for sort in sorted(self._items)]
        return {"Items": items, "Count": len(items)}

    def batch_write_item(self, RequestItems: Any, **_: Any) -> Any:  # noqa: N803 - as AWS calls it
        ((table, requests),) = RequestItems.items()
        taken = [request for request in requests if self._take(1)]
        with self._lock:
            self._items -= {request["DeleteRequest"]["Key"]["sk"]["S"] for request in taken}
        if not taken:
            raise client_error("ProvisionedThroughputExceededException")
        rest = [request for request in requests if request not in taken]
        consumed = [{"TableName": table, "CapacityUnits": float(len(taken))}]
        return {"UnprocessedItems": {table: rest} if rest else {}, "ConsumedCapacity": consumed}

    def scan(self, **arguments: Any) -> Any:
        if not self._take(PAGE_UNITS):
            raise client_error("ProvisionedThroughputExceededException")
        page = int(arguments.get("ExclusiveStartKey", {}).get("pk", {}).get("S", "0")) + 1
        answer: dict[str, Any] = {"Items": [], "Count": 0, "ConsumedCapacity": {"CapacityUnits": PAGE_UNITS}}
        return answer | ({"LastEvaluatedKey": strings(pk=str(page))} if page < self._pages else {})

    def _take(self, units: float) -> bool:
        with self._lock:
            self.now += CALL_SECONDS / 25 if units == 1 else CALL_SECONDS
            second = int(self.now)
            spare = self._spare(second)
            self._tokens = min(spare, self._tokens + (self.now - self._refilled_at) * spare)
            self._refilled_at = self.now
            if self._tokens < units:
                self.refused[second] += int(units)
                return False
            self._tokens -= units
            self.given[second] += int(units)
            return True

    def target(self, **options: Any) -> DynamoDBTarget:
        # One call after the other, so that time is nobody's luck.
        return DynamoDBTarget(self, workers=1, sleep=self.sleep, clock=self.clock, random=lambda: 0.5, **options)

    def deadline(self) -> Deadline:
        return Deadline(10_000, self.clock)


BY_KEY = TargetSpec("target", "content", dynamodb=DynamoDBRule("app_data", KeyRule("pk", "{user_id}")))
BY_SCAN = TargetSpec("target", "content", dynamodb=DynamoDBRule("app_data", KeyRule("user_id", "{user_id}"), scan=True))


def calm(_: int) -> float:
    return 200.0


def stormy(second: int) -> float:
    return 12.0 if second in STORM else 200.0


def total(counter: Counter[int], seconds: range) -> int:
    return sum(counter[second] for second in seconds)


def erase(table: SmallTable, **options: Any) -> SliceResult:
    (result,) = table.target(**options).erase(BY_KEY, [user("ann")], table.deadline())
    return result


def look(table: SmallTable, **options: Any) -> VerifyResult:
    (result,) = table.target(**options).verify(BY_SCAN, [user("ann")], table.deadline(), ScanRange(1, 0, 1))
    return result


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_erasing_takes_its_share_of_writes_and_no_more(share: float) -> None:
    """Over any ten seconds, all but the share (and one first burst) is left; what may be taken is made use of."""
    table = SmallTable(200, 4000, 1, calm)
    assert erase(table, capacity_share=share) == SliceResult(4000, done=True)
    lasted = int(table.now)
    for start in range(lasted - 10):
        assert total(table.given, range(start, start + 10)) <= 1.15 * share * 200 * 10
    assert total(table.given, range(lasted)) >= 0.85 * share * 200 * lasted
    assert not table.refused


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_scanning_takes_its_share_of_reads_and_no_more(share: float) -> None:
    """Pages are paced by what they cost, although that is known only afterwards."""
    table = SmallTable(200, 0, 400, calm)
    assert look(table, capacity_share=share) == VerifyResult(0, complete=True)
    lasted = int(table.now)
    for start in range(lasted - 10):
        assert total(table.given, range(start, start + 10)) <= 1.15 * share * 200 * 10
    assert total(table.given, range(lasted)) >= 0.85 * share * 200 * lasted
    assert not table.refused


@pytest.mark.parametrize("work", [erase, look], ids=["writes", "reads"])
def test_pace_gives_way_to_a_storm_and_comes_back(work: Callable[[SmallTable], SliceResult | VerifyResult]) -> None:
    """While others take nearly all, erasing asks for far less than its share; afterwards it takes its share again, and
    nothing has failed meanwhile."""
    table = SmallTable(200, 6000, 600, stormy)
    result = work(table)
    assert result.problem is None
    assert (result.done if isinstance(result, SliceResult) else result.complete) is True
    before, storm, after = range(5, 20), range(25, 40), range(65, 75)
    asked = total(table.given, storm) + total(table.refused, storm)
    assert total(table.given, before) >= 0.85 * 100 * len(before)
    assert asked <= 0.5 * 100 * len(storm)
    assert total(table.given, storm) > 0
    assert total(table.given, after) >= 0.85 * 100 * len(after)
    assert total(table.refused, after) == 0
