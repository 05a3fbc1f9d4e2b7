"""Runs by the map's rules of age: begun when they are due, and written down when they have ended.

What a rule is about to do is written into its record first, then made and sent off: two sweeps at once begin one run,
and what a sweep that died has left out, the next one does. A run that is under way is an erasure like any other: it is
looked after by the clock, and nothing here waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from erasure.domain.audit import next_entry
from erasure.domain.canonical import digest_of
from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, RETENTION, ErasureRequest
from erasure.domain.retention_runs import RULE_CHANGED, EndedRun, KnownRule, RetentionRun
from erasure.domain.target_spec import REPORTING, AgeRule, TargetSpec
from erasure.domain.times import due_at, format_time, parse_time, purged_by
from erasure.errors import UnavailableError
from erasure.ports import Acceptance, AcceptanceStore, Clock, DataMapStore, JobQueue, RequestStore
from erasure.services.retention_rules import (
    RetentionPolicy,
    RuleStore,
    next_run,
    request_id_of,
    rules_of,
)
from erasure.targets.protocol import Deadline


@dataclass(frozen=True, slots=True)
class SettledRuns:
    """``finished``, ``given_up``: numbers of runs; those given up are parked, cancelled or purged. Of the finished
    ones: how many things were ``erased``, and how many left alone because their age was ``unreadable``."""

    finished: int = 0
    given_up: int = 0
    erased: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class RetentionRuns:
    """``queue``: the batch lane."""

    requests: RequestStore
    acceptance: AcceptanceStore
    rules: RuleStore
    data_maps: DataMapStore
    queue: JobQueue
    now: Clock
    policy: RetentionPolicy

    def settle(self) -> SettledRuns:
        """Write down what has become of the runs under way, and forget rules that the map has no more: if one of them
        comes back, it begins with a report."""
        known, current = self.rules.list(), self._current()
        under_way = [request_id_of(rule.begun) for rule in known if rule.is_open and rule.begun is not None]
        requests = self.requests.get_many(under_way) if under_way else {}
        settled = SettledRuns()
        for rule in known:
            request = requests.get(request_id_of(rule.begun)) if rule.is_open and rule.begun is not None else None
            after = rule if request is None else _after(rule, request)
            if rule.rule_digest not in current and (request is None or not after.is_open):
                is_written = self.rules.forget(rule)
            else:
                is_written = after != rule and self.rules.put(after)
            if is_written and request is not None:
                settled = _counted(settled, rule, request)
        return settled

    def start_due(self, deadline: Deadline) -> int:
        """How many runs were begun. Raises ``UnavailableError`` when one could not be made, after all the others."""
        known = {rule.rule_digest: rule for rule in self.rules.list()}
        started, failed = 0, None
        for digest, (spec, age) in self._current().items():
            if deadline.expired():
                break
            try:
                started += self._start(known.get(digest, KnownRule(digest, spec.name)), age)
            except UnavailableError as error:
                failed = error
        if failed is not None:
            raise failed
        return started

    def _current(self) -> Mapping[str, tuple[TargetSpec, AgeRule]]:
        data_map = self.data_maps.current()
        return {} if data_map is None else rules_of(data_map.targets)

    def _start(self, rule: KnownRule, age: AgeRule) -> bool:
        if rule.is_open and rule.begun is not None:
            if self.requests.get(request_id_of(rule.begun)) is None:
                self._make(rule.begun, rule.target, age)
            return False
        due, now = next_run(rule, age, self.policy), self.now()
        if due is None or (due.at is not None and due.at > now):
            return False
        # As it is written and read again, so that it makes the same request.
        run = RetentionRun(due.mode, rule.rule_digest, parse_time(format_time(now)))
        if not self.rules.put(replace(rule, begun=run, is_open=True)):
            return False
        self._make(run, rule.target, age)
        return True

    def _make(self, run: RetentionRun, target: str, age: AgeRule) -> None:
        request = self._request(run, target)
        details: dict[str, object] = {
            "family": request.family,
            "subject_digest": request.subject_digest,
            "subject_type": request.subject.type,
            "purpose": RETENTION,
            "target": target,
            "mode": run.mode,
            "rule_digest": run.rule_digest,
            "older_than": age.older_than,
            "moment": format_time(run.moment),
        }
        entry = next_entry(request.request_id, None, "requested", request.requested_at, details)
        self.acceptance.accept(Acceptance(request, entry), request.requested_at)
        self.queue.send([request.request_id], 1)

    def _request(self, run: RetentionRun, target: str) -> ErasureRequest:
        now, subject = self.now(), run.subject()
        return ErasureRequest(
            request_id=request_id_of(run),
            subject=subject,
            # Nobody's, so it need not be kept from anybody.
            subject_digest=digest_of(["retention", subject.id]),
            family=RETENTION,
            requested_at=now,
            due_at=due_at(now, self.policy.clock.sla_hours),
            purged_by=purged_by(now, self.policy.purge_days),
            scan_at=run.moment,
            clock_at=self.policy.clock.first_look(now),
            purpose=RETENTION,
            only_targets=(target,),
        )


def _after(rule: KnownRule, request: ErasureRequest) -> KnownRule:
    """What is known of a rule once its run stands as it does."""
    if request.state == FINISHED:
        return _ended(rule, request)
    is_given_up = request.state == CANCELLED or request.parked_at is not None or request.purged_at is not None
    return replace(rule, is_open=False) if is_given_up else rule


def _ended(rule: KnownRule, request: ErasureRequest) -> KnownRule:
    rule, outcome = replace(rule, is_open=False), _outcome_of(rule, request)
    if outcome is None or outcome.reason == RULE_CHANGED or rule.begun is None:
        return rule
    ended_at: datetime = request.finished_at or request.requested_at
    ended = EndedRun(request.request_id, ended_at, outcome.count, outcome.kept, outcome.unreadable)
    return replace(rule, report=ended) if rule.begun.mode == REPORTING else replace(rule, run=ended)


def _outcome_of(rule: KnownRule, request: ErasureRequest) -> TargetOutcome | None:
    return next((outcome for outcome in request.outcomes if outcome.target == rule.target), None)


def _counted(settled: SettledRuns, rule: KnownRule, request: ErasureRequest) -> SettledRuns:
    if request.state != FINISHED:
        return replace(settled, given_up=settled.given_up + 1)
    outcome = _outcome_of(rule, request)
    is_report = rule.begun is None or rule.begun.mode == REPORTING
    return replace(
        settled,
        finished=settled.finished + 1,
        erased=settled.erased + (0 if outcome is None or is_report else outcome.count),
        unreadable=settled.unreadable + (0 if outcome is None else outcome.unreadable),
    )
