"""What all commands have in common: how quickly they begin, how they fail, what they print where."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

import erasure_client.cli
from erasure_client._http import HTTPCarrier
from erasure_client._requests import Requests
from erasure_client.cli._app import SECTIONS, app, commands
from erasure_client.cli._session import Session
from erasure_client.testing import FakeService
from tests.functional.client.cli.conftest import Erasure

COUNT_MODULES = """
import sys
from erasure_client.cli._app import app
try:
    app.main({arguments!r}, prog_name="erasure")
except SystemExit as end:
    assert end.code == 0, end.code
print([name for name in ("boto3", "botocore", "httpx", "rich", "yaml") if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [["--version"], ["status", "--help"]])
def test_what_needs_no_service_begins_quickly(arguments: list[str]) -> None:
    """Neither the version nor a command's help import what takes long: httpx, rich, boto3, yaml."""
    program = COUNT_MODULES.format(arguments=arguments)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def every_command() -> Iterator[tuple[str, click.Command]]:
    """All that do something, with their names as they are typed."""
    found: list[tuple[str, click.Command]] = [
        (name, commands(module)[name]) for section in SECTIONS.values() for name, module in section.items()
    ]
    while found:
        name, command = found.pop(0)
        if isinstance(command, click.Group):
            found += [(f"{name} {each}", inner) for each, inner in command.commands.items()]
        else:
            yield name, command


def test_the_help_lists_every_command(erasure: Erasure) -> None:
    """In sections, in 80 columns."""
    result = erasure("--help")
    assert result.exit_code == 0
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    for heading, section in SECTIONS.items():
        assert f"\n{heading}:\n" in result.stdout
        for name in section:
            assert re.search(rf"^  {name} +\S", result.stdout, re.MULTILINE), name


def test_every_command_takes_json_and_explains_itself(erasure: Erasure) -> None:
    """Every command has ``--json``, but for what prints another program's text, and help that fits 80 columns."""
    checked = 0
    for name, command in every_command():
        result = erasure(*name.split(), "--help")
        if command.add_help_option:
            assert "--json" in result.stdout, name
            assert all(len(line) <= 80 for line in result.stdout.splitlines()), name
            assert len(result.stdout.splitlines()[2]) > 10, name
            checked += 1
    assert checked >= 25


def test_every_command_of_a_module_is_found() -> None:
    """No command is written and then forgotten in the table of commands."""
    named = {name: module for section in SECTIONS.values() for name, module in section.items()}
    for module in set(named.values()):
        assert commands(module).keys() == {name for name, where in named.items() if where == module}


@pytest.mark.parametrize("arguments", [["lst"], ["status"], ["status", "a", "b"], ["list", "--limit", "x"], ["--nope"]])
def test_wrong_usage_is_told_with_the_help_to_read(erasure: Erasure, arguments: list[str]) -> None:
    """Exit code 2, an error, and where to look; with ``--json`` as a document."""
    result = erasure(*arguments)
    assert result.exit_code == 2
    assert re.fullmatch(r"error: .+\nnext: See `erasure.* --help`\.\n", result.stderr)
    document = json.loads(erasure(*arguments, "--json").stderr)
    assert document["error"]["code"] == "usage"


def test_without_a_profile_it_says_how_to_sign_in(erasure: Erasure, config: Path) -> None:
    """The first thing that somebody sees is what to do first."""
    result = erasure("list")
    assert result.exit_code == 4
    assert "erasure login" in result.stderr


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (404, 5), (409, 6), (400, 1)])
def test_refusals_have_their_exit_codes(erasure: Erasure, service: FakeService, status: int, code: int) -> None:
    """Scripts can tell what kind of refusal it was."""
    service.refuse_next(status)
    result = erasure("sla", "--json")
    assert result.exit_code == code
    assert json.loads(result.stderr)["error"].keys() == {"code", "message", "errors", "request_id", "call_id", "next"}
    assert result.stdout == ""


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_a_service_that_is_away_is_exit_code_8(
    erasure: Erasure, service: FakeService, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the client has tried as often as it may: run it again later."""
    monkeypatch.setattr(HTTPCarrier, "pause", lambda *_: None)
    if status is None:
        service.lose_next_answer(times=5)
    else:
        service.refuse_next(status, times=5)
    result = erasure("sla")
    assert result.exit_code == 8
    assert "again" in result.stderr
    assert erasure("sla").exit_code == 0


@pytest.mark.usefixtures("signed_in")
def test_another_service_at_the_address_is_told(config: Path) -> None:
    """A page in the place of the API is not taken for an answer."""
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>It works!</html>"))
    result = CliRunner(mix_stderr=False).invoke(app, ["sla"], obj=Session(transport=page))
    assert result.exit_code == 1
    assert "erasure profiles list" in result.stderr


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RuntimeError("ann sk_test_secret"), 1, "This program has a defect (RuntimeError)."),
        (OSError(errno.ENOSPC, "No space left on device", "/home/ann"), 1, "No space left on device."),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_what_nobody_foresaw_ends_with_one_line(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    """No trace of the program's inside, in which ids and keys could stand; and to look before running it again."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Requests, "create", fail)
    result = CliRunner(mix_stderr=False).invoke(app, ["request", "ann", "--yes"], obj=Session(transport=service))
    assert result.exit_code == code
    assert text in result.stderr
    assert "erasure list" in result.stderr
    assert not re.search("Traceback|ann|sk_test", result.stderr)


COLOURS = re.compile("\x1b\\[")


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("variables", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)]
)
def test_colours_are_for_terminals(
    erasure: Erasure, service: FakeService, variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes into a file or a program has no colours, nor has anything if they are not wanted."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    request_id = service.client().requests.create("ann").request.id
    result = erasure("status", request_id, env={"TERM": "xterm-256color", **variables})
    assert bool(COLOURS.search(result.stdout)) == coloured


@pytest.mark.usefixtures("signed_in")
def test_a_terminal_without_these_letters_is_no_defect(service: FakeService) -> None:
    """Where … and ids in other scripts cannot be written, they are escaped."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"ERASURE_URL": service.url}
    program = (
        "from erasure_client.cli._app import app\n"
        "from erasure_client.cli._output import Output\n"
        "from erasure_client.cli._command import erasure_command\n"
        "@erasure_command('show')\n"
        "def show(session, out):\n"
        "    '''Show.'''\n"
        "    out.result({}, '用户 …')\n"
        "import erasure_client.cli._figures as figures\n"
        "show.name = 'sla'\n"
        "figures.COMMANDS = (show,)\n"
        "app.main(['sla'])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stdout) == (0, "\\u7528\\u6237 \\u2026\n")


def completions(words: str) -> list[str]:
    environment = {**os.environ, "_ERASURE_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment |= {"COMP_CWORD": str(len(words.split(" ")) - 1), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-c", "from erasure_client.cli import main; main()"]
    run = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
    return [line.split(",", 1)[1] for line in run.stdout.splitlines() if line]


def test_the_shell_completes_commands_profiles_and_states(erasure: Erasure, service: FakeService, config: Path) -> None:
    """What there is to choose from can be completed; a file with profiles that is refused completes nothing."""
    erasure("login", "--name", "prod", "--url", service.url, "--key-stdin", input=service.api_key)
    assert {"request", "retry", "retention"} <= set(completions("erasure re"))
    assert completions("erasure --profile p") == ["prod"]
    assert completions("erasure profiles use p") == ["prod"]
    assert completions("erasure list --state fi") == ["finished"]
    config.chmod(0o644)
    assert completions("erasure --profile p") == []


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has only the client installed is told how to get the command line."""
    monkeypatch.setattr(erasure_client.cli, "find_spec", lambda name: None if name == "rich" else object())
    assert erasure_client.cli.main() == 2
    told = capsys.readouterr().err
    assert "rich" in told
    assert "pip install './layers/client[cli]'" in told
