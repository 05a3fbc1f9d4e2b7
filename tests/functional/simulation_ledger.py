"""What must be true in the simulation, written down as things happen and independently of the service's own records."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from erasure.domain.audit import AuditEntry
from erasure.domain.clock import moment_of_level
from erasure.domain.outcome import FINAL_OUTCOMES
from erasure.domain.plan import targets_for
from erasure.domain.request import CANCELLED, FINISHED, HELD, REPLAY, STARTED, TRANSITIONS, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from tests.functional.simulation_faults import Gate, Invocation
from tests.functional.simulation_world import LETTERS, Thing, World

TOLERANCE = timedelta(minutes=10)
"""Clocks of two functions may differ by so much at most, and more."""


_ID = re.compile(rb"[um]\d{6}(?!\d)")


class ViolationError(AssertionError):
    """Something that may never happen has happened. The text says in which run."""


@dataclass(slots=True)
class Slice:
    """A call of an eraser. ``number``: when it began."""

    job_id: str
    number: int


@dataclass(slots=True)
class Standing:
    """A hold that is in force: whose data must stay. ``emails``: further ids by which it names people."""

    number: int
    owners: frozenset[Subject]
    emails: frozenset[str]
    until: datetime | None


@dataclass(slots=True)
class Claim:
    """``had_account``: then the further ids could be read."""

    job_id: str
    number: int
    had_account: bool


@dataclass
class Ledger:
    """``found``: what has happened that may not. ``is_living``: whether a job's execution is. ``trail``: of a
    request. ``forgotten``: requests of which nothing is known any more, as has been looked at."""

    gate: Gate
    world: World
    records: Mapping[str, ErasureRequest]
    is_living: Callable[[str], bool]
    trail: Callable[[str], list[AuditEntry]]
    found: list[str] = field(default_factory=list)
    subjects: dict[str, Subject] = field(default_factory=dict)
    asked: dict[Subject, list[str]] = field(default_factory=dict)
    claims: dict[str, list[Claim]] = field(default_factory=dict)
    first_claim: dict[str, int] = field(default_factory=dict)
    holds: dict[str, Standing] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    erased: Counter[str] = field(default_factory=Counter)
    forgotten: set[str] = field(default_factory=set)
    taken_over_alive: int = 0

    def __post_init__(self) -> None:
        self._covers: dict[object, tuple[TargetSpec, ...]] = {}

    def wrong(self, text: str, request_id: str | None = None) -> None:
        self.found.append(f"{self.gate.time:%m-%d %H:%M:%S} {text} {self.told_of(request_id) if request_id else ''}")

    def told_of(self, request_id: str) -> str:
        """What is known of a request, for whoever has to find out what went wrong."""
        record = self.records[request_id]
        names = ("state", "attention", "family", "categories", "purpose", "only_targets", "requested_at", "not_before")
        times = (
            "started_at",
            "closed_at",
            "finished_at",
            "due_at",
            "purged_by",
            "purged_at",
            "scan_at",
            "follow_up_at",
        )
        clock = ("clock_at", "tries", "parked_at", "sla_level", "sla_told", "held_at", "paused_seconds", "job_id")
        known = {name: getattr(record, name) for name in (*names, *times, *clock)}
        lines = [f"{name}={value}" for name, value in known.items() if value]
        lines += [f"{told.target}: {told.outcome} {told.reason or ''}" for told in record.outcomes]
        lines += [f"{entry.at} {entry.event_id} {dict(entry.details)}"[:160] for entry in self.trail(request_id)]
        return "\n    ".join([request_id, *lines])

    # As it happens

    def on_record(self, before: ErasureRequest | None, after: ErasureRequest) -> None:
        request_id = after.request_id
        if before is None:
            self.subjects[request_id] = after.subject
            self.asked.setdefault(after.subject, []).append(request_id)
            return
        if before.state != after.state and after.state not in TRANSITIONS[before.state]:
            self.wrong(f"{before.state} became {after.state}", request_id)
        if before.state != STARTED and after.state == STARTED:
            self.first_claim[request_id] = self.gate.sequence
        if before.job_id != after.job_id:
            self._on_claim(before, after)
        if before.state != FINISHED and after.state == FINISHED:
            self._on_finished(after)
        if after.sla_level > before.sla_level:
            self._on_level(before, after)
        if after.purged_at is not None and before.purged_at is None:
            self._on_purged(before)

    def _on_claim(self, before: ErasureRequest, after: ErasureRequest) -> None:
        request_id = after.request_id
        assert after.job_id is not None
        # A person may ask for another attempt whenever they like, and what was late may come after what replaced it.
        self.taken_over_alive += self._is_worked_on(before)
        person = self.world.people[self.subjects[request_id].id]
        claim = Claim(after.job_id, self.gate.next_number(), self.world.has_account(person))
        self.claims.setdefault(request_id, []).append(claim)

    def on_sent(self, sender: Invocation, request_ids: Sequence[str], attempt: int) -> None:
        """Before the message is."""
        if sender.name != "sla_watch":
            return
        for request_id in request_ids:
            record = self.records[request_id]
            is_beside = attempt > record.attempt and self._is_worked_on(record)
            # What was claimed while the watch was looking could not be seen.
            if is_beside and self.claims[request_id][-1].number < sender.number:
                self.wrong(f"the watch sends attempt {attempt} beside a living execution", request_id)

    def _is_worked_on(self, record: ErasureRequest) -> bool:
        job_id = record.job_id
        return bool(record.state == STARTED and job_id and job_id not in record.closed_jobs and self.is_living(job_id))

    def _on_finished(self, record: ErasureRequest) -> None:
        request_id = record.request_id
        if any(outcome.outcome not in FINAL_OUTCOMES for outcome in record.outcomes) or not record.outcomes:
            self.wrong("it calls itself finished without final outcomes", request_id)
        person = self.world.people[self.subjects[request_id].id]
        since, started_at = self.first_claim[request_id], (record.started_at or record.requested_at) - TOLERANCE
        for spec in self.covers(record):
            if spec.name == LETTERS and not self._could_be_identified(record):
                continue
            for thing in self.world.things(spec.name, person):
                was_locked = thing.locked_until is not None and thing.locked_until > started_at
                # After a restore, what came back has to go, and nothing else.
                is_meant = thing.restored or record.purpose != REPLAY
                if is_meant and not was_locked and thing.number < since:
                    self.wrong(f"it calls itself finished, and something is left in {spec.name}", request_id)

    def _could_be_identified(self, record: ErasureRequest) -> bool:
        """Whose account was gone already has no further ids that anybody could know; nor does a replay read any that
        the erasures which it follows did not know."""
        had_account = record.purpose != REPLAY and self.claims[record.request_id][0].had_account
        return had_account or any(record.identifiers.values())

    def _on_level(self, before: ErasureRequest, after: ErasureRequest) -> None:
        if before.state not in (STARTED, "requested"):
            self.wrong(f"an alarm of one that is {before.state}", after.request_id)
        if self.gate.time < moment_of_level(after, after.sla_level) - TOLERANCE:
            self.wrong(f"an alarm of {after.sla_level} % too early", after.request_id)

    def _on_purged(self, before: ErasureRequest) -> None:
        if before.state == HELD:
            self.wrong("one that is held was purged", before.request_id)

    def covers(self, record: ErasureRequest) -> tuple[TargetSpec, ...]:
        key = (record.family, record.categories, record.only_targets, record.subject.type)
        if key not in self._covers:
            data_map = self.world.data_map
            self._covers[key] = tuple(targets_for(record, data_map.targets, data_map.families))
        return self._covers[key]

    def on_erased(self, target: str, thing: Thing) -> None:
        """Right after the thing has gone."""
        self.erased[target] += 1
        if not self.slices:
            self.wrong(f"something in {target} went outside of any slice")
            return
        current = self.slices[-1]
        mine = [
            request_id
            for request_id in self.asked.get(thing.owner, ())
            if self._was_claimed(request_id, current)
            and any(spec.name == target for spec in self.covers(self.records[request_id]))
        ]
        if not mine:
            self.wrong(f"something in {target} went that no request of this job is about: {thing.owner.id}")
        for standing in self.holds.values():
            if standing.number < current.number and self._names(standing, thing.owner, mine):
                until = standing.until
                if until is None or self.gate.time < until - TOLERANCE:
                    self.wrong(f"something in {target} went although a hold stands: {thing.owner.id}", *mine[:1])

    def _was_claimed(self, request_id: str, current: Slice) -> bool:
        """Whether the request was the job's when the slice began."""
        before = [claim for claim in self.claims.get(request_id, ()) if claim.number < current.number]
        return bool(before) and before[-1].job_id == current.job_id and self.records[request_id].state != CANCELLED

    def _names(self, standing: Standing, owner: Subject, request_ids: list[str]) -> bool:
        if owner in standing.owners:
            return True
        # By a further id only whom a request knows by it.
        return any(
            standing.emails.intersection(values)
            for request_id in request_ids
            for values in self.records[request_id].identifiers.values()
        )


def ids_in(*stores: object) -> set[str]:
    """The ids of people, and their addresses, that stand anywhere in the stores, whatever a representation would show
    of them."""
    return {found.decode() for store in stores for found in _ID.findall(pickle.dumps(store))}
