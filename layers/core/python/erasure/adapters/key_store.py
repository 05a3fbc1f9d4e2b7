"""API keys and the counts of their calls, in the Registry table.

``KEY#<key id>``/``META`` is a key; ``KEYS#<tenant>``/``<key id>`` lists a tenant's keys;
``CALLS#<key id>``/``<minute>`` counts the calls of a minute and is swept up by the table's TTL.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_attribute, to_item
from erasure.adapters.aws import error_code
from erasure.adapters.batch_reads import read_items
from erasure.adapters.request_transactions import cancellation_codes
from erasure.domain.api_key import ApiKey
from erasure.domain.times import format_time, parse_time
from erasure.errors import UnavailableError

_COUNTS_ARE_KEPT_FOR = timedelta(minutes=10)


class DynamoDBKeyStore:
    """:class:`erasure.ports.KeyStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def get(self, key_id: str) -> ApiKey | None:
        # Strongly consistent: a key that has just been revoked must not come back.
        answer = self._client().get_item(TableName=self._table, Key=_key(key_id), ConsistentRead=True)
        return _item_to_key(answer["Item"]) if "Item" in answer else None

    def put(self, key: ApiKey) -> bool:
        new = "attribute_not_exists(pk)"
        pointer = to_item({"pk": f"KEYS#{key.tenant_id}", "sk": key.key_id})
        try:
            self._client().transact_write_items(
                TransactItems=[
                    {"Put": {"TableName": self._table, "Item": _key_to_item(key), "ConditionExpression": new}},
                    {"Put": {"TableName": self._table, "Item": pointer}},
                ]
            )
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            if cancellation_codes(error)[0] == "ConditionalCheckFailed":
                return False
            raise UnavailableError("the key was written at the same moment") from None
        return True

    def revoke(self, key_id: str, now: datetime) -> bool:
        try:
            self._update(key_id, "SET revoked_at = if_not_exists(revoked_at, :now)", {":now": format_time(now)})
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def touch(self, key_id: str, day: str) -> None:
        self._update(key_id, "SET last_used_on = :day", {":day": day})

    def _update(self, key_id: str, expression: str, values: dict[str, str]) -> None:
        self._client().update_item(
            TableName=self._table,
            Key=_key(key_id),
            UpdateExpression=expression,
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={name: to_attribute(value) for name, value in values.items()},
        )

    # Last: below it, the name in annotations would be this method.
    def list(self, tenant_id: str) -> list[ApiKey]:
        key_ids: list[str] = []
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :tenant",
            "ExpressionAttributeValues": {":tenant": to_attribute(f"KEYS#{tenant_id}")},
            "ConsistentRead": True,
        }
        while True:
            page = self._client().query(**query)
            key_ids += [item["sk"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        items = read_items(self._client(), self._table, map(_key, key_ids))
        keys = [_item_to_key(item) for item in items]
        return sorted(keys, key=lambda key: (key.created_at, key.key_id))


class DynamoDBRateCounter:
    """:class:`erasure.ports.RateCounter` on DynamoDB: one UpdateItem for each call."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def count(self, key_id: str, window: int, now: datetime) -> int:
        expires_at = int((now + _COUNTS_ARE_KEPT_FOR).timestamp())
        answer = self._client().update_item(
            TableName=self._table,
            Key={"pk": {"S": f"CALLS#{key_id}"}, "sk": {"S": f"{window:010d}"}},
            UpdateExpression="SET expires_at = :expires ADD calls :one",
            ExpressionAttributeValues={":one": {"N": "1"}, ":expires": {"N": str(expires_at)}},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["calls"]["N"])


def _key(key_id: str) -> Item:
    return {"pk": {"S": f"KEY#{key_id}"}, "sk": {"S": "META"}}


def _key_to_item(key: ApiKey) -> Item:
    values = {
        "key_id": key.key_id,
        "mode": key.mode,
        "secret_digest": key.secret_digest,
        "tenant_id": key.tenant_id,
        "scopes": sorted(key.scopes),
        "name": key.name,
        "created_at": format_time(key.created_at),
        "valid_until": format_time(key.valid_until) if key.valid_until else None,
        "revoked_at": format_time(key.revoked_at) if key.revoked_at else None,
        "last_used_on": key.last_used_on,
        "calls_per_minute": key.calls_per_minute,
    }
    return {**_key(key.key_id), **to_item(values)}


def _item_to_key(item: Item) -> ApiKey:
    values = from_item(item)
    return ApiKey(
        key_id=values["key_id"],
        mode=values["mode"],
        secret_digest=values["secret_digest"],
        tenant_id=values["tenant_id"],
        scopes=frozenset(values["scopes"]),
        name=values["name"],
        created_at=parse_time(values["created_at"]),
        valid_until=parse_time(values["valid_until"]) if "valid_until" in values else None,
        revoked_at=parse_time(values["revoked_at"]) if "revoked_at" in values else None,
        last_used_on=values.get("last_used_on"),
        calls_per_minute=values.get("calls_per_minute"),
    )
