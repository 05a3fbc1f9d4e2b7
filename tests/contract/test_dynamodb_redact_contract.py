"""What redacting and retaining items promises, on three engines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import KeyRule, RedactRule, RetainRule, TargetSpec
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.dynamodb_items import spec, strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NULL = {"NULL": True}
OWNER = KeyRule("owner", "{user_id}")
BY_KEY = KeyRule("pk", "USER#{user_id}")
REJECTED = SliceResult(0, done=False, problem="rejected", permanent=True)
UNKNOWN = SliceResult(0, done=False, problem="retention_unknown", permanent=True)
TEN_YEARS = RetainRule("tax law", "10y", "issued_at")


def rules(**forms: str | tuple[str, str]) -> tuple[RedactRule, ...]:
    """``a__b`` is the path ``a.b``, ``a_each`` the path ``a[]``; a pair is a way and its constant."""
    return tuple(
        RedactRule(path.replace("__", ".").replace("_each", "[]"), *([form] if isinstance(form, str) else form))
        for path, form in forms.items()
    )


EVERYTHING = rules(
    name="remove",
    phone="null",
    city=("constant", "-"),
    mail="digest",
    address__street="remove",
    address__geo__lat="null",
    contacts_each__email="remove",
    contacts_each__name=("constant", "-"),
    tags_each="remove",
)


def invoice(number: str, who: str, **more: Any) -> Item:
    return strings(pk=f"USER#{who}", sk=number, owner=who, total="7") | more


def table_of(engine: Engine, *items: Item) -> str:
    table = engine.create_table(["pk", "sk"], indexes={"by-owner": ["owner"]}, local_indexes={"local": ["pk", "total"]})
    engine.put(table, items)
    return table


def redacting(table: str, *redact: RedactRule, retain: RetainRule | None = None, index: bool = False) -> TargetSpec:
    rule = spec(table, OWNER, None, "by-owner") if index else spec(table, BY_KEY)
    return replace(rule, redact=redact, retain=retain)


def target(engine: Engine, client: Any = None, **options: Any) -> DynamoDBTarget:
    return engine.target(client, **{"digest_key": lambda: b"key", "now": lambda: NOW} | options)


def erase(engine: Engine, rule: TargetSpec, *who: str, client: Any = None, **options: Any) -> list[SliceResult]:
    return target(engine, client, **options).erase(rule, [user(each) for each in who], Deadline(60))


def verify(engine: Engine, rule: TargetSpec, *who: str, client: Any = None) -> list[VerifyResult]:
    # The verifier has no key.
    return target(engine, client, digest_key=None).verify(rule, [user(each) for each in who], Deadline(60))


def left(engine: Engine, rule: TargetSpec, *who: str) -> list[int]:
    results = verify(engine, rule, *who)
    assert all(result.complete and result.problem is None for result in results)
    return [result.left for result in results]


def without(item: Item, *names: str, **changes: Any) -> Item:
    return {name: value for name, value in item.items() if name not in names} | changes


def ordered(value: Any) -> Any:
    """A value in a form in which the order of a set's members does not matter."""
    if isinstance(value, dict):
        return {name: sorted(held) if name in ("SS", "NS", "BS") else ordered(held) for name, held in value.items()}
    return [ordered(element) for element in value] if isinstance(value, list) else value


def assert_stored(engine: Engine, table: str, *items: Item) -> None:
    """Exactly these items are in the table."""
    assert sorted(map(repr, map(ordered, map(by_name, engine.everything(table))))) == sorted(
        map(repr, map(ordered, map(by_name, items)))
    )


def by_name(item: Item) -> Item:
    def sort(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: sort(value[name]) for name in sorted(value)}
        return [sort(element) for element in value] if isinstance(value, list) else value

    sorted_item: Item = sort(item)
    return sorted_item


def a_map(**content: Any) -> Any:
    return {"M": content}


def a_list(*elements: Any) -> Any:
    return {"L": list(elements)}


def text(value: str) -> Any:
    return {"S": value}


