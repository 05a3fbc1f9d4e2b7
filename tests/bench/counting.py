"""Counts what goes over the wire: one for each request that botocore creates, repetitions included."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any


class CallCounter:
    """Hung into sessions or clients. ``calls``: by operation; ``clients``: made by a watched session, by service."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()
        self._lock = threading.Lock()

    def watch_session(self, session: Any) -> None:
        """Count the calls of all clients that ``session`` makes from now on, and those clients."""
        session.register("request-created", self._created)
        session.register("creating-client-class", self._made)

    def watch_client(self, client: Any) -> None:
        client.meta.events.register("request-created", self._created)

    def take(self) -> Counter[str]:
        """The calls since the last time."""
        with self._lock:
            taken, self.calls = self.calls, Counter()
        return taken

    def _created(self, operation_name: str, **_: Any) -> None:
        with self._lock:
            self.calls[operation_name] += 1

    def _made(self, event_name: str, **_: Any) -> None:
        self.clients[event_name.rpartition(".")[2]] += 1
