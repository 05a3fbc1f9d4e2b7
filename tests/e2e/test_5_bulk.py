"""A thousand people by one call: all of them are erased, each has an outcome, and nobody else is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from local.inventory import Snapshot, Thing, take_snapshot
from local.sample import HEAVY, Person
from local.stack import Stack
from tests.e2e.calls import (
    Backend,
    audit_of,
    function_calls,
    native_body,
    wait_until_finished,
)

pytestmark = pytest.mark.stack

THINGS_EACH = 8
"""Five items, and three versions of two objects."""

FUNCTION_CALLS = 60
"""Of the one job of a thousand people; a job for each of them would take thousands."""


def items_of(person: Person) -> Iterator[tuple[str, dict[str, Any]]]:
    tenant_user = f"{person.tenant}#{person.user}"
    yield "app-accounts", {"pk": f"TENANT#{person.tenant}#USER#{person.user}", "sk": "PROFILE"}
    yield "app-documents", {"tenant_user": tenant_user, "document_id": "1"}
    yield "app-documents", {"tenant_user": tenant_user, "document_id": "2"}
    yield "app-comments", {"document_id": tenant_user, "comment_id": "1", "author": tenant_user}
    yield "app-sessions", {"session_id": f"session of {tenant_user}", "tenant_user": tenant_user}


def objects_of(person: Person) -> list[tuple[str, str, int]]:
    """Bucket, key, and how many versions."""
    place = f"{person.tenant}/{person.user}"
    return [("app-documents", f"{place}/note.txt", 2), ("app-avatars", place, 1)]


def fill(stack: Stack, persons: Sequence[Person]) -> None:
    """Write a few items and objects for each of them."""
    dynamodb, s3 = stack.client("dynamodb"), stack.client("s3")
    puts: list[tuple[str, Any]] = []
    for person in persons:
        for table, attributes in items_of(person):
            noted = {**attributes, "owner_tenant": person.tenant, "owner_user": person.user}
            item = {name: {"S": value} for name, value in noted.items()}
            puts.append((table, {"PutRequest": {"Item": item}}))

    def write(start: int) -> None:
        tables: dict[str, list[Any]] = {}
        for table, put in puts[start : start + 25]:
            tables.setdefault(table, []).append(put)
        assert not dynamodb.batch_write_item(RequestItems=tables).get("UnprocessedItems")

    def upload(person: Person) -> None:
        for bucket, key, versions in objects_of(person):
            for number in range(versions):
                s3.put_object(Bucket=bucket, Key=key, Body=f"{key} {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(0, len(puts), 25)))
        list(pool.map(upload, persons))


def without(snapshot: Snapshot, persons: Collection[Person]) -> dict[tuple[str, str, str], Thing]:
    """All things but theirs."""
    keys = {(bucket, key) for person in persons for bucket, key, _ in objects_of(person)}
    return {
        identity: thing
        for identity, thing in snapshot.things.items()
        if thing.owner not in persons and (thing.container, thing.name.partition("\0")[0]) not in keys
    }


def snapshot(stack: Stack) -> Snapshot:
    return take_snapshot(stack, trust_etags_of=HEAVY)


def neighbours_of(persons: Sequence[Person]) -> list[Person]:
    """Who could be mistaken for some of them: a longer id, and the same id in another tenant."""
    some = persons[:: len(persons) // 10]
    return [Person(p.tenant, f"{p.user}-") for p in some] + [Person(f"{p.tenant}-2", p.user) for p in some]


def check_erased(stack: Stack, before: Snapshot, erased: Collection[Person], request_ids: Sequence[str]) -> None:
    """Everything of these is gone by one job, nothing else has changed, and each outcome counts what there was."""
    assert len(before.things) - len(without(before, erased)) == THINGS_EACH * len(erased)
    requests = wait_until_finished(stack, request_ids, seconds=600)
    after = snapshot(stack)
    assert after.things == without(before, erased)
    counted = {
        sum(outcome.count for outcome in request.outcomes if outcome.outcome == "erased") for request in requests
    }
    assert counted == {THINGS_EACH}
    for request_id in request_ids[::200]:
        entries = audit_of(stack).entries(request_id)
        assert [entry.event for entry in entries] == ["requested", "planned", "finished"]
        assert broken_at(entries) is None
    (job_id,) = {request.job_id for request in requests}
    assert job_id is not None
    calls = function_calls(stack, job_id)
    print(f"one execution, {calls} calls of functions")
    assert calls <= FUNCTION_CALLS


def test_thousand_people_by_one_native_call(stack: Stack) -> None:
    """1,000 different ids and some twice: each is answered once, two cannot be named safely, the others are erased by
    one execution. The same call again with its key changes nothing."""
    persons = [Person("bulk-native", f"user {number}") for number in range(1, 999)]
    unsafe = [Person("bulk-native", "team/ops"), Person("bulk-native", "../user 1")]
    fill(stack, [*persons, *neighbours_of(persons)])
    before = snapshot(stack)
    backend = Backend(stack, "bulk-native", "erasure:write")
    body = native_body([*persons, *unsafe, *persons[:5]])
    answer = backend.call("POST", "/v1/erasure-requests", body, Idempotency_Key="once")
    assert answer.status_code == 202, answer.text[:500]
    results = answer.json()["requests"]
    assert [result["subject"]["id"] for result in results] == [person.user for person in [*persons, *unsafe]]
    assert [result["status"] for result in results] == ["accepted"] * 998 + ["refused"] * 2
    assert all("request" not in result and result["reason"] for result in results[998:])
    request_ids = [result["request"]["id"] for result in results[:998]]
    assert len(set(request_ids)) == 998
    again = backend.call("POST", "/v1/erasure-requests", body, Idempotency_Key="once")
    assert again.json()["batch_id"] == answer.json()["batch_id"]
    assert again.headers["X-Erasure-Request-Id"] == answer.headers["X-Erasure-Request-Id"]
    check_erased(stack, before, persons, request_ids)


def test_many_people_by_one_bulk_delete(stack: Stack) -> None:
    """HelloJohn's bulk call, the same way for a hundred: who was deleted before is not found, who cannot be named
    safely is refused, who stands there twice counts once; all others answer 404 at once and are erased by one
    execution."""
    persons = [Person("bulk-hellojohn", f"usr_{number}") for number in range(1, 96)]
    deleted = [Person("bulk-hellojohn", "usr_deleted"), Person("bulk-hellojohn", "usr_deleted_too")]
    backend = Backend(stack, "bulk-hellojohn", "users:write,users:read")
    path = "/v1/users/bulk-delete"
    fill(stack, [*persons, *deleted, *neighbours_of(persons)])
    first = backend.accept("POST", path, 202, {"user_ids": [person.user for person in deleted]}).json()
    wait_until_finished(stack, [result["request_id"] for result in first["results"]])
    before = snapshot(stack)
    user_ids = [person.user for person in [*persons, *deleted]]
    asked = [*user_ids, "team/ops", user_ids[0], user_ids[7]]
    results = backend.accept("POST", path, 202, {"user_ids": asked}).json()["results"]
    assert [result["user_id"] for result in results] == [*user_ids, "team/ops"]
    assert [result["status"] for result in results] == ["accepted"] * 95 + ["not_found"] * 2 + ["refused"]
    for user_id in (user_ids[0], user_ids[50], user_ids[94]):
        assert backend.call("GET", backend.user(user_id)).status_code == 404
    assert backend.call("GET", backend.user(neighbours_of(persons)[3].user)).status_code == 200
    check_erased(stack, before, persons, [result["request_id"] for result in results[:95]])
