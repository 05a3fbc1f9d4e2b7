"""Go through what several subjects have in one table: read in turn, work in full batches, answer for each alone.

A few subjects are read at the same time, page after page in turn, so that a large one never keeps the others waiting.
Their keys are put together to full batches, of which a bounded number is under way: memory does not grow with the
number of subjects or of their items. All bookkeeping is done in the caller's thread.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.times import format_time
from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import READERS, REJECTED, Calls
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity
from erasure.targets.protocol import Deadline

PAGE_ITEMS = 1000
"""Keys of one page when several subjects are read at the same time. A page of 1 MB can hold twenty times as many."""


@dataclass(slots=True, eq=False)
class Progress:
    """How far one subject is. ``positions``: its place among the subjects, and that of every other whose rule renders
    to the same text: what they have in common is worked on once, and counts for the first.

    ``counted``: items deleted, changed or, in verification, left. ``outstanding``: items found and not yet settled.
    ``kept``: in verification, items that may stay. ``error``: what ended the subject's work; ``flaw``: what is wrong
    with some item of it, which keeps nobody from working on the others.
    """

    positions: list[int]
    plan: ErasePlan
    counted: int = 0
    outstanding: int = 0
    read_to_end: bool = False
    kept: Kept = NOTHING_KEPT
    error: TargetError | None = None
    flaw: TargetError | None = None

    @property
    def seen(self) -> bool:
        """Whether everything was seen, and all was done that could be."""
        return self.read_to_end and not self.outstanding and self.error is None

    @property
    def done(self) -> bool:
        """Whether everything was seen and settled."""
        return self.seen and self.flaw is None

    @property
    def problem(self) -> TargetError | None:
        """What to tell: a flaw only when nothing but flaws is left."""
        return self.flaw if self.seen else self.error


@dataclass(slots=True)
class Claim:
    """An item and the subjects for which it was found. More than one: it changed hands between two reads of an index;
    whose it is then shows the condition of its deletion, tried for one after the other. ``item``: as it was read, if
    that is to be relied on. ``segment``: of a scan, where it was found."""

    key: Attributes
    subjects: list[Progress]
    item: Attributes | None = None
    segment: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of one batch. ``settled``: items about which nothing is left to do, deleted or not.

    ``failed``: problems of one subject; ``flaws``: of one of its items, the others go on; ``error``: the table's.
    ``kept``: items that may stay. ``time_up``: time ran out before all was settled.
    """

    counted: Counter[Progress] = field(default_factory=Counter)
    settled: Counter[Progress] = field(default_factory=Counter)
    failed: dict[Progress, TargetError] = field(default_factory=dict)
    flaws: dict[Progress, TargetError] = field(default_factory=dict)
    kept: dict[Progress, Kept] = field(default_factory=dict)
    error: TargetError | None = None
    time_up: bool = False

    def keep(self, subject: Progress, until: datetime) -> None:
        """Count one more item of the subject that may stay until then."""
        self.kept[subject] = _both(self.kept.get(subject, NOTHING_KEPT), Kept(1, format_time(until)))

    def add(self, other: Outcome) -> None:
        self.counted.update(other.counted)
        self.settled.update(other.settled)
        self.failed |= other.failed
        self.flaws |= other.flaws
        for subject, kept in other.kept.items():
            self.kept[subject] = _both(self.kept.get(subject, NOTHING_KEPT), kept)
        self.error = graver(self.error, other.error)
        self.time_up = self.time_up or other.time_up


def _both(first: Kept, second: Kept) -> Kept:
    return Kept(first.count + second.count, max(first.until or "", second.until or "") or None)


def graver(first: TargetError | None, second: TargetError | None) -> TargetError | None:
    """The one that says more: something before nothing, permanent before passing, the first of equals."""
    if first is None or (second is not None and second.permanent and not first.permanent):
        return second
    return first


@dataclass(frozen=True, slots=True)
class Way:
    """How a sweep reads and works.

    ``query``: arguments of the Query that reads a subject. ``work``: settles up to ``batch_items`` claims, of any
    subjects and each of another item, in a worker's thread; without it, the items that pages count are all there is.
    ``enough``: a subject with so many counted is not read further. ``carries``: pages say all that is looked at.
    """

    query: Callable[[ErasePlan], dict[str, Any]]
    work: Callable[[list[Claim]], Outcome] | None
    batch_items: int
    enough: float = float("inf")
    carries: bool = False


