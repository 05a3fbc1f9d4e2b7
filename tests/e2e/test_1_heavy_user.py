"""The heavy user is erased although erasers are killed in the middle. Runs first: it makes the world small."""

from __future__ import annotations

import os
import signal

import pytest

from erasure.adapters.task_store import DynamoDBTaskStore
from erasure.domain.audit import broken_at
from local.inventory import compare, take_snapshot
from local.sample import HEAVY
from local.stack import Stack
from tests.e2e.calls import Caller, audit_of, request_of, states_entered, wait_for, worker_processes

pytestmark = pytest.mark.stack

BIG_TASKS = {"documents", "document-files"}


def test_heavy_user_is_erased_although_an_eraser_is_killed(stack: Stack) -> None:
    """kill -9 on both erasers' workers mid-way: everything of the person goes, nothing of anybody else changes."""
    before = take_snapshot(stack, trust_etags_of=HEAVY)
    assert len(before.of(HEAVY)) > 15_000
    caller = Caller(stack, HEAVY)
    answer = caller.confirm(caller.request_deletion(), timeout=0)
    assert answer.status_code == 202
    request_id = answer.headers["X-Erasure-Request-Id"]
    tasks = DynamoDBTaskStore(lambda: stack.client("dynamodb"), stack["REQUESTS_TABLE"])

    killed: set[str] = set()

    def kill_whoever_is_at_work() -> bool:
        """Kill each eraser's worker once, as soon as a slice of a big task has begun."""
        for task in tasks.tasks(f"{request_id}-1"):
            if task.running and task.spec.name in BIG_TASKS and task.spec.kind not in killed:
                for pid in worker_processes(f"erase-{task.spec.kind}", stack["AWS_ENDPOINT_URL"]):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(task.spec.kind)
        return killed == {"dynamodb", "s3"}

    wait_for(kill_whoever_is_at_work, "both erasers to be at work", every=0.01)

    wait_for(lambda: caller.status(request_id)["state"] == "finished", "the request to finish", seconds=240)
    result = compare(before, take_snapshot(stack), HEAVY)
    assert not result.left
    assert not result.changed
    assert result.erased > 15_000
    outcomes = request_of(stack, request_id).outcomes
    assert any(outcome.at_least for outcome in outcomes), "the lost slice must show in the outcome"
    assert sum(outcome.count for outcome in outcomes) <= result.erased
    assert broken_at(audit_of(stack).entries(request_id)) is None
    assert states_entered(stack, f"{request_id}-1").count("Close") == 1
