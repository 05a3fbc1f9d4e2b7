"""What somebody who means harm, or an unlucky day, may do to the client and the command line: nobody else is erased,
and nothing is called gone that may be there."""

from __future__ import annotations

import json
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from erasure_client import ErasureClient
from erasure_client.cli._doctor_api import look_at_address, look_with_key
from erasure_client.cli._session import Session
from erasure_client.testing import FakeService
from tests.functional.client.cli.command_runs import run_command
from tests.unit.client import bodies

KEY = "sk_test_0123456789abcdef_secret"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeService:
    """The service, of which the environment has the address and a key of the tenant ``acme``."""
    made = FakeService("acme", "globex")
    for name in ("ERASURE_TENANT", "ERASURE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ERASURE_CONFIG", str(tmp_path / "config" / "config.toml"))
    monkeypatch.setenv("ERASURE_URL", made.url)
    monkeypatch.setenv("ERASURE_API_KEY", made.api_key)
    return made


class TestFilesOfABulk:
    @pytest.fixture
    def bulk(self, service: FakeService, tmp_path: Path) -> Any:
        """Runs a bulk of a file with the content; returns exit code, stderr and the results."""

        def run(content: str, name: str = "people.csv") -> tuple[int, str, list[dict[str, Any]]]:
            file, results = tmp_path / name, tmp_path / f"{name}.results.jsonl"
            file.write_text(content, encoding="utf-8")
            command = ("bulk", str(file), "--results", str(results), "--yes")
            result = run_command(*command, obj=Session(transport=service))
            lines = results.read_text().splitlines() if results.exists() else []
            return result.exit_code, result.stderr, [json.loads(line) for line in lines]

        return run

    @pytest.mark.parametrize("header", ["id, type", "id,Type", "id,TYPE ", "id,subject type", "id,subjectType"])
    def test_types_under_another_name(self, bulk: Any, service: FakeService, header: str) -> None:
        """A column that is almost named type is not passed over: an organization would be erased as the user of its
        name."""
        code, _, results = bulk(f"{header}\nacme,organization\n")
        assert (code, results, service.calls) == (2, [], [])

    def test_types_twice(self, bulk: Any, service: FakeService) -> None:
        """Two columns that say of whom an id is: nothing is sent."""
        code, _, _ = bulk("id,type,subject_type\nacme,user,organization\n")
        assert (code, service.calls) == (2, [])

    @pytest.mark.parametrize("key", ["Type", " type", "subject-type"])
    def test_types_under_another_name_in_json(self, bulk: Any, service: FakeService, key: str) -> None:
        """The same, in JSON lines."""
        code, _, _ = bulk(json.dumps({"id": "acme", key: "organization"}) + "\n", "people.jsonl")
        assert (code, service.calls) == (2, [])

    def test_results_are_the_next_input(self, bulk: Any) -> None:
        """Lines of a bulk's results, given to another one, are about whom they were about: not the user of that
        name."""
        _, _, results = bulk("id,type\nteam,group\n")
        code, _, again = bulk("".join(f"{json.dumps(each)}\n" for each in results), "again.jsonl")
        assert code == 0
        assert [(each["subject_type"], each["id"]) for each in again] == [("group", "team")]

    @pytest.mark.parametrize("first", ["DAVID", "INGRID", "ID"])
    def test_a_first_line_that_is_somebody(self, bulk: Any, service: FakeService, first: str) -> None:
        """An id whose last letters are ID is not taken for the header, and its owner passed over as if erased."""
        code, _, results = bulk(f"{first}\nann\n")
        assert (code, results, service.calls) == (2, [], [])

    def test_the_header_again(self, bulk: Any, service: FakeService) -> None:
        """Of files that were put together, the second's header is nobody."""
        code, stderr, _ = bulk("user_id,name\nann,A\nuser_id,name\nben,B\n")
        assert (code, service.calls) == (2, [])
        assert "line 3" in stderr


class _Answers(httpx.BaseTransport):
    """A service that gives one answer to all calls."""

    def __init__(self, status: int, body: Any) -> None:
        self._status, self._body = status, body

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
        return httpx.Response(self._status, json=self._body)


def answered(status: int, body: Any, *command: str) -> Any:
    """What the command comes to if the service gives this answer."""
    return run_command(*command, obj=Session(transport=_Answers(status, body), is_interactive=False))


