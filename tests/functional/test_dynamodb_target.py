"""Erasing from DynamoDB when things go wrong: throttles, resets, denials, answers that make no sense. On moto."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.one_subject import OneSubject

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)

VALUES = {"tenant_id": "acme", "user_id": "ann"}
THROTTLE = client_error("ProvisionedThroughputExceededException")
RESET = ConnectionClosedError(endpoint_url="https://secret-table")


class Time:
    """A clock that moves when somebody sleeps, so that waiting takes no time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds

    def clock(self) -> float:
        return self._now


class Fixture:
    """A table with 60 items of ann and 30 of anna, by key and by index."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.time = engine, Time()
        self.table = engine.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
        self.mine = [item("ann", number) for number in range(60)]
        self.others = [item("anna", number) for number in range(30)]
        engine.put(self.table, self.mine + self.others)
        self.by_key = spec(DynamoDBRule(self.table, KeyRule("pk", "U#{user_id}")))
        self.by_index = spec(DynamoDBRule(self.table, KeyRule("user_id", "{user_id}"), index="by-user"))

    def target(self, client: Any, **options: Any) -> DynamoDBTarget:
        fast = {"sleep": self.time.sleep, "clock": self.time.clock, "random": lambda: 1.0}
        return self.engine.target(client, **fast, **options)

    def one(self, client: Any, **options: Any) -> OneSubject:
        return OneSubject(self.target(client, **options))

    def deadline(self, seconds: float = 600) -> Deadline:
        return Deadline(seconds, self.time.clock)

    def erase(self, client: Any, target_spec: TargetSpec | None = None, **options: Any) -> SliceResult:
        return self.one(client, **options).erase(target_spec or self.by_key, VALUES, self.deadline())

    def client(self, **hooks: Callable[..., Any]) -> HookedClient:
        return HookedClient(self.engine.client, **hooks)

    def left(self, user: str = "ann") -> int:
        return sum(1 for found in self.engine.everything(self.table) if found["user_id"]["S"] == user)

    def assert_others_untouched(self) -> None:
        everything = self.engine.everything(self.table)
        assert all(other in everything for other in self.others)


def item(user: str, number: int) -> Item:
    return {"pk": {"S": f"U#{user}"}, "sk": {"S": f"{number:03}"}, "user_id": {"S": user}, "text": {"S": "x"}}


def spec(rule: DynamoDBRule) -> TargetSpec:
    return TargetSpec("target", "content", dynamodb=rule)


@pytest.fixture
def fixture(moto_dynamodb: Engine) -> Fixture:
    return Fixture(moto_dynamodb)


def first_times(times: int, instead: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that does something else the first few times, and the real thing afterwards."""
    lock, done = threading.Lock(), [0]

    def hook(call: Any, **arguments: Any) -> Any:
        with lock:
            done[0] += 1
            spoil = done[0] <= times
        return instead(call, **arguments) if spoil else call(**arguments)

    return hook


def raising(error: Exception) -> Callable[..., Any]:
    def hook(_: Any, **__: Any) -> Any:
        raise error

    return hook


def leaving_out(keep: int) -> Callable[..., Any]:
    """A BatchWriteItem that takes ``keep`` requests and returns the rest as unprocessed."""

    def hook(call: Any, **arguments: Any) -> Any:
        ((table, requests),) = arguments["RequestItems"].items()
        if keep:
            call(RequestItems={table: requests[:keep]})
        rest = requests[keep:]
        return {"UnprocessedItems": {table: rest} if rest else {}}

    return hook


def execute_like_aws(errors: dict[str, str] | None = None) -> Callable[..., Any]:
    """BatchExecuteStatement of conditional deletions, on top of DeleteItem: a missing item is a success.

    ``errors`` maps sort keys to the error code that their statement gets, once.
    """
    pending = errors if errors is not None else {}

    def one(hooked: Any, statement: dict[str, Any]) -> dict[str, Any]:
        head, condition = statement["Statement"].split(" WHERE ")
        assert head.startswith('DELETE FROM "')
        assert condition == '"pk" = ? AND "sk" = ? AND "user_id" = ?'
        pk, sk, user = statement["Parameters"]
        if code := pending.pop(sk["S"], None):
            return {"Error": {"Code": code, "Message": "about secret-table"}}
        table, key = head.removeprefix('DELETE FROM "').removesuffix('"'), {"pk": pk, "sk": sk}
        found = hooked.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        if found and found["user_id"] != user:
            return {"Error": {"Code": "ConditionalCheckFailed", "Message": "about secret-table"}}
        hooked.delete_item(TableName=table, Key=key)
        return {"TableName": table}

    def hook(call: Any, **arguments: Any) -> Any:
        return {"Responses": [one(call.__self__, statement) for statement in arguments["Statements"]]}

    return hook


