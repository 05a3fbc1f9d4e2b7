"""Legal holds: the fake and DynamoDB (moto, MiniStack, DynamoDB Local) keep to one suite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from erasure.adapters.hold_store import DynamoDBHoldStore
from erasure.domain.holds import marks_of
from erasure.domain.subject import Subject
from erasure.errors import UnavailableError
from erasure.ports import Hold, HoldStore
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.stores import ENGINES
from tests.fake_clock_stores import FakeHoldStore

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

KEY = b"a key of the tests"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
MANY = tuple(f"alias-{number}" for number in range(20))


@pytest.fixture(params=["fake", "moto", *ENGINES])
def holds(request: pytest.FixtureRequest) -> Iterator[HoldStore]:
    if request.param == "fake":
        yield FakeHoldStore()
        return
    for client, table in _client(request):
        yield _store(client, table)


def _store(client: Any, table: str) -> DynamoDBHoldStore:
    return DynamoDBHoldStore(lambda: client, table)


def _client(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    if request.param == "moto":
        engine = request.getfixturevalue("moto_dynamodb")
        yield engine.client, engine.create_table(("pk", "sk"))
        return
    from tests.contract.dynamodb_engines import Engine, make_client  # a plugin: pytest is to import it first

    engine = Engine(request.param, make_client(request.getfixturevalue(f"{request.param}_endpoint")), "batch")
    yield engine.client, engine.create_table(("pk", "sk"))
    for table in engine.tables:
        engine.client.delete_table(TableName=table)


def a_hold(user_id: str = "ann", aliases: tuple[str, ...] = (), tenant_id: str = "acme", **changes: Any) -> Hold:
    marks = marks_of(KEY, Subject(tenant_id, user_id), aliases)
    hold = Hold(
        hold_id=f"lh_{user_id}",
        tenant_id=tenant_id,
        subject_type="user",
        subject_digest=marks[0],
        reason="a lawsuit",
        author="legal",
        set_at=NOW,
        key_id="a-key",
        aliases=len(aliases),
        marks=marks,
    )
    return replace(hold, **changes)


def test_a_hold_is_read_back_as_it_was_put(holds: HoldStore) -> None:
    """With and without an end and aliases, and for its own tenant only."""
    plain, full = a_hold(), a_hold("bob", MANY, until=NOW + timedelta(days=1))
    assert holds.put(plain, None)
    assert holds.put(full, None)
    assert holds.get("acme", plain.subject_digest) == plain
    assert holds.get("acme", full.subject_digest) == full
    assert holds.get("globex", plain.subject_digest) is None


def test_a_hold_is_found_by_each_of_its_marks(holds: HoldStore) -> None:
    """From when it is put until it is lifted, and nobody else's marks with it."""
    hold, other = a_hold(aliases=MANY), a_hold("eve")
    assert holds.held(hold.marks) == {}
    holds.put(hold, None)
    assert holds.held([*hold.marks, *other.marks, hold.marks[0]]) == dict.fromkeys(hold.marks, "lh_ann")
    assert holds.held([]) == {}
    assert holds.lift(hold)
    assert holds.held(hold.marks) == {}
    assert holds.get("acme", hold.subject_digest) is None


def test_a_mark_that_several_holds_share_stays_until_the_last_is_lifted(holds: HoldStore) -> None:
    """Two people with one address are held by it as long as one of them is."""
    first, second = a_hold("ann", ("shared",)), a_hold("bob", ("shared",))
    shared = set(first.marks) & set(second.marks)
    assert len(shared) == 3
    holds.put(first, None)
    holds.put(second, None)
    assert holds.lift(first)
    assert holds.held(first.marks) == dict.fromkeys(shared, "lh_bob")
    assert holds.lift(second)
    assert holds.held([*first.marks, *second.marks]) == {}