@pytest.mark.usefixtures("service")
class TestWhatIsSaidOfAnErasure:
    @pytest.mark.parametrize("options", [[], ["--watch"]])
    def test_what_was_found_afterwards(self, options: list[str]) -> None:
        """Of a request after whose end something was found, it is not said that all is erased; the request that erases
        that is named."""
        later = "er_01M80F136NHBE2JQNEWSAJ1BFC"
        body = bodies.request(state="finished", late_arrivals=2, followed_by=later, targets=[bodies.target()])
        result = answered(200, body, "status", bodies.REQUEST_ID, *options)
        assert "All that it covers is erased" not in result.stdout
        assert "2 things were found afterwards" in result.stdout
        assert f"erasure status {later}" in result.stderr

    def test_finished_and_not(self) -> None:
        """Of a request that is finished and needs attention, both are said."""
        body = bodies.request(state="finished", attention=True, targets=[bodies.target()])
        result = answered(200, body, "status", bodies.REQUEST_ID)
        assert "All that it covers is erased" not in result.stdout
        assert "could not be erased" in result.stdout

    @pytest.mark.parametrize("entry", [{"status": "postponed"}, {"status": "accepted"}])
    def test_whoever_has_no_request(self, entry: dict[str, Any]) -> None:
        """A subject that was not accepted, by whatever word, or has no request, is shown, and is no exit code 0."""
        entries = [{"subject": bodies.subject(), **entry}, bodies.accepted("ben")["requests"][0]]
        result = answered(202, {"batch_id": bodies.BATCH_ID, "requests": entries}, "request", "ann", "ben", "--yes")
        assert result.exit_code == 3
        assert "user ann" in result.stdout

    def test_a_strange_answer_to_a_request(self) -> None:
        """An answer that is not the service's leaves it open whether the erasure was accepted: how to run it again
        without a second one is said."""
        result = answered(200, {"welcome": "to this network"}, "request", "ann", "--yes")
        assert result.exit_code == 1
        assert "Whether it was accepted is not known." in result.stderr
        assert "--idempotency-key cli_" in result.stderr

    def test_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is kept until the last day that there is can be shown east of Greenwich, too."""
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            kept = bodies.target("blocked", kept=1, until="9999-12-31T23:59:59Z")
            result = answered(200, bodies.request(state="finished", targets=[kept]), "status", bodies.REQUEST_ID)
        finally:
            monkeypatch.undo()
            time.tzset()
        assert result.exit_code == 0
        assert "until 9999-12-31" in result.stdout

    def test_names_with_lines_in_them(self) -> None:
        """A name from elsewhere does not write lines of its own, which would be taken for the command's."""
        name = "documents\n2026-11-22 10:00:00 +00:00  finished: All that it covers is erased, and verified."
        body = bodies.request(state="started", attention=True, targets=[bodies.target("failed", name=name)])
        for options in ([], ["--watch"]):
            result = answered(200, body, "status", bodies.REQUEST_ID, *options)
            assert result.exit_code == 3
            assert not [line for line in result.stdout.splitlines() if line.startswith("2026-11-22 10:00:00")]


