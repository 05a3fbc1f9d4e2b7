"""Targets that share a table or bucket never take somebody else's data for the subject's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from erasure.domain.collisions import OF_OTHERS, check_alone, conflict, namesake, neighbours, scope_of
from erasure.domain.data_map import parse_data_map
from erasure.domain.scope import for_all_organizations, in_scope, value_sets
from erasure.domain.subject import GROUP, ORGANIZATION, SUBJECT_TYPES, USER, Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.errors import DataMapError, InvalidInputError, TargetError


def s3(prefix: str | None = None, key: str | None = None, name: str = "one", bucket: str = "files") -> TargetSpec:
    return TargetSpec(name, "content", s3=S3Rule(bucket, prefix, key))


def item(pk: str, sk: str | None = None, *, prefix: bool = False, table: str = "things") -> TargetSpec:
    sort = KeyRule("sk", sk, prefix) if sk is not None else None
    return TargetSpec("one", "content", dynamodb=DynamoDBRule(table, KeyRule("pk", pk), sort))


def values(tenant: str, user: str) -> dict[str, str]:
    return {"tenant_id": tenant, "user_id": user}


ARCHIVE = s3("{tenant_id}/archive/{user_id}/", name="archive")
FILES = s3("{tenant_id}/{user_id}/", name="files")


def test_user_named_like_a_folder_is_refused() -> None:
    """The files of a user called "archive" are everybody's archive: refused, while everybody else is fine."""
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(FILES, [FILES, ARCHIVE], values("t", "archive"))
    check_alone(FILES, [FILES, ARCHIVE], values("t", "ann"))
    check_alone(ARCHIVE, [FILES, ARCHIVE], values("t", "archive"))
    check_alone(FILES, [FILES, s3("{tenant_id}/archive/{user_id}/", bucket="others")], values("t", "archive"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (s3("avatars/{user_id}/"), s3("{tenant_id}/{user_id}/")),
        (s3("{user_id}/{tenant_id}/"), s3("{tenant_id}/{user_id}/")),
        (item("{tenant_id}#{user_id}"), item("{user_id}#{tenant_id}")),
        (item("{tenant_id}", "{user_id}"), item("{user_id}", "{tenant_id}")),
    ],
)
def test_maps_that_collide_for_everybody_are_refused(one: TargetSpec, other: TargetSpec) -> None:
    """A tenant called "avatars" would share its people's folders with everybody's: such a pair is not accepted."""
    assert conflict(one, values("0t0", "0u0"), other) == OF_OTHERS


def test_data_map_names_the_colliding_pair() -> None:
    """The refusal names both targets by their place in the document."""
    targets = [
        {"name": "files", "category": "content", "s3": {"bucket": "files", "prefix": "{tenant_id}/{user_id}/"}},
        {"name": "avatars", "category": "content", "s3": {"bucket": "files", "prefix": "avatars/{user_id}/"}},
    ]
    with pytest.raises(DataMapError) as caught:
        parse_data_map({"version": 1, "targets": targets})
    ((path, rule),) = caught.value.problems
    assert path == "targets[1]"
    assert "targets[0]" in rule


def test_folder_and_file_of_one_person_may_stand_side_by_side() -> None:
    """A prefix and an exact key with the same beginning are one person's: accepted, also for odd ids."""
    folder, file = s3("{tenant_id}/{user_id}/"), s3(key="{tenant_id}/{user_id}", name="file")
    for user in ("ann", "0", "*", "張"):
        check_alone(folder, [folder, file], values("t", user))
        check_alone(file, [folder, file], values("t", user))


def test_words_keep_the_kinds_of_one_table_apart() -> None:
    """Of many kinds of items under one key, each has to be compared with itself and with what may look like it."""
    kinds = [item("TENANT#{tenant_id}#USER#{user_id}", f"{word}#", prefix=True) for word in ("PROFILE", "ORDER", "O")]
    assert neighbours(kinds[1], kinds) == (kinds[1],)
    anything = item("TENANT#{tenant_id}#USER#{user_id}")
    assert neighbours(kinds[1], [*kinds, anything]) == (kinds[1], anything)
    assert neighbours(FILES, [FILES, ARCHIVE, s3("{tenant_id}/{user_id}/", bucket="others")]) == (FILES, ARCHIVE)


