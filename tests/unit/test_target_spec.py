"""A target as plain data."""

from __future__ import annotations

import json

import pytest

from erasure.domain.target_spec import DetachRule, DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.errors import TargetError

BY_MENTION = DynamoDBRule("notes", KeyRule("mention", "{user_id}"), None, "by-mention")


def test_targets_of_before_there_were_groups_are_people_s() -> None:
    """A kept target that says nothing of subjects and detaching holds data of people, and is deleted."""
    spec = TargetSpec("files", "content", s3=S3Rule("files", "{tenant_id}/{user_id}/"))
    text = json.loads(spec.to_json())
    del text["subjects"], text["detach"]
    assert TargetSpec.from_dict(text) == spec


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
