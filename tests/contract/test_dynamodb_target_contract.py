"""What erasing from DynamoDB promises, on three engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.target_spec import KeyRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.dynamodb_items import spec, strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

ODD_IDS = [
    "1",
    "10",
    "01",
    "1 ",
    "ann",
    "Ann",
    "ann\u0435",  # the last letter is Cyrillic
    "j\u00fcrgen",
    "ju\u0308rgen",  # the same name, decomposed
    "名前",
    "😀",
    "o'neil",
    'say "hi"',
    '" OR 1=1 --',
    "%",
    "*",
    "?",
    ":m0",
    "#m0",
    "{user_id}",
    "a\\b",
    "tab\tnew\nline",
]


def deadline() -> Deadline:
    return Deadline(60)


def erase(engine: Engine, target_spec: TargetSpec, user_id: str, client: Any = None) -> SliceResult:
    return engine.one(client).erase(target_spec, user(user_id), deadline())


def verify(engine: Engine, target_spec: TargetSpec, user_id: str) -> VerifyResult:
    return engine.one().verify(target_spec, user(user_id), deadline())


def assert_erases_exactly(engine: Engine, target_spec: TargetSpec, user_id: str, mine: list[Item]) -> None:
    """Erase; then nothing of ``mine`` is left and every other item is what it was."""
    table = target_spec.dynamodb.table  # type: ignore[union-attr]
    before = engine.everything(table)
    assert all(item in before for item in mine)
    assert verify(engine, target_spec, user_id) == VerifyResult(len(mine), complete=True)
    assert erase(engine, target_spec, user_id) == SliceResult(len(mine), done=True)
    assert engine.everything(table) == [item for item in before if item not in mine]
    assert verify(engine, target_spec, user_id) == VerifyResult(0, complete=True)


BY_KEY = KeyRule("pk", "TENANT#{tenant_id}#USER#{user_id}")


def test_whole_key(dynamodb: Engine) -> None:
    """A partition and a sort key, both equal, take one item and leave the rest of the partition."""
    table = dynamodb.create_table(["pk", "sk"])
    mine = strings(pk="TENANT#acme#USER#ann", sk="PROFILE", name="Ann")
    dynamodb.put(table, [mine, strings(pk="TENANT#acme#USER#ann", sk="PROFILE2"), strings(pk="x", sk="PROFILE")])
    assert_erases_exactly(dynamodb, spec(table, BY_KEY, KeyRule("sk", "PROFILE")), "ann", [mine])


def test_table_with_a_partition_key_only(dynamodb: Engine) -> None:
    """A table without sort key loses the subject's one item."""
    table = dynamodb.create_table(["user"])
    dynamodb.put(table, [strings(user="a"), strings(user="ab"), strings(user="A")])
    assert_erases_exactly(dynamodb, spec(table, KeyRule("user", "{user_id}")), "a", [strings(user="a")])


def test_partition_with_more_items_than_a_batch(dynamodb: Engine) -> None:
    """All items of a partition go, whatever the number of batches."""
    table = dynamodb.create_table(["pk", "sk"])
    mine = [strings(pk="TENANT#acme#USER#ann", sk=f"{number:03}", text="x" * 50) for number in range(63)]
    dynamodb.put(table, [*mine, strings(pk="TENANT#acme#USER#anna", sk="000"), strings(pk="TENANT#acme", sk="000")])
    assert_erases_exactly(dynamodb, spec(table, BY_KEY), "ann", mine)


@pytest.mark.parametrize("kind", ["N", "B"])
def test_sort_keys_of_other_types_pass_through(dynamodb: Engine, kind: str) -> None:
    """The sort key of a table may be a number or binary, as long as no rule matches it."""
    table = dynamodb.create_table(["pk", "sk"], types={"sk": kind})
    sorts: list[Any] = ["-1.5", "0", "12345678901234567890"] if kind == "N" else [b"\x00\xff", b"a", b"ab"]
    mine = [strings(pk="TENANT#acme#USER#ann") | {"sk": {kind: sort}} for sort in sorts]
    dynamodb.put(table, [*mine, strings(pk="TENANT#acme#USER#bob") | {"sk": {kind: sorts[0]}}])
    assert_erases_exactly(dynamodb, spec(table, BY_KEY), "ann", mine)


