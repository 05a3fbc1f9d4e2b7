"""Ids, keys and tokens are on the line and in results, and nowhere else: not in logs, not in exceptions."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import quote

import pytest

from erasure_client import Subject
from erasure_client.errors import ConfigurationError, ErasureClientError
from tests.unit.client.carriers import Driver
from tests.unit.client.lines import Heard, Line, hang_up, say, served

PERSON = "änn/of.acme"
TENANT = "tenant-of-secrets"
KEY = "sk_test_8k2j5h1m9p3q7r4s_4fJ0sZ0Q3b8c"
DELETE_ID = "cvt0XfGgVS3lcwXFwGoBrLLDEg1GYT8q"
SECRETS = [PERSON, quote(PERSON), quote(PERSON, safe=""), json.dumps(PERSON)[1:-1], "of.acme", TENANT, KEY, DELETE_ID]

Behaviour = Callable[[Line, Heard, BaseHTTPRequestHandler], None]


def refused(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 404, {"error": "resource_not_found", "message": "User not found."})


def failing(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 500, {"error": "internal_error", "message": "Something went wrong on our side."})


def lost(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    hang_up(handler)


def _echo(heard: Heard) -> str:
    return f"{heard.method} {heard.path} {heard.headers} {heard.body.decode()}"


def echoed(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 403, {"message": _echo(heard)})


def echoed_failure(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 503, {"message": _echo(heard), "detail": _echo(heard), "error": _echo(heard)})


def echoed_elsewhere(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 302, {"message": _echo(heard)}, Location=f"http://127.0.0.1/{quote(_echo(heard))}")


def echoed_success(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    say(handler, 200, {"id": 5, "state": _echo(heard), "subject": _echo(heard), "requests": [_echo(heard)]})


def no_http(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(f"{_echo(heard).replace(chr(10), ' ')}\r\n\r\n".encode())
    hang_up(handler)


STRANGERS: list[Behaviour] = [echoed_elsewhere, no_http]
BEHAVIOURS: list[Behaviour] = [refused, failing, lost, echoed, echoed_failure, echoed_success, *STRANGERS]
CALLS: dict[str, Callable[[Any], Any]] = {
    "get a user": lambda client: client.users.get(PERSON),
    "create": lambda client: client.requests.create(["bob", PERSON]),
    "lift a hold": lambda client: client.holds.lift(Subject.group(PERSON)),
    "confirm": lambda client: client.confirm_current_user_deletion(DELETE_ID, timeout=0),
}


def assert_quiet(error: BaseException) -> None:
    """Over the whole chain, shown or not."""
    chain: list[BaseException] = [error]
    for each in chain:
        chain += [other for other in (each.__cause__, each.__context__) if other is not None and other not in chain]
        for shown in (str(each), repr(each), repr(each.args), "".join(traceback.format_exception_only(each))):
            assert not [secret for secret in SECRETS if secret in shown], type(each).__name__


def assert_logs_quiet(records: list[logging.LogRecord], *, of_a_stranger: bool = False) -> None:
    """``of_a_stranger``: but for the head of the answer, which httpcore shows at DEBUG as it came, whoever wrote it."""
    for record in records:
        if of_a_stranger and record.getMessage().startswith("receive_response_headers."):
            continue
        for shown in (record.getMessage(), str(record.args), str(record.exc_info), str(vars(record))):
            assert not [secret for secret in SECRETS if secret in shown], record.name


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda behave: behave.__name__)
def test_nothing_that_is_secret_gets_out(
    driver: Driver, behave: Behaviour, call: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the other side does, even if it echoes the call, exceptions and logs of all loggers name nobody."""
    caplog.set_level(logging.DEBUG)
    with served(behave) as line:
        options = {"base_url": line.url, "api_key": KEY, "tenant_id": TENANT, "retries": 0}
        with pytest.raises(ErasureClientError) as caught:
            driver.through(call, **options)
        (heard,) = line.heard
    assert KEY in heard.headers["authorization"]
    assert_quiet(caught.value)
    assert {record.name.partition(".")[0] for record in caplog.records} >= {"httpcore"}
    assert_logs_quiet(caplog.records, of_a_stranger=behave in STRANGERS)


def test_a_success_is_logged_without_names(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """The line that httpx writes of every call has no path."""
    caplog.set_level(logging.DEBUG)

    def known(line: Line, heard: Heard, handler: BaseHTTPRequestHandler) -> None:
        say(handler, 200, {"id": PERSON, "status": "active"})

    with served(known) as line:
        options = {"base_url": line.url, "api_key": KEY, "tenant_id": TENANT}
        assert driver.through(lambda client: client.users.get(PERSON), **options).id == PERSON
    assert [record for record in caplog.records if record.name == "httpx"]
    assert_logs_quiet(caplog.records)


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "half a pair": lambda client: client.users.get(f"{PERSON}\ud800"),
    "half a pair in a list": lambda client: client.requests.create([f"{PERSON}\ud800"]),
    "half a pair in a query": lambda client: client.requests.list(subject=f"{PERSON}\ud800").__next__(),
    "bytes": lambda client: client.requests.create(PERSON.encode()),
    "no json": lambda client: client.data_map.put({PERSON: {KEY}}),
    "a key of another": lambda client: client.requests.create("a", idempotency_key=PERSON),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_without_values(mistake: Callable[[Any], Any]) -> None:
    """What is refused before it is sent is told by its place, not by its value."""
    with pytest.raises(ConfigurationError) as caught:
        Driver("sync").through(mistake, base_url="https://erasure.example.com", api_key=KEY, tenant_id=TENANT)
    assert_quiet(caught.value)


@pytest.mark.parametrize("ending", ["\n", "\r\nX-Other: 1", "é", " "])
def test_a_bad_secret_is_not_shown(driver: Driver, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    """A secret that no header can hold is told without showing it."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigurationError) as caught:
        driver.through(
            lambda client: client.sla(), base_url="https://erasure.example.com", api_key=lambda: KEY + ending
        )
    assert_quiet(caught.value)
    assert_logs_quiet(caplog.records)
