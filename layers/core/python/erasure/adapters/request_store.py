"""Request records in the Requests table: pk ``REQUEST#<id>``, sk ``META``.

The record holds the subject's id in the attribute ``subject_id`` and nowhere else. Index attributes:
``tenant_state`` (``<state>#<tenant>``), ``subject_digest``, and ``open_shard`` while the request is open.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_attribute, to_item
from erasure.adapters.audit_log import entry_to_item
from erasure.adapters.aws import error_code
from erasure.domain.audit import AuditEntry
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, OPEN_STATES, STARTED, ErasureRequest, sources_of
from erasure.domain.subject import Subject
from erasure.domain.times import format_time, parse_time
from erasure.errors import UnavailableError

_CANCEL_TRIES = 5
OPEN_SHARDS = 8
"""Open requests are spread over this many index partitions, so that none of them gets hot."""
_NOT_CLOSED_BY_THIS_JOB = "(attribute_not_exists(closed_jobs) OR NOT contains(closed_jobs, :job))"


def request_key(request_id: str) -> Item:
    return {"pk": {"S": f"REQUEST#{request_id}"}, "sk": {"S": "META"}}


def tenant_state(state: str, tenant_id: str) -> str:
    return f"{state}#{tenant_id}"


def request_to_item(request: ErasureRequest) -> Item:
    """The item of a request that is open."""
    return {
        **request_key(request.request_id),
        **to_item(
            {
                "request_id": request.request_id,
                "tenant_id": request.subject.tenant_id,
                "subject_type": request.subject.type,
                "subject_id": request.subject.id,
                "subject_digest": request.subject_digest,
                "family": request.family,
                "state": request.state,
                "attention": request.attention,
                "requested_at": format_time(request.requested_at),
                "due_at": format_time(request.due_at),
                "purged_by": format_time(request.purged_by),
                "tenant_state": tenant_state(request.state, request.subject.tenant_id),
                "open_shard": f"open#{zlib.crc32(request.request_id.encode()) % OPEN_SHARDS}",
            }
        ),
    }


def item_to_request(item: Item) -> ErasureRequest:
    values = from_item(item)
    return ErasureRequest(
        request_id=values["request_id"],
        subject=Subject(values["tenant_id"], values["subject_id"], values["subject_type"]),
        subject_digest=values["subject_digest"],
        family=values["family"],
        requested_at=parse_time(values["requested_at"]),
        due_at=parse_time(values["due_at"]),
        purged_by=parse_time(values["purged_by"]),
        state=values["state"],
        attention=values["attention"],
        started_at=_time(values, "started_at"),
        finished_at=_time(values, "finished_at"),
        data_map_version=values.get("data_map_version"),
        outcomes=tuple(TargetOutcome.from_dict(outcome) for outcome in values.get("outcomes", [])),
    )


def _time(values: dict[str, Any], name: str) -> datetime | None:
    return parse_time(values[name]) if name in values else None


class DynamoDBRequestStore:
    """:class:`erasure.ports.RequestStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str, audit_table: str = "") -> None:
        self._client = client
        self._table = table
        self._audit_table = audit_table

    def get(self, request_id: str) -> ErasureRequest | None:
        answer = self._client().get_item(TableName=self._table, Key=request_key(request_id), ConsistentRead=True)
        return item_to_request(answer["Item"]) if "Item" in answer else None

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int) -> bool:
        if request.state == STARTED:
            return True
        if self._move(
            request,
            STARTED,
            extra="started_at = :now, data_map_version = :version",
            values={":now": format_time(now), ":version": data_map_version},
        ):
            return True
        # Perhaps another planner was faster, or this is a retry whose first answer got lost.
        current = self.get(request.request_id)
        return current is not None and current.state == STARTED

    def cancel(self, request: ErasureRequest, entry: AuditEntry) -> bool:
        update = self._update(request, CANCELLED)
        for attempt in range(_CANCEL_TRIES):
            try:
                return self._with_entry(update, entry)
            except UnavailableError:
                # Somebody starts the request at this moment. Then the state refuses us the next time.
                time.sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter
        raise UnavailableError("the request was changed at the same moment")

    def _move(
        self,
        request: ErasureRequest,
        state: str,
        *,
        extra: str = "",
        values: dict[str, Any] | None = None,
    ) -> bool:
        """One transition; false if the request is in none of the states from which it leads to ``state``."""
        update = self._update(request, state, extra=extra, values=values)
        try:
            self._client().update_item(**update)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _update(
        self,
        request: ErasureRequest,
        state: str,
        *,
        stays: bool = False,
        extra: str = "",
        values: dict[str, Any] | None = None,
        condition: str = "",
    ) -> dict[str, Any]:
        """An update into ``state``, on the condition that the table of transitions has it, or that it ``stays``."""
        required = (state,) if stays else sources_of(state)
        states = {f":required{number}": source for number, source in enumerate(required)}
        all_values = {
            ":state": state,
            ":tenant_state": tenant_state(state, request.subject.tenant_id),
            **states,
            **(values or {}),
        }
        expression = "SET #state = :state, tenant_state = :tenant_state"
        if extra:
            expression += f", {extra}"
        if state not in OPEN_STATES:
            expression += " REMOVE open_shard"
        is_in_required_state = f"#state IN ({', '.join(states)})"
        return {
            "TableName": self._table,
            "Key": request_key(request.request_id),
            "UpdateExpression": expression,
            "ConditionExpression": f"{is_in_required_state} AND {condition}" if condition else is_in_required_state,
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {name: to_attribute(value) for name, value in all_values.items()},
        }

    def close(
        self,
        request: ErasureRequest,
        job_id: str,
        outcomes: Sequence[TargetOutcome],
        now: datetime,
        entry: AuditEntry,
        *,
        finished: bool,
    ) -> bool:
        extra = "outcomes = :outcomes, attention = :attention"
        values: dict[str, Any] = {
            ":outcomes": [outcome.to_dict() for outcome in outcomes],
            ":job": job_id,
            ":attention": not finished,
        }
        if finished:
            extra += ", finished_at = :now"
            values[":now"] = format_time(now)
        update = self._update(
            request,
            FINISHED if finished else STARTED,
            stays=not finished,
            extra=extra,
            values=values,
            condition=_NOT_CLOSED_BY_THIS_JOB,
        )
        # Every job that has closed the request, not only the latest: an older one may come back, to no effect.
        update["UpdateExpression"] += " ADD closed_jobs :jobs"
        update["ExpressionAttributeValues"][":jobs"] = {"SS": [job_id]}
        return self._with_entry(update, entry)

    def _with_entry(self, update: dict[str, Any], entry: AuditEntry) -> bool:
        """The update and its audit entry, both or neither; false if the request is no longer as the update requires."""
        put = {
            "TableName": self._audit_table,
            "Item": entry_to_item(entry),
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        try:
            self._client().transact_write_items(TransactItems=[{"Update": update}, {"Put": put}])
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            codes = cancellation_codes(error)
            if codes[0] == "ConditionalCheckFailed":
                return False
            # The audit place was taken, or the items were busy: the caller starts over with a fresh entry.
            raise UnavailableError("the request was changed at the same moment") from error
        return True


def cancellation_codes(error: ClientError) -> list[str]:
    """Why each item of a cancelled transaction failed, in order; ``"None"`` for those that did not."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return [reason.get("Code", "None") for reason in reasons] or [""]
