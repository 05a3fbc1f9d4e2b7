"""Following an erasure: what is shown while it goes on, and the exit code at its end."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from erasure_client.cli import _watch
from erasure_client.cli._exits import Exit
from erasure_client.cli._output import Output
from erasure_client.cli._watch import exit_code
from tests.unit.client.cli.requests_told import NOW, REQUEST_ID, request, target


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "now", lambda: NOW)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    follower = _watch._Lines(Output())

    def show(*args: Any, **more: Any) -> list[str]:
        follower.show(request(*args, **more))
        return [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]

    return show


def test_each_change_is_a_line(lines: Any) -> None:
    """Without a terminal, each change of the request and of its targets is told once, with its time."""
    assert lines("requested", target("a", "waiting"), target("b", "waiting")) == [
        "requested: Accepted and queued. The data is not gone yet."
    ]
    assert lines("started", target("a", "erasing", 1_200), target("b", "waiting")) == [
        "a: erasing, 1,200",
        "started: It is being worked on. Not everything is gone yet.",
    ]
    assert lines("started", target("a", "erased", 1_500), target("b", "erasing")) == [
        "a: erased, 1,500",
        "b: erasing",
    ]
    assert lines("finished", target("a", "erased", 1_500), target("b", "already_absent")) == [
        "b: already absent",
        "finished: All that it covers is erased, and verified.",
    ]


def test_attention_names_the_reason_in_a_line(lines: Any) -> None:
    """Whoever reads only the log sees what failed."""
    told = lines("started", target("a", "failed", reason="access_denied"), attention=True)
    assert told[0] == "a: failed (access_denied)"
    assert told[1].startswith("needs attention: Could not be erased: a (access_denied).")


@pytest.mark.parametrize(
    ("state", "more", "code"),
    [
        ("finished", {"targets": [target("a", "erased", 3), target("b", "already_absent")]}, Exit.DONE),
        ("finished", {"targets": [target("a", "retained", kept=2, basis="tax law")]}, Exit.DONE),
        ("finished", {"targets": [target("a", "erased", 3), target("b", "failed")]}, Exit.PARTLY),
        ("finished", {"targets": [target("a", "a word of tomorrow")]}, Exit.PARTLY),
        ("finished", {"targets": [target("a", "erased", 3)], "attention": True}, Exit.PARTLY),
        ("finished", {"targets": [target("a", "erased", 3)], "late_arrivals": 1}, Exit.PARTLY),
        ("finished", {}, Exit.PARTLY),
        ("held", {}, Exit.PARTLY),
        ("cancelled", {}, Exit.PARTLY),
        ("started", {"attention": True}, Exit.PARTLY),
        ("started", {}, Exit.STILL_RUNNING),
        ("requested", {}, Exit.STILL_RUNNING),
        ("a word of tomorrow", {}, Exit.STILL_RUNNING),
    ],
)
def test_only_finished_is_zero(state: str, more: dict[str, Any], code: Exit) -> None:
    """A script that goes by exit code 0 goes on only when the erasure is finished, and nothing is left but what is kept
    by rule."""
    assert exit_code(request(state, **more)) == code


def drawn(*args: Any, width: int = 80, height: int = 24, **more: Any) -> list[str]:
    console = Console(width=width, height=height, color_system=None, force_terminal=True)
    screen = _watch._Screen(console)
    screen.show(request(*args, **more))
    with console.capture() as capture:
        console.print(screen._view())
    return capture.get().splitlines()


def test_the_view_has_all_that_one_waits_for() -> None:
    """Whom it is about, how it stands, how old it is, when it is due, and each target."""
    view = drawn("started", target("documents", "erasing", 1_200), target("drafts", "erased", 3))
    text = "\n".join(view)
    assert REQUEST_ID in view[0]
    assert "user ann" in view[0]
    assert "started: It is being worked on." in view[1]
    assert "1 of 2 targets" in text
    assert "age  " in text
    assert "10 h" in text
    assert "in 2 d 14 h" in text
    assert "1,200" in text
    assert "Ctrl-C stops watching, not the erasure." in view[-1]
    assert all(len(line) <= 80 for line in view)


def bar(*targets: Any) -> tuple[int, int]:
    """Characters of the bar that are drawn in the colour of what is done, and all of them."""
    console = Console(width=80, color_system="256", force_terminal=True)
    screen = _watch._Screen(console)
    drawn = console.render(screen._bar(request("started", *targets), NOW))
    strokes = [(len(part.text), part.style) for part in drawn if set(part.text) & set("━╸╺")]
    grey = console.get_style("bar.back").color
    return sum(n for n, style in strokes if style and style.color != grey), sum(n for n, _ in strokes)


def test_the_bar_grows_before_the_first_target_is_at_its_end() -> None:
    """What is begun and what is being verified moves it; full it is when all are at their end, and not before."""
    waiting, erasing, verifying = (target("a", state) for state in ("waiting", "erasing", "verifying"))
    assert [bar(each)[0] for each in (waiting, erasing, verifying)] == [0, 8, 16]
    assert bar(verifying, target("b", "erased")) == (20, 24)
    assert bar(target("b", "erased"), target("c", "blocked")) == (24, 24)
    assert bar(target("a", "failed"), target("b", "erased")) == (12, 24)


def test_before_the_first_look_nothing_is_claimed() -> None:
    """As long as nothing is known, nothing is said."""
    console = Console(width=80, force_terminal=True)
    assert "Asking" in str(_watch._Screen(console)._view())


@pytest.mark.parametrize("height", [24, 15])
def test_many_targets_fit_the_screen(height: int) -> None:
    """Where there is no room for all, those that are not at their end are shown, and the others counted."""
    targets = [target(f"done-{n}", "erased", n) for n in range(30)]
    targets += [target("broken", "failed", reason="access_denied"), target("busy", "verifying", 5)]
    view = drawn("started", *targets, height=height)
    text = "\n".join(view)
    assert len(view) < height
    assert "broken" in text
    assert "busy" in text
    shown = sum("done-" in line for line in view)
    assert f"and {30 - shown} erased" in text


def test_a_spinner_moves_only_where_work_goes_on() -> None:
    """Only targets that are being worked on have a spinner."""
    view = drawn("started", target("busy", "erasing"), target("idle", "waiting"), target("done", "erased"))
    marked = [line for line in view if any(0x2800 <= ord(each) <= 0x28FF for each in line)]
    assert len(marked) == 1
    assert "busy" in marked[0]
