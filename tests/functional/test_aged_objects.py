"""Objects that go because they are old: versions, delete markers and locks, on the strict in-memory S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.subject import Subject
from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from erasure.targets.s3 import S3Target
from tests.contract.s3_engines import Engine
from tests.contract.s3_fake import OWNER, Bucket, FakeS3, Version, error, on
from tests.fake_clock_stores import FakeHoldStore
from tests.functional.aged_items import KEY, OLD, RUN, YOUNG, hold_of, in_a_run, reporting

pytest_plugins = ["tests.contract.dynamodb_engines", "tests.contract.s3_engines"]
pytestmark = pytest.mark.timeout(60)

BUCKET = "app-documents"
SPEC = TargetSpec("uploads", "content", s3=S3Rule(BUCKET, prefix="up/{tenant_id}/{user_id}/"))
AVATARS = TargetSpec("avatars", "content", s3=S3Rule(BUCKET, key="avatars/{user_id}"))
LATER = format_time(datetime.now(UTC) + timedelta(days=30))


def old(version_id: str, **more: Any) -> Version:
    return Version(version_id, modified=format_time(OLD), **more)


def young(version_id: str, **more: Any) -> Version:
    return Version(version_id, modified=format_time(YOUNG), **more)


class World:
    def __init__(self, fake_s3: FakeS3, engine: Engine) -> None:
        self.fake, self.engine, self.holds = fake_s3, engine, FakeHoldStore()
        self.bucket = fake_s3.buckets.setdefault(BUCKET, Bucket(versioning="Enabled", has_locks=True))

    def target(self, **options: Any) -> S3Target:
        use: dict[str, Any] = {"holds": self.holds, "digest_key": lambda: KEY, "sleep": lambda _: None, **options}
        return self.engine.target(**use)

    def put(self, key: str, *versions: Version) -> None:
        """Newest first."""
        self.bucket.keys[key] = list(versions)

    def left(self) -> dict[str, list[str]]:
        return {key: [version.version_id for version in versions] for key, versions in self.bucket.keys.items()}

    def erase(self, spec: TargetSpec, seconds: float = 60, **options: Any) -> SliceResult:
        (result,) = self.target(**options).erase(spec, RUN, Deadline(seconds))
        return result

    def verify(self, spec: TargetSpec, seconds: float = 60, **options: Any) -> VerifyResult:
        (result,) = self.target(**options).verify(spec, RUN, Deadline(seconds))
        return result


@pytest.fixture
def world(fake_s3: FakeS3, fake_engine: Engine) -> World:
    return World(fake_s3, fake_engine)


def run(spec: TargetSpec = SPEC, *others: TargetSpec) -> TargetSpec:
    return in_a_run(spec, *others, attribute=None)


def test_old_versions_go_whosever_they_are(world: World) -> None:
    """Every version that was written before the cut-off goes, current or not; younger ones stay."""
    world.put("up/acme/ann/a", young("3"), old("2"), old("1"))
    world.put("up/acme/bob/b", old("4"))
    world.put("up/other/bob/c/d", young("5"))
    assert world.erase(run()) == SliceResult(3, done=True)
    assert world.left() == {"up/acme/ann/a": ["3"], "up/other/bob/c/d": ["5"]}
    assert world.verify(run()) == VerifyResult(0, complete=True)


def test_keys_of_another_form_stay(world: World) -> None:
    """A key that is not of the template, or of a value that is nobody's id, stays however old it is."""
    keys = ["up/acme", "up/acme/ann", "up//ann/x", "up/acme// ", "up/acme/ /x", "down/acme/ann/x", "up/a/\u0085/x", "u"]
    for key in keys:
        world.put(key, old("1"))
    assert world.erase(run()) == SliceResult(0, done=True)
    assert world.erase(run(AVATARS)) == SliceResult(0, done=True)
    assert set(world.left()) == set(keys)


