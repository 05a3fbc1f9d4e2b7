"""Erases subjects' objects from an S3 bucket: every version, delete marker and unfinished upload.

Listing and deleting overlap, and a deleting call holds entries of as many subjects as it takes to fill it
(:mod:`erasure.targets.s3_slice`). When S3 asks to slow down, fewer calls are under way at once; when it keeps asking,
the slice ends with the problem ``throttled``.
"""

from __future__ import annotations

import random as randomness
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import Any

from erasure.domain.target_spec import TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, OnErased, ScanRange, SliceResult, Values, VerifyResult
from erasure.targets.s3_calls import Outcome
from erasure.targets.s3_client import make_s3_client, require_delete_results
from erasure.targets.s3_pages import (
    PAGE_ENTRIES,
    Entry,
    NotSharedError,
    OutOfTimeError,
    shared_uploads,
    upload_pages,
    version_pages,
)
from erasure.targets.s3_scope import Scope, scopes_of
from erasure.targets.s3_slice import LISTS_BESIDE, MAX_ATTEMPTS, Slice, Work

__all__ = ["MAX_ATTEMPTS", "S3Target", "make_s3_client"]

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0


class S3Target:
    """The S3 :class:`erasure.targets.protocol.Target`.

    ``client``: a botocore S3 client, best one of :func:`make_s3_client`. ``concurrency``: deleting calls under way
    at once, beside which two more may list. ``sleep`` and ``random`` (0 to 1, for jitter) are replaced in tests;
    several threads call them.
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
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,  # noqa: ARG002 - buckets are not scanned
    ) -> list[SliceResult]:
        """One slice. Counts versions, delete markers and uploads that S3 confirmed as deleted.

        Problems: ``throttled``, ``unavailable``; for single keys also ``rejected``, ``blocked`` (Object Lock) and,
        if the slice was cut short, ``access_denied``. Permanent: ``target_missing``, ``map_mismatch``,
        ``access_denied`` (for single keys once everything else has been erased) and what rendering refuses.
        Subjects for whom the rule means the same objects get the same result, and the first of them the count.
        """
        scopes = scopes_of(spec, subjects)
        with self._pool() as pool:
            work = Slice(
                self._client,
                pool,
                scopes.owned,
                deadline,
                on_erased or _ignore,
                self._concurrency,
                lambda work: self._perform(work, deadline),
            )
            results = work.run()
        for position, error in scopes.refused.items():
            results[position] = SliceResult(0, done=False, problem=error.code, permanent=error.permanent)
        for position, first in scopes.same_as.items():
            results[position] = replace(results[first], erased=0)
        return [results[position] for position in range(len(subjects))]

    def verify(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        scan: ScanRange | None = None,  # noqa: ARG002 - buckets are not scanned
    ) -> list[VerifyResult]:
        """Count what is left of each: versions, delete markers and uploads, up to 1,000 or a little more.

        S3 lists what is there at that moment (it is strongly consistent).
        """
        scopes = scopes_of(spec, subjects)
        with self._pool() as pool:
            results = self._look(pool, scopes.owned, deadline)
        for position, error in scopes.refused.items():
            results[position] = VerifyResult(0, complete=False, problem=error.code, permanent=error.permanent)
        for position, first in scopes.same_as.items():
            results[position] = results[first]
        return [results[position] for position in range(len(subjects))]

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=self._concurrency + LISTS_BESIDE)

    def _perform(self, work: Work, deadline: Deadline) -> Outcome:
        """Run in a worker thread: wait if it is a repetition, then make the call."""
        if work.attempt > 1:
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (work.attempt - 2))
            self._sleep(min(pause * (0.5 + self._random() / 2), deadline.remaining()))
            if deadline.expired():
                return Outcome(again=work.shares, reason=work.reason)
        return work.call(self._client, work.shares)

    def _look(
        self, pool: ThreadPoolExecutor, scopes: Mapping[int, Scope], deadline: Deadline
    ) -> dict[int, VerifyResult]:
        def versions(owner: int) -> Iterable[list[Entry]]:
            return version_pages(self._client, scopes[owner], deadline)

        def uploads(owner: int) -> Iterable[list[Entry]]:
            return upload_pages(self._client, scopes[owner], deadline)

        def each(look: Callable[[int], Iterable[list[Entry]]]) -> dict[int, VerifyResult]:
            return dict(zip(scopes, pool.map(lambda owner: _count(look(owner)), scopes), strict=True))

        if len(scopes) < 2:
            return each(lambda owner: chain(versions(owner), uploads(owner)))
        shared = pool.submit(shared_uploads, self._client, scopes, deadline)
        seen = each(versions)
        try:
            found = shared.result()
        except NotSharedError:
            of_uploads = each(uploads)
        except (OutOfTimeError, TargetError) as error:
            of_uploads = dict.fromkeys(scopes, _not_seen(0, error))
        else:
            of_uploads = {owner: _count([found.get(owner, [])]) for owner in scopes}
        return {owner: _both(seen[owner], of_uploads[owner]) for owner in scopes}


def _count(pages: Iterable[list[Entry]]) -> VerifyResult:
    left = 0
    try:
        for page in pages:
            left += len(page)
            if left >= PAGE_ENTRIES:
                break
    except (OutOfTimeError, TargetError) as error:
        return _not_seen(left, error)
    return VerifyResult(left, complete=True)


def _not_seen(left: int, error: OutOfTimeError | TargetError) -> VerifyResult:
    if isinstance(error, OutOfTimeError):
        return VerifyResult(left, complete=False)
    return VerifyResult(left, complete=False, problem=error.code, permanent=error.permanent)


def _both(versions: VerifyResult, uploads: VerifyResult) -> VerifyResult:
    """What two listings saw, together. As many as are counted at most are complete without the other."""
    left = versions.left + uploads.left
    if left >= PAGE_ENTRIES:
        return VerifyResult(left, complete=True)
    failed = versions if versions.problem else uploads
    return VerifyResult(left, versions.complete and uploads.complete, failed.problem, failed.permanent)


def _ignore(_: int, __: int) -> None:
    pass
