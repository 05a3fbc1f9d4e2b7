"""What is known of the map's rules of age: the last report of each, its last run, and when the next one is due.

A rule is known by its digest: with any change it is another rule, which has no report yet and erases nothing before it
has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import derived_request_id
from erasure.domain.retention_runs import KnownRule, RetentionRun, rule_digest
from erasure.domain.target_spec import ERASING, REPORTING, AgeRule, TargetSpec
from erasure.domain.times import milliseconds


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """``every``: so often a rule runs. ``after_report``: so long its first run waits after the report."""

    clock: ClockPolicy
    purge_days: int = 90
    every: timedelta = timedelta(hours=24)
    after_report: timedelta = timedelta(hours=24)


class RuleStore(Protocol):
    def list(self) -> list[KnownRule]:
        """All of them, strongly consistent."""

    def put(self, rule: KnownRule) -> bool:
        """Write it if it is as it was read (revision 0: not there yet); false otherwise."""

    def forget(self, rule: KnownRule) -> bool:
        """Take it away if it is as it was read; false otherwise."""


@dataclass(frozen=True, slots=True)
class NextRun:
    """``at``: when it is due; ``None``: at once."""

    mode: str
    at: datetime | None


def next_run(known: KnownRule, rule: AgeRule, policy: RetentionPolicy) -> NextRun | None:
    """``None``: one is under way."""
    if known.is_open:
        return None
    again_at = None if known.begun is None else known.begun.moment + policy.every
    if known.report is None or rule.only_report:
        return NextRun(REPORTING, again_at)
    first_at = known.report.ended_at + policy.after_report
    has_run = known.begun is not None and known.begun.mode == ERASING
    return NextRun(ERASING, max(first_at, again_at) if has_run and again_at is not None else first_at)


def request_id_of(run: RetentionRun) -> str:
    """The same for the same run, however often it is made."""
    return derived_request_id(f"{run.mode}#{run.rule_digest}", 0, milliseconds(run.moment))


def rules_of(targets: Sequence[TargetSpec]) -> dict[str, tuple[TargetSpec, AgeRule]]:
    """The rules of a map's targets, by digest, in the map's order."""
    return {rule_digest(spec, targets): (spec, spec.retention) for spec in targets if spec.retention is not None}
