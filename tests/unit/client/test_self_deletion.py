"""A person's own deletion."""

from __future__ import annotations

import math
from typing import Any

import pytest

from erasure_client._flow import Flow, Retries
from erasure_client._models_others import SelfDeletion
from erasure_client._self_deletion import ask, confirm, look, preview
from erasure_client._wire import Answer
from erasure_client.errors import (
    ConfigurationError,
    ConflictError,
    HeldError,
    InvalidRequestError,
    NeedsAttentionError,
    NoAnswerError,
    NotFoundError,
    NotSignedInError,
    RefusedError,
    ServiceError,
    StillRunningError,
    StoppedError,
    UnexpectedAnswerError,
    UnfinishedError,
)
from tests.unit.client.carriers import LOST, Driver, Reply, Service, answer, body_of

ID = "er_01M80EY0A4RAXPTRK38X6B3QTY"
OTHER = "er_01M80F136NHBE2JQNEWSAJ1BFC"
DELETE_ID = "cvt0XfGgVS3lcwXFwGoBrLLDEg1GYT8q-7bAGyb0HTY"
RETRIES = Retries(chance=lambda: 0.5)

HELD = "Your data is under a legal hold and cannot be deleted at present."
WHEREABOUTS = {"request_id": ID, "status_url": f"/prod/users/current/erasure-requests/{ID}"}
GONE = answer(204, x_erasure_request_id=ID)
ACCEPTED = answer(202, WHEREABOUTS, x_erasure_request_id=ID, retry_after="5")
ERASED = {"target": "documents", "category": "content", "outcome": "erased", "count": 6}
KEPT = {"target": "receipts", "category": "content", "outcome": "retained", "count": 1, "kept": 3, "basis": "tax law"}
FAILED = {"target": "invoices", "category": "content", "outcome": "failed", "count": 0, "reason": "access_denied"}


def refusal(status: int, message: str, *, request_id: str | None = None, **headers: str) -> Answer:
    if request_id is None:
        return answer(status, {"code": status, "message": message}, **headers)
    body = {"code": status, "message": message, **WHEREABOUTS}
    return answer(status, body, x_erasure_request_id=request_id, **headers)


def status(state: str = "started", **more: Any) -> Reply:
    times = {"requested_at": "2026-11-22T01:48:14.421Z", "due_at": "2026-11-25T01:48:14.421Z"}
    return answer(200, {"request_id": ID, "state": state, "attention": False, **times, "targets": [], **more})


FINISHED = status("finished", finished_at="2026-11-22T01:50:00.000Z", targets=[ERASED])


def confirming(**options: Any) -> Flow[SelfDeletion]:
    return confirm(DELETE_ID, options.pop("retries", RETRIES), **options)


def test_the_first_step_gives_the_delete_id(driver: Driver) -> None:
    """Step one asks with a key, and returns the id."""
    service = Service.of(answer(200, {"delete_id": DELETE_ID, "expires_at": "2026-11-22T01:51:33.000Z"}))
    assert driver.run(ask(RETRIES), service) == DELETE_ID
    (call,) = service.calls
    assert (call.method, call.path) == ("DELETE", "/users/current")
    assert call.idempotency_key


def test_the_first_step_under_a_hold(driver: Driver) -> None:
    """Of somebody under a legal hold, step one says so."""
    with pytest.raises(HeldError):
        driver.run(ask(RETRIES), Service.of(refusal(409, HELD)))


@pytest.mark.parametrize("body", [{}, {"delete_id": ""}, {"delete_id": 5}, None])
def test_an_answer_without_a_delete_id(driver: Driver, body: Any) -> None:
    """What holds no delete id is no answer to step one."""
    with pytest.raises(UnexpectedAnswerError):
        driver.run(ask(RETRIES), Service.of(answer(200, body)))


def test_everything_is_gone(driver: Driver) -> None:
    """A 204 is a complete deletion, told with what became of the targets."""
    service = Service.of(GONE, FINISHED)
    deletion = driver.run(confirming(), service)
    assert (deletion.request_id, deletion.is_complete) == (ID, True)
    assert [target.name for target in deletion.targets] == ["documents"]
    assert body_of(service.calls[0]) == {"delete_id": DELETE_ID}


@pytest.mark.parametrize("trouble", [LOST, refusal(500, "x"), refusal(404, "x"), answer(200, []), status("started")])
def test_a_complete_deletion_is_complete_however_it_can_be_told(driver: Driver, trouble: Reply) -> None:
    """If the targets of a deletion that is known to be complete cannot be looked up, it is complete all the same."""
    deletion = driver.run(confirming(), Service.of(GONE, trouble))
    assert (deletion.request_id, deletion.is_complete, deletion.targets) == (ID, True, ())


