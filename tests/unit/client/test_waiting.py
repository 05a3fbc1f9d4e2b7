"""Waiting for a request."""

from __future__ import annotations

import math
from typing import Any

import pytest

from erasure_client._flow import Retries
from erasure_client._models_requests import ErasureRequest
from erasure_client._waiting import FIRST_INTERVAL, LONGEST_INTERVAL, RESTING_INTERVAL, wait
from erasure_client.errors import (
    ConfigurationError,
    NeedsAttentionError,
    NoAnswerError,
    NotFoundError,
    ServiceError,
    StillRunningError,
    StoppedError,
    TooManyCallsError,
    UnexpectedAnswerError,
)
from tests.unit.client.carriers import LOST, Driver, Reply, Service, answer, problem

ID = "er_01M80EY0A4QSF0B1MX3Y6VC2RT"
RETRIES = Retries(chance=lambda: 0.5)
NOT_THERE = problem(404, "resource_not_found")
THROTTLED = problem(429, "rate_limit_exceeded", retry_after="40")
BROKEN = problem(500, "internal_error", retry_after="5")


def shown(state: str = "started", **more: Any) -> Reply:
    body = {
        "id": ID,
        "subject": {"type": "user", "id": "usr_1"},
        "state": state,
        "attention": False,
        "requested_at": "2026-11-22T01:48:14.421Z",
        "due_at": "2026-11-25T01:48:14.421Z",
        "purged_by": "2027-02-20T01:48:14.421Z",
        "targets": [],
    }
    return answer(200, body | more)


def ticking(age: int, state: str = "on_time") -> dict[str, Any]:
    figures = {"age_seconds": age, "remaining_seconds": 1000 - age, "percent": 1, "paused_seconds": 0}
    return {"sla": {**figures, "state": state}, "job": {"attempt": 1, "age_seconds": age, "remaining_seconds": 1}}


WAITING = {"name": "documents", "category": "content", "state": "erasing", "count": 1}
FAILED = {"name": "documents", "category": "content", "state": "failed", "count": 0, "reason": "access_denied"}
KEPT = {"name": "receipts", "category": "record", "state": "retained", "count": 1, "kept": 3, "basis": "tax law"}


def test_it_looks_until_the_request_is_finished(driver: Driver) -> None:
    """The finished request is returned, and what it keeps is left to the caller to look at."""
    service = Service.of(shown("requested"), shown(), shown("finished", targets=[KEPT]))
    request = driver.run(wait(ID, RETRIES), service)
    assert (request.is_finished, request.is_complete) == (True, False)
    assert {call.path for call in service.calls} == {f"/v1/erasure-requests/{ID}"}


def test_pauses_grow_while_nothing_happens(driver: Driver) -> None:
    """The first pause is a second, the longest fifteen; a tenth more or less, by chance."""
    service = Service.of(shown(), *[shown()] * 12, shown("finished"))
    driver.run(wait(ID, RETRIES), service)
    assert service.pauses[0] == FIRST_INTERVAL
    assert service.pauses == sorted(service.pauses)
    assert service.pauses[-1] == LONGEST_INTERVAL


def test_looks_are_closer_when_something_happens(driver: Driver) -> None:
    """After news the next look comes sooner than it would have."""
    still, moved = shown(), shown(targets=[WAITING])
    service = Service.of(*[still] * 8, moved, shown("finished"))
    driver.run(wait(ID, RETRIES), service)
    assert service.pauses[8] < service.pauses[7]


@pytest.mark.parametrize(
    "put_off",
    [shown("requested", not_before="2027-01-31T12:00:00.000Z"), shown(scan_at="2026-11-22T06:00:00.000Z")],
)
def test_who_waits_for_a_time_is_looked_at_less_often(driver: Driver, put_off: Reply) -> None:
    """A request that waits for its time is looked at once a minute, in the end."""
    service = Service.of(*[put_off] * 15, shown("finished"))
    driver.run(wait(ID, RETRIES), service)
    assert service.pauses[-1] == RESTING_INTERVAL


def test_the_caller_may_say_how_often(driver: Driver) -> None:
    """``poll`` is the pause between looks."""
    service = Service.of(*[shown()] * 5, shown("finished"))
    driver.run(wait(ID, RETRIES, poll=3), service)
    assert service.pauses == [3.0] * 5


