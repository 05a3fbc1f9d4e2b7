"""What accepting, waiting, listing and the registry of subjects promise, on the fakes and on DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from erasure.domain.audit import next_entry
from erasure.domain.identifiers import new_request_id
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.errors import AlreadyDeletedError, AlreadyOpenError
from erasure.ports import Disabled, IdempotencyRecord, RequestRow, Standing, Suppression, Tombstone
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.contract.stores import (
    ENGINES,
    LIFETIME,
    NOW,
    Stores,
    a_batch,
    a_request,
    an_acceptance,
    first_entry,
    make_stores,
    stores_on,
)
from tests.contract.test_stores_contract import at_once

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

WHEN = NOW.replace(microsecond=NOW.microsecond // 1000 * 1000)
LATER = WHEN + timedelta(days=30)


@pytest.fixture(params=["fakes", "moto", *ENGINES])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


@pytest.fixture(params=["fakes", *ENGINES])
def shared_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Without moto, which does not serve several threads."""
    yield from stores_on(request)


def cancel(stores: Stores, request: ErasureRequest) -> bool:
    entry = next_entry(request.request_id, first_entry(request), "cancelled", NOW, {})
    return bool(stores.requests.cancel(request, entry))


# Accepting


def test_every_attribute_comes_back(stores: Stores) -> None:
    """A request with all that it may have is read back as it was given; one with nothing of it has nothing."""
    full = a_request(
        categories=("session", "account"),
        organization_ids=("o 1", "o#2"),
        not_before=LATER,
        batch_id="eb_1",
        leaves_tombstone=True,
    )
    for request in (full, a_request(), a_request(categories=())):
        stores.accepted(request)
        assert stores.requests.get(request.request_id) == request


def test_accepting_again_changes_nothing(stores: Stores) -> None:
    """A request that an earlier try has written is no error, not even when it has moved on, and stays as it is."""
    request = stores.accepted(a_request(leaves_tombstone=True), only_one_open=True, suppress=True)
    stores.accepted(request, only_one_open=True, suppress=True)
    assert stores.requests.start(request, NOW, 1, "job-1", 1)
    record = stores.requests.get(request.request_id)
    stores.accepted(request, only_one_open=True, suppress=True)
    assert stores.requests.get(request.request_id) == record
    assert stores.audit.entries(request.request_id) == [first_entry(request)]


def test_a_batch_comes_with_its_request(stores: Stores) -> None:
    """A batch accepted with a single request is read back; one that was not accepted is not there."""
    request = a_request()
    batch = a_batch(request)
    stores.acceptance.accept(an_acceptance(request), NOW, batch=batch)
    assert stores.requests.batch(batch.batch_id) == replace(batch, accepted_at=WHEN)
    assert stores.requests.batch("eb_other") is None


def test_all_are_accepted(stores: Stores) -> None:
    """Many requests at once: each is there with its entry, its tombstone and its place on the suppression list."""
    requests = [a_request(user_id=f"u{number}", leaves_tombstone=True) for number in range(60)]
    batch = a_batch(*requests)
    stores.acceptance.accept_all([an_acceptance(request, suppress=True) for request in requests], batch, NOW)
    assert stores.requests.get_many(batch.request_ids) == {request.request_id: request for request in requests}
    assert stores.requests.batch(batch.batch_id) == replace(batch, accepted_at=WHEN)
    assert stores.open_request_ids() == set(batch.request_ids)
    found = stores.registry.tombstones([request.subject_digest for request in requests])
    for request in requests:
        assert stores.audit.entries(request.request_id) == [first_entry(request)]
        assert found[request.subject_digest] == Tombstone(request.request_id, WHEN)
        assert stores.suppressions.get("acme", request.subject_digest).request_id == request.request_id


def test_accepting_all_again_completes_what_there_is(stores: Stores) -> None:
    """After a try that wrote some of them, all are there, and what has moved on since stays as it is."""
    requests = [a_request(user_id=f"u{number}") for number in range(8)]
    acceptances = [an_acceptance(request) for request in requests]
    stores.acceptance.accept_all(acceptances[2:5], a_batch(*requests), NOW)
    assert stores.requests.start(requests[3], NOW, 1, "job-1", 1)
    assert cancel(stores, requests[4])
    batch = a_batch(*requests)
    for _ in range(2):
        stores.acceptance.accept_all(acceptances, batch, NOW)
    states = [stores.requests.get(request.request_id).state for request in requests]
    assert states == [REQUESTED] * 3 + [STARTED, CANCELLED] + [REQUESTED] * 3
    assert stores.requests.batch(batch.batch_id) is not None


