"""An application that keeps people's data in every way that a data map knows.

For each way, a :class:`Way`: its targets, what a person has there, and what has to become of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.config import Config

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.outcome import DETACHED, ERASED, REDACTED, RETAINED, TargetOutcome
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.dynamodb_calls import client_options
from erasure.targets.s3 import S3Target
from erasure.targets.s3_client import make_s3_client
from tests.functional.job_stack import DIGEST_KEY, JobStack

OWNER = "{tenant_id}#{user_id}"
Keys = tuple[str, ...]
TABLES: dict[str, tuple[Keys, dict[str, Keys]]] = {
    "app-drafts": (("pk", "sk"), {}),
    "app-remarks": (("id",), {"by-author": ("author",)}),
    "app-threads": (("id",), {"by-watcher": ("watcher",)}),
    "app-events": (("id",), {}),
    "app-orders": (("id",), {"by-customer": ("customer",)}),
    "app-invoices": (("pk", "sk"), {}),
    "app-users": (("pk",), {}),
    "app-letters": (("recipient", "id"), {}),
    "app-docs": (("id",), {"by-owner": ("owner",)}),
    "app-pages": (("doc", "number"), {}),
}
BUCKETS = {"app-archive": True, "app-avatars": False, "app-images": False}
"""Those beside ``app-files``; whether they are versioned."""

FRESH = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Way:
    """``outcomes``: by target, what becomes of it, how many things go or change, and how many are kept, when a person
    has what ``put`` puts once. ``remains``: what is left of it then, as :meth:`Application.things` names things."""

    targets: tuple[dict[str, Any], ...]
    put: Callable[[Application, str], None]
    outcomes: Mapping[str, tuple[str, int, int]]
    remains: Callable[[str], set[str]] = lambda _: set()
    identifiers: Mapping[str, Any] = field(default_factory=dict)


class Application:
    """Built inside of ``moto.mock_aws``."""

    def __init__(self, stack: JobStack, ways: Iterable[str]) -> None:
        self.stack = stack
        self.ways = [WAYS[name] for name in ways]
        named = json.dumps([way.targets for way in self.ways])
        self.tables = [table for table in TABLES if f'"{table}"' in named]
        for table in self.tables:
            self.create_table(table)
        self.buckets = ["app-files"]
        for bucket in BUCKETS:
            if f'"{bucket}"' in named:
                self.create_bucket(bucket)
        stack.maps.put(self.data_map(), datetime.now(UTC))

    def create_table(self, name: str) -> None:
        keys, indexes = TABLES[name]
        self.stack.create_table(name, keys, indexes)

    def create_bucket(self, name: str) -> None:
        self.buckets.append(name)
        self.stack.s3.create_bucket(Bucket=name)
        if BUCKETS[name]:
            self.stack.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def data_map(self, **identifiers: Any) -> DataMap:
        document = {
            "version": 1,
            "targets": [target for way in self.ways for target in way.targets],
            "families": {"h2o": "all"},
        }
        known = {name: rule for way in self.ways for name, rule in way.identifiers.items()} | identifiers
        if known:
            document["identifiers"] = known
        return parse_data_map(document)

    def put_all(self, user: str) -> None:
        for way in self.ways:
            way.put(self, user)

    def put(self, table: str, **attributes: Any) -> None:
        """An item; strings are given as they are, everything else in DynamoDB's form."""
        item = {name: {"S": value} if isinstance(value, str) else value for name, value in attributes.items()}
        self.stack.dynamodb.put_item(TableName=table, Item=item)

    def put_object(self, bucket: str, key: str) -> None:
        self.stack.s3.put_object(Bucket=bucket, Key=key, Body=b"text")

    def things(self) -> set[str]:
        """Every item with all that it holds, and every version; digests without their figures."""
        found = set()
        for table in self.tables:
            found |= {thing(table, **item) for item in self.stack.items(table)}
        for bucket in self.buckets:
            answer = self.stack.s3.list_object_versions(Bucket=bucket)
            for version in [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]:
                found.add(f"{bucket} {version['Key']} {version['VersionId']}")
        return found

    def remains(self, user: str) -> set[str]:
        return {thing for way in self.ways for thing in way.remains(user)}

    def outcomes(self) -> dict[str, tuple[str, int, int]]:
        return {name: told for way in self.ways for name, told in way.outcomes.items()}

    def check_outcomes(self, told: Mapping[str, TargetOutcome]) -> None:
        """Each is as it should be; of a count that was lost with a slice, a part is told, as at least so many."""
        assert told.keys() == self.outcomes().keys()
        for name, (kind, count, kept) in self.outcomes().items():
            outcome = told[name]
            assert (outcome.outcome, outcome.kept, outcome.reason) == (kind, kept, None), outcome
            assert outcome.count == count or (outcome.at_least and outcome.count < count), outcome

    @property
    def scans(self) -> bool:
        return "events" in self.outcomes()

    def check_ways_lead_on(self, things: set[str]) -> None:
        """Whatever is found through an item has that item: documents lead to files and pages, pages to images."""
        items = [json.loads(each) for each in things if each.startswith("[")]
        documents = {item["id"]["S"]: item["file"]["S"] for table, item in items if table == "app-docs"}
        pages = [item for table, item in items if table == "app-pages"]
        objects = {each.split()[1] for each in things if each.startswith(("app-files ", "app-images "))}
        assert {page["doc"]["S"] for page in pages} <= documents.keys()
        assert objects <= {*documents.values(), *(f"{page['image']['S']}/large" for page in pages)}


