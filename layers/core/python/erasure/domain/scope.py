"""Organizations: an erasure may be limited to some of a subject's organizations.

A target whose rule holds ``{organization_id}`` can be limited; any other would reach beyond the organizations named,
and is left out of a limited request (``None`` below). Without a limit, the rule is cut off where it begins to speak of
the organization, so that it covers all of them: ``{tenant_id}/{user_id}/{organization_id}/`` becomes
``{tenant_id}/{user_id}/``. :func:`erasure.domain.data_map.parse_data_map` lets only rules in for which the rest still
names the subject and ends where a value ends.

An organization that is itself the subject has another placeholder in specs, and nothing of this is about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod

from erasure.domain.subject import OWN_PLACEHOLDERS, Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import TargetError

ORGANIZATION = "organization_id"
_PLACEHOLDER = f"{{{ORGANIZATION}}}"
_OWN_NAMES = frozenset({"tenant_id", ORGANIZATION, *OWN_PLACEHOLDERS.values()})
NO_IDENTIFIERS: Mapping[str, Sequence[str]] = {}
MOST_VALUE_SETS = 10_000
"""Of one subject for one target. What somebody's items say must not become more than a function has memory for, and
thereby everybody's problem."""


@lru_cache(maxsize=1024)
def needs(spec: TargetSpec) -> tuple[bool, tuple[str, ...]]:
    """Whether the target's rule, or that of a target that leads to it, names the organization; and the names of the
    identifiers that have to be known besides the subject's own ids."""
    names = spec.names()
    return ORGANIZATION in names, tuple(sorted(names - _OWN_NAMES))


def names_organization(spec: TargetSpec) -> bool:
    return needs(spec)[0]


def in_scope(spec: TargetSpec, organization_ids: Sequence[str]) -> TargetSpec | None:
    """The target as it applies to a request limited to these organizations (none: no limit); ``None``: not at all."""
    if organization_ids:
        return spec if names_organization(spec) else None
    return for_all_organizations(spec)


def value_sets(
    subject: Subject,
    organization_ids: Sequence[str],
    spec: TargetSpec,
    identifiers: Mapping[str, Sequence[str]] = NO_IDENTIFIERS,
) -> list[dict[str, str]]:
    """The values with which ``spec`` (from :func:`in_scope`) is rendered: once, once for each organization, and once
    for each value of each further identifier that it names (``identifiers``: values by name). None at all if there is
    no value for one of them.

    Raises :class:`TargetError` ``missing_value`` if they are more than can be looked for."""
    of_organization, more = needs(spec)
    combinations = prod(len(identifiers.get(name, ())) for name in more)
    if combinations * (len(organization_ids) if of_organization else 1) > MOST_VALUE_SETS:
        raise TargetError("missing_value", permanent=True, detail="there are more values than can be looked for")
    sets = [subject.values()]
    if of_organization:
        sets = [{**sets[0], ORGANIZATION: organization_id} for organization_id in organization_ids]
    for name in more:
        sets = [{**values, name: value} for values in sets for value in identifiers.get(name, ())]
    return sets


@lru_cache(maxsize=1024)
def for_all_organizations(spec: TargetSpec) -> TargetSpec:
    """``spec`` without what it says of the organization."""
    if not names_organization(spec):
        return spec
    if spec.for_each is not None:
        spec = replace(spec, for_each=for_all_organizations(spec.for_each))
    if not any(ORGANIZATION in template.names for template in spec.templates()):
        return spec
    if spec.s3 is not None:
        return replace(spec, s3=replace(spec.s3, prefix=_cut(spec.s3.prefix or "")))
    assert spec.dynamodb is not None  # noqa: S101 - a target has one of the two
    return replace(spec, dynamodb=_without_organization(spec.dynamodb))


def _without_organization(rule: DynamoDBRule) -> DynamoDBRule:
    assert rule.sort is not None  # noqa: S101 - parse_data_map lets organizations stand in sort keys only
    start = _cut(rule.sort.template)
    return replace(rule, sort=KeyRule(rule.sort.attribute, start, prefix=True) if start else None)


def _cut(template: str) -> str:
    return template.partition(_PLACEHOLDER)[0]
