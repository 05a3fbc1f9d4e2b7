"""The one native way in for backends: create, look up, list, cancel and retry erasure requests.

Every wire family of :mod:`erasure.entry` is a translation of what is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from erasure.domain.audit import AuditEntry
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject

MAX_SUBJECTS = 1000

ACCEPTED = "accepted"
ALREADY_OPEN = "already_open"
ALREADY_DELETED = "already_deleted"
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """An ``Idempotency-Key`` with what it was sent for. ``operation``: family and call; ``body``: what must be equal
    when the key comes again, in canonical form."""

    key: str
    operation: str
    body: str


@dataclass(frozen=True, slots=True)
class ErasureCommand:
    """What a family asks for. All subjects are of the one tenant; equal ones count once.

    ``field_of``: the caller's name of the subject at a position, for errors (``subjects[3].id``). ``strict``: a subject
    that cannot be erased safely refuses the whole call (``SubjectRefusedError``); otherwise it is told in its
    disposition. ``named_batch``: the call can be asked about as a batch later. ``only_one_open``, ``suppress``: see
    :class:`erasure.ports.Acceptance`. ``delay_seconds``: the message reaches the batch lane that much later.
    """

    tenant_id: str
    family: str
    subjects: tuple[Subject, ...]
    key_id: str
    field_of: Callable[[int], str]
    organization_ids: tuple[str, ...] = ()
    categories: tuple[str, ...] | None = None
    not_before: datetime | None = None
    only_one_open: bool = False
    suppress: bool = False
    leaves_tombstone: bool = False
    strict: bool = True
    named_batch: bool = False
    delay_seconds: int = 0
    idempotency: IdempotencyClaim | None = None


@dataclass(frozen=True, slots=True)
class Disposition:
    """What became of one subject of a command. ``request``: the accepted one, or the open one that was there already;
    ``reason``: fixed code when refused."""

    subject: Subject
    status: str
    request: ErasureRequest | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """``dispositions``: one for each different subject, in the order of the command. ``tasks``: targets times subjects
    as planned now."""

    batch_id: str
    dispositions: tuple[Disposition, ...]
    tasks: int


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """``reason``: fixed code if the target cannot be erased safely for this subject."""

    name: str
    category: str
    kind: str
    action: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SubjectPlan:
    """What an erasure of the subject would cover. ``out_of_scope``: names of targets that cannot be limited to the
    organizations named."""

    subject: Subject
    targets: tuple[PlannedTarget, ...]
    out_of_scope: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetProgress:
    """``state``: ``waiting``, ``erasing``, ``verifying`` or an outcome."""

    name: str
    category: str
    state: str
    count: int
    at_least: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RequestView:
    request: ErasureRequest
    targets: tuple[TargetProgress, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor``: for the next page; ``None``: this was the last one."""

    requests: tuple[ErasureRequest, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class BatchView:
    """``tasks_left`` is 0 exactly when every request of the batch is finished. ``last_completed_at``: of any task."""

    batch_id: str
    tasks: int
    tasks_left: int
    is_finished: bool
    attention: int
    last_completed_at: datetime | None


class ErasureService:
    """Needs the ports of :mod:`erasure.ports`; made in :mod:`erasure.entry.wiring`.

    All lookups are by tenant: what belongs to another tenant is a ``NotFoundError``, as what does not exist.
    """

    def create(self, command: ErasureCommand) -> Accepted:
        """Raises ``InvalidInputError`` (too many subjects, none, ``SubjectRefusedError``), ``AlreadyDeletedError`` (a
        single subject that leaves a tombstone and has one), ``IdempotencyMismatchError``, ``UnavailableError``."""
        raise NotImplementedError

    def plan(self, command: ErasureCommand) -> list[SubjectPlan]:
        """What ``create`` would cover; nothing is written."""
        raise NotImplementedError

    def show(self, tenant_id: str, request_id: str) -> RequestView:
        raise NotImplementedError

    def list(
        self, tenant_id: str, *, state: str | None, subject: Subject | None, cursor: str | None, limit: int
    ) -> Page:
        """Newest first. Raises ``InvalidInputError`` for a cursor that is none of ours."""
        raise NotImplementedError

    def numbered_page(
        self, tenant_id: str, *, family: str, subject_type: str, states: tuple[str, ...], page: int, per_page: int
    ) -> tuple[list[ErasureRequest], int]:
        """Page ``page`` (from 1) of a family's requests, newest first, and how many there are in all."""
        raise NotImplementedError

    def batch(self, tenant_id: str, batch_id: str) -> BatchView:
        raise NotImplementedError

    def cancel(self, tenant_id: str, request_id: str, key_id: str) -> ErasureRequest:
        """Raises ``TransitionError`` unless it is ``requested`` (or cancelled already: then it is as before)."""
        raise NotImplementedError

    def retry(self, tenant_id: str, request_id: str, key_id: str, idempotency_key: str | None = None) -> int:
        """Send the request off again; returns the attempt's number. Raises ``TransitionError`` when it is finished,
        cancelled or held."""
        raise NotImplementedError

    def audit(self, tenant_id: str, request_id: str) -> tuple[list[AuditEntry], bool]:
        """The trail, oldest first, and whether it is whole."""
        raise NotImplementedError


def outcome_progress(outcome: TargetOutcome) -> TargetProgress:
    return TargetProgress(
        outcome.target, outcome.category, outcome.outcome, outcome.count, outcome.at_least, outcome.reason
    )
