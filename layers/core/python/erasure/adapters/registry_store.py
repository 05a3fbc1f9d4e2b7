"""What the Registry table knows of subjects, by their digests and nothing else.

``SUBJECT#<digest>``: ``TOMBSTONE`` (``request_id``, ``deleted_at``, ``effective_at``), ``DISABLED`` (``disabled_at``,
``delete_at``, ``deletion_id``), ``OPEN#<family>`` (``request_id`` of the latest request that had to be the only open
one). ``SUPPRESSION#<tenant>``/``<digest>``: ``subject_type``, ``suppressed_at``, ``request_id``. None of them expires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.aws import error_code
from erasure.adapters.batch_reads import read_items
from erasure.domain.request import ErasureRequest
from erasure.domain.times import format_time, parse_time
from erasure.ports import Disabled, Standing, Suppression, Tombstone

_SUBJECT = "SUBJECT#"
_SUPPRESSION = "SUPPRESSION#"
_TOMBSTONE = "TOMBSTONE"
_DISABLED = "DISABLED"


def _subject_key(subject_digest: str, sort: str) -> Item:
    return {"pk": {"S": f"{_SUBJECT}{subject_digest}"}, "sk": {"S": sort}}


def tombstone_key(subject_digest: str) -> Item:
    return _subject_key(subject_digest, _TOMBSTONE)


def open_marker_key(subject_digest: str, family: str) -> Item:
    return _subject_key(subject_digest, f"OPEN#{family}")


def tombstone_update(table: str, request: ErasureRequest, now: datetime) -> dict[str, Any]:
    """The arguments of the update that sees to the subject's tombstone. One that is there already stays as it is."""
    return {
        "TableName": table,
        "Key": tombstone_key(request.subject_digest),
        "UpdateExpression": (
            "SET request_id = if_not_exists(request_id, :request), deleted_at = if_not_exists(deleted_at, :now)"
        ),
        "ExpressionAttributeValues": {":request": {"S": request.request_id}, ":now": {"S": format_time(now)}},
    }


def suppression_update(table: str, request: ErasureRequest, now: datetime) -> dict[str, Any]:
    """The arguments of the update that puts the subject on the suppression list. If it is there, it stays as it is."""
    return {
        "TableName": table,
        "Key": _suppression_key(request.subject.tenant_id, request.subject_digest),
        "UpdateExpression": (
            "SET subject_type = if_not_exists(subject_type, :type),"
            " suppressed_at = if_not_exists(suppressed_at, :now), request_id = if_not_exists(request_id, :request)"
        ),
        "ExpressionAttributeValues": {
            ":type": {"S": request.subject.type},
            ":now": {"S": format_time(now)},
            ":request": {"S": request.request_id},
        },
    }


def _suppression_key(tenant_id: str, subject_digest: str) -> Item:
    return {"pk": {"S": f"{_SUPPRESSION}{tenant_id}"}, "sk": {"S": subject_digest}}


class DynamoDBSubjectRegistry:
    """:class:`erasure.ports.SubjectRegistry` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def standing(self, subject_digest: str) -> Standing:
        answer = self._client().query(
            TableName=self._table,
            KeyConditionExpression="pk = :subject",
            ExpressionAttributeValues={":subject": {"S": f"{_SUBJECT}{subject_digest}"}},
            ConsistentRead=True,
        )
        items = {item["sk"]["S"]: item for item in answer["Items"]}
        return Standing(
            tombstone=_to_tombstone(items[_TOMBSTONE]) if _TOMBSTONE in items else None,
            disabled=_to_disabled(items[_DISABLED]) if _DISABLED in items else None,
        )

    def tombstones(self, subject_digests: Sequence[str]) -> dict[str, Tombstone]:
        keys = (tombstone_key(digest) for digest in dict.fromkeys(subject_digests))
        return {
            item["pk"]["S"].removeprefix(_SUBJECT): _to_tombstone(item)
            for item in read_items(self._client(), self._table, keys)
        }

    def make_effective(self, subject_digest: str, request_id: str, now: datetime) -> None:
        try:
            self._client().update_item(
                TableName=self._table,
                Key=tombstone_key(subject_digest),
                UpdateExpression="SET effective_at = if_not_exists(effective_at, :now)",
                ConditionExpression="request_id = :request",
                ExpressionAttributeValues={":now": {"S": format_time(now)}, ":request": {"S": request_id}},
            )
        except ClientError as error:
            # Another request's tombstone, or none: not for this one to say.
            if error_code(error) != "ConditionalCheckFailedException":
                raise

    def disable(self, subject_digest: str, disabled: Disabled) -> None:
        values = {
            "disabled_at": format_time(disabled.disabled_at),
            "delete_at": format_time(disabled.delete_at) if disabled.delete_at else None,
            "deletion_id": disabled.deletion_id,
        }
        self._client().put_item(
            TableName=self._table, Item={**_subject_key(subject_digest, _DISABLED), **to_item(values)}
        )

    def enable(self, subject_digest: str) -> None:
        self._client().delete_item(TableName=self._table, Key=_subject_key(subject_digest, _DISABLED))


class DynamoDBSuppressionStore:
    """:class:`erasure.ports.SuppressionStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def get(self, tenant_id: str, subject_digest: str) -> Suppression | None:
        answer = self._client().get_item(
            TableName=self._table, Key=_suppression_key(tenant_id, subject_digest), ConsistentRead=True
        )
        return _to_suppression(answer["Item"]) if "Item" in answer else None

    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Suppression]:
        values = {":tenant": {"S": f"{_SUPPRESSION}{tenant_id}"}}
        condition = "pk = :tenant"
        if after is not None:
            condition += " AND sk > :after"
            values[":after"] = {"S": after}
        # Items are small: so many fit into one page of an answer.
        answer = self._client().query(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
            Limit=limit,
        )
        return [_to_suppression(item) for item in answer["Items"]]

    def delete(self, tenant_id: str, subject_digest: str) -> bool:
        answer = self._client().delete_item(
            TableName=self._table, Key=_suppression_key(tenant_id, subject_digest), ReturnValues="ALL_OLD"
        )
        return bool(answer.get("Attributes"))


def _to_tombstone(item: Item) -> Tombstone:
    values = from_item(item)
    return Tombstone(values["request_id"], parse_time(values["deleted_at"]), _time(values, "effective_at"))


def _to_disabled(item: Item) -> Disabled:
    values = from_item(item)
    return Disabled(parse_time(values["disabled_at"]), _time(values, "delete_at"), values.get("deletion_id"))


def _to_suppression(item: Item) -> Suppression:
    values = from_item(item)
    return Suppression(values["sk"], values["subject_type"], parse_time(values["suppressed_at"]), values["request_id"])


def _time(values: dict[str, Any], name: str) -> datetime | None:
    return parse_time(values[name]) if name in values else None
