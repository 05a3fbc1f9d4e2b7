"""How far an erasure is: looked up once, or followed on a terminal and elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from fcntl import ioctl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from signal import SIGINT
from termios import TIOCSWINSZ

import httpx
import pytest

from erasure_client._http import HTTPCarrier
from erasure_client.testing import FakeService
from tests.functional.client.cli.conftest import Erasure

COUNTDOWN = re.compile(r"in 2 d 23 h")


@pytest.fixture
def request_id(service: FakeService, signed_in: None) -> str:
    service.add_user("ann", documents=1_200, invoices=2)
    return service.client().requests.create("ann").request.id


def test_a_look_says_how_far_it_is(erasure: Erasure, service: FakeService, request_id: str) -> None:
    """State, deadline, targets with counts; exit code 0 says that it was looked up."""
    service.start(request_id)
    service.work(request_id, "documents", 1_000)
    result = erasure("status", request_id)
    assert result.exit_code == 0
    assert "started: It is being worked on. Not everything is gone yet." in result.stdout
    assert re.search(r"documents +content +erasing +1,000", result.stdout)
    assert re.search(r"due +\S+ \S+ [+-]\S+, in 2 d 23 h", result.stdout)
    assert f"erasure status {request_id} --watch" in result.stderr
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_a_look_as_json_is_the_services_answer(erasure: Erasure, service: FakeService, request_id: str) -> None:
    """``--json`` has the fields of the API."""
    document = json.loads(erasure("status", request_id, "--json").stdout)
    assert document == dict(service.client().requests.get(request_id).raw)


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_what_came_of_it_is_the_exit_code(
    erasure: Erasure, service: FakeService, request_id: str, watch: list[str]
) -> None:
    """0 finished, with what is kept in words; 3 needs attention."""
    service.fail("documents")
    service.retain("invoices", until=service.now() + timedelta(days=3_650))
    service.run()
    failed = erasure("status", request_id, *watch)
    assert failed.exit_code == 3
    assert "documents (access_denied)" in failed.stdout.replace("\n", " ")
    assert f"erasure retry {request_id}" in failed.stderr
    service.mend("documents")
    erasure("retry", request_id)
    service.run()
    finished = erasure("status", request_id, *watch)
    assert finished.exit_code == 0
    assert "finished; 2 things are kept: 2 in invoices (tax law, until " in finished.stdout


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_held_and_cancelled_are_exit_code_3(
    erasure: Erasure, service: FakeService, request_id: str, watch: list[str]
) -> None:
    """What has stopped is not done, and is not waited for."""
    service.hold("ann")
    held = erasure("status", request_id, *watch)
    assert held.exit_code == 3
    assert "Nothing is erased until it is lifted." in held.stdout
    service.client().holds.lift("ann")
    service.client().requests.cancel(request_id)
    cancelled = erasure("status", request_id, *watch)
    assert cancelled.exit_code == 3
    assert "It erases nothing." in cancelled.stdout


def test_time_that_is_over_is_exit_code_7(erasure: Erasure, request_id: str) -> None:
    """Who waits no longer is told that it goes on, and how to watch again."""
    result = erasure("status", request_id, "--watch", "--timeout", "0")
    assert result.exit_code == 7
    assert "It goes on by itself." in result.stderr
    assert f"erasure status {request_id} --watch" in result.stderr
    assert erasure("status", request_id, "--timeout", "5").exit_code == 2


def test_nobodys_request_is_exit_code_5(erasure: Erasure, request_id: str) -> None:
    """Also while watching."""
    for watch in ([], ["--watch"]):
        assert erasure("status", "er_01M80EY0A4QSF0B1MX3Y6VC2RT", *watch).exit_code == 5


@pytest.fixture
def _each_look_is_a_step(service: FakeService, request_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service gets on between the looks; nobody waits in real time."""
    steps = [
        lambda: service.start(request_id),
        lambda: service.work(request_id, "documents", 700),
        lambda: service.work(request_id, "documents", 1_200, state="verifying"),
        lambda: service.finish(request_id),
    ]

    monkeypatch.setattr(HTTPCarrier, "pause", lambda *_: steps.pop(0)())


