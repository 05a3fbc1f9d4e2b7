"""Erases one subject's objects from an S3 bucket: every version, delete marker and unfinished upload.

Listing and deleting overlap: one thread lists, up to ``concurrency`` deleting calls are under way. What is in
memory is two pages of the listing and what is under way, however many objects there are. When S3 asks to slow
down, fewer calls are under way at once; when it keeps asking, the slice ends with the problem ``throttled``.
"""

from __future__ import annotations

import random as randomness
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from erasure.domain.target_spec import TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from erasure.targets.s3_calls import (
    PAGE_ENTRIES,
    Call,
    Entry,
    Outcome,
    OutOfTimeError,
    abort_upload,
    batches,
    delete_version,
    delete_versions,
    one_behind,
    upload_pages,
    version_pages,
)
from erasure.targets.s3_client import fits_xml, make_s3_client, require_delete_results
from erasure.targets.s3_errors import BLOCKED, DENIED, REJECTED, THROTTLED, UNAVAILABLE, error_for
from erasure.targets.s3_scope import Scope, scope_of

__all__ = ["S3Target", "make_s3_client"]

MAX_ATTEMPTS = 6
"""Calls for the same entries, each after botocore's own retries."""

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0

# What another slice may heal is told first; it comes across the rest again.
_TOLD_FIRST = (THROTTLED, UNAVAILABLE, REJECTED, BLOCKED, DENIED)


class S3Target:
    """The S3 :class:`erasure.targets.protocol.Target`.

    ``client``: a botocore S3 client, best one of :func:`make_s3_client`. ``concurrency``: deleting calls under way
    at once. ``sleep`` and ``random`` (0 to 1, for jitter) are replaced in tests; several threads call them.
    """

    def __init__(
        self,
        client: Any,
        *,
        concurrency: int = 8,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        require_delete_results(client)
        self._client = client
        self._concurrency = concurrency
        self._sleep = sleep
        self._random = random

    def erase(
        self,
        spec: TargetSpec,
        values: Mapping[str, str],
        deadline: Deadline,
        on_erased: Callable[[int], None] | None = None,
    ) -> SliceResult:
        """One slice. Counts versions, delete markers and uploads that S3 confirmed as deleted.

        Problems: ``throttled``, ``unavailable``; for single keys also ``rejected``, ``blocked`` (Object Lock) and,
        if the slice was cut short, ``access_denied``. Raises :class:`TargetError` for what no other slice changes:
        ``target_missing``, ``map_mismatch``, ``access_denied`` (the latter for single keys after everything else
        has been erased) and the errors of rendering; ``on_erased`` has been told all that was erased before.
        """
        scope = scope_of(spec, values)
        with ThreadPoolExecutor(max_workers=self._concurrency + 1) as pool:
            work = _Slice(pool, scope, deadline, on_erased or _ignore, self._concurrency, self._perform)
            return work.run(
                one_behind(version_pages(self._client, scope, deadline)),
                one_behind(upload_pages(self._client, scope, deadline)),
            )

    def verify(self, spec: TargetSpec, values: Mapping[str, str], deadline: Deadline) -> VerifyResult:
        """Count what is left: versions, delete markers and uploads, up to 1,000 or a little more.

        S3 lists what is there at that moment (it is strongly consistent). Raises :class:`TargetError` if it cannot
        be asked, ``permanent`` or not.
        """
        scope = scope_of(spec, values)
        left = 0
        try:
            for pages in (version_pages, upload_pages):
                for page in pages(self._client, scope, deadline):
                    left += len(page)
                    if left >= PAGE_ENTRIES:
                        return VerifyResult(left, complete=True)
        except OutOfTimeError:
            return VerifyResult(left, complete=False)
        return VerifyResult(left, complete=True)

    def _perform(self, work: _Work, scope: Scope, deadline: Deadline) -> Outcome:
        """Run in a worker thread: wait if it is a repetition, then make the call."""
        if work.attempt > 1:
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (work.attempt - 2))
            self._sleep(min(pause * (0.5 + self._random() / 2), deadline.remaining()))
            if deadline.expired():
                return Outcome(again=work.entries, reason=work.reason)
        return work.call(self._client, scope, work.entries)


