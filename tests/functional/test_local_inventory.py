"""The independent reader notices everything that it is there to notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from local.emulator import emulator
from local.inventory import Change, Snapshot, Thing, compare, take_snapshot
from local.sample import (
    MENTIONS,
    ORGANIZATIONS,
    TABLES,
    Group,
    Item,
    Person,
    StoredObject,
    items,
    objects,
    organizations_of,
)
from local.seeding import seed
from local.stack import Stack, bare_stack
from tests.functional.local_places import free_place

GROUP = Group("acme", "ann")
ANN, ANNA = Person("acme", "ann"), Person("acme", "anna")
ODD = (Person("acme", "a+b"), Person("acme", "张伟"), Person("acme", "white space"), Person("acme", "%2F"), ANNA)


def _thing(name: str, owner: Person | None, digest: str = "same", category: str = "content") -> Thing:
    return Thing("item", "app-documents", name, digest, owner, category)


def _snapshot(*things: Thing) -> Snapshot:
    return Snapshot({(thing.kind, thing.container, thing.name): thing for thing in things})


def test_clean_erasure_is_clean() -> None:
    """The subject's content is gone, all else is as before: nothing to complain about."""
    account, neighbour = _thing("account", ANN, category="account"), _thing("other", ANNA)
    result = compare(_snapshot(_thing("mine", ANN), account, neighbour), _snapshot(account, neighbour), ANN)
    assert result.clean
    assert result.erased == 1


def test_leftovers_are_found_even_if_they_are_new() -> None:
    """What is there of the subject afterwards is left, whether or not it was there before."""
    new = _thing("written meanwhile", ANN)
    assert compare(_snapshot(_thing("mine", ANN)), _snapshot(new), ANN).left == (new,)


@pytest.mark.parametrize(
    ("after", "what"),
    [
        ([], "lost"),
        ([_thing("other", ANNA, "another digest")], "altered"),
        ([_thing("other", ANNA), _thing("second", ANNA)], "appeared"),
    ],
)
@pytest.mark.parametrize("owner", [ANNA, None, ANN], ids=["a neighbour's", "nobody's", "the subject's account"])
def test_every_change_of_what_should_stay_is_found(after: list[Thing], what: str, owner: Person | None) -> None:
    """Lost, altered or appeared: of a neighbour, of nobody, or of what the subject keeps."""
    category = "account" if owner == ANN else "content"
    things = [_thing(thing.name, owner, thing.digest, category) for thing in after]
    result = compare(_snapshot(_thing("other", owner, category=category)), _snapshot(*things), ANN)
    assert [change.what for change in result.changed] == [what]
    assert not result.left


def _comment(mentions: dict[Person, str], digest: str = "with") -> Thing:
    return replace(_thing("comment", ANNA, digest), mentions=mentions)


@pytest.mark.parametrize("categories", [{MENTIONS}, None], ids=["their category", "all"])
def test_lost_mention_is_not_a_change(categories: set[str] | None) -> None:
    """A comment of somebody else that lost its mention of the subject and nothing more is as it should be."""
    before, after = _comment({ANN: "without"}), _comment({}, "without")
    result = compare(_snapshot(before), _snapshot(after), ANN, categories)
    assert result.clean
    assert (result.erased, result.detached) == (0, 1)


@pytest.mark.parametrize(
    ("after", "left", "changed"),
    [
        ([_comment({ANN: "without"})], 1, 0),
        ([_comment({}, "without and more")], 0, 1),
        ([], 0, 1),
        ([_comment({ANN: "without"}, "edited")], 1, 1),
    ],
    ids=["still mentioned", "something else is gone too", "lost as a whole", "edited"],
)
def test_mention_that_did_not_go_alone_is_found(after: list[Thing], left: int, changed: int) -> None:
    """A mention that stays is left, and whatever else happens to the comment is a change."""
    result = compare(_snapshot(_comment({ANN: "without"})), _snapshot(*after), ANN, {MENTIONS})
    assert (len(result.left), len(result.changed), result.detached) == (left, changed, 0)


def test_mention_stays_where_none_was_to_go() -> None:
    """In an erasure of other categories, of one organization, or of somebody else, a lost mention is a change."""
    before, after = _snapshot(_comment({ANN: "without"})), _snapshot(_comment({}, "without"))
    assert compare(before, after, ANN, {"content"}).changed
    assert compare(before, after, ANN, {MENTIONS}, ["north"]).changed
    assert compare(before, after, Person("acme", "an"), {MENTIONS}).changed


def test_erasure_limited_to_an_organization() -> None:
    """Only what is the subject's in the organization is to go; the rest is to stay as it was."""
    of_north = replace(_thing("north", ANN), organization="north")
    of_south, of_none = replace(_thing("south", ANN), organization="south"), _thing("none", ANN)
    before = _snapshot(of_north, of_south, of_none)
    assert compare(before, _snapshot(of_south, of_none), ANN, organizations=["north"]).clean
    assert compare(before, before, ANN, organizations=["north"]).left == (of_north,)
    assert len(compare(before, _snapshot(), ANN, organizations=["north"]).changed) == 2


@pytest.fixture(scope="module")
def seeded() -> Iterator[Stack]:
    """An emulator that holds a few of the sample's people."""
    with free_place() as place:
        emulator(place).start()
        stack = bare_stack(place)
        seed(stack, of=(*ODD, GROUP))
        yield stack