def test_what_may_be_anothers_by_another_target_stays(world: World) -> None:
    """Everybody's archive is not the old files of a user called archive."""
    archive = TargetSpec("archive", "record", s3=S3Rule(BUCKET, prefix="up/{tenant_id}/archive/{user_id}/"))
    world.put("up/acme/archive/ann/a", old("1"))
    world.put("up/acme/ann/a", old("2"))
    assert world.erase(run(SPEC, archive)) == SliceResult(1, done=True)
    assert set(world.left()) == {"up/acme/archive/ann/a"}


def test_whole_keys_are_matched_whole(world: World) -> None:
    """A target of one key: not what begins like it with another separator's meaning, but ids may hold any character."""
    world.put("avatars/ann", old("1"))
    world.put("avatars/", old("2"))
    assert world.erase(run(AVATARS)) == SliceResult(1, done=True)
    assert set(world.left()) == {"avatars/"}


def test_a_marker_goes_when_nothing_is_beneath_it(world: World) -> None:
    """With all that it hides, or alone; never from above a version that stays, which would come back to light."""
    world.put("up/acme/ann/gone", old("2", marker=True), old("1"))
    world.put("up/acme/ann/alone", old("3", marker=True))
    world.put("up/acme/ann/locked", old("5", marker=True), old("4", hold=True))
    world.put("up/acme/ann/young marker", young("7", marker=True), old("6"))
    world.put("up/acme/ann/above", old("9", marker=True), young("8"))
    assert world.erase(run()) == SliceResult(4, done=True)
    assert world.left() == {
        "up/acme/ann/locked": ["5", "4"],
        "up/acme/ann/young marker": ["7"],
        "up/acme/ann/above": ["9", "8"],
    }
    assert world.verify(run()) == VerifyResult(0, complete=True, kept=Kept(1))


def test_locked_versions_are_kept_and_told_until_when(world: World) -> None:
    """What the bucket does not let go is no fault of the run; the rest goes."""
    world.put("up/acme/ann/a", old("1", mode="COMPLIANCE", until=LATER))
    world.put("up/acme/ann/b", old("2"))
    assert world.erase(run()) == SliceResult(1, done=True)
    assert world.verify(run()) == VerifyResult(0, complete=True, kept=Kept(1, LATER))


def test_what_is_left_is_counted(world: World) -> None:
    """The verifier counts what should have gone, by what the bucket says itself."""
    world.put("up/acme/ann/a", old("2"), old("1"))
    world.put("up/acme/ann/b", old("3", marker=True))
    world.put("up/acme/ann/c", young("4"))
    assert world.verify(run()) == VerifyResult(3, complete=True)


def test_a_report_counts_and_deletes_nothing(world: World) -> None:
    """What a report finds is what the run then takes."""
    world.put("up/acme/ann/a", old("2", marker=True), old("1"))
    world.put("up/acme/bob/b", young("4"), old("3"))
    before = world.left()
    assert world.erase(reporting(run())) == SliceResult(3, done=True)
    assert world.verify(reporting(run())) == VerifyResult(0, complete=True)
    assert world.left() == before
    assert world.fake.count("delete") == world.fake.count("delete_one") == 0
    assert world.erase(run()) == SliceResult(3, done=True)


def test_objects_of_held_people_stay(world: World) -> None:
    """Whoever a hold names keeps theirs, with markers and all; they are told as kept."""
    world.holds.put(hold_of(Subject("acme", "ann")), None)
    world.put("up/acme/ann/a", old("2", marker=True), old("1"))
    world.put("up/acme/anna/a", old("3"))
    assert world.erase(run()) == SliceResult(1, done=True)
    assert world.left() == {"up/acme/ann/a": ["2", "1"]}
    assert world.verify(run()) == VerifyResult(0, complete=True, kept=Kept(2))


