"""The operator's commands, on moto."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.domain.request import CANCELLED, FINISHED, HELD, STARTED
from erasure.domain.subject import Subject
from erasure.entry.operator import main
from tests.functional.job_stack import DATA_MAP, JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(60)

ANN = Subject("acme", "zq9xwv-secret-person")
GOOD = """\
version: 1
targets:
  - name: files
    category: content
    s3: {bucket: app-files, prefix: "{tenant_id}/{user_id}/"}
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


@pytest.fixture
def run(stack: JobStack, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an environment, the stack's unless another is given."""

    def run(*arguments: str, environment: dict[str, str] | None = None) -> Said:
        capsys.readouterr()
        code = main(arguments, stack.environment() if environment is None else environment)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], str]:
    def write(text: str | bytes) -> str:
        path = tmp_path / "data-map.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


Write = Callable[[str | bytes], str]


def test_a_good_map_is_put_and_shown(run: Run, write: Write, stack: JobStack) -> None:
    """Putting a map makes it the next version, once; showing it gives the document back."""
    for _ in range(2):
        said = run("data-map", "put", write(GOOD))
        assert (said.code, said.result["version"]) == (0, 2)
    shown = run("data-map", "show").result
    assert shown["document"] == yaml.safe_load(GOOD)
    assert (shown["version"], shown["digest"]) == (2, said.result["digest"])
    assert stack.maps.version(1) is not None


def test_checking_writes_nothing(run: Run, write: Write, stack: JobStack) -> None:
    """Validating needs no stack, says on stderr what it found, and leaves the registry alone."""
    said = run("data-map", "validate", write(GOOD), environment={})
    assert (said.code, said.out) == (0, "")
    assert "1 targets, no errors" in said.err
    assert run("data-map", "show").result["document"] == DATA_MAP


@pytest.mark.parametrize("action", ["validate", "check", "put"])
def test_problems_are_told_line_by_line(run: Run, write: Write, action: str, stack: JobStack) -> None:
    """Every problem of a map is told with its path, the exit code is 1, and nothing is put."""
    bad = GOOD.replace("{user_id}/", "all").replace("content", "junk")
    said = run("data-map", action, write(bad))
    assert (said.code, said.out) == (1, "")
    assert "targets[0].category: " in said.err
    said = run("data-map", action, write(GOOD.replace("/{user_id}/", "/")))
    assert "targets[0].s3.prefix: must hold {user_id}" in said.err
    assert run("data-map", "show").result["version"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1: is not valid YAML"),
        ("[" * 20_000, "data map: is nested too deeply"),
        ("a: 1\nb: 2\na: 3\n", "the key a stands there twice"),
        (GOOD.replace("bucket: app-files", "bucket: app-files, bucket: other"), "the key bucket stands there twice"),
        ("? [a, b]\n: c\n", "a key must be text"),
        ("", "must be a mapping"),
        ("- a\n", "must be a mapping"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ("a: !!python/object/apply:os.system [true]\n", "is not valid YAML"),
    ],
)
def test_what_is_no_map_is_refused(run: Run, write: Write, text: str | bytes, message: str) -> None:
    """Files that are no good YAML, or say a thing twice, are refused with a message."""
    said = run("data-map", "validate", write(text))
    assert (said.code, said.out) == (1, "")
    assert message in said.err


def test_json_is_good_too(run: Run, write: Write) -> None:
    """A map may be written as JSON."""
    assert run("data-map", "validate", write(json.dumps(DATA_MAP))).code == 0


def test_warnings_do_not_refuse(run: Run, write: Write) -> None:
    """What deserves a second look is told on stderr and accepted."""
    said = run("data-map", "put", write(GOOD.replace("{tenant_id}/", "")))
    assert said.code == 0
    assert "warning: line 3: targets[0]: " in said.err


def test_a_missing_file_is_told(run: Run) -> None:
    """A file that is not there is an error with a message."""
    said = run("data-map", "validate", "/nowhere/data-map.yaml")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")


def test_no_map_yet(run: Run, stack: JobStack) -> None:
    """Showing the map of an empty registry is an error."""
    for item in stack.items("Registry"):
        stack.dynamodb.delete_item(TableName="Registry", Key={"pk": item["pk"], "sk": item["sk"]})
    assert run("data-map", "show").code == 1


