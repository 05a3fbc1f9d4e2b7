"""Background processes are started once, and only our own are ever stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.daemons import Daemon
from local.stack import LocalError
from tests.functional.local_places import free_place

# Answers 200 and has a child of its own, as the emulator has its workers.
_SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(child.pid).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _daemon(port: int, folder: Path) -> Daemon:
    command = [sys.executable, "-c", _SERVER, str(port)]
    return Daemon("server", folder, command, {"TMPDIR": str(folder / "tmp")}, f"http://127.0.0.1:{port}/")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with free_place() as place:
        daemon = _daemon(place.port, tmp_path)
        yield daemon
        daemon.stop()


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _child_of(daemon: Daemon) -> int:
    import urllib.request

    with urllib.request.urlopen(daemon.ready_url, timeout=5) as answer:
        return int(answer.read())


def test_starting_twice_gives_one_process(daemon: Daemon) -> None:
    """A second start finds the first one."""
    daemon.start()
    first = daemon.pid()
    daemon.start()
    assert first is not None
    assert daemon.pid() == first


def test_stopping_takes_the_children_along(daemon: Daemon) -> None:
    """Neither the process nor what it started is left; stopping again finds nothing."""
    daemon.start()
    pid, child = daemon.pid(), _child_of(daemon)
    assert daemon.stop()
    assert pid is not None
    assert not _is_alive(pid)
    assert not _is_alive(child)
    assert not daemon.stop()


def test_orphaned_children_are_found_by_their_environment(daemon: Daemon) -> None:
    """The daemon was killed hard and its pid file is gone: its workers are stopped all the same."""
    daemon.start()
    pid, child = daemon.pid(), _child_of(daemon)
    assert pid is not None
    subprocess.run(["kill", "-9", str(pid)], check=True)
    daemon.pid_file.unlink()
    assert _is_alive(child)
    assert daemon.stop()
    assert not _is_alive(child)


def test_foreign_process_with_our_number_is_left_alone(daemon: Daemon) -> None:
    """The pid file names a process that is not the one we started: it is not ours to stop."""
    with subprocess.Popen(["sleep", "600"]) as foreign:
        try:
            daemon.folder.mkdir(exist_ok=True)
            daemon.pid_file.write_text(json.dumps({"pid": foreign.pid, "fingerprint": "12345 something else"}))
            assert daemon.pid() is None
            assert not daemon.stop()
            assert foreign.poll() is None
        finally:
            foreign.kill()


def test_address_that_somebody_else_answers_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """A service of somebody else at our address is an error that says what to do, not our daemon."""
    daemon.start()
    port = int(daemon.ready_url.rstrip("/").rpartition(":")[2])
    with pytest.raises(LocalError, match="choose another PORT"):
        _daemon(port, tmp_path / "second").start()


def test_death_at_start_is_told_with_the_log(tmp_path: Path) -> None:
    """What cannot start is an error with the end of its log, at once."""
    command = [sys.executable, "-c", "raise SystemExit('the reason')"]
    broken = Daemon("broken", tmp_path, command, {"TMPDIR": str(tmp_path)}, "http://127.0.0.1:9/")
    with pytest.raises(LocalError, match="the reason"):
        broken.start()
