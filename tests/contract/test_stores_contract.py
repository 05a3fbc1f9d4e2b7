"""What the stores promise: the fakes and DynamoDB (moto, MiniStack, DynamoDB Local) keep to one suite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.audit import broken_at, next_entry
from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, TRANSITIONS, ErasureRequest
from erasure.errors import (
    ConflictError,
    DeleteIdRejectedError,
    IdempotencyKeyUsedError,
    UnavailableError,
)
from erasure.ports import PinnedMap
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.stores import (
    ENGINES,
    LIFETIME,
    NOW,
    Stores,
    a_data_map,
    a_record,
    a_request,
    an_acceptance,
    first_entry,
    make_stores,
    stores_on,
)

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

ODD = ["ann", "10", "{user_id}", "名前", "😀", "a'b\"c", "%", "*", " ann ", "a#b"]
OUTCOMES = [TargetOutcome("notes", "content", "erased", 7, at_least=True), TargetOutcome("files", "content", "failed")]


@pytest.fixture(params=["fakes", "moto", *ENGINES])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


@pytest.fixture(params=["fakes", *ENGINES])
def shared_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Without moto, which does not serve several threads."""
    yield from stores_on(request)


def at_once(number: int, call: Callable[[int], Any]) -> list[Any]:
    """What ``call(0)``, ``call(1)``, ... give when they begin together; an exception counts as a result."""
    barrier = threading.Barrier(number)

    def run(position: int) -> Any:
        barrier.wait()
        try:
            return call(position)
        except Exception as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


# Delete ids and acceptance


def test_delete_id_keeps_its_time(stores: Stores) -> None:
    """Putting a delete id again tells the same time as the first time, which is not before what was asked for."""
    first = stores.delete_ids.put("d", "s", NOW + LIFETIME)
    again = stores.delete_ids.put("d", "s", NOW + 2 * LIFETIME)
    assert first == again
    assert NOW + LIFETIME <= first < NOW + LIFETIME + timedelta(seconds=1)


def test_accepting_writes_request_and_first_entry(stores: Stores) -> None:
    """An accepted request is read back as it was given, with the first entry of its trail, and is open."""
    requests = [stores.accepted(a_request(tenant_id, user_id)) for tenant_id in ODD[:3] for user_id in ODD]
    for request in requests:
        assert stores.requests.get(request.request_id) == request
        assert stores.audit.entries(request.request_id) == [first_entry(request)]
    assert stores.open_request_ids() == {request.request_id for request in requests}


@pytest.mark.parametrize("case", ["unknown", "somebody else's", "of another tenant", "consumed", "expired"])
def test_wrong_delete_ids_are_rejected(stores: Stores, case: str) -> None:
    """A wrong delete id is rejected, and neither request nor audit entry is written."""
    request, now = a_request(), NOW
    stores.delete_ids.put("d", request.subject_digest, NOW + LIFETIME)
    if case == "somebody else's":
        request = a_request("acme", "bob")
    elif case == "of another tenant":
        request = a_request("other", "ann")
    elif case == "consumed":
        stores.acceptance.accept(an_acceptance(request, delete_id_digest="d"), NOW)
        request = a_request()
    elif case == "expired":
        now = stores.delete_ids.put("d", request.subject_digest, NOW)
    with pytest.raises(DeleteIdRejectedError):
        stores.acceptance.accept(an_acceptance(request, delete_id_digest="x" if case == "unknown" else "d"), now)
    assert stores.requests.get(request.request_id) is None
    assert stores.audit.entries(request.request_id) == []


def test_rejection_leaves_the_id_to_its_owner(stores: Stores) -> None:
    """Somebody else's attempt does not use a delete id up."""
    owner, other = a_request(), a_request("acme", "bob")
    stores.delete_ids.put("d", owner.subject_digest, NOW + LIFETIME)
    with pytest.raises(DeleteIdRejectedError):
        stores.acceptance.accept(an_acceptance(other, delete_id_digest="d"), NOW, a_record(other))
    assert stores.acceptance.find_idempotency("key") is None
    stores.acceptance.accept(an_acceptance(owner, delete_id_digest="d"), NOW, a_record(owner))
    assert stores.requests.get(owner.request_id) == owner


def test_id_is_good_until_its_time(stores: Stores) -> None:
    """A delete id is accepted a millisecond before it expires."""
    request = a_request()
    until = stores.delete_ids.put("d", request.subject_digest, NOW + LIFETIME)
    stores.acceptance.accept(an_acceptance(request, delete_id_digest="d"), until - timedelta(milliseconds=1))
    assert stores.requests.get(request.request_id) == request


