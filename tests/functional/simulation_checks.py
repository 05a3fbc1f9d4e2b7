"""What must be true of the whole simulation at certain moments, and in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from erasure.domain.audit import broken_at
from erasure.domain.clock import LEVELS, level_at
from erasure.domain.outcome import FAILED
from erasure.domain.request import (
    CANCELLED,
    FINISHED,
    HELD,
    OPEN_STATES,
    REQUESTED,
    SECOND_LOOK,
    STARTED,
    ErasureRequest,
)
from erasure.domain.times import parse_time
from tests.functional.simulation_ledger import TOLERANCE, ids_in
from tests.functional.simulation_world import HISTORY

if TYPE_CHECKING:
    from tests.functional.simulation import Simulation

PATIENCE = timedelta(days=2)
"""So long after its time a record may wait for a sweep: schedules are off for a day."""


def check_watched(simulation: Simulation, began: datetime) -> list[str]:
    """After a run of the watch in which nothing went wrong: nobody has reached a level unnoticed."""
    found = []
    moment = began - TOLERANCE
    for request_id in simulation.service.index.open:
        record = simulation.service.requests.records[request_id]
        is_open = record.state in (REQUESTED, STARTED) and record.purged_at is None
        if not is_open or record.sla_level == LEVELS[-1] or level_at(record, moment) <= record.sla_level:
            continue
        # Who was held until now has the time of a healthy request before anybody looks.
        resumed = [entry.at for entry in simulation.service.trail(request_id) if entry.event == "resumed"]
        if not resumed or parse_time(resumed[-1]) < began - 3 * TOLERANCE:
            found.append(f"past {level_at(record, moment)} % and nobody has noticed: {_told(simulation, record)}")
    return found


def check_purged(simulation: Simulation) -> list[str]:
    """Of a subject of which all had to be purged, no request has anything, and no hold."""
    ledger, records = simulation.ledger, simulation.service.requests.records
    limit = simulation.gate.time - PATIENCE
    due = [
        ids
        for ids in ledger.asked.values()
        if not ledger.forgotten.issuperset(ids)
        and all(records[each].purged_by < limit and records[each].state != HELD for each in ids)
    ]
    ledger.forgotten.update(each for ids in due for each in ids if records[each].purged_at is not None)
    left = ids_in([records[each] for ids in due for each in ids])
    people = [person for person in simulation.world.people.values() if left & {person.subject.id, person.email}]
    told = [_told(simulation, records[each]) for person in people[:2] for each in ledger.asked[person.subject]]
    return [f"{sorted(left)[:3]} are still in requests after purged_by: " + "\n".join(told)] if left else []


def check_nowhere(simulation: Simulation) -> list[str]:
    """Nothing but a request's record ever has anybody's id."""
    found = [(number, ids_in(store)) for number, store in enumerate(simulation.service.stores())]
    return [f"store {number} has ids of people: {sorted(ids)[:3]}" for number, ids in found if ids]


def check_end(simulation: Simulation) -> list[str]:
    found: list[str] = []
    for check in (_ends, _alarms, _trails, _bystanders, _late_arrivals, _written_late, _silently_late, _restored):
        found += list(check(simulation))
    return found + check_purged(simulation) + check_nowhere(simulation)


def _records(simulation: Simulation) -> list[ErasureRequest]:
    return list(simulation.service.requests.records.values())


def _told(simulation: Simulation, record: ErasureRequest) -> str:
    return simulation.ledger.told_of(record.request_id)


def _ends(simulation: Simulation) -> Iterator[str]:
    """Every request is finished, cancelled, or parked with reasons; held as long as a hold stands, which none does."""
    for record in _records(simulation):
        if record.purged_at is None:
            yield f"it was never purged: {_told(simulation, record)}"
        if record.state in (FINISHED, CANCELLED):
            continue
        if record.state != STARTED or record.parked_at is None:
            yield f"it has come to no end: {_told(simulation, record)}"
        reasons = [entry for entry in simulation.service.trail(record.request_id) if entry.event == "parked"]
        is_told = any(told.outcome == FAILED and told.reason for told in record.outcomes)
        if not reasons or not (reasons[-1].details["targets"] and is_told):
            yield f"it is parked without a reason: {_told(simulation, record)}"


def _alarms(simulation: Simulation) -> Iterator[str]:
    """Each level that was reached has one entry of the trail and an event, and no other has any."""
    told = Counter(event.event_id for event in simulation.service.bus.told)
    expected = set()
    for record in _records(simulation):
        ids = [entry.event_id for entry in simulation.service.trail(record.request_id)]
        noted = [each for each in ids if each.startswith("sla:")]
        if noted != [f"sla:{level}" for level in LEVELS if level <= record.sla_level]:
            yield f"its trail has other alarms than its record: {_told(simulation, record)}"
        for each in noted:
            event_id = f"{record.request_id}:{each}"
            expected.add(event_id)
            if not told[event_id]:
                yield f"nobody was told of {each}: {_told(simulation, record)}"
    for event_id in told:
        if ":sla:" in event_id and event_id not in expected:
            yield f"told without an entry: {event_id}"
    parked = {event_id.partition(":")[0] for event_id in told if ":parked:" in event_id}
    for record in _records(simulation):
        if record.parked_at is not None and record.request_id not in parked:
            yield f"nobody was told that it is parked: {_told(simulation, record)}"


def _trails(simulation: Simulation) -> Iterator[str]:
    for request_id, trail in simulation.service.audit.trails.items():
        if broken_at(trail) is not None:
            yield f"the trail of {request_id} is broken"
        if len({entry.event_id for entry in trail}) != len(trail):
            yield f"the trail of {request_id} tells something twice: {[entry.event_id for entry in trail]}"


def _bystanders(simulation: Simulation) -> Iterator[str]:
    """Whoever has not asked for anything has all that they had; and nobody's data is left by an open request."""
    world = simulation.world
    for person in simulation.bystanders:
        if not world.has_account(person):
            yield f"the account of {person.subject.id}, who asked for nothing, is gone"


