"""What goes over the line, and what comes of a line that breaks."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from erasure_client import AsyncErasureClient, ErasureClient
from erasure_client._flow import Retries, send
from erasure_client._http import LONGEST_ANSWER
from erasure_client._wire import Call
from erasure_client.errors import (
    ConfigurationError,
    NoAnswerError,
    NotFoundError,
    ServiceError,
    UnexpectedAnswerError,
)
from tests.unit.client.carriers import Driver
from tests.unit.client.lines import Heard, Line, hang_up, say, served

URL = "https://erasure.example.com/prod"
HEALTH = {"status": "ok", "message": "ok", "version": "0.4.0"}


def replying(response: httpx.Response) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return response

    return httpx.MockTransport(reply), asked


def test_what_a_call_looks_like(driver: Driver) -> None:
    """Bearer token, tenant, key, JSON, and an agent that tells the version."""
    transport, asked = replying(httpx.Response(200, json={"delete_id": "d"}))
    driver.through(
        lambda client: client.request_current_user_deletion(idempotency_key="mine"),
        base_url=URL,
        api_key="sk_1",
        tenant_id="acme",
        transport=transport,
    )
    (request,) = asked
    assert (request.method, request.url.path) == ("DELETE", "/prod/users/current")
    sent = {name: request.headers[name] for name in ("authorization", "x-tenant-id", "idempotency-key", "accept")}
    assert list(sent.values()) == ["Bearer sk_1", "acme", "mine", "application/json"]
    assert request.headers["user-agent"].startswith("erasure-client/")


def test_the_order_of_a_body_is_kept(driver: Driver) -> None:
    """The attributes of a key are sent in the order in which they are: it has a meaning."""
    transport, asked = replying(httpx.Response(200, json={"version": 1, "digest": "d", "warnings": []}))
    document = {"targets": [{"key": {"pk": "{subject_id}", "a": "é"}}], "a": 1}
    driver.through(lambda client: client.data_map.put(document), base_url=URL, api_key="sk_1", transport=transport)
    assert asked[0].content == json.dumps(document, separators=(",", ":")).encode()
    assert asked[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("value", [math.nan, object(), b"bytes", {1, 2}])
def test_what_json_cannot_say_is_not_sent(driver: Driver, value: Any) -> None:
    """A document that is no JSON is refused before anything is sent."""
    transport, asked = replying(httpx.Response(200, json={}))
    with pytest.raises(ConfigurationError):
        driver.through(
            lambda client: client.data_map.put({"targets": value}), base_url=URL, api_key="sk_1", transport=transport
        )
    assert asked == []


@pytest.mark.parametrize("body", [{"a": math.nan}, {"a": object()}, {"a": b""}, {("a",): 1}])
def test_no_call_is_sent_with_what_json_cannot_say(driver: Driver, body: Any) -> None:
    """Whatever a call is made of, what cannot be written as JSON is not sent."""
    transport, asked = replying(httpx.Response(200, json={}))
    call = Call("POST", "/v1/erasure-requests", "POST /v1/erasure-requests", body=body)
    with pytest.raises(ConfigurationError):
        driver.through(
            lambda client: client._run(send(call, Retries(0))), base_url=URL, api_key="sk_1", transport=transport
        )
    assert asked == []


def test_redirects_are_not_followed(driver: Driver) -> None:
    """The key does not go to where an answer points."""
    transport, asked = replying(httpx.Response(307, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(UnexpectedAnswerError):
        driver.through(lambda client: client.sla(), base_url=URL, api_key="sk_1", transport=transport)
    assert len(asked) == 1


def test_answers_leave_nothing_behind(driver: Driver) -> None:
    """A cookie of one answer is not sent with the next call."""
    transport, asked = replying(httpx.Response(200, json=HEALTH, headers={"set-cookie": "a=b; Path=/"}))
    if driver.is_async:

        async def twice(client: AsyncErasureClient) -> None:
            await client.health()
            await client.health()
    else:

        def twice(client: ErasureClient) -> None:  # type: ignore[misc]
            client.health()
            client.health()

    driver.through(twice, base_url=URL, api_key="sk_1", transport=transport)
    assert len(asked) == 2
    assert "cookie" not in asked[1].headers


class _Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Bytes without an end, up to twice what is read of any answer."""

    given = 0

    def __iter__(self) -> Any:
        while self.given < 2 * LONGEST_ANSWER:
            self.given += 1 << 20
            yield b" " * (1 << 20)

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece


def test_an_answer_without_an_end_is_not_read_on(driver: Driver) -> None:
    """More than any answer of the service is an error, before memory runs out."""
    stream = _Endless()
    transport, _ = replying(httpx.Response(200, stream=stream))
    with pytest.raises(UnexpectedAnswerError):
        driver.through(lambda client: client.sla(), base_url=URL, api_key="sk_1", transport=transport)
    assert stream.given <= LONGEST_ANSWER + (1 << 21)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"x"', b"<html>", b"[" * 100_000, b"\xff\xfe"])
def test_a_success_that_says_nothing(driver: Driver, content: bytes) -> None:
    """A 200 that is no JSON object is no result: a portal of some network answers everything with 200."""
    transport, _ = replying(httpx.Response(200, content=content))
    for action in (lambda client: client.requests.get("er_1"), lambda client: client.sla()):
        with pytest.raises(UnexpectedAnswerError):
            driver.through(action, base_url=URL, api_key="sk_1", transport=transport)


