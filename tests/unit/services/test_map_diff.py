"""What another data map would change, and what it would not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from erasure.domain.data_map import DataMap
from erasure.domain.request import FAMILY_CATEGORIES
from erasure.domain.target_spec import (
    DetachRule,
    DynamoDBRule,
    IdentifierRule,
    KeyRule,
    RedactRule,
    RetainRule,
    RoleRule,
    S3Rule,
    TargetSpec,
)
from erasure.ports import PinnedMap
from erasure.services.map_diff import Difference, differences

NOTES = TargetSpec(
    "notes", "content", dynamodb=DynamoDBRule("app-notes", KeyRule("author", "{user_id}"), index="by-author")
)
FILES = TargetSpec("files", "content", s3=S3Rule("app-files", prefix="{user_id}/"))


def told(before: tuple[TargetSpec, ...], after: tuple[TargetSpec, ...], **more: Any) -> list[Difference]:
    return differences(PinnedMap(3, "d", before), DataMap({}, after, "e", **more))


def test_the_same_map_changes_nothing() -> None:
    """Neither does another order of its targets."""
    assert told((NOTES, FILES), (FILES, NOTES)) == []


def test_the_first_map_adds_everything() -> None:
    """Without a current map each target is new."""
    found = differences(None, DataMap({}, (NOTES, FILES), "e"))
    assert [(each.kind, each.what) for each in found] == [("added", "target notes"), ("added", "target files")]


def test_a_target_that_is_gone_is_no_longer_erased() -> None:
    """And what has failed under its name stays open."""
    (removed,) = told((NOTES, FILES), (NOTES,))
    assert (removed.kind, removed.what) == ("removed", "target files")
    assert "no longer erased" in removed.text
    assert "stays open" in removed.text


def test_another_name_for_the_same_data_is_seen() -> None:
    """A renamed target is told as removed and added, and not as if its data were left."""
    removed, added = told((FILES,), (replace(FILES, name="uploads"),))
    assert (removed.what, added.what) == ("target files", "target uploads")
    assert "is uploads now" in removed.text
    assert "no longer erased" not in removed.text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"dynamodb": DynamoDBRule("app-notes", KeyRule("pk", "{user_id}"))}, "matches other data"),
        ({"role": RoleRule("arn:aws:iam::210987654321:role/x")}, "matches other data"),
        ({"for_each": FILES}, "matches other data"),
        ({"category": "record"}, "category record instead of content"),
        ({"subjects": ("group",)}, "a group instead of a user"),
        ({"detach": DetachRule("members")}, "detach instead of delete"),
        ({"redact": (RedactRule("name", "remove"),)}, "redact instead of delete"),
        ({"retain": RetainRule("tax law", "10y", "issued_at")}, "kept until 10y after issued_at"),
        ({"window_hours": 12}, "once in 12 hours instead of 0"),
    ],
)
def test_each_change_is_told(change: dict[str, Any], text: str) -> None:
    """Whatever of a target changes is told, once, with what it means."""
    (changed,) = told((NOTES,), (replace(NOTES, **change),))
    assert (changed.kind, changed.what) == ("changed", "target notes")
    assert text in changed.text


def test_changes_the_other_way_round() -> None:
    """An action of the same kind with other attributes, a retention that ends, another external id."""
    redacting = replace(NOTES, redact=(RedactRule("name", "remove"),), retain=RetainRule("law", "1y", "at"))
    (action, retention) = told((redacting,), (replace(redacting, redact=(RedactRule("name", "null"),), retain=None),))
    assert "another redact" in action.text
    assert "not retained any more" in retention.text
    there = replace(NOTES, role=RoleRule("arn:aws:iam::210987654321:role/x"))
    (external,) = told((there,), (replace(there, role=RoleRule("arn:aws:iam::210987654321:role/x", "id")),))
    assert "external id" in external.text


def test_a_parents_change_is_its_childs_only_where_it_leads_elsewhere() -> None:
    """Another category of the parent is told for the parent, another table for both."""
    child = replace(FILES, for_each=NOTES)
    other = replace(NOTES, category="record")
    assert [each.what for each in told((NOTES, child), (other, replace(child, for_each=other)))] == ["target notes"]
    moved = replace(NOTES, dynamodb=DynamoDBRule("app-old", KeyRule("pk", "{user_id}")))
    found = told((NOTES, child), (moved, replace(child, for_each=moved)))
    assert [each.what for each in found] == ["target notes", "target files"]


def test_identifiers_and_families() -> None:
    """Further ids that come, go or are read elsewhere, and families that erase other categories."""
    email, phone = IdentifierRule("email", NOTES, "email"), IdentifierRule("phone", NOTES, "phone")
    before = PinnedMap(3, "d", (NOTES,), identifiers=(email, phone))
    families = {**FAMILY_CATEGORIES, "june": frozenset({"account", "content"})}
    after = DataMap({}, (NOTES,), "e", families=families, identifiers=(replace(email, optional=True),))
    found = differences(before, after)
    assert [(each.kind, each.what) for each in found] == [
        ("changed", "identifier email"),
        ("removed", "identifier phone"),
        ("changed", "family june"),
    ]
    assert "account, content instead of" in found[2].text
    added = differences(PinnedMap(3, "d", (NOTES,)), DataMap({}, (NOTES,), "e", identifiers=(phone,)))
    assert [(each.kind, each.what) for each in added] == [("added", "identifier phone")]