def test_only_what_was_not_processed_is_sent_again(fixture: Fixture) -> None:
    """60 items are 3 full calls; 10 unprocessed ones make one more call with those 10, and count once."""
    client = fixture.client(batch_write_item=first_times(1, leaving_out(15)))
    assert fixture.erase(client) == SliceResult(60, done=True)
    sent = [
        len(next(iter(asked["RequestItems"].values()))) for name, asked in client.calls if name == "batch_write_item"
    ]
    assert sorted(sent) == [10, 10, 25, 25]
    assert fixture.left() == 0
    fixture.assert_others_untouched()


def test_calls_are_the_least_possible(fixture: Fixture) -> None:
    """ceil(n/25) writes and the query pages, and nothing else."""
    client = fixture.client()
    assert fixture.erase(client) == SliceResult(60, done=True)
    assert (client.count("query"), client.count("batch_write_item"), len(client.calls)) == (1, 3, 5)


@pytest.mark.parametrize("keep", [0, 1], ids=["nothing", "one a call"])
def test_lasting_throttle_ends_the_slice_honestly(fixture: Fixture, keep: int) -> None:
    """A table that takes nothing ends the slice as throttled; one that takes a little is worked on."""
    result = fixture.erase(fixture.client(batch_write_item=leaving_out(keep)))
    if keep:
        assert result == SliceResult(60, done=True)
    else:
        assert result == SliceResult(0, done=False, problem="throttled")
    assert fixture.left() == 60 - result.erased


@pytest.mark.parametrize("operation", ["describe_table", "query", "batch_write_item"])
@pytest.mark.parametrize(
    ("error", "problem"),
    [(THROTTLE, "throttled"), (RESET, "unavailable"), (client_error("InternalServerError", 500), "unavailable")],
    ids=["throttle", "reset", "500"],
)
def test_what_passes_is_waited_out_and_what_does_not_is_told(
    fixture: Fixture, operation: str, error: Exception, problem: str
) -> None:
    """A fault that passes leaves no trace; one that stays is the slice's problem, without any exception."""
    lasting = fixture.client(**{operation: raising(error)})
    assert fixture.erase(lasting) == SliceResult(0, done=False, problem=problem)
    assert fixture.left() == 60
    passing = fixture.client(**{operation: first_times(3, raising(error))})
    assert fixture.erase(passing) == SliceResult(60, done=True)
    assert fixture.left() == 0
    fixture.assert_others_untouched()


@pytest.mark.parametrize("operation", ["describe_table", "query", "batch_write_item"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", "access_denied"),
        ("ResourceNotFoundException", "target_missing"),
        ("ValidationException", "rejected"),
    ],
)
def test_what_cannot_pass_is_an_error_without_names(fixture: Fixture, operation: str, code: str, expected: str) -> None:
    """A denial, a table that has gone and a refusal are permanent, and their texts name nobody."""
    client = fixture.client(**{operation: raising(client_error(code))})
    with pytest.raises(TargetError) as caught:
        fixture.erase(client)
    assert (caught.value.code, caught.value.permanent) == (expected, True)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
    assert client.count(operation) <= 3


def test_refusal_ends_the_slice_at_once(fixture: Fixture) -> None:
    """After a permanent error only what was under way is asked for, not every batch that is left."""
    fixture.engine.put(fixture.table, [item("ann", number) for number in range(1000)])
    client = fixture.client(batch_write_item=raising(client_error("AccessDeniedException")))
    with pytest.raises(TargetError, match="access_denied"):
        fixture.erase(client)
    assert client.count("batch_write_item") < 20
    assert fixture.left() == 1000


