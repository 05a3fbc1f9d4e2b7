"""What erasing from S3 promises, on four engines. What an engine lacks stands in ``s3_engines.LACKS``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.s3_engines import (
    CARRIAGE_RETURNS,
    CONTROL_CHARACTERS,
    FOLDER_KEYS,
    NULL_MARKERS,
    RELATIVE_KEYS,
    SUSPENSION,
    Engine,
)
from tests.one_subject import OneSubject

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(180)

ODD_NAMES = [
    "plain.txt",
    "a b",
    "a+b",
    "a%20b",
    "100%",
    "é",
    "e\u0301",
    "名前/😀.txt",
    "new\nline",
    "tab\tstop",
    "<&>\"'",
    "&amp;",
    "]]>",
    "\\back",
    "a//b",
    "?x=1#y",
    "~*'()",
    " leading and trailing ",
    "/leading",
    "a///b",
    "semi;colon:,=@$",
    "|{}[]^`",
    ".hidden",
    "end.",
]

RELATIVE_NAMES = [".", "..", "./a", "../bob/a", "a/../../bob/a", "a/./b", "../../acme/bob/a"]
"""A key is no path: nothing in it leads anywhere else."""

LONGEST_KEY_BYTES = 1024


def by_prefix(bucket: str, template: str = "{tenant_id}/{user_id}/") -> TargetSpec:
    return TargetSpec("documents", "content", s3=S3Rule(bucket, prefix=template))


def by_key(bucket: str, template: str = "avatars/{user_id}") -> TargetSpec:
    return TargetSpec("avatar", "content", s3=S3Rule(bucket, key=template))


def user(user_id: str) -> dict[str, str]:
    return {"tenant_id": "acme", "user_id": user_id}


def erase(engine: Engine, spec: TargetSpec, user_id: str) -> SliceResult:
    return OneSubject(engine.target()).erase(spec, user(user_id), Deadline(60))


def verify(engine: Engine, spec: TargetSpec, user_id: str) -> VerifyResult:
    return OneSubject(engine.target()).verify(spec, user(user_id), Deadline(60))


def until_something_is_erased() -> tuple[Deadline, Callable[[int], None]]:
    """A deadline that passes with the first report of progress, and what to report it to."""
    told: list[int] = []
    return Deadline(1, clock=lambda: float(sum(told))), told.append


def test_versions_markers_and_uploads_all_go(s3: Engine) -> None:
    """Every version, every delete marker and every unfinished upload under the prefix is gone, and counted."""
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/ann/a.txt", "acme/ann/b.txt", times=2)
    s3.put(bucket, "acme/bob/a.txt")
    s3.client.delete_object(Bucket=bucket, Key="acme/ann/b.txt")
    s3.client.delete_object(Bucket=bucket, Key="acme/ann/never-there.txt")
    s3.client.create_multipart_upload(Bucket=bucket, Key="acme/ann/big.bin")
    s3.client.create_multipart_upload(Bucket=bucket, Key="acme/ann/big.bin")
    s3.client.create_multipart_upload(Bucket=bucket, Key="acme/bob/big.bin")
    there = len(s3.everything(bucket))
    told: list[int] = []
    result = OneSubject(s3.target()).erase(by_prefix(bucket), user("ann"), Deadline(60), told.append)
    assert s3.keys(bucket) == {"acme/bob/a.txt", "acme/bob/big.bin"}
    assert result == SliceResult(erased=there - 2, done=True)
    assert sum(told) == result.erased
    assert verify(s3, by_prefix(bucket), "ann") == VerifyResult(left=0, complete=True)


def test_nothing_of_a_neighbour_changes(s3: Engine) -> None:
    """Keys that only look like the subject's keep every version."""
    bucket = s3.create_bucket()
    neighbours = ["acme/1", "acme/10/a", "acme/1 /a", "acme/1+/a", "acme/1%/a", "acme/01/a", "acme2/1/a", "x/acme/1/a"]
    s3.put(bucket, *neighbours, times=2)
    s3.client.delete_object(Bucket=bucket, Key="acme/10/a")
    before = s3.everything(bucket)
    s3.put(bucket, "acme/1/a", "acme/1/10/a")
    assert erase(s3, by_prefix(bucket), "1") == SliceResult(erased=2, done=True)
    assert s3.everything(bucket) == before


