"""What the use cases need from the outside, as protocols. ``erasure.adapters`` has the AWS side, tests have fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from erasure.domain.api_key import ApiKey
from erasure.domain.audit import AuditEntry
from erasure.domain.outcome import NOTHING_KEPT, Kept, TargetOutcome
from erasure.domain.plan import Families, Part, Scans, Shard, Task
from erasure.domain.request import FAMILY_CATEGORIES, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec

Clock = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What an idempotency key stands for: the digest of the body that came with it and what came of it.

    ``run_id``: an id that the first call chose, from which it derived all others, so that a repetition of a call that
    died does the same things and not other ones. ``result``: what the answer is made from, as JSON, without any
    subject's id; ``None`` until the call has come to its end.
    """

    key_digest: str
    body_digest: str
    run_id: str
    expires_at: datetime
    result: str | None = None


@dataclass(frozen=True, slots=True)
class PinnedMap:
    """The data map as a job uses it. ``families``: categories by wire family."""

    version: int
    digest: str
    targets: tuple[TargetSpec, ...]
    families: Families = field(default_factory=lambda: FAMILY_CATEGORIES)
    identifiers: tuple[IdentifierRule, ...] = ()

    @property
    def optional(self) -> frozenset[str]:
        """Identifiers of which it is no fault to have none."""
        return frozenset(rule.name for rule in self.identifiers if rule.optional)


@dataclass(frozen=True, slots=True)
class PinnedJob:
    """What a job was planned with. Planning it again has to make the same tasks, whatever has changed meanwhile: a
    task that exists keeps its parts, so other parts in its place would be worked on by nobody. ``scans``,
    ``scanning``: the shards of the tables that it scans and the requests for which it does."""

    data_map_version: int
    request_ids: tuple[str, ...]
    scans: Scans = field(default_factory=dict)
    scanning: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """All that is written when a request is accepted, in one go.

    ``delete_id_digest``: consumed with it. ``only_one_open``: refused if the subject has an open request of the same
    family. ``suppress``: the subject goes on the suppression list. A request with ``leaves_tombstone`` that has no
    ``not_before`` writes its tombstone at once; one with ``not_before`` is put on the list of those that wait.
    """

    request: ErasureRequest
    entry: AuditEntry
    delete_id_digest: str | None = None
    only_one_open: bool = False
    suppress: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that came with one call. ``tasks``: targets times subjects, as planned when it was accepted."""

    batch_id: str
    tenant_id: str
    family: str
    request_ids: tuple[str, ...]
    tasks: int
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request as an index lists it."""

    request_id: str
    family: str
    subject_type: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The subject counts as deleted. ``effective_at``: when its account, sessions and credentials were seen gone."""

    request_id: str
    deleted_at: datetime
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Disabled:
    """The account is disabled. ``deletion_id``: the request that waits until ``delete_at`` to erase it, if any."""

    disabled_at: datetime
    delete_at: datetime | None = None
    deletion_id: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the registry knows of a subject."""

    tombstone: Tombstone | None = None
    disabled: Disabled | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """A subject that must not be collected again. Only its digest is kept."""

    subject_digest: str
    subject_type: str
    suppressed_at: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold: nothing of the subject may be erased. Only digests tell whom it is about.

    ``reason``, ``author``: as they were given. ``until``: when it ends by itself; ``None``: when it is lifted.
    ``aliases``: how many further ids it names. ``marks``: keyed digests of the subject and of its further ids, by which
    requests find it (:mod:`erasure.domain.holds`). ``key_id``: who has put it.
    """

    hold_id: str
    tenant_id: str
    subject_type: str
    subject_digest: str
    reason: str
    author: str
    set_at: datetime
    key_id: str
    until: datetime | None = None
    aliases: int = 0
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClockRow:
    """An open request, or one that has ended, as the index of the clock has it. ``finished_at``: only of finished
    ones."""

    request_id: str
    due_at: datetime
    held: bool = False
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlaRow:
    """A request of a tenant as the figures of the promise need it."""

    request_id: str
    due_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What is told to the outside. ``event_id``: the same for the same thing, however often it is told. ``details``:
    without anybody's id."""

    event_id: str
    kind: str
    at: datetime
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """What erasing one target would find. ``count``: what would be erased, redacted or detached; ``None``: not counted
    (a table would have to be scanned), or unknown (``problem`` says why). ``more``: there are more than ``count``.
    ``kept``: what would stay, retained or blocked. ``problem``: the fixed code with which the target would fail."""

    target: str
    category: str
    action: str
    count: int | None
    more: bool = False
    kept: Kept = NOTHING_KEPT
    basis: str | None = None
    problem: str | None = None