def thing(table: str, **item: Any) -> str:
    """An item as text. Strings may be given as they are."""
    full: dict[str, Any] = {name: {"S": value} if isinstance(value, str) else value for name, value in item.items()}
    for value in full.values():
        if value.get("S", "").startswith("erased:"):
            value["S"] = "erased:"
        if "SS" in value:
            value["SS"] = sorted(value["SS"])
    return json.dumps([table, full], sort_keys=True)


def _put_notes(application: Application, user: str) -> None:
    for number in range(3):
        application.put("app-drafts", pk=f"acme#{user}", sk=str(number))


def _put_remarks(application: Application, user: str) -> None:
    for number in range(2):
        application.put("app-remarks", id=f"{user}-{number}", author=f"acme#{user}")


def _put_threads(application: Application, user: str) -> None:
    for number in range(2):
        watchers = {"SS": [user, "bob"]}
        application.put("app-threads", id=f"{user}-{number}", watcher=f"acme#{user}", watchers=watchers, text="hello")


def _threads_left(user: str) -> set[str]:
    return {thing("app-threads", id=f"{user}-{number}", watchers={"SS": ["bob"]}, text="hello") for number in range(2)}


def _put_events(application: Application, user: str) -> None:
    for number in range(2):
        application.put("app-events", id=f"{user}-{number}", actor=user, tenant="acme")
    application.put("app-events", id=f"{user}-other", actor=user, tenant="other")


def _events_left(user: str) -> set[str]:
    return {thing("app-events", id=f"{user}-other", actor=user, tenant="other")}


def _put_orders(application: Application, user: str) -> None:
    for number in range(2):
        application.put("app-orders", id=f"{user}-{number}", customer=f"acme#{user}", name=user, email=f"{user}@x")


def _orders_left(user: str) -> set[str]:
    return {thing("app-orders", id=f"{user}-{number}", customer=f"acme#{user}", email="erased:") for number in range(2)}


def _put_invoices(application: Application, user: str) -> None:
    application.put("app-invoices", pk=f"acme#{user}", sk="old", issued_at="2001-01-31")
    application.put("app-invoices", pk=f"acme#{user}", sk="new", issued_at=FRESH)


def _invoices_left(user: str) -> set[str]:
    return {thing("app-invoices", pk=f"acme#{user}", sk="new", issued_at=FRESH)}


def _put_archive(application: Application, user: str) -> None:
    for _version in range(2):
        for name in ("a.txt", "b/c.txt"):
            application.put_object("app-archive", f"acme/{user}/{name}")
    application.stack.s3.delete_object(Bucket="app-archive", Key=f"acme/{user}/a.txt")


def _put_account(application: Application, user: str) -> None:
    application.put("app-users", pk=f"acme#{user}", email=f"{user}@example.org")
    for number in range(2):
        application.put("app-letters", recipient=f"acme#{user}@example.org", id=str(number))


def put_document(application: Application, user: str, name: str = "doc") -> None:
    """A document with a file and two pages, each with an image."""
    document = f"{user}-{name}"
    for number in range(2):
        application.put_object("app-images", f"{document}-{number}/large")
        application.put("app-pages", doc=document, number=str(number), image=f"{document}-{number}")
    application.put_object("app-files", f"{document}.pdf")
    application.put("app-docs", id=document, owner=f"acme#{user}", file=f"{document}.pdf")