FULL = {
    "name": text("Ann"),
    "phone": {"N": "123"},
    "city": {"SS": ["Rome", "Bonn"]},
    "mail": text("ann@example.org"),
    "address": a_map(street=text("x"), zip=text("1"), geo=a_map(lat={"N": "1.5"}, lon={"N": "2"})),
    "contacts": a_list(
        a_map(email=text("b@x"), name=text("Bob"), kind=text("k")),
        a_map(kind=text("l")),
        a_map(name={"L": []}, pic={"B": b"\x00\xff"}),
    ),
    "tags": a_list(text("a"), {"N": "1"}),
}
REDACTED = {
    "phone": NULL,
    "city": text("-"),
    "address": a_map(zip=text("1"), geo=a_map(lat=NULL, lon={"N": "2"})),
    "contacts": a_list(
        a_map(name=text("-"), kind=text("k")), a_map(kind=text("l")), a_map(name=text("-"), pic={"B": b"\x00\xff"})
    ),
    "tags": a_list(),
}


@pytest.mark.parametrize("index", [False, True], ids=["by key", "by index"])
def test_every_way_at_every_depth(dynamodb: Engine, index: bool) -> None:
    """Each attribute becomes what its rule says, in one update of the item, and all else stays, others' items too."""
    mine, bare, theirs = invoice("1", "ann", **FULL), invoice("2", "ann"), invoice("1", "anna", **FULL)
    table = table_of(dynamodb, mine, bare, theirs)
    rule = redacting(table, *EVERYTHING, index=index)
    assert left(dynamodb, rule, "ann", "anna", "nobody") == [1, 1, 0]
    client = HookedClient(dynamodb.client)
    assert erase(dynamodb, rule, "ann", "nobody", client=client) == [
        SliceResult(1, done=True),
        SliceResult(0, done=True),
    ]
    assert client.count("update_item") == 1
    digest = dynamodb.client.get_item(TableName=table, Key=strings(pk="USER#ann", sk="1"))["Item"]["mail"]
    assert re.fullmatch("erased:[0-9a-f]{64}", digest["S"])
    assert_stored(dynamodb, table, without(mine, *FULL) | REDACTED | {"mail": digest}, bare, theirs)
    assert left(dynamodb, rule, "ann", "anna", "nobody") == [0, 1, 0]
    assert erase(dynamodb, rule, "ann") == [SliceResult(0, done=True)]
    assert_stored(dynamodb, table, without(mine, *FULL) | REDACTED | {"mail": digest}, bare, theirs)


@pytest.mark.parametrize(
    "way",
    [
        spec("", BY_KEY, KeyRule("sk", "INVOICE#{user_id}#", prefix=True)),
        spec("", BY_KEY, KeyRule("sk", "INVOICE#{user_id}#1")),
        spec("", BY_KEY, KeyRule("total", "7"), "local"),
        spec("", OWNER, None, "by-owner"),
    ],
    ids=["prefix", "whole key", "local index", "index"],
)
def test_however_items_are_found(dynamodb: Engine, way: TargetSpec) -> None:
    """A prefix, a whole key, and indexes that hold nothing but keys lead to the same."""
    mine = invoice("INVOICE#ann#1", "ann", name=text("Ann"))
    table = table_of(dynamodb, mine, invoice("INVOICE#ann#1", "anna", name=text("Anna")))
    assert way.dynamodb is not None
    rule = replace(way, dynamodb=replace(way.dynamodb, table=table), redact=rules(name="remove"))
    assert left(dynamodb, rule, "ann") == [1]
    assert erase(dynamodb, rule, "ann") == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(mine, "name"), invoice("INVOICE#ann#1", "anna", name=text("Anna")))
    assert left(dynamodb, rule, "ann", "anna") == [0, 0 if way.dynamodb.index is None else 1]


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"address": NULL},
        {"address": a_map()},
        {"address": a_map(geo=NULL)},
        {"contacts": NULL},
        {"contacts": a_list()},
        {"contacts": a_list(NULL, a_map())},
    ],
    ids=str,
)
def test_parents_that_are_missing_hold_nothing(dynamodb: Engine, held: Item) -> None:
    """Where a path ends early there is nothing to redact, and the item is not written to."""
    item = invoice("1", "ann", **held)
    table = table_of(dynamodb, item)
    rule = redacting(table, *rules(address__geo__lat="digest", contacts_each__email="remove"))
    client = HookedClient(dynamodb.client)
    assert left(dynamodb, rule, "ann") == [0]
    assert erase(dynamodb, rule, "ann", client=client) == [SliceResult(0, done=True)]
    assert client.count("update_item") == 0
    assert_stored(dynamodb, table, item)


