"""Rules of age from the map to the last outcome: reports, runs, and what they leave alone. On moto, through every
function."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore
from erasure.adapters.messaging import SQSJobQueue
from erasure.adapters.retention_store import DynamoDBRetentionStore
from erasure.domain.api_key import PLATFORM
from erasure.domain.clock import ClockPolicy
from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import FINISHED, ErasureRequest
from erasure.domain.retention_runs import RULE_CHANGED
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from erasure.services.retention_rules import RetentionPolicy
from erasure.services.retention_runs import RetentionRuns
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline
from erasure.targets.s3 import S3Target
from tests.functional.aged_items import hold_of
from tests.functional.job_stack import DIGEST_KEY, JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(120)

OLD = timedelta(days=31)
NOTES = {
    "name": "notes",
    "category": "content",
    "dynamodb": {"table": "app-notes", "key": {"pk": "{tenant_id}#{user_id}"}},
}
FILES = {"name": "files", "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}}
AGED_NOTES = {"target": "notes", "older_than": "30d", "attribute": "seen_at"}
AGED_FILES = {"target": "files", "older_than": "30d"}


class World:
    def __init__(self, stack: JobStack) -> None:
        self.stack = stack
        own: dict[str, Any] = {"holds": stack.holds, "digest_key": DIGEST_KEY.encode}
        stack.targets = {
            "dynamodb": DynamoDBTarget(stack.dynamodb, conditional="single", **own),
            "s3": S3Target(stack.targets["s3"]._client, **own),
        }
        self.rules = DynamoDBRetentionStore(lambda: stack.dynamodb, "Registry")

    def put_map(self, *rules: dict[str, Any]) -> None:
        document = {"version": 1, "targets": [NOTES, FILES], "retention": list(rules)}
        self.stack.maps.put(parse_data_map(document), datetime.now(UTC))

    def note(self, user: str, sort: str, age: timedelta | None) -> None:
        item = {"pk": {"S": f"acme#{user}"}, "sk": {"S": sort}}
        if age is not None:
            item["seen_at"] = {"S": format_time(datetime.now(UTC) - age)}
        self.stack.dynamodb.put_item(TableName="app-notes", Item=item)

    def file(self, key: str, age: timedelta) -> None:
        version = self.stack.s3.put_object(Bucket="app-files", Key=key, Body=b"text")["VersionId"]
        backend: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        written_at = datetime.now(UTC).replace(tzinfo=None) - age  # moto's times are naive
        backend.get_object("app-files", key, version_id=version).last_modified = written_at

    def sweep(self, after_report: timedelta = timedelta()) -> int:
        """One sweep now, of rules that run as often as they are asked."""
        stack = self.stack
        acceptance = DynamoDBAcceptanceStore(
            lambda: stack.dynamodb, requests_table="Requests", audit_table="Audit", registry_table="Registry"
        )
        runs = RetentionRuns(
            requests=stack.requests,
            acceptance=acceptance,
            rules=self.rules,
            data_maps=stack.maps,
            queue=SQSJobQueue(lambda: stack.sqs, stack.batch_queue_url),
            now=lambda: datetime.now(UTC),
            policy=RetentionPolicy(ClockPolicy(), every=timedelta(), after_report=after_report),
        )
        runs.settle()
        return runs.start_due(Deadline(60))

    def latest(self, target: str) -> ErasureRequest:
        """The latest run of the target."""
        pages = self.stack.dynamodb.get_paginator("scan").paginate(TableName="Requests")
        items = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("REQUEST#")]
        requests = [self.stack.request(item["request_id"]["S"]) for item in items]
        return max((each for each in requests if each.only_targets == (target,)), key=lambda each: each.requested_at)

    def outcome(self, target: str) -> TargetOutcome:
        request = self.latest(target)
        assert request.state == FINISHED
        (outcome,) = request.outcomes
        return outcome

    def notes(self) -> set[str]:
        return {item["sk"]["S"] for item in self.stack.items("app-notes")}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for stack in stack_on_moto(monkeypatch):
        yield World(stack)


@pytest.fixture
def aged(world: World) -> World:
    world.put_map(AGED_NOTES)
    for number in range(6):
        world.note("ann", f"old{number}", OLD)
        world.note("bob", f"young{number}", timedelta(days=29))
    return world


def test_first_a_report_and_then_it_goes(world: World) -> None:
    """Items and objects: counted first and left as they are, then erased; people under a hold keep theirs, and what
    nobody can date stays and is told. No person is named anywhere in it."""
    world.put_map(AGED_NOTES, AGED_FILES)
    world.stack.holds.put(hold_of_key(Subject("acme", "held-3")), None)
    for user in ("zoe-1", "yan-2", "held-3"):
        world.note(user, f"old of {user}", OLD)
        world.note(user, f"young of {user}", timedelta(days=1))
        world.file(f"acme/{user}/old", OLD)
        world.file(f"acme/{user}/young", timedelta(days=1))
    world.note("zoe-1", "undated", None)
    before = world.stack.data()
    assert world.sweep() == 2
    world.stack.work()
    assert world.stack.data() == before
    assert world.outcome("notes") == TargetOutcome(
        "notes", "content", "reported", 2, reason="retention_unknown", kept=1, unreadable=1
    )
    assert world.outcome("files") == TargetOutcome("files", "content", "reported", 2, kept=1)
    assert world.sweep() == 2
    world.stack.work()
    assert world.notes() == {"old of held-3", "undated", "young of zoe-1", "young of yan-2", "young of held-3"}
    keys = {text.split()[1] for text in world.stack.data() if text.startswith("app-files")}
    assert keys == {"acme/held-3/old", "acme/held-3/young", "acme/zoe-1/young", "acme/yan-2/young"}
    assert world.outcome("notes") == TargetOutcome(
        "notes", "content", "blocked", 2, reason="retention_unknown", kept=1, unreadable=1
    )
    assert world.outcome("files") == TargetOutcome("files", "content", "blocked", 2, kept=1)
    told = json.dumps([world.stack.outputs, world.stack.items("Requests"), world.stack.items("Audit")], default=str)
    assert not any(name in told for name in ("acme", "zoe-1", "yan-2", "held-3"))
    trail = [entry.event for entry in world.stack.audit.entries(world.latest("notes").request_id)]
    assert trail[:2] == ["requested", "planned"]
    assert trail[-1] == "finished"


def hold_of_key(subject: Subject) -> Any:
    return hold_of(subject, key=DIGEST_KEY.encode())


def test_a_run_that_died_is_taken_up(aged: World) -> None:
    """An execution that ends after its first slice: the next attempt does the rest, what was counted counts once, and a
    report is counted anew."""
    stack = aged.stack
    for word, left in (("reported", 12), ("erased", 6)):
        assert aged.sweep() == 1
        request = aged.latest("notes")
        (record,) = stack.messages(stack.batch_queue_url)
        sent = json.loads(record["body"])
        job = {"job_id": f"{request.request_id}-1", "request_ids": sent["request_ids"], "attempt": 1}
        planned = stack.call("plan_job", job)
        for unit in planned["units"]:
            stack.call("erase_dynamodb", unit)
        assert stack.run_job({**job, "job_id": f"{request.request_id}-2", "attempt": 2})["finished"] == 1
        assert (aged.outcome("notes").outcome, aged.outcome("notes").count) == (word, 6)
        assert len(aged.notes()) == left


def test_a_rule_that_changed_before_its_run_began_erases_nothing(aged: World) -> None:
    """Made by one rule and planned by another: done at once, and told so; the new rule begins with a report."""
    aged.sweep()
    aged.stack.work()
    assert aged.sweep() == 1
    erasing = aged.latest("notes")
    aged.put_map({**AGED_NOTES, "older_than": "1d"})
    aged.stack.work()
    assert len(aged.notes()) == 12
    assert aged.stack.outcomes(erasing.request_id) == {
        "notes": TargetOutcome("notes", "content", "reported", reason=RULE_CHANGED)
    }
    assert aged.sweep() == 1
    aged.stack.work()
    assert (aged.outcome("notes").outcome, aged.outcome("notes").count) == ("reported", 12)


def test_a_hold_that_is_set_between_two_slices_keeps_what_is_left(aged: World) -> None:
    """The run goes on for everybody else; the verifier does not count the held person's items as left."""
    aged.sweep()
    aged.stack.work()
    for number in range(3):
        aged.note("cleo", f"old of cleo {number}", OLD)
    aged.sweep()

    def hold(state: str) -> None:
        if state == "Plan":
            aged.stack.holds.put(hold_of_key(Subject("acme", "ann")), None)

    aged.stack.work(hold)
    assert len(aged.notes()) == 12
    outcome = aged.outcome("notes")
    assert (outcome.outcome, outcome.count, outcome.kept) == ("blocked", 3, 6)


