"""Erasing many subjects from DynamoDB when things go wrong with one of them, or with all. On moto."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.target_spec import DetachRule, KeyRule
from erasure.targets.dynamodb_sweep import PAGE_ITEMS
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.contract.dynamodb_items import spec, strings

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)

PEOPLE = ["ann", "bob", "cia", "dan"]
THROTTLE = client_error("ProvisionedThroughputExceededException")
INVALID = client_error("ValidationException")


def item(who: str, number: int) -> Item:
    return strings(pk=f"U#{who}", sk=f"{number:04}", user_id=who)


def subjects(who: Sequence[str] = PEOPLE) -> list[dict[str, str]]:
    return [{"tenant_id": "acme", "user_id": each} for each in who]


class Fixture:
    """A table with ten items of each of four people, by key and by index."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.table = engine.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
        self.put(*(item(who, number) for who in PEOPLE for number in range(10)))
        self.by_key = spec(self.table, KeyRule("pk", "U#{user_id}"))
        self.by_index = spec(self.table, KeyRule("user_id", "{user_id}"), index="by-user")

    def put(self, *items: Item) -> None:
        self.engine.put(self.table, items)

    def client(self, **hooks: Callable[..., Any]) -> HookedClient:
        return HookedClient(self.engine.client, **hooks)

    def target(self, client: Any, **options: Any) -> Any:
        return self.engine.target(client, sleep=lambda _: None, random=lambda: 1.0, **options)

    def left(self) -> dict[str, int]:
        found = [each["user_id"]["S"] for each in self.engine.everything(self.table)]
        return {who: found.count(who) for who in sorted(set(found))}


@pytest.fixture
def fixture(moto_dynamodb: Engine) -> Fixture:
    return Fixture(moto_dynamodb)


def asked_for(arguments: dict[str, Any]) -> str:
    """Whose items a Query is about."""
    return str(arguments["ExpressionAttributeValues"][":m0"]["S"]).removeprefix("U#")


def rejected(erased: int = 0) -> SliceResult:
    return SliceResult(erased, done=False, problem="rejected", permanent=True)


@pytest.mark.parametrize("spoiled", ["refused", "beyond the rule"])
def test_subject_that_cannot_be_read_fails_alone(fixture: Fixture, spoiled: str) -> None:
    """A query that is refused, or an answer beyond the rule, is one subject's; none of its items go, all others do."""

    def query(call: Any, **arguments: Any) -> Any:
        if asked_for(arguments) != "bob":
            return call(**arguments)
        if spoiled == "refused":
            raise INVALID
        answer = call(**arguments)
        answer["Items"].append(item("eve", 1))
        return answer

    fixture.put(item("eve", 1))
    done = SliceResult(10, done=True)
    results = fixture.target(fixture.client(query=query)).erase(fixture.by_key, subjects(), Deadline(60))
    assert results == [done, rejected(), done, done]
    assert fixture.left() == {"bob": 10, "eve": 1}


def test_later_page_beyond_the_rule_takes_back_what_was_not_sent(fixture: Fixture) -> None:
    """Keys of earlier pages that wait in a batch with others' are not deleted once their subject has failed."""

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**(arguments | {"Limit": 4}))
        if asked_for(arguments) == "bob" and "ExclusiveStartKey" in arguments:
            answer["Items"].append(item("eve", 1))
        return answer

    results = fixture.target(fixture.client(query=query)).erase(fixture.by_key, subjects(["ann", "bob"]), Deadline(60))
    assert results == [SliceResult(10, done=True), rejected()]
    assert fixture.left() == {"bob": 10, "cia": 10, "dan": 10}


