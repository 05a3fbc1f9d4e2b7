"""Delete ids, and the one transaction that turns a delete id into a request.

``DeleteIds``: pk = SHA-256 of the id; ``subject_digest``; ``expires_at`` (epoch seconds); ``request_id`` once consumed.
The table's TTL only sweeps up behind: it lags, so every check compares ``expires_at`` itself.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.audit_log import entry_to_item
from erasure.adapters.aws import error_code
from erasure.adapters.request_store import cancellation_codes, request_to_item
from erasure.domain.audit import AuditEntry
from erasure.domain.request import ErasureRequest
from erasure.errors import DeleteIdRejectedError, IdempotencyKeyUsedError, UnavailableError
from erasure.ports import IdempotencyRecord

_CONFLICT_TRIES = 6
_NOT_EXPIRED = "expires_at > :now"
_NOT_CONSUMED = "attribute_not_exists(request_id)"
_THEIR_OWN = "subject_digest = :subject"


class DynamoDBDeleteIdStore:
    """:class:`erasure.ports.DeleteIdStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def put(self, delete_id_digest: str, subject_digest: str, expires_at: datetime) -> datetime:
        # Whole seconds are what is stored and compared, so they are what the caller is told, the first time too.
        epoch = math.ceil(expires_at.timestamp())
        item = {"pk": delete_id_digest, "subject_digest": subject_digest, "expires_at": epoch}
        try:
            self._client().put_item(
                TableName=self._table, Item=to_item(item), ConditionExpression="attribute_not_exists(pk)"
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            known = self._client().get_item(
                TableName=self._table, Key={"pk": {"S": delete_id_digest}}, ConsistentRead=True
            )
            epoch = from_item(known["Item"])["expires_at"] if "Item" in known else 0
        return datetime.fromtimestamp(epoch, UTC)


class DynamoDBAcceptanceStore:
    """:class:`erasure.ports.AcceptanceStore` on DynamoDB: one TransactWriteItems over three or four tables."""

    def __init__(
        self,
        client: Callable[[], Any],
        *,
        delete_ids_table: str,
        requests_table: str,
        audit_table: str,
        registry_table: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._delete_ids_table = delete_ids_table
        self._requests_table = requests_table
        self._audit_table = audit_table
        self._registry_table = registry_table
        self._sleep = sleep

    def accept(
        self,
        delete_id_digest: str,
        request: ErasureRequest,
        entry: AuditEntry,
        now: datetime,
        idempotency: IdempotencyRecord | None,
    ) -> None:
        items = [
            self._consume(delete_id_digest, request, now),
            self._put(self._requests_table, request_to_item(request)),
            self._put(self._audit_table, entry_to_item(entry)),
        ]
        if idempotency is not None:
            items.append(self._remember(idempotency, now))
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._client().transact_write_items(TransactItems=items)
            except ClientError as error:
                if error_code(error) != "TransactionCanceledException":
                    raise
                codes = cancellation_codes(error)
                # The key first: whoever repeats a call gets its first answer, although the id is consumed by then.
                if idempotency is not None and len(codes) > 3 and codes[3] == "ConditionalCheckFailed":
                    raise IdempotencyKeyUsedError("Idempotency-Key") from None
                if codes[0] == "ConditionalCheckFailed":
                    raise DeleteIdRejectedError from None
                # Two confirmations at the same moment: one is told "conflict" while the other is being written.
                self._sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter
            else:
                return
        raise UnavailableError("the request could not be written")

    def find_idempotency(self, key_digest: str) -> IdempotencyRecord | None:
        answer = self._client().get_item(
            TableName=self._registry_table, Key=_idempotency_key(key_digest), ConsistentRead=True
        )
        if "Item" not in answer:
            return None
        values = from_item(answer["Item"])
        expires_at = datetime.fromtimestamp(values["expires_at"], UTC)
        return IdempotencyRecord(key_digest, values["body_digest"], values["request_id"], expires_at)

    def _consume(self, delete_id_digest: str, request: ErasureRequest, now: datetime) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._delete_ids_table,
                "Key": {"pk": {"S": delete_id_digest}},
                "UpdateExpression": "SET request_id = :request",
                "ConditionExpression": f"{_THEIR_OWN} AND {_NOT_EXPIRED} AND {_NOT_CONSUMED}",
                "ExpressionAttributeValues": {
                    ":request": {"S": request.request_id},
                    ":subject": {"S": request.subject_digest},
                    ":now": {"N": repr(now.timestamp())},
                },
            }
        }

    def _put(self, table: str, item: Item) -> dict[str, Any]:
        return {"Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}

    def _remember(self, record: IdempotencyRecord, now: datetime) -> dict[str, Any]:
        values = {
            "body_digest": record.body_digest,
            "request_id": record.request_id,
            "expires_at": math.ceil(record.expires_at.timestamp()),
        }
        put = self._put(self._registry_table, {**_idempotency_key(record.key_digest), **to_item(values)})
        put["Put"]["ConditionExpression"] += " OR expires_at <= :now"
        put["Put"]["ExpressionAttributeValues"] = {":now": {"N": repr(now.timestamp())}}
        return put


def _idempotency_key(key_digest: str) -> Item:
    return {"pk": {"S": f"IDEMPOTENCY#{key_digest}"}, "sk": {"S": "META"}}