TEXTS = ["a", "b", "/", "a/", "/b/", "b/a/"]
PARTS = st.lists(st.sampled_from([*TEXTS, "{tenant_id}", "{user_id}"]), min_size=1, max_size=5).map("".join)
IDS = ["a", "b", "ab", "ba"]
PEOPLE = [values(tenant, user) for tenant, user in product(IDS, IDS)]


def _rendered(spec: TargetSpec, person: dict[str, str]) -> str | None:
    try:
        return scope_of(spec).template.render(person)
    except TargetError:
        return None


@given(PARTS, st.booleans(), PARTS, st.booleans())
def test_what_is_allowed_covers_nobody_else(one: str, one_exact: bool, other: str, other_exact: bool) -> None:
    """For any two templates in one bucket and any two people: if the check lets the first person pass, what the first
    template matches for them neither is nor contains what the second one matches for the other person."""
    if "{user_id}" not in one or "{user_id}" not in other:
        return
    try:
        first = s3(key=one) if one_exact else s3(prefix=one)
        second = s3(key=other, name="two") if other_exact else s3(prefix=other, name="two")
        scope_of(first), scope_of(second)
    except InvalidInputError:
        return
    for person, stranger in product(PEOPLE, PEOPLE):
        mine, theirs = _rendered(first, person), _rendered(second, stranger)
        used = set(scope_of(second).template.names)
        if mine is None or theirs is None or all(person[name] == stranger[name] for name in used):
            continue
        if theirs == mine or (not one_exact and theirs.startswith(mine)):
            with pytest.raises(TargetError):
                check_alone(first, [first, second], person)


@given(PARTS, st.booleans(), PARTS, st.booleans(), st.booleans())
def test_who_is_no_neighbour_conflicts_with_nobody(
    one: str, one_exact: bool, other: str, other_exact: bool, is_apart: bool
) -> None:
    """Leaving out the targets that are no neighbours changes no answer: for nobody is there a conflict with them."""
    category = "preference" if is_apart else "content"
    first = s3(key=one) if one_exact else s3(prefix=one)
    place = S3Rule("files", None, other) if other_exact else S3Rule("files", other)
    second = TargetSpec("two", category, s3=place)
    try:
        found = neighbours(first, [second])
    except InvalidInputError:
        return
    if found:
        return
    for person in PEOPLE:
        if _rendered(first, person) is not None:
            assert conflict(first, person, second) is None


# --- whole maps in a small world -----------------------------------------------------------------------------------


def _s3_rules(subject: str) -> Iterator[dict[str, Any]]:
    for start, who in product(("", "a/", "groups/", "1#"), (f"{{tenant_id}}/{subject}", f"{subject}#{{tenant_id}}")):
        for end in ("/", "#", "/a/", "/groups/", "/{organization_id}/", "#x/{organization_id}#"):
            yield {"s3": {"bucket": "files", "prefix": start + who + end}}
        for end in ("", "/a", ".png"):
            yield {"s3": {"bucket": "files", "key": start + who + end}}


def _dynamodb_rules(subject: str) -> Iterator[dict[str, Any]]:
    who = [f"{{tenant_id}}#{subject}", f"U#{{tenant_id}}/{subject}"]
    sorts = ["a", {"prefix": "a#"}, {"prefix": "{organization_id}#"}, "{organization_id}", "a#{organization_id}"]
    keys: list[dict[str, Any]] = [{"pk": text} for text in who]
    keys += [{"pk": text, "sk": sort} for text in who for sort in sorts]
    keys += [{"pk": "{tenant_id}", "sk": sort} for sort in (subject, f"a#{subject}", {"prefix": f"{subject}#"})]
    for key in keys:
        yield {"dynamodb": {"table": "things", "key": key}}
        yield {"dynamodb": {"table": "things", "index": "by-x", "key": key}}
        yield {"dynamodb": {"table": "things", "index": "by-x", "key": key}, "action": {"detach": {"attribute": "ids"}}}


