"""What is handed over to the service's own operator program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from erasure_client.cli import _operator
from erasure_client.cli._profiles import Profile, ProfileFile, Profiles
from tests.functional.client.cli.conftest import Erasure

STACK = "erasure-prod"
called: list[list[str]] = []


def record(arguments: Sequence[str]) -> int:
    """In the place of the program."""
    called.append([*arguments])
    return 7


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    called.clear()
    for name in (_operator.STACK_VARIABLE, "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "set so that it is restored")
        monkeypatch.delenv(name)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each call of the program."""
    installed = EntryPoints([EntryPoint("main", f"{__name__}:record", _operator.GROUP)])
    monkeypatch.setattr(_operator, "entry_points", lambda **wanted: installed.select(**wanted))
    return called


@pytest.fixture
def profile(config: Path) -> None:
    """A profile with a stack."""
    kept = Profile("prod", "https://erasure.example.com", None, "sk_live_x_y", STACK, "eu-central-1")
    ProfileFile(config).write(Profiles().with_profile(kept))


@pytest.mark.parametrize(
    ("given", "handed"),
    [
        (("replay", "--since", "T", "--table", "t"), ["replay", "--since", "T", "--table", "t"]),
        (("operator", "sla", "--json"), ["sla", "--json"]),
        (("operator", "hold", "put", "-x", "--", "-y"), ["hold", "put", "-x", "--", "-y"]),
        (("data-map", "validate", "m.yaml"), ["data-map", "validate", "m.yaml"]),
        (("data-map", "check", "m.yaml", "--ignore", "*"), ["data-map", "check", "m.yaml", "--ignore", "*"]),
        (("data-map", "parameters", "m.yaml"), ["data-map", "parameters", "m.yaml"]),
        (("data-map", "diff", "m.yaml"), ["data-map", "diff", "m.yaml"]),
        (("data-map", "diff", "-h"), ["data-map", "diff", "-h"]),
    ],
)
def test_arguments_and_exit_code_go_through(
    erasure: Erasure, recorded: list[list[str]], given: tuple[str, ...], handed: list[str]
) -> None:
    """Whatever stands behind the command is the program's, and its exit code is the command's."""
    assert erasure(*given).exit_code == 7
    assert recorded == [handed]


@pytest.mark.usefixtures("profile")
class TestTheStack:
    def test_the_profiles_is_named(self, erasure: Erasure, recorded: list[list[str]]) -> None:
        """If nobody says which stack is meant, it is the profile's, where the profile says that it is."""
        erasure("replay", "--since", "T")
        assert recorded == [["replay", "--since", "T", "--stack-name", STACK]]
        assert (os.environ["AWS_REGION"], os.environ["AWS_DEFAULT_REGION"]) == ("eu-central-1", "eu-central-1")

    @pytest.mark.parametrize("option", [("--stack-name", "other"), ("--stack-name=other",), ("--stack", "other")])
    def test_one_that_is_given_holds(
        self, erasure: Erasure, recorded: list[list[str]], option: tuple[str, ...]
    ) -> None:
        """An option of the call, also abbreviated, is not overridden."""
        erasure("operator", "sla", *option)
        assert recorded == [["sla", *option]]
        assert "AWS_REGION" not in os.environ

    def test_the_environments_tables_hold(
        self, erasure: Erasure, recorded: list[list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the environment names the tables, they are meant, unless the profile is named with the call."""
        monkeypatch.setenv(_operator.STACK_VARIABLE, "registry")
        erasure("operator", "sla")
        erasure("--profile", "prod", "operator", "sla")
        assert recorded == [["sla"], ["sla", "--stack-name", STACK]]

    def test_help_needs_none(self, erasure: Erasure, recorded: list[list[str]]) -> None:
        """Help is asked for as it is; without arguments it is what is meant."""
        erasure("replay", "--help")
        erasure("operator")
        assert recorded == [["replay", "--help"], ["--help"]]


class TestWithoutTheProgram:
    def test_it_is_said(self, erasure: Erasure, monkeypatch: pytest.MonkeyPatch) -> None:
        """Exit code 2, what is missing and what to do."""
        monkeypatch.setattr(_operator, "entry_points", lambda **_: EntryPoints())
        said = erasure("replay", "--since", "T")
        assert said.exit_code == 2
        assert "not installed" in said.stderr
        assert "from a clone" in said.stderr
        as_json = erasure("data-map", "check", "m.yaml", "--json")
        assert json.loads(as_json.stderr)["error"]["code"] == "not_installed"

    def test_one_that_cannot_be_imported(self, erasure: Erasure, monkeypatch: pytest.MonkeyPatch) -> None:
        """So is one that lacks something."""
        installed = EntryPoints([EntryPoint("main", "no_such_module:main", _operator.GROUP)])
        monkeypatch.setattr(_operator, "entry_points", lambda **wanted: installed.select(**wanted))
        said = erasure("operator", "sla")
        assert said.exit_code == 2
        assert "no_such_module" in said.stderr


class TestTheRealProgram:
    def test_a_data_map_is_validated(self, tmp_path: Path) -> None:
        """The service's own program answers, in a process of its own: its verdict is the exit code."""
        path = tmp_path / "map.yaml"
        path.write_text("version: 1\ntargets: []\n")
        program = "from erasure_client.cli import main; main()"
        command = [sys.executable, "-c", program, "data-map", "validate", str(path)]
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "line 2: targets" in refused.stderr

    def test_its_help(self, erasure: Erasure) -> None:
        """`erasure data-map check --help` is the program's help."""
        shown = erasure("data-map", "check", "--help")
        assert shown.exit_code == 0
        assert "--ignore" in shown.stdout

    def test_wrong_usage(self, erasure: Erasure) -> None:
        """Wrong usage of the program is exit code 2."""
        assert erasure("replay").exit_code == 2