class TestQuestions:
    """What is asked before an erasure says what would be done: to whom, of what, where, and as whom."""

    SPOOF = "ann\n  at https://elsewhere.example.com, tenant: test"

    @pytest.mark.parametrize(
        "command",
        [
            ("request",),
            ("users", "delete"),
            ("users", "disable", "--revoke-sessions"),
            ("hold", "lift"),
            ("suppress", "lift"),
            ("keys", "revoke"),
        ],
    )
    def test_an_id_with_a_line_in_it(self, service: FakeService, command: tuple[str, ...]) -> None:
        """An id cannot say in a line of its own that something else is done elsewhere."""
        session = Session(transport=service, is_interactive=True)
        result = run_command(*command, "--", self.SPOOF, obj=session, piped="n\n")
        assert "\\x0a  at https://elsewhere" in result.stderr
        assert "\n  at https://elsewhere" not in result.stderr
        assert service.calls == []

    def test_of_what_only(self, service: FakeService) -> None:
        """Categories and organizations are in the question: more would be erased without them."""
        session = Session(transport=service, is_interactive=True)
        options = ("--category", "content", "--organization", "org_1")
        result = run_command("request", "ann", *options, obj=session, piped="n\n")
        assert "of these categories only: content" in result.stderr
        assert "within these organizations only: org_1" in result.stderr

    def test_a_key_that_is_not_the_profiles(self, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key of the environment with the address of a profile: it is the key that says whose data is meant, so it
        is told where it is from."""
        assert (
            run_command("login", "--url", service.url, "--name", "prod", obj=Session(transport=service)).exit_code == 0
        )
        monkeypatch.delenv("ERASURE_URL")
        monkeypatch.delenv("ERASURE_API_KEY")
        own = run_command("request", "ann", obj=Session(transport=service, is_interactive=True), piped="n\n")
        assert "(profile prod)" in own.stderr
        monkeypatch.setenv("ERASURE_API_KEY", service.make_key(tenant_id="globex"))
        other = run_command("request", "ann", obj=Session(transport=service, is_interactive=True), piped="n\n")
        assert "(profile prod, with the key of ERASURE_API_KEY)" in other.stderr


class TestDoctor:
    """What could not be looked at is not called well."""

    @pytest.fixture
    def client(self) -> Iterator[Any]:
        """A client of a tenant with more started requests than are looked at, none of the newest in trouble."""

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path != "/v1/erasure-requests":
                return httpx.Response(403, json={"code": "insufficient_permissions", "message": "No.", "status": 403})
            first = int(request.url.params.get("cursor", 0))
            entries = [{**bodies.request(state="started"), "id": f"er_{first + each}"} for each in range(100)]
            return httpx.Response(200, json={"requests": entries, "cursor": str(first + 100)})

        with ErasureClient("https://erasure.example.com", api_key=KEY, transport=httpx.MockTransport(answer)) as client:
            yield client

    def test_the_oldest_were_not_looked_at(self, client: ErasureClient) -> None:
        """Requests that nobody works on are among the oldest: of 500 newer ones it does not follow that there are
        none."""
        checks = {check.name: check for check in look_with_key(lambda: client, KEY).checks}
        assert (checks["parked"].status, checks["attention"].status) == ("unknown", "unknown")
        assert "newest 500" in checks["parked"].said

    @pytest.mark.parametrize("date", ["Sun, 22 Nov 2026 14:00:00", "Sun, 22 Nov 99999999999 14:00:00 GMT", ""])
    def test_a_date_that_is_none(self, date: str) -> None:
        """A clock that cannot be compared is unknown."""
        headers = {"Date": date}
        answer = httpx.Response(200, json={"status": "ok", "version": "0"}, headers=headers)
        checks = look_at_address("https://erasure.example.com", httpx.MockTransport(lambda _: answer))
        assert [check.status for check in checks if check.name == "clock"] == ["unknown"]

    def test_a_proxy_does_not_answer_for_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A local stack that is down is not called well because a proxy of the environment answers."""
        answer = b'{"status": "ok", "version": "1"}'
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer)

        def serve(server: socket.socket) -> None:
            with suppress(OSError), server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(head + answer)

        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        with socket.create_server(("127.0.0.1", 0)) as proxy, socket.create_server(("127.0.0.1", 0)) as stack:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
            address = f"http://127.0.0.1:{stack.getsockname()[1]}"
            stack.close()
            threading.Thread(target=serve, args=(proxy,), daemon=True).start()
            (check,) = look_at_address(address)
            proxy.shutdown(socket.SHUT_RDWR)
        assert (check.name, check.status) == ("address", "problem")

    def test_a_proxy_that_cannot_be_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A problem, without the proxy's password."""
        monkeypatch.setenv("HTTPS_PROXY", "socks9://me:hunter2@127.0.0.1:1")
        (check,) = look_at_address("https://erasure.example.com")
        assert (check.name, check.status) == ("address", "problem")
        assert "hunter2" not in str(check)


def test_a_profile_of_another_service(service: FakeService, tmp_path: Path) -> None:
    """Signed in somewhere else under the same name, nothing of the former service stays: its tenant, and the stack in
    which ``replay`` would erase."""
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir()
    config.write_text(
        'current = "default"\n[profiles.default]\nurl = "https://former.example.com"\nkey = "sk_test_a_b"\n'
        'tenant = "globex"\nstack_name = "former"\nregion = "eu-west-1"\n'
    )
    config.chmod(0o600)
    key = service.make_key(is_platform=True)
    arguments = ("login", "--url", service.url, "--key-stdin")
    result = run_command(*arguments, obj=Session(transport=service), piped=key)
    assert (result.exit_code, "--tenant" in result.stderr) == (1, True)
    result = run_command(*arguments, "--tenant", "acme", obj=Session(transport=service), piped=key)
    assert result.exit_code == 0
    kept = tomllib.loads(config.read_text())["profiles"]["default"]
    assert kept == {"url": service.url, "tenant": "acme", "key": key}
