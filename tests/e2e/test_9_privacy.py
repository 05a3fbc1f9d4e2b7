"""After everything else has run: no trace of a person where none may be. Runs last."""

from __future__ import annotations

from typing import Any

import pytest

from local.sample import Person
from local.stack import Stack, load_stack
from tests.conftest import TEST_PORT
from tests.e2e.calls import Caller

pytestmark = pytest.mark.stack

PERSON = Person("globex", "kim.lee@example.com")
NEEDLES = (PERSON.user, "kim.lee", "d9b2d63d-a233-4123-847a-7b6f3c1c5b1e", "maria.lopez")
# Ids too short to be searched for by themselves, in the forms that the sample's keys have. The demo erases acme's ann.
NEEDLES += ("acme#ann", "acme/ann", "USER#ann", "TENANT#")


def test_nothing_of_a_person_in_logs_and_execution_data(stack: Stack) -> None:
    """Function logs, execution input and history, and queue bodies hold no subject id and no delete id or token."""
    stack = load_stack(TEST_PORT)  # as it is now: the demo has deployed again if anything has changed
    caller = Caller(stack, PERSON)
    delete_id = caller.request_deletion()
    assert caller.confirm(delete_id).status_code == 204
    Caller(stack, Person("globex", "d9b2d63d-a233-4123-847a-7b6f3c1c5b1e")).erase()
    Caller(stack, Person("acme-labs", "maria.lopez@example.com")).erase()
    texts = [*_log_lines(stack), *_executions(stack)]
    assert len(texts) > 50, "nothing was logged at all: the check would prove nothing"
    assert any("job closed" in text for text in texts)
    for needle in (*NEEDLES, delete_id, "Bearer ey"):
        assert not [text for text in texts if needle in text], needle


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
