"""What became of a target, and when a request may call itself finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from erasure.domain.retention import RETENTION_UNKNOWN

ERASED = "erased"
ALREADY_ABSENT = "already_absent"
DETACHED = "detached"
REDACTED = "redacted"
RETAINED = "retained"
BLOCKED = "blocked"
REPORTED = "reported"
"""Counted, and left as it is: a run that was to do no more."""
FAILED = "failed"
FINAL_OUTCOMES = frozenset({ERASED, ALREADY_ABSENT, DETACHED, REDACTED, RETAINED, BLOCKED, REPORTED})
"""Outcomes after which nothing of the target is left to do, or nothing before its time. ``failed`` is none of them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Things that are still there and may be: how many (or ``more``), the last of them ``until`` (RFC 3339, UTC;
    ``None``: nobody knows how long). ``unreadable``: things besides that a run by age left alone, because nobody can
    tell how old they are."""

    count: int = 0
    until: str | None = None
    more: bool = False
    unreadable: int = 0


NOTHING_KEPT = Kept()

_GRAVITY = (ALREADY_ABSENT, REPORTED, ERASED, DETACHED, REDACTED, RETAINED, BLOCKED, FAILED)
NOTHING_SPECIAL: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """Outcome of one target for one request.

    ``count``: items, or object versions, markers and uploads, confirmed as deleted, or changed when ``detached`` or
    ``redacted``. ``at_least``: a slice died before it could write its count down, so there were ``count`` or more.
    ``reason``: fixed code when ``failed``, or that says more. ``kept``: what is still there, by the law's ``basis``
    (``retained``), under a lock of the bucket or a legal hold (``blocked``), the last of it ``until`` (``None``: nobody
    knows how long); ``kept_more``: that many or more. ``unreadable``: what was left alone because nobody can tell how
    old it is.
    """

    target: str
    category: str
    outcome: str
    count: int = 0
    at_least: bool = False
    reason: str | None = None
    kept: int = 0
    kept_more: bool = False
    until: str | None = None
    basis: str | None = None
    unreadable: int = 0

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "target": self.target,
            "category": self.category,
            "outcome": self.outcome,
            "count": self.count,
        }
        if self.at_least:
            data["at_least"] = True
        if self.reason:
            data["reason"] = self.reason
        if self.kept:
            data["kept"] = self.kept
            data["until"] = self.until
        if self.kept_more:
            data["kept_more"] = True
        if self.basis:
            data["basis"] = self.basis
        if self.unreadable:
            data["unreadable"] = self.unreadable
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TargetOutcome:
        return cls(
            target=data["target"],
            category=data["category"],
            outcome=data["outcome"],
            count=int(data["count"]),
            at_least=bool(data.get("at_least", False)),
            reason=data.get("reason"),
            kept=int(data.get("kept", 0)),
            kept_more=bool(data.get("kept_more", False)),
            until=data.get("until"),
            basis=data.get("basis"),
            unreadable=int(data.get("unreadable", 0)),
        )


def outcome_of_erasure(
    target: str,
    category: str,
    count: int,
    *,
    at_least: bool,
    done: str = ERASED,
    kept: Kept = NOTHING_KEPT,
    basis: str | None = None,
    reason: str | None = None,
) -> TargetOutcome:
    """The outcome of a target that was erased and verified.

    Nothing counted and no slice lost: there was nothing (``already_absent``). A lost slice may have erased
    something before it died, so then it is ``erased``, "at least" so many. ``done``: what the target's action calls
    it, ``erased``, ``detached`` or ``redacted``, or ``reported`` of one that only counts, however much. ``kept``: what
    is still there and may be, by the law (``basis``) or, without one, because the bucket does not let it go.
    ``reason``: a fixed code that says more.
    """
    outcome = done if count or at_least or done == REPORTED else ALREADY_ABSENT
    if kept.count and done != REPORTED:
        outcome = RETAINED if basis else BLOCKED
    return TargetOutcome(
        target,
        category,
        outcome,
        count,
        at_least,
        reason or (RETENTION_UNKNOWN if kept.unreadable else None),
        kept.count,
        kept.more,
        kept.until,
        basis if kept.count else None,
        kept.unreadable,
    )


DONE_BY_ACTION = {"delete": ERASED, "detach": DETACHED, "redact": REDACTED, "report": REPORTED}
"""What a target's action calls it when it has done something."""


def merge_outcomes(
    earlier: Iterable[TargetOutcome], latest: Iterable[TargetOutcome], done: Mapping[str, str] = NOTHING_SPECIAL
) -> tuple[TargetOutcome, ...]:
    """Outcomes of a request after another attempt: the latest attempt decides, what was erased before still counts.

    ``done``: what the latest attempt's targets call it when they have done something, by name, unless ``erased``.

    A target that only an earlier attempt knew keeps its outcome, a failure too, although the data map may have dropped
    it since: a request never becomes finished by forgetting.
    """
    merged = {outcome.target: outcome for outcome in earlier}
    for outcome in latest:
        before = merged.get(outcome.target)
        # What was only counted was counted anew.
        is_counted = outcome.outcome == REPORTED or done.get(outcome.target) == REPORTED
        if before is not None and (before.count or before.at_least) and not is_counted:
            outcome = replace(
                outcome,
                outcome=_what_was_done(before, done) if outcome.outcome == ALREADY_ABSENT else outcome.outcome,
                count=before.count + outcome.count,
                at_least=before.at_least or outcome.at_least,
            )
        merged[outcome.target] = outcome
    return tuple(merged.values())


def _what_was_done(before: TargetOutcome, done: Mapping[str, str]) -> str:
    if before.outcome in (ERASED, DETACHED, REDACTED):
        return before.outcome
    # It failed, after it had done a part, or what it kept is gone now.
    return done.get(before.target, ERASED)


def add_up(parts: Sequence[TargetOutcome]) -> TargetOutcome:
    """One outcome of a target that was worked on in several pieces: the gravest, counts added up."""
    gravest = max(parts, key=lambda outcome: _GRAVITY.index(outcome.outcome))
    until = None if any(outcome.kept and outcome.until is None for outcome in parts) else _latest(parts)
    return replace(
        gravest,
        count=sum(outcome.count for outcome in parts),
        at_least=any(outcome.at_least for outcome in parts),
        kept=sum(outcome.kept for outcome in parts),
        kept_more=any(outcome.kept_more for outcome in parts),
        until=until,
        unreadable=sum(outcome.unreadable for outcome in parts),
    )


def _latest(parts: Sequence[TargetOutcome]) -> str | None:
    return max((outcome.until for outcome in parts if outcome.until is not None), default=None)


def is_finished(outcomes: Iterable[TargetOutcome]) -> bool:
    """Whether a request with these outcomes is done. No outcome at all covers nothing and is not."""
    kinds = [outcome.outcome for outcome in outcomes]
    return bool(kinds) and all(kind in FINAL_OUTCOMES for kind in kinds)
