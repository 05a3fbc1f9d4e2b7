"""The commands that other tools use: only the result on stdout, and the promised names in the env file."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import httpx
import jwt
import pytest

import local.stack
from erasure.domain.api_key import parse_key
from local import deployment
from local.emulator import emulator
from local.stack import LOCAL, ROOT, Place, Stack, read_env, write_env
from tests.conftest import TEST_PORT
from tests.functional.local_places import free_place


def _make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as a tool would. `-o setup`: tests never install anything."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-o", "setup", *arguments, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_help_names_every_command() -> None:
    """`make` alone lists the commands, all that there are."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    shown = _make()
    assert shown.returncode == 0
    for command in set(phony[1].split()) - {"help"}:
        assert f"make {command}" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("token",), "make up"),
        (("key",), "make up"),
        (("data-map", "FILE=local/data-map.yaml"), "make up"),
        (("token", "PORT=80"), "PORT must be"),
        (("up", "PORT=x"), "PORT must be"),
    ],
)
def test_what_cannot_be_done_is_said_on_stderr(arguments: tuple[str, ...], hint: str) -> None:
    """No stack, or a port that is none: a hint on stderr, nothing on stdout, a failing exit."""
    with free_place() as place:
        port = () if any(argument.startswith("PORT") for argument in arguments) else (f"PORT={place.port}",)
        refused = _make(*arguments, *port, SUBJECT="ann", TENANT="acme")
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert hint in refused.stderr
    assert "Traceback" not in refused.stderr


def test_each_port_has_a_folder_and_an_env_file_of_its_own() -> None:
    """The default port's file is .local/stack.env, any other's lies in the port's folder."""
    assert Place().env_file == LOCAL / "stack.env"
    assert Place(4567).env_file == LOCAL / "4567" / "stack.env"
    assert Place().folder != Place(4567).folder


def test_env_file_reads_the_same_for_a_shell_and_for_us(tmp_path: Path) -> None:
    """Blanks, quotes and dollars survive `. stack.env` and our own reader."""
    values = {"PLAIN": "http://127.0.0.1:4566/x", "ODD": "a b 'c' \"d\" $HOME #e"}
    write_env(tmp_path / "stack.env", values)
    assert read_env(tmp_path / "stack.env") == values
    script = '. ./stack.env; printf "%s\\n%s" "$PLAIN" "$ODD"'
    sourced = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sourced.stdout.split("\n") == list(values.values())


@pytest.mark.parametrize("default_runs", [True, False])
def test_another_stack_leaves_the_default_ones_env_file_alone(
    default_runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where no default stack runs, .local/stack.env is a copy of the latest one's."""

    class Daemon:
        name = "daemon"

        def __init__(self, place: Place) -> None:
            self._runs = default_runs or place != Place()

        def pid(self) -> int | None:
            return 1 if self._runs else None

        def start(self) -> None:
            self._runs = True

    for module in (local.stack, deployment):
        monkeypatch.setattr(module, "LOCAL", tmp_path)
    monkeypatch.setattr(deployment, "emulator", Daemon)
    monkeypatch.setattr(deployment, "issuer", Daemon)
    monkeypatch.setattr(deployment, "build", str)
    monkeypatch.setattr(deployment, "deploy", lambda place, *_: Stack({"AWS_ENDPOINT_URL": place.endpoint}))
    for place in (Place(), Place(4567)) if default_runs else (Place(4567),):
        deployment.up(place, print)
    latest = Place() if default_runs else Place(4567)
    assert read_env(tmp_path / "stack.env") == {"AWS_ENDPOINT_URL": latest.endpoint}
    assert read_env(tmp_path / "4567" / "stack.env") == {"AWS_ENDPOINT_URL": Place(4567).endpoint}


@pytest.mark.engine
def test_two_emulators_stand_side_by_side() -> None:
    """Stopping one leaves the other alone."""
    with free_place() as one:
        emulator(one).start()
        with free_place() as other:
            emulator(other).start()
            assert emulator(one).pid() != emulator(other).pid()
        assert emulator(other).pid() is None
        assert emulator(one).pid() is not None


@pytest.mark.stack
@pytest.mark.parametrize("subject", ["ann", "x#y", "a$b", 'o\'brien "ob"', "张伟", "team/ops"])
def test_make_token_prints_a_token_and_nothing_else(stack: Stack, subject: str) -> None:
    """Whatever make and the shell would make of the id, the token has it as it was given."""
    printed = _make("token", SUBJECT=subject, TENANT="acme", PORT=str(TEST_PORT))
    assert printed.returncode == 0, printed.stderr
    (line,) = printed.stdout.splitlines()
    claims = jwt.decode(line, options={"verify_signature": False})
    assert (claims["sub"], claims["tenant_id"]) == (subject, "acme")


@pytest.mark.stack
def test_env_file_has_the_promised_names(stack: Stack) -> None:
    """The variables that other tools rely on are all there."""
    assert {
        *("API_URL", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
        *("STACK_NAME", "OIDC_ISSUER", "OIDC_AUDIENCE", "DELETE_IDS_TABLE", "REQUESTS_TABLE", "REGISTRY_TABLE"),
        *("AUDIT_TABLE", "INTERACTIVE_QUEUE_URL", "BATCH_QUEUE_URL", "DEAD_LETTER_QUEUE_URL", "CONTROL_BUCKET"),
        *("STATE_MACHINE_ARN", "DIGEST_KEY_SECRET_ARN", "KEY_MODE"),
    } <= stack.variables.keys()
    assert all(stack.variables.values())


@pytest.mark.stack
def test_up_again_changes_nothing(stack: Stack) -> None:
    """A second `make up` prints the env file's path, restarts nothing and deploys nothing."""
    place = Place(TEST_PORT)
    _make("up", PORT=str(TEST_PORT))  # sources may have been edited since the stack came up
    before = (emulator(place).identity(), place.env_file.read_text())
    again = _make("up", PORT=str(TEST_PORT))
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{place.env_file}\n"
    assert "deploying" not in again.stderr
    assert (emulator(place).identity(), place.env_file.read_text()) == before


@pytest.mark.stack
def test_tables_expire_what_the_emulator_forgot(stack: Stack) -> None:
    """The TTL that the emulator's CloudFormation drops is set."""
    for table in ("DELETE_IDS_TABLE", "REGISTRY_TABLE"):
        described = stack.client("dynamodb").describe_time_to_live(TableName=stack[table])
        assert described["TimeToLiveDescription"]["AttributeName"] == "expires_at"
        assert described["TimeToLiveDescription"]["TimeToLiveStatus"] in {"ENABLED", "ENABLING"}


def test_make_key_prints_a_key_and_nothing_else(stack: Stack) -> None:
    """It opens the backends' API for its tenant, to what its scopes allow and no more."""
    printed = _make("key", TENANT="o'neil $HOME", SCOPES="erasure:read", PORT=str(TEST_PORT))
    key = printed.stdout.strip()
    assert parse_key(key) is not None
    assert key not in printed.stderr
    headers = {"Authorization": f"Bearer {key}", "X-Tenant-ID": "o'neil $HOME"}
    assert httpx.get(f"{stack.api_url}/v1/erasure-requests", headers=headers).json() == {"requests": []}
    assert httpx.get(f"{stack.api_url}/v1/users/ann", headers=headers).json()["error"] == "insufficient_permissions"


def test_make_key_says_whose_it_wants_to_know() -> None:
    """Without a tenant there is no key."""
    refused = _make("key", TENANT="", PORT=str(TEST_PORT))
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert "make key TENANT=" in refused.stderr