@pytest.mark.parametrize("user_id", ["a+b", "a b", "a%2Fb", "jürgen", "名前", "o'neil", "<&>", "a\nb"])
def test_odd_subjects_are_told_apart(s3: Engine, user_id: str) -> None:
    """A subject's id may hold what URLs and XML treat in a special way."""
    bucket = s3.create_bucket()
    others = {"a+b", "a b", "a%2Fb", "ab", "a", "jürgen", "名前", "o'neil", "<&>", "a\nb"} - {user_id}
    s3.put(bucket, *(f"acme/{other}/file" for other in (*others, user_id)), times=2)
    assert erase(s3, by_prefix(bucket), user_id) == SliceResult(erased=2, done=True)
    assert s3.keys(bucket) == {f"acme/{other}/file" for other in others}


def test_odd_keys_go(s3: Engine) -> None:
    """Whatever an object is called below the prefix, it is erased."""
    bucket = s3.create_bucket()
    s3.put(bucket, *(f"acme/ann/{name}" for name in ODD_NAMES), times=2)
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=2 * len(ODD_NAMES), done=True)
    assert s3.everything(bucket) == set()


def test_keys_that_look_like_ways_to_somebody_else(s3: Engine) -> None:
    """Dots in a key are part of it, in bulk as well as in a URL: the one whose name they spell out keeps everything."""
    s3.needs(RELATIVE_KEYS)
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/bob/a", "acme/a", "acme/ann", times=2)
    s3.client.create_multipart_upload(Bucket=bucket, Key="acme/bob/a")
    before = s3.everything(bucket)
    s3.put(bucket, *(f"acme/ann/{name}" for name in RELATIVE_NAMES))
    for name in RELATIVE_NAMES:
        s3.client.create_multipart_upload(Bucket=bucket, Key=f"acme/ann/{name}")
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=2 * len(RELATIVE_NAMES), done=True)
    assert s3.everything(bucket) == before


@pytest.mark.parametrize("filling", ["x", "é", "😀", "&"])
def test_the_longest_keys_go(s3: Engine, filling: str) -> None:
    """Keys of 1,024 bytes, of characters of any length in UTF-8, with all their versions."""
    bucket = s3.create_bucket()
    key = "acme/ann/" + "/".join([filling * (200 // len(filling.encode()))] * 5)
    key += "y" * (LONGEST_KEY_BYTES - len(key.encode()))
    s3.put(bucket, key, "acme/bob/" + "x" * 200, times=2)
    assert verify(s3, by_prefix(bucket), "ann") == VerifyResult(left=2, complete=True)
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=2, done=True)
    assert {key[:9] for key in s3.keys(bucket)} == {"acme/bob/"}


@pytest.mark.parametrize("template", [{"prefix": "{tenant_id}/{user_id}/"}, {"key": "{tenant_id}/{user_id}/x"}])
def test_nothing_lies_under_what_is_longer_than_a_key(s3: Engine, template: dict[str, str]) -> None:
    """Whoever's ids, or whatever an item's attribute says, make more than a key can hold has nothing there, and is
    nobody else's problem."""
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/ann/x")
    rule = TargetSpec("documents", "content", s3=S3Rule(bucket, **template))
    subjects = [{"tenant_id": "acme", "user_id": user} for user in ("😀" * 256, "ann")]
    none, one = VerifyResult(left=0, complete=True), VerifyResult(left=1, complete=True)
    assert s3.target().verify(rule, subjects, Deadline(60)) == [none, one]
    results = s3.target().erase(rule, subjects, Deadline(60))
    assert results == [SliceResult(erased=0, done=True), SliceResult(erased=1, done=True)]


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        (CONTROL_CHARACTERS, "bell\x07"),
        (CONTROL_CHARACTERS, "\x01+\x1f"),
        (CARRIAGE_RETURNS, "carriage\r\nreturn\r"),
        (FOLDER_KEYS, ""),
        (FOLDER_KEYS, "folder/"),
    ],
)
def test_keys_that_not_every_engine_lists(s3: Engine, feature: str, name: str) -> None:
    """Keys that XML cannot carry, or that look like folders, are erased too."""
    s3.needs(feature)
    bucket = s3.create_bucket()
    s3.put(bucket, f"acme/ann/{name}", "acme/ann/other", times=2)
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=4, done=True)
    assert s3.everything(bucket) == set()


