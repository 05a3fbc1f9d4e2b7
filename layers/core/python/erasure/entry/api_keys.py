"""API keys over the API: ``/v1/api-keys``. The first key of a stack is made with AWS credentials, by the operator's
command; a key with the scope ``keys:write`` makes the others, for its own tenant and with no scopes but its own.

=================================  ===================================================================
``POST /v1/api-keys``              201 with the key's text, which is never shown again
``GET /v1/api-keys``               200 ``{"keys": […]}``, without any secret
``DELETE /v1/api-keys/{key_id}``   204; the key stops working within seconds
=================================  ===================================================================
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import check_idempotency_key, new_batch_id
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.fields import check_moment
from erasure.entry.problem import problem
from erasure.errors import InvalidInputError
from erasure.services.api_keys import ApiKeyService, KeyCommand

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.domain.api_key import ApiKey
    from erasure.services.idempotent import Idempotency

SCOPE = "keys:write"
_FIELDS = frozenset({"scopes", "name", "valid_until", "calls_per_minute"})


class ApiKeysFamily:
    def __init__(self, keys: ApiKeyService, idempotency: Idempotency) -> None:
        self._keys = keys
        self._idempotency = idempotency

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/api-keys", BACKEND, self.create, SCOPE),
            Route("GET", "/v1/api-keys", BACKEND, self.list, SCOPE),
            Route("DELETE", "/v1/api-keys/{key_id}", BACKEND, self.revoke, SCOPE),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def create(self, call: Call) -> Response[str]:
        idempotency_key = check_idempotency_key(call.header("Idempotency-Key"))
        body = call.json_object()
        command = _command(body, call)
        fresh: list[str] = []

        def make(run_id: str) -> dict[str, Any]:
            key, text = self._keys.create(replace(command, run_id=None if idempotency_key is None else run_id))
            fresh.append(text)
            return {"run_id": run_id, "shown": shown_key(key)}

        made = self._idempotency.run(
            call.caller.tenant_id, "api-keys.create", idempotency_key, _claimed(call, body), new_batch_id(), make
        )
        # Asked for once more: the text is kept nowhere, it is derived again.
        text = fresh[0] if fresh else self._keys.text_of(made["run_id"])
        return answer(201, {"key": text, **made["shown"]})

    def list(self, call: Call) -> Response[str]:
        return answer(200, {"keys": [shown_key(key) for key in self._keys.list(call.caller.tenant_id)]})

    def revoke(self, call: Call, key_id: str) -> Response[str]:
        check_idempotency_key(call.header("Idempotency-Key"))
        self._keys.revoke(call.caller.tenant_id, key_id)
        return answer(204, None)


def _claimed(call: Call, body: dict[str, Any]) -> str:
    """What must be equal when the call comes again. The caller too: another key, which may do less, must not be shown
    what this one made. In ASCII, since nothing has been checked yet."""
    return json.dumps([call.caller.key_id, body], sort_keys=True)


def _command(body: dict[str, Any], call: Call) -> KeyCommand:
    unknown = sorted(body.keys() - _FIELDS)
    if unknown:
        raise InvalidInputError("body", f"may only have the fields {', '.join(sorted(_FIELDS))}")
    scopes, name, limit = body.get("scopes"), body.get("name", ""), body.get("calls_per_minute")
    valid_until = body.get("valid_until")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise InvalidInputError("scopes", "must be a list of texts")
    if not isinstance(name, str):
        raise InvalidInputError("name", "must be text")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise InvalidInputError("calls_per_minute", "must be a whole number")
    return KeyCommand(
        tenant_id=call.caller.tenant_id,
        scopes=frozenset(scopes),
        name=name,
        valid_until=None if valid_until is None else check_moment(valid_until, "valid_until"),
        calls_per_minute=limit,
        granted=call.caller.scopes,
    )


def shown_key(key: ApiKey) -> dict[str, Any]:
    """A key as it is told about: everything but its secret."""
    shown: dict[str, Any] = {
        "key_id": key.key_id,
        "mode": key.mode,
        "scopes": sorted(key.scopes),
        "name": key.name,
        "created_at": format_time(key.created_at),
    }
    if key.valid_until is not None:
        shown["valid_until"] = format_time(key.valid_until)
    if key.revoked_at is not None:
        shown["revoked_at"] = format_time(key.revoked_at)
    if key.last_used_on is not None:
        shown["last_used_on"] = key.last_used_on
    if key.calls_per_minute is not None:
        shown["calls_per_minute"] = key.calls_per_minute
    return shown
