"""The service against a model of it: whatever the world, the map and the request, what is left and what is told is what
the model says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from erasure.domain.data_map import DataMap
from erasure.domain.request import FINISHED, STARTED
from tests.functional.model import FINAL, Job, Model, Result, Told, Wish, after, disputed
from tests.functional.model_on_moto import on_moto
from tests.functional.model_rules import State
from tests.functional.model_runs import FakeService, Service, World
from tests.functional.model_strategies import applications

EXAMPLES = int(os.environ.get("ERASURE_MODEL_EXAMPLES", "300"))
"""Worlds of a run. More of them are worth an hour now and then; what fails is printed with what repeats it."""
EXAMPLES_ON_MOTO = max(1, EXAMPLES // 50)

pytestmark = pytest.mark.timeout(0)
Application = tuple[Any, World, list[list[Wish]]]
_some = partial(settings, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@_some(max_examples=EXAMPLES)
@given(applications())
def test_any_world_is_left_as_the_model_says(application: Application) -> None:
    """Any small application, map and requests: the service leaves every table and bucket as the model does, and tells
    of every target what the model says."""
    data_map, world, jobs = application
    if data_map is not None:
        model = clear(data_map, world, jobs)
        follow(model, FakeService(data_map, world), jobs)


@_some(max_examples=EXAMPLES_ON_MOTO)
@given(applications())
def test_some_worlds_are_left_so_by_what_is_deployed(application: Application) -> None:
    """The same of the functions as they are wired, with their queues and stores, on moto."""
    data_map, world, jobs = application
    if data_map is not None:
        model = clear(data_map, world, jobs)
        with on_moto(data_map, world) as service:
            follow(model, service, jobs)


def clear(data_map: DataMap, world: World, jobs: Sequence[Sequence[Wish]]) -> Model:
    """The model of a world in which nothing is left of which the map says two things."""
    model = Model(data_map.document, datetime.now(UTC))
    without_disputes(model, world, jobs)
    tell(data_map, world)
    return model


def follow(model: Model, service: Service, jobs: Sequence[Sequence[Wish]]) -> None:
    course = Course(model, service)
    for wishes in jobs:
        note(f"job: {wishes}")
        course.check_job(wishes)


def without_disputes(model: Model, world: World, jobs: Sequence[Sequence[Wish]]) -> None:
    """Take away the items of which the map does not say what becomes of them, until there are none left."""
    people = dict.fromkeys(wish.person for wishes in jobs for wish in wishes)
    items = {(table, *world.tables[table].place_of(item)): (table, item) for table, item in world.items}
    schemas = {table.name: (table.key, dict(table.indexes)) for table in world.tables.values()}
    state = State(schemas, frozenset(world.buckets), {place: item for place, (_, item) in items.items()})
    while found := disputed(model, state, people):
        for place in found:
            del state.items[place], items[place]
    world.items[:] = items.values()


def tell(data_map: Any, world: World) -> None:
    for target in data_map.document["targets"]:
        note(f"target: {target}")
    note(f"identifiers: {data_map.document.get('identifiers')}")
    for schema in world.tables.values():
        note(f"table: {schema.name} {schema.key} {schema.indexes} {schema.size}")
    note(f"buckets: {world.buckets}")
    for table, item in world.items:
        note(f"item: {table} {item}")
    for upload in world.uploads:
        note(f"upload: {upload}")


class Course:
    """The jobs of one world, one after the other, in the service and in the model."""

    def __init__(self, model: Model, service: Service) -> None:
        self.model = model
        self.service = service
        self.earlier: list[Told] = []

    def check_job(self, wishes: Sequence[Wish]) -> None:
        """One job, and what is scanned later."""
        before = self.service.state().copy()
        request_ids = self.service.accept(wishes)
        self.service.run(request_ids)
        told = self._told(wishes, request_ids)
        known = [self._known(before, own, {}, None) for own in told]
        job = run_model(self.model, before, wishes, known, told, [None] * len(wishes))
        check(job, self.service.state(), told, job.results)
        scans = [any(rule.is_scan for rule in self.model.covered(wish)) for wish in wishes]
        for request_id, waits in zip(request_ids, scans, strict=True):
            request = self.service.request(request_id)
            assert (request.scan_at is not None, request.state == STARTED) >= (waits, waits)
        if any(scans):
            told = self._check_scan(request_ids, job, told, scans)
        else:
            assert not self.service.scan()
        self.earlier += told
        check_states(self.service, request_ids)

    def _check_scan(
        self, request_ids: Sequence[str], job: Job, first: Sequence[Told], scans: Sequence[bool]
    ) -> list[Told]:
        """After the window: what had no final outcome yet is worked on once more, and what has to be scanned."""
        only = [unfinished(self.model, own, waits) for own, waits in zip(first, scans, strict=True)]
        before = self.service.state().copy()
        assert self.service.scan()
        told = self._told(job.wishes, request_ids)
        known = [
            self._known(before, own, known, earlier) if waits else known
            for own, known, waits, earlier in zip(told, job.known, scans, first, strict=True)
        ]
        again = run_model(self.model, before, job.wishes, known, told, only, with_scans=True)
        results = job.results | {
            place: after(job.results.get(place), result) for place, result in again.results.items()
        }
        check(again, self.service.state(), told, results)
        return told

    def _told(self, wishes: Sequence[Wish], request_ids: Sequence[str]) -> list[Told]:
        found = []
        for wish, request_id in zip(wishes, request_ids, strict=True):
            request = self.service.request(request_id)
            outcomes = {outcome.target: outcome.to_dict() for outcome in request.outcomes}
            found.append(Told(wish, request.state == FINISHED, request.identifiers, outcomes))
        return found

    def _known(
        self, before: State, told: Told, known: Mapping[str, Sequence[str]], first: Told | None
    ) -> dict[str, list[str]]:
        """What the request has to know, which is compared with what it does. ``known``: what its first job has read;
        ``first``: what was told then."""
        now = self.model.known(before, told.wish, told.known)
        merged = {name: sorted({*known.get(name, ()), *now.get(name, ())}) for name in {**known, **now}}
        others = [each for each in self.earlier if each.wish.person == told.wish.person]
        for name, values in list(merged.items()):
            each = self.model.identifiers[name]
            users = [rule.name for rule in self.model.covered(told.wish) if name in rule.names()]
            is_doubted = any(other.casts_doubt(name, users) for other in others)
            is_lost = any(other.has_lost(name, each["from"]) for other in [*others, *([first] if first else [])])
            if each["if_missing"] == "absent" and not values and (is_doubted or is_lost):
                del merged[name]
        found = {name: sorted(values) for name, values in told.known.items() if name in self.model.wanted(told.wish)}
        assert found == merged
        return merged


def run_model(
    model: Model,
    state: State,
    wishes: Sequence[Wish],
    known: Any,
    told: Sequence[Told],
    only: Any,
    *,
    with_scans: bool = False,
) -> Job:
    reasons = {
        (number, name): outcome.get("reason")
        for number, own in enumerate(told)
        for name, outcome in own.outcomes.items()
    }
    job = Job(model, state.copy(), wishes, known, reasons, only, with_scans)
    job.run()
    return job


def unfinished(model: Model, told: Told, waits: bool) -> set[str]:
    """The targets about which something is left to do, and all that they lead to or that leads to them."""
    rules = model.covered(told.wish) if waits else []
    roots = {rule.root.name for rule in rules if told.outcomes.get(rule.name, {}).get("outcome") not in FINAL}
    return {rule.name for rule in rules if rule.root.name in roots}


def check(job: Job, state: State, told: Sequence[Told], results: dict[tuple[int, str], Result]) -> None:
    for number, each in enumerate(told):
        assert set(each.outcomes) == {name for own, name in results if own == number}, "targets"
        for name, outcome in each.outcomes.items():
            result = results[number, name]
            assert result.disagreement(outcome) is None, (result.disagreement(outcome), number, outcome, result)
    for kind in ("items", "objects"):
        there, expected = getattr(state, kind), getattr(job.state, kind)
        left, open_places = set(there) - set(expected), job.open_places
        assert left <= open_places, "what should be gone is there"
        assert set(expected) - set(there) <= open_places, "what should be there is gone"
        assert {place: there[place] for place in there if place in expected} == {
            p: expected[p] for p in there if p in expected
        }


def check_states(service: Service, request_ids: Sequence[str]) -> None:
    for request_id in request_ids:
        request = service.request(request_id)
        is_done = bool(request.outcomes) and all(outcome.outcome in FINAL for outcome in request.outcomes)
        assert (request.state, request.attention) == ((FINISHED, False) if is_done else (STARTED, True))
