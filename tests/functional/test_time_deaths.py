"""The sweep and the watch, with something of everything to do, die after each of their calls, or run all at once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import moto
import pytest

from erasure.domain.audit import broken_at
from erasure.domain.clock import MAX_TRIES
from erasure.domain.request import FINISHED, REQUESTED, SECOND_LOOK, STARTED, ErasureRequest
from erasure.targets.protocol import SliceResult
from tests.contract.dynamodb_engines import make_client
from tests.contract.stores import OneAtATime
from tests.functional.clock_world import REQUESTS, ClockWorld, Functions

pytestmark = pytest.mark.timeout(240)

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


class KilledError(BaseException):
    """No handler of errors is meant to see it."""


class Death:
    """Comes after the call with this number, in all threads; nothing is begun then."""

    def __init__(self, after: int) -> None:
        self._left = after
        self._lock = threading.Lock()
        self.has_come = False

    def before(self) -> None:
        if self.has_come:
            raise KilledError

    def after(self) -> None:
        with self._lock:
            self._left -= 1
            self.has_come = self.has_come or self._left == 0
        self.before()


class Mortal:
    """Stands before a client, the queue, the bus or the dead letters."""

    def __init__(self, inner: Any, death: Death) -> None:
        self._inner, self._death = inner, death

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            self._death.before()
            result = method(*arguments, **named)
            self._death.after()
            return result

        return call


class Everything:
    """One request for each thing that the clock may have to do with it, all of them due now. ``ids``: by what it is."""

    def __init__(self, client: Any = None) -> None:
        self.world = world = ClockWorld(client)
        self.at = world.shared.clock() + 83 * DAY
        self.ids: dict[str, str] = {}
        self.accept("purged", 83 * DAY)
        world.work()
        self.accept("lost", timedelta(hours=40))
        world.take_jobs()
        self.accept("parked", timedelta(hours=38))
        self._fail_for_good("parked")
        self.accept("looked", DAY)
        world.work()
        world.shared.reader.left["notes", "looked"] = 2
        self.accept("dead", timedelta(hours=1))
        (job,) = world.take_jobs()
        world.main.plan(job)
        self.accept("held", 30 * MINUTE)
        world.take_jobs()
        world.main.hold("held", self.at - 2 * MINUTE)
        self.accept("letter", 20 * MINUTE)
        ((request_ids, attempt),) = world.shared.queue.messages
        world.shared.queue.messages.clear()
        world.shared.dead_letters.put(json.dumps({"request_ids": request_ids, "attempt": attempt}))
        self.accept("waiting", 10 * MINUTE, self.at)
        world.shared.clock.now = self.at

    def accept(self, name: str, before: timedelta, not_before: datetime | None = None) -> None:
        """So long before now, of a person of this name."""
        self.world.shared.clock.now = self.at - before
        self.ids[name] = self.world.main.accept(name, not_before)

    def _fail_for_good(self, name: str) -> None:
        world = self.world
        refused = SliceResult(0, done=False, problem="access_denied", permanent=True)
        world.shared.target.script["notes"] = [refused]
        world.work()
        request = self.record(name)
        assert request.attention
        assert world.main.clock.look_again(request, self.at, tries=MAX_TRIES)

    def mortal(self, death: Death) -> Functions:
        """Functions that come to their end when ``death`` comes."""
        shared = self.world.shared
        theirs: dict[str, Any] = {
            name: Mortal(getattr(shared, name), death) for name in ("queue", "bus", "dead_letters", "executions")
        }
        return Functions(replace(shared, **theirs), Mortal(shared.client, death))

    def record(self, name: str) -> ErasureRequest:
        return self.world.record(self.ids[name])

    def events(self, name: str) -> Counter[str]:
        return Counter(entry.event for entry in self.world.trail(self.ids[name]))

    def sent(self, name: str) -> set[int]:
        """The attempts with which it is on its way."""
        messages = self.world.shared.queue.messages
        return {attempt for request_ids, attempt in messages if self.ids[name] in request_ids}

    def check_watched(self) -> None:
        lost, parked, held = self.record("lost"), self.record("parked"), self.record("held")
        assert (lost.sla_told, lost.tries, self.sent("lost")) == (50, 1, {1})
        assert (parked.parked_at is not None, parked.sla_told, self.sent("parked")) == (True, 50, set())
        assert (self.sent("dead"), self.events("dead")["resent"]) == ({2}, 1)
        assert (held.state, self.events("held")["resumed"], self.world.main.clock.held(10)) == (REQUESTED, 1, [])
        assert len(self.sent("held")) <= 1
        assert (self.sent("letter"), self.world.shared.dead_letters.bodies) == ({1}, {})
        assert [self.events(name)["sla_at_risk"] for name in ("lost", "parked")] == [1, 1]
        assert self.events("parked")["parked"] == 1
        assert {f"{self.ids[name]}:sla:50" for name in ("lost", "parked")} <= self.told()

    def check_swept(self) -> None:
        world, looked = self.world, self.record("looked")
        waiting = self.record("waiting")
        assert (self.sent("waiting"), world.main.requests.due(self.at, 10)) == ({1}, [])
        assert world.main.registry.standing(waiting.subject_digest).tombstone is not None
        assert (looked.late_arrivals, self.events("looked")["second_look"]) == (2, 1)
        items = world.shared.client.everything(REQUESTS)
        made = [item["request_id"]["S"] for item in items if item.get("purpose") == {"S": SECOND_LOOK}]
        assert made == [looked.followed_by]
        self.ids["late"] = made[0]
        assert self.sent("late") == {1}
        assert f"{looked.request_id}:late_arrivals" in self.told()
        assert (self.record("purged").subject.id, self.events("purged")["purged"]) == ("", 1)

    def told(self) -> set[str]:
        return {event.event_id for event in self.world.shared.bus.events}

    def check_all_end(self) -> None:
        """Whatever is open is finished within hours but what waits for a person, and everything is told once."""
        world = self.world
        for _ in range(8):
            world.work()
            world.tick(30)
        for name in self.ids.keys() - {"purged", "parked"}:
            assert self.record(name).state == FINISHED
            assert world.things(name) == 0
        for name in ("lost", "dead", "held", "letter", "waiting"):
            assert {outcome.count for outcome in self.record(name).outcomes} == {3}
        assert (self.record("parked").state, world.things("parked")) == (STARTED, 3)
        for request_id in self.ids.values():
            entries = world.trail(request_id)
            assert broken_at(entries) is None
            assert max(Counter(entry.event_id for entry in entries).values()) == 1
        assert self.told() == {
            *(f"{self.ids[name]}:sla:50" for name in ("lost", "parked")),
            *(event_id for event_id in self.told() if event_id.startswith(f"{self.ids['parked']}:parked:")),
            f"{self.ids['looked']}:late_arrivals",
        }
        assert len(self.told()) == 4


def test_nobody_dies() -> None:
    """What a watch and a sweep do that nothing happens to."""
    everything = Everything()
    assert everything.world.main.watch().errors == []
    everything.check_watched()
    assert everything.world.main.sweep()[1] == []
    everything.check_swept()
    everything.check_all_end()


@pytest.mark.parametrize("function", ["watch", "sweep"])
def test_who_dies_after_any_call_is_made_up_for(function: str) -> None:
    """After each call of a table, the queue, the bus, the dead letters or the workflow: the next one does the rest, and
    nothing twice."""
    for moment in count(1):
        everything, death = Everything(), Death(moment)
        try:
            getattr(everything.mortal(death), function)()
        except KilledError:
            everything.world.shared.dead_letters.hidden.clear()
        assert everything.world.main.watch().errors == []
        everything.check_watched()
        assert everything.world.main.sweep()[1] == []
        everything.check_swept()
        everything.check_all_end()
        if not death.has_come:
            break
    assert moment > 50


class OnMoto:
    """A client of moto for threads."""

    def __init__(self) -> None:
        self._client = OneAtATime(make_client())

    def everything(self, table: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._client.scan(TableName=table)["Items"]
        return items

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return getattr(self._client, operation)  # type: ignore[no-any-return]


def test_two_watches_and_two_sweeps_at_once() -> None:
    """In threads, on one moto: each thing is done once."""
    with moto.mock_aws():
        everything = Everything(OnMoto())
        begin, errors = threading.Barrier(4), list[BaseException]()

        def run(work: Callable[[], object]) -> None:
            begin.wait(30)
            try:
                work()
            except BaseException as error:
                errors.append(error)

        def watch() -> None:
            errors.extend(Functions(everything.world.shared).watch().errors)

        def sweep() -> None:
            errors.extend(Functions(everything.world.shared).sweep()[1])

        threads = [threading.Thread(target=run, args=[work]) for work in (watch, sweep, watch, sweep)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert errors == []
        everything.check_watched()
        everything.check_swept()
        everything.check_all_end()
