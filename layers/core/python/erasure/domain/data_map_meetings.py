"""Targets of the data map that meet, or of which nobody can tell whether they do: what is refused, and what is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from erasure.domain.collisions import OF_OTHERS, are_incomparable, broken_finds, conflict, is_apart, meet, namesake
from erasure.domain.scope import ORGANIZATION, for_all_organizations
from erasure.domain.subject import ORGANIZATION as ORGANIZATION_TYPE
from erasure.domain.subject import OWN_PLACEHOLDERS
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.domain.templates import names_subject

_MARK = "\ufdd0"
"""Stands in ids that stand for all ids. No template may hold it."""


def _anybody(spec: TargetSpec) -> dict[str, str]:
    """A value for each placeholder of the target, those of organizations left out: they occur in no template."""
    own = {name for template in spec.templates() for name in template.names} | {
        "tenant_id",
        OWN_PLACEHOLDERS[spec.subjects[0]],
    }
    return {name: _stand_in(name) for name in sorted(own - {ORGANIZATION})}


def _stand_in(name: str) -> str:
    # No character of it may be a separator of a template.
    return _MARK + "".join(chr(0xE000 + ord(character) % 0x1000) for character in name) + _MARK


def meeting_problems(targets: Sequence[TargetSpec]) -> Iterator[tuple[str, str]]:
    """Pairs of targets that meet whatever the ids are. Those that meet for some ids are refused subject by subject.

    Meeting in one person's own data matters too: the category decides which requests erase it, the action what is
    left of it.
    """
    leading = {target.for_each.name for target in targets if target.for_each is not None}
    for number, target in enumerate(targets):
        for other_number, other in enumerate(targets):
            rule = _rule_of(target, other, f"targets[{other_number}]", leading)
            if rule is not None:
                yield f"targets[{number}]", rule
    for number, other_number in broken_finds(targets):
        yield (
            f"targets[{number}]",
            f"takes away an attribute by which targets[{other_number}] finds its items",
        )


def _rule_of(target: TargetSpec, other: TargetSpec, there: str, leading: set[str]) -> str | None:
    """The rule that ``target`` breaks beside ``other``, which stands ``there``."""
    if target.name != other.name and are_incomparable(target, other) and (target.is_scan or other.is_scan):
        return _scan_rule(target, other, there, leading)
    found = _conflicts(target, other)
    if OF_OTHERS in found:
        return f"may match data of others that {there} keeps in the same place: begin the two with different text"
    if found and (target.detach is not None or other.detach is not None):
        return (
            f"matches what {there} matches, and one of them detaches: an item that is detached leaves the index, and "
            "one that is deleted may be somebody else's"
        )
    if found and target.category != other.category:
        return f"matches what {there} keeps under another category: a request that leaves that one alone would erase it"
    if found:
        return f"matches what {there} matches, and the two would do different things with it"
    if other.name in leading and target.name != other.name and do_meet(target, other):
        return f"matches items of {there}, which must not go before what they lead to is gone"
    return None


def _scan_rule(target: TargetSpec, other: TargetSpec, there: str, leading: set[str]) -> str | None:
    if not target.is_scan:
        return None  # told of the one that scans
    if other.name in leading:
        return f"scans the table of {there}, whose items must not go before what they lead to is gone"
    if is_apart(target, other):
        return (
            f"scans the table of {there}, which has another category or does something else with its items: nobody "
            "can tell whether the two meet"
        )
    return None


def _conflicts(target: TargetSpec, other: TargetSpec) -> set[str]:
    """What is wrong between the two in any form of the first, whoever the subject is."""
    values = _anybody(target)
    found = {conflict(for_all_organizations(target), values, other)}
    if ORGANIZATION in _own_names(target):
        found.add(conflict(target, {**values, ORGANIZATION: _stand_in(ORGANIZATION)}, other))
    return {problem for problem in found if problem is not None}


def do_meet(target: TargetSpec, other: TargetSpec) -> bool:
    """Whether the two may have an item in common. In all organizations both match the most."""
    target, other = for_all_organizations(target), for_all_organizations(other)
    return meet(target, _anybody(target), other) or meet(other, _anybody(other), target)


def _own_names(spec: TargetSpec) -> set[str]:
    return {name for template in spec.templates() for name in template.names}


def meeting_warnings(targets: Sequence[TargetSpec], identifiers: Sequence[IdentifierRule]) -> Iterator[tuple[str, str]]:
    used = {name for target in targets for name in target.names()}
    for rule in identifiers:
        if rule.name not in used:
            yield f"identifiers.{rule.name}", "is not used by any target"
    for number, target in enumerate(targets):
        for other_number, other in enumerate(targets):
            yield from _namesakes(target, other, number, other_number)
        for other_number, other in enumerate(targets[:number]):
            if _should_be_compared(target, other, targets) and are_incomparable(target, other):
                yield (
                    f"targets[{number}]",
                    f"finds items of the table of targets[{other_number}] in another way: right only if no item is "
                    "found by both",
                )
        if "tenant_id" not in target.names():
            yield f"targets[{number}]", f"does not hold {{tenant_id}}: {_without_tenant(target)}"


def _namesakes(target: TargetSpec, other: TargetSpec, number: int, other_number: int) -> Iterator[tuple[str, str]]:
    cut = for_all_organizations(target)
    found = namesake(cut, _anybody(cut), other)
    if found is None or found[1] in _anybody(cut).values():
        return
    called = found[1]
    for name, value in _anybody(cut).items():
        called = called.replace(value, f"{{{_in_document(name)}}}")
    who = _in_document(found[0])
    yield (
        f"targets[{number}]",
        f"lies within what targets[{other_number}] matches if a {{{who}}} is called {called}: keep the two apart "
        "unless nobody is",
    )


def _in_document(name: str) -> str:
    """A spec's placeholder as the document has it."""
    return ORGANIZATION if name == OWN_PLACEHOLDERS[ORGANIZATION_TYPE] else name


def _should_be_compared(target: TargetSpec, other: TargetSpec, targets: Sequence[TargetSpec]) -> bool:
    """Whether one of the two keeps what the other would delete, or has to wait with deleting it."""
    leading = {each.for_each.name for each in targets if each.for_each is not None}
    if target.redact or target.retain or other.redact or other.retain:
        return is_apart(target, other)
    return not leading.isdisjoint({target.name, other.name})


def _without_tenant(target: TargetSpec) -> str:
    subject = OWN_PLACEHOLDERS[target.subjects[0]]
    names = sorted(name for name in target.names() if name != subject and names_subject([name]))
    if subject in target.names() or not names:
        return f"right only if {target.subjects[0]} ids are unique across all tenants"
    return f"right only if each {{{names[0]}}} is one person's across all tenants"
