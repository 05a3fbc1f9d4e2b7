"""The HelloJohn family: users, as the backend of their application sees them.

====================================  ==============================================================================
``GET /v1/users/{user_id}``           200 ``{"id", "status", "disabled_at"?, "delete_at"?}``
``DELETE /v1/users/{user_id}``        204 once account, sessions and credentials are gone; from then on 404
``POST /v1/users/{user_id}/disable``  200; with ``revoke_sessions`` once the sessions are gone; ``delete_after_days``
``POST /v1/users/{user_id}/enable``   200; a deletion that waits is cancelled
``POST /v1/users/bulk-delete``        202, one disposition for each different id; all is erased asynchronously (ours)
====================================  ==============================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import check_identifier
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, MAX_BULK_BODY_BYTES, Call, Refusal, Route, answer
from erasure.entry.fields import ListTooLongError, check_identifiers, claim_of
from erasure.errors import (
    AlreadyDeletedError,
    IdempotencyMismatchError,
    InvalidInputError,
    MalformedBodyError,
    NotFoundError,
    RateLimitedError,
    UnfinishedError,
)
from erasure.services.accounts import ACTIVE, FAMILY, Account, AccountService
from erasure.services.erasures import (
    ACCEPTED,
    ALREADY_DELETED,
    MAX_SUBJECTS,
    REFUSED,
    Disposition,
    ErasureCommand,
    ErasureService,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

READ, WRITE = "users:read", "users:write"
MAX_DELETE_AFTER_DAYS = 3650
ANSWER_MARGIN_SECONDS = 3.0
"""Left of the function's time for writing the answer."""

_STATUS = {ACCEPTED: "accepted", ALREADY_DELETED: "not_found", REFUSED: "refused"}
_HEADERS = frozenset({"Idempotency-Key", "X-Tenant-ID"})


class HelloJohnFamily:
    def __init__(self, accounts: AccountService, erasures: ErasureService) -> None:
        self._accounts = accounts
        self._erasures = erasures

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/users/{user_id}", BACKEND, self.show, READ),
            Route("DELETE", "/v1/users/{user_id}", BACKEND, self.delete, WRITE),
            Route("POST", "/v1/users/{user_id}/disable", BACKEND, self.disable, WRITE),
            Route("POST", "/v1/users/{user_id}/enable", BACKEND, self.enable, WRITE),
            Route("POST", "/v1/users/bulk-delete", BACKEND, self.delete_many, WRITE),
        ]

    def show(self, call: Call, user_id: str) -> Response[str]:
        account = self._accounts.show(call.caller.tenant_id, check_identifier(user_id, "user_id"))
        return answer(200, {"id": account.user_id, **_status(account)})

    def delete(self, call: Call, user_id: str) -> Response[str]:
        """Delete one user; the answer comes when nobody can sign in as them any more."""
        user_id = check_identifier(user_id, "user_id")
        claim = claim_of(call, "hellojohn.delete", [user_id])
        caller = call.caller
        request_id = self._accounts.delete(caller.tenant_id, user_id, caller.key_id, claim, seconds=_seconds(call))
        return answer(204, None, {"X-Erasure-Request-Id": request_id})

    def disable(self, call: Call, user_id: str) -> Response[str]:
        user_id, body = check_identifier(user_id, "user_id"), call.json_object()
        revoke_sessions, days = body.get("revoke_sessions", False), body.get("delete_after_days")
        if not isinstance(revoke_sessions, bool):
            raise InvalidInputError("revoke_sessions", "must be true or false")
        if days is not None and not (type(days) is int and 1 <= days <= MAX_DELETE_AFTER_DAYS):
            raise InvalidInputError("delete_after_days", f"must be a whole number from 1 to {MAX_DELETE_AFTER_DAYS}")
        account = self._accounts.disable(
            call.caller.tenant_id,
            user_id,
            call.caller.key_id,
            revoke_sessions=revoke_sessions,
            delete_after_days=days,
            idempotency=claim_of(call, "hellojohn.disable", [user_id, revoke_sessions, days]),
            seconds=_seconds(call),
        )
        accepted = {} if account.deletion_id is None else {"X-Erasure-Request-Id": account.deletion_id}
        return answer(200, _status(account), accepted)

    def enable(self, call: Call, user_id: str) -> Response[str]:
        user_id = check_identifier(user_id, "user_id")
        claim = claim_of(call, "hellojohn.enable", [user_id])
        account = self._accounts.enable(call.caller.tenant_id, user_id, call.caller.key_id, claim)
        return answer(200, _status(account))

    def delete_many(self, call: Call) -> Response[str]:
        """Delete up to 1,000 users. Tombstones are there at once; sessions and accounts go with the batch."""
        body = call.json_object(MAX_BULK_BODY_BYTES)
        user_ids = check_identifiers(body.get("user_ids"), "user_ids", MAX_SUBJECTS)
        tenant_id = call.caller.tenant_id
        accepted = self._erasures.create(
            ErasureCommand(
                tenant_id,
                FAMILY,
                tuple([Subject(tenant_id, user_id) for user_id in user_ids]),
                call.caller.key_id,
                field_of=lambda position: f"user_ids[{position}]",
                leaves_tombstone=True,
                strict=False,
                named_batch=True,
                idempotency=claim_of(call, "hellojohn.bulk-delete", user_ids),
            )
        )
        results = [_result(disposition) for disposition in accepted.dispositions]
        headers = {"X-Erasure-Request-Id": accepted.batch_id}
        return answer(202, {"batch_id": accepted.batch_id, "results": results}, headers)

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        status, code, message, headers = refusal
        if _breaks_a_rule(error):
            status, code = 422, "validation_error"
        elif isinstance(error, NotFoundError | AlreadyDeletedError):
            message = "User not found."
        elif isinstance(error, UnfinishedError):
            message = str(error)
            if error.request_id is not None:
                headers = {**headers, "X-Erasure-Request-Id": error.request_id}
        body: dict[str, Any] = {"error": code, "message": message, "request_id": call.request_id}
        if isinstance(error, RateLimitedError):
            body["retry_after"] = error.retry_after
        return answer(status, body, headers)


def _breaks_a_rule(error: Exception) -> bool:
    """Whether it is a value that is wrong, and not the call as such: its body, its headers, its length."""
    if isinstance(error, InvalidInputError):
        return not isinstance(error, MalformedBodyError | ListTooLongError) and error.field not in _HEADERS
    return isinstance(error, IdempotencyMismatchError)


def _seconds(call: Call) -> float:
    return max(0.0, call.remaining_seconds() - ANSWER_MARGIN_SECONDS)


def _status(account: Account) -> dict[str, str]:
    status = {"status": account.status}
    if account.status == ACTIVE:
        return status
    for name, moment in (("disabled_at", account.disabled_at), ("delete_at", account.delete_at)):
        if moment is not None:
            status[name] = format_time(moment)
    return status


def _result(disposition: Disposition) -> dict[str, str]:
    result = {"user_id": disposition.subject.id, "status": _STATUS[disposition.status]}
    if disposition.status == ACCEPTED and disposition.request is not None:
        result["request_id"] = disposition.request.request_id
    if disposition.reason is not None:
        result["reason"] = disposition.reason
    return result
