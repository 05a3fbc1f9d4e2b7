"""The routes for the data map, retention rules, API keys, the figures of the promise, and health."""

from __future__ import annotations

import json
import re
import secrets
import string
from datetime import datetime, timedelta
from math import floor
from typing import Any

from erasure_client._version import __version__
from erasure_client.testing._checks import (
    BrokenRuleRefused,
    check_identifier,
    check_moment,
    forbidden,
    format_time,
    not_found,
)
from erasure_client.testing._exchange import NATIVE, OWN, Call, Reply, Route
from erasure_client.testing._maps import parse_map
from erasure_client.testing._native import READ
from erasure_client.testing._records import FINISHED, HELD, REQUESTED, STARTED, Key, Record
from erasure_client.testing._shown import LEVELS
from erasure_client.testing._state import SLA, State

SCOPES = (
    "users:read",
    "users:write",
    "erasure:write",
    "erasure:read",
    "holds:write",
    "map:write",
    "keys:write",
)
PLATFORM = "*"
_MAX_DOCUMENT = 512 * 1024
_KEY_FIELDS = ("scopes", "name", "valid_until", "calls_per_minute")


class Settings:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/health", OWN, _health, is_open=True),
            Route("GET", "/v1/sla", NATIVE, self.sla, READ),
            Route("GET", "/v1/retention", NATIVE, self.retention, READ),
            Route("GET", "/v1/data-map", NATIVE, self.show_map, READ),
            Route("PUT", "/v1/data-map", NATIVE, self.put_map, "map:write"),
            Route("POST", "/v1/api-keys", NATIVE, self.create_key, "keys:write"),
            Route("GET", "/v1/api-keys", NATIVE, self.list_keys, "keys:write"),
            Route("DELETE", "/v1/api-keys/{key_id}", NATIVE, self.revoke_key, "keys:write"),
        ]

    # The map.

    def show_map(self, call: Call) -> Reply:
        wanted = call.query.get("version")
        if wanted is not None and (not re.fullmatch("[0-9]{1,6}", wanted) or int(wanted) < 1):
            raise BrokenRuleRefused("version", "must be a whole number, 1 or more")
        version = self._state.map.version if wanted is None else int(wanted)
        found = next((known for known in self._state.maps if known.version == version), None)
        if found is None:
            raise not_found()
        return Reply(200, {"version": found.version, "digest": found.digest, "document": found.document})

    def put_map(self, call: Call) -> Reply:
        if not call.backend.is_platform:
            raise forbidden("Only a platform key may change the data map.")
        key, document = call.idempotency_key, call.json_object(_MAX_DOCUMENT)

        def put() -> dict[str, Any]:
            parsed = parse_map(document, self._state.map.version + 1)
            if parsed.digest != self._state.map.digest:
                self._state.maps.append(parsed)
            return {"version": self._state.map.version, "digest": self._state.map.digest, "warnings": []}

        text = json.dumps(document)
        return Reply(200, self._state.once(call.backend.tenant_id, "data-map.put", key, text, put))

    def retention(self, call: Call) -> Reply:
        if not call.backend.is_platform:
            raise forbidden("Only a platform key may see the retention rules.")
        rules = []
        for rule in self._state.map.retention:
            shown: dict[str, Any] = {"target": rule.target, "older_than": rule.older_than}
            if rule.attribute is not None:
                shown["attribute"] = rule.attribute
            rules.append({**shown, "mode": "report" if rule.only_report else "erase", "state": "reporting"})
        return Reply(200, {"rules": rules})

    # Keys.

    def create_key(self, call: Call) -> Reply:
        idempotency_key, body, caller = call.idempotency_key, call.json_object(), call.backend
        fields = _checked_fields(body)
        meant = json.dumps([caller.key_id, body], sort_keys=True)

        def make() -> Key:
            self._check_key(fields, caller.scopes)
            return self.make_key(caller.tenant_id, **fields)

        key: Key = self._state.once(caller.tenant_id, "api-keys.create", idempotency_key, meant, make)
        shown = _shown_key(key)
        # As it was when it was made.
        shown.pop("revoked_at", None)
        shown.pop("last_used_on", None)
        return Reply(201, {"key": key.text, **shown})

    def make_key(
        self,
        tenant_id: str,
        scopes: frozenset[str] = frozenset(SCOPES),
        *,
        name: str = "",
        valid_until: datetime | None = None,
        calls_per_minute: int | None = None,
    ) -> Key:
        key_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(16))
        text, now = f"sk_test_{key_id}_{secrets.token_urlsafe(32)}", self._state.now()
        key = Key(key_id, text, tenant_id, scopes, name, now, valid_until, calls_per_minute=calls_per_minute)
        self._state.keys[key_id] = key
        return key

    def _check_key(self, fields: dict[str, Any], granted: frozenset[str]) -> None:
        scopes, name, limit = fields["scopes"], fields["name"], fields["calls_per_minute"]
        if not scopes:
            raise BrokenRuleRefused("scopes", f"must list at least one of {', '.join(SCOPES)}")
        if not scopes <= set(SCOPES):
            raise BrokenRuleRefused("scopes", f"may only list {', '.join(SCOPES)}")
        if not scopes <= granted:
            raise forbidden("A key cannot give scopes that it does not have.")
        if name:
            check_identifier(name, "name")
        if len(name) > 100:
            raise BrokenRuleRefused("name", "must have 100 characters at most")
        if fields["valid_until"] is not None and fields["valid_until"] <= self._state.now():
            raise BrokenRuleRefused("valid_until", "must be in the future")
        if limit is not None and not 1 <= limit <= 60_000:
            raise BrokenRuleRefused("calls_per_minute", "must be a whole number from 1 to 60000")

    def list_keys(self, call: Call) -> Reply:
        own = [key for key in self._state.keys.values() if key.tenant_id == call.backend.tenant_id]
        own.sort(key=lambda key: (key.created_at, key.key_id))
        return Reply(200, {"keys": [_shown_key(key) for key in own]})

    def revoke_key(self, call: Call) -> Reply:
        _ = call.idempotency_key  # for its form alone: revoking twice changes nothing
        key = self._state.keys.get(call.values["key_id"])
        if key is None or key.tenant_id != call.backend.tenant_id:
            raise not_found()
        key.revoked_at = key.revoked_at or self._state.now()
        return Reply(204)

    # The promise.

    def sla(self, call: Call) -> Reply:
        now = self._state.now()
        own = [record for record in self._state.requests.values() if record.whom.tenant_id == call.backend.tenant_id]
        states = {state: sum(record.state == state for record in own) for state in (REQUESTED, STARTED, HELD)}
        due = [record.due_at for record in own if record.state in (REQUESTED, STARTED)]
        finished = _newest_finished(own)
        within = sum(record.finished_at is not None and record.finished_at <= record.due_at for record in finished)
        next_due_at = min(due, default=None)
        levels = [_level(moment, now) for moment in due]
        left = None if next_due_at is None else (next_due_at - now).total_seconds()
        return Reply(
            200,
            {
                "sla_hours": SLA // timedelta(hours=1),
                "open": sum(states.values()),
                **states,
                "overdue": levels.count(100),
                "at_risk": {str(level): levels.count(level) for level in LEVELS},
                "oldest_age_seconds": 0 if left is None else int(max(SLA.total_seconds() - left, 0.0)),
                "seconds_to_deadline": None if left is None else floor(left),
                "next_due_at": None if next_due_at is None else format_time(next_due_at),
                "finished": {"of": len(finished), "within": within, "late": len(finished) - within},
                "more": False,
            },
        )


