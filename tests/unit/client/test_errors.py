"""What answers mean: envelopes, statuses, pauses, and ids in paths."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.entry.api import decoded
from erasure.entry.exchange import Refusal
from erasure_client import errors
from erasure_client._wire import Answer, Call, error_of, segment
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
from tests.unit.client.carriers import answer

ROOT = Path(__file__).resolve().parents[3]
CALL = Call("POST", "/v1/users/ann/disable", "POST /v1/users/{user_id}/disable", idempotency_key="ec_1")

STATUSES = {
    400: (InvalidRequestError, "invalid_request"),
    401: (NotSignedInError, "missing_token"),
    403: (NotAllowedError, "insufficient_permissions"),
    404: (NotFoundError, "resource_not_found"),
    405: (RefusedError, "method_not_allowed"),
    409: (ConflictError, "conflict"),
    413: (InvalidRequestError, "invalid_request"),
    422: (InvalidRequestError, "validation_error"),
    429: (TooManyCallsError, "rate_limit_exceeded"),
    500: (ServiceError, "internal_error"),
    504: (ServiceError, "internal_error"),
}


def envelopes(status: int, code: str, message: str) -> dict[str, object]:
    """As docs/api.md lists them."""
    return {
        "people": {"code": status, "message": message},
        "hellojohn": {"error": code, "message": message, "request_id": "4f0c6a52"},
        "velt": {"error": {"message": message, "status": "A_WORD", "code": status}},
        "june": {"error": code, "message": message},
        "native": {
            "type": f"urn:erasure:problem:{code}",
            "title": "A title",
            "status": status,
            "detail": message,
            "code": code,
            "message": message,
        },
    }


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("family", ["people", "hellojohn", "velt", "june", "native"])
def test_every_status_in_every_envelope(status: int, family: str) -> None:
    """Kind, code, message and whereabouts are read from each family's envelope."""
    kind, code = STATUSES[status]
    body = envelopes(status, code, "The text.")[family]
    headers = {"x_request_id": "call-1", "x_erasure_request_id": "er_1", "retry_after": "7"}
    error = error_of(answer(status, body, **headers), CALL)
    assert type(error) is kind
    assert isinstance(error, RefusedError)
    words = {"velt": "A_WORD", "people": {422: "refused"}.get(status, code)}
    assert (error.status, error.code, error.message) == (status, words.get(family, code), "The text.")
    assert (error.call_id, error.request_id, error.retry_after) == ("call-1", "er_1", 7.0)
    assert error.idempotency_key == "ec_1"


def test_broken_rules_are_listed() -> None:
    """Field and rule of all that is wrong with a call."""
    body = {**envelopes(400, "invalid_request", "x")["native"], "errors": [{"field": "a", "rule": "b"}, 5]}  # type: ignore[dict-item]
    error = error_of(answer(400, body), CALL)
    assert isinstance(error, InvalidRequestError)
    assert error.errors == (BrokenRule("a", "b"),)


def test_a_plan_that_has_changed() -> None:
    """``plan_changed`` has an exception of its own."""
    error = error_of(answer(409, envelopes(409, "plan_changed", "What would be erased has changed.")["native"]), CALL)
    assert type(error) is PlanChangedError


CONFLICTS = {"HeldError", "ConflictError", "TransitionError", "check_not_held", "_check_not_held"}


