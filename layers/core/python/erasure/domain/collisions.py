"""Targets that share a table or bucket: does what one of them matches for a subject hold somebody else's data?

Each template by itself names one subject (:mod:`erasure.domain.templates`). Two of them side by side may not: with
``{tenant_id}/{user_id}/`` and ``{tenant_id}/archive/{user_id}/`` in one bucket, the files of a user called
``archive`` are everybody's archive. Such a subject is refused, and a map in which it would happen to everybody is
refused when it is put.

A target that names the organization matches in two forms, limited to one and cut off for all of them
(:mod:`erasure.domain.scope`). Whatever is compared, is compared in both. A target that detaches deletes nothing, but
takes a name out of what belongs to others: it has to name the subject just as exactly, and no item may be found by it
and by another target of the same index. Nor may one that redacts or retains meet one that does something else.

Further identifiers are placeholders like the subject's own ids, and their values may be anything. What an item says
(``{documents.attachment_key}``) may be anything too, but nobody knows it before the item is read: such a target is
compared again with each value, and where its value decides alone, nothing can be compared before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from erasure.domain.scope import ORGANIZATION, for_all_organizations
from erasure.domain.subject import OWN_PLACEHOLDERS
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
_SUBJECTS = frozenset(OWN_PLACEHOLDERS.values())
_OWN = _SUBJECTS | {"tenant_id", ORGANIZATION}


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
    """Keys of objects; partition and sort key of items as one text; of a scan, its attributes in alphabetical order."""
    if spec.s3 is not None:
        text, exact = (spec.s3.key, True) if spec.s3.key is not None else (spec.s3.prefix, False)
        return Scope(parse_template(text or "", spec.name), exact)
    assert spec.dynamodb is not None
    rule = spec.dynamodb
    if rule.scan:
        texts = [each.template + _END for each in sorted(_key_rules(spec), key=lambda each: each.attribute)]
        return Scope(parse_template("".join(texts), spec.name), exact=True)
    # A partition without a sort rule is everything that begins with it.
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
    under another category, or with which the two do different things.
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
    if is_apart(spec, other) and any(_meets(scope, text, values, theirs) for theirs in scopes):
        return OF_ANOTHER_KIND
    return None


def meet(spec: TargetSpec, values: Mapping[str, str], other: TargetSpec) -> bool:
    """Whether ``spec``, rendered for ``values``, matches anything that ``other`` may match for the same subject,
    whatever items say."""
    if not _same_place(spec, other):
        return False
    scope = scope_of(spec)
    text = scope.template.render(values)
    for theirs in scopes_of(other):
        if _bind(text, scope.exact, theirs.template, open_attributes=True) is not None:
            return True
        bound = None if theirs.exact else _bind(text, True, theirs.template, may_go_on=True)
        names = {name for name in _bound_names(bound or {}, scope) if not _is_attribute(name)}
        if bound is not None and not _is_of_others(bound, names, values):
            return True
    return False


def are_incomparable(spec: TargetSpec, other: TargetSpec) -> bool:
    """Whether both are about one table and find its items in different ways: nobody can tell whether they meet."""
    return _same_table(spec, other) and not _same_place(spec, other)


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
    """Positions of a target that detaches or redacts, and of another that needs an attribute that the first one
    changes: to find items by it, to be led on by it, or to know until when they are kept.

    What the first one has worked on, the second would not find any more, and take for gone.
    """
    for number, target in enumerate(targets):
        changed = _changed_attributes(target)
        for other_number, other in enumerate(targets):
            if number != other_number and changed and any(_breaks(target, changed, need) for need in _needs(other)):
                yield number, other_number


def _breaks(target: TargetSpec, changed: frozenset[str], need: tuple[TargetSpec, frozenset[str]]) -> bool:
    other, attributes = need
    # Within one place the two must not meet at all: conflict() sees to it.
    return are_incomparable(target, other) and not changed.isdisjoint(attributes)


def _needs(spec: TargetSpec) -> Iterator[tuple[TargetSpec, frozenset[str]]]:
    """A target in whose items attributes have to stay as they are, with these."""
    if spec.dynamodb is not None:
        kept = {rule.attribute for rule in _key_rules(spec)} | ({spec.retain.attribute} if spec.retain else set())
        yield spec, frozenset(kept)
    if spec.for_each is not None:
        names = {name for template in spec.templates() for name in template.names}
        yield spec.for_each, frozenset(name.partition(".")[2] for name in names if "." in name)


def _changed_attributes(spec: TargetSpec) -> frozenset[str]:
    if spec.detach is not None:
        named = {rule.attribute for rule in _key_rules(spec) if names_subject(rule.parsed().names)}
        return frozenset({spec.detach.attribute, *named})
    return frozenset(rule.path.partition(".")[0].removesuffix("[]") for rule in spec.redact)


def _key_rules(spec: TargetSpec) -> tuple[KeyRule, ...]:
    assert spec.dynamodb is not None
    rules = (spec.dynamodb.partition, spec.dynamodb.sort)
    return tuple(rule for rule in rules if rule is not None)


def _same_place(spec: TargetSpec, other: TargetSpec) -> bool:
    """Whether both are about one bucket, one table, or one index of it: only there keys can be compared. Scans are
    compared by what they look for."""
    if spec.s3 is not None:
        # Whatever the account is: there is but one bucket of a name.
        return other.s3 is not None and spec.s3.bucket == other.s3.bucket
    if not _same_table(spec, other):
        return False
    assert spec.dynamodb is not None
    assert other.dynamodb is not None
    if spec.dynamodb.scan and other.dynamodb.scan:
        return {rule.attribute for rule in _key_rules(spec)} == {rule.attribute for rule in _key_rules(other)}
    return (spec.dynamodb.scan, spec.dynamodb.index) == (other.dynamodb.scan, other.dynamodb.index)


def _same_table(spec: TargetSpec, other: TargetSpec) -> bool:
    """Whether both may be about one table: of one name, unless it is known that their accounts are different."""
    if spec.dynamodb is None or other.dynamodb is None or spec.dynamodb.table != other.dynamodb.table:
        return False
    # Without a role it is the stack's own account, of which the map does not tell which one it is.
    accounts = {each.role.arn.split(":")[4] for each in (spec, other) if each.role is not None}
    return len(accounts) < 2


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


def is_apart(spec: TargetSpec, other: TargetSpec) -> bool:
    """Whether the two may not meet, not even in one subject's own data. Both forms of a target have its name."""
    if spec.name == other.name:
        return False
    if spec.detach is not None or other.detach is not None:
        return True
    return (spec.category, spec.redact, spec.retain) != (other.category, other.redact, other.retain)


