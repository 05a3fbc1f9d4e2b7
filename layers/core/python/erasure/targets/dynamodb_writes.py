"""Write one item on a condition, at the table's pace, and again while what keeps it may pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import MAX_ATTEMPTS, THROTTLED, UNAVAILABLE, Calls, ConditionFailedError
from erasure.targets.dynamodb_pacing import Pacer, write_units
from erasure.targets.protocol import Deadline

_SHARE_OF_A_BATCH = 1 / 25


class UnansweredError(ConditionFailedError):
    """The condition failed after an earlier try had no answer: perhaps because that one was carried out."""


class ConditionalWriter:
    """Several threads may use it at once."""

    def __init__(self, calls: Calls, pacer: Pacer, deadline: Deadline) -> None:
        self._calls = calls
        self._pacer = pacer
        self._deadline = deadline

    def send(self, operation: str, arguments: Mapping[str, Any]) -> bool:
        """``operation``: of the client, for one item. False: there is no time for it.

        Raises :class:`ConditionFailedError` and :class:`TargetError`.
        """
        attempt, unanswered = 0, False
        while self._calls.wait(self._pacer.reserve(1), self._deadline):
            try:
                response = self._calls.once(operation, arguments)
            except ConditionFailedError:
                if unanswered:
                    raise UnansweredError from None
                raise
            except TargetError as error:
                self._pacer.settle(1, 0)
                unanswered = unanswered or error.code == UNAVAILABLE
                if error.code == THROTTLED:
                    self._pacer.throttled(_SHARE_OF_A_BATCH)
                attempt += 1
                if error.permanent or attempt >= MAX_ATTEMPTS or not self._calls.pause(attempt, self._deadline):
                    raise
                continue
            self._pacer.settle(1, write_units(response, 1, self._pacer.weights))
            return True
        return False
