"""A target as plain data."""

from __future__ import annotations

import pytest

from erasure.domain.target_spec import (
    DetachRule,
    DynamoDBRule,
    KeyRule,
    RedactRule,
    RetainRule,
    RoleRule,
    S3Rule,
    TargetSpec,
)
from erasure.errors import TargetError

BY_MENTION = DynamoDBRule("notes", KeyRule("mention", "{user_id}"), None, "by-mention")


def test_targets_that_earlier_versions_kept_are_read() -> None:
    """A kept target that says nothing of subjects and detaching holds data of people, and is deleted; so is one in the
    form that spelled out what it did not have."""
    spec = TargetSpec("files", "content", s3=S3Rule("files", "{tenant_id}/{user_id}/"))
    rule = {"bucket": "files", "prefix": "{tenant_id}/{user_id}/", "key": None}
    kept = {"name": "files", "category": "content", "dynamodb": None, "s3": rule}
    assert TargetSpec.from_dict(kept) == spec
    assert TargetSpec.from_dict({**kept, "subjects": ["user"], "detach": None}) == spec
    rule = {"table": "notes", "partition": {"attribute": "pk", "template": "{user_id}", "prefix": False}}
    notes = {"name": "notes", "category": "content", "dynamodb": {**rule, "sort": None, "index": None}, "s3": None}
    assert TargetSpec.from_dict(notes) == TargetSpec(
        "notes", "content", DynamoDBRule("notes", KeyRule("pk", "{user_id}"))
    )


@pytest.mark.parametrize(
    "spec",
    [
        TargetSpec("files", "content", s3=S3Rule("files", "{tenant_id}/{user_id}/"), subjects=("group",)),
        TargetSpec("notes", "content", BY_MENTION, detach=DetachRule("ids", "{tenant_id}/{user_id}")),
        TargetSpec("notes", "content", BY_MENTION, detach=DetachRule("members", key="user_id")),
        TargetSpec(
            "bills",
            "record",
            DynamoDBRule("bills", KeyRule("pk", "{email}"), KeyRule("sk", "BILL#", prefix=True)),
            redact=(RedactRule("name", "remove"), RedactRule("city", "constant", "-")),
            retain=RetainRule("tax law", "10y", "issued_at"),
            role=RoleRule("arn:aws:iam::123456789012:role/erasure", "id"),
        ),
        TargetSpec(
            "archive", "content", DynamoDBRule("archive", KeyRule("user", "{user_id}"), scan=True), window_hours=7
        ),
        TargetSpec(
            "attachments",
            "content",
            s3=S3Rule("files", key="{notes.key}"),
            for_each=TargetSpec("notes", "content", BY_MENTION),
            beside=(TargetSpec("avatars", "content", s3=S3Rule("files", "{user_id}/")),),
        ),
    ],
    ids=lambda spec: spec.name,
)
def test_a_target_is_kept_whole(spec: TargetSpec) -> None:
    """What a task's record holds of a target is all of it."""
    assert TargetSpec.from_json(spec.to_json()) == spec


def test_value_to_detach_is_checked_like_the_rule() -> None:
    """An id that cannot be told apart in the value to detach is refused with those that cannot be in the key."""
    spec = TargetSpec("notes", "content", dynamodb=BY_MENTION, detach=DetachRule("ids", "{user_id}/x"))
    spec.check_values({"user_id": "ann"})
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        spec.check_values({"user_id": "ann/x"})


def test_what_is_detached_is_not_part_of_what_is_matched() -> None:
    """The templates of a target are those of its rule."""
    spec = TargetSpec("notes", "content", dynamodb=BY_MENTION, detach=DetachRule("ids", "{tenant_id}#{user_id}"))
    assert [template.source for template in spec.templates()] == ["{user_id}"]
