"""The service as its callers see it, for the end-to-end tests: HTTP, and a look at the records behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.task_store import DynamoDBTaskStore
from erasure.domain.request import ErasureRequest
from local.sample import Person
from local.stack import Stack
from local.tokens import token


class Caller:
    """One person at the API."""

    def __init__(self, stack: Stack, person: Person) -> None:
        headers = {"Authorization": f"Bearer {token(person.user, person.tenant, stack=stack)}"}
        self._http = httpx.Client(base_url=stack.api_url, headers=headers, timeout=60)

    def request_deletion(self) -> str:
        answer = self._http.delete("/users/current")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["delete_id"])

    def confirm(self, delete_id: object, timeout: float = 300) -> httpx.Response:
        return self._http.post(
            "/users/current/confirm-delete", params={"timeout": timeout}, json={"delete_id": delete_id}
        )

    def status(self, request_id: str) -> dict[str, Any]:
        answer = self._http.get(f"/users/current/erasure-requests/{request_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def erase(self) -> str:
        """Both calls, and patience until the request is finished; returns the request's id."""
        answer = self.confirm(self.request_deletion())
        assert answer.status_code in (202, 204), answer.text
        request_id = answer.headers["X-Erasure-Request-Id"]
        wait_for(lambda: self.status(request_id)["state"] == "finished", "the request to finish", seconds=150)
        return request_id


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60, every: float = 0.2) -> Any:
    """Poll until ``condition`` returns something true; fail with ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(every)


def requests_of(stack: Stack) -> DynamoDBRequestStore:
    return DynamoDBRequestStore(lambda: stack.client("dynamodb"), stack["REQUESTS_TABLE"])


def request_of(stack: Stack, request_id: str) -> ErasureRequest:
    request = requests_of(stack).get(request_id)
    assert request is not None
    return request


def audit_of(stack: Stack) -> DynamoDBAuditLog:
    return DynamoDBAuditLog(lambda: stack.client("dynamodb"), stack["AUDIT_TABLE"])


def execution_arn(stack: Stack, job_id: str) -> str:
    return f"{stack['STATE_MACHINE_ARN'].replace(':stateMachine:', ':execution:')}:{job_id}"


def states_entered(stack: Stack, job_id: str) -> list[str]:
    """Names of the states that an execution entered, in order."""
    events: list[Any] = []
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=execution_arn(stack, job_id)):
        events.extend(page["events"])
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def state_transitions(stack: Stack, request_id: str) -> int:
    """State transitions of a finished job.

    The emulator's history has the calls of functions inside of a Map, but not the states there. So the calls are
    counted, and what the workflow has beside them is added: EraseUnits, Again after each Verify, UnitDone of each unit.
    """
    job_id = f"{request_id}-1"
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    events = [event for page in pages.paginate(executionArn=execution_arn(stack, job_id)) for event in page["events"]]
    calls = sum(event["type"] == "TaskScheduled" for event in events)
    tasks = DynamoDBTaskStore(lambda: stack.client("dynamodb"), stack["REQUESTS_TABLE"]).tasks(job_id)
    verified = (calls - len(["Plan", "Close"])) // 2
    return calls + 1 + verified + len({task.unit for task in tasks})


def worker_processes(function_name_part: str, endpoint: str) -> Iterator[int]:
    """Process ids of the emulator's workers of a function: of this stack only, told by their environment."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        environment = dict(variable.split(b"=", 1) for variable in variables if b"=" in variable)
        name = environment.get(b"AWS_LAMBDA_FUNCTION_NAME", b"").decode()
        port = endpoint.rsplit(":", 1)[-1]
        if function_name_part in name and environment.get(b"AWS_ENDPOINT_URL", b"").decode().endswith(port):
            yield int(folder.name)
