"""From messages to executions: one job for each message, named so that a redelivered message starts nothing twice."""

from __future__ import annotations

import json

from erasure.domain.identifiers import is_request_id
from erasure.errors import InvalidInputError
from erasure.ports import Workflow

MAX_ATTEMPT = 9999


def job_id_for(request_id: str, attempt: int) -> str:
    return f"{request_id}-{attempt}"


def start_job(body: str, workflow: Workflow) -> str:
    """Start the job that a message asks for; returns the job's id.

    Raises :class:`InvalidInputError` for a message that is none of ours: it goes back to the queue and, after its
    tries, to the dead-letter queue, where somebody can look at it.
    """
    try:
        message = json.loads(body)
    except ValueError:
        raise InvalidInputError("message", "must be JSON") from None
    if not isinstance(message, dict):
        raise InvalidInputError("message", "must be an object")
    request_id, attempt = message.get("request_id"), message.get("attempt")
    if not isinstance(request_id, str) or not is_request_id(request_id):
        raise InvalidInputError("message.request_id", "must be the id of an erasure request")
    if isinstance(attempt, bool) or not isinstance(attempt, int) or not 1 <= attempt <= MAX_ATTEMPT:
        raise InvalidInputError("message.attempt", f"must be a whole number from 1 to {MAX_ATTEMPT}")
    job_id = job_id_for(request_id, attempt)
    workflow.start(job_id, [request_id])
    return job_id
