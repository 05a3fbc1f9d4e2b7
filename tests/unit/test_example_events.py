"""The example events are what the functions are really called with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from erasure.domain.target_spec import TargetSpec
from erasure.services.start_jobs import pack, read_message
from tests.unit.translated_template import ROOT, of_type, resources

EVENTS = ROOT / "events"
CALLS = sorted(EVENTS.glob("*_api/*.json"))
FUNCTIONS = {"subject_api": "SubjectApi", "backend_api": "BackendApi"}


def read(path: str | Path) -> Any:
    return json.loads((EVENTS / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", CALLS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_calls_are_of_routes(example: Path) -> None:
    """Each is of a route that leads to its function, with the parameters as the path has them: percent-encoded."""
    event = read(example)
    (api,) = of_type(resources(), "AWS::ApiGateway::RestApi").values()
    method = api["Body"]["paths"][event["resource"]][event["httpMethod"].lower()]
    assert f":function:{FUNCTIONS[example.parent.name]}/" in method["x-amazon-apigateway-integration"]["uri"]
    path = event["resource"]
    for name, value in (event["pathParameters"] or {}).items():
        path = path.replace("{" + name + "}", value)
    # Behind a custom domain, its base path comes first.
    assert event["path"].endswith(path)


def test_messages_of_the_batch_lane_make_one_job() -> None:
    """Two messages of one invocation, with three requests."""
    records = read("start_jobs/batch_lane.json")["Records"]
    (job,) = pack([read_message(record["messageId"], record["body"]) for record in records])
    assert len(job.request_ids) == 3
    assert set(job.message_ids) == {record["messageId"] for record in records}


def test_a_lookup_names_targets_in_the_form_of_tasks() -> None:
    """What the verifier is asked about is what a task's record holds."""
    (spec,) = read("verify_target/lookup.json")["lookup"]["specs"]
    assert json.loads(TargetSpec.from_dict(spec).to_json()) == spec
