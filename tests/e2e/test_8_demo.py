"""The demo on the deployed stack: what a newcomer sees first has to be true."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from local.stack import ROOT, Stack
from tests.conftest import TEST_PORT

pytestmark = pytest.mark.stack


def test_demo_erases_the_heavy_person_and_says_so(stack: Stack) -> None:
    """The demo seeds what the tests before have erased, erases the heavy person, checks everybody, and exits with 0.
    Its colours are for terminals: piped, it is plain text."""
    environment = {**os.environ, "PORT": str(TEST_PORT)}
    result = subprocess.run(
        [sys.executable, "-m", "local", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "Nothing of the person is left. Nobody else lost or gained a byte." in result.stdout
    assert "\x1b" not in result.stdout
