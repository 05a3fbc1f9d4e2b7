"""Who is calling from a backend: the API key, in each of the forms in which the wire families send it.

===================================================  =======================================
``Authorization: Bearer KEY``                        HelloJohn, native
``Authorization: Basic KEY``                         June (raw, not encoded)
``Authorization: Basic base64(KEY:)``                June (``curl -u KEY:``)
``x-velt-api-key: <key id>``,                        Velt
``x-velt-auth-token: KEY``
===================================================  =======================================

A key that is known and right is believed for :data:`BELIEVED_FOR_SECONDS` without asking the registry again, so that a
revocation works within seconds. Unknown, wrong, expired and revoked keys, and keys of the other mode, are all told the
same.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from erasure.domain.api_key import PLATFORM, ApiKey, PresentedKey, is_right, parse_key
from erasure.domain.identifiers import check_identifier
from erasure.entry.exchange import Caller
from erasure.errors import ForbiddenError, InvalidInputError, KeyRefusedError, RateLimitedError

if TYPE_CHECKING:
    from erasure.entry.exchange import Call
    from erasure.ports import Clock, KeyStore, RateCounter

BELIEVED_FOR_SECONDS = 5.0
MISSING = "missing_token"
INVALID = "invalid_api_key"
_MOST_BELIEVED = 1000
_WINDOW_SECONDS = 60
# Compared with in place of a key that does not exist, so that the two take the same time.
_NO_KEY = ApiKey("", "", "0" * 64, "", frozenset(), "", datetime.min.replace(tzinfo=UTC))


class KeyVerifier:
    """``mode``: ``live`` or ``test``, whichever keys this stack takes. ``calls_per_minute``: of keys that have no limit
    of their own. One instance serves one worker."""

    def __init__(
        self,
        keys: KeyStore,
        counter: RateCounter,
        *,
        mode: str,
        calls_per_minute: int,
        now: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._counter = counter
        self._mode = mode
        self._calls_per_minute = calls_per_minute
        self._now = now
        self._monotonic = monotonic
        self._believed: dict[str, tuple[float, ApiKey]] = {}

    def authenticate(self, call: Call, scope: str) -> Caller:
        """The caller, counted and allowed to do what ``scope`` names. Sets ``call.rate``.

        Raises :class:`KeyRefusedError`, :class:`RateLimitedError`, :class:`ForbiddenError`, and
        :class:`InvalidInputError` for a platform key without ``X-Tenant-ID``.
        """
        presented = presented_key(call)
        now = self._now()
        key = self._find(presented, now)
        self._count(call, key, now)
        tenant_id = _tenant_of(key, call.header("X-Tenant-ID"))
        if scope not in key.scopes:
            raise ForbiddenError("insufficient_permissions", f"The key does not have the scope {scope}.")
        return Caller(key.key_id, tenant_id, key.scopes, is_platform=key.tenant_id == PLATFORM)

    def _find(self, presented: PresentedKey, now: datetime) -> ApiKey:
        read_at = self._monotonic()
        believed = self._believed.get(presented.key_id)
        if believed is not None and read_at - believed[0] < BELIEVED_FOR_SECONDS:
            key: ApiKey | None = believed[1]
        else:
            key = self._keys.get(presented.key_id)
            self._believed.pop(presented.key_id, None)
        if not is_right(presented, key or _NO_KEY) or key is None or key.mode != self._mode or not key.is_usable(now):
            raise KeyRefusedError(INVALID)
        today = now.date().isoformat()
        if key.last_used_on != today:
            self._keys.touch(key.key_id, today)
            key = replace(key, last_used_on=today)
            self._believed.pop(key.key_id, None)
        if key.key_id not in self._believed:
            if len(self._believed) >= _MOST_BELIEVED:
                self._believed.clear()
            self._believed[key.key_id] = (read_at, key)
        return key

    def _count(self, call: Call, key: ApiKey, now: datetime) -> None:
        limit = key.calls_per_minute or self._calls_per_minute
        seconds = int(now.timestamp())
        window = seconds // _WINDOW_SECONDS
        resets_at = (window + 1) * _WINDOW_SECONDS
        calls = self._counter.count(key.key_id, window, now)
        call.rate = (limit, max(0, limit - calls), resets_at)
        if calls > limit:
            raise RateLimitedError(max(1, resets_at - seconds))


def presented_key(call: Call) -> PresentedKey:
    """The key that a call carries. Raises :class:`KeyRefusedError`."""
    authorization = call.header("Authorization")
    if authorization is not None:
        key = _from_authorization(authorization)
    else:
        key_id, token = call.header("x-velt-api-key"), call.header("x-velt-auth-token")
        if not key_id or not token:
            raise KeyRefusedError(MISSING)
        key = parse_key(token)
        if key is not None and key.key_id != key_id:
            key = None
    if key is None:
        raise KeyRefusedError(INVALID)
    return key


def _from_authorization(text: str) -> PresentedKey | None:
    scheme, _, credentials = text.partition(" ")
    credentials = credentials.strip()
    if not credentials:
        raise KeyRefusedError(MISSING)
    scheme = scheme.lower()
    if scheme == "bearer" or (scheme == "basic" and credentials.startswith("sk_")):
        return parse_key(credentials)
    if scheme != "basic":
        return None
    try:
        decoded = base64.b64decode(credentials, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    # The key is the user's name; there is no password.
    return parse_key(decoded.removesuffix(":"))


def _tenant_of(key: ApiKey, named: str | None) -> str:
    if key.tenant_id != PLATFORM:
        if named is not None and named != key.tenant_id:
            raise ForbiddenError("tenant_mismatch", "X-Tenant-ID is not the tenant of this key.")
        return key.tenant_id
    if named is None:
        raise InvalidInputError("X-Tenant-ID", "is required with a platform key")
    if named == PLATFORM:
        raise InvalidInputError("X-Tenant-ID", "must name a tenant")
    return check_identifier(named, "X-Tenant-ID")