@pytest.mark.parametrize(
    "held",
    [
        {"address": text("Rome")},
        {"address": a_map(geo=a_list())},
        {"contacts": a_map(email=text("x"))},
        {"contacts": {"SS": ["a@x"]}},
        {"contacts": a_list(a_map(email=text("x")), text("b@x"))},
    ],
    ids=str,
)
def test_path_through_something_else_is_told_and_the_item_left(dynamodb: Engine, held: Item) -> None:
    """Nobody can say what such an item holds: it stays as it is, everything else of the subject is redacted."""
    odd = invoice("1", "ann", name=text("Ann"), **held)
    others = [invoice(number, "ann", name=text("Ann")) for number in ("0", "2", "3")]
    table = table_of(dynamodb, odd, *others, invoice("1", "bob", name=text("Bob")))
    rule = redacting(table, *rules(name="remove", address__geo__lat="null", contacts_each__email="remove"))
    assert erase(dynamodb, rule, "ann", "bob") == [replace(REJECTED, erased=3), SliceResult(1, done=True)]
    assert_stored(dynamodb, table, odd, *(without(item, "name") for item in others), invoice("1", "bob"))
    assert left(dynamodb, rule, "ann", "bob") == [1, 0]


def before_the_first(change: Callable[[], Any]) -> Callable[..., Any]:
    """A hook: somebody else writes between the eraser's reading and its writing."""
    done: list[bool] = []

    def call(real: Any, **arguments: Any) -> Any:
        if not done:
            done.append(True)
            change()
        return real(**arguments)

    return call


BEFORE = {
    "name": text("Ann"),
    "address": a_map(street=text("x"), zip=text("1")),
    "contacts": a_list(a_map(email=text("b@x"), name=text("Bob"))),
}
AFTER = {"address": a_map(zip=text("1")), "contacts": a_list(a_map(name=text("Bob")))}


@pytest.mark.parametrize("index", [False, True], ids=["by key", "by index"])
@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({"total": text("8")}, {}),
        ({"name": text("Anna")}, {}),
        ({"address": a_map(street=text("y"), zip=text("2"))}, {"address": a_map(zip=text("2"))}),
        ({"address": a_map(street=text("x"), zip=text("2"))}, {"address": a_map(zip=text("2"))}),
        ({"address": NULL}, {"address": NULL}),
        (
            {"contacts": a_list(a_map(email=text("c@x")), a_map(email=text("b@x"), name=text("Bob")))},
            {"contacts": a_list(a_map(), a_map(name=text("Bob")))},
        ),
        ({"contacts": a_list()}, {"contacts": a_list()}),
        ({"nick": a_map(old=text("n"))}, {"nick": a_map(old=NULL)}),
    ],
    ids=str,
)
def test_what_others_write_meanwhile_is_kept(dynamodb: Engine, index: bool, changes: Item, after: Item) -> None:
    """Whatever another writer does to the item in between: it stays, but for what is to be redacted."""
    item = invoice("1", "ann", **BEFORE)
    table = table_of(dynamodb, item)
    rule = redacting(
        table,
        *rules(name="remove", address__street="remove", contacts_each__email="remove", nick__old="null"),
        index=index,
    )
    write = before_the_first(lambda: dynamodb.put(table, [item | changes]))
    client = HookedClient(dynamodb.client, update_item=write)
    assert erase(dynamodb, rule, "ann", client=client) == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table, without(item | changes, "name") | AFTER | after)
    assert left(dynamodb, rule, "ann") == [0]


@pytest.mark.parametrize("index", [False, True], ids=["by key", "by index"])
def test_item_that_is_deleted_meanwhile_does_not_come_back(dynamodb: Engine, index: bool) -> None:
    """An item that its owner deletes while it is being redacted stays deleted and is not counted."""
    table = table_of(dynamodb, invoice("1", "ann", name=text("Ann")))
    delete = before_the_first(lambda: dynamodb.client.delete_item(TableName=table, Key=strings(pk="USER#ann", sk="1")))
    client = HookedClient(dynamodb.client, update_item=delete)
    rule = redacting(table, *rules(name=("constant", "-")), index=index)
    assert erase(dynamodb, rule, "ann", client=client) == [SliceResult(0, done=True)]
    assert_stored(dynamodb, table)


