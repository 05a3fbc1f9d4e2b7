"""The operator's commands about what runs by the clock, on moto."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.request import HELD, STARTED
from erasure.domain.times import format_time, parse_time
from erasure.entry.operator import main
from erasure.entry.operator_stack import Stack
from erasure.targets.dynamodb import DynamoDBTarget
from tests.functional.job_stack import DATA_MAP, DIGEST_KEY, JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(60)

PERSON = "zq9xwv-secret-person"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


@pytest.fixture
def run(stack: JobStack, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command's exit code, and what it said."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments, stack.environment())
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def told(run: Run, *arguments: str) -> Any:
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    return json.loads(out)


def ask(stack: JobStack, user: str, **more: Any) -> str:
    body = {"subjects": [{"type": "user", "id": user}], **more}
    status, answer = stack.ask(stack.api_key(), "POST", "/v1/erasure-requests", body)
    assert status == 202
    request_id: str = answer["requests"][0]["request"]["id"]
    return request_id


def as_table(out: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in out.splitlines())


def test_the_promise_of_the_whole_stack_is_shown(stack: JobStack, run: Run) -> None:
    """Of all tenants; nothing open is no age and no deadline."""
    empty = told(run, "sla")
    assert (empty["open"], empty["oldest_age_seconds"], empty["next_due_at"]) == (0, 0, None)
    first = stack.request(ask(stack, "ann"))
    ask(stack, "bob")
    later = format_time(datetime.now(UTC) + timedelta(days=1))
    ask(stack, "carol", not_before=later)
    stack.ask(stack.api_key(), "PUT", "/v1/legal-holds/bob", {"reason": "a lawsuit", "author": "legal"})
    figures = told(run, "sla")
    assert (figures["sla_hours"], figures["open"], figures["held"], figures["overdue"]) == (72, 3, 1, 0)
    assert figures["next_due_at"] == format_time(first.due_at)
    assert 71 * 3600 < figures["seconds_to_deadline"] <= 72 * 3600
    table = as_table(run("sla")[1])
    assert (table["open"], table["held"], table["next_due_at"]) == ("3", "1", format_time(first.due_at))


def test_a_tenants_grace_is_shown_and_set(stack: JobStack, run: Run) -> None:
    """For that tenant and for requests made from then on; what is no period or too long is refused and changes
    nothing."""
    assert told(run, "tenant", "show", "acme") == {"grace_hours": 0}
    code, out, err = run("tenant", "set", "acme", "--grace", "7d")
    assert (code, as_table(out), "another minute" in err) == (0, {"grace_hours": "168"}, True)
    for bad in ("7", "1w", "-1d", "91d", "1.5h", ""):
        code, out, err = run("tenant", "set", "acme", f"--grace={bad}")
        assert (code, out) == (1, ""), bad
        assert err.startswith("error: ")
    assert told(run, "tenant", "show", "acme") == {"grace_hours": 168}
    assert told(run, "tenant", "show", "other") == {"grace_hours": 0}
    request = stack.request(ask(stack, "ann"))
    assert request.not_before is not None
    assert request.not_before - request.requested_at == timedelta(days=7)
    assert told(run, "tenant", "set", "acme", "--grace", "0d") == {"grace_hours": 0}


def test_a_hold_is_put_shown_listed_and_lifted(stack: JobStack, run: Run) -> None:
    """As over the API, and in the trail as an operator's; nothing that is said names the subject."""
    request_id = ask(stack, PERSON)
    until = format_time(datetime.now(UTC) + timedelta(days=30))
    about = (PERSON, "--tenant", "acme")
    terms = ("--reason", "a lawsuit", "--author", "legal", "--until", until, "--alias", f"{PERSON}@example.org")
    held = told(run, "hold", "put", *about, *terms)
    assert (held["reason"], held["author"], held["until"]) == ("a lawsuit", "legal", until)
    assert (held["aliases"], held["held_requests"]) == (1, 1)
    assert stack.request(request_id).state == HELD
    shown = told(run, "hold", "show", *about)
    assert shown == {name: value for name, value in held.items() if name != "held_requests"}
    assert told(run, "hold", "list", "--tenant", "acme") == {"legal_holds": [shown]}
    assert told(run, "hold", "list", "--tenant", "other") == {"legal_holds": []}
    trail = stack.audit.entries(f"HOLD#{held['subject_digest']}")
    assert [(entry.event, entry.details["key_id"]) for entry in trail] == [("hold_set", "operator")]
    said = [run("hold", "list", "--tenant", "acme"), run("hold", "show", *about), run("hold", "lift", *about)]
    assert [code for code, _, _ in said] == [0, 0, 0]
    assert PERSON not in str(said)
    assert held["hold_id"] in said[0][1]
    assert stack.work()[0]["finished"] == 1


