"""A request of which Object Lock keeps something, through the real handlers: an outcome that is final, and honest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from erasure.domain.outcome import BLOCKED, ERASED, FAILED, TargetOutcome
from erasure.domain.request import FINISHED, STARTED
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from erasure.targets.s3 import S3Target
from tests.contract.s3_engines import Engine
from tests.contract.s3_fake import LOCKED, Bucket, FakeS3, Version
from tests.functional.job_stack import JobStack, stack_on_moto

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(120)

ANN = Subject("acme", "ann")
SOON = format_time(datetime.now(UTC) + timedelta(days=1))
LATER = format_time(datetime.now(UTC) + timedelta(days=30))


@pytest.fixture
def bucket(fake_s3: FakeS3) -> Bucket:
    """The application's, with two free versions of Ann's and one of a neighbour's."""
    bucket = fake_s3.buckets.setdefault("app-files", Bucket(versioning="Enabled", has_locks=True))
    bucket.keys |= {"acme/ann/a": [Version("1"), Version("2")], "acme/ann2/a": [Version("1", hold=True)]}
    return bucket


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, fake_engine: Engine, bucket: Bucket) -> Iterator[JobStack]:
    assert bucket.has_locks
    for job_stack in stack_on_moto(monkeypatch):
        job_stack.targets["s3"] = S3Target(fake_engine.client, sleep=lambda _: None)
        yield job_stack


def of_files(stack: JobStack, request_id: str) -> TargetOutcome:
    return stack.outcomes(request_id)["files"]


def test_what_is_locked_is_blocked_and_the_request_is_finished(stack: JobStack, bucket: Bucket) -> None:
    """The free versions go and are counted, the locked ones are told with the date of the last, in the audit too."""
    bucket.keys["acme/ann/b"] = [Version("1", mode="COMPLIANCE", until=LATER), Version("2")]
    bucket.keys["acme/ann/c"] = [Version("1", mode="GOVERNANCE", until=SOON)]
    request_id = stack.confirm(ANN)
    assert stack.work() == [{"job_id": f"{request_id}-1", "finished": 1, "attention": 0}]
    outcome = of_files(stack, request_id)
    assert outcome == TargetOutcome("files", "content", BLOCKED, count=3, kept=2, until=LATER)
    assert stack.request(request_id).state == FINISHED
    assert outcome.to_dict() in stack.audit.entries(request_id)[-1].details["outcomes"]
    assert {key: len(versions) for key, versions in bucket.keys.items()} == {
        "acme/ann/b": 1,
        "acme/ann/c": 1,
        "acme/ann2/a": 1,
    }


def test_a_hold_has_no_date(stack: JobStack, bucket: Bucket) -> None:
    """Nobody knows when a legal hold ends, whatever else has a date."""
    bucket.keys["acme/ann/b"] = [Version("1", mode="GOVERNANCE", until=LATER), Version("2", hold=True)]
    request_id = stack.confirm(ANN)
    stack.work()
    assert of_files(stack, request_id) == TargetOutcome("files", "content", BLOCKED, count=2, kept=2, until=None)


def test_a_refusal_without_a_lock_is_never_blocked(stack: JobStack, bucket: Bucket, fake_s3: FakeS3) -> None:
    """S3 speaks of a lock, and there is none: what is there is not erased, and the request says so."""
    fake_s3.errors["acme/ann/a"] = LOCKED
    request_id = stack.confirm(ANN)
    stack.work()
    outcome = of_files(stack, request_id)
    assert (outcome.outcome, outcome.count, outcome.reason, outcome.kept) == (FAILED, 0, "still_present", 0)
    assert (stack.request(request_id).state, stack.request(request_id).attention) == (STARTED, True)
    assert len(bucket.keys["acme/ann/a"]) == 2


def test_a_ban_beside_a_lock_is_a_failure(stack: JobStack, bucket: Bucket, fake_s3: FakeS3) -> None:
    """Deleted, locked and forbidden in one answer: failed and not blocked, for a ban can be lifted by the operator."""
    bucket.keys["acme/ann/b"] = [Version("1", hold=True)]
    bucket.keys["acme/ann/c"] = [Version("1")]
    fake_s3.errors["acme/ann/c"] = ("AccessDenied", "Access Denied")
    request_id = stack.confirm(ANN)
    stack.work()
    outcome = of_files(stack, request_id)
    assert (outcome.outcome, outcome.count, outcome.reason) == (FAILED, 2, "access_denied")
    assert stack.request(request_id).attention


def test_nothing_locked_is_plainly_erased(stack: JobStack) -> None:
    """A bucket with locks, and none on what is the person's."""
    request_id = stack.confirm(ANN)
    stack.work()
    assert of_files(stack, request_id) == TargetOutcome("files", "content", ERASED, count=2)
