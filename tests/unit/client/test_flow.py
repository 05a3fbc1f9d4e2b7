"""Retries, and the loops that take a flow's steps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_client._flow import LONGEST_PAUSE, Flow, Pause, Retries, Send, Tell, carry_out, run_async, send, with_key
from erasure_client._wire import Answer, Call
from erasure_client.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NoAnswerError,
    ServiceError,
    TooManyCallsError,
    UnexpectedAnswerError,
)
from tests.unit.client.carriers import LOST, Driver, Reply, Service, answer, problem

LOOK = Call("GET", "/v1/sla", "GET /v1/sla")
CHANGE = with_key(Call("POST", "/v1/erasure-requests", "POST /v1/erasure-requests", body={}))


@pytest.mark.parametrize("trouble", [LOST, *[problem(status, "internal_error") for status in (500, 502, 503, 504)]])
def test_what_passes_is_tried_again_with_the_same_key(driver: Driver, trouble: Reply) -> None:
    """A call that got no answer, or a passing 5xx, is sent again as it was."""
    service = Service.of(trouble, trouble, answer(200, {"ok": True}))
    assert driver.run(send(CHANGE, Retries()), service).json() == {"ok": True}
    assert service.calls == [CHANGE] * 3
    assert len(service.pauses) == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(400, "invalid_request"), InvalidRequestError),
        (problem(409, "conflict"), ConflictError),
        (problem(501, "internal_error"), ServiceError),
        (answer(301, None, location="https://elsewhere.example"), UnexpectedAnswerError),
        (answer(404, {"detail": "of something else"}), UnexpectedAnswerError),
    ],
)
def test_what_will_not_pass_is_not_tried_again(driver: Driver, reply: Answer, kind: type[Exception]) -> None:
    """A refusal is raised at once."""
    service = Service.of(reply)
    with pytest.raises(kind):
        driver.run(send(LOOK, Retries()), service)
    assert len(service.calls) == 1
    assert service.pauses == []


def test_attempts_are_counted(driver: Driver) -> None:
    """After as many repetitions as allowed, the last failure is raised; with none allowed, the first."""
    for most in (0, 1, 3):
        service = Service.of(LOST)
        with pytest.raises(NoAnswerError):
            driver.run(send(LOOK, Retries(most)), service)
        assert len(service.calls) == most + 1


def test_the_service_says_when(driver: Driver) -> None:
    """A 429 is tried again after what ``Retry-After`` says, and never sooner."""
    service = Service.of(problem(429, "rate_limit_exceeded", retry_after="7"), answer(200, {}))
    driver.run(send(LOOK, Retries(chance=lambda: 0.0)), service)
    assert service.pauses == [7.0]


def test_too_long_a_pause_is_the_callers_to_make(driver: Driver) -> None:
    """If the service asks for more than the longest pause, the error is raised with what it asked for."""
    service = Service.of(problem(429, "rate_limit_exceeded", retry_after="100000000"))
    with pytest.raises(TooManyCallsError) as caught:
        driver.run(send(LOOK, Retries()), service)
    assert caught.value.retry_after == 100_000_000
    assert service.pauses == []


def test_nothing_is_sent_after_the_end(driver: Driver) -> None:
    """With an end, no repetition begins at or after it, and each call is given no more than what is left."""
    service = Service.of(LOST, takes=1.0)
    with pytest.raises(NoAnswerError):
        driver.run(send(LOOK, Retries(most=100), ends_at=service.seconds + 20), service)
    assert service.seconds < 1021
    allowed = [call.within or 0.0 for call in service.calls]
    assert allowed[0] == 20
    assert allowed == sorted(allowed, reverse=True)
    assert len(allowed) > 3


def test_some_errors_are_final(driver: Driver) -> None:
    """Who knows that asking again does not help is heard."""
    service = Service.of(problem(500, "internal_error", x_erasure_request_id="er_1"))
    with pytest.raises(ServiceError):
        driver.run(send(LOOK, Retries(), is_final=lambda error: error.request_id is not None), service)
    assert len(service.calls) == 1


@pytest.mark.parametrize("success", [answer(200, {}), answer(202, {}), answer(206)])
def test_done_is_said_in_one_way(driver: Driver, success: Answer) -> None:
    """What is answered with 204 is done; another success is not the service's, and nothing counts as done."""
    driver.run(carry_out(CHANGE, Retries()), Service.of(answer(204)))
    with pytest.raises(UnexpectedAnswerError):
        driver.run(carry_out(CHANGE, Retries()), Service.of(success))


