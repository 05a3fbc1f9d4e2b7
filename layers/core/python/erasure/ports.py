"""What the use cases need from the outside, as protocols. ``erasure.adapters`` has the AWS side, tests have fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from erasure.domain.audit import AuditEntry
from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import Task
from erasure.domain.request import ErasureRequest
from erasure.domain.target_spec import TargetSpec

Clock = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What an idempotency key stands for: the digest of the body that came with it and the request it led to."""

    key_digest: str
    body_digest: str
    request_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PinnedMap:
    """The data map as a job uses it."""

    version: int
    digest: str
    targets: tuple[TargetSpec, ...]


class DeleteIdStore(Protocol):
    def put(self, delete_id_digest: str, subject_digest: str, expires_at: datetime) -> datetime:
        """Remember a delete id; returns until when it is valid (an equal one put earlier keeps its time)."""


class AcceptanceStore(Protocol):
    """Consuming a delete id and creating the request is one thing: both happen or neither."""

    def accept(
        self,
        delete_id_digest: str,
        request: ErasureRequest,
        entry: AuditEntry,
        now: datetime,
        idempotency: IdempotencyRecord | None,
    ) -> None:
        """Raises ``DeleteIdRejectedError``; with ``idempotency``, ``IdempotencyKeyUsedError`` if its key is taken."""

    def find_idempotency(self, key_digest: str) -> IdempotencyRecord | None: ...


class RequestStore(Protocol):
    def get(self, request_id: str) -> ErasureRequest | None: ...

    def start(self, request: ErasureRequest, now: datetime, data_map_version: int) -> bool:
        """``requested`` to ``started``; also true if ``request`` is started already, false in any other state."""

    def cancel(self, request: ErasureRequest, entry: AuditEntry) -> bool:
        """``requested`` to ``cancelled``, with its audit entry, both or neither; false in any other state."""

    def close(
        self,
        request: ErasureRequest,
        job_id: str,
        outcomes: Sequence[TargetOutcome],
        now: datetime,
        entry: AuditEntry,
        *,
        finished: bool,
    ) -> bool:
        """Write a job's outcomes and the audit entry, both or neither, once for each job.

        False if this job has done so before or the request is no longer ``started``.
        """


class TaskStore(Protocol):
    def create_job(self, job_id: str, request_ids: Sequence[str], data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        """Write the job and its tasks. What exists already stays as it is, so planning again resets nothing.

        Raises ``UnavailableError`` if the job is pinned to another version of the map by now: plan again.
        """

    def pinned_version(self, job_id: str) -> int | None:
        """The data-map version that the job pinned, if it was planned before."""

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]: ...

    def begin_slice(self, task: Task, slice_id: str) -> Task:
        """Mark the task as being worked on; returns it as it is then. An earlier slice still marked died:
        ``at_least`` is set. Raises ``SliceLostError``, also if the task is not ``pending`` any more."""

    def add_erased(self, task: Task, slice_id: str, count: int) -> None:
        """Count deletions while the slice goes on. ``task``: what ``begin_slice`` returned; ``count``: all so far."""

    def end_slice(self, task: Task, slice_id: str, *, count: int, status: str, stalls: int, reason: str | None) -> None:
        """``task`` and ``count`` as for ``add_erased``."""

    def set_verified(self, task: Task, *, status: str, rounds: int, stalls: int, reason: str | None) -> None:
        """What verification found, written only while the task is ``erased`` and not being worked on."""


class DataMapStore(Protocol):
    def current(self) -> PinnedMap | None: ...

    def version(self, version: int) -> PinnedMap | None: ...


class AuditLog(Protocol):
    def append(
        self, request_id: str, event: str, at: datetime, details: dict[str, object], *, event_id: str | None = None
    ) -> AuditEntry:
        """Append an event, once per ``event_id`` (default: the event's name); returns its entry."""

    def entries(self, request_id: str) -> list[AuditEntry]: ...


class JobQueue(Protocol):
    def send(self, request_id: str, attempt: int) -> None: ...


class Workflow(Protocol):
    def start(self, job_id: str, request_ids: Sequence[str]) -> bool:
        """Start the execution named after the job; false if it had been started before."""
