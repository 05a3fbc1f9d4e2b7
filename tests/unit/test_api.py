"""The API around the families: paths, callers, refusals and the headers of every answer."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from aws_lambda_powertools.event_handler.api_gateway import Response
from aws_lambda_powertools.logging import Logger
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.identifiers import check_identifier
from erasure.entry.api import Api, decoded
from erasure.entry.exchange import BACKEND, OPEN, Call, Caller, Refusal, Route, answer
from erasure.errors import (
    AlreadyDeletedError,
    AlreadyOpenError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    KeyRefusedError,
    MalformedBodyError,
    NotFoundError,
    RateLimitedError,
    TransitionError,
    UnavailableError,
)

IDENTIFIERS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=256).filter(
    lambda text: not text.isspace()
)


class Plain:
    """A family that repeats what it was asked for, or raises what it was told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[dict[str, str]] = []

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/things/{thing_id}", OPEN, self.handle),
            Route("POST", "/things/{thing_id}/parts/{part_id}", OPEN, self.handle),
            Route("GET", "/guarded", BACKEND, self.handle, "users:read"),
        ]

    def handle(self, _call: Call, **values: str) -> Response[str]:
        if self.error is not None:
            raise self.error
        self.seen.append(values)
        return answer(200, {})

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:  # noqa: ARG002
        return answer(refusal.status, {"error": refusal.code, "message": refusal.message}, refusal.headers)


class Anybody:
    """Takes every caller for a backend with one call left."""

    def authenticate(self, call: Call, scope: str) -> Caller:
        call.rate = (2, 1, 60)
        return Caller("key", "acme", frozenset({scope}))


def make(family: Plain, *, encoded: bool = True) -> tuple[Api, io.StringIO]:
    log = io.StringIO()
    # Loggers of one name are one logger with the first one's stream.
    logger = Logger(service=f"api-{uuid4()}", stream=log)
    return Api([family], logger, default=family, backends=Anybody(), paths_are_encoded=encoded), log


def ask(api: Api, path: str, method: str = "GET", resource: str | None = None) -> Mapping[str, Any]:
    context = {"requestId": "request", "path": path}
    return api(
        {"httpMethod": method, "path": path, "resource": resource or path, "headers": {}, "requestContext": context},
        None,
    )


@given(identifier=IDENTIFIERS)
def test_an_identifier_in_a_path_arrives_as_it_was_meant(identifier: str) -> None:
    """Percent-encoded once by the client, decoded once here: byte for byte, whatever it looks like."""
    check_identifier(identifier, "identifier")
    family = Plain()
    api, _ = make(family)
    reply = ask(api, f"/things/{quote(identifier, safe='')}", resource="/things/{thing_id}")
    assert (reply["statusCode"], family.seen) == (200, [{"thing_id": identifier}])


@given(identifier=IDENTIFIERS.filter(lambda text: "/" not in text))
def test_a_decoded_path_is_not_decoded_again(identifier: str) -> None:
    """An emulator that decodes paths is told to the API: `%41` stays the three characters that it is."""
    family = Plain()
    api, _ = make(family, encoded=False)
    ask(api, f"/things/{identifier}", resource="/things/{thing_id}")
    assert family.seen == [{"thing_id": identifier}]


@given(one=IDENTIFIERS, two=IDENTIFIERS)
def test_two_identifiers_in_a_path_are_told_apart(one: str, two: str) -> None:
    """Separators within them are encoded and separate nothing."""
    family = Plain()
    api, _ = make(family)
    ask(api, f"/things/{quote(one, safe='')}/parts/{quote(two, safe='')}", "POST", "/things/{thing_id}/parts/{part_id}")
    assert family.seen == [{"thing_id": one, "part_id": two}]


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "a%", "%ff", "%C3%28", "%ED%A0%80", "é", "张伟"])
def test_what_is_not_percent_encoded_text_is_refused(text: str) -> None:
    """Guessing would name somebody."""
    with pytest.raises(InvalidInputError, match="thing_id: must be"):
        decoded(text, "thing_id")
    family = Plain()
    assert ask(make(family)[0], f"/things/{text}", resource="/things/{thing_id}")["statusCode"] == 400
    assert family.seen == []


def test_a_base_path_is_none_of_ours() -> None:
    """Behind a custom domain the path begins with its mapping."""
    family = Plain()
    ask(make(family)[0], "/privacy/things/a%2Fb", resource="/things/{thing_id}")
    assert family.seen == [{"thing_id": "a/b"}]


