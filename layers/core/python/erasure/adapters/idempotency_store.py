"""Idempotency records in the Registry table: pk ``IDEMPOTENCY#<digest of the key>``, sk ``META``.

``expires_at`` (epoch seconds) is the table's TTL attribute, which lags: every check compares it itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.aws import error_code
from erasure.errors import UnavailableError
from erasure.ports import IdempotencyRecord

_BEGIN_TRIES = 5
_IS_FREE = "attribute_not_exists(pk) OR expires_at <= :now"


def idempotency_put(table: str, record: IdempotencyRecord, now: datetime) -> dict[str, Any]:
    """The arguments of the put that writes the record, on the condition that its key is free."""
    values = {
        "body_digest": record.body_digest,
        "run_id": record.run_id,
        "result": record.result,
        "expires_at": math.ceil(record.expires_at.timestamp()),
    }
    return {
        "TableName": table,
        "Item": {**_key(record.key_digest), **to_item(values)},
        "ConditionExpression": _IS_FREE,
        "ExpressionAttributeValues": {":now": {"N": repr(now.timestamp())}},
    }


def find_record(client: Any, table: str, key_digest: str) -> IdempotencyRecord | None:
    answer = client.get_item(TableName=table, Key=_key(key_digest), ConsistentRead=True)
    if "Item" not in answer:
        return None
    values = from_item(answer["Item"])
    expires_at = datetime.fromtimestamp(values["expires_at"], UTC)
    return IdempotencyRecord(key_digest, values["body_digest"], values["run_id"], expires_at, values.get("result"))


class DynamoDBIdempotencyStore:
    """:class:`erasure.ports.IdempotencyStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def begin(self, record: IdempotencyRecord, now: datetime) -> IdempotencyRecord:
        for _ in range(_BEGIN_TRIES):
            if self._succeeds("put_item", **idempotency_put(self._table, record, now)):
                return record
            known = find_record(self._client(), self._table, record.key_digest)
            if known is not None:
                return known
            # It was swept up or given up in between: now the key is free.
        raise UnavailableError("the idempotency key is being used at the same moment")

    def finish(self, key_digest: str, result: str) -> None:
        # A record that is gone stays so: without its time, nothing would ever sweep it up.
        self._succeeds(
            "update_item",
            TableName=self._table,
            Key=_key(key_digest),
            UpdateExpression="SET #result = :result",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#result": "result"},
            ExpressionAttributeValues={":result": {"S": result}},
        )

    def give_up(self, key_digest: str, run_id: str) -> None:
        self._succeeds(
            "delete_item",
            TableName=self._table,
            Key=_key(key_digest),
            ConditionExpression="run_id = :run AND attribute_not_exists(#result)",
            ExpressionAttributeNames={"#result": "result"},
            ExpressionAttributeValues={":run": {"S": run_id}},
        )

    def _succeeds(self, operation: str, **arguments: Any) -> bool:
        """Whether the write's condition held."""
        try:
            getattr(self._client(), operation)(**arguments)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _key(key_digest: str) -> Item:
    return {"pk": {"S": f"IDEMPOTENCY#{key_digest}"}, "sk": {"S": "META"}}