def _ignore(_: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Work:
    """Entries for one call; ``attempt`` counts from 1, ``reason`` says why there is more than one."""

    call: Call
    entries: Sequence[Entry]
    attempt: int = 1
    reason: str | None = None


class _StoppedError(Exception):
    """No more work is begun in this slice."""


class _Slice:
    """The coordinating thread's view of one slice: what waits, what is under way, what has become of the rest."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        scope: Scope,
        deadline: Deadline,
        on_erased: Callable[[int], None],
        concurrency: int,
        perform: Callable[[_Work, Scope, Deadline], Outcome],
    ) -> None:
        self._pool = pool
        self._scope = scope
        self._deadline = deadline
        self._on_erased = on_erased
        self._concurrency = concurrency
        self._perform = perform
        self._limit = concurrency
        self._waiting: deque[_Work] = deque()
        self._under_way: dict[Future[Outcome], _Work] = {}
        self._erased = 0
        self._problems: set[str] = set()
        self._failure: TargetError | None = None
        self._gave_up = False
        self._cut = False

    def run(self, versions: Any, uploads: Any) -> SliceResult:
        # Looked up while the versions are listed: it would only make the way to the end longer.
        first_uploads = self._pool.submit(next, uploads, None)
        try:
            for batch in batches(versions):
                self._erase_versions(batch)
            page = first_uploads.result()
            while page:
                for upload in page:
                    self._submit(_Work(abort_upload, [upload]))
                page = next(uploads, None)
        except (OutOfTimeError, _StoppedError):
            self._cut = True
        except TargetError as error:
            self._failure = self._failure or error
        self._settle(0)
        return self._result()

    def _erase_versions(self, batch: list[Entry]) -> None:
        if fits_xml("".join(entry["Key"] for entry in batch)):
            self._submit(_Work(delete_versions, batch))
            return
        fitting = [entry for entry in batch if fits_xml(entry["Key"])]
        if fitting:
            self._submit(_Work(delete_versions, fitting))
        for entry in batch:
            if not fits_xml(entry["Key"]):
                self._submit(_Work(delete_version, [entry]))

    def _submit(self, work: _Work) -> None:
        self._waiting.append(work)
        self._settle(self._concurrency)
        if self._is_stopping():
            raise _StoppedError

    def _settle(self, allowed: int) -> None:
        """Return when nothing waits and at most ``allowed`` calls are under way."""
        self._collect(block=False)
        while True:
            while self._waiting and len(self._under_way) < self._limit and not self._is_stopping():
                work = self._waiting.popleft()
                self._under_way[self._pool.submit(self._perform, work, self._scope, self._deadline)] = work
            if self._waiting and self._is_stopping():
                self._waiting.clear()
                self._cut = True
            if not self._waiting and len(self._under_way) <= allowed:
                return
            self._collect(block=True)

    def _is_stopping(self) -> bool:
        return self._gave_up or self._failure is not None or self._deadline.expired()

    def _collect(self, *, block: bool) -> None:
        if not self._under_way:
            return
        ended, _ = wait(self._under_way, timeout=None if block else 0, return_when=FIRST_COMPLETED)
        erased = sum(self._take(self._under_way.pop(future), future) for future in ended)
        if erased:
            self._erased += erased
            self._on_erased(erased)

    def _take(self, work: _Work, future: Future[Outcome]) -> int:
        try:
            outcome = future.result()
        except TargetError as error:  # the guard: a defect, so nothing more is deleted
            outcome = Outcome(failure=error)
        self._problems |= outcome.problems
        self._failure = self._failure or outcome.failure
        if outcome.reason == THROTTLED:
            self._limit = max(1, self._limit // 2)
        elif outcome.reason is None:
            self._limit = min(self._concurrency, self._limit + 1)
        if outcome.again:
            self._repeat(work, outcome)
        return outcome.erased

    def _repeat(self, work: _Work, outcome: Outcome) -> None:
        if work.attempt < MAX_ATTEMPTS:
            self._waiting.append(_Work(work.call, outcome.again, work.attempt + 1, outcome.reason))
            return
        self._problems.add(outcome.reason or UNAVAILABLE)
        # One stubborn key is no reason to leave the others; a bucket that answers nothing any more is.
        self._gave_up = self._gave_up or outcome.refused or outcome.reason == THROTTLED

    def _result(self) -> SliceResult:
        problems = self._problems
        if self._failure is not None:
            if self._failure.permanent:
                raise self._failure
            problems = problems | {self._failure.code}
        finished = not self._cut and self._failure is None
        if DENIED in problems and problems.isdisjoint({THROTTLED, UNAVAILABLE}) and (finished or not self._erased):
            raise error_for(DENIED, "some objects may not be deleted")
        problem = next((code for code in _TOLD_FIRST if code in problems), None)
        return SliceResult(self._erased, done=finished and not problems, problem=problem)
