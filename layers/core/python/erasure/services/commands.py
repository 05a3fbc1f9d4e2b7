"""What is asked of :class:`erasure.services.erasures.ErasureService`, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject

MAX_SUBJECTS = 1000

ACCEPTED = "accepted"
ALREADY_OPEN = "already_open"
ALREADY_DELETED = "already_deleted"
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ErasurePolicy:
    """The two promises, counted from when a request may be started first, and when it is looked at whether a request
    goes its way (:class:`erasure.domain.clock.ClockPolicy`)."""

    sla_hours: int = 72
    purge_days: int = 90
    patience: timedelta = timedelta(minutes=15)


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
    disposition. ``named_batch``: the call can be asked about as a batch later, also if it has one subject only.
    ``only_one_open`` (one subject only), ``suppress``: see :class:`erasure.ports.Acceptance`. ``delay_seconds``: the
    message reaches the batch lane that much later. A ``not_before`` that has passed already means at once.
    ``takes_grace``: without a ``not_before``, it waits for as long as its tenant has set.
    ``plan_hash`` (one subject only): of the plan that the caller has seen; nothing is erased by another one.
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
    takes_grace: bool = False
    plan_hash: str | None = None
    idempotency: IdempotencyClaim | None = None

    def different_subjects(self) -> dict[Subject, int]:
        """Each subject once, in the order of the command, with the position at which it stands first."""
        first: dict[Subject, int] = {}
        for position, subject in enumerate(self.subjects):
            first.setdefault(subject, position)
        return first


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
    organizations named. ``not_before``: when it would be started first, unless at once."""

    subject: Subject
    targets: tuple[PlannedTarget, ...]
    out_of_scope: tuple[str, ...]
    not_before: datetime | None = None
