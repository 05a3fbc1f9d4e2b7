"""The S3 target and what a bucket does not let go, on the strict in-memory S3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.domain.times import format_time
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from erasure.targets.s3 import S3Target
from tests.contract.s3_engines import Engine
from tests.contract.s3_fake import LOCKED, OWNER, Answer, Bucket, FakeS3, Request, Version, always, error
from tests.one_subject import OneSubject

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(60)

BUCKET = "app-documents"
SPEC = TargetSpec("documents", "content", s3=S3Rule(BUCKET, prefix="acme/{user_id}/"))
ANN = {"user_id": "ann"}
SOON = format_time(datetime.now(UTC) + timedelta(days=1))
LATER = format_time(datetime.now(UTC) + timedelta(days=30))
PAST = format_time(datetime.now(UTC) - timedelta(days=1))


@pytest.fixture
def bucket(fake_s3: FakeS3) -> Bucket:
    return fake_s3.buckets.setdefault(BUCKET, Bucket(versioning="Enabled", has_locks=True))


@pytest.fixture
def target(fake_engine: Engine, bucket: Bucket) -> OneSubject:
    assert not bucket.keys
    return OneSubject(S3Target(fake_engine.client, sleep=lambda _: None))


def governed(until: str) -> Version:
    return Version("1", mode="GOVERNANCE", until=until)


def compliant(until: str) -> Version:
    return Version("1", mode="COMPLIANCE", until=until)


def held(until: str = "") -> Version:
    return Version("1", mode="COMPLIANCE" if until else "", until=until, hold=True)


def put(bucket: Bucket, *versions: Version) -> None:
    bucket.keys |= {f"acme/ann/{number:06d}": [version] for number, version in enumerate(versions)}


def erase(target: OneSubject) -> SliceResult:
    return target.erase(SPEC, ANN, Deadline(60))


def verify(target: OneSubject) -> VerifyResult:
    return target.verify(SPEC, ANN, Deadline(60))


def is_of_version(number: int, operation: str, answer: Answer) -> Callable[[Request], Answer | None]:
    key = f"acme/ann/{number:06d}"
    return lambda request: answer if (request.operation, request.key) == (operation, key) else None


# -- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        ([governed(SOON)], Kept(1, SOON)),
        ([compliant(SOON)], Kept(1, SOON)),
        ([governed(LATER), compliant(SOON)], Kept(2, LATER)),
        ([held()], Kept(1, None)),
        ([held(SOON)], Kept(1, None)),
        ([governed(LATER), held(), compliant(SOON)], Kept(3, None)),
        ([governed(PAST)], Kept()),
        ([governed(PAST), compliant(SOON)], Kept(1, SOON)),
    ],
)
def test_what_is_locked_is_kept_until_the_last_lock_ends(
    target: OneSubject, bucket: Bucket, versions: list[Version], kept: Kept
) -> None:
    """The rest goes, the locked ones stay and are told with the latest date, or none under a legal hold."""
    put(bucket, *versions, Version("1"), Version("1", marker=True))
    total = len(versions) + 2
    assert erase(target) == SliceResult(erased=total - kept.count, done=True)
    assert verify(target) == VerifyResult(left=0, complete=True, kept=kept)
    assert sum(len(versions) for versions in bucket.keys.values()) == kept.count
    assert erase(target) == SliceResult(erased=0, done=True)


def test_a_lock_that_ends_lets_go(fake_engine: Engine, target: OneSubject, bucket: Bucket) -> None:
    """When its time has passed the version is left, not kept, and the next slice erases it."""
    put(bucket, governed(SOON))
    after = S3Target(fake_engine.client, now=lambda: datetime.now(UTC) + timedelta(days=2))
    assert OneSubject(after).verify(SPEC, ANN, Deadline(60)) == VerifyResult(left=1, complete=True)
    assert verify(target) == VerifyResult(left=0, complete=True, kept=Kept(1, SOON))
    bucket.keys["acme/ann/000000"][0].until = PAST
    assert erase(target) == SliceResult(erased=1, done=True)
    assert verify(target) == VerifyResult(left=0, complete=True)


def test_what_is_not_locked_is_left_beside_what_is(target: OneSubject, bucket: Bucket) -> None:
    """A version, a marker and an upload that came later are no lock's, however many locks there are."""
    put(bucket, governed(SOON), Version("1"), Version("1", marker=True), held())
    bucket.uploads.append(("acme/ann/big", "1"))
    assert verify(target) == VerifyResult(left=3, complete=True, kept=Kept(2, None))


