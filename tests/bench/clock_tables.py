"""Tables with as many requests as anybody has, written item by item: the clock has to look at few of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from erasure.adapters.attributes import to_attribute
from erasure.adapters.audit_log import entry_to_item
from erasure.adapters.request_items import ended_shard, in_state, request_key, request_to_item, waiting_key
from erasure.domain.audit import next_entry
from erasure.domain.outcome import ERASED, TargetOutcome
from erasure.domain.request import FINISHED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.times import due_at, format_time, purged_by
from tests.functional.clock_world import AUDIT, POLICY, REQUESTS, TENANT

Item = dict[str, Any]
DAY = timedelta(days=1)


def put_waiting(client: Any, now: datetime, number: int, due: int) -> list[str]:
    """Deletions that wait, for another month; of the first ``due`` the time has come. Returns the ids of these."""
    came, to_come = _item(now - 30 * DAY, now), _item(now - 30 * DAY, now + 30 * DAY)

    def of(position: int) -> Item:
        return came if position < due else to_come

    listed = [waiting_key(_id(each), now if each < due else now + 30 * DAY) for each in range(number)]
    client.load(REQUESTS, listed)
    return _put(client, number, due, of)


def put_lost(client: Any, now: datetime, number: int, due: int, first: int = 0) -> list[str]:
    """Requests that nobody has taken up. The clock has to look at the first ``due`` now, at the others later."""
    lost = _item(now - POLICY.patience)
    later = {**lost, "clock_at": {"S": format_time(now + DAY)}}
    return _put(client, number, due, lambda position: lost if position < due else later, first)


def put_finished(client: Any, now: datetime, number: int, due: int, first: int = 0) -> list[str]:
    """Requests that have ended: of the first ``due``, half is to be looked at once more, and half to be purged; the
    others' time will come next month."""
    of_today = _finished_item(now - POLICY.second_look, now)
    of_last_year = _finished_item(now - 90 * DAY, now - DAY)
    later = _finished_item(now - DAY, now + 30 * DAY)
    later["late_arrivals"] = of_last_year["late_arrivals"] = to_attribute(0)

    def of(position: int) -> Item:
        if position >= due:
            return later
        return of_last_year if position % 2 else of_today

    return _put(client, number, due, of, first)


def _put(client: Any, number: int, due: int, of: Callable[[int], Item], first: int = 0) -> list[str]:
    client.load(REQUESTS, _items(number, of, first))
    ids = [_id(first + position) for position in range(due)]
    client.load(AUDIT, [_first_entry(request_id) for request_id in ids])
    return ids


def _items(number: int, of: Callable[[int], Item], first: int) -> Iterator[Item]:
    for position in range(number):
        item, request_id = of(position), _id(first + position)
        state = item["clock_shard"]["S"].partition("#")[0]
        yield {
            **item,
            **request_key(request_id),
            "request_id": {"S": request_id},
            "subject_id": {"S": f"user-{first + position}"},
            "subject_digest": {"S": f"{first + position:064x}"},
            "clock_shard": {"S": f"{state}#{ended_shard(request_id).partition('#')[2]}"},
        }


def _item(requested_at: datetime, not_before: datetime | None = None) -> Item:
    return request_to_item(_request(requested_at, not_before))


def _finished_item(finished_at: datetime, clock_at: datetime) -> Item:
    request = _request(finished_at)
    outcomes = [TargetOutcome(name, "content", ERASED, 3).to_dict() for name in ("people", "notes")]
    times = {name: format_time(finished_at) for name in ("started_at", "finished_at", "closed_at")}
    values = {
        **in_state(request, FINISHED),
        **times,
        "clock_at": format_time(clock_at),
        "outcomes": outcomes,
        "job_id": "jb_1-1",
        "attempt": 1,
    }
    ended = {"clock_shard": {"S": ended_shard("")}}
    return {**request_to_item(request), **{name: to_attribute(value) for name, value in values.items()}, **ended}


def _request(requested_at: datetime, not_before: datetime | None = None) -> ErasureRequest:
    begin = not_before or requested_at
    request = ErasureRequest(
        request_id="",
        subject=Subject(TENANT, "somebody"),
        subject_digest="",
        family="native",
        requested_at=requested_at,
        due_at=due_at(begin, POLICY.sla_hours),
        purged_by=purged_by(begin, 90),
        clock_at=POLICY.first_look(begin),
        leaves_tombstone=not_before is not None,
    )
    return replace(request, not_before=not_before)


def _id(number: int) -> str:
    return f"er_{number:026d}"


def _first_entry(request_id: str) -> Item:
    return entry_to_item(next_entry(request_id, None, "requested", datetime.fromtimestamp(0).astimezone(), {}))
