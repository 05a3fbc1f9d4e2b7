"""A call to the service and its answer, apart from whoever carries them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

from erasure_client.errors import (
    BrokenRule,
    ConfigurationError,
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
_CODES = {
    400: "invalid_request",
    401: "missing_token",
    403: "insufficient_permissions",
    404: "resource_not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "invalid_request",
    429: "rate_limit_exceeded",
}
"""The service's words, for envelopes that have none."""

_CODE = re.compile("[A-Za-z_]{1,64}")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_LONGEST_MESSAGE = 1000
_HELD = "legal hold"
"""What the message of every 409 says that is about one, and of no other; there is no code for it."""


@dataclass(frozen=True, slots=True)
class Call:
    """``path``: below the base URL, with what it names encoded by :func:`segment`. ``what``: the same with names in
    their places, for texts. What changes something has an idempotency key, so that it may be sent again."""

    method: str
    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    idempotency_key: str | None = None
    read_timeout: float | None = None
    """Seconds that the answer may take, if that is more than the client's own timeout."""
    within: float | None = None
    """Seconds that are left for the call: no timeout is longer than that, whatever else is said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers``: with names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds. A moment, which the header may be too, counts from the answer's own ``Date``."""
        text = self.headers.get("retry-after", "").strip()
        if _SECONDS.fullmatch(text):
            return float(text)
        moment = _moment(text)
        if moment is None:
            return None
        sent_at = _moment(self.headers.get("date", "")) or datetime.now(UTC)
        return max(0.0, (moment - sent_at).total_seconds())

    @property
    def request_id(self) -> str | None:
        """The erasure request that the call led to."""
        return self.headers.get("x-erasure-request-id")

    def json(self) -> dict[str, Any]:
        """The body. Raises :class:`UnexpectedAnswerError` if it is no JSON object."""
        try:
            value = json.loads(self.content, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UnexpectedAnswerError("The answer is no JSON object. Is this the service's address?", self.status)
        return value


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def segment(text: str) -> str:
    """An id as one segment of a path. Dots by themselves are encoded too: they would be a way up. Raises
    :class:`ConfigurationError` for what is no id: without it, the path would be another one's."""
    if not isinstance(text, str) or not text:
        raise ConfigurationError("an id must be text, and not empty")
    try:
        encoded = quote(text, safe="")
    except UnicodeEncodeError:
        encoded = ""
    if not encoded:
        raise ConfigurationError("an id must be Unicode text: it has half of a surrogate pair")
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded


class _Envelope(NamedTuple):
    code: str | None
    message: str
    errors: list[BrokenRule]


def error_of(answer: Answer, call: Call) -> RefusedError | UnexpectedAnswerError:
    """The exception for an answer from 300 on, in whatever family's envelope it is."""
    status = answer.status
    if status < 400:
        return UnexpectedAnswerError("The service answers with a redirect. Is this its address?", status)
    envelope = _envelope(answer)
    if envelope is None and status < 500 and status != 429:
        # Whoever it was: a 404 of something else must not count as "there is no such request".
        return UnexpectedAnswerError(f"The answer ({status}) is not the service's. Is this its address?", status)
    known = envelope or _Envelope(None, f"The service answered with {status}.", [])
    kind = ServiceError if status >= 500 else _BY_STATUS.get(status, RefusedError)
    if kind is ConflictError:
        kind = PlanChangedError if known.code == "plan_changed" else HeldError if _HELD in known.message else kind
    return kind(
        known.message,
        status=status,
        code=known.code or _CODES.get(status, "internal_error" if status >= 500 else "refused"),
        errors=known.errors,
        call_id=answer.headers.get("x-request-id"),
        request_id=answer.request_id,
        retry_after=answer.retry_after,
        idempotency_key=call.idempotency_key,
    )


def _envelope(answer: Answer) -> _Envelope | None:
    """None for what is in nobody's envelope: the text of a stranger may hold the key, or the path with its ids.

    ``{"error": {"message", "status", "code"}}``, ``{"error", "message"}``, problem details with ``code`` and
    ``message``, and ``{"code": <status>, "message"}`` of the people's API and of API Gateway.
    """
    try:
        body = answer.json()
    except UnexpectedAnswerError:
        return None
    nested = body.get("error")
    inner = nested if isinstance(nested, dict) else body
    message = inner.get("message")
    words = (inner.get("status"),) if inner is nested else (nested, body.get("code"))
    code = next((word for word in words if isinstance(word, str) and _CODE.fullmatch(word)), None)
    if not isinstance(message, str) or not message or (code is None and inner.get("code") != answer.status):
        return None
    return _Envelope(code, message[:_LONGEST_MESSAGE], _rules(body.get("errors")))


def _rules(listed: Any) -> list[BrokenRule]:
    if not isinstance(listed, list):
        return []
    return [_rule(each) for each in listed if isinstance(each, dict)]


def _rule(told: Mapping[str, Any]) -> BrokenRule:
    reason = told.get("reason")
    return BrokenRule(str(told.get("field", "")), str(told.get("rule", "")), None if reason is None else str(reason))
