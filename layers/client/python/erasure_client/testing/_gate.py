"""Who is calling: the keys of backends and the tokens of people, counted and checked as the service does."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping

from erasure_client.testing._checks import BrokenRuleRefused, Refused, check_identifier, forbidden
from erasure_client.testing._exchange import Call, Caller, Whom
from erasure_client.testing._records import Key
from erasure_client.testing._settings import PLATFORM
from erasure_client.testing._state import State

_KEY = re.compile(r"sk_(live|test)_([a-z0-9]{16})_([A-Za-z0-9_-]{43})")
_MESSAGES = {"missing_token": "An API key is needed.", "invalid_api_key": "The API key is not valid."}


class Gate:
    def __init__(self, state: State) -> None:
        self._state = state

    def backend(self, call: Call, scope: str) -> tuple[Caller | Refused, dict[str, str]]:
        """The caller, or why it is refused; and the headers of every answer to a call with a good key."""
        try:
            key = self._find(_presented(call.headers))
        except Refused as error:
            return error, {}
        limit = key.calls_per_minute or self._state.calls_per_minute
        seconds = int(self._state.now().timestamp())
        window = seconds // 60
        resets_at = (window + 1) * 60
        self._state.counted[key.key_id, window] += 1
        calls = self._state.counted[key.key_id, window]
        rate = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - calls)),
            "X-RateLimit-Reset": str(resets_at),
        }
        if calls > limit:
            return too_many(max(1, resets_at - seconds)), rate
        try:
            tenant_id = _tenant_of(key, call.headers.get("x-tenant-id"))
        except Refused as error:
            return error, rate
        if scope not in key.scopes:
            return forbidden(f"The key does not have the scope {scope}."), rate
        return Caller(key.key_id, tenant_id, key.scopes, key.tenant_id == PLATFORM), rate

    def person(self, call: Call) -> Whom:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        whom, valid_until = self._state.tokens.get(token.strip(), (None, None))
        if scheme.lower() != "bearer" or whom is None or valid_until is None or valid_until <= self._state.now():
            message = "Sign in: a valid bearer token is needed."
            raise Refused(401, "missing_token", message, headers={"WWW-Authenticate": "Bearer"})
        return whom

    def _find(self, text: str) -> Key:
        parsed = _KEY.fullmatch(text)
        key = self._state.keys.get(parsed[2]) if parsed else None
        now = self._state.now()
        if key is None or not hmac.compare_digest(key.text, text) or key.revoked_at is not None:
            raise _no_key("invalid_api_key")
        if key.valid_until is not None and key.valid_until <= now:
            raise _no_key("invalid_api_key")
        key.last_used_on = now.date().isoformat()
        return key


def too_many(retry_after: int) -> Refused:
    headers = {"Retry-After": str(retry_after)}
    return Refused(429, "rate_limit_exceeded", "Too many requests with this key.", headers=headers)


def _no_key(code: str) -> Refused:
    return Refused(401, code, _MESSAGES[code], headers={"WWW-Authenticate": "Bearer"})


def _presented(headers: Mapping[str, str]) -> str:
    authorization = headers.get("authorization")
    if authorization is None:
        key_id, token = headers.get("x-velt-api-key"), headers.get("x-velt-auth-token")
        if not key_id or not token:
            raise _no_key("missing_token")
        parsed = _KEY.fullmatch(token)
        return token if parsed and parsed[2] == key_id else ""
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if not credentials:
        raise _no_key("missing_token")
    if scheme.lower() == "bearer" or (scheme.lower() == "basic" and credentials.startswith("sk_")):
        return credentials
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials, validate=True).decode("ascii").removesuffix(":")
    except (binascii.Error, ValueError):
        return ""


def _tenant_of(key: Key, named: str | None) -> str:
    if key.tenant_id != PLATFORM:
        if named is not None and named != key.tenant_id:
            raise forbidden("X-Tenant-ID is not the tenant of this key.", "tenant_mismatch")
        return key.tenant_id
    if named is None:
        raise BrokenRuleRefused("X-Tenant-ID", "is required with a platform key")
    if named == PLATFORM:
        raise BrokenRuleRefused("X-Tenant-ID", "must name a tenant")
    return check_identifier(named, "X-Tenant-ID")