@pytest.mark.parametrize("id_of_second_call", ["d", "another", "unknown"])
def test_idempotency_key_stands_for_the_first_call(stores: Stores, id_of_second_call: str) -> None:
    """A used key is told as such, whatever the delete id, and the second call writes nothing."""
    first, second = a_request(), a_request()
    for digest in ("d", "another"):
        stores.delete_ids.put(digest, first.subject_digest, NOW + LIFETIME)
    stores.acceptance.accept(an_acceptance(first, delete_id_digest="d"), NOW, a_record(first))
    with pytest.raises(IdempotencyKeyUsedError):
        stores.acceptance.accept(an_acceptance(second, delete_id_digest=id_of_second_call), NOW, a_record(second))
    assert stores.requests.get(second.request_id) is None
    assert stores.audit.entries(second.request_id) == []
    known = stores.acceptance.find_idempotency("key")
    assert known == replace(a_record(first), expires_at=known.expires_at)
    assert known.expires_at - NOW - timedelta(hours=24) < timedelta(seconds=1)
    assert stores.acceptance.find_idempotency("another key") is None


def test_idempotency_key_may_be_used_again_after_its_time(stores: Stores) -> None:
    """An expired key stands for nothing any more, although no TTL has swept it yet."""
    first, second = a_request(), a_request()
    later = NOW + timedelta(hours=25)
    stores.delete_ids.put("d", first.subject_digest, NOW + LIFETIME)
    stores.delete_ids.put("e", first.subject_digest, later + LIFETIME)
    stores.acceptance.accept(an_acceptance(first, delete_id_digest="d"), NOW, a_record(first))
    record = replace(a_record(second), expires_at=later + timedelta(hours=24))
    stores.acceptance.accept(an_acceptance(second, delete_id_digest="e"), later, record)
    assert stores.acceptance.find_idempotency("key").run_id == second.request_id


@pytest.mark.parametrize("with_key", [False, True])
def test_one_of_many_confirmations_wins(shared_stores: Stores, with_key: bool) -> None:
    """Confirmations of one delete id at the same moment: exactly one is accepted."""
    stores, number = shared_stores, 6
    requests = [a_request() for _ in range(number)]
    stores.delete_ids.put("d", requests[0].subject_digest, NOW + LIFETIME)

    def confirm(position: int) -> None:
        request = requests[position]
        record = a_record(request) if with_key else None
        stores.acceptance.accept(an_acceptance(request, delete_id_digest="d"), NOW, record)

    results = at_once(number, confirm)
    expected: type[Exception] = IdempotencyKeyUsedError if with_key else DeleteIdRejectedError
    assert [result for result in results if result is None] == [None]
    assert [type(result) for result in results if result is not None] == [expected] * (number - 1)
    winner = requests[results.index(None)]
    written = [request.request_id for request in requests if stores.requests.get(request.request_id) is not None]
    assert written == [winner.request_id]
    assert not with_key or stores.acceptance.find_idempotency("key").run_id == winner.request_id


def test_rejections_make_the_same_calls(moto_dynamodb: Any) -> None:
    """Unknown, foreign, consumed and expired ids make the same calls to DynamoDB: time does not tell them apart."""
    client = HookedClient(moto_dynamodb.client)
    stores = make_stores(moto_dynamodb, client)
    owner, other = a_request(), a_request("acme", "bob")
    for digest in ("used", "mine"):
        stores.delete_ids.put(digest, owner.subject_digest, NOW + LIFETIME)
    stores.acceptance.accept(an_acceptance(owner, delete_id_digest="used"), NOW)
    shapes = []
    for digest, request, now in [
        ("unknown", a_request(), NOW),
        ("mine", other, NOW),
        ("used", a_request(), NOW),
        ("mine", a_request(), NOW + 2 * LIFETIME),
    ]:
        client.calls.clear()
        with pytest.raises(DeleteIdRejectedError):
            stores.acceptance.accept(an_acceptance(request, delete_id_digest=digest), now)
        shapes.append([operation for operation, _ in client.calls])
    assert shapes == [["transact_write_items"]] * 4


# Requests


def test_unknown_request_is_none(stores: Stores) -> None:
    """What was never accepted is not found, cannot be started, cancelled or closed."""
    request = a_request()
    assert stores.requests.get(request.request_id) is None
    assert not stores.requests.start(request, NOW, 1, "job-1", 1)
    assert not _cancel(stores, request)
    assert not _close(stores, replace(request, state=STARTED), "job-1", finished=True)
    assert stores.requests.get(request.request_id) is None
    assert stores.audit.entries(request.request_id) == []


