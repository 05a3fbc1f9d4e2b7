"""Organizations that are erased themselves, through the real handlers on moto; beside people and their own limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import DETACHED, ERASED
from erasure.domain.request import FINISHED
from tests.functional.job_stack import JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(240)

NORTH = {"type": "organization", "id": "north"}
TABLES: dict[str, tuple[str, ...]] = {"app-orgs": ("pk", "sk"), "app-sites": ("pk",), "app-teams": ("pk",)}
TARGETS: list[dict[str, Any]] = [
    {"name": "orgs", "dynamodb": {"table": "app-orgs", "key": {"pk": "{tenant_id}#{organization_id}"}}},
    {"name": "logos", "for_each": "orgs", "s3": {"bucket": "app-files", "key": "logos/{orgs.logo}"}},
    {"name": "sites", "dynamodb": {"table": "app-sites", "key": {"pk": "{tenant_id}#{domain}"}}},
    {"name": "org-files", "s3": {"bucket": "app-files", "prefix": "orgs/{tenant_id}/{organization_id}/"}},
    {
        "name": "partners",
        "dynamodb": {"table": "app-teams", "index": "by-partner", "key": {"partner": "{tenant_id}#{organization_id}"}},
        "action": {"detach": {"attribute": "partners", "key": "org"}},
    },
]
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "identifiers": {"domain": {"from": "orgs", "attribute": "domain"}},
    "targets": [
        *({"subjects": ["organization"], **target} for target in TARGETS),
        {
            "name": "spaces",
            "s3": {"bucket": "app-files", "prefix": "users/{tenant_id}/{user_id}/{organization_id}/"},
        },
    ],
}
PLACES = [(user, org) for user in ("ann", "north") for org in ("north", "northern")]
ORGANIZATIONS = [("acme", "north"), ("acme", "northern"), ("acme", "ann"), ("acme2", "north")]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    for stack in stack_on_moto(monkeypatch):
        for name, keys in TABLES.items():
            stack.create_table(name, keys, {"by-partner": ("partner",)} if name == "app-teams" else {})
        stack.maps.put(parse_data_map(DOCUMENT), datetime.now(UTC))
        for tenant, org in ORGANIZATIONS:
            put_organization(stack, tenant, org)
        for user, org in PLACES:
            stack.s3.put_object(Bucket="app-files", Key=f"users/acme/{user}/{org}/a", Body=b"text")
        yield stack


def put_organization(stack: JobStack, tenant: str, org: str) -> None:
    """Something in every target of organizations."""
    put(stack, "app-orgs", pk=f"{tenant}#{org}", sk="META", logo=f"{tenant}-{org}.png", domain=f"{org}.example")
    put(stack, "app-orgs", pk=f"{tenant}#{org}", sk="PLAN")
    put(stack, "app-sites", pk=f"{tenant}#{org}.example")
    put(
        stack,
        "app-teams",
        pk=f"{tenant}-{org}",
        partner=f"{tenant}#{org}",
        partners=partners("north", "northern", "ann"),
    )
    for key in (f"logos/{tenant}-{org}.png", f"orgs/{tenant}/{org}/a", f"orgs/{tenant}/{org}/b"):
        stack.s3.put_object(Bucket="app-files", Key=key, Body=b"text")


def put(stack: JobStack, table: str, **attributes: Any) -> None:
    item = {name: {"S": value} if isinstance(value, str) else value for name, value in attributes.items()}
    stack.dynamodb.put_item(TableName=table, Item=item)


def partners(*orgs: str) -> Any:
    return {"L": [{"M": {"org": {"S": org}, "since": {"N": "2020"}}} for org in orgs]}


def things(stack: JobStack) -> set[str]:
    """The keys of all that the application has."""
    items = {
        f"{table} {item['pk']['S']} {item.get('sk', {}).get('S')}" for table in TABLES for item in stack.items(table)
    }
    versions = stack.s3.list_object_versions(Bucket="app-files")
    return items | {entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in versions.get(kind, [])}


def erase(stack: JobStack, subject: dict[str, str], **more: Any) -> str:
    """Erase the subject, all the way; its request, finished."""
    status, answer = stack.ask(stack.api_key(), "POST", "/v1/erasure-requests", {"subjects": [subject], **more})
    assert (status, answer["requests"][0]["status"]) == (202, "accepted")
    request_id: str = answer["requests"][0]["request"]["id"]
    (closed,) = stack.work()
    assert (closed["finished"], closed["attention"]) == (1, 0)
    assert stack.request(request_id).state == FINISHED
    return request_id


def plan_hash(stack: JobStack, subject: dict[str, str]) -> str:
    status, answer = stack.ask(stack.api_key(), "POST", "/v1/erasure-plans", {"subject": subject})
    assert status == 200
    found: str = answer["plans"][0]["plan_hash"]
    return found


def outcomes_of(stack: JobStack, request_id: str) -> dict[str, tuple[str, int]]:
    return {name: (outcome.outcome, outcome.count) for name, outcome in stack.outcomes(request_id).items()}


def test_an_organization_goes_and_nothing_else(stack: JobStack) -> None:
    """Its items, what they lead to, what is found by its domain, its files and its places in lists go; people keep what
    they have in it, also one of the same id, and so do organizations of nearly its name and of another tenant."""
    before = things(stack)
    teams = {item["pk"]["S"]: item for item in stack.items("app-teams")}
    outcomes = outcomes_of(stack, erase(stack, NORTH))
    assert outcomes == {
        "orgs": (ERASED, 2),
        "logos": (ERASED, 1),
        "sites": (ERASED, 1),
        "org-files": (ERASED, 2),
        "partners": (DETACHED, 1),
    }
    assert before - things(stack) == {
        "app-orgs acme#north META",
        "app-orgs acme#north PLAN",
        "app-sites acme#north.example None",
        "logos/acme-north.png",
        "orgs/acme/north/a",
        "orgs/acme/north/b",
    }
    teams["acme-north"] = {"pk": {"S": "acme-north"}, "partners": partners("northern", "ann")}
    assert {item["pk"]["S"]: item for item in stack.items("app-teams")} == teams


@pytest.mark.parametrize(
    ("user", "scope", "gone"),
    [
        ("ann", {"scope": {"organization_ids": ["north"]}}, {"users/acme/ann/north/a"}),
        ("north", {"scope": {"organization_ids": ["north"]}}, {"users/acme/north/north/a"}),
        ("north", {}, {"users/acme/north/north/a", "users/acme/north/northern/a"}),
    ],
)
def test_people_do_not_take_an_organization_along(
    stack: JobStack, user: str, scope: dict[str, Any], gone: set[str]
) -> None:
    """A user called like an organization, or limited to it, loses what is the user's; the organization nothing."""
    before = things(stack)
    assert outcomes_of(stack, erase(stack, {"type": "user", "id": user}, **scope)) == {"spaces": (ERASED, len(gone))}
    assert before - things(stack) == gone


