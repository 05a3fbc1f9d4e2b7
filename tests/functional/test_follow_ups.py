"""What a finished request had to leave, through the real handlers on moto."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from erasure.domain.audit import next_entry
from erasure.domain.outcome import BLOCKED, ERASED, TargetOutcome
from erasure.domain.request import FINISHED
from erasure.domain.subject import Subject
from tests.functional.job_stack import JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def a_request_that_left_something(stack: JobStack, user: str) -> str:
    """It is finished, and what it left may go since an hour ago."""
    body = {"subjects": [{"type": "user", "id": user}]}
    _, answer = stack.ask(stack.api_key(), "POST", "/v1/erasure-requests", body)
    request_id: str = answer["requests"][0]["request"]["id"]
    stack.messages(stack.batch_queue_url)
    request, now = stack.request(request_id), datetime.now(UTC)
    assert stack.requests.start(request, now, 1, "job", 1)
    kept = TargetOutcome("files", "content", BLOCKED, 3, kept=2, until="2026-01-01T00:00:00.000Z")
    entry = next_entry(request_id, stack.audit.entries(request_id)[-1], "finished", now, {})
    due = now.replace(microsecond=0) - timedelta(hours=1)
    assert stack.requests.close(request, "job", [kept], now, entry, finished=True, attention=False, follow_up_at=due)
    return request_id


def waiting(stack: JobStack) -> list[str]:
    return [item["sk"]["S"] for item in stack.items("Requests") if item["pk"]["S"].startswith("WAITING#")]


def test_what_was_left_is_erased_when_the_account_is_gone(stack: JobStack) -> None:
    """The sweep makes a request for what was kept, whose job erases that, and nothing of others."""
    stack.put_data(Subject("acme", "anna"))
    others = stack.data()
    stack.s3.put_object(Bucket="app-files", Key="acme/ann/locked.txt", Body=b"text")
    request_id = a_request_that_left_something(stack, "ann")
    assert stack.call("retention_sweep", {})["followed"] == 1
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert stack.data() == others
    follow_up = stack.request(stack.request(request_id).followed_by or "")
    assert (follow_up.state, follow_up.categories) == (FINISHED, ("content",))
    assert stack.outcomes(follow_up.request_id)["files"].outcome == ERASED
    assert waiting(stack) == []
    assert not any(stack.call("retention_sweep", {}).values())


def test_who_is_there_keeps_everything(stack: JobStack) -> None:
    """With an account nothing is made or erased; the trail says why, and the request is not looked at again."""
    stack.put_data(Subject("acme", "ann"))
    before = stack.data()
    request_id = a_request_that_left_something(stack, "ann")
    assert not any(stack.call("retention_sweep", {}).values())
    assert stack.work() == []
    assert stack.data() == before
    last = stack.audit.entries(request_id)[-1]
    assert (last.event, last.details) == ("not_followed", {"reason": "account_exists"})
    assert stack.request(request_id).followed_by is None
    assert waiting(stack) == []