def _late_arrivals(simulation: Simulation) -> Iterator[str]:
    """Whoever is finished was looked at once more, or the trail says why not; what was found was told and erased."""
    records = simulation.service.requests.records
    for record in _records(simulation):
        if record.state != FINISHED or record.purpose is not None:
            continue
        events = [entry.event for entry in simulation.service.trail(record.request_id)]
        if record.late_arrivals is None and "not_looked" not in events:
            yield f"nobody looked at it once more: {_told(simulation, record)}"
        follower = (
            next(
                (
                    each
                    for each in records.values()
                    if each.follows == record.request_id and each.purpose == SECOND_LOOK
                ),
                None,
            )
            if record.late_arrivals
            else None
        )
        if record.late_arrivals and follower is None:
            yield f"its late arrivals are nobody's matter: {_told(simulation, record)}"
        if follower is not None and follower.state == FINISHED and "late_arrivals" not in events:
            yield f"its late arrivals were erased and not told: {_told(simulation, record)}"


def _written_late(simulation: Simulation) -> Iterator[str]:
    """What was written late and was there at the second look is gone."""
    records = simulation.service.requests.records
    for target, thing in simulation.written_late:
        person = simulation.world.people[thing.owner.id]
        if target == HISTORY or thing not in simulation.world.things(target, person):
            continue  # it is gone, or is where only a scan looks
        own = [records[each] for each in simulation.ledger.asked.get(thing.owner, ())]
        if any(record.parked_at is not None for record in own):
            continue
        for record in own:
            looked = [e for e in simulation.service.trail(record.request_id) if e.event == SECOND_LOOK]
            if looked and parse_time(looked[0].at) > thing.at + TOLERANCE and _covers(simulation, record, target):
                yield f"what was written late is still in {target}: {thing} {_told(simulation, record)}"


def _covers(simulation: Simulation, record: ErasureRequest, target: str) -> bool:
    return any(spec.name == target for spec in simulation.ledger.covers(record))


def _silently_late(simulation: Simulation) -> Iterator[str]:
    """Whatever ended after it was due has said so in its trail."""
    for record in _records(simulation):
        end = record.finished_at
        if end is not None and end > record.due_at + TOLERANCE and record.sla_level < LEVELS[-1]:
            yield f"it was late, and nobody was told: {_told(simulation, record)}"


def _restored(simulation: Simulation) -> Iterator[str]:
    """After the replay, a restored table has nothing of those who were erased after the point."""
    records = simulation.service.requests.records
    for restore in simulation.restores.all:
        if not restore.is_replayed:
            yield f"a restore of {restore.tables} was never replayed"
        for name, thing, request_id in simulation.restores.must_be_gone(restore):
            person = simulation.world.people[thing.owner.id]
            if thing.number not in {each.number for each in simulation.world.things(name, person)}:
                continue
            others = [records[each] for each in simulation.ledger.asked[thing.owner]]
            if not any(other.parked_at is not None or other.state in OPEN_STATES for other in others):
                yield f"restored and not erased again: {name} {thing} {_told(simulation, records[request_id])}"
