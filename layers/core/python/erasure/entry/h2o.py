"""The H2O family: two-step self-deletion, wire-compatible with the ``h2ogpte`` client.

========================================  ==========================================================================
``DELETE /users/current``                 200 ``{"delete_id", "expires_at"}``
``POST /users/current/confirm-delete``    204 once everything is erased and verified; 202 while it is not
``GET /users/current/deletion-preview``   200, what a deletion would find now (ours); nothing is written
``GET /users/current/erasure-requests/…`` 200, how far a request is (ours; what a 202 points to)
``GET /rpc/meta``                         200, the handshake that the client makes first
========================================  ==========================================================================

The deletion's own paths are served under ``/api/v1`` as well, which is where the client calls them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import erasure
from erasure.domain.identifiers import check_idempotency_key, is_request_id
from erasure.domain.request import CANCELLED, FINISHED, HELD
from erasure.domain.times import format_time
from erasure.entry.exchange import SUBJECT, Call, Refusal, Route, answer
from erasure.errors import DeleteIdRejectedError, InvalidInputError, NotFoundError
from erasure.services.self_deletion import HELD_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.domain.subject import Subject
    from erasure.services.erasure_plans import ErasurePlans
    from erasure.services.self_deletion import IssuedDeleteId, RequestView

DEFAULT_TIMEOUT_SECONDS = 300.0
ANSWER_MARGIN_SECONDS = 2.0
"""Left of the function's time for writing the answer."""

RETRY_AFTER_SECONDS = "5"

# What float() would take as well ("1_0", " 5 ", "１") is none of the contract's "int or float text".
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")
_CLIENT_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,64}")


class SelfDeletion(Protocol):
    """What this family needs; :class:`erasure.services.self_deletion.SelfDeletionService` is it."""

    def issue_delete_id(self, subject: Subject, *, idempotency_key: str | None = None) -> IssuedDeleteId: ...

    def confirm(self, subject: Subject, delete_id: object, *, idempotency_key: str | None = None) -> str: ...

    def wait(self, subject: Subject, request_id: str, seconds: float) -> RequestView: ...

    def status(self, subject: Subject, request_id: str) -> RequestView: ...


