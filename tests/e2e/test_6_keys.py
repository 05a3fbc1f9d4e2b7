"""API keys on the deployed stack: what they open, when they stop, and what refusals give away (nothing)."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from erasure.entry.wiring import utc_now
from local.sample import Person, people
from local.stack import Stack
from tests.e2e.calls import Backend, native_body, wait_for, wait_until_finished

pytestmark = pytest.mark.stack

NOBODY = "er_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_BATCH = "eb_01ARZ3NDEKTSV4RRFFQ69G5FAV"
LIST = "/v1/erasure-requests"
JUNE_LIST = "/api/platform/data_management/user_deletion_requests"
VELT_STATUS = "/v2/users/data/delete/status"


@pytest.fixture(scope="module")
def backend(stack: Stack) -> Backend:
    return Backend(stack, "acme")


def get(stack: Stack, path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{stack.api_url}{path}", headers=named, timeout=60)


def changed(text: str) -> str:
    """Another secret of the same form."""
    return text[:-1] + ("A" if text[-1] != "A" else "B")


def test_every_form_of_a_key_is_taken(stack: Stack, backend: Backend) -> None:
    """Bearer, Basic with the key itself, Basic as curl's -u makes it, and Velt's two headers."""
    encoded = base64.b64encode(f"{backend.key}:".encode()).decode()
    for form in (f"Bearer {backend.key}", f"Basic {backend.key}", f"Basic {encoded}"):
        assert get(stack, LIST, Authorization=form).status_code == 200
    assert get(stack, LIST, x_velt_api_key=backend.key_id, x_velt_auth_token=backend.key).status_code == 200
    assert get(stack, LIST, x_velt_api_key="0" * 16, x_velt_auth_token=backend.key).status_code == 401


def test_bad_keys_are_told_the_same(stack: Stack, backend: Backend) -> None:
    """Unknown, wrong secret, wrong mode and no key at all: 401; the first three cannot be told apart."""
    unknown = f"sk_test_{'0' * 16}_{'A' * 43}"
    bad = [unknown, changed(backend.key), backend.key.replace("sk_test_", "sk_live_"), "sk_test_short"]
    answers = [get(stack, LIST, Authorization=f"Bearer {key}") for key in bad]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["code"] == "invalid_api_key"
    missing = get(stack, LIST)
    assert (missing.status_code, missing.json()["code"]) == (401, "missing_token")


def test_revoked_key_stops_within_seconds(stack: Stack) -> None:
    """A key that was in use a moment ago is refused within ten seconds of its revocation, and stays so."""
    backend = Backend(stack, "acme")
    backend.accept("GET", LIST, 200)
    backend.revoke()
    wait_for(lambda: backend.call("GET", LIST).status_code == 401, "the key to be refused", seconds=10)
    assert [backend.call("GET", LIST).status_code for _ in range(10)] == [401] * 10


def test_expired_key_is_refused(stack: Stack) -> None:
    """A key whose time is over is told what an unknown one is told."""
    backend = Backend(stack, "acme", "", "--valid-days", "1")
    stack.client("dynamodb").update_item(
        TableName=stack["REGISTRY_TABLE"],
        Key={"pk": {"S": f"KEY#{backend.key_id}"}, "sk": {"S": "META"}},
        UpdateExpression="SET valid_until = :past",
        ConditionExpression="attribute_exists(valid_until)",
        ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000Z"}},
    )
    answer = backend.call("GET", LIST)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")


def test_missing_scope_is_refused_in_every_family(stack: Stack) -> None:
    """A key that may only read writes nothing in any family, and each says so in its own envelope."""
    person = Person("acme", "10")
    reader = Backend(stack, person.tenant, "users:read,erasure:read")
    june = "/api/platform/data_management/user_deletion_request"
    refused = {
        "native": reader.call("POST", LIST, native_body([person])),
        "hellojohn": reader.call("DELETE", reader.user(person.user)),
        "velt": reader.call("POST", "/v2/users/data/delete", {"data": {"userIds": [person.user]}}),
        "june": reader.call("POST", june, {"user_id": person.user}),
        "keys": reader.call("POST", "/v1/api-keys", {"scopes": ["users:read"]}),
    }
    assert {family: answer.status_code for family, answer in refused.items()} == dict.fromkeys(refused, 403)
    codes = {family: _code(answer.json()) for family, answer in refused.items()}
    assert codes == {**dict.fromkeys(refused, "insufficient_permissions"), "velt": "PERMISSION_DENIED"}
    writer = Backend(stack, person.tenant, "users:write,erasure:write")
    assert writer.call("GET", LIST).status_code == 403
    assert writer.call("GET", JUNE_LIST).status_code == 403


def _code(body: dict[str, Any]) -> str:
    error = body.get("error", body.get("code"))
    return str(error["status"] if isinstance(error, dict) else error)


def test_tenant_header(stack: Stack, backend: Backend) -> None:
    """A tenant's key acts for its tenant only; a platform key for the tenant that each call names, and for no other."""
    assert backend.call("GET", LIST, X_Tenant_ID="acme").status_code == 200
    mismatch = backend.call("GET", LIST, X_Tenant_ID="globex")
    assert (mismatch.status_code, mismatch.json()["code"]) == (403, "tenant_mismatch")
    unknown = backend.call("GET", LIST, X_Tenant_ID="no-such-tenant")
    assert unknown.text == mismatch.text
    platform = Backend(stack, "*")
    assert platform.call("GET", LIST).status_code == 400
    path = platform.user("anna")
    shown = {
        tenant: platform.call("GET", path, X_Tenant_ID=tenant).status_code for tenant in ("globex", "no-such-tenant")
    }
    assert shown == {"globex": 200, "no-such-tenant": 404}