def _close(stores: Stores, request: ErasureRequest, job_id: str, *, finished: bool) -> Any:
    entries = stores.audit.entries(request.request_id)
    event = "finished" if finished else "attention"
    entry = next_entry(
        request.request_id, entries[-1] if entries else None, event, NOW, {}, event_id=f"closed:{job_id}"
    )
    return stores.requests.close(request, job_id, OUTCOMES, NOW, entry, finished=finished, attention=not finished)


def _cancel(stores: Stores, request: ErasureRequest) -> bool:
    entries = stores.audit.entries(request.request_id)
    entry = next_entry(request.request_id, entries[-1] if entries else None, "cancelled", NOW, {})
    return bool(stores.requests.cancel(request, entry))


CHANGES: dict[str, Callable[[Stores, ErasureRequest], Any]] = {
    STARTED: lambda stores, request: stores.requests.start(request, NOW, 3, "job-1", 1),
    CANCELLED: lambda stores, request: _cancel(stores, request),
    FINISHED: lambda stores, request: _close(stores, request, "job-1", finished=True),
    "attention": lambda stores, request: _close(stores, request, "job-1", finished=False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_transition_outside_of_the_table(stores: Stores, change: str) -> None:
    """From every state, each change is done exactly if the table of transitions has it, also for a caller whose copy
    of the record is out of date."""
    for state in TRANSITIONS:
        for stale in (False, True):
            _check_change(stores, state, change, stale=stale)


def _check_change(stores: Stores, state: str, change: str, *, stale: bool) -> None:
    request = stores.accepted(a_request())
    stores.force_state(request.request_id, state)
    wanted = STARTED if change == "attention" else change
    before = stores.requests.get(request.request_id)
    trail = stores.audit.entries(request.request_id)
    told = CHANGES[change](stores, request if stale else before)
    after = stores.requests.get(request.request_id)
    if change == "attention":
        may = state == STARTED
    elif change == STARTED:
        may = state == STARTED or STARTED in TRANSITIONS[state]
    else:
        may = wanted in TRANSITIONS[state]
    assert told is may
    assert after.state == (wanted if may else state)
    if not may:
        assert after == before
        assert stores.audit.entries(request.request_id) == trail


def test_start_is_told_and_written_once(stores: Stores) -> None:
    """Starting notes time, map version and job; the same job again, with a fresh or an old record, changes nothing."""
    request = stores.accepted(a_request())
    assert stores.requests.start(request, NOW, 4, "job-1", 1)
    started = stores.requests.get(request.request_id)
    assert (started.state, started.started_at, started.data_map_version) == (STARTED, request.requested_at, 4)
    assert (started.job_id, started.attempt) == ("job-1", 1)
    for known in (request, started):
        assert stores.requests.start(known, NOW + LIFETIME, 5, "job-1", 1)
    assert stores.requests.get(request.request_id) == started


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_request_is_not_two_jobs_at_the_same_attempt(stores: Stores, attempt: int) -> None:
    """Another job of the same or an earlier attempt does not get a request that a job has claimed."""
    request = stores.started("job-1", 1)
    assert not stores.requests.start(request, NOW, 2, "other", attempt)
    assert stores.requests.get(request.request_id).job_id == "job-1"


def test_a_later_attempt_takes_over(stores: Stores) -> None:
    """A job of a later attempt gets the request, whose first start stays noted; the earlier job has lost it."""
    request = stores.started("job-0", 0)
    assert stores.requests.start(request, NOW + LIFETIME, 2, "job-2", 2)
    record = stores.requests.get(request.request_id)
    assert (record.job_id, record.attempt, record.data_map_version) == ("job-2", 2, 2)
    assert record.started_at == request.requested_at
    assert not stores.requests.start(request, NOW, 1, "job-0", 0)


def test_jobs_that_start_a_request_at_the_same_moment(shared_stores: Stores) -> None:
    """Of several jobs of one attempt, exactly one gets the request, and it is the one on record."""
    request = shared_stores.accepted(a_request())
    results = at_once(4, lambda number: shared_stores.requests.start(request, NOW, 1, f"job-{number}", 1))
    assert sorted(results) == [False, False, False, True]
    assert shared_stores.requests.get(request.request_id).job_id == f"job-{results.index(True)}"


def test_nothing_starts_before_its_time(stores: Stores) -> None:
    """A request with ``not_before`` cannot be started a millisecond earlier, and then it can."""
    request = stores.accepted(a_request(not_before=NOW + LIFETIME))
    assert not stores.requests.start(request, NOW + LIFETIME - timedelta(milliseconds=1), 1, "job-1", 1)
    assert stores.requests.get(request.request_id).state == REQUESTED
    assert stores.requests.start(request, NOW + LIFETIME, 1, "job-1", 1)


def test_closing_writes_outcomes_and_entry(stores: Stores) -> None:
    """Closing as finished ends the request, with its outcomes and an entry that continues the trail."""
    request = stores.started()
    assert _close(stores, request, "job-1", finished=True) is True
    closed = stores.requests.get(request.request_id)
    assert (closed.state, closed.attention, closed.finished_at) == (FINISHED, False, request.requested_at)
    assert closed.outcomes == tuple(OUTCOMES)
    assert (closed.closed_at, closed.closed_jobs) == (request.requested_at, {"job-1"})
    entries = stores.audit.entries(request.request_id)
    assert [entry.event for entry in entries] == ["requested", "finished"]
    assert broken_at(entries) is None


def test_closing_without_an_end(stores: Stores) -> None:
    """A job that is only a part of the work writes its outcomes, and the request goes on without attention."""
    request = stores.started("job-0", 0)
    entry = next_entry(request.request_id, first_entry(request), "effective", NOW, {})
    assert stores.requests.close(request, "job-0", OUTCOMES, NOW, entry, finished=False, attention=False)
    record = stores.requests.get(request.request_id)
    assert (record.state, record.attention, record.outcomes) == (STARTED, False, tuple(OUTCOMES))


def test_attention_keeps_the_request_open(stores: Stores) -> None:
    """A request with attention stays started and open, and can be finished by another job, which clears it."""
    request = stores.started()
    assert _close(stores, request, "job-1", finished=False) is True
    record = stores.requests.get(request.request_id)
    assert (record.state, record.attention, record.finished_at) == (STARTED, True, None)
    assert request.request_id in stores.open_request_ids()
    assert _close(stores, record, "job-2", finished=True) is True
    assert stores.requests.get(request.request_id).attention is False
    assert request.request_id not in stores.open_request_ids()


def test_a_job_closes_once(stores: Stores) -> None:
    """A job that has closed a request does not do so again, even if another one has since."""
    request = stores.started()
    assert _close(stores, request, "job-1", finished=False) is True
    assert _close(stores, request, "job-1", finished=True) is False
    assert _close(stores, request, "job-2", finished=False) is True
    assert _close(stores, request, "job-1", finished=True) is False
    assert stores.requests.get(request.request_id).state == STARTED
    assert len(stores.audit.entries(request.request_id)) == 3


def test_closing_is_both_or_neither(stores: Stores) -> None:
    """If the entry's place in the trail is taken, the request is not closed either."""
    request = stores.started()
    late = next_entry(request.request_id, None, "finished", NOW, {})
    with pytest.raises(UnavailableError):
        stores.requests.close(request, "job-1", OUTCOMES, NOW, late, finished=True, attention=False)
    assert stores.requests.get(request.request_id).state == STARTED
    assert stores.audit.entries(request.request_id) == [first_entry(request)]
    assert _close(stores, request, "job-1", finished=True) is True


def test_cancelled_is_not_open(stores: Stores) -> None:
    """A cancelled request leaves the index of open ones."""
    request = stores.accepted(a_request())
    assert _cancel(stores, request) is True
    assert stores.requests.get(request.request_id).state == CANCELLED
    assert [entry.event for entry in stores.audit.entries(request.request_id)] == ["requested", "cancelled"]
    assert request.request_id not in stores.open_request_ids()


def test_starting_and_cancelling_at_the_same_moment(shared_stores: Stores) -> None:
    """Of start and cancel at the same moment, exactly one happens, and the state is the one that was told."""
    request = shared_stores.accepted(a_request())
    started, cancelled = at_once(
        2,
        lambda position: (
            _cancel(shared_stores, request) if position else shared_stores.requests.start(request, NOW, 1, "job-1", 1)
        ),
    )
    assert [started, cancelled].count(True) == 1
    state = shared_stores.requests.get(request.request_id).state
    assert state == (STARTED if started is True else CANCELLED)


# Data maps


def test_no_map_at_first(stores: Stores) -> None:
    """An empty registry has no current map and no versions."""
    assert stores.data_maps.current() is None
    assert stores.data_maps.version(1) is None


def test_maps_are_versioned(stores: Stores) -> None:
    """Each new map gets the next version, old versions stay as they were, the same map again keeps its version."""
    first, second = a_data_map("notes"), a_data_map("notes", "files")
    assert [stores.data_maps.put(data_map, NOW) for data_map in (first, first, second, second)] == [1, 1, 2, 2]
    assert stores.data_maps.current() == PinnedMap(2, second.digest, second.targets)
    assert stores.data_maps.version(1) == PinnedMap(1, first.digest, first.targets)
    assert stores.data_maps.version(2) == stores.data_maps.current()
    assert stores.data_maps.version(3) is None


def test_maps_keep_what_families_erase(stores: Stores) -> None:
    """Categories by family are those of the map, in its versions too."""
    plain = a_data_map("notes")
    chosen = parse_data_map({**plain.document, "families": {"june": ["content", "session"], "h2o": "all"}})
    assert [stores.data_maps.put(data_map, NOW) for data_map in (plain, chosen)] == [1, 2]
    assert stores.data_maps.current().families == chosen.families
    assert stores.data_maps.version(1).families == plain.families
    assert chosen.families != plain.families


def test_an_old_map_may_come_back(stores: Stores) -> None:
    """Putting an earlier map again makes it current, as a new version."""
    first, second = a_data_map("notes"), a_data_map("files")
    for data_map in (first, second):
        stores.data_maps.put(data_map, NOW)
    assert stores.data_maps.put(first, NOW) == 3
    assert stores.data_maps.current().digest == first.digest


def test_maps_put_at_the_same_moment(shared_stores: Stores) -> None:
    """Of maps put at the same moment none is lost without a word: each has a version of its own or a conflict."""
    maps = [a_data_map(f"notes-{number}") for number in range(4)]
    results = at_once(4, lambda position: shared_stores.data_maps.put(maps[position], NOW))
    versions = {result: maps[position] for position, result in enumerate(results) if isinstance(result, int)}
    refused = [result for result in results if not isinstance(result, int)]
    assert all(isinstance(result, ConflictError) for result in refused)
    assert sorted(versions) == list(range(1, 5 - len(refused)))
    for version, data_map in versions.items():
        assert shared_stores.data_maps.version(version).digest == data_map.digest
    assert shared_stores.data_maps.current().version == max(versions)


# Audit


def test_unknown_trail_is_empty(stores: Stores) -> None:
    """Nothing has been recorded of what was never requested."""
    assert stores.audit.entries("er_none") == []


def test_trail_is_whole_after_reading(stores: Stores) -> None:
    """Entries come back as they were appended, in order, and their chain is whole."""
    details = {"targets": ["名前", "a\"b'c"], "refused": {}, "count": 3, "version": None, "whole": True}
    appended = [stores.audit.append("er_1", f"event-{number}", NOW, details) for number in range(12)]
    stores.audit.append("er_11", "event", NOW, {})
    entries = stores.audit.entries("er_1")
    assert entries == appended
    assert [entry.sequence for entry in entries] == list(range(1, 13))
    assert broken_at(entries) is None


def test_an_event_is_appended_once(stores: Stores) -> None:
    """The same event again is not appended, and the first entry is told; another id of the same event is."""
    first = stores.audit.append("er_1", "planned", NOW, {"n": 1}, event_id="planned:1")
    again = stores.audit.append("er_1", "planned", NOW + LIFETIME, {"n": 2}, event_id="planned:1")
    stores.audit.append("er_1", "planned", NOW, {"n": 3}, event_id="planned:2")
    assert again == first
    assert [entry.event_id for entry in stores.audit.entries("er_1")] == ["planned:1", "planned:2"]


def test_appending_at_the_same_moment(shared_stores: Stores) -> None:
    """Events appended at the same moment all find their place, and the chain is whole."""
    results = at_once(4, lambda position: shared_stores.audit.append("er_1", f"event-{position}", NOW, {}))
    entries = shared_stores.audit.entries("er_1")
    assert sorted(entry.event for entry in entries) == [f"event-{number}" for number in range(4)]
    assert sorted(results, key=lambda entry: entry.sequence) == entries
    assert broken_at(entries) is None


def test_states_are_those_of_the_table() -> None:
    """The suite above goes through all states that there are."""
    assert set(TRANSITIONS) == {REQUESTED, STARTED, FINISHED, CANCELLED, HELD}
