"""What erasing a subject would find: counted where its data lies, by who may read it and cannot change it.

The verifier is asked what is left, as after an erasure; nothing is left out that it would count, and nothing is told
that was not counted to its end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.plan import MISSING_VALUE, refusal, root_of, values_of
from erasure.domain.request import ErasureRequest
from erasure.domain.scope import needs
from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.errors import TargetError, places_of
from erasure.ports import Preview
from erasure.services.erase_unit import PARALLEL_TASKS
from erasure.services.identify import TIMED_OUT, Identified, identify
from erasure.services.linked_targets import rule_values
from erasure.services.side_by_side import side_by_side
from erasure.services.task_parts import INTERNAL_ERROR, all_kept
from erasure.targets.protocol import Deadline, ItemReader, Target, Values, VerifyResult

BOUND = 1000
"""Of one target, so many things are counted; beyond that it is "more than"."""

CHUNK = 100
"""Values of one call of a target."""

MAX_LED_TO = 10_000
"""Different values that the items of a target lead to. With more, nobody could tell which have been counted."""

TOO_MANY_ITEMS = "too_many_items"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks: the verifier's ``targets`` by kind, and who reads items."""

    targets: Mapping[str, Target]
    items: ItemReader


def preview(
    subject: Subject,
    organization_ids: Sequence[str],
    specs: Sequence[TargetSpec],
    rules: Sequence[IdentifierRule],
    look: Look,
    deadline: Deadline,
) -> list[Preview]:
    """One for each of ``specs``, in their order. ``specs``: as they apply to the subject, each with the neighbours
    beside which it has to be looked at (:mod:`erasure.domain.collisions`); ``rules``: of the identifiers that they
    need, from :func:`erasure.services.identify.rules_for`."""
    identified = identify(subject, rules, look.items, deadline)
    request = _request(subject, organization_ids, identified)
    optional = frozenset(rule.name for rule in rules if rule.optional)

    def of(spec: TargetSpec) -> Preview:
        try:
            return _preview(request, spec, identified, optional, look, deadline)
        except Exception as error:
            _logger.error("a preview failed: %s at %s", type(error).__name__, places_of(error))
            return _told(spec, None, problem=INTERNAL_ERROR)

    return side_by_side(of, specs, PARALLEL_TASKS)


def _request(subject: Subject, organization_ids: Sequence[str], identified: Identified) -> ErasureRequest:
    """What planning is asked with. It is never written."""
    at = datetime.now(UTC)
    return ErasureRequest(
        "", subject, "", "", at, at, at, organization_ids=tuple(organization_ids), identifiers=identified.values
    )


def _preview(
    request: ErasureRequest,
    spec: TargetSpec,
    identified: Identified,
    optional: frozenset[str],
    look: Look,
    deadline: Deadline,
) -> Preview:
    unknown = next((identified.unknown[name] for name in needs(spec)[1] if name in identified.unknown), None)
    if unknown is not None:
        return _told(spec, None, problem=unknown.code)
    error = refusal(request, spec, root_of(spec).beside)
    if error is not None:
        return _told(spec, None, problem=error.code)
    values = values_of(request, spec)
    if not values:
        missing = {name for name in needs(spec)[1] if not request.identifiers.get(name)}
        is_absent = bool(missing) and missing <= optional
        return _told(spec, 0) if is_absent else _told(spec, None, problem=MISSING_VALUE)
    if spec.is_scan:
        return _told(spec, None)
    try:
        return _count(spec, values, look, deadline)
    except TargetError as failure:
        return _told(spec, None, problem=_code(failure, deadline))


@dataclass(slots=True)
class _Tally:
    left: int = 0
    more: bool = False
    kept: Kept = NOTHING_KEPT

    @property
    def is_full(self) -> bool:
        return self.more or self.left > BOUND

    def add(self, result: VerifyResult) -> None:
        self.left += result.left
        self.more = self.more or result.more
        self.kept = all_kept([self.kept, result.kept])


def _count(spec: TargetSpec, values: Sequence[Values], look: Look, deadline: Deadline) -> Preview:
    tally = _Tally()
    everything = _led_to(spec, values, look.items, deadline) if spec.for_each is not None else iter(values)
    while not tally.is_full and (chunk := list(islice(everything, CHUNK))):
        if deadline.expired():
            return _told(spec, None, problem=TIMED_OUT)
        for result in look.targets[spec.kind].verify(spec, chunk, deadline):
            if not result.complete:
                return _told(spec, None, problem=result.problem or TIMED_OUT)
            tally.add(result)
    kept = tally.kept
    if tally.is_full and kept.count:
        kept = Kept(kept.count, None, more=True)  # not everything was looked at
    return _told(spec, min(tally.left, BOUND), more=tally.is_full, kept=kept)


def _led_to(
    spec: TargetSpec, values: Sequence[Values], items: ItemReader, deadline: Deadline
) -> Iterator[dict[str, str]]:
    """The different values that the items of ``spec.for_each`` lead to: what several lead to is counted once."""
    seen: set[tuple[tuple[str, str], ...]] = set()
    names = frozenset(name for template in spec.templates() for name in template.names)
    for of_subject in values:
        for led_to in rule_values(spec, of_subject, items, deadline):
            if isinstance(led_to, TargetError):
                raise led_to
            known = tuple(sorted((name, value) for name, value in led_to.items() if name in names))
            if known in seen:
                continue
            if len(seen) == MAX_LED_TO:
                raise _TooManyItemsError
            seen.add(known)
            yield led_to


class _TooManyItemsError(TargetError):
    """The items of a target lead to more than can be counted."""

    def __init__(self) -> None:
        super().__init__(TOO_MANY_ITEMS, permanent=True)


def _code(error: TargetError, deadline: Deadline) -> str:
    return TIMED_OUT if deadline.expired() and not error.permanent else error.code


def _told(
    spec: TargetSpec, count: int | None, *, more: bool = False, kept: Kept = NOTHING_KEPT, problem: str | None = None
) -> Preview:
    basis = spec.retain.basis if spec.retain is not None and kept.count else None
    return Preview(spec.name, spec.category, spec.action, count, more, kept, basis, problem)
