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
    "S3GetObject": "arn:aws:states:::s3:getObject",
    "PlanJobFunctionArn": f"{LAMBDA}plan-job",
    "VerifyTargetFunctionArn": f"{LAMBDA}verify-target",
    "CloseJobFunctionArn": f"{LAMBDA}close-job",
    "ControlBucketName": "erasure-control",
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
    top = {"Plan", "EraseUnits", "VerifyUnits", "AnythingLeft", "EraseLeft", "EraseManyUnits", "Close", "JobFailed"}
    loop = {"Again", "Pause", "EraseAgain", "VerifyAgain", "UnitDone", "UnitLeft"}
    many = {"EraseOfMany", "VerifyOfMany", "AgainOfMany", "PauseOfMany", "DoneOfMany", "GaveUpOfMany"}
    assert set(STATES) == top | {"Erase", "UnitGaveUp"} | loop | many


def test_state_names_are_unique() -> None:
    """States Language: a state's name is unique within the whole state machine, its Maps included."""
    names = [name for name, _state in all_states(json.loads(definition()))]
    assert len(names) == len(set(names))


def test_both_loops_and_the_first_pass_do_the_same() -> None:
    """Erasing, verifying, choosing and pausing are the same wherever a unit is worked on, but for where they lead."""
    places = {
        "Erase": ("EraseAgain", "EraseOfMany"),
        "VerifyAgain": ("VerifyOfMany",),
        "Again": ("AgainOfMany",),
        "Pause": ("PauseOfMany",),
    }

    def work(name: str) -> Any:
        leading = {"Comment", "Next", "End", "Default"}

        def without(node: Any) -> Any:
            if isinstance(node, dict):
                return {key: without(value) for key, value in node.items() if key not in leading}
            return [without(value) for value in node] if isinstance(node, list) else node

        return without(STATES[name])

    for name, others in places.items():
        assert all(work(other) == work(name) for other in others)


def test_many_units_leave_nothing_behind() -> None:
    """The results of all children together may have 256 KB: a child's end has no output, however it ends. A child that
    fails does not end the others, and no more units are worked on side by side than in a usual job."""
    many, usual = STATES["EraseManyUnits"], STATES["EraseUnits"]
    ends = [state for state in many["ItemProcessor"]["States"].values() if state["Type"] == "Succeed" or "End" in state]
    assert len(ends) == 2
    assert all(state["OutputPath"] is None for state in ends)
    assert many["ToleratedFailurePercentage"] == 100
    assert many["MaxConcurrency"] == usual["MaxConcurrency"] == STATES["EraseLeft"]["MaxConcurrency"]
    assert many["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}


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
    slices = [task for name, task in TASKS.items() if name.startswith(("Erase", "Verify"))]
    assert len(slices) == 6
    assert all(task["TimeoutSeconds"] > parameters["SliceSeconds"]["MaxValue"] for task in slices)
    functions = source()["Resources"]
    assert TASKS["Plan"]["TimeoutSeconds"] > functions["PlanJob"]["Properties"]["Timeout"]
    assert TASKS["Close"]["TimeoutSeconds"] > functions["CloseJob"]["Properties"]["Timeout"]


# --- the run -----------------------------------------------------------------------------------------------------


@dataclass
class Functions:
    """Stand-ins for the functions: counts what was called and answers by rule.

    ``slices``: calls of the eraser that each unit needs; ``waits``: what the verifier asks for before the next;
    ``failures``: how many calls of a function (or ``eraser:unit``) fail before it works; ``manifest``: where the units
    are, if not in the plan's answer; ``is_written``: whether they really are.
    """

    units: list[str]
    manifest: str | None = None
    is_written: bool = True
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
        if "units" in event:
            verified = [self.answer(name, unit) if unit["again"] else unit for unit in event["units"]]
            return {"units": verified, "again": any(unit["again"] for unit in verified)}
        if name == "plan-job":
            units = [] if self.manifest else self.planned(event["job_id"])
            return {
                "job_id": event["job_id"],
                "request_ids": event["request_ids"],
                "units": units,
                "manifest": self.manifest,
            }
        if name == "close-job":
            return {"job_id": event["job_id"], "finished": 1, "attention": 0}
        done = self.count(f"erase-{event['unit'].split('-')[0]}", event["unit"]) >= self.slices.get(event["unit"], 1)
        unit = {key: event[key] for key in ("job_id", "unit", "eraser", "passes_left")}
        if name == "verify-target":
            return {**unit, "again": not done, "wait": 0 if done else self.waits.get(event["unit"], 0)}
        return {**unit, "more": not done, "again": True, "wait": 0}

    def planned(self, job_id: str) -> list[dict[str, Any]]:
        unit = {"job_id": job_id, "passes_left": 600}
        return [{**unit, "unit": u, "eraser": f"erase-{u.split('-')[0]}"} for u in self.units]

    def count(self, name: str, unit: str | None = None) -> int:
        """Calls of a function, or those about one unit."""
        return sum(called == name and (unit is None or unit in _units(event)) for called, event in self.calls)


def _units(event: dict[str, Any]) -> list[str]:
    return [unit["unit"] for unit in event.get("units", [event]) if "unit" in unit]


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

        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=SUBSTITUTIONS["ControlBucketName"])

        def start(functions: Functions) -> Run:
            if functions.manifest and functions.is_written:
                units = json.dumps(functions.planned("er_1-1"))
                s3.put_object(Bucket=SUBSTITUTIONS["ControlBucketName"], Key=functions.manifest, Body=units.encode())
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


