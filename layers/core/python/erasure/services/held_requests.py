"""Requests that a legal hold concerns: which they are, into ``held``, and out of it again.

Whether anything is erased does not depend on the state that is written here: plan, eraser and verifier look for the
marks of holds themselves (docs/decisions/0024). The state pauses the promise and tells of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from erasure.domain.audit import next_entry
from erasure.domain.clock import ClockPolicy, pause_until
from erasure.domain.holds import marks_of_request
from erasure.domain.request import HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import AuditLog, Clock, ClockStore, HoldReader, JobQueue, RequestStore
from erasure.services.retries import send_again
from erasure.services.side_by_side import side_by_side
from erasure.targets.protocol import Deadline

_TRIES = 5
_PARALLEL_REQUESTS = 8
_LISTED = 100_000
"""All that are held: those that are free may stand behind any number of others."""
_AT_A_TIME = 1000


def held_among(requests: Iterable[ErasureRequest], holds: HoldReader) -> dict[str, str]:
    """Those of the requests that a hold concerns, by id, with the id of one such hold."""
    marks = {request.request_id: marks_of_request(request) for request in requests}
    held = holds.held([mark for own in marks.values() for mark in own]) if marks else {}
    first = {request_id: next((held[mark] for mark in own if mark in held), None) for request_id, own in marks.items()}
    return {request_id: hold_id for request_id, hold_id in first.items() if hold_id is not None}


def hold_requests(
    hold_ids: dict[str, str], *, requests: RequestStore, clock: ClockStore, audit: AuditLog, now: Clock
) -> int:
    """Move requests to ``held``: ``hold_ids`` has the hold of each. Those that are neither requested nor started stay
    as they are. Returns how many of them are held then."""

    def hold(request_id: str) -> bool:
        for _ in range(_TRIES):
            # The trail first, then the record, as for closing: what is decided by the record is written behind it.
            entries = audit.entries(request_id)
            request = requests.get(request_id)
            if request is None or request.state not in (REQUESTED, STARTED) or request.purged_at is not None:
                return request is not None and request.state == HELD
            moment, hold_id = now(), hold_ids[request_id]
            last = entries[-1] if entries else None
            event_id = f"held:{format_time(moment)}"
            entry = next_entry(request_id, last, "held", moment, {"hold_id": hold_id}, event_id=event_id)
            try:
                if clock.hold(request, hold_id, moment, entry):
                    return True
            except UnavailableError:
                continue  # somebody else wrote an entry in between: follow that one
        raise UnavailableError("the request could not be held")

    return sum(side_by_side(hold, list(hold_ids), _PARALLEL_REQUESTS))


@dataclass(frozen=True, slots=True)
class ResumeDependencies:
    """``queue``: the batch lane."""

    holds: HoldReader
    requests: RequestStore
    clock: ClockStore
    audit: AuditLog
    queue: JobQueue
    now: Clock
    policy: ClockPolicy


def resume_free(use: ResumeDependencies, deadline: Deadline) -> int:
    """Send off all requests that are held and that no hold concerns (any more); returns how many they were. What is not
    done within the time, the next call does."""
    return resume_those_free(use.clock.held(_LISTED), use, deadline)


def resume_those_free(request_ids: Sequence[str], use: ResumeDependencies, deadline: Deadline) -> int:
    """Of these. A hold that is put at this moment finds a request that was sent off when its job is planned."""
    resumed = 0
    for start in range(0, len(request_ids), _AT_A_TIME):
        if deadline.expired():
            break
        found = use.requests.get_many(request_ids[start : start + _AT_A_TIME])
        held = [request for request in found.values() if request.state == HELD]
        still = held_among(held, use.holds)
        free = [request.request_id for request in held if request.request_id not in still]
        resumed += sum(side_by_side(lambda request_id: _resume(request_id, use), free, _PARALLEL_REQUESTS))
    return resumed


def _resume(request_id: str, use: ResumeDependencies) -> bool:
    for _ in range(_TRIES):
        entries = use.audit.entries(request_id)
        request = use.requests.get(request_id)
        if request is None or request.state != HELD or request.held_at is None:
            return False
        moment = use.now()
        begin = max(moment, request.not_before or moment)
        entry = next_entry(
            request_id,
            entries[-1] if entries else None,
            "resumed",
            moment,
            {"paused_seconds": int(pause_until(request, moment).total_seconds())},
            event_id=f"resumed:{format_time(request.held_at)}",
        )
        try:
            is_resumed = use.clock.resume(request, moment, use.policy.first_look(begin), entry)
        except UnavailableError:
            continue
        if is_resumed:
            if begin <= moment:
                _send(request_id, use)
            return True
    raise UnavailableError("the request could not be resumed")


def _send(request_id: str, use: ResumeDependencies) -> None:
    """As another attempt. Should it get lost, the watch finds a request that nobody has taken up."""
    request = use.requests.get(request_id)
    if request is not None and request.state == REQUESTED:
        send_again(request, audit=use.audit, queue=use.queue, now=use.now)
