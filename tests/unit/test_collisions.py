"""Targets that share a table or bucket never take somebody else's data for the subject's."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.collisions import OF_OTHERS, check_alone, conflict, neighbours, scope_of
from erasure.domain.data_map import parse_data_map
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
