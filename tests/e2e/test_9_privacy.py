"""After everything else has run: no trace of a person where none may be. Runs last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.sample import Person
from local.stack import Stack, load_stack
from tests.conftest import TEST_PORT
from tests.e2e import seed_examples
from tests.e2e.calls import Backend, Caller, native_body, wait_for, wait_until_finished
from tests.e2e.time_world import Listener, grow_older

pytestmark = pytest.mark.stack

PERSON = Person("globex", "kim.lee@example.com")
NEEDLES: tuple[str, ...] = (PERSON.user, "kim.lee", "d9b2d63d-a233-4123-847a-7b6f3c1c5b1e", "maria.lopez")
# Ids too short to be searched for by themselves, in the forms that the sample's keys have. The demo erases acme's ann.
NEEDLES += ("acme#ann", "acme/ann", "USER#ann", "TENANT#")
# Whom backends have erased in the tests before.
NEEDLES += ("annabel", "auth0|5f7c8ec7", "nobody-ever", "abcd-256", "yourUserId", "bulk-native#", "bulk-hellojohn#")
NEEDLES += (seed_examples.HELLOJOHN_USER, seed_examples.HELLOJOHN_SECOND_USER)
# Whom the tests of time have erased, held, and found again.
NEEDLES += ("of.the.clock",)

BACKENDS_PERSON = Person("globex", "0c6f5c1e-privacy@example.com")
BACKENDS_NEEDLES = (BACKENDS_PERSON.user, "0c6f5c1e-privacy")
HELD_USER, HELD_ALIAS = "0c6f5c1e-privacy-held@example.com", "0c6f5c1e-privacy-alias"


@pytest.fixture(scope="module")
def listener(stack: Stack) -> Iterator[Listener]:
    listener = Listener(load_stack(TEST_PORT), "tests-of-privacy")
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def backend(stack: Stack, listener: Listener) -> Backend:
    """Whose key was used: the person asked for, shown and erased in every family, each call with an idempotency key;
    one of the requests nearly too late, and somebody else, who is held."""
    stack = load_stack(TEST_PORT)
    backend, user = Backend(stack, BACKENDS_PERSON.tenant), BACKENDS_PERSON.user
    stack.client("dynamodb").put_item(
        TableName="app-accounts", Item={"pk": {"S": f"TENANT#globex#USER#{user}"}, "sk": {"S": "PROFILE"}}
    )
    calls = [
        ("GET", backend.user(user), None),
        ("POST", f"{backend.user(user)}/disable", {"revoke_sessions": True, "delete_after_days": 30}),
        ("POST", "/v1/erasure-requests", native_body([BACKENDS_PERSON], not_before="2030-01-01T00:00:00Z")),
        ("POST", "/v1/erasure-requests", native_body([BACKENDS_PERSON, Person("globex", f"../{user}")])),
        ("POST", "/v2/users/data/delete", {"data": {"userIds": [user]}}),
        ("POST", "/api/platform/data_management/user_deletion_request", {"user_id": user}),
        ("DELETE", backend.user(user), None),
        ("POST", "/v1/users/bulk-delete", {"user_ids": [user, f"{user}/"]}),
        ("GET", f"/v1/suppressions/{user}", None),
        ("GET", f"/v1/erasure-requests?subject_id={user}", None),
    ]
    for number, (method, path, body) in enumerate(calls):
        answer = backend.call(method, path, body, Idempotency_Key=f"privacy-{number}")
        # The account goes with whichever of these comes first.
        assert answer.status_code < 300 or (answer.status_code == 404 and method == "DELETE"), answer.text
    requests = backend.accept("GET", f"/v1/erasure-requests?subject_id={user}", 200).json()["requests"]
    assert len(requests) >= len(calls) // 2
    wait_until_finished(stack, [request["id"] for request in requests if "not_before" not in request])
    hold(backend)
    be_late(stack, backend, listener)
    return backend


def hold(backend: Backend) -> None:
    """Somebody is held, under a further id too, and it is tried to erase them."""
    body = {"reason": "proceedings", "author": "legal", "aliases": [HELD_ALIAS], "until": "2035-01-01T00:00:00Z"}
    backend.accept("PUT", f"/v1/legal-holds/{HELD_USER}", 201, body)
    for user in (HELD_USER, HELD_ALIAS):
        backend.accept("DELETE", backend.user(user), 409)
    backend.erase(Person(BACKENDS_PERSON.tenant, HELD_USER))


def be_late(stack: Stack, backend: Backend, listener: Listener) -> None:
    """Let most of a waiting request's promised time have passed, and the watch tell of it and have it worked on."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    request_id = backend.erase(BACKENDS_PERSON, not_before=soon)["requests"][0]["request"]["id"]
    grow_older(stack, request_id, timedelta(hours=61))
    client: Any = stack.client
    answer = client("lambda").invoke(FunctionName=stack["SLA_WATCH_FUNCTION_NAME"], Payload=b"{}")
    assert "FunctionError" not in answer
    wait_for(lambda: len(listener.of(request_id)) >= 2, "the alarms at 50 and 75 percent")
    wait_until_finished(stack, [request_id])


