"""A call to the service and its answer, apart from whoever carries them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from erasure_client.errors import (
    BrokenRule,
    ConflictError,
    HeldError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    PlanChangedError,
    RefusedError,
    ServiceError,
    TooManyCallsError,
    UnexpectedAnswerError,
)

_BY_STATUS: Mapping[int, type[RefusedError]] = {
    400: InvalidRequestError,
    401: NotSignedInError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: TooManyCallsError,
}
_SECONDS = re.compile("[0-9]{1,6}")
_HELD = "legal hold"
"""What the message of every 409 says that is about one; there is no code for it."""


@dataclass(frozen=True, slots=True)
class Call:
    """``path``: below the base URL, with what it names encoded by :func:`segment`. ``what``: the same with names in
    their places, for texts. ``mutates``: it is sent with an idempotency key, so that it may be sent again."""

    method: str
    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    idempotency_key: str | None = None
    read_timeout: float | None = None
    """Seconds to wait for the answer, where that is not the client's own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers``: with names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def retry_after(self) -> float | None:
        text = self.headers.get("retry-after", "")
        return float(text) if _SECONDS.fullmatch(text) else None

    @property
    def request_id(self) -> str | None:
        """The erasure request that the call led to."""
        return self.headers.get("x-erasure-request-id")

    def json(self) -> dict[str, Any]:
        """The body. Raises :class:`UnexpectedAnswerError` if it is no JSON object."""
        try:
            value = json.loads(self.content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise UnexpectedAnswerError("The answer is no JSON object. Is this the service's address?", self.status)
        return value


def segment(text: str) -> str:
    """An id as one segment of a path. Dots by themselves are encoded too: they would be a way up."""
    encoded = quote(text, safe="")
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded


def error_of(answer: Answer, call: Call) -> RefusedError | UnexpectedAnswerError:
    """The exception for an answer from 300 on, in whatever family's envelope it is."""
    if answer.status < 400:
        return UnexpectedAnswerError("The service answers with a redirect. Is this its address?", answer.status)
    try:
        body = answer.json()
    except UnexpectedAnswerError as error:
        if answer.status < 500:
            return error
        body = {}
    nested = body.get("error")
    envelope = nested if isinstance(nested, dict) else body
    message = str(envelope.get("message") or body.get("detail") or f"The service answered with {answer.status}.")
    code = _code(body, nested, envelope, answer.status)
    kind = ServiceError if answer.status >= 500 else _BY_STATUS.get(answer.status, RefusedError)
    if kind is ConflictError:
        kind = PlanChangedError if code == "plan_changed" else HeldError if _HELD in message else ConflictError
    return kind(
        message,
        status=answer.status,
        code=code,
        errors=_rules(body.get("errors")),
        call_id=answer.headers.get("x-request-id"),
        request_id=answer.request_id,
        retry_after=answer.retry_after,
        idempotency_key=call.idempotency_key,
    )


def _code(body: Mapping[str, Any], nested: Any, envelope: Mapping[str, Any], status: int) -> str:
    for value in (nested, body.get("code"), envelope.get("status")):
        if isinstance(value, str):
            return value
    return _WORDS.get(status, "internal_error" if status >= 500 else "refused")


_WORDS = {
    400: "invalid_request",
    401: "missing_token",
    403: "insufficient_permissions",
    404: "resource_not_found",
    409: "conflict",
    413: "invalid_request",
    429: "rate_limit_exceeded",
}
"""The service's words, for envelopes that have none."""


def _rules(listed: Any) -> list[BrokenRule]:
    if not isinstance(listed, list):
        return []
    return [
        BrokenRule(str(each.get("field", "")), str(each.get("rule", ""))) for each in listed if isinstance(each, dict)
    ]
