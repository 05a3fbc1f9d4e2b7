"""What the document says of the routes of our own API; see :mod:`erasure.entry.openapi_routes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from erasure.entry import openapi_models as models
from erasure.entry import openapi_native as native
from erasure.entry.native import DEFAULT_LIMIT, MAX_LIMIT, STATES
from erasure.entry.openapi_routes import AT, BATCH, DUE, NATIVE, PURGED, REQUEST, USER, Answer, Operation, query, whole

KEY = "k3y1d0f7h3b4ck3n"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

TYPE_OF_ID = query(models.SubjectType, "What the id is one of; `user` if left out.")
PAGE_LENGTH = whole(MAX_LIMIT, f"How long a page may be; {DEFAULT_LIMIT} if left out.")

A_REQUEST = {
    "id": REQUEST,
    "subject": {"type": "user", "id": USER},
    "state": "requested",
    "attention": False,
    "requested_at": AT,
    "due_at": DUE,
    "purged_by": PURGED,
}
_ENTRY = {
    "request_id": REQUEST,
    "sequence": 1,
    "event_id": "requested",
    "event": "requested",
    "at": AT,
    "details": {"family": "native", "subject_type": "user"},
    "previous_digest": "0" * 64,
    "digest": DIGEST,
}

_REQUESTS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/erasure-requests"): Operation(
        "createErasureRequests",
        NATIVE,
        "Erase subjects",
        {
            202: Answer(
                "One disposition for each different subject. `X-Erasure-Request-Id` is the request's id if there is"
                " one subject, else the batch's.",
                native.AcceptedErasures,
                {
                    "batch_id": BATCH,
                    "requests": [
                        {"subject": {"type": "user", "id": USER}, "status": "accepted", "request": A_REQUEST},
                    ],
                },
                accepted=None,
            ),
            200: Answer(
                "With `dry_run`: what would be covered.",
                native.DryRun,
                {
                    "dry_run": True,
                    "plans": [
                        {
                            "subject": {"type": "user", "id": USER},
                            "targets": [
                                {"name": "documents", "category": "content", "kind": "dynamodb", "action": "delete"}
                            ],
                            "out_of_scope": [],
                        }
                    ],
                },
            ),
        },
        refused=(400, 409),
        description=(
            "A single subject that cannot be erased safely refuses the call; of several, it is told in its disposition."
        ),
        body=native.CreateErasureRequests,
        example={"subjects": [{"type": "user", "id": USER}], "scope": {"organization_ids": ["org_1"]}},
        repeatable=True,
    ),
    ("POST", "/v1/erasure-plans"): Operation(
        "makeErasurePlans",
        NATIVE,
        "What erasing subjects would find",
        {
            200: Answer(
                "One plan for each different subject. Its hash stands for what would be done, not for the counts.",
                native.ErasurePlans,
                {
                    "plans": [
                        {
                            "subject": {"type": "user", "id": USER},
                            "plan_hash": DIGEST,
                            "targets": [
                                {"name": "documents", "category": "content", "action": "delete", "count": 12},
                                {
                                    "name": "invoices",
                                    "category": "record",
                                    "action": "redact",
                                    "count": 3,
                                    "kept": 3,
                                    "until": PURGED,
                                    "basis": "tax law",
                                },
                            ],
                            "out_of_scope": [],
                        }
                    ]
                },
            )
        },
        refused=(400,),
        description="Nothing is written. Counts end at 1,000; what could not be counted in time is told.",
        body=native.MakeErasurePlans,
        example={"subject": {"type": "user", "id": USER}},
    ),
    ("GET", "/v1/erasure-requests"): Operation(
        "listErasureRequests",
        NATIVE,
        "Erasure requests, newest first",
        {200: Answer("A page.", native.ErasureRequests, {"requests": [A_REQUEST], "cursor": REQUEST})},
        refused=(400,),
        query={
            "state": query(Annotated[str, models.one_of(*STATES)], "Only those in this state."),
            "subject_id": query(models.Identifier, "Only those of this subject."),
            "type": TYPE_OF_ID,
            "cursor": query(models.RequestId, "What the page before gave."),
            "limit": PAGE_LENGTH,
        },
    ),
    ("GET", "/v1/erasure-requests/{request_id}"): Operation(
        "showErasureRequest",
        NATIVE,
        "An erasure request, with the progress of each target",
        {
            200: Answer(
                "The request.",
                native.ErasureProgress,
                {
                    **A_REQUEST,
                    "sla": {
                        "age_seconds": 60,
                        "remaining_seconds": 259140,
                        "percent": 0,
                        "paused_seconds": 0,
                        "state": "on_time",
                    },
                    "targets": [
                        {
                            "name": "documents",
                            "category": "content",
                            "state": "waiting",
                            "count": 0,
                            "age_seconds": 60,
                            "remaining_seconds": 259140,
                        }
                    ],
                },
            )
        },
        refused=(400, 404),
    ),
    ("POST", "/v1/erasure-requests/{request_id}/cancel"): Operation(
        "cancelErasureRequest",
        NATIVE,
        "Cancel an erasure request while it is requested",
        {200: Answer("It is cancelled.", native.ErasureRequest, {**A_REQUEST, "state": "cancelled"})},
        refused=(400, 404, 409),
        repeatable=True,
    ),
    ("POST", "/v1/erasure-requests/{request_id}/retry"): Operation(
        "retryErasureRequest",
        NATIVE,
        "Send an erasure request off again",
        {202: Answer("It is on its way.", native.Retried, {"id": REQUEST, "attempt": 2}, accepted=True)},
        refused=(400, 404, 409),
        repeatable=True,
    ),
    ("GET", "/v1/erasure-requests/{request_id}/audit"): Operation(
        "showAuditTrail",
        NATIVE,
        "The audit trail of an erasure request",
        {
            200: Answer(
                "Oldest entry first. Each entry's digest covers the one before it.",
                native.AuditTrail,
                {"id": REQUEST, "whole": True, "entries": [_ENTRY]},
            )
        },
        refused=(400, 404),
    ),
}

_SUPPRESSION = {"subject_digest": DIGEST, "subject_type": "user", "suppressed_at": AT, "request_id": REQUEST}
_SUPPRESSIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/suppressions"): Operation(
        "listSuppressions",
        NATIVE,
        "Subjects that must not be collected again",
        {200: Answer("A page, in the order of their digests.", native.Suppressions, {"suppressions": [_SUPPRESSION]})},
        refused=(400,),
        description="The list knows digests only: it cannot tell whom it holds, only be asked about somebody.",
        query={"cursor": query(models.Digest, "What the page before gave."), "limit": PAGE_LENGTH},
    ),
    ("GET", "/v1/suppressions/{subject_id}"): Operation(
        "showSuppression",
        NATIVE,
        "Whether a subject is on the suppression list",
        {200: Answer("It is.", native.Suppression, _SUPPRESSION)},
        refused=(400, 404),
        query={"type": TYPE_OF_ID},
    ),
    ("DELETE", "/v1/suppressions/{subject_id}"): Operation(
        "deleteSuppression",
        NATIVE,
        "Take a subject off the suppression list",
        {204: Answer("It may be collected again.")},
        refused=(400, 404, 409),
        query={"type": TYPE_OF_ID},
        repeatable=True,
    ),
}

_DATA_MAP = {
    "version": 1,
    "targets": [{"name": "documents", "dynamodb": {"table": "documents", "key": {"pk": "{tenant_id}#{user_id}"}}}],
}
_SETTINGS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/data-map"): Operation(
        "showDataMap",
        NATIVE,
        "The data map: where personal data lies",
        {
            200: Answer(
                "The current one, or that of `version`.",
                native.KnownDataMap,
                {"version": 1, "digest": DIGEST, "document": _DATA_MAP},
            )
        },
        refused=(400, 404),
        query={"version": whole(999_999, "An earlier version.")},
    ),
    ("PUT", "/v1/data-map"): Operation(
        "putDataMap",
        NATIVE,
        "Put a new version of the data map",
        {
            200: Answer(
                "It is the current one now. One that is current already keeps its version.",
                native.NewDataMap,
                {"version": 1, "digest": DIGEST, "warnings": []},
            )
        },
        refused=(400, 409),
        description="With a platform key only: it decides what is erased for every tenant.",
        body=native.DataMapDocument,
        example=_DATA_MAP,
        repeatable=True,
    ),
    ("POST", "/v1/api-keys"): Operation(
        "createApiKey",
        NATIVE,
        "Make an API key",
        {
            201: Answer(
                "The key. Its text is never shown again.",
                native.NewApiKey,
                {
                    "key": f"sk_live_{KEY}_" + "A" * 43,
                    "key_id": KEY,
                    "mode": "live",
                    "scopes": ["erasure:read"],
                    "name": "reports",
                    "created_at": AT,
                },
            )
        },
        refused=(400, 409),
        body=native.CreateApiKey,
        example={"scopes": ["erasure:read"], "name": "reports"},
        repeatable=True,
    ),
    ("GET", "/v1/api-keys"): Operation(
        "listApiKeys",
        NATIVE,
        "The tenant's API keys",
        {
            200: Answer(
                "Oldest first, revoked ones included, without their secrets.",
                native.ApiKeys,
                {
                    "keys": [
                        {
                            "key_id": KEY,
                            "mode": "live",
                            "scopes": ["erasure:read"],
                            "name": "reports",
                            "created_at": AT,
                            "last_used_on": "2026-01-31",
                        }
                    ]
                },
            )
        },
        refused=(400,),
    ),
    ("DELETE", "/v1/api-keys/{key_id}"): Operation(
        "revokeApiKey",
        NATIVE,
        "Revoke an API key",
        {204: Answer("It stops working within seconds.")},
        refused=(400, 404),
        repeatable=True,
    ),
}

OURS: Mapping[tuple[str, str], Operation] = {**_REQUESTS, **_SUPPRESSIONS, **_SETTINGS}
"""By method and path."""
