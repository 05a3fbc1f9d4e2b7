"""The service in memory: what the tests of an application take that calls it."""

from erasure_client.testing._maps import EXAMPLE_MAP
from erasure_client.testing._records import FakeUser
from erasure_client.testing._service import FakeCall, FakeService

__all__ = ["EXAMPLE_MAP", "FakeCall", "FakeService", "FakeUser"]
