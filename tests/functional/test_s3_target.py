"""The S3 target when things go wrong, on the strict in-memory S3."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.errors import TargetError
from erasure.targets import s3_calls
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from erasure.targets.s3 import MAX_ATTEMPTS, S3Target
from erasure.targets.s3_calls import Share
from erasure.targets.s3_scope import Scope
from tests.contract.s3_engines import NO_RETRIES, Engine, make_client
from tests.contract.s3_fake import (
    ENDPOINT,
    LOCKED,
    Answer,
    Bucket,
    FakeS3,
    Request,
    Version,
    always,
    document,
    error,
    on,
)
from tests.one_subject import OneSubject

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(60)

BUCKET = "app-documents"
SPEC = TargetSpec("documents", "content", s3=S3Rule(BUCKET, prefix="{tenant_id}/{user_id}/"))
ANN = {"tenant_id": "acme", "user_id": "ann"}


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def target(fake_engine: Engine, pauses: list[float]) -> OneSubject:
    """A target on the fake that notes its pauses instead of sleeping."""
    fake_engine.create_bucket()
    return OneSubject(S3Target(fake_engine.client, sleep=pauses.append, random=lambda: 1.0))


def fill(s3: FakeS3, number: int, versions: int = 1, prefix: str = "acme/ann/") -> None:
    keys = s3.buckets.setdefault(BUCKET, Bucket(versioning="Enabled")).keys
    for position in range(number):
        keys[f"{prefix}{position:06d}"] = [Version(f"{position:06d}-{v}", marker=v % 2 == 1) for v in range(versions)]


def left(s3: FakeS3) -> int:
    return sum(len(versions) for versions in s3.buckets[BUCKET].keys.values()) + len(s3.buckets[BUCKET].uploads)


def erase(target: OneSubject, spec: TargetSpec = SPEC, seconds: float = 60) -> SliceResult:
    return target.erase(spec, ANN, Deadline(seconds))


# -- how many calls ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objects", "versions", "lists", "deletes"),
    [(0, 1, 1, 0), (1, 1, 1, 1), (1000, 1, 1, 1), (1001, 1, 2, 2), (2500, 2, 5, 5), (1200, 3, 4, 4)],
)
def test_no_call_too_many(
    target: OneSubject, fake_s3: FakeS3, objects: int, versions: int, lists: int, deletes: int
) -> None:
    """One list and one delete for a thousand versions, markers included, and one look for uploads."""
    fill(fake_s3, objects, versions)
    assert erase(target) == SliceResult(erased=objects * versions, done=True)
    calls = Counter(request.operation for request in fake_s3.requests if request.bucket == BUCKET)
    assert calls == Counter(list=lists, delete=deletes, uploads=1)


def test_short_pages_make_full_deletes(target: OneSubject, fake_s3: FakeS3) -> None:
    """S3 may list fewer than a thousand at a time; deletes are filled up all the same."""
    fill(fake_s3, 2000)
    serve = fake_s3._list
    fake_s3._list = lambda bucket, request: serve(  # type: ignore[method-assign]
        bucket, Request("list", 1, BUCKET, "", request.query | {"max-keys": "300"}, b"")
    )
    assert erase(target) == SliceResult(erased=2000, done=True)
    assert fake_s3.count("delete") == 2


def test_many_uploads_are_paged(target: OneSubject, fake_s3: FakeS3) -> None:
    """More uploads than fit into one page are all aborted, those of a neighbour are not."""
    fill(fake_s3, 0)
    fake_s3.buckets[BUCKET].uploads += [("acme/ann/big", f"{number:05d}") for number in range(1500)]
    fake_s3.buckets[BUCKET].uploads += [("acme/anna/big", "1")]
    assert erase(target) == SliceResult(erased=1500, done=True)
    assert fake_s3.buckets[BUCKET].uploads == [("acme/anna/big", "1")]


def test_deletes_overlap_up_to_the_limit(fake_engine: Engine, fake_s3: FakeS3) -> None:
    """Several deletes are under way at once, and never more than allowed."""
    fill(fake_s3, 12_000)
    met, lock, under_way, most = threading.Barrier(3, timeout=20), threading.Lock(), 0, 0

    def fault(request: Request) -> None:
        nonlocal under_way, most
        if request.operation == "delete":
            with lock:
                under_way, most = under_way + 1, max(most, under_way + 1)
            met.wait()  # nobody gets on before three are there
            with lock:
                under_way -= 1

    fake_s3.fault = fault
    assert OneSubject(S3Target(fake_engine.client, concurrency=3)).erase(SPEC, ANN, Deadline(60)).done
    assert most == 3


def test_progress_is_told_by_the_caller_s_thread(target: OneSubject, fake_s3: FakeS3) -> None:
    """Increments add up to the total and arrive in the thread that called."""
    fill(fake_s3, 3500)
    told: list[tuple[int, int]] = []
    result = target.erase(SPEC, ANN, Deadline(60), lambda erased: told.append((erased, threading.get_ident())))
    assert sum(erased for erased, _ in told) == result.erased == 3500
    assert {thread for _, thread in told} == {threading.get_ident()}
    assert len(told) > 1


# -- single keys that S3 does not delete --------------------------------------------------------------------------


def test_keys_that_fail_for_a_moment_are_repeated(target: OneSubject, fake_s3: FakeS3, pauses: list[float]) -> None:
    """A key that fails once is sent again, alone and after a pause, and counted once."""
    fill(fake_s3, 10)
    fake_s3.errors["acme/ann/000003"] = ("InternalError", "We encountered an internal error.")

    def heal(request: Request) -> None:
        if request.operation == "delete" and request.number == 2:
            fake_s3.errors.clear()

    fake_s3.fault = heal
    assert erase(target) == SliceResult(erased=10, done=True)
    assert fake_s3.count("delete") == 2
    assert fake_s3.requests[-1].body.count(b"<Object>") == 1
    assert pauses == [0.25]


@pytest.mark.parametrize(
    ("code", "problem"),
    [("InternalError", "unavailable"), ("SlowDown", "throttled"), ("ServiceUnavailable", "throttled")],
)
def test_keys_that_keep_failing_are_a_problem(
    target: OneSubject, fake_s3: FakeS3, pauses: list[float], code: str, problem: str
) -> None:
    """After a bounded number of attempts the slice ends, says why, and counts what was deleted."""
    fill(fake_s3, 10)
    fake_s3.errors["acme/ann/000003"] = (code, "")
    assert erase(target) == SliceResult(erased=9, done=False, problem=problem)
    assert fake_s3.count("delete") == MAX_ATTEMPTS
    assert pauses == sorted(pauses)
    assert len(pauses) == MAX_ATTEMPTS - 1


def test_one_stubborn_key_does_not_hold_up_the_others(target: OneSubject, fake_s3: FakeS3) -> None:
    """Everything else is erased although one key never goes."""
    fill(fake_s3, 5000)
    fake_s3.errors["acme/ann/000003"] = ("InternalError", "")
    assert erase(target) == SliceResult(erased=4999, done=False, problem="unavailable")
    assert target.verify(SPEC, ANN, Deadline(60)) == VerifyResult(left=1, complete=True)


def test_forbidden_keys_raise_after_the_rest_is_gone(target: OneSubject, fake_s3: FakeS3) -> None:
    """A key that may not be deleted is a permanent error, told when everything else has been erased."""
    fill(fake_s3, 2500)
    fake_s3.errors["acme/ann/000003"] = ("AccessDenied", "Access Denied")
    told: list[int] = []
    with pytest.raises(TargetError) as caught:
        target.erase(SPEC, ANN, Deadline(60), told.append)
    assert (caught.value.code, caught.value.permanent) == ("access_denied", True)
    assert (sum(told), left(fake_s3)) == (2499, 1)


@pytest.mark.parametrize("refusal", [LOCKED, ("ObjectLocked", ""), ("InvalidRequest", "Object is WORM protected")])
def test_locked_keys_are_left_alone(target: OneSubject, fake_s3: FakeS3, refusal: tuple[str, str]) -> None:
    """A version under Object Lock is told apart from a forbidden one; it is not tried again, and not counted."""
    fill(fake_s3, 10)
    fake_s3.errors["acme/ann/000003"] = refusal
    assert erase(target) == SliceResult(erased=9, done=True)
    assert (fake_s3.count("delete"), left(fake_s3)) == (1, 1)


@pytest.mark.parametrize("key", ["object lock", "legal hold", "worm", "retention"])
def test_a_ban_is_no_lock_whatever_the_object_is_called(target: OneSubject, fake_s3: FakeS3, key: str) -> None:
    """AWS names the object in the refusal of a policy: its name does not make it locked."""
    fill(fake_s3, 10)
    fake_s3.buckets[BUCKET].keys[f"acme/ann/{key}"] = [Version("1")]
    words = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: s3:DeleteObjectVersion on"
    fake_s3.errors[f"acme/ann/{key}"] = ("AccessDenied", f'{words} resource: "arn:aws:s3:::b/acme/ann/{key}"')
    with pytest.raises(TargetError, match="access_denied"):
        erase(target)
    assert left(fake_s3) == 1


def test_a_whole_call_that_is_refused_for_a_lock_is_not_done(target: OneSubject, fake_s3: FakeS3) -> None:
    """A lock holds single versions. A call that is refused as a whole has deleted nothing, whatever S3 says why."""
    fill(fake_s3, 10)
    fake_s3.fault = always("delete", error(403, *LOCKED))
    assert erase(target) == SliceResult(erased=0, done=False, problem="rejected")


def test_unknown_refusals_are_told(target: OneSubject, fake_s3: FakeS3) -> None:
    """An error code that nobody knows is never taken as deleted."""
    fill(fake_s3, 10)
    fake_s3.errors["acme/ann/000003"] = ("SomethingNew", "")
    assert erase(target) == SliceResult(erased=9, done=False, problem="rejected")


def test_keys_that_are_gone_are_no_problem_and_not_counted(target: OneSubject, fake_s3: FakeS3) -> None:
    """Somebody else deleted a version first: this slice did not erase it."""
    fill(fake_s3, 10)
    answer = document("DeleteResult", "<Error><Key>acme/ann/000003</Key><VersionId>000003-0</VersionId>"
                      "<Code>NoSuchVersion</Code></Error>")  # fmt: skip
    fake_s3.fault = on("delete", answer)
    assert erase(target) == SliceResult(erased=9, done=True)


@pytest.mark.parametrize(
    ("named", "erased"),
    [("<Key>acme/ann/000003</Key>", 18), ("<Key>acme/bob/1</Key><VersionId>1</VersionId>", 0), ("", 0)],
)
def test_errors_that_name_no_version_count_against_all_they_may_mean(
    target: OneSubject, fake_s3: FakeS3, named: str, erased: int
) -> None:
    """Nothing counts as deleted that an error may have been about."""
    fill(fake_s3, 10, versions=2)
    fake_s3.fault = always("delete", document("DeleteResult", f"<Error>{named}<Code>InternalError</Code></Error>"))
    assert erase(target) == SliceResult(erased=erased, done=False, problem="unavailable")


def test_a_lock_does_not_hide_a_throttle(target: OneSubject, fake_s3: FakeS3) -> None:
    """What another slice may heal is told, and the subject is not done."""
    fill(fake_s3, 10)
    fake_s3.errors |= {"acme/ann/000003": LOCKED, "acme/ann/000004": ("SlowDown", "")}
    assert erase(target) == SliceResult(erased=8, done=False, problem="throttled")


def test_keys_that_xml_cannot_carry_go_one_by_one(target: OneSubject, fake_s3: FakeS3) -> None:
    """Control characters do not fit into DeleteObjects; the other keys of the page still share one call."""
    fill(fake_s3, 5)
    keys = fake_s3.buckets[BUCKET].keys
    keys["acme/ann/\x01"] = keys["acme/ann/a\uffffb"] = [Version("1"), Version("2")]
    keys["acme/ann/\x02"] = [Version("1")]
    fake_s3.errors["acme/ann/\x02"] = LOCKED
    assert erase(target) == SliceResult(erased=9, done=True)
    assert (fake_s3.count("delete"), fake_s3.count("delete_one"), left(fake_s3)) == (1, 5, 1)


# -- calls that fail --------------------------------------------------------------------------------------------


def test_a_throttled_delete_is_repeated(target: OneSubject, fake_s3: FakeS3, pauses: list[float]) -> None:
    """503 SlowDown beyond botocore's own retries: pause, try again, erase everything."""
    fill(fake_s3, 3000)
    fake_s3.fault = on("delete", *[error(503, "SlowDown")] * 4)
    assert erase(target) == SliceResult(erased=3000, done=True)
    assert pauses