@pytest.mark.parametrize(("units", "states"), [(1, 6), (2, 7), (3, 8)])
def test_transitions_of_a_plain_job(run: Runner, units: int, states: int) -> None:
    """One slice a unit: five states for the job and one for each unit, so seven for eight targets of both kinds."""
    names = ["dynamodb-00", "s3-00", "s3-01"][:units]
    job = run(Functions(units=names))
    assert job.status == "SUCCEEDED"
    assert job.transitions == states
    assert job.functions.count("verify-target") == 1
    assert job.output == {"job_id": "er_1-1", "finished": 1, "attention": 0}


def test_functions_get_ids_only(run: Runner) -> None:
    """Each function is called with the event that docs/architecture.md gives it, and with nothing more."""
    job = run(Functions(units=["dynamodb-00"]))
    unit = {"job_id": "er_1-1", "unit": "dynamodb-00", "eraser": "erase-dynamodb", "passes_left": 600}
    ids = {"job_id": "er_1-1", "request_ids": ["er_1"]}
    erased = {**unit, "more": False, "again": True, "wait": 0}
    assert job.functions.calls == [
        ("plan-job", ids),
        ("erase-dynamodb", unit),
        ("verify-target", {"job_id": "er_1-1", "units": [erased]}),
        ("close-job", ids),
    ]


def test_the_second_pass_is_called_with_single_units(run: Runner) -> None:
    """From there on, a unit is erased and verified by itself, with what the verifier said of it."""
    job = run(Functions(units=["dynamodb-00", "s3-00"], slices={"s3-00": 2}))
    again = {"job_id": "er_1-1", "unit": "s3-00", "eraser": "erase-s3", "passes_left": 600, "again": True, "wait": 0}
    assert job.functions.calls[-3:-1] == [("erase-s3", again), ("verify-target", {**again, "more": False})]


def test_slices_repeat_until_nothing_is_left(run: Runner) -> None:
    """A unit that needs three slices gets three; the other is not asked again."""
    job = run(Functions(units=["dynamodb-00", "s3-00"], slices={"s3-00": 3}))
    assert job.status == "SUCCEEDED"
    assert job.functions.count("erase-s3") == 3
    assert job.functions.count("erase-dynamodb") == 1
    assert job.functions.count("verify-target") == 3
    assert job.transitions == 7 + 8 + 3, "a second slice of one of two units takes eight more, each further one three"
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
    assert [name for name, _event in job.functions.calls] == ["plan-job", "verify-target", "close-job"]
    assert job.transitions == 5


def test_killed_slice_is_repeated(run: Runner) -> None:
    """A function that is killed half-way is called again, and the unit ends well."""
    job = run(Functions(units=["s3-00"], failures={"erase-s3": 2}))
    assert job.status == "SUCCEEDED"
    assert job.functions.count("erase-s3") == 3
    assert job.functions.count("verify-target") == 1


def test_one_unit_gives_up_alone(run: Runner) -> None:
    """A unit whose eraser always fails gives up; the other is finished, and Close still runs."""
    job = run(Functions(units=["dynamodb-00", "s3-00"], failures={"erase-s3": 1000}))
    assert job.status == "SUCCEEDED"
    assert job.entered["UnitGaveUp"] == 1
    assert job.entered["EraseLeft"] == 0
    ((_, event),) = [call for call in job.functions.calls if call[0] == "verify-target"]
    assert [(unit["unit"], unit["again"]) for unit in event["units"]] == [("dynamodb-00", True), ("s3-00", False)]
    assert job.functions.count("close-job") == 1


def test_who_gives_up_stays_given_up_while_others_go_on(run: Runner) -> None:
    """A unit that gave up in the first pass is not taken up again by the second; one that needs more slices is."""
    functions = Functions(units=["dynamodb-00", "s3-00"], slices={"dynamodb-00": 3}, failures={"erase-s3": 1000})
    job = run(functions)
    assert job.status == "SUCCEEDED"
    assert functions.count("erase-dynamodb") == 3
    assert functions.count("erase-s3") == 6
    assert functions.count("close-job") == 1


