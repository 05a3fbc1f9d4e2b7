"""The two steps of deleting oneself, and the waiting."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import is_request_id
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import Subject
from erasure.errors import (
    ConflictError,
    DeleteIdRejectedError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from erasure.ports import PinnedMap
from tests.unit.services.world import ANN, MAP, World

BOB = Subject("acme", "bob")


class Recorder:
    """Passes calls on and remembers their names."""

    def __init__(self, inner: Any, calls: list[str]) -> None:
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._inner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls.append(name)
            return real(*arguments, **named)

        return call


@pytest.fixture
def world() -> World:
    return World()


def test_a_person_erases_themselves(world: World) -> None:
    """Both steps: a delete id, then a request of the right person, open for 72 hours, on record and in the queue."""
    service = world.service()
    issued = service.issue_delete_id(ANN)
    request_id = service.confirm(ANN, issued.delete_id)
    assert is_request_id(request_id)
    assert world.queue.messages == [((request_id,), 1)]
    record = world.requests.records[request_id]
    assert (record.subject, record.state, record.family) == (ANN, REQUESTED, "h2o")
    assert record.due_at - record.requested_at == timedelta(hours=72)
    assert record.purged_by - record.requested_at == timedelta(days=90)
    assert [entry.event for entry in world.trail(record)] == ["requested"]


def test_delete_ids_are_long_random_and_stored_as_digests(world: World) -> None:
    """Two ids differ, hold at least 128 bits, and are nowhere in the store."""
    service = world.service()
    first, second = (service.issue_delete_id(ANN) for _ in range(2))
    assert first.delete_id != second.delete_id
    assert len(first.delete_id) * 6 >= 128
    assert first.expires_at - world.clock() < timedelta(seconds=301)
    assert not {first.delete_id, second.delete_id} & set(world.delete_ids.subject_of)


def test_earlier_ids_stay_valid(world: World) -> None:
    """A client that repeats step one may confirm with any of its ids, each once."""
    service = world.service()
    issued = [service.issue_delete_id(ANN).delete_id for _ in range(3)]
    assert len({service.confirm(ANN, delete_id) for delete_id in issued}) == 3


WRONG: dict[str, Any] = {
    "unknown": "x" * 43,
    "empty": "",
    "null": None,
    "number": 7,
    "not a number": math.nan,
    "truth value": True,
    "list": ["x"],
    "object": {"delete_id": [math.inf]},
    "deep": [[[[[[[[]]]]]]]],
    "very long": "x" * 100_000,
    "unpaired surrogate": "\ud800",
    "control characters": "\x00\x1f",
}


@pytest.mark.parametrize("key", [None, "a key"])
@pytest.mark.parametrize("case", [*WRONG, "somebody else's", "of another tenant", "consumed", "expired"])
def test_wrong_ids_cannot_be_told_apart(world: World, case: str, key: str | None) -> None:
    """Every wrong delete id is rejected with the same error after the same calls, and nothing is queued."""
    service = world.service()
    issued = service.issue_delete_id(ANN).delete_id
    subject, delete_id = ANN, WRONG.get(case, issued)
    if case == "somebody else's":
        subject = BOB
    elif case == "of another tenant":
        subject = replace(ANN, tenant_id="other")
    elif case == "consumed":
        service.confirm(ANN, issued)
        world.queue.messages.clear()
    elif case == "expired":
        world.clock.advance(301)
    before = dict(world.requests.records)
    calls: list[str] = []
    watched = World(clock=world.clock)
    for name in ("delete_ids", "requests", "acceptance", "maps", "queue"):
        setattr(watched, name, Recorder(getattr(world, name), calls))
    with pytest.raises(DeleteIdRejectedError) as caught:
        watched.service().confirm(subject, delete_id, idempotency_key=key)
    assert str(caught.value) == ""
    assert calls == ["accept"]
    assert world.requests.records == before
    assert world.queue.messages == []
    assert not world.acceptance.idempotency


def test_a_wrong_attempt_does_not_use_the_id_up(world: World) -> None:
    """After somebody else has tried an id, its owner can still confirm."""
    service = world.service()
    issued = service.issue_delete_id(ANN).delete_id
    with pytest.raises(DeleteIdRejectedError):
        service.confirm(BOB, issued)
    service.confirm(ANN, issued)


# Idempotency


def test_same_key_same_body_same_request(world: World) -> None:
    """A repeated confirmation gets the first one's request id, and the request is not made twice."""
    service = world.service()
    issued = service.issue_delete_id(ANN).delete_id
    first = service.confirm(ANN, issued, idempotency_key="k")
    assert service.confirm(ANN, issued, idempotency_key="k") == first
    assert len(world.requests.records) == 1
    assert set(world.queue.messages) == {((first,), 1)}, "a second message may only name the same job"


