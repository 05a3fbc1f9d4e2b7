"""Calls by themselves, good and bad, to which the fake and the service answer alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.functional.backend_world import OTHER_TENANT, TARGETS, TENANT

REQUESTS, PLANS, USERS = "/v1/erasure-requests", "/v1/erasure-plans", "/v1/users"
HOLDS, KEYS, MAP, SUPPRESSIONS = "/v1/legal-holds", "/v1/api-keys", "/v1/data-map", "/v1/suppressions"
OWN = "/users/current"
UNKNOWN = "er_01M80EY0A4QSF0B1MX3Y6VC2RT"
HOLD = {"reason": "Litigation 2026-17", "author": "legal@example.com"}


def user(user_id: str = "ann") -> dict[str, str]:
    return {"type": "user", "id": user_id}


def for_users(*user_ids: str, **more: Any) -> dict[str, Any]:
    return {"subjects": [user(user_id) for user_id in user_ids], **more}


class One(NamedTuple):
    """A call by itself, of a backend unless it says a ``person``. Braces in the path name requests of
    :func:`prepare`."""

    method: str
    path: str
    body: object = None
    key: str | None = None
    headers: Mapping[str, str] = {}
    person: str | None = None


def long_list(length: int) -> dict[str, Any]:
    return for_users(*(f"user-{number}" for number in range(length)))


READS = [
    *(One("GET", f"{REQUESTS}/{{{name}}}") for name in ("finished", "attention", "held", "cancelled", "request")),
    One("GET", f"{REQUESTS}/{{waiting}}"),
    One("GET", f"{REQUESTS}/{{theirs}}"),
    One("GET", f"{REQUESTS}/{UNKNOWN}"),
    One("GET", f"{REQUESTS}/not-an-id"),
    *(One("GET", f"{REQUESTS}/{{{name}}}/audit") for name in ("finished", "attention", "held", "cancelled", "waiting")),
    One("GET", f"{REQUESTS}/{{theirs}}/audit"),
    One("GET", REQUESTS),
    One("GET", f"{REQUESTS}?state=held"),
    One("GET", f"{REQUESTS}?subject_id=ann"),
    One("GET", f"{REQUESTS}?subject_id=ann&type=group"),
    One("GET", f"{REQUESTS}?limit=2"),
    One("GET", f"{REQUESTS}?limit=2&cursor={{request}}"),
    One("GET", f"{REQUESTS}?state=open"),
    One("GET", f"{REQUESTS}?state="),
    One("GET", f"{REQUESTS}?limit=0"),
    One("GET", f"{REQUESTS}?limit=101"),
    One("GET", f"{REQUESTS}?cursor=elsewhere"),
    One("GET", f"{REQUESTS}?subject_id="),
    One("GET", f"{REQUESTS}?subject_id=ann&type=person"),
    One("POST", REQUESTS, for_users("ann", "walt", dry_run=True)),
    One("POST", REQUESTS, for_users("ann", dry_run=True, scope={"organization_ids": ["org_1"]})),
    One("POST", REQUESTS, for_users("a/b", "ann", dry_run=True)),
    One("POST", REQUESTS, for_users("ann", dry_run=True, not_before="2026-05-01T00:00:00+02:00")),
    One("POST", PLANS, {"subject": user()}),
    One("POST", PLANS, {"subject": user("nobody")}),
    One("POST", PLANS, {**for_users("ann", "nobody"), "categories": ["content"]}),
    One("POST", PLANS, {"subject": user("nobody"), "scope": {"organization_ids": ["org_1"]}}),
    One("POST", PLANS, {"subject": user(), "subjects": [user()]}),
    One("POST", PLANS, {"subject": "ann"}),
    One("POST", PLANS, {"subjects": []}),
    One("POST", PLANS, {}),
    One("POST", PLANS, long_list(11)),
    One("POST", PLANS, {"subject": user(), "dry_run": True}),
    One("GET", "/v1/sla"),
    One("GET", "/v1/retention"),
    One("GET", "/v1/retention", key="platform", headers={"X-Tenant-ID": TENANT}),
    One("GET", MAP),
    One("GET", f"{MAP}?version=1"),
    One("GET", f"{MAP}?version=7"),
    One("GET", f"{MAP}?version=0"),
    One("GET", f"{MAP}?version=one"),
    One("GET", HOLDS),
    One("GET", f"{HOLDS}?limit=no"),
    One("GET", f"{HOLDS}?cursor=elsewhere"),
    One("GET", f"{HOLDS}/hana"),
    One("GET", f"{HOLDS}/hana?type=group"),
    One("GET", f"{HOLDS}/hana?kind=user"),
    One("GET", f"{HOLDS}/ann"),
    One("GET", SUPPRESSIONS),
    One("GET", f"{SUPPRESSIONS}/sue"),
    One("GET", f"{SUPPRESSIONS}/ann"),
    One("GET", f"{SUPPRESSIONS}/sue?type=group"),
    One("GET", f"{USERS}/ann"),
    One("GET", f"{USERS}/finn"),
    One("GET", f"{USERS}/nobody"),
    One("GET", f"{USERS}/{'u' * 257}"),
    One("GET", f"{USERS}/a%2Fb"),
    One("GET", f"{USERS}/%20"),
    One("GET", f"{USERS}/a%0Ab"),
    One("GET", f"{USERS}/a%FF"),
    One("GET", f"{USERS}/a%b"),
    One("GET", f"{REQUESTS}/{{request}}/"),
    One("GET", f"{OWN}/deletion-preview", person="ann"),
    One("GET", f"{OWN}/erasure-requests/{UNKNOWN}", person="ann"),
    One("GET", f"{OWN}/erasure-requests/not-an-id", person="ann"),
    One("GET", f"{OWN}/erasure-requests/{{request}}", person="finn"),
    One("GET", f"{OWN}/erasure-requests/{{finished}}", person="finn"),
    One("GET", f"/api/v1{OWN}/erasure-requests/{{attention}}", person="abe"),
    One("GET", "/health"),
    One("GET", "/health", key=""),
]
"""Reads and tries: nothing is changed by them."""

CREATIONS: list[object] = [
    None,
    "{",
    "[]",
    '{"subjects": [], "subjects": []}',
    '{"subjects": NaN}',
    '"text"',
    {},
    {"subjects": []},
    {"subjects": "ann"},
    {"subjects": ["ann"]},
    {"subjects": [{"id": "ann"}]},
    {"subjects": [{"type": "person", "id": "ann"}]},
    {"subjects": [{"type": "user"}]},
    {"subjects": [{"type": "user", "id": 7}]},
    {"subjects": [{"type": "user", "id": "ann", "name": "Ann"}]},
    for_users(""),
    for_users("   "),
    for_users("a\nb"),
    for_users("u" * 257),
    for_users("a/b"),
    for_users("ann", reason="because"),
    for_users("ann", categories=[]),
    for_users("ann", categories="content"),
    for_users("ann", categories=["contents"]),
    for_users("ann", categories=["preference"]),
    for_users("ann", scope=None),
    for_users("ann", scope={}),
    for_users("ann", scope={"organization_ids": []}),
    for_users("ann", scope={"organization_ids": ["org/1"]}),
    for_users("ann", scope={"organizations": ["org_1"]}),
    for_users("ann", scope={"organization_ids": [f"org-{number}" for number in range(101)]}),
    for_users("ann", scope={"organization_ids": [f"{number:0>256}" for number in range(100)]}),
    {"subjects": [{"type": "organization", "id": "org_1"}]},
    {"subjects": [{"type": "organization", "id": "org_1"}], "scope": {"organization_ids": ["org_1"]}},
    for_users("ann", not_before="2026-04-01T12:00:00"),
    for_users("ann", not_before="2026-04-01"),
    for_users("ann", not_before="2026-02-30T12:00:00Z"),
    for_users("ann", not_before="2026-02-01T12:00:00Z"),
    for_users("ann", not_before="2036-02-01T12:00:00Z"),
    for_users("ann", not_before=1_900_000_000),
    for_users("ann", dry_run="yes"),
    for_users("ann", plan_hash="0" * 64),
    for_users("ann", plan_hash="0"),
    for_users("ann", "bob", plan_hash="0" * 64),
    long_list(1001),
    json.dumps(for_users("ann")) + " " * (4 * 1024 * 1024),
]
REFUSALS = [
    *(One("POST", REQUESTS, body) for body in CREATIONS),
    One("POST", REQUESTS, for_users("ann"), headers={"Idempotency-Key": "k" * 257}),
    One("POST", REQUESTS, for_users("ann"), headers={"Idempotency-Key": " "}),
    One("POST", REQUESTS, for_users("ann"), key=""),
    One("POST", REQUESTS, for_users("ann"), key="nonsense"),
    One("POST", REQUESTS, for_users("ann"), key="sk_live_" + "a" * 16 + "_" + "b" * 43),
    One("POST", REQUESTS, for_users("ann"), key="reader"),
    One("POST", REQUESTS, for_users("ann"), key="platform"),
    One("POST", REQUESTS, for_users("ann"), key="platform", headers={"X-Tenant-ID": "*"}),
    One("POST", REQUESTS, for_users("ann"), headers={"X-Tenant-ID": OTHER_TENANT}),
    One("POST", REQUESTS, for_users("ann"), key="", headers={"Authorization": "Bearer "}),
    One("POST", REQUESTS, for_users("ann"), key="", headers={"Authorization": "Digest abc"}),
    One("POST", REQUESTS, for_users("ann"), key="", headers={"Authorization": "Basic not-base64!"}),
    One("POST", REQUESTS, for_users("ann"), key="", headers={"x-velt-api-key": "abc"}),
    *(One("POST", f"{REQUESTS}/{{{name}}}/cancel") for name in ("finished", "attention", "held", "theirs")),
    *(One("POST", f"{REQUESTS}/{{{name}}}/retry") for name in ("finished", "cancelled", "held", "waiting", "theirs")),
    *(One("POST", f"{REQUESTS}/{{{name}}}/expedite") for name in ("finished", "cancelled", "held", "request")),
    One("POST", f"{REQUESTS}/not-an-id/cancel"),
    One("DELETE", f"{USERS}/nobody"),
    One("DELETE", f"{USERS}/hana"),
    One("DELETE", f"{USERS}/a%2Fb"),
    One("DELETE", f"{USERS}/ann", key="reader"),
    One("DELETE", f"{USERS}/ann", key=""),
    One("DELETE", f"{USERS}/ann", headers={"Idempotency-Key": ""}),
    One("DELETE", f"{USERS}/ann", headers={"X-Tenant-ID": OTHER_TENANT}),
    One("POST", f"{USERS}/ann/disable"),
    One("POST", f"{USERS}/ann/disable", []),
    One("POST", f"{USERS}/ann/disable", {"revoke_sessions": 1}),
    One("POST", f"{USERS}/ann/disable", {"delete_after_days": 0}),
    One("POST", f"{USERS}/ann/disable", {"delete_after_days": 3651}),
    One("POST", f"{USERS}/ann/disable", {"delete_after_days": True}),
    One("POST", f"{USERS}/ann/disable", {"delete_after_days": 1.5}),
    One("POST", f"{USERS}/nobody/disable", {}),
    One("POST", f"{USERS}/hana/disable", {"revoke_sessions": True}),
    One("POST", f"{USERS}/nobody/enable"),
    One("POST", f"{USERS}/bulk-delete", {}),
    One("POST", f"{USERS}/bulk-delete", {"user_ids": []}),
    One("POST", f"{USERS}/bulk-delete", {"user_ids": "ann"}),
    One("POST", f"{USERS}/bulk-delete", {"user_ids": ["ann", ""]}),
    One("POST", f"{USERS}/bulk-delete", {"user_ids": [f"u-{number}" for number in range(1001)]}),
    One("PUT", f"{HOLDS}/ann", {}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "reason": ""}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "reason": "r" * 501}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "author": "a\tb"}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "reason": "about ANN."}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "aliases": ["legal@example.com"]}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "aliases": "ann"}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "aliases": [f"a-{number}" for number in range(21)]}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "until": "2026-01-01T00:00:00Z"}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "until": "tomorrow"}),
    One("PUT", f"{HOLDS}/ann", {**HOLD, "note": "x"}),
    One("PUT", f"{HOLDS}/ann?typ=group", HOLD),
    One("PUT", f"{HOLDS}/ann?type=team", HOLD),
    One("PUT", f"{HOLDS}/ann", HOLD, key="reader"),
    One("DELETE", f"{HOLDS}/ann"),
    One("DELETE", f"{HOLDS}/hana?type=group"),
    One("DELETE", f"{HOLDS}/hana?kind=user"),
    One("DELETE", f"{SUPPRESSIONS}/ann"),
    One("DELETE", f"{SUPPRESSIONS}/sue?kind=user"),
    One("PUT", MAP, {"version": 1, "targets": TARGETS}),
    One("POST", KEYS, {}),
    One("POST", KEYS, {"scopes": []}),
    One("POST", KEYS, {"scopes": "all"}),
    One("POST", KEYS, {"scopes": ["everything"]}),
    One("POST", KEYS, {"scopes": ["erasure:read"], "name": 7}),
    One("POST", KEYS, {"scopes": ["erasure:read"], "name": "n" * 101}),
    One("POST", KEYS, {"scopes": ["erasure:read"], "calls_per_minute": 0}),
    One("POST", KEYS, {"scopes": ["erasure:read"], "calls_per_minute": "many"}),
    One("POST", KEYS, {"scopes": ["erasure:read"], "valid_until": "2026-01-01T00:00:00Z"}),
    One("POST", KEYS, {"scopes": ["erasure:read"], "mode": "live"}),
    One("POST", KEYS, {"scopes": ["erasure:read"]}, key="reader"),
    One("POST", KEYS, {"scopes": ["map:write"]}, key="maker"),
    One("DELETE", f"{KEYS}/{'a' * 16}"),
    One("DELETE", OWN, key=""),
    One("DELETE", OWN, person="hana"),
    One("DELETE", OWN, person="a/b"),
    One("DELETE", OWN, person="ann", headers={"Idempotency-Key": " "}),
    One("POST", f"{OWN}/confirm-delete", {"delete_id": "x"}, person="ann"),
    One("POST", f"{OWN}/confirm-delete", {"delete_id": 7}, person="ann"),
    One("POST", f"{OWN}/confirm-delete", {}, person="ann"),
    One("POST", f"{OWN}/confirm-delete", person="ann"),
    One("POST", f"{OWN}/confirm-delete", "[]", person="ann"),
    One("POST", f"{OWN}/confirm-delete?timeout=-1", {"delete_id": "x"}, person="ann"),
    One("POST", f"{OWN}/confirm-delete?timeout=soon", {"delete_id": "x"}, person="ann"),
    One("POST", f"{OWN}/confirm-delete", json.dumps({"delete_id": "x" * 17_000}), person="ann"),
    One("GET", f"{OWN}/deletion-preview", key=""),
]
"""Calls that are refused, and change nothing by it."""
