"""A data map with everything, on the deployed stack: planned, erased, waited for, and read again by somebody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from erasure.adapters.request_items import request_key, waiting_key
from erasure.domain.audit import broken_at
from erasure.domain.times import format_time
from local.deployment import SAMPLE_DATA_MAP, put_data_map
from local.full_inventory import (
    Erasure,
    Found,
    World,
    comparable,
    differences,
    digests_in,
    expected,
    found,
    planned_items,
    read_world,
)
from local.full_sample import GROUPS, ORGANIZATIONS, SUBJECT, WHOLE_ORGANIZATIONS, FullOwner
from local.full_seeding import seed
from local.inventory import canonical
from local.sample import Person
from local.stack import ROOT, Stack
from tests.e2e.calls import (
    Backend,
    audit_of,
    native_body,
    request_of,
    unscheduled,
    wait_for,
    wait_until_finished,
)

pytestmark = pytest.mark.stack

FULL_MAP = ROOT / "local" / "data-map-full.yaml"
SCANS = ("events", "access-log")
LIMITED, ONE_ORGANIZATION = Person("acme", "10"), ORGANIZATIONS[0]
GROUP, WHOLE = GROUPS[0], WHOLE_ORGANIZATIONS[0]
NOBODY = Person("acme", "100")
"""Has nothing anywhere: not even an account that would tell an address."""
BUT_BY_EMAIL = ["account", "session", "membership", "content", "record"]
EVERYTHING = Erasure(SUBJECT)
OF_ORGANIZATION = Erasure(LIMITED, organizations=(ONE_ORGANIZATION,))
OF_GROUP, OF_WHOLE = Erasure(GROUP), Erasure(WHOLE)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for an erasure: what was planned for it, and its id."""

    plan: dict[str, Any]
    request_id: str


@dataclass(frozen=True, slots=True)
class Course:
    """What happened, in this order. ``refused``: the answer to a request that names another plan. ``waiting``: the
    world when only scans were left to do."""

    before: World
    planned: World
    refused: Any
    asked: dict[FullOwner, Asked]
    waiting: World
    open_views: dict[FullOwner, dict[str, Any]]
    after: World
    views: dict[FullOwner, dict[str, Any]]


@contextmanager
def full_map(stack: Stack) -> Iterator[None]:
    """The full map is the current one. Afterwards the sample's is again, in the eyes of both APIs."""
    put_data_map(stack, FULL_MAP)
    try:
        yield
    finally:
        put_data_map(stack, SAMPLE_DATA_MAP)
        _forget_maps(stack)
        wait_for(lambda: _is_back(stack), "the sample's map", seconds=90, every=0.5)


def _forget_maps(stack: Stack) -> None:
    """Start the APIs anew, as the emulator does with a function whose timeout is set: they remember for a minute."""
    client: Any = stack.client
    functions = client("lambda")
    for name in ("SUBJECT_API", "BACKEND_API"):
        function = stack[f"{name}_FUNCTION_NAME"]
        timeout = functions.get_function_configuration(FunctionName=function)["Timeout"]
        functions.update_function_configuration(FunctionName=function, Timeout=timeout)


def _is_back(stack: Stack) -> bool:
    own = {target["name"] for target in yaml.safe_load(SAMPLE_DATA_MAP.read_text())["targets"]}
    body = native_body([Person("globex", "nobody-at-all")], dry_run=True)
    (plan,) = Backend(stack, "globex").accept("POST", "/v1/erasure-requests", 200, body).json()["plans"]
    return {target["name"] for target in plan["targets"]} <= own


@pytest.fixture(scope="module")
def course(stack: Stack) -> Iterator[Course]:
    seed(stack)
    with full_map(stack):
        yield _run(stack, Backend(stack, SUBJECT.tenant))


def _run(stack: Stack, backend: Backend) -> Course:
    before = read_world(stack)
    limits: dict[FullOwner, dict[str, Any]] = {
        SUBJECT: {},
        LIMITED: {"scope": {"organization_ids": [ONE_ORGANIZATION]}},
        GROUP: {},
        WHOLE: {},
        NOBODY: {"categories": BUT_BY_EMAIL},
    }
    plans = {owner: plan(backend, owner, **limit) for owner, limit in limits.items()}
    planned = read_world(stack)
    another = plans[NOBODY]["plan_hash"]
    refused = backend.call("POST", "/v1/erasure-requests", native_body([SUBJECT], plan_hash=another))
    asked = {}
    for owner, limit in limits.items():
        answer = backend.erase(owner, **limit, plan_hash=plans[owner]["plan_hash"])
        asked[owner] = Asked(plans[owner], answer["requests"][0]["request"]["id"])
    ids = {owner: each.request_id for owner, each in asked.items()}
    wait_until_finished(stack, [ids[LIMITED], ids[GROUP], ids[WHOLE]])
    scanned = [ids[SUBJECT], ids[NOBODY]]
    wait_for(lambda: all(request_of(stack, each).closed_at for each in scanned), "all but the scans", seconds=150)
    waiting, open_views = read_world(stack), {owner: view(backend, each) for owner, each in ids.items()}
    end_windows(stack, scanned)
    wait_until_finished(stack, scanned)
    views = {owner: view(backend, each) for owner, each in ids.items()}
    return Course(before, planned, refused, asked, waiting, open_views, read_world(stack), views)