def test_exact_key_leaves_its_siblings(s3: Engine) -> None:
    """A key rule takes all versions of that key and of no key that begins with it."""
    bucket = s3.create_bucket()
    siblings = ["avatars/1.png", "avatars/10", "avatars/1 ", "avatars/1+", "avatars/1é", "avatars/1/x", "avatars"]
    s3.put(bucket, *siblings)
    s3.client.create_multipart_upload(Bucket=bucket, Key="avatars/10")
    before = s3.everything(bucket)
    s3.put(bucket, "avatars/1", times=3)
    s3.client.delete_object(Bucket=bucket, Key="avatars/1")
    s3.client.create_multipart_upload(Bucket=bucket, Key="avatars/1")
    assert verify(s3, by_key(bucket), "1") == VerifyResult(left=5, complete=True)
    assert erase(s3, by_key(bucket), "1") == SliceResult(erased=5, done=True)
    assert s3.everything(bucket) == before
    assert verify(s3, by_key(bucket), "1") == VerifyResult(left=0, complete=True)


def test_exact_key_that_ends_in_a_slash(s3: Engine) -> None:
    """A key like a folder is a key: what is in the folder stays."""
    s3.needs(FOLDER_KEYS)
    bucket = s3.create_bucket()
    s3.put(bucket, "home/1/", "home/1/x")
    assert erase(s3, by_key(bucket, "home/{user_id}/"), "1") == SliceResult(erased=1, done=True)
    assert s3.keys(bucket) == {"home/1/x"}


def test_unversioned_bucket(s3: Engine) -> None:
    """Objects of a bucket without versioning are erased, and no delete marker is left in their place."""
    bucket = s3.create_bucket(versioning=None)
    s3.put(bucket, "acme/ann/a", "acme/ann/b", "acme/bob/a")
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=2, done=True)
    assert s3.keys(bucket) == {"acme/bob/a"}


def test_suspended_versioning(s3: Engine) -> None:
    """Versions from before the suspension go as well as the null version and a null delete marker."""
    s3.needs(SUSPENSION)
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/ann/a", "acme/ann/b", "acme/bob/a", times=2)
    s3.set_versioning(bucket, "Suspended")
    s3.put(bucket, "acme/ann/a")
    if s3.has(NULL_MARKERS):
        s3.client.delete_object(Bucket=bucket, Key="acme/ann/b")
    there = len(s3.everything(bucket))
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=there - 2, done=True)
    assert s3.keys(bucket) == {"acme/bob/a"}
    assert verify(s3, by_prefix(bucket), "ann") == VerifyResult(left=0, complete=True)


@pytest.mark.parametrize("call", [erase, verify])
def test_missing_bucket(s3: Engine, call: Callable[[Engine, TargetSpec, str], object]) -> None:
    """A bucket that does not exist is a permanent error, never "nothing there"."""
    with pytest.raises(TargetError) as caught:
        call(s3, by_prefix("app-data-that-never-was"), "ann")
    assert (caught.value.code, caught.value.permanent) == ("target_missing", True)


@pytest.mark.parametrize("versioning", ["Enabled", None])
def test_nothing_there(s3: Engine, versioning: str | None) -> None:
    """Erasing what is not there is done, with nothing erased."""
    bucket = s3.create_bucket(versioning)
    s3.put(bucket, "acme/bob/a")
    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=0, done=True)
    assert erase(s3, by_key(bucket), "ann") == SliceResult(erased=0, done=True)
    assert verify(s3, by_prefix(bucket), "ann") == VerifyResult(left=0, complete=True)


def test_slices_continue_where_the_last_one_ended(s3: Engine) -> None:
    """More than one page of versions: a cut slice says so, verify sees what it left, the next one gets it."""
    bucket = s3.create_bucket()
    s3.put(bucket, *(f"acme/ann/{number:04d}" for number in range(700)), times=2)
    s3.put(bucket, "acme/bob/a")
    for number in range(0, 700, 10):
        s3.client.delete_object(Bucket=bucket, Key=f"acme/ann/{number:04d}")
    assert verify(s3, by_prefix(bucket), "ann").left >= 1000

    cut = OneSubject(s3.target(concurrency=1)).erase(by_prefix(bucket), user("ann"), *until_something_is_erased())
    assert cut == SliceResult(erased=1000, done=False)
    assert verify(s3, by_prefix(bucket), "ann") == VerifyResult(left=470, complete=True)

    assert erase(s3, by_prefix(bucket), "ann") == SliceResult(erased=470, done=True)
    assert verify(s3, by_prefix(bucket), "ann") == VerifyResult(left=0, complete=True)
    assert s3.keys(bucket) == {"acme/bob/a"}


