"""What every kind of target can do: erase the data of subjects in slices, and look again.

A *slice* is one call of :meth:`Target.erase`. It works until it is done or until
``deadline.expired()``, and may be repeated at any point: it always starts from what is still
there, so no cursor (which would carry the subject's id) is ever stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.target_spec import TargetSpec


class Deadline:
    """A moment on the monotonic clock after which no new work is begun.

    ``seconds``: how long from now. ``clock`` returns seconds and can be replaced in tests.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - self._clock())

    def expired(self) -> bool:
        return self._clock() >= self._at


@dataclass(frozen=True, slots=True)
class SliceResult:
    """What one slice did.

    ``erased``: items, or object versions, delete markers and unfinished uploads, that the engine
    confirmed as deleted. ``done``: the slice reached the end and nothing that it saw is left.
    ``done=False`` with ``problem=None`` only means that time ran out.
    ``problem``: a fixed code of what kept it from finishing (``throttled``, ``unavailable``,
    ``rejected`` for per-key errors of S3, ...), without names or ids. ``permanent``: no other slice can help
    (``target_missing``, ``access_denied``, ``map_mismatch``, ...).
    """

    erased: int
    done: bool
    problem: str | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What is still there. ``left`` counts what should be gone or changed, up to some bound (``more``: there may be
    more than that); ``complete=False``: not everything was looked at. ``kept``: what is there and may be, by the
    target's ``retain`` or by a lock of the bucket.

    ``problem`` and ``permanent`` as in :class:`SliceResult`; with a problem, ``complete`` is False.
    """

    left: int
    complete: bool
    problem: str | None = None
    permanent: bool = False
    kept: Kept = NOTHING_KEPT
    more: bool = False


Values = Mapping[str, str]
"""The values of a rule's placeholders: ``tenant_id``, ``user_id``, ..."""

OnErased = Callable[[int, int], None]
"""Told the position of a subject and how many of its things were deleted since it was last told, now and then, so that
progress shows and survives the death of the process. May raise, which ends the slice."""


@dataclass(slots=True)
class ScanRange:
    """Segments of a scan: of ``total``, those from ``first`` to before ``end``. ``done``: how many of them, from the
    first on, have been gone through; the target counts it up, so that the next slice goes on from there. No key of a
    table ever stands in it."""

    total: int
    first: int
    end: int
    done: int = 0


Item = Mapping[str, Any]
"""An item, or some of its attributes, in DynamoDB's own form: ``{"pk": {"S": "..."}}``."""


CHILDREN_LEFT = "children_left"
"""The problem of an item that leads to something that is still there: it has to go, but later."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an item may be deleted, by what it leads to. ``problem`` and ``permanent`` as in :class:`SliceResult`:
    why it may not. An item that leads to what is ``kept`` by a lock stays as long as that does, which is no problem."""

    may_go: bool
    problem: str | None = None
    permanent: bool = False
    kept: Kept = NOTHING_KEPT


class Guard(Protocol):
    """Looks after what the items of a target lead to: the items of a parent must not go before their children."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of an item that lead somewhere. An item may go only while they are as they were looked at."""

    def look(self, items: Sequence[tuple[int, Item]], deadline: Deadline) -> list[Verdict]:
        """One verdict for each of the ``items``: the position of the subject that it was found for, and what the table
        has of these attributes with strong consistency. Several threads may ask at the same time."""


class ItemReader(Protocol):
    def items(
        self, spec: TargetSpec, values: Values, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[Sequence[Item]]:
        """The items that a target of DynamoDB matches for one subject, a hundred or fewer at a time, as the table has
        them with strong consistency: their key, what was matched, and ``attributes``. An iteration that ends has read
        all that was found. Raises :class:`TargetError`, also when the deadline passes."""


class Target(Protocol):
    """One kind of target, for any number of subjects at once.

    ``subjects`` holds the placeholder values of each, all different; one result for each comes back, in their order.
    What goes wrong with one subject never keeps the others from being worked on, and deleting calls are filled across
    subjects. ``scan`` is given for targets that scan, and for no others; ``guard`` for targets whose items lead to
    other targets' things, and for no others: it is asked about each item right before it is deleted. Nothing is raised
    but what ``on_erased`` raises and bugs.
    """

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,
    ) -> list[SliceResult]: ...

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]: ...


@runtime_checkable
class Sharing(Protocol):
    """Of a kind of target that can do some of the work for several targets of a unit once."""

    def for_unit(self, specs: Sequence[TargetSpec]) -> Target:
        """For these targets and one call: what it shares is as old as that. Not for what has to be seen at a certain
        moment, such as the things that an item leads to right before it is deleted."""
