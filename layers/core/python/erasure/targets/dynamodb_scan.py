"""Go through a table that nothing leads through: read it once for all subjects, segment by segment.

A few segments are read at the same time. What is found is worked on in full batches across segments, while the next
pages are on their way. A segment counts as gone through when it was read to its end and all that was found in it is
settled, so a slice that ends, or dies, goes on from there: no key of the table ever has to be remembered.

Where few subjects are looked for, the engine is told whom (it charges for reading all the same, but sends less); whose
an item is, is found out in code in any case.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise, product
from typing import Any

from erasure.domain.plan import Shard
from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, THROTTLED, Calls
from erasure.targets.dynamodb_pacing import DEFAULT_CAPACITY_SHARE, Pacer, Share, read_ceiling, read_units
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, mismatch
from erasure.targets.dynamodb_sweep import Batches, Claim, OnCounted, Progress, Way
from erasure.targets.protocol import Deadline, ScanRange

SEGMENT_BYTES = 256 * 1024**2
SEGMENT_SECONDS = 20.0
"""What a segment may take at the pace of its shard: a slice that ends loses the segments that it has not finished."""

MOST_SEGMENTS = 1_000_000
"""What an engine divides a table into at most."""

SHARD_BYTES = 25 * 1024**3
"""Two partitions of DynamoDB hold less, so that each shard has one of its own to read at full pace."""
MOST_SHARDS = 16

SEGMENT_READERS = 4
"""Segments that are read at the same time, where the pace allows it."""
_READER_UNITS_PER_SECOND = 750.0
"""About what reading one page after the other comes to."""

FILTER_VALUES = 100
"""What IN compares with at most."""

_PAGE_BYTES = 1024**2
_UNIT_BYTES = {True: 4096, False: 8192}
"""What one read unit pays for, with strong consistency and without."""
_UNKNOWN_ITEM_BYTES = 1024

_NUMBER = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?")
_MOST_DIGITS = 38
"""Of a number, zeros at either end not counted. More are refused in whatever holds them, a whole scan for instance."""


def shards_of(description: Mapping[str, Any], capacity_share: float = DEFAULT_CAPACITY_SHARE) -> tuple[Shard, ...]:
    """The shards in which the table is scanned: one up to 25 GB, up to 16 of larger ones. ``description``:
    DescribeTable's ``Table``, whose size is some hours old.

    Segments hold about 256 MB, or less where the table's capacity lets nobody read that much in a short time.
    """
    size = int(description.get("TableSizeBytes") or 0)
    number = min(MOST_SHARDS, max(1, math.ceil(size / SHARD_BYTES)))
    pace = read_ceiling(description, Share(capacity_share, 1 / number))
    segment_bytes = min(SEGMENT_BYTES, pace * _UNIT_BYTES[False] * SEGMENT_SECONDS)
    total = min(MOST_SEGMENTS, max(number, math.ceil(size / segment_bytes)))
    edges = [total * shard // number for shard in range(number + 1)]
    return tuple(Shard(total, first, end) for first, end in pairwise(edges))


@dataclass(frozen=True, slots=True)
class Reading:
    """How pages are read. ``readers``: segments at the same time. ``page_items``: of one page at most (``None``: what
    goes into 1 MB), so that a page does not cost more than a second's worth of a small table's capacity."""

    consistent: bool
    pacer: Pacer
    readers: int
    page_items: int | None


def reading_of(description: Mapping[str, Any], pacer: Pacer, *, consistent: bool) -> Reading:
    """``pacer``: of read units. ``consistent``: see every write before, at twice the price."""
    page_bytes, page_items = pacer.ceiling * _UNIT_BYTES[consistent], None
    if page_bytes < _PAGE_BYTES:
        items, size = int(description.get("ItemCount") or 0), int(description.get("TableSizeBytes") or 0)
        item_bytes = size / items if items and size else _UNKNOWN_ITEM_BYTES
        page_items = max(1, int(page_bytes / item_bytes))
    readers = min(SEGMENT_READERS, max(1, round(pacer.ceiling / _READER_UNITS_PER_SECOND)))
    return Reading(consistent, pacer, readers, page_items)


class ScanPages:
    """Pages of a scan, at the pace of ``reading`` and until the deadline. Several threads may read at once."""

    def __init__(self, calls: Calls, reading: Reading, deadline: Deadline) -> None:
        self._calls = calls
        self._reading = reading
        self._deadline = deadline
        self._expected_units = 1.0

    def read(self, arguments: dict[str, Any]) -> Any:
        """One page, again while what keeps it may pass; ``None``: there is no time for it. Raises
        :class:`TargetError`."""
        attempt = 0
        while True:
            reserved = self._expected_units
            if not self._calls.wait(self._reading.pacer.reserve(reserved), self._deadline):
                return None
            try:
                page = self._calls.once("scan", arguments)
            except TargetError as error:
                failure = error
            else:
                self._expected_units = read_units(page, reserved)
                self._reading.pacer.settle(reserved, self._expected_units)
                return page
            self._reading.pacer.settle(reserved, 0)
            if failure.code == THROTTLED:
                self._reading.pacer.throttled()
            attempt += 1
            if failure.permanent or attempt >= MAX_ATTEMPTS or not self._calls.pause(attempt, self._deadline):
                raise failure


class Scan:
    """One run over what is left of ``scan``, whose ``done`` it counts up. ``way``: what is done to items that were
    found (``query`` is not used). ``on_counted``: told in the caller's thread, may raise, which ends the run."""

    def __init__(
        self,
        calls: Calls,
        subjects: Sequence[Progress],
        deadline: Deadline,
        way: Way,
        reading: Reading,
        scan: ScanRange,
        workers: int,
        on_counted: OnCounted = lambda _, __: None,
    ) -> None:
        self._subjects = subjects
        self._deadline = deadline
        # Pages hold keys and matches only, and may be old: who works on an item reads the rest of it.
        self._way = replace(way, carries=False)
        self._reading = reading
        self._scan = scan
        self._workers = workers
        self._on_counted = on_counted
        self._arguments = _arguments(subjects, reading, scan.total)
        self._owners = _Owners(subjects)
        self._next = scan.first + scan.done
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._pages: dict[Future[Any], int] = {}
        self._read: set[int] = set()
        self._unsettled: set[int] = set()
        self._read_page = ScanPages(calls, reading, deadline).read

    def run(self) -> TargetError | None:
        """Work until done or stopped. A problem of the table, which is returned, is that of all who are not done."""
        with ThreadPoolExecutor(self._workers + self._reading.readers) as pool:
            batches = Batches(pool, self._way, self._workers, self._deadline, self._on_counted, self._leave)
            reached_end = False
            try:
                reached_end = self._go_through(pool, batches)
            finally:
                for page in self._pages:
                    page.cancel()
                batches.finish(begun_only=not reached_end)
            self._advance(batches)
        for subject in self._subjects:
            subject.read_to_end = reached_end
            if batches.error is not None and not subject.done and subject.error is None:
                subject.error = batches.error
        return batches.error

    def _go_through(self, pool: ThreadPoolExecutor, batches: Batches) -> bool:
        """Hand batches to the workers; returns whether all was read and handed over."""
        self._read_on(pool, batches)
        while self._pages:
            finished, _ = wait(self._pages, return_when=FIRST_COMPLETED)
            for future in finished:
                segment = self._pages.pop(future)
                try:
                    page = future.result()
                except TargetError as error:
                    batches.stop(error)
                    return False
                if page is None:
                    return False
                cursor = page.get("LastEvaluatedKey")
                if cursor:
                    self._waiting.append((segment, {"ExclusiveStartKey": cursor}))
                self._read_on(pool, batches)
                if not self._claim(segment, page["Items"], batches):
                    return False
                if not cursor:
                    self._read.add(segment)
                    # Not kept until a batch is full: finds may be rare, and the segment is done only with its own.
                    if segment in batches.open_segments() and not batches.send():
                        return False
                    self._advance(batches)
        return self._next >= self._scan.end and not self._waiting and not batches.stopped

    def _read_on(self, pool: ThreadPoolExecutor, batches: Batches) -> None:
        while len(self._pages) < self._reading.readers and not (batches.stopped or self._deadline.expired()):
            if self._waiting:
                segment, start = self._waiting.popleft()
            elif self._next < self._scan.end:
                segment, start = self._next, {}
                self._next += 1
            else:
                return
            arguments = self._arguments | start | {"Segment": segment}
            self._pages[pool.submit(self._read_page, arguments)] = segment

    def _claim(self, segment: int, items: list[Attributes], batches: Batches) -> bool:
        """Put what is some subject's into batches; False: no more may be sent."""
        batches.make_room()
        if batches.stopped:
            return False
        for item in items:
            owner = self._owners.of(item)
            for subject in self._owners.mistakable(item):
                batches.fail(subject, mismatch("a number stands where a text is looked for"))
            if owner is None:
                continue
            if owner.error is not None:
                if not owner.error.permanent:
                    self._unsettled.add(segment)
            elif self._way.work is None:
                batches.count(owner, 1)
            elif not batches.add(owner, item, segment):
                return False
        return True

    def _leave(self, claim: Claim) -> None:
        self._unsettled.add(claim.segment)

    def _advance(self, batches: Batches) -> None:
        still_open = self._unsettled | batches.open_segments()
        while (segment := self._scan.first + self._scan.done) in self._read and segment not in still_open:
            self._read.remove(segment)
            self._scan.done += 1


