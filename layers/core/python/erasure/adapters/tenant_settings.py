"""What tenants have set, in the Registry table: ``TENANT#<tenant>``/``SETTINGS``: ``grace_hours``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from erasure.adapters.attributes import Item, from_item, to_attribute

_HOUR = timedelta(hours=1)


class DynamoDBTenantSettingsStore:
    """:class:`erasure.ports.TenantSettingsStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def grace(self, tenant_id: str) -> timedelta:
        answer = self._client().get_item(TableName=self._table, Key=_key(tenant_id), ConsistentRead=True)
        hours: int = from_item(answer.get("Item", {})).get("grace_hours", 0)
        return timedelta(hours=hours)

    def set_grace(self, tenant_id: str, grace: timedelta) -> None:
        self._client().update_item(
            TableName=self._table,
            Key=_key(tenant_id),
            UpdateExpression="SET grace_hours = :hours",
            ExpressionAttributeValues={":hours": to_attribute(grace // _HOUR)},
        )


def _key(tenant_id: str) -> Item:
    return {"pk": {"S": f"TENANT#{tenant_id}"}, "sk": {"S": "SETTINGS"}}
