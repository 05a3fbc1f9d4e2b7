"""Tasks that scan: all parts go through the range together, first to erase, then to verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, VERIFIED, Part, Shard, Task
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.ports import PinnedJob, PinnedMap
from erasure.services.erase_unit import MAX_STALLS, EraseUnitDependencies, erase_unit
from erasure.services.verify_unit import NextStep, VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import Deadline, Guard, OnErased, ScanRange, SliceResult, Values, VerifyResult
from tests.unit.services.linked_world import subject
from tests.unit.services.world import World

# The port's signature is kept whole.
# ruff: noqa: ARG002

JOB, UNIT = "jb_scan-2", "scan-00"
EVENTS = TargetSpec("events", "content", DynamoDBRule("events", KeyRule("user_id", "{user_id}"), scan=True))
SHARD = Shard(10, 4, 8)
_Result = TypeVar("_Result", SliceResult, VerifyResult)


@dataclass
class Scanner:
    """A target that goes through ``pace`` segments in a call; at the end of the range everybody is done.

    ``seen``: range and subjects of each call, with where it began. ``results``: by subject's id, what the next call
    answers instead; ``found``: what the verifier does. ``broken``: calls that raise.
    """

    pace: int = 2
    seen: list[tuple[int, int, int, int, tuple[str, ...]]] = field(default_factory=list)
    results: dict[str, list[SliceResult]] = field(default_factory=dict)
    found: dict[str, list[VerifyResult]] = field(default_factory=dict)
    broken: int = 0

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,
    ) -> list[SliceResult]:
        at_end = self._go_on(scan, subjects)
        plain = SliceResult(0, done=at_end)
        return [_next(self.results, values, plain) for values in subjects]

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]:
        at_end = self._go_on(scan, subjects)
        plain = VerifyResult(0, complete=at_end)
        return [_next(self.found, values, plain) for values in subjects]

    def _go_on(self, scan: ScanRange | None, subjects: Sequence[Values]) -> bool:
        assert scan is not None
        self.seen.append((scan.total, scan.first, scan.end, scan.done, tuple(each["user_id"] for each in subjects)))
        if self.broken:
            self.broken -= 1
            raise RuntimeError("ann's secret")
        scan.done = min(scan.done + self.pace, scan.end - scan.first)
        return scan.done == scan.end - scan.first

    @property
    def began(self) -> list[int]:
        """Where each call began."""
        return [done for _, _, _, done, _ in self.seen]


def _next(script: dict[str, list[_Result]], values: Values, plain: _Result) -> _Result:
    steps = script.get(values["user_id"])
    return steps.pop(0) if steps else plain


class ScanWorld(World):
    """A job with one shard of a table for ann and bob."""

    def __init__(self) -> None:
        super().__init__()
        self.scanner = Scanner()
        self.people = [self.a_request(), self.a_request(subject("bob"))]
        for request in self.people:
            assert self.requests.start(request, self.clock(), 1, JOB, 2)
        parts = tuple(Part(request.request_id) for request in self.people)
        task = Task(JOB, UNIT, 0, EVENTS, parts, shard=SHARD)
        job = PinnedJob(1, tuple(request.request_id for request in self.people))
        self.tasks.create_job(JOB, job, PinnedMap(1, "digest", (EVENTS,)), [task])

    def slice(self) -> bool:
        self.slices += 1
        use = EraseUnitDependencies(self.requests, self.tasks, {"dynamodb": self.scanner}, holds=self.holds)
        return erase_unit(JOB, UNIT, f"slice-{self.slices}", Deadline(60), use)

    def look(self) -> NextStep:
        use = VerifyUnitDependencies(self.requests, self.tasks, {"dynamodb": self.scanner}, holds=self.holds)
        return verify_unit(JOB, UNIT, Deadline(60), use)

    def to_the_end(self) -> None:
        for _ in range(60):
            self.slice()
            if not self.look().again:
                return
        raise AssertionError("the scan comes to no end")

    @property
    def task(self) -> Task:
        (task,) = self.tasks.tasks(JOB)
        return task

    @property
    def statuses(self) -> list[str]:
        return [part.status for part in self.task.parts]


@pytest.fixture
def world() -> ScanWorld:
    return ScanWorld()


def test_a_range_is_gone_through_twice(world: ScanWorld) -> None:
    """Slices go on where the last one stopped; verifying begins at the start again, and goes on in the same way."""
    assert world.slice() is True
    assert (world.statuses, world.task.cursor) == ([PENDING] * 2, 2)
    assert world.look().again
    assert (world.statuses, world.task.cursor) == ([PENDING] * 2, 2)
    assert world.slice() is False
    assert (world.statuses, world.task.cursor) == ([ERASED_UNVERIFIED] * 2, 0)
    assert world.look() == NextStep(again=True, wait=0)
    assert (world.statuses, world.task.cursor) == ([ERASED_UNVERIFIED] * 2, 2)
    assert world.slice() is False
    assert world.look().again is False
    assert world.statuses == [VERIFIED] * 2
    assert world.scanner.began == [0, 2, 0, 2]
    assert {call[:3] for call in world.scanner.seen} == {(10, 4, 8)}
    assert {call[4] for call in world.scanner.seen} == {("ann", "bob")}


def test_getting_on_is_no_stall(world: ScanWorld) -> None:
    """A long range in which nothing is found is not given up."""
    world.scanner.pace = 1
    many = Task(JOB, UNIT, 0, EVENTS, world.task.parts, shard=Shard(100, 0, 3 * MAX_STALLS))
    world.tasks.records[JOB, UNIT, 0] = many
    for _ in range(3 * MAX_STALLS):
        world.slice()
        assert {(part.stalls, part.reason) for part in world.task.parts} == {(0, None)}
    for _ in range(3 * MAX_STALLS):
        world.look()
    assert world.statuses == [VERIFIED] * 2


def test_standing_still_is_given_up(world: ScanWorld) -> None:
    """A scan that does not get on slice after slice fails with its reason."""
    world.scanner.pace = 0
    world.scanner.results = {
        name: [SliceResult(0, done=False, problem="throttled")] * MAX_STALLS for name in ("ann", "bob")
    }
    for _ in range(MAX_STALLS):
        world.slice()
    assert [(part.status, part.reason) for part in world.task.parts] == [(FAILED, "throttled")] * 2


def test_what_is_found_sends_all_back(world: ScanWorld) -> None:
    """Something found of one person, in whatever piece of the range, makes everybody go through all of it again; only
    that person has used up a round."""
    world.slice()
    world.slice()
    world.scanner.found["bob"] = [VerifyResult(1, complete=False)]
    world.look()
    assert (world.statuses, world.task.cursor) == ([PENDING] * 2, 0)
    assert [part.rounds for part in world.task.parts] == [0, 1]
    world.to_the_end()
    assert world.statuses == [VERIFIED] * 2
    assert world.scanner.began == [0, 2, 0, 0, 2, 0, 2]


def test_what_stays_is_added_up(world: ScanWorld) -> None:
    """What may stay is told with what all pieces of the range have; a range gone through again counts anew."""
    world.slice()
    world.slice()
    kept = [Kept(1, "2030-01-01T00:00:00Z"), Kept(2, "2031-01-01T00:00:00Z")]
    world.scanner.found = {
        "ann": [VerifyResult(0, complete=False, kept=kept[0]), VerifyResult(0, complete=False, kept=kept[0])],
        "bob": [VerifyResult(0, complete=False), VerifyResult(1, complete=True)],
    }
    world.look()
    assert world.task.parts[0].kept == kept[0]
    world.look()
    assert (world.statuses, world.task.parts[0].kept.count) == ([PENDING] * 2, 0)
    world.slice()
    world.slice()
    world.scanner.found = {
        "ann": [VerifyResult(0, complete=False, kept=kept[0]), VerifyResult(0, complete=True, kept=kept[1])]
    }
    world.look()
    world.look()
    assert world.statuses == [VERIFIED] * 2
    assert world.task.parts[0].kept == Kept(3, "2031-01-01T00:00:00Z")


def test_who_fails_leaves_the_others(world: ScanWorld) -> None:
    """A person with a problem that nothing helps fails; the other one is scanned to the end alone."""
    world.scanner.results["ann"] = [SliceResult(1, done=False, problem="retention_unknown", permanent=True)]
    world.to_the_end()
    assert world.statuses == [FAILED, VERIFIED]
    assert (world.task.parts[0].reason, world.task.parts[0].erased) == ("retention_unknown", 1)
    assert [call[4] for call in world.scanner.seen] == [("ann", "bob"), *[("bob",)] * 3]


def test_who_is_not_done_at_the_end_keeps_all(world: ScanWorld) -> None:
    """If the end is reached and one person is not done, nobody is called erased: the range is gone through again."""
    world.slice()
    world.scanner.results["ann"] = [SliceResult(1, done=False, problem="rejected")]
    world.slice()
    assert (world.statuses, world.task.cursor) == ([PENDING] * 2, 0)
    world.to_the_end()
    assert world.statuses == [VERIFIED] * 2


def test_an_unclear_end_is_looked_at_again(world: ScanWorld) -> None:
    """If the verifier reaches the end without being able to tell for one person, all of it is looked at again."""
    world.slice()
    world.slice()
    world.look()
    world.scanner.found["ann"] = [VerifyResult(0, complete=False, problem="throttled")]
    assert world.look().again
    assert (world.statuses, world.task.cursor) == ([ERASED_UNVERIFIED] * 2, 0)
    world.look()
    world.look()
    assert world.statuses == [VERIFIED] * 2
    assert world.scanner.began == [0, 2, 0, 2, 0, 2]


def test_an_exception_does_not_split_a_scan(world: ScanWorld) -> None:
    """After an exception, the range is still read once for all, from where it was; it is no progress."""
    world.slice()
    world.scanner.broken = 2
    world.slice()
    assert (world.statuses, world.task.cursor) == ([PENDING] * 2, 2)
    assert {(part.stalls, part.reason, part.at_least) for part in world.task.parts} == {(1, "internal_error", True)}
    world.slice()
    world.to_the_end()
    assert world.statuses == [VERIFIED] * 2
    assert {call[4] for call in world.scanner.seen} == {("ann", "bob")}


def test_a_dead_slice_begins_again_where_the_last_ended(world: ScanWorld) -> None:
    """What a killed slice went through is gone through again."""
    world.slice()
    world.tasks.begin_slice(world.task, "killed")
    world.to_the_end()
    assert world.statuses == [VERIFIED] * 2
    assert world.scanner.began == [0, 2, 0, 2]
    assert all(part.at_least for part in world.task.parts)