def test_an_expired_deadline_begins_nothing(s3: Engine) -> None:
    """No call is made after the deadline, and the result does not claim to be complete."""
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/ann/a")
    assert OneSubject(s3.target()).erase(by_prefix(bucket), user("ann"), Deadline(0)) == SliceResult(
        erased=0, done=False
    )
    assert OneSubject(s3.target()).verify(by_prefix(bucket), user("ann"), Deadline(0)) == VerifyResult(
        left=0, complete=False
    )
    assert s3.keys(bucket) == {"acme/ann/a"}


# -- several subjects at once -------------------------------------------------------------------------------------


def test_several_subjects_at_once(s3: Engine) -> None:
    """Ids of which one begins another: each subject's things go and are counted as its own, nobody else's are."""
    bucket = s3.create_bucket()
    s3.put(bucket, "acme/2/a", "acme/11/a", "acme/1", "acme/100", times=2)
    s3.client.create_multipart_upload(Bucket=bucket, Key="acme/11/big")
    s3.client.create_multipart_upload(Bucket=bucket, Key="acme/1")
    before = s3.everything(bucket)
    s3.put(bucket, "acme/1/a", "acme/10/a", "acme/10/b", times=2)
    s3.client.delete_object(Bucket=bucket, Key="acme/10/b")
    for key in ("acme/10/big", "acme/10/big", "acme/100/big"):
        s3.client.create_multipart_upload(Bucket=bucket, Key=key)
    subjects = [user("1"), user("10"), user("100"), user("1000")]
    counts = [2, 7, 1, 0]
    seen = s3.target().verify(by_prefix(bucket), subjects, Deadline(60))
    assert seen == [VerifyResult(left=count, complete=True) for count in counts]

    told = [0] * len(subjects)

    def tell(position: int, count: int) -> None:
        told[position] += count

    results = s3.target().erase(by_prefix(bucket), subjects, Deadline(60), tell)
    assert s3.everything(bucket) == before
    assert results == [SliceResult(erased=count, done=True) for count in counts]
    assert told == counts
    seen = s3.target().verify(by_prefix(bucket), subjects, Deadline(60))
    assert seen == [VerifyResult(left=0, complete=True)] * 4


def test_exact_keys_of_several_subjects(s3: Engine) -> None:
    """Keys that begin other keys, some of subjects who are named and some of others: only the former go."""
    bucket = s3.create_bucket()
    s3.put(bucket, "avatars/11", "avatars/100", "avatars/1.png")
    s3.client.create_multipart_upload(Bucket=bucket, Key="avatars/11")
    before = s3.everything(bucket)
    s3.put(bucket, "avatars/1", "avatars/10", times=2)
    s3.client.create_multipart_upload(Bucket=bucket, Key="avatars/10")
    subjects = [user("10"), user("1"), user("2")]
    results = s3.target().erase(by_key(bucket), subjects, Deadline(60))
    assert s3.everything(bucket) == before
    assert results == [SliceResult(erased=count, done=True) for count in (3, 2, 0)]


def test_subjects_with_nothing_in_common(s3: Engine) -> None:
    """Prefixes that begin with different characters: the uploads of the whole bucket are looked through."""
    bucket = s3.create_bucket()
    for name in ("ann", "bob", "éva", "carl"):
        s3.put(bucket, f"{name}/a")
        s3.client.create_multipart_upload(Bucket=bucket, Key=f"{name}/big")
    subjects = [user("ann"), user("bob"), user("éva")]
    spec = by_prefix(bucket, "{user_id}/")
    assert s3.target().verify(spec, subjects, Deadline(60)) == [VerifyResult(left=2, complete=True)] * 3
    assert s3.target().erase(spec, subjects, Deadline(60)) == [SliceResult(erased=2, done=True)] * 3
    assert s3.keys(bucket) == {"carl/a", "carl/big"}


def test_a_missing_bucket_is_everybody_s_problem(s3: Engine) -> None:
    """Nobody's data counts as gone because the bucket cannot be found."""
    spec, subjects = by_prefix("app-data-that-never-was"), [user(name) for name in ("ann", "bob", "carl")]
    erased = s3.target().erase(spec, subjects, Deadline(60))
    assert erased == [SliceResult(0, done=False, problem="target_missing", permanent=True)] * 3
    seen = s3.target().verify(spec, subjects, Deadline(60))
    assert seen == [VerifyResult(0, complete=False, problem="target_missing", permanent=True)] * 3
