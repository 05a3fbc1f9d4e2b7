"""An API of wire families: routing, authentication, one map from exceptions to refusals, the headers of every answer.

Path parameters. API Gateway's REST APIs hand paths over as they were sent, percent-encoded; routes are matched on that
form, and a value is decoded exactly once, by :func:`decoded`. Decoding twice, or not at all, would name another person.
Emulators that hand decoded paths over are told by ``paths_are_encoded=False``: those are encoded first. Gateways and
the router let slashes at the end of a path go; behind an id that could be a part of it, and what is left another
person's. On routes of backends such a path is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote_to_bytes

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayRestResolver, Response, ResponseBuilder
from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from erasure.entry.exchange import BACKEND, OPEN, SUBJECT, Call, Refusal
from erasure.errors import (
    AlreadyDeletedError,
    AlreadyOpenError,
    AuthenticationError,
    ConflictError,
    DeleteIdRejectedError,
    ErasureError,
    ForbiddenError,
    InvalidInputError,
    KeyRefusedError,
    NotFoundError,
    PlanChangedError,
    RateLimitedError,
    TransitionError,
    UnavailableError,
    places_of,
)

if TYPE_CHECKING:
    from erasure.entry.exchange import Caller, Family, Route
    from erasure.entry.tokens import Principal

JSON_TYPE = "application/json"

REFUSALS: dict[type[Exception], Refusal] = {
    InvalidInputError: Refusal(400, "invalid_request", "", {}),
    DeleteIdRejectedError: Refusal(400, "invalid_request", "The delete id is not valid.", {}),
    AuthenticationError: Refusal(
        401, "missing_token", "Sign in: a valid bearer token is needed.", {"WWW-Authenticate": "Bearer"}
    ),
    ForbiddenError: Refusal(403, "insufficient_permissions", "", {}),
    NotFoundError: Refusal(404, "resource_not_found", "There is no such thing.", {}),
    AlreadyDeletedError: Refusal(404, "resource_not_found", "There is no such thing.", {}),
    ConflictError: Refusal(409, "conflict", "", {}),
    PlanChangedError: Refusal(409, "plan_changed", "", {}),
    AlreadyOpenError: Refusal(409, "conflict", "", {}),
    TransitionError: Refusal(409, "conflict", "The erasure request is not in a state that allows this.", {}),
    RateLimitedError: Refusal(429, "rate_limit_exceeded", "", {}),
    UnavailableError: Refusal(
        500, "internal_error", "This cannot be done at the moment. Please try again.", {"Retry-After": "5"}
    ),
    Exception: Refusal(500, "internal_error", "Something went wrong on our side.", {}),
}
"""The one map from exceptions to refusals; the nearest base class counts. Without a message: the exception's own, which
is safe to show. The families' statuses have no 503, so what is unavailable is a 500 too."""

_KEY_REFUSALS = {
    "missing_token": "An API key is needed.",
    "invalid_api_key": "The API key is not valid.",
}

_WRONG_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Verifier(Protocol):
    """Who checks the tokens of subjects."""

    def verify(self, authorization: str | None) -> Principal: ...


class KeyChecker(Protocol):
    """Who checks the keys of backends; see :class:`erasure.entry.backend_auth.KeyVerifier`."""

    def authenticate(self, call: Call, scope: str) -> Caller: ...


class _Routed(APIGatewayProxyEvent):
    """What the resolver gets of an event: method and path, which it routes by. No headers: it only looks for gzip."""

    resolved_headers_field: dict[str, Any] = {}  # noqa: RUF012 - overrides a property; never written to


class _Resolver(APIGatewayRestResolver):
    def __init__(self) -> None:
        # debug=False, or POWERTOOLS_DEV would print whole events: tokens, ids and all.
        super().__init__(debug=False)
        # Powertools' is the class with a type argument, and typing takes its time to make an object of one.
        self._response_builder_class: Any = ResponseBuilder

    def resolve(self, event: Any, context: Any) -> dict[str, Any]:
        """As Powertools does it, but the current event is kept in this object, and not copied: it was made for this.

        Powertools assigns it to a class, for the sake of sub-routers, of which there are none here. Assigning to a
        class makes Python forget what it knows about the attributes of all classes below it, with each request:
        this and :class:`_Routed` save a quarter of the instructions of a call (``tests/bench/bench_accept.py``).
        """
        self.current_event = _Routed(event)
        self.lambda_context = context
        try:
            return self._build_response(self._resolve())
        finally:
            self.context.clear()