def test_same_key_other_body_is_a_conflict(world: World) -> None:
    """A key that comes with another delete id is refused, and that id stays good."""
    service = world.service()
    one, other = (service.issue_delete_id(ANN).delete_id for _ in range(2))
    service.confirm(ANN, one, idempotency_key="k")
    for body in (other, "unknown", None):
        with pytest.raises(ConflictError):
            service.confirm(ANN, body, idempotency_key="k")
    service.confirm(ANN, other)


def test_keys_are_a_persons_own(world: World) -> None:
    """The same key of two people stands for two requests and two delete ids."""
    service = world.service()
    ids = [service.issue_delete_id(subject, idempotency_key="k").delete_id for subject in (ANN, BOB)]
    assert len(set(ids)) == 2
    confirmed = [
        service.confirm(subject, delete_id, idempotency_key="k")
        for subject, delete_id in zip((ANN, BOB), ids, strict=True)
    ]
    assert len(set(confirmed)) == 2


def test_step_one_repeated_gives_the_same_answer(world: World) -> None:
    """With a key, step one gives the same id with the same time, however often; without, another one each time."""
    service = world.service()
    first = service.issue_delete_id(ANN, idempotency_key="k")
    world.clock.advance(10)
    assert service.issue_delete_id(ANN, idempotency_key="k") == first
    assert service.issue_delete_id(ANN, idempotency_key="other").delete_id != first.delete_id
    assert service.issue_delete_id(ANN).delete_id != first.delete_id


def test_step_one_repeated_too_late_is_a_conflict(world: World) -> None:
    """A key whose delete id has expired is refused: an id that cannot be used is not handed out."""
    service = world.service()
    service.issue_delete_id(ANN, idempotency_key="k")
    world.clock.advance(302)
    with pytest.raises(ConflictError):
        service.issue_delete_id(ANN, idempotency_key="k")


def test_derived_ids_depend_on_the_secret(world: World) -> None:
    """The id behind a key cannot be computed by somebody who knows person and key, but not the service's secret."""
    first = world.service().issue_delete_id(ANN, idempotency_key="k").delete_id
    other = world.service()
    other._digest_key = lambda: b"another secret"
    assert other.issue_delete_id(ANN, idempotency_key="k").delete_id != first


# What cannot be promised


def test_queue_failure_cancels(world: World) -> None:
    """If the queue does not take the message, the request is cancelled and the caller is told."""
    service = world.service()
    issued = service.issue_delete_id(ANN).delete_id
    world.queue.down = True
    with pytest.raises(UnavailableError):
        service.confirm(ANN, issued)
    (record,) = world.requests.records.values()
    assert record.state == CANCELLED
    assert [entry.event for entry in world.audit.entries(record.request_id)] == ["requested", "cancelled"]