def scan_arguments(plan: ErasePlan, reading: Reading, total: int, *more: str) -> dict[str, Any]:
    """Arguments of a Scan of one of ``total`` segments (``Segment`` is missing), for key and matched attributes and
    ``more``."""
    names, expression = plan.projection(*more)
    arguments: dict[str, Any] = {
        "TableName": plan.table,
        "TotalSegments": total,
        "ConsistentRead": reading.consistent,
        "ProjectionExpression": expression,
        "ExpressionAttributeNames": names,
        "ReturnConsumedCapacity": "TOTAL",
    }
    return arguments if reading.page_items is None else arguments | {"Limit": reading.page_items}


def _arguments(subjects: Sequence[Progress], reading: Reading, total: int) -> dict[str, Any]:
    plan = subjects[0].plan
    arguments = scan_arguments(plan, reading, total)
    names: dict[str, str] = arguments["ExpressionAttributeNames"]
    clauses: list[str] = []
    values: dict[str, Any] = {}
    for number, match in enumerate(plan.matches):
        texts = dict.fromkeys(subject.plan.matches[number].text for subject in subjects)
        wanted = [{"S": text} for text in texts] + [{"N": text} for text in texts if _may_be_number(text)]
        if len(wanted) <= FILTER_VALUES:
            own = {f":f{number}_{position}": value for position, value in enumerate(wanted)}
            clauses.append(f"#f{number} IN ({', '.join(own)})")
            names[f"#f{number}"] = match.attribute
            values |= own
    if clauses:
        arguments |= {"FilterExpression": " AND ".join(clauses), "ExpressionAttributeValues": values}
    return arguments


