"""``erasure doctor`` as it is called: with the service in memory, and a stack in moto's account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from erasure_client.cli._doctor_checks import Check, Status, verdict
from erasure_client.testing import FakeService
from tests.functional.client.cli.conftest import Erasure

STACK = "erasure"
TABLES = ("DeleteIds", "Requests", "Registry", "Audit")
KEYS = {
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
REDRIVE = {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}, "maxReceiveCount": 5}
TRUST = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]
}
TEMPLATE = {
    "Parameters": {
        "KeyMode": {"Type": "String", "Default": "test"},
        "TargetTables": {"Type": "CommaDelimitedList", "Default": "accounts"},
        "TargetBuckets": {"Type": "CommaDelimitedList", "Default": "files"},
    },
    "Resources": {
        **{name: {"Type": "AWS::DynamoDB::Table", "Properties": KEYS} for name in TABLES},
        "DeadLetterQueue": {"Type": "AWS::SQS::Queue", "Properties": {}},
        "BatchQueue": {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": REDRIVE}},
        "InteractiveQueue": {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": REDRIVE}},
        "SlaWatchWatch": {
            "Type": "AWS::Events::Rule",
            "Properties": {"ScheduleExpression": "rate(5 minutes)", "State": "DISABLED"},
        },
        "PlanJobLogs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/plan", "RetentionInDays": 30}},
        "PlanJobRole": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
        "ControlBucket": {"Type": "AWS::S3::Bucket"},
    },
}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Part of the template, in moto's account; its CloudFormation client."""
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        cloudformation = boto3.client("cloudformation")
        cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE))
        yield cloudformation


def checks_of(document: str) -> dict[tuple[str, str], dict[str, str]]:
    return {(each["area"], each["name"]): each for each in json.loads(document)["checks"]}


def test_the_api_alone_is_looked_at(erasure: Erasure, signed_in: None, service: FakeService) -> None:
    """With a key and without a stack: the API is told of, the stack skipped, and health is exit code 0. Nothing but
    GET is sent."""
    result = erasure("doctor")
    assert result.exit_code == 0, result.stderr
    for text in ("ok       address: answers, and is well", "key: accepted", "data map", "no stack is named"):
        assert text in result.stdout
    assert {call.method for call in service.calls} == {"GET"}


def test_a_document_has_every_check(erasure: Erasure, signed_in: None) -> None:
    """--json: whether it is well, how many there are of each status, and all checks."""
    result = erasure("doctor", "--json")
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert sum(document["counts"].values()) == len(document["checks"])
    assert all(set(each) == {"area", "name", "status", "said", "next"} for each in document["checks"])
    assert result.stderr == ""


def test_a_bad_key_is_a_problem(erasure: Erasure, signed_in: None) -> None:
    """Exit code 1, what is wrong, and what to do next."""
    result = erasure("doctor", env={"ERASURE_API_KEY": f"sk_test_{'0' * 16}_{'A' * 43}"})
    assert result.exit_code == 1
    assert "problem  key: not accepted" in result.stdout
    assert "next: Make a new one" in result.stdout


def test_there_has_to_be_something_to_look_at(erasure: Erasure) -> None:
    """Without an address and a stack it is wrong usage, with what to do."""
    result = erasure("doctor")
    assert result.exit_code == 2
    assert "erasure login" in result.stderr


def test_a_stack_is_looked_at_with_boto3(erasure: Erasure, stack: Any) -> None:
    """Through the real client: what is there is well, what is switched off or lacking is a problem."""
    result = erasure("doctor", "--stack-name", STACK, "--json")
    assert result.exit_code == 1, result.stderr
    found = {key: check["status"] for key, check in checks_of(result.stdout).items()}
    assert found["stack", "status"] == "ok"
    assert {found["queues", name] for name in ("BatchQueue", "InteractiveQueue", "DeadLetterQueue")} == {"ok"}
    assert {found["tables", name] for name in TABLES} == {"ok"}
    assert found["tables", "Audit recovery"] == found["tables", "DeleteIds expiry"] == "problem"
    assert found["storage", "ControlBucket"] == found["storage", "ControlBucket public access"] == "warning"
    assert found["logs", "PlanJobLogs"] == found["roles", "PlanJobRole"] == "ok"
    assert found["schedules", "SlaWatchWatch"] == found["functions", "PlanJob"] == "problem"


