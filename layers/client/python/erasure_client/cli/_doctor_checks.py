"""What a look at the service comes to: one :class:`Check` for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from erasure_client.cli._times import counted

Status: TypeAlias = Literal["problem", "warning", "unknown", "ok", "skipped"]

WORST_FIRST: tuple[Status, ...] = ("problem", "warning", "unknown", "ok", "skipped")
DEPLOY_AGAIN = "Deploy the stack again: `sam build && sam deploy`."


@dataclass(frozen=True, slots=True)
class Check:
    """``ok``: it is as it should be. ``warning``: somebody should look at it by day. ``problem``: something does not
    work, or will not when it is needed. ``unknown``: it could not be looked at; ``next`` says what is missing.
    ``skipped``: there is nothing to look at here.

    ``name``: what it is, by the template's name for it; never that of a table or a bucket.
    """

    area: str
    name: str
    status: Status
    said: str
    next: str = ""

    def document(self) -> dict[str, str]:
        return asdict(self)


class GoneError(Exception):
    """What the stack lists is not there any more."""


class NotSeenError(Exception):
    """It could not be looked at. ``next``: what would help."""

    def __init__(self, said: str, next_step: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.next = next_step


def looked_at(area: str, name: str, look: Callable[..., Check | Iterable[Check]], *arguments: Any) -> list[Check]:
    """What ``look(*arguments)`` has seen. What it cannot see ends nothing: it is told as such."""
    try:
        seen = look(*arguments)
        return [seen] if isinstance(seen, Check) else list(seen)
    except GoneError:
        return [Check(area, name, "problem", "the stack lists it, and it is not there any more", DEPLOY_AGAIN)]
    except NotSeenError as error:
        return [Check(area, name, "unknown", error.said, error.next)]
    except (AttributeError, KeyError, TypeError, ValueError):
        return [Check(area, name, "unknown", "the answer is not one that this version can read")]


def missing(area: str, expected: Iterable[str], found: Iterable[str]) -> list[Check]:
    """A problem for each that a stack of this version has, and this one has not."""
    there = set(found)
    return [Check(area, name, "problem", "the stack has none", DEPLOY_AGAIN) for name in expected if name not in there]


def exit_code(checks: Sequence[Check]) -> int:
    """0: no problems. 1: problems, or nothing could be looked at, which is no sign of health."""
    statuses = {check.status for check in checks}
    return 1 if "problem" in statuses or not statuses & {"ok", "warning"} else 0


def verdict(checks: Sequence[Check]) -> str:
    """What it comes to, in a sentence that says no more than what was seen."""
    numbers = counts(checks)
    if numbers["problem"]:
        return f"It is not well: {counted(numbers['problem'], 'problem', 'problems')}."
    if exit_code(checks):
        return "Nothing could be looked at, which is no sign of health."
    if numbers["unknown"]:
        things = counted(numbers["unknown"], "thing", "things")
        return f"No problem was seen, but {things} could not be looked at."
    return "No problem was seen."


def counts(checks: Iterable[Check]) -> dict[Status, int]:
    """How many there are of each status, the worst first."""
    statuses = [check.status for check in checks]
    return {status: statuses.count(status) for status in WORST_FIRST}