def test_error_in_the_middle_still_reports_what_was_erased(fixture: Fixture) -> None:
    """What had been deleted before a permanent error reaches ``on_erased``."""
    denied = raising(client_error("AccessDeniedException"))
    working = first_times(2, lambda call, **arguments: call(**arguments))
    lock = threading.Lock()
    seen = [0]

    def write(call: Any, **arguments: Any) -> Any:
        with lock:
            seen[0] += 1
            return (working if seen[0] <= 2 else denied)(call, **arguments)

    reported: list[int] = []
    with pytest.raises(TargetError, match="access_denied"):
        fixture.one(fixture.client(batch_write_item=write)).erase(
            fixture.by_key, VALUES, fixture.deadline(), reported.append
        )
    assert sum(reported) == 60 - fixture.left() > 0


def test_later_page_that_fails_keeps_what_was_erased(fixture: Fixture) -> None:
    """Deletions of earlier pages count although a later page cannot be read."""

    def query(call: Any, **arguments: Any) -> Any:
        if "ExclusiveStartKey" in arguments:
            raise THROTTLE
        return call(**arguments, Limit=30)

    result = fixture.erase(fixture.client(query=query))
    assert (result.done, result.problem) == (False, "throttled")
    assert result.erased == 60 - fixture.left()
    assert result.erased >= 25


def test_answer_beyond_the_rule_deletes_nothing(fixture: Fixture) -> None:
    """An item that does not match is never deleted, whoever says it was found."""

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        answer["Items"].insert(3, {"pk": {"S": "U#anna"}, "sk": {"S": "001"}})
        return answer

    client = fixture.client(query=query)
    with pytest.raises(TargetError, match="rejected"):
        fixture.erase(client)
    assert client.count("batch_write_item") == 0
    fixture.assert_others_untouched()


def test_unprocessed_key_that_was_never_sent_is_not_deleted(fixture: Fixture) -> None:
    """An answer cannot make the eraser delete what it did not ask for."""

    def write(call: Any, **arguments: Any) -> Any:
        foreign = {"DeleteRequest": {"Key": {"pk": {"S": "U#anna"}, "sk": {"S": "001"}}}}
        return {"UnprocessedItems": {fixture.table: [foreign]}}

    with pytest.raises(TargetError, match="rejected"):
        fixture.erase(fixture.client(batch_write_item=write))
    fixture.assert_others_untouched()


def test_statements_that_were_throttled_are_sent_again_alone(fixture: Fixture) -> None:
    """Of a batch of statements only those that may pass are repeated; an item of somebody else's is left."""
    for number in (7, 8):
        changed = item("ann", number) | {"user_id": {"S": "bob"}}
        fixture.engine.client.put_item(TableName=fixture.table, Item=changed)
    stale = [item("ann", number) for number in (7, 8)]
    errors = {"001": "ThrottlingError", "002": "ProvisionedThroughputExceeded", "003": "InternalServerError"}

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        answer["Items"] += stale
        return answer

    client = fixture.client(query=query, batch_execute_statement=execute_like_aws(errors))
    assert fixture.erase(client, fixture.by_index, conditional="batch") == SliceResult(58, done=True)
    sent = [len(asked["Statements"]) for name, asked in client.calls if name == "batch_execute_statement"]
    assert sorted(sent) == [3, 10, 25, 25]
    assert (fixture.left("ann"), fixture.left("bob")) == (0, 2)
    fixture.assert_others_untouched()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDenied", "access_denied"),
        ("ResourceNotFound", "target_missing"),
        ("ValidationError", "rejected"),
        ("ItemCollectionSizeLimitExceeded", "rejected"),
    ],
)
def test_statement_that_cannot_pass_is_an_error(fixture: Fixture, code: str, expected: str) -> None:
    """One statement that is refused for good fails the target, and what its batch deleted is reported."""
    reported: list[int] = []
    client = fixture.client(batch_execute_statement=execute_like_aws({"005": code}))
    with pytest.raises(TargetError) as caught:
        fixture.one(client, conditional="batch").erase(fixture.by_index, VALUES, fixture.deadline(), reported.append)
    assert (caught.value.code, caught.value.permanent) == (expected, True)
    assert sum(reported) == 60 - fixture.left() > 0


