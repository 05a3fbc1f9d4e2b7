"""The agenda of the simulation, and what AWS does in it: queues that lose, delay and double messages, and a workflow
whose executions fail, hang, are aborted, or never begin."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from erasure.entry.workers import make_start_jobs
from tests.functional.simulation_faults import Gate, Killed

BATCH_LANE = "batch"
INTERACTIVE_LANE = "interactive"
MAX_RECEIVES = 5
VISIBILITY = {BATCH_LANE: timedelta(seconds=480), INTERACTIVE_LANE: timedelta(seconds=180)}
PASSES = 60
"""Of a unit: then it ends unfinished."""
LONGEST_EXECUTION = timedelta(hours=72)


class Agenda:
    """What is going to happen, in the order of time. Whatever is ``movable`` may come while another function works."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._heap: list[tuple[datetime, int, Callable[[], None], bool]] = []
        self._count = 0
        gate.interrupt = self._interrupt

    def at(self, moment: datetime, action: Callable[[], None], *, movable: bool = False) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(moment, self._gate.time), self._count, action, movable))

    def after(self, seconds: float, action: Callable[[], None], *, movable: bool = False) -> None:
        self.at(self._gate.time + timedelta(seconds=seconds), action, movable=movable)

    def next_before(self, end: datetime) -> Callable[[], None] | None:
        """Time goes on to what happens next, if that is before the ``end``."""
        if not self._heap or self._heap[0][0] > end:
            return None
        moment, _, action, _ = heapq.heappop(self._heap)
        self._gate.time = max(self._gate.time, moment)
        self._gate.seconds = 0.0
        return action

    def _interrupt(self) -> None:
        if not self._heap:
            return
        moment, _, action, movable = self._heap[0]
        if movable and moment - self._gate.time < timedelta(minutes=20):
            heapq.heappop(self._heap)
            action()


@dataclass(slots=True)
class _Message:
    message_id: str
    body: str
    receives: int = 0
    lane: str = BATCH_LANE


@dataclass(slots=True)
class Execution:
    """``request_ids``, ``attempt``: its input. ``sender``: on whose messages it was started."""

    job_id: str
    request_ids: tuple[str, ...]
    attempt: int
    started_at: datetime
    is_living: bool = True
    status: str = "RUNNING"


class Queue:
    """:class:`erasure.ports.JobQueue` of a lane, and what delivers its messages to start_jobs."""

    def __init__(self, gate: Gate, agenda: Agenda, lane: str, start_jobs: Callable[[Any], Any]) -> None:
        self._gate = gate
        self._agenda = agenda
        self._lane = lane
        self._start_jobs = start_jobs
        self.dead: dict[str, _Message] = {}
        self.visible: list[_Message] = []
        self.messages: dict[str, _Message] = {}
        self._is_polled = False
        self._count = 0

    def send(self, request_ids: Sequence[str], attempt: int, *, delay_seconds: int = 0) -> None:
        rng, chaos = self._gate.rng, self._gate.chaos
        assert 1 <= len(request_ids) <= 1000
        body = json.dumps({"request_ids": list(request_ids), "attempt": attempt})
        if rng.random() < chaos.message_lost:
            return
        for _ in range(2 if rng.random() < chaos.message_doubled else 1):
            delay = rng.uniform(0.05, 3.0)
            if rng.random() < chaos.message_late:
                delay = rng.expovariate(1 / 7200)
            self.put(body, delay + delay_seconds)

    def put(self, body: str, delay: float) -> None:
        self._count += 1
        message = _Message(f"{self._lane}-{self._count}", body, lane=self._lane)
        self.messages[message.message_id] = message
        self._agenda.after(delay, lambda: self._show(message))

    def _show(self, message: _Message) -> None:
        self.visible.append(message)
        if not self._is_polled:
            self._is_polled = True
            window = 2.0 if self._lane == BATCH_LANE else 0.05
            self._agenda.after(window, self._deliver, movable=True)

    def _deliver(self) -> None:
        self._is_polled = False
        taken, self.visible = self.visible, []
        arn = f"arn:aws:sqs:us-east-1:123456789012:{self._lane}"
        for message in taken:
            message.receives += 1
        records = [{"messageId": each.message_id, "body": each.body, "eventSourceARN": arn} for each in taken]
        failed = set()
        try:
            with self._gate.invocation("start_jobs"):
                answer = self._start_jobs({"Records": records})
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        except Killed:
            failed = {message.message_id for message in taken}
        for message in taken:
            if message.message_id not in failed:
                del self.messages[message.message_id]
            elif message.receives >= MAX_RECEIVES:
                del self.messages[message.message_id]
                self.dead[message.message_id] = message
            else:
                self._come_back(message)

    def _come_back(self, message: _Message) -> None:
        self._agenda.after(VISIBILITY[self._lane].total_seconds(), lambda: self._show(message))


