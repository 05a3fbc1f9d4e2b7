"""Targets that share a table or bucket: does what one of them matches for a subject hold somebody else's data?

Each template by itself names one subject (:mod:`erasure.domain.templates`). Two of them side by side may not: with
``{tenant_id}/{user_id}/`` and ``{tenant_id}/archive/{user_id}/`` in one bucket, the files of a user called
``archive`` are everybody's archive. Such a subject is refused, and a map in which it would happen to everybody is
refused when it is put.

A target that names the organization matches in two forms, limited to one and cut off for all of them
(:mod:`erasure.domain.scope`). Whatever is compared, is compared in both. A target that detaches deletes nothing, but
takes a name out of what belongs to others: it has to name the subject just as exactly, and no item may be found by it
and by another target of the same index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from erasure.domain.scope import ORGANIZATION, for_all_organizations
from erasure.domain.target_spec import KeyRule, TargetSpec
from erasure.domain.templates import Template, names_subject, parse_template
from erasure.errors import TargetError

PREFIX_SEPARATORS = "/#:|"
"""What may follow a placeholder in a prefix. An application whose ids hold one of these cannot use it in prefixes."""
OF_OTHERS = "others"
OF_ANOTHER_KIND = "kind"
_END = "\x00"
"""Ends a key attribute's text. Identifiers hold no control characters, so no value can hold it."""

_SEPARATORS = frozenset(PREFIX_SEPARATORS + _END)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a target matches, as one template: of keys that begin with it, or that equal it if ``exact``."""

    template: Template
    exact: bool


def scopes_of(spec: TargetSpec) -> tuple[Scope, ...]:
    """The forms in which a target of the map matches: as it stands, and for all organizations if it names one."""
    cut = for_all_organizations(spec)
    return (scope_of(spec),) if cut is spec else (scope_of(spec), scope_of(cut))


@lru_cache(maxsize=1024)
def scope_of(spec: TargetSpec) -> Scope:
    if spec.s3 is not None:
        text, exact = (spec.s3.key, True) if spec.s3.key is not None else (spec.s3.prefix, False)
        return Scope(parse_template(text or "", spec.name), exact)
    assert spec.dynamodb is not None
    rule = spec.dynamodb
    # Partition and sort key as one text: a partition without a sort rule is everything that begins with it.
    text = rule.partition.template + _END + _sort_text(rule.sort)
    exact = rule.sort is not None and not rule.sort.prefix
    return Scope(parse_template(text, spec.name), exact)


def _sort_text(sort: KeyRule | None) -> str:
    if sort is None:
        return ""
    return sort.template if sort.prefix else sort.template + _END


def neighbours(spec: TargetSpec, all_targets: Iterable[TargetSpec]) -> tuple[TargetSpec, ...]:
    """Those of the targets that ``spec`` can have a :func:`conflict` with at all, whatever the values.

    For whoever checks many subjects: in a table for everything, with a word for each kind of item, it is hardly any.
    """
    template = scope_of(spec).template
    return tuple(
        other
        for other in all_targets
        if _same_place(spec, other) and not all(_never_meet(template, theirs.template) for theirs in scopes_of(other))
    )


def check_alone(spec: TargetSpec, all_targets: Iterable[TargetSpec], values: Mapping[str, str]) -> None:
    """Raise :class:`TargetError` unless ``spec`` renders for these values, to nothing that is also somebody else's.

    ``spec`` and ``values`` as :func:`erasure.domain.scope.in_scope` and :func:`erasure.domain.scope.value_sets` make
    them; ``all_targets``: the map's, as they stand in it, or the :func:`neighbours` among them.
    """
    spec.check_values(values)
    for other in all_targets:
        if conflict(spec, values, other) is not None:
            raise TargetError("ambiguous_identifier", permanent=True, detail="what is matched is also another target's")


def conflict(spec: TargetSpec, values: Mapping[str, str], other: TargetSpec) -> str | None:
    """What is wrong with ``spec``, in one of its forms and rendered for ``values``, beside ``other``.

    ``OF_OTHERS``: it matches what ``other`` keeps for another subject, or (with an organization among the values)
    outside of the organization. ``OF_ANOTHER_KIND``: it matches what ``other`` keeps, perhaps of the same subject,
    under another category, or what one of the two would delete and the other only detach.
    """
    if not _same_place(spec, other):
        return None
    scope = scope_of(spec)
    text = scope.template.render(values)
    scopes = scopes_of(other)
    if any(_covers_others(scope, text, values, theirs) for theirs in scopes):
        return OF_OTHERS
    if any(_lies_with_others(scope, text, values, theirs) for theirs in scopes):
        return OF_OTHERS
    if _is_apart(spec, other) and any(_bind(text, scope.exact, theirs.template) is not None for theirs in scopes):
        return OF_ANOTHER_KIND
    return None


def namesake(spec: TargetSpec, values: Mapping[str, str], other: TargetSpec) -> tuple[str, str] | None:
    """A placeholder and an id with which ``other`` would keep its data around what ``spec`` matches, if somebody were
    called so: a user ``groups`` keeps files around everybody's ``{tenant_id}/groups/{group_id}/``.

    Erasing such a user is refused (:func:`conflict`). The other way round the keys are the same, and nothing in the
    map tells whose they are.
    """
    if not _same_place(spec, other) or spec.name == other.name:
        return None
    text = scope_of(spec).template.render(values)
    for theirs in scopes_of(other):
        bound = None if theirs.exact else _bind(text, True, theirs.template, may_go_on=True)
        for name, value in (bound or {}).items():
            if value != values.get(name):
                return name, value
    return None


def broken_finds(targets: Sequence[TargetSpec]) -> Iterator[tuple[int, int]]:
    """Positions of a target that detaches, and of another that finds items by an attribute that the first one changes.

    What the first one has worked on, the second would not find any more, and take for gone.
    """
    for number, target in enumerate(targets):
        changed = _changed_attributes(target)
        for other_number, other in enumerate(targets):
            if number == other_number or target.dynamodb is None or other.dynamodb is None:
                continue
            if target.dynamodb.table != other.dynamodb.table or target.dynamodb.index == other.dynamodb.index:
                continue  # within one index the two must not meet at all: conflict() sees to it
            if changed.intersection(rule.attribute for rule in _key_rules(other)):
                yield number, other_number


def _changed_attributes(spec: TargetSpec) -> frozenset[str]:
    if spec.detach is None:
        return frozenset()
    named = {rule.attribute for rule in _key_rules(spec) if names_subject(rule.parsed().names)}
    return frozenset({spec.detach.attribute, *named})


def _key_rules(spec: TargetSpec) -> tuple[KeyRule, ...]:
    assert spec.dynamodb is not None
    rules = (spec.dynamodb.partition, spec.dynamodb.sort)
    return tuple(rule for rule in rules if rule is not None)


def _same_place(spec: TargetSpec, other: TargetSpec) -> bool:
    """Whether both are about one bucket, one table, or one index of it: only there keys can be compared."""
    if spec.s3 is not None:
        return other.s3 is not None and spec.s3.bucket == other.s3.bucket
    assert spec.dynamodb is not None
    there = other.dynamodb
    return there is not None and (spec.dynamodb.table, spec.dynamodb.index) == (there.table, there.index)


def _never_meet(mine: Template, theirs: Template) -> bool:
    """Whether no text of the one binds to the other, because fixed words differ at a place that both reach alike.

    Up to there, each value ends where the separator behind it begins, and it does not hold that separator.
    """
    for position, (word, other) in enumerate(zip(mine.parts, theirs.parts, strict=False)):
        if position % 2 or word == other:
            continue
        ends_alike = position == 0 or word[:1] == other[:1]
        return ends_alike and not (word.startswith(other) or other.startswith(word))
    return False


def _is_apart(spec: TargetSpec, other: TargetSpec) -> bool:
    """Whether the two may not meet, not even in one subject's own data. Both forms of a target have its name."""
    if spec.name == other.name:
        return False
    return spec.category != other.category or spec.detach is not None or other.detach is not None


