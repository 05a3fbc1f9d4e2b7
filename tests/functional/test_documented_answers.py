"""Every answer of the API keeps to its document: status, headers, content type, and a body without other keys."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import quote
from uuid import uuid4

import pytest
from aws_lambda_powertools.logging import Logger

from erasure.domain.api_key import PLATFORM
from erasure.domain.retention_runs import EndedRun, KnownRule, RetentionRun
from erasure.entry import openapi
from erasure.entry.api import Api
from erasure.entry.backend_api import make_backend_api
from erasure.entry.exchange import BACKEND, SUBJECT, Call
from erasure.entry.subject_api import make_subject_api
from erasure.errors import (
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    IdempotencyMismatchError,
    InvalidInputError,
    MalformedBodyError,
    NotFoundError,
    RateLimitedError,
    TransitionError,
    UnavailableError,
    UnfinishedError,
)
from erasure.services.retention_rules import rules_of
from tests.functional.backend_calls import BackendApi, make_event
from tests.functional.backend_world import TENANT
from tests.functional.test_h2o_api import Api as SubjectApi
from tests.unit.openapi_document import REQUEST, check_answer, document, problems_of, resolved


class Refusing:
    """Stands before every route with a caller, and refuses as a family's use case would."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def authenticate(self, call: Call, _scope: str) -> NoReturn:
        call.rate = (600, 12, 1_800_000_000)
        raise self._error

    def verify(self, _authorization: str | None) -> NoReturn:
        raise self._error


def api_with(guard: Any, auth: str) -> Api:
    nothing: Any = SimpleNamespace(confirm_wait_seconds=0, paths_are_encoded=True)
    logger = Logger(service=f"test_openapi-{uuid4()}", level="CRITICAL")
    if auth == SUBJECT:
        return make_subject_api(nothing, guard, nothing, logger, nothing)
    names = ("erasures", "plans", "accounts", "keys", "suppressions", "data_maps", "idempotency", "digest_key", "now")
    families = openapi.families_of_time(nothing)
    return make_backend_api(verifier=guard, logger=logger, **families, **dict.fromkeys(names, nothing))


COMMON = [AuthenticationError("missing_token"), UnavailableError("the table could not be read"), RuntimeError("a bug")]
REFUSED: dict[str, list[Exception]] = {
    SUBJECT: COMMON,
    BACKEND: [
        *COMMON,
        AuthenticationError("invalid_api_key"),
        ForbiddenError("insufficient_permissions", "The key does not have the scope users:write."),
        ForbiddenError("tenant_mismatch", "X-Tenant-ID is not the tenant of this key."),
        InvalidInputError("X-Tenant-ID", "is required with a platform key"),
        RateLimitedError(7),
    ],
}
OF_USE_CASES = [
    InvalidInputError("page", "must be a whole number, 1 or more"),
    MalformedBodyError("must be JSON"),
    NotFoundError("there is no such thing"),
    ConflictError("It is held."),
    TransitionError("it is finished"),
    IdempotencyMismatchError("Idempotency-Key: was used with another body"),
]
"""What a route may refuse with if the document says so."""


def is_own(answer: dict[str, Any]) -> bool:
    """Whether the family refuses so, and not API Gateway alone."""
    return any("service" in content.get("examples", {}) for content in answer.get("content", {}).values())


@pytest.mark.parametrize("auth", [SUBJECT, BACKEND])
def test_every_refusal_is_documented(auth: str) -> None:
    """On every route, every error that can be raised there is told as the document says, and no other is documented."""
    for route in [route for route in openapi.documented_routes() if route.auth == auth]:
        responses = document()["paths"][route.path][route.method.lower()]["responses"]
        own = {int(status) for status, answer in responses.items() if is_own(resolved(answer))}
        path = re.sub(r"{\w+}", REQUEST, route.path)
        told = set()
        for error in REFUSED[auth] + OF_USE_CASES:
            reply = api_with(Refusing(error), auth)(make_event(route.method, path, {}, None) | {"resource": path}, None)
            if error in REFUSED[auth] or reply["statusCode"] in own:
                check_answer((route.method, route.path), reply)
                told.add(reply["statusCode"])
        assert told == own, route.path


def test_accepted_but_not_done_is_documented() -> None:
    """A deletion that was accepted and has not taken effect yet tells its request in a header that is documented."""
    guard = Refusing(UnfinishedError("It goes on by itself.", REQUEST))
    reply = api_with(guard, BACKEND)(make_event("DELETE", "/v1/users/ann", {}, None), None)
    assert reply["multiValueHeaders"]["X-Erasure-Request-Id"] == [REQUEST]
    check_answer(("DELETE", "/v1/users/{user_id}"), reply)


