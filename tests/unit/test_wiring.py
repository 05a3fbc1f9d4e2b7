"""The composition root: every function can be built from what the template gives it, and calls nobody meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from erasure.adapters.aws import Clients
from erasure.entry.wiring import BUILDERS
from tests.unit.translated_template import ROOT, of_type, resources, source

FUNCTIONS = {
    resource["Properties"]["CodeUri"].rpartition("/")[2]: name
    for name, resource in source()["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
ENVIRONMENTS: dict[str, dict[str, str]] = {
    name: function["Environment"]["Variables"]
    for name, function in of_type(resources(), "AWS::Lambda::Function").items()
}


class NoCalls:
    """Stands for a client that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


def test_every_function_has_a_builder() -> None:
    """The folders, the template and the composition root know the same functions."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == set(FUNCTIONS) == set(BUILDERS)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_function_is_built_from_the_templates_environment(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the template are enough and right, and building makes no call."""
    for name, value in (("REGION", "us-east-1"), ("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv("AWS_DEFAULT_REGION" if name == "REGION" else f"AWS_{name}", value)
    environment = {name: str(value) for name, value in ENVIRONMENTS[FUNCTIONS[function]].items()}
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", environment["POWERTOOLS_METRICS_NAMESPACE"])
    services = ("dynamodb", "events", "lambda", "secretsmanager", "sqs", "stepfunctions")
    clients = Clients(overrides={service: NoCalls() for service in services})
    assert callable(BUILDERS[function](environment, clients))


@pytest.mark.parametrize("bound", ["MinValue", "MaxValue"])
@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_function_takes_whatever_the_parameters_may_be(
    function: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template allows no number at which a function would refuse to start."""
    numbers = {name: str(rules[bound]) for name, rules in source()["Parameters"].items() if bound in rules}
    assert len(numbers) > 5
    variables = of_type(resources(numbers), "AWS::Lambda::Function")[FUNCTIONS[function]]["Environment"]["Variables"]
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", variables["POWERTOOLS_METRICS_NAMESPACE"])
    for name in ("REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv("AWS_DEFAULT_REGION" if name == "REGION" else f"AWS_{name}", "test")
    assert callable(BUILDERS[function]({name: str(value) for name, value in variables.items()}, Clients()))


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_function_loads_no_pydantic_and_no_boto3(function: str, tmp_path: Path) -> None:
    """Built and ready, a function has loaded neither: they are most of a cold start."""
    environment = {name: str(value) for name, value in ENVIRONMENTS[FUNCTIONS[function]].items()}
    script = f"""
import os, sys
os.environ.update({environment!r})
from erasure.adapters.aws import Clients
from erasure.entry.wiring import BUILDERS
BUILDERS[{function!r}](None, Clients())
print(*sorted({{"pydantic", "boto3", "requests"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(ROOT / "layers" / "core" / "python"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
