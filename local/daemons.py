"""Background processes with a pid file: started once, found again, and stopped only if they are really ours.

A pid alone proves nothing, since the system hands numbers out again. The pid file therefore keeps when the
process began and what it runs, and nothing is signalled unless both still agree.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.stack import LocalError

_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """One background process of a stack. ``ready_url`` answers 200 once it can be used."""

    name: str
    folder: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    ready_url: str

    @property
    def pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.name}.log"

    def identity(self) -> str | None:
        """Which run of it is alive (pid and start), or None: whoever deployed to another run deployed to nothing."""
        pid = self.pid()
        return None if pid is None else f"{pid}@{_fingerprint(pid)}"

    def pid(self) -> int | None:
        """The pid if the process that we started is still alive."""
        try:
            noted = json.loads(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        pid = int(noted["pid"])
        fingerprint = _fingerprint(pid)
        return pid if fingerprint is not None and fingerprint == noted["fingerprint"] else None

    def start(self, seconds: float = 60) -> None:
        """Start it unless it runs, and wait until it is ready.

        Raises :class:`LocalError` with the end of its log if it dies or does not get ready in time,
        or if something that we did not start answers at its address.
        """
        if self.pid() is None:
            if _answers(self.ready_url):
                raise LocalError(f"{self.ready_url} is answered by a process of somebody else; choose another PORT")
            self._spawn()
        give_up_at = time.monotonic() + seconds
        while not _answers(self.ready_url):
            if self.pid() is None or time.monotonic() > give_up_at:
                raise LocalError(f"{self.name} did not get ready; the end of {self.log_file}:\n{self._log_tail()}")
            time.sleep(0.05)

    def stop(self) -> bool:
        """Stop it and every process that it started. True if there was anything to stop."""
        pid = self.pid()
        if pid is not None:
            _end_group(pid)
        had_leftovers = _kill_all_with(f"TMPDIR={self.environment['TMPDIR']}")
        self.pid_file.unlink(missing_ok=True)
        return pid is not None or had_leftovers

    def _spawn(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        Path(self.environment["TMPDIR"]).mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        fingerprint = _fingerprint(process.pid)
        while fingerprint is None and process.poll() is None:  # its command line shows a moment after it began
            time.sleep(0.005)
            fingerprint = _fingerprint(process.pid)
        self.pid_file.write_text(json.dumps({"pid": process.pid, "fingerprint": fingerprint}))
        process.returncode = 0  # it outlives us on purpose: no warning about it when this object goes

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(lines[-15:])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _fingerprint(pid: int) -> str | None:
    """When the process began, and what it runs; None if there is none (a zombie runs nothing)."""
    proc = Path("/proc", str(pid))
    if not Path("/proc/self").exists():  # not Linux
        listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return listed.stdout.strip() or None
    try:
        command = (proc / "cmdline").read_bytes()
        began = (proc / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
    return f"{began} {command.decode(errors='replace')}" if command else None


def _kill_all_with(variable: str) -> bool:
    """SIGKILL every process whose environment holds the variable, and wait until they are gone. True if any was."""
    give_up_at = time.monotonic() + _STOP_SECONDS
    found = False
    while (pids := list(_processes_with(variable))) and time.monotonic() < give_up_at:
        found = True
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.02)
    return found


def _processes_with(variable: str) -> Iterator[int]:
    """Processes whose environment holds exactly this variable: workers that outlived the emulator."""
    wanted = variable.encode()
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (proc / "environ").read_bytes().split(b"\0"):
                yield int(proc.name)
        except OSError:
            continue


def _end_group(leader: int) -> None:
    """SIGTERM to the session that the process leads, SIGKILL for what is left of it after a while."""
    _signal(-leader, signal.SIGTERM)
    give_up_at = time.monotonic() + _STOP_SECONDS
    while _fingerprint(leader) is not None and time.monotonic() < give_up_at:
        _reap(leader)
        time.sleep(0.02)
    _signal(-leader, signal.SIGKILL)
    _reap(leader)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        if pid < 0:
            os.killpg(-pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _reap(pid: int) -> None:
    """Take the exit status if it is a child of this very process (a test that starts and stops a stack)."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
