"""The data map: what is put is what was meant."""

from __future__ import annotations

from collections import OrderedDict
from datetime import date
from typing import Any

import pytest

from erasure_client._data_map import AsyncDataMaps, DataMaps
from erasure_client.errors import ConfigurationError, InvalidRequestError
from tests.unit.client.carriers import LOST, Service, answer, body_of
from tests.unit.client.faces import Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
PUT = answer(200, {"version": 4, "digest": "d", "warnings": [{"field": "targets[0]", "warning": "w"}]})


def maps(is_async: bool, *replies: Any) -> tuple[Hand, Any]:
    hand = Hand(Service.of(*replies), is_async=is_async)
    return hand, hand.face(DataMaps, AsyncDataMaps)


@both
def test_the_order_of_a_key_stays(is_async: bool) -> None:
    """A key's first attribute is the partition key."""
    hand, face = maps(is_async, PUT)
    document = {"version": 1, "targets": [{"dynamodb": {"key": OrderedDict(zeta="{user_id}", alpha="x")}}]}
    put = hand.of(face.put(document))
    assert (put.version, put.warnings[0].field) == (4, "targets[0]")
    (call,) = hand.service.calls
    assert list(body_of(call)["targets"][0]["dynamodb"]["key"]) == ["zeta", "alpha"]
    assert call.idempotency_key


@both
@pytest.mark.parametrize(
    "document",
    [
        None,
        "version: 1",
        [1],
        {1: "one"},
        {"a": {True: 1}},
        {"a": date(2026, 1, 1)},
        {"a": float("nan")},
        {"a": {1, 2}},
        {"a": ("b",)},
        {"a": b"b"},
    ],
    ids=repr,
)
def test_what_json_cannot_say(is_async: bool, document: Any) -> None:
    """It would arrive as something else, or not at all: nothing is sent."""
    hand, face = maps(is_async, LOST)
    with pytest.raises(ConfigurationError):
        hand.of(face.put(document))
    assert hand.service.calls == []


@both
def test_versions(is_async: bool) -> None:
    """The current one, or the one that is named."""
    hand, face = maps(is_async, answer(200, {"version": 3, "digest": "d", "document": {"version": 1}}))
    assert hand.of(face.get()).document == {"version": 1}
    assert hand.of(face.get(3)).version == 3
    assert [call.query for call in hand.service.calls] == [{}, {"version": "3"}]


@both
def test_every_broken_rule(is_async: bool) -> None:
    """All of them are told, each with its path."""
    errors = [{"field": "targets[0].name", "rule": "r1"}, {"field": "families", "rule": "r2"}]
    hand, face = maps(is_async, answer(400, {"code": "invalid_request", "message": "m", "errors": errors}))
    with pytest.raises(InvalidRequestError) as refused:
        hand.of(face.put({"version": 1}))
    assert [(each.field, each.rule) for each in refused.value.errors] == [("targets[0].name", "r1"), ("families", "r2")]
