"""One way to write a value as bytes, so that a digest over it means the same everywhere."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces, and characters outside ASCII as they are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """SHA-256 over the canonical JSON, hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
