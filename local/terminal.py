"""What a program looks like in a terminal: run in a pseudo terminal, its bytes read by a real terminal's interpreter.

The interpreter is xterm's, without a window (``terminal.mjs``): what a program draws over is gone from the screen as
it is for people, so a progress bar is seen in one state at a time.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from local.stack import LOCAL, LocalError

COLUMNS = 80
_INTERPRETER = Path(__file__).with_name("terminal.mjs")
_PAUSE = 0.03
"""Seconds without output after which what has come is taken for one drawing."""


def _colours(codes: str) -> list[tuple[int, int, int]]:
    return [(code[0], code[1], code[2]) for code in map(bytes.fromhex, codes.split())]


_THEME = TerminalTheme(
    (22, 27, 34),
    (214, 221, 230),
    _colours("484f58 ff7b72 56d364 e3b341 79b8ff d2a8ff 56d4dd d6dde6"),
    _colours("8b949e ffa198 7ee787 f2cc60 a5d6ff e2c5ff 78e4ec ffffff"),
)
_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre;
}}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True, slots=True)
class Screen:
    """Lines of text with their styles; empty lines at the end are not among them."""

    lines: tuple[Text, ...]

    @property
    def text(self) -> str:
        return "".join(f"{line.plain}\n" for line in self.lines)

    def svg(self, name: str, title: str) -> str:
        """A picture of it that needs nothing from elsewhere. ``name``: of letters and hyphens, for its inner names."""
        console = Console(width=COLUMNS, record=True, file=io.StringIO(), color_system="truecolor", highlight=False)
        for line in self.lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
        return console.export_svg(title=title, theme=_THEME, code_format=_SVG, unique_id=name)


@dataclass(frozen=True, slots=True)
class Recording:
    """``screens``: what was seen, one after the other. ``whole``: all that was written, as one can scroll back to it
    at the end. ``exit_code``: the program's."""

    screens: tuple[Screen, ...]
    whole: Screen
    exit_code: int


def record(
    command: Sequence[str | Path],
    *,
    shown_as: str,
    environment: Mapping[str, str],
    rows: int = 24,
    timeout: float = 300.0,
    folder: Path | None = None,
    replace: Mapping[str, str] | None = None,
) -> Recording:
    """Run a program in a terminal of 80 columns, below a prompt where ``shown_as`` was typed. ``timeout``: seconds.
    ``replace``: text that is shown as another, where it has one style.

    Raises :class:`LocalError` if it does not end in time, or there is no interpreter.
    """
    prompt = f"\x1b[1;32m$\x1b[0m \x1b[1m{shown_as}\x1b[0m\r\n"
    drawn, exit_code = _run(command, environment, rows, timeout, folder)
    read = _read([prompt.encode(), *drawn], rows)
    screens = tuple(_screen(lines, replace or {}) for lines in read["screens"])
    return Recording(screens, _screen(read["whole"], replace or {}), exit_code)


def _run(
    command: Sequence[str | Path], environment: Mapping[str, str], rows: int, timeout: float, folder: Path | None
) -> tuple[list[bytes], int]:
    """What the program writes, one entry for each time it draws; and its exit code."""
    unwanted = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLORTERM"}
    variables = {name: value for name, value in environment.items() if name not in unwanted}
    variables |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONUTF8": "1"}
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (rows, COLUMNS))
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, cwd=folder)
        os.close(theirs)
        try:
            drawn = _drawings(ours, time.monotonic() + timeout)
            return drawn, process.wait(timeout=10)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(ours)


def _drawings(terminal: int, ends_at: float) -> list[bytes]:
    drawn: list[bytes] = []
    arrived_at = 0.0
    while (left := ends_at - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            break
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # so Linux tells that nobody writes any more
            return drawn
        if not data:
            return drawn
        now = time.monotonic()
        if drawn and now - arrived_at < _PAUSE:
            drawn[-1] += data
        else:
            drawn.append(data)
        arrived_at = now
    raise LocalError("a program whose screen is wanted has not ended in time")


def _read(chunks: Sequence[bytes], rows: int) -> Any:
    asked = {"columns": COLUMNS, "rows": rows, "chunks": [base64.b64encode(chunk).decode() for chunk in chunks]}
    if not (LOCAL / "npm" / "node_modules" / "@xterm" / "headless").exists():
        raise LocalError("the terminal's interpreter is not installed; run `make setup` first")
    done = subprocess.run(
        ["node", _INTERPRETER], input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise LocalError(f"the terminal's interpreter failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _screen(lines: Sequence[Any], replace: Mapping[str, str]) -> Screen:
    read = [_line(runs, replace) for runs in lines]
    while read and not read[-1].plain:
        read.pop()
    return Screen(tuple(read))


def _line(runs: Sequence[Any], replace: Mapping[str, str]) -> Text:
    line = Text()
    for text, style in runs:
        for old, new in replace.items():
            text = text.replace(old, new)
        line.append(text, _style(*style))
    line.rstrip()
    return line


def _style(foreground: int | str | None, background: int | str | None, attributes: str) -> Style:
    return Style.parse(attributes or "none") + Style(color=_colour(foreground), bgcolor=_colour(background))


def _colour(told: int | str | None) -> Color | None:
    if told is None:
        return None
    return Color.from_ansi(told) if isinstance(told, int) else Color.parse(told)
