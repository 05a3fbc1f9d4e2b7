"""A hundred days of the service in a minute: people, what they ask for, the schedules, and everything that goes wrong.

A discrete-event simulation with a clock of its own, over the real use cases. One seed is one course of events. Faults
stop on the last day on which anybody asks for anything; then the service has to put everything right by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import new_batch_id
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import milliseconds
from erasure.errors import ErasureError, NotFoundError, UnavailableError
from erasure.ports import Hold
from erasure.services.commands import ACCEPTED, ErasureCommand, ErasurePolicy, IdempotencyClaim
from erasure.services.holds import HoldCommand
from tests.functional.simulation_checks import check_end, check_nowhere, check_purged, check_watched
from tests.functional.simulation_engine import Agenda
from tests.functional.simulation_faults import QUIET, Chaos, Gate, Invocation, Killed, one_course
from tests.functional.simulation_ledger import Standing, ViolationError
from tests.functional.simulation_restores import Restores
from tests.functional.simulation_service import DIGEST_KEY, SWEEP_SECONDS, Service
from tests.functional.simulation_world import ACCOUNTS, FILES, HISTORY, LETTERS, NOTES, Person, Thing, World

START = datetime(2026, 3, 1, tzinfo=UTC)
TENANTS = ("acme", "globex")
BYSTANDERS = 25


@dataclass(frozen=True)
class Scenario:
    """``days``: on which people ask for ``requests`` erasures in all, and things go wrong. ``purge_days``,
    ``sla_hours``: the service's. ``watch_minutes``, ``sweep_minutes``: between runs of the schedules."""

    seed: int
    requests: int
    days: int
    purge_days: int = 90
    sla_hours: int = 72
    watch_minutes: int = 10
    sweep_minutes: int = 30
    chaos: Chaos = field(default_factory=Chaos)

    def __str__(self) -> str:
        return f"ERASURE_SIMULATION_SEED={self.seed}: {self.requests} requests in {self.days} days"


