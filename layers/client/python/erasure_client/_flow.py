"""What the client does, without doing any of it: generators that ask for steps, and one loop for each kind of client
that takes them.

A flow yields a :class:`Step` and is sent what came of it: the :class:`~erasure_client._wire.Answer` of a
:class:`Send` (:class:`~erasure_client.errors.NoAnswerError` is thrown into it if there is none), the seconds of
:class:`Now`, None for the others. What it returns is the call's result. Retries, waiting and paging are flows, so
both clients have them, and tests take the steps themselves.
"""

from __future__ import annotations

import inspect
import logging
import random
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from erasure_client._wire import Answer, Call, error_of
from erasure_client.errors import (
    ConfigurationError,
    NoAnswerError,
    RefusedError,
    ServiceError,
    TooManyCallsError,
    UnexpectedAnswerError,
)

T = TypeVar("T")

LONGEST_PAUSE = 120.0
"""Seconds. If the service asks for more, the error is raised, and the caller may wait."""

_log = logging.getLogger("erasure_client")

_LEAST_PATIENCE = 1.0
"""Seconds that a call has in any case: with less, the last one before the end could not succeed."""


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
        return (0.5 + self.chance() / 2) * min(8.0, 0.5 * 2.0 ** min(attempt - 1, 10))


def with_key(call: Call, idempotency_key: str | None = None) -> Call:
    """The call with a key by which the service knows it again; one of its own if none is given. Raises
    :class:`ConfigurationError` for a key that the service would refuse, or that no header can hold."""
    if idempotency_key is None:
        return replace(call, idempotency_key=f"ec_{uuid.uuid4().hex}")
    key = idempotency_key
    if not (
        isinstance(key, str) and 1 <= len(key) <= 256 and key.isascii() and key.isprintable() and key == key.strip()
    ):
        raise ConfigurationError("idempotency_key must be 1 to 256 printable ASCII characters, no space at its ends")
    return replace(call, idempotency_key=key)


def within(call: Call, seconds: float) -> Call:
    """The call, given up after so many seconds, or a little more."""
    return replace(call, within=max(_LEAST_PATIENCE, seconds))


def send(
    call: Call,
    retries: Retries,
    *,
    ends_at: float | None = None,
    fitted: Callable[[Call, float], Call] = within,
    is_final: Callable[[RefusedError], bool] = lambda _: False,
) -> Flow[Answer]:
    """Send a call until it is answered with a status below 300, or refused for good. Everything sent by this package
    may be repeated: what changes something has an idempotency key.

    ``ends_at``, of :class:`Now`: the call is not sent again after that, and each time ``fitted`` to the seconds that
    are left. ``is_final``: which errors are not to be tried again although their status says so.
    """
    attempt = 0
    while True:
        fitting = call if ends_at is None else fitted(call, ends_at - (yield Now()))
        try:
            answer: Answer = yield Send(fitting)
        except NoAnswerError as error:
            failure: Exception = error
            may_retry, retry_after = True, None
        else:
            if answer.status < 300:
                return answer
            failure = error_of(answer, call)
            may_retry, retry_after = _may_retry(failure, is_final), answer.retry_after
        attempt += 1
        if not may_retry or attempt > retries.most or (retry_after or 0) > LONGEST_PAUSE:
            raise failure
        pause = retries.pause(attempt, retry_after)
        if ends_at is not None and (yield Now()) + pause >= ends_at:
            raise failure
        reason = str(failure.status) if isinstance(failure, RefusedError) else "no answer"
        # The kind of call only: in its address and its body there may be ids.
        _log.info("%s (%s), sent again in %.1f s", reason, call.what, pause, extra={"seconds": pause})
        yield Pause(pause)


def carry_out(call: Call, retries: Retries) -> Flow[None]:
    """Send a call that is answered with 204. Any other success is not the service's, and nothing has been done."""
    answer = yield from send(call, retries)
    if answer.status != 204:
        raise UnexpectedAnswerError(
            "The answer does not say that it is done. Is this the service's address?", answer.status
        )


def _may_retry(failure: RefusedError | UnexpectedAnswerError, is_final: Callable[[RefusedError], bool]) -> bool:
    if isinstance(failure, UnexpectedAnswerError) or is_final(failure):
        return False
    # 501 and the like say that it will never be otherwise.
    return isinstance(failure, TooManyCallsError) or (
        isinstance(failure, ServiceError) and failure.status in (500, 502, 503, 504)
    )


class Carrier(Protocol):
    """Carries calls, and knows the time. ``send`` raises :class:`NoAnswerError`; ``now``: seconds of a clock that only
    goes forward."""

    def send(self, call: Call) -> Answer: ...

    def pause(self, seconds: float) -> None: ...

    def now(self) -> float: ...


class AsyncCarrier(Protocol):
    """The same, letting others work meanwhile."""

    async def send(self, call: Call) -> Answer: ...

    async def pause(self, seconds: float) -> None: ...

    def now(self) -> float: ...


@dataclass(frozen=True, slots=True)
class _End(Generic[T]):
    value: T


def _moved(move: Callable[[], Step]) -> Step | _End[Any]:
    # Around the flow alone: a StopIteration of a listener or a transport is not the end of the flow.
    try:
        return move()
    except StopIteration as end:
        return _End(end.value)


def run(flow: Flow[T], carrier: Carrier) -> T:
    """Take the flow's steps, one after the other, in this thread."""
    try:
        step = _moved(partial(next, flow))
        while not isinstance(step, _End):
            try:
                given = _take(step, carrier)
            except NoAnswerError as error:
                step = _moved(partial(flow.throw, error))
            else:
                step = _moved(partial(flow.send, given))
        value: T = step.value
        return value
    finally:
        flow.close()


def _take(step: Step, carrier: Carrier) -> Any:
    match step:
        case Send(call):
            return carrier.send(call)
        case Pause(seconds):
            return carrier.pause(seconds)
        case Now():
            return carrier.now()
        case Tell(listener, value):
            told = listener(value)
            if inspect.iscoroutine(told):
                told.close()
                raise ConfigurationError("the listener is a coroutine function: that is for AsyncErasureClient")
            return None


async def run_async(flow: Flow[T], carrier: AsyncCarrier) -> T:
    """Take the flow's steps, and let others work meanwhile."""
    try:
        step = _moved(partial(next, flow))
        while not isinstance(step, _End):
            try:
                given = await _take_async(step, carrier)
            except NoAnswerError as error:
                step = _moved(partial(flow.throw, error))
            else:
                step = _moved(partial(flow.send, given))
        value: T = step.value
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
            return carrier.now()
        case Tell(listener, value):
            told = listener(value)
            if inspect.isawaitable(told):
                await told
            return None
