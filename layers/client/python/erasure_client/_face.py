"""What callers hold on to: objects whose methods run flows, one kind for each client."""

from __future__ import annotations

from typing import TypeVar

from erasure_client._flow import AsyncCarrier, Carrier, Flow, Retries, run, run_async

T = TypeVar("T")


class Face:
    """``retries`` is handed to the flows, ``carrier`` carries their calls."""

    def __init__(self, carrier: Carrier, retries: Retries) -> None:
        self._carrier = carrier
        self._retries = retries

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self._carrier)


class AsyncFace:
    """The same, for coroutines."""

    def __init__(self, carrier: AsyncCarrier, retries: Retries) -> None:
        self._carrier = carrier
        self._retries = retries

    async def _run(self, flow: Flow[T]) -> T:
        return await run_async(flow, self._carrier)
