"""The June family: requests to delete a user or a group, and lists of them. What is deleted is suppressed as well.

All under ``/api/platform/data_management``:

================================  ==========================================================================
``POST user_deletion_request``    200, the request; if the user has an open one already, that one
``GET user_deletion_requests``    200, a page of them, newest first; ``state`` and ``page`` are optional
``POST group_deletion_request``   the same for a group: its data, not its members
``GET group_deletion_requests``
================================  ==========================================================================
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import check_identifier
from erasure.domain.request import FINISHED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import GROUP, USER, Subject
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.fields import claim_of
from erasure.errors import InvalidInputError
from erasure.services.erasures import ErasureCommand, ErasureService

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

FAMILY = "june"
WRITE, READ = "erasure:write", "erasure:read"
PER_PAGE = 25
_PREFIX = "/api/platform/data_management"

STATES: dict[str, tuple[str, ...]] = {
    "requested": (REQUESTED, HELD),
    "started": (STARTED,),
    "finished": (FINISHED,),
}
"""The family's states, by ours. What was cancelled is not listed."""

_SHOWN_AS = {state: name for name, states in STATES.items() for state in states}
# What int() would take as well ("+1", "1_0", "１") is no page.
_PAGE = re.compile("[0-9]{1,9}")


class JuneFamily:
    def __init__(self, erasures: ErasureService) -> None:
        self._erasures = erasures

    def routes(self) -> list[Route]:
        routes = []
        for kind in (USER, GROUP):
            create, listing = partial(self.create, kind=kind), partial(self.list, kind=kind)
            routes += [
                Route("POST", f"{_PREFIX}/{kind}_deletion_request", BACKEND, create, WRITE),
                Route("GET", f"{_PREFIX}/{kind}_deletion_requests", BACKEND, listing, READ),
            ]
        return routes

    def create(self, call: Call, *, kind: str) -> Response[str]:
        field = f"{kind}_id"
        subject_id = check_identifier(call.json_object().get(field), field)
        tenant_id = call.caller.tenant_id
        accepted = self._erasures.create(
            ErasureCommand(
                tenant_id,
                FAMILY,
                (Subject(tenant_id, subject_id, kind),),
                call.caller.key_id,
                field_of=lambda _position: field,
                only_one_open=True,
                takes_grace=True,
                suppress=True,
                idempotency=claim_of(call, f"june.{kind}", [subject_id]),
            )
        )
        request = accepted.dispositions[0].request
        assert request is not None  # noqa: S101 - one subject: it is accepted, open already, or create has raised
        return answer(200, _shown(request), {"X-Erasure-Request-Id": request.request_id})

    def list(self, call: Call, *, kind: str) -> Response[str]:
        states, page = _states(call.query("state")), _page(call.query("page"))
        requests, total = self._erasures.numbered_page(
            call.caller.tenant_id, family=FAMILY, subject_type=kind, states=states, page=page, per_page=PER_PAGE
        )
        data = [_shown(request) for request in requests]
        return answer(200, {"data": data, "page": page, "per_page": PER_PAGE, "total": total})

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:  # noqa: ARG002 - the protocol's
        return answer(refusal.status, {"error": refusal.code, "message": refusal.message}, refusal.headers)


def _shown(request: ErasureRequest) -> dict[str, Any]:
    """``user_id`` (or ``group_id``) is null when the request's own copy of the id has been purged."""
    subject = request.subject
    shown: dict[str, Any] = {
        "id": request.request_id,
        f"{subject.type}_id": subject.id or None,
        "state": _SHOWN_AS.get(request.state, request.state),
        "requested_at": format_time(request.requested_at),
    }
    if request.started_at is not None:
        shown["started_at"] = format_time(request.started_at)
    if request.finished_at is not None:
        shown["finished_at"] = format_time(request.finished_at)
    shown["due_at"] = format_time(request.due_at)
    shown["purged_by"] = format_time(request.purged_by)
    if request.attention:
        shown["attention"] = True
    return shown


def _states(text: str | None) -> tuple[str, ...]:
    if text is None:
        return tuple(state for states in STATES.values() for state in states)
    if text not in STATES:
        raise InvalidInputError("state", f"must be one of {', '.join(STATES)}")
    return STATES[text]


def _page(text: str | None) -> int:
    if text is None:
        return 1
    if not _PAGE.fullmatch(text) or int(text) < 1:
        raise InvalidInputError("page", "must be a whole number, 1 or more")
    return int(text)
