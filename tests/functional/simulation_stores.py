"""The fakes' stores as the simulation needs them: fast with thousands of requests, watched, and with an index that
lags."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from erasure.domain.plan import Task
from erasure.domain.request import HELD, OPEN_STATES, ErasureRequest
from erasure.ports import ClockRow, Hold, PinnedJob, PinnedMap, RequestRow
from tests.fake_clock_stores import FakeClockStore, FakeHoldStore
from tests.fake_jobs import FakeTaskStore
from tests.fakes import FakeAuditLog, FakeRequestStore
from tests.functional.simulation_faults import Gate

OnRecord = Callable[[ErasureRequest | None, ErasureRequest], None]


class Records(dict[str, ErasureRequest]):
    """Tells of every record that is written, what it was before and what it is now."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[OnRecord] = []

    def __setitem__(self, request_id: str, record: ErasureRequest) -> None:
        before = self.get(request_id)
        super().__setitem__(request_id, record)
        for tell in self.told:
            tell(before, record)


class LaggingIndex:
    """The requests as the table's indexes show them."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._coming: deque[tuple[datetime, ErasureRequest]] = deque()
        self.open: dict[str, ErasureRequest] = {}
        self.ended: dict[str, ErasureRequest] = {}
        self.of_subject: dict[str, dict[str, ErasureRequest]] = {}
        self._ended_by_clock: list[tuple[datetime, str]] = []

    def note(self, _before: ErasureRequest | None, record: ErasureRequest) -> None:
        lag = self._gate.chaos.index_lag * self._gate.rng.random()
        moment = self._gate.time + lag
        if self._coming and self._coming[-1][0] > moment:
            moment = self._coming[-1][0]
        self._coming.append((moment, record))

    def refresh(self) -> None:
        coming, now = self._coming, self._gate.time
        while coming and coming[0][0] <= now:
            self._show(coming.popleft()[1])

    def _show(self, record: ErasureRequest) -> None:
        request_id = record.request_id
        self.of_subject.setdefault(record.subject_digest, {})[request_id] = record
        self.open.pop(request_id, None)
        self.ended.pop(request_id, None)
        if record.purged_at is not None:
            return
        if record.state in OPEN_STATES:
            self.open[request_id] = record
        else:
            self.ended[request_id] = record
            if record.clock_at is not None:
                heapq.heappush(self._ended_by_clock, (record.clock_at, request_id))

    def ended_due(self, now: datetime, limit: int) -> list[str]:
        heap, due = self._ended_by_clock, list[tuple[datetime, str]]()
        while heap and heap[0][0] <= now and len(due) < limit:
            entry = heapq.heappop(heap)
            record = self.ended.get(entry[1])
            if record is not None and record.clock_at == entry[0] and entry not in due[-1:]:
                due.append(entry)
        for entry in due:
            heapq.heappush(heap, entry)
        return [request_id for _, request_id in due]


class SimRequestStore(FakeRequestStore):
    def __init__(self, audit: FakeAuditLog, index: LaggingIndex) -> None:
        super().__init__(audit)
        self.index = index
        self.records: Records = Records()
        self.records.told.append(index.note)

    def rows_of_subject(
        self, subject_digest: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        self.index.refresh()
        known = self.index.of_subject.get(subject_digest, {})
        ids = sorted((request_id for request_id in known if before is None or request_id < before), reverse=True)
        return [RequestRow(each, known[each].family, known[each].subject.type) for each in ids[:limit]]


class SimClockStore(FakeClockStore):
    """Its lists come from the index. What they say has to be what the fake's own would, some seconds later."""

    def __init__(self, requests: SimRequestStore) -> None:
        super().__init__(requests)
        self._index = requests.index

    def open_due(self, now: datetime, limit: int) -> list[str]:
        self._index.refresh()
        found = [
            (record.clock_at, record.request_id)
            for record in self._index.open.values()
            if record.state != HELD and record.clock_at is not None and record.clock_at <= now
        ]
        return [request_id for _, request_id in sorted(found)[:limit]]

    def held(self, limit: int) -> list[str]:
        self._index.refresh()
        found = [
            (record.held_at, record.request_id)
            for record in self._index.open.values()
            if record.state == HELD and record.held_at is not None
        ]
        return [request_id for _, request_id in sorted(found)[:limit]]

    def ended_due(self, now: datetime, limit: int) -> list[str]:
        self._index.refresh()
        return self._index.ended_due(now, limit)

    def open_rows(self) -> Iterator[ClockRow]:
        self._index.refresh()
        return iter([_row(record) for record in self._index.open.values()])

    def ended_rows(self) -> Iterator[ClockRow]:
        self._index.refresh()
        return iter([_row(record) for record in self._index.ended.values()])


def _row(record: ErasureRequest) -> ClockRow:
    return ClockRow(record.request_id, record.due_at, record.state == HELD, record.finished_at)


class SimTaskStore(FakeTaskStore):
    """Knows where each job's tasks are."""

    def __init__(self) -> None:
        super().__init__()
        self._of_job: dict[str, list[Task]] = {}

    def create_job(self, job_id: str, job: PinnedJob, data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        super().create_job(job_id, job, data_map, tasks)
        self._of_job.setdefault(job_id, list(tasks))

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]:
        places = sorted((task.unit, task.number) for task in self._of_job.get(job_id, []))
        return [self.records[job_id, *place] for place in places if unit in (None, place[0])]


class SimHoldStore(FakeHoldStore):
    """Tells of holds that are put and lifted."""

    def __init__(self) -> None:
        super().__init__()
        self.on_put: Callable[[Hold], None] = lambda _hold: None
        self.on_lift: Callable[[Hold], None] = lambda _hold: None

    def put(self, hold: Hold, replaced: Hold | None) -> bool:
        done = super().put(hold, replaced)
        if done:
            self.on_put(hold)
        return done

    def lift(self, hold: Hold) -> bool:
        done = super().lift(hold)
        if done:
            self.on_lift(hold)
        return done
