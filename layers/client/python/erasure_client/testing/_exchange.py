"""One call as the fake sees it, and its answer in the envelope of the family that was called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

from erasure_client.testing._checks import BrokenRuleRefused, MismatchRefused, Refused, check_identifier

NATIVE, HELLOJOHN, OWN, GATEWAY = "native", "hellojohn", "own", "gateway"
MAX_BODY, MAX_BULK_BODY = 16 * 1024, 4 * 1024 * 1024

_WRONG_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_HEADERS = ("Idempotency-Key", "X-Tenant-ID")


class Whom(NamedTuple):
    """A subject of a tenant."""

    tenant_id: str
    type: str
    id: str


class Caller(NamedTuple):
    """A backend. ``scopes``: of its key."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]
    is_platform: bool


@dataclass(slots=True)
class Reply:
    status: int
    body: Mapping[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()


Handler: TypeAlias = "Callable[[Call], Reply]"


class Route(NamedTuple):
    """``scope``: of the key that the call needs; empty for calls of people, who need a token, and for open ones."""

    method: str
    path: str
    family: str
    handler: Handler
    scope: str = ""
    is_open: bool = False


class Call:
    """``values``: what stands in the path where its template has a name, decoded. ``caller`` is set for backends,
    ``person`` for people. ``rate``: headers that tell how many calls its key has left."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], content: bytes, call_id: str) -> None:
        self.method = method
        self.path, _, query = target.partition("?")
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.content = content
        self.call_id = call_id
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.values: dict[str, str] = {}
        self.rate: dict[str, str] = {}
        self.caller: Caller | None = None
        self.person: Whom | None = None

    @property
    def backend(self) -> Caller:
        assert self.caller is not None  # noqa: S101 - handlers of backends' routes are called with one
        return self.caller

    @property
    def subject(self) -> Whom:
        assert self.person is not None  # noqa: S101 - handlers of people's routes are called with one
        return self.person

    @property
    def idempotency_key(self) -> str | None:
        key = self.headers.get("idempotency-key")
        return None if key is None else check_identifier(key, "Idempotency-Key")

    def json_object(self, most: int = MAX_BODY) -> dict[str, Any]:
        if len(self.content) > most:
            raise _malformed(f"must not be longer than {most} bytes")
        try:
            pairs_hook = None if self.caller is None else _no_key_twice
            value = json.loads(self.content.decode(), parse_constant=_no_constant, object_pairs_hook=pairs_hook)
        except BrokenRuleRefused:
            raise
        except (ValueError, RecursionError):
            raise _malformed("must be JSON") from None
        if not isinstance(value, dict):
            raise _malformed("must be a JSON object")
        return value


def match(template: str, path: str) -> dict[str, str] | None:
    """The values of the template's names in the path, as they were sent; ``None`` if it is another path."""
    wanted, given = template.split("/"), path.rstrip("/").split("/")
    if len(wanted) != len(given):
        return None
    values = {}
    for name, value in zip(wanted, given, strict=True):
        if name.startswith("{"):
            values[name[1:-1]] = value
        elif name != value:
            return None
    return values if all(values.values()) else None


def decoded(text: str, name: str) -> str:
    if _WRONG_ESCAPE.search(text) or not text.isascii():
        raise BrokenRuleRefused(name, "must be percent-encoded in a path")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BrokenRuleRefused(name, "must be UTF-8, percent-encoded, in a path") from None


def refusal(family: str, error: Refused, call_id: str) -> Reply:
    """The answer in the family's envelope."""
    if family == HELLOJOHN:
        return _hellojohn(error, call_id)
    if family == NATIVE:
        return _problem(error)
    return Reply(error.status, {"code": error.status, "message": error.message}, error.headers)


def _hellojohn(error: Refused, call_id: str) -> Reply:
    status, code, message = error.status, error.code, error.message
    if isinstance(error, BrokenRuleRefused):
        if not error.of_the_call and error.field not in _HEADERS:
            status, code = 422, "validation_error"
    elif isinstance(error, MismatchRefused):
        status, code = 422, "validation_error"
    elif status == 404:
        message = "User not found."
    body: dict[str, Any] = {"error": code, "message": message, "request_id": call_id}
    if status == 429 and "Retry-After" in error.headers:
        body["retry_after"] = int(error.headers["Retry-After"])
    return Reply(status, body, error.headers)


def _problem(error: Refused) -> Reply:
    body: dict[str, Any] = {
        "type": f"urn:erasure:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize().replace("api", "API"),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "message": error.message,
    }
    if error.errors:
        why = {} if error.reason is None else {"reason": error.reason}
        body["errors"] = [{"field": name, "rule": rule, **why} for name, rule in error.errors]
    return Reply(error.status, body, {**error.headers, "Content-Type": "application/problem+json"})


def _malformed(rule: str) -> BrokenRuleRefused:
    return BrokenRuleRefused("body", rule, of_the_call=True)


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("must not have a key twice in the same object")
    return members