class H2OFamily:
    """``confirm_wait_seconds``: how long a confirmation may hold the line, whatever ``timeout`` the caller allows.
    ``plans``: made when they are first asked for."""

    def __init__(self, service: SelfDeletion, confirm_wait_seconds: float, plans: Callable[[], ErasurePlans]) -> None:
        self._service = service
        self._plans = plans
        self._confirm_wait_seconds = confirm_wait_seconds

    def routes(self) -> list[Route]:
        """The paths with ``/api/v1`` first: routes are tried in order, and that is where the traffic is."""
        routes = []
        for prefix in ("/api/v1", ""):
            routes += [
                Route("POST", f"{prefix}/users/current/confirm-delete", SUBJECT, self.confirm_deletion),
                Route("DELETE", f"{prefix}/users/current", SUBJECT, self.request_deletion),
                Route("GET", f"{prefix}/users/current/erasure-requests/{{request_id}}", SUBJECT, self.show_request),
            ]
        return [
            *routes,
            Route("GET", "/users/current/deletion-preview", SUBJECT, self.preview_deletion),
            Route("GET", "/rpc/meta", SUBJECT, self.describe),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:  # noqa: ARG002 - the protocol's
        message = DELETE_ID_REJECTED if isinstance(error, DeleteIdRejectedError) else refusal.message
        return answer(refusal.status, error_body(refusal.status, message), refusal.headers)

    def request_deletion(self, call: Call) -> Response[str]:
        """Step one: hand out a delete id."""
        key = check_idempotency_key(call.header("Idempotency-Key"))
        issued = self._service.issue_delete_id(call.principal.subject, idempotency_key=key)
        return answer(200, {"delete_id": issued.delete_id, "expires_at": format_time(issued.expires_at)})

    def confirm_deletion(self, call: Call) -> Response[str]:
        """Step two: consume the delete id and wait for the erasure as long as the caller and the gateway allow."""
        # All that can be wrong with the call is found before the delete id is consumed.
        timeout = _timeout(call.query("timeout"))
        key = check_idempotency_key(call.header("Idempotency-Key"))
        delete_id = call.json_object().get("delete_id")
        subject = call.principal.subject
        # What is no text is no id of anybody. It still takes the way of the wrong ones, and their time.
        request_id = self._service.confirm(
            subject, delete_id if isinstance(delete_id, str) else None, idempotency_key=key
        )
        seconds = min(timeout, self._confirm_wait_seconds, call.remaining_seconds() - ANSWER_MARGIN_SECONDS)
        try:
            view = self._service.wait(subject, request_id, max(0.0, seconds))
        except Exception:
            # The erasure is accepted and will happen. Only its progress cannot be read now: an error here would
            # take the request id from the person, who has no delete id any more to try again with.
            call.reason = "progress_unknown"
            return _accepted(call, request_id)
        return _outcome(call, view)

    def preview_deletion(self, call: Call) -> Response[str]:
        """What a deletion would find now."""
        from erasure.entry.previews import shown_preview
        from erasure.services.commands import ErasureCommand
        from erasure.services.self_deletion import FAMILY

        subject = call.principal.subject
        command = ErasureCommand(subject.tenant_id, FAMILY, (subject,), key_id="", field_of=lambda _: "user id")
        (plan,) = self._plans().make(command)
        targets = [{"target": preview.target, **shown_preview(preview)} for preview in plan.targets]
        return answer(200, {"plan_hash": plan.plan_hash, "targets": targets})

    def show_request(self, call: Call, request_id: str) -> Response[str]:
        """How far one of the caller's own requests is."""
        if not is_request_id(request_id):
            raise NotFoundError("there is no such erasure request")
        view = self._service.status(call.principal.subject, request_id)
        body: dict[str, Any] = {
            "request_id": view.request_id,
            "state": view.state,
            "attention": view.attention,
            "requested_at": format_time(view.requested_at),
            "due_at": format_time(view.due_at),
        }
        if view.scan_at is not None:
            body["scan_at"] = format_time(view.scan_at)
        if view.finished_at is not None:
            body["finished_at"] = format_time(view.finished_at)
        body["targets"] = [outcome.to_dict() for outcome in view.outcomes]
        return answer(200, body)

    def describe(self, call: Call) -> Response[str]:
        """The handshake. A client that is told its own version back does not complain about ours."""
        version = call.header("X-Client-Version") or ""
        principal = call.principal
        body = {
            "version": version if _CLIENT_VERSION.fullmatch(version) else erasure.__version__,
            "build": erasure.__version__,
            "username": principal.username,
            "user_id": principal.subject.id,
            "subject": principal.token_subject,
            "email": principal.email,
            **_META,
        }
        return answer(200, body)


_META: dict[str, Any] = {
    "is_guest": False,
    "license_expired": False,
    "license_expiry_date": "",
    "global_configs": [],
    "user_configs": [],
    "picture": None,
    "groups": None,
    "workspaces": None,
    "permissions": [],
    "ui_config": {
        "logo": "",
        "chat_logo": "",
        "primary_color": "",
        "chat_name": "",
        "greeting": "",
        "show_private_button": False,
        "show_workers_status": False,
        "show_live_logs": False,
        "show_eval": False,
        "show_extractors": False,
        "public_mode": False,
    },
}


def error_body(status: int, message: str) -> dict[str, Any]:
    """The family's error envelope; its client fails on one without ``message``."""
    return {"code": status, "message": message}


DELETE_ID_REJECTED = "The delete id is not valid. Request a new one and confirm it within its time."
"""One text for wrong, reused, expired, malformed and unknown ids: nobody is to learn which it was."""


def _timeout(text: str | None) -> float:
    """Seconds. Raises :class:`InvalidInputError` for what is negative, no number or no finite one."""
    if text is None:
        return DEFAULT_TIMEOUT_SECONDS
    if not _SECONDS.fullmatch(text):
        raise InvalidInputError("timeout", "must be a number of seconds, 0 or more")
    return float(text)


def _outcome(call: Call, view: RequestView) -> Response[str]:
    """The answer to a confirmation, by what has become of the request in the meantime.

    The client takes every 2xx as "my data is gone". 204 says so and is kept for exactly that. 202 is what the
    contract prescribes while the erasure is on its way; it is also said of what the law or a lock keeps, whose status
    tells until when. When it is known not to come to its end by itself, because
    something could not be erased or it was stopped, that is said at once, as an error, and not covered by a 202.
    """
    if view.attention:
        message = "Not everything could be erased yet. The operators have been told; nothing needs to be sent again."
        return _not_done(call, view, 500, "attention", message)
    if view.state == FINISHED and view.is_gone:  # the state first: most calls are answered before it is finished
        return answer(204, None, {"X-Erasure-Request-Id": view.request_id})
    if view.state == HELD:
        return _not_done(call, view, 409, HELD, HELD_MESSAGE)
    if view.state == CANCELLED:
        message = "The erasure was accepted but is not being carried out at present."
        return _not_done(call, view, 409, CANCELLED, message)
    return _accepted(call, view.request_id)


def _not_done(call: Call, view: RequestView, status: int, reason: str, message: str) -> Response[str]:
    call.reason = reason
    body = {**error_body(status, message), **_whereabouts(call, view.request_id)}
    return answer(status, body, {"X-Erasure-Request-Id": view.request_id})


def _accepted(call: Call, request_id: str) -> Response[str]:
    headers = {"X-Erasure-Request-Id": request_id, "Retry-After": RETRY_AFTER_SECONDS}
    return answer(202, _whereabouts(call, request_id), headers)


def _whereabouts(call: Call, request_id: str) -> dict[str, str]:
    """``status_url`` is relative to the URL that was called: an absolute path, or less where ours is not known."""
    parent = call.mounted_at()
    relative = f"erasure-requests/{request_id}"
    return {"request_id": request_id, "status_url": relative if parent is None else f"{parent}/{relative}"}
