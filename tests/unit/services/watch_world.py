"""Open requests in every condition, the watch that looks at them, and ways to disturb it, in memory."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from erasure.domain.clock import ClockPolicy
from erasure.domain.outcome import FAILED, TargetOutcome
from erasure.domain.request import HELD, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.times import due_at, purged_by
from erasure.errors import UnavailableError
from erasure.ports import Event, Hold
from erasure.services.sla_watch import SlaReport, SlaWatch
from erasure.targets.protocol import Deadline
from tests import fake_clock_stores, fake_jobs, fakes

POLICY = ClockPolicy()
HOUR = timedelta(hours=1)


class Killed(BaseException):
    """The process is gone: no code of the service goes on after it."""


class FakeExecutions:
    """``living``: jobs. ``down``: does not answer. ``asked``: how often about each."""

    def __init__(self) -> None:
        self.living: set[str] = set()
        self.down = False
        self.asked: Counter[str] = Counter()

    def is_living(self, job_id: str) -> bool:
        self.asked[job_id] += 1
        if self.down:
            raise UnavailableError("the workflow did not answer")
        return job_id in self.living


class FakeEventBus:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    def put(self, events: Sequence[Event]) -> None:
        if self.down:
            raise UnavailableError("the bus did not take the events")
        self.events += events

    def ids(self) -> set[str]:
        return {event.event_id for event in self.events}


class FakeDeadLetters:
    """Messages are received once in each call of the watch."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}
        self.hidden: set[str] = set()

    def put(self, body: str) -> None:
        self.bodies[f"handle-{len(self.bodies)}"] = body

    def receive(self) -> list[tuple[str, str]]:
        shown = [letter for letter in self.bodies.items() if letter[0] not in self.hidden][:10]
        self.hidden.update(handle for handle, _ in shown)
        return shown

    def drop(self, handle: str) -> None:
        self.bodies.pop(handle, None)


WRITES = {
    "clock": ("look_again", "raise_level", "hold", "resume"),
    "audit": ("append",),
    "queue": ("send",),
    "events": ("put",),
    "dead_letters": ("drop",),
    "holds": ("lift",),
}
"""What the watch changes or sends, by the name of what it is given."""


class Disturbed:
    """Stands before a store: calls ``before`` ahead of each write."""

    def __init__(self, inner: Any, writes: Sequence[str], before: Callable[[], None]) -> None:
        self._inner, self._writes, self._before = inner, writes, before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in self._writes:
            return method

        def disturbed(*arguments: Any, **named: Any) -> Any:
            self._before()
            return method(*arguments, **named)

        return disturbed


class Writes:
    """Counts writes. At the one with this number something happens, once, or the process dies for good."""

    def __init__(self, at: int | None = None, what: Callable[[], object] | None = None) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._at, self._what = at, what

    def __call__(self) -> None:
        with self._lock:
            number, self.count = self.count, self.count + 1
        if self._at is None or number < self._at:
            return
        if self._what is None:
            raise Killed
        if number == self._at:
            self._what()


@dataclass
class WatchWorld:
    now: fakes.FakeClock = field(default_factory=fakes.FakeClock)
    audit: fakes.FakeAuditLog = field(default_factory=fakes.FakeAuditLog)
    queue: fake_jobs.FakeJobQueue = field(default_factory=fake_jobs.FakeJobQueue)
    holds: fake_clock_stores.FakeHoldStore = field(default_factory=fake_clock_stores.FakeHoldStore)
    executions: FakeExecutions = field(default_factory=FakeExecutions)
    events: FakeEventBus = field(default_factory=FakeEventBus)
    dead_letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)
    policy: ClockPolicy = POLICY

    def __post_init__(self) -> None:
        self.requests = fakes.FakeRequestStore(self.audit)
        self.clock = fake_clock_stores.FakeClockStore(self.requests)

    def watch(self, before: Callable[[], None] | None = None, now: Callable[[], datetime] | None = None) -> SlaWatch:
        parts: dict[str, Any] = {name: getattr(self, name) for name in (*WRITES, "requests", "executions")}
        if before is not None:
            parts |= {name: Disturbed(parts[name], writes, before) for name, writes in WRITES.items()}
        return SlaWatch(**parts, now=now or self.now, policy=self.policy)

    def run(
        self,
        before: Callable[[], None] | None = None,
        now: Callable[[], datetime] | None = None,
        deadline: Deadline | None = None,
    ) -> SlaReport:
        """One call of the watch, without an error."""
        self.dead_letters.hidden.clear()
        report = self.watch(before, now).run(deadline or Deadline(60))
        assert report.errors == []
        return report

    def add(self, name: str, age: timedelta = timedelta(0), **changes: Any) -> ErasureRequest:
        """A request that was accepted so long ago and never looked at."""
        requested_at = self.now() - age
        request = ErasureRequest(
            request_id=f"er_{name.encode().hex().upper():0>26}",
            subject=Subject("acme", name),
            subject_digest=f"digest of {name}",
            family="native",
            requested_at=requested_at,
            due_at=due_at(changes.get("not_before") or requested_at, 72),
            purged_by=purged_by(changes.get("not_before") or requested_at, 90),
            clock_at=self.policy.first_look(changes.get("not_before") or requested_at),
        )
        request = replace(request, **changes)
        self.requests.records[request.request_id] = request
        self.audit.append(request.request_id, "requested", requested_at, {})
        return request

    def add_started(self, name: str, age: timedelta, attempt: int = 1, **changes: Any) -> ErasureRequest:
        """One that a job has claimed."""
        job_id = f"jb_{name}-{attempt}"
        changes = {"state": STARTED, "job_id": job_id, "attempt": attempt, **changes}
        return self.add(name, age, **changes)

    def add_failed(self, name: str, age: timedelta, attempt: int = 1, **changes: Any) -> ErasureRequest:
        """One whose job has closed it with a target that failed, right now."""
        outcomes = (TargetOutcome("notes", "content", FAILED, reason="access_denied"),)
        closed = {"attention": True, "closed_at": self.now(), "outcomes": outcomes}
        closed_jobs = frozenset({f"jb_{name}-{attempt}"})
        return self.add_started(name, age, attempt, **{"closed_jobs": closed_jobs, **closed, **changes})

    def hold(self, request: ErasureRequest) -> Hold:
        digest = request.subject_digest
        hold = Hold("lh_1", "acme", "user", digest, "a case", "legal", self.now(), "key", marks=(digest,))
        assert self.holds.put(hold, None)
        return hold

    def letter(self, *requests: ErasureRequest, attempt: int = 1) -> None:
        self.dead_letters.put(
            json.dumps({"request_ids": [request.request_id for request in requests], "attempt": attempt})
        )

    def record(self, request: ErasureRequest) -> ErasureRequest:
        return self.requests.records[request.request_id]

    def trail(self, request: ErasureRequest) -> list[str]:
        return [entry.event_id for entry in self.audit.entries(request.request_id)]

    def alarms(self, request: ErasureRequest) -> list[str]:
        """The levels that its trail has, in order."""
        return [event_id for event_id in self.trail(request) if event_id.startswith("sla:")]

    def sent(self, request: ErasureRequest) -> list[int]:
        """The attempts with which it was sent off."""
        return [attempt for request_ids, attempt in self.queue.messages if request.request_id in request_ids]

    def is_held(self, request: ErasureRequest) -> bool:
        return self.record(request).state == HELD