@pytest.mark.parametrize("conditional", ["batch", "single"])
@pytest.mark.parametrize("error", [THROTTLE, RESET], ids=["throttle", "reset"])
def test_conditional_deletions_survive_faults(fixture: Fixture, conditional: str, error: Exception) -> None:
    """By index, too, a fault that passes is waited out and one that stays is told."""
    operation = "batch_execute_statement" if conditional == "batch" else "delete_item"
    real = execute_like_aws() if conditional == "batch" else first_times(0, raising(error))
    lasting = fixture.client(**{operation: raising(error)})
    result = fixture.erase(lasting, fixture.by_index, conditional=conditional)
    assert (result.erased, result.done) == (0, False)
    assert result.problem == ("throttled" if error is THROTTLE else "unavailable")
    spoil, lock = [3], threading.Lock()

    def passing(call: Any, **arguments: Any) -> Any:
        with lock:
            spoil[0] -= 1
            if spoil[0] >= 0:
                raise error
        return real(call, **arguments)

    client = fixture.client(**{operation: passing})
    assert fixture.erase(client, fixture.by_index, conditional=conditional) == SliceResult(60, done=True)
    assert fixture.left() == 0
    fixture.assert_others_untouched()


def test_answer_with_missing_statements_is_no_success(fixture: Fixture) -> None:
    """Fewer answers than statements: nothing is counted as deleted."""
    client = fixture.client(batch_execute_statement=lambda _, **__: {"Responses": [{}]})
    result = fixture.erase(client, fixture.by_index, conditional="batch")
    assert result == SliceResult(0, done=False, problem="unavailable")


