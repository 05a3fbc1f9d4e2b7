"""Units of targets that lead to each other: the children first, and parents' items only when these are gone.

An item of a parent goes only when all that it leads to was seen gone, right before: without it, nobody would find the
rest any more. So a slice that dies, or has no time for all, leaves what leads to what is left; and what is gone already
need not be gone through again by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.plan import FAILED, PENDING, VERIFIED, Part, Task, values_of
from erasure.domain.target_spec import TargetSpec
from erasure.errors import SliceLostError, TargetError
from erasure.ports import TaskStore
from erasure.services.linked_targets import (
    CHUNK,
    LEFT_BOUND,
    checked_values,
    items_of,
    link_attributes,
)
from erasure.services.task_parts import Group, Requests, all_kept, replaced
from erasure.targets.protocol import (
    CHILDREN_LEFT,
    Deadline,
    Guard,
    Item,
    ItemReader,
    Target,
    Values,
    Verdict,
    VerifyResult,
)

CHILDREN_FAILED = "children_failed"
"""The reason of a part whose items stay, because what they lead to could not be erased."""


@dataclass(frozen=True, slots=True)
class Child:
    """A target that a parent's items lead to. ``subjects``: by position of the parent's subject, the values of that
    subject for the child's rule; none, if it can have nothing there. ``children``: what its own items lead to."""

    spec: TargetSpec
    subjects: tuple[tuple[Values, ...], ...]
    children: tuple[Child, ...] = ()

    def narrowed(self, position: int, values: Values) -> Child:
        """For the one subject at ``position``, as far as it goes with ``values``."""
        own = tuple(each for each in self.subjects[position] if _agree(each, values))
        return Child(self.spec, (own,), tuple(child.narrowed(position, values) for child in self.children))


class ChildrenGuard:
    """Lets a parent's items go when nothing is left of what they lead to (:class:`erasure.targets.protocol.Guard`).

    ``reader``: reads children's items that are left. Those that lead to what is kept themselves are kept, too.
    """

    def __init__(
        self,
        parent: TargetSpec,
        children: Sequence[Child],
        targets: Mapping[str, Target],
        reader: ItemReader | None = None,
    ) -> None:
        self._children = children
        self._targets = targets
        self._reader = reader
        self._attributes = link_attributes(parent, [child.spec for child in children])

    @property
    def attributes(self) -> tuple[str, ...]:
        return self._attributes

    def look(self, items: Sequence[tuple[int, Item]], deadline: Deadline) -> list[Verdict]:
        seen = [_Seen() for _ in items]
        for child in self._children:
            wanted = self._values(child, items, seen)
            while chunk := list(islice(wanted, CHUNK)):
                places: dict[tuple[tuple[str, str], ...], list[int]] = {}
                for place, values in chunk:
                    places.setdefault(tuple(sorted(values.items())), []).append(place)
                target = self._targets[child.spec.kind]
                results = target.verify(child.spec, [dict(values) for values in places], deadline)
                for key, result in zip(places, results, strict=True):
                    for place in places[key]:
                        seen[place].add(self._apart(child, items[place][0], dict(key), result, deadline))
        return [each.verdict() for each in seen]

    def _apart(
        self, child: Child, position: int, values: Values, result: VerifyResult, deadline: Deadline
    ) -> VerifyResult:
        """What is left of a child that leads on: what has to go, and what stays because of what it leads to."""
        if not result.left or not child.children or self._reader is None:
            return result
        below = [each.narrowed(position, values) for each in child.children]
        guard = ChildrenGuard(child.spec, below, self._targets, self._reader)
        return _told_apart(self._reader.items(child.spec, values, guard.attributes, deadline), 0, guard, deadline)

    def _values(
        self, child: Child, items: Sequence[tuple[int, Item]], seen: Sequence[_Seen]
    ) -> Iterator[tuple[int, Values]]:
        for place, (position, item) in enumerate(items):
            for subject in child.subjects[position]:
                for values in checked_values(child.spec, subject, item):
                    if not seen[place].is_clear:
                        break
                    if isinstance(values, TargetError):
                        # The child's own eraser tells why; until it has, the item stays.
                        seen[place].is_clear = False
                    else:
                        yield place, values


@dataclass(slots=True)
class _Seen:
    """What was seen of the children of one item."""

    is_clear: bool = True
    complete: bool = True
    error: TargetError | None = None
    kept: list[Kept] = field(default_factory=list)

    def add(self, result: VerifyResult) -> None:
        self.is_clear = self.is_clear and not result.left
        self.complete = self.complete and result.complete
        if result.problem is not None and (self.error is None or result.permanent):
            self.error = TargetError(result.problem, permanent=result.permanent)
        if result.kept.count:
            self.kept.append(result.kept)

    def verdict(self) -> Verdict:
        if not self.is_clear:
            return Verdict(may_go=False, problem=CHILDREN_LEFT)
        if self.error is not None:
            return Verdict(may_go=False, problem=self.error.code, permanent=self.error.permanent)
        if not self.complete:
            return Verdict(may_go=False, problem="unavailable")
        kept = all_kept(self.kept)
        return Verdict(may_go=not kept.count, kept=kept)


def children_of(task: Task, tasks: Iterable[Task]) -> list[Task]:
    """The tasks of what the task's items lead to, among those of its unit."""
    return [child for child in tasks if child.spec.for_each is not None and child.spec.for_each.name == task.spec.name]


def below(task: Task, tasks: Iterable[Task]) -> list[Task]:
    """The tasks of all that the task's items lead to, further down too, among those of its unit."""
    return [child for child in tasks if any(each.name == task.spec.name for each in child.spec.ancestors())]


