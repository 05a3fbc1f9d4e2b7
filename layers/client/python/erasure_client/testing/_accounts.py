"""The HelloJohn routes: users are looked up, deleted at once, disabled and enabled, or deleted by the hundred."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from erasure_client.testing._checks import (
    MAX_SUBJECTS,
    BrokenRuleRefused,
    check_identifier,
    check_identifiers,
    conflict,
    format_time,
    not_found,
    unavailable,
)
from erasure_client.testing._erasing import ACCESS, Erasing
from erasure_client.testing._exchange import HELLOJOHN, MAX_BULK_BODY, Call, Reply, Route, Whom
from erasure_client.testing._maps import whose_rule
from erasure_client.testing._native import Command, Requests
from erasure_client.testing._records import (
    CANCELLED,
    FAILED,
    HELD,
    OPEN,
    REQUESTED,
    STARTED,
    Disabled,
    Record,
    Tombstone,
)
from erasure_client.testing._state import State

READ, WRITE = "users:read", "users:write"
_GOES_ON = (
    "The deletion is accepted and the user counts as deleted, but account, sessions and credentials have not all been"
    " seen gone yet. It goes on by itself; calling again is safe."
)
_ATTENTION = (
    "The deletion is accepted and the user counts as deleted, but account, sessions and credentials could not all be"
    " erased. The operators have been told; calling again is safe."
)
_HELD = "The user's data is under a legal hold and cannot be deleted at present."
_HELD_SESSIONS = "The user's data is under a legal hold: the sessions cannot be deleted, and the user was not disabled."
_ACCEPTED_BUT_HELD = "The deletion is accepted but is not being carried out at present: a legal hold has been put."
_SESSIONS_LEFT = "The user is disabled, but not all sessions have been seen gone yet. Calling again is safe."
_ONE = "/v1/users/{user_id}"


class Accounts:
    def __init__(self, state: State, erasing: Erasing, requests: Requests) -> None:
        self._state = state
        self._erasing = erasing
        self._requests = requests

    def routes(self) -> list[Route]:
        return [
            # Before the routes with a name in its place.
            Route("POST", "/v1/users/bulk-delete", HELLOJOHN, self.delete_many, WRITE),
            Route("GET", _ONE, HELLOJOHN, self.show, READ),
            Route("DELETE", _ONE, HELLOJOHN, self.delete, WRITE),
            Route("POST", f"{_ONE}/disable", HELLOJOHN, self.disable, WRITE),
            Route("POST", f"{_ONE}/enable", HELLOJOHN, self.enable, WRITE),
        ]

    def show(self, call: Call) -> Reply:
        whom = _user(call)
        self._check_living(whom)
        return Reply(200, {"id": whom.id, **self._status(whom)})

    # Deleting.

    def delete(self, call: Call) -> Reply:
        whom = _user(call)
        request_id = self._once(call, "delete", [whom.id], lambda: self._delete(whom, call.backend.key_id))
        return Reply(204, None, {"X-Erasure-Request-Id": request_id})

    def _delete(self, whom: Whom, key_id: str) -> str:
        tombstone = self._state.tombstones.get(whom)
        if tombstone is not None and tombstone.is_effective:
            raise not_found()
        self._check_not_held(whom, _HELD)
        if tombstone is None:
            self._check_exists(whom)
            self._check_may_be_erased(Command({whom: 0}, family=HELLOJOHN, field="user_id"), whom)
            record = self._erasing.accept(whom, HELLOJOHN, key_id, leaves_tombstone=True)
            self._erasing.work(record, ACCESS, at_once=True)
            tombstone = self._state.tombstones[whom]
        else:
            record = self._state.requests[tombstone.request_id]
            if record.state == REQUESTED:
                self._erasing.work(record, ACCESS, at_once=True)
        self._check_is_gone(record, tombstone)
        if whom in self._state.disabled:
            self._call_off_needless(whom, key_id, record)
        return record.request_id

    def _check_is_gone(self, record: Record, tombstone: Tombstone) -> None:
        """The deletion is effective when nobody can sign in as the user any more."""
        access = [target.name for target in self._erasing.targets(record) if target.category in ACCESS]
        told = [record.outcomes.get(name) for name in access]
        if all(outcome is not None and outcome.state not in (FAILED, "blocked") for outcome in told):
            tombstone.is_effective = True
            return
        if record.state == HELD:
            raise conflict(_ACCEPTED_BUT_HELD)
        error = unavailable(_ATTENTION if record.attention else _GOES_ON)
        error.headers["X-Erasure-Request-Id"] = record.request_id
        raise error

    def _call_off_needless(self, whom: Whom, key_id: str, own: Record) -> None:
        for record in self._waiting(whom):
            if record is not own and record.state == REQUESTED:
                self._erasing.cancel(record, key_id)

    def delete_many(self, call: Call) -> Reply:
        body = call.json_object(MAX_BULK_BODY)
        user_ids = check_identifiers(body.get("user_ids"), "user_ids", MAX_SUBJECTS)
        reply: Reply = self._once(call, "bulk-delete", user_ids, lambda: self._delete_many(call, user_ids))
        return reply

    def _delete_many(self, call: Call, user_ids: tuple[str, ...]) -> Reply:
        tenant_id, batch_id = call.backend.tenant_id, self._state.new_id("eb_")
        subjects: dict[Whom, int] = {}
        for position, user_id in enumerate(user_ids):
            subjects.setdefault(Whom(tenant_id, "user", user_id), position)
        command = Command(subjects, family=HELLOJOHN, field="user_ids[{}]")
        reasons = {whom: self._requests.refusal(command, whom, strict=False) for whom in subjects}
        results = []
        for whom, reason in reasons.items():
            result = {"user_id": whom.id}
            if reason is not None:
                result |= {"status": "refused", "reason": reason}
            elif whom in self._state.tombstones:
                result |= {"status": "not_found"}
            else:
                record = self._erasing.accept(
                    whom, HELLOJOHN, call.backend.key_id, batch_id=batch_id, leaves_tombstone=True
                )
                result |= {"status": "accepted", "request_id": record.request_id}
            results.append(result)
        return Reply(202, {"batch_id": batch_id, "results": results}, {"X-Erasure-Request-Id": batch_id})

    # Disabling and enabling.

    def disable(self, call: Call) -> Reply:
        whom, body = _user(call), call.json_object()
        revoke_sessions, days = body.get("revoke_sessions", False), body.get("delete_after_days")
        if not isinstance(revoke_sessions, bool):
            raise BrokenRuleRefused("revoke_sessions", "must be true or false")
        if days is not None and not (type(days) is int and 1 <= days <= 3650):
            raise BrokenRuleRefused("delete_after_days", "must be a whole number from 1 to 3650")

        def disable() -> Reply:
            if revoke_sessions:
                if not self._state.map.covers(HELLOJOHN, "user", ("session",)):
                    raise BrokenRuleRefused("revoke_sessions", "the data map has no target of the category session")
                self._check_not_held(whom, _HELD_SESSIONS)
            told = self._disable(whom, days, call.backend.key_id)
            if revoke_sessions:
                self._revoke_sessions(whom, call.backend.key_id)
            return told

        reply: Reply = self._once(call, "disable", [whom.id, revoke_sessions, days], disable)
        return reply

    def _disable(self, whom: Whom, days: int | None, key_id: str) -> Reply:
        self._check_living(whom)
        now = self._state.now()
        disabled = self._state.disabled.get(whom) or Disabled(now)
        headers = {}
        if days is not None:
            command = Command({whom: 0}, family=HELLOJOHN, field="user_id")
            self._call_off(whom, key_id)
            self._check_may_be_erased(command, whom)
            disabled = Disabled(disabled.disabled_at, now + timedelta(days=days))
            record = self._erasing.accept(whom, HELLOJOHN, key_id, not_before=disabled.delete_at, leaves_tombstone=True)
            disabled.deletion_id = record.request_id
            headers = {"X-Erasure-Request-Id": record.request_id}
        self._state.disabled[whom] = disabled
        return Reply(200, self._status(whom), headers)

    def _revoke_sessions(self, whom: Whom, key_id: str) -> None:
        self._check_may_be_erased(Command({whom: 0}, categories=("session",), family=HELLOJOHN, field="user_id"), whom)
        record = self._erasing.accept(whom, HELLOJOHN, key_id, categories=("session",))
        self._erasing.work(record, at_once=True)
        if not record.outcomes or any(told.state in (FAILED, "blocked") for told in record.outcomes.values()):
            raise unavailable(_SESSIONS_LEFT)

    def enable(self, call: Call) -> Reply:
        whom = _user(call)

        def enable() -> None:
            self._check_living(whom)
            self._call_off(whom, call.backend.key_id)
            self._state.disabled.pop(whom, None)

        self._once(call, "enable", [whom.id], enable)
        return Reply(200, {"status": "active"})

    def _call_off(self, whom: Whom, key_id: str) -> None:
        for record in self._waiting(whom):
            if record.state == STARTED:
                raise conflict("The deletion of this user has begun.")
            self._erasing.cancel(record, key_id)

    def _waiting(self, whom: Whom) -> list[Record]:
        """Deletions of the user that wait for their time, or whose time has come."""
        return [
            record
            for record in self._state.requests.values()
            if record.whom == whom
            and record.family == HELLOJOHN
            and record.state in OPEN
            and record.not_before is not None
        ]

    # Who is there.

    def _check_living(self, whom: Whom) -> None:
        if whom in self._state.tombstones:
            raise not_found()
        self._check_exists(whom)

    def _check_exists(self, whom: Whom) -> None:
        targets = self._state.map.accounts()
        for target in targets:
            whose = target.wrong_id(whom, ())
            if whose is not None:
                raise whose_rule(whose, "user_id")
        user = self._state.users.get(whom)
        if targets and (user is None or not any(user.count(target.name) for target in targets)):
            raise not_found()

    def _check_may_be_erased(self, command: Command, whom: Whom) -> None:
        self._requests.refusal(command, whom, strict=True)

    def _check_not_held(self, whom: Whom, message: str) -> None:
        if self._state.hold_of(whom) is not None:
            raise conflict(message)

    def _status(self, whom: Whom) -> dict[str, Any]:
        disabled = self._state.disabled.get(whom)
        if disabled is None:
            return {"status": "active"}
        shown = {"status": "disabled", "disabled_at": format_time(disabled.disabled_at)}
        deletion = self._state.requests.get(disabled.deletion_id or "")
        if disabled.delete_at is not None and deletion is not None and deletion.state != CANCELLED:
            shown["delete_at"] = format_time(disabled.delete_at)
        return shown

    def _once(self, call: Call, operation: str, meant: object, action: Callable[[], Any]) -> Any:
        key, tenant_id = call.idempotency_key, call.backend.tenant_id
        return self._state.once(tenant_id, f"hellojohn.{operation}", key, json.dumps(meant), action)


def _user(call: Call) -> Whom:
    return Whom(call.backend.tenant_id, "user", check_identifier(call.values["user_id"], "user_id"))
