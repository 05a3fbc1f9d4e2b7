"""Targets whose things are found through the items of another target.

Such a target is erased for each item of its parent, whose attributes are values of its rule; the parent's items are
found in the same way, up to a target that needs nothing but the subject. Items are read a hundred at a time and nothing
is kept of them, so memory does not grow with their number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

from erasure.domain.collisions import check_alone
from erasure.domain.item_values import texts_of
from erasure.domain.outcome import Kept
from erasure.domain.scope import ORGANIZATION
from erasure.domain.target_spec import TargetSpec
from erasure.errors import TargetError
from erasure.services.task_parts import all_kept
from erasure.targets.protocol import (
    CHILDREN_LEFT,
    Deadline,
    Guard,
    Item,
    ItemReader,
    OnErased,
    ScanRange,
    SliceResult,
    Target,
    Values,
    Verdict,
    VerifyResult,
)

CHUNK = 100
"""Value sets that a target gets in one call."""
LEFT_BOUND = 1000
"""Of a subject with so many things left, no more are counted."""

_OF_ONE = frozenset({"ambiguous_identifier", "missing_value", "rejected", CHILDREN_LEFT})
"""Problems of some values, which say nothing about others."""


def target_of(spec: TargetSpec, targets: Mapping[str, Target], reader: ItemReader | None) -> Target:
    """What works on the target. ``targets``: by kind."""
    if spec.for_each is None:
        return targets[spec.kind]
    if reader is None:
        raise ValueError("a target that is found through items needs a reader")
    return LinkedTarget(targets[spec.kind], reader)


def link_attributes(parent: TargetSpec, children: Iterable[TargetSpec]) -> tuple[str, ...]:
    """The attributes of the parent's items that lead to the children."""
    start = f"{parent.name}."
    names = {name for child in children for template in child.templates() for name in template.names}
    return tuple(sorted(name.removeprefix(start) for name in names if name.startswith(start)))


def values_through(child: TargetSpec, values: Values, item: Item) -> Iterator[dict[str, str]]:
    """The values of a child's rule that one item of its parent stands for: several, if an attribute holds several;
    none, if one is absent. ``values``: the subject's. Raises :class:`TargetError` for an attribute that is no text."""
    assert child.for_each is not None  # noqa: S101 - the callers ask
    attributes = link_attributes(child.for_each, [child])
    names = [f"{child.for_each.name}.{attribute}" for attribute in attributes]
    # Of the items further up, nothing is known here. A rule that is silent about the organization reaches beyond it.
    of_organization = any(ORGANIZATION in template.names for template in child.templates())
    own = {name: value for name, value in values.items() if "." not in name}
    if not of_organization:
        own.pop(ORGANIZATION, None)
    for found in product(*(texts_of(item.get(attribute)) for attribute in attributes)):
        yield own | dict(zip(names, found, strict=True))


def checked_values(child: TargetSpec, values: Values, item: Item) -> Iterator[dict[str, str] | TargetError]:
    """The same; an error in the place of values that also stand for somebody else's things."""
    try:
        for own in values_through(child, values, item):
            try:
                check_alone(child, child.beside, own)
            except TargetError as error:
                yield error
            else:
                yield own
    except TargetError as error:
        yield error


def rule_values(
    spec: TargetSpec, values: Values, reader: ItemReader, deadline: Deadline
) -> Iterator[dict[str, str] | TargetError]:
    """The values with which the target's rule is rendered for a subject, by the items that lead to it; an error in the
    place of those that are refused. Raises :class:`TargetError` if the items cannot be read."""
    parent = spec.for_each
    if parent is None:
        yield dict(values)
        return
    attributes = link_attributes(parent, [spec])
    for found in items_of(parent, values, attributes, reader, deadline):
        if isinstance(found, TargetError):
            yield found
        else:
            for item in found:
                yield from checked_values(spec, values, item)


def items_of(
    spec: TargetSpec, values: Values, attributes: Sequence[str], reader: ItemReader, deadline: Deadline
) -> Iterator[Sequence[Item] | TargetError]:
    """The items of a target that others lead to or that leads to others, some at a time."""
    for found in rule_values(spec, values, reader, deadline):
        if isinstance(found, TargetError):
            yield found
        else:
            yield from reader.items(spec, found, attributes, deadline)


@dataclass(slots=True)
class _Progress:
    """What came of one subject. ``read_to_end``: all values were found and handed over. ``stopped``: what kept them
    from being. ``refused``: the gravest problem of some of its values."""

    read_to_end: bool = False
    stopped: TargetError | None = None
    refused: TargetError | None = None
    settled: bool = True
    counted: int = 0
    kept: list[Kept] = field(default_factory=list)

    @property
    def worked_through(self) -> bool:
        """Nothing of it is left to be tried: whatever became of its values is known."""
        return self.read_to_end and self.settled

    @property
    def done(self) -> bool:
        return self.worked_through and self.problem is None

    @property
    def problem(self) -> TargetError | None:
        """Of some values alone it is only told at the end: until then, it must not keep the others from their turn."""
        return self.stopped or (self.refused if self.read_to_end else None)

    def note(self, problem: str | None, *, permanent: bool) -> None:
        if problem is not None and (self.refused is None or (permanent and not self.refused.permanent)):
            self.refused = TargetError(problem, permanent=permanent)