def test_endless_throttling_ends_the_slice(target: OneSubject, fake_s3: FakeS3) -> None:
    """A bucket that keeps saying slow down is left alone after a while, and the slice says throttled."""
    fill(fake_s3, 10_000)
    fake_s3.fault = always("delete", error(503, "SlowDown"))
    assert erase(target) == SliceResult(erased=0, done=False, problem="throttled")
    assert fake_s3.count("delete") <= 8 * MAX_ATTEMPTS
    assert left(fake_s3) == 10_000


def test_throttling_reduces_what_is_under_way(fake_engine: Engine, fake_s3: FakeS3) -> None:
    """Eight calls throttled together: the next one goes alone."""
    fill(fake_s3, 10_000)
    together, company = threading.Barrier(8, timeout=20), threading.Barrier(2, timeout=0.3)
    alone = threading.Event()

    def fault(request: Request) -> Answer | None:
        if request.operation != "delete":
            return None
        if request.number <= 8:
            together.wait()
            return error(503, "SlowDown")
        try:
            company.wait()
        except threading.BrokenBarrierError:
            alone.set()
        return None

    fake_s3.fault = fault
    target = OneSubject(S3Target(fake_engine.client, sleep=lambda _: None))
    assert target.erase(SPEC, ANN, Deadline(60)) == SliceResult(erased=10_000, done=True)
    assert alone.is_set()


