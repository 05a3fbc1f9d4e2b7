"""From messages to executions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from erasure.domain.identifiers import new_request_id
from erasure.errors import InvalidInputError
from erasure.services.start_jobs import start_job
from tests.fakes import FakeWorkflow


def test_a_message_starts_one_job() -> None:
    """However often a message is delivered, its job is started once, for its request."""
    workflow, request_id = FakeWorkflow(), new_request_id()
    body = json.dumps({"request_id": request_id, "attempt": 2})
    assert [start_job(body, workflow) for _ in range(3)] == [f"{request_id}-2"] * 3
    assert workflow.started == {f"{request_id}-2": [request_id]}


GOOD: dict[str, Any] = {"request_id": "er_01K0000000000000000000000A", "attempt": 1}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '"er_01K0000000000000000000000A"',
        "{}",
        *[
            json.dumps({**GOOD, **change})
            for change in (
                {"request_id": None},
                {"request_id": 7},
                {"request_id": ""},
                {"request_id": "er_x"},
                {"request_id": "er_01K0000000000000000000000A\n"},
                {"request_id": "er_01K0000000000000000000000A-1"},
                {"attempt": None},
                {"attempt": "1"},
                {"attempt": 0},
                {"attempt": -1},
                {"attempt": 10_000},
                {"attempt": 1.0},
                {"attempt": True},
            )
        ],
    ],
)
def test_what_is_no_message_of_ours_starts_nothing(body: str) -> None:
    """A malformed message is refused with its rule, never with what it holds."""
    workflow = FakeWorkflow()
    with pytest.raises(InvalidInputError) as caught:
        start_job(body, workflow)
    assert caught.value.field.startswith("message")
    assert "er_" not in str(caught.value)
    assert workflow.started == {}


def test_the_good_one_is_good() -> None:
    """What the malformed messages above are made from does start a job."""
    assert start_job(json.dumps(GOOD), FakeWorkflow()) == f"{GOOD['request_id']}-1"
