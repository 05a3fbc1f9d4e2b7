"""Two functions at the same moment, their calls of the tables mixed in any way that a test asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.functional.clock_world import REQUESTS


class Turns:
    """Lets two functions run side by side, each making its calls of the tables only when it is its turn."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._allowed: dict[str, float] = {}
        self._made: dict[str, int] = {}
        self._waits: set[str] = set()
        self._ended: set[str] = set()
        self._threads: dict[str, threading.Thread] = {}
        self.failed: list[BaseException] = []

    def client(self, name: str, inner: Any) -> Any:
        return _InTurn(inner, lambda: self._await_turn(name))

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Start it; it does not get to its first call."""
        self._allowed[name], self._made[name] = 0, 0

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.failed.append(error)
            finally:
                with self._changed:
                    self._ended.add(name)
                    self._changed.notify_all()

        self._threads[name] = threading.Thread(target=run)
        self._threads[name].start()

    def let(self, name: str, calls: float) -> int:
        """Let it make so many more calls; returns, when it has and waits for the next turn, or has ended, how many it
        has made in all."""
        with self._changed:
            self._allowed[name] += calls
            self._waits.discard(name)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: name in self._waits or name in self._ended, 30)
            return self._made[name]

    def finish(self, name: str) -> int:
        made = self.let(name, float("inf"))
        self._threads[name].join(30)
        return made

    def _await_turn(self, name: str) -> None:
        with self._changed:
            while self._made[name] >= self._allowed[name]:
                self._waits.add(name)
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: name not in self._waits, 30)
            self._made[name] += 1


class _InTurn:
    """Lists of requests are read without a turn: they lag, so only what comes after them matters."""

    def __init__(self, inner: Any, await_turn: Callable[[], None]) -> None:
        self._inner, self._await_turn = inner, await_turn

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._inner, name)

        def call(**arguments: Any) -> Any:
            if name != "query" or arguments["TableName"] != REQUESTS:
                self._await_turn()
            return operation(**arguments)

        return call


def in_turns(
    first: Callable[[Any], Any], second: Callable[[Any], Any], client: Any, begin: int, between: int
) -> tuple[bool, bool]:
    """``first`` makes ``begin`` calls, ``second`` then ``between``, then the first comes to its end, and the second.
    Each is given its own client. Returns of each whether it had so many calls to make."""
    turns = Turns()
    turns.begin("first", lambda: first(turns.client("first", client)))
    turns.begin("second", lambda: second(turns.client("second", client)))
    made = turns.let("first", begin) == begin, turns.let("second", between) == between
    turns.finish("first")
    turns.finish("second")
    if turns.failed:
        raise turns.failed[0]
    return made