@given(
    st.integers(min_value=1, max_value=10_000),
    st.none() | st.floats(min_value=0, max_value=LONGEST_PAUSE),
    st.floats(min_value=0, max_value=1),
)
def test_pauses_are_bounded_on_both_sides(attempt: int, retry_after: float | None, chance: float) -> None:
    """A pause is never shorter than ``Retry-After``, at most a second longer, and without it 0.25 to 8 seconds."""
    pause = Retries(chance=lambda: chance).pause(attempt, retry_after)
    if retry_after is None:
        assert 0.25 <= pause <= 8
    else:
        assert retry_after <= pause <= retry_after + 1


@given(
    st.integers(min_value=0, max_value=20),
    st.lists(st.sampled_from(["lost", "500", "503 in 3", "429 in 120"]), min_size=1, max_size=30),
    st.floats(min_value=0, max_value=1),
)
def test_pauses_of_a_call_are_bounded_together(most: int, troubles: list[str], chance: float) -> None:
    """Whatever happens, a call pauses at most as often as it may be repeated, and each time boundedly."""
    known: dict[str, Reply] = {
        "lost": LOST,
        "500": problem(500, "internal_error"),
        "503 in 3": problem(503, "internal_error", retry_after="3"),
        "429 in 120": problem(429, "rate_limit_exceeded", retry_after="120"),
    }
    service = Service([known[trouble] for trouble in troubles])
    with pytest.raises((NoAnswerError, ServiceError, TooManyCallsError)):
        Driver("sync").run(send(LOOK, Retries(most, chance=lambda: chance)), service)
    assert len(service.pauses) == most
    assert sum(service.pauses) <= most * (LONGEST_PAUSE + 1)


def test_keys_are_made_or_taken() -> None:
    """Each call has a key of its own unless the caller gives one."""
    assert with_key(LOOK).idempotency_key != with_key(LOOK).idempotency_key
    assert with_key(LOOK, "mine").idempotency_key == "mine"


@pytest.mark.parametrize("key", ["", " ", " a", "a ", "a\nb", "\x00", "é", "a" * 257, 7])
def test_keys_that_no_header_can_hold_are_refused(key: Any) -> None:
    """A key that would arrive as another one, or none, is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        with_key(LOOK, key)


def _telling(listener: Any) -> Flow[str]:
    yield Tell(listener, "news")
    return "end"


def test_listeners_are_told(driver: Driver) -> None:
    """The caller's function is called with the value."""
    told: list[str] = []
    assert driver.run(_telling(told.append), Service.of()) == "end"
    assert told == ["news"]


def test_a_listener_that_stops_iterating_does_not_end_the_flow(driver: Driver) -> None:
    """A StopIteration of the caller's function is an error, not the flow's result."""
    with pytest.raises((StopIteration, RuntimeError)):
        driver.run(_telling(lambda _: next(iter(()))), Service.of())


def test_coroutines_are_for_the_asynchronous_client() -> None:
    """A coroutine function as listener is awaited by the asynchronous client, and refused by the other."""
    told: list[str] = []

    async def listen(value: str) -> None:
        await asyncio.sleep(0)
        told.append(value)

    assert Driver("async").run(_telling(listen), Service.of()) == "end"
    assert told == ["news"]
    with pytest.raises(ConfigurationError):
        Driver("sync").run(_telling(listen), Service.of())


def test_the_flow_is_closed_when_a_step_fails(driver: Driver) -> None:
    """An error of the carrier that is no lost answer ends the flow, which can clean up."""
    closed: list[bool] = []

    def flow() -> Flow[None]:
        try:
            yield Send(LOOK)
        finally:
            closed.append(True)

    with pytest.raises(ConfigurationError):
        driver.run(flow(), Service.of(ConfigurationError("closed")))
    assert closed == [True]


def test_cancelling_goes_through() -> None:
    """A task that is cancelled while its flow pauses is cancelled, nothing is sent any more, and the flow is closed."""
    closed: list[bool] = []
    paused = asyncio.Event()

    class Waiting:
        async def send(self, _: Call) -> Answer:
            raise AssertionError("sent after the end")

        async def pause(self, _: float) -> None:
            paused.set()
            await asyncio.Event().wait()

        def now(self) -> float:
            return 0.0

    def flow() -> Flow[Answer]:
        try:
            yield Pause(1)
            return (yield from send(LOOK, Retries()))
        finally:
            closed.append(True)

    async def main() -> None:
        task = asyncio.create_task(run_async(flow(), Waiting()))
        await paused.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert closed == [True]
