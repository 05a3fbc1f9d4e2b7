"""Erase people's items from DynamoDB tables, detach people from items or redact these, and look again.

A slice reads pages of keys (strongly consistent where the engine has it) and works on them in batches that are filled
across subjects, while the next pages are on their way. Every key is checked against its subject's rule in code before
anything happens to it.
"""

from __future__ import annotations

import random as random_module
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.domain.plan import Shard
from erasure.domain.target_spec import DIGEST, DynamoDBRule, TargetSpec
from erasure.errors import TargetError, UnavailableError
from erasure.ports import Clock, HoldReader
from erasure.targets.dynamodb_by_age import ByAge
from erasure.targets.dynamodb_calls import UNAVAILABLE, Calls
from erasure.targets.dynamodb_change import Changer
from erasure.targets.dynamodb_deletes import BATCH_ITEMS, Conditional, Deleter
from erasure.targets.dynamodb_linked import GuardedDeleter
from erasure.targets.dynamodb_pacing import DEFAULT_CAPACITY_SHARE, MOST_PARTITIONS, Pacers, Share
from erasure.targets.dynamodb_parents import read_items
from erasure.targets.dynamodb_plan import (
    Detachment,
    ErasePlan,
    Match,
    Treatment,
    make_plan,
    mismatch,
    render_detachment,
    render_matches,
)
from erasure.targets.dynamodb_reads import GET_ITEMS
from erasure.targets.dynamodb_redact import ONLY_LOOKING, Redaction, make_redaction
from erasure.targets.dynamodb_scan import Scan, reading_of, shards_of
from erasure.targets.dynamodb_sweep import OnCounted, Progress, Sweep, Way
from erasure.targets.dynamodb_verify import LEFT_BOUND, Looker, count_left
from erasure.targets.held import Holds
from erasure.targets.protocol import (
    Deadline,
    Guard,
    Item,
    OnErased,
    ScanRange,
    SliceResult,
    Values,
    VerifyResult,
)

DESCRIBE_SECONDS = 300.0
"""How long a table's description is believed."""