def test_the_mode_of_the_key_is_held_against_the_stack(erasure: Erasure, signed_in: None, stack: Any) -> None:
    """A live stack takes no test key, and what the map names has to be in the stack's parameters."""
    checks = checks_of(erasure("doctor", "--stack-name", STACK, "--json").stdout)
    assert ("service", "key mode") not in checks
    assert checks["data map", "accounts"]["status"] == "problem"
    stack.update_stack(
        StackName=STACK, UsePreviousTemplate=True, Parameters=[{"ParameterKey": "KeyMode", "ParameterValue": "live"}]
    )
    checks = checks_of(erasure("doctor", "--stack-name", STACK, "--json").stdout)
    assert checks["service", "key mode"]["status"] == "problem"


def test_the_address_has_to_be_the_stack_s(erasure: Erasure, signed_in: None, service: FakeService, stack: Any) -> None:
    """Where the address tells whose it is, and it is not this stack's, the two are not compared."""
    env = {"ERASURE_URL": "https://abc123.execute-api.us-east-1.amazonaws.com"}
    checks = checks_of(erasure("doctor", "--stack-name", STACK, "--json", env=env).stdout)
    assert checks["service", "stack"]["status"] == "problem"
    assert ("data map", "accounts") not in checks


def test_credentials_are_missed_by_who_asks_for_a_stack(
    erasure: Erasure, signed_in: None, config: Path, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without AWS credentials a stack that was named is a problem; the profile's is unknown to whoever has but the
    key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    asked = erasure("doctor", "--stack-name", STACK, "--json")
    assert (asked.exit_code, checks_of(asked.stdout)["stack", "credentials"]["status"]) == (1, "problem")
    config.parent.mkdir()
    config.touch(0o600)
    config.write_text(f'current = "own"\n[profiles.own]\nstack_name = "{STACK}"\n')
    kept = erasure("--profile", "own", "doctor", "--json")
    assert (kept.exit_code, checks_of(kept.stdout)["stack", "credentials"]["status"]) == (0, "unknown")


def test_what_is_known_can_be_ignored(erasure: Erasure, stack: Any) -> None:
    """--ignore takes a check out of the exit code, and still shows that there was something."""
    result = erasure("doctor", "--stack-name", STACK, "--ignore", "*/*", "--ignore", "none/such", "--json")
    assert {each["status"] for each in checks_of(result.stdout).values()} == {"skipped"}
    left = erasure("doctor", "--stack-name", STACK, "--ignore", "tables/*", "--json")
    checks = checks_of(left.stdout)
    assert checks["tables", "Audit recovery"]["said"].startswith("ignored: has no")
    assert checks["functions", "PlanJob"]["status"] == "problem"


def test_a_stack_of_another_name_is_a_problem(erasure: Erasure, stack: Any) -> None:
    """It is not taken for a healthy one."""
    result = erasure("doctor", "--stack-name", "another")
    assert result.exit_code == 1
    assert "there is no stack of this name here" in result.stdout


def test_it_fits_eighty_columns(erasure: Erasure, signed_in: None, stack: Any) -> None:
    """No line is longer, or ends in blanks; problems name each thing."""
    result = erasure("doctor", "--stack-name", STACK, env={"COLUMNS": "80"})
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    told = " ".join(line.strip() for line in lines)
    assert "SubjectApi, BackendApi, StartJobs, PlanJob" in told
    assert "problems" in lines[-1]


def test_without_boto3_the_api_is_looked_at(erasure: Erasure, signed_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that was asked for is refused with how to install it."""
    monkeypatch.setattr("erasure_client.cli._doctor.find_spec", lambda _: None)
    result = erasure("doctor", "--stack-name", STACK)
    assert result.exit_code == 2
    assert "./layers/client[aws]" in result.stderr
    assert erasure("doctor").exit_code == 0


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["ok", "problem", "unknown", "problem"], "It is not well: 2 problems."),
        (["ok", "unknown"], "No problem was seen, but 1 thing could not be looked at."),
        (["unknown", "skipped"], "Nothing could be looked at, which is no sign of health."),
        (["ok", "warning", "skipped"], "No problem was seen."),
    ],
)
def test_the_verdict_says_no_more_than_was_seen(statuses: list[Status], said: str) -> None:
    """Well is never said: what could not be looked at is told, and nothing seen at all is no sign of health."""
    assert verdict([Check("area", str(number), status, "x") for number, status in enumerate(statuses)]) == said
