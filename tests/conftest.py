"""What all tests share: the deployed stack, brought up once for each run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.stack import ROOT, Stack, load_stack

TEST_PORT = int(os.environ.get("ERASURE_TEST_PORT", "4666"))
"""A port of the tests' own: they erase people, and a developer may be looking at the stack of the default port."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two workers share the tests: whatever needs the stack or another process of its own is one worker's, in its
    order; the rest goes file by file."""
    for item in items:
        needs_machine = any(item.iter_markers("stack")) or any(item.iter_markers("engine"))
        group = "machine" if needs_machine or "stack" in getattr(item, "fixturenames", ()) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The service, deployed and seeded afresh on :data:`TEST_PORT`.

    ``ERASURE_KEEP_STACK=1`` leaves it running afterwards, for a look.
    """
    _local("down")
    _local("reset")
    _local("up")
    _local("seed")
    yield load_stack(TEST_PORT)
    if not os.environ.get("ERASURE_KEEP_STACK"):
        _local("down")


def _local(command: str) -> None:
    environment = {**os.environ, "PORT": str(TEST_PORT)}
    subprocess.run([sys.executable, "-m", "local", command], cwd=ROOT, env=environment, check=True)
