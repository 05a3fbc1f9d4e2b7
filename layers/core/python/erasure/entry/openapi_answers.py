"""The answers that the document tells of each route: what it answers, and every refusal in the envelopes of those who
may say it, which are the family, API Gateway, or both. For development time only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from erasure.entry import openapi_models as models
from erasure.entry import openapi_native as native
from erasure.entry.exchange import BACKEND, SUBJECT, Route
from erasure.entry.openapi_routes import H2O, HELLOJOHN, JUNE_TAG, NATIVE, SERVICE, VELT, Answer, Operation
from erasure.entry.problem import PROBLEM_TYPE
from erasure.entry.velt import _STATUS as VELT_STATUS

JSON_TYPE = "application/json"
_CALL = "5a3c1e1e-7f55-4a39-9a57-0a4f3d1b2c3d"


class Envelope(NamedTuple):
    """How a family tells an error. ``example``: its body, of a status, a code and a message."""

    model: Any
    example: Callable[[int, str, str], dict[str, Any]]
    media_type: str = JSON_TYPE


def _plain(status: int, _code: str, message: str) -> dict[str, Any]:
    return {"code": status, "message": message}


def _hellojohn(status: int, code: str, message: str) -> dict[str, Any]:
    shown = {"error": code, "message": "User not found." if status == 404 else message, "request_id": _CALL}
    return {**shown, "retry_after": 17} if status == 429 else shown


def _velt(status: int, _code: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "status": VELT_STATUS.get(status, "INTERNAL"), "code": status}}


def _june(_status: int, code: str, message: str) -> dict[str, Any]:
    return {"error": code, "message": message}


def _problem(status: int, code: str, message: str) -> dict[str, Any]:
    title = code.replace("_", " ").capitalize().replace("api", "API")
    shown = {"type": f"urn:erasure:problem:{code}", "title": title, "status": status, "detail": message}
    return {**shown, "code": code, "message": message}


ENVELOPES: Mapping[str, Envelope] = {
    H2O: Envelope(models.H2OError, _plain),
    HELLOJOHN: Envelope(models.HelloJohnError, _hellojohn),
    VELT: Envelope(models.VeltError, _velt),
    JUNE_TAG: Envelope(models.JuneError, _june),
    NATIVE: Envelope(native.Problem, _problem, PROBLEM_TYPE),
    SERVICE: Envelope(models.PlainError, _plain),
}

REFUSALS: Mapping[int, tuple[str, str, str]] = {
    400: ("invalid_request", "page: must be a whole number, 1 or more", "The call breaks a rule."),
    401: ("invalid_api_key", "The API key is not valid.", "There is no token or key, or none that is valid."),
    403: ("tenant_mismatch", "X-Tenant-ID is not the tenant of this key.", "The caller may not do this."),
    404: ("resource_not_found", "There is no such thing.", "There is no such thing, or it is somebody else's."),
    409: ("conflict", "Idempotency-Key: was used with another body", "It contradicts an earlier call, or the state."),
    422: ("validation_error", "user_id: must not be blank", "A field breaks a rule."),
    429: ("rate_limit_exceeded", "Too many requests with this key.", "Too many calls."),
    500: ("internal_error", "This cannot be done at the moment. Please try again.", "Trying again may help."),
}
"""Code and message of an example, and what the status means."""

OF_CALLERS = {SUBJECT: (401, 500), BACKEND: (400, 401, 403, 429, 500)}
"""With what every route refuses, by who may call it; those of nobody in particular only fail."""

GATEWAY = {
    400: "The request is not valid.",
    403: "Access denied.",
    404: "There is no such resource.",
    413: "The request is too large.",
    429: "Too many requests.",
    500: "Internal error.",
    502: "The service did not answer.",
    504: "The service did not answer in time.",
}
"""What API Gateway itself may say of any call, as the template words it."""


def responses_of(route: Route, operation: Operation) -> dict[int, Any]:
    refused = _refused_by(route, operation)
    responses = {status: _answered(route, answer) for status, answer in operation.answers.items()}
    responses |= {status: _refused(route, operation, status, refused) for status in sorted(refused | GATEWAY.keys())}
    return dict(sorted(responses.items()))


def _answered(route: Route, answer: Answer) -> dict[str, Any]:
    headers = {"X-Request-Id": True, **dict.fromkeys(answer.headers, True)}
    if answer.accepted is not False:
        headers["X-Erasure-Request-Id"] = answer.accepted is True
    if route.auth == BACKEND:
        headers |= dict.fromkeys(_RATE_HEADERS, True)
    content: dict[str, Any] = {}
    if answer.model is not None:
        content[answer.media_type] = {"model": answer.model}
        if answer.example is not None:
            content[answer.media_type]["examples"] = {"example": {"value": answer.example}}
    return {"description": answer.description, "headers": _headers(headers), "content": content}


def _refused_by(route: Route, operation: Operation) -> set[int]:
    """The statuses of the family's refusals."""
    return {*OF_CALLERS.get(route.auth, (500,)), *operation.refused}