def _newest_finished(own: list[Record]) -> list[Record]:
    finished = [record for record in own if record.state == FINISHED]
    return sorted(finished, key=lambda record: record.request_id)[-1000:]


def _level(due_at: datetime, now: datetime) -> int:
    return max((level for level in (*LEVELS, 100) if now >= due_at - SLA * (100 - level) / 100), default=0)


def _checked_fields(body: dict[str, Any]) -> dict[str, Any]:
    if not body.keys() <= set(_KEY_FIELDS):
        raise BrokenRuleRefused("body", f"may only have the fields {', '.join(sorted(_KEY_FIELDS))}")
    scopes, name, limit = body.get("scopes"), body.get("name", ""), body.get("calls_per_minute")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise BrokenRuleRefused("scopes", "must be a list of texts")
    if not isinstance(name, str):
        raise BrokenRuleRefused("name", "must be text")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise BrokenRuleRefused("calls_per_minute", "must be a whole number")
    until = body.get("valid_until")
    return {
        "scopes": frozenset(scopes),
        "name": name,
        "valid_until": None if until is None else check_moment(until, "valid_until"),
        "calls_per_minute": limit,
    }


def _shown_key(key: Key) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "key_id": key.key_id,
        "mode": key.mode,
        "scopes": sorted(key.scopes),
        "name": key.name,
        "created_at": format_time(key.created_at),
    }
    rest = {
        "valid_until": None if key.valid_until is None else format_time(key.valid_until),
        "revoked_at": None if key.revoked_at is None else format_time(key.revoked_at),
        "last_used_on": key.last_used_on,
        "calls_per_minute": key.calls_per_minute,
    }
    return shown | {name: value for name, value in rest.items() if value is not None}


def _health(_call: Call) -> Reply:
    return Reply(200, {"status": "ok", "message": "ok", "version": __version__})
