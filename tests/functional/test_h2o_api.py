"""The subject API as API Gateway sees it: events in, proxy responses out, with self-deletion in memory behind it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aws_lambda_powertools.logging import Logger

from erasure.domain.outcome import BLOCKED, RETAINED, TargetOutcome
from erasure.domain.subject import Subject
from erasure.entry import api as wire
from erasure.entry.exchange import MAX_BODY_BYTES, OPEN, SUBJECT, Call, Route, answer
from erasure.entry.h2o import H2OFamily
from erasure.entry.settings import SubjectApiSettings
from erasure.entry.subject_api import make_subject_api
from erasure.entry.tokens import Principal
from erasure.errors import AuthenticationError, HeldError, UnavailableError
from erasure.services.current_map import CurrentMap
from erasure.services.erasure_plans import ErasurePlans
from erasure.services.self_deletion import HELD_MESSAGE
from tests import fake_jobs, fakes
from tests.client.memory_self_deletion import MemorySelfDeletion, no_plans
from tests.functional.backend_world import a_map

EVENTS = Path(__file__).parents[2] / "events" / "subject_api"
TENANT = "acme-tenant-of-the-tests"
ALICE = Subject(TENANT, "alice-of-the-tests")
ENVIRONMENT = {
    "DELETE_IDS_TABLE": "ids",
    "REQUESTS_TABLE": "requests",
    "REGISTRY_TABLE": "registry",
    "AUDIT_TABLE": "audit",
    "INTERACTIVE_QUEUE_URL": "https://queue.example",
    "DIGEST_KEY_SECRET_ARN": "arn:secret",
    "OIDC_ISSUER": "https://issuer.example",
    "OIDC_AUDIENCE": "erasure",
    "CONFIRM_WAIT_SECONDS": "20",
    "READER_FUNCTION": "reader",
}

Reply = dict[str, Any]


class NamesAreTokens:
    """A verifier that believes everybody: ``Bearer alice`` is Alice."""

    def verify(self, authorization: str | None) -> Principal:
        if not authorization or not authorization.startswith("Bearer "):
            raise AuthenticationError("missing_token")
        name = authorization.removeprefix("Bearer ")
        if name == "expired":
            raise AuthenticationError("expired")
        return Principal(Subject(TENANT, f"{name}-of-the-tests"), f"{name}-sub", f"{name}-name", f"{name}@example.com")


class Remaining:
    """A Lambda context with so many seconds left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class Api:
    """The API under test, and shorthands for calling it by event."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.service = MemorySelfDeletion(lambda: self.now)
        self.log = io.StringIO()
        settings = SubjectApiSettings.load(ENVIRONMENT)
        self.maps, self.reader = fakes.FakeDataMapStore(a_map()), fake_jobs.FakeDataReader()
        plans = ErasurePlans(CurrentMap(self.maps), self.reader, lambda: b"a key of the tests", lambda: self.now)
        self.handle = make_subject_api(self.service, NamesAreTokens(), settings, self.logger(), lambda: plans)

    def logger(self) -> Logger:
        # Loggers of one name are one logger with the first one's stream.
        return Logger(service=f"subject_api-{uuid4()}", stream=self.log, level="INFO")

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def call(self, case: str, *, by: str | None = "alice", context: object = None, **changes: object) -> Reply:
        """Send ``events/subject_api/<case>.json`` as ``by``, with ``changes`` to the event's members."""
        return self.handle(make_event(case, by, **changes), context)

    def delete_id(self, by: str = "alice") -> str:
        return str(body_of(self.call("request_deletion", by=by))["delete_id"])

    def confirm(self, delete_id: object, *, by: str = "alice", context: object = None, **changes: object) -> Reply:
        changes = {"body": json.dumps({"delete_id": delete_id}), **changes}
        return self.call("confirm_deletion", by=by, context=context, **changes)


