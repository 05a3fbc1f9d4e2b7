"""Requests, those of them that wait, and batches, in the Requests table (:mod:`erasure.adapters.request_items`)."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, to_attribute
from erasure.adapters.audit_log import entry_to_item
from erasure.adapters.aws import error_code
from erasure.adapters.batch_reads import read_items
from erasure.adapters.registry_store import tombstone_key, tombstone_update
from erasure.adapters.request_items import (
    batch_key,
    item_to_batch,
    item_to_request,
    request_id_of,
    request_key,
    tenant_state,
    waiting_key,
    waiting_partitions,
    waiting_request_id,
)
from erasure.domain.audit import AuditEntry
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, OPEN_STATES, REQUESTED, STARTED, ErasureRequest, sources_of
from erasure.domain.times import format_time, parse_time
from erasure.errors import UnavailableError
from erasure.ports import Batch, RequestRow

_CANCEL_TRIES = 5
_RELEASE_TRIES = 5
_MAY_BE_RELEASED = (REQUESTED, STARTED, FINISHED)
"""A request is sent off before it is released: its job may have been faster than the release."""
_BY_TENANT_STATE = ("by-tenant-state", "tenant_state")
_BY_SUBJECT = ("by-subject", "subject_digest")

_NOT_CLOSED_BY_THIS_JOB = "(attribute_not_exists(closed_jobs) OR NOT contains(closed_jobs, :job))"
_ITS_TIME_HAS_COME = "(attribute_not_exists(not_before) OR not_before <= :now)"
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
        self._audit_table = audit_table
        self._registry_table = registry_table

    def get(self, request_id: str) -> ErasureRequest | None:
        answer = self._client().get_item(TableName=self._table, Key=request_key(request_id), ConsistentRead=True)
        return item_to_request(answer["Item"]) if "Item" in answer else None

    def get_many(self, request_ids: Sequence[str]) -> dict[str, ErasureRequest]:
        keys = (request_key(request_id) for request_id in dict.fromkeys(request_ids))
        requests = (item_to_request(item) for item in read_items(self._client(), self._table, keys))
        return {request.request_id: request for request in requests}

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int, job_id: str, attempt: int) -> bool:
        update = self._update(
            request,
            STARTED,
            extra=(
                "started_at = if_not_exists(started_at, :now), data_map_version = :version,"
                " job_id = :job, attempt = :attempt"
            ),
            values={
                ":now": format_time(now),
                ":version": data_map_version,
                ":job": job_id,
                ":attempt": attempt,
                ":started": STARTED,
            },
        )
        not_started_yet = f"({update['ConditionExpression']} AND {_ITS_TIME_HAS_COME})"
        taken_over = f"(#state = :started AND {_CLAIMED_BY_AN_EARLIER_ATTEMPT})"
        update["ConditionExpression"] = f"{not_started_yet} OR {taken_over}"
        try:
            self._client().update_item(**update)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            # Perhaps this is a retry whose first answer got lost.
            current = self.get(request.request_id)
            return current is not None and current.state == STARTED and current.job_id == job_id
        return True

    def note_identifiers(self, request: ErasureRequest, job_id: str, identifiers: Mapping[str, Sequence[str]]) -> bool:
        known = {name: list(values) for name, values in identifiers.items()}
        return self._note(request, job_id, "SET identifiers = :known", {":known": known}) is not None

    def wait_for_scan(self, request: ErasureRequest, job_id: str, scan_at: datetime) -> bool:
        expression = "SET scan_at = if_not_exists(scan_at, :scan_at)"
        noted = self._note(request, job_id, expression, {":scan_at": format_time(scan_at)})
        if noted is None:
            return False
        # Whoever dies here plans again, and comes by again.
        listed = waiting_key(request.request_id, parse_time(noted["scan_at"]["S"]))
        self._client().put_item(TableName=self._table, Item=listed)
        return True

    def _note(
        self, request: ErasureRequest, job_id: str, expression: str, values: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The update, if the request is started and the job's; what stands there then."""
        try:
            answer = self._client().update_item(
                TableName=self._table,
                Key=request_key(request.request_id),
                UpdateExpression=expression,
                ConditionExpression="#state = :started AND job_id = :job",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    name: to_attribute(value) for name, value in {**values, ":started": STARTED, ":job": job_id}.items()
                },
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return None
        attributes: dict[str, Any] = answer["Attributes"]
        return attributes

    def cancel(self, request: ErasureRequest, entry: AuditEntry) -> bool:
        update = self._update(request, CANCELLED)
        also = []
        if request.not_before is not None:
            also.append(
                {"Delete": {"TableName": self._table, "Key": waiting_key(request.request_id, request.not_before)}}
            )
        if request.leaves_tombstone:
            also.append({"Delete": self._own_tombstone(request)})
        for attempt in range(_CANCEL_TRIES):
            try:
                refused = self._write_with_entry(update, entry, also)
            except UnavailableError:
                # Somebody starts the request at this moment. Then the state refuses us the next time.
                time.sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter
                continue
            if refused is None or refused == 0:
                return refused is None
            also.pop()  # the tombstone is another request's, and stays
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
    ) -> bool:
        extra = "outcomes = :outcomes, attention = :attention, closed_at = :now"
        update = self._update(
            request,
            FINISHED if finished else STARTED,
            stays=not finished,
            extra=f"{extra}, finished_at = :now" if finished else extra,
            values={
                ":outcomes": [outcome.to_dict() for outcome in outcomes],
                ":job": job_id,
                ":attention": attention,
                ":now": format_time(now),
            },
        )
        update["ConditionExpression"] += f" AND {_NOT_CLOSED_BY_THIS_JOB}"
        also: list[dict[str, Any]] = []
        if scanned and request.scan_at is not None:
            removes = " REMOVE" in update["UpdateExpression"]
            update["UpdateExpression"] += ", scan_at" if removes else " REMOVE scan_at"
            # A sweep that died between sending it off and releasing it would find no way to it any more.
            listed = waiting_key(request.request_id, request.scan_at)
            also.append({"Delete": {"TableName": self._table, "Key": listed}})
        if follow_up_at is not None:
            update["UpdateExpression"] = update["UpdateExpression"].replace(
                "SET ", "SET follow_up_at = :follow_up, ", 1
            )
            update["ExpressionAttributeValues"][":follow_up"] = {"S": format_time(follow_up_at)}
            listed = waiting_key(request.request_id, follow_up_at)
            also.append({"Put": {"TableName": self._table, "Item": listed}})
        # Every job that has closed the request, not only the latest: an older one may come back, to no effect.
        update["UpdateExpression"] += " ADD closed_jobs :jobs"
        update["ExpressionAttributeValues"][":jobs"] = {"SS": [job_id]}
        return self._write_with_entry(update, entry, also) is None

    def rows(
        self, tenant_id: str, state: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        return self._rows(_BY_TENANT_STATE, tenant_state(state, tenant_id), before, limit)

    def rows_of_subject(
        self, subject_digest: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        return self._rows(_BY_SUBJECT, subject_digest, before, limit)

    def _rows(self, index: tuple[str, str], value: str, before: str | None, limit: int | None) -> list[RequestRow]:
        name, attribute = index
        values = {":value": {"S": value}}
        condition = f"{attribute} = :value"
        if before is not None:
            values[":before"] = request_key(before)["pk"]
            condition += " AND pk < :before"
        rows: list[RequestRow] = []
        paging: dict[str, Any] = {}
        while limit is None or len(rows) < limit:
            if limit is not None:
                paging["Limit"] = limit - len(rows)
            page = self._client().query(
                TableName=self._table,
                IndexName=name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ScanIndexForward=False,
                **paging,
            )
            rows.extend(
                RequestRow(request_id_of(item), item["family"]["S"], item["subject_type"]["S"])
                for item in page["Items"]
            )
            if "LastEvaluatedKey" not in page:
                break
            paging["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return rows

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
        states = {f":state{number}": {"S": state} for number, state in enumerate(_MAY_BE_RELEASED)}
        is_not_called_off = {
            "TableName": self._table,
            "Key": request_key(request.request_id),
            "ConditionExpression": f"#state IN ({', '.join(states)})",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": states,
        }
        items = [{"Delete": off_the_list}, {"ConditionCheck": is_not_called_off}]
        if request.leaves_tombstone and not scan_is_due:
            items.append({"Update": tombstone_update(self._registry_table, request, now)})
        return self._transact_again(items)

    def _transact_again(self, items: Sequence[dict[str, Any]]) -> bool:
        """The transaction, once nobody else is at its items; false if a condition did not hold."""
        for attempt in range(_RELEASE_TRIES):
            codes = self._transact(items)
            if codes is None:
                return True
            if "ConditionalCheckFailed" in codes:
                return False
            time.sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter
        raise UnavailableError("the request was changed at the same moment")

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
        return self._transact_again([{"Delete": off_the_list}, {"Update": update}])

    def _update(
        self,
        request: ErasureRequest,
        state: str,
        *,
        stays: bool = False,
        extra: str = "",
        values: dict[str, Any] | None = None,
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
        return {
            "TableName": self._table,
            "Key": request_key(request.request_id),
            "UpdateExpression": expression,
            "ConditionExpression": f"#state IN ({', '.join(states)})",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {name: to_attribute(value) for name, value in all_values.items()},
        }

    def _write_with_entry(
        self, update: dict[str, Any], entry: AuditEntry, also: Sequence[dict[str, Any]] = ()
    ) -> int | None:
        """The update, its audit entry and ``also``, all or nothing.

        Returns the position of a condition that did not hold: 0 for the update's, from 2 on for those of ``also``;
        ``None`` when everything is written.
        """
        put = {
            "TableName": self._audit_table,
            "Item": entry_to_item(entry),
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        codes = self._transact([{"Update": update}, {"Put": put}, *also])
        if codes is None:
            return None
        failed = [position for position, code in enumerate(codes) if code == "ConditionalCheckFailed"]
        if 0 in failed:
            return 0
        if not failed or 1 in failed:
            # The audit place was taken, or the items were busy: the caller starts over with a fresh entry.
            raise UnavailableError("the request was changed at the same moment")
        return failed[0]

    def _transact(self, items: Sequence[dict[str, Any]]) -> list[str] | None:
        """``None`` if the transaction went through, otherwise why it was cancelled, by position."""
        try:
            self._client().transact_write_items(TransactItems=list(items))
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            return cancellation_codes(error)
        return None


def cancellation_codes(error: ClientError) -> list[str]:
    """Why each item of a cancelled transaction failed, in order; ``"None"`` for those that did not."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return [reason.get("Code", "None") for reason in reasons] or [""]
