"""Erasure requests as the service tells of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from erasure_client import ErasureRequest

REQUEST_ID = "er_01M80EY0A4QSF0B1MX3Y6VC2RT"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def target(name: str, state: str, count: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "category": "content", "state": state, "count": count, **more}


def told(state: str = "started", *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The service's answer about a request of ``ann``, asked for ten hours before :data:`NOW`."""
    return {
        "id": REQUEST_ID,
        "subject": {"type": "user", "id": "ann"},
        "state": state,
        "attention": False,
        "requested_at": "2026-11-22T02:00:00.000Z",
        "due_at": "2026-11-25T02:00:00.000Z",
        "purged_by": "2027-02-20T02:00:00.000Z",
        "targets": list(targets),
        **more,
    }


def request(state: str = "started", *targets: dict[str, Any], **more: Any) -> ErasureRequest:
    return ErasureRequest.of(told(state, *targets, **more))
