"""What erasing from S3 promises where it may not delete or need not decrypt, on four engines.

What an engine lacks stands in ``s3_engines.LACKS``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.domain.times import format_time
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.s3_engines import KMS, LOCK_WORDS, OLDER_LOCKS, OTHER_OWNERS, Engine
from tests.contract.s3_fake import OWNER
from tests.one_subject import OneSubject

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(180)

ANN = {"tenant_id": "acme", "user_id": "ann"}
# Whole seconds: not every engine keeps more.
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
LATER = SOON + timedelta(days=1)
GONE_KEY = "arn:aws:kms:us-east-1:111122223333:key/0b5b1a2c-0000-4000-8000-000000000000"


def rule(bucket: str) -> TargetSpec:
    return TargetSpec("documents", "content", s3=S3Rule(bucket, prefix="{tenant_id}/{user_id}/"))


def erase(engine: Engine, bucket: str) -> SliceResult:
    return OneSubject(engine.target()).erase(rule(bucket), ANN, Deadline(60))


def verify(engine: Engine, bucket: str) -> VerifyResult:
    return OneSubject(engine.target()).verify(rule(bucket), ANN, Deadline(60))


def lockable(engine: Engine) -> str:
    """A bucket with Object Lock, with two versions of ann that nothing locks and one of bob."""
    bucket = engine.create_bucket(versioning=None, ObjectLockEnabledForBucket=True)
    engine.put(bucket, "acme/ann/a", "acme/ann/b", "acme/bob/a")
    return bucket


def put_locked(engine: Engine, bucket: str, key: str, mode: str = "", until: datetime | None = None) -> None:
    """``mode`` and ``until``, or a legal hold."""
    lock: dict[str, Any] = {"ObjectLockLegalHoldStatus": "ON"}
    if mode:
        lock = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
    engine.client.put_object(Bucket=bucket, Key=key, Body=b"x", **lock)


LOCKS = [("GOVERNANCE", SOON), ("COMPLIANCE", SOON), ("", None)]


@pytest.mark.parametrize(("mode", "until"), LOCKS)
def test_a_locked_version_stays_and_the_rest_goes(s3: Engine, mode: str, until: datetime | None) -> None:
    """What is locked in either mode or held stays and is not counted; the subject is done without it."""
    s3.needs(LOCK_WORDS)
    bucket = lockable(s3)
    put_locked(s3, bucket, "acme/ann/locked", mode, until)
    s3.client.delete_object(Bucket=bucket, Key="acme/ann/b")  # a marker, which no lock holds
    assert erase(s3, bucket) == SliceResult(erased=3, done=True)
    assert s3.keys(bucket) == {"acme/ann/locked", "acme/bob/a"}
    kept = Kept(1, format_time(until) if until else None)
    assert verify(s3, bucket) == VerifyResult(left=0, complete=True, kept=kept)


@pytest.mark.parametrize(("mode", "until"), LOCKS)
def test_locks_are_told_apart_from_what_is_left(s3: Engine, mode: str, until: datetime | None) -> None:
    """Before anything is erased: what would go, and what would stay."""
    bucket = lockable(s3)
    put_locked(s3, bucket, "acme/ann/locked", mode, until)
    s3.client.delete_object(Bucket=bucket, Key="acme/ann/b")
    kept = Kept(1, format_time(until) if until else None)
    assert verify(s3, bucket) == VerifyResult(left=3, complete=True, kept=kept)


def test_the_last_lock_counts(s3: Engine) -> None:
    """Several locks: the latest date; with a hold among them nobody knows."""
    bucket = lockable(s3)
    put_locked(s3, bucket, "acme/ann/1", "GOVERNANCE", LATER)
    put_locked(s3, bucket, "acme/ann/2", "COMPLIANCE", SOON)
    assert verify(s3, bucket).kept == Kept(2, format_time(LATER))
    put_locked(s3, bucket, "acme/ann/3")
    assert verify(s3, bucket).kept == Kept(3, None)


def test_an_older_version_may_be_locked(s3: Engine) -> None:
    """A lock holds a version, not a key: newer and older ones of the same key go."""
    s3.needs(LOCK_WORDS)
    s3.needs(OLDER_LOCKS)
    bucket = lockable(s3)
    put_locked(s3, bucket, "acme/ann/a", "GOVERNANCE", SOON)
    s3.put(bucket, "acme/ann/a")
    assert erase(s3, bucket) == SliceResult(erased=3, done=True)
    assert verify(s3, bucket) == VerifyResult(left=0, complete=True, kept=Kept(1, format_time(SOON)))


def test_a_hold_that_is_lifted_lets_go(s3: Engine) -> None:
    """Taken up again after somebody has taken the legal hold away: erased, nothing kept."""
    s3.needs(LOCK_WORDS)
    bucket = lockable(s3)
    put_locked(s3, bucket, "acme/ann/held")
    assert erase(s3, bucket) == SliceResult(erased=2, done=True)
    s3.lift_hold(bucket, "acme/ann/held")
    assert verify(s3, bucket) == VerifyResult(left=1, complete=True)
    assert erase(s3, bucket) == SliceResult(erased=1, done=True)
    assert verify(s3, bucket) == VerifyResult(left=0, complete=True)


def test_encrypted_objects_go_without_their_key(s3: Engine) -> None:
    """SSE-KMS: nothing is decrypted. Only S3 is called, and only what lists and deletes."""
    s3.needs(KMS)
    bucket = s3.create_bucket()
    for _ in range(2):
        s3.client.put_object(
            Bucket=bucket, Key="acme/ann/a", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=GONE_KEY
        )
    called = []
    s3.client.meta.events.register("request-created", lambda event_name, **_: called.append(event_name))
    assert erase(s3, bucket) == SliceResult(erased=2, done=True)
    assert verify(s3, bucket) == VerifyResult(left=0, complete=True)
    operations = {"ListObjectVersions", "ListMultipartUploads", "DeleteObjects"}
    assert set(called) == {f"request-created.s3.{operation}" for operation in operations}


def test_somebody_else_s_bucket_is_not_touched(s3: Engine) -> None:
    """A bucket of another account than expected is a permanent error, and keeps everything."""
    s3.needs(OTHER_OWNERS)
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/ann/a")
    target = s3.target(expected_owner="999988887777")
    refused = SliceResult(0, done=False, problem="access_denied", permanent=True)
    assert target.erase(rule(bucket), [ANN], Deadline(60)) == [refused]
    assert s3.keys(bucket) == {"acme/ann/a"}
    own = s3.target(expected_owner=OWNER)
    assert own.erase(rule(bucket), [ANN], Deadline(60)) == [SliceResult(1, done=True)]