def test_sort_prefix_spares_ids_that_begin_alike(dynamodb: Engine) -> None:
    """A sort prefix takes the subject's items, not those of subjects whose id begins or ends with the same text."""
    table = dynamodb.create_table(["pk", "sk"])
    mine = [strings(pk="T#acme", sk=sort) for sort in ("U#a#", "U#a#1", "U#a#b#2", "U#a##")]
    others = [strings(pk="T#acme", sk=sort) for sort in ("U#a", "U#ab#1", "U#A#1", "XU#a#1", "U#", "U#a$", 'U#a"')]
    dynamodb.put(table, [*mine, *others, strings(pk="T#acme2", sk="U#a#1")])
    rule = spec(table, KeyRule("pk", "T#{tenant_id}"), KeyRule("sk", "U#{user_id}#", prefix=True))
    assert_erases_exactly(dynamodb, rule, "a", mine)


def test_index_takes_the_subjects_items_from_every_partition(dynamodb: Engine) -> None:
    """By an index, items are found by its key and deleted by the table's own."""
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    mine = [strings(pk=f"D#{number % 7}", sk=f"{number:03}", user_id="ann") for number in range(57)]
    others = [strings(pk=f"D#{number % 7}", sk=f"o{number}", user_id="anna") for number in range(30)]
    dynamodb.put(table, [*mine, *others, strings(pk="D#1", sk="nobody")])
    assert_erases_exactly(dynamodb, spec(table, KeyRule("user_id", "{user_id}"), index="by-user"), "ann", mine)


@pytest.mark.parametrize(("template", "prefix", "wanted"), [("DOC#{user_id}#", True, 2), ("DOC#{user_id}#1", False, 1)])
def test_index_with_a_sort_rule(dynamodb: Engine, template: str, prefix: bool, wanted: int) -> None:
    """A sort rule narrows an index down; the rest of the index's partition stays."""
    table = dynamodb.create_table(["id"], indexes={"by-tenant": ["tenant", "owner"]})
    mine = [strings(id="1", tenant="acme", owner="DOC#a#1"), strings(id="2", tenant="acme", owner="DOC#a#2")][:wanted]
    others = [
        strings(id=owner, tenant="acme", owner=owner) for owner in ("DOC#a", "DOC#ab#1", "DOC#a$1", "doc#a#1", "DOC#")
    ]
    dynamodb.put(table, [*mine, *others, strings(id="9", tenant="acme2", owner="DOC#a#1")])
    rule = spec(table, KeyRule("tenant", "{tenant_id}"), KeyRule("owner", template, prefix=prefix), "by-tenant")
    assert_erases_exactly(dynamodb, rule, "a", mine)


def test_inverted_index(dynamodb: Engine) -> None:
    """An index over the table's own keys, turned round, needs no condition: the key itself says whose the item is."""
    table = dynamodb.create_table(["group", "member"], indexes={"by-member": ["member", "group"]})
    mine = [strings(group=f"g{number}", member="USER#a") for number in range(3)]
    dynamodb.put(table, [*mine, strings(group="g1", member="USER#ab")])
    assert_erases_exactly(dynamodb, spec(table, KeyRule("member", "USER#{user_id}"), index="by-member"), "a", mine)


def test_local_index(dynamodb: Engine) -> None:
    """A local index shares the table's partition; its sort attribute is a condition of the deletion."""
    table = dynamodb.create_table(["pk", "sk"], local_indexes={"by-owner": ["pk", "owner"]})
    mine = [strings(pk="acme", sk=f"{number}", owner="U#a#x") for number in range(3)]
    dynamodb.put(table, [*mine, strings(pk="acme", sk="7", owner="U#ab#x"), strings(pk="acme", sk="8")])
    rule = spec(table, KeyRule("pk", "{tenant_id}"), KeyRule("owner", "U#{user_id}#", prefix=True), "by-owner")
    assert_erases_exactly(dynamodb, rule, "a", mine)


