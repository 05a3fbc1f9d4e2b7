"""One HTTP call as the wire families see it: what came in, and how an answer is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from aws_lambda_powertools.event_handler.api_gateway import Response

from erasure.errors import MalformedBodyError

if TYPE_CHECKING:
    from erasure.entry.tokens import Principal

MAX_BODY_BYTES = 16 * 1024

MAX_BULK_BODY_BYTES = 4 * 1024 * 1024
"""1,000 ids of 256 characters, each as a JSON escape, and something around them."""

SUBJECT = "subject"
BACKEND = "backend"
OPEN = "open"


class Route(NamedTuple):
    """``path`` is a template such as ``/users/current/erasure-requests/{request_id}``; the handler gets its values.

    ``auth`` is always said: :data:`SUBJECT` (``call.principal`` is set before the handler runs), :data:`BACKEND`
    (``call.caller`` is set, and has ``scope``) or :data:`OPEN`.
    """

    method: str
    path: str
    auth: str
    handler: Callable[..., Response[str]]
    scope: str = ""


class Caller(NamedTuple):
    """A backend that has shown its key. ``tenant_id``: for whom this call acts; ``scopes``: what the key may do;
    ``is_platform``: its key is no tenant's own."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]
    is_platform: bool = False


class Refusal(NamedTuple):
    """What a call is refused with, before a family puts it into its envelope. ``code``: ``invalid_request``,
    ``missing_token``, ``invalid_api_key``, ``insufficient_permissions``, ``tenant_mismatch``, ``resource_not_found``,
    ``method_not_allowed``, ``conflict``, ``rate_limit_exceeded`` or ``internal_error``."""

    status: int
    code: str
    message: str
    headers: dict[str, str]


class Family(Protocol):
    """A wire family: its routes, and its envelope for what goes wrong on them."""

    def routes(self) -> list[Route]: ...

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        """The answer. ``refusal`` is what most families say to ``error``; a family may have another status or code."""


class Call:
    """A request. ``principal`` is set for routes of subjects only, ``caller`` for those of backends; ``rate``: how many
    calls a minute the key may make, how many are left, and the epoch second at which it starts anew; ``reason``: a
    fixed word for the log line."""

    __slots__ = (
        "_caller",
        "_event",
        "_headers",
        "_principal",
        "context",
        "family",
        "rate",
        "reason",
        "request_id",
        "route",
    )

    def __init__(self, event: Mapping[str, Any], context: Any) -> None:
        self._event = event
        self._headers: Mapping[str, str] = event.get("headers") or {}
        self._principal: Principal | None = None
        self._caller: Caller | None = None
        self.family: Family | None = None
        self.rate: tuple[int, int, int] | None = None
        self.context = context
        self.request_id: str = event["requestContext"]["requestId"]
        self.route = ""
        self.reason = ""

    @property
    def principal(self) -> Principal:
        if self._principal is None:
            raise RuntimeError("the route does not authenticate its caller")
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        self._principal = principal

    @property
    def caller(self) -> Caller:
        if self._caller is None:
            raise RuntimeError("the route does not authenticate its caller")
        return self._caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        self._caller = caller

    def header(self, name: str) -> str | None:
        """``name`` in its usual spelling; the case in which it arrived does not matter."""
        value = self._headers.get(name)
        if value is None:
            length, lowered = len(name), name.lower()
            for key in self._headers:
                # The length first: lowering every header of every call costs more than all else that is done here.
                if len(key) == length and key.lower() == lowered:
                    return self._headers[key]
        return value

    def query(self, name: str) -> str | None:
        return (self._event.get("queryStringParameters") or {}).get(name)

    def query_names(self) -> frozenset[str]:
        return frozenset(self._event.get("queryStringParameters") or ())

    def ends_in_slash(self) -> bool:
        """Whether the path does, as it was handed over."""
        path: str = self._event["path"]
        return path.endswith("/")

    def json_object(self, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
        """The body. Raises :class:`MalformedBodyError` if it is no JSON object or longer than ``max_bytes``; from a
        backend also if it has a key twice in an object: one of the two would be lost."""
        body = self._event.get("body") or ""
        # As base64, four characters stand for three bytes.
        if len(body) > max_bytes // 3 * 4 + 4:
            raise MalformedBodyError(f"must not be longer than {max_bytes} bytes")
        try:
            if self._event.get("isBase64Encoded"):
                import base64

                body = base64.b64decode(body, validate=True).decode()
            if len(body) > max_bytes or len(body.encode("utf-8", "surrogatepass")) > max_bytes:
                raise MalformedBodyError(f"must not be longer than {max_bytes} bytes")
            value = _FROM_TEXT(body) if self._caller is None else _FROM_TEXT_OF_BACKENDS(body)
        except (ValueError, RecursionError):
            raise MalformedBodyError("must be JSON") from None
        if not isinstance(value, dict):
            raise MalformedBodyError("must be a JSON object")
        return value

    def mounted_at(self) -> str | None:
        """The path of this call's parent as the caller sees it, or None where that is not known.

        ``requestContext.path`` is the path with what API Gateway puts before ours: the stage, or the base path of a
        custom domain. Emulators and hand-written test events, which send no ``domainName``, are mounted elsewhere.
        """
        context = self._event["requestContext"]
        if "domainName" not in context:
            return None
        parent: str = context["path"].rstrip("/").rpartition("/")[0]
        return parent

    def remaining_seconds(self) -> float:
        """How long the function may still run; infinite outside Lambda."""
        remaining = getattr(self.context, "get_remaining_time_in_millis", None)
        return remaining() / 1000 if remaining else float("inf")


def answer(status: int, body: Mapping[str, Any] | None, headers: dict[str, str] | None = None) -> Response[str]:
    """A JSON answer; ``body=None``: none at all. The API adds the headers that all answers carry."""
    return Response(status, body="" if body is None else _TO_TEXT(body), headers=headers)


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedBodyError("must not have a key twice in the same object")
    return members


# Made once: json.loads and json.dumps make one for each call that has options.
_FROM_TEXT = json.JSONDecoder(parse_constant=_no_constant).decode
_FROM_TEXT_OF_BACKENDS = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_key_twice).decode
_TO_TEXT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