def make_event(case: str, by: str | None = "alice", **changes: object) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{case}.json").read_text())
    for headers in (event["headers"], event["multiValueHeaders"]):
        headers.pop("Authorization", None)
    if by is not None:
        event["headers"]["Authorization"] = f"Bearer {by}"
        event["multiValueHeaders"]["Authorization"] = [f"Bearer {by}"]
    added = changes.pop("headers", {})
    assert isinstance(added, dict)
    event["headers"] |= added
    return {**event, **changes}


def body_of(reply: Reply) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(reply["body"])
    return body


def header_of(reply: Reply, name: str) -> str | None:
    values = reply["multiValueHeaders"].get(name, [None])
    assert len(values) == 1
    value: str | None = values[0]
    return value


@pytest.fixture
def api() -> Api:
    return Api()


# ---------------------------------------------------------------- the two steps


@pytest.mark.parametrize("case", ["request_deletion", "request_deletion_api_v1"])
def test_delete_hands_out_a_delete_id(api: Api, case: str) -> None:
    """DELETE answers exactly 200 with the id and until when it is good."""
    reply = api.call(case)
    assert reply["statusCode"] == 200
    assert body_of(reply) == {"delete_id": "delete-id-0", "expires_at": "2026-01-31T12:05:00.000Z"}


@pytest.mark.parametrize(
    "case", ["confirm_deletion", "confirm_deletion_api_v1", "confirm_deletion_base64", "confirm_deletion_custom_domain"]
)
def test_confirmation_of_a_finished_erasure_is_an_empty_204(api: Api, case: str) -> None:
    """204 without a body once everything is erased, however the confirmation travels."""
    body = json.dumps({"delete_id": api.delete_id()})
    if case == "confirm_deletion_base64":
        body = base64.b64encode(body.encode()).decode()
    reply = api.call(case, body=body)
    assert (reply["statusCode"], reply["body"]) == (204, "")
    assert str(header_of(reply, "X-Erasure-Request-Id")).startswith("er_")
    assert api.service.erased == [ALICE]


@pytest.mark.parametrize(
    "outcome",
    [
        TargetOutcome("bills", "content", RETAINED, 3, kept=2, until="2031-01-01T00:00:00.000Z", basis="tax law"),
        TargetOutcome("files", "content", BLOCKED, 0, kept=1, until=None),
    ],
)
def test_nothing_that_is_kept_is_confirmed_as_gone(api: Api, outcome: TargetOutcome) -> None:
    """With anything kept by law or by a lock there is no 204: the answer leads to the status that tells of it."""
    api.service.outcomes = (outcome,)
    reply = api.confirm(api.delete_id())
    assert reply["statusCode"] == 202
    status = body_of(show(api, body_of(reply)["request_id"]))
    assert status["state"] == "finished"
    assert status["targets"] == [outcome.to_dict()]


def test_an_earlier_delete_id_stays_valid(api: Api) -> None:
    """The client re-sends its DELETE: each id it got may be confirmed."""
    first, _second = api.delete_id(), api.delete_id()
    assert api.confirm(first)["statusCode"] == 204


def rejected_ids(api: Api) -> dict[str, object]:
    reused, expired = api.delete_id(), api.delete_id()
    assert api.confirm(reused)["statusCode"] == 204
    api.now += timedelta(minutes=6)
    return {
        "wrong user": api.delete_id(by="bob"),
        "reused": reused,
        "expired": expired,
        "unknown": "delete-id-999",
        "empty": "",
        "odd": "../*%\x00\ud800",
        "number": 5,
        "null": None,
        "list": ["delete-id-1"],
        "object": {"delete_id": "delete-id-1"},
        "boolean": True,
    }


