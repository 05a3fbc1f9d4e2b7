"""Tables of the simulated application that are restored as they were, and what the operator does then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from erasure.domain.request import ErasureRequest
from tests.functional.simulation_faults import Killed
from tests.functional.simulation_ledger import TOLERANCE
from tests.functional.simulation_world import ACCOUNTS, LETTERS, Thing, World

if TYPE_CHECKING:
    from tests.functional.simulation import Simulation

KEPT_DAYS = 12
"""How far back a table can be restored here."""


@dataclass
class Restore:
    """Of ``tables``, as they were at ``moment``. ``things``: what came back at ``restored_at``, by table.
    ``concerned``: those of them that requests were about when the replay had gone well."""

    tables: tuple[str, ...]
    moment: datetime
    restored_at: datetime
    things: list[tuple[str, Thing]]
    concerned: list[tuple[str, Thing, str]] = field(default_factory=list)
    is_replayed: bool = False


class Restores:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._snapshots: list[tuple[datetime, dict[str, dict[str, dict[int, Thing]]]]] = []
        self.all: list[Restore] = []

    def figures(self) -> str:
        back = sum(len(restore.things) for restore in self.all)
        gone = sum(len(list(self.must_be_gone(restore))) for restore in self.all)
        return f"{len(self.all)} restores of {back} things, {gone} erased before"

    def prepare(self) -> None:
        simulation = self._simulation
        for day in range(simulation.scenario.days):
            simulation.agenda.after(86_400 * day + 3, self._take_snapshot)
        for _ in range(1 + simulation.scenario.days // 8):
            simulation.agenda.at(simulation.rng_time, self._restore)

    def _take_snapshot(self) -> None:
        simulation = self._simulation
        self._snapshots.append((simulation.gate.time, simulation.world.snapshot()))
        del self._snapshots[:-KEPT_DAYS]

    def _restore(self) -> None:
        simulation, rng = self._simulation, self._simulation.rng
        world: World = simulation.world
        moment, snapshot = rng.choice(self._snapshots)
        names = sorted(world.tables) if rng.random() < 0.4 else [rng.choice(sorted(world.tables))]
        things = [(name, thing) for name in names for thing in world.restore(name, snapshot[name])]
        restore = Restore(tuple(names), moment, simulation.gate.time, things)
        self.all.append(restore)
        run = f"run-{len(self.all)}"
        simulation.agenda.after(rng.uniform(600, 20_000), lambda: self._replay(restore, run))

    def _replay(self, restore: Restore, run: str) -> None:
        """The operator does it until it has gone well, and nothing is under way that may have passed the place."""
        simulation = self._simulation
        try:
            with simulation.gate.invocation("operator", longest=5000):
                is_complete = simulation.service.replay(
                    restore.moment, restore.restored_at + TOLERANCE, restore.tables, run
                )
        except (Exception, Killed):
            is_complete = False
        if not is_complete:
            simulation.agenda.after(simulation.rng.uniform(600, 20_000), lambda: self._replay(restore, run))
            return
        restore.is_replayed = True
        restore.concerned = [
            (name, thing, request_id)
            for name, thing in restore.things
            for request_id in self._concerned(name, thing, restore)
        ]

    def _concerned(self, name: str, thing: Thing, restore: Restore) -> list[str]:
        """The requests about the thing that are known, unless their subject has come back."""
        ledger, world = self._simulation.ledger, self._simulation.world
        records = self._simulation.service.requests.records
        own = [records[each] for each in ledger.asked.get(thing.owner, ()) if records[each].purged_at is None]
        has_account = ACCOUNTS not in restore.tables and world.has_account(world.people[thing.owner.id])
        covered = {each.request_id: {spec.name for spec in ledger.covers(each)} for each in own}
        # Whose account was erased since and who has one again has to be left to a person to decide.
        since = [each for each in own if each.finished_at is None or each.finished_at >= restore.moment]
        if has_account and any(ACCOUNTS in covered[each.request_id] for each in since):
            return []
        return [
            each.request_id
            for each in own
            if name in covered[each.request_id]
            and self._was_there(thing, each)
            and (name != LETTERS or any(each.identifiers.values()))
        ]

    def _was_there(self, thing: Thing, record: ErasureRequest) -> bool:
        """When the request was started, and a clock is a little wrong."""
        return record.started_at is not None and thing.at < record.started_at - TOLERANCE

    def must_be_gone(self, restore: Restore) -> Iterator[tuple[str, Thing, str]]:
        """What had been erased after the moment to which it was restored, by the request that had."""
        records = self._simulation.service.requests.records
        for name, thing, request_id in restore.concerned:
            finished_at = records[request_id].finished_at
            if finished_at is not None and finished_at >= restore.moment:
                yield name, thing, request_id
