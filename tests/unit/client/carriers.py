"""A service that is a function, and a clock that only moves when somebody pauses: flows run against both, through the
loop of each kind of client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from erasure_client import AsyncErasureClient, ErasureClient
from erasure_client._flow import Flow, run, run_async
from erasure_client._wire import Answer, Call
from erasure_client.errors import NoAnswerError

T = TypeVar("T")

LOST = NoAnswerError("The connection broke.")


def answer(status: int = 200, body: Any = None, **headers: str) -> Answer:
    """``headers``: with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, b"" if body is None else json.dumps(body).encode())


def problem(status: int, code: str, message: str = "No.", **headers: str) -> Answer:
    return answer(status, {"code": code, "message": message, "status": status}, **headers)


Reply = Answer | Exception


@dataclass
class Service:
    """``replies``: one for each call, the last for all that follow. ``takes``: seconds for each call."""

    replies: list[Reply]
    takes: float = 0.0
    calls: list[Call] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    seconds: float = 1000.0

    @classmethod
    def of(cls, *replies: Reply, takes: float = 0.0) -> Service:
        return cls(list(replies), takes)

    def send(self, call: Call) -> Answer:
        self.calls.append(call)
        self.seconds += self.takes
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pause(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        self.seconds += seconds

    def now(self) -> float:
        return self.seconds


class _Async:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def send(self, call: Call) -> Answer:
        await asyncio.sleep(0)
        return self._service.send(call)

    async def pause(self, seconds: float) -> None:
        self._service.pause(seconds)

    def now(self) -> float:
        return self._service.now()


class Driver:
    """Runs flows as one of the clients does."""

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "async"

    def run(self, flow: Flow[T], service: Service) -> T:
        return asyncio.run(run_async(flow, _Async(service))) if self.is_async else run(flow, service)

    def through(self, action: Callable[[Any], Any], **options: Any) -> Any:
        """What the action gets from a client that is made with the options and closed afterwards."""
        if not self.is_async:
            with ErasureClient(**options) as client:
                return action(client)

        async def main() -> Any:
            async with AsyncErasureClient(**options) as client:
                return await action(client)

        return asyncio.run(main())


def body_of(call: Call) -> Mapping[str, Any]:
    assert isinstance(call.body, Mapping)
    return call.body