@pytest.mark.parametrize(
    "cut",
    [ConnectionClosedError(endpoint_url=ENDPOINT), ReadTimeoutError(endpoint_url=ENDPOINT)],
)
def test_a_broken_connection_is_survived(target: OneSubject, fake_s3: FakeS3, cut: Exception) -> None:
    """A connection that breaks in the middle of a delete: repeated, and everything counted once."""
    fill(fake_s3, 3000)
    fake_s3.fault = on("delete", None, cut, cut, cut)
    assert erase(target) == SliceResult(erased=3000, done=True)
    assert left(fake_s3) == 0


def test_an_error_in_a_successful_answer_is_an_error(target: OneSubject, fake_s3: FakeS3) -> None:
    """S3 may say 200 and then fail: nothing counts as deleted until a repetition succeeds."""
    fill(fake_s3, 10)
    late = (200, error(500, "InternalError")[1])
    fake_s3.fault = on("delete", late, late, late)
    assert erase(target) == SliceResult(erased=10, done=True)
    fill(fake_s3, 10)
    fake_s3.fault = always("delete", late)
    assert erase(target) == SliceResult(erased=0, done=False, problem="unavailable")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Welcome to the hotel's wireless network</body></html>",
        b"DeleteResult",
        b"<?xml version='1.0'?><ListVersionsResult></ListVersionsResult>",
        document("DeleteResult", "<Deleted>")[1],
        document("DeleteResult", "")[1][:-5],
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_that_is_none_deletes_nothing(fake_s3: FakeS3, body: bytes, fast: bool) -> None:
    """Only a DeleteResult confirms deletions, with a plain botocore client as well."""
    client = make_client(ENDPOINT, retries=NO_RETRIES) if fast else plain_client()
    fake_s3.attach(client)
    fill(fake_s3, 10)
    fake_s3.fault = always("delete", (200, body))
    result = OneSubject(S3Target(client, sleep=lambda _: None)).erase(SPEC, ANN, Deadline(60))
    assert result == SliceResult(erased=0, done=False, problem="unavailable")


