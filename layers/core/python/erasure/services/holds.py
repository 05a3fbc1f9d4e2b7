"""Legal holds: as long as one stands, nothing of the subject is erased, whoever asks for it.

A hold is in force from the moment at which it is written: every slice that begins then sees its marks. What happens to
requests after that is bookkeeping (:mod:`erasure.services.held_requests`), and may be done again, late, or by others.
Each subject with a hold has a trail in the audit log: ``hold_set``, ``hold_changed``, ``refused``, ``hold_lifted``,
``hold_ended``. That a hold is lifted is written there before it is: nothing is erased again without a record of why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.clock import ClockPolicy
from erasure.domain.holds import marks_of, mentions
from erasure.domain.request import HELD, REQUESTED, STARTED
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import format_time, parse_time
from erasure.errors import InvalidInputError, NotFoundError, UnavailableError, places_of
from erasure.ports import AuditLog, Clock, ClockStore, Hold, HoldStore, JobQueue, RequestStore
from erasure.services.held_requests import ResumeDependencies, hold_requests, resume_those_free
from erasure.services.hold_refusals import trail_of
from erasure.targets.protocol import Deadline

_TRIES = 5
_LISTED = 1000
_RESUME_SECONDS = 10.0
"""How long a caller waits for requests to be sent off; the watch does what is left."""
_SKEW = timedelta(minutes=1)
"""By so much the clock of whoever ends a hold may be ahead: a hold never ends early."""
_TICK = timedelta(milliseconds=1)
_ENDED_AT_A_TIME = 100

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HoldCommand:
    """What is to be held, and why. ``aliases``: further ids of the subject, 20 at most. ``until``: ``None`` for as long
    as nobody lifts it."""

    subject: Subject
    reason: str
    author: str
    key_id: str
    until: datetime | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutHold:
    """``is_new``: this call has made it. ``held_requests``: how many requests of the subject, and of those whose ids
    its further ids are, wait now. Those that know a further id of it only as such are not counted."""

    hold: Hold
    is_new: bool
    held_requests: int


class HoldService:
    """``queue``: the batch lane. ``digest_key`` returns the HMAC key of the digests."""

    def __init__(
        self,
        *,
        holds: HoldStore,
        requests: RequestStore,
        clock: ClockStore,
        audit: AuditLog,
        queue: JobQueue,
        digest_key: Callable[[], bytes],
        now: Clock,
        policy: ClockPolicy,
    ) -> None:
        self._holds = holds
        self._requests = requests
        self._clock = clock
        self._audit = audit
        self._digest_key = digest_key
        self._now = now
        self._resuming = ResumeDependencies(holds, requests, clock, audit, queue, now, policy)

    def put(self, command: HoldCommand, run_id: str) -> PutHold:
        """Put a hold, or change the one that there is. The same again changes nothing, and completes what a call that
        died has left undone. ``run_id``: as for :class:`erasure.services.idempotent.Idempotency`.

        Raises ``InvalidInputError`` (an end that is not to come; a text, which is kept in clear, that has one of the
        subject's ids), ``UnavailableError``: it may be in force, calling again tells.
        """
        hold, is_new = self._write(command, run_id)
        trail = trail_of(hold.subject_digest)
        is_known = any(entry.details.get("hold_id") == hold.hold_id for entry in self._audit.entries(trail))
        details = {
            "hold_id": hold.hold_id,
            "subject_type": hold.subject_type,
            "aliases": hold.aliases,
            "until": None if hold.until is None else format_time(hold.until),
            "key_id": hold.key_id,
        }
        self._audit.append(
            trail,
            "hold_changed" if is_known else "hold_set",
            self._now(),
            {name: value for name, value in details.items() if value is not None},
            event_id=f"hold:{hold.hold_id}:{format_time(hold.set_at)}",
        )
        return PutHold(hold, is_new, self._hold_open_requests(hold))

    def get(self, subject: Subject) -> Hold:
        """Raises ``NotFoundError``."""
        hold = self._holds.get(subject.tenant_id, subject_digest(self._digest_key(), subject))
        if hold is None:
            raise NotFoundError("there is no legal hold of this subject")
        return hold

    def lift(self, subject: Subject, key_id: str, run_id: str) -> None:
        """Take the hold away, and send off what was held by it and by no other. Raises ``NotFoundError``."""
        digest = subject_digest(self._digest_key(), subject)
        event_id = f"hold_lifted:{run_id}"
        for _ in range(_TRIES):
            hold = self._holds.get(subject.tenant_id, digest)
            if hold is None:
                # A call that died may have been this one.
                if event_id in [entry.event_id for entry in self._audit.entries(trail_of(digest))]:
                    return
                raise NotFoundError("there is no legal hold of this subject")
            details: dict[str, object] = {"hold_id": hold.hold_id, "key_id": key_id}
            self._audit.append(trail_of(digest), "hold_lifted", self._now(), details, event_id=event_id)
            if self._holds.lift(hold):
                self._resume(hold)
                return
        raise UnavailableError("the hold was changed at the same moment")

    def _write(self, command: HoldCommand, run_id: str) -> tuple[Hold, bool]:
        subject, own_id = command.subject, f"lh_{run_id.partition('_')[2]}"
        aliases = [alias for alias in dict.fromkeys(command.aliases) if alias != subject.id]
        _check_texts(command, [subject.id, *aliases])
        marks = marks_of(self._digest_key(), subject, aliases)
        until = None if command.until is None else _as_kept(command.until)
        if until is not None and until <= self._now():
            raise InvalidInputError("until", "must be in the future")
        for _ in range(_TRIES):
            known = self._holds.get(subject.tenant_id, marks[0])
            if known is not None and _says(known, command, until, marks):
                return known, known.hold_id == own_id
            hold = Hold(
                hold_id=own_id if known is None else known.hold_id,
                tenant_id=subject.tenant_id,
                subject_type=subject.type,
                subject_digest=marks[0],
                reason=command.reason,
                author=command.author,
                set_at=self._moment_after(known),
                key_id=command.key_id,
                until=until,
                aliases=len(aliases),
                marks=marks,
            )
            if self._holds.put(hold, known):
                return hold, known is None
        raise UnavailableError("the hold was changed at the same moment")

    def _moment_after(self, known: Hold | None) -> datetime:
        """Now, and later than the last change was said to be, whoever's clock that was by: changes are told apart by
        their moments."""
        now = _as_kept(self._now())
        return now if known is None else max(now, known.set_at + _TICK)

    def _hold_open_requests(self, hold: Hold) -> int:
        found = self._requests.get_many(self._requests_of(hold)).values()
        is_held = sum(request.state == HELD for request in found)
        to_hold = {request.request_id: hold.hold_id for request in found if request.state in (REQUESTED, STARTED)}
        return is_held + hold_requests(
            to_hold, requests=self._requests, clock=self._clock, audit=self._audit, now=self._now
        )

    def _requests_of(self, hold: Hold) -> list[str]:
        """Of the subject, and of those whose ids its further ids are."""
        subjects = hold.marks[: 1 + hold.aliases]
        return [row.request_id for digest in subjects for row in self._requests.rows_of_subject(digest)]

    def _resume(self, hold: Hold) -> None:
        """The hold is lifted: whatever goes wrong here, the watch makes up for."""
        try:
            listed = self._clock.held(_LISTED)
            by_this_one = [
                request_id
                for request_id, request in self._requests.get_many(listed).items()
                if request.hold_id == hold.hold_id
            ]
            request_ids = list(dict.fromkeys([*self._requests_of(hold), *by_this_one]))
            resume_those_free(request_ids, self._resuming, Deadline(_RESUME_SECONDS))
        except Exception as error:
            _logger.error("requests are still held: %s at %s", type(error).__name__, places_of(error))

    # Last: below it, the name in annotations would be this method.
    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Hold]:
        """In the order of their subjects' digests, those behind the digest ``after``."""
        return self._holds.list(tenant_id, after=after, limit=limit)


def end_due(*, holds: HoldStore, audit: AuditLog, now: Clock, deadline: Deadline) -> int:
    """Lift the holds whose end has come; returns how many. One that is changed at this moment stays."""
    ended = 0
    while not deadline.expired():
        moment = now()
        due = holds.ended(moment - _SKEW, _ENDED_AT_A_TIME)
        lifted = [hold for hold in due if _end(hold, moment, holds, audit)]
        ended += len(lifted)
        if len(lifted) < _ENDED_AT_A_TIME:
            break
    return ended


def _end(hold: Hold, now: datetime, holds: HoldStore, audit: AuditLog) -> bool:
    event_id = f"hold_ended:{hold.hold_id}:{format_time(hold.set_at)}"
    audit.append(trail_of(hold.subject_digest), "hold_ended", now, {"hold_id": hold.hold_id}, event_id=event_id)
    return holds.lift(hold)


def _check_texts(command: HoldCommand, ids: list[str]) -> None:
    for field, text in (("reason", command.reason), ("author", command.author)):
        if mentions(text, ids):
            raise InvalidInputError(field, "must not name the subject by any of its ids: it is kept in clear")


def _says(hold: Hold, command: HoldCommand, until: datetime | None, marks: tuple[str, ...]) -> bool:
    same_texts = (hold.reason, hold.author) == (command.reason, command.author)
    return same_texts and hold.until == until and set(hold.marks) == set(marks)


def _as_kept(moment: datetime) -> datetime:
    return parse_time(format_time(moment))
