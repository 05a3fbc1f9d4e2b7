"""Users, legal holds, suppressions, the data map, API keys, figures, and a person's own deletion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from erasure_client._models_requests import FINISHED, Target
from erasure_client._reading import Body
from erasure_client._subjects import Subject


@dataclass(frozen=True, slots=True)
class User:
    """``status``: ``active`` or ``disabled``. ``request_id``: the erasure that waits until ``delete_at``, told to whom
    has asked for it."""

    id: str
    status: str
    disabled_at: datetime | None = None
    delete_at: datetime | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any], *, user_id: str | None = None, request_id: str | None = None) -> User:
        """``user_id``: of an answer that does not repeat it."""
        read = Body(body)
        return cls(
            id=read.text("id") if user_id is None else user_id,
            status=read.text("status"),
            disabled_at=read.moment_if_any("disabled_at"),
            delete_at=read.moment_if_any("delete_at"),
            request_id=request_id,
        )


@dataclass(frozen=True, slots=True)
class Deletion:
    """A user whose account, sessions and credentials are gone. ``request_id``: the erasure of the rest, on its way."""

    user_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold. ``aliases``: how many further ids it names. ``held_requests``: how many requests wait for it, told
    when it is put; ``is_new`` as well: whether the subject had none before."""

    hold_id: str
    subject_type: str
    subject_digest: str
    reason: str
    author: str
    set_at: datetime
    until: datetime | None = None
    aliases: int = 0
    held_requests: int | None = None
    is_new: bool | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any], *, is_new: bool | None = None) -> Hold:
        read = Body(body)
        return cls(
            hold_id=read.text("hold_id"),
            subject_type=read.text("subject_type"),
            subject_digest=read.text("subject_digest"),
            reason=read.text("reason"),
            author=read.text("author"),
            set_at=read.moment("set_at"),
            until=read.moment_if_any("until"),
            aliases=read.number("aliases"),
            held_requests=read.number_if_any("held_requests"),
            is_new=is_new,
        )


@dataclass(frozen=True, slots=True)
class Suppression:
    """A subject whose data must not be collected again, known by a digest."""

    subject_digest: str
    subject_type: str
    suppressed_at: datetime
    request_id: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Suppression:
        read = Body(body)
        return cls(
            subject_digest=read.text("subject_digest"),
            subject_type=read.text("subject_type"),
            suppressed_at=read.moment("suppressed_at"),
            request_id=read.text("request_id"),
        )


@dataclass(frozen=True, slots=True)
class DataMap:
    version: int
    digest: str
    document: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> DataMap:
        read = Body(body)
        return cls(read.number("version"), read.text("digest"), read.inner("document"))


@dataclass(frozen=True, slots=True)
class DataMapWarning:
    """``field``: the path in the document that it is about."""

    field: str
    warning: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> DataMapWarning:
        read = Body(body)
        return cls(read.text("field"), read.text("warning"))


@dataclass(frozen=True, slots=True)
class PutDataMap:
    version: int
    digest: str
    warnings: tuple[DataMapWarning, ...] = ()

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> PutDataMap:
        read = Body(body)
        warnings = tuple([DataMapWarning.of(each) for each in read.each("warnings")])
        return cls(read.number("version"), read.text("digest"), warnings)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """``text``: the key itself, of a new one only; it is shown this once."""

    key_id: str
    mode: str
    scopes: tuple[str, ...]
    name: str
    created_at: datetime
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_on: date | None = None
    calls_per_minute: int | None = None
    text: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> ApiKey:
        read = Body(body)
        return cls(
            key_id=read.text("key_id"),
            mode=read.text("mode"),
            scopes=read.texts("scopes"),
            name=read.text_if_any("name") or "",
            created_at=read.moment("created_at"),
            valid_until=read.moment_if_any("valid_until"),
            revoked_at=read.moment_if_any("revoked_at"),
            last_used_on=read.day_if_any("last_used_on"),
            calls_per_minute=read.number_if_any("calls_per_minute"),
            text=read.text_if_any("key"),
        )


