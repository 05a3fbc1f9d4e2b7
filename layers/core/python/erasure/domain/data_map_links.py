"""Rules on what one part of the data map says of others: targets that lead to others, and further identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from erasure.domain.data_map_rules import Problems, parsed, subject_of, top_attribute, value_of
from erasure.domain.data_map_schema import Constant, DetachAction, Document, Identifier, RedactAction, Target
from erasure.domain.scope import ORGANIZATION
from erasure.domain.subject import OWN_PLACEHOLDERS
from erasure.domain.templates import Template
from erasure.errors import InvalidInputError

_OWN = frozenset({"tenant_id", ORGANIZATION, *OWN_PLACEHOLDERS.values()})


def with_inherited(document: Document) -> Document:
    """``document``, in which the targets that others lead to have said what they inherit: category and subjects."""
    by_name = {target.name: target for target in document.targets}
    return document.model_copy(update={"targets": [_inherited(target, by_name) for target in document.targets]})


def _inherited(target: Target, by_name: Mapping[str, Target]) -> Target:
    update = {}
    for field in ("category", "subjects"):
        said_by = next((each for each in lineage(target, by_name) if field in each.model_fields_set), None)
        if said_by is not None:
            update[field] = getattr(said_by, field)
    return target.model_copy(update=update)


def lineage(target: Target, by_name: Mapping[str, Target]) -> Iterator[Target]:
    """The target, the one that leads to it, the one that leads to that one, ...; each once."""
    seen: set[str] = set()
    following: Target | None = target
    while following is not None and following.name not in seen:
        yield following
        seen.add(following.name)
        following = by_name.get(following.for_each or "")


def identifier_problems(document: Document, families: Mapping[str, frozenset[str] | None]) -> Problems:
    by_name = {target.name: target for target in document.targets}
    for name, identifier in document.identifiers.items():
        path = f"identifiers.{name}"
        if name in _OWN:
            yield path, "is the name of a subject's own id"
        source = by_name.get(identifier.source)
        if source is None:
            yield f"{path}.from", "is not the name of a target"
            continue
        for rule in _source_problems(source):
            yield f"{path}.from", rule
        if identifier.if_missing == "absent":
            yield from _absence_problems(name, source, document, families)


def _source_problems(source: Target) -> Iterator[str]:
    if source.dynamodb is None or source.is_scan:
        yield "must name a target of dynamodb with a key: identifiers are read out of items, at once"
        return
    if source.for_each is not None:
        yield "must name a target that no other leads to"
    own = {"tenant_id", subject_of(source)}
    if any(name not in own for template in templates_of(source) for name in template.names):
        told = " and ".join(f"{{{name}}}" for name in sorted(own))
        yield f"must name a target that is found by {told} alone"


def _absence_problems(
    name: str, source: Target, document: Document, families: Mapping[str, frozenset[str] | None]
) -> Problems:
    """Who erases the source and leaves a target that needs the identifier makes the next one believe that there is
    none."""
    users = {target.category for target in document.targets if name in names_of(target)}
    for family, categories in families.items():
        if categories is not None and source.category in categories and not users <= categories:
            yield (
                f"identifiers.{name}.if_missing",
                f"cannot be absent: {family} erases what it is read from and leaves targets that need it, which would "
                "count as empty from then on",
            )
            return


def redacted_identifier_problems(document: Document) -> Problems:
    """What is left of an attribute must not be taken for an identifier: a constant would be everybody's."""
    by_name = {target.name: target for target in document.targets}
    for number, target in enumerate(document.targets):
        if not isinstance(target.action, RedactAction) or target.dynamodb is None:
            continue
        for text, form in target.action.redact.items():
            for name, identifier in document.identifiers.items():
                if form not in ("digest",) and not isinstance(form, Constant):
                    continue
                if top_attribute(text) == identifier.attribute and _is_read_there(identifier, by_name, target):
                    yield (
                        f"targets[{number}].action.redact.{text}",
                        f"is read as {{{name}}}, and what is left there would be taken for one: remove it",
                    )


def _is_read_there(identifier: Identifier, by_name: Mapping[str, Target], target: Target) -> bool:
    source = by_name.get(identifier.source)
    return (
        source is not None
        and source.dynamodb is not None
        and target.dynamodb is not None
        and source.dynamodb.table == target.dynamodb.table
    )


def link_problems(document: Document) -> Problems:
    by_name = {target.name: target for target in document.targets}
    for number, target in enumerate(document.targets):
        if target.for_each is None:
            continue
        path = f"targets[{number}].for_each"
        parent = by_name.get(target.for_each)
        if parent is None:
            yield path, "is not the name of a target"
            continue
        *_, last = lineage(target, by_name)
        if last.for_each in by_name:
            yield path, "leads in a circle: no target would be the first"
            continue
        for rule in _link_problems(target, parent):
            yield path, rule


def _link_problems(target: Target, parent: Target) -> Iterator[str]:
    if parent.dynamodb is None or parent.is_scan:
        yield "must name a target of dynamodb with a key: its items are read"
    if parent.action != "delete" or parent.retain is not None:
        yield "must name a target that is deleted: what stays would lead to nothing"
    if target.action != "delete" or target.retain is not None:
        yield "leads to what is deleted with it: no other action and no retain"
    if target.is_scan:
        yield "does not go with a scan"
    if target.category != parent.category:
        yield "must name a target of the same category: the two are erased together"
    if target.subjects != parent.subjects:
        yield "must name a target of the same subjects"


def names_of(target: Target) -> frozenset[str]:
    """The placeholders that stand in what the target matches and takes out."""
    return frozenset(name for template in templates_of(target) for name in template.names)


def templates_of(target: Target) -> list[Template]:
    """Those that can be read."""
    texts = [target.s3.prefix or target.s3.key or ""] if target.s3 is not None else []
    if target.dynamodb is not None:
        texts += [match if isinstance(match, str) else match.prefix for match in target.dynamodb.matches.values()]
    if isinstance(target.action, DetachAction):
        texts.append(value_of(target.action, target))
    templates = []
    for text in texts:
        try:
            templates.append(parsed(text, target.name))
        except InvalidInputError:
            continue  # told where it stands
    return templates
