"""The hands, as fixtures. Without a service to act on, there is nothing to collect."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hands import HAVE, KINDS, PERSON, VARIABLE, ClientHands, CommandHands, World

collect_ignore_glob = [] if VARIABLE in os.environ else ["test_*.py"]


@pytest.fixture(params=list(HAVE))
def hands(request: pytest.FixtureRequest) -> Iterator[ClientHands | CommandHands]:
    """Each of the three."""
    yield from _hands(request.param)


@pytest.fixture(params=[name for name, sides in HAVE.items() if PERSON in sides])
def person(request: pytest.FixtureRequest) -> Iterator[ClientHands | CommandHands]:
    """Those that a person can have, who is signed in."""
    yield from _hands(request.param)


def _hands(name: str) -> Iterator[ClientHands | CommandHands]:
    made = KINDS[name](World.of(name))
    yield made
    made.close()