@pytest.mark.parametrize("gave_up", [False, True])
def test_units_that_cannot_be_verified_together_are_verified_alone(run: Runner, gave_up: bool) -> None:
    """If the one call for all fails for good, each unit goes on by itself; who gave up before stays given up."""
    failures = {"verify-target": 6} | ({"erase-s3": 6} if gave_up else {})
    functions = Functions(units=["dynamodb-00", "s3-00"], failures=failures)
    job = run(functions)
    assert job.status == "SUCCEEDED"
    alone = [event["unit"] for name, event in functions.calls if name == "verify-target" and "unit" in event]
    assert sorted(alone) == ["dynamodb-00"] + ["s3-00"] * (not gave_up)
    assert functions.count("erase-s3") == (6 if gave_up else 2)
    assert job.entered["UnitDone"] == 2
    assert functions.count("close-job") == 1


def test_a_manifest_does_not_need_the_call_for_all(run: Runner) -> None:
    """There is nothing in it to verify: that it fails keeps none of the manifest's units from being worked on."""
    functions = Functions(units=["s3-00"], manifest="manifests/er_1-1.json", failures={"verify-target": 6})
    job = run(functions)
    assert job.status == "SUCCEEDED"
    assert (functions.count("erase-s3"), functions.count("verify-target", "s3-00")) == (1, 1)
    assert functions.count("close-job") == 1


@pytest.mark.parametrize("function", ["erase-s3", "verify-target:s3-00"])
def test_one_unit_gives_up_alone_in_the_second_pass(run: Runner, function: str) -> None:
    """What fails for good after the first pass takes no other unit along, and Close still runs."""

    class Later(Functions):
        def answer(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
            answered = super().answer(name, event)
            if "units" in answered and name == "verify-target":
                self.failures[function] = 1000
            return answered

    functions = Later(units=["dynamodb-00", "s3-00"], slices={"dynamodb-00": 3, "s3-00": 2})
    job = run(functions)
    assert job.status == "SUCCEEDED"
    assert (job.entered["UnitLeft"], job.entered["UnitDone"]) == (1, 1)
    assert functions.count("erase-dynamodb") == 3
    assert functions.count("close-job") == 1


def test_many_units_come_from_the_manifest(run: Runner) -> None:
    """A plan that names a manifest has each of its units worked on until it is done, by executions of their own; the
    job's has as many states for 60 units as for one."""
    names = [f"{kind}-{number:02d}" for kind in ("dynamodb", "s3") for number in range(30)]
    job = run(Functions(units=names, manifest="manifests/er_1-1.json", slices={"s3-03": 3, "s3-04": 2}))
    assert job.status == "SUCCEEDED"
    assert {unit: job.functions.count(f"erase-{unit.split('-')[0]}", unit) for unit in names} == {
        **dict.fromkeys(names, 1),
        "s3-03": 3,
        "s3-04": 2,
    }
    assert job.functions.count("close-job") == 1
    assert job.output == {"job_id": "er_1-1", "finished": 1, "attention": 0}
    of_the_job = ("Plan", "EraseUnits", "VerifyUnits", "AnythingLeft", "EraseManyUnits", "Close")
    assert {name: job.entered[name] for name in of_the_job} == dict.fromkeys(of_the_job, 1)


def test_one_of_many_units_gives_up_alone(run: Runner) -> None:
    """The others of the manifest are finished, and Close still runs."""
    names = [f"s3-{number:02d}" for number in range(12)]
    functions = Functions(units=names, manifest="manifests/er_1-1.json", failures={"verify-target:s3-07": 1000})
    job = run(functions)
    assert job.status == "SUCCEEDED"
    assert all(functions.count("verify-target", unit) == 1 for unit in names if unit != "s3-07")
    assert functions.count("close-job") == 1


def test_a_manifest_that_is_gone_still_closes_the_job(run: Runner) -> None:
    """Nothing can be erased then: Close finds the tasks unfinished and gives the requests attention."""
    functions = Functions(units=["s3-00"], manifest="manifests/er_1-1.json", is_written=False)
    job = run(functions)
    assert job.status == "SUCCEEDED"
    assert [name for name, _event in functions.calls] == ["plan-job", "verify-target", "close-job"]


@pytest.mark.parametrize("function", ["plan-job", "close-job"])
def test_job_without_plan_or_close_fails(run: Runner, function: str) -> None:
    """Planning or closing that always fails ends red, never green."""
    job = run(Functions(units=["s3-00"], failures={function: 1000}))
    assert job.status == "FAILED"
    assert job.entered["JobFailed"] == 1
    assert job.functions.count("erase-s3") == (function == "close-job")