def plan(backend: Backend, owner: FullOwner, **limit: Any) -> dict[str, Any]:
    (planned,) = backend.accept("POST", "/v1/erasure-plans", 200, native_body([owner], **limit)).json()["plans"]
    return dict(planned)


def view(backend: Backend, request_id: str) -> dict[str, Any]:
    body: dict[str, Any] = backend.accept("GET", f"/v1/erasure-requests/{request_id}", 200).json()
    return {**body, "targets": {target["name"]: target for target in body["targets"]}}


def end_windows(stack: Stack, request_ids: list[str]) -> None:
    """Let the windows of these requests have ended, all at the same moment, and sweep."""
    client: Any = stack.client
    with unscheduled(stack, "RETENTION_SWEEP"):  # a sweep in between would split them
        actions: list[Any] = []
        for request_id in request_ids:
            scan_at = request_of(stack, request_id).scan_at
            assert scan_at is not None
            assert scan_at > datetime.now(UTC)
            table = {"TableName": stack["REQUESTS_TABLE"]}
            update = {
                "Key": request_key(request_id),
                "UpdateExpression": "SET scan_at = :past",
                "ExpressionAttributeValues": {":past": {"S": format_time(LONG_AGO)}},
            }
            actions.append({"Update": table | update})
            listed = {"Key": waiting_key(request_id, scan_at), "ConditionExpression": "attribute_exists(pk)"}
            actions.append({"Delete": table | listed})
            actions.append({"Put": table | {"Item": waiting_key(request_id, LONG_AGO)}})
        stack.client("dynamodb").transact_write_items(TransactItems=actions)
        answer = client("lambda").invoke(FunctionName=stack["RETENTION_SWEEP_FUNCTION_NAME"], Payload=b"{}")
        assert json.loads(answer["Payload"].read())["sent"] == len(request_ids)


def counts(plan: dict[str, Any]) -> dict[str, tuple[int | None, int, str | None]]:
    """By target: what goes or changes, what stays, until when. Without the targets that have nothing."""
    return {
        target["name"]: (target["count"], target.get("kept", 0), target.get("until"))
        for target in plan["targets"]
        if target["count"] or target.get("kept")
    }


def read(of: dict[str, Found]) -> dict[str, tuple[int | None, int, str | None]]:
    return {name: (own.count, own.kept, own.until) for name, own in of.items() if own.count or own.kept}


def test_everything_is_there_as_planned(course: Course) -> None:
    """Before anything happens, every item is what the sample's plan says, and the subject has something of each target
    of people."""
    items = planned_items()
    assert (
        differences(
            {name: content for name, content in course.before.items() if name.kind == "item"},
            {name: canonical(item.attributes) for name, item in items.items()},
        )
        == []
    )
    targets = yaml.safe_load(FULL_MAP.read_text())["targets"]
    of_people = {target["name"] for target in targets if target.get("subjects", ["user"]) == ["user"]}
    assert set(found(course.before, EVERYTHING)) == of_people


def test_plans_count_what_the_reader_counts(course: Course) -> None:
    """Target by target a plan's numbers are those of the independent reader; what is to be scanned is not counted."""
    plans = {owner: asked.plan for owner, asked in course.asked.items()}
    not_scanned = Erasure(SUBJECT, but=SCANS)
    assert counts(plans[SUBJECT]) == read(found(course.before, not_scanned))
    assert {target["name"] for target in plans[SUBJECT]["targets"] if target["count"] is None} == set(SCANS)
    assert counts(plans[LIMITED]) == read(found(course.before, OF_ORGANIZATION))
    assert counts(plans[GROUP]) == read(found(course.before, OF_GROUP))
    assert counts(plans[NOBODY]) == {}
    assert not [target for each in plans.values() for target in each["targets"] if "problem" in target]


