"""Calls over HTTP, with httpx: one carrier for each kind of client, each with its own pool of connections."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from erasure_client._settings import Settings
from erasure_client._wire import Answer, Call
from erasure_client.errors import NoAnswerError


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
        # Never followed: the key would go to wherever the answer says.
        return {"timeout": httpx.Timeout(self._settings.timeout), "follow_redirects": False}

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        settings = self._settings
        headers, content = settings.headers(call), None
        if call.body is not None:
            # Keys in the order in which they are: that of a data map's key attributes has a meaning.
            content = json.dumps(call.body, separators=(",", ":"), ensure_ascii=True).encode()
            headers["Content-Type"] = "application/json"
        timeout = httpx.Timeout(settings.timeout, read=call.read_timeout or settings.timeout)
        request = client.build_request(
            call.method,
            settings.base_url + call.path,
            params=dict(call.query) or None,
            headers=headers,
            content=content,
            timeout=timeout,
        )
        request.url = _QuietURL(request.url)
        return request

    def answer(self, response: httpx.Response) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)

    def no_answer(self, error: httpx.HTTPError, call: Call) -> NoAnswerError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            text = f"The service could not be reached ({call.what})."
        elif isinstance(error, httpx.TimeoutException):
            text = f"The service did not answer in time ({call.what})."
        else:
            text = f"The connection to the service broke ({call.what})."
        return NoAnswerError(text, idempotency_key=call.idempotency_key)


class HTTPCarrier:
    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._requests = _Requests(settings)
        self._client = httpx.Client(transport=transport, **self._requests.options())

    def send(self, call: Call) -> Answer:
        request = self._requests.request(self._client, call)
        try:
            return self._requests.answer(self._client.send(request))
        except httpx.HTTPError as error:
            raise self._requests.no_answer(error, call) from error

    def close(self) -> None:
        self._client.close()


class AsyncHTTPCarrier:
    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._requests = _Requests(settings)
        self._client = httpx.AsyncClient(transport=transport, **self._requests.options())

    async def send(self, call: Call) -> Answer:
        request = self._requests.request(self._client, call)
        try:
            return self._requests.answer(await self._client.send(request))
        except httpx.HTTPError as error:
            raise self._requests.no_answer(error, call) from error

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._client.aclose()