def test_item_that_an_index_lists_twice_does_no_harm(fixture: Fixture) -> None:
    """An index may list an item again on its way to another place; no batch names it twice."""

    def query(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        answer["Items"] = [found for found in answer["Items"] for _ in range(2)]
        return answer

    client = fixture.client(query=query, batch_execute_statement=execute_like_aws())
    assert fixture.erase(client, fixture.by_index, conditional="batch").done
    assert fixture.left() == 0
    fixture.assert_others_untouched()
    for name, asked in client.calls:
        if name == "batch_execute_statement":
            keys = [repr(statement["Parameters"]) for statement in asked["Statements"]]
            assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("attribute", ['own"er', "own er", "ówner", "owner?"])
def test_attribute_names_beyond_a_statement_are_deleted_one_by_one(moto_dynamodb: Engine, attribute: str) -> None:
    """A name that would need escaping never stands in a statement; DeleteItem takes it as a placeholder."""
    table = moto_dynamodb.create_table(["pk"], indexes={"by-owner": [attribute]})
    moto_dynamodb.put(
        table, [{"pk": {"S": f"{user}{n}"}, attribute: {"S": user}} for user in ("a", "ab") for n in "12"]
    )
    rule = DynamoDBRule(table, KeyRule(attribute, "{user_id}"), index="by-owner")
    client = HookedClient(moto_dynamodb.client)
    target = moto_dynamodb.one(client, conditional="batch")
    assert target.erase(spec(rule), {"user_id": "a"}, Deadline(60)) == SliceResult(2, done=True)
    assert client.count("delete_item") == 2
    assert [found[attribute]["S"] for found in moto_dynamodb.everything(table)] == ["ab", "ab"]


def test_expired_deadline_begins_nothing(fixture: Fixture) -> None:
    """A slice without time makes no call and does not claim to be done."""
    client = fixture.client()
    result = fixture.one(client).erase(fixture.by_key, VALUES, Deadline(0, fixture.time.clock))
    assert (result, client.calls) == (SliceResult(0, done=False), [])


def test_slow_table_ends_at_the_deadline(fixture: Fixture) -> None:
    """A table that accepts one item a call does not hold the slice beyond its deadline."""
    client = fixture.client(batch_write_item=leaving_out(1))
    deadline = fixture.deadline(1.0)
    result = fixture.one(client).erase(fixture.by_key, VALUES, deadline)
    assert not result.done
    assert 0 < result.erased == 60 - fixture.left() < 60
    assert fixture.time.clock() <= 1.0


def test_pace_that_does_not_fit_the_deadline_is_not_done(fixture: Fixture) -> None:
    """Batches that would have to wait beyond the deadline are not sent, and the slice does not claim to be done."""

    def costly(call: Any, **arguments: Any) -> Any:
        consumed = {"CapacityUnits": 5000.0, "Table": {"CapacityUnits": 5000.0}}
        return call(**arguments) | {"ConsumedCapacity": [consumed]}

    client = fixture.client(batch_write_item=costly)
    result = fixture.one(client, workers=1).erase(fixture.by_key, VALUES, fixture.deadline(3.0))
    assert (result.done, result.problem) == (False, None)
    assert result.erased == 60 - fixture.left() in {25, 50}  # two threads may begin side by side
    assert fixture.time.clock() == 0.0


def test_progress_that_cannot_be_recorded_stops_the_slice(fixture: Fixture) -> None:
    """If telling about progress fails, nothing more is begun and the failure is not swallowed."""
    fixture.engine.put(fixture.table, [item("ann", number) for number in range(1000)])

    def slow(call: Any, **arguments: Any) -> Any:
        fixture.time.sleep(1.0)
        return call(**arguments)

    def lost(_: int) -> None:
        raise RuntimeError("somebody else works on this")

    client = fixture.client(batch_write_item=slow)
    with pytest.raises(RuntimeError, match="somebody else"):
        fixture.one(client).erase(fixture.by_key, VALUES, fixture.deadline(), lost)
    assert client.count("batch_write_item") < 20


def test_progress_is_told_now_and_then_and_adds_up(fixture: Fixture) -> None:
    """``on_erased`` hears of deletions while the slice runs, from the caller's thread, each one once."""
    fixture.engine.put(fixture.table, [item("ann", number) for number in range(500)])
    reported: list[tuple[int, int]] = []

    def slow(call: Any, **arguments: Any) -> Any:
        fixture.time.sleep(1.0)
        return call(**arguments)

    result = fixture.one(fixture.client(batch_write_item=slow)).erase(
        fixture.by_key,
        VALUES,
        fixture.deadline(),
        lambda count: reported.append((count, threading.get_ident())),
    )
    assert result == SliceResult(500, done=True)
    assert sum(count for count, _ in reported) == 500
    assert 1 < len(reported) <= 21
    assert {thread for _, thread in reported} == {threading.get_ident()}


def test_description_is_kept_for_a_while(fixture: Fixture) -> None:
    """A table is described once in five minutes, and anew after something did not fit."""
    client = fixture.client()
    target = fixture.one(client)
    for _ in range(2):
        target.verify(fixture.by_key, VALUES, fixture.deadline())
    assert client.count("describe_table") == 1
    fixture.time.sleep(301)
    target.verify(fixture.by_key, VALUES, fixture.deadline())
    assert client.count("describe_table") == 2
    wrong = spec(DynamoDBRule(fixture.table, KeyRule("user_id", "{user_id}"), index="nowhere"))
    for _ in range(2):
        with pytest.raises(TargetError, match="map_mismatch"):
            target.erase(wrong, VALUES, fixture.deadline())
    assert client.count("describe_table") == 3


def test_one_target_serves_several_erasures_at_once(fixture: Fixture) -> None:
    """Erasures side by side share an instance and take their own subject's items only."""
    users = ["ann", "anna"]
    target = fixture.one(fixture.client())
    with ThreadPoolExecutor(2) as pool:
        results = list(
            pool.map(lambda user: target.erase(fixture.by_key, {"user_id": user}, fixture.deadline()), users)
        )
    assert results == [SliceResult(60, done=True), SliceResult(30, done=True)]
    assert fixture.engine.everything(fixture.table) == []


def test_verify_asks_again_for_keys_it_got_no_answer_to(fixture: Fixture) -> None:
    """Items that BatchGetItem did not get to are not taken for gone."""

    def get(call: Any, **arguments: Any) -> Any:
        ((table, request),) = arguments["RequestItems"].items()
        answer = call(RequestItems={table: request | {"Keys": request["Keys"][:20]}})
        rest = request["Keys"][20:]
        return answer | {"UnprocessedKeys": {table: request | {"Keys": rest}} if rest else {}}

    client = fixture.client(batch_get_item=get)
    left = fixture.one(client).verify(fixture.by_index, VALUES, fixture.deadline())
    assert (left, client.count("batch_get_item")) == (VerifyResult(60, complete=True), 3)


def test_verify_that_gets_no_answers_is_an_error(fixture: Fixture) -> None:
    """No answer is not the same as nothing left."""
    nothing = fixture.client(
        batch_get_item=lambda _, **arguments: {"Responses": {}, "UnprocessedKeys": arguments["RequestItems"]}
    )
    for client in (nothing, fixture.client(query=raising(THROTTLE))):
        with pytest.raises(TargetError) as caught:
            fixture.one(client).verify(fixture.by_index, VALUES, fixture.deadline())
        assert (caught.value.code, caught.value.permanent) == ("throttled", False)


@pytest.mark.parametrize("kind", ["by_key", "by_index"])
def test_verify_without_time_is_not_complete(fixture: Fixture, kind: str) -> None:
    """A verification that could not finish never says that nothing is left."""
    result = fixture.one(fixture.client()).verify(getattr(fixture, kind), VALUES, Deadline(0))
    assert result == VerifyResult(0, complete=False)


@pytest.mark.parametrize("kind", ["by_key", "by_index"])
def test_verify_counts_to_a_bound(fixture: Fixture, kind: str) -> None:
    """More than a thousand items are counted as a thousand or more."""
    fixture.engine.put(fixture.table, [item("ann", number) for number in range(1100)])
    result = fixture.one(fixture.client()).verify(getattr(fixture, kind), VALUES, fixture.deadline())
    assert result == VerifyResult(1000, complete=True, more=True)


def test_s3_target_is_refused(fixture: Fixture) -> None:
    """A target of another kind is an error, not an empty success."""
    with pytest.raises(TargetError, match="map_mismatch"):
        fixture.one(fixture.client()).erase(TargetSpec("x", "content"), VALUES, fixture.deadline())


IDS = st.text(alphabet="ab#é", min_size=1, max_size=3)
ROWS = st.lists(st.tuples(IDS, IDS, IDS), unique_by=lambda row: row[:2], max_size=40)
RULES = st.sampled_from(["partition", "whole key", "sort prefix", "index", "index prefix"])


def property_rule(kind: str, table: str) -> DynamoDBRule:
    return {
        "partition": DynamoDBRule(table, KeyRule("pk", "{user_id}")),
        "whole key": DynamoDBRule(table, KeyRule("pk", "a"), KeyRule("sk", "{user_id}")),
        "sort prefix": DynamoDBRule(table, KeyRule("pk", "a"), KeyRule("sk", "{user_id}#", prefix=True)),
        "index": DynamoDBRule(table, KeyRule("owner", "{user_id}"), index="by-owner"),
        "index prefix": DynamoDBRule(
            table, KeyRule("owner", "a"), KeyRule("sk", "{user_id}#", prefix=True), index="by-owner-sk"
        ),
    }[kind]


def is_subjects(kind: str, user: str, row: tuple[str, str, str]) -> bool:
    """The rules in plain words; each row is (pk, sk, owner)."""
    pk, sk, owner = row
    return {
        "partition": pk == user,
        "whole key": pk == "a" and sk == user,
        "sort prefix": pk == "a" and sk.startswith(user + "#"),
        "index": owner == user,
        "index prefix": owner == "a" and sk.startswith(user + "#"),
    }[kind]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, IDS, RULES)