def test_planning_changes_nothing(course: Course) -> None:
    """After plans for four subjects, and after a request that named another plan, all is as it was."""
    assert differences(course.before, course.planned) == []
    assert course.refused.status_code == 409
    assert course.refused.json()["code"] == "plan_changed"


def test_only_scans_wait(course: Course) -> None:
    """While the window is open the scans' tables are as they were, all else is done, and the request tells until
    when it waits."""
    done = [Erasure(SUBJECT, but=SCANS), OF_ORGANIZATION, OF_GROUP, OF_WHOLE]
    assert differences(expected(course.before, done), comparable(course.waiting)) == []
    for owner in (SUBJECT, NOBODY):
        assert course.open_views[owner]["state"] == "started"
        assert course.open_views[owner]["attention"] is False
        assert course.open_views[owner]["scan_at"]


def test_the_world_is_exactly_as_it_should_be(course: Course) -> None:
    """What is the subjects' is gone or changed as written down, what is kept is kept, and all else, of people, tenants
    and groups whose ids begin alike, is byte for byte as before."""
    after = expected(course.before, [EVERYTHING, OF_ORGANIZATION, OF_GROUP, OF_WHOLE])
    assert differences(after, comparable(course.after)) == []


def test_outcomes_tell_what_happened(course: Course) -> None:
    """Each target's outcome has the reader's numbers, and says what its action made of the things: also what is kept,
    by which law, and until when."""
    told = course.views[SUBJECT]["targets"]
    seen = found(course.before, EVERYTHING)
    assert {name: (told[name]["count"], told[name].get("kept", 0), told[name].get("until")) for name in told} == {
        name: (own.count, own.kept, own.until) for name, own in seen.items()
    }
    special = {
        "invoices": "retained", "pension-files": "retained", "contracts": "blocked", "disputes": "blocked",
        "reviews": "redacted", "access-log": "redacted", "mentions": "detached", "watched-tasks": "detached",
        "boards": "detached",
    }  # fmt: skip
    assert {name: told[name]["state"] for name in told} == {name: special.get(name, "erased") for name in seen}
    assert told["invoices"]["basis"] == "German Commercial Code § 257"
    assert "basis" not in told["contracts"]


def test_organization_and_group_requests_are_limited(course: Course) -> None:
    """A request for one organization and one for a group have their targets and no others."""
    for owner, erasure in ((LIMITED, OF_ORGANIZATION), (GROUP, OF_GROUP), (WHOLE, OF_WHOLE)):
        told = course.views[owner]["targets"]
        assert {name: (target["state"], target["count"]) for name, target in told.items()} == {
            name: ("erased", own.count) for name, own in found(course.before, erasure).items()
        }


def test_redacting_leaves_digests_that_tell_nothing(course: Course) -> None:
    """The same address leaves the same digest in both invoices, another one another; none is a plain hash of it."""
    left = [
        digests_in(content)
        for name, content in course.after.items()
        if name.place == "full-invoices" and "erased:" in content
    ]
    assert len(left) == 2
    first, second = left
    assert first == second
    assert len(first) == 3
    assert first[0] == first[2] != first[1]


def test_nobody_has_nothing_and_is_finished(course: Course, stack: Stack) -> None:
    """Of a subject with nothing anywhere all targets are already absent, the scans too, and the request finishes."""
    told = course.views[NOBODY]
    assert told["state"] == "finished"
    assert {target["state"] for target in told["targets"].values()} == {"already_absent"}
    assert set(SCANS) < set(told["targets"])


def test_an_address_that_nobody_knows_is_not_called_absent(course: Course, stack: Stack) -> None:
    """The same subject with what is kept by e-mail: nobody knows the address, and the plan says so."""
    targets = {target["name"]: target for target in plan(Backend(stack, NOBODY.tenant), NOBODY)["targets"]}
    problems = {name: target["problem"] for name, target in targets.items() if "problem" in target}
    assert problems == {"newsletters": "missing_value"}
    assert targets["newsletters"]["count"] is None
    assert targets["imported"]["count"] == 0


def test_one_scan_served_both(course: Course, stack: Stack) -> None:
    """The two requests that waited for the end of a window were scanned for by one job."""
    jobs = {request_of(stack, course.asked[owner].request_id).job_id for owner in (SUBJECT, NOBODY)}
    assert len(jobs) == 1


def test_trails_are_whole_and_name_nobody(course: Course, stack: Stack) -> None:
    """The audit trail of each request is unbroken, and holds no address or number of the subject's."""
    for asked in course.asked.values():
        entries = audit_of(stack).entries(asked.request_id)
        assert broken_at(entries) is None
        text = json.dumps([dict(entry.details) for entry in entries], default=str)
        assert "mail.example" not in text
        assert "full-" not in text
