"""Attacks on the running service that once worked: answers that get lost, functions that die."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from erasure.domain.outcome import ERASED as OUTCOME_ERASED
from erasure.domain.request import FINISHED
from erasure.domain.subject import Subject
from erasure.entry import wiring
from erasure.errors import UnavailableError, UnexpectedError
from erasure.services import erase_unit
from tests.functional.job_stack import ERASED, Context, JobStack, stack_on_moto

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


SECRETIVE = ClientError(
    {"Error": {"Code": "AccessDeniedException", "Message": "no access to table/app-secrets for ann"}},
    "Query",
)


def _handler_that_raises(monkeypatch: pytest.MonkeyPatch, error: Exception, cause: Exception | None) -> wiring.Handler:
    def handler(_event: Any, _context: Any) -> None:
        raise error from cause

    monkeypatch.setitem(wiring.BUILDERS, "plan_job", lambda *_: handler)
    return wiring.handler_for("plan_job")


@pytest.mark.parametrize(
    ("error", "cause", "kind"),
    [(SECRETIVE, None, UnexpectedError), (UnavailableError("the queue did not answer"), SECRETIVE, UnavailableError)],
)
def test_foreign_errors_say_nothing(
    stack: JobStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    cause: Exception | None,
    kind: type[Exception],
) -> None:
    """What a function raises is what logs and the execution's history show: no name that a foreign error mentions."""
    handler = _handler_that_raises(monkeypatch, error, cause)
    with pytest.raises(kind) as caught:
        handler({}, Context())
    told = "".join(traceback.format_exception(caught.value)) + capsys.readouterr().out
    assert "app-secrets" not in told
    assert "test_adversarial.py" in told, "but it does say where it came from"


def test_a_job_that_cannot_be_started_is_told_and_tried_again(
    stack: JobStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """If Step Functions refuses an execution, the message goes back to the queue and a line says so, without names."""
    stack.confirm(ANN)
    stack.state_machine = stack.state_machine.replace("erasure-job", "no-such-machine")
    records = stack.messages()
    failures = stack.call("start_jobs", {"Records": records})["batchItemFailures"]
    assert failures == [{"itemIdentifier": records[0]["messageId"]}]
    told = capsys.readouterr().out
    assert "StateMachineDoesNotExist" in told
    assert "no-such-machine" not in told