def test_a_kept_thing_is_told_after_a_204_too(driver: Driver) -> None:
    """If the status tells of something kept, that counts."""
    deletion = driver.run(confirming(), Service.of(GONE, status("finished", targets=[KEPT])))
    assert not deletion.is_complete


STRANGERS = [
    answer(204),
    answer(202, WHEREABOUTS),
    answer(200, {}),
    answer(200, WHEREABOUTS, x_erasure_request_id=ID),
    answer(201, WHEREABOUTS, x_erasure_request_id=ID),
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_only_the_services_own_answer_counts(driver: Driver, stranger: Reply) -> None:
    """A success that does not name a request, or is none of the two there are, is not taken for a deletion."""
    with pytest.raises(UnexpectedAnswerError):
        driver.run(confirming(), Service.of(stranger, FINISHED))


def test_accepted_is_followed_to_its_end(driver: Driver) -> None:
    """After a 202 the status is looked at, not before ``Retry-After``, until the deletion is finished."""
    service = Service.of(ACCEPTED, status("requested"), status(), FINISHED)
    assert driver.run(confirming(), service).is_complete
    assert service.pauses[0] >= 5
    assert [call.path for call in service.calls[1:]] == [f"/users/current/erasure-requests/{ID}"] * 3


def test_a_foreign_address_is_not_followed(driver: Driver) -> None:
    """Where the answer's ``status_url`` leads to is of no interest: the token does not go there."""
    foreign = answer(202, {"request_id": ID, "status_url": "https://elsewhere.example/"}, x_erasure_request_id=ID)
    service = Service.of(foreign, FINISHED)
    driver.run(confirming(), service)
    assert service.calls[1].path == f"/users/current/erasure-requests/{ID}"


def test_what_is_kept_is_no_complete_deletion(driver: Driver) -> None:
    """A deletion that has finished with something kept is returned, and not complete."""
    deletion = driver.run(confirming(), Service.of(ACCEPTED, status("finished", targets=[ERASED, KEPT])))
    assert (deletion.is_finished, deletion.is_complete) == (True, False)
    assert [target.name for target in deletion.kept] == ["receipts"]


def test_another_requests_end_is_not_this_ones(driver: Driver) -> None:
    """A status of another request is an error."""
    with pytest.raises(UnexpectedAnswerError):
        driver.run(confirming(), Service.of(ACCEPTED, status("finished", request_id=OTHER)))


@pytest.mark.parametrize("trouble", [LOST, refusal(504, "x"), refusal(500, "x", retry_after="5"), refusal(429, "x")])
def test_a_lost_answer_is_asked_for_again(driver: Driver, trouble: Reply) -> None:
    """A confirmation without an answer is repeated with the same key and body: the id is used up only once."""
    service = Service.of(trouble, trouble, GONE, FINISHED)
    assert driver.run(confirming(), service).is_complete
    first, *others = service.calls[:3]
    assert first.idempotency_key
    assert {(call.idempotency_key, str(call.body)) for call in others} == {(first.idempotency_key, str(first.body))}


def test_the_callers_own_key(driver: Driver) -> None:
    """A key that the caller gives is the one that is sent; it comes back with the error."""
    service = Service.of(LOST)
    with pytest.raises(NoAnswerError):
        driver.run(confirming(idempotency_key="mine"), service)
    assert {call.idempotency_key for call in service.calls} == {"mine"}


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(500, "Not everything could be erased yet.", request_id=ID), NeedsAttentionError),
        (refusal(409, HELD, request_id=ID), StoppedError),
        (
            refusal(409, "The erasure was accepted but is not being carried out at present.", request_id=ID),
            StoppedError,
        ),
    ],
)
def test_accepted_and_not_carried_out(driver: Driver, reply: Reply, kind: type[UnfinishedError]) -> None:
    """An error that belongs to an accepted erasure says so, with its request, and is not asked for again."""
    service = Service.of(reply)
    with pytest.raises(kind) as caught:
        driver.run(confirming(), service)
    assert caught.value.request_id == ID
    assert len(service.calls) == 1


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (status(attention=True, targets=[FAILED]), NeedsAttentionError),
        (status("held"), StoppedError),
        (status("cancelled"), StoppedError),
    ],
)
def test_what_turns_out_later(driver: Driver, told: Reply, kind: type[UnfinishedError]) -> None:
    """Attention, a hold and a cancellation that the status tells of end the waiting."""
    with pytest.raises(kind) as caught:
        driver.run(confirming(), Service.of(ACCEPTED, status(), told))
    assert caught.value.request_id == ID


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(400, "The delete id is not valid."), InvalidRequestError),
        (refusal(401, "Sign in: a valid bearer token is needed."), NotSignedInError),
        (refusal(409, "Idempotency-Key: was used with another body"), ConflictError),
    ],
)
def test_what_was_not_accepted(driver: Driver, reply: Reply, kind: type[RefusedError]) -> None:
    """A refusal is raised as such."""
    service = Service.of(reply)
    with pytest.raises(kind) as caught:
        driver.run(confirming(), service)
    assert type(caught.value) is kind
    assert caught.value.request_id is None
    assert len(service.calls) == 1