def test_exactly_the_subjects_items_go(
    moto_dynamodb: Engine, rows: list[tuple[str, str, str]], user: str, kind: str
) -> None:
    """Whatever is in a table: nothing of the subject is left and everything else is byte for byte the same."""
    engine = moto_dynamodb
    table = engine.create_table(["pk", "sk"], indexes={"by-owner": ["owner"], "by-owner-sk": ["owner", "sk"]})
    stored = {row: dict(zip(("pk", "sk", "owner"), ({"S": text} for text in row), strict=True)) for row in rows}
    engine.put(table, list(stored.values()))
    rule = spec(property_rule(kind, table))
    mine = [row for row in rows if is_subjects(kind, user, row)]
    client = HookedClient(engine.client, query=lambda query, **arguments: query(**arguments, Limit=3))
    target = engine.one(client)
    if "#" in user and "prefix" in kind:
        with pytest.raises(TargetError, match="ambiguous_identifier"):
            target.erase(rule, {"user_id": user}, Deadline(60))
        mine = []
    else:
        assert target.erase(rule, {"user_id": user}, Deadline(60)) == SliceResult(len(mine), done=True)
        assert target.verify(rule, {"user_id": user}, Deadline(60)) == VerifyResult(0, complete=True)
    expected = sorted((stored[row] for row in rows if row not in mine), key=repr)
    assert engine.everything(table) == expected