def test_item_that_goes_over_to_somebody_else_meanwhile_stays_theirs(dynamodb: Engine) -> None:
    """If the index key names another by the time of the update, nothing is changed or counted."""
    item = invoice("1", "ann", name=text("Ann"))
    theirs = item | strings(owner="anna")
    table = table_of(dynamodb, item)
    client = HookedClient(dynamodb.client, update_item=before_the_first(lambda: dynamodb.put(table, [theirs])))
    rule = redacting(table, *rules(name="remove"), index=True)
    assert erase(dynamodb, rule, "ann", client=client) == [SliceResult(0, done=True)]
    assert_stored(dynamodb, table, theirs)


@pytest.mark.parametrize(
    ("form", "owner"), [("remove", None), (("constant", "erased"), "erased")], ids=["remove", "constant"]
)
def test_redacting_what_items_are_found_by(dynamodb: Engine, form: Any, owner: str | None) -> None:
    """The item leaves the subject's part of the index with the same update that redacts all else, never before."""
    item, other = invoice("1", "ann", name=text("Ann")), invoice("1", "bob", name=text("Bob"))
    table = table_of(dynamodb, item, other)
    rule = redacting(table, *rules(owner=form, name="remove", nick="remove"), index=True)
    # Redacted already at the first reading, or not there, are conditions too: this would stay otherwise.
    write = before_the_first(lambda: dynamodb.put(table, [item | {"nick": text("Annie")}]))
    client = HookedClient(dynamodb.client, update_item=write)
    assert erase(dynamodb, rule, "ann", client=client) == [SliceResult(1, done=True)]
    expected = without(item, "name", "owner") | ({} if owner is None else strings(owner=owner))
    assert_stored(dynamodb, table, expected, other)
    assert left(dynamodb, rule, "ann", "bob") == [0, 1]


def test_digests_tell_equal_values_and_nothing_else(dynamodb: Engine) -> None:
    """Equal values of one attribute have equal digests, whatever the order of a set; other attributes, keys differ."""
    items = [
        invoice("1", "ann", a={"SS": ["x", "y"]}, b=text("ann@x"), c=text("ann@x")),
        invoice("2", "ann", a={"SS": ["y", "x"]}, b=text("ann@x"), c={"B": b"ann@x"}),
    ]
    table = table_of(dynamodb, *items)
    rule = redacting(table, *rules(a="digest", b="digest", c="digest"))
    assert erase(dynamodb, rule, "ann") == [SliceResult(2, done=True)]
    first, second = dynamodb.everything(table)
    assert (first["a"], first["b"]) == (second["a"], second["b"])
    assert len({first["a"]["S"], first["b"]["S"], first["c"]["S"], second["c"]["S"]}) == 4
    other = table_of(dynamodb, items[0])
    assert erase(dynamodb, redacting(other, *rules(b="digest")), "ann", digest_key=lambda: b"k2") == [
        SliceResult(1, done=True)
    ]
    assert dynamodb.everything(other)[0]["b"] not in (first["b"], text("ann@x"))


def test_long_list_is_redacted_at_once(dynamodb: Engine) -> None:
    """A list of any length takes one update."""
    people = [a_map(email=text(f"{number}@x"), n={"N": str(number)}) for number in range(2000)]
    table = table_of(dynamodb, invoice("1", "ann", contacts=a_list(*people)))
    client = HookedClient(dynamodb.client)
    rule = redacting(table, *rules(contacts_each__email="remove"))
    assert erase(dynamodb, rule, "ann", client=client) == [SliceResult(1, done=True)]
    assert client.count("update_item") == 1
    expected = a_list(*(a_map(n={"N": str(number)}) for number in range(2000)))
    assert_stored(dynamodb, table, invoice("1", "ann", contacts=expected))