OnCounted = Callable[[Progress, int], None]


class Batches:
    """Claims put together to full batches, of which a bounded number is under way in a pool.

    All bookkeeping is done in the caller's thread. ``on_counted`` may raise. ``on_left``: told of each claim that is
    given up although another slice may settle it; not of those whose subject has failed for good. ``stopped``: no
    more may be begun; ``error``: the table's problem because of which, if there is one.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        way: Way,
        workers: int,
        deadline: Deadline,
        on_counted: OnCounted,
        on_left: Callable[[Claim], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._way = way
        self._workers = workers
        self._deadline = deadline
        self._on_counted = on_counted
        self._on_left = on_left
        self._batch: dict[tuple[str, ...], Claim] = {}
        self._in_flight: dict[Future[Outcome], list[Claim]] = {}
        self.stopped = False
        self.error: TargetError | None = None

    def add(self, subject: Progress, item: Attributes, segment: int = 0) -> bool:
        """Put an item that was found into a batch; False: no more may be sent."""
        key = subject.plan.key_of(item)
        # An index may list an item twice; a batch may not name it twice.
        known = self._batch.get(identity(key))
        claim = known or self._batch.setdefault(identity(key), Claim(key, [], segment=segment))
        # Of two readings that differ, nobody knows which is the later one.
        claim.item = item if self._way.carries and (known is None or known.item == item) else None
        if subject not in claim.subjects:
            claim.subjects.append(subject)
            subject.outstanding += 1
        return len(self._batch) < self._way.batch_items or self.send()

    def send(self) -> bool:
        """Hand over what there is, full or not, as soon as there is room; False: nothing more may be begun."""
        self.make_room()
        if self.stopped or self._deadline.expired():
            self.stopped = True
            return False
        batch, self._batch = list(self._batch.values()), {}
        assert self._way.work is not None  # noqa: S101 - without work, nothing is claimed
        if batch:
            self._in_flight[self._pool.submit(self._way.work, batch)] = batch
        return True

    def make_room(self) -> None:
        """Take in what is finished, and wait until another batch can be sent."""
        self._collect(below=2 * self._workers)

    def finish(self, *, begun_only: bool) -> None:
        """Wait for all that was sent; ``begun_only``: for what has been begun, and take back the rest."""
        if begun_only:
            for batch in [batch for batch in self._in_flight if batch.cancel()]:
                for claim in self._in_flight.pop(batch):
                    self._on_left(claim)
        self._collect(below=1)

    def open_segments(self) -> set[int]:
        """The segments in which something was found that is not settled yet."""
        waiting = [self._batch.values(), *self._in_flight.values()]
        return {claim.segment for claims in waiting for claim in claims}

    def count(self, subject: Progress, count: int) -> None:
        subject.counted += count
        self._on_counted(subject, count)

    def fail(self, subject: Progress, error: TargetError) -> None:
        """Work on for the others only."""
        subject.error = subject.error or error
        for known, claim in list(self._batch.items()):
            if subject in claim.subjects:
                claim.subjects.remove(subject)
                if not subject.error.permanent:
                    self._on_left(claim)
                if not claim.subjects:
                    del self._batch[known]

    def stop(self, error: TargetError) -> None:
        self.stopped = True
        self.error = graver(self.error, error)

    def _collect(self, below: int) -> None:
        """Take in finished batches, waiting until fewer than ``below`` are in flight."""
        finished = {batch for batch in self._in_flight if batch.done()}
        while True:
            for batch in finished:
                self._take(self._in_flight.pop(batch), batch.result())
            if len(self._in_flight) < below:
                return
            finished, _ = wait(self._in_flight, return_when=FIRST_COMPLETED)

    def _take(self, claims: list[Claim], outcome: Outcome) -> None:
        for subject, settled in outcome.settled.items():
            subject.outstanding -= settled
        for subject, flaw in outcome.flaws.items():
            subject.flaw = subject.flaw or flaw
        for subject, kept in outcome.kept.items():
            subject.kept = _both(subject.kept, kept)
        for subject, error in outcome.failed.items():
            self.fail(subject, error)
        if outcome.error is not None:
            self.stop(outcome.error)
        elif outcome.time_up:
            self.stopped = True
        self._tell_left(claims, outcome)
        for subject, count in outcome.counted.items():
            self.count(subject, count)

    def _tell_left(self, claims: list[Claim], outcome: Outcome) -> None:
        claimed = Counter(subject for claim in claims for subject in claim.subjects)
        left = {
            subject
            for subject, number in claimed.items()
            if outcome.settled[subject] < number and not (subject.error is not None and subject.error.permanent)
        }
        for claim in claims:
            if not left.isdisjoint(claim.subjects):
                self._on_left(claim)


class Sweep:
    """One run over ``subjects``. ``on_counted``: told in the caller's thread, may raise, which ends the run."""

    def __init__(
        self,
        calls: Calls,
        subjects: Sequence[Progress],
        deadline: Deadline,
        way: Way,
        workers: int,
        on_counted: OnCounted = lambda _, __: None,
    ) -> None:
        self._calls = calls
        self._subjects = subjects
        self._deadline = deadline
        self._way = way
        self._workers = workers
        self._on_counted = on_counted
        self._limit = {"Limit": PAGE_ITEMS} if len(subjects) > 1 and way.work is not None else {}
        self._waiting: deque[tuple[Progress, dict[str, Any]]] = deque()
        self._reading: dict[Future[Any], tuple[Progress, dict[str, Any]]] = {}

    def run(self) -> TargetError | None:
        """Work until done or stopped. A problem of the table, which is returned, is that of all who are not done."""
        readers = min(READERS, len(self._subjects))
        with ThreadPoolExecutor(self._workers + readers) as pool:
            batches = Batches(pool, self._way, self._workers, self._deadline, self._on_counted)
            reached_end = False
            try:
                reached_end = self._go_through(pool, readers, batches)
            finally:
                for reading in self._reading:
                    reading.cancel()
                batches.finish(begun_only=not reached_end)
        for subject in self._subjects:
            if batches.error is not None and not subject.done and subject.error is None:
                subject.error = batches.error
        return batches.error

    def _go_through(self, pool: ThreadPoolExecutor, readers: int, batches: Batches) -> bool:
        """Hand batches to the workers; returns whether all was read and handed over."""
        for subject, page in self._pages(pool, readers, batches):
            batches.make_room()
            if batches.stopped:
                return False
            if self._way.work is None:
                batches.count(subject, page["Count"])
            elif not _claim(subject, page["Items"], batches):
                return False
            if not page.get("LastEvaluatedKey"):
                subject.read_to_end = True
        return not batches.stopped and (self._way.work is None or batches.send())

    def _pages(self, pool: ThreadPoolExecutor, readers: int, batches: Batches) -> Iterator[tuple[Progress, Any]]:
        self._waiting.extend((subject, self._way.query(subject.plan) | self._limit) for subject in self._subjects)
        self._read_on(pool, readers, batches)
        while self._reading:
            if not any(reading.done() for reading in self._reading):
                wait(self._reading, return_when=FIRST_COMPLETED)
            first = next(reading for reading in self._reading if reading.done())
            subject, query = self._reading.pop(first)
            try:
                page = first.result()
            except TargetError as error:
                page = None
                if error.code == REJECTED:
                    batches.fail(subject, error)
                else:
                    batches.stop(error)
            if page and (cursor := page.get("LastEvaluatedKey")):
                self._waiting.append((subject, query | {"ExclusiveStartKey": cursor}))
            self._read_on(pool, readers, batches)
            if page and self._wanted(subject):
                yield subject, page
            if batches.stopped:
                return

    def _read_on(self, pool: ThreadPoolExecutor, readers: int, batches: Batches) -> None:
        while self._waiting and len(self._reading) < readers and not (batches.stopped or self._deadline.expired()):
            subject, query = self._waiting.popleft()
            if self._wanted(subject):
                self._reading[pool.submit(self._calls.ask, "query", query, self._deadline)] = (subject, query)

    def _wanted(self, subject: Progress) -> bool:
        return subject.error is None and subject.counted < self._way.enough


def _claim(subject: Progress, items: list[Attributes], batches: Batches) -> bool:
    """Put a page's keys into batches; False: no more may be sent."""
    if not all(subject.plan.covers(item) for item in items):
        detail = "an item beyond the rule was answered"
        batches.fail(subject, TargetError(REJECTED, permanent=True, detail=detail))
        return True
    for item in items:
        if not batches.add(subject, item):
            return False
        if subject.error is not None:
            break
    return True
