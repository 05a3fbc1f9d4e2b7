"""What a finished request had to leave, under a lock or by the law, is erased by another request when its time has
passed: the first one's follow-up.

Whoever was erased may have come back since, or may never have gone: the content of somebody who stays is erased once,
when they ask for it. So a follow-up is for people only whose account is seen gone when it is made, and only for the
categories in which something was kept. In any doubt there is none, and the trail says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from erasure.domain.audit import next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import derived_request_id
from erasure.domain.request import FOLLOW_UP, ErasureRequest
from erasure.domain.times import due_at, milliseconds, purged_by
from erasure.errors import UnavailableError
from erasure.ports import Acceptance, AcceptanceStore, AccountReader, AuditLog, Clock, JobQueue, RequestStore
from erasure.services.account_targets import ACCOUNT_UNKNOWN, why_not_gone
from erasure.services.commands import ErasurePolicy
from erasure.services.current_map import CurrentMap
from erasure.services.side_by_side import side_by_side
from erasure.targets.protocol import Deadline

PATIENCE = timedelta(days=3)
"""So long the verifier may fail to say whether an account is gone, until that counts as not known."""
AT_ONCE = 100
"""Follow-ups that one sweep makes at most: each asks the verifier."""
PARALLEL = 8

SUBJECT_ID_EXPIRED = "subject_id_expired"
"""Why a request has no follow-up, in its trail, unless its subject does not count as gone."""
NOT_FOLLOWED = "not_followed"
_FOLLOWED = "followed"


@dataclass(frozen=True, slots=True)
class FollowUps:
    """Makes them. ``queue``: the batch lane."""

    requests: RequestStore
    acceptance: AcceptanceStore
    audit: AuditLog
    accounts: AccountReader
    data_map: CurrentMap
    queue: JobQueue
    now: Clock
    policy: ErasurePolicy

    def take_up(self, requests: Sequence[ErasureRequest], deadline: Deadline) -> int:
        """How many of these finished requests, whose time has come, were given a follow-up; at most :data:`AT_ONCE` are
        looked at. Each is written and sent off before its request leaves the list. A sweep that dies in between, or two
        at a time, make the same one: its id follows from the request's and the time. Raises ``UnavailableError`` when
        one could not be made, after all the others."""

        def take_up(request: ErasureRequest) -> bool:
            return not deadline.expired() and self._take_up(request)

        return sum(side_by_side(take_up, requests[:AT_ONCE], PARALLEL))

    def _take_up(self, listed: ErasureRequest) -> bool:
        # As its record is now: it may have been purged since it was listed, by this very sweep.
        request = self.requests.get(listed.request_id)
        if request is None or request.follow_up_at is None:
            return False
        reason = self._why_not(request)
        if reason is not None:
            self._note(request, NOT_FOLLOWED, {"reason": reason})
            self.requests.end_waiting_for_follow_up(request, None)
            return False
        follow_up = self._made(request)
        entry = next_entry(
            follow_up.request_id,
            None,
            "requested",
            follow_up.requested_at,
            {
                "family": request.family,
                "subject_digest": request.subject_digest,
                "subject_type": request.subject.type,
                "purpose": FOLLOW_UP,
                "follows": request.request_id,
            },
        )
        self.acceptance.accept(Acceptance(follow_up, entry), follow_up.requested_at)
        self.queue.send([follow_up.request_id], 1)
        self._note(request, _FOLLOWED, {"followed_by": follow_up.request_id})
        return self.requests.end_waiting_for_follow_up(request, follow_up.request_id)

    def _note(self, request: ErasureRequest, event: str, details: dict[str, object]) -> None:
        self.audit.append(request.request_id, event, self.now(), details)

    def _why_not(self, request: ErasureRequest) -> str | None:
        if request.purged_at is not None or self.now() >= request.purged_by:
            return SUBJECT_ID_EXPIRED
        try:
            return why_not_gone(request.subject, self.data_map.get().targets, self.accounts)
        except UnavailableError:
            if request.follow_up_at is None or self.now() - request.follow_up_at < PATIENCE:
                raise
            return ACCOUNT_UNKNOWN

    def _made(self, request: ErasureRequest) -> ErasureRequest:
        now = self.now()
        moment = milliseconds(request.follow_up_at or now)
        return ErasureRequest(
            request_id=derived_request_id(request.request_id, 0, moment),
            subject=request.subject,
            subject_digest=request.subject_digest,
            family=request.family,
            requested_at=now,
            due_at=due_at(now, self.policy.sla_hours),
            purged_by=purged_by(now, self.policy.purge_days),
            categories=tuple(sorted({outcome.category for outcome in request.outcomes if outcome.kept})),
            organization_ids=request.organization_ids,
            hold_digests=request.hold_digests,
            clock_at=ClockPolicy(patience=self.policy.patience).first_look(now),
            purpose=FOLLOW_UP,
            follows=request.request_id,
        )
