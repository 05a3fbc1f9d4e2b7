"""Executions, events and dead letters as AWS has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.session
import moto
import pytest
from botocore.stub import ANY, Stubber

from erasure.adapters.dead_letters import SQSDeadLetters
from erasure.adapters.events import EventBridgeBus
from erasure.adapters.messaging import StepFunctionsWorkflow
from erasure.errors import UnavailableError
from erasure.ports import Event

ROLE = "arn:aws:iam::123456789012:role/erasure"
DEFINITION = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def client(service: str) -> Any:
    return botocore.session.get_session().create_client(service, region_name="us-east-1")


@pytest.fixture
def aws() -> Iterator[None]:
    with moto.mock_aws():
        yield


@pytest.mark.usefixtures("aws")
def test_an_execution_lives_from_its_start_to_its_end() -> None:
    """Neither one that was never started nor one that was aborted lives, only what runs; by the job's own name."""
    states = client("stepfunctions")
    arn = states.create_state_machine(name="erasure-job", definition=json.dumps(DEFINITION), roleArn=ROLE)
    workflow = StepFunctionsWorkflow(lambda: states, arn["stateMachineArn"])
    assert not workflow.is_living("jb_1-1")
    workflow.start("jb_1-1", ["er_1"], 1)
    assert workflow.is_living("jb_1-1")
    assert not workflow.is_living("jb_1-2")
    (execution,) = states.list_executions(stateMachineArn=arn["stateMachineArn"])["executions"]
    states.stop_execution(executionArn=execution["executionArn"])
    assert not workflow.is_living("jb_1-1")


def machine(states: Any) -> StepFunctionsWorkflow:
    return StepFunctionsWorkflow(lambda: states, "arn:aws:states:us-east-1:123456789012:stateMachine:erasure-job")


@pytest.mark.parametrize(
    ("status", "lives"),
    [
        ("RUNNING", True),
        ("PENDING_REDRIVE", True),
        ("SUCCEEDED", False),
        ("FAILED", False),
        ("TIMED_OUT", False),
        ("ABORTED", False),
    ],
)
def test_what_is_about_to_be_run_again_lives(status: str, lives: bool) -> None:
    """Of all the states in which Step Functions has an execution, two are of a living one."""
    states = client("stepfunctions")
    with Stubber(states) as stubber:
        arn = "arn:aws:states:us-east-1:123456789012:execution:erasure-job:jb_1-1"
        answer = {"executionArn": arn, "stateMachineArn": ANY, "startDate": NOW, "status": status}
        answer["stateMachineArn"] = "arn:aws:states:us-east-1:123456789012:stateMachine:erasure-job"
        stubber.add_response("describe_execution", answer, {"executionArn": arn})
        assert machine(states).is_living("jb_1-1") is lives


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "InvalidArn", "StateMachineDeleting"])
def test_no_answer_about_an_execution_is_no_answer(code: str) -> None:
    """Whatever is wrong, it is not taken for a dead execution."""
    states = client("stepfunctions")
    with Stubber(states) as stubber:
        stubber.add_client_error("describe_execution", code, "erasure-job is not there", 400)
        with pytest.raises(UnavailableError) as caught:
            machine(states).is_living("jb_1-1")
    assert str(caught.value) == "the workflow did not answer"


def an_event(number: int) -> Event:
    return Event(f"er_{number}:sla:50", "erasure.sla_at_risk", NOW, {"request_id": f"er_{number}", "percent": 50})


@pytest.mark.usefixtures("aws")
def test_events_reach_the_bus_by_tens() -> None:
    """All of them, with their kind and source, the event's id in the detail, and the time at which it was."""
    events, queue = client("events"), client("sqs")
    bus_calls: list[dict[str, Any]] = []
    events.meta.events.register("provide-client-params.events.PutEvents", lambda params, **_: bus_calls.append(params))
    events.create_event_bus(Name="erasure")
    url = queue.create_queue(QueueName="told")["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName="erasure", EventPattern=json.dumps({"source": ["erasure"]}))
    events.put_targets(Rule="all", EventBusName="erasure", Targets=[{"Id": "queue", "Arn": arn}])
    EventBridgeBus(lambda: events, "erasure").put([an_event(number) for number in range(23)])
    assert [len(call["Entries"]) for call in bus_calls] == [10, 10, 3]
    told = []
    while messages := queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        told += [json.loads(message["Body"]) for message in messages]
    assert sorted(event["detail"]["event_id"] for event in told) == sorted(f"er_{n}:sla:50" for n in range(23))
    assert {(event["source"], event["detail-type"]) for event in told} == {("erasure", "erasure.sla_at_risk")}
    first = next(event for event in told if event["detail"]["request_id"] == "er_0")
    assert first["detail"] == {
        "event_id": "er_0:sla:50",
        "at": "2026-05-04T12:00:00.000Z",
        "request_id": "er_0",
        "percent": 50,
    }
    assert bus_calls[0]["Entries"][0]["Time"] == NOW


def test_events_that_were_not_taken_are_an_error() -> None:
    """EventBridge answers 200 when it refuses some: they are not told."""
    events = client("events")
    with Stubber(events) as stubber:
        refused = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "ThrottlingException"}]}
        stubber.add_response("put_events", refused)
        with pytest.raises(UnavailableError):
            EventBridgeBus(lambda: events, "erasure").put([an_event(1), an_event(2)])


def test_a_bus_that_does_not_answer_is_an_error() -> None:
    """And its text, which may name anything, goes no further."""
    events = client("events")
    with Stubber(events) as stubber:
        stubber.add_client_error("put_events", "InternalException", "erasure bus", 500)
        with pytest.raises(UnavailableError) as caught:
            EventBridgeBus(lambda: events, "erasure").put([an_event(1)])
    assert "erasure bus" not in str(caught.value)


def test_nothing_to_tell_calls_nobody() -> None:
    """EventBridge refuses a call without entries."""
    EventBridgeBus(lambda: pytest.fail("called"), "erasure").put([])


@pytest.mark.usefixtures("aws")
def test_dead_letters_are_hidden_for_a_while_and_gone_when_dropped() -> None:
    """Received once, ten at a time; what is dropped is gone, the rest is there for the next call."""
    queue = client("sqs")
    url = queue.create_queue(QueueName="dead")["QueueUrl"]
    letters = SQSDeadLetters(lambda: queue, url)
    assert letters.receive() == []
    for number in range(12):
        queue.send_message(QueueUrl=url, MessageBody=f"message {number}")
    received = [*letters.receive(), *letters.receive()]
    assert sorted(body for _, body in received) == sorted(f"message {number}" for number in range(12))
    assert letters.receive() == []
    for handle, _ in received[:11]:
        letters.drop(handle)
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = queue.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    assert [attributes[name] for name in counts] == ["0", "1"]


@pytest.mark.parametrize("operation", ["receive_message", "delete_message"])
def test_a_queue_that_does_not_answer_is_an_error(operation: str) -> None:
    """Its text names the queue, and goes no further."""
    queue = client("sqs")
    with Stubber(queue) as stubber:
        stubber.add_client_error(operation, "QueueDoesNotExist", "queue dead does not exist", 400)
        letters = SQSDeadLetters(lambda: queue, "https://sqs.us-east-1.amazonaws.com/123456789012/dead")
        with pytest.raises(UnavailableError) as caught:
            letters.receive() if operation == "receive_message" else letters.drop("handle")
    assert "dead" not in str(caught.value)
