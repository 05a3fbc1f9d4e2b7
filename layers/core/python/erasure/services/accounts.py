"""Users as a backend sees them (the HelloJohn family): look up, delete at once, disable, enable.

A deletion is effective before the call returns: the tombstone is written with the request, then the erasers are called
for the categories :data:`ACCESS_CATEGORIES`, and only when the verifier has seen those gone the call succeeds. The
rest follows through the batch lane, whose message was sent before the erasers were called: nothing gets lost if this
function dies in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

from erasure.domain.collisions import check_alone
from erasure.domain.identifiers import new_batch_id
from erasure.domain.request import CANCELLED, HELD, OPEN_STATES
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import format_time, parse_time
from erasure.errors import (
    AlreadyDeletedError,
    ConflictError,
    ErasureError,
    InvalidInputError,
    NotFoundError,
    TargetError,
    TransitionError,
    UnfinishedError,
    WithdrawnError,
    places_of,
)
from erasure.ports import (
    AccountReader,
    AuditLog,
    Clock,
    Disabled,
    HoldReader,
    RequestStore,
    Standing,
    SubjectRegistry,
    Tombstone,
)
from erasure.services.account_targets import account_specs
from erasure.services.current_map import CurrentMap
from erasure.services.erasures import ErasureCommand, ErasureService, IdempotencyClaim
from erasure.services.hold_refusals import check_not_held
from erasure.services.idempotent import Idempotency
from erasure.services.immediate import ImmediateJobs
from erasure.services.refusals import UNNAMEABLE, whose_id
from erasure.targets.protocol import Deadline

FAMILY = "hellojohn"
ACCESS_CATEGORIES = ("session", "credential", "account")
SESSIONS = ("session",)

ACTIVE = "active"
DISABLED = "disabled"

BUDGET_SECONDS = 18.0
"""For all that a call waits for: API Gateway gives up after 29 seconds, and workers may have a cold start."""

DELAY_SECONDS = 30
"""The batch lane hears of a request only when the call that works on it is over."""

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
_WAITS_FOR_HOLD = "The deletion of this user waits for the end of a legal hold and cannot be called off until then."
_ACCEPTED_BUT_HELD = "The deletion is accepted but is not being carried out at present: a legal hold has been put."
_SESSIONS_LEFT = "The user is disabled, but not all sessions have been seen gone yet. Calling again is safe."

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """``status``: ``active`` or ``disabled``; the others only when disabled. ``deletion_id``: the request that waits
    until ``delete_at``, told to whom has asked for it."""

    user_id: str
    status: str
    disabled_at: datetime | None = None
    delete_at: datetime | None = None
    deletion_id: str | None = None


class AccountService:
    """``digest_key`` returns the HMAC key of the subject digests; ``monotonic`` can be replaced in tests.

    Every method raises ``InvalidInputError`` for a user whom the data map cannot name safely. ``seconds`` is how long a
    call may take.
    """

    def __init__(
        self,
        *,
        erasures: ErasureService,
        registry: SubjectRegistry,
        requests: RequestStore,
        data_map: CurrentMap,
        accounts: AccountReader,
        jobs: ImmediateJobs,
        idempotency: Idempotency,
        holds: HoldReader,
        audit: AuditLog,
        digest_key: Callable[[], bytes],
        now: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._erasures = erasures
        self._registry = registry
        self._requests = requests
        self._data_map = data_map
        self._accounts = accounts
        self._jobs = jobs
        self._idempotency = idempotency
        self._holds = holds
        self._audit = audit
        self._digest_key = digest_key
        self._now = now
        self._monotonic = monotonic

    def show(self, tenant_id: str, user_id: str) -> Account:
        """Raises ``NotFoundError`` for a user with a tombstone, and for one of whom the data map's targets of category
        account hold nothing."""
        _, standing = self._living(Subject(tenant_id, user_id))
        return self._account(user_id, standing.disabled)

    def delete(
        self,
        tenant_id: str,
        user_id: str,
        key_id: str,
        idempotency: IdempotencyClaim | None = None,
        *,
        seconds: float = BUDGET_SECONDS,
    ) -> str:
        """Returns the request's id once account, sessions and credentials are gone. ``NotFoundError`` as for ``show``.

        Raises ``UnfinishedError`` if they are not gone: the request is accepted and goes on, the tombstone stays;
        calling again takes the same request up again. ``HeldError``: a legal hold concerns the user, nothing was
        accepted. ``ConflictError``: one was put at this moment, the request waits.
        """
        subject, deadline = Subject(tenant_id, user_id), self._deadline(seconds)
        request_id: str = self._once(subject, idempotency, lambda: self._delete(subject, key_id, deadline))
        return request_id

    def disable(
        self,
        tenant_id: str,
        user_id: str,
        key_id: str,
        *,
        revoke_sessions: bool,
        delete_after_days: int | None,
        idempotency: IdempotencyClaim | None = None,
        seconds: float = BUDGET_SECONDS,
    ) -> Account:
        """``delete_after_days``: erase the user after so many days, unless enabled again; it replaces what an earlier
        call said, and ``None`` leaves that as it is.

        Raises ``UnfinishedError`` if the user is disabled but sessions may be left, ``ConflictError`` if an earlier
        call's deletion has begun or is held, ``HeldError`` if sessions of somebody whom a hold concerns are to go, and
        ``InvalidInputError`` if the data map knows nothing of sessions.
        """
        subject, deadline = Subject(tenant_id, user_id), self._deadline(seconds)

        def disable() -> dict[str, str | None]:
            if revoke_sessions:
                if not self._erasures.plan(_session_command(subject, key_id))[0].targets:
                    raise InvalidInputError("revoke_sessions", "the data map has no target of the category session")
                self._check_not_held(self._digest(subject), _HELD_SESSIONS)
            account = self._disable(subject, key_id, delete_after_days)
            if revoke_sessions:
                self._revoke_sessions(subject, key_id, deadline)
            return {
                "disabled_at": _text(account.disabled_at),
                "delete_at": _text(account.delete_at),
                "deletion_id": account.deletion_id,
            }

        told: dict[str, str | None] = self._once(subject, idempotency, disable)
        times = _time(told["disabled_at"]), _time(told["delete_at"])
        return Account(user_id, DISABLED, *times, told["deletion_id"])

    def enable(self, tenant_id: str, user_id: str, key_id: str, idempotency: IdempotencyClaim | None = None) -> Account:
        """Raises ``ConflictError`` if its deletion has begun or is held."""
        subject = Subject(tenant_id, user_id)
        self._once(subject, idempotency, lambda: self._enable(subject, key_id))
        return Account(user_id, ACTIVE)

    def _once(self, subject: Subject, claim: IdempotencyClaim | None, action: Callable[[], Any]) -> Any:
        """``action``'s result, or the one that the claim's key stands for. Whatever a call that died has left, the
        subject's standing leads back to it, so there is nothing to derive from the run's id."""
        if claim is None:
            return action()
        return self._idempotency.run(
            subject.tenant_id, claim.operation, claim.key, claim.body, new_batch_id(), lambda _run_id: action()
        )

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(min(seconds, BUDGET_SECONDS), self._monotonic)

    # Who is there.

    def _living(self, subject: Subject) -> tuple[str, Standing]:
        """The subject's digest and standing. Raises ``NotFoundError`` if it counts as deleted or does not exist."""
        digest = self._digest(subject)
        standing = self._registry.standing(digest)
        if standing.tombstone is not None:
            raise NotFoundError("there is no such user")
        self._check_exists(subject)
        return digest, standing

    def _digest(self, subject: Subject) -> str:
        return subject_digest(self._digest_key(), subject)

    def _check_not_held(self, digest: str, message: str) -> None:
        check_not_held(digest, FAMILY, message, holds=self._holds, audit=self._audit, now=self._now)

    def _check_exists(self, subject: Subject) -> None:
        """A user exists where the application keeps accounts; if the map knows no such place, nobody can tell."""
        targets = self._data_map.get().targets
        specs = account_specs(targets)
        for spec in specs:
            _check_alone(spec, targets, subject)
        if specs and not self._accounts.exists(subject, specs):
            raise NotFoundError("there is no such user")

    def _account(self, user_id: str, disabled: Disabled | None) -> Account:
        if disabled is None:
            return Account(user_id, ACTIVE)
        return Account(user_id, DISABLED, disabled.disabled_at, self._delete_at(disabled))

    def _delete_at(self, disabled: Disabled) -> datetime | None:
        """When the user will be deleted, if there is a request that will do so: it may have been cancelled by its id,
        or never written."""
        deletion = self._requests.get(disabled.deletion_id) if disabled.deletion_id else None
        return None if deletion is None or deletion.state == CANCELLED else disabled.delete_at

    # Deleting.

    def _delete(self, subject: Subject, key_id: str, deadline: Deadline) -> str:
        digest = self._digest(subject)
        standing = self._registry.standing(digest)
        if standing.tombstone is not None:
            _unfinished(standing.tombstone)
        self._check_not_held(digest, _HELD)
        if standing.tombstone is not None:
            request_id = self._take_up(standing.tombstone)
        else:
            self._check_exists(subject)
            request_id = self._accept_deletion(subject, digest, key_id)
        self._take_effect(digest, request_id, deadline)
        if standing.disabled is not None:
            self._call_off_needless(subject, digest, standing.disabled, key_id)
        return request_id

    def _accept_deletion(self, subject: Subject, digest: str, key_id: str) -> str:
        command = replace(_command(subject, key_id), leaves_tombstone=True, delay_seconds=DELAY_SECONDS)
        try:
            return self._create(command)
        except AlreadyDeletedError:
            # Another call was faster by a moment: what it accepted is what this one asks for.
            tombstone = self._registry.standing(digest).tombstone
            if tombstone is None:
                raise
            return self._take_up(tombstone)

    def _take_up(self, tombstone: Tombstone) -> str:
        """The request of a deletion that has not become effective yet, seen to."""
        request_id = _unfinished(tombstone)
        # The call that accepted it may have died before it sent the message, and after this one nobody would know.
        if self._erasures.make_sure_of([request_id], DELAY_SECONDS):
            raise WithdrawnError("the deletion was taken back at the same moment")
        return request_id

    def _create(self, command: ErasureCommand) -> str:
        (disposition,) = self._erasures.create(command).dispositions
        assert disposition.request is not None  # noqa: S101 - strict: it is accepted, or create has raised
        return disposition.request.request_id

    def _take_effect(self, digest: str, request_id: str, deadline: Deadline) -> None:
        """From here on the deletion is accepted, and no error may say otherwise."""
        try:
            if self._jobs.run(request_id, deadline, ACCESS_CATEGORIES):
                self._registry.make_effective(digest, request_id, self._now())
                return
            request = self._requests.get(request_id)
        except Exception as error:
            _not_done(error, UnfinishedError(_GOES_ON, request_id))
        if request is not None and request.state == HELD:
            raise ConflictError(_ACCEPTED_BUT_HELD)
        attention = request is not None and request.attention
        raise UnfinishedError(_ATTENTION if attention else _GOES_ON, request_id)

    def _call_off_needless(self, subject: Subject, digest: str, disabled: Disabled, key_id: str) -> None:
        """The user is deleted now: a deletion that waits has nothing left to do, and does no harm if it stays."""
        try:
            self._call_off(subject, digest, disabled, key_id)
        except ErasureError as error:
            _logger.warning("a needless deletion still waits: %s", type(error).__name__)

    # Disabling and enabling.

    def _disable(self, subject: Subject, key_id: str, days: int | None) -> Account:
        digest, standing = self._living(subject)
        now = self._now()
        disabled = standing.disabled or Disabled(now)
        if days is not None:
            disabled = self._schedule(subject, digest, disabled, now + timedelta(days=days), key_id)
        elif standing.disabled is None:
            self._registry.disable(digest, disabled)
        account = self._account(subject.id, disabled)
        return replace(account, deletion_id=disabled.deletion_id) if days is not None else account

    def _schedule(
        self, subject: Subject, digest: str, disabled: Disabled, delete_at: datetime, key_id: str
    ) -> Disabled:
        self._call_off(subject, digest, disabled, key_id)
        # Written before the request is there: if the function dies in between, the user is disabled, and not one who is
        # active and yet about to be erased.
        planned = Disabled(disabled.disabled_at, delete_at)
        self._registry.disable(digest, planned)
        command = replace(_command(subject, key_id), leaves_tombstone=True, not_before=delete_at)
        planned = replace(planned, deletion_id=self._create(command))
        self._registry.disable(digest, planned)
        return planned

    def _call_off(self, subject: Subject, digest: str, disabled: Disabled | None, key_id: str) -> None:
        """Cancel every deletion that waits. Raises ``ConflictError`` if one has begun or is held."""
        # Not only the one that is noted: of two calls at the same moment, or one that died, only one is. A deletion
        # that nobody has noted would erase a user who has been enabled since.
        noted = [disabled.deletion_id] if disabled is not None and disabled.deletion_id else []
        for request_id in dict.fromkeys([*noted, *self._waiting(digest)]):
            try:
                self._erasures.cancel(subject.tenant_id, request_id, key_id)
            except TransitionError:
                request = self._requests.get(request_id)
                is_held = request is not None and request.state == HELD
                raise ConflictError(_WAITS_FOR_HOLD if is_held else "The deletion of this user has begun.") from None

    def _waiting(self, digest: str) -> list[str]:
        """Deletions of the subject that wait for their time, or whose time has come."""
        rows = [row for row in self._requests.rows_of_subject(digest) if row.family == FAMILY]
        found = self._requests.get_many([row.request_id for row in rows])
        return [
            request.request_id
            for request in found.values()
            if request.state in OPEN_STATES and request.not_before is not None
        ]

    def _revoke_sessions(self, subject: Subject, key_id: str, deadline: Deadline) -> None:
        """A request of its own; the batch lane takes over what cannot be done now."""
        try:
            if self._jobs.run(self._create(_session_command(subject, key_id)), deadline):
                return
        except Exception as error:
            _not_done(error, UnfinishedError(_SESSIONS_LEFT))
        raise UnfinishedError(_SESSIONS_LEFT)

    def _enable(self, subject: Subject, key_id: str) -> None:
        digest, standing = self._living(subject)
        self._call_off(subject, digest, standing.disabled, key_id)
        if standing.disabled is not None:
            self._registry.enable(digest)


def _command(subject: Subject, key_id: str) -> ErasureCommand:
    return ErasureCommand(subject.tenant_id, FAMILY, (subject,), key_id, field_of=lambda _position: "user_id")


def _session_command(subject: Subject, key_id: str) -> ErasureCommand:
    return replace(_command(subject, key_id), categories=SESSIONS, delay_seconds=DELAY_SECONDS)


def _unfinished(tombstone: Tombstone) -> str:
    """The request of a deletion that has not become effective yet."""
    if tombstone.effective_at is not None:
        raise NotFoundError("there is no such user")
    return tombstone.request_id


def _check_alone(spec: TargetSpec, targets: tuple[TargetSpec, ...], subject: Subject) -> None:
    try:
        check_alone(spec, targets, subject.values())
    except TargetError as error:
        raise InvalidInputError(whose_id(error) or "user_id", UNNAMEABLE) from None


def _not_done(error: Exception, unfinished: UnfinishedError) -> NoReturn:
    """Raise ``unfinished`` in the place of ``error``, which is logged unless it is one of ours."""
    if not isinstance(error, ErasureError):
        _logger.error("a call was not finished: %s at %s", type(error).__name__, places_of(error))
    raise unfinished from None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
