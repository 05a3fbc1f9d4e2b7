"""Calls of the native API, and what they may be refused with."""

from __future__ import annotations

from typing import Any

from tests.functional.backend_calls import BackendApi, Reply, body_of, header_of
from tests.functional.backend_world import USER

PATH = "/v1/erasure-requests"
ANY_USER = {"type": "user", "id": USER}


def users(*ids: str) -> list[dict[str, str]]:
    return [{"type": "user", "id": user_id} for user_id in ids]


def post(api: BackendApi, subjects: object = None, *, key: str | None = None, **more: Any) -> Reply:
    """``more``: further fields of the body; ``idempotency_key``: a header."""
    idempotency_key = more.pop("idempotency_key", None)
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    body = {"subjects": [ANY_USER] if subjects is None else subjects, **more}
    return api.call("POST", PATH, body, key=key, headers=headers)


def accept(api: BackendApi, user_id: str = USER, **more: Any) -> str:
    """One accepted request's id."""
    reply = post(api, users(user_id), **more)
    assert reply["statusCode"] == 202
    request_id: str = body_of(reply)["requests"][0]["request"]["id"]
    return request_id


def show(api: BackendApi, request_id: str, action: str = "", **more: Any) -> Reply:
    return api.call("GET", f"{PATH}/{request_id}{action}", **more)


def act(api: BackendApi, request_id: str, action: str, **more: Any) -> Reply:
    return api.call("POST", f"{PATH}/{request_id}/{action}", **more)


def listed(api: BackendApi, query: str = "", **more: Any) -> list[str]:
    """The subjects of a page, in its order."""
    reply = api.call("GET", f"{PATH}{query}", **more)
    assert reply["statusCode"] == 200
    return [entry["subject"]["id"] for entry in body_of(reply)["requests"]]


def check_problem(reply: Reply, status: int, code: str) -> list[dict[str, str]]:
    """An error as of RFC 9457; returns what is wrong with which fields."""
    body: dict[str, Any] = body_of(reply)
    assert (reply["statusCode"], body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"urn:erasure:problem:{code}"
    assert body["title"]
    assert body["detail"] == body["message"] != ""
    assert header_of(reply, "Content-Type") == "application/problem+json"
    assert header_of(reply, "X-Request-Id")
    errors: list[dict[str, str]] = body.pop("errors", [])
    assert set(body) == {"type", "title", "status", "detail", "code", "message"}
    return errors


def check_rule(reply: Reply, field: str, rule: str) -> None:
    """A 400 for one field, with the whole rule or its beginning."""
    (error,) = check_problem(reply, 400, "invalid_request")
    assert error["field"] == field
    assert error["rule"].startswith(rule)


def check_nothing_was_written(api: BackendApi) -> None:
    """Neither a request nor a trail of one, nor an idempotency key, nor a message."""
    world = api.world
    kept = (world.requests.records, world.requests.batches, world.requests.waiting, world.idempotency.records)
    assert not any([*kept, world.audit.trails, world.queue.messages])