def _covers_others(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether ``text`` (``scope`` rendered for ``values``) covers what ``other`` renders to for another subject."""
    bound = _bind(text, scope.exact, other.template)
    if bound is None:
        return False
    names = set(other.template.names)
    if ORGANIZATION in values:
        # Limited to one organization, it must not reach what is of none.
        names.add(ORGANIZATION)
    else:
        names.discard(ORGANIZATION)
    return any(name not in bound or bound[name] != values.get(name) for name in names)


def _lies_with_others(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether the exact ``text`` of an id that looks like a path is in what the prefix ``other`` has for somebody else.

    Only ids with separators are looked at: what the others render to is itself refused where it covers anybody else's.
    """
    if not scope.exact or other.exact or not scope.template.ends_in_placeholder:
        return False
    if _SEPARATORS.isdisjoint(values[scope.template.names[-1]]):
        return False
    bound = _bind(text, True, other.template, may_go_on=True)
    return bound is not None and any(value != values.get(name) for name, value in bound.items())


def _bind(text: str, exact: bool, template: Template, *, may_go_on: bool = False) -> dict[str, str] | None:
    """Values with which ``template`` renders to ``text``, or (unless ``exact``) to something that begins with it.

    ``None``: there are none. Names that ``text`` leaves open are missing. ``may_go_on``: ``text`` may be longer than
    what ``template`` renders to.
    """
    bound: dict[str, str] = {}
    rest = text
    for position, part in enumerate(template.parts):
        if position % 2 == 0:
            if not rest.startswith(part):
                return bound if not exact and part.startswith(rest) else None
            rest = rest[len(part) :]
            continue
        separator = template.parts[position + 1][:1]
        if not separator and not exact:
            # The value goes on after the text. With a separator in it, it is no id that prefixes can tell apart.
            return None if _SEPARATORS.intersection(rest) else bound
        length = rest.find(separator) if separator else len(rest)
        if length < 0:
            return None if exact else bound
        if length == 0:
            return None if rest or exact else bound
        # A name that stands twice has one value.
        if bound.setdefault(part, rest[:length]) != rest[:length]:
            return None
        rest = rest[length:]
    return None if rest and not may_go_on else bound