class Api:
    """Answers API Gateway's REST proxy events, one at a time: the resolver holds the current one in itself.

    ``subjects``, ``backends``: who checks callers of routes with :data:`SUBJECT` and :data:`BACKEND`. ``default``: the
    family whose envelope says that there is no such path. ``routes``: all of them, for whoever describes the API.
    """

    def __init__(
        self,
        families: Iterable[Family],
        logger: Logger,
        *,
        default: Family,
        subjects: Verifier | None = None,
        backends: KeyChecker | None = None,
        paths_are_encoded: bool = True,
    ) -> None:
        self._subjects = subjects
        self._backends = backends
        self._logger = logger
        self._default = default
        self._paths_are_encoded = paths_are_encoded
        self._methods: dict[str, set[str]] = {}
        self.routes: list[Route] = []
        self._resolver = _Resolver()
        self._resolver.not_found(self._no_route)
        self._resolver.exception_handler(Exception)(self._failed)
        for family in families:
            for route in family.routes():
                self.routes.append(route)
                self._methods.setdefault(route.path, set()).add(route.method)
                rule = route.path.replace("{", "<").replace("}", ">")
                self._resolver.route(rule, route.method)(self._bound(family, route))

    def __call__(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        call = Call(event, context)
        self._resolver.context["call"] = call
        path = _own_path(event)
        if not self._paths_are_encoded:
            path = quote(path, safe="/")
        reply = self._resolver.resolve({"httpMethod": event["httpMethod"], "path": path}, context)
        headers = reply["multiValueHeaders"]
        headers.setdefault("Content-Type", [JSON_TYPE])
        headers["Cache-Control"] = ["no-store"]
        headers["X-Request-Id"] = [call.request_id]
        if call.rate is not None:
            for name, number in zip(_RATE_HEADERS, call.rate, strict=True):
                headers[name] = [str(number)]
        if call.reason:
            self._log(call, reply["statusCode"])
        return reply

    def _bound(self, family: Family, route: Route) -> Callable[..., Response[str]]:
        """The handler as the resolver calls it: the caller checked as the route says, then the call handed over."""
        context, handler, path, scope = self._resolver.context, route.handler, route.path, route.scope
        ends_in_id = path.endswith("}")

        def as_subject(**values: str) -> Response[str]:
            call: Call = context["call"]
            call.route, call.family = path, family
            call.principal = verify(call.header("Authorization"))
            # Not decoded: subjects' paths name requests only, whose ids need no escape. Any other spelling is none.
            return handler(call, **values)

        def as_backend(**values: str) -> Response[str]:
            call: Call = context["call"]
            call.route, call.family = path, family
            call.caller = authenticate(call, scope)
            if ends_in_id and call.ends_in_slash():
                raise InvalidInputError([*values][-1], "must have no slash behind it; one that is part of it is %2F")
            return handler(call, **_all_decoded(values)) if values else handler(call)

        def openly(**values: str) -> Response[str]:
            call: Call = context["call"]
            call.route, call.family = path, family
            return handler(call, **_all_decoded(values)) if values else handler(call)

        if route.auth == SUBJECT and self._subjects is not None:
            verify = self._subjects.verify
            return as_subject
        if route.auth == BACKEND and self._backends is not None and scope:
            authenticate = self._backends.authenticate
            return as_backend
        if route.auth == OPEN:
            return openly
        raise ValueError(f"nobody checks the callers of {route.method} {path}")

    def _failed(self, error: Exception) -> Response[str]:
        call: Call = self._resolver.context["call"]
        call.reason = _reason_of(error)
        if not isinstance(error, ErasureError):
            self._log_bug(call, error)
        return (call.family or self._default).refuse(call, error, refusal_of(error))

    def _no_route(self, error: Exception) -> Response[str]:
        call: Call = self._resolver.context["call"]
        methods = self._methods.get(self._resolver.context["_path"].rstrip("/"))
        if methods is None:
            call.reason = "no_route"
            refusal = Refusal(404, "resource_not_found", "There is no such path.", {})
        else:
            call.reason = "no_method"
            allowed = {"Allow": ", ".join(sorted(methods))}
            refusal = Refusal(405, "method_not_allowed", "This path does not know that method.", allowed)
        return self._default.refuse(call, error, refusal)

    def _log(self, call: Call, status: int) -> None:
        """One line for each refusal and failure, with the route's template instead of the path.

        What went well is in API Gateway's access log and, if it was accepted, in the audit trail. A line here for
        each of them would cost more instructions than everything else that the call does.
        """
        log = self._logger.error if status >= 500 else self._logger.info
        log("not done", extra=_log_fields(call, status=status, reason=call.reason))

    def _log_bug(self, call: Call, error: Exception) -> None:
        self._logger.error("unexpected", extra=_log_fields(call, kind=type(error).__name__, places=places_of(error)))


_RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def refusal_of(error: Exception) -> Refusal:
    """What most families say to ``error``."""
    known = next(REFUSALS[kind] for kind in type(error).__mro__ if kind in REFUSALS)
    if isinstance(error, KeyRefusedError):
        return known._replace(code=error.reason, message=_KEY_REFUSALS[error.reason])
    if isinstance(error, ForbiddenError):
        known = known._replace(code=error.reason)
    elif isinstance(error, RateLimitedError):
        known = known._replace(headers={"Retry-After": str(error.retry_after)})
    # A copy of the headers: whoever answers may add to them.
    return known._replace(message=known.message or str(error), headers=dict(known.headers))


def decoded(text: str, name: str) -> str:
    """A path parameter as it was meant. Raises :class:`InvalidInputError` for what is not percent-encoded UTF-8."""
    if "%" not in text and text.isascii():
        return text
    if _WRONG_ESCAPE.search(text) or not text.isascii():
        raise InvalidInputError(name, "must be percent-encoded in a path")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidInputError(name, "must be UTF-8, percent-encoded, in a path") from None


def _all_decoded(values: Mapping[str, str]) -> dict[str, str]:
    return {name: decoded(value, name) for name, value in values.items()}


def _own_path(event: Mapping[str, Any]) -> str:
    """The path below wherever the API is mounted.

    Behind a custom domain, ``path`` begins with its base path. ``resource`` is the template of the matched route and
    says how many segments at the end are ours.
    """
    path: str = event["path"]
    resource: str = event.get("resource") or path
    if resource == path or "+}" in resource:
        return path
    segments = path.rstrip("/").split("/")[-resource.count("/") :]
    return "/" + "/".join(segments)


def _reason_of(error: Exception) -> str:
    return error.reason if isinstance(error, AuthenticationError | ForbiddenError) else type(error).__name__


def _log_fields(call: Call, **fields: Any) -> dict[str, Any]:
    return {"request_id": call.request_id, "route": call.route, **fields}
