"""Many requests in one window, through the real handlers on moto: one job, outcomes of each by itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.domain.outcome import ALREADY_ABSENT, ERASED, FAILED
from erasure.domain.request import CANCELLED, FINISHED, REQUESTED, STARTED
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from tests.functional.job_stack import JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(240)

PEOPLE = 100
NOTES = 3


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def person(number: int) -> str:
    """Ids that begin alike."""
    return f"u{number}"


def put_little(stack: JobStack, user: str, tenant: str = "acme") -> None:
    """A few notes and a file."""
    for number in range(NOTES):
        stack.dynamodb.put_item(
            TableName="app-notes", Item={"pk": {"S": f"{tenant}#{user}"}, "sk": {"S": f"{number:03d}"}}
        )
    stack.s3.put_object(Bucket="app-files", Key=f"{tenant}/{user}/a.txt", Body=b"text")


def count_calls(stack: JobStack) -> Counter[str]:
    """The calls that delete, by operation, from now on."""
    calls: Counter[str] = Counter()

    def note(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    for client, operation in ((stack.dynamodb, "BatchWriteItem"), (stack.targets["s3"]._client, "DeleteObjects")):
        client.meta.events.register(f"before-call.*.{operation}", note)
    return calls


def create(stack: JobStack, key: str, users: list[str], **more: Any) -> list[Any]:
    body = {"subjects": [{"type": "user", "id": user} for user in users], **more}
    status, answer = stack.ask(key, "POST", "/v1/erasure-requests", body)
    assert status == 202
    dispositions: list[Any] = answer["requests"]
    return dispositions


def test_a_window_is_one_job_and_neighbours_stay(stack: JobStack) -> None:
    """100 people by one call and one more by a call of their own share an execution; deleting calls are full across
    them; the one whose id cannot be named and the neighbours lose nothing."""
    users = [person(number) for number in range(PEOPLE)]
    for user in [*users, "u1000", "late"]:
        put_little(stack, user)
    put_little(stack, "u1", tenant="other")
    before = stack.data()
    key = stack.api_key()
    dispositions = create(stack, key, [*users, "u0", "a/b"])
    create(stack, key, ["late"])
    assert Counter(disposition["status"] for disposition in dispositions) == {"accepted": PEOPLE, "refused": 1}
    assert {disposition["subject"]["id"]: disposition["status"] for disposition in dispositions}["a/b"] == "refused"
    calls = count_calls(stack)
    (closed,) = stack.work()
    assert (closed["finished"], closed["attention"]) == (PEOPLE + 1, 0)
    # 303 notes in a target of at most 100 people each, 101 files likewise; what else is written goes by other calls.
    assert calls["DeleteObjects"] <= 4
    gone = before - stack.data()
    assert len(gone) == (PEOPLE + 1) * (NOTES + 1)
    left = {thing for thing in before & stack.data() if "notes" in thing or "files" in thing}
    assert len(left) == 2 * (NOTES + 1)
    for disposition in dispositions:
        if disposition["status"] == "accepted":
            outcomes = stack.outcomes(disposition["request"]["id"])
            assert (outcomes["notes"].outcome, outcomes["notes"].count) == (ERASED, NOTES)
            assert (outcomes["files"].outcome, outcomes["files"].count) == (ERASED, 1)
            assert outcomes["comments"].outcome == ALREADY_ABSENT


def test_a_target_that_fails_for_one_fails_for_nobody_else(stack: JobStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object of one person that S3 refuses to delete: attention for that person, finished for the others."""
    users = ["ann", "bob", "cem"]
    for user in users:
        put_little(stack, user)
    target = stack.targets["s3"]
    real = target.erase

    def refuse_bob(spec: Any, subjects: Any, deadline: Any, on_erased: Any = None) -> Any:
        results = real(spec, subjects, deadline, on_erased)
        blocked = [values["user_id"] == "bob" for values in subjects]
        return [
            type(result)(0, done=False, problem="blocked", permanent=True) if is_bobs else result
            for result, is_bobs in zip(results, blocked, strict=True)
        ]

    monkeypatch.setattr(target, "erase", refuse_bob)
    requests = {
        disposition["subject"]["id"]: disposition["request"]["id"]
        for disposition in create(stack, stack.api_key(), users)
    }
    (closed,) = stack.work()
    assert (closed["finished"], closed["attention"]) == (2, 1)
    assert [stack.request(requests[user]).state for user in users] == [FINISHED, STARTED, FINISHED]
    bobs = stack.outcomes(requests["bob"])
    assert (bobs["files"].outcome, bobs["files"].reason) == (FAILED, "blocked")
    assert bobs["notes"].outcome == ERASED


