"""The application's world of the simulation: people, what there is of them, and the engines that keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.plan import Shard
from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import PinnedMap, Preview
from erasure.targets.protocol import Deadline, Guard, OnErased, ScanRange, SliceResult, Values, VerifyResult
from tests.functional.simulation_faults import Gate

ACCOUNTS, NOTES, LETTERS, FILES, HISTORY = "accounts", "notes", "letters", "files", "history"
DATA_MAP: dict[str, Any] = {
    "version": 1,
    "identifiers": {"email": {"from": ACCOUNTS, "attribute": "email", "if_missing": "absent"}},
    "targets": [
        {
            "name": ACCOUNTS,
            "category": "account",
            "dynamodb": {"table": "app-accounts", "key": {"pk": "{tenant_id}#{user_id}"}},
        },
        {
            "name": NOTES,
            "category": "content",
            "dynamodb": {"table": "app-notes", "key": {"pk": "{tenant_id}#{user_id}"}},
        },
        {
            "name": LETTERS,
            "category": "preference",
            "dynamodb": {"table": "app-letters", "key": {"pk": "{tenant_id}#{email}"}},
        },
        {"name": FILES, "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}},
        {
            "name": HISTORY,
            "category": "record",
            "dynamodb": {"table": "app-history", "scan": {"actor": "{user_id}", "tenant": "{tenant_id}"}},
            "window": "6h",
        },
    ],
}


def pinned_map() -> PinnedMap:
    data_map = parse_data_map(DATA_MAP)
    return PinnedMap(1, data_map.digest, data_map.targets, data_map.families, data_map.identifiers)


@dataclass(slots=True)
class Thing:
    """``number``: when it came to where it is, in the order of everything. ``restored``: how often it came back."""

    owner: Subject
    number: int
    at: datetime
    locked_until: datetime | None = None
    restored: int = 0


@dataclass(slots=True)
class Person:
    """``cursed``: targets that refuse for good what is this person's."""

    subject: Subject
    email: str
    cursed: frozenset[str] = frozenset()


@dataclass
class World:
    """``tables``: by target, the things in each place, which is the text that the target's templates render to."""

    gate: Gate
    data_map: PinnedMap = field(default_factory=pinned_map)
    people: dict[str, Person] = field(default_factory=dict)
    tables: dict[str, dict[str, dict[int, Thing]]] = field(default_factory=dict)
    on_erased: Callable[[str, Thing], None] = lambda _target, _thing: None
    restores: int = 0

    def __post_init__(self) -> None:
        self.specs = {spec.name: spec for spec in self.data_map.targets}
        self.tables = {name: {} for name in self.specs}
        self._places: dict[tuple[str, str], str] = {}

    def place(self, target: str, person: Person) -> str:
        known = self._places.get((target, person.subject.id))
        if known is None:
            known = place_of(self.specs[target], {**person.subject.values(), "email": person.email})
            self._places[target, person.subject.id] = known
        return known

    def put(self, target: str, person: Person, locked_until: datetime | None = None) -> Thing:
        thing = Thing(person.subject, self.gate.next_number(), self.gate.time, locked_until)
        self.tables[target].setdefault(self.place(target, person), {})[thing.number] = thing
        return thing

    def things(self, target: str, person: Person) -> list[Thing]:
        return list(self.tables[target].get(self.place(target, person), {}).values())

    def has_account(self, person: Person) -> bool:
        return bool(self.tables[ACCOUNTS].get(self.place(ACCOUNTS, person)))

    def snapshot(self) -> dict[str, dict[str, dict[int, Thing]]]:
        return {
            name: {place: dict(things) for place, things in table.items() if things}
            for name, table in self.tables.items()
        }

    def restore(self, name: str, table: Mapping[str, Mapping[int, Thing]]) -> list[Thing]:
        """What was in the table then and is not any more comes back."""
        self.restores += 1
        back = []
        for place, things in table.items():
            there = self.tables[name].setdefault(place, {})
            known = {(thing.at, thing.owner) for thing in there.values()}
            for thing in things.values():
                if thing.number not in there and (thing.at, thing.owner) not in known:
                    again = replace(thing, number=self.gate.next_number(), restored=self.restores)
                    there[again.number] = again
                    back.append(again)
        return back


def place_of(spec: TargetSpec, values: Values) -> str:
    return "\x00".join(template.render(values) for template in spec.templates())


_UNREAD = VerifyResult(0, complete=False, problem="unavailable")


