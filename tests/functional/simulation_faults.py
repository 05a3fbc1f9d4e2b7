"""What can go wrong in the simulation, and the one course of events that a seed stands for.

Everything that the service calls goes through a :class:`Gate`: there a call is refused or its answer lost, a function
dies, its clock is wrong, and others do their work between two of its calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from erasure.domain import identifiers
from erasure.errors import UnavailableError
from erasure.services import erasures, side_by_side


class Killed(BaseException):
    """A function's process has ended: nothing of it runs on, its handlers of errors least of all."""


@dataclass(frozen=True)
class Chaos:
    """How often what goes wrong: of calls, invocations, messages, executions ... one in so many (shares of 1).

    ``skew``: by so much a function's clock may be wrong, either way.
    """

    throttled: float = 0.003
    answer_lost: float = 0.0015
    interrupted: float = 0.03
    killed: float = 0.03
    skewed: float = 0.3
    skew: timedelta = timedelta(minutes=3)
    slow: float = 0.03
    message_lost: float = 0.03
    message_doubled: float = 0.05
    message_late: float = 0.04
    never_started: float = 0.01
    execution_fails: float = 0.01
    execution_aborted: float = 0.01
    execution_hangs: float = 0.01
    erasing_fails: float = 0.05
    schedule_doubled: float = 0.03
    schedule_skipped: float = 0.03
    index_lag: timedelta = timedelta(seconds=8)

    def times(self, factor: float) -> Chaos:
        """So many times as often, up to every third time."""
        rates = {name: value for name, value in vars(self).items() if isinstance(value, float)}
        changed: Any = {name: min(value * factor, max(value, 0.33)) for name, value in rates.items()}
        return replace(self, **changed)


QUIET = Chaos().times(0)
"""Nothing goes wrong any more."""


@dataclass(slots=True)
class Invocation:
    """``skew``: how wrong its clock is. ``dies_at``: the number of the call at which it dies; 0: it does not.
    ``faults``: how many of its calls went wrong. ``pace``: seconds that each of its calls takes. ``number``: when it
    began."""

    name: str
    number: int
    skew: timedelta
    dies_at: int
    pace: float
    calls: int = 0
    faults: int = 0


class Gate:
    """``time``: what it is in truth. ``interrupt``: lets somebody else do what they were about to."""

    def __init__(self, rng: random.Random, chaos: Chaos, start: datetime) -> None:
        self.rng = rng
        self.chaos = chaos
        self.time = start
        self.interrupt: Callable[[], None] = lambda: None
        self.stack: list[Invocation] = []
        self.sequence = 0
        self.seconds = 0.0
        self.faults = 0

    def now(self) -> datetime:
        """As the function's own clock has it."""
        return self.time + self.stack[-1].skew if self.stack else self.time

    def monotonic(self) -> float:
        return self.time.timestamp() + self.seconds

    def next_number(self) -> int:
        """Things of one moment have an order."""
        self.sequence += 1
        return self.sequence

    @contextmanager
    def invocation(self, name: str, longest: int = 40) -> Iterator[Invocation]:
        rng, chaos = self.rng, self.chaos
        skew = timedelta(0)
        if rng.random() < chaos.skewed:
            skew = timedelta(milliseconds=rng.randint(-1, 1) * rng.randint(0, chaos.skew // timedelta(milliseconds=1)))
        dies_at = rng.randint(1, longest) if rng.random() < chaos.killed else 0
        call = Invocation(name, self.next_number(), skew, dies_at, 20.0 if rng.random() < chaos.slow else 0.02)
        self.stack.append(call)
        try:
            yield call
        finally:
            self.stack.pop()

    def pass_through(self, call: Callable[[], Any], *, ours: bool) -> Any:
        """``ours``: of a port that is documented to raise the service's own errors only."""
        if not self.stack:
            return call()
        invocation = self.stack[-1]
        invocation.calls += 1
        self.seconds += invocation.pace
        if invocation.calls == invocation.dies_at:
            self.faults += 1
            invocation.faults += 1
            raise Killed
        chaos, luck = self.chaos, self.rng.random()
        if luck < chaos.throttled:
            self._fail(invocation, ours=ours)
        luck -= chaos.throttled
        if 0 <= luck < chaos.interrupted and len(self.stack) <= 2:
            self.interrupt()
        result = call()
        if 0 <= luck - chaos.interrupted < chaos.answer_lost:
            self._fail(invocation, ours=ours)
        return result

    def _fail(self, invocation: Invocation, *, ours: bool) -> None:
        self.faults += 1
        invocation.faults += 1
        if ours or self.rng.random() < 0.5:
            raise UnavailableError("it did not answer")
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "Operation")


class Gated:
    """``behind``, every method of it through the gate."""

    def __init__(self, gate: Gate, behind: Any, *, ours: bool = False) -> None:
        self._gate = gate
        self._behind = behind
        self._ours = ours

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._behind, name)
        if not callable(method):
            return method
        gate, ours = self._gate, self._ours

        def call(*arguments: Any, **named: Any) -> Any:
            return gate.pass_through(lambda: method(*arguments, **named), ours=ours)

        setattr(self, name, call)
        return call


class Inline:
    """Stands for ThreadPoolExecutor: what is submitted is done at once, in this order."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # the one who asks for the result gets it
            future.set_exception(error)
        return future

    def map(self, work: Callable[..., Any], *items: Any) -> Iterator[Any]:
        futures = [self.submit(work, *each) for each in zip(*items, strict=False)]
        return iter([future.result() for future in futures])


@contextmanager
def one_course(rng: random.Random) -> Iterator[pytest.MonkeyPatch]:
    """Neither threads nor other randomness than the seed's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_by_side, "ThreadPoolExecutor", Inline)
        patch.setattr(erasures, "ThreadPoolExecutor", Inline)
        patch.setattr(identifiers, "secrets", SimpleNamespace(randbits=rng.getrandbits))
        yield patch