class DeleteIdStore(Protocol):
    def put(self, delete_id_digest: str, subject_digest: str, expires_at: datetime) -> datetime:
        """Remember a delete id; returns until when it is valid (an equal one put earlier keeps its time)."""


class AcceptanceStore(Protocol):
    """Accepting is one thing: all of an :class:`Acceptance` is written, or nothing."""

    def accept(
        self,
        acceptance: Acceptance,
        now: datetime,
        idempotency: IdempotencyRecord | None = None,
        batch: Batch | None = None,
    ) -> None:
        """One transaction. A request with this id that is there already was written by an earlier try: no error.

        Raises ``DeleteIdRejectedError``, ``AlreadyOpenError``, ``AlreadyDeletedError`` (there is a tombstone),
        ``IdempotencyKeyUsedError`` (only with ``idempotency``, which is written complete), ``UnavailableError``.
        """

    def accept_all(self, acceptances: Sequence[Acceptance], batch: Batch, now: datetime) -> None:
        """Any number, in as few transactions as the engine allows, the batch with the first. Each acceptance is whole;
        repeating the call with the same requests completes it. Neither looks for open requests nor for tombstones."""

    def find_idempotency(self, key_digest: str) -> IdempotencyRecord | None: ...


class IdempotencyStore(Protocol):
    def begin(self, record: IdempotencyRecord, now: datetime) -> IdempotencyRecord:
        """Write the record unless its key is taken (and not expired); returns what is there then."""

    def finish(self, key_digest: str, result: str) -> None:
        """Note what came of the call."""

    def give_up(self, key_digest: str, run_id: str) -> None:
        """Forget this run, unless something came of it: the key is free again."""