KEPT = {"issued_at": text("2020-01-01"), "name": text("Ann")}
GONE = {"issued_at": text("2016-05-31T23:59:59Z"), "name": text("Ann")}


@pytest.mark.parametrize("index", [False, True], ids=["by key", "by index"])
def test_items_are_kept_until_their_time(dynamodb: Engine, index: bool) -> None:
    """What the law keeps stays as it is and is told with the latest end; the rest goes; nobody else's is touched."""
    kept = [invoice("1", "ann", **KEPT), invoice("2", "ann", **KEPT | {"issued_at": {"N": "1767225600"}})]
    table = table_of(dynamodb, *kept, invoice("3", "ann", **GONE), invoice("3", "anna", **GONE))
    rule = redacting(table, retain=TEN_YEARS, index=index)
    both = Kept(2, "2036-01-01T00:00:00.000Z")
    assert verify(dynamodb, rule, "ann") == [VerifyResult(1, complete=True, kept=both)]
    assert erase(dynamodb, rule, "ann", "nobody") == [SliceResult(1, done=True), SliceResult(0, done=True)]
    assert_stored(dynamodb, table, *kept, invoice("3", "anna", **GONE))
    assert verify(dynamodb, rule, "ann", "nobody") == [
        VerifyResult(0, complete=True, kept=both),
        VerifyResult(0, complete=True),
    ]


def test_kept_items_are_redacted_at_once_and_go_in_their_time(dynamodb: Engine) -> None:
    """With both, an item is redacted while it is kept, and deleted, with no further redacting, when it is over."""
    table = table_of(dynamodb, invoice("1", "ann", **KEPT), invoice("2", "ann", **GONE))
    rule = redacting(table, *rules(name="remove"), retain=TEN_YEARS)
    until = Kept(1, "2030-01-01T00:00:00.000Z")
    assert verify(dynamodb, rule, "ann") == [VerifyResult(2, complete=True, kept=until)]
    assert erase(dynamodb, rule, "ann") == [SliceResult(2, done=True)]
    assert_stored(dynamodb, table, without(invoice("1", "ann", **KEPT), "name"))
    assert verify(dynamodb, rule, "ann") == [VerifyResult(0, complete=True, kept=until)]
    then = {"now": lambda: datetime(2030, 1, 1, tzinfo=UTC)}
    assert erase(dynamodb, rule, "ann", **then) == [SliceResult(1, done=True)]
    assert_stored(dynamodb, table)


@pytest.mark.parametrize("issued_at", [None, text("last year"), {"N": "2016"}, NULL, {"SS": ["2016-01-01"]}], ids=str)
def test_item_of_unknown_age_is_kept_and_told(dynamodb: Engine, issued_at: Any) -> None:
    """Nobody can say how long it is kept: it is not deleted, its redaction is done, and all else goes on."""
    odd = invoice("1", "ann", name=text("Ann"), **({} if issued_at is None else {"issued_at": issued_at}))
    table = table_of(dynamodb, odd, invoice("0", "ann", **GONE), invoice("2", "ann", **GONE))
    rule = redacting(table, *rules(name="remove"), retain=TEN_YEARS)
    assert erase(dynamodb, rule, "ann") == [replace(UNKNOWN, erased=3)]
    assert_stored(dynamodb, table, without(odd, "name"))
    assert erase(dynamodb, rule, "ann") == [UNKNOWN]
    (found,) = verify(dynamodb, rule, "ann")
    assert (found.left, found.complete, found.problem, found.permanent) == (0, False, "retention_unknown", True)


@pytest.mark.parametrize("index", [False, True], ids=["by key", "by index"])
@pytest.mark.parametrize("issued_at", [text("2025-01-01"), None], ids=["later", "unknown"])
def test_item_that_the_law_keeps_by_now_is_not_deleted(dynamodb: Engine, index: bool, issued_at: Any) -> None:
    """A deletion rests on the time that was read: if that changes in between, the item is looked at again."""
    item = invoice("1", "ann", **GONE)
    changed = without(item, "issued_at") | ({} if issued_at is None else {"issued_at": issued_at})
    table = table_of(dynamodb, item)
    client = HookedClient(dynamodb.client, delete_item=before_the_first(lambda: dynamodb.put(table, [changed])))
    (result,) = erase(dynamodb, redacting(table, retain=TEN_YEARS, index=index), "ann", client=client)
    assert result == (UNKNOWN if issued_at is None else SliceResult(0, done=True))
    assert_stored(dynamodb, table, changed)