def test_nobody_else_s_locks_are_told(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """A neighbour's locked version is neither asked about nor counted."""
    bucket.keys["acme/anna/1"] = [governed(SOON)]
    assert verify(target) == VerifyResult(left=0, complete=True)
    assert fake_s3.count("retention") == 0


def test_locks_are_each_subject_s_own(fake_engine: Engine, bucket: Bucket) -> None:
    """Several subjects at once: each is told of its own locks only."""
    bucket.keys |= {"acme/ann/1": [governed(SOON)], "acme/bob/1": [Version("1")], "acme/eve/1": [held(), Version("2")]}
    target, subjects = S3Target(fake_engine.client), [{"user_id": name} for name in ("ann", "bob", "eve", "kim")]
    assert target.erase(SPEC, subjects, Deadline(60)) == [SliceResult(count, done=True) for count in (0, 1, 1, 0)]
    assert target.verify(SPEC, subjects, Deadline(60)) == [
        VerifyResult(0, complete=True, kept=kept) for kept in (Kept(1, SOON), Kept(), Kept(1, None), Kept())
    ]


@pytest.mark.parametrize(("number", "kept"), [(999, Kept(999, SOON)), (2500, Kept(1000, None, more=True))])
def test_only_so_many_locks_are_looked_at(
    target: OneSubject, bucket: Bucket, fake_s3: FakeS3, number: int, kept: Kept
) -> None:
    """Beyond a bound they are "more", and nobody claims to know when the last of them ends."""
    put(bucket, *[governed(SOON)] * number)
    assert verify(target) == VerifyResult(left=0, complete=True, kept=kept)
    assert fake_s3.count("retention") == kept.count + 1  # the first one is asked about twice


def test_more_than_a_page_is_told_as_more(target: OneSubject, bucket: Bucket) -> None:
    """What is left is counted up to a bound, and said to be more."""
    put(bucket, *[Version("1")] * 2500)
    assert verify(target) == VerifyResult(left=1000, complete=True, more=True)


# -- never around a lock ----------------------------------------------------------------------------------------------


def test_governance_is_never_bypassed(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """No call asks for it: also who might is not asked to."""
    put(bucket, governed(SOON))
    bucket.keys["acme/ann/\x01"] = [governed(SOON)]
    bucket.uploads.append(("acme/ann/big", "1"))
    erase(target)
    verify(target)
    assert {"delete", "delete_one", "abort", "retention"} <= {request.operation for request in fake_s3.requests}
    assert not [name for request in fake_s3.requests for name in request.headers if "bypass" in name]


def test_a_mixed_answer_is_taken_apart(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """Deleted, locked and forbidden in one answer: each as it is, the ban is told and nothing else is counted."""
    put(bucket, *[Version("1")] * 8, governed(SOON), held())
    fake_s3.errors["acme/ann/000003"] = ("AccessDenied", "Access Denied")
    told: list[int] = []
    with pytest.raises(TargetError) as caught:
        target.erase(SPEC, ANN, Deadline(60), told.append)
    assert (caught.value.code, caught.value.permanent, sum(told)) == ("access_denied", True, 7)
    assert verify(target) == VerifyResult(left=1, complete=True, kept=Kept(2, None))


def test_locks_among_thousands_hold_nothing_else_up(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """Every tenth version is locked: all others go, with no call more."""
    put(bucket, *[governed(SOON) if number % 10 == 0 else Version("1") for number in range(3000)])
    assert erase(target) == SliceResult(erased=2700, done=True)
    assert fake_s3.count("delete") == 3
    assert verify(target) == VerifyResult(left=0, complete=True, kept=Kept(300, SOON))


# -- what cannot be told -----------------------------------------------------------------------------------------


def test_a_bucket_without_locks_is_asked_once(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """What S3 refused and nothing locks is left; one answer tells that there are no locks."""
    bucket.has_locks = False
    put(bucket, *[Version("1")] * 500)
    fake_s3.errors["acme/ann/000003"] = LOCKED
    assert erase(target) == SliceResult(erased=499, done=True)
    assert verify(target) == VerifyResult(left=1, complete=True)
    put(bucket, *[Version("1")] * 500)
    assert verify(target) == VerifyResult(left=500, complete=True)
    assert Counter(request.operation for request in fake_s3.requests)["retention"] == 2


@pytest.mark.parametrize("operation", ["retention", "legal_hold"])
def test_what_may_not_be_asked_about_is_left(
    target: OneSubject, bucket: Bucket, fake_s3: FakeS3, operation: str
) -> None:
    """Without the permission to ask nothing counts as kept."""
    put(bucket, *[governed(SOON)] * 5)
    fake_s3.fault = always(operation, error(403, "AccessDenied"))
    assert verify(target) == VerifyResult(left=5, complete=True)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (error(503, "SlowDown"), "throttled"),
        (error(500, "InternalError"), "unavailable"),
        ((200, b"the object itself"), "unavailable"),
    ],
)
@pytest.mark.parametrize("operation", ["retention", "legal_hold"])
def test_no_answer_is_no_verdict(
    target: OneSubject, bucket: Bucket, fake_s3: FakeS3, operation: str, answer: Answer, problem: str
) -> None:
    """One lock that cannot be asked about now: the look is not complete, and may be repeated."""
    put(bucket, *[governed(SOON)] * 5)
    fake_s3.fault = is_of_version(3, operation, answer)
    with pytest.raises(TargetError) as caught:
        verify(target)
    assert (caught.value.code, caught.value.permanent) == (problem, False)
    fake_s3.fault = lambda _: None
    assert verify(target) == VerifyResult(left=0, complete=True, kept=Kept(5, SOON))


@pytest.mark.parametrize("body", [b"", b"<html>Welcome</html>"])
def test_an_answer_that_is_none_locks_nothing(target: OneSubject, bucket: Bucket, fake_s3: FakeS3, body: bytes) -> None:
    """Only S3's own word makes a version kept."""
    put(bucket, governed(SOON))
    fake_s3.fault = always("retention", (200, body))
    assert verify(target) == VerifyResult(left=1, complete=True)


def test_time_runs_out_while_asking(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """Nothing is asked after the deadline, and the look does not claim to be complete."""
    put(bucket, *[governed(SOON)] * 50)
    deadline = Deadline(1, clock=lambda: float(fake_s3.count("legal_hold") // 5))
    seen = target.verify(SPEC, ANN, deadline)
    assert (seen.left, seen.complete) == (0, False)
    assert fake_s3.count("legal_hold") < 50


# -- somebody else's bucket -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_every_call_says_whose_bucket_it_has_to_be(
    fake_engine: Engine, fake_s3: FakeS3, bucket: Bucket, exact: bool
) -> None:
    """Lists, deletes of either kind, uploads, their removal and questions about locks: none goes without."""
    rule = S3Rule(BUCKET, key="acme/{user_id}") if exact else S3Rule(BUCKET, prefix="acme/{user_id}/")
    spec, ending = TargetSpec("documents", "content", s3=rule), "" if exact else "/1"
    for name in ("ann", "bob", "eve\x01"):
        bucket.keys[f"acme/{name}{ending}"] = [Version("2"), governed(SOON)]
        bucket.uploads.append((f"acme/{name}{ending}", "1"))
    target = S3Target(fake_engine.client, expected_owner=OWNER)
    for subjects in ([ANN], [{"user_id": "bob"}, {"user_id": "eve\x01"}]):
        assert all(result.done for result in target.erase(spec, subjects, Deadline(60)))
        assert all(seen.kept == Kept(1, SOON) for seen in target.verify(spec, subjects, Deadline(60)))
    operations = {request.operation for request in fake_s3.requests}
    assert operations == {"list", "uploads", "delete", "delete_one", "abort", "retention", "legal_hold"}
    assert {request.headers.get("x-amz-expected-bucket-owner") for request in fake_s3.requests} == {OWNER}


def test_another_owner_s_bucket_is_not_touched(fake_engine: Engine, fake_s3: FakeS3, bucket: Bucket) -> None:
    """A bucket that somebody else has under this name by now is a permanent error, and loses nothing."""
    put(bucket, Version("1"), governed(SOON))
    bucket.owner = "999988887777"
    for subjects in ([ANN], [ANN, {"user_id": "bob"}]):
        target = S3Target(fake_engine.client, expected_owner=OWNER)
        for result in target.erase(SPEC, subjects, Deadline(60)):
            assert result == SliceResult(0, done=False, problem="access_denied", permanent=True)
        for seen in target.verify(SPEC, subjects, Deadline(60)):
            assert seen == VerifyResult(0, complete=False, problem="access_denied", permanent=True)
    assert (fake_s3.count("delete"), len(bucket.keys)) == (0, 2)


def test_a_bucket_whose_requester_pays_is_not_paid_for(target: OneSubject, bucket: Bucket, fake_s3: FakeS3) -> None:
    """Whoever has to say that it pays is in another account than the bucket: that is told, and nothing is touched."""
    put(bucket, Version("1"))
    bucket.payer_asks = True
    for call in (erase, verify):
        with pytest.raises(TargetError) as caught:
            call(target)
        assert (caught.value.code, caught.value.permanent) == ("access_denied", True)
    assert (fake_s3.count("delete"), len(bucket.keys)) == (0, 1)