@pytest.mark.parametrize("sort", [None, KeyRule("state", "OF#{user_id}#", prefix=True)], ids=["partition", "prefix"])
def test_stale_index_entry_never_costs_anybody_an_item(dynamodb: Engine, sort: KeyRule | None) -> None:
    """An item that the index still lists for the subject, but that is somebody else's by now, survives."""
    keys = ["user_id"] if sort is None else ["user_id", "state"]
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": keys})
    mine = [strings(pk="D", sk=f"{number:02}", user_id="ann", state="OF#ann#1") for number in range(30)]
    dynamodb.put(table, mine)
    handed_over, renamed = mine[3] | strings(user_id="bob"), mine[7] | strings(state="OF#anna#1")
    changed = [handed_over] if sort is None else [handed_over, renamed]

    def stale_query(query: Any, **arguments: Any) -> Any:
        answer = query(**arguments)
        dynamodb.put(table, changed)  # after the index was read, before anything is deleted
        return answer

    client = HookedClient(dynamodb.client, query=stale_query)
    rule = spec(table, KeyRule("user_id", "{user_id}"), sort, "by-user")
    assert erase(dynamodb, rule, "ann", client) == SliceResult(30 - len(changed), done=True)
    assert dynamodb.everything(table) == changed


def test_verify_does_not_count_stale_index_entries(dynamodb: Engine) -> None:
    """What the index still lists after it has gone or changed hands is not left; what really matches is."""
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    items = [strings(pk="D", sk=f"{number:03}", user_id="ann") for number in range(120)]
    dynamodb.put(table, items)

    def stale_query(query: Any, **arguments: Any) -> Any:
        answer = query(**arguments)
        dynamodb.put(table, [items[0] | strings(user_id="bob"), strings(pk="D", sk="001")])
        dynamodb.client.delete_item(TableName=table, Key=strings(pk="D", sk="002"))
        return answer

    client = HookedClient(dynamodb.client, query=stale_query)
    rule = spec(table, KeyRule("user_id", "{user_id}"), index="by-user")
    assert dynamodb.one(client).verify(rule, user("ann"), deadline()) == VerifyResult(117, complete=True)
    assert {name for name, _ in client.calls} <= {"describe_table", "query", "get_item", "batch_get_item"}


@pytest.mark.parametrize("by_index", [False, True], ids=["key", "index"])
def test_odd_ids(dynamodb: Engine, by_index: bool) -> None:
    """Ids are data: whatever they are made of, each erasure takes its own subject's items and no others."""
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    dynamodb.put(table, [strings(pk=f"U#{odd}", sk=sort, user_id=odd) for odd in ODD_IDS for sort in ("1", "2")])
    rule = (
        spec(table, KeyRule("user_id", "{user_id}"), index="by-user")
        if by_index
        else spec(table, KeyRule("pk", "U#{user_id}"))
    )
    target, left = dynamodb.one(), list(ODD_IDS)
    for odd in ODD_IDS:
        assert target.erase(rule, user(odd), deadline()) == SliceResult(2, done=True)
        left.remove(odd)
        assert sorted(item["user_id"]["S"] for item in dynamodb.everything(table)) == sorted(left * 2)


def test_pages_of_a_megabyte(dynamodb: Engine) -> None:
    """A partition larger than one answer can be is read to its end."""
    table = dynamodb.create_table(["pk", "sk"])
    mine = [strings(pk="TENANT#acme#USER#ann", sk=f"{number:02}", text="x" * 100_000) for number in range(24)]
    for item in mine:
        dynamodb.put(table, [item])
    client = HookedClient(dynamodb.client)
    rule = spec(table, BY_KEY)
    assert erase(dynamodb, rule, "ann", client) == SliceResult(24, done=True)
    assert dynamodb.everything(table) == []
    if dynamodb.name != "ministack":  # it answers with everything at once
        assert client.count("query") == 3
    assert client.count("batch_write_item") == 1


@pytest.mark.parametrize("by_index", [False, True], ids=["key", "index"])
def test_small_pages(dynamodb: Engine, by_index: bool) -> None:
    """Keys of several pages are put together to full batches, by key and by index, in erase and verify."""
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    items = [strings(pk="TENANT#acme#USER#ann", sk=f"{number:03}", user_id="ann") for number in range(60)]
    dynamodb.put(table, items)
    rule = spec(table, KeyRule("user_id", "{user_id}"), index="by-user") if by_index else spec(table, BY_KEY)
    client = HookedClient(dynamodb.client, query=lambda query, **arguments: query(**arguments, Limit=7))
    target = dynamodb.one(client)
    assert target.verify(rule, user("ann"), deadline()) == VerifyResult(60, complete=True)
    assert target.erase(rule, user("ann"), deadline()) == SliceResult(60, done=True)
    assert dynamodb.everything(table) == []
    if not by_index:
        assert client.count("batch_write_item") == 3
    elif dynamodb.conditional == "batch":
        assert client.count("batch_execute_statement") == 3


