"""Wait for an erasure: look, pause, look again, until it has ended or the time is over.

What a look says is judged by whoever waits; how long to pause, what to survive and when to give up is the same for a
backend that waits for a request and for a person who waits for their own deletion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from erasure_client._flow import LONGEST_PAUSE, Flow, Now, Pause, Retries, Tell, send
from erasure_client._models_requests import ErasureRequest
from erasure_client._wire import Answer, Call, segment
from erasure_client.errors import (
    ConfigurationError,
    ErasureClientError,
    NeedsAttentionError,
    NoAnswerError,
    RefusedError,
    ServiceError,
    StillRunningError,
    StoppedError,
    TooManyCallsError,
    UnexpectedAnswerError,
)

T = TypeVar("T")

FIRST_INTERVAL, LONGEST_INTERVAL = 1.0, 15.0
RESTING_INTERVAL = 60.0
"""Seconds between looks at a request that waits for its time, which may be hours away, and may be brought forward."""
_GROWTH = 1.5
_SETTLING_SECONDS = 30.0
"""How long a job may take to appear after a retry. Until then, attention is that of the attempt before."""


def checked_seconds(seconds: float | None, name: str) -> float | None:
    """Raises :class:`ConfigurationError` for what is no span of time. ``None``: without an end."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ConfigurationError(f"{name} must be a number of seconds, 0 or more")
    return float(seconds)


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """``call``: the look. ``read``: what its answer says. ``is_over``, told that and the time: whether it is the end;
    raises an :class:`~erasure_client.errors.UnfinishedError` for an end that is not the one that is waited for.
    ``rests``: whether nothing is to be expected soon. ``essence``: what is news if it changes. ``ends_at``: of
    :class:`Now`. ``poll``: seconds between looks, if the caller wants it so."""

    request_id: str
    call: Call
    read: Callable[[Answer], T]
    is_over: Callable[[T, float], bool]
    rests: Callable[[T], bool]
    essence: Callable[[T], Any]
    ends_at: float | None
    poll: float | None = None
    on_progress: Callable[[T], Any] | None = None


def follow(waiting: Waiting[T], retries: Retries, *, known: bool = False, asked: float | None = None) -> Flow[T]:
    """``known``: the service has said that there is such a request, so a look that fails is worth another.
    ``asked``: seconds that the service wants to be left alone for before the first."""
    pacing = _Pacing(waiting.poll, retries)
    shown: Any = None
    if asked is not None:
        yield from _rest(waiting, asked, asked)
    while True:
        try:
            seen, now = yield from _look(waiting, Retries(0) if known else retries)
        except (NoAnswerError, TooManyCallsError, ServiceError) as failure:
            if not known:
                raise
            asked = None if isinstance(failure, NoAnswerError) else failure.retry_after
            if waiting.ends_at is None and (asked or 0.0) > LONGEST_PAUSE:
                raise  # who waits without an end must not sleep for years because one answer says so
            yield from _rest(waiting, pacing.after_failure(asked), asked or 0.0, failure)
            continue
        known = True
        essence = waiting.essence(seen)
        if essence != shown:
            shown = essence
            pacing.hurry()
            if waiting.on_progress is not None:
                yield Tell(waiting.on_progress, seen)
        if waiting.is_over(seen, now):
            return seen
        yield from _rest(waiting, pacing.after_look(rests=waiting.rests(seen)))


def _look(waiting: Waiting[T], retries: Retries) -> Flow[tuple[T, float]]:
    try:
        answer = yield from send(waiting.call, retries, ends_at=waiting.ends_at)
    except (NoAnswerError, RefusedError) as error:
        error.request_id = error.request_id or waiting.request_id
        raise
    now: float = yield Now()
    return waiting.read(answer), now


def _rest(
    waiting: Waiting[Any], seconds: float, asked: float = 0.0, failure: ErasureClientError | None = None
) -> Flow[None]:
    """Pause, at most to the end, where there is a last look. Raises :class:`StillRunningError` after that look, and
    if the service has ``asked`` for more than is left."""
    now: float = yield Now()
    left = math.inf if waiting.ends_at is None else waiting.ends_at - now
    if left <= 0 or asked > left:
        message = "The erasure is not known to be finished, and the time to wait is over. It goes on by itself."
        raise StillRunningError(message, waiting.request_id) from failure
    if seconds > 0:
        yield Pause(min(seconds, left))


