"""Attacks on the running service that once worked: answers that get lost, functions that die."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from erasure.domain.outcome import ERASED as OUTCOME_ERASED
from erasure.domain.request import FINISHED
from erasure.domain.subject import Subject
from erasure.services import erase_unit
from tests.functional.job_stack import ERASED, JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(120)
ANN = Subject("acme", "ann")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def test_lost_answers_are_not_counted_twice(stack: JobStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer to a write of the job is lost once, the client repeats the write, and the counts stay right."""
    monkeypatch.setattr(erase_unit, "COUNT_EVERY", 1)
    stack.put_data(ANN)
    request_id = stack.confirm(ANN)

    def lose(attempts: int, response: Any, **_: Any) -> int | None:
        return 0 if attempts == 1 and response is not None else None  # seconds until the client tries again

    stack.dynamodb.meta.events.register_first("needs-retry.dynamodb.UpdateItem", lose)
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert stack.request(request_id).state == FINISHED
    outcomes = stack.outcomes(request_id)
    assert {name: outcome.count for name, outcome in outcomes.items()} == ERASED
    assert {(outcome.outcome, outcome.at_least) for outcome in outcomes.values()} == {(OUTCOME_ERASED, False)}