class RequestStore(Protocol):
    def get(self, request_id: str) -> ErasureRequest | None: ...

    def get_many(self, request_ids: Sequence[str]) -> dict[str, ErasureRequest]:
        """Those that exist, by id; strongly consistent, in as few calls as the engine allows."""

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int, job_id: str, attempt: int) -> bool:
        """Claim the request for a job: ``requested`` to ``started``, or ``started`` and claimed by an earlier attempt.

        Also true if this very job has claimed it before; false in any other state, before ``not_before``, and if a
        job of the same or a later attempt has it.
        """

    def note_identifiers(
        self,
        request: ErasureRequest,
        job_id: str,
        identifiers: Mapping[str, Sequence[str]],
        hold_digests: Sequence[str] = (),
    ) -> bool:
        """Write down the subject's further ids, all that are known by now, before anything of it is erased: they go
        with the first items. ``hold_digests``: theirs. False if the request is not the job's (any more)."""

    def wait_for_scan(self, request: ErasureRequest, job_id: str, scan_at: datetime) -> bool:
        """Note when the tables without an index are scanned for the request, and put it on the list of those that wait.
        The time that it has already stays. False if the request is not the job's (any more)."""

    def cancel(self, request: ErasureRequest, entry: AuditEntry, clock_at: datetime | None = None) -> bool:
        """``requested`` to ``cancelled``, with its audit entry, both or neither; false in any other state.
        ``clock_at``: when it is purged; ``None``: at its ``purged_by``."""

    def close(
        self,
        request: ErasureRequest,
        job_id: str,
        outcomes: Sequence[TargetOutcome],
        now: datetime,
        entry: AuditEntry,
        *,
        finished: bool,
        attention: bool,
        scanned: bool = False,
        follow_up_at: datetime | None = None,
        clock_at: datetime | None = None,
    ) -> bool:
        """Write a job's outcomes and the audit entry, both or neither, once for each job.

        ``scanned``: nothing has to be scanned for it any more. ``finished``: ``started`` to ``finished``; otherwise
        the request stays ``started``, with or without ``attention``. False if this job has done so before or the
        request is no longer ``started``. ``follow_up_at``: noted, and the request goes on the list of those that wait.
        ``clock_at``: when the clock has to look at it next; ``None``: as it is, or when it is purged if it is finished.
        """

    def rows(
        self, tenant_id: str, state: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        """Requests of a tenant in a state, newest first (by id, which sorts by time), those older than the request id
        ``before``; all of them without ``limit``. Eventually consistent."""

    def rows_of_subject(
        self, subject_digest: str, *, before: str | None = None, limit: int | None = None
    ) -> list[RequestRow]:
        """The same, of a subject, in whatever state."""

    def batch(self, batch_id: str) -> Batch | None: ...

    def due(self, now: datetime, limit: int) -> list[str]:
        """Requests whose ``not_before``, ``scan_at`` or ``follow_up_at`` has come, as long as they are on the list of
        those that wait, oldest first."""

    def release(self, request: ErasureRequest, now: datetime) -> bool:
        """Take a due request off the list of those that wait, and write its tombstone if it leaves one. False if
        somebody else did, or the request is no longer ``requested``. Sending it off comes before: twice is harmless."""

    def end_waiting_for_follow_up(self, request: ErasureRequest, follow_up_id: str | None) -> bool:
        """Take a request off the list whose ``follow_up_at`` has come, and note its follow-up (``None``: it has none).
        False if somebody else did."""


class ClockStore(Protocol):
    """What the functions that run by the clock read and write of requests, in the Requests table as well.

    Lists come from an index that lags: every change is made under the condition that the request still is as it was
    read, so that two that run at once, or one that comes late, do everything once. Changes that return False have found
    it otherwise.
    """

    def open_due(self, now: datetime, limit: int) -> list[str]:
        """Open requests, not held, whose ``clock_at`` has come, oldest first. Reads no others."""

    def held(self, limit: int) -> list[str]:
        """Requests that are held, the longest held first."""

    def ended_due(self, now: datetime, limit: int) -> list[str]:
        """Ended requests whose ``clock_at`` has come, oldest first. Reads no others."""

    def open_rows(self) -> Iterator[ClockRow]:
        """All open requests, held ones included."""

    def ended_rows(self) -> Iterator[ClockRow]:
        """All that have ended and are not purged: those whose subject's id is still known."""

    def sla_rows(self, tenant_id: str, state: str, limit: int) -> list[SlaRow]:
        """Of a tenant's requests in a state the newest ``limit``, newest first."""

    def look_again(
        self,
        request: ErasureRequest,
        clock_at: datetime,
        *,
        tries: int | None = None,
        sla_told: int | None = None,
        parked_at: datetime | None = None,
        anew: bool = False,
    ) -> bool:
        """Set when it is looked at next, and what else is named, if it is in the state, and its ``clock_at`` is, as
        read. ``anew``: ``tries`` and ``parked_at`` start anew."""

    def raise_level(self, request: ErasureRequest, level: int, entries: Sequence[AuditEntry]) -> bool:
        """Note ``sla_level``, if it is open, not held, and its level lower, with the audit entries: all or nothing.
        Raises ``UnavailableError`` if the trail has gone on: read it again."""

    def hold(self, request: ErasureRequest, hold_id: str, now: datetime, entry: AuditEntry) -> bool:
        """``requested`` or ``started`` to ``held``, off the list of those that wait, ``scan_at`` forgotten. Raises
        ``UnavailableError`` if the trail has gone on."""

    def resume(self, request: ErasureRequest, now: datetime, clock_at: datetime, entry: AuditEntry) -> bool:
        """``held`` to ``requested``: ``due_at``, ``purged_by`` and ``paused_seconds`` move by the time for which its
        promise was paused, and a ``not_before`` that is still to come puts it back on the list of those that wait.
        ``tries`` and ``parked_at`` start anew. Raises ``UnavailableError`` if the trail has gone on."""

    def expedite(self, request: ErasureRequest, now: datetime, changed: ErasureRequest, entry: AuditEntry) -> bool:
        """Take over ``not_before`` (now), ``due_at``, ``purged_by``, ``paused_seconds`` and ``clock_at`` of
        ``changed``, if it is ``requested`` and waits for its time still; off the list of those that wait, with its
        tombstone if it leaves one. Raises ``UnavailableError`` if the trail has gone on."""

    def note_second_look(
        self, request: ErasureRequest, clock_at: datetime, late_arrivals: int, followed_by: str | None
    ) -> bool:
        """Write down what the second look came to, and when the record is purged."""

    def purge(self, request: ErasureRequest, now: datetime, entry: AuditEntry) -> bool:
        """Take the subject's id and all that identifies it out of the record, and the request off every list: unless
        it is held, and if its job is the one that was read. Raises ``UnavailableError`` if the trail has gone on."""


class HoldReader(Protocol):
    def held(self, marks: Sequence[str]) -> dict[str, str]:
        """Those of the keyed digests by which a hold in force names somebody, with the id of one such hold. Strongly
        consistent."""


class HoldStore(HoldReader, Protocol):
    def get(self, tenant_id: str, subject_digest: str) -> Hold | None:
        """Strongly consistent."""

    def put(self, hold: Hold, replaced: Hold | None) -> bool:
        """Write a hold with its marks, in the place of ``replaced``; false if that is not what is there."""

    def lift(self, hold: Hold) -> bool:
        """Take the hold and its marks away; false if it is not there (any more). Marks of other holds stay."""

    def ended(self, now: datetime, limit: int) -> list[Hold]:
        """Holds whose ``until`` has come."""

    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Hold]:
        """In the order of their subjects' digests, those behind the digest ``after``."""