def test_a_closed_client_says_so(driver: Driver) -> None:
    """After closing, twice if need be, calls are refused as a mistake of the program."""
    transport, asked = replying(httpx.Response(200, json=HEALTH))
    options: dict[str, Any] = {"base_url": URL, "api_key": "sk_1", "transport": transport}
    if driver.is_async:

        async def late() -> None:
            client = AsyncErasureClient(**options)
            await client.aclose()
            await client.aclose()
            await client.health()

        with pytest.raises(ConfigurationError):
            asyncio.run(late())
    else:
        client = ErasureClient(**options)
        client.close()
        client.close()
        with pytest.raises(ConfigurationError):
            client.health()
    assert asked == []


def well(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 200, HEALTH)


def _getting(user_id: str) -> Callable[[Any], Any]:
    return lambda client: client.users.get(user_id)


def test_ids_arrive_as_they_were_sent(driver: Driver) -> None:
    """On the line, too, an id is one segment of the path: dots and slashes lead nowhere else."""

    def unknown(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        say(handler, 404, {"error": "resource_not_found", "message": "User not found."})

    ids = {".": "%2E", "..": "%2E%2E", "a/../b": "a%2F..%2Fb", "é?#%": "%C3%A9%3F%23%25", "a b+": "a%20b%2B"}
    with served(unknown) as line:
        for user_id in ids:
            with pytest.raises(NotFoundError):
                driver.through(_getting(user_id), base_url=line.url, api_key="k")
        assert [heard.path for heard in line.heard] == [f"/v1/users/{encoded}" for encoded in ids.values()]


def test_a_proxy_does_not_get_what_is_not_encrypted(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls to this machine go there, whatever proxy the environment names."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with served(well) as line:
        options = {"base_url": line.url, "api_key": "k", "retries": 0}
        assert driver.through(lambda client: client.health(), **options).version == "0.4.0"


def test_a_lost_answer_does_the_work_once(driver: Driver) -> None:
    """The work is done, the answer gets lost, the repetition has the same key: one request, known to the caller."""

    def forgetful(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        key = heard.headers["idempotency-key"]
        if key not in line.work:
            line.work[key] = 1
            hang_up(handler)
        else:
            say(handler, 200, {"delete_id": f"of {key}"})

    with served(forgetful) as line:
        delete_id = driver.through(lambda client: client.request_current_user_deletion(), base_url=line.url, token="t")
        assert list(line.work.values()) == [1]
        assert [f"of {key}" for key in line.work] == [delete_id]
        assert len(line.heard) == 2


def test_a_confirmation_survives_a_broken_line(driver: Driver) -> None:
    """A confirmation whose answer is lost is the same confirmation when it is repeated."""

    def forgetful(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        if heard.method == "GET":
            say(handler, 404, {"code": 404, "message": "There is no such thing."})
        elif len(line.heard) == 1:
            hang_up(handler)
        else:
            say(handler, 204, X_Erasure_Request_Id="er_1")

    with served(forgetful) as line:
        deletion = driver.through(
            lambda client: client.confirm_current_user_deletion("d", timeout=20), base_url=line.url, token="t"
        )
        assert (deletion.request_id, deletion.is_complete) == ("er_1", True)
        first, second = line.heard[:2]
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert first.body == second.body


def test_nobody_is_there(driver: Driver) -> None:
    """A refused connection is an error that says that the service was not reached, with the key of the call."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="could not be reached") as caught:
            driver.through(
                lambda client: client.requests.create("ann", idempotency_key="mine"),
                base_url=url,
                api_key="k",
                retries=0,
            )
    assert caught.value.idempotency_key == "mine"


def silent(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    line.over.wait(20)
    hang_up(handler)


def test_an_answer_that_takes_too_long(driver: Driver) -> None:
    """After the timeout the call is given up, as one of which nobody knows what it did."""
    with served(silent) as line, pytest.raises(NoAnswerError, match="in time"):
        driver.through(lambda client: client.sla(), base_url=line.url, api_key="k", timeout=0.1, retries=0)


def test_an_answer_that_breaks_off(driver: Driver) -> None:
    """Half an answer is none."""

    def half(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"status": ')
        hang_up(handler)

    with served(half) as line, pytest.raises(NoAnswerError, match="broke"):
        driver.through(lambda client: client.health(), base_url=line.url, api_key="k", retries=0)


def test_one_client_for_many_threads() -> None:
    """Threads that share a client get each its own answer."""

    def echo(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        say(handler, 200, {"id": heard.path.rpartition("/")[2], "status": "active"})

    with served(echo) as line, ErasureClient(line.url, api_key="k") as client, ThreadPoolExecutor(8) as threads:
        names = [f"user-{number}" for number in range(40)]
        assert [user.id for user in threads.map(client.users.get, names)] == names


def test_a_cancelled_task_leaves_a_client_that_works() -> None:
    """A task that waits for an answer can be cancelled, and the client goes on."""

    def first_silent(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        (silent if len(line.heard) == 1 else well)(line, heard, handler)

    async def main(line: Line) -> str:
        async with AsyncErasureClient(line.url, api_key="k") as client:
            task = asyncio.create_task(client.health())
            while not line.heard:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.health()).version

    with served(first_silent) as line:
        assert asyncio.run(main(line)) == "0.4.0"
        assert len(line.heard) == 2


def test_a_slow_call_has_its_time(driver: Driver) -> None:
    """A call that takes long by its nature is waited for longer than the client's timeout says."""
    asked: list[Any] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.extensions["timeout"])
        return httpx.Response(500, json={"error": "internal_error", "message": "x"})

    options = {"base_url": URL, "api_key": "k", "retries": 0, "transport": httpx.MockTransport(reply)}
    for timeout in (5.0, 60.0):
        with pytest.raises(ServiceError):
            driver.through(lambda client: client.users.delete("ann"), timeout=timeout, **options)
    assert asked[0]["read"] == 30.0
    assert asked[0]["connect"] == 5.0
    assert asked[1]["read"] == 60.0
