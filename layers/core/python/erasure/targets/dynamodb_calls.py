"""Calls to DynamoDB that survive throttling and hiccups, and errors that name nobody.

botocore's messages hold table names, roles and key values. None of them leaves this module: what comes out
is a :class:`TargetError` with a fixed code, raised outside the ``except`` block so that it carries no context.

The client should not retry by itself (see :func:`client_options`): only this code knows the deadline and the pace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from erasure.errors import TargetError
from erasure.targets.protocol import Deadline

THROTTLED = "throttled"
UNAVAILABLE = "unavailable"
REJECTED = "rejected"
"""Of one item or one subject's call; everything else that goes wrong is the table's problem."""

READERS = 8
"""Subjects that are read at the same time."""

MAX_ATTEMPTS = 8
"""Attempts without any progress before a slice gives up; about 3 to 6 seconds with the waits between them."""

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 3.2

# Without the "Exception" or "Error" that the same cause carries in one API and not in the other.
_THROTTLES = frozenset(
    {"ProvisionedThroughputExceeded", "Throttling", "RequestLimitExceeded", "TooManyRequests", "LimitExceeded"}
)
_TRANSIENT = frozenset(
    {"TransactionConflict", "TransactionInProgress", "ReplicatedWriteConflict", "InternalServer", "ServiceUnavailable"}
)
_DENIED = frozenset(
    {"AccessDenied", "UnrecognizedClient", "MissingAuthenticationToken", "InvalidSignature", "KMSAccessDenied"}
)
_MISSING = frozenset({"ResourceNotFound", "TableNotFound"})
_CONDITION = "ConditionalCheckFailed"


def client_options(tasks: int = 4, workers: int = 4) -> dict[str, Any]:
    """Keyword arguments of ``botocore.config.Config`` for a client of a target with ``tasks`` calls side by side.

    One attempt (retries are made here), a connection for each thread, timeouts well below a slice's margin, and no
    validation of arguments that were built here anyway (more than a quarter of a batch's work).
    """
    return {
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": tasks * (workers + READERS),
        "parameter_validation": False,
        "connect_timeout": 3,
        "read_timeout": 8,
    }


def is_failed_condition(code: str) -> bool:
    """Whether an error code says that the item no longer fulfils the condition of its deletion."""
    return _cause(code) == _CONDITION


def error_for(code: str, http_status: int = 400) -> TargetError:
    """What the error code of an answer, or of one statement in it, means for the target."""
    cause = _cause(code)
    if cause in _THROTTLES:
        return TargetError(THROTTLED, permanent=False)
    if cause in _TRANSIENT or http_status >= 500:
        return TargetError(UNAVAILABLE, permanent=False)
    if cause in _DENIED:
        return TargetError("access_denied", permanent=True)
    if cause in _MISSING:
        return TargetError("target_missing", permanent=True)
    if cause == "ExpiredToken":
        return TargetError(UNAVAILABLE, permanent=False, detail="credentials expired")
    return TargetError(REJECTED, permanent=True)


def _cause(code: str) -> str:
    return code.removesuffix("Exception").removesuffix("Error")


class ConditionFailedError(Exception):
    """A single conditional write found that its item is no longer what it was taken for."""


class Calls:
    """Calls of one client. ``sleep`` takes seconds; ``random`` returns a float in [0, 1). Thread-safe."""

    def __init__(self, client: Any, sleep: Callable[[float], None], random: Callable[[], float]) -> None:
        self._client = client
        self._sleep = sleep
        self._random = random

    def once(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """One call. Raises :class:`TargetError`, or :class:`ConditionFailedError`."""
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
            failure: Exception = ConditionFailedError() if is_failed_condition(code) else error_for(code, status)
        except ParamValidationError:
            failure = TargetError(REJECTED, permanent=True)
        except BotoCoreError:
            failure = TargetError(UNAVAILABLE, permanent=False)
        raise failure

    def ask(self, operation: str, arguments: Mapping[str, Any], deadline: Deadline) -> Any:
        """A call, repeated while the cause may pass, up to ``MAX_ATTEMPTS`` times and not beyond the deadline."""
        attempt = 0
        while True:
            try:
                return self.once(operation, arguments)
            except TargetError as error:
                failure = error
            attempt += 1
            if failure.permanent or attempt >= MAX_ATTEMPTS or not self.pause(attempt, deadline):
                raise failure

    def pause(self, attempt: int, deadline: Deadline) -> bool:
        """Wait before attempt ``attempt + 1``, exponentially longer and jittered. False: no time for that is left."""
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        return self.wait(longest * (0.5 + self._random() / 2), deadline)

    def wait(self, seconds: float, deadline: Deadline) -> bool:
        """Sleep, unless the deadline would pass meanwhile. False: nothing new may begin."""
        if deadline.expired() or seconds >= deadline.remaining():
            return False
        if seconds > 0:
            self._sleep(seconds)
        return True
