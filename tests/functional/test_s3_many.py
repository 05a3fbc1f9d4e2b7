"""The S3 target for several subjects at once, on the strict in-memory S3: calls shared, fates not."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, SliceResult, Values, VerifyResult
from erasure.targets.s3 import MAX_ATTEMPTS, S3Target
from erasure.targets.s3_calls import Share, delete_versions
from erasure.targets.s3_scope import Scope
from tests.contract.s3_engines import Engine
from tests.contract.s3_fake import LOCKED, Answer, Bucket, FakeS3, Request, Version, always, document, error

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(60)

BUCKET = "app-documents"
SPEC = TargetSpec("documents", "content", s3=S3Rule(BUCKET, prefix="{tenant_id}/{user_id}/"))


@pytest.fixture
def bucket(fake_s3: FakeS3) -> Bucket:
    return fake_s3.buckets.setdefault(BUCKET, Bucket(versioning="Enabled"))


@pytest.fixture
def target(fake_engine: Engine, bucket: Bucket) -> S3Target:
    assert not bucket.keys
    return S3Target(fake_engine.client, sleep=lambda _: None)


def user(name: str) -> dict[str, str]:
    return {"tenant_id": "acme", "user_id": name}


def users(number: int) -> list[Values]:
    return [user(f"u{position:02d}") for position in range(number)]


def fill(bucket: Bucket, number: int, objects: int) -> None:
    """So many objects for each of ``users(number)``, one version each."""
    for position in range(number):
        for count in range(objects):
            bucket.keys[f"acme/u{position:02d}/{count:06d}"] = [Version(f"v{count}")]


def left(bucket: Bucket, position: int) -> int:
    """Versions and uploads of one of ``users``."""
    prefix = f"acme/u{position:02d}/"
    versions = sum(len(versions) for key, versions in bucket.keys.items() if key.startswith(prefix))
    return versions + sum(key.startswith(prefix) for key, _ in bucket.uploads)


def calls(s3: FakeS3) -> Counter[str]:
    return Counter(request.operation for request in s3.requests)


def on_prefix(operation: str, prefix: str, answer: Answer) -> Callable[[Request], Answer | None]:
    """Answer what is asked of a prefix like this."""
    return lambda r: answer if r.operation == operation and r.query.get("prefix") == prefix else None


def erase(target: S3Target, number: int) -> list[SliceResult]:
    return target.erase(SPEC, users(number), Deadline(60))


def verify(target: S3Target, number: int) -> list[VerifyResult]:
    return target.verify(SPEC, users(number), Deadline(60))


DONE_AND_COMPLETE = VerifyResult(left=0, complete=True)


# -- how many calls ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "objects", "deletes"), [(10, 150, 2), (10, 100, 1), (3, 1100, 4), (100, 5, 1)])
def test_deletes_are_full_across_subjects(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, number: int, objects: int, deletes: int
) -> None:
    """As few deletes as all entries together need, one look for uploads, and lists for each subject's pages."""
    fill(bucket, number, objects)
    assert erase(target, number) == [SliceResult(erased=objects, done=True)] * number
    assert calls(fake_s3) == Counter(list=number * -(-objects // 1000), delete=deletes, uploads=1)
    sizes = sorted(r.body.count(b"<Object>") for r in fake_s3.requests if r.operation == "delete")
    assert sizes[1:] == [1000] * (deletes - 1)
    assert not bucket.keys


def test_verifying_asks_once_for_uploads(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """One list for each subject and one more for all; what is left is told of each. One question tells that the bucket
    has no locks."""
    fill(bucket, 3, 2)
    bucket.uploads += [("acme/u01/big", "1"), ("acme/u010/big", "2"), ("acme/u05/big", "3")]
    assert [result.left for result in verify(target, 5)] == [2, 3, 2, 0, 0]
    assert calls(fake_s3) == Counter(list=5, uploads=1, retention=1)


def test_lists_side_by_side_and_no_more_than_allowed(fake_engine: Engine, fake_s3: FakeS3, bucket: Bucket) -> None:
    """Several subjects are listed at the same time, within the bound for all calls."""
    fill(bucket, 20, 10)
    met, lock, under_way, most = threading.Barrier(4, timeout=20), threading.Lock(), 0, 0

    def fault(request: Request) -> None:
        nonlocal under_way, most
        with lock:
            under_way, most = under_way + 1, max(most, under_way + 1)
        if request.operation == "list" and request.number <= 4:
            met.wait()  # the first four only get on together
        with lock:
            under_way -= 1

    # An upload listing, three deletes at most and two beside them: four lists meet, and never are there six calls.
    fake_s3.fault = fault
    assert all(result.done for result in erase(S3Target(fake_engine.client, concurrency=3), 20))
    assert 4 <= most <= 5


def test_listing_does_not_run_ahead(fake_engine: Engine, fake_s3: FakeS3, bucket: Bucket) -> None:
    """While deletes hang, only so much is listed: memory does not grow with the subjects."""
    fill(bucket, 20, 1000)
    too_far, went_too_far = threading.Event(), []

    def fault(request: Request) -> None:
        if request.operation == "list" and request.number > 8:
            too_far.set()
        elif request.operation == "delete" and request.number <= 2:
            went_too_far.append(too_far.wait(1))  # both that may be under way

    fake_s3.fault = fault
    assert all(result.done for result in erase(S3Target(fake_engine.client, concurrency=2), 20))
    assert went_too_far == [False, False]


# -- whose is what ----------------------------------------------------------------------------------------------


def test_progress_is_told_of_each(target: S3Target, bucket: Bucket) -> None:
    """What is told of a subject adds up to what its result says, and so do shares of one call."""
    fill(bucket, 5, 700)
    told = Counter[int]()

    def tell(position: int, count: int) -> None:
        assert count > 0
        told[position] += count

    results = target.erase(SPEC, users(5), Deadline(60), tell)
    assert [result.erased for result in results] == [told[position] for position in range(5)] == [700] * 5


names = st.sampled_from(["1", "10", "1 ", "1+", "100", "ann", "anna", "é", "\x01", "<&>"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(names, st.sampled_from(["a", "b", "10/a", "\x02"]), st.integers(1, 3)), max_size=25),
    st.lists(st.tuples(names, st.integers(0, 999)), max_size=6),
    st.lists(names, unique=True, max_size=5),
    st.booleans(),
)
def test_exactly_what_is_asked_for_goes(
    fake_engine: Engine,
    fake_s3: FakeS3,
    objects: list[tuple[str, str, int]],
    uploads: list[tuple[str, int]],
    asked: list[str],
    exact: bool,
) -> None:
    """Whatever there is and whoever is named: theirs goes, all else stays, and each count is right."""
    rule = S3Rule(BUCKET, key="acme/{user_id}") if exact else S3Rule(BUCKET, prefix="acme/{user_id}/")
    bucket = fake_s3.buckets[BUCKET] = Bucket(versioning="Enabled")
    for name, rest, versions in objects:
        key = f"acme/{name}" if exact else f"acme/{name}/{rest}"
        bucket.keys[key] = [Version(str(version)) for version in range(versions)]
    bucket.uploads = [(f"acme/{name}" if exact else f"acme/{name}/big", str(number)) for name, number in set(uploads)]

    def is_of(key: str, name: str) -> bool:
        return key == f"acme/{name}" if exact else key.startswith(f"acme/{name}/")

    def held(name: str) -> int:
        versions = sum(len(versions) for key, versions in bucket.keys.items() if is_of(key, name))
        return versions + sum(is_of(key, name) for key, _ in bucket.uploads)

    def others() -> tuple[set[str], set[tuple[str, str]]]:
        return (
            {key for key in bucket.keys if not any(is_of(key, name) for name in asked)},
            {upload for upload in bucket.uploads if not any(is_of(upload[0], name) for name in asked)},
        )

    there, kept = [held(name) for name in asked], others()
    spec, subjects = TargetSpec("documents", "content", s3=rule), [user(name) for name in asked]
    target = S3Target(fake_engine.client)
    assert [result.left for result in target.verify(spec, subjects, Deadline(60))] == there
    results = target.erase(spec, subjects, Deadline(60))
    assert results == [SliceResult(erased=count, done=True) for count in there]
    assert (set(bucket.keys), set(bucket.uploads)) == kept
    assert target.verify(spec, subjects, Deadline(60)) == [DONE_AND_COMPLETE] * len(asked)


def test_the_same_objects_are_counted_once(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """Two subjects for whom the rule means the same: erased once, for the first, and done for both."""
    bucket.keys |= {"shared/ann/1": [Version("1")], "shared/bob/1": [Version("1")]}
    spec = TargetSpec("shared", "content", s3=S3Rule(BUCKET, prefix="shared/{user_id}/"))
    subjects = [{"tenant_id": tenant, "user_id": "ann"} for tenant in ("acme", "umbrella")]
    assert [result.left for result in target.verify(spec, subjects, Deadline(60))] == [1, 1]
    results = target.erase(spec, subjects, Deadline(60))
    assert results == [SliceResult(erased=1, done=True), SliceResult(erased=0, done=True)]
    assert set(bucket.keys) == {"shared/bob/1"}
    bucket.keys["shared/ann/2"] = [Version("1")]
    fake_s3.errors["shared/ann/2"] = LOCKED
    assert target.erase(spec, subjects, Deadline(60)) == [SliceResult(0, done=True)] * 2


def test_nobody_is_no_call(target: S3Target, fake_s3: FakeS3) -> None:
    """Without subjects nothing is asked."""
    assert (erase(target, 0), verify(target, 0)) == ([], [])
    assert fake_s3.requests == []


def test_the_guard_looks_at_each_share(fake_engine: Engine, fake_s3: FakeS3) -> None:
    """A key in the share of somebody whose it is not stops the whole call, also if it is another one's in the call."""
    ann, bob = Scope(BUCKET, "acme/ann/", exact=False), Scope(BUCKET, "acme/bob/", exact=False)
    entry = {"Key": "acme/bob/1", "VersionId": "1"}
    with pytest.raises(TargetError, match="map_mismatch"):
        delete_versions(fake_engine.client, [Share(1, bob, [entry]), Share(0, ann, [entry])])
    elsewhere = Scope("another-bucket", "acme/bob/", exact=False)
    with pytest.raises(TargetError, match="map_mismatch"):
        delete_versions(fake_engine.client, [Share(1, bob, [entry]), Share(2, elsewhere, [entry])])
    assert fake_s3.requests == []


# -- one fails, the others do not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"tenant_id": "acme"}, "missing_value"),
        ({"tenant_id": "acme", "user_id": "u01/x"}, "ambiguous_identifier"),
        ({"tenant_id": "acme", "user_id": "u\ud800"}, "ambiguous_identifier"),
    ],
)
def test_a_subject_that_cannot_be_rendered_fails_alone(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, values: Values, code: str
) -> None:
    """No call is made for it, and the others are erased."""
    fill(bucket, 3, 2)
    subjects = [user("u00"), values, user("u02")]
    assert target.verify(SPEC, subjects, Deadline(60)) == [
        VerifyResult(2, complete=True),
        VerifyResult(0, complete=False, problem=code, permanent=True),
        VerifyResult(2, complete=True),
    ]
    assert target.erase(SPEC, subjects, Deadline(60)) == [
        SliceResult(2, done=True),
        SliceResult(0, done=False, problem=code, permanent=True),
        SliceResult(2, done=True),
    ]
    assert {key.split("/")[1] for key in bucket.keys} == {"u01"}
    assert fake_s3.count("list") == 4


@pytest.mark.parametrize(
    ("refusal", "problem", "permanent"),
    [
        (("AccessDenied", "Access Denied"), "access_denied", True),
        (("SomethingNew", ""), "rejected", False),
        (("InternalError", ""), "unavailable", False),
        (("SlowDown", ""), "throttled", False),
    ],
)
def test_refused_keys_are_their_subject_s(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, refusal: tuple[str, str], problem: str, permanent: bool
) -> None:
    """A key that is not deleted is told of its subject, although the call was everybody's."""
    fill(bucket, 10, 20)
    fake_s3.errors["acme/u03/000007"] = refusal
    results = erase(target, 10)
    assert results.pop(3) == SliceResult(19, done=False, problem=problem, permanent=permanent)
    assert results == [SliceResult(20, done=True)] * 9
    assert set(bucket.keys) == {"acme/u03/000007"}
    seen = verify(target, 10)
    assert seen.pop(3) == VerifyResult(1, complete=True)
    assert seen == [DONE_AND_COMPLETE] * 9


OUTSIDE = document(
    "ListVersionsResult",
    "<IsTruncated>false</IsTruncated><Version><Key>acme/u030/1</Key><VersionId>1</VersionId></Version>",
)


@pytest.mark.parametrize(
    ("answer", "problem", "permanent"),
    [
        (OUTSIDE, "map_mismatch", True),
        (error(403, "AccessDenied"), "access_denied", True),
        (error(500, "InternalError"), "unavailable", False),
        (error(503, "SlowDown"), "throttled", False),
        ((200, b""), "unavailable", False),
    ],
)
def test_a_prefix_that_cannot_be_listed_is_its_subject_s(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, answer: Answer, problem: str, permanent: bool
) -> None:
    """The others are erased, and seen to be gone."""
    fill(bucket, 10, 20)
    fake_s3.fault = on_prefix("list", "acme/u03/", answer)
    results = erase(target, 10)
    assert results.pop(3) == SliceResult(0, done=False, problem=problem, permanent=permanent)
    assert results == [SliceResult(20, done=True)] * 9
    assert left(bucket, 3) == 20
    seen = verify(target, 10)
    assert seen.pop(3) == VerifyResult(0, complete=False, problem=problem, permanent=permanent)
    assert seen == [DONE_AND_COMPLETE] * 9


@pytest.mark.parametrize("poisoned", [1, 2])
def test_a_call_that_one_subject_spoils_is_made_without_it(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, poisoned: int
) -> None:
    """S3 refuses a whole call without saying for whose key: the others' entries go in calls of their own."""
    fill(bucket, 10, 20)
    keys = [f"acme/u{position:02d}/000000" for position in range(poisoned)]

    def fault(request: Request) -> Answer | None:
        spoiled = request.operation == "delete" and any(key.encode() in request.body for key in keys)
        return error(400, "MalformedXML") if spoiled else None

    fake_s3.fault = fault
    results = erase(target, 10)
    assert results[:poisoned] == [SliceResult(0, done=False, problem="unavailable")] * poisoned
    assert results[poisoned:] == [SliceResult(20, done=True)] * (10 - poisoned)
    assert fake_s3.count("delete") == MAX_ATTEMPTS + 10


def test_an_error_without_a_name_confirms_nothing_for_anybody(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket
) -> None:
    """An error that names no entry may be about any subject's in the call."""
    fill(bucket, 2, 5)
    fake_s3.fault = always("delete", document("DeleteResult", "<Error><Code>InternalError</Code></Error>"))
    assert erase(target, 2) == [SliceResult(0, done=False, problem="unavailable")] * 2


# -- the bucket's problems are everybody's ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "answer", "problem", "permanent"),
    [
        ("list", error(404, "NoSuchBucket"), "target_missing", True),
        ("list", error(403, "AccessDenied"), "access_denied", True),
        ("uploads", error(404, "NoSuchBucket"), "target_missing", True),
        ("uploads", error(403, "AccessDenied"), "access_denied", True),
        ("uploads", error(503, "SlowDown"), "throttled", False),
        ("delete", error(404, "NoSuchBucket"), "target_missing", True),
        ("delete", error(403, "AccessDenied"), "access_denied", True),
        ("delete", error(503, "SlowDown"), "throttled", False),
        ("delete", error(500, "InternalError"), "unavailable", False),
    ],
)
def test_what_the_bucket_refuses_it_refuses_everybody(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, operation: str, answer: Answer, problem: str, permanent: bool
) -> None:
    """Nobody is told to be done, everybody why not, and a dead bucket is not asked for each entry."""
    fill(bucket, 30, 100)
    fake_s3.fault = always(operation, answer)
    for result in erase(target, 30):
        assert (result.done, result.problem, result.permanent) == (False, problem, permanent)
    assert fake_s3.count("delete") <= 8 * MAX_ATTEMPTS
    if operation != "delete":
        for seen in verify(target, 30):
            assert (seen.complete, seen.problem, seen.permanent) == (False, problem, permanent)


def test_forbidden_uploads_leave_no_versions(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """A role that may not look for uploads still erases everybody's objects."""
    fill(bucket, 10, 150)
    fake_s3.fault = always("uploads", error(403, "AccessDenied"))
    assert erase(target, 10) == [SliceResult(150, done=False, problem="access_denied", permanent=True)] * 10
    assert not bucket.keys


def test_a_cut_slice_never_says_done_too_early(target: S3Target, bucket: Bucket) -> None:
    """Time runs out with the first thing erased: who is told to be done has nothing left, and all is counted."""
    fill(bucket, 12, 900)
    told: list[int] = []
    deadline = Deadline(1, clock=lambda: float(len(told)))
    results = target.erase(SPEC, users(12), deadline, lambda _, count: told.append(count))
    assert sum(told) == sum(result.erased for result in results) > 0
    for position, result in enumerate(results):
        assert result.problem is None
        assert result.erased == 900 - left(bucket, position)
        assert not (result.done and left(bucket, position))
    assert not all(result.done for result in results)
    assert erase(target, 12) == [SliceResult(900 - result.erased, done=True) for result in results]


# -- one look for everybody's uploads -------------------------------------------------------------------------------


def test_uploads_are_looked_up_once_for_all(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """Everybody's uploads are aborted, those of others under the same beginning are not."""
    bucket.uploads = [(f"acme/u{position:02d}/big", "1") for position in range(20)]
    bucket.uploads += [("acme/u010/big", "1"), ("acme/u1", "1"), ("acme/u05", "1")]
    assert erase(target, 10) == [SliceResult(1, done=True)] * 10
    assert len(bucket.uploads) == 13
    assert all(left(bucket, position) == 0 for position in range(10))
    assert calls(fake_s3) == Counter(list=10, uploads=1, abort=10)
    (asked,) = [request for request in fake_s3.requests if request.operation == "uploads"]
    assert asked.query["prefix"] == "acme/u0"


@pytest.mark.parametrize(("pages", "looks"), [(3, 3), (4, 4 + 3)])
def test_too_many_uploads_of_others_are_not_looked_through(
    target: S3Target, fake_s3: FakeS3, bucket: Bucket, pages: int, looks: int
) -> None:
    """More pages than subjects: each subject's own are asked for. What is found is the same."""
    bucket.uploads = [("acme/u00/big", "1"), ("acme/u02/big", "1"), ("acme/u02/big", "2")]
    bucket.uploads += [(f"acme/u01{number:06d}/big", "1") for number in range(1000 * pages - 3)]
    assert [result.left for result in verify(target, 3)] == [1, 0, 2]
    assert fake_s3.count("uploads") == looks
    assert [result.erased for result in erase(target, 3)] == [1, 0, 2]
    assert fake_s3.count("uploads") == 2 * looks
    assert len(bucket.uploads) == 1000 * pages - 3


def test_a_look_that_is_refused_for_all_is_made_for_each(target: S3Target, fake_s3: FakeS3, bucket: Bucket) -> None:
    """A role that may only list subjects' own prefixes still aborts their uploads."""
    bucket.uploads = [("acme/u00/big", "1"), ("acme/u01/big", "1")]
    fake_s3.fault = on_prefix("uploads", "acme/u0", error(403, "AccessDenied"))
    assert verify(target, 2) == [VerifyResult(1, complete=True)] * 2
    assert erase(target, 2) == [SliceResult(1, done=True)] * 2
    assert bucket.uploads == []
