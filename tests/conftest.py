"""What all tests share: the deployed stack, brought up once for each run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from local.stack import ROOT, Stack, load_stack
from tests.moto_calls import one_at_a_time

TEST_PORT = int(os.environ.get("ERASURE_TEST_PORT", "4666"))
"""A port of the tests' own: they erase people, and a developer may be looking at the stack of the default port."""


TOGETHER = {
    "the stack": ("tests/e2e/", "tests/client/", "tests/functional/test_local_", "tests/unit/test_build.py"),
    "the engines": ("tests/contract/",),
}
"""Tests that share something dear: the deployed stack, and ports of the machine; or the emulators' processes."""


class _BesideTheStack(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((name for name, paths in TOGETHER.items() if path.startswith(paths)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _BesideTheStack:
    """Two workers share the tests: each part of :data:`TOGETHER` is one worker's, in its order; the rest goes by file.

    In the order of their folders, in which those parts come first: they take longest."""
    config.option.loadscopereorder = False
    return _BesideTheStack(config, log)


@pytest.fixture(scope="session", autouse=True)
def _moto_answers_one_at_a_time() -> Iterator[None]:
    with one_at_a_time():
        yield


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