def _covers_others(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether ``text`` (``scope`` rendered for ``values``) covers what ``other`` renders to for another subject."""
    bound = _bind(text, scope.exact, other.template)
    if bound is None:
        return False
    names = set(other.template.names)
    if ORGANIZATION in scope.template.names:
        # Limited to one organization, it must not reach what is of none.
        names.add(ORGANIZATION)
    else:
        names.discard(ORGANIZATION)
    if _led_by_items(values):
        # What the items of another target lead to has no name here; that both lead to the same thing is no fault.
        names = {name for name in names if name in values or name not in bound or not _is_attribute(name)}
    return _is_of_others(bound, names, values)


def _lies_with_others(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether ``text`` is in what the prefix ``other`` has for somebody else, although no id in it says so: that of an
    id that looks like a path, or one that items led to.

    Of all others nothing need be looked at: what ``other`` renders to is itself refused where it covers anybody else's.
    """
    looks_like_a_path = any(not _SEPARATORS.isdisjoint(values[name]) for name in scope.template.names)
    if other.exact or not (looks_like_a_path or _led_by_items(values)):
        return False
    bound = _bind(text, True, other.template, may_go_on=True)
    if bound is None:
        return False
    names = _bound_names(bound, scope)
    if not looks_like_a_path:
        # Both may be led to the same thing; but not to what names somebody else.
        names = {name for name in names if name in values or not _is_attribute(name)}
    return _is_of_others(bound, names, values)


def _meets(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether ``text`` covers what ``other`` may render to, for whomever, or (if items led there) lies within what
    ``other`` has for the same subject."""
    if _bind(text, scope.exact, other.template, open_attributes=True) is not None:
        return True
    if other.exact or not _led_by_items(values):
        return False  # of what ids render to, the other target knows when it is compared with this one
    bound = _bind(text, True, other.template, may_go_on=True)
    return bound is not None and not _is_of_others(bound, _bound_names(bound, scope), values)


def _bound_names(bound: Mapping[str, str], scope: Scope) -> set[str]:
    """The names of which the values matter: in all organizations, whichever it is does not."""
    return set(bound) if ORGANIZATION in scope.template.names else set(bound) - {ORGANIZATION}


def _is_of_others(bound: Mapping[str, str], names: Iterable[str], values: Mapping[str, str]) -> bool:
    """Whether ``bound``, of which ``names`` matter, is not the subject's."""
    names = set(names)
    if not _SUBJECTS.isdisjoint(names):
        # Who it is, is settled by that: of a person, each e-mail address is that person's.
        names &= _OWN
    return any(name not in bound or bound[name] != values.get(name) for name in names)


def _led_by_items(values: Mapping[str, str]) -> bool:
    return any(map(_is_attribute, values))


def _is_attribute(name: str) -> bool:
    """Whether a placeholder stands for an attribute of an item of another target."""
    return "." in name


def bound_values(text: str, template: Template, *, may_go_on: bool = False) -> dict[str, str] | None:
    """The values with which ``template`` renders to ``text``, or (``may_go_on``) to a beginning of it; ``None``: there
    are none. What does not render again, because a value breaks a rule, is for the caller to see."""
    return _bind(text, True, template, may_go_on=may_go_on)


def binds(text: str, template: Template, *, may_go_on: bool = False) -> bool:
    """Whether ``template`` renders to ``text`` for anybody, or (``may_go_on``) to a beginning of it."""
    return bound_values(text, template, may_go_on=may_go_on) is not None


def _bind(
    text: str, exact: bool, template: Template, *, may_go_on: bool = False, open_attributes: bool = False
) -> dict[str, str] | None:
    """Values with which ``template`` renders to ``text``, or (unless ``exact``) to something that begins with it.

    ``None``: there are none. Names that ``text`` leaves open are missing. ``may_go_on``: ``text`` may be longer than
    what ``template`` renders to. ``open_attributes``: what an item says may hold separators, as keys do.
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
            goes_on = open_attributes and _is_attribute(part)
            return None if _SEPARATORS.intersection(rest) and not goes_on else bound
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