def test_kept_item_that_goes_over_to_somebody_else_is_not_deleted(dynamodb: Engine) -> None:
    """An item found through an index is deleted, also when its time is over, only as long as it is the subject's."""
    item = invoice("1", "ann", **GONE)
    theirs = item | strings(owner="anna")
    table = table_of(dynamodb, item)
    client = HookedClient(dynamodb.client, delete_item=before_the_first(lambda: dynamodb.put(table, [theirs])))
    assert erase(dynamodb, redacting(table, retain=TEN_YEARS, index=True), "ann", client=client) == [
        SliceResult(0, done=True)
    ]
    assert_stored(dynamodb, table, theirs)


@pytest.mark.parametrize("index", [False, True], ids=["by key", "by index"])
def test_only_what_decides_is_read_and_looking_writes_nothing(dynamodb: Engine, index: bool) -> None:
    """Neither the eraser nor the verifier asks for other attributes; the verifier calls nothing that writes."""
    table = table_of(dynamodb, *(invoice(str(number), "ann", **KEPT) for number in range(130)))
    rule = redacting(table, *rules(name="remove"), retain=TEN_YEARS, index=index)
    looking, writing = HookedClient(dynamodb.client), HookedClient(dynamodb.client)
    assert [result.left for result in verify(dynamodb, rule, "ann", client=looking)] == [130]
    assert {operation for operation, _ in looking.calls} <= {"describe_table", "query", "batch_get_item"}
    assert erase(dynamodb, rule, "ann", client=writing) == [SliceResult(130, done=True)]
    for client in (looking, writing):
        reads = [arguments for operation, arguments in client.calls if operation in ("query", "batch_get_item")]
        assert {name for arguments in reads for name in asked_for(arguments)} <= {
            "pk", "sk", "owner", "issued_at", "name"
        }  # fmt: skip
        assert client.count("batch_get_item") == (2 if index else 0)


def asked_for(arguments: dict[str, Any]) -> Sequence[str]:
    """The attributes that a read asks for; it has to name them."""
    request = next(iter(arguments["RequestItems"].values())) if "RequestItems" in arguments else arguments
    names = request["ExpressionAttributeNames"]
    return [names[name] for name in request["ProjectionExpression"].split(", ")]


RETAINED = {"retain": TEN_YEARS}


@pytest.mark.parametrize(
    ("redact", "options"),
    [
        (rules(pk="remove"), {}),
        (rules(sk=("constant", "-")), {}),
        (rules(sk__x="remove"), {}),
        (rules(address="remove", address__street="remove"), {}),
        (rules(contacts="remove", contacts_each__email="remove"), {}),
        (rules(contacts__x="remove", contacts_each__email="remove"), {}),
        (rules(contacts_each="remove", contacts_each__email="remove"), {}),
        (rules(owner="null"), {}),
        (rules(name="shred"), {}),
        (rules(name="constant"), {}),
        ((RedactRule("a..b", "remove"),), {}),
        ((RedactRule("a[0]", "remove"),), {}),
        (rules(issued_at="remove"), RETAINED),
        (rules(owner="remove"), RETAINED | {"index": True}),
        ((), {"retain": RetainRule("law", "ten years", "issued_at")}),
    ],
    ids=str,
)
def test_rule_that_cannot_be_kept_is_refused(
    dynamodb: Engine, redact: tuple[RedactRule, ...], options: dict[str, Any]
) -> None:
    """What would damage keys, contradict itself, or make retained items unfindable touches nothing."""
    item = invoice("1", "ann", **KEPT)
    table = table_of(dynamodb, item)
    rule = redacting(table, *redact, **options)
    assert erase(dynamodb, rule, "ann") == [SliceResult(0, done=False, problem="map_mismatch", permanent=True)]
    (found,) = verify(dynamodb, rule, "ann")
    assert (found.complete, found.problem, found.permanent) == (False, "map_mismatch", True)
    assert_stored(dynamodb, table, item)
