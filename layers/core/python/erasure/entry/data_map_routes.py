"""The data map over the API: one for the whole deployment, in versions that never change.

========================  =====================================================================================
``GET /v1/data-map``      200 with the current document, or that of ``version``
``PUT /v1/data-map``      200 with version, digest and warnings; the map that is current already keeps its version
========================  =====================================================================================

Putting one decides what is erased for every tenant, so only platform keys may.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from erasure.domain.identifiers import check_idempotency_key, new_batch_id
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.problem import problem
from erasure.errors import ForbiddenError, InvalidInputError, MalformedBodyError, NotFoundError
from erasure.ports import DataMapStore

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.domain.data_map import DataMap
    from erasure.ports import Clock
    from erasure.services.idempotent import Idempotency

READ, WRITE = "erasure:read", "map:write"
MAX_DOCUMENT_BYTES = 512 * 1024
"""More than the store takes; the document may be indented."""

_PATH = "/v1/data-map"
_VERSION = re.compile("[0-9]{1,6}")


class DataMaps(DataMapStore, Protocol):
    """The store with the documents as they were put."""

    def document(self, version: int) -> dict[str, Any] | None: ...

    def put(self, data_map: DataMap, now: datetime) -> int:
        """Returns its version. Raises ``ConflictError`` if somebody else put another one at the same moment."""


class DataMapFamily:
    def __init__(self, data_maps: DataMaps, idempotency: Idempotency, now: Clock) -> None:
        self._data_maps = data_maps
        self._idempotency = idempotency
        self._now = now

    def routes(self) -> list[Route]:
        return [
            Route("GET", _PATH, BACKEND, self.show, READ),
            Route("PUT", _PATH, BACKEND, self.put, WRITE),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def show(self, call: Call) -> Response[str]:
        wanted = _version(call.query("version"))
        known = self._data_maps.current() if wanted is None else self._data_maps.version(wanted)
        document = None if known is None else self._data_maps.document(known.version)
        if known is None or document is None:
            raise NotFoundError("there is no such data map")
        return answer(200, {"version": known.version, "digest": known.digest, "document": document})

    def put(self, call: Call) -> Response[str]:
        if not call.caller.is_platform:
            raise ForbiddenError("insufficient_permissions", "Only a platform key may change the data map.")
        key = check_idempotency_key(call.header("Idempotency-Key"))
        document = call.json_object(MAX_DOCUMENT_BYTES)
        text = _text(document)

        def put(_run_id: str) -> dict[str, Any]:
            # Loads pydantic, for which no other call should have to wait.
            from erasure.domain.data_map import parse_data_map

            data_map = parse_data_map(document)
            version = self._data_maps.put(data_map, self._now())
            warnings = [{"field": path, "warning": warning} for path, warning in data_map.warnings]
            return {"version": version, "digest": data_map.digest, "warnings": warnings}

        told = self._idempotency.run(call.caller.tenant_id, "data-map.put", key, text, new_batch_id(), put)
        return answer(200, told)


def _text(document: dict[str, Any]) -> str:
    """The document in its own order, which has a meaning: a key's first attribute is the partition key."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MalformedBodyError("must not hold unpaired surrogates") from None
    return text


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not _VERSION.fullmatch(text) or int(text) < 1:
        raise InvalidInputError("version", "must be a whole number, 1 or more")
    return int(text)
