"""The suppression list: whom a call is about."""

from __future__ import annotations

from typing import Any

import pytest

from erasure_client._subjects import Subject
from erasure_client._suppressions import AsyncSuppressions, Suppressions
from erasure_client.errors import ConfigurationError, NotFoundError, UnexpectedAnswerError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Service, answer, problem
from tests.unit.client.faces import Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def suppressions(is_async: bool, *replies: Any) -> tuple[Hand, Any]:
    hand = Hand(Service.of(*replies), is_async=is_async)
    return hand, hand.face(Suppressions, AsyncSuppressions)


@both
def test_the_type_is_always_sent(is_async: bool) -> None:
    """Left out, the user of that id would be taken off the list instead of the group."""
    hand, face = suppressions(is_async, answer(200, bodies.SUPPRESSION), answer(204))
    assert hand.of(face.get(Subject.group("g/1"))).request_id == bodies.REQUEST_ID
    assert hand.of(face.lift(Subject.group("g/1"))) is None
    assert [(call.method, call.path, call.query) for call in hand.service.calls] == [
        ("GET", "/v1/suppressions/g%2F1", {"type": "group"}),
        ("DELETE", "/v1/suppressions/g%2F1", {"type": "group"}),
    ]
    assert [call.idempotency_key is None for call in hand.service.calls] == [True, False]


@both
def test_what_does_not_say_that_it_is_done(is_async: bool) -> None:
    """Only a 204 does."""
    hand, face = suppressions(is_async, answer(200, bodies.SUPPRESSION))
    with pytest.raises(UnexpectedAnswerError):
        hand.of(face.lift("ann"))


@both
def test_who_is_not_on_it(is_async: bool) -> None:
    """A 404, which is no answer about anybody else."""
    hand, face = suppressions(is_async, problem(404, "resource_not_found"))
    for method in (face.get, face.lift):
        with pytest.raises(NotFoundError):
            hand.of(method("ann"))


@both
def test_nobody(is_async: bool) -> None:
    """An empty id would be the path of the list."""
    hand, face = suppressions(is_async, LOST)
    for method in (face.get, face.lift):
        with pytest.raises(ConfigurationError):
            hand.of(method(""))
    assert hand.service.calls == []
