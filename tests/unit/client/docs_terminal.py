"""The command line's page as a terminal: its commands run in this process, and what they print is the page's."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from erasure_client.cli._app import app
from erasure_client.cli._session import Session
from tests.unit.client.docs_examples import World

WIDTH = 80

_TOKENS = re.compile(
    r"""(?P<cut>\b(?:\d{4}-\d\d-\d\d[ ][\d:+ ]*|[0-9a-f]{6,}|job-[^\s…]*)…)
    | (?P<job>\bjob-[0-9A-Z]{26}-)
    | (?P<id>\b(?:er|eb|lh)_[0-9A-Z]{26}\b | \b[0-9a-f]{64}\b
        | \b(?=[a-z]*\d)[0-9a-z]{16}\b | \b(?=[a-f]*\d)[0-9a-f]{12}\b)
    | (?P<key>\bsk_test_[0-9a-z]{16}_[\w-]{43})
    | (?P<time>\b\d{4}-\d\d-\d\d[ ]\d\d:\d\d(?P<seconds>:\d\d)?[ ][+-]\d\d:\d\d)
    | (?P<iso>\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{3}Z)
    | (?P<date>\b\d{4}-\d\d-\d\d\b)
    | (?P<ago>\b\d+[ ]s[ ]ago\b)
    | (?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)
    | (?P<anything>…)""",
    re.VERBOSE,
)
_STANDS_FOR = {
    "key": r"sk_test_[0-9a-z]{16}_[\w-]{43}",
    "iso": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "date": r"\d{4}-\d\d-\d\d",
    "ago": r"(?:now|\d+ s ago)",
    "cut": r"[^\n]*?…",
    "job": r"job-[0-9A-Z]{26}-",
    "uuid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "anything": r"[^\n]*",
}
_QUESTIONS = re.compile(r"(?:\[y/N\]: |API key \(it is not shown\): ?)(.*)$", re.MULTILINE)
_SHOWN_COMMAND = re.compile(r"^\$ ((?:[^\n]*\\\n)*[^\n]*)\n", re.MULTILINE)


def commands_of(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, on one line, and what is printed below it."""
    found = list(_SHOWN_COMMAND.finditer(block))
    assert found, "a console block without a command"
    assert not block[: found[0].start()].strip()
    for this, following in zip(found, [*found[1:], None], strict=True):
        shown = block[this.end() : following.start() if following else len(block)]
        yield this[1].replace("\\\n", " "), shown


class Terminal:
    """``ids``: those of the page, each to the one that it stands for. ``files``: names of files to what is in them.
    ``key``: what is
    answered when one is asked for. ``piped``: what programs print from which something is piped into `erasure`."""

    def __init__(self, world: World, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.directory = directory
        self.ids: dict[str, str] = {}
        self.piped: Mapping[str, str] = {}
        self.last_code = 0
        self.key = world.service.api_key
        monkeypatch.chdir(directory)
        for name, value in {
            "COLUMNS": str(WIDTH),
            "TZ": "UTC",
            "ERASURE_CONFIG": str(directory / "config.toml"),
        }.items():
            monkeypatch.setenv(name, value)
        time.tzset()

    def run(self, command: str, shown: str = "") -> str:
        """What the command prints in a narrow terminal, without blanks at the ends of lines. ``shown``: with the
        answers to its questions."""
        output = self._printed(command, shown).replace(str(self.directory), "…")
        return "".join(f"{each}\n" for line in output.splitlines() for each in _folded(line.rstrip()))

    def run_json(self, command: str, shown: str = "") -> Any:
        """The document that the command prints, behind its questions."""
        return json.JSONDecoder().raw_decode(re.sub(r"\A[^{\[]*", "", self._printed(command, shown)))[0]

    def _printed(self, command: str, shown: str) -> str:
        for known, actual in self.ids.items():
            command = command.replace(known, actual)
        before, _, own = command.rpartition(" | ")
        words = shlex.split(own, comments=True)
        if own == "echo $?":
            return f"{self.last_code}\n"
        if words[0] == "cat":
            return Path(words[1]).read_text(encoding="utf-8")
        assert words[0] == "erasure", command
        answers = [answer or self.key for answer in _QUESTIONS.findall(shown)]
        given = self.piped[before] if before else "".join(f"{answer}\n" for answer in answers)
        result = CliRunner().invoke(
            app, words[1:], input=given, obj=Session(is_interactive=not before), prog_name="erasure"
        )
        assert "This program has a defect" not in result.output, result.exception
        self.last_code = result.exit_code
        return result.output

    def check(self, shown: str, printed: str) -> None:
        """Hold what was printed against the page: times and ids may differ, each id of the page standing for one."""
        pattern, end = "", 0
        names: list[str] = []
        for token in _TOKENS.finditer(shown):
            pattern += re.escape(shown[end : token.start()])
            pattern += self._stands_for(token, names)
            end = token.end()
        found = re.fullmatch(pattern + re.escape(shown[end:]), printed)
        assert found is not None, f"shown:\n{shown}\nprinted:\n{printed}"
        self.ids |= {name: found[f"id{number}"] for number, name in enumerate(names)}
        assert len(set(self.ids.values())) == len(self.ids), "two ids of the page stand for one"

    def renewed(self, shown: str, printed: str) -> str:
        """What the page is to show: what it does already, if that holds."""
        try:
            self.check(shown, printed)
        except AssertionError:
            for known, actual in self.ids.items():
                printed = printed.replace(actual, known)
            return printed
        return shown

    def _stands_for(self, token: re.Match[str], names: list[str]) -> str:
        kind, text = token.lastgroup, token[0]
        if kind in ("seconds", "time"):
            return r"\d{4}-\d\d-\d\d \d\d:\d\d" + (r":\d\d" if token["seconds"] else "") + r" \+00:00"
        if kind != "id":
            return _STANDS_FOR[str(kind)]
        if text in self.ids:
            return re.escape(self.ids[text])
        if text in names:
            return f"(?P=id{names.index(text)})"
        names.append(text)
        prefix = text[:3] if "_" in text else ""
        return f"(?P<id{len(names) - 1}>{prefix}[0-9A-Za-z]{{{len(text) - len(prefix)}}})"


def anew(block: str, printed: Sequence[str]) -> str:
    """The block with what its commands have printed."""
    commands = [found[0] for found in _SHOWN_COMMAND.finditer(block)]
    return "".join(command + text for command, text in zip(commands, printed, strict=True))


def _folded(line: str) -> list[str]:
    """As a terminal shows it, but at blanks."""
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False)
