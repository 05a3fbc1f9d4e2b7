"""Changes of requests in the Requests table: an update of one, and transactions of several actions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import to_attribute
from erasure.adapters.audit_log import entry_to_item
from erasure.adapters.aws import error_code
from erasure.adapters.request_items import request_key
from erasure.domain.audit import AuditEntry
from erasure.domain.times import format_time
from erasure.errors import UnavailableError

TRIES = 5
REFUSED = "ConditionalCheckFailed"
_BUSY = "TransactionConflictException"
_CONDITION = "ConditionalCheckFailedException"
_NOT_PURGED = "attribute_not_exists(purged_at)"
"""Whoever read a request before it was purged must neither work on it nor write anything back into it."""


def request_update(
    table: str,
    request_id: str,
    condition: str,
    sets: Mapping[str, Any],
    *,
    keeps: Mapping[str, Any] | None = None,
    removes: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The arguments of an update of a request that is there and not purged.

    ``sets``: values by attribute; in the ``condition``, which must name ``#state``, ``:<attribute>`` is the new one's.
    ``keeps``: the same, of attributes that keep the value that they have. ``values``: further ones of the condition.
    """
    kept = keeps or {}
    setting = [f"{_name(attribute)} = :{attribute}" for attribute in sets]
    setting += [f"{_name(attribute)} = if_not_exists({_name(attribute)}, :{attribute})" for attribute in kept]
    expression = f"SET {', '.join(setting)}"
    if removes:
        expression += f" REMOVE {', '.join(map(_name, removes))}"
    every = {**sets, **kept, **(values or {})}
    return {
        "TableName": table,
        "Key": request_key(request_id),
        "UpdateExpression": expression,
        "ConditionExpression": f"({condition}) AND {_NOT_PURGED}",
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": {f":{name}": _attribute(value) for name, value in every.items()},
    }


def _name(attribute: str) -> str:
    # The only one of a request's attributes that is a reserved word.
    return "#state" if attribute == "state" else attribute


def _attribute(value: Any) -> dict[str, Any]:
    return to_attribute(format_time(value) if isinstance(value, datetime) else value)


def one_of(states: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The condition that the request is in one of the states, and the values that it needs."""
    values = {f"state{number}": state for number, state in enumerate(states)}
    return f"#state IN ({', '.join(f':{name}' for name in values)})", values


class RequestTransactions:
    """``audit_table``: for those that have audit entries."""

    def __init__(self, client: Callable[[], Any], audit_table: str = "") -> None:
        self._client = client
        self._audit_table = audit_table

    def write(self, actions: Sequence[dict[str, Any]]) -> list[str] | None:
        """``None`` if the transaction went through, otherwise why it was cancelled, by position."""
        try:
            self._client().transact_write_items(TransactItems=list(actions))
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            return cancellation_codes(error)
        return None

    def write_when_free(self, actions: Sequence[dict[str, Any]]) -> list[str] | None:
        """The same, once nobody else is at its items: one of the codes is :data:`REFUSED` then.

        Raises ``UnavailableError`` if somebody always is.
        """
        for attempt in range(TRIES):
            codes = self.write(actions)
            if codes is None or REFUSED in codes:
                return codes
            pause(attempt)
        raise UnavailableError("the request was changed at the same moment")

    def change(
        self, update: dict[str, Any], entries: Sequence[AuditEntry] = (), also: Sequence[dict[str, Any]] = ()
    ) -> bool:
        """The update, its audit entries and ``also``, which has no conditions, all or nothing; false if the update's
        condition does not hold. Raises ``UnavailableError`` if an entry's place is taken."""
        if not entries and not also:
            return self._update_when_free(update)
        codes = self.write_when_free([{"Update": update}, *map(self.put_entry, entries), *also])
        if codes is not None and codes[0] != REFUSED:
            raise UnavailableError("the request was changed at the same moment")
        return codes is None

    def _update_when_free(self, update: dict[str, Any]) -> bool:
        for attempt in range(TRIES):
            try:
                self._client().update_item(**update)
            except ClientError as error:
                if error_code(error) == _CONDITION:
                    return False
                if error_code(error) != _BUSY:
                    raise
                pause(attempt)
                continue
            return True
        raise UnavailableError("the request was changed at the same moment")

    def put_entry(self, entry: AuditEntry) -> dict[str, Any]:
        """The action that appends the entry, if its place in the trail is free."""
        item = entry_to_item(entry)
        return {
            "Put": {"TableName": self._audit_table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
        }


def pause(attempt: int) -> None:
    """Let somebody else finish; longer each time."""
    time.sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter


def cancellation_codes(error: ClientError) -> list[str]:
    """Why each item of a cancelled transaction failed, in order; ``"None"`` for those that did not."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return [reason.get("Code", "None") for reason in reasons] or [""]
