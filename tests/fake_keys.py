"""In-memory stand-ins for the stores of API keys; they pass the same contract suite as those on DynamoDB."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

from erasure.domain.api_key import ApiKey


class FakeKeyStore:
    """``reads`` counts how often a key was looked up."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.reads = 0

    def get(self, key_id: str) -> ApiKey | None:
        self.reads += 1
        return self.keys.get(key_id)

    def put(self, key: ApiKey) -> bool:
        return self.keys.setdefault(key.key_id, key) is key

    def revoke(self, key_id: str, now: datetime) -> bool:
        key = self.keys.get(key_id)
        if key is None:
            return False
        self.keys[key_id] = replace(key, revoked_at=key.revoked_at or now)
        return True

    def touch(self, key_id: str, day: str) -> None:
        self.keys[key_id] = replace(self.keys[key_id], last_used_on=day)

    def list(self, tenant_id: str) -> list[ApiKey]:
        own = [key for key in self.keys.values() if key.tenant_id == tenant_id]
        return sorted(own, key=lambda key: (key.created_at, key.key_id))


class FakeRateCounter:
    def __init__(self) -> None:
        self.calls: Counter[tuple[str, int]] = Counter()

    def count(self, key_id: str, window: int, now: datetime) -> int:  # noqa: ARG002 - the port names it
        self.calls[key_id, window] += 1
        return self.calls[key_id, window]
