"""Targets that share a table or bucket: does what one of them matches for a subject hold somebody else's data?

Each template by itself names one subject (:mod:`erasure.domain.templates`). Two of them side by side may not: with
``{tenant_id}/{user_id}/`` and ``{tenant_id}/archive/{user_id}/`` in one bucket, the files of a user called
``archive`` are everybody's archive. Such a subject is refused, and a map in which it would happen to everybody is
refused when it is put.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from erasure.domain.target_spec import KeyRule, TargetSpec
from erasure.domain.templates import Template, parse_template
from erasure.errors import TargetError

PREFIX_SEPARATORS = "/#:|"
"""What may follow a placeholder in a prefix. An application whose ids hold one of these cannot use it in prefixes."""
_END = "\x00"
"""Ends a key attribute's text. Identifiers hold no control characters, so no value can hold it."""

_SEPARATORS = frozenset(PREFIX_SEPARATORS + _END)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a target matches, as one template: of keys that begin with it, or that equal it if ``exact``.

    ``container``: scopes can only meet within the same one.
    """

    container: tuple[str, ...]
    template: Template
    exact: bool


@lru_cache(maxsize=1024)
def scope_of(spec: TargetSpec) -> Scope:
    if spec.s3 is not None:
        text, exact = (spec.s3.key, True) if spec.s3.key is not None else (spec.s3.prefix, False)
        return Scope(("s3", spec.s3.bucket), parse_template(text or "", spec.name), exact)
    assert spec.dynamodb is not None
    rule = spec.dynamodb
    # Partition and sort key as one text: a partition without a sort rule is everything that begins with it.
    text = rule.partition.template + _END + _sort_text(rule.sort)
    exact = rule.sort is not None and not rule.sort.prefix
    return Scope(("dynamodb", rule.table, rule.index or ""), parse_template(text, spec.name), exact)


def _sort_text(sort: KeyRule | None) -> str:
    if sort is None:
        return ""
    return sort.template if sort.prefix else sort.template + _END


def check_alone(spec: TargetSpec, all_targets: Iterable[TargetSpec], values: Mapping[str, str]) -> None:
    """Raise :class:`TargetError` unless ``spec`` renders for these values, to nothing that is also somebody else's."""
    spec.check_values(values)
    scope = scope_of(spec)
    text = scope.template.render(values)
    for other in all_targets:
        if covers_others(scope, text, values, scope_of(other)) or _lies_with_others(
            scope, text, values, scope_of(other)
        ):
            raise TargetError(
                "ambiguous_identifier", permanent=True, detail="what is matched is also another target's for others"
            )


def covers(scope: Scope, text: str, other: Scope) -> bool:
    """Whether ``text`` (``scope`` rendered for somebody) covers anything that ``other`` may match."""
    return scope.container == other.container and _bind(text, scope.exact, other.template) is not None


def covers_others(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether ``text`` (``scope`` rendered for ``values``) covers what ``other`` renders to for another subject."""
    if scope.container != other.container:
        return False
    bound = _bind(text, scope.exact, other.template)
    if bound is None:
        return False
    return any(bound.get(name) != values.get(name) for name in other.template.names)


def _lies_with_others(scope: Scope, text: str, values: Mapping[str, str], other: Scope) -> bool:
    """Whether the exact ``text`` of an id that looks like a path is in what the prefix ``other`` has for somebody else.

    Only ids with separators are looked at: what the others render to is itself refused where it covers anybody else's.
    """
    if scope.container != other.container or not scope.exact or other.exact or not scope.template.ends_in_placeholder:
        return False
    if _SEPARATORS.isdisjoint(values[scope.template.names[-1]]):
        return False
    bound = _bind(text, True, other.template, may_go_on=True)
    return bound is not None and any(bound[name] != values.get(name) for name in other.template.names)


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