class Caller:
    """Calls the API and compares each answer with the document, and each body with its schema."""

    def __init__(self) -> None:
        self.api = BackendApi()
        self.answered: dict[tuple[str, str], set[int]] = {}

    def __call__(
        self, method: str, path: str, body: object = None, *, query: str = "", key: str | None = None, **values: str
    ) -> Any:
        target = path
        for name, value in values.items():
            target = target.replace(f"{{{name}}}", quote(value, safe=""))
        event = make_event(method, target + query, self._headers(key), None if body is None else json.dumps(body))
        reply = self.api.handle({**event, "resource": path}, None)
        operation = document()["paths"][path][method.lower()]
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            is_right = problems_of(schema, body) == []
            assert is_right is (reply["statusCode"] not in (400, 422)), (path, body, reply["body"])
        check_answer((method, path), reply)
        self.answered.setdefault((method, path), set()).add(reply["statusCode"])
        return json.loads(reply["body"]) if reply["body"] else None

    def each(self, method: str, path: str, *bodies: object, **more: Any) -> None:
        for body in bodies:
            self(method, path, body, **more)

    def _headers(self, key: str | None) -> dict[str, str]:
        key = self.api.key if key is None else key
        return {"Authorization": f"Bearer {key}", **({"X-Tenant-ID": "tnt_1"} if key != self.api.key else {})}


@pytest.fixture
def call() -> Caller:
    return Caller()


def test_hellojohns_answers_keep_to_the_document(call: Caller) -> None:
    """Users that are shown, disabled, enabled, deleted and gone; refused are the bodies that break their schema."""
    for user_id in ("ann", "bob"):
        call.api.world.put_user(user_id)
    one = "/v1/users/{user_id}"
    call("GET", one, user_id="ann")
    call.each(
        "POST",
        f"{one}/disable",
        {},
        {"revoke_sessions": True, "delete_after_days": 30, "more": 1},
        {"delete_after_days": None},
        {"delete_after_days": 0},
        {"delete_after_days": 1.5},
        {"revoke_sessions": None},
        user_id="ann",
    )
    assert call("GET", one, user_id="ann")["status"] == "disabled"
    call("POST", f"{one}/enable", user_id="ann")
    for _ in range(2):
        call("DELETE", one, user_id="ann")
    call("GET", one, user_id=" ")
    results = call("POST", "/v1/users/bulk-delete", {"user_ids": ["ann", "bob", "bob", "ćwirek/1"]})["results"]
    assert {result["status"] for result in results} == {"not_found", "accepted", "refused"}
    call.each(
        "POST",
        "/v1/users/bulk-delete",
        {"user_ids": []},
        {"user_ids": [""]},
        {"user_ids": "ann"},
        {"user_ids": ["a" * 257]},
        {},
    )
    assert call.answered[("DELETE", one)] == {204, 404}
    assert call.answered[("GET", one)] == {200, 422}
    assert call.answered[("POST", "/v1/users/bulk-delete")] == {202, 422}


def test_h2os_answers_keep_to_the_document() -> None:
    """A deletion from its id to its end: done, on its way, stuck, held back, and never accepted."""
    api = SubjectApi()
    confirm = ("POST", "/users/current/confirm-delete")
    check_answer(("GET", "/health"), api.call("health", by=None))
    check_answer(("GET", "/rpc/meta"), api.call("describe"))
    check_answer(("DELETE", "/users/current"), api.call("request_deletion"))
    check_answer(("DELETE", "/api/v1/users/current"), api.call("request_deletion_api_v1", by=None))
    statuses = []
    for state, attention in (("finished", False), ("started", False), ("started", True), ("held", False)):
        api.service.state, api.service.attention = state, attention
        reply = api.confirm(api.delete_id())
        check_answer(confirm, reply)
        (request_id,) = reply["multiValueHeaders"]["X-Erasure-Request-Id"]
        one = "/users/current/erasure-requests/{request_id}"
        shown = api.call("show_request", path=one.format(request_id=request_id))
        check_answer(("GET", one), shown)
        statuses += [reply["statusCode"], shown["statusCode"]]
    for delete_id in ("wrong", None):
        check_answer(confirm, api.confirm(delete_id))
    assert statuses == [204, 200, 202, 200, 500, 200, 409, 200]