@pytest.mark.parametrize("way", ["by key", "statements", "one statement", "one by one"])
def test_refused_deletion_is_found_out_and_fails_alone(fixture: Fixture, way: str) -> None:
    """A call that is refused because of one subject's item is told apart, so that the others' are deleted."""

    def spoils(key: dict[str, Any]) -> bool:
        return bool(key["pk"] == {"S": "U#bob"} and key["sk"] == {"S": "0003"})

    def write(call: Any, **arguments: Any) -> Any:
        if any(spoils(request["DeleteRequest"]["Key"]) for request in arguments["RequestItems"][fixture.table]):
            raise INVALID
        return call(**arguments)

    def execute(call: Any, **arguments: Any) -> Any:
        keys = [dict(zip(("pk", "sk"), each["Parameters"], strict=False)) for each in arguments["Statements"]]
        if way == "statements" and any(map(spoils, keys)):
            raise INVALID
        for key in keys:
            if not spoils(key):
                call.__self__.delete_item(TableName=fixture.table, Key=key)
        return {"Responses": [{"Error": {"Code": "ValidationError"}} if spoils(key) else {} for key in keys]}

    def delete(call: Any, **arguments: Any) -> Any:
        if spoils(arguments["Key"]):
            raise INVALID
        return call(**arguments)

    fixture.put(*(item("dan", number) for number in range(10, 400)))
    rule = fixture.by_key if way == "by key" else fixture.by_index
    client = fixture.client(batch_write_item=write, batch_execute_statement=execute, delete_item=delete)
    target = fixture.target(client, conditional="single" if way == "one by one" else "batch")
    results = target.erase(rule, subjects(), Deadline(60))
    others = [results[0], *results[2:]]
    assert others == [SliceResult(count, done=True) for count in (10, 10, 400)]
    assert results[1] == rejected(results[1].erased)
    assert fixture.left() == {"bob": 10 - results[1].erased}


@pytest.mark.parametrize(
    ("error", "problem", "permanent"),
    [(THROTTLE, "throttled", False), (client_error("AccessDeniedException"), "access_denied", True)],
    ids=["throttled", "denied"],
)
def test_problem_of_the_table_is_of_all_who_are_not_done(
    fixture: Fixture, error: Exception, problem: str, permanent: bool
) -> None:
    """When the table gives up, those who are done stay done, and all others are told why they are not."""
    fixture.put(*(item(who, number) for who in ("cia", "dan") for number in range(10, 60)))
    written = threading.Event()

    def query(call: Any, **arguments: Any) -> Any:
        if asked_for(arguments) in {"cia", "dan"}:
            written.wait(10)
        return call(**arguments)

    def write(call: Any, **arguments: Any) -> Any:
        keys = [request["DeleteRequest"]["Key"]["pk"]["S"] for request in arguments["RequestItems"][fixture.table]]
        if not {"U#cia", "U#dan"}.isdisjoint(keys):
            raise error
        return call(**arguments)

    fixture.put(*(item(who, number) for who in ("ann",) for number in range(10, 15)))

    def write_and_tell(call: Any, **arguments: Any) -> Any:
        answer = write(call, **arguments)
        written.set()
        return answer

    client = fixture.client(query=query, batch_write_item=write_and_tell)
    results = fixture.target(client).erase(fixture.by_key, subjects(), Deadline(60))
    stopped = SliceResult(0, done=False, problem=problem, permanent=permanent)
    assert results == [SliceResult(15, done=True), SliceResult(10, done=True), stopped, stopped]
    assert fixture.left() == {"cia": 60, "dan": 60}


@pytest.mark.parametrize("conditional", ["batch", "single"])
def test_item_that_two_subjects_claim_counts_for_one(fixture: Fixture, conditional: str) -> None:
    """An item found for two, and still the first's when it is deleted, is deleted and counted once."""

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        if asked_for(arguments) == "bob":
            answer["Items"] += [item("ann", number) | strings(user_id="bob") for number in range(10)]
        return answer

    def execute(call: Any, **arguments: Any) -> Any:
        keys = [repr(each["Parameters"][:2]) for each in arguments["Statements"]]
        assert len(set(keys)) == len(keys)
        return {"Responses": [one(call.__self__, each["Parameters"]) for each in arguments["Statements"]]}

    def one(client: Any, parameters: list[Any]) -> dict[str, Any]:
        key = {"pk": parameters[0], "sk": parameters[1]}
        found = client.get_item(TableName=fixture.table, Key=key).get("Item")
        if found and found["user_id"] != parameters[2]:
            return {"Error": {"Code": "ConditionalCheckFailed"}}
        client.delete_item(TableName=fixture.table, Key=key)
        return {}

    client = fixture.client(query=query, batch_execute_statement=execute)
    target = fixture.target(client, conditional=conditional)
    results = target.erase(fixture.by_index, subjects(["ann", "bob"]), Deadline(60))
    assert results == [SliceResult(10, done=True)] * 2
    assert fixture.left() == {"cia": 10, "dan": 10}