RULES = [
    {"subjects": [kind], **rule}
    for kind in SUBJECT_TYPES
    for rules in (_s3_rules, _dynamodb_rules)
    for rule in rules(f"{{{kind}_id}}")
]
TARGETS = st.tuples(st.sampled_from(RULES), st.sampled_from(["content", "content", "record"]))


@st.composite
def accepted_maps(draw: st.DrawFn) -> tuple[TargetSpec, ...]:
    """Maps of up to three targets that are accepted; most of them share a bucket, a table or an index."""
    targets = [
        {"name": f"target-{number}", "category": category, **rule}
        for number, (rule, category) in enumerate(draw(st.lists(TARGETS, min_size=1, max_size=3)))
    ]
    try:
        return parse_data_map({"version": 1, "targets": targets}).targets
    except DataMapError:
        reject()


SPEAKING_IDS = [
    "a",
    "x/1",
    "x/a/1",
    "U/1",
    "groups/1",
    "groups",
    "x",
    "U",
    "1",
    "10",
    "{user_id}",
    "{organization_id}",
    "*",
    "..",
    "é",
    "e\u0301",
    "張",
]
LONG_IDS = ["a" * 256, "a" * 255 + "/"]
WORLD_IDS = st.sampled_from(SPEAKING_IDS) | st.text("a1/#:|{}é", min_size=1, max_size=4) | st.sampled_from(LONG_IDS)


@dataclass(frozen=True)
class Kept:
    """Something that a subject keeps where a target of the map says. ``plain``: in no folder of its own."""

    subject: Subject
    target: TargetSpec
    organization: str | None
    place: tuple[str, ...]
    plain: bool


def places(spec: TargetSpec, given: dict[str, str], tail: str) -> tuple[str, ...]:
    """Bucket and key, or table, index, partition and sort key, of something that the rule matches."""
    if spec.s3 is not None:
        (text,) = (template.render(given) for template in spec.templates())
        return (spec.s3.bucket, text if spec.s3.key is not None else text + tail)
    assert spec.dynamodb is not None
    partition, *sort = (template.render(given) for template in spec.templates())
    is_open = spec.dynamodb.sort is None or spec.dynamodb.sort.prefix
    return (spec.dynamodb.table, str(spec.dynamodb.index), partition, "".join(sort) + (tail if is_open else ""))


def matches(spec: TargetSpec, given: dict[str, str], place: tuple[str, ...]) -> bool:
    """Whether the rule matches what is in that place, as the engines understand it."""
    *rest, last = places(spec, given, "")
    is_prefix = spec.s3.prefix is not None if spec.s3 is not None else _is_open(spec)
    return list(place[:-1]) == rest and (place[-1].startswith(last) if is_prefix else place[-1] == last)


def _is_open(spec: TargetSpec) -> bool:
    assert spec.dynamodb is not None
    return spec.dynamodb.sort is None or spec.dynamodb.sort.prefix


def is_let_pass(
    spec: TargetSpec, targets: tuple[TargetSpec, ...], subject: Subject, organizations: Sequence[str] = ()
) -> bool:
    scoped = in_scope(spec, organizations)
    if scoped is None or subject.type not in spec.subjects:
        return False
    try:
        for applied in value_sets(subject, organizations, scoped):
            check_alone(scoped, neighbours(scoped, targets), applied)
    except TargetError:
        return False
    return True


def world(targets: tuple[TargetSpec, ...], subjects: list[Subject], organizations: list[str]) -> Iterator[Kept]:
    """What the subjects keep, in and outside of organizations. Whoever a target refuses has nothing there: what would
    be theirs is somebody else's as well, whatever is done."""
    for subject, target in product(subjects, targets):
        if not is_let_pass(target, targets, subject):
            continue
        for organization in (*organizations, None):
            spec = in_scope(target, [organization] if organization else [])
            if spec is None:
                continue
            for applied, tail in product(
                value_sets(subject, [organization] if organization else [], spec), ("~", "1", "a/1")
            ):
                with contextlib.suppress(TargetError):
                    place = places(spec, applied, tail)
                    yield Kept(subject, target, organization, place, plain=tail == "~")


