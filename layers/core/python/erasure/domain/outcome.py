"""What became of a target, and when a request may call itself finished."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

ERASED = "erased"
ALREADY_ABSENT = "already_absent"
DETACHED = "detached"
FAILED = "failed"
FINAL_OUTCOMES = frozenset({ERASED, ALREADY_ABSENT, DETACHED})
"""Outcomes after which nothing of the target is left to do. ``failed`` is never one of them."""


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """Outcome of one target for one request.

    ``count``: items, or object versions, markers and uploads, confirmed as deleted; items of others from which the
    subject was taken out when ``detached``. ``at_least``: a slice died
    before it could write its count down, so there were ``count`` or more. ``reason``: fixed code when ``failed``.
    """

    target: str
    category: str
    outcome: str
    count: int = 0
    at_least: bool = False
    reason: str | None = None

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
        )


def outcome_of_erasure(target: str, category: str, count: int, *, at_least: bool, done: str = ERASED) -> TargetOutcome:
    """The outcome of a target that was erased and verified.

    Nothing counted and no slice lost: there was nothing (``already_absent``). A lost slice may have erased
    something before it died, so then it is ``erased``, "at least" so many. ``done``: what the target's action calls
    it, ``erased`` or ``detached``.
    """
    outcome = done if count or at_least else ALREADY_ABSENT
    return TargetOutcome(target, category, outcome, count, at_least)


def merge_outcomes(
    earlier: Iterable[TargetOutcome], latest: Iterable[TargetOutcome], detaching: Collection[str] = ()
) -> tuple[TargetOutcome, ...]:
    """Outcomes of a request after another attempt: the latest attempt decides, what was erased before still counts.

    ``detaching``: the latest attempt's targets that detach, by name.

    A target that only an earlier attempt knew keeps its outcome, a failure too, although the data map may have dropped
    it since: a request never becomes finished by forgetting.
    """
    merged = {outcome.target: outcome for outcome in earlier}
    for outcome in latest:
        before = merged.get(outcome.target)
        if before is not None and (before.count or before.at_least):
            outcome = replace(
                outcome,
                outcome=_what_was_done(before, detaching) if outcome.outcome == ALREADY_ABSENT else outcome.outcome,
                count=before.count + outcome.count,
                at_least=before.at_least or outcome.at_least,
            )
        merged[outcome.target] = outcome
    return tuple(merged.values())


def _what_was_done(before: TargetOutcome, detaching: Collection[str]) -> str:
    if before.outcome in (ERASED, DETACHED):
        return before.outcome
    return DETACHED if before.target in detaching else ERASED  # it failed, after it had done a part


def is_finished(outcomes: Iterable[TargetOutcome]) -> bool:
    """Whether a request with these outcomes is done. No outcome at all covers nothing and is not."""
    kinds = [outcome.outcome for outcome in outcomes]
    return bool(kinds) and all(kind in FINAL_OUTCOMES for kind in kinds)
