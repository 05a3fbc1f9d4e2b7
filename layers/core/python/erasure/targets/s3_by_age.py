"""Runs by age in S3 buckets: delete the versions that are old, or count them, and look again.

The listing of all that begins like the target's keys has to come to its end within one slice, for nothing of it is
remembered: a bucket that is too large for that is for a lifecycle rule. Unfinished uploads are no concern of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import ERASING, TargetSpec
from erasure.domain.times import format_time
from erasure.errors import TargetError
from erasure.targets.held import Holds
from erasure.targets.protocol import Deadline, OnErased, SliceResult, VerifyResult
from erasure.targets.s3_ages import AgeScope, age_scope_of, aged_pages, free_and_held
from erasure.targets.s3_calls import Outcome, Share, delete_version, delete_versions
from erasure.targets.s3_client import fits_xml
from erasure.targets.s3_errors import DENIED, PASSING, UNAVAILABLE, error_for
from erasure.targets.s3_locks import Lock, NoLocksError, lock_of
from erasure.targets.s3_pages import PAGE_ENTRIES, Entry, OutOfTimeError
from erasure.targets.s3_slice import MAX_ATTEMPTS, Work

TOO_LARGE = "too_large"
"""There is more than one slice can list."""
FAIR_SECONDS = 60.0
"""Who had less time than that cannot say so."""
LEFT_BOUND = 1000

Perform = Callable[[Work, Deadline], Outcome]


@dataclass(slots=True)
class _Course:
    erased: int = 0
    problems: set[str] = field(default_factory=set)


class ByAge:
    """``holds``: without it nothing may go. ``perform``: makes a deleting call, later if it is a repetition. ``now``:
    by which locks end."""

    def __init__(
        self, client: Any, owner: str | None, holds: Holds | None, perform: Perform, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._owner = owner
        self._holds = holds
        self._perform = perform
        self._now = now

    def erase(self, spec: TargetSpec, deadline: Deadline, on_erased: OnErased) -> SliceResult:
        """One slice. A run that only reports counts what would go, and nothing is deleted."""
        course, is_fair = _Course(), deadline.remaining() >= FAIR_SECONDS
        try:
            self._erase(spec, deadline, on_erased, course)
        except OutOfTimeError:
            # What has gone need not be listed again: the next slice comes further.
            if is_fair and (not course.erased or not _erases(spec)):
                return SliceResult(0, done=False, problem=TOO_LARGE, permanent=True)
            return SliceResult(course.erased if _erases(spec) else 0, done=False)
        except TargetError as error:
            erased = course.erased if _erases(spec) else 0
            return SliceResult(erased, done=False, problem=error.code, permanent=error.permanent)
        problem = next(iter(sorted(course.problems)), None)
        permanent = course.problems == {DENIED}
        return SliceResult(course.erased, done=problem is None, problem=problem, permanent=permanent)

    def verify(self, spec: TargetSpec, deadline: Deadline) -> VerifyResult:
        """What is left, and what had to be left alone: locked, or of people under a hold."""
        is_fair = deadline.remaining() >= FAIR_SECONDS
        try:
            return self._look(spec, deadline)
        except OutOfTimeError:
            return VerifyResult(0, complete=False, problem=TOO_LARGE if is_fair else None, permanent=is_fair)
        except TargetError as error:
            return VerifyResult(0, complete=False, problem=error.code, permanent=error.permanent)

    def _erase(self, spec: TargetSpec, deadline: Deadline, on_erased: OnErased, course: _Course) -> None:
        of, holds = self._prepare(spec)
        for page in aged_pages(self._client, of, deadline):
            free, _ = free_and_held(page, of, holds)
            if not _erases(spec):
                course.erased += sum(len(each.versions) + len(each.markers) for each in free)
                continue
            gone = self._delete([each.versions for each in free], of, deadline, on_erased, course)
            # Beneath a marker nothing may be left when it goes.
            markers = [each.markers for each, count in zip(free, gone, strict=True) if count == len(each.versions)]
            self._delete(markers, of, deadline, on_erased, course)

    def _delete(
        self,
        by_key: Sequence[Sequence[Entry]],
        of: AgeScope,
        deadline: Deadline,
        on_erased: OnErased,
        course: _Course,
    ) -> list[int]:
        """How many of the entries of each key are confirmed as deleted."""
        gone = [0] * len(by_key)
        for work in _works(by_key, of):
            following: Work | None = work
            while following is not None:
                if deadline.expired():
                    raise OutOfTimeError
                outcome = self._perform(following, deadline)
                for position, count in outcome.erased.items():
                    gone[position] += count
                course.erased += (count := sum(outcome.erased.values()))
                if count:
                    on_erased(0, count)
                if outcome.failure is not None:
                    raise outcome.failure
                course.problems |= {problem for _, problem in outcome.problems}
                following = _again(following, outcome, course)
        return gone

    def _look(self, spec: TargetSpec, deadline: Deadline) -> VerifyResult:
        of, holds = self._prepare(spec)
        left, held, locks, has_locks = 0, 0, list[Lock](), True
        for page in aged_pages(self._client, of, deadline):
            free, of_held = free_and_held(page, of, holds)
            held += of_held
            if not _erases(spec):
                continue
            for each in free:
                left += 0 if each.beneath else len(each.markers)
                for version in each.versions:
                    lock = None
                    if has_locks:
                        if deadline.expired():
                            raise OutOfTimeError
                        lock = self._lock_of(version, of)
                    has_locks = has_locks and not isinstance(lock, NoLocksError)
                    if isinstance(lock, Lock):
                        locks.append(lock)
                    else:
                        left += 1
            if left >= LEFT_BOUND:
                return VerifyResult(left, complete=True, kept=_kept(locks, held, more=True), more=True)
        return VerifyResult(left, complete=True, kept=_kept(locks, held))

    def _lock_of(self, version: Entry, of: AgeScope) -> Lock | NoLocksError | None:
        try:
            return lock_of(self._client, of.scope, version, self._now())
        except NoLocksError as error:
            return error
        except TargetError as error:
            if error.code != DENIED:
                raise
            return None  # what nobody may be asked about should be gone

    def _prepare(self, spec: TargetSpec) -> tuple[AgeScope, Holds]:
        if self._holds is None:
            raise error_for("map_mismatch", "there is nobody to ask whose things are under a legal hold")
        return age_scope_of(spec, self._owner), self._holds


def _erases(spec: TargetSpec) -> bool:
    return spec.retention is not None and spec.retention.mode == ERASING


def _works(by_key: Sequence[Sequence[Entry]], of: AgeScope) -> list[Work]:
    """Full calls, a share for each key; keys that XML cannot carry each alone."""
    works: list[Work] = []
    shares: list[Share] = []
    room = PAGE_ENTRIES
    for position, entries in enumerate(by_key):
        if entries and not fits_xml(entries[0]["Key"]):
            works += [Work(delete_version, [Share(position, of.scope, [entry])]) for entry in entries]
            continue
        left = list(entries)
        while left:
            shares.append(Share(position, of.scope, left[:room]))
            left, room = left[room:], room - len(left[:room])
            if not room:
                works.append(Work(delete_versions, shares))
                shares, room = [], PAGE_ENTRIES
    return [*works, Work(delete_versions, shares)] if shares else works


def _again(work: Work, outcome: Outcome, course: _Course) -> Work | None:
    """What has to be done once more of a call. Raises :class:`TargetError` when it has been tried often enough."""
    if not outcome.again:
        return None
    reason = outcome.reason or UNAVAILABLE
    if reason in PASSING and work.attempt < MAX_ATTEMPTS:
        return Work(work.call, outcome.again, work.attempt + 1, reason)
    if reason in PASSING:
        raise error_for(reason)
    course.problems.add(reason)
    return None


def _kept(locks: Sequence[Lock], held: int, *, more: bool = False) -> Kept:
    if not locks and not held:
        return Kept()
    ends = [lock.until for lock in locks if lock.until is not None]
    is_known = len(ends) == len(locks) and not held and not more
    return Kept(len(locks) + held, format_time(max(ends)) if is_known else None, more)