class TaskStore(Protocol):
    def create_job(self, job_id: str, job: PinnedJob, data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        """Write the job and its tasks. What exists already stays as it is, so planning again resets nothing.

        Raises ``UnavailableError`` if the job was planned with something else by now: plan again.
        """

    def pinned(self, job_id: str) -> PinnedJob | None:
        """What the job was planned with, if it was planned before."""

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]: ...

    def begin_slice(self, task: Task, slice_id: str) -> Task:
        """Mark the task as being worked on; returns it as it is then. An earlier slice still marked died: its pending
        parts get ``at_least``. Raises ``SliceLostError``, also if the task has changed since it was read."""

    def note_progress(self, task: Task, slice_id: str, parts: Sequence[Part]) -> None:
        """Write counts down while the slice goes on. ``task``: what ``begin_slice`` returned. ``SliceLostError``."""

    def end_slice(self, task: Task, slice_id: str, parts: Sequence[Part], cursor: int = 0) -> None:
        """Write what the slice made of the parts, and the ``cursor`` of a scan, and take the mark away.
        ``SliceLostError``."""

    def set_verified(self, task: Task, parts: Sequence[Part], cursor: int = 0) -> None:
        """What verification found, written only if the task is as it was read and not being worked on.
        ``SliceLostError``."""


class DataMapStore(Protocol):
    def current(self) -> PinnedMap | None: ...

    def version(self, version: int) -> PinnedMap | None: ...


class AuditLog(Protocol):
    def append(
        self, request_id: str, event: str, at: datetime, details: dict[str, object], *, event_id: str | None = None
    ) -> AuditEntry:
        """Append an event, once per ``event_id`` (default: the event's name); returns its entry."""

    def entries(self, request_id: str) -> list[AuditEntry]: ...


class SubjectRegistry(Protocol):
    """Tombstones and disabled accounts, by subject digest. Tombstones are written by accepting and releasing."""

    def standing(self, subject_digest: str) -> Standing: ...

    def tombstones(self, subject_digests: Sequence[str]) -> dict[str, Tombstone]:
        """Those of the subjects that have one."""

    def make_effective(self, subject_digest: str, request_id: str, now: datetime) -> None:
        """Note on this request's tombstone that account, sessions and credentials are gone."""

    def disable(self, subject_digest: str, disabled: Disabled) -> None:
        """Write it down, replacing what was there."""

    def enable(self, subject_digest: str) -> None: ...