def _texts_of_conflicts() -> Iterator[tuple[str, str]]:
    """What the service says with a 409: every text that is handed to one of :data:`CONFLICTS`, with the name."""
    for path in sorted((ROOT / "layers/core/python/erasure").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CONFLICTS or name == "_not_done":
                for part in (inner for argument in node.args for inner in ast.walk(argument)):
                    text = part.value if isinstance(part, ast.Constant) else constants.get(getattr(part, "id", ""))
                    if isinstance(text, str) and " " in text:
                        yield name, text


def test_holds_are_told_from_other_conflicts() -> None:
    """Every 409 of the service about a legal hold is a HeldError, in each envelope, and no other is."""
    texts = set(_texts_of_conflicts())
    of_holds = {text for name, text in texts if " hold" in text or name in ("HeldError", "check_not_held")}
    assert len(of_holds) >= 5
    assert len({text for _, text in texts} - of_holds) >= 5
    for _, text in texts:
        for family, body in envelopes(409, "conflict", text).items():
            kind = type(error_of(answer(409, body), CALL))
            assert kind is (HeldError if text in of_holds else ConflictError), (family, text)


def test_a_missing_hold_is_no_hold() -> None:
    """ "There is no legal hold" is a 404."""
    body = envelopes(404, "resource_not_found", "there is no legal hold of this subject")["native"]
    assert type(error_of(answer(404, body), CALL)) is NotFoundError


STRANGERS = {
    "aws without a route": json.dumps({"message": "Missing Authentication Token"}),
    "aws with an echo": json.dumps({"message": "'sk_live_0' not a valid key=value pair in Authorization header"}),
    "another api": json.dumps({"detail": "no /v1/users/ann here"}),
    "another code": json.dumps({"code": 17, "message": "no /v1/users/ann here"}),
    "a page": "<html>/v1/users/ann</html>",
    "nothing": "",
    "a list": "[1]",
    "deep": "[" * 100_000,
    "a long number": '{"code": ' + "9" * 5000 + "}",
    "nan": '{"code": NaN, "message": "x"}',
    "no unicode": b"\xff\xfe\x00".decode("latin-1"),
}


@pytest.mark.parametrize("content", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_strangers_refusal_is_not_the_services(status: int, content: str) -> None:
    """A refusal in nobody's envelope means nothing, least of all that there is no such request; its text is dropped."""
    error = error_of(Answer(status, {}, content.encode("latin-1")), CALL)
    assert type(error) is UnexpectedAnswerError
    assert error.status == status
    assert "ann" not in str(error)
    assert "sk_live" not in str(error)


@pytest.mark.parametrize("content", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize(("status", "kind"), [(429, TooManyCallsError), (503, ServiceError)])
def test_a_gateways_refusal_may_pass(status: int, kind: type[RefusedError], content: str) -> None:
    """A 429 or 5xx in whatever form is one, with what it says of time and without what else it says."""
    error = error_of(Answer(status, {"retry-after": "3"}, content.encode("latin-1")), CALL)
    assert type(error) is kind
    assert isinstance(error, RefusedError)
    assert error.retry_after == 3
    assert "ann" not in str(error)
    assert "sk_live" not in str(error)


def test_redirects_are_not_followed() -> None:
    """A redirect is no answer of the service."""
    assert type(error_of(answer(302, None, location="https://elsewhere.example"), CALL)) is UnexpectedAnswerError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "99999999999"}, 99999999999.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_when_to_come_again(headers: dict[str, str], seconds: float | None) -> None:
    """``Retry-After`` is seconds, or a moment by the answer's own clock."""
    assert Answer(429, headers, b"").retry_after == seconds


def test_the_tree_is_as_it_is_drawn() -> None:
    """The module's docstring has each exception below its base."""
    drawn = inspect.getdoc(errors) or ""
    parents: dict[int, str] = {}
    seen = set()
    for line in drawn.splitlines():
        name = next((word for word in line.replace("├──", "").replace("└──", "").replace("│", "").split()), "")
        kind = getattr(errors, name, None)
        if not inspect.isclass(kind) or not issubclass(kind, Exception):
            continue
        depth = line.index(name)
        parents = {level: parent for level, parent in parents.items() if level < depth}
        base = parents[max(parents)] if parents else "Exception"
        assert kind.__bases__[0].__name__ == base, name
        parents[depth] = name
        seen.add(name)
    assert seen == {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }


IDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=256) | st.sampled_from(
    [
        ".",
        "..",
        "...",
        "%2F",
        "%2e%2e",
        "é",
        "a/b",
        "/",
        "//",
        "?",
        "#",
        "a b",
        "+",
        "\\",
        ";",
        ":",
        "@",
        "~",
        "𝒳",
        "\u2028",
    ]
)


@given(IDS)
def test_an_id_is_one_segment_of_its_path(text: str) -> None:
    """Every id the service takes goes over the wire as one segment, which the service decodes to the same id."""
    encoded = segment(text)
    url = httpx.URL("https://erasure.example.com/prod" + f"/v1/users/{encoded}/disable")
    sent = url.raw_path.decode("ascii")
    assert sent.split("/") == ["", "prod", "v1", "users", encoded, "disable"]
    assert encoded not in (".", "..")
    assert unquote(encoded, errors="strict") == text
    assert decoded(encoded, "user_id") == text
    assert not set(encoded) & set("/?#")
    assert encoded == quote(text, safe="") or set(text) == {"."}


@pytest.mark.parametrize("value", ["", "\ud800", "a\udfff", None, 5, b"ann"])
def test_what_is_no_id_makes_no_path(value: object) -> None:
    """Without an id the path would be that of all: there is none, and the error does not show the value."""
    with pytest.raises(ConfigurationError) as caught:
        segment(value)  # type: ignore[arg-type]
    assert caught.value.__context__ is None
    assert "ann" not in str(caught.value)


def test_the_services_refusals_are_all_known() -> None:
    """Each code that the service's map of exceptions has comes with a status that has an exception here."""
    from erasure.entry.api import REFUSALS

    assert all(isinstance(refusal, Refusal) for refusal in REFUSALS.values())
    for refusal in REFUSALS.values():
        error = error_of(answer(refusal.status, envelopes(refusal.status, refusal.code, "x")["native"]), CALL)
        assert isinstance(error, RefusedError)
        assert type(error) is not RefusedError, refusal.code
