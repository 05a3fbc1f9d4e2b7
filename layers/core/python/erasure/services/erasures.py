"""The one native way in for backends: create, look up, list, cancel, expedite and retry erasure requests.

Every wire family of :mod:`erasure.entry` is a translation of what is here.

Accepting: the requests are written first, then one message names them all. If either fails, what was written is
cancelled as far as it can be, and the caller is told that nothing was promised. A call that died in between is
completed by repeating it with its idempotency key: all ids follow from the run's id, and what is there already stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import milliseconds_of, new_batch_id
from erasure.domain.request import CANCELLED, HELD, REQUESTED, ErasureRequest
from erasure.domain.times import format_time, milliseconds, parse_time, time_of
from erasure.errors import (
    AlreadyDeletedError,
    AlreadyOpenError,
    ErasureError,
    HeldError,
    PlanChangedError,
    TransitionError,
    UnavailableError,
    WithdrawnError,
    places_of,
)
from erasure.ports import (
    Acceptance,
    AcceptanceStore,
    AuditLog,
    Batch,
    Clock,
    ClockStore,
    DataMapStore,
    IdempotencyStore,
    JobQueue,
    RequestStore,
    SubjectRegistry,
    Tombstone,
)
from erasure.services.command_rules import check_command, first_entry, refusal_of
from erasure.services.commands import (
    ACCEPTED,
    ALREADY_DELETED,
    ALREADY_OPEN,
    MAX_SUBJECTS,
    REFUSED,
    Accepted,
    Disposition,
    ErasureCommand,
    ErasurePolicy,
    IdempotencyClaim,
    PlannedTarget,
    SubjectPlan,
)
from erasure.services.current_map import CurrentMap
from erasure.services.drafts import Draft, make_drafts, new_requests
from erasure.services.expedite import expedite
from erasure.services.idempotent import Idempotency
from erasure.services.requests_view import (
    BatchView,
    Page,
    RequestReader,
    RequestView,
    TargetProgress,
    TaskReader,
    outcome_progress,
)
from erasure.services.retries import keep, send_again, send_untaken, take_up
from erasure.services.tenant_settings import TenantSettings

__all__ = [
    "ACCEPTED",
    "ALREADY_DELETED",
    "ALREADY_OPEN",
    "MAX_SUBJECTS",
    "REFUSED",
    "Accepted",
    "BatchView",
    "Disposition",
    "ErasureCommand",
    "ErasurePolicy",
    "ErasureService",
    "IdempotencyClaim",
    "Page",
    "PlannedTarget",
    "RequestView",
    "SubjectPlan",
    "TargetProgress",
    "outcome_progress",
]

_CANCEL_TRIES = 3
_PARALLEL_CANCELS = 8

Fate = list[str]
"""What became of a subject, as it is kept for repetitions: a status, and the reason or the open request's id."""


_logger = logging.getLogger(__name__)


