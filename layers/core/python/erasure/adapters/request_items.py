"""What stands in the Requests table for requests and batches, as items and back.

Request: pk ``REQUEST#<id>``, sk ``META``. It holds the subject's id in the attribute ``subject_id``, its further ids in
``identifiers``, and nothing else does.
Index attributes: ``tenant_state`` (``<state>#<tenant>``), ``subject_digest``; ``clock_shard`` (``open#<shard>`` or
``ended#<shard>``) with ``clock_at`` (a time, or ``held#<time>`` of one that is held), until it is purged.
Waiting: pk ``WAITING#<shard>``, sk ``<time>#<request id>``, until the request is released or cancelled. The time is its
``not_before`` or, once it has been started, its ``scan_at``; of one that is finished, its ``follow_up_at``.
Batch: pk ``BATCH#<id>``, sk ``META``.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Any

from erasure.adapters.attributes import Item, from_item, to_attribute, to_item
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.times import format_time, parse_time
from erasure.ports import Batch

SHARDS = 8
"""Open requests, and those that wait, are spread over this many partitions each, so that none of them gets hot."""

HELD_CLOCK = "held#"
"""Begins the ``clock_at`` of a request that is held: it comes after all times."""
_REQUEST = "REQUEST#"
_META = {"S": "META"}


def request_key(request_id: str) -> Item:
    return {"pk": {"S": _REQUEST + request_id}, "sk": _META}


def request_id_of(item: Item) -> str:
    """The request's id, from the key of a request's item."""
    key: str = item["pk"]["S"]
    return key.removeprefix(_REQUEST)


def tenant_state(state: str, tenant_id: str) -> str:
    return f"{state}#{tenant_id}"


def in_state(request: ErasureRequest, state: str) -> dict[str, Any]:
    """What to set for the request to be in the state."""
    return {"state": state, "tenant_state": tenant_state(state, request.subject.tenant_id)}


def _shard(request_id: str) -> int:
    return zlib.crc32(request_id.encode()) % SHARDS


def request_to_item(request: ErasureRequest) -> Item:
    """The item of a request that is open."""
    subject = request.subject
    # Written out, not by way of to_item: every confirmation waits for this.
    item = {
        "pk": {"S": _REQUEST + request.request_id},
        "sk": _META,
        "request_id": {"S": request.request_id},
        "tenant_id": {"S": subject.tenant_id},
        "subject_type": {"S": subject.type},
        "subject_id": {"S": subject.id},
        "subject_digest": {"S": request.subject_digest},
        "family": {"S": request.family},
        "state": {"S": request.state},
        "attention": {"BOOL": request.attention},
        "requested_at": {"S": format_time(request.requested_at)},
        "due_at": {"S": format_time(request.due_at)},
        "purged_by": {"S": format_time(request.purged_by)},
        "tenant_state": {"S": tenant_state(request.state, subject.tenant_id)},
        "clock_shard": {"S": f"open#{_shard(request.request_id)}"},
        "clock_at": {"S": format_time(request.clock_at or request.due_at)},
    }
    if request.categories is not None:
        item["categories"] = to_attribute(request.categories)
    if request.organization_ids:
        item["organization_ids"] = to_attribute(request.organization_ids)
    if request.not_before is not None:
        item["not_before"] = {"S": format_time(request.not_before)}
    if request.batch_id is not None:
        item["batch_id"] = {"S": request.batch_id}
    if request.leaves_tombstone:
        item["leaves_tombstone"] = {"BOOL": True}
    if request.purpose is not None:
        item.update(_made_by_the_service(request))
    return item


def _made_by_the_service(request: ErasureRequest) -> Item:
    values = {
        "purpose": request.purpose,
        "follows": request.follows,
        "only_targets": list(request.only_targets) or None,
        "identifiers": {name: list(known) for name, known in request.identifiers.items()} or None,
        "hold_digests": list(request.hold_digests) or None,
        "scan_at": None if request.scan_at is None else format_time(request.scan_at),
    }
    return to_item(values)


def item_to_request(item: Item) -> ErasureRequest:
    values = from_item(item)
    categories = values.get("categories")
    return ErasureRequest(
        request_id=values["request_id"],
        subject=Subject(values["tenant_id"], values.get("subject_id", ""), values["subject_type"]),
        subject_digest=values["subject_digest"],
        family=values["family"],
        requested_at=parse_time(values["requested_at"]),
        due_at=parse_time(values["due_at"]),
        purged_by=parse_time(values["purged_by"]),
        state=values["state"],
        attention=values["attention"],
        started_at=_time(values, "started_at"),
        finished_at=_time(values, "finished_at"),
        data_map_version=values.get("data_map_version"),
        outcomes=tuple(TargetOutcome.from_dict(outcome) for outcome in values.get("outcomes", [])),
        categories=None if categories is None else tuple(categories),
        organization_ids=tuple(values.get("organization_ids", ())),
        not_before=_time(values, "not_before"),
        batch_id=values.get("batch_id"),
        leaves_tombstone=values.get("leaves_tombstone", False),
        job_id=values.get("job_id"),
        attempt=values.get("attempt", 0),
        closed_at=_time(values, "closed_at"),
        closed_jobs=values.get("closed_jobs", frozenset()),
        identifiers={name: tuple(known) for name, known in values.get("identifiers", {}).items()},
        scan_at=_time(values, "scan_at"),
        follow_up_at=_time(values, "follow_up_at"),
        followed_by=values.get("followed_by"),
        clock_at=_clock_at(values.get("clock_at")),
        tries=values.get("tries", 0),
        parked_at=_time(values, "parked_at"),
        sla_level=values.get("sla_level", 0),
        sla_told=values.get("sla_told", 0),
        held_at=_time(values, "held_at"),
        hold_id=values.get("hold_id"),
        paused_seconds=values.get("paused_seconds", 0),
        hold_digests=tuple(values.get("hold_digests", ())),
        purpose=values.get("purpose"),
        follows=values.get("follows"),
        only_targets=tuple(values.get("only_targets", ())),
        late_arrivals=values.get("late_arrivals"),
        purged_at=_time(values, "purged_at"),
    )


def _clock_at(text: str | None) -> datetime | None:
    return None if text is None or text.startswith(HELD_CLOCK) else parse_time(text)


def _time(values: dict[str, Any], name: str) -> datetime | None:
    return parse_time(values[name]) if name in values else None


def open_shards() -> list[str]:
    """The values of ``clock_shard`` of requests that are open."""
    return [f"open#{shard}" for shard in range(SHARDS)]


def ended_shards() -> list[str]:
    """Of those that have ended and are not purged."""
    return [f"ended#{shard}" for shard in range(SHARDS)]


def ended_shard(request_id: str) -> str:
    return f"ended#{_shard(request_id)}"


def waiting_partitions() -> list[str]:
    return [f"WAITING#{shard}" for shard in range(SHARDS)]


def waiting_key(request_id: str, until: datetime) -> Item:
    """Where a request is listed until its time has come."""
    return {
        "pk": {"S": f"WAITING#{_shard(request_id)}"},
        "sk": {"S": f"{format_time(until)}#{request_id}"},
    }


def waiting_request_id(item: Item) -> str:
    sort: str = item["sk"]["S"]
    return sort.rpartition("#")[2]


def batch_key(batch_id: str) -> Item:
    return {"pk": {"S": f"BATCH#{batch_id}"}, "sk": _META}


def batch_to_item(batch: Batch) -> Item:
    values = {
        "tenant_id": batch.tenant_id,
        "family": batch.family,
        "request_ids": batch.request_ids,
        "tasks": batch.tasks,
        "accepted_at": format_time(batch.accepted_at),
    }
    return {**batch_key(batch.batch_id), **to_item(values)}


def item_to_batch(batch_id: str, item: Item) -> Batch:
    values = from_item(item)
    return Batch(
        batch_id=batch_id,
        tenant_id=values["tenant_id"],
        family=values["family"],
        request_ids=tuple(values["request_ids"]),
        tasks=values["tasks"],
        accepted_at=parse_time(values["accepted_at"]),
    )
