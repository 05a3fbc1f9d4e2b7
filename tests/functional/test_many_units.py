"""Jobs of many units, and units that are worked on level by level, through the real handlers on moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.plan import passes_of_each
from erasure.domain.request import FINISHED
from erasure.domain.subject import Subject
from tests.functional.job_stack import CONTROL_BUCKET, JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(120)

ANN = Subject("acme", "ann")
ERASERS = {"dynamodb": "erasure-erase-dynamodb", "s3": "erasure-erase-s3"}
LINKED_MAP: dict[str, Any] = {
    "version": 1,
    "targets": [
        {
            "name": "notes",
            "category": "content",
            "dynamodb": {"table": "app-notes", "key": {"pk": "{tenant_id}#{user_id}"}},
        },
        {
            "name": "attachments",
            "for_each": "notes",
            "s3": {"bucket": "app-files", "key": "{notes.attachment}"},
        },
    ],
}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def plan(stack: JobStack, request_id: str) -> Any:
    return stack.call("plan_job", {"job_id": f"{request_id}-1", "request_ids": [request_id], "attempt": 1})


def manifest(stack: JobStack, key: str) -> Any:
    return json.loads(stack.s3.get_object(Bucket=CONTROL_BUCKET, Key=key)["Body"].read())


def test_more_units_than_fit_go_into_a_manifest(stack: JobStack) -> None:
    """They are what the plan would have answered, but for the passes: each has an execution's history for itself."""
    stack.put_data(ANN)
    request_id = stack.confirm(ANN)
    inline = plan(stack, request_id)
    assert inline["manifest"] is None
    assert len(inline["units"]) == 2
    stack.inline_units = 1
    del stack.handlers["plan_job"]
    planned = plan(stack, request_id)
    assert planned == {**inline, "units": [], "manifest": f"manifests/{request_id}-1.json"}
    assert manifest(stack, planned["manifest"]) == [
        {**unit, "passes_left": passes_of_each(1)} for unit in inline["units"]
    ]
    assert plan(stack, request_id) == planned, "planning again writes the same manifest"


def test_a_job_with_a_manifest_erases_the_same(stack: JobStack) -> None:
    """Everything of the person is gone and the request finished, by way of the second kind of Map."""
    stack.put_data(ANN)
    stack.inline_units = 1
    request_id = stack.confirm(ANN)
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert stack.request(request_id).state == FINISHED
    assert "EraseManyUnits" in stack.entered
    assert "Erase" not in stack.entered
    assert {json.loads(thing)[1]["sk"]["S"] for thing in stack.data()} == {"PROFILE"}, "the account is not covered"


def test_a_manifest_knows_no_person(job_of_secret: tuple[JobStack, str]) -> None:
    """It holds ids of requests and units and names of functions; neither the person nor where their data is."""
    stack, secret = job_of_secret
    (key,) = [found["Key"] for found in stack.s3.list_objects_v2(Bucket=CONTROL_BUCKET)["Contents"]]
    text = json.dumps(manifest(stack, key))
    assert secret not in text
    assert "app-" not in text
    assert {name for unit in json.loads(text) for name in unit} == {"job_id", "unit", "eraser", "passes_left"}


@pytest.fixture
def job_of_secret(stack: JobStack) -> tuple[JobStack, str]:
    subject = Subject("acme", "zq9xwv-secret-person")
    stack.put_data(subject)
    stack.inline_units = 1
    plan(stack, stack.confirm(subject))
    return stack, subject.id


def test_a_linked_unit_says_who_works_on_each_level(stack: JobStack) -> None:
    """The children's eraser first, then the parents'; no other unit has levels."""
    stack.maps.put(parse_data_map(LINKED_MAP), datetime.now(UTC))
    request_id = stack.confirm(ANN)
    (unit,) = plan(stack, request_id)["units"]
    assert unit["unit"] == "linked-00"
    assert (unit["level"], unit["eraser"]) == (0, ERASERS["s3"])
    assert unit["erasers"] == [ERASERS["s3"], ERASERS["dynamodb"]]


def test_children_and_parents_are_erased_level_by_level(stack: JobStack) -> None:
    """A note's attachment goes with it, somebody else's stays; the second level is another pass of the same unit."""
    stack.maps.put(parse_data_map(LINKED_MAP), datetime.now(UTC))
    for user in ("ann", "bob"):
        note = {"pk": f"acme#{user}", "sk": "1", "attachment": f"attachments/of-{user}"}
        stack.dynamodb.put_item(TableName="app-notes", Item={name: {"S": value} for name, value in note.items()})
        stack.s3.put_object(Bucket="app-files", Key=f"attachments/of-{user}", Body=b"x")
    request_id = stack.confirm(ANN)
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert {target: found.count for target, found in stack.outcomes(request_id).items()} == {
        "notes": 1,
        "attachments": 1,
    }
    assert len(stack.data()) == 2
    assert all("bob" in thing for thing in stack.data())
    assert stack.entered.count("EraseAgain") == 1
