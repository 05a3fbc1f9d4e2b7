"""The same cases go through both kinds of client."""

from __future__ import annotations

import pytest

from tests.unit.client.carriers import Driver


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)