def test_a_changed_hold_holds_by_its_new_marks_only(holds: HoldStore) -> None:
    """Also if none of as many further ids as there may be stays the same; lifting leaves no mark of either."""
    before = a_hold(aliases=MANY, until=NOW + timedelta(days=1))
    after = a_hold(aliases=tuple(f"new-{alias}" for alias in MANY), until=NOW + timedelta(days=2))
    holds.put(before, None)
    assert holds.put(after, before)
    assert holds.get("acme", after.subject_digest) == after
    assert holds.held([*before.marks, *after.marks]) == dict.fromkeys(after.marks, "lh_ann")
    assert holds.ended(NOW + timedelta(days=1), 10) == []
    assert holds.ended(NOW + timedelta(days=2), 10) == [after]
    assert holds.lift(after)
    assert holds.held([*before.marks, *after.marks]) == {}
    assert holds.ended(NOW + timedelta(days=9), 10) == []


def test_an_end_can_be_set_and_taken_away(holds: HoldStore) -> None:
    """A hold is only ever ended by what it says now."""
    endless, ending = a_hold(), a_hold(until=NOW + timedelta(hours=1))
    holds.put(endless, None)
    assert holds.put(ending, endless)
    assert holds.ended(NOW + timedelta(hours=2), 10) == [ending]
    assert holds.put(replace(ending, reason="another"), ending)
    assert holds.ended(NOW + timedelta(hours=2), 10) == [replace(ending, reason="another")]
    assert holds.put(endless, replace(ending, reason="another"))
    assert holds.ended(NOW + timedelta(hours=2), 10) == []


def test_what_was_decided_on_another_content_changes_nothing(holds: HoldStore) -> None:
    """Putting, changing and lifting a hold that is not (any more) as it was read is refused."""
    first = a_hold()
    assert not holds.lift(first)
    assert not holds.put(replace(first, reason="other"), first)
    assert holds.get("acme", first.subject_digest) is None
    holds.put(first, None)
    second = replace(first, until=NOW + timedelta(days=9), set_at=NOW + timedelta(seconds=1))
    assert not holds.put(second, None)
    assert holds.put(second, first)
    assert not holds.lift(first)
    assert not holds.put(replace(first, reason="other"), first)
    assert holds.get("acme", first.subject_digest) == second
    assert holds.held(first.marks) == dict.fromkeys(first.marks, "lh_ann")


def test_ended_holds_are_found_by_their_time(holds: HoldStore) -> None:
    """From their moment on, the earliest first, at most as many as asked for; of tenants with any name."""
    minutes = {"ann": 3, "bob": 1, "eve": 2}
    for user_id, minute in minutes.items():
        # 1,024 bytes: as long as a tenant's name can be, and as a sort key.
        holds.put(a_hold(user_id, tenant_id="a#b" + "😀" * 255, until=NOW + timedelta(minutes=minute)), None)
    holds.put(a_hold("zoe"), None)
    assert holds.ended(NOW + timedelta(minutes=1) - timedelta(milliseconds=1), 10) == []
    assert [hold.hold_id for hold in holds.ended(NOW + timedelta(minutes=1), 10)] == ["lh_bob"]
    assert [hold.hold_id for hold in holds.ended(NOW + timedelta(hours=1), 2)] == ["lh_bob", "lh_eve"]
    assert [hold.hold_id for hold in holds.ended(NOW + timedelta(hours=1), 9)] == ["lh_bob", "lh_eve", "lh_ann"]


def test_a_tenant_sees_its_own_holds_page_by_page(holds: HoldStore) -> None:
    """In the order of the digests, those of a neighbour with a similar name excepted."""
    mine = sorted((a_hold(f"user-{number}") for number in range(7)), key=lambda hold: hold.subject_digest)
    for hold in mine:
        holds.put(hold, None)
    holds.put(a_hold("ann", tenant_id="acme-labs"), None)
    assert holds.list("acme", after=None, limit=10) == mine
    assert holds.list("acme", after=mine[2].subject_digest, limit=3) == mine[3:6]
    assert holds.list("nobody", after=None, limit=10) == []


@pytest.fixture
def table(request: pytest.FixtureRequest) -> tuple[Any, str]:
    engine = request.getfixturevalue("moto_dynamodb")
    return engine.client, engine.create_table(("pk", "sk"))