@settings(max_examples=250, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(
    accepted_maps(),
    st.lists(WORLD_IDS, min_size=1, max_size=2, unique=True),
    st.lists(WORLD_IDS, min_size=2, max_size=4, unique=True),
    st.lists(WORLD_IDS, min_size=2, max_size=2, unique=True),
)
def test_nobody_else_is_matched_in_any_accepted_map(
    targets: tuple[TargetSpec, ...], tenants: list[str], ids: list[str], organizations: list[str]
) -> None:
    """Users and groups, limited to organizations and not, and organizations themselves: what a target that lets a
    subject pass matches is that subject's, of these organizations, of this category, and never both deleted and
    detached."""
    subjects = [Subject(*whose) for whose in product(tenants, ids, (USER, GROUP))]
    # Of the same names as those to which others are limited.
    subjects += [Subject(*whose, ORGANIZATION) for whose in product(tenants, dict.fromkeys([*ids, *organizations]))]
    kept = list(world(targets, subjects, organizations))
    for subject, target, limit in product(subjects, targets, ([], organizations[:1], organizations)):
        if not is_let_pass(target, targets, subject, limit):
            continue
        spec = in_scope(target, limit)
        assert spec is not None
        for applied, thing in product(value_sets(subject, limit, spec), kept):
            if not matches(spec, applied, thing.place):
                continue
            assert thing.subject == subject
            if thing.plain:
                assert not limit or thing.organization == applied["organization_id"]
                assert thing.target.category == target.category
                assert (thing.target.detach is None) == (target.detach is None)


@pytest.mark.parametrize(
    ("spec", "user"),
    [
        (s3(key="{tenant_id}/{user_id}.png", name="pictures"), "ann/2026"),
        (s3(key="{tenant_id}/{user_id}/me.png", name="picture"), "ann#x"),
    ],
)
def test_an_id_with_separators_is_in_nobodys_folder(spec: TargetSpec, user: str) -> None:
    """Whatever stands behind the id: what lies in the folder of somebody whose id is its beginning is not touched."""
    folders = [FILES, s3("{tenant_id}/{user_id}#x/", name="more")]
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(spec, [spec, *folders], values("t", user))
    check_alone(spec, [spec, *folders], values("t", "bea"))


GROUP_FILES = replace(s3("{tenant_id}/groups/{group_id}/", name="group-files"), subjects=("group",))


OWN = "subject_organization_id"
ORGANIZATION_FILES = replace(s3(f"{{tenant_id}}/o/{{{OWN}}}/", name="o-files"), subjects=("organization",))
SPACES_OF_USERS = s3("{tenant_id}/{user_id}/{organization_id}/", name="spaces")


def test_limited_to_an_organization_nobody_reaches_what_is_its_own() -> None:
    """What a user called like the folder of organizations has in one of them is that organization's own: no limit to
    this very organization makes it the user's."""
    both = [SPACES_OF_USERS, ORGANIZATION_FILES]
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(SPACES_OF_USERS, both, values("t", "o") | {"organization_id": "north"})
    check_alone(SPACES_OF_USERS, both, values("t", "ann") | {"organization_id": "north"})
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(ORGANIZATION_FILES, both, Subject("t", "north", ORGANIZATION).values())


def test_groups_and_users_may_share_a_bucket() -> None:
    """A user called "groups" is refused, since that folder is the groups'; a group called like a user takes nothing of
    that user's, and everybody else is fine."""
    both = [FILES, GROUP_FILES]
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(FILES, both, values("t", "groups"))
    check_alone(FILES, both, values("t", "ann"))
    check_alone(GROUP_FILES, both, {"tenant_id": "t", "group_id": "ann"})
    check_alone(GROUP_FILES, both, {"tenant_id": "t", "group_id": "groups"})
    assert not matches(GROUP_FILES, {"tenant_id": "t", "group_id": "ann"}, ("files", "t/ann/1"))


SPACES = s3("{tenant_id}/{user_id}/{organization_id}/", name="spaces")


def test_organization_called_like_a_folder_is_refused() -> None:
    """Limited to an organization called "bills", a request would take the bills of all organizations along; a request
    without a limit may."""
    bills = s3("{tenant_id}/{user_id}/bills/", name="bills")
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(SPACES, [SPACES, bills], {**values("t", "ann"), "organization_id": "bills"})
    check_alone(SPACES, [SPACES, bills], {**values("t", "ann"), "organization_id": "north"})
    check_alone(for_all_organizations(SPACES), [SPACES, bills], values("t", "ann"))


def test_both_forms_are_compared() -> None:
    """A user whose file lies in somebody else's folder is refused, although in no folder of an organization."""
    pictures = s3(key="{tenant_id}/{user_id}", name="pictures")
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(pictures, [SPACES, pictures], values("t", "ann/me.png"))


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("{tenant_id}/groups/{group_id}/", "{tenant_id}/{user_id}/", ("user_id", "groups")),
        ("work/{tenant_id}/{user_id}/", "{tenant_id}/{user_id}/", ("tenant_id", "work")),
        ("work/{tenant_id}/{user_id}/", "home/{tenant_id}/{user_id}/", None),
        ("{tenant_id}/{user_id}/", "{tenant_id}/{user_id}/", None),
    ],
)
def test_a_namesake_of_a_folder_is_found(inner: str, outer: str, expected: tuple[str, str] | None) -> None:
    """Whoever is called like a word of a target's path would keep data around what that target matches."""
    kind = "group" if "group_id" in inner else "user"
    spec = TargetSpec("inner", "content", s3=S3Rule("files", inner), subjects=(kind,))
    other = TargetSpec("outer", "content", s3=S3Rule("files", outer))
    assert namesake(spec, {"tenant_id": "t", f"{kind}_id": "s"}, other) == expected