def test_subjects_whose_rules_render_alike_are_one(fixture: Fixture) -> None:
    """What two subjects have in common is read and deleted once, counts for the first, and both are done."""
    rule, client = fixture.by_key, fixture.client()
    both = [{"tenant_id": "acme", "user_id": "ann"}, {"tenant_id": "globex", "user_id": "ann"}]
    target = fixture.target(client)
    assert target.verify(rule, both, Deadline(60)) == [VerifyResult(10, complete=True)] * 2
    assert target.erase(rule, both, Deadline(60)) == [SliceResult(10, done=True), SliceResult(0, done=True)]
    assert (client.count("query"), client.count("batch_write_item")) == (2, 1)


def test_large_subjects_do_not_keep_small_ones_waiting(fixture: Fixture) -> None:
    """Subjects are read page after page in turn: the small ones are done before the time of the large ones runs out."""
    large = [f"large{number}" for number in range(10)]
    fixture.put(*(item(who, number) for who in large for number in range(100)))
    now = [0.0]

    def query(call: Any, **arguments: Any) -> Any:
        now[0] += 1.0
        return call(**(arguments | {"Limit": 10}))

    target = fixture.target(fixture.client(query=query))
    results = target.erase(fixture.by_key, subjects([*large, *PEOPLE]), Deadline(60, clock=lambda: now[0]))
    assert not any(result.done for result in results[:10])
    assert results[10:] == [SliceResult(10, done=True)] * 4
    assert sum(fixture.left().values()) == 1000 - sum(result.erased for result in results[:10])


def test_reading_and_writing_are_bounded(fixture: Fixture) -> None:
    """Of a hundred subjects, eight are read at a time, a thousand keys a page, and four batches are written."""
    people = [f"p{number}" for number in range(100)]
    fixture.put(*(item(who, number) for who in people for number in range(5)))
    lock, at_work, most = threading.Lock(), {"query": 0, "batch_write_item": 0}, {"query": 0, "batch_write_item": 0}

    def counted(operation: str) -> Callable[..., Any]:
        def hook(call: Any, **arguments: Any) -> Any:
            with lock:
                at_work[operation] += 1
                most[operation] = max(most[operation], at_work[operation])
            try:
                return call(**arguments)
            finally:
                with lock:
                    at_work[operation] -= 1

        return hook

    client = fixture.client(query=counted("query"), batch_write_item=counted("batch_write_item"))
    results = fixture.target(client).erase(fixture.by_key, subjects(people), Deadline(60))
    assert results == [SliceResult(5, done=True)] * 100
    assert (client.count("query"), client.count("batch_write_item")) == (100, 20)
    assert most["query"] <= 8
    assert most["batch_write_item"] <= 8
    assert {asked["Limit"] for name, asked in client.calls if name == "query"} == {PAGE_ITEMS}


def test_progress_that_cannot_be_recorded_ends_the_slice(fixture: Fixture) -> None:
    """What ``on_erased`` raises comes out, whoever's progress it was."""

    def lost(_: int, __: int) -> None:
        raise RuntimeError("somebody else works on this")

    with pytest.raises(RuntimeError, match="somebody else"):
        fixture.target(fixture.client()).erase(fixture.by_key, subjects(), Deadline(60), lost)


