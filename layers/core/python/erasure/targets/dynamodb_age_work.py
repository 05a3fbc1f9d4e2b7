"""What is done with old items that a run by age has found: they go, or they are counted, but for those of people under
a legal hold.

Holds are asked about right before, for a few items at a time. An item goes as it was read then, with strong
consistency; one that somebody else has changed meanwhile stays, for the verifier to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from erasure.errors import TargetError
from erasure.targets.dynamodb_ages import OLD, AgePlan, Change, change_of
from erasure.targets.dynamodb_calls import REJECTED, Calls, ConditionFailedError
from erasure.targets.dynamodb_plan import Attributes
from erasure.targets.dynamodb_reads import get_items
from erasure.targets.dynamodb_sweep import graver
from erasure.targets.dynamodb_writes import ConditionalWriter, UnansweredError
from erasure.targets.held import Holds
from erasure.targets.protocol import Deadline


@dataclass(slots=True)
class Tally:
    """``counted``: items that went, were changed or, if nothing is done, would have to. ``held``: of people under a
    hold. ``unreadable``: of an age that nobody can tell. ``flaw``: what is wrong with some item, which keeps none of
    the others; ``error``: what ended the work; ``time_up``: there was no time for all of it."""

    counted: int = 0
    held: int = 0
    unreadable: int = 0
    flaw: TargetError | None = None
    error: TargetError | None = None
    time_up: bool = False

    @property
    def is_whole(self) -> bool:
        return self.error is None and not self.time_up

    def add(self, other: Tally) -> None:
        self.counted += other.counted
        self.held += other.held
        self.unreadable += other.unreadable
        self.flaw = self.flaw or other.flaw
        self.error = graver(self.error, other.error)
        self.time_up = self.time_up or other.time_up


class Counting:
    """Counts items as pages have them. Several threads may use it at once."""

    def __init__(self, plan: AgePlan, holds: Holds) -> None:
        self._plan = plan
        self._holds = holds

    def work(self, items: Sequence[Attributes]) -> Tally:
        tally = Tally()
        try:
            for _, change in due(self._plan, self._holds, items, tally):
                tally.counted += change is not None
        except TargetError as error:
            tally.error = error
        return tally


class Erasing:
    """Erases or redacts items. Several threads may use it at once."""

    def __init__(
        self, calls: Calls, plan: AgePlan, holds: Holds, writer: ConditionalWriter, deadline: Deadline
    ) -> None:
        self._calls = calls
        self._plan = plan
        self._holds = holds
        self._writer = writer
        self._deadline = deadline

    def work(self, items: Sequence[Attributes]) -> Tally:
        """``items``: at most 100 different ones, of which only the keys matter: they are read again."""
        tally = Tally()
        try:
            read = self._read([self._plan.key_of(item) for item in items])
            for item, change in due(self._plan, self._holds, read, tally):
                if change is None:
                    continue
                sent = self._send(item, change, tally)
                if not sent:
                    tally.time_up = True
                    return tally
        except TargetError as error:
            tally.error = error
        return tally

    def _read(self, keys: Sequence[Attributes]) -> list[Attributes]:
        found = [item for items in get_items(self._calls, self._plan, keys, self._deadline) for item in items]
        return [item for item in found if self._plan.age_of(item) == OLD]

    def _send(self, item: Attributes, change: Change, tally: Tally) -> bool:
        """Whether there was time for it."""
        try:
            if not self._writer.send(change.operation, change.arguments):
                return False
            tally.counted += 1
        except UnansweredError:
            tally.counted += self._has_gone(item)
        except ConditionFailedError:
            pass
        except TargetError as error:
            if error.code != REJECTED:
                raise
            tally.flaw = tally.flaw or error
        return True

    def _has_gone(self, item: Attributes) -> bool:
        """Whether nothing is left to do about an item: then the write that had no answer has done it."""
        read = self._read([self._plan.key_of(item)])
        return not any(change_of(self._plan, again) is not None for again in read)


def due(
    plan: AgePlan, holds: Holds, items: Sequence[Attributes], tally: Tally
) -> Iterator[tuple[Attributes, Change | None]]:
    """What has to happen to each of these old items, less those of people under a hold and those with a flaw, which are
    put down. Raises :class:`TargetError` if holds cannot be asked about, before the first."""
    held = holds.are_held(plan.subject_type, [plan.values_of(item) or {} for item in items])
    for item, is_held in zip(items, held, strict=True):
        if is_held:
            tally.held += 1
            continue
        try:
            change = change_of(plan, item)
        except TargetError as error:
            if error.code != REJECTED:
                raise
            tally.flaw = tally.flaw or error
            continue
        yield item, change