def test_a_hundred_actions_go_into_a_transaction(moto_dynamodb: Any) -> None:
    """120 requests with two actions each, and their batch, take three transactions, none of them too large."""
    client = HookedClient(moto_dynamodb.client)
    stores = make_stores(moto_dynamodb, client)
    requests = [a_request(user_id=f"u{number}") for number in range(120)]
    stores.acceptance.accept_all([an_acceptance(request) for request in requests], a_batch(*requests), NOW)
    sizes = sorted(len(arguments["TransactItems"]) for _, arguments in client.calls)
    assert len(sizes) == 3
    assert sum(sizes) == 241
    assert max(sizes) == 100


def test_an_acceptance_is_never_split(moto_dynamodb: Any) -> None:
    """Whatever transaction fails, no request is there without its entry, and none has an entry alone."""
    calls = [0]

    def transact(real: Any, **arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise client_error("InternalServerError", 500)
        return real(**arguments)

    stores = make_stores(moto_dynamodb, HookedClient(moto_dynamodb.client, transact_write_items=transact))
    requests = [a_request(user_id=f"u{number}") for number in range(110)]
    with pytest.raises(Exception, match="Operation"):
        stores.acceptance.accept_all([an_acceptance(request) for request in requests], a_batch(*requests), NOW)
    written = set(stores.requests.get_many([request.request_id for request in requests]))
    assert written == {request.request_id for request in requests if stores.audit.entries(request.request_id)}
    assert 0 < len(written) < 110


# Only one open


@pytest.mark.parametrize("state", [REQUESTED, STARTED, HELD])
def test_an_open_request_is_the_only_one(stores: Stores, state: str) -> None:
    """While a request is open, another one of the same family for the same subject is refused and names it."""
    first, second = a_request(), a_request()
    stores.accepted(first, only_one_open=True)
    stores.force_state(first.request_id, state)
    with pytest.raises(AlreadyOpenError) as caught:
        stores.accepted(second, only_one_open=True)
    assert caught.value.request_id == first.request_id
    assert stores.requests.get(second.request_id) is None
    assert stores.audit.entries(second.request_id) == []


@pytest.mark.parametrize("state", [FINISHED, CANCELLED])
def test_a_closed_request_makes_room(stores: Stores, state: str) -> None:
    """Once a request is closed, the next one is accepted and is the open one then."""
    first, second, third = (a_request() for _ in range(3))
    stores.accepted(first, only_one_open=True)
    stores.force_state(first.request_id, state)
    stores.accepted(second, only_one_open=True)
    with pytest.raises(AlreadyOpenError) as caught:
        stores.accepted(third, only_one_open=True)
    assert caught.value.request_id == second.request_id


def test_open_requests_of_others_do_not_matter(stores: Stores) -> None:
    """Another subject, another tenant, another family: each has an open request of its own."""
    for request in (
        a_request(),
        a_request(user_id="bob"),
        a_request("other"),
        a_request(family="june"),
    ):
        stores.accepted(request, only_one_open=True)
        assert stores.requests.get(request.request_id) == request


@pytest.mark.parametrize("stale", [False, True])
def test_one_of_many_becomes_the_open_one(shared_stores: Stores, stale: bool) -> None:
    """Requests at the same moment: one is accepted, the others are told its id, also in the place of a closed one."""
    if stale:
        old = shared_stores.accepted(a_request(), only_one_open=True)
        assert cancel(shared_stores, old)
    requests = [a_request() for _ in range(5)]
    results = at_once(5, lambda number: shared_stores.accepted(requests[number], only_one_open=True))
    accepted = [result for result in results if isinstance(result, ErasureRequest)]
    assert len(accepted) == 1
    refused = [result for result in results if not isinstance(result, ErasureRequest)]
    assert [(type(error), error.request_id) for error in refused] == [(AlreadyOpenError, accepted[0].request_id)] * 4
    assert set(shared_stores.requests.get_many([request.request_id for request in requests])) == {
        accepted[0].request_id
    }


# Tombstones and disabled accounts


def test_a_tombstone_is_there_with_its_request(stores: Stores) -> None:
    """Accepting writes the tombstone; a second request that would leave one is refused and writes nothing."""
    first, second = a_request(leaves_tombstone=True), a_request(leaves_tombstone=True)
    stores.accepted(first)
    expected = Tombstone(first.request_id, WHEN)
    assert stores.registry.standing(first.subject_digest) == Standing(expected)
    with pytest.raises(AlreadyDeletedError):
        stores.accepted(second)
    assert stores.requests.get(second.request_id) is None
    assert stores.registry.tombstones([first.subject_digest, "other"]) == {first.subject_digest: expected}
    assert stores.registry.standing("other") == Standing()


def test_a_tombstone_becomes_effective_by_its_request_alone(stores: Stores) -> None:
    """Only the tombstone's own request makes it effective, and the first moment stays."""
    request = stores.accepted(a_request(leaves_tombstone=True))
    digest = request.subject_digest
    stores.registry.make_effective(digest, "er_other", WHEN)
    stores.registry.make_effective("nobody", request.request_id, WHEN)
    assert stores.registry.standing(digest).tombstone.effective_at is None
    assert stores.registry.standing("nobody") == Standing()
    for moment in (WHEN, LATER):
        stores.registry.make_effective(digest, request.request_id, moment)
    assert stores.registry.standing(digest).tombstone.effective_at == WHEN


def test_cancelling_takes_the_tombstone_back(stores: Stores) -> None:
    """A cancelled request leaves nobody counted as deleted, and the subject can be deleted again."""
    request = stores.accepted(a_request(leaves_tombstone=True))
    assert cancel(stores, request)
    assert stores.registry.standing(request.subject_digest) == Standing()
    stores.accepted(a_request(leaves_tombstone=True))


def test_cancelling_leaves_another_requests_tombstone(stores: Stores) -> None:
    """A request accepted beside an earlier one leaves that one's tombstone, also when it is cancelled."""
    first = stores.accepted(a_request(leaves_tombstone=True))
    second = a_request(leaves_tombstone=True)
    stores.acceptance.accept_all([an_acceptance(second)], a_batch(second), NOW)
    assert cancel(stores, second)
    assert stores.requests.get(second.request_id).state == CANCELLED
    assert stores.registry.standing(first.subject_digest).tombstone.request_id == first.request_id


def test_disabled_accounts(stores: Stores) -> None:
    """What was written of a disabled account is read back, is replaced as a whole, and goes when it is enabled."""
    full = Disabled(WHEN, LATER, "er_1")
    for disabled in (full, Disabled(WHEN)):
        stores.registry.disable("digest", disabled)
        assert stores.registry.standing("digest") == Standing(disabled=disabled)
    for _ in range(2):
        stores.registry.enable("digest")
        assert stores.registry.standing("digest") == Standing()


# Suppressions


def test_suppressions_are_a_tenants_own(stores: Stores) -> None:
    """A suppressed subject is found in its tenant, listed page by page in order, and gone when it is deleted."""
    requests = [a_request(user_id=f"u{number}") for number in range(5)]
    for request in [*requests, a_request("other", "u0")]:
        stores.accepted(request, suppress=True)
    expected = [
        Suppression(request.subject_digest, "user", WHEN, request.request_id)
        for request in sorted(requests, key=lambda request: request.subject_digest)
    ]
    first = stores.suppressions.list("acme", after=None, limit=3)
    rest = stores.suppressions.list("acme", after=first[-1].subject_digest, limit=3)
    assert [*first, *rest] == expected
    assert stores.suppressions.get("acme", expected[0].subject_digest) == expected[0]
    assert stores.suppressions.get("other", expected[0].subject_digest) is None
    assert not stores.suppressions.delete("other", expected[0].subject_digest)
    assert stores.suppressions.delete("acme", expected[0].subject_digest)
    assert not stores.suppressions.delete("acme", expected[0].subject_digest)
    assert stores.suppressions.list("acme", after=None, limit=9) == expected[1:]


def test_suppressed_since_the_first_time(stores: Stores) -> None:
    """A second request of the same subject leaves the entry as it is."""
    first, second = stores.accepted(a_request(), suppress=True), stores.accepted(a_request(), suppress=True)
    assert stores.suppressions.get("acme", second.subject_digest).request_id == first.request_id


# Waiting


def test_due_when_the_time_has_come(stores: Stores) -> None:
    """Requests that wait are due from their time on, oldest first, as many as asked for, until they are released."""
    times = [WHEN + timedelta(minutes=minutes) for minutes in (3, 1, 2, 60)]
    requests = [stores.accepted(a_request(not_before=moment)) for moment in times]
    in_order = [requests[number].request_id for number in (1, 2, 0)]
    assert stores.requests.due(times[1] - timedelta(milliseconds=1), 10) == []
    assert stores.requests.due(times[1], 10) == in_order[:1]
    assert stores.requests.due(times[0], 10) == in_order
    assert stores.requests.due(times[0], 2) == in_order[:2]
    assert stores.requests.release(requests[1], times[0])
    assert stores.requests.due(times[0], 10) == in_order[1:]


def test_released_once(stores: Stores) -> None:
    """Releasing writes the tombstone that the request leaves, once; one that does not wait is not released."""
    request = stores.accepted(a_request(not_before=LATER, leaves_tombstone=True))
    assert stores.registry.standing(request.subject_digest) == Standing()
    assert [stores.requests.release(request, LATER) for _ in range(2)] == [True, False]
    assert stores.registry.standing(request.subject_digest) == Standing(Tombstone(request.request_id, LATER))
    assert not stores.requests.release(stores.accepted(a_request()), LATER)


@pytest.mark.parametrize("state", [STARTED, FINISHED])
def test_a_job_may_be_faster_than_the_release(stores: Stores, state: str) -> None:
    """A request that was started before it was released leaves the list all the same, and its tombstone."""
    request = stores.accepted(a_request(not_before=LATER, leaves_tombstone=True))
    stores.force_state(request.request_id, state)
    assert stores.requests.release(request, LATER)
    assert stores.requests.due(LATER, 10) == []
    assert stores.registry.standing(request.subject_digest).tombstone is not None


def test_a_cancelled_request_does_not_wait(stores: Stores) -> None:
    """Cancelling takes a request off the list, and it is not released; a held one is not either, and stays."""
    cancelled, held = (stores.accepted(a_request(not_before=LATER, leaves_tombstone=True)) for _ in range(2))
    assert cancel(stores, cancelled)
    stores.force_state(held.request_id, HELD)
    assert not stores.requests.release(cancelled, LATER)
    assert not stores.requests.release(held, LATER)
    assert stores.requests.due(LATER, 10) == [held.request_id]
    assert stores.registry.standing(held.subject_digest) == Standing()


def test_released_by_one_of_two(shared_stores: Stores) -> None:
    """Of sweeps at the same moment, one releases."""
    request = shared_stores.accepted(a_request(not_before=LATER))
    results = at_once(3, lambda _: shared_stores.requests.release(request, LATER))
    assert sorted(results) == [False, False, True]


def test_a_started_request_waits_for_its_scan(stores: Stores) -> None:
    """From when its job says so it is due at that time, which later jobs leave as it is; another job cannot say so."""
    request = stores.started()
    assert not stores.requests.wait_for_scan(request, "another", LATER)
    assert stores.requests.wait_for_scan(request, "job-1", LATER)
    assert stores.requests.wait_for_scan(request, "job-1", LATER + timedelta(hours=1))
    record = stores.requests.get(request.request_id)
    assert record.scan_at == LATER
    assert stores.requests.due(LATER - timedelta(milliseconds=1), 10) == []
    assert stores.requests.due(LATER, 10) == [request.request_id]
    assert [stores.requests.release(record, LATER) for _ in range(2)] == [True, False]
    assert stores.requests.due(LATER + timedelta(hours=2), 10) == []


def test_a_request_that_was_scanned_for_does_not_wait(stores: Stores) -> None:
    """A job that closes it with its scan takes it off the list, as a sweep that died would have."""
    request = stores.started()
    assert stores.requests.wait_for_scan(request, "job-1", LATER)
    record = stores.requests.get(request.request_id)
    entry = next_entry(request.request_id, first_entry(request), "finished", NOW, {})
    assert stores.requests.close(record, "job-1", [], NOW, entry, finished=True, attention=False, scanned=True)
    assert stores.requests.get(request.request_id).scan_at is None
    assert stores.requests.due(LATER, 10) == []


def test_identifiers_are_noted_by_the_job_that_has_the_request(stores: Stores) -> None:
    """They replace what was known, and come back as they were; another job's are refused."""
    request = stores.started()
    known = {"email": ("ann@example.com", "\u00e4nn@example.com"), "phone": ()}
    assert not stores.requests.note_identifiers(request, "another", {"email": ("else@example.com",)})
    assert stores.requests.note_identifiers(request, "job-1", {"email": ("ann@example.com",)})
    assert stores.requests.note_identifiers(request, "job-1", known)
    assert stores.requests.get(request.request_id).identifiers == known


def closed(stores: Stores, follow_up_at: datetime) -> ErasureRequest:
    """A finished request with something to be taken up."""
    request = stores.started()
    entry = next_entry(request.request_id, first_entry(request), "finished", NOW, {})
    assert stores.requests.close(
        request, "job-1", [], NOW, entry, finished=True, attention=False, follow_up_at=follow_up_at
    )
    found: ErasureRequest = stores.requests.get(request.request_id)
    return found


def test_a_finished_request_waits_for_its_follow_up(stores: Stores) -> None:
    """From when it is closed with a time, it is due then, until it is told what follows it; once."""
    request = closed(stores, LATER)
    assert (request.state, request.follow_up_at, request.followed_by) == (FINISHED, LATER, None)
    assert stores.requests.due(LATER - timedelta(milliseconds=1), 10) == []
    assert stores.requests.due(LATER, 10) == [request.request_id]
    assert [stores.requests.end_waiting_for_follow_up(request, "er_next") for _ in range(2)] == [True, False]
    assert stores.requests.due(LATER, 10) == []
    record = stores.requests.get(request.request_id)
    assert (record.state, record.follow_up_at, record.followed_by) == (FINISHED, None, "er_next")


def test_a_request_may_have_no_follow_up(stores: Stores) -> None:
    """It leaves the list all the same; one that does not wait for a follow-up is not changed."""
    request = closed(stores, LATER)
    assert stores.requests.end_waiting_for_follow_up(request, None)
    assert stores.requests.due(LATER, 10) == []
    record = stores.requests.get(request.request_id)
    assert (record.follow_up_at, record.followed_by) == (None, None)
    assert not stores.requests.end_waiting_for_follow_up(record, "er_next")
    assert stores.requests.get(request.request_id) == record


# Looking up


def test_many_are_read_at_once(stores: Stores) -> None:
    """Those that exist come back by id, however many are asked for, and also if one is asked for twice."""
    requests = [a_request(user_id=f"u{number}") for number in range(130)]
    stores.acceptance.accept_all([an_acceptance(request) for request in requests], a_batch(*requests), NOW)
    ids = [request.request_id for request in requests]
    assert stores.requests.get_many([*ids, ids[0], new_request_id()]) == dict(zip(ids, requests, strict=True))
    assert stores.requests.get_many([]) == {}


def test_keys_that_were_put_off_are_read_again(moto_dynamodb: Any) -> None:
    """What DynamoDB leaves unprocessed is asked for again, and nothing else."""

    def batch_get(real: Any, RequestItems: Any) -> Any:  # noqa: N803 - botocore's name
        ((table, asked),) = RequestItems.items()
        answer = real(RequestItems={table: {**asked, "Keys": asked["Keys"][:2]}})
        if asked["Keys"][2:]:
            answer["UnprocessedKeys"] = {table: {**asked, "Keys": asked["Keys"][2:]}}
        return answer

    client = HookedClient(moto_dynamodb.client, batch_get_item=batch_get)
    stores = make_stores(moto_dynamodb, client)
    requests = [stores.accepted(a_request()) for _ in range(5)]
    assert set(stores.requests.get_many([request.request_id for request in requests])) == {
        request.request_id for request in requests
    }
    assert client.count("batch_get_item") == 3


def test_rows_are_newest_first(stores: Stores) -> None:
    """A tenant's requests in a state, and a subject's in any, come newest first, from any place on, up to a limit."""
    requests = [
        stores.accepted(a_request(request_id=new_request_id(1_700_000_000_000 + number), family=family))
        for number, family in enumerate(["june", "velt", "june"])
    ]
    stores.accepted(a_request("other"))
    stores.accepted(a_request(user_id="bob", subject=replace(requests[0].subject, id="bob"), subject_digest="bob"))
    rows = [RequestRow(request.request_id, request.family, "user") for request in reversed(requests)]
    digest = requests[0].subject_digest
    assert stores.requests.rows("acme", REQUESTED)[1:] == rows
    assert stores.requests.rows_of_subject(digest) == rows
    assert stores.requests.rows_of_subject(digest, limit=2) == rows[:2]
    assert stores.requests.rows_of_subject(digest, before=rows[0].request_id) == rows[1:]
    assert stores.requests.rows("acme", REQUESTED, before=rows[0].request_id, limit=1) == rows[1:2]
    assert stores.requests.rows("acme", STARTED) == []
    assert stores.requests.start(requests[1], NOW, 1, "job-1", 1)
    assert stores.requests.rows("acme", STARTED) == [rows[1]]
    assert stores.requests.rows("acme", REQUESTED, before=rows[0].request_id) == [rows[2]]
    assert stores.requests.rows_of_subject(digest) == rows


def test_all_pages_of_an_index_are_read(moto_dynamodb: Any) -> None:
    """However small the pages of an answer are, all rows come back, and a limit is kept."""

    def query(real: Any, **arguments: Any) -> Any:
        return real(**{**arguments, "Limit": min(2, arguments.get("Limit", 2))})

    stores = make_stores(moto_dynamodb, HookedClient(moto_dynamodb.client, query=query))
    ids = sorted((stores.accepted(a_request()).request_id for _ in range(5)), reverse=True)
    assert [row.request_id for row in stores.requests.rows("acme", REQUESTED)] == ids
    assert [row.request_id for row in stores.requests.rows("acme", REQUESTED, limit=3)] == ids[:3]


# Idempotency


def a_run(run_id: str, body_digest: str = "body", key_digest: str = "key") -> IdempotencyRecord:
    return IdempotencyRecord(key_digest, body_digest, run_id, NOW + LIFETIME)


def test_the_first_run_of_a_key_counts(stores: Stores) -> None:
    """A key stands for its first run, with what came of it, until its time is over."""
    assert stores.idempotency.begin(a_run("run-1"), NOW).run_id == "run-1"
    known = stores.idempotency.begin(a_run("run-2", "other"), NOW)
    assert (known.run_id, known.body_digest, known.result) == ("run-1", "body", None)
    stores.idempotency.finish("key", '{"result": 1}')
    assert stores.idempotency.begin(a_run("run-3"), NOW).result == '{"result": 1}'
    assert stores.idempotency.begin(a_run("run-4", key_digest="other"), NOW).run_id == "run-4"
    later = NOW + 2 * LIFETIME
    assert stores.idempotency.begin(replace(a_run("run-5"), expires_at=later + LIFETIME), later).run_id == "run-5"


def test_a_run_that_was_given_up_frees_its_key(stores: Stores) -> None:
    """A run that came to nothing is forgotten; another run's key, and one with a result, stay taken."""
    stores.idempotency.begin(a_run("run-1"), NOW)
    stores.idempotency.give_up("key", "run-2")
    assert stores.idempotency.begin(a_run("run-3"), NOW).run_id == "run-1"
    stores.idempotency.give_up("key", "run-1")
    assert stores.idempotency.begin(a_run("run-4"), NOW).run_id == "run-4"
    stores.idempotency.finish("key", "1")
    stores.idempotency.give_up("key", "run-4")
    assert stores.idempotency.begin(a_run("run-5"), NOW).run_id == "run-4"


def test_finishing_what_is_gone_leaves_nothing(stores: Stores) -> None:
    """A record that was swept up in between does not come back without its time."""
    stores.idempotency.finish("key", "1")
    assert stores.idempotency.begin(a_run("run-1"), NOW).run_id == "run-1"


def test_runs_that_begin_at_the_same_moment(shared_stores: Stores) -> None:
    """All of them are told the same run."""
    records = at_once(5, lambda number: shared_stores.idempotency.begin(a_run(f"run-{number}"), NOW))
    assert len({record.run_id for record in records}) == 1
