"""``client.data_map``: what is erased for every tenant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Flow, Retries, send, with_key
from erasure_client._models_others import DataMap, PutDataMap
from erasure_client._wire import Call
from erasure_client.errors import ConfigurationError

PATH = "/v1/data-map"


def get(version: int | None, retries: Retries) -> Flow[DataMap]:
    query = {} if version is None else {"version": str(version)}
    answer = yield from send(Call("GET", PATH, f"GET {PATH}", query), retries)
    return DataMap.of(answer.json())


def put(document: Mapping[str, Any], retries: Retries, idempotency_key: str | None = None) -> Flow[PutDataMap]:
    body = checked(document)
    answer = yield from send(with_key(Call("PUT", PATH, f"PUT {PATH}", body=body), idempotency_key), retries)
    return PutDataMap.of(answer.json())


def checked(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, if it is the same as JSON. Raises :class:`ConfigurationError`: a key that is no text would silently
    become one, and a date, as YAML has them, is no JSON."""
    if not isinstance(document, Mapping):
        raise ConfigurationError("the data map must be a mapping")
    body = dict(document)
    try:
        is_same = json.loads(json.dumps(body, allow_nan=False)) == body
    except (TypeError, ValueError, RecursionError):
        is_same = False
    if not is_same:
        raise ConfigurationError("the data map holds something that JSON cannot say, such as a date or a tuple")
    return body


class DataMaps(Face):
    """The data map, one for the whole deployment, in versions that never change."""

    def get(self, version: int | None = None) -> DataMap:
        """The current one, or that version. ``NotFoundError``."""
        return self._run(get(version, self._retries))

    def put(self, document: Mapping[str, Any], *, idempotency_key: str | None = None) -> PutDataMap:
        """Make a document the current map. Platform keys only. ``InvalidRequestError.errors`` names every rule that it
        breaks, with its path. ``ConflictError``: somebody else put one at the same moment."""
        return self._run(put(document, self._retries, idempotency_key))


class AsyncDataMaps(AsyncFace):
    """:class:`DataMaps`, awaited."""

    async def get(self, version: int | None = None) -> DataMap:
        """As :meth:`DataMaps.get`."""
        return await self._run(get(version, self._retries))

    async def put(self, document: Mapping[str, Any], *, idempotency_key: str | None = None) -> PutDataMap:
        """As :meth:`DataMaps.put`."""
        return await self._run(put(document, self._retries, idempotency_key))