class DeadLetterQueue:
    """:class:`erasure.ports.DeadLetters` over both lanes."""

    def __init__(self, queues: Sequence[Queue]) -> None:
        self._queues = queues

    def receive(self) -> list[tuple[str, str]]:
        found = [(key, message.body) for queue in self._queues for key, message in queue.dead.items()]
        return found[:10]

    def drop(self, handle: str) -> None:
        for queue in self._queues:
            queue.dead.pop(handle, None)


@dataclass
class Steps:
    """What the workflow's functions do. ``plan`` returns the names of the units, ``verify`` whether a unit goes on, and
    after how many seconds."""

    plan: Callable[[Execution], list[str]]
    erase: Callable[[Execution, str], None]
    verify: Callable[[Execution, str], tuple[bool, int]]
    close: Callable[[Execution], None]


@dataclass
class Workflow:
    """:class:`erasure.ports.Workflow` and :class:`erasure.ports.Executions`: the state machine's course."""

    gate: Gate
    agenda: Agenda
    steps: Steps
    executions: dict[str, Execution] = field(default_factory=dict)

    def start(self, job_id: str, request_ids: Sequence[str], attempt: int) -> bool:
        if job_id in self.executions:
            return False
        rng, chaos = self.gate.rng, self.gate.chaos
        execution = Execution(job_id, tuple(request_ids), attempt, self.gate.time)
        self.executions[job_id] = execution
        if rng.random() < chaos.never_started:
            self._end(execution, "FAILED")
            return True
        if rng.random() < chaos.execution_aborted:
            self.agenda.after(rng.uniform(0, 60), lambda: self._end(execution, "ABORTED"), movable=True)
        self._later(lambda: self._plan(execution, 4))
        return True

    def is_living(self, job_id: str) -> bool:
        execution = self.executions.get(job_id)
        return execution is not None and execution.is_living

    def _end(self, execution: Execution, status: str) -> None:
        if execution.is_living:
            execution.is_living = False
            execution.status = status

    def _call(self, execution: Execution, name: str, work: Callable[[], Any]) -> Any:
        """What the function answers; ``None`` if it failed or there is no execution any more."""
        if not execution.is_living:
            return None
        try:
            with self.gate.invocation(name, longest=200):
                return work()
        except (Exception, Killed):
            return None

    def _later(self, action: Callable[[], None], failures: int = 0) -> None:
        seconds = self.gate.rng.uniform(0.2, 4.0) * (1 << failures)
        if self.gate.rng.random() < self.gate.chaos.execution_hangs:
            # Whatever is the matter, it takes its time.
            seconds += min(self.gate.rng.expovariate(1 / 7200), LONGEST_EXECUTION.total_seconds() / 3)
        self.agenda.after(seconds, action, movable=True)

    def _fails_for_good(self, execution: Execution) -> bool:
        if self.gate.rng.random() < self.gate.chaos.execution_fails / 4:
            self._end(execution, "FAILED")
        return not execution.is_living

    def _plan(self, execution: Execution, tries: int) -> None:
        units = self._call(execution, "plan_job", lambda: self.steps.plan(execution))
        if self._fails_for_good(execution):
            return
        if units is None and tries == 0:
            self._end(execution, "FAILED")
        elif units is None:
            self._later(lambda: self._plan(execution, tries - 1), 4 - tries)
        else:
            open_units = [(unit, PASSES, 5) for unit in units]
            self._later(lambda: self._work(execution, open_units))

    def _work(self, execution: Execution, units: list[tuple[str, int, int]]) -> None:
        """A slice of the first unit, then it is verified; then it is the next one's turn."""
        if self._fails_for_good(execution):
            return
        if not units:
            self._close(execution, 6)
            return
        (unit, passes, tries), *others = units

        def erase_and_verify() -> tuple[bool, int]:
            self.steps.erase(execution, unit)
            return self.steps.verify(execution, unit)

        answer = self._call(execution, "erase", erase_and_verify)
        if not execution.is_living:
            return
        if answer is None:  # tried again, until the unit is given up
            units = [(unit, passes, tries - 1), *others] if tries else others
            self._later(lambda: self._work(execution, units))
            return
        again, wait = answer
        units = [*others, (unit, passes - 1, 5)] if again and passes > 1 else others
        self.agenda.after(wait + self.gate.rng.uniform(0.1, 1), lambda: self._work(execution, units), movable=True)

    def _close(self, execution: Execution, tries: int) -> None:

        def close() -> bool:
            self.steps.close(execution)
            return True

        done = self._call(execution, "close_job", close)
        if done is None and tries and execution.is_living:
            self._later(lambda: self._close(execution, tries - 1), 6 - tries)
        else:
            self._end(execution, "FAILED" if done is None else "SUCCEEDED")


def start_jobs_of(workflow: Any) -> Callable[[Any], Any]:
    """The function behind the queues, as it is; it logs to nobody."""
    silent: Any = SimpleNamespace(error=lambda *_a, **_k: None, info=lambda *_a, **_k: None)
    handler = make_start_jobs(workflow, f"arn:aws:sqs:us-east-1:123456789012:{BATCH_LANE}", silent)
    return lambda event: handler(event, None)
