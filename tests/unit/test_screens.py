"""The pictures in the docs: recorded as a terminal shows it, and free of whatever belongs to one machine."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len
from rich.text import Text

from local.screens import FOLDER, TITLES, at_work, write
from local.stack import DEFAULT_PORT, ROOT, LocalError
from local.terminal import COLUMNS, Recording, Screen, record

SVG = "{http://www.w3.org/2000/svg}"


def recorded(program: str, *, rows: int = 10, timeout: float = 20, **more: Any) -> Recording:
    environment = {**os.environ, **more.pop("environment", {})}
    command = [sys.executable, "-ISc", program]
    return record(command, shown_as="it", environment=environment, rows=rows, timeout=timeout, **more)


def screen(*lines: str) -> Screen:
    return Screen(tuple(Text(line) for line in lines))


def drawn_lines(svg: str) -> list[str]:
    """The text of the picture, line by line, without blanks."""
    lines: dict[float, list[str]] = defaultdict(list)
    matrix = next(group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if "matrix" in group.get("class", ""))  # noqa: S314
    for text in matrix.iter(f"{SVG}text"):
        lines[float(text.get("y", ""))].append(text.text or "")
    drawn = ("".join("".join(parts).split()) for _, parts in sorted(lines.items()))
    return [line for line in drawn if line]


BARS = r"""
import sys, time
write = sys.stdout.write
write("first\nbar 0 %\nother 0 %\n")
for percent in (50, 100):
    sys.stdout.flush()
    time.sleep(0.1)
    write(f"\x1b[2A\r\x1b[2Kbar {percent} %\n\r\x1b[2Kother {percent} %\n")
write("\x1b[31mred\x1b[0m \x1b[1;38;2;1;2;3mbold\x1b[0m 張 end\n")
"""


def test_what_is_drawn_over_is_gone() -> None:
    """A bar that moves the cursor up ends as its last state; before that, each of its states was a screen."""
    seen = recorded(BARS)
    assert seen.exit_code == 0
    assert seen.whole.text == "$ it\nfirst\nbar 100 %\nother 100 %\nred bold 張 end\n"
    assert any("bar 50 %\nother 50 %\n" in each.text for each in seen.screens)
    assert seen.screens[-1].text == seen.whole.text


def test_what_has_scrolled_off_is_in_the_whole() -> None:
    """A screen has the terminal's lines; all that was written is there at the end."""
    seen = recorded("for n in range(30): print('line', n)", rows=5)
    assert seen.screens[-1].text == "".join(f"line {n}\n" for n in range(26, 30))
    assert seen.whole.text == "$ it\n" + "".join(f"line {n}\n" for n in range(30))


def test_the_picture_has_the_text_and_its_colours() -> None:
    """What is read in the picture is what the terminal showed, in the theme's red and in a colour of the program's."""
    seen = recorded(BARS)
    svg = seen.whole.svg("it", "a < b")
    assert drawn_lines(svg) == ["".join(line.split()) for line in seen.whole.text.splitlines()]
    assert "#ff7b72" in svg
    assert "#010203" in svg
    assert "font-weight: bold" in svg


def test_the_program_finds_a_terminal() -> None:
    """80 columns, colours, UTC; whatever the caller has set for its own terminal is not passed on."""
    program = (
        "import os, sys; print(sys.stdout.isatty(), sys.stdin.isatty(), *os.get_terminal_size(), os.environ['TERM'],"
        "os.environ['TZ'], {'NO_COLOR', 'COLUMNS'} & {*os.environ})"
    )
    seen = recorded(program, environment={"NO_COLOR": "1", "COLUMNS": "200", "TZ": "Asia/Tokyo"})
    assert seen.whole.text == "$ it\nTrue True 80 10 xterm-256color UTC set()\n"


def test_text_is_shown_as_another() -> None:
    """A port of this machine reads like the default one's, in the screens and in the whole."""
    seen = recorded("print('at host:4760/x')", replace={"host:4760": "host:4566"})
    assert seen.screens[-1].text == seen.whole.text == "$ it\nat host:4566/x\n"


def test_a_program_that_does_not_end_is_ended() -> None:
    """It is told, and the program is not left behind."""
    with pytest.raises(LocalError, match="not ended in time"):
        recorded("import time; print('begun', flush=True); time.sleep(60)", timeout=0.3)


def test_the_failure_of_a_program_is_seen() -> None:
    """Its exit code is there, and what it wrote on both ways out."""
    seen = recorded("import sys; print('out', flush=True); sys.exit('no')")
    assert (seen.exit_code, seen.whole.text) == (1, "$ it\nout\nno\n")


def test_a_screen_in_the_middle_of_the_work_is_chosen() -> None:
    """Of those with two states or more, by whole words; without any there is nothing to be seen."""
    states, mixed = ["waiting", "erasing", "erased"], ("a erasing", "b waiting")
    screens = [screen("a waiting"), *(screen(*mixed, f"look {n}") for n in range(3)), screen("a erased", "b erased")]
    assert at_work(screens, states) is screens[2]
    with pytest.raises(LocalError, match="before it could be seen"):
        at_work([screen("unerased", "erasing")], states)


@pytest.mark.parametrize("path", [ROOT / "local", Path.home() / "x", Path("/tmp/y")])  # noqa: S108
def test_no_screen_with_a_path_is_written(path: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(LocalError, match="a path of this machine"):
        write(tmp_path, "doctor", screen(f"see {path}"))
    assert not list(tmp_path.iterdir())


def docs_screens() -> Mapping[str, tuple[str, str]]:
    """Name: picture and text, as they are in the docs."""
    return {
        name: ((FOLDER / f"{name}.svg").read_text(), (FOLDER / f"{name}.txt").read_text()) for name in sorted(TITLES)
    }


def test_the_docs_have_each_screen_and_no_other() -> None:
    """A picture and a text of each that the script makes."""
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.{kind}" for name in TITLES for kind in ("svg", "txt")}


@pytest.mark.parametrize("name", TITLES)
def test_a_screen_of_the_docs_fits(name: str) -> None:
    """No line is wider than the terminal, and the picture says what the text says."""
    svg, text = docs_screens()[name]
    assert max(cell_len(line) for line in text.splitlines()) <= COLUMNS
    assert drawn_lines(svg) == [each for line in text.splitlines() if (each := "".join(line.split()))]


@pytest.mark.parametrize("name", TITLES)
def test_a_screen_of_the_docs_is_nobodys_own(name: str) -> None:
    """It names no path of a machine, no port but the default one's, and loads nothing from elsewhere."""
    for content in docs_screens()[name]:
        assert not re.search(r"/(?:home|root|tmp|work|Users|private|var)/", content)
        hosts = {address.split("/")[2] for address in re.findall(r"\w+://[^\s\"'<&]+", content)}
        assert hosts <= {"www.w3.org", f"127.0.0.1:{DEFAULT_PORT}"}
        assert "PORT=" not in content
        assert not re.search(r"@font-face|@import|href=|url\((?!#)", content)


def test_each_screen_is_linked() -> None:
    """From the front page or the command line's."""
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "command-line.md").read_text()
    for name in TITLES:
        assert f"screens/{name}.svg" in pages
        assert f"screens/{name}.txt" in pages
