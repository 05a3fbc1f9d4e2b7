"""The audit trail in its own append-only table: pk = request id, sk = sequence number in six digits.

Nobody's role may update or delete there; entries are put under the condition that their place is empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.aws import error_code
from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.canonical import canonical_json
from erasure.errors import UnavailableError

_APPEND_TRIES = 10


def entry_to_item(entry: AuditEntry) -> Item:
    return to_item(
        {
            "pk": entry.request_id,
            "sk": f"{entry.sequence:06d}",
            "event_id": entry.event_id,
            "event": entry.event,
            "at": entry.at,
            "previous_digest": entry.previous_digest,
            "digest": entry.digest,
            "details": canonical_json(dict(entry.details)),
        }
    )


def item_to_entry(item: Item) -> AuditEntry:
    values = from_item(item)
    return AuditEntry(
        request_id=values["pk"],
        sequence=int(values["sk"]),
        event_id=values["event_id"],
        event=values["event"],
        at=values["at"],
        previous_digest=values["previous_digest"],
        digest=values["digest"],
        details=json.loads(values["details"]),
    )


class DynamoDBAuditLog:
    """:class:`erasure.ports.AuditLog` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def entries(self, request_id: str) -> list[AuditEntry]:
        """The whole trail, oldest first."""
        entries: list[AuditEntry] = []
        start: dict[str, Any] = {}
        while True:
            page = self._client().query(
                TableName=self._table,
                KeyConditionExpression="pk = :request",
                ExpressionAttributeValues={":request": {"S": request_id}},
                ConsistentRead=True,
                **start,
            )
            entries.extend(item_to_entry(item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return entries
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def append(
        self, request_id: str, event: str, at: datetime, details: dict[str, object], *, event_id: str | None = None
    ) -> AuditEntry:
        for _ in range(_APPEND_TRIES):
            entries = self.entries(request_id)
            for known in entries:
                if known.event_id == (event_id or event):
                    return known
            entry = next_entry(request_id, entries[-1] if entries else None, event, at, details, event_id=event_id)
            try:
                self._client().put_item(
                    TableName=self._table,
                    Item=entry_to_item(entry),
                    ConditionExpression="attribute_not_exists(pk)",
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                continue  # somebody else was faster: follow their entry
            return entry
        raise UnavailableError("the audit trail is too busy")
