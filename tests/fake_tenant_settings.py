"""An in-memory stand-in for :class:`erasure.ports.TenantSettingsStore`."""

from __future__ import annotations

from datetime import timedelta


class FakeTenantSettingsStore:
    """``reads`` counts them."""

    def __init__(self) -> None:
        self.graces: dict[str, timedelta] = {}
        self.reads = 0

    def grace(self, tenant_id: str) -> timedelta:
        self.reads += 1
        return self.graces.get(tenant_id, timedelta())

    def set_grace(self, tenant_id: str, grace: timedelta) -> None:
        self.graces[tenant_id] = grace