class _Pacing:
    """Seconds between looks: more and more while nothing changes, fewer when something does."""

    def __init__(self, poll: float | None, retries: Retries) -> None:
        self._poll = poll
        self._retries = retries
        self._interval = FIRST_INTERVAL
        self._failures = 0

    def hurry(self) -> None:
        self._interval = max(FIRST_INTERVAL, self._interval / 2)

    def after_look(self, *, rests: bool) -> float:
        self._failures = 0
        if self._poll is not None:
            return self._poll
        # Not all who wait look at the same moment.
        seconds = self._interval * (0.9 + 0.2 * self._retries.chance())
        self._interval = min(self._interval * _GROWTH, RESTING_INTERVAL if rests else LONGEST_INTERVAL)
        return seconds

    def after_failure(self, asked: float | None) -> float:
        self._failures += 1
        return max(self._poll or 0.0, self._retries.pause(self._failures, asked))


def wait(
    request_id: str,
    retries: Retries,
    *,
    timeout: float | None = None,
    on_progress: Callable[[ErasureRequest], Any] | None = None,
    poll: float | None = None,
    attempt: int | None = None,
) -> Flow[ErasureRequest]:
    """Until the request is finished; it may still keep things then, which is for the caller to look at.

    ``timeout``: seconds; ``None``: however long it takes. 0: look once. ``on_progress`` is told each state of the
    request that shows something new; the figures of its promise, which change with every second, are nothing new.
    ``poll``: seconds between looks, instead of 1 that grow to 15. ``attempt``: the number that a retry has given; the
    attention that an earlier attempt has left is not taken for its result then.

    Raises :class:`StillRunningError` when the time is over, :class:`NeedsAttentionError` when a job has ended and not
    everything could be erased (the service may still try again by itself: wait again, if that is what you want),
    :class:`StoppedError` for a request that is cancelled or held, and what the service refuses. Looks that fail
    because it was not reached, or not available, are repeated until the time is over; if none has succeeded, as often
    as any call.
    """
    seconds = checked_seconds(timeout, "timeout")
    if poll is not None and not checked_seconds(poll, "poll"):
        raise ConfigurationError("poll must be more than 0 seconds")
    call = Call("GET", f"/v1/erasure-requests/{segment(request_id)}", "GET /v1/erasure-requests/{request_id}")
    now: float = yield Now()
    waiting = Waiting(
        request_id,
        call,
        read=partial(_read, request_id),
        is_over=_End(request_id, attempt, now).is_reached,
        rests=lambda request: request.scan_at is not None or (request.state == "requested" and _is_put_off(request)),
        essence=_essence,
        ends_at=None if seconds is None else now + seconds,
        poll=poll,
        on_progress=on_progress,
    )
    return (yield from follow(waiting, retries))


def _read(request_id: str, answer: Answer) -> ErasureRequest:
    request = ErasureRequest.of(answer.json())
    check_same(request.id, request_id, answer)
    return request


def check_same(told: str, meant: str, answer: Answer) -> None:
    """Raises :class:`UnexpectedAnswerError` for an answer about another request: its end would be taken for this
    one's."""
    if told != meant:
        raise UnexpectedAnswerError("The answer is about another erasure request than the call.", answer.status)


def _is_put_off(request: ErasureRequest) -> bool:
    return request.not_before is not None


def _essence(request: ErasureRequest) -> Any:
    job, sla = request.job, request.sla
    return replace(request, job=None, sla=None), job and job.attempt, sla and sla.state


class _End:
    """Tells the end of a request from all that comes before. ``began``: when the waiting did."""

    def __init__(self, request_id: str, attempt: int | None, began: float) -> None:
        self._request_id = request_id
        self._attempt = attempt
        self._settles_at = -math.inf if attempt is None else began + _SETTLING_SECONDS

    def is_reached(self, request: ErasureRequest, now: float) -> bool:
        if request.job is not None and self._attempt is not None and request.job.attempt >= self._attempt:
            self._settles_at = -math.inf
        needs_attention = request.attention and request.state == "started" and request.job is None
        if needs_attention and now >= self._settles_at:
            raise NeedsAttentionError("Not everything could be erased.", self._request_id)
        raise_if_stopped(request.state, self._request_id)
        return request.is_finished


def raise_if_stopped(state: str, request_id: str) -> None:
    """Raises :class:`StoppedError` for a request that does not go on by itself."""
    if state == "held":
        raise StoppedError("The erasure waits under a legal hold. It goes on when that is lifted.", request_id)
    if state == "cancelled":
        raise StoppedError("The erasure was cancelled.", request_id)