def plain_client() -> Any:
    session = botocore.session.Session()
    session.set_credentials("test", "testtest")
    config = Config(s3={"addressing_style": "path"}, region_name="us-east-1", retries=NO_RETRIES)
    return session.create_client("s3", endpoint_url=ENDPOINT, config=config)


def test_a_plain_client_erases_the_same(fake_s3: FakeS3) -> None:
    """The fast client is an improvement, not a precondition."""
    client = plain_client()
    fake_s3.attach(client)
    fill(fake_s3, 1500, versions=2)
    fake_s3.buckets[BUCKET].keys["acme/ann/a+b %\r\n<&>"] = [Version("1")]
    assert OneSubject(S3Target(client)).erase(SPEC, ANN, Deadline(60)) == SliceResult(erased=3001, done=True)
    assert left(fake_s3) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Welcome</body></html>",
        document("ListVersionsResult", "")[1],
        document("ListVersionsResult", "<IsTruncated>true</IsTruncated>")[1],
        document("ListVersionsResult", "<IsTruncated>false</IsTruncated><Version><Key>acme/ann/1</Key></Version>")[1],
        document("ListVersionsResult", "<IsTruncated>false</IsTruncated>")[1][:-5],
    ],
)
@pytest.mark.parametrize("operation", ["list", "uploads"])
def test_a_listing_that_is_none_is_not_nothing(
    target: OneSubject, fake_s3: FakeS3, body: bytes, operation: str
) -> None:
    """An answer that is no complete listing never means that nothing is there."""
    fill(fake_s3, 0)
    if operation == "uploads":
        body = body.replace(b"Version>", b"Upload>")
    fake_s3.fault = always(operation, (200, body))
    assert erase(target) == SliceResult(erased=0, done=False, problem="unavailable")
    with pytest.raises(TargetError) as caught:
        target.verify(SPEC, ANN, Deadline(60))
    assert (caught.value.code, caught.value.permanent) == ("unavailable", False)


