"""The promise over the API: a tenant's figures, and how each request stands to it, its job and its targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.audit import next_entry
from erasure.domain.identifiers import new_request_id
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.times import format_time, milliseconds
from erasure.ports import SlaRow
from erasure.services import sla_figures
from erasure.services.sla_figures import SlaReader
from erasure.targets.protocol import SliceResult
from tests.contract.stores import NOW, Stores, a_request, stores_on
from tests.functional.backend_calls import BackendApi, body_of
from tests.functional.backend_world import OTHER_TENANT, USER
from tests.functional.native_calls import accept, act, check_problem, post, show, users

pytest_plugins = ["tests.contract.dynamodb_engines"]

HOUR = 3600
NOTHING = {
    "sla_hours": 72,
    "open": 0,
    "requested": 0,
    "started": 0,
    "held": 0,
    "overdue": 0,
    "at_risk": {"50": 0, "75": 0, "90": 0},
    "oldest_age_seconds": 0,
    "seconds_to_deadline": None,
    "next_due_at": None,
    "finished": {"of": 0, "within": 0, "late": 0},
    "more": False,
}


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def figures(api: BackendApi, **more: Any) -> dict[str, Any]:
    reply = api.call("GET", "/v1/sla", **more)
    assert reply["statusCode"] == 200
    told: dict[str, Any] = body_of(reply)
    return told


def change(api: BackendApi, request_id: str, **fields: Any) -> None:
    records = api.world.requests.records
    records[request_id] = replace(records[request_id], **fields)


def started_before(api: BackendApi, hours: float, **fields: Any) -> str:
    """A request that was made so long ago."""
    now = api.world.clock()
    at = now - timedelta(hours=hours)
    request_id = accept(api)
    change(api, request_id, requested_at=at, due_at=at + timedelta(hours=72), state=STARTED, started_at=at, **fields)
    return request_id


class TestFigures:
    def test_nothing_yet(self, api: BackendApi) -> None:
        """Zeros, and no deadline."""
        assert figures(api) == NOTHING

    def test_every_state(self, api: BackendApi) -> None:
        """Open ones by state and by level, each at its highest; the first that is due; what ended in time and not."""
        accept(api)
        for hours in (10, 36, 50, 54, 64.8, 71.9, 73):
            started_before(api, hours)
        held = started_before(api, 100, held_at=api.world.clock())
        change(api, held, state=HELD)
        for hours, late in ((100, False), (200, True)):
            request = api.world.request(started_before(api, hours))
            end = request.due_at + timedelta(seconds=late)
            change(api, request.request_id, state=FINISHED, finished_at=end)
        change(api, accept(api), state=CANCELLED)
        assert figures(api) == {
            "sla_hours": 72,
            "open": 9,
            "requested": 1,
            "started": 7,
            "held": 1,
            "overdue": 1,
            "at_risk": {"50": 2, "75": 1, "90": 2},
            "oldest_age_seconds": 73 * HOUR,
            "seconds_to_deadline": -HOUR,
            "next_due_at": format_time(api.world.clock() - timedelta(hours=1)),
            "finished": {"of": 2, "within": 1, "late": 1},
            "more": False,
        }

    def test_waiting_ones_have_no_age(self, api: BackendApi) -> None:
        """One that waits for its time is open, is due later, and is no older than that."""
        accept(api, not_before=format_time(api.world.clock() + timedelta(days=7)))
        api.world.clock.advance(6 * 24 * HOUR)
        told = figures(api)
        assert (told["open"], told["requested"], told["oldest_age_seconds"]) == (1, 1, 0)
        assert told["seconds_to_deadline"] == (24 + 72) * HOUR

    def test_only_the_tenants_own(self, api: BackendApi) -> None:
        """Another tenant's requests are not counted."""
        accept(api)
        assert figures(api, key=api.make_key(OTHER_TENANT)) == NOTHING

    def test_it_takes_the_scope_to_read(self, api: BackendApi) -> None:
        """403 with a key that only writes."""
        reply = api.call("GET", "/v1/sla", key=api.make_key(scopes=["erasure:write"]))
        check_problem(reply, 403, "insufficient_permissions")

    def test_one_that_moves_on_while_it_is_read(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is seen twice, and counted as what it came to last."""
        started_before(api, 1)
        lists, rows = api.world.requests_by_clock, type(api.world.requests_by_clock).sla_rows

        def close_before_finished_ones(tenant_id: str, state: str, limit: int) -> list[SlaRow]:
            if state == FINISHED:
                request = api.world.only_request()
                change(api, request.request_id, state=FINISHED, finished_at=api.world.clock())
            return rows(lists, tenant_id, state, limit)

        monkeypatch.setattr(lists, "sla_rows", close_before_finished_ones)
        assert figures(api) == {**NOTHING, "finished": {"of": 1, "within": 1, "late": 0}}

    def test_more_than_are_counted(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """So many are counted, and that there are more is told."""
        monkeypatch.setattr(sla_figures, "MAX_OPEN", 2)
        post(api, users("ann", "bob"))
        assert (figures(api)["open"], figures(api)["more"]) == (2, False)
        accept(api)
        assert (figures(api)["open"], figures(api)["more"]) == (2, True)


class TestOneRequest:
    @pytest.mark.parametrize(
        ("seconds", "percent", "state"),
        [
            (0, 0, "on_time"),
            (36 * HOUR - 1, 49, "on_time"),
            (36 * HOUR, 50, "at_risk"),
            (72 * HOUR - 1, 99, "at_risk"),
            (72 * HOUR, 100, "breached"),
            (108 * HOUR, 150, "breached"),
        ],
    )
    def test_while_it_is_open(self, api: BackendApi, seconds: int, percent: int, state: str) -> None:
        """Its age, the time that is left, and the share of the promise that is over; the same for what is to come."""
        request_id = accept(api)
        api.world.clock.advance(seconds)
        shown = body_of(show(api, request_id))
        age, left = seconds, 72 * HOUR - seconds
        assert shown["sla"] == {
            "age_seconds": age,
            "remaining_seconds": left,
            "percent": percent,
            "paused_seconds": 0,
            "state": state,
        }
        assert {(target["age_seconds"], target["remaining_seconds"]) for target in shown["targets"]} == {(age, left)}
        assert "job" not in shown

    def test_while_it_is_held(self, api: BackendApi) -> None:
        """Its clock stands still, and the pause grows; what it was held before is left out of its age."""
        request_id = started_before(api, 40, paused_seconds=10 * HOUR)
        change(api, request_id, due_at=api.world.request(request_id).due_at + timedelta(hours=10))
        before = body_of(show(api, request_id))["sla"]
        assert (before["age_seconds"], before["percent"], before["paused_seconds"]) == (30 * HOUR, 41, 10 * HOUR)
        change(api, request_id, state=HELD, held_at=api.world.clock())
        since = format_time(api.world.clock())
        api.world.clock.advance(100 * HOUR)
        shown = body_of(show(api, request_id))
        assert shown["sla"] == {**before, "paused_seconds": 110 * HOUR, "state": "paused"}
        assert shown["held_since"] == since

    @pytest.mark.parametrize(("hours", "state"), [(2, "met"), (72, "met"), (73, "missed")])
    def test_when_it_is_finished(self, api: BackendApi, hours: float, state: str) -> None:
        """What it took, whenever that is asked, and nothing to come of any target."""
        api.world.put_user()
        request_id = accept(api)
        api.world.clock.advance(hours * HOUR)
        api.world.run_batch()
        api.world.clock.advance(1000 * HOUR)
        shown = body_of(show(api, request_id))
        assert (shown["sla"]["age_seconds"], shown["sla"]["state"]) == (hours * HOUR, state)
        assert shown["sla"]["remaining_seconds"] == (72 - hours) * HOUR
        assert not any("age_seconds" in target for target in shown["targets"])

    def test_when_it_is_cancelled(self, api: BackendApi) -> None:
        """Nothing is promised any more."""
        request_id = accept(api)
        act(api, request_id, "cancel")
        assert "sla" not in body_of(show(api, request_id))

    def test_what_failed_is_still_to_come(self, api: BackendApi) -> None:
        """A target that failed has an age, those that are done have none; a job that closed is not its job any more."""
        api.world.put_user()
        api.world.target.always["accounts"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
        request_id = accept(api)
        api.world.clock.advance(60)
        api.world.run_batch()
        shown = body_of(show(api, request_id))
        ages = {target["name"]: target.get("age_seconds") for target in shown["targets"]}
        assert {name for name, age in ages.items() if age is not None} == {"accounts"}
        assert ages["accounts"] == shown["sla"]["age_seconds"] >= 60
        assert "job" not in shown

    def test_the_job_that_has_it(self, api: BackendApi) -> None:
        """Its number and its age: of the first attempt since it was started, of another one since that was planned."""
        request_id = accept(api)
        world = api.world
        world.requests.start(world.request(request_id), world.clock(), 1, "job-1", 1)
        world.clock.advance(100)
        assert body_of(show(api, request_id))["job"] == {
            "attempt": 1,
            "age_seconds": 100,
            "remaining_seconds": 72 * HOUR - 100,
        }
        world.requests.start(world.request(request_id), world.clock(), 1, "job-2", 2)
        assert body_of(show(api, request_id))["job"]["age_seconds"] == 0
        world.audit.append(request_id, "planned", world.clock(), {}, event_id="planned:job-2")
        world.clock.advance(7)
        assert body_of(show(api, request_id))["job"]["age_seconds"] == 7

    def test_by_a_clock_that_is_behind(self, api: BackendApi) -> None:
        """Ages are never negative."""
        request_id = accept(api)
        change(api, request_id, state=STARTED, started_at=api.world.clock(), job_id="job-1", attempt=1)
        api.world.clock.advance(-30)
        shown = body_of(show(api, request_id))
        assert (shown["sla"]["age_seconds"], shown["sla"]["percent"], shown["job"]["age_seconds"]) == (0, 0, 0)

    def test_what_the_service_has_noted(self, api: BackendApi) -> None:
        """Why it was made, for which request, what came late, and since when nobody tries it any more."""
        first, request_id, now = accept(api), accept(api), format_time(api.world.clock())
        moment = api.world.clock()
        fields = {"purpose": "second_look", "follows": first, "late_arrivals": 0, "parked_at": moment}
        change(api, request_id, **fields)
        shown = body_of(show(api, request_id))
        assert {name: shown[name] for name in fields} == {**fields, "parked_at": now}
        assert not {*fields, "held_since", "purged_at"} & body_of(show(api, first)).keys()

    def test_a_purged_one_names_nobody(self, api: BackendApi) -> None:
        """Neither shown nor listed: the id is null, and when it was purged is told."""
        request_id = accept(api)
        api.world.run_batch()
        record = api.world.request(request_id)
        last = api.world.audit.entries(request_id)[-1]
        entry = next_entry(request_id, last, "purged", api.world.clock(), {})
        assert api.world.requests_by_clock.purge(record, api.world.clock(), entry)
        (listed,) = body_of(api.call("GET", f"/v1/erasure-requests?subject_id={USER}"))["requests"]
        for shown in (body_of(show(api, request_id)), listed):
            assert shown["subject"] == {"type": "user", "id": None}
            assert shown["purged_at"] == format_time(api.world.clock())
            assert USER not in str(shown)


@pytest.fixture(params=["fakes", "moto"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


def test_lists_of_the_store(stores: Stores) -> None:
    """On DynamoDB as on fakes: what the index has of each state is what is counted, of one tenant."""
    at = NOW.replace(microsecond=0)
    ids = [new_request_id(milliseconds(at) + number) for number in range(4)]
    due = [at + timedelta(hours=hours) for hours in (1, 36, 72, 72)]
    tenants = ["acme", "acme", "acme", "other"]
    for request_id, due_at, tenant in zip(ids, due, tenants, strict=True):
        stores.accepted(a_request(tenant, request_id=request_id, due_at=due_at))
    second = stores.requests.get(ids[1])
    assert stores.requests.start(second, NOW, 1, "job-1", 1)
    told = SlaReader(stores.clock, lambda: at, 72).figures("acme")
    assert dict(told.by_state) == {REQUESTED: 2, STARTED: 1, HELD: 0}
    assert (told.total.open, told.next_due_at, told.at_risk) == (3, due[0], {50: 1, 75: 0, 90: 1})