class Simulation:
    """``service`` may be tampered with before ``run``: that is how a test shows that it can fail."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)  # noqa: S311 - a course of events that can be repeated
        self.gate = Gate(self.rng, scenario.chaos, START)
        self.agenda = Agenda(self.gate)
        self.world = World(self.gate)
        policy = ErasurePolicy(scenario.sla_hours, scenario.purge_days)
        self.service = Service(self.gate, self.world, self.agenda, policy, ClockPolicy(scenario.sla_hours))
        self.service.settings.set_grace(TENANTS[1], timedelta(hours=30))
        self.service.holds.on_put = self._note_hold
        self.service.holds.on_lift = self._note_lift
        self.ledger = self.service.ledger
        self.restores = Restores(self)
        self.calm_at = START + timedelta(days=scenario.days)
        self.bystanders: list[Person] = []
        self.outages: list[tuple[datetime, datetime]] = []
        self.written_late: list[tuple[str, Thing]] = []
        self.asked = 0
        self.refused = 0
        self.sweeps = 0
        self._held_by: dict[str, tuple[frozenset[Subject], frozenset[str]]] = {}

    @property
    def rng_time(self) -> datetime:
        """A moment while things go wrong."""
        return START + timedelta(days=self.scenario.days) * self.rng.random()

    def run(self) -> Simulation:
        """Raises :class:`ViolationError`."""
        with one_course(self.rng):
            self._prepare()
            horizon = self.calm_at + timedelta(days=self.scenario.purge_days + 40)
            self._run_until(self.calm_at)
            self._fail_if_wrong(check_nowhere(self))
            self.gate.chaos = QUIET
            while self._run_until(self.gate.time + timedelta(days=5)) and self.gate.time < horizon:
                self._fail_if_wrong(check_purged(self))
                if not self._is_anything_left():
                    break
            self._fail_if_wrong(check_end(self))
        return self

    def figures(self) -> str:
        records = self.service.requests.records.values()
        parked = sum(record.parked_at is not None for record in records)
        late = sum(bool(record.late_arrivals) for record in records)
        levels = sum(record.sla_level >= 100 for record in records)
        return (
            f"{self.scenario}; {len(records)} records, {len(self.service.workflow.executions)} executions, "
            f"{self.gate.faults} faults, {sum(self.ledger.erased.values())} things erased, {parked} parked, "
            f"{levels} breached, {late} with late arrivals, {self.restores.figures()}, {self.sweeps} runs of schedules"
        )

    def _run_until(self, end: datetime) -> bool:
        while True:
            action = self.agenda.next_before(end)
            if action is None:
                break
            action()
            if self.ledger.found:
                self._fail_if_wrong(self.ledger.found)
        self.gate.time = max(self.gate.time, end)
        return True

    def _fail_if_wrong(self, found: Sequence[str]) -> None:
        if found:
            raise ViolationError(f"{self.scenario}\n" + "\n".join(found[:5]))

    def _is_anything_left(self) -> bool:
        return any(record.purged_at is None for record in self.service.requests.records.values())

    # What is going to happen

    def _prepare(self) -> None:
        for _ in range(BYSTANDERS):
            person = self._new_person()
            self._settle(person)
            self.bystanders.append(person)
        while self.asked < self.scenario.requests:
            several = self.rng.randint(2, 40) if self.rng.random() < 0.02 else 1
            several = min(several, self.scenario.requests - self.asked)
            self.asked += several
            self._plan_call(several)
        for _ in range(1 + self.scenario.days // 12):
            begin = self.rng_time
            self.outages.append((begin, begin + timedelta(hours=self.rng.uniform(3, 26))))
        for _ in range(1 + self.scenario.days // 6):
            self.agenda.at(self.rng_time, self._storm)
        self._schedule(self.service.run_watch, "sla_watch", self.scenario.watch_minutes)
        self._schedule(self.service.run_sweep, "retention_sweep", self.scenario.sweep_minutes)
        self.restores.prepare()

    def _storm(self) -> None:
        """For some hours, everything goes wrong much more often."""
        usual = self.scenario.chaos
        self.gate.chaos = usual.times(self.rng.uniform(3, 20))

        def end() -> None:
            self.gate.chaos = usual if self.gate.time < self.calm_at else QUIET

        self.agenda.after(3600 * self.rng.uniform(0.3, 8), end)

    def _new_person(self) -> Person:
        number = len(self.world.people)
        cursed = frozenset({self.rng.choice([NOTES, FILES])}) if self.rng.random() < 0.02 else frozenset[str]()
        person = Person(Subject(self.rng.choice(TENANTS), f"u{number:06d}"), f"m{number:06d}", cursed)
        self.world.people[person.subject.id] = person
        return person

    def _settle(self, person: Person) -> None:
        """The person gets an account and begins to write."""
        rng = self.rng
        if not self.world.has_account(person):
            self.world.put(ACCOUNTS, person)
        for target in (NOTES, LETTERS, FILES, HISTORY):
            for _ in range(rng.randint(0, 2)):
                is_locked = target == FILES and rng.random() < 0.04
                lock = self.gate.time + timedelta(days=rng.uniform(1, self.scenario.purge_days / 4))
                self.world.put(target, person, lock if is_locked else None)

    def _plan_call(self, several: int) -> None:
        moment, rng = self.rng_time, self.rng
        people = []
        tenant = rng.choice(TENANTS)
        for _ in range(several):
            known = len(self.world.people)
            if known > BYSTANDERS + 5 and rng.random() < 0.15:
                person = self.world.people[f"u{rng.randrange(BYSTANDERS, known):06d}"]
                if person.subject.tenant_id != tenant:
                    person = self._new_person()
            else:
                person = self._new_person()
            if person.subject.tenant_id != tenant:
                person.subject = replace(person.subject, tenant_id=tenant)
            people.append(person)
            comes = max(START, moment - timedelta(days=rng.uniform(0, 5)))
            self.agenda.at(comes, lambda person=person: self._settle(person))  # type: ignore[misc]
        self.agenda.at(moment, lambda: self._ask(people, f"key-{moment:%j%H%M%S%f}"), movable=True)

    def _schedule(self, run: Callable[[], None], name: str, minutes: int) -> None:
        def tick() -> None:
            chaos, rng = self.gate.chaos, self.rng
            calm = self.gate.time > self.calm_at + timedelta(days=6)
            self.agenda.after(60 * minutes * (6 if calm else 1), tick)
            is_off = any(begin <= self.gate.time < end for begin, end in self.outages) and name == "sla_watch"
            if is_off or rng.random() < chaos.schedule_skipped:
                return
            self._run_once(run, name)
            if rng.random() < chaos.schedule_doubled:
                self.agenda.after(rng.uniform(0, 30), lambda: self._run_once(run, name), movable=True)

        self.agenda.after(60 * minutes * self.rng.random(), tick, movable=False)

    def _run_once(self, run: Callable[[], None], name: str) -> None:
        self.sweeps += 1
        began, seconds = self.gate.time, self.gate.seconds
        call: Invocation | None = None
        try:
            with self.gate.invocation(name, longest=60) as call:
                run()
        except Killed:
            return
        except Exception as error:
            if call is not None and call.faults == 0 and not isinstance(error, ErasureError):
                raise
            return
        had_time = self.gate.seconds - seconds < SWEEP_SECONDS / 2
        if name == "sla_watch" and call.faults == 0 and had_time and self.sweeps % 3 == 0:
            self._fail_if_wrong(check_watched(self, began))

    # What people and backends do

    def _ask(self, people: Sequence[Person], key: str, tries: int = 3) -> None:
        rng = self.rng
        family = rng.choices(["velt", "native", "june"], [40, 40, 20])[0]
        waits = family == "native" and rng.random() < 0.2
        categories = None
        if family == "native" and rng.random() < 0.2:
            categories = tuple(rng.sample(["account", "content", "preference", "record"], rng.randint(1, 3)))
        command = ErasureCommand(
            tenant_id=people[0].subject.tenant_id,
            family=family,
            subjects=tuple(person.subject for person in people),
            key_id="key",
            field_of=lambda position: f"subjects[{position}]",
            categories=categories,
            not_before=self.gate.time + timedelta(hours=rng.uniform(0.2, 150)) if waits else None,
            only_one_open=len(people) == 1 and rng.random() < 0.2,
            suppress=rng.random() < 0.1,
            leaves_tombstone=rng.random() < 0.05,
            strict=False,
            named_batch=rng.random() < 0.3,
            idempotency=IdempotencyClaim(key, f"{family}:create", key) if rng.random() < 0.7 else None,
            takes_grace=rng.random() < 0.3,
        )
        if len(people) == 1:
            self._maybe_hold(people[0])
        self._call_for(command, people, tries)

    def _call_for(self, command: ErasureCommand, people: Sequence[Person], tries: int) -> None:
        try:
            with self.gate.invocation("backend_api"):
                accepted = self.service.erasures.create(command)
        except (UnavailableError, Killed):
            if tries and command.idempotency is not None:
                self.agenda.after(self.rng.uniform(1, 90), lambda: self._call_for(command, people, tries - 1))
            return
        except ErasureError:
            self.refused += 1
            return
        except Exception as error:
            if type(error).__name__ != "ClientError":
                raise
            return
        for disposition, person in zip(accepted.dispositions, people, strict=False):
            if disposition.status == ACCEPTED and disposition.request is not None:
                self._what_follows(disposition.request.request_id, person)

    def _what_follows(self, request_id: str, person: Person) -> None:
        rng, tenant = self.rng, person.subject.tenant_id
        service = self.service.erasures
        request = self.service.requests.records.get(request_id)
        if rng.random() < 0.06:
            wait = rng.uniform(0, 6) if rng.random() < 0.7 else rng.uniform(0, 90_000)
            self._person_calls(wait, lambda: service.cancel(tenant, request_id, "key"))
        if request is not None and request.not_before is not None and rng.random() < 0.3:
            wait = rng.uniform(1, 90_000)
            self._person_calls(wait, lambda: service.expedite(tenant, request_id, "key"))
        if rng.random() < 0.02:
            self._person_calls(rng.uniform(1, 200_000), lambda: service.retry(tenant, request_id, "key"))
        if rng.random() < 0.08:
            self.agenda.after(rng.expovariate(1 / 30_000), lambda: self._write_late(person))

    def _person_calls(self, seconds: float, call: Callable[[], Any]) -> None:
        def act() -> None:
            try:
                with self.gate.invocation("backend_api"):
                    call()
            except (ErasureError, Killed):
                pass
            except Exception as error:
                if type(error).__name__ != "ClientError":
                    raise

        self.agenda.after(seconds, act, movable=True)

    def _write_late(self, person: Person) -> None:
        """Something that was on its way when the person was erased arrives."""
        target = self.rng.choice([NOTES, FILES, HISTORY])
        self.written_late.append((target, self.world.put(target, person)))

    # Holds

    def _maybe_hold(self, person: Person) -> None:
        rng = self.rng
        if rng.random() >= 0.05:
            return
        wait = rng.choice([0.0, 1.0, rng.uniform(0, 20), rng.uniform(0, 90_000)])
        aliases: tuple[str, ...] = ()
        if rng.random() < 0.4:
            aliases = (person.email,)
        other = self.world.people[f"u{rng.randrange(len(self.world.people)):06d}"]
        if rng.random() < 0.2 and other.subject.tenant_id == person.subject.tenant_id:
            aliases = (*aliases, rng.choice([other.email, other.subject.id]))
        until = self.gate.time + timedelta(hours=rng.uniform(1, 150)) if rng.random() < 0.4 else None
        command = HoldCommand(person.subject, "a dispute", "legal", "key", until, aliases)
        run_id = new_batch_id(milliseconds(self.gate.time))
        self.agenda.after(wait, lambda: self._put_hold(command, run_id, 4), movable=True)

    def _put_hold(self, command: HoldCommand, run_id: str, tries: int) -> None:
        digest = subject_digest(DIGEST_KEY, command.subject)
        owners = {command.subject}
        for alias in command.aliases:
            if alias in self.world.people:
                owners.add(self.world.people[alias].subject)
        self._held_by[digest] = (frozenset(owners), frozenset(command.aliases))
        try:
            with self.gate.invocation("backend_api"):
                self.service.hold_service.put(command, run_id)
        except (Exception, Killed) as error:
            if isinstance(error, ErasureError) and not isinstance(error, UnavailableError):
                return  # its end has come meanwhile
            if tries:
                again = self.rng.uniform(1, 200)
                self.agenda.after(again, lambda: self._put_hold(command, run_id, tries - 1), movable=True)
                return
        rng = self.rng
        if command.until is not None and rng.random() < 0.2 and tries:
            longer = replace(command, until=command.until + timedelta(hours=rng.uniform(-20, 50)))
            new_run = new_batch_id(milliseconds(self.gate.time))
            self.agenda.after(rng.uniform(1, 90_000), lambda: self._put_hold(longer, new_run, 0), movable=True)
        wait = rng.uniform(60, 500_000)
        self.agenda.after(wait, lambda: self._lift(command.subject, new_batch_id(milliseconds(self.gate.time))))

    def _lift(self, subject: Subject, run_id: str) -> None:
        try:
            with self.gate.invocation("backend_api"):
                self.service.hold_service.lift(subject, "key", run_id)
        except NotFoundError:
            return
        except (Exception, Killed):
            self.agenda.after(self.rng.uniform(60, 3600), lambda: self._lift(subject, run_id))

    def _note_hold(self, hold: Hold) -> None:
        owners, emails = self._held_by[hold.subject_digest]
        known = self.ledger.holds.get(hold.subject_digest)
        number = self.gate.next_number()
        if known is not None and known.owners >= owners:
            number = known.number
        self.ledger.holds[hold.subject_digest] = Standing(number, owners, emails, hold.until)

    def _note_lift(self, hold: Hold) -> None:
        self.ledger.holds.pop(hold.subject_digest, None)
