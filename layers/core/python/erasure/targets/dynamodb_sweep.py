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
from typing import Any

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
    """

    positions: list[int]
    plan: ErasePlan
    counted: int = 0
    outstanding: int = 0
    read_to_end: bool = False
    error: TargetError | None = None

    @property
    def done(self) -> bool:
        """Whether everything was seen and settled."""
        return self.read_to_end and not self.outstanding and self.error is None


@dataclass(slots=True)
class Claim:
    """An item and the subjects for which it was found. More than one: it changed hands between two reads of an index;
    whose it is then shows the condition of its deletion, tried for one after the other."""

    key: Attributes
    subjects: list[Progress]


@dataclass(slots=True)
class Outcome:
    """What came of one batch. ``settled``: items about which nothing is left to do, deleted or not.

    ``failed``: problems of one subject; ``error``: the table's. ``time_up``: time ran out before all was settled.
    """

    counted: Counter[Progress] = field(default_factory=Counter)
    settled: Counter[Progress] = field(default_factory=Counter)
    failed: dict[Progress, TargetError] = field(default_factory=dict)
    error: TargetError | None = None
    time_up: bool = False

    def add(self, other: Outcome) -> None:
        self.counted.update(other.counted)
        self.settled.update(other.settled)
        self.failed |= other.failed
        self.error = graver(self.error, other.error)
        self.time_up = self.time_up or other.time_up


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
    ``enough``: a subject with so many counted is not read further.
    """

    query: Callable[[ErasePlan], dict[str, Any]]
    work: Callable[[list[Claim]], Outcome] | None
    batch_items: int
    enough: float = float("inf")


class Sweep:
    """One run over ``subjects``. ``on_counted``: told in the caller's thread, may raise, which ends the run."""

    def __init__(
        self,
        calls: Calls,
        subjects: Sequence[Progress],
        deadline: Deadline,
        way: Way,
        workers: int,
        on_counted: Callable[[Progress, int], None] = lambda _, __: None,
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
        self._batch: dict[tuple[str, ...], Claim] = {}
        self._in_flight: set[Future[Outcome]] = set()
        self._stopped = False
        self._error: TargetError | None = None

    def run(self) -> TargetError | None:
        """Work until done or stopped. A problem of the table, which is returned, is that of all who are not done."""
        readers = min(READERS, len(self._subjects))
        with ThreadPoolExecutor(self._workers + readers) as pool:
            reached_end = False
            try:
                reached_end = self._go_through(pool, readers)
            finally:
                for reading in self._reading:
                    reading.cancel()
                if not reached_end:
                    self._in_flight = {batch for batch in self._in_flight if not batch.cancel()}
                self._collect(below=1)
        for subject in self._subjects:
            if self._error is not None and not subject.done and subject.error is None:
                subject.error = self._error
        return self._error

    def _go_through(self, pool: ThreadPoolExecutor, readers: int) -> bool:
        """Hand batches to the workers; returns whether all was read and handed over."""
        for subject, page in self._pages(pool, readers):
            self._collect(below=2 * self._workers)
            if self._stopped:
                return False
            if self._way.work is None:
                self._count(subject, page["Count"])
            elif not self._claim(subject, page["Items"], pool):
                return False
            if not page.get("LastEvaluatedKey"):
                subject.read_to_end = True
        return not self._stopped and (not self._batch or self._send(pool))

    def _pages(self, pool: ThreadPoolExecutor, readers: int) -> Iterator[tuple[Progress, Any]]:
        self._waiting.extend((subject, self._way.query(subject.plan) | self._limit) for subject in self._subjects)
        self._read_on(pool, readers)
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
                    self._fail(subject, error)
                else:
                    self._stop(error)
            if page and (cursor := page.get("LastEvaluatedKey")):
                self._waiting.append((subject, query | {"ExclusiveStartKey": cursor}))
            self._read_on(pool, readers)
            if page and self._wanted(subject):
                yield subject, page
            if self._stopped:
                return

    def _read_on(self, pool: ThreadPoolExecutor, readers: int) -> None:
        while self._waiting and len(self._reading) < readers and not (self._stopped or self._deadline.expired()):
            subject, query = self._waiting.popleft()
            if self._wanted(subject):
                self._reading[pool.submit(self._calls.ask, "query", query, self._deadline)] = (subject, query)

    def _wanted(self, subject: Progress) -> bool:
        return subject.error is None and subject.counted < self._way.enough

    def _claim(self, subject: Progress, items: list[Attributes], pool: ThreadPoolExecutor) -> bool:
        """Put a page's keys into batches; False: no more may be sent."""
        if not all(subject.plan.covers(item) for item in items):
            detail = "an item beyond the rule was answered"
            self._fail(subject, TargetError(REJECTED, permanent=True, detail=detail))
            return True
        for item in items:
            key = subject.plan.key_of(item)
            # An index may list an item twice; a batch may not name it twice.
            claim = self._batch.setdefault(identity(key), Claim(key, []))
            if subject not in claim.subjects:
                claim.subjects.append(subject)
                subject.outstanding += 1
            if len(self._batch) == self._way.batch_items and not self._send(pool):
                return False
            if subject.error is not None:
                break
        return True

    def _send(self, pool: ThreadPoolExecutor) -> bool:
        self._collect(below=2 * self._workers)
        if self._stopped or self._deadline.expired():
            self._stopped = True
            return False
        batch, self._batch = list(self._batch.values()), {}
        assert self._way.work is not None  # noqa: S101 - without work, nothing is claimed
        if batch:
            self._in_flight.add(pool.submit(self._way.work, batch))
        return True

    def _collect(self, below: int) -> None:
        """Take in finished batches, waiting until fewer than ``below`` are in flight."""
        finished = {batch for batch in self._in_flight if batch.done()}
        while True:
            self._in_flight -= finished
            for batch in finished:
                self._take(batch.result())
            if len(self._in_flight) < below:
                return
            finished, _ = wait(self._in_flight, return_when=FIRST_COMPLETED)

    def _take(self, outcome: Outcome) -> None:
        for subject, settled in outcome.settled.items():
            subject.outstanding -= settled
        for subject, error in outcome.failed.items():
            self._fail(subject, error)
        if outcome.error is not None:
            self._stop(outcome.error)
        elif outcome.time_up:
            self._stopped = True
        for subject, count in outcome.counted.items():
            self._count(subject, count)

    def _count(self, subject: Progress, count: int) -> None:
        subject.counted += count
        self._on_counted(subject, count)

    def _fail(self, subject: Progress, error: TargetError) -> None:
        subject.error = subject.error or error
        for known, claim in list(self._batch.items()):
            if subject in claim.subjects:
                claim.subjects.remove(subject)
                if not claim.subjects:
                    del self._batch[known]

    def _stop(self, error: TargetError) -> None:
        self._stopped = True
        self._error = graver(self._error, error)