def test_progress_is_told_when_something_is_new(driver: Driver) -> None:
    """Each new state is told once; figures that change with every second are nothing new, a new attempt is."""
    second = ticking(9)
    second["job"] = {"attempt": 2, "age_seconds": 1, "remaining_seconds": 1}
    service = Service.of(
        shown(**ticking(1)),
        shown(**ticking(2)),
        shown(targets=[WAITING], **ticking(3)),
        shown(targets=[WAITING], **ticking(4)),
        shown(targets=[WAITING], **ticking(5, "at_risk")),
        shown(targets=[WAITING], **second),
        shown("finished"),
    )
    told: list[ErasureRequest] = []
    driver.run(wait(ID, RETRIES, on_progress=told.append), service)
    assert [(each.state, len(each.targets), each.job and each.job.attempt) for each in told] == [
        ("started", 0, 1),
        ("started", 1, 1),
        ("started", 1, 1),
        ("started", 1, 2),
        ("finished", 0, None),
    ]


def test_the_callers_pace_is_kept_when_looks_fail(driver: Driver) -> None:
    """A look that fails is not repeated sooner than the caller wants to look."""
    service = Service.of(shown(), LOST, BROKEN, LOST, shown("finished"))
    driver.run(wait(ID, RETRIES, poll=20), service)
    assert service.pauses == [20.0] * 4


@pytest.mark.parametrize("trouble", [LOST, THROTTLED, BROKEN, problem(504, "x")])
def test_looks_that_fail_are_survived(driver: Driver, trouble: Reply) -> None:
    """Once the request has been seen, any number of failed looks does not end the waiting."""
    service = Service.of(shown(), *[trouble] * 30, shown("finished"))
    assert driver.run(wait(ID, RETRIES), service).is_finished


def test_the_service_is_left_alone_as_long_as_it_asks(driver: Driver) -> None:
    """A failed look with ``Retry-After`` is not repeated before that."""
    service = Service.of(shown(), THROTTLED, BROKEN, shown("finished"))
    driver.run(wait(ID, RETRIES, poll=1), service)
    assert service.pauses[1] >= 40
    assert service.pauses[2] >= 5


def test_a_service_that_never_answers_is_an_error(driver: Driver) -> None:
    """Before the request has been seen at all, a look is repeated as any call, and its failure raised."""
    service = Service.of(LOST)
    with pytest.raises(NoAnswerError):
        driver.run(wait(ID, Retries(2)), service)
    assert len(service.calls) == 3


def test_refusals_are_raised_with_the_request(driver: Driver) -> None:
    """What the service refuses is raised at once, also in the midst of it."""
    for replies in ([NOT_THERE], [shown(), NOT_THERE]):
        with pytest.raises(NotFoundError) as caught:
            driver.run(wait(ID, RETRIES), Service.of(*replies))
        assert caught.value.request_id == ID


@pytest.mark.parametrize("timeout", [0, 0.5, 1, 10, 3600])
def test_the_time_to_wait_is_kept(driver: Driver, timeout: float) -> None:
    """When the time is over, StillRunningError carries the request's id, after a last look at the end."""
    service = Service.of(shown())
    with pytest.raises(StillRunningError) as caught:
        driver.run(wait(ID, RETRIES, timeout=timeout), service)
    assert caught.value.request_id == ID
    assert service.seconds == pytest.approx(1000 + timeout)
    assert len(service.calls) == (1 if timeout == 0 else len(service.pauses) + 1)


def test_the_last_look_may_find_the_end(driver: Driver) -> None:
    """A request that is finished when the time is over is finished."""
    service = Service.of(shown(), shown("finished"))
    assert driver.run(wait(ID, RETRIES, timeout=0.5), service).is_finished
    assert service.pauses == [0.5]


@pytest.mark.parametrize("trouble", [LOST, THROTTLED, BROKEN])
def test_failures_do_not_prolong_it(driver: Driver, trouble: Reply) -> None:
    """Failed looks end with the time, too, whatever the service asks for; never is it asked sooner than it says."""
    service = Service.of(shown(), trouble)
    with pytest.raises(StillRunningError) as caught:
        driver.run(wait(ID, RETRIES, timeout=30), service)
    assert service.seconds <= 1030
    assert caught.value.__cause__ is not None
    if trouble is THROTTLED:  # it asks for 40 seconds: there is no call within them
        assert len(service.calls) == 2