_REPORT_SECONDS = 1.0
"""How often ``on_erased`` is told about a subject, at most."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DynamoDBTarget:
    """Items of a DynamoDB table (:class:`erasure.targets.protocol.Target`). One instance serves several threads.

    ``client``: a botocore DynamoDB client, best made with
    :func:`erasure.targets.dynamodb_calls.client_options`. ``workers``: batches of one erasure in flight.
    ``conditional``: how items found through an index are deleted, ``"batch"`` (25 PartiQL statements a call) or
    ``"single"`` (DeleteItem, for engines whose PartiQL has no conditional DELETE). ``digest_key``: returns the key of
    the digests that redacting puts in the place of values, and of the marks of legal holds; ``holds``: asked about
    these. Only erasing needs the key, and only where the rules say ``digest``; but runs by age need both, whoever makes
    them. ``capacity_share``: how much of what a provisioned table and its indexes are paid for erasing may take
    (more than 0, at most 1); the rest is the application's. ``now`` (by which items are retained), ``sleep``,
    ``random`` and ``clock`` can be replaced in tests.

    ``erase`` needs DescribeTable, Query, BatchWriteItem, PartiQLDelete and DeleteItem, to detach, redact or retain
    BatchGetItem and UpdateItem; ``verify`` DescribeTable, Query and BatchGetItem; both Scan for what has to be
    scanned, and ``shards`` DescribeTable. Problems: ``target_missing``, ``map_mismatch``, ``access_denied``,
    ``rejected``, ``retention_unknown``, ``missing_value``, ``ambiguous_identifier`` (permanent; the second also not,
    for an index in the making), ``throttled`` and ``unavailable``. ``missing_value``, ``ambiguous_identifier``,
    ``retention_unknown`` and ``rejected`` are mostly one subject's, the others the table's and thereby of all who are
    not done. ``retention_unknown``, and ``rejected`` of a single item, are told when all else of the subject is done.
    """

    def __init__(
        self,
        client: Any,
        *,
        workers: int = 4,
        conditional: Conditional = "batch",
        digest_key: Callable[[], bytes] | None = None,
        holds: HoldReader | None = None,
        capacity_share: float = DEFAULT_CAPACITY_SHARE,
        now: Clock = _utc_now,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = Calls(client, sleep, random)
        self._workers = workers
        self._conditional: Conditional = conditional
        self._digest_key = digest_key
        self._capacity_share = Share(capacity_share).of_capacity
        self._pacers = Pacers(clock)
        self._now = now
        self._clock = clock
        self._descriptions: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()
        self._by_age = ByAge(
            self._calls,
            self._pacers,
            None if holds is None or digest_key is None else Holds(holds, digest_key),
            self._describe,
            self._redaction,
            self._share,
            workers,
        )

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,
    ) -> list[SliceResult]:
        """Delete the subjects' items until done or until the deadline; what is under way then is finished and counted.

        ``done``: all that this slice saw of the subject is gone; items written meanwhile may remain (``verify`` finds
        them). With ``spec.detach`` or ``spec.redact``, items stay and are changed; with ``spec.retain``, those that are
        kept stay. Items that were deleted or changed are counted. With a ``guard``, an item that leads to something
        that is left stays, with the problem ``children_left``.
        """
        results = [SliceResult(0, done=False) for _ in subjects]
        if deadline.expired():
            return results
        if spec.goes_by_age:
            result = self._by_age.erase(spec, deadline, on_erased, scan)
            return [result if position == 0 else replace(result, erased=0) for position in range(len(subjects))]
        found, problems, description = self._plans(spec, subjects, deadline, scan, writing=True)
        for position, error in problems.items():
            results[position] = SliceResult(0, done=False, problem=error.code, permanent=error.permanent)
        if found:
            tally = _Tally(on_erased, self._clock)
            way = self._way(found, description, deadline, scan, guard)
            try:
                self._forget_after(self._go_through(found, description, deadline, way, tally.add, scan), spec)
            finally:
                tally.report(0.0)
        for subject in found:
            code, permanent = _problem(subject.problem)
            for position in subject.positions:
                counted = subject.counted if position == subject.positions[0] else 0
                results[position] = SliceResult(counted, subject.done, code, permanent)
        return results

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]:
        """Count what is left, up to a bound, and what is kept; see
        :func:`erasure.targets.dynamodb_verify.count_left`. Of a scan, what was found in the segments that were gone
        through in this call."""
        results = [VerifyResult(0, complete=False) for _ in subjects]
        if deadline.expired():
            return results
        if spec.goes_by_age:
            return [self._by_age.verify(spec, deadline, scan)] * len(subjects)
        found, problems, description = self._plans(spec, subjects, deadline, scan, writing=False)
        for position, error in problems.items():
            results[position] = VerifyResult(0, complete=False, problem=error.code, permanent=error.permanent)
        if found:
            self._forget_after(self._look(found, description, deadline, scan), spec)
        for subject in found:
            result = _verified(subject) if scan is None else _verified_in_part(subject)
            for position in subject.positions:
                results[position] = result
        return results

    def shards(self, spec: TargetSpec, deadline: Deadline) -> tuple[Shard, ...]:
        """The shards in which a target that scans is gone through. Raises :class:`TargetError`."""
        if spec.dynamodb is None or not spec.is_scan:
            raise mismatch("not a target that scans")
        return shards_of(self._describe(spec.dynamodb, deadline), self._capacity_share)

    def _go_through(
        self,
        found: Sequence[Progress],
        description: Mapping[str, Any],
        deadline: Deadline,
        way: Way,
        on_counted: OnCounted,
        scan: ScanRange | None,
    ) -> TargetError | None:
        if scan is None:
            return Sweep(self._calls, found, deadline, way, self._workers, on_counted).run()
        reading = reading_of(description, self._pacers.for_scan(description, self._share(scan)), consistent=False)
        return Scan(self._calls, found, deadline, way, reading, scan, self._workers, on_counted).run()

    def _look(
        self, found: Sequence[Progress], description: Mapping[str, Any], deadline: Deadline, scan: ScanRange | None
    ) -> TargetError | None:
        if scan is None:
            return count_left(self._calls, found, deadline, self._workers, self._now())
        plan = found[0].plan
        # Strongly consistent pages tell by themselves what is there and should not be.
        look = None if plan.deletes else Looker(self._calls, plan, deadline, self._now()).look
        way = Way(ErasePlan.key_query, look, GET_ITEMS)
        reading = reading_of(description, self._pacers.for_scan(description, self._share(scan)), consistent=True)
        return Scan(self._calls, found, deadline, way, reading, scan, self._workers).run()

    def _share(self, scan: ScanRange | None) -> Share:
        """Of a scan's shards, each has its own share of what the table has."""
        return Share(self._capacity_share, 1.0 if scan is None else (scan.end - scan.first) / scan.total)

    def items(
        self, spec: TargetSpec, values: Values, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[Sequence[Item]]:
        """One subject's items with some of their attributes (:class:`erasure.targets.protocol.ItemReader`)."""
        found, problems, _ = self._plans(spec, [values], deadline, None, writing=False)
        for error in problems.values():
            raise error
        for progress in found:
            yield from read_items(self._calls, progress.plan, attributes, deadline)

    def _way(
        self,
        found: Sequence[Progress],
        description: Mapping[str, Any],
        deadline: Deadline,
        scan: ScanRange | None,
        guard: Guard | None,
    ) -> Way:
        plan = found[0].plan
        partitions = min(MOST_PARTITIONS, len({subject.plan.matches[0].text for subject in found}))
        # What a scan finds at one time lies together.
        pacer = self._pacers.for_writes(description, self._share(scan), partitions if scan is None else 1)
        if guard is not None:
            return Way(ErasePlan.key_query, GuardedDeleter(self._calls, plan, pacer, deadline, guard).delete, GET_ITEMS)
        if plan.deletes:
            deleter = Deleter(self._calls, plan, pacer, deadline, self._conditional)
            return Way(ErasePlan.key_query, deleter.delete, min(BATCH_ITEMS, max(1, int(pacer.ceiling))))
        changer = Changer(self._calls, plan, pacer, deadline, self._now())
        if plan.told_by_pages:
            return Way(ErasePlan.item_query, changer.change, BATCH_ITEMS, carries=True)
        return Way(ErasePlan.key_query, changer.change, GET_ITEMS)

    def _plans(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        scan: ScanRange | None,
        *,
        writing: bool,
    ) -> tuple[list[Progress], dict[int, TargetError], Mapping[str, Any]]:
        """What can be worked on, by position what keeps the others from it, and the table's description."""
        rendered: dict[tuple[tuple[Match, ...], Detachment | None], list[int]] = {}
        problems: dict[int, TargetError] = {}
        for position, values in enumerate(subjects):
            try:
                rendered.setdefault(_render(spec, values), []).append(position)
            except TargetError as error:
                problems[position] = error
        found: list[Progress] = []
        description: Mapping[str, Any] = {}
        rule = spec.dynamodb
        if rule is not None and rendered:
            try:
                if spec.is_scan != (scan is not None):
                    raise mismatch("a scan, and nothing else, has a range")
                redaction = self._redaction(spec, writing)
                description = self._describe(rule, deadline)
                for (matches, detachment), positions in rendered.items():
                    treatment = Treatment(detachment, redaction, spec.retain)
                    found.append(Progress(positions, make_plan(rule, matches, description, treatment)))
            except TargetError as error:
                self._forget(rule.table)  # so that a repaired table is seen at once
                stopped = {position: error for positions in rendered.values() for position in positions}
                return [], problems | stopped, description
        return found, problems, description

    def _redaction(self, spec: TargetSpec, writing: bool) -> Redaction | None:
        if not spec.redact:
            return None
        key = ONLY_LOOKING
        if writing and any(rule.how == DIGEST for rule in spec.redact):
            key = self._read_digest_key()
        return make_redaction(spec.redact, key)

    def _read_digest_key(self) -> bytes:
        if self._digest_key is None:
            raise mismatch("there is no key to make digests with")
        try:
            return self._digest_key()
        except (BotoCoreError, ClientError, UnavailableError):
            pass
        raise TargetError(UNAVAILABLE, permanent=False)

    def _describe(self, rule: DynamoDBRule, deadline: Deadline) -> Mapping[str, Any]:
        with self._lock:
            known = self._descriptions.get(rule.table)
        if known is not None and self._clock() - known[0] < DESCRIBE_SECONDS:
            return known[1]
        answer: Mapping[str, Any] = self._calls.ask("describe_table", {"TableName": rule.table}, deadline)["Table"]
        with self._lock:
            self._descriptions[rule.table] = (self._clock(), answer)
        return answer

    def _forget_after(self, error: TargetError | None, spec: TargetSpec) -> None:
        if error is not None and error.permanent and spec.dynamodb is not None:
            self._forget(spec.dynamodb.table)

    def _forget(self, table: str) -> None:
        with self._lock:
            self._descriptions.pop(table, None)


def _render(spec: TargetSpec, values: Values) -> tuple[tuple[Match, ...], Detachment | None]:
    if spec.dynamodb is None:
        raise mismatch("not a DynamoDB target")
    matches = render_matches(spec.dynamodb, values)
    return matches, None if spec.detach is None else render_detachment(spec.dynamodb, spec.detach, values)


def _problem(error: TargetError | None) -> tuple[str | None, bool]:
    return (None, False) if error is None else (error.code, error.permanent)


def _verified(subject: Progress) -> VerifyResult:
    if subject.counted < LEFT_BOUND:
        return VerifyResult(subject.counted, subject.done, *_problem(subject.problem), kept=subject.kept)
    # Not read further: nobody knows how much more there is.
    kept = replace(subject.kept, more=subject.kept.count > 0)
    return VerifyResult(LEFT_BOUND, complete=True, kept=kept, more=True)


def _verified_in_part(subject: Progress) -> VerifyResult:
    # What is wrong with an item has to be told at once: another call may not come across it again.
    problem = subject.error or subject.flaw
    return VerifyResult(subject.counted, subject.done, *_problem(problem), kept=subject.kept)


class _Tally:
    """Passes confirmed deletions on, now and then."""

    def __init__(self, on_erased: OnErased | None, clock: Callable[[], float]) -> None:
        self._fresh: dict[int, int] = {}
        self._on_erased = on_erased
        self._clock = clock
        self._reported_at = clock()

    def add(self, subject: Progress, count: int) -> None:
        if self._on_erased is not None and count:
            position = subject.positions[0]
            self._fresh[position] = self._fresh.get(position, 0) + count
            self.report(_REPORT_SECONDS)

    def report(self, after_seconds: float) -> None:
        """Tell what has not been told, if the last time was so long ago."""
        if self._on_erased is None or not self._fresh or self._clock() - self._reported_at < after_seconds:
            return
        self._reported_at = self._clock()
        while self._fresh:
            position, count = self._fresh.popitem()
            self._on_erased(position, count)