def test_a_hold_that_is_not_there_or_makes_no_sense_is_refused(run: Run) -> None:
    """With the rule, and without the subject's id."""
    about = (PERSON, "--tenant", "acme")
    for arguments, message in (
        (("show", *about), "there is no legal hold"),
        (("lift", *about), "there is no legal hold"),
        (("put", *about, "--reason", f"about {PERSON}", "--author", "legal"), "must not name the subject"),
        (("put", *about, "--reason", "why", "--author", " "), "author: must be"),
        (("put", *about, "--reason", "why", "--author", "me", "--until", "2020-01-01T00:00:00Z"), "in the future"),
        (("put", *about, "--reason", "why", "--author", "me", "--until", "soon"), "until: must be a time"),
    ):
        code, out, err = run("hold", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err
        assert PERSON not in err


def test_holds_of_groups_are_others(stack: JobStack, run: Run) -> None:
    """A group of the same id is somebody else."""
    terms = ("--tenant", "acme", "--reason", "a lawsuit", "--author", "legal")
    assert told(run, "hold", "put", "crew", "--type", "group", *terms)["subject_type"] == "group"
    assert run("hold", "show", "crew", "--tenant", "acme")[0] == 1
    assert run("hold", "show", "crew", "--tenant", "acme", "--type", "group")[0] == 0


def test_retention_rules_are_shown(stack: JobStack, run: Run) -> None:
    """Each rule with what came of it: first nothing, then its report, and when its first run is due."""
    assert told(run, "retention") == {"rules": []}
    rule = {"target": "notes", "older_than": "30d", "attribute": "written_at"}
    stack.maps.put(parse_data_map({**DATA_MAP, "retention": [rule]}), datetime.now(UTC))
    (shown,) = told(run, "retention")["rules"]
    assert shown == {**rule, "mode": "erase", "state": "reporting"}
    stack.targets["dynamodb"] = DynamoDBTarget(
        stack.dynamodb, conditional="single", holds=stack.holds, digest_key=DIGEST_KEY.encode
    )
    stack.call("retention_sweep", {})
    stack.work()
    stack.call("retention_sweep", {})
    (shown,) = told(run, "retention")["rules"]
    assert (shown["state"], shown["last_report"]["matched"]) == ("waiting", 0)
    assert parse_time(shown["next_at"]) - parse_time(shown["last_report"]["at"]) == timedelta(hours=24)
    head, row = run("retention")[1].splitlines()
    cells = dict(zip(head.split(), row.split(), strict=True))
    assert (cells["target"], cells["matched"], cells["last_run"]) == ("notes", "0", "-")
    assert cells["last_report"] == shown["last_report"]["at"]


def test_numbers_are_the_stacks_own(stack: JobStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the parameters of the stack that is named, or from the environment, or else the template's defaults."""
    cloudformation: Any = botocore.session.Session().create_client("cloudformation")
    template = {
        "Parameters": {name: {"Type": "Number", "Default": 1} for name in ("PurgeDays", "SlaHours")},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    }
    parameters = [{"ParameterKey": "PurgeDays", "ParameterValue": "40"}]
    cloudformation.create_stack(StackName="erasure", TemplateBody=json.dumps(template), Parameters=parameters)
    named = Stack("erasure", {"PURGE_DAYS": "7"})
    assert (named.number("PURGE_DAYS"), named.number("SLA_HOURS"), named.number("OWN_BACKUP_DAYS")) == (40, 1, 7)
    unnamed = Stack(None, {"PURGE_DAYS": "41"})
    assert (unnamed.number("PURGE_DAYS"), unnamed.clock_policy().sla_hours) == (41, 72)


def test_what_is_at_work_is_open(stack: JobStack, run: Run) -> None:
    """A request that a job has counts as open until it has ended."""
    request_id = ask(stack, "ann")
    seen: list[tuple[str, int]] = []

    def between(_state: str) -> None:
        seen.append((stack.request(request_id).state, told(run, "sla")["open"]))

    stack.work(between)
    assert (set(seen), told(run, "sla")["open"]) == ({(STARTED, 1)}, 0)
