"""What the client does, without doing any of it: generators that ask for steps, and one loop for each kind of client
that takes them.

A flow yields a :class:`Step` and is sent what came of it: the :class:`~erasure_client._wire.Answer` of a
:class:`Send` (:class:`~erasure_client.errors.NoAnswerError` is thrown into it if there is none), the seconds of
:class:`Now`, None for the others. What it returns is the call's result. Retries, waiting and paging are flows, so
both clients have them, and tests take the steps themselves.
"""

from __future__ import annotations

import inspect
import random
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar

from erasure_client._wire import Answer, Call, error_of
from erasure_client.errors import NoAnswerError, RefusedError, ServiceError, TooManyCallsError, UnexpectedAnswerError

T = TypeVar("T")

LONGEST_PAUSE = 120.0
"""Seconds. If the service asks for more, the error is raised, and the caller may wait."""


@dataclass(frozen=True, slots=True)
class Send:
    call: Call


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """Seconds of a clock that only goes forward."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Call the caller's own function. With the asynchronous client it may be a coroutine function."""

    listener: Callable[[Any], Any]
    value: Any


Step: TypeAlias = Send | Pause | Now | Tell
Flow: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class Retries:
    """``most``: how often a call is sent again. ``chance``: a number from 0 to 1."""

    most: int = 4
    chance: Callable[[], float] = random.random

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before the ``attempt``-th repetition: never less than the service asked for."""
        if retry_after is not None:
            return retry_after + self.chance() * min(1.0, 0.1 + retry_after / 4)
        return (0.5 + self.chance() / 2) * min(8.0, 0.5 * 2 ** (attempt - 1))


def with_key(call: Call, idempotency_key: str | None = None) -> Call:
    """The call with a key by which the service knows it again; one of its own if none is given."""
    return replace(call, idempotency_key=idempotency_key or f"ec_{uuid.uuid4().hex}")


def send(call: Call, retries: Retries) -> Flow[Answer]:
    """Send a call until it is answered with a status below 300, or refused for good. Everything sent by this package
    may be repeated: what changes something has an idempotency key."""
    attempt = 0
    while True:
        try:
            answer: Answer = yield Send(call)
        except NoAnswerError as error:
            failure: Exception = error
            may_retry, retry_after = True, None
        else:
            if answer.status < 300:
                return answer
            failure = error_of(answer, call)
            may_retry, retry_after = _may_retry(failure), answer.retry_after
        attempt += 1
        if not may_retry or attempt > retries.most or (retry_after or 0) > LONGEST_PAUSE:
            raise failure
        yield Pause(retries.pause(attempt, retry_after))


def _may_retry(failure: RefusedError | UnexpectedAnswerError) -> bool:
    # 501 and the like say that it will never be otherwise.
    return isinstance(failure, TooManyCallsError) or (
        isinstance(failure, ServiceError) and failure.status in (500, 502, 503, 504)
    )


class Carrier(Protocol):
    """Carries calls. ``send`` raises :class:`NoAnswerError`."""

    def send(self, call: Call) -> Answer: ...


class AsyncCarrier(Protocol):
    async def send(self, call: Call) -> Answer: ...

    async def pause(self, seconds: float) -> None: ...


def run(flow: Flow[T], carrier: Carrier, pause: Callable[[float], None] = time.sleep) -> T:
    """Take the flow's steps, one after the other, in this thread."""
    try:
        step = next(flow)
        while True:
            try:
                given = _take(step, carrier, pause)
            except NoAnswerError as error:
                step = flow.throw(error)
            else:
                step = flow.send(given)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        flow.close()


def _take(step: Step, carrier: Carrier, pause: Callable[[float], None]) -> Any:
    match step:
        case Send(call):
            return carrier.send(call)
        case Pause(seconds):
            return pause(seconds)
        case Now():
            return time.monotonic()
        case Tell(listener, value):
            listener(value)
            return None


async def run_async(flow: Flow[T], carrier: AsyncCarrier) -> T:
    """Take the flow's steps, and let others work meanwhile."""
    try:
        step = next(flow)
        while True:
            try:
                given = await _take_async(step, carrier)
            except NoAnswerError as error:
                step = flow.throw(error)
            else:
                step = flow.send(given)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        flow.close()


async def _take_async(step: Step, carrier: AsyncCarrier) -> Any:
    match step:
        case Send(call):
            return await carrier.send(call)
        case Pause(seconds):
            return await carrier.pause(seconds)
        case Now():
            return time.monotonic()
        case Tell(listener, value):
            told = listener(value)
            if inspect.isawaitable(told):
                await told
            return None