class _Owners:
    """Whose an item is, by the texts of the subjects' rules, which are all different."""

    def __init__(self, subjects: Sequence[Progress]) -> None:
        self._attributes = tuple(match.attribute for match in subjects[0].plan.matches)
        self._by_texts: dict[tuple[object, ...], Progress] = {}
        self._by_numbers: dict[tuple[object, ...], list[Progress]] = {}
        for subject in subjects:
            texts = tuple(match.text for match in subject.plan.matches)
            self._by_texts[texts] = subject
            forms = [(text, Decimal(text)) if _may_be_number(text) else (text,) for text in texts]
            for form in product(*forms):
                if form != texts:
                    self._by_numbers.setdefault(form, []).append(subject)

    def of(self, item: Attributes) -> Progress | None:
        return self._by_texts.get(tuple(item.get(name, {}).get("S") for name in self._attributes))

    def mistakable(self, item: Attributes) -> Sequence[Progress]:
        """Those who may be meant by an item that has a number for a text: ``1`` may stand for ``01`` too, so nobody
        knows whose it is, and it must not be passed over as nobody's."""
        if not self._by_numbers:
            return ()
        return self._by_numbers.get(tuple(_form(item.get(name, {})) for name in self._attributes), ())


def _may_be_number(text: str) -> bool:
    """Whether a table can hold the text as a number."""
    return _NUMBER.fullmatch(text) is not None and len(text.lstrip("-").replace(".", "").strip("0")) <= _MOST_DIGITS


def _form(value: Mapping[str, Any]) -> object:
    return Decimal(value["N"]) if "N" in value else value.get("S")
