"""Runs by age on every S3: when each says that a version was written, and what hides what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.s3_engines import Engine
from tests.fake_clock_stores import FakeHoldStore
from tests.functional.aged_items import KEY, RUN, in_a_run

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(60)


def run(bucket: str, moment: str) -> TargetSpec:
    spec = in_a_run(TargetSpec("uploads", "content", s3=S3Rule(bucket, prefix="{user_id}/")), attribute=None)
    assert spec.retention is not None
    return replace(spec, retention=replace(spec.retention, moment=moment))


@pytest.mark.parametrize("versioning", ["Enabled", None])
def test_old_objects_go(s3: Engine, versioning: str | None) -> None:
    """By the time at which the engine says that they were written: all of them some day, and none before."""
    bucket = s3.create_bucket(versioning)
    s3.put(bucket, "ann/a", "bob/b c+d", times=2)
    s3.put(bucket, "nobody")
    s3.client.delete_object(Bucket=bucket, Key="ann/a")
    before = s3.everything(bucket)
    target = s3.target(holds=FakeHoldStore(), digest_key=lambda: KEY)
    past, future = run(bucket, "2020-01-01T00:00:00.000Z"), run(bucket, "2099-01-01T00:00:00.000Z")
    assert target.erase(past, RUN, Deadline(60)) == [SliceResult(0, done=True)]
    assert s3.everything(bucket) == before
    count = len(before) - 1
    of_markers = versioning is not None  # which are not left as long as something is beneath
    assert target.verify(future, RUN, Deadline(60)) == [VerifyResult(count - of_markers, complete=True)]
    assert target.erase(future, RUN, Deadline(60)) == [SliceResult(count, done=True)]
    assert target.verify(future, RUN, Deadline(60)) == [VerifyResult(0, complete=True)]
    assert s3.keys(bucket) == {"nobody"}
