"""Plans: whom they are of, and that they may be asked for again."""

from __future__ import annotations

from typing import Any

import pytest

from erasure_client._flow import Retries
from erasure_client._plans import preview
from erasure_client._subjects import Subject
from erasure_client.errors import ConfigurationError, UnexpectedAnswerError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Driver, Service, answer, body_of

AT_ONCE = Retries(2, lambda: 0.0)


@pytest.mark.parametrize("given", ["ann", Subject.user("ann"), ["ann"], ["ann", "ann"]], ids=repr)
def test_a_plan(driver: Driver, given: Any) -> None:
    """One for each different subject; a lost answer is asked for again, with the time that counting takes."""
    service = Service.of(LOST, answer(200, {"plans": [bodies.PLAN]}))
    (plan,) = driver.run(preview(given, AT_ONCE, categories=["content"], organization_ids=["org_1"]), service)
    assert (plan.subject, plan.plan_hash) == (Subject.user("ann"), bodies.DIGEST)
    call = service.calls[-1]
    assert set(body_of(call)) == {"subjects", "categories", "scope"}
    assert (call.read_timeout or 0) >= 29
    assert call.idempotency_key is None


def test_a_plan_of_others(driver: Driver) -> None:
    """It is not taken for the subject's."""
    with pytest.raises(UnexpectedAnswerError):
        driver.run(preview("ben", AT_ONCE), Service.of(answer(200, {"plans": [bodies.PLAN]})))


def test_nobody(driver: Driver) -> None:
    """Nothing is sent."""
    service = Service.of(LOST)
    with pytest.raises(ConfigurationError):
        driver.run(preview([""], AT_ONCE), service)
    assert service.calls == []
