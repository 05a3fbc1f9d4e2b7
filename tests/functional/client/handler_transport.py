"""The service's real handlers behind a client: an httpx transport that calls them as API Gateway does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.functional.backend_calls import make_event

Handler = Callable[[Mapping[str, Any], Any], Mapping[str, Any]]

OF_SUBJECTS = ("/users/current", "/api/v1/users/current", "/rpc/", "/health")
"""Paths that the stack's other function answers."""


class HandlerTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """``backend`` and ``subject``: the handlers of the two functions. ``requests``: what was sent."""

    def __init__(self, backend: Handler, subject: Handler) -> None:
        self._backend = backend
        self._subject = subject
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx.Request, content: bytes) -> httpx.Response:
        self.requests.append(request)
        target = request.url.raw_path.decode("ascii")
        event = make_event(request.method, target, dict(request.headers.items()), content.decode() or None)
        reply = (self._subject if target.startswith(OF_SUBJECTS) else self._backend)(event, None)
        headers = [(name, value) for name, values in reply["multiValueHeaders"].items() for value in values]
        return httpx.Response(reply["statusCode"], headers=headers, content=(reply["body"] or "").encode())
