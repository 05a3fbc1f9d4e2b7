"""Figures, rules of age, health."""

from __future__ import annotations

import pytest

from erasure_client import _figures
from erasure_client._flow import Retries
from erasure_client.errors import NotAllowedError, UnexpectedAnswerError
from tests.unit.client import bodies
from tests.unit.client.carriers import Driver, Service, answer, problem

AT_ONCE = Retries(2, lambda: 0.0)


def test_the_promise(driver: Driver) -> None:
    """The figures as they are told."""
    service = Service.of(answer(200, bodies.FIGURES))
    assert driver.run(_figures.sla(AT_ONCE), service).open == 12
    assert [(call.method, call.path) for call in service.calls] == [("GET", "/v1/sla")]


def test_rules_of_age(driver: Driver) -> None:
    """In the service's order; with a key that may see them."""
    (rule,) = driver.run(_figures.retention(AT_ONCE), Service.of(answer(200, {"rules": [bodies.RULE]})))
    assert rule.target == "sessions"
    with pytest.raises(NotAllowedError):
        driver.run(_figures.retention(AT_ONCE), Service.of(problem(403, "insufficient_permissions")))


def test_health(driver: Driver) -> None:
    """The service's version; another's answer is not the service."""
    body = {"status": "ok", "message": "ok", "version": "0.4.0"}
    assert driver.run(_figures.health(AT_ONCE), Service.of(answer(200, body))).version == "0.4.0"
    with pytest.raises(UnexpectedAnswerError):
        driver.run(_figures.health(AT_ONCE), Service.of(answer(200, {"healthy": True})))
