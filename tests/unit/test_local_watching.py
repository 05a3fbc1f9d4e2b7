"""What the local tools see of a task is what the task's store wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from erasure.adapters.task_store import task_to_item
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Task
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from local.watching import TaskView, _task_view

SPEC = TargetSpec("notes", "content", dynamodb=DynamoDBRule("app-notes", KeyRule("pk", "{user_id}")))
TASK = Task("er_1-1", "dynamodb-00", 0, SPEC, (Part("er_1"),))


@pytest.mark.parametrize("status", [PENDING, ERASED_UNVERIFIED, VERIFIED, FAILED])
def test_each_status_is_seen(status: str) -> None:
    """A task of one request shows that request's part."""
    task = replace(TASK, parts=(Part("er_1", status, erased=7, rounds=2, stalls=1, reason="throttled"),))
    assert _task_view(task_to_item(task)) == TaskView("notes", status, erased=7, rounds=2, running=False)


def test_a_new_task_is_pending() -> None:
    """Also with all that a new part leaves out."""
    assert _task_view(task_to_item(TASK)) == TaskView("notes", PENDING, erased=0, rounds=0, running=False)


def test_a_task_of_many_shows_the_last_of_them() -> None:
    """It is done when all are; what was erased adds up."""
    parts = (Part("er_1", VERIFIED, 3), Part("er_2", ERASED_UNVERIFIED, 4, rounds=1), Part("er_3", FAILED))
    assert _task_view(task_to_item(replace(TASK, parts=parts))) == TaskView("notes", ERASED_UNVERIFIED, 7, 1, False)
