"""Legal holds: whom a call is about, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from erasure_client._holds import AsyncHolds, Holds
from erasure_client._subjects import Subject
from erasure_client.errors import ConfigurationError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Service, answer, body_of
from tests.unit.client.faces import Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
WORDS = {"reason": "Litigation", "author": "legal"}


def holds(is_async: bool, *replies: Any) -> tuple[Hand, Any]:
    hand = Hand(Service.of(*replies), is_async=is_async)
    return hand, hand.face(Holds, AsyncHolds)


@both
@pytest.mark.parametrize("kind", ["user", "group", "organization"])
def test_the_type_is_always_sent(is_async: bool, kind: str) -> None:
    """Left out, a hold would be the user's of that id, and so would its end."""
    held = answer(200, bodies.HOLD)
    hand, face = holds(is_async, held, held, answer(204), held, held, answer(204))
    for given in [Subject(kind, "a/b"), *(["a/b"] if kind == "user" else [])]:
        hand.of(face.put(given, **WORDS))
        hand.of(face.get(given))
        hand.of(face.lift(given))
    assert {(call.path, call.query["type"]) for call in hand.service.calls} == {("/v1/legal-holds/a%2Fb", kind)}
    assert {call.what for call in hand.service.calls} >= {"DELETE /v1/legal-holds/{subject_id}"}


@both
def test_what_a_hold_says(is_async: bool) -> None:
    """Nothing that was not given; whether it is new is told by the status."""
    hand, face = holds(is_async, answer(201, bodies.HOLD), answer(200, bodies.HOLD))
    until = datetime(2027, 12, 31, tzinfo=UTC)
    first = hand.of(face.put("ann", **WORDS, until=until, aliases=iter(["ann@example"])))
    again = hand.of(face.put("ann", **WORDS))
    assert (first.is_new, again.is_new, first.held_requests) == (True, False, 1)
    assert [body_of(call) for call in hand.service.calls] == [
        {**WORDS, "until": "2027-12-31T00:00:00+00:00", "aliases": ["ann@example"]},
        WORDS,
    ]


@both
def test_a_lost_answer(is_async: bool) -> None:
    """A hold is put, and lifted, by the same key."""
    for method, reply in (("put", answer(201, bodies.HOLD)), ("lift", answer(204))):
        hand, face = holds(is_async, LOST, reply)
        hand.of(getattr(face, method)("ann", **(WORDS if method == "put" else {})))
        first, second = [call.idempotency_key for call in hand.service.calls]
        assert first == second is not None


@both
@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": ""},
        {"subject": ["ann"]},
        {"subject": None},
        {"aliases": "ann"},
        {"aliases": [""]},
        {"until": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is the case
    ],
    ids=repr,
)
def test_what_would_be_misunderstood(is_async: bool, wrong: dict[str, Any]) -> None:
    """Nothing is sent."""
    hand, face = holds(is_async, LOST)
    options = {"subject": "ann", **WORDS, **wrong}
    with pytest.raises(ConfigurationError):
        hand.of(face.put(options.pop("subject"), **options))
    assert hand.service.calls == []