def test_a_listing_that_does_not_move_on_ends(target: OneSubject, fake_s3: FakeS3) -> None:
    """The same page over and over is an error, not an endless loop."""
    fill(fake_s3, 0)
    fake_s3.fault = always("list", document(
        "ListVersionsResult",
        "<IsTruncated>true</IsTruncated><NextKeyMarker>acme/ann/1</NextKeyMarker>"
        "<NextVersionIdMarker>1</NextVersionIdMarker>",
    ))  # fmt: skip
    assert erase(target) == SliceResult(erased=0, done=False, problem="unavailable")


@pytest.mark.parametrize(
    ("status", "code", "expected", "permanent"),
    [
        (404, "NoSuchBucket", "target_missing", True),
        (403, "AccessDenied", "access_denied", True),
        (301, "PermanentRedirect", "unavailable", False),
        (400, "AuthorizationHeaderMalformed", "unavailable", False),
        (400, "ExpiredToken", "unavailable", False),
        (500, "InternalError", "unavailable", False),
        (503, "SlowDown", "throttled", False),
    ],
)
@pytest.mark.parametrize("operation", ["list", "uploads", "delete"])
def test_what_the_errors_of_whole_calls_mean(
    target: OneSubject, fake_s3: FakeS3, operation: str, status: int, code: str, expected: str, permanent: bool
) -> None:
    """Permanent ones raise, the others end the slice; no text names the subject or the bucket."""
    fill(fake_s3, 10)
    fake_s3.fault = always(operation, error(status, code))
    if permanent:
        with pytest.raises(TargetError) as caught:
            erase(target)
        assert (caught.value.code, caught.value.permanent) == (expected, True)
        assert not re.search("ann|acme|secret|documents", str(caught.value))
    else:
        result = erase(target)
        assert (result.done, result.problem) == (False, expected)
    if operation == "delete":
        return
    with pytest.raises(TargetError) as caught:
        target.verify(SPEC, ANN, Deadline(60))
    assert (caught.value.code, caught.value.permanent) == (expected, permanent)
    assert not re.search("ann|acme|secret|documents", str(caught.value))


