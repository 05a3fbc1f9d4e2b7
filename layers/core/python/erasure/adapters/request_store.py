"""Requests, those of them that wait, and batches, in the Requests table (:mod:`erasure.adapters.request_items`)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from erasure.adapters.attributes import Item, to_item
from erasure.adapters.batch_reads import read_items
from erasure.adapters.registry_store import tombstone_key, tombstone_update
from erasure.adapters.request_items import (
    batch_key,
    ended_shard,
    in_state,
    item_to_batch,
    item_to_request,
    request_id_of,
    request_key,
    tenant_state,
    waiting_key,
    waiting_partitions,
    waiting_request_id,
)
from erasure.adapters.request_lists import BY_SUBJECT, BY_TENANT_STATE, newest_first
from erasure.adapters.request_transactions import (
    REFUSED,
    TRIES,
    RequestTransactions,
    one_of,
    pause,
    request_update,
)
from erasure.domain.audit import AuditEntry
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, REQUESTED, STARTED, ErasureRequest, sources_of
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import Batch, RequestRow

_MAY_BE_RELEASED = (REQUESTED, STARTED, FINISHED)
"""A request is sent off before it is released: its job may have been faster than the release."""

_ITS_JOBS = "#state = :started AND job_id = :job"
_NOT_CLOSED_BY_THIS_JOB = "(attribute_not_exists(closed_jobs) OR NOT contains(closed_jobs, :job))"
_ITS_TIME_HAS_COME = "(attribute_not_exists(not_before) OR not_before <= :started_at)"
_CLAIMED_BY_AN_EARLIER_ATTEMPT = "(attribute_not_exists(attempt) OR attempt < :attempt)"
_NOBODY_ELSES = "attribute_not_exists(pk) OR request_id = :request"
_IS_LISTED = "attribute_exists(pk)"


class DynamoDBRequestStore:
    """:class:`erasure.ports.RequestStore` on DynamoDB.

    ``audit_table`` is needed to cancel and to close, ``registry_table`` (for tombstones) to cancel and to release.
    """

    def __init__(self, client: Callable[[], Any], table: str, audit_table: str = "", registry_table: str = "") -> None:
        self._client = client
        self._table = table
        self._transactions = RequestTransactions(client, audit_table)
        self._registry_table = registry_table

    def get(self, request_id: str) -> ErasureRequest | None:
        answer = self._client().get_item(TableName=self._table, Key=request_key(request_id), ConsistentRead=True)
        return item_to_request(answer["Item"]) if "Item" in answer else None

    def get_many(self, request_ids: Sequence[str]) -> dict[str, ErasureRequest]:
        keys = (request_key(request_id) for request_id in dict.fromkeys(request_ids))
        requests = (item_to_request(item) for item in read_items(self._client(), self._table, keys))
        return {request.request_id: request for request in requests}

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int, job_id: str, attempt: int) -> bool:
        may_be_started, states = one_of(sources_of(STARTED))
        is_free = f"(({may_be_started} AND {_ITS_TIME_HAS_COME}) OR #state = :state)"
        sets = {
            **in_state(request, STARTED),
            "data_map_version": data_map_version,
            "job_id": job_id,
            "attempt": attempt,
        }
        # What was claimed before and is requested once more, after a hold, is no earlier attempt's either.
        condition = f"{is_free} AND {_CLAIMED_BY_AN_EARLIER_ATTEMPT}"
        update = self._update(request, condition, sets, keeps={"started_at": now}, values=states)
        if self._transactions.change(update):
            return True
        # Perhaps this is a retry whose first answer got lost.
        current = self.get(request.request_id)
        return current is not None and current.state == STARTED and current.job_id == job_id

    def note_identifiers(
        self,
        request: ErasureRequest,
        job_id: str,
        identifiers: Mapping[str, Sequence[str]],
        hold_digests: Sequence[str] = (),
    ) -> bool:
        known = {name: list(values) for name, values in identifiers.items()}
        sets = {"identifiers": known, "hold_digests": list(hold_digests)}
        values = {"started": STARTED, "job": job_id}
        return self._transactions.change(self._update(request, _ITS_JOBS, sets, values=values))

    def wait_for_scan(self, request: ErasureRequest, job_id: str, scan_at: datetime) -> bool:
        known = request.scan_at
        for _ in range(TRIES):
            waits_until = known or scan_at
            condition = f"{_ITS_JOBS} AND (attribute_not_exists(scan_at) OR scan_at = :scan_at)"
            values = {"started": STARTED, "job": job_id}
            update = self._update(request, condition, {"scan_at": waits_until}, values=values)
            listed = {"TableName": self._table, "Item": waiting_key(request.request_id, waits_until)}
            if self._transactions.change(update, also=[{"Put": listed}]):
                return True
            current = self.get(request.request_id)
            if current is None or current.state != STARTED or current.job_id != job_id or current.purged_at:
                return False
            known = current.scan_at
        raise UnavailableError("the request was changed at the same moment")

    def cancel(self, request: ErasureRequest, entry: AuditEntry, clock_at: datetime | None = None) -> bool:
        may_be_cancelled, states = one_of(sources_of(CANCELLED))
        sets = {**in_state(request, CANCELLED), **_ended(request, clock_at)}
        update = self._update(request, may_be_cancelled, sets, values=states)
        also = []
        if request.not_before is not None:
            also.append(
                {"Delete": {"TableName": self._table, "Key": waiting_key(request.request_id, request.not_before)}}
            )
        if request.leaves_tombstone:
            also.append({"Delete": self._own_tombstone(request)})
        for attempt in range(TRIES):
            codes = self._transactions.write([{"Update": update}, self._transactions.put_entry(entry), *also])
            if codes is None or codes[0] == REFUSED:
                return codes is None
            if codes[1] == REFUSED:
                break  # the trail has gone on: the caller has to read it again
            if REFUSED in codes:
                also.pop()  # the tombstone is another request's, and stays
                continue
            # Somebody starts the request at this moment. Then the state refuses us the next time.
            pause(attempt)
        raise UnavailableError("the request was changed at the same moment")

    def _own_tombstone(self, request: ErasureRequest) -> dict[str, Any]:
        return {
            "TableName": self._registry_table,
            "Key": tombstone_key(request.subject_digest),
            "ConditionExpression": _NOBODY_ELSES,
            "ExpressionAttributeValues": {":request": {"S": request.request_id}},
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
        attention: bool,
        scanned: bool = False,
        follow_up_at: datetime | None = None,
        clock_at: datetime | None = None,
    ) -> bool:
        sets: dict[str, Any] = {
            **in_state(request, FINISHED if finished else STARTED),
            "outcomes": [outcome.to_dict() for outcome in outcomes],
            "attention": attention,
            "closed_at": now,
        }
        removes: list[str] = []
        also: list[dict[str, Any]] = []
        if finished:
            sets |= {"finished_at": now, **_ended(request, clock_at)}
            removes.append("parked_at")
        elif clock_at is not None:
            sets["clock_at"] = clock_at
        if scanned and request.scan_at is not None:
            removes.append("scan_at")
            # A sweep that died between sending it off and releasing it would find no way to it any more.
            listed = waiting_key(request.request_id, request.scan_at)
            also.append({"Delete": {"TableName": self._table, "Key": listed}})
        if follow_up_at is not None:
            sets["follow_up_at"] = follow_up_at
            listed = waiting_key(request.request_id, follow_up_at)
            also.append({"Put": {"TableName": self._table, "Item": listed}})
        condition = f"#state = :started AND {_NOT_CLOSED_BY_THIS_JOB}"
        values = {"started": STARTED, "job": job_id}
        update = self._update(request, condition, sets, removes=removes, values=values)
        # Every job that has closed the request, not only the latest: an older one may come back, to no effect.
        update["UpdateExpression"] += " ADD closed_jobs :jobs"
        update["ExpressionAttributeValues"][":jobs"] = {"SS": [job_id]}
        return self._transactions.change(update, [entry], also)

    def rows(
        self, tenant_id: str, state: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        return self._rows(BY_TENANT_STATE, tenant_state(state, tenant_id), before, limit)

    def rows_of_subject(
        self, subject_digest: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        return self._rows(BY_SUBJECT, subject_digest, before, limit)

    def _rows(self, index: tuple[str, str], value: str, before: str | None, limit: int | None) -> list[RequestRow]:
        items = newest_first(self._client(), self._table, index, value, before, limit)
        return [RequestRow(request_id_of(item), item["family"]["S"], item["subject_type"]["S"]) for item in items]

    def batch(self, batch_id: str) -> Batch | None:
        answer = self._client().get_item(TableName=self._table, Key=batch_key(batch_id), ConsistentRead=True)
        return item_to_batch(batch_id, answer["Item"]) if "Item" in answer else None

    def due(self, now: datetime, limit: int) -> list[str]:
        # Oldest first over all partitions: each one's beginning is enough, merged by time.
        begins = [self._due_in(partition, now, limit) for partition in waiting_partitions()]
        merged = heapq.merge(*begins, key=lambda item: item["sk"]["S"])
        return [waiting_request_id(item) for item, _ in zip(merged, range(limit), strict=False)]

    def _due_in(self, partition: str, now: datetime, limit: int) -> list[Item]:
        # Waiting items are small: as many as anybody asks for fit into one page of an answer.
        items: list[Item] = self._client().query(
            TableName=self._table,
            # "~" comes after all that stands behind the time.
            KeyConditionExpression="pk = :partition AND sk <= :now",
            ExpressionAttributeValues={":partition": {"S": partition}, ":now": {"S": f"{format_time(now)}~"}},
            ConsistentRead=True,
            Limit=limit,
        )["Items"]
        return items

    def release(self, request: ErasureRequest, now: datetime) -> bool:
        scan_is_due = request.scan_at is not None and request.scan_at <= now
        waits_until = request.scan_at if scan_is_due else request.not_before
        if waits_until is None:
            return False
        off_the_list = {
            "TableName": self._table,
            "Key": waiting_key(request.request_id, waits_until),
            "ConditionExpression": _IS_LISTED,
        }
        may_be_released, states = one_of(_MAY_BE_RELEASED)
        is_not_called_off = {
            "TableName": self._table,
            "Key": request_key(request.request_id),
            "ConditionExpression": may_be_released,
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": to_item({f":{name}": state for name, state in states.items()}),
        }
        items = [{"Delete": off_the_list}, {"ConditionCheck": is_not_called_off}]
        if request.leaves_tombstone and not scan_is_due:
            items.append({"Update": tombstone_update(self._registry_table, request, now)})
        return self._transactions.write_when_free(items) is None

    def end_waiting_for_follow_up(self, request: ErasureRequest, follow_up_id: str | None) -> bool:
        if request.follow_up_at is None:
            return False
        off_the_list = {"TableName": self._table, "Key": waiting_key(request.request_id, request.follow_up_at)}
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": request_key(request.request_id),
            "UpdateExpression": "REMOVE follow_up_at",
            "ConditionExpression": "follow_up_at = :follow_up_at",
            "ExpressionAttributeValues": {":follow_up_at": {"S": format_time(request.follow_up_at)}},
        }
        if follow_up_id is not None:
            update["UpdateExpression"] = "SET followed_by = :follow_up REMOVE follow_up_at"
            update["ExpressionAttributeValues"][":follow_up"] = {"S": follow_up_id}
        return self._transactions.write_when_free([{"Delete": off_the_list}, {"Update": update}]) is None

    def _update(
        self,
        request: ErasureRequest,
        condition: str,
        sets: Mapping[str, Any],
        *,
        keeps: Mapping[str, Any] | None = None,
        removes: Sequence[str] = (),
        values: Mapping[str, Any],
    ) -> dict[str, Any]:
        return request_update(
            self._table, request.request_id, condition, sets, keeps=keeps, removes=removes, values=values
        )


def _ended(request: ErasureRequest, clock_at: datetime | None) -> dict[str, Any]:
    return {"clock_shard": ended_shard(request.request_id), "clock_at": clock_at or request.purged_by}