class _Walk:
    """Goes through the values of several subjects in turn, so that a large one does not keep the others waiting."""

    def __init__(self, spec: TargetSpec, subjects: Sequence[Values], reader: ItemReader, deadline: Deadline) -> None:
        self._deadline = deadline
        self._waiting = deque(
            (position, rule_values(spec, values, reader, deadline)) for position, values in enumerate(subjects)
        )
        self.subjects = [_Progress() for _ in subjects]

    def chunks(self, wanted: Callable[[_Progress], bool] = lambda _: True) -> Iterator[list[tuple[int, Values]]]:
        """Full chunks of values with their subjects' positions, no values of a subject twice in one."""
        chunk: dict[tuple[int, tuple[tuple[str, str], ...]], Values] = {}
        while self._waiting and not self._deadline.expired():
            position, found = self._waiting.popleft()
            progress = self.subjects[position]
            for values in self._some(progress, found):
                chunk[position, tuple(sorted(values.items()))] = values
                if len(chunk) == CHUNK:
                    yield [(owner, own) for (owner, _), own in chunk.items()]
                    chunk = {}
            if not progress.read_to_end and progress.stopped is None and wanted(progress):
                self._waiting.append((position, found))
        if chunk:
            yield [(owner, own) for (owner, _), own in chunk.items()]

    def _some(self, progress: _Progress, found: Iterator[dict[str, str] | TargetError]) -> Iterator[Values]:
        taken = 0
        try:
            for values in islice(found, CHUNK):
                taken += 1
                if isinstance(values, TargetError):
                    progress.note(values.code, permanent=values.permanent)
                else:
                    yield values
        except TargetError as error:
            if error.permanent or not self._deadline.expired():
                progress.stopped = error
            else:
                progress.settled = False
            return
        progress.read_to_end = taken < CHUNK

    def stop(self, error: TargetError) -> None:
        """A problem of what is erased or read itself is that of all of whom something is left to be tried. Whose values
        were all refused is told so, whoever else is in the job."""
        for progress in self.subjects:
            if not progress.worked_through and progress.stopped is None:
                progress.stopped = error


def _of_all(results: Sequence[SliceResult] | Sequence[VerifyResult]) -> TargetError | None:
    """A problem that other values would have as well."""
    for result in results:
        if result.problem in _OF_ONE:
            continue
        if result.problem is not None and (result.permanent or result.problem in ("throttled", "unavailable")):
            return TargetError(result.problem, permanent=result.permanent)
    return None


class LinkedTarget:
    """A :class:`erasure.targets.protocol.Target` for targets with ``for_each``: ``target`` erases what the items that
    ``reader`` reads lead to.

    An item that leads nowhere, because an attribute is missing, is nothing to do. Values that are refused
    (``ambiguous_identifier``) or cannot be rendered fail their subject, after everything else of it was erased.
    """

    def __init__(self, target: Target, reader: ItemReader) -> None:
        self._target = target
        self._reader = reader

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,  # noqa: ARG002 - what is found through items needs no scan
        guard: Guard | None = None,
    ) -> list[SliceResult]:
        walk = _Walk(spec, subjects, self._reader, deadline)
        for chunk in walk.chunks():
            owners = [position for position, _ in chunk]

            def count(place: int, erased: int, owners: Sequence[int] = owners) -> None:
                if on_erased is not None:
                    on_erased(owners[place], erased)

            asked: dict[str, Any] = {} if guard is None else {"guard": _Moved(guard, owners)}
            results = self._target.erase(spec, [own for _, own in chunk], deadline, on_erased=count, **asked)
            for (position, _), result in zip(chunk, results, strict=True):
                progress = walk.subjects[position]
                progress.counted += result.erased
                progress.settled = progress.settled and result.done
                progress.note(result.problem, permanent=result.permanent)
            if (error := _of_all(results)) is not None:
                walk.stop(error)
                break
        return [SliceResult(own.counted, own.done, *_told(own.problem)) for own in walk.subjects]

    def verify(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        scan: ScanRange | None = None,  # noqa: ARG002
    ) -> list[VerifyResult]:
        """Counts what is left, up to a bound; what several items lead to counts for each of them."""
        walk = _Walk(spec, subjects, self._reader, deadline)
        for chunk in walk.chunks(lambda own: own.counted < LEFT_BOUND):
            results = self._target.verify(spec, [own for _, own in chunk], deadline)
            for (position, _), result in zip(chunk, results, strict=True):
                progress = walk.subjects[position]
                progress.counted += result.left
                progress.settled = progress.settled and result.complete
                progress.kept = [all_kept([*progress.kept, result.kept])]
                progress.note(result.problem, permanent=result.permanent)
            if (error := _of_all(results)) is not None:
                walk.stop(error)
                break
        return [_verified(own) for own in walk.subjects]


def _verified(own: _Progress) -> VerifyResult:
    kept = all_kept(own.kept)
    if own.counted >= LEFT_BOUND and not own.read_to_end and own.stopped is None:
        return VerifyResult(own.counted, complete=True, kept=kept, more=True)
    return VerifyResult(own.counted, own.done, *_told(own.problem), kept=kept)


def _told(error: TargetError | None) -> tuple[str | None, bool]:
    return (None, False) if error is None else (error.code, error.permanent)


class _Moved:
    """A guard for a call with other positions: ``owners`` has the guard's position of each."""

    def __init__(self, guard: Guard, owners: Sequence[int]) -> None:
        self._guard = guard
        self._owners = owners

    @property
    def attributes(self) -> tuple[str, ...]:
        return self._guard.attributes

    def look(self, items: Sequence[tuple[int, Item]], deadline: Deadline) -> list[Verdict]:
        return self._guard.look([(self._owners[place], item) for place, item in items], deadline)
