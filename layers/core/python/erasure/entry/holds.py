"""Legal holds: subjects of whom nothing may be erased, for the time being.

==========================================  ===================================================================
``GET /v1/legal-holds``                     200, a page in the order of their subjects' digests; ``cursor``, ``limit``
``GET /v1/legal-holds/{subject_id}``        200, or 404 if there is none; ``type=user|group|organization``
``PUT /v1/legal-holds/{subject_id}``        201, the subject is held; 200, what its hold says was changed, or is so
``DELETE /v1/legal-holds/{subject_id}``     204, what was held goes on; 404 if there is none
==========================================  ===================================================================

The list knows digests only, so it cannot tell whom it holds; it can only be asked about somebody.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from erasure.domain.canonical import canonical_json
from erasure.domain.holds import MAX_ALIASES
from erasure.domain.identifiers import check_idempotency_key, new_batch_id
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.fields import check_identifiers, check_moment
from erasure.entry.native import READ, check_fields, limit_of, subject_of
from erasure.entry.problem import problem
from erasure.errors import InvalidInputError
from erasure.services.holds import HoldCommand

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.domain.subject import Subject
    from erasure.ports import Hold
    from erasure.services.holds import HoldService
    from erasure.services.idempotent import Idempotency

WRITE = "holds:write"
MAX_REASON, MAX_AUTHOR = 500, 200
MAX_BODY_BYTES = 64 * 1024
"""All aliases as JSON escapes, and the rest."""

_ALL = "/v1/legal-holds"
_ONE = f"{_ALL}/{{subject_id}}"
_FIELDS = frozenset({"reason", "author", "until", "aliases"})
_CURSOR = re.compile("[0-9a-f]{64}")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class HoldsFamily:
    def __init__(self, holds: HoldService, idempotency: Idempotency) -> None:
        self._holds = holds
        self._idempotency = idempotency

    def routes(self) -> list[Route]:
        return [
            Route("GET", _ALL, BACKEND, self.list, READ),
            Route("GET", _ONE, BACKEND, self.show, READ),
            Route("PUT", _ONE, BACKEND, self.put, WRITE),
            Route("DELETE", _ONE, BACKEND, self.delete, WRITE),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def list(self, call: Call) -> Response[str]:
        cursor, limit = call.query("cursor"), limit_of(call)
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise InvalidInputError("cursor", "must be one that an earlier page gave")
        # One more than is shown, to know whether there is another page.
        found = self._holds.list(call.caller.tenant_id, after=cursor, limit=limit + 1)
        body: dict[str, Any] = {"legal_holds": [shown_hold(hold) for hold in found[:limit]]}
        if len(found) > limit:
            body["cursor"] = found[limit - 1].subject_digest
        return answer(200, body)

    def show(self, call: Call, subject_id: str) -> Response[str]:
        return answer(200, shown_hold(self._holds.get(_subject(call, subject_id))))

    def put(self, call: Call, subject_id: str) -> Response[str]:
        subject = _subject(call, subject_id)
        command = hold_command(call.json_object(MAX_BODY_BYTES), subject, call.caller.key_id)
        key = check_idempotency_key(call.header("Idempotency-Key"))
        until = None if command.until is None else format_time(command.until)
        meant = [subject.type, subject.id, command.reason, command.author, until, sorted(command.aliases)]

        def put(run_id: str) -> dict[str, Any]:
            made = self._holds.put(command, run_id)
            return {"is_new": made.is_new, "shown": {**shown_hold(made.hold), "held_requests": made.held_requests}}

        told = self._idempotency.run(subject.tenant_id, "holds.put", key, canonical_json(meant), new_batch_id(), put)
        return answer(201 if told["is_new"] else 200, told["shown"])

    def delete(self, call: Call, subject_id: str) -> Response[str]:
        subject, key_id = _subject(call, subject_id), call.caller.key_id
        key = check_idempotency_key(call.header("Idempotency-Key"))
        meant = canonical_json([subject.type, subject.id])

        def lift(run_id: str) -> None:
            self._holds.lift(subject, key_id, run_id)

        self._idempotency.run(subject.tenant_id, "holds.delete", key, meant, new_batch_id(), lift)
        return answer(204, None)


def _subject(call: Call, subject_id: str) -> Subject:
    if not call.query_names() <= {"type"}:
        # A misspelt type would name the user of that id instead of the group.
        raise InvalidInputError("query", "may only hold type")
    return subject_of(call, subject_id)


def hold_command(body: dict[str, Any], subject: Subject, key_id: str) -> HoldCommand:
    """From the body of a call. Raises ``InvalidInputError``."""
    check_fields(body, "body", _FIELDS)
    aliases = body.get("aliases", [])
    return HoldCommand(
        subject,
        _text(body.get("reason"), "reason", MAX_REASON),
        _text(body.get("author"), "author", MAX_AUTHOR),
        key_id,
        check_moment(body["until"], "until") if "until" in body else None,
        () if aliases == [] else check_identifiers(aliases, "aliases", MAX_ALIASES),
    )


def _text(value: object, field: str, most: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= most or value.isspace() or _FORBIDDEN.search(value):
        raise InvalidInputError(field, f"must be a text of 1 to {most} characters, without control characters")
    return value


def shown_hold(hold: Hold) -> dict[str, Any]:
    """As answers show it."""
    shown: dict[str, Any] = {
        "hold_id": hold.hold_id,
        "subject_type": hold.subject_type,
        "subject_digest": hold.subject_digest,
        "reason": hold.reason,
        "author": hold.author,
        "set_at": format_time(hold.set_at),
    }
    if hold.until is not None:
        shown["until"] = format_time(hold.until)
    return {**shown, "aliases": hold.aliases}