# --- what items lead to --------------------------------------------------------------------------------------------

DOCUMENTS = {"name": "docs", "dynamodb": {"table": "docs", "key": {"pk": "{tenant_id}#{user_id}"}}}
LED = [
    {"key": "{docs.a}"},
    {"key": "x/{docs.a}"},
    {"key": "{tenant_id}/{docs.a}"},
    {"key": "{tenant_id}/{user_id}/{docs.a}"},
    {"key": "{docs.a}/{docs.b}.png"},
    {"prefix": "{docs.a}/"},
    {"prefix": "x/{docs.a}#"},
    {"prefix": "{tenant_id}/x/{docs.a}/"},
    {"prefix": "{tenant_id}/{user_id}/{docs.a}/"},
]
BESIDE = [
    {"prefix": "{tenant_id}/{user_id}/"},
    {"prefix": "x/{tenant_id}/{user_id}/"},
    {"prefix": "{tenant_id}/x/{user_id}/"},
    {"prefix": "{tenant_id}/{user_id}/x/"},
    {"prefix": "{user_id}#"},
    {"key": "{tenant_id}/{user_id}"},
    {"key": "x/{tenant_id}/{user_id}.png"},
]
TOLD = st.sampled_from(["a", "x", "x/a", "a/b", "a/b/1", "b/a/1", "x/a/b/1", "a/x/b/", "a/b/x/1", "b#1"]) | st.text(
    "abx/#1.", min_size=1, max_size=6
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.sampled_from(LED), st.sampled_from(BESIDE), st.sampled_from(["content", "record"]), TOLD, TOLD)
def test_items_lead_to_nothing_of_others(
    led: dict[str, str], beside: dict[str, str], category: str, first: str, second: str
) -> None:
    """Whatever an item says, what it leads to is refused if it is, or holds, or lies in what another target of the
    map keeps for somebody else, or for the same person in another category."""
    child = {"name": "led", "for_each": "docs", "s3": {"bucket": "files", **led}}
    other = {"name": "other", "category": category, "s3": {"bucket": "files", **beside}}
    try:
        _, spec, kept = parse_data_map({"version": 1, "targets": [DOCUMENTS, child, other]}).targets
    except DataMapError:
        reject()
    person = {**values("a", "b"), "docs.a": first, "docs.b": second}
    try:
        check_alone(spec, spec.beside, person)
    except TargetError:
        return
    mine = ("files", scope_of(spec).template.render(person))
    for stranger in PEOPLE:
        try:
            theirs = places(kept, stranger, "")
            check_alone(kept, [kept, spec], stranger)
        except TargetError:
            continue
        is_own = all(stranger[name] == person[name] for name in scope_of(kept).template.names)
        if is_own and category == "content":
            continue
        assert theirs != mine
        assert not (led.get("prefix") and theirs[1].startswith(mine[1]))
        assert not (beside.get("prefix") and mine[1].startswith(theirs[1]))


