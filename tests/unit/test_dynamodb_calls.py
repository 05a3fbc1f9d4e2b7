"""Errors that name nobody, and waiting before another attempt."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ParamValidationError,
    ReadTimeoutError,
)

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, Calls, ConditionFailedError
from erasure.targets.protocol import Deadline
from tests.contract.dynamodb_hooks import client_error

ERRORS = [
    (client_error("ProvisionedThroughputExceededException"), "throttled", False),
    (client_error("ThrottlingException"), "throttled", False),
    (client_error("RequestLimitExceeded"), "throttled", False),
    (client_error("InternalServerError", 500), "unavailable", False),
    (client_error("SomethingNew", 503), "unavailable", False),
    (client_error("TransactionConflictException"), "unavailable", False),
    (client_error("ExpiredTokenException"), "unavailable", False),
    (EndpointConnectionError(endpoint_url="https://secret-table"), "unavailable", False),
    (ConnectionClosedError(endpoint_url="https://secret-table"), "unavailable", False),
    (ReadTimeoutError(endpoint_url="https://secret-table"), "unavailable", False),
    (client_error("AccessDeniedException"), "access_denied", True),
    (client_error("UnrecognizedClientException"), "access_denied", True),
    (client_error("ResourceNotFoundException"), "target_missing", True),
    (client_error("ValidationException"), "rejected", True),
    (client_error("SomethingNew"), "rejected", True),
    (ParamValidationError(report="secret-id"), "rejected", True),
]


class Failing:
    """A client whose ``query`` raises these errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def query(self, **_: Any) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def calls(client: Failing, time: Time | None = None, random: float = 1.0) -> Calls:
    return Calls(client, (time or Time()).sleep, lambda: random)


@pytest.mark.parametrize(("error", "code", "permanent"), ERRORS, ids=lambda value: getattr(value, "fmt", None))
def test_errors_become_codes_without_names(error: Exception, code: str, permanent: bool) -> None:
    """Every error of the SDK becomes a fixed code, and neither its text nor its context survives."""
    with pytest.raises(TargetError) as caught:
        calls(Failing(error)).once("query", {"TableName": "secret-table"})
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_failed_condition_is_no_error_of_the_target() -> None:
    """A condition that does not hold is told apart from everything else."""
    with pytest.raises(ConditionFailedError):
        calls(Failing(client_error("ConditionalCheckFailedException"))).once("query", {})


def test_what_may_pass_is_asked_again() -> None:
    """Throttling and hiccups are waited out, longer each time, never longer than a few seconds."""
    time, client = Time(), Failing(*[client_error("ThrottlingException")] * (MAX_ATTEMPTS - 1))
    assert calls(client, time).ask("query", {}, Deadline(60, time.clock)) == "answer"
    assert time.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


def test_waits_are_jittered() -> None:
    """Workers that were throttled together do not come back together."""
    time = Time()
    calls(Failing(client_error("ThrottlingException")), time, random=0.0).ask("query", {}, Deadline(60, time.clock))
    assert time.slept == [0.025]


def test_attempts_end() -> None:
    """What does not pass is given up with its code."""
    time, client = Time(), Failing(*[client_error("ThrottlingException")] * 100)
    with pytest.raises(TargetError, match="throttled") as caught:
        calls(client, time).ask("query", {}, Deadline(60, time.clock))
    assert (client.asked, caught.value.permanent) == (MAX_ATTEMPTS, False)


def test_nobody_waits_beyond_the_deadline() -> None:
    """A wait that would outlast the deadline is not begun."""
    time, client = Time(), Failing(*[client_error("ThrottlingException")] * 100)
    with pytest.raises(TargetError, match="throttled"):
        calls(client, time).ask("query", {}, Deadline(0.2, time.clock))
    assert time.slept == [0.05, 0.1]


def test_permanent_errors_are_not_asked_again() -> None:
    """What cannot pass is told at once."""
    client = Failing(*[client_error("AccessDeniedException")] * 3)
    with pytest.raises(TargetError, match="access_denied"):
        calls(client).ask("query", {}, Deadline(60))
    assert client.asked == 1


def test_error_without_code_is_rejected() -> None:
    """An answer in no known form does not pass for a success."""
    with pytest.raises(TargetError, match="rejected"):
        calls(Failing(ClientError({}, "Query"))).once("query", {})
