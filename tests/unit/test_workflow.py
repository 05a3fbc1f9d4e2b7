"""The state machine, checked as a document and run under moto's interpreter with the functions replaced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils

from tests.unit.translated_template import ROOT, source

DEFINITION = ROOT / "functions" / "erasure_job" / "workflow.asl.json"
LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:"
SUBSTITUTIONS = {
    "LambdaInvoke": "arn:aws:states:::lambda:invoke",
    "PlanJobFunctionArn": f"{LAMBDA}plan-job",
    "VerifyTargetFunctionArn": f"{LAMBDA}verify-target",
    "CloseJobFunctionArn": f"{LAMBDA}close-job",
}
ASL_VALIDATORS = (
    os.environ.get("ASL_VALIDATOR", ""),
    str(ROOT / ".local" / "npm" / "node_modules" / ".bin" / "asl-validator"),
)
pytestmark = pytest.mark.timeout(60)
MOTO = {"stepfunctions": {"execute_state_machine": True}}


def definition() -> str:
    """The definition as it is deployed."""
    text = DEFINITION.read_text(encoding="utf-8")
    for name, value in SUBSTITUTIONS.items():
        text = text.replace("${" + name + "}", value)
    return text


def all_states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from all_states(state["ItemProcessor"])


STATES = dict(all_states(json.loads(definition())))
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


# --- the document ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("substituted", [False, True])
def test_definition_is_valid(substituted: bool, tmp_path: Path) -> None:
    """asl-validator accepts the file, as it stands in the project and as it is deployed."""
    validator = next((path for path in ASL_VALIDATORS if path and Path(path).exists()), None)
    if validator is None:
        assert os.environ.get("CI") != "true", "asl-validator is missing: `make setup` installs it"
        pytest.skip("asl-validator is not installed (`make setup`)")
    deployed = tmp_path / "workflow.json"
    deployed.write_text(definition(), encoding="utf-8")
    path = deployed if substituted else DEFINITION
    done = subprocess.run([validator, "--json-path", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_placeholder_is_substituted() -> None:
    """The template substitutes exactly the placeholders of the file."""
    placeholders = set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text(encoding="utf-8")))
    given = set(source()["Resources"]["ErasureJob"]["Properties"]["DefinitionSubstitutions"])
    assert placeholders == given == set(SUBSTITUTIONS)


def test_state_names_are_the_documented_ones() -> None:
    """The states are those of docs/architecture.md."""
    top = {"Plan", "EraseUnits", "Close", "JobFailed"}
    assert set(STATES) == top | {"Erase", "Verify", "Again", "Pause", "UnitDone", "UnitGaveUp"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_ends_retries_and_is_caught(name: str) -> None:
    """Each task has a timeout, retries with jitter for Lambda's own errors and for all others, and a catch-all."""
    task = TASKS[name]
    assert task["TimeoutSeconds"] > 0
    throttled, anything = task["Retry"]
    assert "Lambda.TooManyRequestsException" in throttled["ErrorEquals"]
    assert anything["ErrorEquals"] == ["States.ALL"]
    for retry in task["Retry"]:
        assert retry["JitterStrategy"] == "FULL"
        assert retry["BackoffRate"] > 1
    (caught,) = task["Catch"]
    assert caught["ErrorEquals"] == ["States.ALL"]
    assert caught["ResultPath"] is None


def test_tasks_outlive_their_functions() -> None:
    """A task's timeout is longer than its function's longest, so that it is the function that ends a slice."""
    parameters = source()["Parameters"]
    assert TASKS["Erase"]["TimeoutSeconds"] > parameters["SliceSeconds"]["MaxValue"]
    assert TASKS["Verify"]["TimeoutSeconds"] > parameters["SliceSeconds"]["MaxValue"]
    functions = source()["Resources"]
    assert TASKS["Plan"]["TimeoutSeconds"] > functions["PlanJob"]["Properties"]["Timeout"]
    assert TASKS["Close"]["TimeoutSeconds"] > functions["CloseJob"]["Properties"]["Timeout"]


# --- the run -----------------------------------------------------------------------------------------------------


