"""What somebody who sees the command line for the first time runs into."""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

from erasure_client.cli._app import SECTIONS
from erasure_client.cli._session import Session
from erasure_client.testing import FakeService
from tests.functional.client.cli.command_runs import run_command

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def service() -> FakeService:
    return FakeService(auto_finish=True)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("ERASURE_CONFIG", str(path))
    monkeypatch.setenv("COLUMNS", "80")
    return path


@pytest.fixture
def run(service: FakeService, config: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command, signed in by the environment. ``piped``: on its standard input."""
    monkeypatch.setenv("ERASURE_URL", service.url)
    monkeypatch.setenv("ERASURE_API_KEY", service.api_key)
    return lambda *arguments, piped=None, is_interactive=None: run_command(
        *arguments, obj=Session(transport=service, is_interactive=is_interactive), piped=piped
    )


@pytest.mark.parametrize(("typed", "meant"), [(["sttaus"], "status"), (["hold", "lft"], "lift")])
def test_a_command_that_is_mistyped_is_told(run: Run, typed: list[str], meant: str) -> None:
    """Which command is meant by one that is nearly one, and nothing is run."""
    result = run(*typed, "er_1")
    assert result.exit_code == 2
    assert f"Did you mean '{meant}'?" in result.stderr


def test_what_is_like_no_command_is_not_guessed(run: Run) -> None:
    """No guess where there is none."""
    result = run("zzzzzz")
    assert result.exit_code == 2
    assert "Did you mean" not in result.stderr


def test_an_option_before_the_command_is_told_where_it_goes(run: Run) -> None:
    """``erasure --json list``, as other programs take it."""
    result = run("--yes", "list")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --yes goes behind the command.\n")
    assert json.loads(run("--json", "list").stderr)["error"]["message"] == "--json goes behind the command."


def test_what_there_is_to_choose_from_is_on_the_errors_line(run: Run) -> None:
    """Line breaks of click's own texts are not shown as codes."""
    result = run("completion")
    assert result.exit_code == 2
    assert "\\x0a" not in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert all(shell in result.stderr for shell in ("bash", "zsh", "fish"))


@pytest.mark.parametrize("group", ["hold", "suppress", "users", "keys", "data-map", "profiles"])
def test_the_help_of_a_group_is_not_cut_off(run: Run, group: str) -> None:
    """All of what its commands are for is told."""
    assert any(group in section for section in SECTIONS.values())
    assert "..." not in run(group, "--help").stdout.partition("Commands:")[2]


def test_where_and_as_whom_are_two_lines(run: Run, service: FakeService) -> None:
    """An address of API Gateway's does not push the tenant over the terminal's edge."""
    asked = run("request", "ann", piped="n\n", is_interactive=True).stderr.splitlines()
    assert f"  at {service.url}" in asked
    assert any(line.startswith("  tenant: ") for line in asked)


def test_what_a_deletion_leaves_is_told_before(run: Run, service: FakeService) -> None:
    """A user's deletion does not reach records: the question does not promise that all goes."""
    service.add_user("ann")
    asked = run("users", "delete", "ann", piped="n\n", is_interactive=True).stderr
    assert "category record stays" in asked
    assert "all their data" not in asked


def test_several_watched_are_told_apart(run: Run, service: FakeService) -> None:
    """Of each, what is told stands below its id and its subject."""
    lines = run("request", "ann", "bob", "--yes", "--watch").stdout.splitlines()
    ids = [request.id for request in service.client().requests.list()]
    of_ann, of_bob = (
        next(at for at, line in enumerate(lines) if line in {f"{each}  user {who}" for each in ids})
        for who in ("ann", "bob")
    )
    ends = [at for at, line in enumerate(lines) if "  finished: " in line]
    assert of_ann < ends[0] < of_bob < ends[1]


def test_a_list_tells_when_what_waits_begins(run: Run) -> None:
    """Of a request with a time of its own that time counts: until then it can be cancelled."""
    run("request", "ann", "--not-before", "+7d", "--yes")
    assert "begins in 6 d 23 h" in run("list").stdout


def test_who_is_not_on_the_list_is_told_so(run: Run) -> None:
    """The answer to the question that was asked, and the exit code for it."""
    result = run("suppress", "check", "ann")
    assert result.exit_code == 5
    assert result.stderr.startswith("error: They are not on the suppression list.\n")


def test_whom_a_hold_does_not_name_may_be_held(run: Run) -> None:
    """An alias is held, and has no hold of its own: that is not told as "no hold"."""
    run("hold", "put", "ann", "--reason", "Litigation 17", "--author", "legal", "--alias", "other-ann")
    result = run("hold", "show", "other-ann")
    assert result.exit_code == 5
    assert "alias" in result.stderr


def test_a_wait_for_the_service_has_a_sign_of_life(run: Run, service: FakeService) -> None:
    """Nobody sits before a command that says nothing while it waits to call again; programs are not told."""
    service.refuse_next(503, retry_after=1)
    told = run("list").stderr
    assert "Trying again in 1 s" in told or "Trying again in 2 s" in told
    service.refuse_next(503, retry_after=1)
    assert run("list", "--json").stderr == ""


def test_a_repetition_is_logged_without_ids(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    """Programs see in their logs why a call takes long, and nobody's id."""
    caplog.set_level(logging.INFO, logger="erasure_client")
    service.add_user("ann-in-secret")
    service.refuse_next(503, retry_after=0)
    service.client().users.get("ann-in-secret")
    (record,) = [each for each in caplog.records if each.name == "erasure_client"]
    assert record.getMessage().startswith("503 (GET ")
    assert "ann" not in record.getMessage()


def test_an_address_is_kept_without_a_slash_at_its_end(run: Run, service: FakeService, config: Path) -> None:
    """One address is written in one way."""
    assert run("login", "--url", f"{service.url}/").exit_code == 0
    assert tomllib.loads(config.read_text())["profiles"]["default"]["url"] == service.url


def test_one_line_is_one(run: Run, tmp_path: Path) -> None:
    """A list of one person is no list of lines."""
    listed = tmp_path / "one.csv"
    listed.write_text("user_id\nann\n")
    result = run("bulk", str(listed), "--results", str(tmp_path / "one.jsonl"), "--yes")
    assert result.stdout.startswith("1 line: 1 accepted.")
