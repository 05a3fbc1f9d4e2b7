"""Sends off requests that were to wait until now: for their time, or for the end of the window of a scan.

A request is sent first and taken off the list of those that wait then. A sweep that dies in between, or two at a time,
send it twice: jobs claim their requests, so the second finds nothing to do. The other order could lose one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.request import FINISHED, REQUESTED, STARTED, ErasureRequest
from erasure.ports import Clock, JobQueue, RequestStore
from erasure.services.side_by_side import side_by_side
from erasure.targets.protocol import Deadline

ROUND = 1000
"""Requests of one message, the most that a job takes."""

PARALLEL_RELEASES = 8
_FIRST_ATTEMPT = 1


@dataclass(frozen=True, slots=True)
class Sweep:
    """Numbers of requests. ``released``: taken off the list by this sweep, and not by another at the same moment.
    ``finished``: requests that had to leave something, which may be gone by now; they are on the list still."""

    sent: int = 0
    released: int = 0
    finished: tuple[ErasureRequest, ...] = ()


def release_due(requests: RequestStore, queue: JobQueue, now: Clock, deadline: Deadline) -> Sweep:
    """All that are due, in rounds of up to :data:`ROUND`, until nothing new is or the time is up.

    What is left then is the next sweep's. Raises what the queue or the store raises; the requests of the round that
    were sent are released all the same, as far as the store allows.
    """
    sent = released = 0
    stuck: set[str] = set()
    finished: list[ErasureRequest] = []
    while not deadline.expired():
        # What could not be released is due still, and comes again: once is enough for one sweep, and it must not stand
        # in the way of others.
        due = [request_id for request_id in requests.due(now(), ROUND + len(stuck)) if request_id not in stuck][:ROUND]
        if not due:
            break
        due_ones = requests.get_many(due).values()
        finished += [request for request in due_ones if _has_left_something(request, now())]
        found = [request for request in due_ones if not _has_left_something(request, now())]
        sent += _send(found, queue, now())
        taken_off = side_by_side(lambda request: requests.release(request, now()), found, PARALLEL_RELEASES)
        released += sum(taken_off)
        gone = {request.request_id for request, is_gone in zip(found, taken_off, strict=True) if is_gone}
        stuck.update(set(due) - gone)
    return Sweep(sent, released, tuple(finished))


def _has_left_something(request: ErasureRequest, now: datetime) -> bool:
    return request.state == FINISHED and request.follow_up_at is not None and request.follow_up_at <= now


def _send(requests: Sequence[ErasureRequest], queue: JobQueue, now: datetime) -> int:
    """Those that no job has taken yet (after a sweep that died, some may have been sent already), and those for which
    tables are to be scanned. These get another attempt, all that have had as many in one message: they share the
    scan."""
    by_attempt: dict[int, list[str]] = {}
    for request in requests:
        if request.state == REQUESTED:
            by_attempt.setdefault(_FIRST_ATTEMPT, []).append(request.request_id)
        elif request.state == STARTED and request.scan_at is not None and request.scan_at <= now:
            by_attempt.setdefault(max(_FIRST_ATTEMPT, request.attempt) + 1, []).append(request.request_id)
    for attempt, request_ids in by_attempt.items():
        queue.send(request_ids, attempt)
    return sum(map(len, by_attempt.values()))
