"""What tenants have set for their requests, as calls are answered by it: read once a minute for each tenant."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from erasure.errors import InvalidInputError
from erasure.ports import TenantSettingsStore
from erasure.services.commands import ErasureCommand

CACHE_SECONDS = 60.0
MAX_GRACE = timedelta(days=90)
_HOUR = timedelta(hours=1)
_MAX_KNOWN = 1000
"""Tenants that are remembered: a platform key may call for any number."""


class TenantSettings:
    """``monotonic`` returns seconds and can be replaced in tests."""

    def __init__(self, store: TenantSettingsStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, timedelta]] = {}

    def grace(self, tenant_id: str) -> timedelta:
        """How long a request waits before it is started unless it says itself from when; zero: not at all. What was
        set within the last minute may not be known yet."""
        read_at = self._monotonic()
        known = self._known.get(tenant_id)
        if known is None or read_at - known[0] > CACHE_SECONDS:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[tenant_id] = (read_at, self._store.grace(tenant_id))
        return known[1]

    def with_grace(self, command: ErasureCommand, at: datetime) -> ErasureCommand:
        """The command, given ``at``, with a ``not_before`` if it takes the tenant's grace and there is one. One that
        says itself from when keeps that."""
        if not command.takes_grace or command.not_before is not None:
            return command
        grace = self.grace(command.tenant_id)
        return replace(command, not_before=at + grace) if grace else command


def set_grace(store: TenantSettingsStore, tenant_id: str, grace: timedelta) -> None:
    """``grace``: whole hours, at most :data:`MAX_GRACE`; zero: none. Requests that have been made keep their time.
    Raises :class:`InvalidInputError`."""
    if grace % _HOUR or not timedelta() <= grace <= MAX_GRACE:
        raise InvalidInputError("grace", f"must be whole hours or days, at most {MAX_GRACE.days} days")
    store.set_grace(tenant_id, grace)
