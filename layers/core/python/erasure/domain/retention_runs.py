"""Runs by the map's rules of age: a rule by its digest, a run as a subject, and the target as a run has it.

A run is an erasure request whose subject is the run itself, so that all the rest is the erasure's. It is bound to the
rule as it was: if the rule, its target or what lies beside that has changed since, nothing is erased by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from erasure.domain.canonical import digest_of
from erasure.domain.collisions import neighbours
from erasure.domain.retention import keep_until
from erasure.domain.subject import RETENTION, Subject
from erasure.domain.target_spec import ERASING, REPORTING, VOID, AgeRule, TargetSpec
from erasure.domain.times import format_time, parse_time

EVERY_TENANT = "*"
RULE_CHANGED = "rule_changed"
"""The reason of a run's target that is not what it was when the run was made."""

_DIGEST_LENGTH = 16


@dataclass(frozen=True, slots=True)
class RetentionRun:
    """``mode``: ``erase`` or ``report``. ``moment``: aware; what is old enough then goes, and nothing that becomes so
    later."""

    mode: str
    rule_digest: str
    moment: datetime

    def subject(self) -> Subject:
        return Subject(EVERY_TENANT, f"{self.mode}#{self.rule_digest}#{format_time(self.moment)}", RETENTION)

    @classmethod
    def of(cls, subject: Subject) -> RetentionRun | None:
        """The run that a request is about; ``None``: its record has lost it, or it is about somebody."""
        mode, _, rest = subject.id.partition("#")
        digest, _, moment = rest.partition("#")
        if subject.type != RETENTION or mode not in (ERASING, REPORTING) or not moment:
            return None
        return cls(mode, digest, parse_time(moment))


@dataclass(frozen=True, slots=True)
class EndedRun:
    """``count``: things that went, or that a report has found; ``kept``: that stayed under a lock or a legal hold;
    ``unreadable``: that stayed because nobody can tell how old they are."""

    request_id: str
    ended_at: datetime
    count: int
    kept: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class KnownRule:
    """``report``, ``run``: the last that came to their end. ``begun``: the latest that was begun, ``is_open``: and is
    not known to have ended. ``revision`` counts the writes of the record."""

    rule_digest: str
    target: str
    report: EndedRun | None = None
    run: EndedRun | None = None
    begun: RetentionRun | None = None
    is_open: bool = False
    revision: int = 0


def rule_digest(spec: TargetSpec, targets: Iterable[TargetSpec]) -> str:
    """What stands for the rule of a target of the map ``targets``: another one as soon as anything that decides over
    what goes by it is another."""
    beside = [other.to_dict() for other in neighbours(spec, targets) if other.name != spec.name]
    return digest_of({"target": spec.to_dict(), "beside": beside})[:_DIGEST_LENGTH]


def targets_of_run(subject: Subject, names: Sequence[str], targets: Sequence[TargetSpec]) -> list[TargetSpec]:
    """The targets of a run, of these ``names``, as it has them. One whose rule is not the run's (any more) is told as
    ``void``, and names no data."""
    run = RetentionRun.of(subject)
    by_name = {spec.name: spec for spec in targets}
    return [_as_run(run, name, by_name.get(name), targets) for name in names]


def _as_run(run: RetentionRun | None, name: str, spec: TargetSpec | None, targets: Sequence[TargetSpec]) -> TargetSpec:
    rule = None if spec is None else spec.retention
    if run is None or spec is None or rule is None or rule_digest(spec, targets) != run.rule_digest:
        return TargetSpec(name, "record" if spec is None else spec.category, retention=AgeRule("", mode=VOID))
    mode = REPORTING if rule.only_report else run.mode
    run_rule = replace(rule, mode=mode, moment=format_time(run.moment))
    return replace(spec, retention=run_rule, beside=neighbours(spec, targets))


def is_old(rule: AgeRule, since: datetime) -> bool:
    """Whether a thing whose period began at ``since`` (aware) goes in the run whose rule this is."""
    return keep_until(since, rule.older_than) <= parse_time(rule.moment)
