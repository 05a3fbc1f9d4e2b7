"""moto answers one call at a time: it changes its tables and buckets under the eyes of whoever reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.core.botocore_stubber import BotocoreStubber


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Until it is left; for the tests ``tests/conftest.py`` enters it, benches enter it themselves."""
    real, lock = BotocoreStubber.process_request, threading.RLock()

    def process(stubber: BotocoreStubber, request: Any) -> Any:
        with lock:
            return real(stubber, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "process_request", process)
        yield
