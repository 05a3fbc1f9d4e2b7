"""API keys of backends: ``sk_live_<keyid>_<secret>``, kept as a digest only.

``keyid``: 16 characters, public; it finds the record. ``secret``: 43 characters of base64url, 256 random bits, which is
why a plain SHA-256 of it is enough to keep: there is nothing to guess. A stack takes keys of one mode, ``live`` or
``test``, so that a test suite's key does nothing to real data.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

PLATFORM = "*"
"""The tenant of a platform key, which names the tenant of each call in ``X-Tenant-ID``."""

SCOPES = (
    "users:read",
    "users:write",
    "erasure:write",
    "erasure:read",
    "holds:write",
    "map:write",
    "keys:write",
)

MODES = ("live", "test")

_KEY = re.compile(r"sk_(live|test)_([a-z0-9]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller sent it. ``repr`` does not show the secret."""

    mode: str
    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"PresentedKey(key_id={self.key_id!r})"

    @property
    def text(self) -> str:
        return f"sk_{self.mode}_{self.key_id}_{self.secret}"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. ``tenant_id``: the tenant it acts for, or :data:`PLATFORM`. ``valid_until``: exclusive;
    ``None``: no end. ``calls_per_minute``: ``None`` for the stack's default. ``last_used_on``: a day, UTC."""

    key_id: str
    mode: str
    secret_digest: str
    tenant_id: str
    scopes: frozenset[str]
    name: str
    created_at: datetime
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_on: str | None = None
    calls_per_minute: int | None = None

    def is_usable(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.valid_until is None or now < self.valid_until)


def parse_key(text: str) -> PresentedKey | None:
    """The key in ``text``, or ``None`` if it does not have the form of one."""
    match = _KEY.fullmatch(text)
    return PresentedKey(*match.groups()) if match else None


def new_key(mode: str, secret: str | None = None, key_id: str | None = None) -> PresentedKey:
    """A new random key; ``secret`` and ``key_id`` can be given where a repeated call has to make the same key again."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    return PresentedKey(
        mode,
        key_id or "".join(secrets.choice(alphabet) for _ in range(16)),
        secret or secrets.token_urlsafe(32),
    )


def secret_digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def is_right(presented: PresentedKey, key: ApiKey) -> bool:
    """Whether it is this key, compared in constant time."""
    return hmac.compare_digest(secret_digest(presented.secret), key.secret_digest) and presented.mode == key.mode
