"""Erase a person's items from DynamoDB tables, and look again.

A slice reads pages of keys (strongly consistent where the engine has it) and deletes them 25 at a time while the
next page is on its way. Every key is checked against the rule in code before it is deleted.
"""

from __future__ import annotations

import random as random_module
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from erasure.domain.target_spec import DynamoDBRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import Calls
from erasure.targets.dynamodb_deletes import BATCH_ITEMS, Conditional, Deleted, Deleter
from erasure.targets.dynamodb_pacing import Pacer
from erasure.targets.dynamodb_plan import Attributes, ErasePlan, identity, make_plan, render_matches
from erasure.targets.dynamodb_verify import count_left
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult

DESCRIBE_SECONDS = 300.0
"""How long a table's description is believed."""

_REPORT_SECONDS = 1.0
"""How often ``on_erased`` is told, at most."""


class DynamoDBTarget:
    """Items of a DynamoDB table (:class:`erasure.targets.protocol.Target`). One instance serves several threads.

    ``client``: a botocore DynamoDB client, best made with
    :func:`erasure.targets.dynamodb_calls.client_options`. ``workers``: batches of one erasure in flight.
    ``conditional``: how items found through an index are deleted, ``"batch"`` (25 PartiQL statements a call) or
    ``"single"`` (DeleteItem, for engines whose PartiQL has no conditional DELETE). ``sleep``, ``random`` and
    ``clock`` can be replaced in tests.

    ``erase`` needs DescribeTable, Query, BatchWriteItem, PartiQLDelete and DeleteItem; ``verify`` DescribeTable, Query
    and BatchGetItem. Both raise :class:`TargetError`: ``target_missing``, ``map_mismatch``, ``access_denied``,
    ``rejected``, ``missing_value``, ``ambiguous_identifier`` (permanent); ``verify`` also ``throttled`` and
    ``unavailable`` (not permanent), which ``erase`` returns as a problem of its slice.
    """

    def __init__(
        self,
        client: Any,
        *,
        workers: int = 4,
        conditional: Conditional = "batch",
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = Calls(client, sleep, random)
        self._workers = workers
        self._conditional: Conditional = conditional
        self._clock = clock
        self._descriptions: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def erase(
        self,
        spec: TargetSpec,
        values: Mapping[str, str],
        deadline: Deadline,
        on_erased: Callable[[int], None] | None = None,
    ) -> SliceResult:
        """Delete the subject's items until done or until the deadline; what is under way then is finished and counted.

        ``done``: all that this slice saw is gone; items written meanwhile may remain (``verify`` finds them).
        """
        if deadline.expired():
            return SliceResult(0, done=False)
        try:
            plan = self._plan(spec, values, deadline)
        except TargetError as error:
            if error.permanent:
                raise
            return SliceResult(0, done=False, problem=error.code)
        deleter = Deleter(self._calls, plan, Pacer(self._clock), deadline, self._conditional)
        tally = _Tally(on_erased, self._clock)
        erasing = _Slice(self._calls, plan, deleter, deadline, tally, self._workers)
        error_met = erasing.run()
        if error_met is not None and error_met.permanent:
            self._forget(plan.table)
            raise error_met
        return SliceResult(tally.erased, done=erasing.done, problem=error_met.code if error_met else None)

    def verify(self, spec: TargetSpec, values: Mapping[str, str], deadline: Deadline) -> VerifyResult:
        """Count what is left, up to a bound; see :func:`erasure.targets.dynamodb_verify.count_left`."""
        plan = self._plan(spec, values, deadline)
        try:
            return count_left(self._calls, plan, deadline)
        except TargetError as error:
            if error.permanent:
                self._forget(plan.table)
            raise

    def _plan(self, spec: TargetSpec, values: Mapping[str, str], deadline: Deadline) -> ErasePlan:
        rule = spec.dynamodb
        if rule is None:
            raise TargetError("map_mismatch", permanent=True, detail="not a DynamoDB target")
        matches = render_matches(rule, values)
        try:
            return make_plan(rule, matches, self._describe(rule, deadline))
        except TargetError:
            self._forget(rule.table)  # so that a repaired table is seen at once
            raise

    def _describe(self, rule: DynamoDBRule, deadline: Deadline) -> Mapping[str, Any]:
        with self._lock:
            known = self._descriptions.get(rule.table)
        if known is not None and self._clock() - known[0] < DESCRIBE_SECONDS:
            return known[1]
        answer: Mapping[str, Any] = self._calls.ask("describe_table", {"TableName": rule.table}, deadline)["Table"]
        with self._lock:
            self._descriptions[rule.table] = (self._clock(), answer)
        return answer

    def _forget(self, table: str) -> None:
        with self._lock:
            self._descriptions.pop(table, None)


class _Tally:
    """Adds up confirmed deletions, and passes them on now and then."""

    def __init__(self, on_erased: Callable[[int], None] | None, clock: Callable[[], float]) -> None:
        self.erased = 0
        self._reported = 0
        self._on_erased = on_erased
        self._clock = clock
        self._reported_at = clock()

    def add(self, count: int) -> None:
        self.erased += count
        if self._clock() - self._reported_at >= _REPORT_SECONDS:
            self.report()

    def report(self) -> None:
        if self._on_erased is not None and self.erased > self._reported:
            fresh, self._reported = self.erased - self._reported, self.erased
            self._reported_at = self._clock()
            self._on_erased(fresh)


class _Slice:
    """One run over the subject's items: reads ahead one page, keeps a bounded number of batches in flight."""

    def __init__(
        self, calls: Calls, plan: ErasePlan, deleter: Deleter, deadline: Deadline, tally: _Tally, workers: int
    ) -> None:
        self.done = False
        self._calls = calls
        self._plan = plan
        self._deleter = deleter
        self._deadline = deadline
        self._tally = tally
        self._workers = workers
        self._in_flight: set[Future[Deleted]] = set()
        self._stopped = False
        self._error: TargetError | None = None

    def run(self) -> TargetError | None:
        """Work until done or stopped; returns what went wrong, if anything."""
        reached_end = False
        with ThreadPoolExecutor(self._workers + 1) as pool:
            try:
                reached_end = self._send_batches(pool)
            except TargetError as error:
                self._stop(error)
            finally:
                if not reached_end:
                    self._in_flight = {batch for batch in self._in_flight if not batch.cancel()}
                self._collect(below=1)
                self._tally.report()
        self.done = reached_end and not self._stopped
        return self._error

    def _send_batches(self, pool: ThreadPoolExecutor) -> bool:
        """Hand batches to the workers; returns whether the end of the subject's items was reached."""
        for batch in self._batches(pool):
            self._collect(below=2 * self._workers)
            if self._stopped or self._deadline.expired():
                return False
            self._in_flight.add(pool.submit(self._deleter.delete, batch))
        return not self._stopped

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[list[Attributes]]:
        """Keys in full batches across pages; only the last may be smaller."""
        batch: dict[tuple[str, ...], Attributes] = {}
        for items in self._pages(pool):
            for item in items:
                if not self._plan.covers(item):
                    raise TargetError("rejected", permanent=True, detail="an item beyond the rule was answered")
                key = self._plan.key_of(item)
                batch[identity(key)] = key  # an index may list an item twice; a batch may not name it twice
                if len(batch) == BATCH_ITEMS:
                    yield list(batch.values())
                    batch = {}
        if batch:
            yield list(batch.values())

    def _pages(self, pool: ThreadPoolExecutor) -> Iterator[list[Attributes]]:
        query = self._plan.key_query()
        cursor: Attributes | None = None
        ahead = pool.submit(self._calls.ask, "query", query, self._deadline)
        while True:
            page = ahead.result()
            cursor = page.get("LastEvaluatedKey")
            if cursor and not self._deadline.expired():
                ahead = pool.submit(self._calls.ask, "query", query | {"ExclusiveStartKey": cursor}, self._deadline)
            yield page["Items"]
            if not cursor:
                return
            if self._deadline.expired():
                self._stopped = True
                return

    def _collect(self, below: int) -> None:
        """Take in finished batches, waiting until fewer than ``below`` are in flight."""
        finished = {batch for batch in self._in_flight if batch.done()}
        while True:
            self._in_flight -= finished
            for batch in finished:
                self._take(batch.result())
            if len(self._in_flight) < below:
                return
            finished, _ = wait(self._in_flight, return_when=FIRST_COMPLETED)

    def _take(self, deleted: Deleted) -> None:
        self._tally.add(deleted.erased)
        if deleted.error is not None:
            self._stop(deleted.error)
        elif not deleted.all_sent:
            self._stopped = True

    def _stop(self, error: TargetError) -> None:
        self._stopped = True
        if self._error is None or (error.permanent and not self._error.permanent):
            self._error = error