def test_nobody_and_no_time(fixture: Fixture) -> None:
    """Without subjects, or without time, there is no call, and nobody is told to be done."""
    client = fixture.client()
    target = fixture.target(client)
    assert target.erase(fixture.by_key, [], Deadline(60)) == []
    assert target.verify(fixture.by_key, [], Deadline(60)) == []
    assert target.erase(fixture.by_key, subjects(), Deadline(0)) == [SliceResult(0, done=False)] * 4
    assert target.verify(fixture.by_key, subjects(), Deadline(0)) == [VerifyResult(0, complete=False)] * 4
    assert client.calls == []


@pytest.mark.parametrize("kind", ["by_key", "by_index"])
def test_verification_that_gives_up_is_not_complete_for_anybody(fixture: Fixture, kind: str) -> None:
    """A table that no longer answers leaves no subject with a clean bill that was not looked at to the end."""

    def query(call: Any, **arguments: Any) -> Any:
        if asked_for(arguments) == "dan":
            raise THROTTLE
        return call(**arguments)

    results = fixture.target(fixture.client(query=query)).verify(getattr(fixture, kind), subjects(), Deadline(60))
    assert (results[3].complete, results[3].problem, results[3].permanent) == (False, "throttled", False)
    for result in results[:3]:
        assert result.complete == (result.problem is None)
        assert not result.complete or result.left == 10


def detaching(fixture: Fixture) -> Any:
    return spec(fixture.table, KeyRule("user_id", "{user_id}"), None, "by-user", DetachRule("likes"))


def test_item_that_never_stands_still_is_given_up_for_now(fixture: Fixture) -> None:
    """A list that others change each time before it can be written is left for another slice; the others go on."""
    busy = item("ann", 99) | {"likes": {"L": [{"S": "ann"}]}}
    fixture.put(busy)

    def update(call: Any, **arguments: Any) -> Any:
        if arguments["Key"]["sk"]["S"] == "0099":
            busy["likes"]["L"].insert(0, {"S": "x"})
            fixture.put(busy)
        return call(**arguments)

    client = fixture.client(update_item=update)
    results = fixture.target(client).erase(detaching(fixture), subjects(["ann", "bob"]), Deadline(60))
    assert results == [SliceResult(10, done=False, problem="unavailable"), SliceResult(10, done=True)]
    assert busy in fixture.engine.everything(fixture.table)
    assert client.count("update_item") == 28


@pytest.mark.parametrize("operation", ["batch_get_item", "update_item"])
def test_detaching_survives_faults(fixture: Fixture, operation: str) -> None:
    """A throttle that passes is waited out; one that stays is told, and nobody is done."""
    spoil, lock = [3], threading.Lock()

    def passing(call: Any, **arguments: Any) -> Any:
        with lock:
            spoil[0] -= 1
            if spoil[0] >= 0:
                raise THROTTLE
        return call(**arguments)

    def lasting(_: Any, **__: Any) -> Any:
        raise THROTTLE

    rule = detaching(fixture)
    results = fixture.target(fixture.client(**{operation: lasting})).erase(rule, subjects(), Deadline(60))
    assert results == [SliceResult(0, done=False, problem="throttled")] * 4
    results = fixture.target(fixture.client(**{operation: passing})).erase(rule, subjects(), Deadline(60))
    assert results == [SliceResult(10, done=True)] * 4
    assert (
        fixture.target(fixture.client()).verify(rule, subjects(), Deadline(60)) == [VerifyResult(0, complete=True)] * 4
    )


def test_detaching_without_time_for_all_says_so(fixture: Fixture) -> None:
    """An update that there is no time for is not sent, and its subject is not done."""
    now = [0.0]

    def update(call: Any, **arguments: Any) -> Any:
        now[0] += 1.0
        return call(**arguments)

    target = fixture.target(fixture.client(update_item=update))
    results = target.erase(detaching(fixture), subjects(), Deadline(15, clock=lambda: now[0]))
    assert sum(result.erased for result in results) == 15
    assert all(result.problem is None for result in results)
    assert {result.done for result in results} == {False, True}
    assert [result.erased == 10 for result in results] == [result.done for result in results]