def test_a_service_that_stays_away(driver: Driver) -> None:
    """Without a request id, a 500 that stays is a ServiceError: it is not known to be accepted."""
    with pytest.raises(ServiceError) as caught:
        driver.run(confirming(), Service.of(refusal(500, "x")))
    assert caught.value.idempotency_key


@pytest.mark.parametrize("timeout", [0.5, 3, 24, 300, None])
def test_the_time_to_wait_is_kept(driver: Driver, timeout: float | None) -> None:
    """Accepted, followed, and not finished in time: StillRunningError with the request, when the time is over."""
    service = Service.of(ACCEPTED, status())
    with pytest.raises(StillRunningError) as caught:
        driver.run(confirming(timeout=timeout), service)
    assert caught.value.request_id == ID
    assert service.seconds <= 1000 + (300 if timeout is None else timeout)


@pytest.mark.parametrize("timeout", [0.5, 10, 60, 300])
@pytest.mark.parametrize("trouble", [LOST, refusal(504, "x"), refusal(429, "x", retry_after="9")])
def test_repetitions_are_within_the_time(driver: Driver, timeout: float, trouble: Reply) -> None:
    """However often the confirmation is repeated, and however long each takes, nothing begins after the end, and each
    call is given no more than what is left, and the six seconds of an answer on its way."""
    service = Service.of(trouble, takes=4.0)
    began: list[float] = []
    send = service.send

    def timed(call: Any) -> Answer:
        began.append(service.seconds)
        assert call.within is not None
        assert call.within <= 1000 + timeout - service.seconds + 6
        return send(call)

    service.send = timed  # type: ignore[method-assign]
    with pytest.raises((NoAnswerError, RefusedError)):
        driver.run(confirming(timeout=timeout, retries=Retries(20, chance=lambda: 0.5)), service)
    assert all(moment < 1000 + timeout for moment in began)


def test_asked_once(driver: Driver) -> None:
    """With no time to wait the confirmation is sent once, waits for nothing, and nothing is followed."""
    for reply, kind in ((ACCEPTED, StillRunningError), (LOST, NoAnswerError), (refusal(500, "x"), ServiceError)):
        service = Service.of(reply)
        with pytest.raises(kind):
            driver.run(confirming(timeout=0), service)
        assert [float(call.query["timeout"]) for call in service.calls] == [0.0]
    service = Service.of(GONE)
    assert driver.run(confirming(timeout=0), service).is_complete
    assert len(service.calls) == 1


def test_what_the_service_is_told_of_the_time(driver: Driver) -> None:
    """The service waits for what is left, at most its 24 seconds; the answer may take six more."""
    service = Service.of(LOST, LOST, GONE, takes=10.0)
    driver.run(confirming(timeout=25), service)
    waits = [float(call.query["timeout"]) for call in service.calls[:3]]
    assert waits[0] == 24
    assert 13 < waits[1] < 15
    assert waits[2] < 5
    assert [call.read_timeout for call in service.calls[:3]] == pytest.approx([wait + 6 for wait in waits], abs=0.01)


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, "5", True])
def test_times_that_are_none(driver: Driver, timeout: Any) -> None:
    """What is no span of time is refused before the delete id is used up."""
    service = Service.of(GONE)
    with pytest.raises(ConfigurationError):
        driver.run(confirming(timeout=timeout), service)
    assert service.calls == []


@pytest.mark.parametrize("delete_id", ["", None, 5, b"x"])
def test_delete_ids_that_are_none(driver: Driver, delete_id: Any) -> None:
    """What is no text is not sent."""
    service = Service.of(GONE)
    with pytest.raises(ConfigurationError):
        driver.run(confirm(delete_id, RETRIES), service)
    assert service.calls == []


def test_how_far_it_is(driver: Driver) -> None:
    """The status of one's own deletion, or NotFoundError."""
    assert driver.run(look(ID, RETRIES), Service.of(FINISHED)).is_complete
    with pytest.raises(NotFoundError):
        driver.run(look(ID, RETRIES), Service.of(refusal(404, "There is no such thing.")))


def test_what_a_deletion_would_find(driver: Driver) -> None:
    """The preview has the plan's hash and targets."""
    target = {"target": "documents", "category": "content", "action": "delete", "count": 12}
    found = driver.run(preview(RETRIES), Service.of(answer(200, {"plan_hash": "9f", "targets": [target]})))
    assert found.plan_hash == "9f"
    assert [(each.name, each.count) for each in found.targets] == [("documents", 12)]