class SuppressionStore(Protocol):
    """The suppression list. Entries are written by accepting."""

    def get(self, tenant_id: str, subject_digest: str) -> Suppression | None:
        """One strongly consistent read: fit for a path on which data comes in."""

    def list(self, tenant_id: str, *, after: str | None, limit: int) -> list[Suppression]:
        """In the order of their digests, those behind the digest ``after``."""

    def delete(self, tenant_id: str, subject_digest: str) -> bool:
        """False if it was not on the list."""


class TenantSettingsStore(Protocol):
    def grace(self, tenant_id: str) -> timedelta:
        """How long the tenant's requests wait before they are started, unless they say themselves; zero: not at all.
        Strongly consistent."""

    def set_grace(self, tenant_id: str, grace: timedelta) -> None:
        """``grace``: whole hours."""


class KeyStore(Protocol):
    def get(self, key_id: str) -> ApiKey | None: ...

    def put(self, key: ApiKey) -> bool:
        """Write a new key; false if there is one with this id already."""

    def revoke(self, key_id: str, now: datetime) -> bool:
        """False if there is no such key. Revoking twice keeps the first time."""

    def touch(self, key_id: str, day: str) -> None:
        """Note the day of its last use."""

    def list(self, tenant_id: str) -> list[ApiKey]:
        """All keys of a tenant (or of the platform), revoked ones included."""


class RateCounter(Protocol):
    def count(self, key_id: str, window: int, now: datetime) -> int:
        """Count a call of this key in the minute ``window`` (epoch minutes); returns how many there are now."""


class JobQueue(Protocol):
    def send(self, request_ids: Sequence[str], attempt: int, *, delay_seconds: int = 0) -> None:
        """One message for all of them. Raises ``UnavailableError``."""


class Workflow(Protocol):
    def start(self, job_id: str, request_ids: Sequence[str], attempt: int) -> bool:
        """Start the execution named after the job; false if it had been started before."""


class Executions(Protocol):
    def is_living(self, job_id: str) -> bool:
        """Whether the job's execution has been started and has not ended. Raises ``UnavailableError``."""


class EventBus(Protocol):
    def put(self, events: Sequence[Event]) -> None:
        """Tell of all of them. Raises ``UnavailableError`` if any was not taken; those may be told again."""


class DeadLetters(Protocol):
    def receive(self) -> list[tuple[str, str]]:
        """A few of the messages that nobody could work on: a handle and the body of each. They come back unless they
        are dropped."""

    def drop(self, handle: str) -> None: ...


class Functions(Protocol):
    """The workers, called directly where a caller waits for what they do."""

    def call(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """``function``: ``erase_dynamodb``, ``erase_s3`` or ``verify_target``. Returns its answer; raises
        ``UnavailableError`` if there is none."""


class AccountReader(Protocol):
    def exists(self, subject: Subject, specs: Sequence[TargetSpec]) -> bool:
        """Whether any of the targets holds something of the subject now. Raises ``UnavailableError``."""


class DataReader(Protocol):
    """What is known of the application's data without changing it: the verifier, which may read it, is asked."""

    def identify(
        self, subjects: Sequence[Subject], rules: Sequence[IdentifierRule]
    ) -> list[dict[str, tuple[str, ...]]]:
        """For each subject, the values of each identifier by name, none at all if there are none. An identifier that
        cannot be read for this subject, now or later (its source is missing, cannot be named safely, or holds too much)
        is left out: whether there are values is not known. Raises ``UnavailableError`` if reading again may help."""

    def preview(self, subject: Subject, organization_ids: Sequence[str], data_map: PinnedMap) -> list[Preview]:
        """What erasing would find in each of the map's targets, which are those to look at; they, and the sources of
        the identifiers, have their neighbours ``beside`` them. Raises
        ``UnavailableError`` if there is no answer at all; what could not be read of a target stands in its preview."""

    def shards(self, specs: Sequence[TargetSpec]) -> dict[str, tuple[Shard, ...]]:
        """The shards in which each of these targets is scanned, by name. Raises ``UnavailableError``."""
