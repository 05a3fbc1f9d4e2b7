"""Unfinished uploads of a bucket that several targets of a unit have are listed once for all: on the in-memory S3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from erasure.domain.plan import Task
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, RoleRule, S3Rule, TargetSpec
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import sharing_targets
from erasure.targets.assumed import AssumedTargets, ByAccount
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from erasure.targets.s3 import S3Target
from tests.contract.s3_engines import Engine
from tests.contract.s3_fake import Answer, Bucket, FakeS3, Request, Version, always, error, on
from tests.functional.job_stack import JobStack, stack_on_moto

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(60)

FOLDERS = ("avatars", "documents", "exports")
SPECS = [
    TargetSpec(name, "content", s3=S3Rule("app-files", prefix=f"{name}/{{tenant_id}}/{{user_id}}/")) for name in FOLDERS
]
ELSEWHERE = TargetSpec("mail", "content", s3=S3Rule("app-mail", prefix="{tenant_id}/{user_id}/"))
PARTNERS = replace(SPECS[0], role=RoleRule("arn:aws:iam::123456789012:role/erasure"))
ANN = {"tenant_id": "acme", "user_id": "ann"}
GONE = VerifyResult(0, complete=True)


@pytest.fixture
def bucket(fake_s3: FakeS3) -> Bucket:
    fake_s3.buckets["app-mail"] = Bucket(versioning="Enabled")
    return fake_s3.buckets.setdefault("app-files", Bucket(versioning="Enabled"))


@pytest.fixture
def target(fake_engine: Engine, bucket: Bucket) -> S3Target:
    assert not bucket.keys
    return S3Target(fake_engine.client, sleep=lambda _: None)


def erase(target: S3Target, specs: Sequence[TargetSpec] = SPECS) -> list[SliceResult]:
    """One slice of a unit with these targets, four at a time."""
    one = target.for_unit(specs)
    return [result for (result,) in side_by_side(lambda spec: one.erase(spec, [ANN], Deadline(60)), specs, 4)]


def verify(target: S3Target, specs: Sequence[TargetSpec] = SPECS) -> list[VerifyResult]:
    one = target.for_unit(specs)
    return [result for (result,) in side_by_side(lambda spec: one.verify(spec, [ANN], Deadline(60)), specs, 4)]


def lists(s3: FakeS3) -> Counter[str]:
    return Counter(request.operation for request in s3.requests if request.operation in ("list", "uploads"))


def asked(s3: FakeS3) -> list[str]:
    return [request.query.get("prefix", "") for request in s3.requests if request.operation == "uploads"]


def test_one_list_serves_all_targets_of_a_bucket(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """A slice and a verification list uploads once each; everything of the person goes."""
    for folder in FOLDERS:
        bucket.keys[f"{folder}/acme/ann/1"] = [Version("v1")]
        bucket.uploads.append((f"{folder}/acme/ann/big", "1"))
    assert erase(target) == [SliceResult(2, done=True)] * 3
    assert (bucket.keys, bucket.uploads) == ({}, [])
    assert lists(fake_s3) == Counter(list=3, uploads=1)
    fake_s3.requests.clear()
    assert verify(target) == [GONE] * 3
    assert lists(fake_s3) == Counter(list=3, uploads=1)


def test_uploads_of_others_are_neither_aborted_nor_counted(target: S3Target, bucket: Bucket) -> None:
    """The list shows the whole bucket: what belongs to somebody else, or to a target that is not there, stays."""
    others = [
        ("avatars/acme/ann", "1"),
        ("avatars/acme/ann2/big", "1"),
        ("avatars/other/ann/big", "1"),
        ("invoices/acme/ann/big", "1"),
        ("x/avatars/acme/ann/big", "1"),
    ]
    bucket.uploads = [*others, ("exports/acme/ann/big", "1")]
    assert [result.left for result in verify(target)] == [0, 0, 1]
    assert [result.erased for result in erase(target)] == [0, 0, 1]
    assert bucket.uploads == others
    assert verify(target) == [GONE] * 3


def test_each_call_lists_anew(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """What was begun after a slice has listed is seen by the verification, and aborted by the next slice."""
    erase(target)
    bucket.uploads.append(("documents/acme/ann/late", "1"))
    assert [result.left for result in verify(target)] == [0, 1, 0]
    assert [result.erased for result in erase(target)] == [0, 1, 0]
    assert asked(fake_s3) == ["", "", ""]


def test_an_upload_that_is_completed_meanwhile_is_found_as_an_object(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket
) -> None:
    """The shared list comes first, a target's objects are listed after it."""
    one = target.for_unit(SPECS)
    assert one.verify(SPECS[0], [ANN], Deadline(60)) == [GONE]
    bucket.keys["exports/acme/ann/1"] = [Version("v1")]
    assert one.verify(SPECS[2], [ANN], Deadline(60))[0].left == 1
    assert fake_s3.count("uploads") == 1


