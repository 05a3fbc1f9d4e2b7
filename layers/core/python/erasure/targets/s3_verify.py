"""What is still there of each subject: counted, and told apart from what the bucket does not let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.times import format_time
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, VerifyResult
from erasure.targets.s3_errors import DENIED
from erasure.targets.s3_locks import Lock, NoLocksError, lock_of
from erasure.targets.s3_pages import (
    PAGE_ENTRIES,
    Entry,
    NotSharedError,
    OutOfTimeError,
    upload_pages,
    version_pages,
)
from erasure.targets.s3_scope import Scope

_Trouble = OutOfTimeError | TargetError


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a listing showed of one subject, :data:`PAGE_ENTRIES` or a little more at most. ``more``: it was not read
    any further. ``trouble``: why it did not come that far."""

    entries: Sequence[Entry] = ()
    more: bool = False
    trouble: _Trouble | None = None


@dataclass(slots=True)
class _Held:
    """Which of a subject's versions are locked. ``free``: how many are not, as far as anybody could tell."""

    free: int = 0
    locks: list[Lock] = field(default_factory=list)
    trouble: _Trouble | None = None


class Look:
    """One verification of several subjects of one bucket. ``scopes``: by owner; ``uploads``: lists the unfinished
    uploads of all of them at once (``None``: each subject's are listed); ``now``: for locks that have ended."""

    def __init__(
        self,
        client: Any,
        pool: ThreadPoolExecutor,
        scopes: Mapping[int, Scope],
        deadline: Deadline,
        uploads: Callable[[], Mapping[int, Sequence[Entry]]] | None,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._pool = pool
        self._scopes = scopes
        self._deadline = deadline
        self._uploads = uploads
        self._now = now
        self._has_locks = True

    def run(self) -> dict[int, VerifyResult]:
        versions, uploads = self._list()
        return {
            owner: _result(versions[owner], uploads[owner], self._held(scope, versions[owner].entries))
            for owner, scope in self._scopes.items()
        }

    def _list(self) -> tuple[dict[int, _Seen], dict[int, _Seen]]:
        if self._uploads is None:
            return self._each(version_pages), self._each(upload_pages)
        shared = self._pool.submit(self._uploads)
        versions = self._each(version_pages)
        try:
            found = shared.result()
        except NotSharedError:
            return versions, self._each(upload_pages)
        except (OutOfTimeError, TargetError) as error:
            return versions, dict.fromkeys(self._scopes, _Seen(trouble=error))
        return versions, {owner: _Seen(found.get(owner, ())) for owner in self._scopes}

    def _each(self, pages: Callable[[Any, Scope, Deadline], Iterable[list[Entry]]]) -> dict[int, _Seen]:
        def look(scope: Scope) -> _Seen:
            return _read(pages(self._client, scope, self._deadline))

        return dict(zip(self._scopes, self._pool.map(look, self._scopes.values()), strict=True))

    # -- locks ------------------------------------------------------------------------------------------------------

    def _held(self, scope: Scope, entries: Sequence[Entry]) -> _Held:
        """Ask for each version. What nobody may be asked about counts as free: it should be gone."""
        held = _Held()
        if not entries:
            return held
        if not self._is_worth_asking(scope, entries[0]):
            held.free = len(entries)
            return held
        for answer in self._pool.map(lambda entry: self._ask(scope, entry), entries):
            if isinstance(answer, Lock):
                held.locks.append(answer)
            elif answer is None or isinstance(answer, NoLocksError) or _is_denied(answer):
                held.free += 1
            elif isinstance(answer, OutOfTimeError | TargetError):
                held.trouble = held.trouble or answer
        return held

    def _is_worth_asking(self, scope: Scope, entry: Entry) -> bool:
        """One answer tells whether the bucket has locks at all, and whether this subject's may be asked about."""
        answer = self._ask(scope, entry) if self._has_locks else NoLocksError()
        self._has_locks = not isinstance(answer, NoLocksError)
        return self._has_locks and not _is_denied(answer)

    def _ask(self, scope: Scope, entry: Entry) -> Lock | NoLocksError | _Trouble | None:
        if self._deadline.expired():
            return OutOfTimeError()
        try:
            return lock_of(self._client, scope, entry, self._now())
        except (NoLocksError, TargetError) as error:
            return error


def _is_denied(answer: object) -> bool:
    return isinstance(answer, TargetError) and answer.code == DENIED


def _read(pages: Iterable[list[Entry]]) -> _Seen:
    entries: list[Entry] = []
    try:
        for page in pages:
            entries += page
            if len(entries) >= PAGE_ENTRIES:
                return _Seen(entries, more=True)
    except (OutOfTimeError, TargetError) as error:
        return _Seen(entries, trouble=error)
    return _Seen(entries)


def _result(versions: _Seen, uploads: _Seen, held: _Held) -> VerifyResult:
    left = held.free + len(uploads.entries)
    kept = _kept(held.locks, more=versions.more)
    more = left > 0 and (versions.more or uploads.more)
    troubles = [trouble for trouble in (versions.trouble, uploads.trouble, held.trouble) if trouble is not None]
    if not troubles or left >= PAGE_ENTRIES:  # as many as are counted at most are complete without the rest
        return VerifyResult(left, complete=True, kept=kept, more=more)
    told = next((trouble for trouble in troubles if isinstance(trouble, TargetError)), None)
    if told is None:
        return VerifyResult(left, complete=False, kept=kept, more=more)
    return VerifyResult(left, complete=False, problem=told.code, permanent=told.permanent, kept=kept, more=more)


def _kept(locks: Sequence[Lock], *, more: bool) -> Kept:
    """``more``: there are versions that nobody asked about, so nobody knows when the last lock ends either."""
    if not locks:
        return NOTHING_KEPT
    ends = [lock.until for lock in locks if lock.until is not None]
    is_known = len(ends) == len(locks) and not more
    return Kept(len(locks), format_time(max(ends)) if is_known else None, more)
