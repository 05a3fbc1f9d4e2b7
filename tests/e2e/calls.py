"""The service as its callers see it, for the end-to-end tests: HTTP, and a look at the records behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.task_store import DynamoDBTaskStore
from erasure.domain.api_key import parse_key
from erasure.domain.request import ErasureRequest
from local.deployment import make_key, operate
from local.full_sample import FullOwner, Organization
from local.inventory import Comparison, Snapshot, compare
from local.sample import Group, Owner, Person
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


class Backend:
    """A tenant's backend at the API, with a key that the operator's command has made. ``options``: more of it."""

    def __init__(self, stack: Stack, tenant: str, scopes: str = "", *options: str) -> None:
        self.key = make_key(stack, tenant, scopes, *options)
        presented = parse_key(self.key)
        assert presented is not None
        self.key_id = presented.key_id
        self._stack = stack
        self._http = httpx.Client(base_url=stack.api_url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """``headers``: names with ``_`` for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http.request(method, path, json=body, headers=named)

    def accept(self, method: str, path: str, status: int, body: Any = None) -> httpx.Response:
        """A call that must be answered with ``status``."""
        answer = self.call(method, path, body)
        assert answer.status_code == status, answer.text
        return answer

    def user(self, user_id: str) -> str:
        """HelloJohn's path of a user."""
        return f"/v1/users/{quote(user_id, safe='')}"

    def erase(self, *owners: FullOwner, **more: Any) -> dict[str, Any]:
        """Ask natively. The body of the answer."""
        body: dict[str, Any] = self.accept("POST", "/v1/erasure-requests", 202, native_body(owners, **more)).json()
        return body

    def revoke(self) -> None:
        operate(self._stack, "the key was not revoked", "key", "revoke", self.key_id)


def native_body(owners: Iterable[FullOwner], **more: Any) -> dict[str, Any]:
    """The native call that erases these, with ``more`` fields."""
    return {"subjects": [_native_subject(owner) for owner in owners], **more}


def _native_subject(owner: FullOwner) -> dict[str, str]:
    if isinstance(owner, Organization):
        return {"type": "organization", "id": owner.organization}
    if isinstance(owner, Group):
        return {"type": "group", "id": owner.group}
    return {"type": "user", "id": owner.user}


def wait_until_finished(stack: Stack, request_ids: Collection[str], seconds: float = 150) -> list[ErasureRequest]:
    """The requests, all of them finished without attention."""
    store = requests_of(stack)

    def finished() -> list[ErasureRequest]:
        found = store.get_many(list(request_ids))
        done = [request for request in found.values() if request.state == "finished"]
        assert not [request for request in found.values() if request.attention]
        return done if len(done) == len(request_ids) else []

    requests: list[ErasureRequest] = wait_for(finished, "the requests to finish", seconds, every=0.5)
    return requests


def compare_each(
    before: Snapshot,
    after: Snapshot,
    subjects: Collection[Owner],
    categories: Iterable[str] | None,
    organizations: Collection[str] = (),
) -> list[Comparison]:
    """One comparison for each of several that were erased: each without what the others own, and others' mentions of
    them."""

    def without(snapshot: Snapshot, subject: Owner) -> Snapshot:
        others = [other for other in subjects if other != subject]
        return Snapshot(
            {
                key: thing
                for key, thing in snapshot.things.items()
                if thing.owner == subject
                or not any(
                    other == thing.owner or other in thing.mentions or _mentioned(before, key, other)
                    for other in others
                )
            }
        )

    return [
        compare(without(before, subject), without(after, subject), subject, categories, organizations)
        for subject in subjects
    ]


def _mentioned(before: Snapshot, key: tuple[str, str, str], other: Owner) -> bool:
    thing = before.things.get(key)
    return thing is not None and other in thing.mentions


def function_calls(stack: Stack, job_id: str) -> int:
    """How many calls of functions a job's execution made."""
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    return sum(
        event["type"] == "TaskScheduled"
        for page in pages.paginate(executionArn=execution_arn(stack, job_id))
        for event in page["events"]
    )


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60, every: float = 0.2) -> Any:
    """Poll until ``condition`` returns something true; fail with ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(every)


@contextmanager
def unscheduled(stack: Stack, function: str) -> Iterator[None]:
    """For as long as this lasts, the schedule does not call the function: ``SLA_WATCH`` or ``RETENTION_SWEEP``."""
    client: Any = stack.client
    events, name = client("events"), stack[f"{function}_FUNCTION_NAME"]
    rules = [rule["Name"] for rule in events.list_rules()["Rules"] if "ScheduleExpression" in rule]
    (own,) = [
        rule for rule in rules if events.list_targets_by_rule(Rule=rule)["Targets"][0]["Arn"].endswith(f":{name}")
    ]
    events.disable_rule(Name=own)
    try:
        yield
    finally:
        events.enable_rule(Name=own)


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
    counted, and if the first pass has not finished all units, what is beside them: of each unit, Again before each
    further pass and once more, UnitDone. Pauses are not seen.
    """
    job_id = f"{request_id}-1"
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    events = [event for page in pages.paginate(executionArn=execution_arn(stack, job_id)) for event in page["events"]]
    calls = sum(event["type"] == "TaskScheduled" for event in events)
    entered = states_entered(stack, job_id)
    within = calls - len(["Plan", "VerifyUnits", "Close"])
    if "EraseLeft" not in entered:
        return len(entered) + within
    tasks = DynamoDBTaskStore(lambda: stack.client("dynamodb"), stack["REQUESTS_TABLE"]).tasks(job_id)
    units = len({task.unit for task in tasks})
    further = (within - units) // 2
    return len(entered) + within + further + 2 * units


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