@pytest.mark.usefixtures("_each_look_is_a_step")
def test_watching_without_a_terminal_is_a_line_for_each_change(erasure: Erasure, request_id: str) -> None:
    """Each change with its time; the last line is the end, and exit code 0 with it."""
    result = erasure("status", request_id, "--watch")
    assert result.exit_code == 0
    said = [line.split("  ", 1)[1] for line in result.stdout.splitlines()]
    assert said[0] == "requested: Accepted and queued. The data is not gone yet."
    assert said[1] == "started: It is being worked on. Not everything is gone yet."
    assert said[2:4] == ["documents: erasing, 700", "documents: verifying, 1,200"]
    assert "documents: erased, 1,200" in said
    assert said[-1] == "finished: All that it covers is erased, and verified."


@pytest.mark.usefixtures("_each_look_is_a_step")
def test_watching_as_json_is_a_document_for_each_change(erasure: Erasure, request_id: str) -> None:
    """With ``--json`` each change is the request as it is then, on a line of its own."""
    result = erasure("status", request_id, "--watch", "--json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["state"] for each in documents] == ["requested", "started", "started", "started", "finished"]
    assert result.stderr == ""


def test_a_request_can_be_watched_at_once(
    erasure: Erasure, service: FakeService, monkeypatch: pytest.MonkeyPatch, signed_in: None
) -> None:
    """``request --watch`` follows what it has requested to its end."""
    service.add_user("ann", documents=3)
    monkeypatch.setattr(HTTPCarrier, "pause", lambda *_: service.run())
    result = erasure("request", "ann", "--yes", "--watch")
    assert result.exit_code == 0
    assert "documents: erased, 3" in result.stdout
    assert service.erased("ann")


def test_stopping_to_watch_does_not_stop_the_erasure(
    erasure: Erasure, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is 130, with the command to watch again."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HTTPCarrier, "pause", interrupted)
    result = erasure("status", request_id, "--watch")
    assert result.exit_code == 130
    assert "still going on" in result.stderr
    assert f"erasure status {request_id} --watch" in result.stderr


@contextmanager
def served(service: FakeService) -> Iterator[str]:
    """The service in memory at an address of this machine."""

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = httpx.Request("GET", service.url + self.path, headers=dict(self.headers.items()))
            answer = service.handle_request(request)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Terminal:
    """The command line on a terminal of 80 columns and 24 lines, in a process of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        program = "from erasure_client.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str, seconds: float = 20) -> None:
        """Until the text was shown, or the process has ended."""
        ends_at = time.monotonic() + seconds
        while text not in self.shown and time.monotonic() < ends_at and self._read():
            pass
        assert text in self.shown, self.shown

    def read_to_the_end(self) -> int:
        while self._read():
            pass
        return self.process.wait(20)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 20)[0]:
            return False
        try:
            read = os.read(self._master, 65_536)
        except OSError:  # its end, on Linux
            return False
        self.shown += read.decode()
        return bool(read)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def on_terminal(service: FakeService, request_id: str) -> Iterator[Terminal]:
    with served(service) as url:
        environment = {**os.environ, "ERASURE_URL": url, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        terminal = Terminal(["status", request_id, "--watch"], environment)
        yield terminal
        terminal.close()


def test_watching_on_a_terminal_is_a_live_view(service: FakeService, request_id: str, on_terminal: Terminal) -> None:
    """The view shows each target as it gets on, in 80 columns, and ends with how it ended."""
    on_terminal.read_until("Accepted and queued")
    service.start(request_id)
    service.work(request_id, "documents", 1_000)
    on_terminal.read_until("1,000")
    assert "0 of 8 targets at their end" in on_terminal.shown
    assert COUNTDOWN.search(on_terminal.shown)
    assert "Ctrl-C stops watching, not the erasure." in on_terminal.shown
    service.finish(request_id)
    assert on_terminal.read_to_the_end() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal.shown)
    assert "finished: All that it covers is erased, and verified." in plain
    assert max(len(line.strip("\r")) for line in re.split(r"[\r\n]+", plain)) <= 80
    assert service.api_key not in plain


def test_an_interrupt_on_a_terminal_leaves_it_as_it_was(request_id: str, on_terminal: Terminal) -> None:
    """After Ctrl-C the cursor is shown again, no trace of the program's inside is, and the exit code is 130."""
    on_terminal.read_until("Accepted and queued")
    on_terminal.process.send_signal(SIGINT)
    assert on_terminal.read_to_the_end() == 130
    assert "still going on" in on_terminal.shown
    assert "Traceback" not in on_terminal.shown
    assert on_terminal.shown.rindex("\x1b[?25h") > on_terminal.shown.rindex("\x1b[?25l")