def test_nothing_goes_while_nobody_can_say_who_is_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds that cannot be read, or that nobody can be asked about."""

    def held(_marks: object) -> dict[str, str]:
        raise UnavailableError("no answer")

    monkeypatch.setattr(world.holds, "held", held)
    world.put("up/acme/ann/a", old("1"))
    assert world.erase(run()) == SliceResult(0, done=False, problem="unavailable")
    assert world.verify(run()) == VerifyResult(0, complete=False, problem="unavailable")
    assert world.erase(run(), holds=None) == SliceResult(0, done=False, problem="map_mismatch", permanent=True)
    assert world.left() == {"up/acme/ann/a": ["1"]}


def test_many_pages_and_keys_that_go_over_their_end(world: World) -> None:
    """More than a listing's page, with a key whose versions lie in three of them: each is looked at once and whole."""
    ids = iter(range(10_000))
    world.put("up/acme/ann/0", *(old(str(next(ids))) for _ in range(10)))
    world.put("up/acme/ann/1", old("m", marker=True), *(old(str(next(ids))) for _ in range(2100)))
    for number in range(300):
        world.put(f"up/acme/user{number}/x", old(str(next(ids))) if number % 3 else young(str(next(ids))))
    assert world.erase(run()) == SliceResult(10 + 2101 + 200, done=True)
    assert len(world.left()) == 100


def expiring(after: int) -> Callable[[], float]:
    """A clock on which time is up after so many looks at it."""
    looks = iter(range(10**6))
    return lambda: 0.0 if next(looks) < after else 1000.0


@pytest.mark.parametrize("is_report", [True, False])
def test_a_listing_without_an_end_is_too_large(world: World, is_report: bool) -> None:
    """What one slice cannot list to its end, and takes nothing from, is told; what it takes from, goes on."""
    for number in range(2500):
        world.put(f"up/acme/user{number}/x", young(str(number)))
    spec = reporting(run()) if is_report else run()
    clock = expiring(4)
    result = world.target().erase(spec, RUN, Deadline(100, clock))
    assert result == [SliceResult(0, done=False, problem="too_large", permanent=True)]
    looked = world.target().verify(run(), RUN, Deadline(100, expiring(4)))
    assert looked == [VerifyResult(0, complete=False, problem="too_large", permanent=True)]


def test_a_short_slice_says_nothing_about_the_size(world: World) -> None:
    """Who had hardly any time cannot tell that a bucket is too large."""
    for number in range(2500):
        world.put(f"up/acme/user{number}/x", young(str(number)))
    result = world.target().erase(run(), RUN, Deadline(30, expiring(4)))
    assert result == [SliceResult(0, done=False)]


def test_a_slice_that_took_something_is_followed_by_another(world: World) -> None:
    """Time ran out after something had gone: no problem, the next one comes further, until all is gone."""
    for number in range(2500):
        world.put(f"up/acme/user{number:04d}/x", old(str(number)))
    (first,) = world.target().erase(run(), RUN, Deadline(100, expiring(7)))
    assert first.erased > 0
    assert (first.done, first.problem) == (False, None)
    assert world.erase(run()) == SliceResult(2500 - first.erased, done=True)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([error(503, "SlowDown")], SliceResult(1, done=True)),
        ([error(503, "SlowDown")] * 20, SliceResult(0, done=False, problem="throttled")),
        ([error(403, "AccessDenied")], SliceResult(0, done=False, problem="access_denied", permanent=True)),
    ],
)
def test_refused_deletions(world: World, answers: Iterable[Any], expected: SliceResult) -> None:
    """A call that is refused is made again for a while; a ban ends it."""
    world.put("up/acme/ann/a", old("1"))
    world.fake.fault = on("delete", *answers)
    assert world.erase(run()) == expected


def test_a_key_that_is_refused_keeps_no_other(world: World) -> None:
    """One key that may not be deleted is told of; the others go, and a marker above it stays."""
    world.put("up/acme/ann/a", old("2", marker=True), old("1"))
    world.put("up/acme/bob/b", old("3"))
    world.fake.errors["up/acme/ann/a"] = ("AccessDenied", "not authorized to perform")
    assert world.erase(run()) == SliceResult(1, done=False, problem="access_denied", permanent=True)
    assert world.left() == {"up/acme/ann/a": ["2", "1"]}


def test_anothers_bucket_is_not_touched(world: World) -> None:
    """A bucket of this name that belongs to another account."""
    world.bucket.owner = "999999999999"
    world.put("up/acme/ann/a", old("1"))
    result = world.erase(run(), expected_owner=OWNER)
    assert result == SliceResult(0, done=False, problem="access_denied", permanent=True)
    assert world.left() == {"up/acme/ann/a": ["1"]}
