"""What is printed: results on stdout, all else on stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from erasure_client import Plan, PlanTarget, Subject
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output, clean, document_of, plain, table
from tests.unit.client.cli.requests_told import request, told

HOSTILE = "ann\x1b[2J\x1b]0;owned\x07\u202egnp.exe\x9b31m[bold red]x[/]\r\n\u2028\ud800"


@given(st.text())
def test_nothing_unseen_is_left_of_a_text(text: str) -> None:
    """No text from elsewhere moves the cursor, changes colours, turns the direction of writing, or hides."""
    assert not [each for each in clean(text) if unicodedata.category(each) in ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp")]


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "Mn"]), max_size=300))
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    """Ids in any script are shown as they are."""
    assert clean(text) == text


def test_markup_in_a_name_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    """An id that looks like rich's markup, or a terminal's commands, is printed letter by letter."""
    Output().result({}, HOSTILE)
    Output().result({}, plain(HOSTILE))
    printed = capsys.readouterr().out
    assert "[bold red]x[/]" in printed
    assert "\x1b" not in printed
    assert "\\x1b[2J" in printed
    assert "\\u202e" in printed


def test_json_is_one_document_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` stdout is a document that every program can read, and no terminal obeys."""
    out = Output(as_json=True)
    out.note("Not this.")
    out.result({"id": HOSTILE}, "not this")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"id": HOSTILE}
    assert printed.out.isascii()
    assert printed.err == ""


def test_a_stream_is_a_document_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Many results are as many lines."""
    out = Output(as_json=True)
    for each in (1, 2):
        out.stream({"n": each, "text": "a\nb"}, "")
    assert [json.loads(line)["n"] for line in capsys.readouterr().out.splitlines()] == [1, 2]


def test_notes_and_errors_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout carries results only."""
    out = Output()
    out.note("remark")
    assert out.error(CommandError("Wrong.", "Do this.", Exit.CONFLICT)) == 6
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "remark\nerror: Wrong.\nnext: Do this.\n"


def test_an_error_is_a_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` stderr is one document, and stdout is empty."""
    error = CommandError("Wrong.", None, Exit.NOT_FOUND, "missing")
    assert Output(as_json=True).error(error) == 5
    printed = capsys.readouterr()
    assert json.loads(printed.err) == error.document()
    assert printed.out == ""


def test_long_errors_are_not_broken_in_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that is to be copied stays on its line."""
    command = f"`chmod 600 {'/a-long-directory' * 10}/config.toml`"
    Output().error(CommandError("Wrong.", command))
    assert f"next: {command}\n" in capsys.readouterr().err


def test_without_a_terminal_nobody_is_asked() -> None:
    """What cannot be undone needs ``--yes`` where nobody can answer."""
    with pytest.raises(CommandError, match="Nothing was done") as refused:
        Output(is_interactive=False).confirm("Erase?", yes=False)
    assert refused.value.exit_code == Exit.USAGE
    assert "--yes" in (refused.value.next or "")
    Output(is_interactive=False).confirm("Erase?", yes=True)


@pytest.mark.parametrize("answer", ["n", ""])
def test_an_answer_that_is_not_yes_is_no(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a clear yes goes on; just Enter is no."""
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: answer)
    with pytest.raises(CommandError, match="Nothing was done"):
        Output(is_interactive=True).confirm("Erase?", yes=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    Output(is_interactive=True).confirm("Erase?", yes=False)


def test_a_question_does_not_let_an_id_speak(capsys: pytest.CaptureFixture[str]) -> None:
    """An id in a question cannot rewrite the question."""
    with pytest.raises(CommandError):
        Output(is_interactive=False).confirm("x", yes=False)
    assert "\x1b" not in clean(f"Erase {HOSTILE}?")
    assert "\r" not in clean(f"Erase {HOSTILE}?")


def test_a_result_is_a_document_as_the_service_told_it() -> None:
    """What came from the service is shown as it came; the rest by its fields, with times as the service writes them."""
    assert document_of(request("started", owner="a field of tomorrow")) == told("started", owner="a field of tomorrow")
    at = datetime(2036, 1, 31, 1, tzinfo=timezone(timedelta(hours=1)))
    plan = Plan(Subject.user("ann"), "hash", (PlanTarget("a", "b", "delete", None, until=at),))
    document = document_of(plan)
    assert document["subject"] == {"type": "user", "id": "ann"}
    assert document["targets"][0]["until"] == "2036-01-31T00:00:00.000Z"
    assert document["targets"][0]["count"] is None
    assert document["not_before"] is None
    assert document_of((at.astimezone(UTC).date(),)) == ["2036-01-31"]


def test_what_must_be_copied_is_never_cut_off() -> None:
    """In 80 columns the names give way, not the ids and numbers."""
    rows = table("ID", "NAME", "COUNT", "NOTE", whole=("ID",), right=("COUNT",))
    rows.add_row("er_01M80EY0A4QSF0B1MX3Y6VC2RT", plain("n" * 90), "1,200,000", plain("o" * 90))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(rows)
    lines = capture.get().splitlines()
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert "er_01M80EY0A4QSF0B1MX3Y6VC2RT" in lines[1]
    assert "1,200,000" in lines[1]
    assert lines[1].count("…") == 2