def test_plan_of_an_organization(stack: JobStack) -> None:
    """A plan counts what is its own, and an erasure takes its hash, which is not that of a user of the same id."""
    key = stack.api_key()
    status, answer = stack.ask(key, "POST", "/v1/erasure-plans", {"subject": NORTH})
    (plan,) = answer["plans"]
    assert status == 200
    counts = {
        target["name"]: target["count"] for target in plan["targets"] if target["name"] in ("orgs", "sites", "partners")
    }
    assert counts == {"orgs": 2, "sites": 1, "partners": 1}
    assert plan["plan_hash"] != plan_hash(stack, {**NORTH, "type": "user"})
    erase(stack, NORTH, plan_hash=plan["plan_hash"])
    assert things(stack) >= {"orgs/acme/northern/a", "orgs/acme/ann/a", "orgs/acme2/north/a"}


@pytest.mark.parametrize("path", ["/v1/erasure-requests", "/v1/erasure-plans"])
def test_an_organization_cannot_be_limited(stack: JobStack, path: str) -> None:
    """An organization within organizations means nothing: refused, whoever else is named, and nothing is written."""
    body = {"subjects": [{"type": "user", "id": "ann"}, NORTH], "scope": {"organization_ids": ["north"]}}
    status, answer = stack.ask(stack.api_key(), "POST", path, body)
    assert (status, answer["errors"][0]["field"]) == (400, "scope")
    assert stack.work() == []
