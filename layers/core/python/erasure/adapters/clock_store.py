"""What runs by the clock reads and writes of requests (:mod:`erasure.adapters.request_items`): the index ``by-clock``,
which holds the open ones and those that have ended and are not purged, each in eight partitions by time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from erasure.adapters.attributes import Item
from erasure.adapters.registry_store import tombstone_update
from erasure.adapters.request_items import (
    HELD_CLOCK,
    SHARDS,
    ended_shards,
    in_state,
    item_to_request,
    open_shards,
    request_id_of,
    request_key,
    tenant_state,
    waiting_key,
)
from erasure.adapters.request_lists import BY_TENANT_STATE, newest_first, queried
from erasure.adapters.request_transactions import TRIES, RequestTransactions, one_of, request_update
from erasure.domain.audit import AuditEntry
from erasure.domain.clock import pause_until
from erasure.domain.request import FINISHED, HELD, REQUESTED, STARTED, ErasureRequest, sources_of
from erasure.domain.times import format_time, parse_time
from erasure.errors import UnavailableError
from erasure.ports import ClockRow, SlaRow

_IN_ORDER = (REQUESTED, STARTED)
"""States in which the promise counts."""
_AS_READ = "#state = :state_read AND clock_at = :clock_read"
_LEVEL_IS_LOWER = "(attribute_not_exists(sla_level) OR sla_level < :sla_level)"


class DynamoDBClockStore:
    """:class:`erasure.ports.ClockStore` on DynamoDB.

    ``audit_table`` is needed for all changes that have an audit entry, ``registry_table`` (for tombstones) to resume
    and to expedite.
    """

    def __init__(self, client: Callable[[], Any], table: str, audit_table: str = "", registry_table: str = "") -> None:
        self._client = client
        self._table = table
        self._registry_table = registry_table
        self._transactions = RequestTransactions(client, audit_table)

    def open_due(self, now: datetime, limit: int) -> list[str]:
        return self._first(open_shards(), "clock_at <= :clock", format_time(now), limit)

    def held(self, limit: int) -> list[str]:
        return self._first(open_shards(), "begins_with(clock_at, :clock)", HELD_CLOCK, limit)

    def ended_due(self, now: datetime, limit: int) -> list[str]:
        return self._first(ended_shards(), "clock_at <= :clock", format_time(now), limit)

    def open_rows(self) -> Iterator[ClockRow]:
        return map(_to_row, self._all(open_shards()))

    def ended_rows(self) -> Iterator[ClockRow]:
        return map(_to_row, self._all(ended_shards()))

    def sla_rows(self, tenant_id: str, state: str, limit: int) -> list[SlaRow]:
        value = tenant_state(state, tenant_id)
        items = newest_first(self._client(), self._table, BY_TENANT_STATE, value, None, limit)
        return [SlaRow(request_id_of(item), parse_time(item["due_at"]["S"]), _finished_at(item)) for item in items]

    def _first(self, shards: Sequence[str], condition: str, clock: str, limit: int) -> list[str]:
        """The beginnings of all partitions, merged by time."""
        # Twice what a partition holds of them if they are spread evenly: mostly one call is enough, and little is read
        # for nothing.
        page = min(limit, 2 * limit // SHARDS + 1)
        values = {":clock": {"S": clock}}
        begins = (queried(self._client(), self._query(shard, f" AND {condition}", values), page) for shard in shards)
        merged = heapq.merge(*begins, key=lambda item: item["clock_at"]["S"])
        return [request_id_of(item) for item in islice(merged, limit)]

    def _all(self, shards: Sequence[str]) -> Iterator[Item]:
        for shard in shards:
            yield from queried(self._client(), self._query(shard))

    def _query(self, shard: str, condition: str = "", values: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "IndexName": "by-clock",
            "KeyConditionExpression": f"clock_shard = :shard{condition}",
            "ExpressionAttributeValues": {":shard": {"S": shard}, **(values or {})},
        }

    def look_again(
        self,
        request: ErasureRequest,
        clock_at: datetime,
        *,
        tries: int | None = None,
        sla_told: int | None = None,
        parked_at: datetime | None = None,
        anew: bool = False,
    ) -> bool:
        named = {"tries": tries, "sla_told": sla_told, "parked_at": parked_at}
        sets = {"clock_at": clock_at, **{name: value for name, value in named.items() if value is not None}}
        as_read = _as_read(request)
        removes = ["tries", "parked_at"] if anew else []
        return as_read is not None and self._change(request, _AS_READ, sets, removes=removes, values=as_read)

    def raise_level(self, request: ErasureRequest, level: int, entries: Sequence[AuditEntry]) -> bool:
        is_in_order, states = one_of(_IN_ORDER)
        condition = f"{is_in_order} AND {_LEVEL_IS_LOWER}"
        return self._change(request, condition, {"sla_level": level}, values=states, entries=entries)

    def hold(self, request: ErasureRequest, hold_id: str, now: datetime, entry: AuditEntry) -> bool:
        may_be_held, states = one_of(sources_of(HELD))
        for _ in range(TRIES):
            scan_as_read, scan = _unchanged("scan_at", request.scan_at)
            is_held = self._change(
                request,
                f"{may_be_held} AND {scan_as_read}",
                {
                    **in_state(request, HELD),
                    "clock_at": f"{HELD_CLOCK}{format_time(now)}",
                    "held_at": now,
                    "hold_id": hold_id,
                },
                removes=["scan_at"],
                values={**states, **scan},
                entries=[entry],
                also=self._off_the_list(request.request_id, request.not_before, request.scan_at),
            )
            if is_held:
                return True
            # If it waits for a scan since it was read, that place on the list has to go as well.
            current = self._read(request.request_id)
            if current is None or current.state not in sources_of(HELD) or current.scan_at == request.scan_at:
                return False
            request = current
        raise UnavailableError("the request was changed at the same moment")

    def resume(self, request: ErasureRequest, now: datetime, clock_at: datetime, entry: AuditEntry) -> bool:
        if request.held_at is None:
            return False
        pause = pause_until(request, now)
        return self._change(
            request,
            "#state = :held AND held_at = :held_read",
            {
                **in_state(request, REQUESTED),
                "clock_at": clock_at,
                "due_at": request.due_at + pause,
                "purged_by": request.purged_by + pause,
                "paused_seconds": request.paused_seconds + int(pause.total_seconds()),
            },
            removes=["held_at", "hold_id", "tries", "parked_at"],
            values={"held": HELD, "held_read": request.held_at},
            entries=[entry],
            also=self._back_on_the_list(request, now),
        )

    def expedite(self, request: ErasureRequest, now: datetime, changed: ErasureRequest, entry: AuditEntry) -> bool:
        if request.not_before is None:
            return False
        also = self._off_the_list(request.request_id, request.not_before)
        if request.leaves_tombstone:
            also.append({"Update": tombstone_update(self._registry_table, request, now)})
        return self._change(
            request,
            "#state = :requested AND not_before = :not_before_read AND not_before > :now",
            {
                "not_before": changed.not_before,
                "due_at": changed.due_at,
                "purged_by": changed.purged_by,
                "paused_seconds": changed.paused_seconds,
                "clock_at": changed.clock_at or changed.due_at,
            },
            values={"requested": REQUESTED, "not_before_read": request.not_before, "now": now},
            entries=[entry],
            also=also,
        )

    def note_second_look(
        self, request: ErasureRequest, clock_at: datetime, late_arrivals: int, followed_by: str | None
    ) -> bool:
        as_read = _as_read(request)
        if as_read is None or request.state != FINISHED:
            return False
        sets = {"clock_at": clock_at, "late_arrivals": late_arrivals}
        if followed_by is not None:
            sets["followed_by"] = followed_by
        return self._change(request, f"{_AS_READ} AND attribute_not_exists(late_arrivals)", sets, values=as_read)

    def purge(self, request: ErasureRequest, now: datetime, entry: AuditEntry) -> bool:
        if request.state == HELD:
            return False
        job_as_read, job = _unchanged("job_id", request.job_id)
        scan_as_read, scan = _unchanged("scan_at", request.scan_at)
        moments = (request.not_before, request.scan_at, request.follow_up_at)
        return self._change(
            request,
            f"#state = :state_read AND {job_as_read} AND {scan_as_read}",
            {"purged_at": now},
            removes=[
                "subject_id",
                "identifiers",
                "organization_ids",
                "hold_digests",
                "clock_shard",
                "clock_at",
                "scan_at",
                "follow_up_at",
            ],
            values={"state_read": request.state, **job, **scan},
            entries=[entry],
            also=self._off_the_list(request.request_id, *moments),
        )

    def _change(
        self,
        request: ErasureRequest,
        condition: str,
        sets: dict[str, Any],
        *,
        removes: Sequence[str] = (),
        values: dict[str, Any],
        entries: Sequence[AuditEntry] = (),
        also: Sequence[dict[str, Any]] = (),
    ) -> bool:
        update = request_update(self._table, request.request_id, condition, sets, removes=removes, values=values)
        return self._transactions.change(update, entries, also)

    def _read(self, request_id: str) -> ErasureRequest | None:
        answer = self._client().get_item(TableName=self._table, Key=request_key(request_id), ConsistentRead=True)
        return item_to_request(answer["Item"]) if "Item" in answer else None

    def _off_the_list(self, request_id: str, *moments: datetime | None) -> list[dict[str, Any]]:
        # No action may be there twice: its time and its scan may be the same moment.
        return [
            {"Delete": {"TableName": self._table, "Key": waiting_key(request_id, moment)}}
            for moment in dict.fromkeys(moments)
            if moment is not None
        ]

    def _back_on_the_list(self, request: ErasureRequest, now: datetime) -> list[dict[str, Any]]:
        if request.not_before is None:
            return []
        if request.not_before > now:
            listed = waiting_key(request.request_id, request.not_before)
            return [{"Put": {"TableName": self._table, "Item": listed}}]
        # Its time came while it was held, so nobody released it.
        return [{"Update": tombstone_update(self._registry_table, request, now)}] if request.leaves_tombstone else []


def _as_read(request: ErasureRequest) -> dict[str, Any] | None:
    """Values of the condition that the request is as it was read; ``None`` if no clock runs for it."""
    if request.clock_at is None:
        return None
    return {"state_read": request.state, "clock_read": request.clock_at}


def _unchanged(attribute: str, value: str | datetime | None) -> tuple[str, dict[str, Any]]:
    """The condition that the attribute is as it was read, and the value that it needs."""
    if value is None:
        return f"attribute_not_exists({attribute})", {}
    return f"{attribute} = :{attribute}_read", {f"{attribute}_read": value}


def _to_row(item: Item) -> ClockRow:
    is_held = item["clock_at"]["S"].startswith(HELD_CLOCK)
    return ClockRow(request_id_of(item), parse_time(item["due_at"]["S"]), is_held, _finished_at(item))


def _finished_at(item: Item) -> datetime | None:
    return parse_time(item["finished_at"]["S"]) if "finished_at" in item else None