def test_velts_answers_keep_to_the_document(call: Caller) -> None:
    """Deleting data and asking how far that is, before and after; refused are the bodies that break their schema."""
    call.api.world.put_user("ann")
    delete, status = "/v2/users/data/delete", "/v2/users/data/delete/status"
    job_id = call("POST", delete, {"data": {"userIds": ["ann"], "organizationIds": None}})["data"]["jobId"]
    call("POST", status, {"data": {"jobId": job_id}})
    call.api.world.run_batch()
    assert call("POST", status, {"data": {"jobId": job_id}})["result"]["data"]["isDeleteCompleted"]
    call("POST", delete, {"data": {"userIds": ["ann"], "organizationIds": ["org_1"]}, "more": 1})
    call.each(
        "POST",
        delete,
        {},
        {"data": []},
        {"data": {"userIds": []}},
        {"data": {"userIds": [" "]}},
        {"data": {"userIds": ["ann"], "organizationIds": []}},
        {"data": {"userIds": ["ann"], "organizationIds": [7]}},
    )
    call.each("POST", status, {"data": {"jobId": "no"}}, {"data": {"jobId": 7}}, {"data": {}})
    assert call.answered == {("POST", delete): {202, 400}, ("POST", status): {200, 400, 404}}


@pytest.mark.parametrize("kind", ["user", "group"])
def test_junes_answers_keep_to_the_document(call: Caller, kind: str) -> None:
    """Requests that are made twice and listed, before and after; refused are the bodies that break their schema."""
    call.api.world.put_user("ann")
    call.api.world.put_group("ann")
    create = f"/api/platform/data_management/{kind}_deletion_request"
    call.each(
        "POST",
        create,
        {f"{kind}_id": "ann"},
        {f"{kind}_id": "ann", "more": 1},
        {},
        {f"{kind}_id": None},
        {f"{kind}_id": ""},
    )
    assert call("GET", f"{create}s")["total"] == 1
    call.api.world.run_batch()
    assert call("GET", f"{create}s", query="?state=finished&page=1")["data"][0]["finished_at"]
    for query in ("?state=cancelled", "?page=0", "?page=x", "?page=1.0"):
        call("GET", f"{create}s", query=query)
    assert call.answered == {("POST", create): {200, 400}, ("GET", f"{create}s"): {200, 400}}


def test_native_answers_keep_to_the_document(call: Caller) -> None:
    """Requests from being tried to being audited; refused are the bodies that break their schema."""
    everything, one = "/v1/erasure-requests", "/v1/erasure-requests/{request_id}"
    call.api.world.put_user("ann")
    ann, bob = {"type": "user", "id": "ann"}, {"type": "user", "id": "bob"}
    call("POST", everything, {"subjects": [ann], "dry_run": True, "scope": {"organization_ids": ["org_1"]}})
    request = call("POST", everything, {"subjects": [ann]})["requests"][0]["request"]
    refused = {"type": "user", "id": "a/b"}
    results = call("POST", everything, {"subjects": [ann, bob, bob, refused], "dry_run": False})["requests"]
    assert [result["status"] for result in results] == ["accepted", "accepted", "refused"]
    later = call("POST", everything, {"subjects": [bob], "not_before": "2030-01-31T12:00:00+01:00"})
    assert later["requests"][0]["request"]["not_before"]
    call.each(
        "POST",
        everything,
        {},
        {"subjects": []},
        {"subjects": [{"id": "ann"}]},
        {"subjects": [{"type": "robot", "id": "ann"}]},
        {"subjects": [{**ann, "more": 1}]},
        {"subjects": [ann], "scope": None},
        {"subjects": [ann], "scope": {}},
        {"subjects": [ann], "scope": {"organization_ids": []}},
        {"subjects": [ann], "not_before": None},
        {"subjects": [ann], "dry_run": "yes"},
        {"subjects": [ann], "more": 1},
    )
    assert call("GET", everything, query="?limit=1&state=requested")["cursor"]
    call("GET", everything, query="?subject_id=ann&type=user")
    for query in ("?state=gone", "?limit=101", "?cursor=x", "?subject_id="):
        call("GET", everything, query=query)
    call("GET", one, request_id=request["id"])
    call("POST", f"{one}/cancel", request_id=later["requests"][0]["request"]["id"])
    call("POST", f"{one}/retry", request_id=later["requests"][0]["request"]["id"])
    call.api.world.run_batch()
    assert call("GET", one, request_id=request["id"])["finished_at"]
    call("POST", f"{one}/cancel", request_id=request["id"])
    call("GET", f"{one}/audit", request_id=request["id"])
    for method, path in (("GET", one), ("POST", f"{one}/cancel"), ("POST", f"{one}/retry"), ("GET", f"{one}/audit")):
        call(method, path, request_id=REQUEST)
    assert call.answered == {
        ("POST", everything): {200, 202, 400},
        ("GET", everything): {200, 400},
        ("GET", one): {200, 404},
        ("POST", f"{one}/cancel"): {200, 404, 409},
        ("POST", f"{one}/retry"): {404, 409},
        ("GET", f"{one}/audit"): {200, 404},
    }


