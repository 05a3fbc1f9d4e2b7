"""The API of subjects: routing, authentication, one map from exceptions to answers, the headers of every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayRestResolver, Response
from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

import erasure
from erasure.entry.exchange import OPEN, SUBJECT, Call, Route, answer
from erasure.entry.h2o import DELETE_ID_REJECTED, H2OFamily, SelfDeletion, error_body
from erasure.entry.settings import SubjectApiSettings
from erasure.entry.tokens import Principal
from erasure.errors import (
    AuthenticationError,
    ConflictError,
    DeleteIdRejectedError,
    ErasureError,
    InvalidInputError,
    NotFoundError,
    TransitionError,
    UnavailableError,
    places_of,
)

JSON_TYPE = "application/json"

ANSWERS: dict[type[Exception], tuple[int, str | None, dict[str, str]]] = {
    InvalidInputError: (400, None, {}),
    DeleteIdRejectedError: (400, DELETE_ID_REJECTED, {}),
    AuthenticationError: (401, "Sign in: a valid bearer token is needed.", {"WWW-Authenticate": "Bearer"}),
    NotFoundError: (404, "There is no such thing.", {}),
    ConflictError: (409, None, {}),
    TransitionError: (409, "The erasure request is not in a state that allows this.", {}),
    UnavailableError: (500, "This cannot be done at the moment. Please try again.", {"Retry-After": "5"}),
    Exception: (500, "Something went wrong on our side.", {}),
}
"""The one map from exceptions to answers: status, message (None: the exception's own, which is safe to show), headers.
The nearest base class counts. The family's statuses have no 503, so what is unavailable is a 500 too."""


class Verifier(Protocol):
    def verify(self, authorization: str | None) -> Principal: ...


class _Routed(APIGatewayProxyEvent):
    """What the resolver gets of an event: method and path, which it routes by. No headers: it only looks for gzip."""

    resolved_headers_field: dict[str, Any] = {}  # noqa: RUF012 - overrides a property; never written to


class _Resolver(APIGatewayRestResolver):
    def resolve(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """As Powertools does it, but the current event is kept in this object.

        Powertools assigns it to a class, for the sake of sub-routers, of which there are none here. Assigning to a
        class makes Python forget what it knows about the attributes of all classes below it, with each request:
        this and :class:`_Routed` save a quarter of the instructions of a call (``tests/bench/bench_accept.py``).
        """
        self.current_event = _Routed(dict(event))
        self.lambda_context = context
        try:
            return self._build_response(self._resolve())
        finally:
            self.context.clear()


class SubjectApi:
    """Answers API Gateway's REST proxy events, one at a time: the resolver holds the current one in itself."""

    def __init__(self, routes: Sequence[Route], verifier: Verifier, logger: Logger) -> None:
        self._verifier = verifier
        self._logger = logger
        self._methods: dict[str, set[str]] = {}
        # debug=False, or POWERTOOLS_DEV would print whole events: tokens, ids and all.
        self._resolver = _Resolver(debug=False)
        self._resolver.not_found(self._no_route)
        self._resolver.exception_handler(Exception)(self._failed)
        for route in routes:
            self._methods.setdefault(route.path, set()).add(route.method)
            rule = route.path.replace("{", "<").replace("}", ">")
            self._resolver.route(rule, route.method)(self._bound(route))

    def __call__(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        call = Call(event, context)
        self._resolver.context["call"] = call
        reply = self._resolver.resolve({"httpMethod": event["httpMethod"], "path": _own_path(event)}, context)
        headers = reply["multiValueHeaders"]
        headers["Content-Type"] = [JSON_TYPE]
        headers["Cache-Control"] = ["no-store"]
        headers["X-Request-Id"] = [call.request_id]
        if call.reason:
            self._log(call, reply["statusCode"])
        return reply

    def _bound(self, route: Route) -> Callable[..., Response[str]]:
        """The handler as the resolver calls it: the call authenticated if the route says so, then handed over."""
        context, verify, handler = self._resolver.context, self._verifier.verify, route.handler

        def as_subject(**values: str) -> Response[str]:
            call: Call = context["call"]
            call.route = route.path
            call.principal = verify(call.header("Authorization"))
            return handler(call, **values)

        def openly(**values: str) -> Response[str]:
            call: Call = context["call"]
            call.route = route.path
            return handler(call, **values)

        return {SUBJECT: as_subject, OPEN: openly}[route.auth]

    def _failed(self, error: Exception) -> Response[str]:
        call: Call = self._resolver.context["call"]
        status, message, headers = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
        call.reason = error.reason if isinstance(error, AuthenticationError) else type(error).__name__
        if not isinstance(error, ErasureError):
            self._log_bug(call, error)
        return answer(status, error_body(status, str(error) if message is None else message), dict(headers))

    def _no_route(self, _error: Exception) -> Response[str]:
        call: Call = self._resolver.context["call"]
        methods = self._methods.get(self._resolver.context["_path"].rstrip("/"))
        if methods is None:
            call.reason = "no_route"
            return answer(404, error_body(404, "There is no such path."))
        call.reason = "no_method"
        return answer(
            405, error_body(405, "This path does not know that method."), {"Allow": ", ".join(sorted(methods))}
        )

    def _log(self, call: Call, status: int) -> None:
        """One line for each refusal and failure, with the route's template instead of the path.

        What went well is in API Gateway's access log and, if it was accepted, in the audit trail. A line here for
        each of them would cost more instructions than everything else that the call does.
        """
        log = self._logger.error if status >= 500 else self._logger.info
        log("not done", extra=_log_fields(call, status=status, reason=call.reason))

    def _log_bug(self, call: Call, error: Exception) -> None:
        self._logger.error("unexpected", extra=_log_fields(call, kind=type(error).__name__, places=places_of(error)))


def make_subject_api(
    service: SelfDeletion, verifier: Verifier, settings: SubjectApiSettings, logger: Logger
) -> SubjectApi:
    """The API with all its families."""
    family = H2OFamily(service, settings.confirm_wait_seconds)
    return SubjectApi([*family.routes(), Route("GET", "/health", OPEN, _health)], verifier, logger)


def _health(_call: Call) -> Response[str]:
    return answer(200, {"status": "ok", "message": "ok", "version": erasure.__version__})


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


def _log_fields(call: Call, **fields: Any) -> dict[str, Any]:
    return {"request_id": call.request_id, "route": call.route, **fields}
