"""The routes of people: a delete id, its confirmation, the status, and what a deletion would find."""

from __future__ import annotations

import json
import math
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from erasure_client.testing._checks import (
    BrokenRuleRefused,
    Refused,
    conflict,
    format_time,
    not_found,
    unavailable,
)
from erasure_client.testing._erasing import Erasing
from erasure_client.testing._exchange import OWN, Call, Reply, Route
from erasure_client.testing._maps import whose_rule
from erasure_client.testing._native import Command, Requests
from erasure_client.testing._records import CANCELLED, FINISHED, HELD, DeleteId, Record
from erasure_client.testing._state import State

DELETE_ID_LIFETIME = timedelta(minutes=5)
_FAMILY = "h2o"
_HELD = "Your data is under a legal hold and cannot be deleted at present."
_STOPPED = "The erasure was accepted but is not being carried out at present."
_ATTENTION = "Not everything could be erased yet. The operators have been told; nothing needs to be sent again."
_REJECTED = "The delete id is not valid. Request a new one and confirm it within its time."
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")


class OwnData:
    """``works_at_once``: a confirmation waits until the erasure has been carried out."""

    def __init__(self, state: State, erasing: Erasing, requests: Requests, *, works_at_once: bool) -> None:
        self._state = state
        self._erasing = erasing
        self._requests = requests
        self._works_at_once = works_at_once

    def routes(self) -> list[Route]:
        routes = [Route("GET", "/users/current/deletion-preview", OWN, self.preview)]
        for prefix in ("", "/api/v1"):
            routes += [
                Route("DELETE", f"{prefix}/users/current", OWN, self.request),
                Route("POST", f"{prefix}/users/current/confirm-delete", OWN, self.confirm),
                Route("GET", f"{prefix}/users/current/erasure-requests/{{request_id}}", OWN, self.show),
            ]
        return routes

    def request(self, call: Call) -> Reply:
        """Step one."""
        state, whom, key, now = self._state, call.subject, call.idempotency_key, self._state.now()
        targets = state.map.covers(_FAMILY, whom.type)
        if not targets:
            raise unavailable()
        for target in targets:
            whose = target.wrong_id(whom, ())
            if whose is not None:
                raise whose_rule(whose, "user id")
        if state.hold_of(whom) is not None:
            raise conflict(_HELD)
        delete_id = secrets.token_urlsafe(32) if key is None else state.digest("delete-id", *whom, key)
        expires_at = (now + DELETE_ID_LIFETIME).timestamp()
        known = state.delete_ids.setdefault(
            delete_id, DeleteId(whom, datetime.fromtimestamp(math.ceil(expires_at), UTC))
        )
        if known.expires_at <= now:
            raise conflict("Idempotency-Key: the delete id that it stands for has expired")
        return Reply(200, {"delete_id": delete_id, "expires_at": format_time(known.expires_at)})

    def confirm(self, call: Call) -> Reply:
        """Step two."""
        timeout = call.query.get("timeout")
        if timeout is not None and not _SECONDS.fullmatch(timeout):
            raise BrokenRuleRefused("timeout", "must be a number of seconds, 0 or more")
        whom, key = call.subject, call.idempotency_key
        delete_id = call.json_object().get("delete_id")
        owner = self._state.digest("subject", *whom)

        def accept() -> str:
            known = self._state.delete_ids.get(delete_id) if isinstance(delete_id, str) else None
            if known is None or known.is_used or known.whom != whom or known.expires_at <= self._state.now():
                raise Refused(400, "invalid_request", _REJECTED)
            known.is_used = True
            return self._erasing.accept(whom, _FAMILY, None).request_id

        request_id = self._state.once(owner, "h2o.confirm", key, json.dumps(delete_id), accept)
        record = self._state.requests[request_id]
        if self._works_at_once or self._state.hold_of(whom) is not None:
            self._erasing.run([record])
        return self._outcome(call, record)

    def _outcome(self, call: Call, record: Record) -> Reply:
        if record.attention:
            return self._not_done(call, record, 500, _ATTENTION)
        if record.state == FINISHED and not any(outcome.kept for outcome in record.outcomes.values()):
            return Reply(204, None, {"X-Erasure-Request-Id": record.request_id})
        if record.state in (HELD, CANCELLED):
            return self._not_done(call, record, 409, _HELD if record.state == HELD else _STOPPED)
        headers = {"X-Erasure-Request-Id": record.request_id, "Retry-After": "5"}
        return Reply(202, _whereabouts(call, record), headers)

    def _not_done(self, call: Call, record: Record, status: int, message: str) -> Reply:
        body = {"code": status, "message": message, **_whereabouts(call, record)}
        return Reply(status, body, {"X-Erasure-Request-Id": record.request_id})

    def show(self, call: Call) -> Reply:
        record = self._state.requests.get(call.values["request_id"])
        if record is None or record.subject_digest != self._state.digest("subject", *call.subject):
            raise not_found()
        body: dict[str, Any] = {
            "request_id": record.request_id,
            "state": record.state,
            "attention": record.attention,
            "requested_at": format_time(record.requested_at),
            "due_at": format_time(record.due_at),
        }
        if record.finished_at is not None:
            body["finished_at"] = format_time(record.finished_at)
        body["targets"] = [outcome.to_dict() for outcome in record.outcomes.values()]
        return Reply(200, body)

    def preview(self, call: Call) -> Reply:
        whom = call.subject
        command = Command({whom: 0}, family=_FAMILY, field="user id")
        targets = [{"target": name, **shown} for name, shown in self._requests.previews(command, whom)]
        return Reply(200, {"plan_hash": self._requests.plan_hash(command, whom), "targets": targets})


def _whereabouts(call: Call, record: Record) -> dict[str, str]:
    parent = call.path.rstrip("/").rpartition("/")[0]
    return {"request_id": record.request_id, "status_url": f"{parent}/erasure-requests/{record.request_id}"}
