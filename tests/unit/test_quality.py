"""The checks that every change has to pass, run as tests so that one command runs everything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from local.stack import ROOT

CHECKS = {
    "ruff": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types of the service": ["mypy"],
    "types of the local stack": ["mypy", "-p", "local"],
}


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS)
def test_source_passes(command: list[str]) -> None:
    """Style and types are clean everywhere."""
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