def test_a_retry_keeps_to_the_document(call: Caller) -> None:
    """Sending a request off again tells the attempt."""
    everything = "/v1/erasure-requests"
    body = {"subjects": [{"type": "user", "id": "ann"}]}
    request = call("POST", everything, body)["requests"][0]["request"]
    assert call("POST", f"{everything}/{{request_id}}/retry", request_id=request["id"])["attempt"] == 2


def test_the_promise_keeps_to_the_document(call: Caller) -> None:
    """Figures without and with requests; a request that waits, starts at once, and then waits for nothing; ages of
    targets and jobs; plans that tell from when."""
    everything, one = "/v1/erasure-requests", "/v1/erasure-requests/{request_id}"
    ann = {"type": "user", "id": "ann"}
    world = call.api.world
    world.put_user("ann")
    call("GET", "/v1/sla")
    world.tenants.set_grace(TENANT, timedelta(days=7))
    assert call("POST", everything, {"subjects": [ann], "dry_run": True})["plans"][0]["not_before"]
    assert call("POST", "/v1/erasure-plans", {"subject": ann})["plans"][0]["not_before"]
    request_id = call("POST", everything, {"subjects": [ann]})["requests"][0]["request"]["id"]
    assert call("GET", one, request_id=request_id)["sla"]["state"] == "on_time"
    for id_of_one in (request_id, request_id, REQUEST):
        call("POST", f"{one}/expedite", request_id=id_of_one)
    world.clock.advance(1)
    assert world.requests.start(world.request(request_id), world.clock(), 1, f"{request_id}-1", 1)
    assert call("GET", one, request_id=request_id)["job"]["attempt"] == 1
    world.clock.advance(80 * 3600)
    assert call("GET", "/v1/sla")["overdue"] == 1
    assert call("GET", one, request_id=request_id)["sla"]["state"] == "breached"
    assert call.answered[("POST", f"{one}/expedite")] == {202, 404, 409}


def test_legal_holds_keep_to_the_document(call: Caller) -> None:
    """One that is put, changed, listed, shown and lifted, with a request that it holds; refused are the bodies that
    break their schema."""
    everything, one = "/v1/legal-holds", "/v1/legal-holds/{subject_id}"
    requests = "/v1/erasure-requests"
    request = call("POST", requests, {"subjects": [{"type": "user", "id": "ann"}]})["requests"][0]["request"]
    hold = {"reason": "Litigation", "author": "legal@example.com"}
    assert call("PUT", one, hold, subject_id="ann")["held_requests"] == 1
    assert call("GET", f"{requests}/{{request_id}}", request_id=request["id"])["sla"]["state"] == "paused"
    call("PUT", one, {**hold, "until": "2035-01-31T12:00:00Z", "aliases": ["acct_1", "acct_2"]}, subject_id="ann")
    call("PUT", one, {**hold, "aliases": []}, subject_id="bob", query="?type=group")
    call.each(
        "PUT",
        one,
        {},
        {"reason": "Litigation"},
        {**hold, "reason": ""},
        {**hold, "reason": " "},
        {**hold, "reason": "a" * 501},
        {**hold, "reason": "a\nb"},
        {**hold, "author": 7},
        {**hold, "author": "a" * 201},
        {**hold, "until": None},
        {**hold, "until": 7},
        {**hold, "aliases": None},
        {**hold, "aliases": [" "]},
        {**hold, "aliases": [str(number) for number in range(21)]},
        {**hold, "more": 1},
        subject_id="ann",
    )
    assert call("GET", everything, query="?limit=1")["cursor"]
    call("GET", everything, query="?cursor=x")
    for query in ("", "?type=group", "?type=robot"):
        call("GET", one, query=query, subject_id="ann")
    for _ in range(2):
        call("DELETE", one, subject_id="ann")
    assert call.answered[("PUT", one)] == {200, 201, 400}
    assert call.answered[("GET", one)] == {200, 400, 404}
    assert call.answered[("DELETE", one)] == {204, 404}
    assert call.answered[("GET", everything)] == {200, 400}


