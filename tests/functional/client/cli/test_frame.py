"""What all commands have in common: how quickly they begin, how they fail, what they print where."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