def test_forbidden_uploads_raise_after_the_versions_are_gone(target: OneSubject, fake_s3: FakeS3) -> None:
    """A role that may not look for uploads still erases the objects before it says so."""
    fill(fake_s3, 1500)
    fake_s3.fault = always("uploads", error(403, "AccessDenied"))
    with pytest.raises(TargetError, match="access_denied"):
        erase(target)
    assert left(fake_s3) == 0


def test_a_page_that_fails_keeps_what_was_listed_before(target: OneSubject, fake_s3: FakeS3) -> None:
    """What the pages before a failing one named is erased: every slice gets on."""
    fill(fake_s3, 5000)
    fake_s3.fault = lambda r: error(503, "SlowDown") if r.operation == "list" and r.number > 3 else None
    assert erase(target) == SliceResult(erased=3000, done=False, problem="throttled")


def test_an_upload_that_somebody_else_finished_is_no_problem(target: OneSubject, fake_s3: FakeS3) -> None:
    """NoSuchUpload: nothing to abort any more, nothing counted."""
    fill(fake_s3, 0)
    fake_s3.buckets[BUCKET].uploads.append(("acme/ann/big", "1"))
    fake_s3.fault = on("abort", error(404, "NoSuchUpload"))
    assert erase(target) == SliceResult(erased=0, done=True)


# -- nothing but the subject's ------------------------------------------------------------------------------------


def listed(key: str) -> Answer:
    entry = f"<Version><Key>{key}</Key><VersionId>1</VersionId></Version>"
    return document("ListVersionsResult", f"<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{entry}")


@pytest.mark.parametrize("key", ["acme/anna/1", "acme/ann", "acme/bob/1", "", "ACME/ann/1", "acme%2Bann/1"])
def test_a_key_beyond_the_prefix_stops_everything(target: OneSubject, fake_s3: FakeS3, key: str) -> None:
    """Even if S3 listed it: what does not begin with the prefix is not deleted, and neither is anything after it."""
    fill(fake_s3, 10)
    fake_s3.fault = always("list", listed(key))
    with pytest.raises(TargetError) as caught:
        erase(target)
    assert (caught.value.code, caught.value.permanent) == ("map_mismatch", True)
    assert fake_s3.count("delete") == 0


@pytest.mark.parametrize("name", ["delete_versions", "delete_version", "abort_upload"])
def test_every_deleting_call_has_the_guard(fake_engine: Engine, fake_s3: FakeS3, name: str) -> None:
    """Right before deleting, keys are compared with the rule once more, whatever listed them."""
    identity = "UploadId" if name == "abort_upload" else "VersionId"
    for scope in (Scope(BUCKET, "acme/ann/", exact=False), Scope(BUCKET, "acme/anna/1/", exact=True)):
        with pytest.raises(TargetError, match="map_mismatch"):
            getattr(s3_calls, name)(fake_engine.client, [Share(0, scope, [{"Key": "acme/anna/1", identity: "1"}])])
    assert fake_s3.requests == []


@pytest.mark.parametrize(
    "rule",
    [
        S3Rule(BUCKET),
        S3Rule(BUCKET, prefix=""),
        S3Rule(BUCKET, key=""),
        S3Rule(BUCKET, prefix="documents/"),
        S3Rule(BUCKET, key="documents"),
        S3Rule(BUCKET, prefix="{tenant_id}/"),
        S3Rule(BUCKET, prefix="documents/{user_id}"),
        S3Rule(BUCKET, prefix="{user_id}"),
        S3Rule(BUCKET, prefix="{user_id}/", key="{user_id}"),
    ],
)
@pytest.mark.parametrize("method", ["erase", "verify"])
def test_rules_that_could_mean_somebody_else_are_refused(
    target: OneSubject, fake_s3: FakeS3, rule: S3Rule, method: str
) -> None:
    """No subject, no end, nothing at all: no call is made for such a rule."""
    before = len(fake_s3.requests)
    with pytest.raises(TargetError) as caught:
        getattr(target, method)(TargetSpec("documents", "content", s3=rule), ANN, Deadline(60))
    assert (caught.value.code, caught.value.permanent) == ("map_mismatch", True)
    assert len(fake_s3.requests) == before


