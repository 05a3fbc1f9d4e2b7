"""The suppression list: subjects whose data must not be collected again. It is read before data is taken in.

==========================================  ==================================================================
``GET /v1/suppressions``                    200, a page in the order of their digests; ``cursor``, ``limit``
``GET /v1/suppressions/{subject_id}``       200, or 404 if the subject is not on the list; ``type=user|group``
``DELETE /v1/suppressions/{subject_id}``    204, the subject may be collected again; 404 if it is not on the list
==========================================  ==================================================================

The list knows digests only, so it cannot tell whom it holds; it can only be asked about somebody.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import check_idempotency_key, new_batch_id
from erasure.domain.subject import subject_digest
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.native import READ, WRITE, limit_of, subject_of
from erasure.entry.problem import problem
from erasure.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.ports import Suppression, SuppressionStore
    from erasure.services.idempotent import Idempotency

_ONE = "/v1/suppressions/{subject_id}"
_CURSOR = re.compile("[0-9a-f]{64}")


class SuppressionsFamily:
    """``digest_key`` returns the HMAC key of the subject digests."""

    def __init__(
        self, suppressions: SuppressionStore, idempotency: Idempotency, digest_key: Callable[[], bytes]
    ) -> None:
        self._suppressions = suppressions
        self._idempotency = idempotency
        self._digest_key = digest_key

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/suppressions", BACKEND, self.list, READ),
            Route("GET", _ONE, BACKEND, self.show, READ),
            Route("DELETE", _ONE, BACKEND, self.delete, WRITE),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def list(self, call: Call) -> Response[str]:
        cursor, limit = call.query("cursor"), limit_of(call)
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise InvalidInputError("cursor", "must be one that an earlier page gave")
        # One more than is shown, to know whether there is another page.
        found = self._suppressions.list(call.caller.tenant_id, after=cursor, limit=limit + 1)
        body: dict[str, Any] = {"suppressions": [_shown(suppression) for suppression in found[:limit]]}
        if len(found) > limit:
            body["cursor"] = found[limit - 1].subject_digest
        return answer(200, body)

    def show(self, call: Call, subject_id: str) -> Response[str]:
        found = self._suppressions.get(call.caller.tenant_id, self._digest(call, subject_id))
        if found is None:
            raise NotFoundError("the subject is not on the suppression list")
        return answer(200, _shown(found))

    def delete(self, call: Call, subject_id: str) -> Response[str]:
        if not call.query_names() <= {"type"}:
            # A misspelt type would take the user of that id off the list instead of the group.
            raise InvalidInputError("query", "may only hold type")
        tenant_id, digest = call.caller.tenant_id, self._digest(call, subject_id)
        key = check_idempotency_key(call.header("Idempotency-Key"))

        def delete(_run_id: str) -> None:
            if not self._suppressions.delete(tenant_id, digest):
                raise NotFoundError("the subject is not on the suppression list")

        self._idempotency.run(tenant_id, "suppressions.delete", key, digest, new_batch_id(), delete)
        return answer(204, None)

    def _digest(self, call: Call, subject_id: str) -> str:
        return subject_digest(self._digest_key(), subject_of(call, subject_id))


def _shown(suppression: Suppression) -> dict[str, str]:
    return {
        "subject_digest": suppression.subject_digest,
        "subject_type": suppression.subject_type,
        "suppressed_at": format_time(suppression.suppressed_at),
        "request_id": suppression.request_id,
    }
