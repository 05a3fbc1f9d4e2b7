"""Requests that the service has made itself of somebody who was gone: a follow-up, a second look.

Between making and planning one of them a moment may pass, or years under a legal hold. Whoever has an account by then
has come back, and nobody has asked to erase what they have written since.
"""

from __future__ import annotations

from collections.abc import Sequence

from erasure.domain.audit import next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.request import FOLLOW_UP, REQUESTED, SECOND_LOOK, STARTED, ErasureRequest
from erasure.domain.subject import USER
from erasure.errors import UnavailableError
from erasure.ports import AccountReader, AuditLog, Clock, PinnedMap, RequestStore
from erasure.services.account_targets import account_specs, why_not_gone
from erasure.services.side_by_side import side_by_side

PARALLEL_REQUESTS = 8
_TRIES = 5
_UNREADABLE = ""
_POLICY = ClockPolicy()


def without_returned(
    requests: Sequence[ErasureRequest],
    data_map: PinnedMap,
    *,
    accounts: AccountReader,
    store: RequestStore,
    audit: AuditLog,
    now: Clock,
) -> list[ErasureRequest]:
    """The requests without those whose subject does not count as gone any more. These are cancelled, with the reason;
    left as they are, if they were begun before, or as long as nobody can tell. Raises ``UnavailableError``."""
    in_question = [request for request in requests if _was_made_for_who_is_gone(request, data_map)]

    def why_not(request: ErasureRequest) -> str | None:
        try:
            reason = why_not_gone(request.subject, data_map.targets, accounts)
        except UnavailableError:
            return _UNREADABLE
        if reason is not None and request.state == REQUESTED:
            _cancel(request, reason, store, audit, now)
        return reason

    reasons = side_by_side(why_not, in_question, PARALLEL_REQUESTS)
    left_out = {request.request_id for request, reason in zip(in_question, reasons, strict=True) if reason is not None}
    return [request for request in requests if request.request_id not in left_out]


def _was_made_for_who_is_gone(request: ErasureRequest, data_map: PinnedMap) -> bool:
    if request.purpose not in (FOLLOW_UP, SECOND_LOOK) or request.purged_at is not None:
        return False
    # Groups without accounts count as gone by what the registry says, which does not change by itself.
    has_account = request.subject.type == USER or account_specs(data_map.targets, request.subject.type)
    return request.state in (REQUESTED, STARTED) and bool(has_account)


def _cancel(request: ErasureRequest, reason: str, store: RequestStore, audit: AuditLog, now: Clock) -> None:
    for _ in range(_TRIES):
        entries, moment = audit.entries(request.request_id), now()
        last = entries[-1] if entries else None
        entry = next_entry(request.request_id, last, "cancelled", moment, {"reason": reason})
        try:
            store.cancel(request, entry, _POLICY.purge_at(request.purged_by, moment))
        except UnavailableError:
            continue  # somebody else wrote an audit entry in between: follow that one
        return
    raise UnavailableError("the request could not be cancelled")