def test_a_missing_name_is_told(run: Run) -> None:
    """Without the stack's names, the command says which one it misses."""
    said = run("data-map", "show", environment={})
    assert (said.code, said.out) == (1, "")
    assert "REGISTRY_TABLE" in said.err


def test_a_table_that_is_not_there_is_told(run: Run, stack: JobStack) -> None:
    """An answer of AWS that says no becomes a message, not a traceback."""
    said = run("data-map", "show", environment={**stack.environment(), "REGISTRY_TABLE": "Nowhere"})
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")


def test_names_from_a_deployed_stack(run: Run) -> None:
    """With ``--stack-name`` the names come from the stack's outputs; a missing stack or output is told."""
    cloudformation: Any = botocore.session.Session().create_client("cloudformation")
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"RegistryTable": {"Value": "Registry"}},
    }
    cloudformation.create_stack(StackName="erasure", TemplateBody=json.dumps(template))
    assert run("data-map", "show", "--stack-name", "erasure", environment={}).result["version"] == 1
    assert "AuditTable" in run("audit", "er_x", "--stack-name", "erasure", environment={}).err
    said = run("data-map", "show", "--stack-name", "nowhere", environment={})
    assert (said.code, said.out) == (1, "")


@pytest.mark.parametrize("arguments", [[], ["data-map"], ["data-map", "put"], ["retry"], ["audit"], ["unheard-of"]])
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    """Wrong usage ends with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


# Trying again


def attention(stack: JobStack) -> str:
    """A request that needs attention, because one of its tables is missing."""
    stack.dynamodb.delete_table(TableName="app-comments")
    request_id = stack.confirm(ANN)
    assert [closed["attention"] for closed in stack.work()] == [1]
    return request_id


def test_a_retry_heals(run: Run, stack: JobStack) -> None:
    """After the cause is gone, a retry sends another attempt, which finishes the request; it is on record."""
    request_id = attention(stack)
    stack.create_table("app-comments", ("id",), {"by-author": ("author",)})
    assert run("retry", request_id).result == {"request_id": request_id, "attempt": 2}
    assert [closed["finished"] for closed in stack.work()] == [1]
    assert stack.request(request_id).state == FINISHED
    events = [entry["event"] for entry in run("audit", request_id).result["entries"]]
    assert events == ["requested", "planned", "attention", "retried", "planned", "finished"]


def test_a_retry_of_a_parked_request_is_looked_after_again(run: Run, stack: JobStack) -> None:
    """A parked request that an operator retries is not parked any more, and is looked at as if it were new."""
    request_id = attention(stack)
    parked = stack.request(request_id)
    clock = DynamoDBClockStore(lambda: stack.dynamodb, "Requests", "Audit")
    later = parked.purged_by - timedelta(days=1)
    assert clock.look_again(parked, later, tries=8, parked_at=parked.requested_at)
    assert run("retry", request_id).code == 0
    request = stack.request(request_id)
    assert (request.parked_at, request.tries) == (None, 0)
    assert request.clock_at is not None
    assert request.clock_at < later


def test_every_retry_is_an_attempt_of_its_own(run: Run, stack: JobStack) -> None:
    """A retry whose execution failed before it planned does not take the next one's name away."""
    request_id = attention(stack)
    attempts = [run("retry", request_id).result["attempt"] for _ in range(3)]
    assert attempts == [2, 3, 4]
    stack.work()
    assert sorted(stack.executions()) == [f"{request_id}-{attempt}" for attempt in (1, 2, 3, 4)]


def test_a_request_whose_first_job_never_planned_can_be_retried(run: Run, stack: JobStack) -> None:
    """The first execution failed before it planned: its name is used up, and the retry gets another."""
    request_id = stack.confirm(ANN)
    stack.call("start_jobs", {"Records": stack.messages()})
    assert run("retry", request_id).result["attempt"] == 2
    stack.work()
    assert stack.request(request_id).state == FINISHED