class Engine:
    """:class:`erasure.targets.protocol.Target` over the world, strongly consistent. It refuses, dawdles, raises and
    dies half-way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._gate = world.gate

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,  # noqa: ARG002 - the port's signature
    ) -> list[SliceResult]:
        rng = self._gate.rng
        if rng.random() < self._gate.chaos.erasing_fails / 4:
            raise RuntimeError("a fault of the eraser's own")
        if scan is not None and rng.random() < self._gate.chaos.erasing_fails:
            return [SliceResult(0, done=False, problem="throttled") for _ in subjects]
        results = [self._erase(spec, values, deadline, on_erased, place) for place, values in enumerate(subjects)]
        if scan is not None and all(result.done or result.permanent for result in results):
            scan.done = scan.end - scan.first
        return results

    def _erase(
        self, spec: TargetSpec, values: Values, deadline: Deadline, on_erased: OnErased | None, place: int
    ) -> SliceResult:
        rng, chaos = self._gate.rng, self._gate.chaos
        if deadline.expired():
            return SliceResult(0, done=False)
        if self._is_cursed(spec, values):
            return SliceResult(0, done=False, problem="access_denied", permanent=True)
        if not spec.is_scan and rng.random() < chaos.erasing_fails:
            return SliceResult(0, done=False, problem="throttled")
        things = self._world.tables[spec.name].get(place_of(spec, values), {})
        free = [thing for thing in things.values() if not self._is_kept(thing)]
        stops_after = (
            rng.randint(0, len(free)) if not spec.is_scan and rng.random() < chaos.erasing_fails else len(free)
        )
        for thing in free[:stops_after]:
            try:
                self._gate.pass_through(lambda: None, ours=True)
            except UnavailableError:
                return SliceResult(0, done=False, problem="unavailable")
            if things.pop(thing.number, None) is not None:
                self._world.on_erased(spec.name, thing)
                if on_erased is not None:
                    on_erased(place, 1)
        done = stops_after == len(free)
        return SliceResult(0, done=done, problem=None if done else "throttled")

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]:
        if self._gate.rng.random() < self._gate.chaos.erasing_fails / 4:
            raise RuntimeError("a fault of the verifier's own")
        # A scan reads its pages for all subjects at once.
        readings = 1 if scan is not None else len(subjects)
        can_read = [self._can_read(deadline) for _ in range(readings)]
        results = [
            self._verify(spec, values) if can_read[place % readings] else _UNREAD
            for place, values in enumerate(subjects)
        ]
        if scan is not None and all(result.complete or result.left for result in results):
            scan.done = scan.end - scan.first
        return results

    def _can_read(self, deadline: Deadline) -> bool:
        try:
            self._gate.pass_through(lambda: None, ours=True)
        except UnavailableError:
            return False
        return not deadline.expired()

    def _verify(self, spec: TargetSpec, values: Values) -> VerifyResult:
        things = self._world.tables[spec.name].get(place_of(spec, values), {}).values()
        locked = [thing.locked_until for thing in things if self._is_kept(thing) and thing.locked_until is not None]
        kept = Kept(len(locked), format_time(max(locked))) if locked else NOTHING_KEPT
        return VerifyResult(len(things) - len(locked), complete=True, kept=kept)

    def _is_kept(self, thing: Thing) -> bool:
        return thing.locked_until is not None and thing.locked_until > self._gate.time

    def _is_cursed(self, spec: TargetSpec, values: Values) -> bool:
        person = self._world.people.get(values.get("user_id", ""))
        return person is not None and spec.name in person.cursed


class Reader:
    """:class:`erasure.ports.DataReader` and :class:`erasure.ports.AccountReader` over the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._engine = Engine(world)

    def identify(
        self, subjects: Sequence[Subject], rules: Sequence[IdentifierRule]
    ) -> list[dict[str, tuple[str, ...]]]:
        names = sorted(rule.name for rule in rules)
        people = [self._world.people[subject.id] for subject in subjects]
        return [
            {name: (person.email,) if self._world.has_account(person) else () for name in names} for person in people
        ]

    def preview(self, subject: Subject, organization_ids: Sequence[str], data_map: PinnedMap) -> list[Preview]:
        assert not organization_ids, "nobody here has any"
        return list(self._previews(subject, data_map))

    def _previews(self, subject: Subject, data_map: PinnedMap) -> Iterator[Preview]:
        deadline = Deadline(60, self._world.gate.monotonic)
        for spec in data_map.targets:
            try:
                (result,) = self._engine.verify(spec, [subject.values()], deadline)
            except RuntimeError:
                raise UnavailableError("a function did not answer") from None
            count = result.left if result.complete else None
            problem = None if result.complete else result.problem or "verification_incomplete"
            yield Preview(spec.name, spec.category, spec.action, count, kept=result.kept, problem=problem)

    def shards(self, specs: Sequence[TargetSpec]) -> dict[str, tuple[Shard, ...]]:
        return {spec.name: (Shard(2, 0, 1), Shard(2, 1, 2)) for spec in specs}

    def exists(self, subject: Subject, specs: Sequence[TargetSpec]) -> bool:
        person = self._world.people[subject.id]
        return any(self._world.things(spec.name, person) for spec in specs)