def _refused(route: Route, operation: Operation, status: int, refused: set[int]) -> dict[str, Any]:
    """An error, in the envelopes of those who may say it: the family's, API Gateway's or both."""
    said: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {}
    headers, description = {"X-Request-Id": True}, GATEWAY.get(status, "")
    if status in refused:
        envelope = ENVELOPES[operation.tag]
        code, message, description = REFUSALS[status]
        if (status, route.auth) == (401, SUBJECT):
            message = "Sign in: a valid bearer token is needed."
        said[envelope.media_type] = {"service": (envelope.model, envelope.example(status, code, message))}
        if route.auth == BACKEND:
            headers |= dict.fromkeys(_RATE_HEADERS, False)
    if status in GATEWAY:
        shown = _plain(status, "", GATEWAY[status])
        said.setdefault(JSON_TYPE, {})["gateway"] = (models.PlainError, shown)
    if status == 401:
        headers["WWW-Authenticate"] = True
    if status in (429, 500):
        headers["Retry-After"] = status == 429
    if status in operation.accepted_anyway:
        headers["X-Erasure-Request-Id"] = False
    content = {media_type: _any_of(ways) for media_type, ways in said.items()}
    return {"description": description, "headers": _headers(headers), "content": content}


def _any_of(ways: Mapping[str, tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    """A content that is one of ``ways``: by a name, model and example."""
    model = reduce(or_, [model for model, _ in ways.values()])
    return {"model": model, "examples": {name: {"value": example} for name, (_, example) in ways.items()}}


def error_names(route: Route, operation: Operation) -> dict[str, str]:
    """What an operation's errors are called among those that operations share, by status."""
    refused = _refused_by(route, operation)
    names = {str(status): f"Gateway.{status}" for status in GATEWAY}
    names |= {str(status): f"{operation.tag}.{status}" for status in refused}
    return names | {str(status): f"{operation.tag}.{status}.accepted" for status in operation.accepted_anyway}


_RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": ("The call's id, for questions about it.", {"type": "string"}),
    "X-Erasure-Request-Id": (
        "The request that was accepted, or the batch of several.",
        {"type": "string", "pattern": "^e[rb]_[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
    ),
    "X-RateLimit-Limit": ("Calls that the key may make in a minute.", {"type": "integer", "minimum": 1}),
    "X-RateLimit-Remaining": ("Calls that are left in this one.", {"type": "integer", "minimum": 0}),
    "X-RateLimit-Reset": ("When the next one begins, in epoch seconds.", {"type": "integer", "minimum": 0}),
    "Retry-After": ("Seconds after which to call again.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("How to sign in.", {"type": "string"}),
}


def _headers(wanted: Mapping[str, bool]) -> dict[str, Any]:
    """``wanted``: by name, whether an answer always has it."""
    return {
        name: {"description": _HEADERS[name][0], "required": always, "schema": _HEADERS[name][1]}
        for name, always in wanted.items()
    }