@pytest.mark.parametrize("uploads", [999, 1000, 1001])
def test_a_bucket_full_of_uploads_is_not_looked_through(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, uploads: int
) -> None:
    """With a page of them or more, each target asks for its own, and still aborts all of these and nothing else."""
    others = [(f"aaa/{number:05d}", "1") for number in range(uploads - 1)]
    bucket.uploads = [*others, ("exports/acme/ann/big", "1")]
    assert [result.erased for result in erase(target)] == [0, 0, 1]
    assert bucket.uploads == others
    prefixes = [] if uploads < 1000 else [f"{folder}/acme/ann/" for folder in FOLDERS]
    assert sorted(asked(fake_s3)) == ["", *prefixes]


def refused_if_whole(request: Request) -> Answer | None:
    is_whole = request.operation == "uploads" and not request.query.get("prefix")
    return error(403, "AccessDenied") if is_whole else None


def test_who_may_not_list_the_whole_bucket_lists_each_prefix(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """A policy that allows some prefixes only costs one call, and nothing is missed."""
    bucket.uploads = [(f"{folder}/acme/ann/big", "1") for folder in FOLDERS]
    fake_s3.fault = refused_if_whole
    assert [result.left for result in verify(target)] == [1, 1, 1]
    assert erase(target) == [SliceResult(1, done=True)] * 3
    assert bucket.uploads == []


@pytest.mark.parametrize(
    ("answer", "problem", "permanent"),
    [
        (error(404, "NoSuchBucket"), "target_missing", True),
        (error(403, "AccessDenied"), "access_denied", True),
        (error(503, "SlowDown"), "throttled", False),
        (error(500, "InternalError"), "unavailable", False),
    ],
)
def test_uploads_that_cannot_be_listed_are_not_absent(
    target: S3Target, fake_s3: FakeS3, answer: Answer, problem: str, permanent: bool
) -> None:
    """No target is complete without them, nor done."""
    fake_s3.fault = always("uploads", answer)
    for verified in verify(target):
        assert (verified.complete, verified.problem, verified.permanent) == (False, problem, permanent)
    for erased in erase(target):
        assert (erased.done, erased.problem, erased.permanent) == (False, problem, permanent)


def test_a_list_that_failed_is_asked_for_again(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """Of a call whose list fails in passing, only the target that asked is incomplete."""
    bucket.uploads = [("documents/acme/ann/big", "1")]
    fake_s3.fault = on("uploads", error(503, "SlowDown"))
    one = target.for_unit(SPECS)
    results = [one.verify(spec, [ANN], Deadline(60))[0] for spec in SPECS]
    assert [(result.complete, result.left) for result in results] == [(False, 0), (True, 1), (True, 0)]


def test_a_bucket_of_one_target_is_listed_by_prefix(target: S3Target, fake_s3: FakeS3) -> None:
    """There is nobody to share with."""
    one = target.for_unit([*SPECS, ELSEWHERE])
    one.verify(ELSEWHERE, [ANN], Deadline(60))
    assert asked(fake_s3) == ["acme/ann/"]


def of_unit(targets: dict[str, AssumedTargets], *specs: TargetSpec) -> Callable[[TargetSpec], VerifyResult]:
    shared = sharing_targets([Task("job", "s3-00", number, spec, ()) for number, spec in enumerate(specs)], targets)

    def look(spec: TargetSpec) -> VerifyResult:
        (result,) = shared["s3"].verify(spec, [ANN], Deadline(60))
        return result

    return look


class Sessions:
    region = "us-east-1"

    def open(self, *_: object) -> str:
        return "session"


def test_other_accounts_and_linked_targets_share_nothing(target: S3Target, fake_s3: FakeS3) -> None:
    """A role's session sees one target's place. What an item leads to is looked at right before the item goes, so a
    unit of such targets lists anew each time."""
    by_account = ByAccount(target, lambda _session, _account: target, Sessions(), "erase")
    targets = {"s3": AssumedTargets(by_account), "dynamodb": AssumedTargets(by_account)}
    look = of_unit(targets, *SPECS, PARTNERS)
    assert [look(spec) for spec in (*SPECS, PARTNERS)] == [GONE] * 4
    assert asked(fake_s3) == ["", "avatars/acme/ann/"]
    fake_s3.requests.clear()
    parent = TargetSpec("notes", "content", dynamodb=DynamoDBRule("app-notes", KeyRule("pk", "{user_id}")))
    look = of_unit(targets, parent, *[replace(spec, for_each=parent) for spec in SPECS])
    assert [look(spec) for spec in SPECS] == [GONE] * 3
    assert asked(fake_s3) == [f"{folder}/acme/ann/" for folder in FOLDERS]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def test_a_jobs_calls_list_a_bucket_once_each(stack: JobStack) -> None:
    """Two targets of one bucket: the slice lists its uploads once, and so does the verification."""
    listed: list[str] = []
    events = stack.targets["s3"]._client.meta.events
    name = "provide-client-params.s3.ListMultipartUploads"
    events.register(name, lambda params, **_: listed.append(params["Prefix"]))
    ann = Subject("acme", "ann")
    stack.put_data(ann)
    request_id = stack.confirm(ann)
    (closed,) = stack.work()
    assert closed["finished"] == 1
    assert {"files", "avatar"} <= set(stack.outcomes(request_id))
    assert listed == ["", ""]