@pytest.mark.parametrize("state", [FINISHED, CANCELLED, HELD])
def test_what_is_not_being_worked_on_is_not_retried(run: Run, stack: JobStack, state: str) -> None:
    """A finished, cancelled or held request is refused, and nothing is sent or recorded."""
    request_id = stack.confirm(ANN)
    stack.messages()
    stack.dynamodb.update_item(
        TableName="Requests",
        Key={"pk": {"S": f"REQUEST#{request_id}"}, "sk": {"S": "META"}},
        UpdateExpression="SET #state = :state",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":state": {"S": state}},
    )
    said = run("retry", request_id)
    assert (said.code, said.out) == (1, "")
    assert state in said.err
    assert stack.messages() == []
    assert len(stack.audit.entries(request_id)) == 1


def test_unknown_requests(run: Run) -> None:
    """A request that does not exist can be neither retried nor audited."""
    for command in ("retry", "audit"):
        said = run(command, "er_01K8ZQ4W7M3T9X5B2C6D8F0G1H")
        assert (said.code, said.out) == (1, "")
        assert "no such erasure request" in said.err


# The trail


def test_the_trail_is_shown_and_holds_no_identifiers(run: Run, stack: JobStack) -> None:
    """The trail of a request is printed, whole, without the person's id."""
    request_id = stack.confirm(ANN)
    stack.work()
    said = run("audit", request_id)
    assert (said.code, said.result["whole"]) == (0, True)
    assert [entry["sequence"] for entry in said.result["entries"]] == [1, 2, 3]
    assert ANN.id not in said.out + said.err


def test_a_broken_trail_is_told(run: Run, stack: JobStack) -> None:
    """A trail that somebody changed is shown, with exit code 1 and the place."""
    request_id = stack.confirm(ANN)
    stack.work()
    stack.dynamodb.update_item(
        TableName="Audit",
        Key={"pk": {"S": request_id}, "sk": {"S": "000002"}},
        UpdateExpression="SET details = :details",
        ExpressionAttributeValues={":details": {"S": "{}"}},
    )
    said = run("audit", request_id)
    assert (said.code, said.result["whole"]) == (1, False)
    assert "entry 2" in said.err


def test_started_is_what_attention_leaves(stack: JobStack) -> None:
    """The requests that these tests retry are started and have attention."""
    request = stack.request(attention(stack))
    assert (request.state, request.attention) == (STARTED, True)


def test_a_key_is_made_listed_and_revoked(stack: JobStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Its text is the only thing on stdout when it is made, and nowhere afterwards; revoked, it opens nothing."""
    environment = {**stack.environment(), "KEY_MODE": "live"}
    assert (
        main(["key", "create", "--tenant", "acme", "--scopes", "erasure:read", "--valid-days", "1"], environment) == 0
    )
    text = capsys.readouterr().out.strip()
    assert stack.ask(text, "GET", "/v1/erasure-requests") == (200, {"requests": []})
    assert main(["key", "list", "--tenant", "acme"], environment) == 0
    listed = capsys.readouterr().out
    (key,) = json.loads(listed)
    assert (key["scopes"], key["mode"]) == (["erasure:read"], "live")
    assert text.split("_", 3)[3] not in listed
    assert main(["key", "revoke", key["key_id"]], environment) == 0
    assert "revoked_at" in json.loads(_printed(capsys, ["key", "list", "--tenant", "acme"], environment))[0]
    stack.handlers.clear()  # another worker: this one believes the key for some seconds
    assert stack.ask(text, "GET", "/v1/erasure-requests")[0] == 401
    assert main(["key", "revoke", "nobody"], environment) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tenant", "acme", "--scopes", "everything"],
        ["--tenant", "acme", "--scopes", ","],
        ["--tenant", ""],
        ["--tenant", "acme", "--valid-days", "0"],
        ["--tenant", "acme", "--calls-per-minute", "0"],
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    stack: JobStack, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """With the field and its rule on stderr, and no key."""
    assert main(["key", "create", *arguments], {**stack.environment(), "KEY_MODE": "live"}) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")


def _printed(capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str]) -> str:
    capsys.readouterr()
    assert main(arguments, environment) == 0
    return capsys.readouterr().out