@dataclass(frozen=True, slots=True)
class SlaFigures:
    """How the promise is kept. ``open``: ``requested``, ``started`` and ``held`` together. ``at_risk``: how many have
    reached 50, 75 and 90 percent of their time, each counted at the highest. ``finished``: of the newest 1,000, of
    which ``finished_within`` in time. ``more``: not all could be counted."""

    sla_hours: int
    open: int
    requested: int
    started: int
    held: int
    overdue: int
    at_risk: Mapping[int, int]
    oldest_age_seconds: int
    seconds_to_deadline: int | None
    next_due_at: datetime | None
    finished: int
    finished_within: int
    finished_late: int
    more: bool
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> SlaFigures:
        read = Body(body)
        at_risk, finished = Body(read.inner("at_risk")), Body(read.inner("finished"))
        return cls(
            sla_hours=read.number("sla_hours"),
            open=read.number("open"),
            requested=read.number("requested"),
            started=read.number("started"),
            held=read.number("held"),
            overdue=read.number("overdue"),
            at_risk={level: at_risk.number(str(level)) for level in (50, 75, 90)},
            oldest_age_seconds=read.number("oldest_age_seconds"),
            seconds_to_deadline=read.number_if_any("seconds_to_deadline"),
            next_due_at=read.moment_if_any("next_due_at"),
            finished=finished.number("of"),
            finished_within=finished.number("within"),
            finished_late=finished.number("late"),
            more=read.flag("more"),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class RetentionRun:
    """``count``: what would have gone, by a report; what went, by a run. ``kept``: under a legal hold.
    ``unreadable``: of an age that nobody can tell. Both stay."""

    at: datetime
    request_id: str
    count: int
    kept: int = 0
    unreadable: int = 0

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RetentionRun:
        read = Body(body)
        return cls(
            at=read.moment("at"),
            request_id=read.text("request_id"),
            count=read.number("matched" if read.has("matched") else "erased"),
            kept=read.number_if_any("kept") or 0,
            unreadable=read.number_if_any("unreadable") or 0,
        )


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A rule of the data map by which things go when they are old. ``older_than``: such as ``30d``. ``mode``:
    ``erase`` or ``report``. ``state``: ``reporting``, ``waiting`` or ``erasing``."""

    target: str
    older_than: str
    mode: str
    state: str
    attribute: str | None = None
    last_report: RetentionRun | None = None
    last_run: RetentionRun | None = None
    next_at: datetime | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RetentionRule:
        read = Body(body)
        report, run = read.inner_if_any("last_report"), read.inner_if_any("last_run")
        return cls(
            target=read.text("target"),
            older_than=read.text("older_than"),
            mode=read.text("mode"),
            state=read.text("state"),
            attribute=read.text_if_any("attribute"),
            last_report=None if report is None else RetentionRun.of(report),
            last_run=None if run is None else RetentionRun.of(run),
            next_at=read.moment_if_any("next_at"),
        )


@dataclass(frozen=True, slots=True)
class Health:
    """``version``: the service's."""

    status: str
    version: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Health:
        read = Body(body)
        return cls(read.text("status"), read.text("version"))


@dataclass(frozen=True, slots=True)
class SelfDeletion:
    """How far a person's own deletion is. ``targets`` is empty until the first job has ended. Of a deletion that is
    known to be complete, while how it went could not be looked up, there are ``request_id`` and ``state`` only."""

    request_id: str
    state: str
    attention: bool
    requested_at: datetime | None = None
    due_at: datetime | None = None
    scan_at: datetime | None = None
    finished_at: datetime | None = None
    targets: tuple[Target, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_finished(self) -> bool:
        return self.state == FINISHED

    @property
    def is_complete(self) -> bool:
        """Whether it is known to have finished with nothing left."""
        is_told = bool(self.targets) or self.requested_at is None
        return self.is_finished and not self.attention and is_told and all(target.is_gone for target in self.targets)

    @property
    def kept(self) -> tuple[Target, ...]:
        """Targets of which something stays."""
        return tuple([target for target in self.targets if target.kept > 0 or target.kept_more])

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> SelfDeletion:
        read = Body(body)
        return cls(
            request_id=read.text("request_id"),
            state=read.text("state"),
            attention=read.flag("attention"),
            requested_at=read.moment("requested_at"),
            due_at=read.moment("due_at"),
            scan_at=read.moment_if_any("scan_at"),
            finished_at=read.moment_if_any("finished_at"),
            targets=tuple([Target.of_own(each) for each in read.each("targets")]),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one subject of a bulk. ``position``: among all that were given, from 0. ``status``: ``accepted``,
    ``refused`` with a ``reason``, or ``duplicate``: it stood there before. ``chunk``: the number of the call, from 0;
    ``None`` of what was not sent."""

    position: int
    subject: Subject
    status: str
    request_id: str | None = None
    reason: str | None = None
    chunk: int | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status == "accepted"