WAYS = {
    "key": Way(
        ({"name": "notes", "dynamodb": {"table": "app-drafts", "key": {"pk": OWNER}}},),
        _put_notes,
        {"notes": (ERASED, 3, 0)},
    ),
    "index": Way(
        ({"name": "remarks", "dynamodb": {"table": "app-remarks", "index": "by-author", "key": {"author": OWNER}}},),
        _put_remarks,
        {"remarks": (ERASED, 2, 0)},
    ),
    "detach": Way(
        (
            {
                "name": "watching",
                "dynamodb": {"table": "app-threads", "index": "by-watcher", "key": {"watcher": OWNER}},
                "action": {"detach": {"attribute": "watchers"}},
            },
        ),
        _put_threads,
        {"watching": (DETACHED, 2, 0)},
        _threads_left,
    ),
    "scan": Way(
        (
            {
                "name": "events",
                "dynamodb": {"table": "app-events", "scan": {"actor": "{user_id}", "tenant": "{tenant_id}"}},
            },
        ),
        _put_events,
        {"events": (ERASED, 2, 0)},
        _events_left,
    ),
    "redact": Way(
        (
            {
                "name": "orders",
                "dynamodb": {"table": "app-orders", "index": "by-customer", "key": {"customer": OWNER}},
                "action": {"redact": {"name": "remove", "email": "digest"}},
            },
        ),
        _put_orders,
        {"orders": (REDACTED, 2, 0)},
        _orders_left,
    ),
    "retain": Way(
        (
            {
                "name": "invoices",
                "category": "record",
                "dynamodb": {"table": "app-invoices", "key": {"pk": OWNER}},
                "retain": {"basis": "tax law", "for": "10y", "from": "issued_at"},
            },
        ),
        _put_invoices,
        {"invoices": (RETAINED, 1, 1)},
        _invoices_left,
    ),
    "prefix": Way(
        ({"name": "archive", "s3": {"bucket": "app-archive", "prefix": "{tenant_id}/{user_id}/"}},),
        _put_archive,
        {"archive": (ERASED, 5, 0)},
    ),
    "object": Way(
        ({"name": "avatar", "s3": {"bucket": "app-avatars", "key": "{tenant_id}/{user_id}.png"}},),
        lambda application, user: application.put_object("app-avatars", f"acme/{user}.png"),
        {"avatar": (ERASED, 1, 0)},
    ),
    "identifiers": Way(
        (
            {"name": "accounts", "category": "account", "dynamodb": {"table": "app-users", "key": {"pk": OWNER}}},
            {"name": "letters", "dynamodb": {"table": "app-letters", "key": {"recipient": "{tenant_id}#{email}"}}},
        ),
        _put_account,
        {"accounts": (ERASED, 1, 0), "letters": (ERASED, 2, 0)},
        identifiers={"email": {"from": "accounts", "attribute": "email"}},
    ),
    "for_each": Way(
        (
            {"name": "docs", "dynamodb": {"table": "app-docs", "index": "by-owner", "key": {"owner": OWNER}}},
            {"name": "pdfs", "for_each": "docs", "s3": {"bucket": "app-files", "key": "{docs.file}"}},
            {"name": "pages", "for_each": "docs", "dynamodb": {"table": "app-pages", "key": {"doc": "{docs.id}"}}},
            {"name": "images", "for_each": "pages", "s3": {"bucket": "app-images", "prefix": "{pages.image}/"}},
        ),
        put_document,
        {"docs": (ERASED, 1, 0), "pdfs": (ERASED, 1, 0), "pages": (ERASED, 2, 0), "images": (ERASED, 2, 0)},
    ),
}


# The service beside it


def without_waiting(stack: JobStack) -> None:
    """Erasers whose pauses and paces take no time, with clients as in the cloud."""
    moment = [0.0]

    def sleep(seconds: float) -> None:
        moment[0] += seconds

    session = stack.clients.session
    client = session.create_client("dynamodb", config=Config(**client_options()))
    tables = DynamoDBTarget(
        client, conditional="single", digest_key=DIGEST_KEY.encode, sleep=sleep, clock=lambda: moment[0]
    )
    buckets = make_s3_client(session, Config(retries={"mode": "standard", "total_max_attempts": 1}))
    stack.targets.update(dynamodb=tables, s3=S3Target(buckets, sleep=sleep))
