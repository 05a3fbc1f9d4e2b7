"""The data map's rules of age: which targets may have one, and what has to be true of everything around them.

A run by such a rule asks nobody whom it is about: whatever matches the target and is old enough goes. So it must be
certain of everything that it finds that it is this target's alone, and that nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from erasure.domain.collisions import are_incomparable, is_apart
from erasure.domain.data_map_links import templates_of
from erasure.domain.data_map_meetings import do_meet
from erasure.domain.data_map_rules import Problems, subject_of, top_attribute
from erasure.domain.data_map_schema import AgeRule, DetachAction, Document, RedactAction, Target
from erasure.domain.target_spec import TargetSpec

_NEEDED = "whose items tell where others' things are: they may not go before these"


def retention_problems(document: Document) -> Problems:
    """What is wrong with each rule and its target by themselves."""
    by_name = {target.name: target for target in document.targets}
    first: dict[str, int] = {}
    for number, rule in enumerate(document.retention):
        path = f"retention[{number}]"
        target = by_name.get(rule.target)
        if target is None:
            yield f"{path}.target", "is not the name of a target"
            continue
        if rule.target in first:
            yield f"{path}.target", f"has a rule already: retention[{first[rule.target]}]"
        first.setdefault(rule.target, number)
        for text in _target_problems(target, document):
            yield f"{path}.target", text
        for text in _attribute_problems(rule, target):
            yield f"{path}.attribute", text


def _target_problems(target: Target, document: Document) -> Iterator[str]:
    if target.for_each is not None:
        yield "is found through items of another target, and goes with these"
    if target.name in needed_by_others(document):
        yield f"is one {_NEEDED}"
    if isinstance(target.action, DetachAction):
        yield "detaches: what stays belongs to others, however old it is"
    if target.retain is not None:
        yield "is kept by the law, and goes when that allows it"
    subject = subject_of(target)
    if not any(subject in template.names for template in templates_of(target)):
        yield f"must name its subject by {{{subject}}}: what is not certainly somebody's is never old enough"


def _attribute_problems(rule: AgeRule, target: Target) -> Iterator[str]:
    if target.s3 is not None and rule.attribute is not None:
        yield "is for items: an object is as old as its last change"
    if target.dynamodb is not None and rule.attribute is None:
        yield "is missing: it names the attribute from whose moment on an item grows old"
    if isinstance(target.action, RedactAction) and rule.attribute in {
        top_attribute(path) for path in target.action.redact
    }:
        yield "is redacted: nobody could tell the age of what is left"


def needed_by_others(document: Document) -> frozenset[str]:
    """Names of the targets whose items lead to other targets' things, or say by what these are found."""
    leading = {target.for_each for target in document.targets if target.for_each is not None}
    return frozenset(leading | {each.source for each in document.identifiers.values()})


def retention_meeting_problems(document: Document, targets: Sequence[TargetSpec]) -> Problems:
    """Rules of targets that meet others, or of which nobody can tell whether they do. ``targets``: the document's."""
    by_name = {spec.name: spec for spec in targets}
    needed = needed_by_others(document)
    for number, rule in enumerate(document.retention):
        spec = by_name[rule.target]
        for other_number, other in enumerate(targets):
            text = None if other.name == spec.name else _meeting_rule(spec, other, other.name in needed)
            if text is not None:
                yield f"retention[{number}].target", text.format(there=f"targets[{other_number}]")


def _meeting_rule(spec: TargetSpec, other: TargetSpec, is_needed: bool) -> str | None:
    if are_incomparable(spec, other):
        if is_needed:
            return f"nobody can tell whether its items are those of {{there}}, {_NEEDED}"
        if is_apart(spec, other):
            return (
                "nobody can tell whether its items are those of {there}, which has another category or does something "
                "else with them"
            )
    elif do_meet(spec, other):
        return "matches what {there} matches too: a rule of age is for what is one target's alone"
    return None
