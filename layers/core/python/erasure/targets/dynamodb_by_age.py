"""Runs by age in DynamoDB tables: erase or redact what is old, or count it, and look again.

The whole table is read, whatever leads to the items of one person. A run is about everybody, so whatever position its
"subject" has among those of a call, there is one answer for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import ERASING, DynamoDBRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.dynamodb_age_scan import AgeScan
from erasure.targets.dynamodb_age_work import Counting, Erasing, Tally
from erasure.targets.dynamodb_ages import AgePlan, make_age_plan
from erasure.targets.dynamodb_calls import Calls
from erasure.targets.dynamodb_pacing import Pacers, Share
from erasure.targets.dynamodb_plan import mismatch
from erasure.targets.dynamodb_redact import Redaction
from erasure.targets.dynamodb_scan import reading_of
from erasure.targets.dynamodb_verify import LEFT_BOUND
from erasure.targets.dynamodb_writes import ConditionalWriter
from erasure.targets.held import Holds
from erasure.targets.protocol import Deadline, OnErased, ScanRange, SliceResult, VerifyResult

Describe = Callable[[DynamoDBRule, Deadline], Mapping[str, Any]]
MakeRedaction = Callable[[TargetSpec, bool], Redaction | None]
"""Of a target, for somebody who writes or only looks."""


class ByAge:
    """``holds``: without it nothing may go. ``describe``: a table; ``redaction``: of a target. Both raise
    :class:`TargetError`. ``workers``: pieces of work side by side."""

    def __init__(
        self,
        calls: Calls,
        pacers: Pacers,
        holds: Holds | None,
        describe: Describe,
        redaction: MakeRedaction,
        share: Callable[[ScanRange | None], Share],
        workers: int,
    ) -> None:
        self._calls = calls
        self._pacers = pacers
        self._holds = holds
        self._describe = describe
        self._redaction = redaction
        self._share = share
        self._workers = workers

    def erase(
        self, spec: TargetSpec, deadline: Deadline, on_erased: OnErased | None, scan: ScanRange | None
    ) -> SliceResult:
        """One slice. A run that only reports counts what would go, and nothing is written."""
        try:
            tally, is_at_end = self._erase(spec, deadline, on_erased, scan)
        except TargetError as error:
            return SliceResult(0, done=False, problem=error.code, permanent=error.permanent)
        problem = tally.error or (tally.flaw if is_at_end else None)
        if problem is not None:
            return SliceResult(tally.counted, done=False, problem=problem.code, permanent=problem.permanent)
        return SliceResult(tally.counted, done=is_at_end)

    def verify(self, spec: TargetSpec, deadline: Deadline, scan: ScanRange | None) -> VerifyResult:
        """What is left in the segments that this call has gone through, and what had to be left alone. Of a run that
        only reports, nothing is left."""
        try:
            tally, is_at_end = self._look(spec, deadline, scan)
        except TargetError as error:
            return VerifyResult(0, complete=False, problem=error.code, permanent=error.permanent)
        kept = Kept(tally.held, unreadable=tally.unreadable)
        problem = tally.error or tally.flaw
        if problem is not None:
            return VerifyResult(0, complete=False, problem=problem.code, permanent=problem.permanent, kept=kept)
        left = tally.counted if spec.retention is not None and spec.retention.mode == ERASING else 0
        return VerifyResult(left, complete=is_at_end, kept=kept, more=left >= LEFT_BOUND)

    def _erase(
        self, spec: TargetSpec, deadline: Deadline, on_erased: OnErased | None, scan: ScanRange | None
    ) -> tuple[Tally, bool]:
        is_erasing = spec.retention is not None and spec.retention.mode == ERASING
        scan, holds, plan, description = self._prepare(spec, deadline, scan, writing=is_erasing)
        reading = reading_of(description, self._pacers.for_scan(description, self._share(scan)), consistent=False)
        if not is_erasing:
            work = Counting(plan, holds).work
            run = AgeScan(self._calls, plan, deadline, reading, scan, work, self._workers)
            return run.run(), run.is_at_end
        pacer = self._pacers.for_writes(description, self._share(scan), 1)
        writer = ConditionalWriter(self._calls, pacer, deadline)
        run = AgeScan(
            self._calls,
            plan,
            deadline,
            reading,
            scan,
            Erasing(self._calls, plan, holds, writer, deadline).work,
            self._workers,
            lasting=True,
            on_counted=lambda count: None if on_erased is None else on_erased(0, count),
        )
        return run.run(), run.is_at_end

    def _look(self, spec: TargetSpec, deadline: Deadline, scan: ScanRange | None) -> tuple[Tally, bool]:
        scan, holds, plan, description = self._prepare(spec, deadline, scan, writing=False)
        reading = reading_of(description, self._pacers.for_scan(description, self._share(scan)), consistent=True)
        enough = LEFT_BOUND if spec.retention is not None and spec.retention.mode == ERASING else float("inf")
        work = Counting(plan, holds).work
        run = AgeScan(self._calls, plan, deadline, reading, scan, work, self._workers, enough=enough)
        return run.run(), run.is_at_end

    def _prepare(
        self, spec: TargetSpec, deadline: Deadline, scan: ScanRange | None, *, writing: bool
    ) -> tuple[ScanRange, Holds, AgePlan, Mapping[str, Any]]:
        if spec.dynamodb is None or scan is None:
            raise mismatch("a run by age goes through a range of a table")
        if self._holds is None:
            raise mismatch("there is nobody to ask whose things are under a legal hold")
        description = self._describe(spec.dynamodb, deadline)
        return scan, self._holds, make_age_plan(spec, description, self._redaction(spec, writing)), description
