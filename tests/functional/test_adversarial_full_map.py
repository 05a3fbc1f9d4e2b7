"""Attacks on whole jobs of a map with identifiers and targets that lead to others, through the real functions on moto.

A person's account tells the e-mail address by which sessions and newsletters are kept, and the key of a badge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from tests.functional.job_stack import JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(120)

DATA_MAP: dict[str, Any] = {
    "version": 1,
    "identifiers": {"email": {"from": "people", "attribute": "email"}},
    "targets": [
        {
            "name": "people",
            "category": "account",
            "dynamodb": {"table": "app-people", "key": {"person": "{tenant_id}#{user_id}"}},
        },
        {"name": "badges", "for_each": "people", "s3": {"bucket": "app-files", "key": "{people.badge}"}},
        {
            "name": "folders",
            "category": "account",
            "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"},
        },
        {
            "name": "sessions",
            "category": "session",
            "dynamodb": {"table": "app-sessions", "key": {"address": "{tenant_id}#{email}"}},
        },
        {"name": "newsletters", "dynamodb": {"table": "app-newsletters", "key": {"address": "{tenant_id}#{email}"}}},
    ],
}


class Club:
    def __init__(self, stack: JobStack) -> None:
        self.stack = stack
        for table, key in (("people", "person"), ("sessions", "address"), ("newsletters", "address")):
            stack.create_table(f"app-{table}", (key,))
        stack.maps.put(parse_data_map(DATA_MAP), datetime.now(UTC))
        self.key = stack.api_key()

    def join(self, user: str, badge: str, email: str = "") -> None:
        """A person with everything, whose account says this."""
        address = email or f"{user}@example.com"
        account = {"person": f"acme#{user}", "email": address, "badge": badge}
        self._put("people", **account)
        for table in ("sessions", "newsletters"):
            self._put(table, address=f"acme#{address}")
        for key in (f"acme/{user}/cv.pdf", f"badge-of-{user}"):
            self.stack.s3.put_object(Bucket="app-files", Key=key, Body=b"image")

    def _put(self, table: str, **attributes: str) -> None:
        item = {name: {"S": value} for name, value in attributes.items()}
        self.stack.dynamodb.put_item(TableName=f"app-{table}", Item=item)

    def left(self, user: str) -> set[str]:
        """What is there of somebody who has not been given another address."""
        places = (("people", f"acme#{user}"), ("sessions", f"acme#{user}@"), ("newsletters", f"acme#{user}@"))
        left = {
            table
            for table, start in places
            for item in self.stack.items(f"app-{table}")
            if any(attribute["S"].startswith(start) for attribute in item.values())
        }
        keys = [entry["Key"] for entry in self.stack.s3.list_object_versions(Bucket="app-files").get("Versions", [])]
        return left | {
            name for name, key in (("badges", f"badge-of-{user}"), ("folders", f"acme/{user}/cv.pdf")) if key in keys
        }

    def delete(self, user: str) -> int:
        return self.stack.ask(self.key, "DELETE", f"/v1/users/{user}")[0]

    def go_on(self) -> ErasureRequest:
        """What the batch lane makes of the deletion, whose own message comes when the call is surely over."""
        items = self.stack.items("Requests")
        (request_id,) = [item["request_id"]["S"] for item in items if item["pk"]["S"].startswith("REQUEST#")]
        message = json.dumps({"request_ids": [request_id], "attempt": 1})
        self.stack.sqs.send_message(QueueUrl=self.stack.batch_queue_url, MessageBody=message)
        self.stack.work()
        return self.stack.request(request_id)


EVERYTHING = {"people", "badges", "folders", "sessions", "newsletters"}


@pytest.fixture
def club(monkeypatch: pytest.MonkeyPatch) -> Iterator[Club]:
    for stack in stack_on_moto(monkeypatch):
        yield Club(stack)


def test_the_account_goes_at_once_and_what_it_led_to_is_still_found(club: Club) -> None:
    """A deletion at once takes the account, what it leads to and the sessions by its address; the newsletters, which go
    later, are found although the account that told the address is gone."""
    club.join("ann", "badge-of-ann")
    club.join("bob", "badge-of-bob")
    assert club.delete("ann") == 204
    assert club.left("ann") == {"newsletters"}
    assert (club.go_on().state, club.left("ann")) == (FINISHED, set())
    assert club.left("bob") == EVERYTHING


def test_an_account_that_points_into_anothers_folder_opens_no_door(club: Club) -> None:
    """Somebody who makes another person's file the badge of their own account, and asks to be deleted: the file stays,
    nobody is told that all is gone, and what points there stays for those who look into it."""
    club.join("bob", "badge-of-bob")
    club.join("eve", "acme/bob/cv.pdf")
    assert club.delete("eve") != 204
    assert club.left("bob") == EVERYTHING
    assert club.left("eve") == {"people", "badges", "newsletters"}
    request = club.go_on()
    reasons = {told.target: told.reason for told in request.outcomes if told.reason}
    assert (request.state, request.attention) == (STARTED, True)
    assert reasons == {"badges": "ambiguous_identifier", "people": "children_failed"}
    assert club.left("bob") == EVERYTHING


def test_an_address_that_would_reach_into_another_tenant_is_refused(club: Club) -> None:
    """An address with the sign that separates tenants names nobody else: it stands behind the tenant, whole."""
    club.join("eve", "badge-of-eve", email="x#bob@example.com")
    club.join("bob", "badge-of-bob")
    assert club.delete("eve") == 204
    assert club.go_on().state == FINISHED
    assert club.left("bob") == EVERYTHING