def test_rejected_delete_ids_cannot_be_told_apart(api: Api) -> None:
    """Wrong user's, reused, expired, unknown and malformed ids: one answer, byte for byte, and nothing is erased."""
    ids = rejected_ids(api)
    erased = list(api.service.erased)
    replies = {name: api.confirm(delete_id) for name, delete_id in ids.items()}
    replies["missing"] = api.call("confirm_deletion", body="{}")
    assert {json.dumps(reply, sort_keys=True) for reply in replies.values()} == {
        json.dumps(replies["unknown"], sort_keys=True)
    }
    assert replies["unknown"]["statusCode"] == 400
    assert body_of(replies["unknown"]).keys() == {"code", "message"}
    assert api.service.erased == erased


def test_malformed_delete_ids_take_the_way_of_wrong_ones(api: Api) -> None:
    """They reach the store like any other id, so that they do not answer faster."""
    for delete_id in (5, None, "", ["x"]):
        api.confirm(delete_id)
    assert len(api.service.confirmed) == 4


def test_the_wrong_users_attempt_does_not_use_the_id_up(api: Api) -> None:
    """Bob's try with Alice's id costs Alice nothing."""
    delete_id = api.delete_id()
    assert api.confirm(delete_id, by="bob")["statusCode"] == 400
    assert api.confirm(delete_id)["statusCode"] == 204


# ---------------------------------------------------------------- waiting


@pytest.mark.parametrize(
    ("timeout", "remaining", "waited"),
    [
        (None, None, 20.0),
        ("300", None, 20.0),
        ("300.0", None, 20.0),
        ("12.5", None, 12.5),
        ("7.", None, 7.0),
        ("0", None, 0.0),
        ("0.0", None, 0.0),
        ("300", 12.0, 10.0),
        ("300", 1.0, 0.0),
        ("5", 12.0, 5.0),
    ],
)
def test_the_wait_is_the_shortest_of_three(
    api: Api, timeout: str | None, remaining: float | None, waited: float
) -> None:
    """The caller's timeout, the configured limit, and what is left of the function's time."""
    query = None if timeout is None else {"timeout": timeout}
    context = None if remaining is None else Remaining(remaining)
    assert api.confirm(api.delete_id(), context=context, queryStringParameters=query)["statusCode"] == 204
    assert api.service.waits == [waited]


@pytest.mark.parametrize(
    "timeout",
    ["-1", "-0", "nan", "NaN", "inf", "Infinity", "1e3", "soon", "", " 5", "5 ", "1_0", "٣", "0x10", "5,0", "9" * 400],
)
def test_a_bad_timeout_is_refused_before_the_id_is_consumed(api: Api, timeout: str) -> None:
    """400 names the field, and the delete id can still be confirmed."""
    delete_id = api.delete_id()
    reply = api.confirm(delete_id, queryStringParameters={"timeout": timeout})
    assert reply["statusCode"] == 400
    assert body_of(reply) == {"code": 400, "message": "timeout: must be a number of seconds, 0 or more"}
    assert api.confirm(delete_id)["statusCode"] == 204


@pytest.mark.parametrize("state", ["requested", "started"])
def test_an_unfinished_erasure_is_a_202_with_its_whereabouts(api: Api, state: str) -> None:
    """Never a false 204: exactly the request id and where to ask."""
    api.service.state = state
    reply = api.confirm(api.delete_id())
    request_id = header_of(reply, "X-Erasure-Request-Id")
    assert reply["statusCode"] == 202
    assert body_of(reply) == {
        "request_id": request_id,
        "status_url": f"/prod/users/current/erasure-requests/{request_id}",
    }
    assert str(header_of(reply, "Retry-After")).isdigit()


def status_url_of(api: Api, case: str, *, changes: Callable[[dict[str, Any]], None] = lambda _event: None) -> str:
    api.service.state = "started"
    event = make_event(case, body=json.dumps({"delete_id": api.delete_id()}))
    changes(event)
    reply = api.handle(event, None)
    url, request_id = body_of(reply)["status_url"], body_of(reply)["request_id"]
    assert url.endswith(f"erasure-requests/{request_id}")
    return str(url).removesuffix(request_id)


def test_status_url_behind_a_stage(api: Api) -> None:
    """The stage and the client's /api/v1 stay in it."""
    assert status_url_of(api, "confirm_deletion_api_v1") == "/prod/api/v1/users/current/erasure-requests/"


