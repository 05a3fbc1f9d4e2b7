"""Calls over HTTP, with httpx: one carrier for each kind of client, each with its own pool of connections."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, TypeVar

import httpx

from erasure_client._settings import Settings
from erasure_client._wire import Answer, Call
from erasure_client.errors import ConfigurationError, NoAnswerError, UnexpectedAnswerError

C = TypeVar("C", bound=httpx.Client | httpx.AsyncClient)

LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes, unpacked. The service's own answers end at 10 MiB: API Gateway gives no longer ones."""


class _QuietURL(httpx.URL):
    """An address that does not show its path. httpx logs the addresses of all calls, and ids stand in some paths."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc.decode('ascii')}/…"

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


class _Requests:
    """Makes httpx's requests of calls, and answers of its responses."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def options(self) -> dict[str, Any]:
        return {
            "timeout": httpx.Timeout(self._settings.timeout),
            # Never followed: the key would go to wherever the answer says.
            "follow_redirects": False,
            # One caller's calls are not tied to each other by what an answer wants to be remembered.
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # What is not encrypted stays on this machine, whatever proxy the environment names.
            "trust_env": self._settings.is_encrypted,
        }

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        """Raises :class:`ConfigurationError` for a call that cannot be sent."""
        if client.is_closed:
            raise ConfigurationError("The client is closed.")
        headers = self._settings.headers(call)
        try:
            request = self._built(client, call, headers)
        except (TypeError, ValueError, RecursionError, httpx.InvalidURL):
            request = None  # the exception's text may hold what was to be sent
        if request is None:
            raise ConfigurationError(f"A value cannot be sent: no JSON, or no Unicode text ({call.what}).")
        request.url = _QuietURL(request.url)
        return request

    def _built(self, client: httpx.Client | httpx.AsyncClient, call: Call, headers: dict[str, str]) -> httpx.Request:
        content = None
        if call.body is not None:
            # Keys in the order in which they are: that of a data map's key attributes has a meaning.
            text = json.dumps(call.body, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
            content, headers = text.encode(), {**headers, "Content-Type": "application/json"}
        return client.build_request(
            call.method,
            self._settings.base_url + call.path,
            params=dict(call.query) or None,
            headers=headers,
            content=content,
            timeout=self._timeout(call),
        )

    def _timeout(self, call: Call) -> httpx.Timeout:
        own = self._settings.timeout
        longest = own if call.within is None else min(own, call.within)
        reading = max(own, call.read_timeout or 0)
        return httpx.Timeout(longest, read=reading if call.within is None else min(reading, call.within))

    def answer(self, response: httpx.Response, content: bytes) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, content)


class _Own(Generic[C]):
    """The httpx client of this process. A process that has forked from another has the other's connections, and two
    that read from one get each other's answers: it has a new client made. ``is_lasting``: the caller's transport does
    not go by connections that are made here."""

    def __init__(self, make: Callable[[], C], *, is_lasting: bool) -> None:
        self._make = make
        self._is_lasting = is_lasting
        self._process = os.getpid()
        self._client: C = self._made()

    def client(self) -> C:
        if self._process != os.getpid() and not self._is_lasting and not self._client.is_closed:
            # The other process's is not closed: that would be told to the service, over its connections.
            self._client, self._process = self._made(), os.getpid()
        return self._client

    def _made(self) -> C:
        try:
            return self._make()
        except (ImportError, OSError, ValueError, httpx.InvalidURL):
            pass  # the exception's text may hold the proxy's password
        raise ConfigurationError(
            "What the environment says of proxies or certificates cannot be used: see HTTPS_PROXY, ALL_PROXY, NO_PROXY,"
            " SSL_CERT_FILE and SSL_CERT_DIR."
        )


class _Content:
    """What has been read of an answer. Raises :class:`UnexpectedAnswerError` for one without an end, and
    :class:`httpx.ReadTimeout` for one that comes so slowly, piece by piece, that the time for the call is over."""

    def __init__(self, status: int, call: Call) -> None:
        self._status = status
        self._ends_at = math.inf if call.within is None else time.monotonic() + call.within
        self._read = bytearray()

    def add(self, piece: bytes) -> None:
        self._read += piece
        if len(self._read) > LONGEST_ANSWER:
            raise UnexpectedAnswerError("The answer is longer than any of this service.", self._status)
        if time.monotonic() > self._ends_at:
            raise httpx.ReadTimeout("too slow")

    def whole(self) -> bytes:
        return bytes(self._read)


def _no_answer(error: httpx.HTTPError, call: Call) -> NoAnswerError:
    """Without the ``error`` itself, as a cause or otherwise: it may tell what came over the line, or was to go."""
    if isinstance(error, httpx.ConnectError):
        # Of the operating system or TLS, about the connection: no call has been sent yet.
        text = f"The service could not be reached: {error} ({call.what})."
    elif isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError | httpx.UnsupportedProtocol):
        text = f"The service could not be reached: {type(error).__name__} ({call.what})."
    elif isinstance(error, httpx.TimeoutException):
        text = f"The service did not answer in time ({call.what})."
    else:
        text = f"The connection to the service broke: {type(error).__name__} ({call.what})."
    return NoAnswerError(text, idempotency_key=call.idempotency_key)


class HTTPCarrier:
    """May be shared by threads, as :class:`httpx.Client` may."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._requests = _Requests(settings)
        self._own = _Own(
            lambda: httpx.Client(transport=transport, **self._requests.options()), is_lasting=transport is not None
        )

    def send(self, call: Call) -> Answer:
        client = self._own.client()
        request = self._requests.request(client, call)
        try:
            response = client.send(request, stream=True)
            try:
                content = _Content(response.status_code, call)
                for piece in response.iter_bytes():
                    content.add(piece)
            finally:
                response.close()
            return self._requests.answer(response, content.whole())
        except httpx.HTTPError as error:
            failure = _no_answer(error, call)
        raise failure

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._own.client().close()


class AsyncHTTPCarrier:
    """For one event loop."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._requests = _Requests(settings)
        self._own = _Own(
            lambda: httpx.AsyncClient(transport=transport, **self._requests.options()), is_lasting=transport is not None
        )

    async def send(self, call: Call) -> Answer:
        client = self._own.client()
        request = self._requests.request(client, call)
        try:
            response = await client.send(request, stream=True)
            try:
                content = _Content(response.status_code, call)
                async for piece in response.aiter_bytes():
                    content.add(piece)
            finally:
                await response.aclose()
            return self._requests.answer(response, content.whole())
        except httpx.HTTPError as error:
            failure = _no_answer(error, call)
        raise failure

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()

    async def close(self) -> None:
        await self._own.client().aclose()