@pytest.mark.engine
def test_reader_finds_exactly_what_the_seeder_wrote(seeded: Stack) -> None:
    """Every planned item, version, delete marker and upload is read back with its owner, and nothing more."""
    snapshot = take_snapshot(seeded)
    for owner in (*ODD, GROUP):
        planned = [stored for stored in objects() if stored.owner == owner]
        kinds = [thing.kind for thing in snapshot.of(owner)]
        assert kinds.count("item") == sum(item.owner == owner for item in items())
        assert kinds.count("version") == sum(len(stored.versions) for stored in planned)
        assert kinds.count("delete marker") == sum(stored.deleted for stored in planned)
        assert kinds.count("upload") == sum(stored.uploads for stored in planned)
    assert snapshot.owners() == sorted((*ODD, GROUP), key=str)
    assert all(thing.owner for thing in snapshot.things.values())


@pytest.mark.engine
def test_reader_knows_organizations(seeded: Stack) -> None:
    """What is in an organization is read back as that, items and versions."""
    of_anna = take_snapshot(seeded).of(ANNA)
    for organization in ORGANIZATIONS:
        found = {thing.kind for thing in of_anna if thing.organization == organization}
        assert found >= {"item", "version"} if organization in organizations_of(ANNA) else not found


@pytest.mark.engine
def test_reader_tells_a_detached_mention_from_any_other_change(seeded: Stack) -> None:
    """A mention taken out of the set and the index, in the engine itself, is what the reader expects; half of it is
    not."""
    dynamodb, item = seeded.client("dynamodb"), _item_that_mentions_two()
    mentioned = Person("acme", item.attributes["mention"]["S"].removeprefix("acme#"))
    before = take_snapshot(seeded)
    (of_it,) = (thing for thing in before.mentioning(mentioned) if thing.name.count(item.attributes["comment_id"]["S"]))
    place: Any = {"TableName": item.table, "Key": {name: item.attributes[name] for name in TABLES[item.table] if name}}
    dynamodb.update_item(**place, UpdateExpression="REMOVE mention")
    half = compare(before, take_snapshot(seeded), mentioned, {MENTIONS})
    assert half.detached == 0
    assert [change.thing for change in half.changed] == [of_it]

    dynamodb.update_item(
        **place,
        UpdateExpression="DELETE mentioned_user_ids :s",
        ExpressionAttributeValues={":s": {"SS": [mentioned.user]}},
    )
    whole = compare(before, take_snapshot(seeded), mentioned, {MENTIONS})
    assert whole.detached == 1
    assert not whole.changed
    seed(seeded, of=(*ODD, GROUP))


def _item_that_mentions_two() -> Item:
    return next(
        item
        for item in items()
        if item.owner == ANNA and len(item.attributes.get("mentioned_user_ids", {}).get("SS", [])) == 2
    )


@pytest.mark.engine
def test_seeding_again_changes_nothing(seeded: Stack) -> None:
    """The second run writes no new version and alters no item."""
    before = take_snapshot(seeded)
    seed(seeded, of=(*ODD, GROUP))
    assert compare(before, take_snapshot(seeded), Person("nobody", "nobody")).clean


@pytest.mark.engine
def test_tampering_is_noticed_and_mended(seeded: Stack) -> None:
    """One byte of an item, one version, one marker, one upload: each shows, and seeding again puts the data back."""
    before = take_snapshot(seeded)
    of_anna = [stored for stored in objects() if stored.owner == ANNA]
    plain = next(stored for stored in of_anna if not stored.deleted and not stored.uploads)
    _tamper(seeded, plain)

    changed = compare(before, take_snapshot(seeded), ANN).changed
    assert _summary(changed) == {
        ("altered", "item"),
        ("lost", "version"),
        ("appeared", "delete marker"),
        ("appeared", "upload"),
    }
    assert compare(before, take_snapshot(seeded), ANNA).left

    seed(seeded, of=(*ODD, GROUP))
    assert _content(take_snapshot(seeded)) == _content(before)


def _tamper(stack: Stack, stored: StoredObject) -> None:
    s3, dynamodb = stack.client("s3"), stack.client("dynamodb")
    item = next(item for item in items() if item.owner == ANNA and item.table == "app-documents")
    dynamodb.put_item(TableName=item.table, Item={**item.attributes, "title": {"S": "x"}})
    versions = s3.list_object_versions(Bucket=stored.bucket, Prefix=stored.key)["Versions"]
    s3.delete_object(Bucket=stored.bucket, Key=stored.key, VersionId=versions[-1]["VersionId"])
    s3.delete_object(Bucket=stored.bucket, Key=stored.key)
    s3.create_multipart_upload(Bucket=stored.bucket, Key=stored.key)


def _summary(changed: tuple[Change, ...]) -> set[tuple[str, str]]:
    """What changed; that another version is no longer the latest goes without saying."""
    return {(change.what, change.thing.kind) for change in changed} - {("altered", "version")}


def _content(snapshot: Snapshot) -> list[tuple[str, str, str, str]]:
    """Everything but the version and upload ids, which are new each time."""
    return sorted(
        (thing.kind, thing.container, thing.name.partition("\0")[0], thing.digest) for thing in snapshot.things.values()
    )