@dataclass
class Functions:
    """Stand-ins for the functions: counts what was called and answers by rule.

    ``slices``: calls of the eraser that each unit needs; ``waits``: what the verifier asks for before the next;
    ``failures``: how many calls of a function (or ``eraser:unit``) fail before it works.
    """

    units: list[str]
    slices: dict[str, int] = field(default_factory=dict)
    waits: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def invoke(self, parameters: dict[str, Any]) -> dict[str, Any]:
        name = parameters["FunctionName"].rpartition(":")[2]
        event = json.loads(parameters["Payload"])
        with self.lock:
            self.calls.append((name, event))
            for key in (name, f"{name}:{event.get('unit')}"):
                if self.failures.get(key, 0) > 0:
                    self.failures[key] -= 1
                    return {
                        "FunctionError": "Unhandled",
                        "Payload": {"errorType": "Killed", "errorMessage": "signal: killed"},
                    }
            return {"StatusCode": 200, "Payload": self.answer(name, event)}

    def answer(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        if name == "plan-job":
            unit = {"job_id": event["job_id"], "passes_left": 600}
            units = [{**unit, "unit": u, "eraser": f"erase-{u.split('-')[0]}"} for u in self.units]
            return {"job_id": event["job_id"], "request_ids": event["request_ids"], "units": units}
        if name == "close-job":
            return {"job_id": event["job_id"], "finished": 1, "attention": 0}
        done = self.count(f"erase-{event['unit'].split('-')[0]}", event["unit"]) >= self.slices.get(event["unit"], 1)
        unit = {key: event[key] for key in ("job_id", "unit", "eraser", "passes_left")}
        if name == "verify-target":
            return {**unit, "again": not done, "wait": 0 if done else self.waits.get(event["unit"], 0)}
        return {**unit, "more": not done}

    def count(self, name: str, unit: str | None = None) -> int:
        return sum(called == name and unit in (None, event.get("unit")) for called, event in self.calls)


@dataclass
class Run:
    status: str
    output: dict[str, Any] | None
    entered: Counter[str]
    functions: Functions

    @property
    def transitions(self) -> int:
        return self.entered.total()


Runner = Callable[[Functions], Run]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """Runs one job under moto's interpreter. Waiting between retries is left out."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=lambda _seconds: None))
    with mock_aws(config=MOTO):
        client = boto3.client("stepfunctions", region_name="us-east-1")
        machine = client.create_state_machine(
            name="erasure-job", definition=definition(), roleArn="arn:aws:iam::123456789012:role/x"
        )

        def start(functions: Functions) -> Run:
            monkeypatch.setattr(
                lambda_eval_utils,
                "_invoke_lambda_function",
                lambda parameters, **_where: functions.invoke(parameters),
            )
            job = {"job_id": "er_1-1", "request_ids": ["er_1"]}
            arn = client.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(job))[
                "executionArn"
            ]
            described = finished(client, arn)
            entered: Counter[str] = Counter()
            for page in client.get_paginator("get_execution_history").paginate(executionArn=arn):
                for event in page["events"]:
                    if "stateEnteredEventDetails" in event:
                        entered[event["stateEnteredEventDetails"]["name"]] += 1
            output = json.loads(described["output"]) if described.get("output") else None
            return Run(described["status"], output, entered, functions)

        yield start


def finished(client: Any, arn: str) -> dict[str, Any]:
    """The execution once it has ended; it runs in threads of moto's."""
    while (described := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.01)
    return dict(described)


@pytest.mark.parametrize(("units", "most"), [(1, 7), (2, 11)])
def test_transitions_of_a_plain_job(run: Runner, units: int, most: int) -> None:
    """One slice a unit: three states for the job and four for each unit, at most eleven for eight targets."""
    names = ["dynamodb-00", "s3-00"][:units]
    job = run(Functions(units=names))
    assert job.status == "SUCCEEDED"
    assert job.transitions == most
    assert job.entered["UnitDone"] == units
    assert job.output == {"job_id": "er_1-1", "finished": 1, "attention": 0}


def test_functions_get_ids_only(run: Runner) -> None:
    """Each function is called with the event that docs/architecture.md gives it, and with nothing more."""
    job = run(Functions(units=["dynamodb-00"]))
    unit = {"job_id": "er_1-1", "unit": "dynamodb-00", "eraser": "erase-dynamodb", "passes_left": 600}
    ids = {"job_id": "er_1-1", "request_ids": ["er_1"]}
    assert job.functions.calls == [
        ("plan-job", ids),
        ("erase-dynamodb", unit),
        ("verify-target", {**unit, "more": False}),
        ("close-job", ids),
    ]


def test_slices_repeat_until_nothing_is_left(run: Runner) -> None:
    """A unit that needs three slices gets three; the other is not asked again."""
    job = run(Functions(units=["dynamodb-00", "s3-00"], slices={"s3-00": 3}))
    assert job.status == "SUCCEEDED"
    assert job.functions.count("erase-s3") == 3
    assert job.functions.count("erase-dynamodb") == 1
    assert job.entered["Pause"] == 0
    assert job.functions.count("close-job") == 1


def test_verifier_can_ask_for_a_pause(run: Runner) -> None:
    """With `wait` the unit pauses before the eraser is called once more."""
    job = run(Functions(units=["dynamodb-00"], slices={"dynamodb-00": 2}, waits={"dynamodb-00": 1}))
    assert job.status == "SUCCEEDED"
    assert job.entered["Pause"] == 1
    assert job.functions.count("erase-dynamodb") == 2


def test_no_unit_is_no_failure(run: Runner) -> None:
    """A plan without units goes straight to Close, which decides what that means."""
    job = run(Functions(units=[]))
    assert job.status == "SUCCEEDED"
    assert [name for name, _event in job.functions.calls] == ["plan-job", "close-job"]


def test_killed_slice_is_repeated(run: Runner) -> None:
    """A function that is killed half-way is called again, and the unit ends well."""
    job = run(Functions(units=["s3-00"], failures={"erase-s3": 2}))
    assert job.status == "SUCCEEDED"
    assert job.functions.count("erase-s3") == 3
    assert job.entered["UnitDone"] == 1


@pytest.mark.parametrize("function", ["erase-s3", "verify-target:s3-00"])
def test_one_unit_gives_up_alone(run: Runner, function: str) -> None:
    """A unit whose eraser or verifier always fails gives up; the other is finished, and Close still runs."""
    job = run(Functions(units=["dynamodb-00", "s3-00"], failures={function: 1000}))
    assert job.status == "SUCCEEDED"
    assert job.entered["UnitGaveUp"] == 1
    assert job.entered["UnitDone"] == 1
    assert job.functions.count("verify-target", "dynamodb-00") == 1
    assert job.functions.count("close-job") == 1


@pytest.mark.parametrize("function", ["plan-job", "close-job"])
def test_job_without_plan_or_close_fails(run: Runner, function: str) -> None:
    """Planning or closing that always fails ends red, never green."""
    job = run(Functions(units=["s3-00"], failures={function: 1000}))
    assert job.status == "FAILED"
    assert job.entered["JobFailed"] == 1
    assert job.functions.count("erase-s3") == (function == "close-job")
