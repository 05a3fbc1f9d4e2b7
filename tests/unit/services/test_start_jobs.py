"""From messages to executions."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.identifiers import new_request_id
from erasure.entry.workers import make_start_jobs
from erasure.errors import InvalidInputError
from erasure.services.start_jobs import JOB_REQUESTS, Message, batch_job_id, job_of, pack, read_message
from tests.fake_jobs import FakeWorkflow

INTERACTIVE, BATCH = "arn:aws:sqs:eu-central-1:123456789012:one", "arn:aws:sqs:eu-central-1:123456789012:many"
ONE = "er_01K0000000000000000000000A"
GOOD: dict[str, Any] = {"request_ids": [ONE], "attempt": 1}


def ids(count: int) -> list[str]:
    return [new_request_id() for _ in range(count)]


def a_record(message_id: str, request_ids: list[str], attempt: int = 1, queue: str = BATCH) -> dict[str, Any]:
    body = json.dumps({"request_ids": request_ids, "attempt": attempt})
    return {"messageId": message_id, "body": body, "eventSourceARN": queue}


def deliver(workflow: FakeWorkflow, *records: dict[str, Any]) -> list[str]:
    """The messages that go back to their queue."""
    handle = make_start_jobs(workflow, BATCH, Logger(service="test", level="CRITICAL"))
    return [failure["itemIdentifier"] for failure in handle({"Records": list(records)}, None)["batchItemFailures"]]


def test_a_message_of_the_interactive_lane_starts_one_job() -> None:
    """However often a message is delivered, its job is started once, for its request."""
    workflow, (one, two) = FakeWorkflow(), ids(2)
    for _ in range(3):
        again = a_record("m1", [one], 2, INTERACTIVE)
        assert deliver(workflow, again, again, a_record("m2", [two], 1, INTERACTIVE)) == []
    assert workflow.started == {f"{one}-2": ([one], 2), f"{two}-1": ([two], 1)}


def test_messages_of_the_batch_lane_become_one_job() -> None:
    """All requests of an invocation, each once and however they came, are one job."""
    workflow, many = FakeWorkflow(), ids(5)
    assert deliver(workflow, a_record("m1", many[:3]), a_record("m2", many[2:4]), a_record("m3", many[4:])) == []
    assert workflow.started == {batch_job_id(many, 1): (sorted(many), 1)}


def test_a_job_is_named_after_its_requests() -> None:
    """The same requests in another order and in other messages are the same job; others, or another attempt, are
    not."""
    many = ids(20)
    shuffled = [*many[::2], *many[1::2]]
    names = [batch_job_id(many, 1), batch_job_id(shuffled, 1)]
    assert names[0] == names[1]
    assert len({names[0], batch_job_id(many, 2), batch_job_id(many[1:], 1)}) == 3
    workflow = FakeWorkflow()
    deliver(workflow, a_record("m1", many[:5]), a_record("m2", many[5:]))
    deliver(workflow, a_record("m3", shuffled[:9]), a_record("m4", shuffled[9:]))
    assert list(workflow.started) == names[:1]


def test_attempts_are_jobs_of_their_own() -> None:
    """Requests that come again after their first attempt are not mixed with others."""
    workflow, many = FakeWorkflow(), ids(4)
    deliver(workflow, a_record("m1", many[:2]), a_record("m2", many[2:], 2), a_record("m3", many[1:3]))
    assert sorted(workflow.started.values(), key=lambda job: job[1]) == [
        (sorted(many[:3]), 1),
        (sorted(many[2:]), 2),
    ]


MESSAGES = st.lists(
    st.tuples(st.integers(0, 2990), st.sampled_from([1, 2, 300, 500, 999, 1000]), st.integers(1, 2)), max_size=12
)
POOL = [f"er_{number:026d}" for number in range(4000)]


@given(MESSAGES)
def test_packing_loses_and_doubles_nothing(drawn: list[tuple[int, int, int]]) -> None:
    """Whatever comes: every message is in one job, with all of its requests; no job is too large or names a request
    twice, and neighbours that would fit together are together."""
    messages = [
        Message(f"m{number}", tuple(POOL[start : start + count]), attempt)
        for number, (start, count, attempt) in enumerate(drawn)
    ]
    jobs = pack(messages)
    assert sorted(name for job in jobs for name in job.message_ids) == sorted(
        message.message_id for message in messages
    )
    by_name = {message.message_id: message for message in messages}
    for job in jobs:
        own = [by_name[name] for name in job.message_ids]
        assert {message.attempt for message in own} == {job.attempt}
        assert set(job.request_ids) == {request_id for message in own for request_id in message.request_ids}
        assert len(job.request_ids) == len(set(job.request_ids)) <= JOB_REQUESTS
    for one, other in itertools.pairwise(jobs):
        first_of_other = set(by_name[other.message_ids[0]].request_ids)
        assert one.attempt != other.attempt or len({*one.request_ids} | first_of_other) > JOB_REQUESTS


def test_a_thousand_requests_are_one_job() -> None:
    """A message with as many requests as a job may have is one job; one more request is another."""
    workflow, many = FakeWorkflow(), POOL[:1001]
    assert deliver(workflow, a_record("m1", many[:1000]), a_record("m2", many[1000:])) == []
    assert sorted(len(request_ids) for request_ids, _ in workflow.started.values()) == [1, 1000]


@pytest.mark.parametrize("queue", [INTERACTIVE, BATCH])
def test_a_malformed_message_goes_back_alone(queue: str) -> None:
    """Good messages beside a malformed one are started, and only the malformed one goes back."""
    workflow, (one, two) = FakeWorkflow(), ids(2)
    bad = {"messageId": "bad", "body": '{"request_ids": ["somebody"]}', "eventSourceARN": queue}
    assert deliver(workflow, a_record("m1", [one], 1, queue), bad, a_record("m2", [two], 1, queue)) == ["bad"]
    assert {request_id for request_ids, _ in workflow.started.values() for request_id in request_ids} == {one, two}


def test_a_job_that_cannot_be_started_takes_its_own_messages_back() -> None:
    """Exactly the messages of the refused job are delivered again; the jobs of others are started."""
    workflow, many = FakeWorkflow(), ids(4)
    workflow.refuses = {many[1]}
    failed = deliver(
        workflow,
        a_record("m1", many[:1]),
        a_record("m2", many[1:2]),
        a_record("m3", many[2:3], 2),
        a_record("m4", many[3:], 1, INTERACTIVE),
    )
    assert sorted(failed) == ["m1", "m2"]
    assert sorted(request_ids for request_ids, _ in workflow.started.values()) == sorted([many[2:3], many[3:]])


CHANGES: list[dict[str, Any]] = [
    {"request_ids": None},
    {"request_ids": 7},
    {"request_ids": ONE},
    {"request_ids": {ONE: 1}},
    {"request_ids": []},
    {"request_ids": [None]},
    {"request_ids": [ONE, 7]},
    {"request_ids": [ONE, [ONE]]},
    {"request_ids": ["er_x"]},
    {"request_ids": [f"{ONE}\n"]},
    {"request_ids": [f"{ONE}-1"]},
    {"request_ids": POOL[:1001]},
    {"attempt": None},
    {"attempt": "1"},
    {"attempt": 0},
    {"attempt": -1},
    {"attempt": 10_000},
    {"attempt": 1.0},
    {"attempt": True},
]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        f'"{ONE}"',
        "{}",
        "[" * 100_000,
        *[json.dumps({**GOOD, **change}) for change in CHANGES],
    ],
)
def test_what_is_no_message_of_ours_starts_nothing(body: str) -> None:
    """A malformed message is refused with its rule, never with what it holds."""
    with pytest.raises(InvalidInputError) as caught:
        read_message("m1", body)
    assert caught.value.field.startswith("message")
    assert "er_" not in str(caught.value)


def test_the_good_one_is_good() -> None:
    """What the malformed messages above are made from does start a job."""
    job = job_of(read_message("m1", json.dumps(GOOD)))
    assert (job.job_id, job.request_ids, job.attempt, job.message_ids) == (f"{ONE}-1", (ONE,), 1, ("m1",))
