"""A person erases their own data in two steps (the H2O family).

Step one hands out a delete id: random, good for minutes, for this person only. Step two consumes it and creates the
erasure request, in one transaction, and puts the request's id on the interactive lane. The delete id itself is never
stored, only its digest; the person's id stands in the request record only.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import refusal, targets_for
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, ErasureRequest
from erasure.domain.subject import Subject, keyed_digest, subject_digest
from erasure.domain.times import due_at, purged_by
from erasure.errors import (
    ConflictError,
    IdempotencyKeyUsedError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from erasure.ports import (
    Acceptance,
    AcceptanceStore,
    AuditLog,
    Clock,
    DataMapStore,
    DeleteIdStore,
    HoldReader,
    IdempotencyRecord,
    JobQueue,
    RequestStore,
)
from erasure.services.current_map import CurrentMap
from erasure.services.hold_refusals import check_not_held
from erasure.services.idempotent import WINDOW
from erasure.services.refusals import UNNAMEABLE, whose_id

FAMILY = "h2o"
HELD_MESSAGE = "Your data is under a legal hold and cannot be deleted at present."
_POLL_FIRST_SECONDS = 0.1
_POLL_LONGEST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class IssuedDeleteId:
    delete_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as its subject may see it. ``scan_at``: when the last of it is looked for, all else being done."""

    request_id: str
    state: str
    attention: bool
    requested_at: datetime
    due_at: datetime
    finished_at: datetime | None
    outcomes: tuple[TargetOutcome, ...]
    scan_at: datetime | None = None

    @property
    def settled(self) -> bool:
        """Nothing will change by waiting a few seconds more."""
        return self.state in (FINISHED, CANCELLED, HELD) or self.attention or self.scan_at is not None

    @property
    def is_gone(self) -> bool:
        """Everything is erased and verified, and nothing is kept for any reason."""
        return self.state == FINISHED and not any(outcome.kept for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class SelfDeletionPolicy:
    delete_id_lifetime: timedelta = timedelta(seconds=300)
    sla_hours: int = 72
    purge_days: int = 90
    patience: timedelta = timedelta(minutes=15)

    @classmethod
    def of(
        cls, delete_id_seconds: int, sla_hours: int, purge_days: int, patience_minutes: int = 15
    ) -> SelfDeletionPolicy:
        return cls(timedelta(seconds=delete_id_seconds), sla_hours, purge_days, timedelta(minutes=patience_minutes))


class SelfDeletionService:
    """The two steps and the waiting. ``digest_key`` returns the HMAC key of the subject digests."""

    def __init__(
        self,
        *,
        delete_ids: DeleteIdStore,
        acceptance: AcceptanceStore,
        requests: RequestStore,
        data_maps: DataMapStore,
        queue: JobQueue,
        holds: HoldReader,
        audit: AuditLog,
        digest_key: Callable[[], bytes],
        now: Clock,
        policy: SelfDeletionPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._delete_ids = delete_ids
        self._acceptance = acceptance
        self._requests = requests
        self._map = CurrentMap(data_maps, monotonic)
        self._queue = queue
        self._holds = holds
        self._audit = audit
        self._digest_key = digest_key
        self._now = now
        self._policy = policy or SelfDeletionPolicy()
        self._sleep = sleep
        self._monotonic = monotonic

    def issue_delete_id(self, subject: Subject, *, idempotency_key: str | None = None) -> IssuedDeleteId:
        """Step one. The same idempotency key gives the same id, for as long as that one is valid.

        Raises :class:`InvalidInputError` when the data map could not name this subject safely, and :class:`HeldError`
        when a legal hold concerns the person: better said now than after they have confirmed. A hold that is put
        between the two steps is found when the erasure is planned.
        """
        key = self._digest_key()
        digest = subject_digest(key, subject)
        now = self._now()
        self._check_identifier(self._new_request(subject, digest, now))
        check_not_held(digest, FAMILY, HELD_MESSAGE, holds=self._holds, audit=self._audit, now=self._now)
        if idempotency_key is None:
            delete_id = secrets.token_urlsafe(32)
        else:
            delete_id = _derived_delete_id(key, digest, idempotency_key)
        expires_at = self._delete_ids.put(_digest(delete_id), digest, now + self._policy.delete_id_lifetime)
        if expires_at <= now:
            raise ConflictError("Idempotency-Key: the delete id that it stands for has expired")
        return IssuedDeleteId(delete_id, expires_at)

    def confirm(self, subject: Subject, delete_id: object, *, idempotency_key: str | None = None) -> str:
        """Step two: consume the delete id, create the request, queue it. Returns the request's id.

        ``delete_id`` is whatever the caller sent. What cannot be a delete id goes the whole way too, so that a
        malformed id takes as long as a wrong one. Raises :class:`DeleteIdRejectedError`, :class:`ConflictError`
        (the key came with another id before), :class:`UnavailableError` (nothing will be erased).
        """
        now = self._now()
        key = self._digest_key()
        request = self._new_request(subject, subject_digest(key, subject), now)
        request_id = request.request_id
        id_digest = _digest(delete_id if isinstance(delete_id, str) else f"\x00{type(delete_id).__name__}")
        record = None
        if idempotency_key is not None:
            key_digest = keyed_digest(key, "idempotency", request.subject_digest, idempotency_key)
            record = IdempotencyRecord(key_digest, id_digest, request_id, now + WINDOW, f'"{request_id}"')
        details = {"family": FAMILY, "subject_digest": request.subject_digest, "subject_type": subject.type}
        entry = next_entry(request_id, None, "requested", now, details)
        try:
            self._acceptance.accept(Acceptance(request, entry, id_digest), now, record)
        except IdempotencyKeyUsedError:
            return self._answer_again(record)
        self._enqueue(request, entry)
        return request_id

    def wait(self, subject: Subject, request_id: str, seconds: float) -> RequestView:
        """Wait until the request is settled or the time is up; returns what it is then."""
        end = self._monotonic() + seconds
        pause = _POLL_FIRST_SECONDS
        while True:
            view = self.status(subject, request_id)
            left = end - self._monotonic()
            if view.settled or left <= 0:
                return view
            self._sleep(min(pause, left))
            pause = min(pause * 1.3, _POLL_LONGEST_SECONDS)

    def status(self, subject: Subject, request_id: str) -> RequestView:
        """Raises :class:`NotFoundError` for what does not exist and for other people's requests alike."""
        request = self._requests.get(request_id)
        # By its digest: the record loses the id when it is purged, and stays its subject's.
        if request is None or request.subject_digest != subject_digest(self._digest_key(), subject):
            raise NotFoundError("there is no such erasure request")
        return RequestView(
            request.request_id,
            request.state,
            request.attention,
            request.requested_at,
            request.due_at,
            request.finished_at,
            request.outcomes,
            request.scan_at if request.job_id in request.closed_jobs else None,
        )

    def _new_request(self, subject: Subject, digest: str, now: datetime) -> ErasureRequest:
        return ErasureRequest(
            new_request_id(),
            subject,
            digest,
            FAMILY,
            now,
            due_at(now, self._policy.sla_hours),
            purged_by(now, self._policy.purge_days),
            clock_at=ClockPolicy(patience=self._policy.patience).first_look(now),
        )

    def _enqueue(self, request: ErasureRequest, last: AuditEntry) -> None:
        try:
            self._queue.send([request.request_id], 1)
        except UnavailableError:
            # Nobody would pick the request up, so it must not stay open. If the message was sent after all and only
            # the answer was lost, planning finds the request cancelled and erases nothing.
            entry = next_entry(request.request_id, last, "cancelled", self._now(), {"reason": "not_queued"})
            clock_at = ClockPolicy().purge_at(request.purged_by, self._now())
            if not self._requests.cancel(request, entry, clock_at):
                return  # it has started: the message did arrive
            raise

    def _answer_again(self, record: IdempotencyRecord | None) -> str:
        known = self._acceptance.find_idempotency(record.key_digest) if record else None
        if known is None or record is None:
            raise UnavailableError("the earlier answer could not be read")
        if not hmac.compare_digest(known.body_digest, record.body_digest):
            raise IdempotencyMismatchError("Idempotency-Key: was used with another body")
        request = self._requests.get(known.run_id)
        if request is not None and request.state == REQUESTED:
            # The first call may have died between writing the request down and queueing it. A second message does
            # no harm: the job is named after the request.
            self._queue.send([known.run_id], 1)
        return known.run_id

    def _check_identifier(self, request: ErasureRequest) -> None:
        data_map = self._map.get()
        targets = targets_for(request, data_map.targets, data_map.families)
        if not targets:
            raise UnavailableError("the data map has no target for this: nothing could be erased")
        for target in targets:
            error = refusal(request, target, data_map.targets)
            if error is not None:
                raise InvalidInputError(whose_id(error) or "user id", UNNAMEABLE)


def _digest(delete_id: str) -> str:
    return hashlib.sha256(delete_id.encode("utf-8", "surrogatepass")).hexdigest()


def _derived_delete_id(key: bytes, digest: str, idempotency_key: str) -> str:
    """An id that only this service can compute: what makes repeating the call possible without storing the id."""
    mac = keyed_digest(key, "delete-id", digest, idempotency_key)
    return urlsafe_b64encode(bytes.fromhex(mac)).decode().rstrip("=")