class ErasureService(RequestReader):
    """Made in :mod:`erasure.entry.wiring`. ``queue``: the batch lane; ``retry_queue``: the interactive one.

    All lookups are by tenant: what belongs to another tenant is a ``NotFoundError``, as what does not exist.
    """

    def __init__(
        self,
        *,
        acceptance: AcceptanceStore,
        requests: RequestStore,
        clock: ClockStore,
        tasks: TaskReader,
        registry: SubjectRegistry,
        data_maps: DataMapStore,
        audit: AuditLog,
        queue: JobQueue,
        retry_queue: JobQueue,
        idempotency: IdempotencyStore,
        settings: TenantSettings,
        digest_key: Callable[[], bytes],
        now: Clock,
        policy: ErasurePolicy | None = None,
        clock_policy: ClockPolicy | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(requests, tasks, audit, CurrentMap(data_maps, monotonic), digest_key, now)
        self._acceptance = acceptance
        self._clock = clock
        self._settings = settings
        self._registry = registry
        self._queue = queue
        self._retry_queue = retry_queue
        self._idempotency = Idempotency(idempotency, digest_key, now)
        self._policy = policy or ErasurePolicy()
        self._clock_policy = clock_policy or ClockPolicy()

    def create(self, command: ErasureCommand) -> Accepted:
        """Raises ``InvalidInputError`` (too many subjects, none, ``SubjectRefusedError``), ``AlreadyDeletedError`` (a
        single subject that leaves a tombstone and has one, if the command is strict), ``PlanChangedError``,
        ``IdempotencyMismatchError``, ``UnavailableError`` (nothing was promised; also if there is no data map yet)."""
        check_command(command)
        run_id = self._new_run_id()
        claim = command.idempotency
        if claim is None:
            result = self._accept(command, run_id, is_repeated=False)
        else:
            result = self._idempotency.run(
                command.tenant_id,
                claim.operation,
                claim.key,
                claim.body,
                run_id,
                lambda run: self._accept(command, run, is_repeated=run != run_id),
            )
        return self._answer(command, result)

    def plan(self, command: ErasureCommand) -> Sequence[SubjectPlan]:
        """What ``create`` would cover; nothing is written. Raises ``InvalidInputError`` (too many subjects, none),
        ``PlanChangedError``."""
        check_command(command)
        command = self._settings.with_grace(command, self._now())
        return [draft.as_plan() for draft in self._drafts(command, self._new_run_id())]

    def cancel(self, tenant_id: str, request_id: str, key_id: str) -> ErasureRequest:
        """Raises ``TransitionError`` unless it is ``requested`` (or cancelled already: then it is as before),
        ``HeldError`` if it is held."""
        for _ in range(_CANCEL_TRIES):
            # The trail first: if its next place is free when we write, the record is the latest one.
            entries = self._audit.entries(request_id)
            request = self._own(tenant_id, request_id)
            if request.state == CANCELLED:
                return request
            if request.state == HELD:
                raise HeldError("The request is under a legal hold and cannot be cancelled until that is lifted.")
            if request.state != REQUESTED:
                raise TransitionError(f"the request is {request.state}: it cannot be cancelled")
            last = entries[-1] if entries else None
            entry = next_entry(request_id, last, "cancelled", self._now(), {"reason": "asked_for", "key_id": key_id})
            try:
                if self._requests.cancel(request, entry, self._purge_at(request)):
                    return replace(request, state=CANCELLED)
            except UnavailableError:
                continue  # somebody wrote an audit entry in between: follow that one
        raise UnavailableError("the request was changed at the same moment")

    def retry(self, tenant_id: str, request_id: str, key_id: str, idempotency_key: str | None = None) -> int:
        """Send the request off again; returns the attempt's number. One that is parked is looked after by the clock
        again, as if it were new. Raises ``TransitionError`` when it is finished, cancelled or held, or waits for its
        time."""

        def send(run_id: str) -> int:
            request = self._own(tenant_id, request_id)
            take_up(request, clock=self._clock, now=self._now, policy=self._clock_policy)
            return send_again(
                request,
                audit=self._audit,
                queue=self._retry_queue,
                now=self._now,
                key_id=key_id,
                run_id=run_id,
            )

        attempt: int = self._idempotency.run(tenant_id, "retry", idempotency_key, request_id, self._new_run_id(), send)
        return attempt

    def expedite(self, tenant_id: str, request_id: str, key_id: str, idempotency_key: str | None = None) -> None:
        """Start a request at once that waits for its time. Raises ``TransitionError`` when it does not wait."""

        def start(run_id: str) -> None:
            expedite(
                request_id,
                lambda: self._own(tenant_id, request_id),
                clock=self._clock,
                audit=self._audit,
                queue=self._retry_queue,
                now=self._now,
                policy=self._policy,
                key_id=key_id,
                run_id=run_id,
            )

        self._idempotency.run(tenant_id, "expedite", idempotency_key, request_id, self._new_run_id(), start)

    def make_sure_of(self, request_ids: Sequence[str], delay_seconds: int = 0) -> set[str]:
        """See to it that accepted requests are sent off, and not taken back any more by the call that made them;
        returns those that have been: see :func:`erasure.services.retries.send_untaken`."""
        return send_untaken(
            request_ids,
            requests=self._requests,
            audit=self._audit,
            queue=self._queue,
            now=self._now,
            delay_seconds=delay_seconds,
        )

    def _new_run_id(self) -> str:
        return new_batch_id(milliseconds(self._now()))

    def _drafts(self, command: ErasureCommand, run_id: str, *, is_repeated: bool = False) -> list[Draft]:
        requests = new_requests(command, run_id, self._digest_key(), self._policy)
        data_map = self._map.get(now=command.plan_hash is not None)
        drafts = make_drafts(command, requests, data_map)
        # An earlier try of this call that has written its request was let in by the plan: what it began goes on.
        if command.plan_hash not in (None, drafts[0].plan_hash(data_map)) and not (
            is_repeated and self._requests.get(requests[0].request_id) is not None
        ):
            raise PlanChangedError("What would be erased has changed since the plan was made: make another one.")
        return drafts

    def _accept(self, command: ErasureCommand, run_id: str, *, is_repeated: bool) -> dict[str, Any]:
        """What came of the command, as it is kept for repetitions."""
        is_told_when = command.not_before is not None
        command = self._with_grace(command, run_id, is_repeated=is_repeated)
        drafts = self._drafts(command, run_id, is_repeated=is_repeated)
        deleted = self._deleted(command, drafts)
        fates: list[Fate] = []
        accepted: list[Draft] = []
        for draft in drafts:
            error = refusal_of(command, draft)
            if error is not None:
                fates.append([REFUSED, error])
            elif draft.request.subject_digest in deleted:
                fates.append([ALREADY_DELETED])
            else:
                fates.append([ACCEPTED])
                accepted.append(draft)
        if accepted:
            other_fate = self._take(command, run_id, accepted, is_repeated=is_repeated)
            if other_fate is not None:
                fates, accepted = [other_fate], []
        result = {"run_id": run_id, "fates": fates, "tasks": sum(len(draft.targets) for draft in accepted)}
        if command.not_before is not None and not is_told_when:
            result["not_before"] = format_time(command.not_before)
        return result

    def _with_grace(self, command: ErasureCommand, run_id: str, *, is_repeated: bool) -> ErasureCommand:
        """The command with the time that its tenant has set; of a repeated call, as it was when it came first."""
        if is_repeated and command.takes_grace and command.not_before is None:
            requests = new_requests(command, run_id, self._digest_key(), self._policy)
            written = self._requests.get_many([request.request_id for request in requests])
            if written:
                # The trail tells it: a request that was expedited meanwhile has another time.
                moment = self._audit.entries(min(written))[0].details.get("not_before")
                return command if moment is None else replace(command, not_before=parse_time(moment))
        return self._settings.with_grace(command, time_of(milliseconds_of(run_id)))

    def _deleted(self, command: ErasureCommand, drafts: Sequence[Draft]) -> set[str]:
        """The digests of subjects that count as deleted already, other than by this very call."""
        # A single one that leaves its tombstone at once finds out while it is written.
        if not command.leaves_tombstone or (len(drafts) == 1 and drafts[0].request.not_before is None):
            return set()
        own = {draft.request.subject_digest: draft.request.request_id for draft in drafts}
        found = self._tombstones(list(own))
        deleted = {digest for digest, tombstone in found.items() if tombstone.request_id != own[digest]}
        if deleted and command.strict and len(drafts) == 1:
            raise AlreadyDeletedError("the subject has been deleted")
        return deleted

    def _tombstones(self, subject_digests: Sequence[str]) -> dict[str, Tombstone]:
        """Those that there are. Whoever hears of one takes the subject for deleted: its request must not be lost."""
        found = self._registry.tombstones(subject_digests)
        fresh = [tombstone.request_id for tombstone in found.values() if tombstone.effective_at is None]
        taken_back = self.make_sure_of(fresh)
        return {digest: tombstone for digest, tombstone in found.items() if tombstone.request_id not in taken_back}

    def _take(self, command: ErasureCommand, run_id: str, drafts: Sequence[Draft], *, is_repeated: bool) -> Fate | None:
        """Write and queue the requests. Returns the fate of a single one that turns out not to be taken."""
        requests = [draft.request for draft in drafts]
        entries = {request.request_id: first_entry(request, command.key_id) for request in requests}
        try:
            self._write(command, run_id, drafts, entries)
        except AlreadyOpenError as error:
            if self.make_sure_of([error.request_id]):
                raise UnavailableError("the open request was cancelled at the same moment") from None
            return [ALREADY_OPEN, error.request_id]
        except AlreadyDeletedError:
            if command.strict:
                raise
            if not self._tombstones([requests[0].subject_digest]):
                raise UnavailableError("the other deletion was cancelled at the same moment") from None
            return [ALREADY_DELETED]
        except Exception as error:
            if not isinstance(error, ErasureError):
                _logger.error("requests were not written: %s at %s", type(error).__name__, places_of(error))
            if is_repeated:  # what an earlier try has written may have been promised by it: only more of this helps
                raise UnavailableError("the requests could not be written") from error
            self._withdraw(requests, entries)
            raise WithdrawnError("the requests could not be written") from error
        if is_repeated:
            self._keep(requests, entries)
        if requests[0].not_before is None:
            self._enqueue(command, requests, entries, is_repeated=is_repeated)
        return None

    def _keep(self, requests: Sequence[ErasureRequest], entries: dict[str, AuditEntry]) -> None:
        """An earlier try of this call, which may be under way still, must not take them back any more. Raises
        ``WithdrawnError`` if it has: "accepted" would be a lie."""
        if CANCELLED not in self._states(requests):
            keep(list(entries), audit=self._audit, now=self._now)
            if CANCELLED not in self._states(requests):
                return
        self._withdraw(requests, entries)
        raise WithdrawnError("an earlier try of this call was taken back")

    def _write(
        self, command: ErasureCommand, run_id: str, drafts: Sequence[Draft], entries: dict[str, AuditEntry]
    ) -> None:
        acceptances = [
            Acceptance(
                draft.request,
                entries[draft.request.request_id],
                only_one_open=command.only_one_open,
                suppress=command.suppress,
            )
            for draft in drafts
        ]
        batch = Batch(
            run_id,
            command.tenant_id,
            command.family,
            tuple(entries),
            sum(len(draft.targets) for draft in drafts),
            drafts[0].request.requested_at,
        )
        now = self._now()
        if len(command.different_subjects()) > 1:
            self._acceptance.accept_all(acceptances, batch, now)
        else:
            self._acceptance.accept(acceptances[0], now, batch=batch if command.named_batch else None)

    def _enqueue(
        self,
        command: ErasureCommand,
        requests: Sequence[ErasureRequest],
        entries: dict[str, AuditEntry],
        *,
        is_repeated: bool,
    ) -> None:
        try:
            self._queue.send(list(entries), 1, delay_seconds=command.delay_seconds)
        except UnavailableError as error:
            if is_repeated:
                raise  # the earlier try may have sent it, and said so
            # Nobody would pick the requests up, so they must not stay open. If the message was sent after all and only
            # the answer was lost, planning leaves out what is cancelled.
            self._withdraw(requests, entries)
            states = self._states(requests)
            if not states & {REQUESTED, CANCELLED}:
                return  # all have started: the message did arrive
            if CANCELLED not in states:
                raise  # another call has kept them: repeated, this one completes what there is
            raise WithdrawnError("the requests could not be queued") from error

    def _states(self, requests: Sequence[ErasureRequest]) -> set[str]:
        records = self._requests.get_many([request.request_id for request in requests])
        return {record.state for record in records.values()}

    def _withdraw(self, requests: Sequence[ErasureRequest], entries: dict[str, AuditEntry]) -> None:
        """Cancel what can be cancelled. Failing here leaves requests that were not promised."""

        def cancel(request: ErasureRequest) -> None:
            last = entries[request.request_id]
            entry = next_entry(request.request_id, last, "cancelled", self._now(), {"reason": "not_queued"})
            with suppress(Exception):
                self._requests.cancel(request, entry, self._purge_at(request))

        with ThreadPoolExecutor(_PARALLEL_CANCELS) as pool:
            for request in requests:
                pool.submit(cancel, request)

    def _answer(self, command: ErasureCommand, result: dict[str, Any]) -> Accepted:
        if "not_before" in result:
            command = replace(command, not_before=parse_time(result["not_before"]))
        requests = new_requests(command, result["run_id"], self._digest_key(), self._policy)
        return Accepted(
            batch_id=result["run_id"],
            dispositions=tuple(
                self._disposition(request, fate) for request, fate in zip(requests, result["fates"], strict=True)
            ),
            tasks=result["tasks"],
        )

    def _purge_at(self, request: ErasureRequest) -> datetime:
        return self._clock_policy.purge_at(request.purged_by, self._now())

    def _disposition(self, request: ErasureRequest, fate: Fate) -> Disposition:
        status, *rest = fate
        if status == ACCEPTED:
            return Disposition(request.subject, status, request)
        if status == ALREADY_OPEN:
            return Disposition(request.subject, status, self._own(request.subject.tenant_id, rest[0]))
        return Disposition(request.subject, status, reason=rest[0] if rest else None)
