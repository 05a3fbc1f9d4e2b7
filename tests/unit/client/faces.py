"""Faces of either client, on a carrier without a network; what they give is taken, awaited or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from erasure_client._bulk import bulk, bulk_async
from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Retries
from erasure_client._wire import Answer, Call
from erasure_client.errors import ErasureClientError
from tests.unit.client.carriers import Service, _Async


class Asked(Service):
    """``reply``: asked for the answer to each call."""

    def __init__(self, reply: Callable[[Call], Answer]) -> None:
        super().__init__([])
        self._reply = reply

    def send(self, call: Call) -> Answer:
        self.calls.append(call)
        return self._reply(call)


class Hand:
    """Holds faces of one kind of client. ``take``: at most so many of an iteration; the rest is never asked for."""

    def __init__(self, service: Service, *, is_async: bool, retries: int = 2) -> None:
        self.service = service
        self.is_async = is_async
        self._retries = Retries(retries, lambda: 0.0)

    def face(self, sync: type[Face], asynchronous: type[AsyncFace]) -> Any:
        if self.is_async:
            return asynchronous(_Async(self.service), self._retries)
        return sync(self.service, self._retries)

    def bulk(self, subjects: Any, **options: Any) -> Any:
        face = self.face(Face, AsyncFace)
        make: Any = bulk_async if self.is_async else bulk
        return make(subjects, self._retries, face._run, **options)

    def of(self, given: Any, take: int | None = None) -> Any:
        if self.is_async:
            return asyncio.run(_taken(given, take))
        if not isinstance(given, Iterator):
            return given
        return list(given) if take is None else [next(given) for _ in range(take)]

    def until_refused(self, given: Any) -> tuple[list[Any], ErasureClientError | None]:
        """What an iteration gives, and the error that ends it."""
        if self.is_async:
            return asyncio.run(_until_refused(given))
        found: list[Any] = []
        try:
            for each in given:
                found.append(each)  # noqa: PERF402 - what came before the error counts
        except ErasureClientError as error:
            return found, error
        return found, None


async def _until_refused(given: Any) -> tuple[list[Any], ErasureClientError | None]:
    found: list[Any] = []
    try:
        async for each in given:
            found.append(each)  # noqa: PERF401
    except ErasureClientError as error:
        return found, error
    return found, None


async def _taken(given: Any, take: int | None) -> Any:
    if not hasattr(given, "__aiter__"):
        return await given
    if take is None:
        return [each async for each in given]
    return [await anext(given) for _ in range(take)]