class DiedError(BaseException):
    """No handler of errors is meant to see it."""


def dies_at(number: int) -> Any:
    """A hook for transactions, whose ``number``-th is not made any more."""
    made: list[None] = []

    def transact(call: Any, **arguments: Any) -> Any:
        made.append(None)
        if len(made) == number:
            raise DiedError
        return call(**arguments)

    return transact


@pytest.mark.parametrize("then", ["put again", "lift"])
def test_marks_that_a_change_has_left_hold_until_they_are_taken_away(table: tuple[Any, str], then: str) -> None:
    """Whoever dies between the two transactions of a change leaves too many marks, never too few, and whoever changes
    or lifts the hold next takes them away."""
    client, name = table
    before, after = a_hold(aliases=MANY), a_hold(reason="another")
    store = DynamoDBHoldStore(lambda: client, name)
    store.put(before, None)
    dying = HookedClient(client, transact_write_items=dies_at(2))
    with pytest.raises(DiedError):
        DynamoDBHoldStore(lambda: dying, name).put(after, before)
    assert store.get("acme", after.subject_digest) == after
    assert set(store.held([*before.marks, *after.marks])) == {*before.marks, *after.marks}
    if then == "lift":
        assert store.lift(after)
        assert store.held([*before.marks, *after.marks]) == {}
    else:
        last = a_hold(aliases=MANY[:1], reason="a third")
        assert store.put(last, after)
        assert set(store.held([*before.marks, *last.marks])) == set(last.marks)


def test_a_change_that_meets_others_is_made_again(table: tuple[Any, str]) -> None:
    """Marks that are being written by somebody else are waited for a few times; then it is said that it cannot be
    done, and nothing was."""
    client, name = table
    busy, waits = [2], list[float]()

    def transact(call: Any, **arguments: Any) -> Any:
        busy[0] -= 1
        if busy[0] >= 0:
            answer: Any = {
                "Error": {"Code": "TransactionCanceledException", "Message": "busy"},
                "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
            }
            raise ClientError(answer, "TransactWriteItems")
        return call(**arguments)

    store = DynamoDBHoldStore(lambda: HookedClient(client, transact_write_items=transact), name, waits.append)
    hold = a_hold()
    assert store.put(hold, None)
    assert len(waits) == 2
    busy[0] = 1000
    with pytest.raises(UnavailableError):
        store.lift(hold)
    assert store.get("acme", hold.subject_digest) == hold


def test_a_hundred_marks_are_one_read(table: tuple[Any, str]) -> None:
    """Strongly consistent, in one call; nothing to look for is none."""
    hooked = HookedClient(table[0])
    store = DynamoDBHoldStore(lambda: hooked, table[1])
    assert store.held([f"{number:064x}" for number in range(100)]) == {}
    assert store.held([]) == {}
    ((operation, arguments),) = hooked.calls
    assert operation == "batch_get_item"
    assert arguments["RequestItems"][table[1]]["ConsistentRead"] is True


@pytest.mark.parametrize("holds", ["fake", *ENGINES], indirect=True)
def test_holds_with_one_alias_put_and_lifted_at_once(holds: HoldStore) -> None:
    """None of them loses the mark of another."""
    people = [a_hold(f"user-{number}", ("shared",)) for number in range(8)]
    barrier = threading.Barrier(len(people))

    def put(hold: Hold) -> bool:
        barrier.wait()
        return holds.put(hold, None)

    def lift(hold: Hold) -> bool:
        barrier.wait()
        return holds.lift(hold)

    with ThreadPoolExecutor(len(people)) as pool:
        assert list(pool.map(put, people)) == [True] * 8
        shared = people[0].marks[1]
        assert holds.held([shared])
        assert holds.lift(people[0])
        assert holds.put(people[0], None)
        assert list(pool.map(lift, people)) == [True] * 8
    assert holds.held([mark for hold in people for mark in hold.marks]) == {}