def guard_for(
    parent: Task,
    group: Group,
    tasks: Sequence[Task],
    requests: Requests,
    targets: Mapping[str, Target],
    reader: ItemReader | None,
) -> ChildrenGuard:
    """The guard of a group of the parent's parts, whose positions are those of the group's subjects. ``tasks``: those
    that are :func:`below` it."""

    def child_of(task: Task) -> Child:
        return Child(
            task.spec, _subjects(task, group, requests), tuple(child_of(child) for child in children_of(task, tasks))
        )

    children = [child_of(child) for child in children_of(parent, tasks)]
    return ChildrenGuard(parent.spec, children, targets, reader)


def kept_by_children(
    parent: Task,
    group: Group,
    found: Sequence[VerifyResult],
    tasks: Sequence[Task],
    requests: Requests,
    targets: Mapping[str, Target],
    reader: ItemReader,
    deadline: Deadline,
) -> list[VerifyResult]:
    """What was ``found`` of a parent's items, by position of the group, told apart: those that lead to what is kept by
    a lock, and to nothing else, are kept as long as that is; the others are left."""
    guard = guard_for(parent, group, tasks, requests, targets, reader)
    return [
        _told_apart(items_of(parent.spec, values, guard.attributes, reader, deadline), position, guard, deadline)
        if result.left
        else result
        for position, (values, result) in enumerate(zip(group.subjects, found, strict=True))
    ]


def _told_apart(
    pages: Iterator[Sequence[Item] | TargetError] | Iterator[Sequence[Item]],
    position: int,
    guard: Guard,
    deadline: Deadline,
) -> VerifyResult:
    left, kept = 0, list[Kept]()
    try:
        for items in pages:
            if isinstance(items, TargetError):
                raise items
            for verdict in guard.look([(position, item) for item in items], deadline):
                if verdict.kept.count:
                    kept = [all_kept([*kept, replace(verdict.kept, count=1, more=False)])]
                else:
                    left += 1
            if left >= LEFT_BOUND:
                return VerifyResult(left, complete=True, more=True)
    except TargetError as error:
        is_late = deadline.expired() and not error.permanent
        return VerifyResult(left, False, None if is_late else error.code, error.permanent)
    return VerifyResult(left, complete=True, kept=all_kept(kept))


def go_back(tasks: Sequence[Task], requests: Requests, store: TaskStore, max_rounds: int) -> list[Task]:
    """Send children back to their eraser where a parent's item was found to lead to something although they had been
    seen gone: it came meanwhile. Returns the ``tasks`` as they are then.

    A parent says so by its reason, which is taken away: it is true for the moment in which the item was looked at.
    """
    known = {(task.unit, task.number): task for task in tasks}
    for parent in tasks:
        waiting = [
            part for part in parent.parts_in(PENDING) if part.reason == CHILDREN_LEFT and part.request_id in requests
        ]
        if not waiting:
            continue
        children = children_of(parent, list(known.values()))
        again = {part.request_id for part in waiting if _all_verified(part.request_id, children)}
        # The children first: if the rest is lost, the parent still says why.
        written = [_write(child, _sent_back(child, again, requests, max_rounds), store) for child in children]
        written.append(_write(parent, [replace(part, reason=None) for part in waiting], store))
        known |= {(task.unit, task.number): task for task in written}
    return list(known.values())


def _all_verified(request_id: str, children: Sequence[Task]) -> bool:
    parts = [part for child in children for part in child.parts if part.request_id == request_id]
    return all(part.status == VERIFIED for part in parts)


def _sent_back(child: Task, request_ids: set[str], requests: Requests, max_rounds: int) -> list[Part]:
    return [
        sent_back(part, max_rounds)
        for part in child.parts
        # A subject without values for the child has nothing there, and nothing could be looked for.
        if part.request_id in request_ids and values_of(requests[part.request_id], child.spec)
    ]


def sent_back(part: Part, max_rounds: int) -> Part:
    """The part of which something was found after it had been erased."""
    rounds = part.rounds + 1
    if rounds >= max_rounds:
        return replace(part, status=FAILED, rounds=rounds, stalls=0, reason="still_present", kept=NOTHING_KEPT)
    return replace(part, status=PENDING, rounds=rounds, stalls=0, reason=None, kept=NOTHING_KEPT)


def _write(task: Task, parts: Sequence[Part], store: TaskStore) -> Task:
    if not parts:
        return task
    changed = replace(task, parts=replaced(task, parts))
    try:
        store.set_verified(task, changed.parts, task.cursor)
    except SliceLostError:
        return task  # somebody else is at work on it, and looks later
    return replace(changed, revision=task.revision + 1)


def _subjects(child: Task, group: Group, requests: Requests) -> tuple[tuple[Values, ...], ...]:
    """By position of the group, the values for the child of all requests that share it. A request may have more values
    for the child than for its parent, or none: then it has nothing there."""
    known = {part.request_id for part in child.parts}
    subjects: list[list[Values]] = [[] for _ in group.subjects]
    for part, places in zip(group.parts, group.places, strict=True):
        if part.request_id not in known:
            continue
        for values in values_of(requests[part.request_id], child.spec):
            for place in places:
                if _agree(values, group.subjects[place]) and values not in subjects[place]:
                    subjects[place].append(values)
    return tuple(map(tuple, subjects))


def _agree(first: Values, second: Values) -> bool:
    return all(second.get(name, value) == value for name, value in first.items())
