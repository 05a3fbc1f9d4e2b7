"""What doctor says of the API's answers."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from erasure_client import ErasureClient
from erasure_client._version import __version__
from erasure_client.cli._doctor_api import Seen, look_at_address, look_with_key
from erasure_client.cli._doctor_checks import Check

URL = "https://erasure.example.com/prod"
KEY = "sk_live_0123456789abcdef_secret"
NOW = datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC)
WELL = {"status": "ok", "message": "ok", "version": __version__}
SLA = {
    **dict.fromkeys(("open", "requested", "started", "held", "overdue", "oldest_age_seconds"), 0),
    "sla_hours": 72,
    "at_risk": {"50": 1, "75": 0, "90": 0},
    "finished": {"of": 0, "within": 0, "late": 0},
    "more": False,
}
OWN_KEY = {
    "key_id": "0123456789abcdef",
    "mode": "live",
    "scopes": ["erasure:read", "keys:write"],
    "created_at": "2026-01-01T00:00:00Z",
}
REQUEST = {
    "subject": {"type": "user", "id": "usr_1"},
    "state": "started",
    "attention": False,
    "requested_at": "2026-11-22T01:48:14Z",
    "due_at": "2026-11-25T01:48:14Z",
    "purged_by": "2027-02-20T01:48:14Z",
}
RULE = {"target": "sessions", "older_than": "30d", "attribute": "at", "mode": "erase", "state": "erasing"}
ANSWERS: dict[str, tuple[int, Any]] = {
    "/v1/sla": (200, SLA),
    "/v1/api-keys": (200, {"keys": [OWN_KEY]}),
    "/v1/data-map": (200, {"version": 3, "digest": "9b", "document": {"targets": [{"name": "notes"}]}}),
    "/v1/erasure-requests": (200, {"requests": []}),
    "/v1/retention": (200, {"rules": []}),
}


def problem(status: int, code: str) -> tuple[int, Any]:
    return status, {"status": status, "code": code, "detail": "no", "message": "no"}


def address(answer: httpx.Response | Exception, now: datetime = NOW) -> list[Check]:
    def handle(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        if isinstance(answer, Exception):
            raise answer
        return answer

    return list(look_at_address(URL, httpx.MockTransport(handle), lambda: now))


def health(at: datetime = NOW, **changes: Any) -> httpx.Response:
    return httpx.Response(200, json={**WELL, **changes}, headers={"Date": format_datetime(at, usegmt=True)})


def with_key(**changes: tuple[int, Any]) -> Seen:
    """``changes``: answers, by the last part of the path with ``_`` for ``-``."""
    named = {f"/v1/{name.replace('_', '-')}": answer for name, answer in changes.items()}

    def handle(request: httpx.Request) -> httpx.Response:
        status, body = {**ANSWERS, **named}[request.url.path.removeprefix("/prod")]
        return httpx.Response(status, json=body)

    client = ErasureClient(URL, api_key=KEY, retries=0, transport=httpx.MockTransport(handle))
    return look_with_key(lambda: client, KEY)


def statuses(checks: list[Check] | tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.status for check in checks if check.status != "ok"}


def test_a_service_that_is_well_is_told_so() -> None:
    """Address, version and clock, asked for without the key."""
    checks = address(health())
    assert [(check.name, check.status) for check in checks] == [
        ("address", "ok"),
        ("version", "ok"),
        ("clock", "ok"),
    ]


def certificate_error() -> Exception:
    error = httpx.ConnectError("no")
    error.__cause__ = ssl.SSLCertVerificationError("expired")
    return error


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.ConnectError("no"), "cannot be reached"),
        (httpx.ReadTimeout("no"), "does not answer in time"),
        (certificate_error(), "its certificate is not one that is trusted here"),
        (httpx.Response(403, json={"message": "Forbidden"}), "answers 403 where it should tell its health"),
        (httpx.Response(200, text="<html>"), "answers 200 where it should tell its health"),
        (httpx.Response(301, headers={"Location": "https://elsewhere"}), "answers 301 where it should tell its health"),
    ],
)
def test_an_address_that_is_not_the_service_is_a_problem(answer: Any, said: str) -> None:
    """Nobody there, somebody else, or a certificate that has ended: one problem that says which."""
    (check,) = address(answer)
    assert (check.status, check.said) == ("problem", said)
    assert check.next


@pytest.mark.parametrize(
    ("seconds", "status", "word"),
    [
        (-301, "problem", "behind"),
        (-45, "warning", "behind"),
        (0, "ok", ""),
        (45, "warning", "ahead"),
        (400, "problem", "ahead"),
    ],
)
def test_a_clock_that_is_off_is_told(seconds: int, status: str, word: str) -> None:
    """How far this machine's clock is from the service's, and in which direction."""
    clock = address(health(NOW), NOW + timedelta(seconds=seconds))[2]
    assert clock.status == status
    assert word in clock.said


def test_without_a_date_the_clock_is_unknown() -> None:
    """An answer without a date tells nothing of the clock."""
    assert statuses(address(httpx.Response(200, json=WELL))) == {"clock": "unknown"}


def test_another_version_is_a_warning() -> None:
    """A patch is the same version, a minor one is not."""
    major, minor, _ = __version__.split(".")
    assert statuses(address(health(version=f"{major}.{minor}.99"))) == {}
    assert statuses(address(health(version=f"{major}.{int(minor) + 1}.0"))) == {"version": "warning"}


def test_a_key_that_sees_everything() -> None:
    """Key, scopes, map, promise and rules; the map is handed on for a comparison with the stack."""
    seen = with_key()
    assert statuses(seen.checks) == {}
    assert seen.data_map is not None
    assert "erasure:read, keys:write" in {check.said for check in seen.checks}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (problem(401, "invalid_api_key"), "not accepted: unknown, revoked or expired"),
        (problem(403, "tenant_mismatch"), "the key is not of this tenant"),
        (problem(400, "invalid_request"), "a platform key has to name a tenant"),
    ],
)
def test_a_key_that_cannot_work_is_one_problem(answer: tuple[int, Any], said: str) -> None:
    """It is told once, and nothing else is asked for."""
    (check,) = with_key(sla=answer).checks
    assert (check.status, check.said) == ("problem", said)


def test_what_the_key_may_not_see_is_unknown() -> None:
    """A key without erasure:read is accepted, and what it does not show is not called well."""
    refused = problem(403, "insufficient_permissions")
    seen = with_key(sla=refused, data_map=refused, erasure_requests=refused, api_keys=refused, retention=refused)
    assert statuses(seen.checks) == {
        "scopes": "skipped",
        "version": "unknown",
        "parked": "unknown",
        "rules": "skipped",
    }
    assert seen.data_map is None


def test_no_data_map_is_a_problem() -> None:
    """Without one, nothing is accepted."""
    seen = with_key(data_map=problem(404, "resource_not_found"))
    assert [check.next for check in seen.checks if check.status == "problem"] == [
        "Put one: `erasure data-map put FILE`."
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"overdue": 2, "open": 5}, {"overdue": "problem"}),
        ({"at_risk": {"50": 0, "75": 1, "90": 2}}, {"at risk": "warning"}),
        ({"more": True}, {"counted": "warning"}),
    ],
)
def test_a_promise_that_is_not_kept_is_told(change: dict[str, Any], expected: dict[str, str]) -> None:
    """Late ones are a problem, those that are close to it a warning."""
    assert statuses(with_key(sla=(200, {**SLA, **change})).checks) == expected


def test_what_was_given_up_is_told() -> None:
    """Parked requests are a problem, those that are tried again a warning; neither shows whose they are."""
    requests = [
        {**REQUEST, "id": "er_1", "attention": True, "parked_at": "2026-11-23T01:48:14Z"},
        {**REQUEST, "id": "er_2", "attention": True},
        {**REQUEST, "id": "er_3"},
    ]
    seen = with_key(erasure_requests=(200, {"requests": requests}))
    assert statuses(seen.checks) == {"parked": "problem", "attention": "warning"}
    told = [check.said for check in seen.checks if check.status != "ok"]
    assert told == ["1 not tried again by itself", "1 with something not erased"]
    assert "usr_1" not in str(seen.checks)


@pytest.mark.parametrize(("days", "status"), [(3, "warning"), (90, "ok")])
def test_a_key_that_ends_soon_is_told(days: int, status: str) -> None:
    """Two weeks before, so that another can be made."""
    until = (datetime.now(UTC) + timedelta(days=days, hours=1)).isoformat()
    seen = with_key(api_keys=(200, {"keys": [{**OWN_KEY, "valid_until": until}]}))
    (scopes,) = [check for check in seen.checks if check.name == "scopes"]
    assert scopes.status == status
    assert (f"{days} days" in scopes.said) == (status == "warning")


def test_a_platform_key_is_not_in_the_list() -> None:
    """What cannot be told of it is unknown."""
    assert statuses(with_key(api_keys=(200, {"keys": []})).checks) == {"scopes": "unknown"}


def test_ages_that_cannot_be_read_are_told() -> None:
    """A retention rule that leaves things because of their age's form is a warning on its target."""
    run = {"at": "2026-11-22T11:36:22Z", "request_id": "er_1", "erased": 5, "unreadable": 3}
    seen = with_key(retention=(200, {"rules": [{**RULE, "last_run": run}, {**RULE, "target": "events"}]}))
    assert statuses(seen.checks) == {"sessions": "warning"}


@pytest.mark.parametrize("path", ["data_map", "erasure_requests", "retention", "api_keys"])
def test_an_answer_that_fails_ends_nothing(path: str) -> None:
    """What the service cannot tell now is unknown; the rest is told."""
    seen = with_key(**{path: problem(500, "internal_error")})
    assert list(statuses(seen.checks).values()) == ["unknown"]
    assert len(seen.checks) >= 6