def test_calls_are_limited_by_key(stack: Stack) -> None:
    """With two calls a minute: at most two are answered in each, the next is a 429 that says when to come back."""
    backend = Backend(stack, "acme", "", "--calls-per-minute", "2")
    answers: list[httpx.Response] = []

    def limited_call() -> list[httpx.Response]:
        answers.append(backend.call("GET", LIST))
        return [answer for answer in answers if answer.status_code == 429]

    limited = wait_for(limited_call, "a call to be refused", every=0)
    by_minute: dict[str, list[str]] = {}
    for answer in answers:
        assert answer.status_code in (200, 429)
        assert answer.headers["X-RateLimit-Limit"] == "2"
        if answer.status_code == 200:
            minute = by_minute.setdefault(answer.headers["X-RateLimit-Reset"], [])
            minute.append(answer.headers["X-RateLimit-Remaining"])
    assert all(remaining == ["1", "0"][: len(remaining)] for remaining in by_minute.values())
    assert {answer.headers["X-RateLimit-Remaining"] for answer in limited} == {"0"}
    now = utc_now().timestamp()
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in limited)
    assert now - 60 <= int(limited[-1].headers["X-RateLimit-Reset"]) <= now + 60
    assert Backend(stack, "acme").call("GET", LIST).status_code == 200


def test_limit_in_hellojohns_envelope(stack: Stack) -> None:
    """HelloJohn's body of a 429 repeats the seconds."""
    backend = Backend(stack, "acme", "", "--calls-per-minute", "1")

    def limited_call() -> httpx.Response | None:
        answer = backend.call("GET", backend.user("anna"))
        return answer if answer.status_code == 429 else None

    limited = wait_for(limited_call, "a call to be refused", every=0)
    assert limited.json()["error"] == "rate_limit_exceeded"
    assert limited.json()["retry_after"] == int(limited.headers["Retry-After"])


def test_nothing_tells_another_tenants_from_nobody(stack: Stack, backend: Backend) -> None:
    """Users, requests and jobs of another tenant get, call by call, the very answers of those that do not exist."""
    owner, stranger = Backend(stack, "globex"), Person("globex", "kim.lee")
    assert stranger.user not in {person.user for person in people() if person.tenant == "acme"}
    assert owner.call("GET", owner.user(stranger.user)).status_code == 200
    job = owner.accept("POST", "/v2/users/data/delete", 202, {"data": {"userIds": ["nobody-ever"]}}).json()["data"]
    (theirs,) = owner.accept("GET", f"{LIST}?subject_id=nobody-ever&limit=1", 200).json()["requests"]
    wait_until_finished(stack, [theirs["id"]])

    def both(method: str, path: str, theirs: str, none: str, body: Any = None) -> tuple[httpx.Response, ...]:
        return tuple(
            backend.call(method, path.replace("ID", one), None if body is None else {"data": {"jobId": one}})
            for one in (theirs, none)
        )

    user = backend.user("ID")
    pairs = [
        both("GET", user, stranger.user, "not.lee"),
        both("DELETE", user, stranger.user, "not.lee"),
        both("POST", f"{user}/enable", stranger.user, "not.lee"),
        both("GET", f"{LIST}/ID", theirs["id"], NOBODY),
        both("GET", f"{LIST}/ID/audit", theirs["id"], NOBODY),
        both("POST", f"{LIST}/ID/cancel", theirs["id"], NOBODY),
        both("POST", f"{LIST}/ID/retry", theirs["id"], NOBODY),
        both("GET", f"{LIST}?subject_id=ID", stranger.user, "not.lee"),
        both("GET", "/v1/suppressions/ID", stranger.user, "not.lee"),
        both("POST", VELT_STATUS, job["jobId"], NO_BATCH, body=True),
    ]
    for one, other in pairs:
        assert one.status_code == other.status_code
        assert _plain(one) == _plain(other)
        assert one.headers.keys() == other.headers.keys()
        assert stranger.user not in one.text
    assert [one.status_code for one, _ in pairs] == [404] * 7 + [200] + [404] * 2


def _plain(answer: httpx.Response) -> dict[str, Any]:
    """The body without the call's own id."""
    body: dict[str, Any] = answer.json()
    return {name: value for name, value in body.items() if name != "request_id"}


def test_key_made_over_the_api_can_do_no_more_than_its_maker(stack: Stack) -> None:
    """A key makes keys of its own tenant and scopes; the new one works and is revoked over the API as well."""
    maker = Backend(stack, "acme", "keys:write,erasure:read")
    assert maker.call("POST", "/v1/api-keys", {"scopes": ["erasure:write"]}).status_code == 403
    made = maker.accept("POST", "/v1/api-keys", 201, {"scopes": ["erasure:read"], "name": "made"}).json()
    bearer = f"Bearer {made['key']}"
    assert get(stack, LIST, Authorization=bearer).status_code == 200
    assert get(stack, LIST, Authorization=bearer, X_Tenant_ID="globex").status_code == 403
    maker.accept("DELETE", f"/v1/api-keys/{made['key_id']}", 204)
    wait_for(lambda: get(stack, LIST, Authorization=bearer).status_code == 401, "the key to be refused", seconds=10)