def test_retention_keeps_to_the_document(call: Caller) -> None:
    """Rules without a run, with a report and with a run; other keys than the platform's are refused."""
    platform, now = call.api.make_key(PLATFORM), call.api.world.clock()
    assert call("GET", "/v1/retention", key=platform) == {"rules": []}
    rule = {"older_than": "30d", "attribute": "seen_at"}
    names = ("old", "reported", "erased")
    targets = [{"name": name, "dynamodb": {"table": name, "key": {"pk": "{tenant_id}#{user_id}"}}} for name in names]
    retention = [{"target": name, **rule} for name in names[:-1]] + [{"target": names[-1], **rule, "mode": "report"}]
    call("PUT", "/v1/data-map", {"version": 1, "targets": targets, "retention": retention}, key=platform)
    digests = list(rules_of(call.api.world.maps.maps[-1].targets))
    report, run = EndedRun(REQUEST, now, 5, kept=1, unreadable=2), EndedRun(REQUEST, now, 4)
    call.api.rules = [
        KnownRule(digests[1], "reported", report=report, begun=RetentionRun("report", digests[1], now)),
        KnownRule(digests[2], "erased", report=report, run=run, begun=RetentionRun("report", digests[2], now)),
    ]
    told = call("GET", "/v1/retention", key=platform)["rules"]
    assert [(rule["target"], rule["state"], "last_run" in rule) for rule in told] == [
        ("old", "reporting", False),
        ("reported", "waiting", False),
        ("erased", "reporting", True),
    ]
    call("GET", "/v1/retention")
    assert call.answered[("GET", "/v1/retention")] == {200, 403}


def test_suppressions_keep_to_the_document(call: Caller) -> None:
    """The list, and one subject that is on it, taken off it, and not on it."""
    one = "/v1/suppressions/{subject_id}"
    for user_id in ("ann", "bob"):
        call("POST", "/api/platform/data_management/user_deletion_request", {"user_id": user_id})
    assert call("GET", "/v1/suppressions", query="?limit=1")["cursor"]
    call("GET", "/v1/suppressions", query="?cursor=x")
    for query in ("", "?type=group", "?type=robot"):
        call("GET", one, query=query, subject_id="ann")
    for _ in range(2):
        call("DELETE", one, subject_id="ann")
    assert call.answered[("GET", one)] == {200, 400, 404}
    assert call.answered[("DELETE", one)] == {204, 404}


def test_data_maps_keep_to_the_document(call: Caller) -> None:
    """Versions that are put and shown, and maps that break rules."""
    platform = call.api.make_key(PLATFORM)
    body = document()["paths"]["/v1/data-map"]["put"]["requestBody"]["content"]["application/json"]
    data_map = body["examples"]["example"]["value"]
    call("PUT", "/v1/data-map", data_map, key=platform)
    call("PUT", "/v1/data-map", data_map)
    call("PUT", "/v1/data-map", {**data_map, "families": {"june": "all", "velt": ["content"]}}, key=platform)
    call.each(
        "PUT",
        "/v1/data-map",
        {},
        {"version": 1, "targets": []},
        {**data_map, "more": 1},
        {**data_map, "families": {"x": "all"}},
        key=platform,
    )
    for query in ("", "?version=1", "?version=999999", "?version=0"):
        call("GET", "/v1/data-map", query=query)
    assert call.answered == {("PUT", "/v1/data-map"): {200, 400, 403}, ("GET", "/v1/data-map"): {200, 400, 404}}


def test_api_keys_keep_to_the_document(call: Caller) -> None:
    """Keys that are made, listed and revoked; refused are the bodies that break their schema."""
    keys = "/v1/api-keys"
    made = call("POST", keys, {"scopes": ["users:read"], "name": "", "valid_until": None, "calls_per_minute": 60})
    call("POST", keys, {"scopes": ["users:read"], "name": "reports", "valid_until": "2035-01-31T12:00:00Z"})
    call.each(
        "POST",
        keys,
        {},
        {"scopes": []},
        {"scopes": ["all"]},
        {"scopes": ["users:read"], "name": " "},
        {"scopes": ["users:read"], "name": "a" * 101},
        {"scopes": ["users:read"], "calls_per_minute": 60_001},
        {"scopes": ["users:read"], "calls_per_minute": 0},
        {"scopes": ["users:read"], "more": 1},
    )
    for _ in range(2):
        call("DELETE", f"{keys}/{{key_id}}", key_id=made["key_id"])
    call("DELETE", f"{keys}/{{key_id}}", key_id="a" * 16)
    assert [key["key_id"] for key in call("GET", keys)["keys"] if "revoked_at" in key] == [made["key_id"]]
    assert call.answered == {
        ("POST", keys): {201, 400},
        ("GET", keys): {200},
        ("DELETE", f"{keys}/{{key_id}}"): {204, 404},
    }