def test_a_persons_request_has_nothing_to_do_with_rules(aged: World) -> None:
    """Young or old, all of theirs goes, and nobody else's; the rule's run finds what is left."""
    request_id = aged.stack.confirm(Subject("acme", "bob"))
    aged.stack.work()
    assert aged.stack.outcomes(request_id)["notes"].count == 6
    assert len(aged.notes()) == 6


def test_the_sweep_begins_runs_and_the_api_shows_them(aged: World) -> None:
    """The function begins a report by itself; platform keys see it, and other keys do not."""
    stack = aged.stack
    stack.call("retention_sweep", {})
    key = stack.api_key(PLATFORM)
    shown = {"target": "notes", "older_than": "30d", "attribute": "seen_at", "mode": "erase", "state": "reporting"}
    named = {"X-Tenant-ID": "acme"}
    assert stack.ask(key, "GET", "/v1/retention", **named) == (200, {"rules": [shown]})
    stack.work()
    stack.call("retention_sweep", {})
    status, body = stack.ask(key, "GET", "/v1/retention", **named)
    (rule,) = body["rules"]
    request = aged.latest("notes")
    assert request.finished_at is not None
    assert status == 200
    assert rule["state"] == "waiting"
    assert rule["last_report"] == {
        "at": format_time(request.finished_at),
        "request_id": request.request_id,
        "matched": 6,
    }
    assert rule["next_at"] == format_time(request.finished_at + timedelta(hours=24))
    assert len(aged.notes()) == 12
    status, body = stack.ask(stack.api_key("acme"), "GET", "/v1/retention")
    assert (status, body["code"]) == (403, "insufficient_permissions")