class People(Plain):
    """A backend's family with a person at the end of a path."""

    def routes(self) -> list[Route]:
        return [
            Route("DELETE", "/people/{person_id}", BACKEND, self.handle, "users:write"),
            Route("POST", "/people", BACKEND, self.read, "users:write"),
        ]

    def read(self, call: Call) -> Response[str]:
        return answer(200, call.json_object())


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("path", ["/people/bob/", "/people/bob//", "/base/people/bob/"])
def test_a_slash_behind_an_id_names_nobody(path: str, encoded: bool) -> None:
    """Of the id `bob/`, sent as it is or decoded on its way, a gateway or the router would leave another person's."""
    family = People()
    reply = ask(make(family, encoded=encoded)[0], path, "DELETE", "/people/{person_id}")
    assert (reply["statusCode"], family.seen) == (400, [])


def test_a_slash_at_the_end_of_an_id_is_part_of_it() -> None:
    """Percent-encoded, as it has to be."""
    family = People()
    reply = ask(make(family)[0], "/people/bob%2F", "DELETE", "/people/{person_id}")
    assert (reply["statusCode"], family.seen) == (200, [{"person_id": "bob/"}])


@pytest.mark.parametrize("body", ['{"id": "a", "id": "b"}', '{"x": [{"id": "a", "id": "a"}]}'])
def test_a_backends_body_has_no_key_twice(body: str) -> None:
    """One of the two would be lost, and it may be the one that was meant."""
    reply = make(People())[0](
        {"httpMethod": "POST", "path": "/people", "headers": {}, "requestContext": {"requestId": "r"}, "body": body},
        None,
    )
    assert reply["statusCode"] == 400
    assert "key twice" in json.loads(reply["body"])["message"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidInputError("field", "is wrong"), 400, "invalid_request"),
        (MalformedBodyError("must be JSON"), 400, "invalid_request"),
        (KeyRefusedError("missing_token"), 401, "missing_token"),
        (KeyRefusedError("invalid_api_key"), 401, "invalid_api_key"),
        (ForbiddenError("tenant_mismatch", "no"), 403, "tenant_mismatch"),
        (ForbiddenError("insufficient_permissions", "no"), 403, "insufficient_permissions"),
        (NotFoundError("x"), 404, "resource_not_found"),
        (AlreadyDeletedError("x"), 404, "resource_not_found"),
        (ConflictError("x"), 409, "conflict"),
        (AlreadyOpenError("er_1"), 409, "conflict"),
        (TransitionError("x"), 409, "conflict"),
        (RateLimitedError(7), 429, "rate_limit_exceeded"),
        (UnavailableError("x"), 500, "internal_error"),
        (KeyError("x"), 500, "internal_error"),
    ],
)
def test_every_error_has_one_status_and_code(error: Exception, status: int, code: str) -> None:
    """With a message that is not empty, whatever the family makes of it."""
    reply = ask(make(Plain(error))[0], "/guarded")
    body = json.loads(reply["body"])
    assert (reply["statusCode"], body["error"]) == (status, code)
    assert body["message"]


def test_headers_say_when_to_come_again() -> None:
    """429 with the key's own time, 500 for what is unavailable with a few seconds."""
    assert ask(make(Plain(RateLimitedError(7)))[0], "/guarded")["multiValueHeaders"]["Retry-After"] == ["7"]
    assert ask(make(Plain(UnavailableError("x")))[0], "/guarded")["multiValueHeaders"]["Retry-After"] == ["5"]


@pytest.mark.parametrize("error", [None, NotFoundError("x"), KeyError("x")])
def test_every_answer_of_a_counted_call_tells_its_rate(error: Exception | None) -> None:
    """Good ones, refusals and failures."""
    headers = ask(make(Plain(error))[0], "/guarded")["multiValueHeaders"]
    rate = [headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]
    assert rate == [["2"], ["1"], ["60"]]
    assert headers["X-Request-Id"] == ["request"]
    assert headers["Content-Type"] == ["application/json"]


def test_unknown_paths_and_methods_are_told() -> None:
    """In the envelope of the API's own family."""
    api, _ = make(Plain())
    assert ask(api, "/nowhere")["statusCode"] == 404
    reply = ask(api, "/guarded", "PUT")
    assert (reply["statusCode"], reply["multiValueHeaders"]["Allow"]) == (405, ["GET"])


def test_a_route_whose_callers_nobody_checks_is_a_bug() -> None:
    """It cannot even be built."""
    with pytest.raises(ValueError, match="nobody checks"):
        Api([Plain()], Logger(service="x", stream=io.StringIO()), default=Plain())


def test_an_unexpected_error_is_logged_without_what_it_says() -> None:
    """Its kind and place, the route's template, and no value of the path."""
    api, log = make(Plain(KeyError("secret-subject")))
    ask(api, "/things/secret-subject", resource="/things/{thing_id}")
    assert "KeyError" in log.getvalue()
    assert "/things/{thing_id}" in log.getvalue()
    assert "secret-subject" not in log.getvalue()
