"""What changes when another data map becomes the current one, and what that means for people's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from erasure.domain.data_map import DataMap
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.ports import PinnedMap

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """``what``: a target, an identifier or a family, by its kind and name (``target files``). ``text``: what it
    means."""

    kind: str
    what: str
    text: str


def differences(current: PinnedMap | None, new: DataMap) -> list[Difference]:
    """From the current map (``None``: there is none yet) to the new one: targets, then identifiers, then families."""
    before = {} if current is None else {spec.name: spec for spec in current.targets}
    after = {spec.name: spec for spec in new.targets}
    found = [*_removed(before, after), *_added(before, after)]
    for name, spec in after.items():
        if name in before:
            found += [Difference(CHANGED, f"target {name}", text) for text in _changes(before[name], spec)]
    if current is not None:
        found += _identifiers(current, new)
        found += _families(current.families, new.families)
    return found


def _removed(before: Mapping[str, TargetSpec], after: Mapping[str, TargetSpec]) -> Iterator[Difference]:
    for name, spec in before.items():
        if name in after:
            continue
        same = [other.name for other in after.values() if _place(other) == _place(spec)]
        text = f"what it matched is {same[0]} now" if same else "what it matches is no longer erased"
        yield Difference(REMOVED, f"target {name}", f"{text}; a request in which {name} has failed stays open")


def _added(before: Mapping[str, TargetSpec], after: Mapping[str, TargetSpec]) -> Iterator[Difference]:
    text = "is erased by every job from then on; requests that are finished are not taken up again"
    for name, spec in after.items():
        if name not in before:
            yield Difference(ADDED, f"target {name}", text)
            if spec.retention is not None:
                yield Difference(ADDED, f"target {name}", _rule_of_age(spec))


def _place(spec: TargetSpec) -> object:
    """Where a target's data lies: what leads to it belongs to it."""
    return spec.dynamodb, spec.s3, spec.role and spec.role.arn, spec.for_each and _place(spec.for_each)


def _changes(old: TargetSpec, new: TargetSpec) -> Iterator[str]:
    if _place(old) != _place(new):
        yield "matches other data: what only the old one matched is no longer erased"
    if old.subjects != new.subjects:
        yield f"is about a {new.subjects[0]} instead of a {old.subjects[0]}"
    if old.category != new.category:
        yield f"is of category {new.category} instead of {old.category}: other kinds of requests cover it"
    if (old.action, old.detach, old.redact) != (new.action, new.detach, new.redact):
        how = f"{new.action} instead of {old.action}" if old.action != new.action else f"another {new.action}"
        yield f"its action is {how}: what earlier requests have done stays as it is"
    if old.retain != new.retain:
        yield _retention(old, new)
    if old.retention != new.retention:
        yield _rule_of_age(new)
    if old.window_hours != new.window_hours:
        yield f"is scanned once in {new.window_hours} hours instead of {old.window_hours}"
    if (old.role and old.role.external_id) != (new.role and new.role.external_id):
        yield "its role is assumed with another external id"


def _retention(old: TargetSpec, new: TargetSpec) -> str:
    if new.retain is None:
        return "is not retained any more: items go at once, from the next job on"
    kept = f"{new.retain.period} after {new.retain.attribute}"
    return f"items are kept until {kept}" + (
        "" if old.retain is None else ", by the new rule; nothing kept is forgotten"
    )


def _rule_of_age(new: TargetSpec) -> str:
    rule = new.retention
    if rule is None:
        return "nothing of it goes because it is old any more"
    since = "they were written" if rule.attribute is None else f"the moment in {rule.attribute}"
    if rule.only_report:
        return f"what is older than {rule.older_than} since {since} is counted, whosever it is, and stays"
    return f"what is older than {rule.older_than} since {since} goes, whosever it is, after a report by the new rule"


def _identifiers(current: PinnedMap, new: DataMap) -> Iterator[Difference]:
    before = {rule.name: rule for rule in current.identifiers}
    after = {rule.name: rule for rule in new.identifiers}
    for name, rule in before.items():
        if name not in after:
            yield Difference(REMOVED, f"identifier {name}", "is not read any more")
        elif _identity(rule) != _identity(after[name]):
            yield Difference(CHANGED, f"identifier {name}", "is read elsewhere, or missing means something else")
    for name in after:
        if name not in before:
            yield Difference(ADDED, f"identifier {name}", "is read before anything is erased")


def _identity(rule: IdentifierRule) -> object:
    return rule.attribute, rule.optional, _place(rule.source)


def _families(
    before: Mapping[str, frozenset[str] | None], after: Mapping[str, frozenset[str] | None]
) -> Iterator[Difference]:
    for family in sorted({*before, *after}):
        old, new = before.get(family), after.get(family)
        if old != new:
            text = f"its requests erase {_told(new)} instead of {_told(old)}"
            yield Difference(CHANGED, f"family {family}", text)


def _told(categories: frozenset[str] | None) -> str:
    return "all categories" if categories is None else ", ".join(sorted(categories))
