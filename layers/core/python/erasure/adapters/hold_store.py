"""Legal holds in the Registry table, by digests and nothing else.

``HOLDS#<tenant>``/``<subject digest>``: the hold. ``HELD#<mark>``/``HELD``: ``holds``, the set of all holds that have
the mark, as ``<tenant>#<subject digest>#<hold id>``; an item without the set holds nobody. ``HOLD_ENDS``/
``<until>#<subject digest>``: a hold that ends by itself, with its ``tenant_id``, for which a key may have no room.

A hold is written with its marks in one transaction, so from then on nobody who looks for them misses any. Marks that it
has no more are taken away by another one: until that has gone through, the hold names them as ``stale``, and they hold
still.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.aws import error_code
from erasure.adapters.batch_reads import read_items
from erasure.adapters.request_transactions import cancellation_codes
from erasure.domain.canonical import digest_of
from erasure.domain.times import format_time, parse_time
from erasure.errors import UnavailableError
from erasure.ports import Hold

_TRIES = 6
_HOLDS = "HOLDS#"
_HELD = "HELD#"
_ENDS = "HOLD_ENDS"
_IS_AS_READ = "content_digest = :content"


class DynamoDBHoldStore:
    """:class:`erasure.ports.HoldStore` on DynamoDB. Its parts that write raise :class:`UnavailableError` while others
    are at the same marks."""

    def __init__(self, client: Callable[[], Any], table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def held(self, marks: Sequence[str]) -> dict[str, str]:
        keys = (_mark_key(mark) for mark in dict.fromkeys(marks))
        return {
            item["pk"]["S"].removeprefix(_HELD): min(item["holds"]["SS"]).rpartition("#")[2]
            for item in read_items(self._client(), self._table, keys)
            if "holds" in item
        }

    def get(self, tenant_id: str, subject_digest: str) -> Hold | None:
        item = self._item(tenant_id, subject_digest)
        return None if item is None else _item_to_hold(item)

    def put(self, hold: Hold, replaced: Hold | None) -> bool:
        if replaced is not None and not self._tidy(replaced):
            return False
        stale = sorted(set(replaced.marks).difference(hold.marks)) if replaced is not None else []
        put: dict[str, Any] = {"TableName": self._table, "Item": _hold_to_item(hold, stale)}
        if replaced is None:
            put["ConditionExpression"] = "attribute_not_exists(pk)"
        else:
            put.update(self._if_as_read(replaced))
        ends = {_text_of_end(known): known for known in (replaced, hold) if known is not None and known.until}
        actions = [{"Put": put}]
        for known in ends.values():
            if known.until == hold.until:
                end = {**_end_key(known), "tenant_id": {"S": known.tenant_id}}
                actions.append({"Put": {"TableName": self._table, "Item": end}})
            else:
                actions.append({"Delete": {"TableName": self._table, "Key": _end_key(known)}})
        actions += [self._mark("ADD", mark, hold) for mark in hold.marks]
        if not self._write(actions):
            return False
        if stale:
            self._tidy(hold)
        return True

    def lift(self, hold: Hold) -> bool:
        if not self._tidy(hold):
            return False
        key = _hold_key(hold.tenant_id, hold.subject_digest)
        actions = [{"Delete": {"TableName": self._table, "Key": key, **self._if_as_read(hold)}}]
        if hold.until is not None:
            actions.append({"Delete": {"TableName": self._table, "Key": _end_key(hold)}})
        return self._write([*actions, *[self._mark("DELETE", mark, hold) for mark in hold.marks]])

    def ended(self, now: datetime, limit: int) -> list[Hold]:
        page = self._client().query(
            TableName=self._table,
            KeyConditionExpression="pk = :ends AND sk <= :now",
            # "~" comes after all that stands behind the time.
            ExpressionAttributeValues={":ends": {"S": _ENDS}, ":now": {"S": f"{format_time(now)}~"}},
            ConsistentRead=True,
            Limit=limit,
        )
        keys = [_hold_key(*_place_of(item)) for item in page["Items"]]
        holds = [_item_to_hold(item) for item in read_items(self._client(), self._table, keys)]
        return sorted((hold for hold in holds if hold.until is not None and hold.until <= now), key=_text_of_end)

    def _item(self, tenant_id: str, subject_digest: str) -> Item | None:
        answer = self._client().get_item(
            TableName=self._table, Key=_hold_key(tenant_id, subject_digest), ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        return item

    def _tidy(self, hold: Hold) -> bool:
        """Take the hold's stale marks away, if it has any; false if it is not as it was read."""
        item = self._item(hold.tenant_id, hold.subject_digest)
        if item is None or item["content_digest"]["S"] != _content_digest(hold):
            return False
        if "stale" not in item:
            return True
        update = {
            "TableName": self._table,
            "Key": _hold_key(hold.tenant_id, hold.subject_digest),
            "UpdateExpression": "REMOVE stale",
            **self._if_as_read(hold),
        }
        # Nobody changes a hold that has stale marks without taking these away before: as long as the content is the
        # same, so are they, or they are gone.
        return self._write([{"Update": update}, *[self._mark("DELETE", mark, hold) for mark in item["stale"]["SS"]]])

    def _if_as_read(self, hold: Hold) -> dict[str, Any]:
        return {
            "ConditionExpression": _IS_AS_READ,
            "ExpressionAttributeValues": {":content": {"S": _content_digest(hold)}},
        }

    def _mark(self, change: str, mark: str, hold: Hold) -> dict[str, Any]:
        """``change``: ``ADD`` or ``DELETE``."""
        name = f"{hold.tenant_id}#{hold.subject_digest}#{hold.hold_id}"
        update = {
            "TableName": self._table,
            "Key": _mark_key(mark),
            "UpdateExpression": f"{change} holds :hold",
            "ExpressionAttributeValues": {":hold": {"SS": [name]}},
        }
        return {"Update": update}

    def _write(self, actions: Sequence[dict[str, Any]]) -> bool:
        """All of it or nothing; false if a condition does not hold. Marks may be written by several at once."""
        for attempt in range(_TRIES):
            try:
                self._client().transact_write_items(TransactItems=list(actions))
            except ClientError as error:
                if error_code(error) != "TransactionCanceledException":
                    raise
                if "ConditionalCheckFailed" in cancellation_codes(error):
                    return False
            else:
                return True
            self._sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter
        raise UnavailableError("the hold was changed at the same moment")

    # Last: below it, the name in annotations would be this method.
    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Hold]:
        values = {":tenant": {"S": f"{_HOLDS}{tenant_id}"}}
        condition = "pk = :tenant"
        if after is not None:
            condition += " AND sk > :after"
            values[":after"] = {"S": after}
        holds: list[Hold] = []
        paging: dict[str, Any] = {}
        # A hold has up to 10 KB: a hundred of them may be more than one page of an answer.
        while len(holds) < limit:
            page = self._client().query(
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                Limit=limit - len(holds),
                **paging,
            )
            holds += [_item_to_hold(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            paging["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return holds


def _hold_key(tenant_id: str, subject_digest: str) -> Item:
    return {"pk": {"S": f"{_HOLDS}{tenant_id}"}, "sk": {"S": subject_digest}}


def _mark_key(mark: str) -> Item:
    return {"pk": {"S": f"{_HELD}{mark}"}, "sk": {"S": "HELD"}}


def _end_key(hold: Hold) -> Item:
    return {"pk": {"S": _ENDS}, "sk": {"S": _text_of_end(hold)}}


def _text_of_end(hold: Hold) -> str:
    until = "" if hold.until is None else format_time(hold.until)
    return f"{until}#{hold.subject_digest}"


def _place_of(item: Item) -> tuple[str, str]:
    """Tenant and digest of the subject, from the item of a hold's end."""
    return item["tenant_id"]["S"], item["sk"]["S"].rpartition("#")[2]


def _content_digest(hold: Hold) -> str:
    """Stands for all that the hold says: what a change or the lifting of a hold was decided on."""
    return digest_of(_values(hold))


def _values(hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.hold_id,
        "tenant_id": hold.tenant_id,
        "subject_type": hold.subject_type,
        "subject_digest": hold.subject_digest,
        "reason": hold.reason,
        "author": hold.author,
        "set_at": format_time(hold.set_at),
        "key_id": hold.key_id,
        "until": None if hold.until is None else format_time(hold.until),
        "aliases": hold.aliases,
        "marks": list(hold.marks),
    }


def _hold_to_item(hold: Hold, stale: Iterable[str]) -> Item:
    item = {
        **_hold_key(hold.tenant_id, hold.subject_digest),
        **to_item(_values(hold)),
        "content_digest": {"S": _content_digest(hold)},
    }
    if stale:
        item["stale"] = {"SS": list(stale)}
    return item


def _item_to_hold(item: Item) -> Hold:
    values = from_item(item)
    return Hold(
        hold_id=values["hold_id"],
        tenant_id=values["tenant_id"],
        subject_type=values["subject_type"],
        subject_digest=values["subject_digest"],
        reason=values["reason"],
        author=values["author"],
        set_at=parse_time(values["set_at"]),
        key_id=values["key_id"],
        until=parse_time(values["until"]) if "until" in values else None,
        aliases=values["aliases"],
        marks=tuple(values["marks"]),
    )
