"""Tables of the simulated application that are restored as they were, and what the operator does then."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from erasure.domain.request import FINISHED, ErasureRequest
from tests.functional.simulation_faults import Killed
from tests.functional.simulation_world import ACCOUNTS, Thing, World

if TYPE_CHECKING:
    from tests.functional.simulation import Simulation

HAS_REPLAY = importlib.util.find_spec("erasure.services.replay") is not None
KEPT_DAYS = 12
"""How far back a table can be restored here."""


@dataclass
class Restore:
    """Of ``tables``, as they were at ``moment``. ``things``: what came back, by table. ``must_go``: what has to be gone
    in the end, with the request that had erased it."""

    tables: tuple[str, ...]
    moment: datetime
    things: list[tuple[str, Thing]]
    must_go: list[tuple[str, Thing, str]] = field(default_factory=list)
    is_replayed: bool = False


class Restores:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._snapshots: list[tuple[datetime, dict[str, dict[str, dict[int, Thing]]]]] = []
        self.all: list[Restore] = []

    def figures(self) -> str:
        back = sum(len(restore.things) for restore in self.all)
        return f"{len(self.all)} restores of {back} things, {sum(len(each.must_go) for each in self.all)} erased before"

    def prepare(self) -> None:
        simulation = self._simulation
        for day in range(simulation.scenario.days):
            simulation.agenda.after(86_400 * day + 3, self._take_snapshot)
        for _ in range((1 + simulation.scenario.days // 8) if HAS_REPLAY else 0):
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
        restore = Restore(tuple(names), moment, things)
        self.all.append(restore)
        run = f"run-{len(self.all)}"
        simulation.agenda.after(rng.uniform(600, 20_000), lambda: self._replay(restore, run))

    def _replay(self, restore: Restore, run: str) -> None:
        """The operator does it until it has gone well."""
        simulation = self._simulation
        try:
            with simulation.gate.invocation("operator", longest=5000):
                simulation.service.replay(restore.moment, restore.tables, run)
        except (Exception, Killed):
            simulation.agenda.after(simulation.rng.uniform(60, 3600), lambda: self._replay(restore, run))
            return
        restore.is_replayed = True
        restore.must_go = [
            (name, thing, request.request_id)
            for name, thing in restore.things
            for request in self._erasing(name, thing, restore)[:1]
        ]

    def _erasing(self, name: str, thing: Thing, restore: Restore) -> list[ErasureRequest]:
        """The requests that had erased the thing after the moment to which it has been restored."""
        simulation = self._simulation
        ledger, person = simulation.ledger, simulation.world.people[thing.owner.id]
        found = []
        for request_id in ledger.asked.get(thing.owner, ()):
            record: Any = simulation.service.requests.records[request_id]
            if record.state != FINISHED or record.purged_at is not None or record.finished_at < restore.moment:
                continue
            covered = {spec.name for spec in ledger.covers(record)}
            is_back = ACCOUNTS in covered and ACCOUNTS not in restore.tables and simulation.world.has_account(person)
            if name in covered and not is_back and self._was_there(thing, record):
                found.append(record)
        return found

    def _was_there(self, thing: Thing, record: ErasureRequest) -> bool:
        """When the request was started, and a clock is a little wrong."""
        return record.started_at is not None and thing.at < record.started_at - timedelta(minutes=10)