def test_a_message_that_arrived_anyway_counts(world: World) -> None:
    """If only the queue's answer was lost and the job has begun, the confirmation stands."""
    service = world.service()
    issued = service.issue_delete_id(ANN).delete_id
    world.queue.down = True
    world.queue.arrives_anyway = lambda ids: world.requests.start(
        world.requests.records[ids[0]], world.clock(), 1, "job-1", 1
    )
    request_id = service.confirm(ANN, issued)
    assert world.requests.records[request_id].state == STARTED


def test_a_cancelled_request_is_not_erased(world: World) -> None:
    """A message that arrives after its request was cancelled erases nothing."""
    world.put_things()
    request = world.a_request()
    world.cancel(request)
    world.run(request)
    assert len(world.target.things) == 3
    assert world.record(request).state == CANCELLED
    assert world.target.erase_calls == []


def test_without_a_map_nothing_is_accepted(world: World) -> None:
    """Step one is refused while there is no data map; once there is one, it works."""
    maps, world.maps.maps = world.maps.maps, []
    service = world.service()
    with pytest.raises(UnavailableError):
        service.issue_delete_id(ANN)
    assert not world.delete_ids.subject_of
    world.maps.maps = maps
    service.issue_delete_id(ANN)


@pytest.mark.parametrize("user_id", ["a/b", "/", "a/"])
def test_ids_that_the_map_cannot_name_are_refused_at_once(world: World, user_id: str) -> None:
    """An id with the separator of a prefix in it is refused in step one, with a rule and without the id."""
    with pytest.raises(InvalidInputError) as caught:
        world.service().issue_delete_id(Subject("acme", user_id))
    assert str(caught.value).startswith("user id: ")
    assert not world.delete_ids.subject_of


def test_the_refusal_names_the_tenant_if_it_is_the_tenant(world: World) -> None:
    """Whose id cannot be used is told right: a person cannot do anything about their tenant's."""
    with pytest.raises(InvalidInputError, match=r"^tenant id: "):
        world.service().issue_delete_id(Subject("ac/me", "ann"))


def test_targets_of_other_families_do_not_refuse(world: World) -> None:
    """Only targets that the deletion would cover can refuse an id."""
    targets = [
        {"name": "audit", "category": "record", "s3": {"bucket": "app-audit", "prefix": "{user_id}/"}},
        {"name": "notes", "category": "content", "dynamodb": {"table": "app-notes", "key": {"pk": "{user_id}"}}},
    ]
    data_map = parse_data_map({"version": 1, "targets": targets})
    world.maps.maps = [PinnedMap(1, data_map.digest, data_map.targets)]
    world.service().issue_delete_id(Subject("acme", "a/b"))


def test_a_new_map_counts_within_a_minute(world: World) -> None:
    """The map is kept for a minute at most: then an id that a new map cannot name is refused."""
    world.maps.maps = []
    data_map = parse_data_map(
        {
            "version": 1,
            "targets": [
                {"name": "n", "category": "content", "dynamodb": {"table": "app-notes", "key": {"pk": "{user_id}"}}}
            ],
        }
    )
    world.maps.put(data_map, world.clock())
    service = world.service()
    service.issue_delete_id(Subject("acme", "a/b"))
    world.maps.put(MAP, world.clock())
    service._sleep(61)
    with pytest.raises(InvalidInputError):
        service.issue_delete_id(Subject("acme", "a/b"))


# Looking and waiting


def test_a_purged_request_is_still_its_subjects(world: World) -> None:
    """Without the id in its record, its subject sees the request, and nobody else does."""
    service = world.service()
    request_id = service.confirm(ANN, service.issue_delete_id(ANN).delete_id)
    record = world.requests.records[request_id]
    world.requests.records[request_id] = replace(record, subject=replace(ANN, id=""), purged_at=world.clock())
    assert service.status(ANN, request_id).request_id == request_id
    for other in (BOB, replace(ANN, tenant_id="other"), replace(ANN, type="group"), replace(ANN, id="")):
        with pytest.raises(NotFoundError):
            service.status(other, request_id)


