"""Users: what is sent, and which answers mean that somebody is gone."""

from __future__ import annotations

from typing import Any

import pytest

from erasure_client._subjects import Subject
from erasure_client._users import AsyncUsers, Users
from erasure_client.errors import (
    ConfigurationError,
    HeldError,
    NeedsAttentionError,
    NotFoundError,
    ServiceError,
    UnexpectedAnswerError,
)
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Service, answer, body_of
from tests.unit.client.faces import Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
GONE = answer(204, None, x_erasure_request_id=bodies.REQUEST_ID)
GOES_ON = (
    "The deletion is accepted and the user counts as deleted, but account, sessions and credentials have not all been"
    " seen gone yet. It goes on by itself; calling again is safe."
)
ATTENTION = (
    "The deletion is accepted and the user counts as deleted, but account, sessions and credentials could not all be"
    " erased. The operators have been told; calling again is safe."
)


def failed(message: str, status: int = 500, **headers: str) -> Any:
    body = {"error": "internal_error" if status == 500 else "conflict", "message": message, "request_id": "call-1"}
    return answer(status, body, **headers)


def users(is_async: bool, *replies: Any) -> tuple[Hand, Any]:
    hand = Hand(Service.of(*replies), is_async=is_async)
    return hand, hand.face(Users, AsyncUsers)


@both
def test_a_deletion(is_async: bool) -> None:
    """A 204 with the request that erases the rest."""
    hand, face = users(is_async, GONE)
    deletion = hand.of(face.delete("team/ops"))
    assert (deletion.user_id, deletion.request_id) == ("team/ops", bodies.REQUEST_ID)
    (call,) = hand.service.calls
    assert (call.method, call.path, call.what) == ("DELETE", "/v1/users/team%2Fops", "DELETE /v1/users/{user_id}")
    assert (call.read_timeout or 0) >= 29


@both
@pytest.mark.parametrize("reply", [answer(200, {}), answer(202, {}), answer(204, None)], ids=lambda each: each.status)
def test_what_does_not_say_that_somebody_is_gone(is_async: bool, reply: Any) -> None:
    """Only a 204 that names the erasure does."""
    hand, face = users(is_async, reply)
    with pytest.raises(UnexpectedAnswerError):
        hand.of(face.delete("ann"))


@both
def test_a_deletion_that_is_on_its_way(is_async: bool) -> None:
    """It is asked for again by the same key, not before the service says so; it may end after that, or not."""
    accepted = failed(GOES_ON, x_erasure_request_id=bodies.REQUEST_ID, retry_after="5")
    hand, face = users(is_async, LOST, accepted, GONE)
    assert hand.of(face.delete("ann")).request_id == bodies.REQUEST_ID
    assert len({call.idempotency_key for call in hand.service.calls}) == 1
    assert hand.service.pauses[1] >= 5
    hand, face = users(is_async, accepted)
    with pytest.raises(ServiceError) as open_:
        hand.of(face.delete("ann", idempotency_key="mine"))
    assert (open_.value.request_id, open_.value.idempotency_key) == (bodies.REQUEST_ID, "mine")
    assert len(hand.service.calls) == 3


@both
def test_a_deletion_that_needs_operators(is_async: bool) -> None:
    """Asking again does not help: it is told at once, with the request."""
    hand, face = users(is_async, failed(ATTENTION, x_erasure_request_id=bodies.REQUEST_ID, retry_after="5"))
    with pytest.raises(NeedsAttentionError) as attention:
        hand.of(face.delete("ann"))
    assert attention.value.request_id == bodies.REQUEST_ID
    assert len(hand.service.calls) == 1


@both
def test_a_service_in_trouble(is_async: bool) -> None:
    """Without a request, nothing is known to be accepted, whatever the message says."""
    hand, face = users(is_async, failed("Something went wrong. The operators have been told."))
    with pytest.raises(ServiceError) as trouble:
        hand.of(face.delete("ann"))
    assert trouble.value.request_id is None


@both
def test_a_hold(is_async: bool) -> None:
    """Nothing was accepted, unless the answer names a request."""
    for headers in ({}, {"x_erasure_request_id": bodies.REQUEST_ID}):
        hand, face = users(is_async, failed("The user's data is under a legal hold.", 409, **headers))
        with pytest.raises(HeldError) as held:
            hand.of(face.delete("ann"))
        assert held.value.request_id == headers.get("x_erasure_request_id")


@both
def test_disable(is_async: bool) -> None:
    """What is not asked for is not sent; the deletion that waits is told by its request."""
    told = {"status": "disabled", "disabled_at": bodies.AT, "delete_at": bodies.LATER}
    hand, face = users(is_async, answer(200, told, x_erasure_request_id=bodies.REQUEST_ID))
    user = hand.of(face.disable("ann", revoke_sessions=True, delete_after_days=30))
    assert (user.id, user.status, user.request_id) == ("ann", "disabled", bodies.REQUEST_ID)
    hand.of(face.disable("ann"))
    assert [body_of(call) for call in hand.service.calls] == [
        {"revoke_sessions": True, "delete_after_days": 30},
        {"revoke_sessions": False},
    ]
    assert all(call.idempotency_key for call in hand.service.calls)


@both
def test_enable_and_get(is_async: bool) -> None:
    """An answer about another user is none; enabling does not repeat whom."""
    hand, face = users(is_async, answer(200, {"id": "ann", "status": "active"}))
    assert hand.of(face.get("ann")).status == "active"
    assert hand.of(face.enable("ben")).id == "ben"
    with pytest.raises(UnexpectedAnswerError):
        hand.of(face.get("ben"))


@both
def test_nobody(is_async: bool) -> None:
    """A user who is not there, or not any more."""
    hand, face = users(is_async, failed("User not found.", 404))
    for method in ("get", "delete", "disable", "enable"):
        with pytest.raises(NotFoundError):
            hand.of(getattr(face, method)("ann"))


@both
@pytest.mark.parametrize("user_id", ["", None, b"ann", 7, "\ud800", Subject.user("ann")], ids=ascii)
def test_what_is_no_user(is_async: bool, user_id: Any) -> None:
    """Nothing is sent."""
    hand, face = users(is_async, LOST)
    for method in ("get", "delete", "disable", "enable", "delete_many"):
        with pytest.raises(ConfigurationError):
            hand.of(getattr(face, method)([user_id] if method == "delete_many" else user_id))
    assert hand.service.calls == []


@both
def test_delete_many(is_async: bool) -> None:
    """A text is one user; the answer must be about those who were named."""
    told = {"batch_id": "b", "results": [{"user_id": "ann", "status": "accepted", "request_id": bodies.REQUEST_ID}]}
    hand, face = users(is_async, answer(202, told))
    for given in ("ann", ["ann", "ann"], iter(["ann"])):
        assert hand.of(face.delete_many(given)).request_ids == (bodies.REQUEST_ID,)
        if is_async:
            break
    assert body_of(hand.service.calls[0]) == {"user_ids": ["ann"]}
    with pytest.raises(UnexpectedAnswerError):
        hand.of(face.delete_many(["ann", "ben"]))
