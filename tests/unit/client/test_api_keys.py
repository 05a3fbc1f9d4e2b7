"""API keys: what is asked for, and a text that is shown once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from erasure_client._api_keys import ApiKeys, AsyncApiKeys
from erasure_client.errors import ConfigurationError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Service, answer, body_of
from tests.unit.client.faces import Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def keys(is_async: bool, *replies: Any) -> tuple[Hand, Any]:
    hand = Hand(Service.of(*replies), is_async=is_async)
    return hand, hand.face(ApiKeys, AsyncApiKeys)


@both
def test_a_new_key(is_async: bool) -> None:
    """A lost answer does not lose its text: the same call is sent again, by the same key."""
    hand, face = keys(is_async, LOST, answer(201, bodies.KEY))
    until = datetime(2027, 11, 22, tzinfo=UTC)
    key = hand.of(face.create(("erasure:read",), name="billing", valid_until=until, calls_per_minute=5))
    assert key.text == bodies.KEY["key"]
    assert len({call.idempotency_key for call in hand.service.calls}) == 1
    hand.of(face.create(["erasure:read"]))
    assert [body_of(call) for call in hand.service.calls[1:]] == [
        {
            "scopes": ["erasure:read"],
            "name": "billing",
            "valid_until": "2027-11-22T00:00:00+00:00",
            "calls_per_minute": 5,
        },
        {"scopes": ["erasure:read"], "name": ""},
    ]


@both
def test_known_keys(is_async: bool) -> None:
    """All of them at once, without their texts."""
    known = {name: value for name, value in bodies.KEY.items() if name != "key"}
    hand, face = keys(is_async, answer(200, {"keys": [known, known]}))
    assert [each.text for each in hand.of(face.list())] == [None, None]


@both
def test_the_end_of_a_key(is_async: bool) -> None:
    """By its id, which is no path."""
    hand, face = keys(is_async, answer(204))
    assert hand.of(face.revoke("../x")) is None
    assert hand.service.calls[0].path == "/v1/api-keys/..%2Fx"


@both
def test_what_would_be_misunderstood(is_async: bool) -> None:
    """A scope is no list of letters, a time needs its offset, and an empty id is nobody's key."""
    hand, face = keys(is_async, LOST)
    with pytest.raises(ConfigurationError):
        hand.of(face.create("erasure:read"))
    with pytest.raises(ConfigurationError):
        hand.of(face.create(["erasure:read"], valid_until=datetime(2030, 1, 1)))  # noqa: DTZ001 - that is the case
    with pytest.raises(ConfigurationError):
        hand.of(face.revoke(""))
    assert hand.service.calls == []