def test_status_url_behind_a_custom_domain(api: Api) -> None:
    """A base path of two segments stays in it, and no stage gets in."""
    url = status_url_of(api, "confirm_deletion_custom_domain")
    assert url == "/privacy/erasure/api/v1/users/current/erasure-requests/"


def test_status_url_of_a_call_with_a_trailing_slash(api: Api) -> None:
    """A trailing slash, which API Gateway lets through, does not move it."""

    def add_slash(event: dict[str, Any]) -> None:
        event["path"] += "/"
        event["requestContext"]["path"] += "/"

    assert status_url_of(api, "confirm_deletion", changes=add_slash) == "/prod/users/current/erasure-requests/"


def test_status_url_where_the_api_does_not_know_its_address(api: Api) -> None:
    """Without a domain name in the event it is relative to the URL that was called."""
    url = status_url_of(api, "confirm_deletion", changes=lambda event: event["requestContext"].pop("domainName"))
    assert url == "erasure-requests/"


def test_what_could_not_be_erased_is_an_error_at_once(api: Api) -> None:
    """The client takes any 2xx as success, so attention is a 500 that still says which request it is."""
    api.service.state, api.service.attention = "started", True
    reply = api.confirm(api.delete_id())
    assert reply["statusCode"] == 500
    assert body_of(reply).keys() == {"code", "message", "request_id", "status_url"}
    assert header_of(reply, "X-Erasure-Request-Id") == body_of(reply)["request_id"]


@pytest.mark.parametrize(("state", "why"), [("held", HELD_MESSAGE), ("cancelled", "not being carried out")])
def test_what_is_not_being_carried_out_is_a_conflict(api: Api, state: str, why: str) -> None:
    """A held or cancelled request is no 2xx either, and says which it is."""
    api.service.state = state
    reply = api.confirm(api.delete_id())
    assert (reply["statusCode"], body_of(reply)["code"]) == (409, 409)
    assert why in body_of(reply)["message"]
    assert header_of(reply, "X-Erasure-Request-Id")