def test_two_ways_may_lead_to_one_thing() -> None:
    """What items of two targets lead to may be in one place; what lies around the other's things is refused."""
    messages = {"name": "chats", "dynamodb": {"table": "chats", "key": {"pk": "{tenant_id}#{user_id}"}}}
    children = [
        {"name": "one", "for_each": "docs", "s3": {"bucket": "files", "key": "{docs.key}"}},
        {"name": "two", "for_each": "chats", "s3": {"bucket": "files", "key": "{chats.key}"}},
    ]
    _, _, one, two = parse_data_map({"version": 1, "targets": [DOCUMENTS, messages, *children]}).targets
    assert {spec.name for spec in one.beside} == {spec.name for spec in two.beside} == {"one", "two"}
    check_alone(one, one.beside, {**values("t", "u"), "docs.key": "a/b.png"})
    wider = {"name": "one", "for_each": "docs", "s3": {"bucket": "files", "prefix": "{docs.folder}/"}}
    deeper = {"name": "two", "for_each": "chats", "s3": {"bucket": "files", "key": "{chats.folder}/{chats.file}"}}
    with pytest.raises(DataMapError, match="data of others"):
        parse_data_map({"version": 1, "targets": [DOCUMENTS, messages, wider, deeper]})


def test_what_items_of_an_organization_lead_to_is_theirs() -> None:
    """Limited to an organization, what its items lead to is erased although it does not name it; what lies in another
    organization's folder is not."""
    parent = {
        "name": "docs",
        "dynamodb": {"table": "docs", "key": {"pk": "{tenant_id}#{user_id}", "sk": {"prefix": "{organization_id}#"}}},
    }
    child = {"name": "led", "for_each": "docs", "s3": {"bucket": "files", "key": "{docs.key}"}}
    spaces = {"name": "spaces", "s3": {"bucket": "files", "prefix": "{tenant_id}/{user_id}/{organization_id}/"}}
    _, led, _ = parse_data_map({"version": 1, "targets": [parent, child, spaces]}).targets
    limited = {**values("t", "u"), "organization_id": "north"}
    check_alone(led, led.beside, {**limited, "docs.key": "somewhere"})
    check_alone(led, led.beside, {**limited, "docs.key": "t/u/north/1"})
    check_alone(for_all_organizations(led), led.beside, {**values("t", "u"), "docs.key": "t/u/south/1"})
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(led, led.beside, {**values("t", "u"), "docs.key": "t/other/north/1"})


# --- identifiers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["a", "b", "x"])
@pytest.mark.parametrize("address", ["a", "b", "x", "a/b", "b/x", "a@b/c"])
def test_addresses_reach_nobody_elses_folder(address: str, user: str) -> None:
    """What is found by an address is refused exactly if it lies in the folder of another person."""
    mails, files = s3(key="x/{email}", name="mails"), s3("x/{user_id}/", name="files")
    person = {**values("t", user), "email": address}
    if "/" in address and address.partition("/")[0] != user:
        with pytest.raises(TargetError, match="ambiguous_identifier"):
            check_alone(mails, [mails, files], person)
    else:
        check_alone(mails, [mails, files], person)


def test_items_do_not_lead_into_another_category() -> None:
    """What an item leads to is refused where it lies in the same person's folder of another category, which not even
    its name tells before the item is read."""
    child = {"name": "led", "for_each": "docs", "s3": {"bucket": "files", "key": "{docs.a}/y/{docs.b}"}}
    bills = {"name": "bills", "category": "record", "s3": {"bucket": "files", "prefix": "x/{tenant_id}/{user_id}/"}}
    _, led, _ = parse_data_map({"version": 1, "targets": [DOCUMENTS, child, bills]}).targets
    check_alone(led, led.beside, {**values("y", "u"), "docs.a": "z", "docs.b": "u/1"})
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(led, led.beside, {**values("y", "u"), "docs.a": "x", "docs.b": "u/1"})
