"""Erases subjects' objects from an S3 bucket: every version, delete marker and unfinished upload.

Listing and deleting overlap, and a deleting call holds entries of as many subjects as it takes to fill it
(:mod:`erasure.targets.s3_slice`). When S3 asks to slow down, fewer calls are under way at once; when it keeps asking,
the slice ends with the problem ``throttled``.
"""

from __future__ import annotations

import copy
import random as randomness
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from erasure.domain.target_spec import TargetSpec
from erasure.ports import HoldReader
from erasure.targets.held import Holds
from erasure.targets.protocol import Deadline, Guard, OnErased, ScanRange, SliceResult, Values, VerifyResult
from erasure.targets.s3_by_age import ByAge
from erasure.targets.s3_calls import Outcome
from erasure.targets.s3_client import make_s3_client, require_delete_results
from erasure.targets.s3_pages import shared_uploads
from erasure.targets.s3_scope import Scope, scopes_of
from erasure.targets.s3_slice import LISTS_BESIDE, MAX_ATTEMPTS, Slice, Uploads, Work
from erasure.targets.s3_uploads import UploadsOfUnit
from erasure.targets.s3_verify import Look

__all__ = ["MAX_ATTEMPTS", "S3Target", "make_s3_client"]

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class S3Target:
    """The S3 :class:`erasure.targets.protocol.Target`.

    ``client``: a botocore S3 client, best one of :func:`make_s3_client`. ``expected_owner``: the account that the
    buckets have to belong to; anybody else's is ``access_denied``, with nothing touched. ``concurrency``: deleting
    calls under way at once, beside which two more may list. ``holds``, ``digest_key``: asked about legal holds, and
    returns the key of their marks; runs by age need both. ``now``: by which locks end. ``sleep`` and ``random``
    (0 to 1, for jitter) are replaced in tests; several threads call all three.
    """

    def __init__(
        self,
        client: Any,
        *,
        expected_owner: str | None = None,
        concurrency: int = 8,
        holds: HoldReader | None = None,
        digest_key: Callable[[], bytes] | None = None,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        require_delete_results(client)
        self._client = client
        self._expected_owner = expected_owner
        self._now = now
        self._concurrency = concurrency
        self._sleep = sleep
        self._random = random
        self._of_unit: UploadsOfUnit | None = None
        asked = None if holds is None or digest_key is None else Holds(holds, digest_key)
        self._by_age = ByAge(client, expected_owner, asked, self._perform, now)

    def for_unit(self, specs: Sequence[TargetSpec]) -> S3Target:
        """The same, for these targets of one unit, in one call: unfinished uploads of a bucket that several of them
        have are listed once for all."""
        target = copy.copy(self)
        target._of_unit = UploadsOfUnit(specs)
        return target

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,  # noqa: ARG002 - buckets are not scanned
        guard: Guard | None = None,  # noqa: ARG002 - objects lead nowhere
    ) -> list[SliceResult]:
        """One slice. Counts versions, delete markers and uploads that S3 confirmed as deleted.

        A version that S3 does not let go because of Object Lock is left where it is: the subject is done without it,
        and :meth:`verify` tells of it.

        Problems: ``throttled``, ``unavailable``; for single keys also ``rejected`` and, if the slice was cut short,
        ``access_denied``. Permanent: ``target_missing``, ``map_mismatch``, ``access_denied`` (for single keys once
        everything else has been erased) and what rendering refuses.
        Subjects for whom the rule means the same objects get the same result, and the first of them the count.
        """
        if spec.goes_by_age:
            result = self._by_age.erase(spec, deadline, on_erased or _ignore)
            return [result if position == 0 else replace(result, erased=0) for position in range(len(subjects))]
        scopes = scopes_of(spec, subjects, self._expected_owner)
        with self._pool() as pool:
            work = Slice(
                self._client,
                pool,
                scopes.owned,
                deadline,
                on_erased or _ignore,
                self._concurrency,
                self._uploads(scopes.owned, deadline),
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

        S3 lists what is there at that moment (it is strongly consistent). Versions under Object Lock, in either mode
        or under a legal hold, are kept, not left, if S3 says so of each; what cannot be asked about is left.
        """
        if spec.goes_by_age:
            return [self._by_age.verify(spec, deadline)] * len(subjects)
        scopes = scopes_of(spec, subjects, self._expected_owner)
        with self._pool() as pool:
            uploads = self._uploads(scopes.owned, deadline)
            results = Look(self._client, pool, scopes.owned, deadline, uploads, self._now).run()
        for position, error in scopes.refused.items():
            results[position] = VerifyResult(0, complete=False, problem=error.code, permanent=error.permanent)
        for position, first in scopes.same_as.items():
            results[position] = results[first]
        return [results[position] for position in range(len(subjects))]

    def _uploads(self, scopes: Mapping[int, Scope], deadline: Deadline) -> Uploads | None:
        """How unfinished uploads of all these are listed at once, if they are."""
        of_unit = self._of_unit
        if of_unit is not None and any(of_unit.are_shared(scope.bucket) for scope in scopes.values()):
            return lambda: of_unit.of(self._client, scopes, deadline)
        return (lambda: shared_uploads(self._client, scopes, deadline)) if len(scopes) > 1 else None

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


def _ignore(_: int, __: int) -> None:
    pass
