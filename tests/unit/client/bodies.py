"""Bodies of the service's answers, as its documentation shows them."""

from __future__ import annotations

from typing import Any

REQUEST_ID = "er_01M80EY0A4QSF0B1MX3Y6VC2RT"
BATCH_ID = "eb_01M80EY0A4RAXPTRK38X6B3QTY"
DIGEST = "6f1ed002ab5595859014ebf0951522d9d0a1a1e1e6d9f5c0c2a7b3f0e9d8c7b6"
AT, LATER = "2026-11-22T01:48:14.421Z", "2027-02-20T01:48:14.421Z"


def subject(subject_id: str = "ann", kind: str = "user") -> dict[str, Any]:
    return {"type": kind, "id": subject_id}


def request(subject_id: str = "ann", kind: str = "user", **more: Any) -> dict[str, Any]:
    return {
        "id": REQUEST_ID,
        "subject": subject(subject_id, kind),
        "state": "requested",
        "attention": False,
        "requested_at": AT,
        "due_at": LATER,
        "purged_by": LATER,
        **more,
    }


def target(state: str = "erased", **more: Any) -> dict[str, Any]:
    return {"name": "documents", "category": "content", "state": state, "count": 6, **more}


SLA = {"age_seconds": 86400, "remaining_seconds": -5, "percent": 133, "paused_seconds": 0, "state": "breached"}

REQUEST = request(
    state="started",
    attention=True,
    not_before=AT,
    started_at=AT,
    scan_at=LATER,
    held_since=AT,
    organization_ids=["org_1"],
    batch_id=BATCH_ID,
    late_arrivals=2,
    sla=SLA,
    job={"attempt": 2, "age_seconds": 5, "remaining_seconds": 9},
    targets=[
        target("erased"),
        target("retained", kept=3, kept_more=True, until=LATER, basis="tax law"),
        target("blocked", kept=1, until=None),
        target("failed", reason="access_denied", at_least=True),
    ],
)


def accepted(*subject_ids: str) -> dict[str, Any]:
    """An answer that accepts all of them."""
    entries = [
        {"subject": subject(subject_id), "status": "accepted", "request": request(subject_id)}
        for subject_id in subject_ids
    ]
    return {"batch_id": BATCH_ID, "requests": entries}


PLAN = {
    "subject": subject(),
    "plan_hash": DIGEST,
    "not_before": LATER,
    "targets": [
        {"name": "files", "category": "content", "action": "delete", "count": 1000, "more": True},
        {
            "name": "bills",
            "category": "record",
            "action": "redact",
            "count": 3,
            "kept": 2,
            "until": LATER,
            "basis": "x",
        },
        {"name": "events", "category": "record", "action": "delete", "count": None},
        {"name": "mentions", "category": "membership", "action": "detach", "count": None, "problem": "timed_out"},
    ],
    "out_of_scope": ["accounts"],
}
DRY_RUN = {
    "subject": subject(),
    "targets": [{"name": "files", "category": "content", "kind": "s3", "action": "delete", "reason": "not_ready"}],
    "out_of_scope": ["accounts", "documents"],
}
ENTRY = {
    "request_id": REQUEST_ID,
    "sequence": 1,
    "event_id": "e",
    "event": "requested",
    "at": AT,
    "details": {"family": "native"},
    "previous_digest": DIGEST,
    "digest": DIGEST,
}
HOLD = {
    "hold_id": "lh_01M81GJJY01PZW3N0K92BM88YQ",
    "subject_type": "user",
    "subject_digest": DIGEST,
    "reason": "Litigation 2026-17",
    "author": "legal@example.com",
    "set_at": AT,
    "until": LATER,
    "aliases": 1,
    "held_requests": 1,
}
SUPPRESSION = {"subject_digest": DIGEST, "subject_type": "user", "suppressed_at": AT, "request_id": REQUEST_ID}
KEY = {
    "key": "sk_test_8k2j5h1m9p3q7r4s_4fJ0sZ0Q3b8cXy7mL2nP5vT9wR1kD6hG0aE4uI8oSzM",
    "key_id": "8k2j5h1m9p3q7r4s",
    "mode": "test",
    "scopes": ["erasure:read"],
    "name": "billing",
    "created_at": AT,
    "valid_until": LATER,
    "revoked_at": LATER,
    "last_used_on": "2026-11-23",
    "calls_per_minute": 1200,
}
FIGURES = {
    "sla_hours": 72,
    "open": 12,
    "requested": 4,
    "started": 7,
    "held": 1,
    "overdue": 0,
    "at_risk": {"50": 2, "75": 1, "90": 0},
    "oldest_age_seconds": 198000,
    "seconds_to_deadline": 61200,
    "next_due_at": LATER,
    "finished": {"of": 310, "within": 309, "late": 1},
    "more": False,
}
RULE = {
    "target": "sessions",
    "older_than": "30d",
    "attribute": "last_seen_at",
    "mode": "erase",
    "state": "erasing",
    "last_report": {"at": AT, "request_id": REQUEST_ID, "matched": 1200, "unreadable": 3},
    "last_run": {"at": AT, "request_id": REQUEST_ID, "erased": 1190, "kept": 10},
    "next_at": LATER,
}
OWN = {
    "request_id": REQUEST_ID,
    "state": "finished",
    "attention": False,
    "requested_at": AT,
    "due_at": LATER,
    "finished_at": LATER,
    "targets": [{"target": "documents", "category": "content", "outcome": "erased", "count": 6}],
}