def test_nothing_there(dynamodb: Engine) -> None:
    """Nothing to erase is done, costs one read and no write."""
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    dynamodb.put(table, [strings(pk="x", sk="y", user_id="bob")])
    client = HookedClient(dynamodb.client)
    assert erase(dynamodb, spec(table, BY_KEY), "ann", client) == SliceResult(0, done=True)
    assert [name for name, _ in client.calls] == ["describe_table", "query"]
    rule = spec(table, KeyRule("user_id", "{user_id}"), index="by-user")
    assert erase(dynamodb, rule, "ann") == SliceResult(0, done=True)
    assert verify(dynamodb, rule, "ann") == VerifyResult(0, complete=True)
    assert len(dynamodb.everything(table)) == 1


@pytest.mark.parametrize("by_index", [False, True], ids=["key", "index"])
def test_interrupted_slice_is_resumed(dynamodb: Engine, by_index: bool) -> None:
    """A slice whose time runs out says so, counts what it did, and the next one finishes; counts add up."""
    table = dynamodb.create_table(["pk", "sk"], indexes={"by-user": ["user_id"]})
    items = [strings(pk="TENANT#acme#USER#ann", sk=f"{number:03}", user_id="ann") for number in range(400)]
    dynamodb.put(table, items)
    rule = spec(table, KeyRule("user_id", "{user_id}"), index="by-user") if by_index else spec(table, BY_KEY)
    now = [0.0]

    def timed(call: Any, **arguments: Any) -> Any:
        answer = call(**arguments)
        now[0] += 1.0
        return answer

    writes = dict.fromkeys(("batch_write_item", "batch_execute_statement", "delete_item"), timed)
    target = dynamodb.one(HookedClient(dynamodb.client, **writes))
    reported: list[int] = []
    first = target.erase(rule, user("ann"), Deadline(3, clock=lambda: now[0]), reported.append)
    assert (first.done, first.problem) == (False, None)
    assert 0 < first.erased < 400
    assert sum(reported) == first.erased
    left = target.verify(rule, user("ann"), deadline())
    assert left == VerifyResult(400 - first.erased, complete=True)
    assert len(dynamodb.everything(table)) == 400 - first.erased
    assert target.erase(rule, user("ann"), deadline()) == SliceResult(400 - first.erased, done=True)
    assert dynamodb.everything(table) == []


def test_missing_table(dynamodb: Engine) -> None:
    """A table that does not exist is an error, never an empty success."""
    rule = spec("app-nowhere", BY_KEY)
    for call in (erase, verify):
        with pytest.raises(TargetError) as caught:
            call(dynamodb, rule, "ann")
        assert (caught.value.code, caught.value.permanent) == ("target_missing", True)


@pytest.mark.parametrize(
    ("partition", "sort", "index"),
    [
        (KeyRule("pk", "{user_id}"), None, "nowhere"),
        (KeyRule("user_id", "{user_id}"), None, None),
        (KeyRule("sk", "{user_id}"), None, None),
        (KeyRule("pk", "{user_id}"), KeyRule("user_id", "x"), None),
        (KeyRule("pk", "{user_id}"), None, "by-user"),
        (KeyRule("user_id", "{user_id}"), KeyRule("sk", "x"), "by-user"),
        (KeyRule("number", "{user_id}"), None, "by-number"),
        (KeyRule("user_id", "{user_id}"), KeyRule("number", "1"), "by-user-number"),
    ],
    ids=["no index", "no key", "sort key", "no sort key", "index key", "no index sort key", "number", "number to sort"],
)
def test_map_that_does_not_fit_the_table(
    dynamodb: Engine, partition: KeyRule, sort: KeyRule | None, index: str | None
) -> None:
    """A rule that does not name exactly the string key attributes is refused, and nothing is touched."""
    indexes = {"by-user": ["user_id"], "by-number": ["number"], "by-user-number": ["user_id", "number"]}
    table = dynamodb.create_table(["pk", "sk"], indexes=indexes, types={"number": "N"})
    dynamodb.put(table, [strings(pk="1", sk="1", user_id="1") | {"number": {"N": "1"}}])
    before = dynamodb.everything(table)
    for call in (erase, verify):
        with pytest.raises(TargetError) as caught:
            call(dynamodb, spec(table, partition, sort, index), "1")
        assert (caught.value.code, caught.value.permanent) == ("map_mismatch", True)
    assert dynamodb.everything(table) == before