def test_one_whom_a_legal_hold_concerns_gets_no_delete_id(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 in the family's envelope, before the person has confirmed anything."""

    def refuse(*_arguments: object, **_named: object) -> None:
        raise HeldError(HELD_MESSAGE)

    monkeypatch.setattr(api.service, "issue_delete_id", refuse)
    reply = api.call("request_deletion")
    message = "Your data is under a legal hold and cannot be deleted at present."
    assert (reply["statusCode"], body_of(reply)) == (409, {"code": 409, "message": message})


def test_an_accepted_erasure_keeps_its_id_when_waiting_fails(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id is consumed by then: losing the request id to an error would leave the person with nothing."""

    def fail(*_arguments: object) -> None:
        raise UnavailableError("the store does not answer")

    monkeypatch.setattr(api.service, "wait", fail)
    reply = api.confirm(api.delete_id())
    assert reply["statusCode"] == 202
    assert header_of(reply, "X-Erasure-Request-Id") == body_of(reply)["request_id"]
    assert api.log_lines()[-1]["reason"] == "progress_unknown"


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("body", "encoded"),
    [
        (None, False),
        ("", False),
        ("{", False),
        ('{"delete_id": NaN}', False),
        ('"delete-id-0"', False),
        ("[]", False),
        ("null", False),
        ("[" * 16000, False),
        ('{"delete_id":' * 1000 + "1" + "}" * 1000, False),
        ('{"delete_id": ' + "9" * 5000 + "}", False),
        ("not base64!", True),
        (base64.b64encode(b"\xff\xfe").decode(), True),
        (json.dumps({"delete_id": "x" * MAX_BODY_BYTES}), False),
        (json.dumps({"delete_id": "ü" * (MAX_BODY_BYTES // 2)}, ensure_ascii=False), False),
        (base64.b64encode(json.dumps({"delete_id": "x" * MAX_BODY_BYTES}).encode()).decode(), True),
    ],
)
def test_a_body_that_is_no_small_json_object_is_a_400(api: Api, body: str | None, encoded: bool) -> None:
    """It names the body and never reaches the service."""
    reply = api.call("confirm_deletion", body=body, isBase64Encoded=encoded)
    assert reply["statusCode"] == 400
    assert body_of(reply)["message"].startswith("body: ")
    assert api.service.confirmed == []


@pytest.mark.parametrize("key", ["", " ", "x" * 257, "a\nb"])
@pytest.mark.parametrize("case", ["request_deletion", "confirm_deletion"])
def test_a_bad_idempotency_key_is_a_400(api: Api, case: str, key: str) -> None:
    """It names the header and never reaches the service."""
    reply = api.call(case, headers={"Idempotency-Key": key})
    assert reply["statusCode"] == 400
    assert body_of(reply)["message"].startswith("Idempotency-Key: ")
    assert api.service.keys == []


def test_the_idempotency_key_is_passed_on(api: Api) -> None:
    """The same key and body give the same request; with another body it is a 409."""
    delete_id = api.delete_id()
    answers = [api.confirm(delete_id, headers={"idempotency-KEY": "k1"}) for _ in range(2)]
    assert [reply["statusCode"] for reply in answers] == [204, 204]
    assert len({header_of(reply, "X-Erasure-Request-Id") for reply in answers}) == 1
    other = api.confirm(api.delete_id(), headers={"idempotency-key": "k1"})
    assert (other["statusCode"], body_of(other)["code"]) == (409, 409)


@pytest.mark.parametrize("spelling", ["authorization", "AUTHORIZATION", "Authorization", "aUTHORIZATION"])
def test_headers_are_read_in_any_case(api: Api, spelling: str) -> None:
    """AWS passes them as sent, the emulator in lower case."""
    reply = api.call("request_deletion", by=None, headers={spelling: "Bearer alice"})
    assert reply["statusCode"] == 200


# ---------------------------------------------------------------- who is calling


@pytest.mark.parametrize(
    "case", ["request_deletion", "request_deletion_api_v1", "confirm_deletion", "show_request", "describe"]
)
def test_without_a_good_token_every_route_is_a_401(api: Api, case: str) -> None:
    """One answer for all reasons; the reason is in the log."""
    replies = [api.call(case, by=by) for by in (None, "expired")]
    assert replies[0] == replies[1]
    assert replies[0]["statusCode"] == 401
    assert body_of(replies[0]).keys() == {"code", "message"}
    assert header_of(replies[0], "WWW-Authenticate") == "Bearer"
    assert [line["reason"] for line in api.log_lines()] == ["missing_token", "expired"]
    assert api.service.confirmed == []


def test_only_health_is_open() -> None:
    """Every route says how it authenticates; nothing but the health check is open."""
    routes = H2OFamily(MemorySelfDeletion(), 25, no_plans).routes()
    assert {route.auth for route in routes} == {SUBJECT}
    assert len(routes) == len({(route.method, route.path) for route in routes}) == 8


def test_health_needs_no_token(api: Api) -> None:
    """200 and a status for whoever asks."""
    reply = api.call("health", by=None)
    assert (reply["statusCode"], body_of(reply)["status"]) == (200, "ok")


def test_a_handler_cannot_use_a_principal_that_was_not_authenticated() -> None:
    """An open route that asks who is calling is a bug, and answers 500 rather than to anybody."""

    class Careless(H2OFamily):
        def routes(self) -> list[Route]:
            return [Route("GET", "/open", OPEN, lambda call: answer(200, {"user": call.principal.subject.id}))]

    family = Careless(MemorySelfDeletion(), 25, no_plans)
    handle = wire.Api([family], Logger(service="x", stream=io.StringIO()), default=family, subjects=NamesAreTokens())
    reply = handle(make_event("health", "alice", path="/open", resource="/open"), None)
    assert reply["statusCode"] == 500


# ---------------------------------------------------------------- how far it is


def accepted(api: Api, state: str = "started") -> str:
    api.service.state = state
    return str(header_of(api.confirm(api.delete_id()), "X-Erasure-Request-Id"))


def show(api: Api, request_id: str, by: str = "alice") -> Reply:
    path = f"/users/current/erasure-requests/{request_id}"
    return api.call("show_request", by=by, path=path, pathParameters={"request_id": request_id})


def test_a_request_shows_how_far_it_is(api: Api) -> None:
    """State, attention and times; no finished_at before it is."""
    request_id = accepted(api)
    assert body_of(show(api, request_id)) == {
        "request_id": request_id,
        "state": "started",
        "attention": False,
        "requested_at": "2026-01-31T12:00:00.000Z",
        "due_at": "2026-02-03T12:00:00.000Z",
        "targets": [],
    }


def test_a_finished_request_says_since_when(api: Api) -> None:
    """finished_at is there once it is finished."""
    assert body_of(show(api, accepted(api, "finished")))["finished_at"] == "2026-01-31T12:00:00.000Z"


def test_other_peoples_requests_do_not_exist(api: Api) -> None:
    """Somebody else's, an unknown and a malformed id: the same 404."""
    mine = accepted(api)
    replies = [
        show(api, mine, by="bob"),
        show(api, "er_01K7PC3T8F0000000000000000"),
        show(api, "er_*"),
        show(api, "er_" + "Z" * 26),
        show(api, "er_%zz"),
        show(api, mine.replace("_", "%5F")),
    ]
    assert {json.dumps(reply, sort_keys=True) for reply in replies} == {json.dumps(replies[0], sort_keys=True)}
    assert (replies[0]["statusCode"], body_of(replies[0])["code"]) == (404, 404)


# ---------------------------------------------------------------- the handshake

META = {
    "version", "build", "username", "user_id", "subject", "email", "is_guest", "license_expired", "license_expiry_date",
    "global_configs", "user_configs", "picture", "groups", "workspaces", "permissions", "ui_config",
}  # fmt: skip
UI_CONFIG = {
    "logo", "chat_logo", "primary_color", "chat_name", "greeting", "show_private_button", "show_workers_status",
    "show_live_logs", "show_eval", "show_extractors", "public_mode",
}  # fmt: skip


def test_meta_has_every_field_of_the_handshake(api: Api) -> None:
    """All the fields that the client insists on, filled from the token."""
    meta = body_of(api.call("describe"))
    assert meta.keys() == META
    assert meta["ui_config"].keys() == UI_CONFIG
    assert (meta["user_id"], meta["subject"]) == ("alice-of-the-tests", "alice-sub")
    assert (meta["username"], meta["email"]) == ("alice-name", "alice@example.com")
    assert meta["version"] == "1.7.5"


@pytest.mark.parametrize("version", ["<script>", "x" * 65, "1.0\r\nX: y", ""])
def test_meta_does_not_echo_what_is_no_version(api: Api, version: str) -> None:
    """What does not look like a version is answered with our own."""
    meta = body_of(api.call("describe", headers={"X-Client-Version": version}))
    assert meta["version"] == meta["build"]


# ---------------------------------------------------------------- every answer


@pytest.mark.parametrize("by", ["alice", None])
@pytest.mark.parametrize("case", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_every_answer_carries_the_common_headers(api: Api, case: str, by: str | None) -> None:
    """JSON, the gateway's request id, and nothing may be cached, whether it went well or not."""
    reply = api.call(case, by=by)
    assert header_of(reply, "Content-Type") == "application/json"
    assert header_of(reply, "X-Request-Id") == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    assert header_of(reply, "Cache-Control") == "no-store"
    assert reply["statusCode"] == 204 or body_of(reply)
    json.dumps(reply)


def test_an_unknown_path_is_a_404_in_the_envelope(api: Api) -> None:
    """In case the gateway ever lets one through."""
    reply = api.call("health", path="/nowhere", resource="/nowhere")
    assert (reply["statusCode"], body_of(reply)["code"]) == (404, 404)
    assert header_of(reply, "X-Request-Id")


@pytest.mark.parametrize("path", ["/users/current", "/users/current/"])
def test_a_wrong_method_is_a_405_that_names_the_right_one(api: Api, path: str) -> None:
    """With Allow, as HTTP wants it."""
    reply = api.call("request_deletion", httpMethod="PUT", path=path)
    assert (reply["statusCode"], body_of(reply)["code"]) == (405, 405)
    assert header_of(reply, "Allow") == "DELETE"


def test_an_unavailable_dependency_is_a_500_that_may_be_tried_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own text stays inside."""

    def fail(*_arguments: object, **_keywords: object) -> None:
        raise UnavailableError("inner text")

    monkeypatch.setattr(api.service, "confirm", fail)
    reply = api.confirm("x")
    assert (reply["statusCode"], body_of(reply)["code"]) == (500, 500)
    assert header_of(reply, "Retry-After")
    assert "inner" not in reply["body"]


def test_a_bug_is_a_500_that_tells_nobody_anything(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the envelope; the log has the kind and the place, not the message."""

    def fail(*_arguments: object, **_keywords: object) -> None:
        raise KeyError("secret-table alice-of-the-tests")

    monkeypatch.setattr(api.service, "issue_delete_id", fail)
    reply = api.call("request_deletion")
    assert reply["statusCode"] == 500
    assert body_of(reply) == {"code": 500, "message": "Something went wrong on our side."}
    assert "secret-table" not in api.log.getvalue()
    unexpected = next(line for line in api.log_lines() if line["message"] == "unexpected")
    assert unexpected["kind"] == "KeyError"
    assert unexpected["places"][-1].startswith("test_h2o_api.py:")


def test_nothing_sensitive_is_logged(api: Api) -> None:
    """Over all kinds of calls: no token, no person, no tenant, no delete id, no path as it was sent."""
    rejected_ids(api)
    accepted(api)
    api.confirm("my-delete-id-000", queryStringParameters={"timeout": "soon-999"})
    api.confirm("my-delete-id-000")
    api.service.attention = True
    accepted(api)
    show(api, "er_my-path-parameter")
    api.call("health", path="/my-path-parameter", resource="/my-path-parameter")
    api.call("confirm_deletion", body="my-delete-id-000")
    api.call("describe", by="expired")
    text = api.log.getvalue()
    for secret in ("-of-the-tests", "Bearer", "delete-id", "my-path-parameter", "soon-999", "example.com"):
        assert secret not in text
    lines = api.log_lines()
    assert {"DeleteIdRejectedError", "InvalidInputError", "NotFoundError", "attention", "no_route", "expired"} <= {
        line["reason"] for line in lines
    }
    shown = next(line for line in lines if line["reason"] == "NotFoundError")
    assert shown["route"] == "/users/current/erasure-requests/{request_id}"
    assert (shown["status"], shown["request_id"]) == (404, "c6af9ac6-7b61-11e6-9a41-93e8deadbeef")


def test_powertools_dev_mode_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """POWERTOOLS_DEV makes Powertools print whole events; not here."""
    monkeypatch.setenv("POWERTOOLS_DEV", "true")
    Api().call("request_deletion")
    assert capsys.readouterr().out == ""


def test_calls_do_not_see_each_other(api: Api) -> None:
    """What one call knew is gone for the next: an unauthenticated call after Alice's is nobody's."""
    assert api.call("request_deletion")["statusCode"] == 200
    assert api.call("request_deletion", by=None)["statusCode"] == 401


def test_a_call_knows_no_time_limit_outside_lambda() -> None:
    """Without a context, only the other limits count."""
    assert Call(make_event("health", None), None).remaining_seconds() == float("inf")
