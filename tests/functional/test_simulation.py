"""A hundred days of the service, simulated with a clock of its own, and with all that goes wrong in them.

``ERASURE_SIMULATION_SEEDS`` is how many runs are made, ``ERASURE_SIMULATION_SEED`` the seed of the first,
``ERASURE_SIMULATION_REQUESTS`` how many requests each has: ``10000`` make the full run, over 100 days.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from erasure.services import sla_alerts, task_parts
from erasure.targets.protocol import VerifyResult
from tests.functional import simulation_service, simulation_world
from tests.functional.simulation import Scenario, Simulation
from tests.functional.simulation_ledger import ViolationError

FULL = 5000
"""So many requests make a run of 100 days, with the periods that the service has unless told otherwise."""
SEED = int(os.environ.get("ERASURE_SIMULATION_SEED", "1"))
REQUESTS = int(os.environ.get("ERASURE_SIMULATION_REQUESTS", "300"))
SEEDS = int(os.environ.get("ERASURE_SIMULATION_SEEDS", "1" if REQUESTS >= FULL else "12"))


def scenario(seed: int, requests: int = REQUESTS) -> Scenario:
    if requests >= FULL:
        return Scenario(seed, requests, days=100)
    # Every other run has a promise that is hard to keep.
    return Scenario(seed, requests, days=max(6, requests // 25), purge_days=25, sla_hours=8 if seed % 2 else 72)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What goes wrong by the thousand is logged by nobody."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(SEED, SEED + SEEDS))
def test_everything_comes_to_an_honest_end(seed: int) -> None:
    """Whatever goes wrong: every request ends erased or parked with reasons, none is late unnoticed, every alarm is
    told once, nobody else loses anything, and at its time nothing of a subject is left in the service."""
    print(Simulation(scenario(seed)).run().figures())


def test_one_seed_is_one_course_of_events() -> None:
    """A run that has failed can be made again, step by step."""
    first, second = (Simulation(scenario(SEED, 60)).run() for _ in range(2))
    assert first.service.audit.trails == second.service.audit.trails
    assert first.figures() == second.figures()


# A simulation that finds nothing proves nothing unless it would have found something.


class Nowhere:
    """A queue that takes everything and delivers nothing."""

    def send(self, request_ids: Sequence[str], attempt: int, *, delay_seconds: int = 0) -> None:
        pass


class NoHolds:
    """A reader that sees no hold."""

    def held(self, marks: Sequence[str]) -> dict[str, str]:  # noqa: ARG002 - the port's signature
        return {}


Tampering = Callable[[Simulation, pytest.MonkeyPatch], None]


def _nothing_is_sent_again(simulation: Simulation, _patch: pytest.MonkeyPatch) -> None:
    simulation.service.watch = replace(simulation.service.watch, queue=Nowhere())


def _levels_are_not_noticed(_simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sla_alerts.SlaAlerts, "note", lambda _self, requests, _now, _errors: list(requests))


def _nobody_is_told(_simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(simulation_service.SimEventBus, "put", lambda _self, _events: None)


def _whatever_lives_counts_as_dead(simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    dead: Any = type("Dead", (), {"is_living": staticmethod(lambda _job_id: False)})()
    patch.setattr(simulation.service, "watch", replace(simulation.service.watch, executions=dead))


def _nothing_is_purged(_simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(simulation_service, "purge_due", lambda *_arguments: 0)


def _nobody_looks_again(simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(type(simulation.service.second_looks), "look", lambda _self, _deadline: None)


def _nothing_is_replayed(_simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(simulation_service.Service, "replay", lambda *_arguments: True)


def _holds_are_overlooked(simulation: Simulation, _patch: pytest.MonkeyPatch) -> None:
    service = simulation.service
    service.planning = replace(service.planning, holds=NoHolds())
    service.erasing = replace(service.erasing, holds=NoHolds())


def _what_is_left_is_not_seen(_simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    erase = simulation_world.Engine._erase

    def lazy(engine: Any, *arguments: Any) -> Any:
        return replace(erase(engine, *arguments), done=True, problem=None, permanent=False)

    patch.setattr(simulation_world.Engine, "_erase", lazy)
    patch.setattr(simulation_world.Engine, "_verify", lambda *_arguments: VerifyResult(0, complete=True))


def _somebody_else_is_meant(simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
    other = simulation.world.people

    def values(*_arguments: Any) -> list[dict[str, str]]:
        person = other["u000003"]
        return [{**person.subject.values(), "email": person.email}]

    patch.setattr(task_parts, "values_of", values)


TAMPERINGS: dict[str, tuple[Tampering, str]] = {
    "nothing is sent again": (_nothing_is_sent_again, "it has come to no end|it is parked without a reason"),
    "levels are not noticed": (_levels_are_not_noticed, "nobody has noticed"),
    "nobody is told": (_nobody_is_told, "nobody was told of"),
    "whatever lives counts as dead": (_whatever_lives_counts_as_dead, "beside a living execution"),
    "nothing is purged": (_nothing_is_purged, "are still in requests"),
    "nobody looks again": (_nobody_looks_again, "nobody looked at it once more"),
    "nothing is replayed": (_nothing_is_replayed, "restored and not erased again"),
    "holds are overlooked": (_holds_are_overlooked, "although a hold stands"),
    "what is left is not seen": (_what_is_left_is_not_seen, "and something is left"),
    "somebody else is meant": (_somebody_else_is_meant, "that no request of this job is about"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_it_finds_what_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that breaks a promise does not come through."""
    tamper, found = TAMPERINGS[name]
    simulation = Simulation(scenario(7, 200))
    tamper(simulation, monkeypatch)
    with pytest.raises(ViolationError, match=found):
        simulation.run()
