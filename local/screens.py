"""``make screens``: what people see of the demo and of the command line, as pictures in ``docs/screens``.

Everything is run for real, on the stack of ``PORT``, in a terminal of 80 columns. For each screen there is NAME.svg
and NAME.txt, the same without colours.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from local.deployment import make_key, up
from local.sample import HEAVY
from local.seeding import seed
from local.stack import DEFAULT_PORT, ROOT, LocalError, Place, Stack, port_argument
from local.terminal import Recording, Screen, record

FOLDER = ROOT / "docs" / "screens"
TITLES = {
    "demo-at-work": "make demo",
    "demo": "make demo",
    "status-watch": "erasure status --watch",
    "status-watch-end": "erasure status --watch",
    "doctor": "erasure doctor",
}
"""By the name of each screen."""
_ERASURE = Path(sys.executable).with_name("erasure")
_DEMO_STATES = ("waiting", "erasing", "verifying", "verified")
_STATES = ("waiting", "erasing", "verifying", "erased")
_ROWS = 36
"""Lines of the terminal: all targets of the sample application are seen at once."""
Say = Callable[[str], None]


def make_screens(place: Place, say: Say) -> Path:
    """Run everything and write the files. Returns the folder. ``say`` is told each step.

    Raises :class:`LocalError` if something does not end well, or a screen shows something of this machine.
    """
    stack = up(place, say)
    show = partial(_show, _shown_instead(place))
    say("make demo")
    demo = show(["make", "demo"], "make demo", {**stack.environment(), "PORT": str(place.port)})
    say("erasure status --watch")
    seed(stack)
    with TemporaryDirectory() as folder:
        signed_in = _signed_in(stack, Path(folder))
        request_id = _requested(signed_in)
        command = ("status", request_id, "--watch")
        watch = show([_ERASURE, *command], f"erasure {' '.join(command)}", signed_in)
        say("erasure doctor")
        command = ("doctor", "--stack-name", stack["STACK_NAME"])
        doctor = show([_ERASURE, *command], f"erasure {' '.join(command)}", signed_in)
    screens = {
        "demo-at-work": at_work(demo.screens, _DEMO_STATES),
        "demo": demo.whole,
        "status-watch": at_work(watch.screens, _STATES),
        "status-watch-end": watch.whole,
        "doctor": doctor.whole,
    }
    for name, screen in screens.items():
        write(FOLDER, name, screen)
    return FOLDER


def write(folder: Path, name: str, screen: Screen) -> None:
    """Both files of a screen. Raises :class:`LocalError` if it shows a path of this machine."""
    if any(path in screen.text for path in (str(ROOT), str(Path.home()), "/tmp/")):  # noqa: S108
        raise LocalError(f"the screen {name} shows a path of this machine")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(screen.svg(name, TITLES[name]))
    (folder / f"{name}.txt").write_text(screen.text)


def at_work(screens: Sequence[Screen], states: Iterable[str]) -> Screen:
    """The one in the middle of those that show two or more of these words at once.

    Raises :class:`LocalError` if there is none: then the work went by too fast to be seen.
    """
    words = [re.compile(rf"\b{state}\b") for state in states]
    seen = [screen for screen in screens if sum(word.search(screen.text) is not None for word in words) > 1]
    if not seen:
        raise LocalError("the work was over before it could be seen")
    return seen[len(seen) // 2]


def _show(
    replace: Mapping[str, str],
    command: Sequence[str | Path],
    typed: str,
    environment: Mapping[str, str],
) -> Recording:
    shown = record(command, shown_as=typed, environment=environment, rows=_ROWS, folder=ROOT, replace=replace)
    if shown.exit_code:
        raise LocalError(f"{typed} ended with {shown.exit_code}:\n{shown.whole.text}")
    return shown


def _shown_instead(place: Place) -> dict[str, str]:
    """A stack at another port reads like the one at the default port."""
    if place.port == DEFAULT_PORT:
        return {}
    return {f"{host}:{place.port}": f"{host}:{DEFAULT_PORT}" for host in ("127.0.0.1", "localhost")} | {
        port_argument(place): ""
    }


def _signed_in(stack: Stack, folder: Path) -> dict[str, str]:
    """The environment of a backend's operator. The profiles of whoever runs this are not looked at."""
    return {
        **stack.environment(),
        "ERASURE_URL": stack.api_url,
        "ERASURE_API_KEY": make_key(stack, HEAVY.tenant, ""),
        "ERASURE_TENANT": HEAVY.tenant,
        "ERASURE_CONFIG": str(folder / "config.toml"),
    }


def _requested(environment: Mapping[str, str]) -> str:
    """Request the erasure of the person with the most data. Returns the request's id."""
    command = [str(_ERASURE), "request", HEAVY.user, "--yes", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"the erasure was not accepted: {done.stderr.strip()}")
    return str(json.loads(done.stdout)["requests"][0]["request"]["id"])
