"""The command line in this process, with the service in memory behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner, Result

from erasure_client.cli._app import app
from erasure_client.cli._session import Session
from erasure_client.testing import FakeService

VARIABLES = ("ERASURE_URL", "ERASURE_API_KEY", "ERASURE_TENANT", "ERASURE_PROFILE")


class Erasure(Protocol):
    """``erasure("status", request_id)``: what came of the command. ``input``: on its standard input.
    ``is_interactive``: whether somebody can be asked. ``env``: environment variables."""

    def __call__(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002
        is_interactive: bool | None = None,
        env: dict[str, str] | None = None,
    ) -> Result: ...


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the profiles are, of nobody who is signed in."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "erasure" / "config.toml"
    monkeypatch.setenv("ERASURE_CONFIG", str(path))
    return path


@pytest.fixture
def signed_in(service: FakeService, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the service and a key of the tenant ``acme``."""
    monkeypatch.setenv("ERASURE_URL", service.url)
    monkeypatch.setenv("ERASURE_API_KEY", service.api_key)


@pytest.fixture
def erasure(service: FakeService, config: Path) -> Iterator[Erasure]:
    """Runs the command line. No result shows the key, whatever happened, and none is a defect."""
    ran: list[Result] = []

    def run(
        *arguments: str,
        input: str | None = None,  # noqa: A002
        is_interactive: bool | None = None,
        env: dict[str, str] | None = None,
    ) -> Result:
        session = Session(transport=service, is_interactive=is_interactive)
        options: dict[str, Any] = {"input": input, "env": env, "obj": session, "prog_name": "erasure"}
        result = CliRunner(mix_stderr=False).invoke(app, list(arguments), **options)
        ran.append(result)
        return result

    yield run
    for result in ran:
        assert service.api_key not in result.stdout + result.stderr
        assert "This program has a defect" not in result.stderr, result.exc_info
        assert "Traceback" not in result.stderr