def test_nothing_of_a_person_in_logs_events_and_execution_data(
    stack: Stack, backend: Backend, listener: Listener
) -> None:
    """The logs of all functions, events on the bus, and input and history of executions hold no subject id and no
    delete id or token."""
    stack = load_stack(TEST_PORT)  # as it is now: the demo has deployed again if anything has changed
    caller = Caller(stack, PERSON)
    delete_id = caller.request_deletion()
    assert caller.confirm(delete_id).status_code == 204
    Caller(stack, Person("globex", "d9b2d63d-a233-4123-847a-7b6f3c1c5b1e")).erase()
    Caller(stack, Person("acme-labs", "maria.lopez@example.com")).erase()
    assert listener.heard()
    texts = [*_log_lines(stack), *_executions(stack), *listener.bodies]
    assert len(texts) > 50, "nothing was logged at all: the check would prove nothing"
    for message in ("job closed", "swept", "watched", "SlaAtRisk75", "erasure.sla_at_risk"):
        assert any(message in text for text in texts), message
    secrets = (delete_id, "Bearer ey", "Bearer sk_", "Basic ", backend.key, backend.key.split("_", 3)[3])
    for needle in (*NEEDLES, *BACKENDS_NEEDLES, *secrets):
        assert not [text for text in texts if needle in text], needle


@pytest.mark.usefixtures("backend")
def test_only_requests_hold_subject_ids(stack: Stack) -> None:
    """Audit entries, the registry, and all of the requests' table but the requests themselves know digests only."""
    stack = load_stack(TEST_PORT)
    holders = [item for item in _items(stack, "REQUESTS_TABLE") if item["pk"]["S"].startswith("REQUEST#")]
    assert any(BACKENDS_PERSON.user in _text(item) for item in holders), "the search finds nothing at all"
    texts = [
        _text(item)
        for table in ("AUDIT_TABLE", "REGISTRY_TABLE", "REQUESTS_TABLE")
        for item in _items(stack, table)
        # A map's templates say how keys are made (TENANT#...), and it knows no subject.
        if not item["pk"]["S"].startswith(("REQUEST#", "DATA_MAP"))
    ]
    kinds = {text.partition("#")[0] for text in texts}
    assert len(texts) > 50
    expected = (
        "BATCH",
        "JOB",
        "WAITING",
        "SUBJECT",
        "IDEMPOTENCY",
        "HOLD",
        "HOLDS",
        "HELD",
        'HOLD_ENDS", "sk": "2035-',
    )
    assert {text for text in expected if not any(kind.startswith(f'{{"pk": "{text}') for kind in kinds)} == set()
    # How a target's keys are made is no secret, whose they are is: a task keeps its target with the templates.
    for needle in {*NEEDLES, *BACKENDS_NEEDLES} - {"TENANT#"}:
        assert not [text for text in texts if needle in text], needle


def test_message_names_requests_only(stack: Stack) -> None:
    """What lies in the batch queue is ids of requests and the attempt, nothing of the subjects."""
    stack = load_stack(TEST_PORT)
    client: Any = stack.client
    functions, sqs = client("lambda"), client("sqs")
    (mapping,) = functions.list_event_source_mappings(EventSourceArn=stack["BATCH_QUEUE_ARN"])["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    backend, sent = Backend(stack, BACKENDS_PERSON.tenant), set()

    def message() -> str | None:
        """Its body; the first ones may still be taken by somebody who was already waiting for them."""
        sent.add(backend.erase(BACKENDS_PERSON)["requests"][0]["request"]["id"])
        answer = sqs.receive_message(
            QueueUrl=stack["BATCH_QUEUE_URL"], MaxNumberOfMessages=10, VisibilityTimeout=1, WaitTimeSeconds=2
        )
        bodies = [str(found["Body"]) for found in answer.get("Messages", [])]
        return next((body for body in bodies if any(request_id in body for request_id in sent)), None)

    try:
        body = wait_for(message, "a message that stays in the queue")
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert json.loads(body).keys() == {"request_ids", "attempt"}
    assert set(json.loads(body)["request_ids"]) <= sent
    wait_until_finished(stack, sent)


def _items(stack: Stack, table: str) -> Iterator[dict[str, Any]]:
    for page in stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack[table]):
        yield from page["Items"]


def _text(item: dict[str, Any]) -> str:
    """The values, the key first, without DynamoDB's types around them."""
    plain = {name: next(iter(value.values())) for name, value in sorted(item.items(), key=lambda pair: pair[0] != "pk")}
    return json.dumps(plain, ensure_ascii=False, default=str)


def _log_lines(stack: Stack) -> list[str]:
    logs = stack.client("logs")
    lines: list[str] = []
    for groups in logs.get_paginator("describe_log_groups").paginate():
        for group in groups["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                lines.extend(event["message"] for event in page["events"])
    return lines


def _executions(stack: Stack) -> list[str]:
    states: Any = stack.client("stepfunctions")
    texts: list[str] = []
    for page in states.get_paginator("list_executions").paginate(stateMachineArn=stack["STATE_MACHINE_ARN"]):
        for execution in page["executions"]:
            arn = execution["executionArn"]
            described = states.describe_execution(executionArn=arn)
            texts += [described["input"], described.get("output", ""), described.get("cause", "")]
            for events in states.get_paginator("get_execution_history").paginate(executionArn=arn):
                texts += [str(event) for event in events["events"]]
    return texts
