"""From messages to jobs, named after their requests so that a redelivered message starts nothing twice.

In the interactive lane every message is a job of its own. In the batch lane the messages of one invocation are packed
together: one plan and one execution for up to 1,000 requests, and deleting calls that are filled across them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from erasure.domain.identifiers import is_request_id
from erasure.errors import InvalidInputError

MAX_ATTEMPT = 9999
JOB_REQUESTS = 1000
"""Requests of one job: their ids fit into the input and the output of every state of its execution."""


@dataclass(frozen=True, slots=True)
class Message:
    """``message_id``: the queue's name for it; ``request_ids``: all different."""

    message_id: str
    request_ids: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class Job:
    """``request_ids``: all different, sorted. ``message_ids``: of the messages that are done when it is started."""

    job_id: str
    request_ids: tuple[str, ...]
    attempt: int
    message_ids: tuple[str, ...]


def job_id_for(request_id: str, attempt: int) -> str:
    """The job of a single request."""
    return f"{request_id}-{attempt}"


def batch_job_id(request_ids: Iterable[str], attempt: int) -> str:
    """The job of these requests, whatever their order."""
    digest = hashlib.sha256(",".join(sorted(request_ids)).encode()).hexdigest()
    return f"jb_{digest[:40]}-{attempt}"


def read_message(message_id: str, body: str) -> Message:
    """Raises :class:`InvalidInputError` for a message that is none of ours: it goes back to the queue and, after its
    tries, to the dead-letter queue, where somebody can look at it."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInputError("message", "must be JSON") from None
    if not isinstance(message, dict):
        raise InvalidInputError("message", "must be an object")
    request_ids, attempt = message.get("request_ids"), message.get("attempt")
    if not isinstance(request_ids, list) or not 1 <= len(request_ids) <= JOB_REQUESTS:
        raise InvalidInputError("message.request_ids", f"must list 1 to {JOB_REQUESTS} erasure requests")
    if not all(is_request_id(request_id) for request_id in request_ids):
        raise InvalidInputError("message.request_ids", "must be ids of erasure requests")
    if isinstance(attempt, bool) or not isinstance(attempt, int) or not 1 <= attempt <= MAX_ATTEMPT:
        raise InvalidInputError("message.attempt", f"must be a whole number from 1 to {MAX_ATTEMPT}")
    return Message(message_id, tuple(dict.fromkeys(request_ids)), attempt)


def job_of(message: Message) -> Job:
    """The message as a job of its own."""
    if len(message.request_ids) > 1:
        return _packed([message])
    (request_id,) = message.request_ids
    return Job(job_id_for(request_id, message.attempt), message.request_ids, message.attempt, (message.message_id,))


def pack(messages: Iterable[Message]) -> list[Job]:
    """As few jobs as the messages fit into in their order. Messages stay whole, attempts are kept apart."""
    packs: dict[int, list[list[Message]]] = {}
    filled: dict[int, set[str]] = {}
    for message in messages:
        of_attempt, ids = packs.setdefault(message.attempt, []), filled.setdefault(message.attempt, set())
        more = [request_id for request_id in message.request_ids if request_id not in ids]
        if not of_attempt or len(ids) + len(more) > JOB_REQUESTS:
            of_attempt.append([])
            ids.clear()
        of_attempt[-1].append(message)
        ids.update(message.request_ids)
    return [_packed(pack) for of_attempt in packs.values() for pack in of_attempt]


def _packed(messages: list[Message]) -> Job:
    request_ids = tuple(sorted({request_id for message in messages for request_id in message.request_ids}))
    attempt = messages[0].attempt
    message_ids = tuple(message.message_id for message in messages)
    return Job(batch_job_id(request_ids, attempt), request_ids, attempt, message_ids)
