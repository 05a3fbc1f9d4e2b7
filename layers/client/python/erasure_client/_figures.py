"""Figures of the promise, the rules of age, and whether the service is there."""

from __future__ import annotations

from erasure_client._flow import Flow, Retries, send
from erasure_client._models_others import Health, RetentionRule, SlaFigures
from erasure_client._reading import Body
from erasure_client._wire import Call


def sla(retries: Retries) -> Flow[SlaFigures]:
    answer = yield from send(Call("GET", "/v1/sla", "GET /v1/sla"), retries)
    return SlaFigures.of(answer.json())


def retention(retries: Retries) -> Flow[tuple[RetentionRule, ...]]:
    """Platform keys only: :class:`~erasure_client.errors.NotAllowedError` for any other."""
    answer = yield from send(Call("GET", "/v1/retention", "GET /v1/retention"), retries)
    return tuple([RetentionRule.of(each) for each in Body(answer.json()).each("rules")])


def health(retries: Retries) -> Flow[Health]:
    answer = yield from send(Call("GET", "/health", "GET /health"), retries)
    return Health.of(answer.json())