def test_others_see_nothing(world: World) -> None:
    """Somebody else's request, another tenant's and one that does not exist are the same to the caller."""
    request = world.a_request()
    told = []
    for subject, request_id in [
        (BOB, request.request_id),
        (replace(ANN, tenant_id="other"), request.request_id),
        (replace(ANN, type="group"), request.request_id),
        (ANN, "er_00000000000000000000000000"),
    ]:
        with pytest.raises(NotFoundError) as caught:
            world.service().status(subject, request_id)
        told.append(str(caught.value))
    assert len(set(told)) == 1
    assert world.service().status(ANN, request.request_id).state == REQUESTED


def test_waiting_ends_with_the_time(world: World) -> None:
    """An unfinished request is waited for as long as asked, not longer, and told as it is."""
    request, begin = world.a_request(), world.clock()
    view = world.service().wait(ANN, request.request_id, 25)
    assert (view.state, view.settled) == (REQUESTED, False)
    assert (world.clock() - begin).total_seconds() == pytest.approx(25)


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_means_one_look(world: World, seconds: float) -> None:
    """Without time to wait, the request is looked at once."""
    request, begin = world.a_request(), world.clock()
    assert world.service().wait(ANN, request.request_id, seconds).state == REQUESTED
    assert world.clock() == begin


@pytest.mark.parametrize(
    "change", [{"state": FINISHED}, {"state": CANCELLED}, {"state": HELD}, {"state": STARTED, "attention": True}]
)
def test_waiting_ends_when_settled(world: World, change: dict[str, Any]) -> None:
    """What will not change any more is told at once, with its outcomes."""
    request = world.a_request()
    outcomes = (TargetOutcome("notes", "content", "erased", 3),)
    world.requests.records[request.request_id] = replace(request, outcomes=outcomes, **change)
    begin = world.clock()
    view = world.service().wait(ANN, request.request_id, 25)
    assert view.settled
    assert view.outcomes == outcomes
    assert world.clock() == begin


def test_waiting_sees_the_end_soon(world: World) -> None:
    """A request that finishes while somebody waits is told within about a second."""
    world.put_things()
    request = world.a_request()
    service = world.service()
    sleep, begin = service._sleep, world.clock()

    def work_and_sleep(seconds: float) -> None:
        sleep(seconds)
        if world.record(request).state == REQUESTED and (world.clock() - begin).total_seconds() > 10:
            world.run(request)

    service._sleep = work_and_sleep
    assert service.wait(ANN, request.request_id, 25).state == FINISHED
    assert (world.clock() - begin).total_seconds() < 12


def test_a_map_without_a_target_for_it_refuses_at_once(world: World) -> None:
    """If the map covers nothing that the self-deletion erases, step one is refused: confirming could erase nothing."""
    accounts = {
        "name": "accounts",
        "category": "account",
        "dynamodb": {"table": "app-accounts", "key": {"pk": "{tenant_id}#{user_id}"}},
    }
    data_map = parse_data_map({"version": 1, "targets": [accounts]})
    world.maps.maps = [PinnedMap(1, data_map.digest, data_map.targets)]
    with pytest.raises(UnavailableError):
        world.service().issue_delete_id(ANN)
    assert not world.delete_ids.subject_of


def test_repeating_with_the_same_key_queues_what_a_crash_left_unqueued(world: World) -> None:
    """The first call died before queueing: the repeated call queues the request. Once started, it queues nothing."""
    service = world.service()
    issued = service.issue_delete_id(ANN).delete_id
    request_id = service.confirm(ANN, issued, idempotency_key="k")
    world.queue.messages.clear()
    assert service.confirm(ANN, issued, idempotency_key="k") == request_id
    assert world.queue.messages == [((request_id,), 1)]
    world.requests.start(world.requests.records[request_id], world.clock(), 1, "job-1", 1)
    world.queue.messages.clear()
    assert service.confirm(ANN, issued, idempotency_key="k") == request_id
    assert world.queue.messages == []
