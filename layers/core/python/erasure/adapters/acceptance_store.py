"""Delete ids, and the transactions that turn what was asked for into requests.

``DeleteIds``: pk = SHA-256 of the id; ``subject_digest``; ``expires_at`` (epoch seconds); ``request_id`` once consumed.
The table's TTL only sweeps up behind: it lags, so every check compares ``expires_at`` itself.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.audit_log import entry_to_item
from erasure.adapters.aws import error_code
from erasure.adapters.idempotency_store import find_record, idempotency_put
from erasure.adapters.registry_store import open_marker_key, suppression_update, tombstone_update
from erasure.adapters.request_items import batch_to_item, request_key, request_to_item, waiting_key
from erasure.adapters.request_transactions import cancellation_codes
from erasure.domain.request import OPEN_STATES, ErasureRequest
from erasure.errors import (
    AlreadyDeletedError,
    AlreadyOpenError,
    DeleteIdRejectedError,
    IdempotencyKeyUsedError,
    UnavailableError,
)
from erasure.ports import Acceptance, Batch, IdempotencyRecord

_CONFLICT_TRIES = 6
_ACTIONS = 100
"""Of one transaction, at most."""
_IN_FLIGHT = 4

_NEW = "attribute_not_exists(pk)"
_NOT_EXPIRED = "expires_at > :now"
_NOT_CONSUMED = "attribute_not_exists(request_id)"
_THEIR_OWN = "subject_digest = :subject"

Actions = dict[str, dict[str, Any]]
"""Actions of a transaction by what they are, in their order."""


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
    """:class:`erasure.ports.AcceptanceStore` on DynamoDB: TransactWriteItems over up to four tables.

    ``delete_ids_table`` is needed only where delete ids are consumed.
    """

    def __init__(
        self,
        client: Callable[[], Any],
        *,
        requests_table: str,
        audit_table: str,
        registry_table: str,
        delete_ids_table: str = "",
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
        acceptance: Acceptance,
        now: datetime,
        idempotency: IdempotencyRecord | None = None,
        batch: Batch | None = None,
    ) -> None:
        actions = self._actions(acceptance, now, must_be_first=True)
        if acceptance.delete_id_digest is not None:
            actions["delete_id"] = self._consume(acceptance.delete_id_digest, acceptance.request, now)
        if acceptance.only_one_open:
            actions["open"] = self._mark_open(acceptance.request, None)
        if batch is not None:
            actions["batch"] = self._put_batch(batch)
        if idempotency is not None:
            actions["idempotency"] = {"Put": idempotency_put(self._registry_table, idempotency, now)}
        for attempt in range(_CONFLICT_TRIES):
            codes = self._transact(list(actions.values()))
            if codes is None:
                return
            refused = {name for name, code in zip(actions, codes, strict=False) if code == "ConditionalCheckFailed"}
            # The key first: whoever repeats a call gets its first answer, although the id is consumed by then.
            if "idempotency" in refused:
                raise IdempotencyKeyUsedError("Idempotency-Key")
            if "request" in refused:
                return  # an earlier try wrote it, and all that belongs to it
            if "delete_id" in refused:
                raise DeleteIdRejectedError
            if "tombstone" in refused:
                raise AlreadyDeletedError("the subject has been deleted")
            if "open" in refused:
                actions["open"] = self._mark_open(acceptance.request, self._closed_one(acceptance.request))
                continue
            # Two confirmations at the same moment: one is told "conflict" while the other is being written.
            self._pause(attempt)
        raise UnavailableError("the request could not be written")

    def accept_all(self, acceptances: Sequence[Acceptance], batch: Batch, now: datetime) -> None:
        from concurrent.futures import ThreadPoolExecutor  # single requests have no use for it

        first, *others = _packed([self._actions(acceptance, now, must_be_first=False) for acceptance in acceptances])
        # By itself: if nothing can be written at all, this one tells.
        self._write_all(first, self._put_batch(batch))
        if others:
            with ThreadPoolExecutor(_IN_FLIGHT) as pool:
                for _ in pool.map(self._write_all, others):
                    pass

    def find_idempotency(self, key_digest: str) -> IdempotencyRecord | None:
        return find_record(self._client(), self._registry_table, key_digest)

    def _write_all(self, group: list[Actions], also: dict[str, Any] | None = None) -> None:
        """One transaction, without those whose request is there already: an earlier try has written them whole."""
        for attempt in range(_CONFLICT_TRIES):
            items = [action for actions in group for action in actions.values()]
            codes = self._transact([*items, *([also] if also else [])])
            if codes is None:
                return
            left, position = [], 0
            for actions in group:
                # The request is the first of its actions.
                if codes[position : position + 1] != ["ConditionalCheckFailed"]:
                    left.append(actions)
                position += len(actions)
            if len(left) == len(group):
                self._pause(attempt)
            group = left
            if not group and also is None:
                return
        raise UnavailableError("the requests could not be written")

    def _transact(self, items: list[dict[str, Any]]) -> list[str] | None:
        """``None`` if the transaction went through, otherwise why it was cancelled, by position."""
        try:
            self._client().transact_write_items(TransactItems=items)
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            return cancellation_codes(error)
        return None

    def _pause(self, attempt: int) -> None:
        self._sleep(random.uniform(0.02, 0.05) * 2**attempt)  # noqa: S311 - jitter

    def _actions(self, acceptance: Acceptance, now: datetime, *, must_be_first: bool) -> Actions:
        """What every acceptance writes. ``must_be_first``: refused if the subject has a tombstone."""
        request = acceptance.request
        actions = {
            "request": self._put_new(self._requests_table, request_to_item(request)),
            "entry": self._put_new(self._audit_table, entry_to_item(acceptance.entry)),
        }
        if request.not_before is not None:
            waiting = {"TableName": self._requests_table, "Item": waiting_key(request.request_id, request.not_before)}
            actions["waiting"] = {"Put": waiting}
        elif request.leaves_tombstone:
            tombstone = tombstone_update(self._registry_table, request, now)
            if must_be_first:
                tombstone["ConditionExpression"] = _NEW
            actions["tombstone"] = {"Update": tombstone}
        if acceptance.suppress:
            actions["suppression"] = {"Update": suppression_update(self._registry_table, request, now)}
        return actions

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

    def _mark_open(self, request: ErasureRequest, closed_one: str | None) -> dict[str, Any]:
        """Name the request as the subject's open one, in the place of none, or of one known to be closed."""
        put = {
            "TableName": self._registry_table,
            "Item": {
                **open_marker_key(request.subject_digest, request.family),
                "request_id": {"S": request.request_id},
            },
            "ConditionExpression": _NEW,
        }
        if closed_one is not None:
            put["ConditionExpression"] = f"{_NEW} OR request_id = :closed"
            put["ExpressionAttributeValues"] = {":closed": {"S": closed_one}}
        return {"Put": put}

    def _closed_one(self, request: ErasureRequest) -> str | None:
        """The request that the marker names, if that one is closed, or purged; ``None`` if there is no marker.

        Raises :class:`AlreadyOpenError` if it is open.
        """
        client = self._client()
        marker = client.get_item(
            TableName=self._registry_table,
            Key=open_marker_key(request.subject_digest, request.family),
            ConsistentRead=True,
        ).get("Item")
        if marker is None:
            return None
        request_id: str = marker["request_id"]["S"]
        named = client.get_item(TableName=self._requests_table, Key=request_key(request_id), ConsistentRead=True).get(
            "Item"
        )
        if named is not None and named["state"]["S"] in OPEN_STATES and "purged_at" not in named:
            raise AlreadyOpenError(request_id)
        return request_id

    def _put_batch(self, batch: Batch) -> dict[str, Any]:
        return {"Put": {"TableName": self._requests_table, "Item": batch_to_item(batch)}}

    def _put_new(self, table: str, item: Item) -> dict[str, Any]:
        return {"Put": {"TableName": table, "Item": item, "ConditionExpression": _NEW}}


def _packed(acceptances: Sequence[Actions]) -> list[list[Actions]]:
    """Groups of whole acceptances, each as large as a transaction allows; the first has room for one action more."""
    groups: list[list[Actions]] = [[]]
    room = _ACTIONS - 1
    for actions in acceptances:
        if len(actions) > room:
            groups.append([])
            room = _ACTIONS
        groups[-1].append(actions)
        room -= len(actions)
    return groups