def test_another_kind_of_target_is_refused(target: OneSubject) -> None:
    """A DynamoDB rule is none of S3's."""
    rule = DynamoDBRule("table", KeyRule("pk", "{user_id}"))
    with pytest.raises(TargetError, match="map_mismatch"):
        erase(target, TargetSpec("accounts", "account", dynamodb=rule))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"tenant_id": "acme"}, "missing_value"),
        ({"tenant_id": "acme", "user_id": ""}, "missing_value"),
        ({"tenant_id": "acme", "user_id": "ann/bob"}, "ambiguous_identifier"),
        ({"tenant_id": "acme", "user_id": "ann\ud800"}, "ambiguous_identifier"),
    ],
)
def test_unsuitable_values_are_refused(target: OneSubject, fake_s3: FakeS3, values: dict[str, str], code: str) -> None:
    """A value that is missing, or that could name somebody else, never reaches S3."""
    before = len(fake_s3.requests)
    with pytest.raises(TargetError) as caught:
        target.erase(SPEC, values, Deadline(60))
    assert (caught.value.code, caught.value.permanent) == (code, True)
    assert len(fake_s3.requests) == before


# -- time -------------------------------------------------------------------------------------------------------


def test_what_is_under_way_at_the_deadline_is_finished_and_counted(fake_engine: Engine, fake_s3: FakeS3) -> None:
    """Calls that were begun in time are waited for; none is begun afterwards."""
    fill(fake_s3, 10_000)
    now = 0.0
    begun, lock = threading.Event(), threading.Lock()

    def fault(request: Request) -> None:
        nonlocal now
        if request.operation == "delete" and request.number == 2:
            with lock:
                now = 100.0  # both are under way; time runs out
            begun.set()
        elif request.operation == "delete" and request.number == 1:
            assert begun.wait(20)

    fake_s3.fault = fault
    deadline = Deadline(50, clock=lambda: now)
    result = OneSubject(S3Target(fake_engine.client, concurrency=2)).erase(SPEC, ANN, deadline)
    assert result == SliceResult(erased=2000, done=False)
    assert fake_s3.count("delete") == 2
    assert left(fake_s3) == 8000


def test_a_pause_does_not_outlive_the_deadline(fake_engine: Engine, fake_s3: FakeS3) -> None:
    """A repetition that would begin too late is left to the next slice."""
    fill(fake_s3, 10)
    fake_s3.fault = always("delete", error(503, "SlowDown"))
    now = [0.0]
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    deadline = Deadline(1, clock=lambda: now[0])
    result = OneSubject(S3Target(fake_engine.client, sleep=sleep, random=lambda: 1.0)).erase(SPEC, ANN, deadline)
    assert not result.done
    assert sum(pauses) == pytest.approx(1.0)


def test_a_failing_report_stops_the_slice(target: OneSubject, fake_s3: FakeS3) -> None:
    """An error in ``on_erased`` (the slice was taken over) comes through, and no call is begun after it."""
    fill(fake_s3, 50_000)

    def fail(_: int) -> None:
        raise RuntimeError("taken over")

    with pytest.raises(RuntimeError, match="taken over"):
        target.erase(SPEC, ANN, Deadline(60), fail)
    assert fake_s3.count("delete") <= 9


def test_verify_stops_counting_early(target: OneSubject, fake_s3: FakeS3) -> None:
    """One page is enough to know that there is more to do."""
    fill(fake_s3, 5000)
    assert target.verify(SPEC, ANN, Deadline(60)).left >= 1000
    assert fake_s3.count("list") == 1
