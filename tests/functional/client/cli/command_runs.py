"""Runs of the command line in this process."""

from __future__ import annotations

import inspect
from typing import Any

import click
from click.testing import CliRunner, Result

from erasure_client.cli._app import app

# Newer versions of click always keep the two apart, and know no option for it.
_APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner.__init__).parameters else {}


def run_command(*arguments: str, obj: Any = None, piped: str | None = None, command: click.Command = app) -> Result:
    """Its result, with stdout and stderr apart."""
    runner: CliRunner = CliRunner(**_APART)  # type: ignore[arg-type]
    return runner.invoke(command, arguments, obj=obj, input=piped)
