"""What the document says of the routes about time; see :mod:`erasure.entry.openapi_routes`."""

from __future__ import annotations

from collections.abc import Mapping

from erasure.entry import openapi_clock as clock
from erasure.entry import openapi_models as models
from erasure.entry import openapi_native as native
from erasure.entry.openapi_native_routes import A_REQUEST, DIGEST, PAGE_LENGTH, TYPE_OF_ID
from erasure.entry.openapi_routes import AT, DUE, NATIVE, PURGED, REQUEST, Answer, Operation, query

_HOLD = {
    "hold_id": "lh_01JZ0QJ4Y8W3N2V5T7R9K1M3P6",
    "subject_type": "user",
    "subject_digest": DIGEST,
    "reason": "Litigation 2026-17: evidence must be kept.",
    "author": "legal@example.com",
    "set_at": AT,
    "aliases": 1,
}

_PROMISE: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/sla"): Operation(
        "showSla",
        NATIVE,
        "How the tenant's erasure requests stand to what is promised",
        {
            200: Answer(
                "The figures. They lag behind by a moment.",
                clock.Sla,
                {
                    "sla_hours": 72,
                    "open": 12,
                    "requested": 4,
                    "started": 7,
                    "held": 1,
                    "overdue": 0,
                    "at_risk": {"50": 2, "75": 1, "90": 0},
                    "oldest_age_seconds": 198000,
                    "seconds_to_deadline": 61200,
                    "next_due_at": DUE,
                    "finished": {"of": 310, "within": 310, "late": 0},
                    "more": False,
                },
            )
        },
        refused=(400,),
    ),
    ("POST", "/v1/erasure-requests/{request_id}/expedite"): Operation(
        "expediteErasureRequest",
        NATIVE,
        "Start an erasure request at once that waits for its time",
        {
            202: Answer(
                "It is on its way; `due_at` and `purged_by` count from now.",
                native.ErasureRequest,
                {**A_REQUEST, "not_before": AT},
                accepted=True,
            )
        },
        refused=(400, 404, 409),
        description="One that does not wait, or not any more, is refused.",
        repeatable=True,
    ),
}

_HOLDS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/legal-holds"): Operation(
        "listLegalHolds",
        NATIVE,
        "Subjects of whom nothing may be erased for the time being",
        {200: Answer("A page, in the order of their digests.", clock.LegalHolds, {"legal_holds": [_HOLD]})},
        refused=(400,),
        description="The list knows digests only: it cannot tell whom it holds, only be asked about somebody.",
        query={"cursor": query(models.Digest, "What the page before gave."), "limit": PAGE_LENGTH},
    ),
    ("GET", "/v1/legal-holds/{subject_id}"): Operation(
        "showLegalHold",
        NATIVE,
        "The legal hold of a subject",
        {200: Answer("There is one.", clock.LegalHold, _HOLD)},
        refused=(400, 404),
        query={"type": TYPE_OF_ID},
    ),
    ("PUT", "/v1/legal-holds/{subject_id}"): Operation(
        "putLegalHold",
        NATIVE,
        "Put a subject under a legal hold, or change what it says",
        {
            201: Answer(
                "The subject is held. What is open of it waits, and its promise is paused.",
                clock.SetLegalHold,
                {**_HOLD, "held_requests": 1},
            ),
            200: Answer(
                "It was held before. What the hold says is what was put now.",
                clock.SetLegalHold,
                {**_HOLD, "until": PURGED, "held_requests": 0},
            ),
        },
        refused=(400, 409),
        description="Nothing of the subject is erased from then on, whoever asks for it, until the hold is lifted.",
        body=clock.PutLegalHold,
        example={"reason": _HOLD["reason"], "author": _HOLD["author"], "aliases": ["acct_77"]},
        query={"type": TYPE_OF_ID},
        repeatable=True,
    ),
    ("DELETE", "/v1/legal-holds/{subject_id}"): Operation(
        "deleteLegalHold",
        NATIVE,
        "Lift the legal hold of a subject",
        {204: Answer("What it held, and no other hold does, goes on.")},
        refused=(400, 404, 409),
        query={"type": TYPE_OF_ID},
        repeatable=True,
    ),
}

_RETENTION: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/retention"): Operation(
        "listRetentionRules",
        NATIVE,
        "The data map's retention rules, and what they have done",
        {
            200: Answer(
                "In the order of the map.",
                clock.RetentionRules,
                {
                    "rules": [
                        {
                            "target": "sessions",
                            "older_than": "30d",
                            "attribute": "last_seen_at",
                            "mode": "erase",
                            "state": "waiting",
                            "last_report": {"at": AT, "request_id": REQUEST, "matched": 1200, "unreadable": 3},
                            "next_at": DUE,
                        }
                    ]
                },
            )
        },
        refused=(400,),
        description="With a platform key only: rules are for all tenants.",
    ),
}

OF_TIME: Mapping[tuple[str, str], Operation] = {**_PROMISE, **_HOLDS, **_RETENTION}
"""By method and path."""
