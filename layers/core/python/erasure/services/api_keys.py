"""API keys: make one, list them, revoke one. The secret is shown once, when the key is made; its digest is kept."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.api_key import PLATFORM, SCOPES, ApiKey, PresentedKey, new_key, secret_digest
from erasure.domain.identifiers import check_identifier
from erasure.domain.subject import keyed_digest
from erasure.errors import ForbiddenError, InvalidInputError, NotFoundError
from erasure.ports import Clock, KeyStore

MAX_NAME_LENGTH = 100
MAX_CALLS_PER_MINUTE = 60_000
"""One item of the registry counts a key's calls, and DynamoDB takes 1,000 writes a second to one item."""


@dataclass(frozen=True, slots=True)
class KeyCommand:
    """A key that somebody wants. ``granted``: the scopes that its maker has; ``None``: an operator, who has all.
    ``run_id``: a key made again under the same id is the same key; ``None``: a random one."""

    tenant_id: str
    scopes: frozenset[str]
    name: str = ""
    valid_until: datetime | None = None
    calls_per_minute: int | None = None
    granted: frozenset[str] | None = None
    run_id: str | None = None


class ApiKeyService:
    """``mode``: ``live`` or ``test``, of the stack."""

    def __init__(self, keys: KeyStore, *, mode: str, digest_key: Callable[[], bytes], now: Clock) -> None:
        self._keys = keys
        self._mode = mode
        self._digest_key = digest_key
        self._now = now

    def create(self, command: KeyCommand) -> tuple[ApiKey, str]:
        """The key as it is kept, and its text, which nobody can find out later.

        Raises :class:`InvalidInputError`, and :class:`ForbiddenError` for scopes that the maker does not have.
        """
        now = self._now()
        _check(command, now)
        presented = new_key(self._mode) if command.run_id is None else self._derived(command.run_id)
        key = ApiKey(
            key_id=presented.key_id,
            mode=self._mode,
            secret_digest=secret_digest(presented.secret),
            tenant_id=command.tenant_id,
            scopes=command.scopes,
            name=command.name,
            created_at=now,
            valid_until=command.valid_until,
            calls_per_minute=command.calls_per_minute,
        )
        if not self._keys.put(key):
            # A random id is never taken; a derived one is if the call is a repeated one.
            key = self._keys.get(key.key_id) or key
        return key, presented.text

    def list(self, tenant_id: str) -> list[ApiKey]:
        """Oldest first, revoked ones included."""
        return self._keys.list(tenant_id)

    def revoke(self, tenant_id: str | None, key_id: str) -> None:
        """``tenant_id=None``: whosever it is. Raises :class:`NotFoundError`, also for a key of another tenant."""
        key = self._keys.get(key_id)
        if key is None or tenant_id not in (None, key.tenant_id) or not self._keys.revoke(key_id, self._now()):
            raise NotFoundError("there is no such key")

    def text_of(self, run_id: str) -> str:
        """The text of the key that was made under this id."""
        return self._derived(run_id).text

    def _derived(self, run_id: str) -> PresentedKey:
        secret = bytes.fromhex(keyed_digest(self._digest_key(), "api-key-secret", run_id))
        key_id = keyed_digest(self._digest_key(), "api-key-id", run_id)[:16]
        return new_key(self._mode, urlsafe_b64encode(secret).decode().rstrip("="), key_id)


def _check(command: KeyCommand, now: datetime) -> None:
    if command.tenant_id != PLATFORM:
        check_identifier(command.tenant_id, "tenant_id")
    if not command.scopes:
        raise InvalidInputError("scopes", f"must list at least one of {', '.join(SCOPES)}")
    if not command.scopes <= set(SCOPES):
        raise InvalidInputError("scopes", f"may only list {', '.join(SCOPES)}")
    if command.granted is not None and not command.scopes <= command.granted:
        raise ForbiddenError("insufficient_permissions", "A key cannot give scopes that it does not have.")
    if command.name:
        check_identifier(command.name, "name")
    if len(command.name) > MAX_NAME_LENGTH:
        raise InvalidInputError("name", f"must have {MAX_NAME_LENGTH} characters at most")
    if command.valid_until is not None and command.valid_until <= now:
        raise InvalidInputError("valid_until", "must be in the future")
    limit = command.calls_per_minute
    if limit is not None and not 1 <= limit <= MAX_CALLS_PER_MINUTE:
        raise InvalidInputError("calls_per_minute", f"must be a whole number from 1 to {MAX_CALLS_PER_MINUTE}")