def test_messages_that_come_again_in_other_company_erase_nothing_twice(stack: JobStack) -> None:
    """The second job finds the requests claimed, leaves them out, and ends without touching what the first one told."""
    key = stack.api_key()
    for user in ("ann", "bob", "cem"):
        put_little(stack, user)
    create(stack, key, ["ann"])
    create(stack, key, ["bob"])
    first = stack.messages(stack.batch_queue_url)
    create(stack, key, ["cem"])
    second = [first[0], *stack.messages(stack.batch_queue_url)]
    inputs = []
    for records in (first, second):
        known = set(stack.executions())
        stack.call("start_jobs", {"Records": records})
        inputs += [json.loads(text) for name, text in stack.executions().items() if name not in known]
    planned = [stack.call("plan_job", job_input) for job_input in inputs]
    parts = [
        len({part.request_id for task in stack.tasks.tasks(plan["job_id"]) for part in task.parts}) for plan in planned
    ]
    assert parts == [2, 1]
    closed = [stack.run_job(job_input) for job_input in inputs]
    assert [answer["finished"] for answer in closed] == [2, 1]


def test_what_is_cancelled_while_its_message_travels_is_not_erased(stack: JobStack) -> None:
    """The others of its batch are."""
    key = stack.api_key()
    for user in ("ann", "bob"):
        put_little(stack, user)
    requests = [disposition["request"]["id"] for disposition in create(stack, key, ["ann", "bob"])]
    assert stack.ask(key, "POST", f"/v1/erasure-requests/{requests[0]}/cancel")[0] == 200
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert [stack.request(request_id).state for request_id in requests] == [CANCELLED, FINISHED]
    assert any("acme#ann" in thing for thing in stack.data())


def test_what_waits_is_released_when_its_time_has_come(stack: JobStack) -> None:
    """A request for later is not queued, is released by the first sweep after its time, and then erased."""
    put_little(stack, "ann")
    later = datetime.now(UTC) + timedelta(seconds=3)
    (disposition,) = create(stack, stack.api_key(), ["ann"], not_before=format_time(later))
    request_id = disposition["request"]["id"]
    stack.call("retention_sweep", {})
    assert stack.work() == []
    assert stack.request(request_id).state == REQUESTED
    stack.dynamodb.update_item(
        TableName="Requests",
        Key={"pk": {"S": f"REQUEST#{request_id}"}, "sk": {"S": "META"}},
        UpdateExpression="SET not_before = :past",
        ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000Z"}},
    )
    (waiting,) = [item for item in stack.items("Requests") if item["pk"]["S"].startswith("WAITING#")]
    stack.dynamodb.delete_item(TableName="Requests", Key={"pk": waiting["pk"], "sk": waiting["sk"]})
    past = {**waiting, "sk": {"S": f"2026-01-01T00:00:00.000Z#{request_id}"}}
    stack.dynamodb.put_item(TableName="Requests", Item=past)
    stack.call("retention_sweep", {})
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert not [item for item in stack.items("Requests") if item["pk"]["S"].startswith("WAITING#")]


def test_a_deleted_account_is_gone_at_once_and_the_rest_follows(stack: JobStack) -> None:
    """HelloJohn's deletion, workers and all: 204 with the account gone and the content still there, 404 from then on,
    and the batch lane finishes it with all counts added up."""
    ann = Subject("acme", "ann")
    stack.put_data(ann)
    key = stack.api_key()
    assert stack.ask(key, "GET", "/v1/users/ann") == (200, {"id": "ann", "status": "active"})
    assert stack.ask(key, "DELETE", "/v1/users/ann")[0] == 204
    assert not any("PROFILE" in thing for thing in stack.data())
    assert any("acme#ann" in thing for thing in stack.data())
    assert [stack.ask(key, method, "/v1/users/ann")[0] for method in ("GET", "DELETE")] == [404, 404]
    (request,) = [item for item in stack.items("Requests") if item["pk"]["S"].startswith("REQUEST#")]
    _, shown = stack.ask(key, "GET", f"/v1/erasure-requests/{request['request_id']['S']}")
    states = {target["name"]: target["state"] for target in shown["targets"]}
    assert (states["account"], states["notes"], states["files"]) == ("erased", "waiting", "waiting")
    assert stack.work() == [], "its message is delayed until the call is surely over"
    message = json.dumps({"request_ids": [request["request_id"]["S"]], "attempt": 1})
    stack.sqs.send_message(QueueUrl=stack.batch_queue_url, MessageBody=message)
    (closed,) = stack.work()
    assert closed["finished"] == 1
    outcomes = stack.outcomes(request["request_id"]["S"])
    assert (outcomes["account"].outcome, outcomes["account"].count) == (ERASED, 1)
    assert outcomes["notes"].count == 30
    assert stack.data() == set()
