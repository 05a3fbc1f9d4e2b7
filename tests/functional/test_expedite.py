"""Starting a request at once that waits: over the API, and together with whatever else happens at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from erasure.domain.audit import broken_at, next_entry
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import USER, Subject
from erasure.domain.times import format_time
from erasure.errors import ErasureError, TransitionError, UnavailableError
from erasure.ports import PinnedMap
from erasure.services.commands import ErasureCommand
from erasure.services.erasures import ErasureService
from erasure.services.release_due import release_due
from erasure.services.tenant_settings import TenantSettings
from erasure.targets.protocol import Deadline
from tests import fake_jobs, fakes
from tests.contract.stores import Stores, stores_on
from tests.fake_tenant_settings import FakeTenantSettingsStore
from tests.functional.backend_calls import BackendApi, body_of, header_of
from tests.functional.backend_world import BACKEND_KEY, OTHER_TENANT
from tests.functional.native_calls import accept, act, check_problem, show
from tests.unit.services.desk import KEY, TARGETS

pytest_plugins = ["tests.contract.dynamodb_engines"]

WEEK = timedelta(days=7)


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def waiting(api: BackendApi, **more: Any) -> str:
    return accept(api, not_before=format_time(api.world.clock() + WEEK), **more)


class TestCall:
    def test_it_starts_at_once(self, api: BackendApi) -> None:
        """202 with the request: it waits for nothing, its promise and its purge count from now, and it is sent off,
        and erased."""
        subject = api.world.put_user()
        request_id = waiting(api)
        api.world.clock.advance(3600)
        reply = act(api, request_id, "expedite")
        now = api.world.clock()
        shown = body_of(reply)
        assert (reply["statusCode"], header_of(reply, "X-Erasure-Request-Id")) == (202, request_id)
        assert (shown["not_before"], shown["due_at"]) == (format_time(now), format_time(now + timedelta(hours=72)))
        assert shown["purged_by"] == format_time(now + timedelta(days=90))
        request = api.world.request(request_id)
        assert request.clock_at == now + timedelta(minutes=15)
        assert api.world.requests.waiting == {}
        assert api.world.retry_queue.messages == [((request_id,), 1)]
        api.world.run_job(f"{request_id}-1", [request_id], 1)
        assert api.world.left(subject) == set()
        assert body_of(show(api, request_id))["state"] == FINISHED

    def test_the_trail_tells_who_has(self, api: BackendApi) -> None:
        """With the key's id, and for when it had waited; the trail stays whole."""
        request_id = waiting(api)
        before = api.world.request(request_id).not_before
        act(api, request_id, "expedite")
        trail = body_of(show(api, request_id, "/audit"))
        requested, expedited = trail["entries"]
        assert (expedited["event"], trail["whole"]) == ("expedited", True)
        assert expedited["details"]["key_id"] == requested["details"]["key_id"]
        assert before is not None
        assert expedited["details"]["not_before"] == format_time(before)

    def test_pauses_before_it_began_count_no_more(self, api: BackendApi) -> None:
        """Of a request that was held while it waited, half of the promise is over after 36 hours."""
        request_id = waiting(api)
        records = api.world.requests.records
        later = records[request_id].due_at + timedelta(days=1)
        records[request_id] = replace(records[request_id], paused_seconds=86_400, due_at=later)
        act(api, request_id, "expedite")
        api.world.clock.advance(36 * 3600)
        sla = body_of(show(api, request_id))["sla"]
        assert (sla["percent"], sla["paused_seconds"], sla["state"]) == (50, 0, "at_risk")

    @pytest.mark.parametrize("state", [STARTED, HELD, FINISHED, CANCELLED])
    def test_what_does_not_wait(self, api: BackendApi, state: str) -> None:
        """409 in any other state, and nothing is sent or written."""
        request_id = waiting(api)
        records = api.world.requests.records
        records[request_id] = before = replace(records[request_id], state=state)
        check_problem(act(api, request_id, "expedite"), 409, "conflict")
        assert (records[request_id], api.world.retry_queue.messages) == (before, [])
        assert len(api.world.audit.entries(request_id)) == 1

    def test_what_has_waited_long_enough(self, api: BackendApi) -> None:
        """409 as well for a request without ``not_before``, and for one whose time has come."""
        at_once, later = accept(api), waiting(api)
        api.world.clock.advance(WEEK.total_seconds())
        for request_id in (at_once, later):
            check_problem(act(api, request_id, "expedite"), 409, "conflict")
        assert api.world.retry_queue.messages == []

    def test_nobody_elses(self, api: BackendApi) -> None:
        """Another tenant's request is not found, and neither is what is no request's id."""
        others = waiting(api, key=api.make_key(OTHER_TENANT))
        for request_id in (others, "er_x"):
            check_problem(act(api, request_id, "expedite"), 404, "resource_not_found")
        assert api.world.retry_queue.messages == []

    def test_it_takes_the_scope_to_write(self, api: BackendApi) -> None:
        """403 with a key that only reads."""
        reader = api.make_key(scopes=["erasure:read"])
        check_problem(act(api, waiting(api), "expedite", key=reader), 403, "insufficient_permissions")

    def test_repeated_with_its_key(self, api: BackendApi) -> None:
        """The same key is the same call: 202 again, and sent once. For another request it is a 409."""
        request_id, other, headers = waiting(api), waiting(api), {"Idempotency-Key": "k"}
        replies = [act(api, request_id, "expedite", headers=headers) for _ in range(2)]
        assert [reply["statusCode"] for reply in replies] == [202, 202]
        assert len(api.world.retry_queue.messages) == 1
        check_problem(act(api, other, "expedite", headers=headers), 409, "conflict")
        assert act(api, request_id, "expedite")["statusCode"] == 409

    def test_repeated_after_it_was_not_sent(self, api: BackendApi) -> None:
        """A call whose message was not taken says so; repeated with its key, it sends what it has put on record."""
        request_id, headers = waiting(api), {"Idempotency-Key": "k"}
        api.world.retry_queue.down = True
        check_problem(act(api, request_id, "expedite", headers=headers), 500, "internal_error")
        api.world.retry_queue.down = False
        assert act(api, request_id, "expedite", headers=headers)["statusCode"] == 202
        assert api.world.retry_queue.messages == [((request_id,), 1)]
        assert [entry.event for entry in api.world.audit.entries(request_id)] == ["requested", "expedited"]

    def test_repeated_after_it_was_started(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call that died after it had sent: repeated with its key, it is done, and sends nothing that a job has."""
        request_id, headers = waiting(api), {"Idempotency-Key": "k"}

        def die(*_arguments: object) -> None:
            raise RuntimeError("the function was killed")

        with monkeypatch.context() as patched:
            patched.setattr(api.world.idempotency, "finish", die)
            assert act(api, request_id, "expedite", headers=headers)["statusCode"] == 500
        api.world.run_job(f"{request_id}-1", [request_id], 1)
        reply = act(api, request_id, "expedite", headers=headers)
        assert (reply["statusCode"], body_of(reply)["state"]) == (202, FINISHED)
        assert api.world.retry_queue.messages == [((request_id,), 1)]


# Whatever else happens at that moment.


@dataclass
class Moment:
    """A service on real or fake stores, and one request that waits, of a person with this number."""

    stores: Stores
    number: int

    def __post_init__(self) -> None:
        self.clock = fakes.FakeClock()
        self.told: list[Any] = []
        self.queue, self.sent = fake_jobs.FakeJobQueue(), fake_jobs.FakeJobQueue()
        accepted = self.service(self.stores).create(
            ErasureCommand(
                "acme",
                "native",
                (Subject("acme", f"ann-{self.number}", USER),),
                BACKEND_KEY,
                field_of=lambda _position: "subjects[0].id",
                not_before=self.clock() + WEEK,
                leaves_tombstone=True,
            )
        )
        request = accepted.dispositions[0].request
        assert request is not None
        self.request, self.id = request, request.request_id

    def service(self, stores: Stores) -> ErasureService:
        return ErasureService(
            acceptance=stores.acceptance,
            requests=stores.requests,
            clock=stores.clock,
            tasks=stores.tasks,
            registry=stores.registry,
            data_maps=fakes.FakeDataMapStore(PinnedMap(1, "digest", TARGETS)),
            audit=stores.audit,
            queue=self.queue,
            retry_queue=self.sent,
            idempotency=stores.idempotency,
            settings=TenantSettings(FakeTenantSettingsStore()),
            digest_key=lambda: KEY,
            now=self.clock,
        )

    def expedite(
        self, before: Callable[[], object] | None = None, at: int = 0
    ) -> tuple[type[ErasureError] | None, int]:
        """Expedite the request; ``before`` its call number ``at`` of a store, something else happens, and what that
        returns is ``told``. Returns the refusal, and how many such calls there were."""
        calls = [0]

        def tell() -> None:
            calls[0] += 1
            if before is not None and calls[0] == at:
                self.told.append(before())

        watched = replace(
            self.stores,
            requests=_Watched(self.stores.requests, tell),
            clock=_Watched(self.stores.clock, tell),
            audit=_Watched(self.stores.audit, tell),
        )
        try:
            self.service(watched).expedite("acme", self.id, BACKEND_KEY)
        except (TransitionError, UnavailableError) as error:
            return type(error), calls[0]
        return None, calls[0]

    def cancel(self) -> bool:
        try:
            self.service(self.stores).cancel("acme", self.id, BACKEND_KEY)
        except TransitionError:
            return False
        return True

    def sweep(self) -> None:
        """By a clock that is a week ahead: the request's time has come for it."""
        release_due(self.stores.requests, self.queue, lambda: self.clock() + WEEK, Deadline(60))

    def hold(self) -> bool:
        last = self.stores.audit.entries(self.id)[-1]
        entry = next_entry(self.id, last, "held", self.clock(), {"hold_id": "lh_1"})
        held: bool = self.stores.clock.hold(self.stores.requests.get(self.id), "lh_1", self.clock(), entry)
        return held

    def messages(self) -> list[tuple[tuple[str, ...], int]]:
        return [*self.queue.messages, *self.sent.messages]

    def events(self) -> list[str]:
        entries = self.stores.audit.entries(self.id)
        assert broken_at(entries) is None
        return [entry.event for entry in entries]

    def state(self) -> str:
        state: str = self.stores.requests.get(self.id).state
        return state

    def is_listed(self) -> bool:
        return self.id in self.stores.requests.due(self.clock() + 2 * WEEK, 10)

    def has_tombstone(self) -> bool:
        return self.stores.registry.standing(self.request.subject_digest).tombstone is not None


class _Watched:
    """Tells of every call before it is made."""

    def __init__(self, store: Any, tell: Callable[[], None]) -> None:
        self._store = store
        self._tell = tell

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real = getattr(self._store, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._tell()
            return real(*arguments, **named)

        return call


@pytest.fixture(params=["fakes", "moto"])
def new_moment(request: pytest.FixtureRequest) -> Iterator[Callable[[], Moment]]:
    """Makes one on the same tables, as often as it is called."""
    making = stores_on(request)
    stores = next(making)
    numbers = count()
    yield lambda: Moment(stores, next(numbers))
    next(making, None)


def every_place(new_moment: Callable[[], Moment]) -> Iterator[tuple[Moment, int]]:
    """A new request for each of the places at which something else may happen."""
    _, calls = new_moment().expedite()
    assert calls >= 3
    for at in range(1, calls + 1):
        yield new_moment(), at


def test_alone(new_moment: Callable[[], Moment]) -> None:
    """Off the list, with its tombstone, and sent off."""
    moment = new_moment()
    assert moment.is_listed()
    assert not moment.has_tombstone()
    refusal, _ = moment.expedite()
    assert (refusal, moment.messages()) == (None, [((moment.id,), 1)])
    assert not moment.is_listed()
    assert moment.has_tombstone()
    started = moment.stores.requests.start(moment.request, moment.clock(), 1, f"{moment.id}-1", 1)
    assert (started, moment.state()) == (True, STARTED)


def test_cancelled_in_the_same_moment(new_moment: Callable[[], Moment]) -> None:
    """Whichever comes first: cancelled and refused, with nothing sent. Never both as if the other had not been."""
    for moment, at in every_place(new_moment):
        refusal, _ = moment.expedite(moment.cancel, at)
        assert moment.told == [True]
        assert (refusal, moment.state()) == (TransitionError, CANCELLED), at
        assert (moment.events(), moment.messages()) == (["requested", "cancelled"], [])
        assert not moment.is_listed()
        assert not moment.has_tombstone()


def test_cancelled_right_after(new_moment: Callable[[], Moment]) -> None:
    """A request that is on its way can be cancelled until it is started: its message finds nothing to start then."""
    moment = new_moment()
    moment.expedite()
    assert moment.cancel()
    assert moment.events() == ["requested", "expedited", "cancelled"]
    assert not moment.stores.requests.start(moment.request, moment.clock(), 1, f"{moment.id}-1", 1)
    assert not moment.has_tombstone()


def test_expedited_while_it_is_cancelled(new_moment: Callable[[], Moment]) -> None:
    """Between what cancelling reads and writes: it is cancelled all the same, after it."""
    moment = new_moment()
    calls: list[str] = []

    def tell() -> None:
        calls.append("call")
        if len(calls) == 3:  # the trail and the record are read
            assert moment.expedite()[0] is None

    watched = replace(
        moment.stores, requests=_Watched(moment.stores.requests, tell), audit=_Watched(moment.stores.audit, tell)
    )
    moment.service(watched).cancel("acme", moment.id, BACKEND_KEY)
    assert moment.state() == CANCELLED
    assert moment.events() == ["requested", "expedited", "cancelled"]
    assert not moment.is_listed()


def test_released_in_the_same_moment(new_moment: Callable[[], Moment]) -> None:
    """A sweep whose clock is ahead sends it off as well: twice the same attempt, of which one job gets it."""
    for moment, at in every_place(new_moment):
        refusal, _ = moment.expedite(moment.sweep, at)
        assert refusal is None
        assert set(moment.messages()) == {((moment.id,), 1)}
        assert moment.events() == ["requested", "expedited"]
        assert not moment.is_listed()
        assert moment.has_tombstone()
        claims = [moment.stores.requests.start(moment.request, moment.clock(), 1, job, 1) for job in ("one-1", "two-1")]
        assert claims == [True, False]


def test_held_in_the_same_moment(new_moment: Callable[[], Moment]) -> None:
    """A hold wins: the request is held, the call refused, and nothing is sent."""
    for moment, at in every_place(new_moment):
        refusal, _ = moment.expedite(moment.hold, at)
        assert moment.told == [True]
        assert (refusal, moment.state(), moment.messages()) == (TransitionError, HELD, []), at
        assert moment.events() == ["requested", "held"]


def test_two_calls_at_once(new_moment: Callable[[], Moment]) -> None:
    """One of them does it, the other is refused: on record once, sent once."""
    for moment, at in every_place(new_moment):
        refusal, _ = moment.expedite(moment.expedite, at)
        ((others_refusal, _),) = moment.told
        assert (others_refusal, refusal) == (None, TransitionError)
        assert moment.events() == ["requested", "expedited"]
        assert (moment.state(), moment.messages()) == (REQUESTED, [((moment.id,), 1)])
