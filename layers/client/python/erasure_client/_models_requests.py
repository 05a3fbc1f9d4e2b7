"""Erasure requests, plans and trails, as the service tells of them.

Times are in UTC and know it. What is absent is ``None`` or an empty tuple, words that this version does not know are
kept, and fields that it does not know are in ``raw`` only. Every ``of`` raises
:class:`~erasure_client.errors.UnexpectedAnswerError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure_client._reading import Body
from erasure_client._subjects import Subject

OPEN_STATES = frozenset({"requested", "started", "held"})
FINISHED = "finished"
ACCEPTED, REFUSED = "accepted", "refused"
FAILED = "failed"

GONE = frozenset({"erased", "detached", "redacted", "already_absent"})
"""Ends of a target of which nothing is left."""


@dataclass(frozen=True, slots=True)
class Target:
    """How far one of the data map's targets is. ``state``: ``waiting``, ``erasing``, ``verifying``, or its end.
    ``count``: things erased or changed; ``at_least``: perhaps more. ``kept`` things stay ``until`` then (``None``:
    nobody knows), by the law's ``basis`` or because the bucket does not let them go; ``kept_more``: perhaps more."""

    name: str
    category: str
    state: str
    count: int
    at_least: bool = False
    reason: str | None = None
    kept: int = 0
    kept_more: bool = False
    until: datetime | None = None
    basis: str | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it is known that nothing of the subject is left in it."""
        return self.state in GONE and not self.kept and not self.kept_more

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Target:
        return cls._read(Body(body), "name", "state")

    @classmethod
    def of_own(cls, body: Mapping[str, Any]) -> Target:
        """Of a person's own deletion, which tells the end of a target only, and by other names."""
        return cls._read(Body(body), "target", "outcome")

    @classmethod
    def _read(cls, read: Body, name: str, state: str) -> Target:
        return cls(
            name=read.text(name),
            category=read.text("category"),
            state=read.text(state),
            count=read.number("count"),
            at_least=read.flag_if_any("at_least"),
            reason=read.text_if_any("reason"),
            kept=read.number_if_any("kept") or 0,
            kept_more=read.flag_if_any("kept_more"),
            until=read.moment_if_any("until"),
            basis=read.text_if_any("basis"),
        )