def test_slow_answers_do_not_prolong_it(driver: Driver) -> None:
    """A call has no more time than what is left, or a second."""
    service = Service.of(shown(), takes=0.7)
    with pytest.raises(StillRunningError):
        driver.run(wait(ID, RETRIES, timeout=20), service)
    assert all((call.within or math.inf) <= max(1.0, 20 - 0.7 * index) for index, call in enumerate(service.calls))
    assert service.seconds < 1022


def test_attention_after_the_job_has_ended(driver: Driver) -> None:
    """Something that could not be erased is told when the job has ended, and not while it works on."""
    at_work = shown(attention=True, targets=[FAILED], **ticking(3))
    service = Service.of(shown(), at_work, shown(attention=True, targets=[FAILED]))
    with pytest.raises(NeedsAttentionError) as caught:
        driver.run(wait(ID, RETRIES), service)
    assert caught.value.request_id == ID
    assert len(service.calls) == 3


def test_attention_of_an_earlier_attempt(driver: Driver) -> None:
    """Whoever waits for an attempt is not told of what the one before has left."""
    before = shown(attention=True, targets=[FAILED])
    at_work = shown(attention=True, job={"attempt": 2, "age_seconds": 1, "remaining_seconds": 9})
    service = Service.of(before, before, at_work, shown("finished"))
    assert driver.run(wait(ID, RETRIES, attempt=2), service).is_finished


def test_attention_of_the_attempt_itself(driver: Driver) -> None:
    """That the attempt, too, leaves something is told: at once if its job was seen, else after half a minute."""
    before = shown(attention=True, targets=[FAILED])
    at_work = shown(attention=True, job={"attempt": 2, "age_seconds": 1, "remaining_seconds": 9})
    seen = Service.of(before, at_work, before)
    with pytest.raises(NeedsAttentionError):
        driver.run(wait(ID, RETRIES, attempt=2), seen)
    assert len(seen.calls) == 3
    unseen = Service.of(before)
    with pytest.raises(NeedsAttentionError):
        driver.run(wait(ID, RETRIES, attempt=2), unseen)
    assert 1030 <= unseen.seconds <= 1045


@pytest.mark.parametrize("state", ["held", "cancelled"])
def test_a_request_that_does_not_go_on(driver: Driver, state: str) -> None:
    """A hold and a cancellation end the waiting."""
    with pytest.raises(StoppedError) as caught:
        driver.run(wait(ID, RETRIES), Service.of(shown(), shown(state)))
    assert caught.value.request_id == ID


def test_another_requests_end_is_not_this_ones(driver: Driver) -> None:
    """An answer about another request is an error, never a result."""
    other = shown("finished", id="er_01M80F136NHBE2JQNEWSAJ1BFC")
    with pytest.raises(UnexpectedAnswerError):
        driver.run(wait(ID, RETRIES), Service.of(other))


def test_a_stranger_in_between_is_an_error(driver: Driver) -> None:
    """An answer that is not the service's ends the waiting: nothing can be known from it."""
    with pytest.raises(UnexpectedAnswerError):
        driver.run(wait(ID, RETRIES), Service.of(shown(), answer(200, ["sign in to the network"])))


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, "5", True])
def test_spans_that_are_none(driver: Driver, timeout: Any) -> None:
    """What is no span of time is refused, and nothing is sent."""
    service = Service.of(shown())
    with pytest.raises(ConfigurationError):
        driver.run(wait(ID, RETRIES, timeout=timeout), service)
    with pytest.raises(ConfigurationError):
        driver.run(wait(ID, RETRIES, poll=timeout), service)
    with pytest.raises(ConfigurationError):
        driver.run(wait(ID, RETRIES, poll=0), service)
    assert service.calls == []


def test_what_a_listener_raises_ends_the_waiting(driver: Driver) -> None:
    """The caller's own exception comes out as it is."""

    def stop(_: ErasureRequest) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError):
        driver.run(wait(ID, RETRIES, on_progress=stop), Service.of(shown()))


def test_first_looks_that_are_throttled(driver: Driver) -> None:
    """With an end, the first look too is given up at it."""
    for trouble, kind in ((THROTTLED, TooManyCallsError), (BROKEN, ServiceError)):
        service = Service.of(trouble)
        with pytest.raises(kind):
            driver.run(wait(ID, Retries(20), timeout=30), service)
        assert service.seconds <= 1030
