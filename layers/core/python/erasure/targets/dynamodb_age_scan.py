"""Go through a table for what is old in it, whosever it is, segment by segment, like any other scan.

A few segments are read at the same time, and what is found in a page is worked on before the next page is read. What is
only counted, is counted of segments that were gone through to their end; the others are read again by the next slice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from erasure.errors import TargetError
from erasure.targets.dynamodb_age_work import Tally
from erasure.targets.dynamodb_ages import OLD, UNREADABLE, AgePlan
from erasure.targets.dynamodb_calls import Calls
from erasure.targets.dynamodb_plan import Attributes
from erasure.targets.dynamodb_scan import Reading, ScanPages, scan_arguments
from erasure.targets.protocol import Deadline, ScanRange

_TOLD_EVERY_SECONDS = 1.0
_BATCH = 25
"""Old items of one piece of work: holds are asked about for so many at once, and what is written takes a moment."""

Work = Callable[[Sequence[Attributes]], Tally]


class AgeScan:
    """One run over what is left of ``scan``, whose ``done`` it counts up. ``work``: does something with up to 25 old
    items, in a worker's thread. ``lasting``: what is counted has happened, whether or not its segment comes to its end.
    ``on_counted``: told of that now and then, in the caller's thread; may raise, which ends the run. ``enough``: with
    so many counted, it is not read further."""

    def __init__(
        self,
        calls: Calls,
        plan: AgePlan,
        deadline: Deadline,
        reading: Reading,
        scan: ScanRange,
        work: Work,
        workers: int,
        *,
        lasting: bool = False,
        on_counted: Callable[[int], None] = lambda _: None,
        enough: float = float("inf"),
    ) -> None:
        self._plan = plan
        self._deadline = deadline
        self._reading = reading
        self._scan = scan
        self._work = work
        self._workers = workers
        self._lasting = lasting
        self._on_counted = on_counted
        self._enough = enough
        self._pages = ScanPages(calls, reading, deadline)
        self._arguments = scan_arguments(plan, reading, scan.total, *plan.looked_at)
        self._next = scan.first + scan.done
        self._stopped = False
        self._lock = threading.Lock()
        self._untold = 0
        self._in_all = Tally()
        self._ended: dict[int, Tally] = {}

    @property
    def is_at_end(self) -> bool:
        return self._scan.first + self._scan.done >= self._scan.end

    def run(self) -> Tally:
        """Work until done or stopped. Raises what ``on_counted`` raises."""
        # Readers hand their work to the pool, so they come to their end first.
        with ThreadPoolExecutor(self._workers) as pool, ThreadPoolExecutor(self._reading.readers) as readers:
            running: dict[Future[Tally], int] = {}
            try:
                while self._read_on(readers, pool, running):
                    finished, _ = wait(running, _TOLD_EVERY_SECONDS, FIRST_COMPLETED)
                    for future in finished:
                        self._take(running.pop(future), future.result())
                    self._tell()
            finally:
                self._stopped = True
        self._tell()
        return self._in_all

    def _read_on(
        self, readers: ThreadPoolExecutor, pool: ThreadPoolExecutor, running: dict[Future[Tally], int]
    ) -> bool:
        """Begin what may be begun; whether anything is under way."""
        while len(running) < self._reading.readers and self._next < self._scan.end and not self._is_over():
            running[readers.submit(self._go_through, self._next, pool)] = self._next
            self._next += 1
        return bool(running)

    def _is_over(self) -> bool:
        return self._stopped or self._deadline.expired() or self._in_all.counted >= self._enough

    def _go_through(self, segment: int, pool: ThreadPoolExecutor) -> Tally:
        """One segment to its end, in a reader's thread."""
        tally, arguments = Tally(), self._arguments | {"Segment": segment}
        while not self._is_over():
            try:
                page = self._pages.read(arguments)
            except TargetError as error:
                tally.error = error
                return tally
            if page is None:
                break
            tally.add(self._work_on(page["Items"], pool))
            if not tally.is_whole:
                return tally
            cursor = page.get("LastEvaluatedKey")
            if not cursor:
                return tally
            arguments = arguments | {"ExclusiveStartKey": cursor}
        tally.time_up = True
        return tally

    def _work_on(self, items: Sequence[Attributes], pool: ThreadPoolExecutor) -> Tally:
        ages = [(item, self._plan.age_of(item)) for item in items]
        tally = Tally(unreadable=sum(age == UNREADABLE for _, age in ages))
        old = [item for item, age in ages if age == OLD]
        pieces = [pool.submit(self._do, old[start : start + _BATCH]) for start in range(0, len(old), _BATCH)]
        for piece in pieces:
            tally.add(piece.result())
        return tally

    def _do(self, items: Sequence[Attributes]) -> Tally:
        if self._stopped or self._deadline.expired():
            return Tally(time_up=True)
        tally = self._work(items)
        if self._lasting:
            with self._lock:
                self._untold += tally.counted
        return tally

    def _take(self, segment: int, tally: Tally) -> None:
        if self._lasting:
            self._in_all.counted += tally.counted
            tally.counted = 0
        if not tally.is_whole:
            self._stopped = True
            self._in_all.add(Tally(flaw=tally.flaw, error=tally.error, time_up=tally.time_up))
            return
        self._ended[segment] = tally
        while (following := self._scan.first + self._scan.done) in self._ended:
            self._in_all.add(self._ended.pop(following))
            self._scan.done += 1

    def _tell(self) -> None:
        with self._lock:
            untold, self._untold = self._untold, 0
        if untold:
            self._on_counted(untold)