@dataclass(frozen=True, slots=True)
class Sla:
    """How a request stands to the promise. ``percent`` of the promised time that is over. ``state``: ``on_time``,
    ``at_risk``, ``breached``, ``paused``, ``met`` or ``missed``."""

    age_seconds: int
    remaining_seconds: int
    percent: int
    paused_seconds: int
    state: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Sla:
        read = Body(body)
        return cls(
            age_seconds=read.number("age_seconds"),
            remaining_seconds=read.number("remaining_seconds"),
            percent=read.number("percent"),
            paused_seconds=read.number("paused_seconds"),
            state=read.text("state"),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """The job that works on a request now."""

    attempt: int
    age_seconds: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Job:
        read = Body(body)
        return cls(read.number("attempt"), read.number("age_seconds"))


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """One subject's erasure. ``targets``, ``sla`` and ``job`` are there when it was asked for by itself, not in lists
    nor right after it was made."""

    id: str
    subject: Subject
    state: str
    attention: bool
    requested_at: datetime
    due_at: datetime
    purged_by: datetime
    not_before: datetime | None = None
    started_at: datetime | None = None
    scan_at: datetime | None = None
    finished_at: datetime | None = None
    follow_up_at: datetime | None = None
    held_since: datetime | None = None
    parked_at: datetime | None = None
    purged_at: datetime | None = None
    organization_ids: tuple[str, ...] = ()
    batch_id: str | None = None
    followed_by: str | None = None
    purpose: str | None = None
    follows: str | None = None
    late_arrivals: int | None = None
    sla: Sla | None = None
    job: Job | None = None
    targets: tuple[Target, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def is_finished(self) -> bool:
        return self.state == FINISHED

    @property
    def is_complete(self) -> bool:
        """Whether it is known to have finished with nothing left. False also where the targets were not told: ask for
        the request by itself; and where something was found later (``late_arrivals``): ask for ``followed_by``."""
        is_well = self.is_finished and not self.attention and not self.late_arrivals
        return is_well and bool(self.targets) and all(target.is_gone for target in self.targets)

    @property
    def kept(self) -> tuple[Target, ...]:
        """Targets of which something stays."""
        return tuple([target for target in self.targets if target.kept > 0 or target.kept_more])

    @property
    def failed(self) -> tuple[Target, ...]:
        return tuple([target for target in self.targets if target.state == FAILED])

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> ErasureRequest:
        read = Body(body)
        sla, job = read.inner_if_any("sla"), read.inner_if_any("job")
        return cls(
            id=read.text("id"),
            subject=Subject.of(read.inner("subject")),
            state=read.text("state"),
            attention=read.flag("attention"),
            requested_at=read.moment("requested_at"),
            due_at=read.moment("due_at"),
            purged_by=read.moment("purged_by"),
            not_before=read.moment_if_any("not_before"),
            started_at=read.moment_if_any("started_at"),
            scan_at=read.moment_if_any("scan_at"),
            finished_at=read.moment_if_any("finished_at"),
            follow_up_at=read.moment_if_any("follow_up_at"),
            held_since=read.moment_if_any("held_since"),
            parked_at=read.moment_if_any("parked_at"),
            purged_at=read.moment_if_any("purged_at"),
            organization_ids=read.texts("organization_ids"),
            batch_id=read.text_if_any("batch_id"),
            followed_by=read.text_if_any("followed_by"),
            purpose=read.text_if_any("purpose"),
            follows=read.text_if_any("follows"),
            late_arrivals=read.number_if_any("late_arrivals"),
            sla=None if sla is None else Sla.of(sla),
            job=None if job is None else Job.of(job),
            targets=tuple([Target.of(each) for each in read.each_if_any("targets")]),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class Disposition:
    """What became of one subject of a call. ``status``: ``accepted``, ``refused`` with a ``reason``, or, of
    :meth:`users.delete_many`, ``not_found``. ``request`` is not told by the latter, only its id."""

    subject: Subject
    status: str
    request: ErasureRequest | None = None
    reason: str | None = None
    request_id: str | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status == ACCEPTED

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Disposition:
        read = Body(body)
        told = read.inner_if_any("request")
        request = None if told is None else ErasureRequest.of(told)
        return cls(
            subject=Subject.of(read.inner("subject")),
            status=read.text("status"),
            request=request,
            reason=read.text_if_any("reason"),
            request_id=None if request is None else request.id,
        )

    @classmethod
    def of_user(cls, body: Mapping[str, Any]) -> Disposition:
        """From an answer that names users only."""
        read = Body(body)
        return cls(
            subject=Subject.user(read.text("user_id")),
            status=read.text("status"),
            reason=read.text_if_any("reason"),
            request_id=read.text_if_any("request_id"),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the subjects of one call: one disposition for each different subject, in the order of the
    call."""

    batch_id: str
    dispositions: tuple[Disposition, ...]

    def __iter__(self) -> Iterator[Disposition]:
        return iter(self.dispositions)

    def __len__(self) -> int:
        return len(self.dispositions)

    @property
    def requests(self) -> tuple[ErasureRequest, ...]:
        """Those that were accepted."""
        return tuple([each.request for each in self.dispositions if each.is_accepted and each.request is not None])

    @property
    def request_ids(self) -> tuple[str, ...]:
        """Of those that were accepted."""
        return tuple([each.request_id for each in self.dispositions if each.is_accepted and each.request_id])

    @property
    def refused(self) -> tuple[Disposition, ...]:
        return tuple([each for each in self.dispositions if each.status == REFUSED])

    @property
    def request(self) -> ErasureRequest:
        """The only one. Raises ``ValueError`` if there are several, or none."""
        if len(self.requests) != 1:
            raise ValueError(f"the batch has {len(self.requests)} accepted requests, not one")
        return self.requests[0]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Batch:
        read = Body(body)
        return cls(read.text("batch_id"), tuple([Disposition.of(each) for each in read.each("requests")]))

    @classmethod
    def of_users(cls, body: Mapping[str, Any]) -> Batch:
        read = Body(body)
        return cls(read.text("batch_id"), tuple([Disposition.of_user(each) for each in read.each("results")]))


@dataclass(frozen=True, slots=True)
class Attempt:
    """``attempt``: of how many the new job is, the first one included."""

    id: str
    attempt: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Attempt:
        read = Body(body)
        return cls(read.text("id"), read.number("attempt"))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """``raw`` is all that ``digest`` covers."""

    request_id: str
    sequence: int
    event_id: str
    event: str
    at: datetime
    details: Mapping[str, Any]
    previous_digest: str
    digest: str
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> AuditEntry:
        read = Body(body)
        return cls(
            request_id=read.text("request_id"),
            sequence=read.number("sequence"),
            event_id=read.text("event_id"),
            event=read.text("event"),
            at=read.moment("at"),
            details=read.inner("details"),
            previous_digest=read.text("previous_digest"),
            digest=read.text("digest"),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """A request's trail, oldest first. ``is_whole``: whether the service finds every entry there and as it was
    written."""

    id: str
    is_whole: bool
    entries: tuple[AuditEntry, ...]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> AuditTrail:
        read = Body(body)
        entries = tuple([AuditEntry.of(each) for each in read.each("entries")])
        return cls(read.text("id"), read.flag("whole"), entries)
