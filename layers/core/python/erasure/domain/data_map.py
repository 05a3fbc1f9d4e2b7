"""The data map: the team's declaration of where personal data lies.

:func:`parse_data_map` takes the document (from YAML or JSON, as plain data) and returns a :class:`DataMap`, or raises
:class:`erasure.errors.DataMapError` that names every path and the rule it breaks. The rules exist so that no
target can ever match anybody else:

- every target names its subject in what it matches: ``{user_id}``, or ``{group_id}`` of a group, or
  ``{organization_id}`` of an organization, or a further identifier of theirs, or an attribute of an item that is
  theirs;
- a prefix ends in a separator after its last placeholder (``{user_id}/``), so that user ``1`` never takes ``10`` along;
- what separates inside a prefix is one of ``/ # : |``, characters that ids of people do not hold;
- ``{organization_id}`` in a target of people or groups comes last, so that what is left without it still names the
  subject and nothing is erased that the map does not name;
- what cannot be compared with what another target keeps, redacts or is led on by is refused, or warned of;
- what goes when it is old, whosever it is, is one target's alone, and nothing else is found by it;
- nothing unknown is accepted: a misspelt rule is an error, not a rule that silently does not apply.

Only this module, those beside it (``data_map_...``) and the operator's commands load pydantic; functions work on
:class:`TargetSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from erasure.domain.canonical import digest_of
from erasure.domain.collisions import neighbours
from erasure.domain.data_map_links import (
    identifier_problems,
    link_problems,
    redacted_identifier_problems,
    with_inherited,
)
from erasure.domain.data_map_meetings import meeting_problems, meeting_warnings
from erasure.domain.data_map_retention import retention_meeting_problems, retention_problems
from erasure.domain.data_map_rules import rule_problems, value_of
from erasure.domain.data_map_schema import (
    DEFAULT_WINDOW,
    Constant,
    DetachAction,
    Document,
    DynamoDB,
    Prefix,
    RedactAction,
    Target,
    problem_of,
)
from erasure.domain.request import FAMILY_CATEGORIES
from erasure.domain.scope import ORGANIZATION
from erasure.domain.subject import ORGANIZATION as ORGANIZATION_TYPE
from erasure.domain.subject import OWN_PLACEHOLDERS
from erasure.domain.target_spec import (
    CONSTANT,
    NULL,
    AgeRule,
    DetachRule,
    DynamoDBRule,
    IdentifierRule,
    KeyRule,
    RedactRule,
    RetainRule,
    RoleRule,
    S3Rule,
    TargetSpec,
)
from erasure.errors import DataMapError


@dataclass(frozen=True, slots=True)
class DataMap:
    """A checked data map. ``digest`` is over the document, so a job's audit can name exactly what it went by.

    ``families``: the categories that each wire family erases (``None``: all), the defaults where the document says
    nothing. ``warnings``: ``(path, text)`` of what is allowed but deserves a second look.
    """

    document: Mapping[str, Any]
    targets: tuple[TargetSpec, ...]
    digest: str
    warnings: tuple[tuple[str, str], ...] = ()
    families: Mapping[str, frozenset[str] | None] = field(default_factory=lambda: FAMILY_CATEGORIES)
    identifiers: tuple[IdentifierRule, ...] = ()


def parse_data_map(document: object) -> DataMap:
    """Check ``document`` and turn its targets into specs.

    Raises :class:`DataMapError` with every problem found, as ``(path, rule)``: ``("targets[2].s3.prefix", "needs …")``.
    """
    if not isinstance(document, dict):
        raise DataMapError([("data map", "must be a mapping with the keys version and targets")])
    try:
        parsed = with_inherited(Document.model_validate(document))
    except ValidationError as error:
        raise DataMapError([problem_of(item) for item in error.errors()]) from None
    families = _families(parsed)
    _refuse(identifier_problems(parsed, families), _in_order(parsed), retention_problems(parsed))
    targets = _specs(parsed)
    _refuse(meeting_problems(targets), retention_meeting_problems(parsed, targets))
    targets = tuple(_with_neighbours(spec, targets) for spec in targets)
    targets = _with_rules_of_age(parsed, targets)
    identifiers = _identifiers(parsed, targets)
    warnings = tuple(meeting_warnings(targets, identifiers))
    return DataMap(document, targets, _digest(document, targets), warnings, families, identifiers)


def _refuse(*problems: Iterator[tuple[str, str]]) -> None:
    found = [problem for some in problems for problem in some]
    if found:
        raise DataMapError(found)


def _in_order(document: Document) -> Iterator[tuple[str, str]]:
    """What is wrong with the targets, by their places in the document."""
    found = [*link_problems(document), *rule_problems(document), *redacted_identifier_problems(document)]
    number = {f"targets[{number}]": number for number in range(len(document.targets))}
    yield from sorted(found, key=lambda problem: number[problem[0].partition(".")[0]])


def _digest(document: Mapping[str, Any], targets: tuple[TargetSpec, ...]) -> str:
    # The order of a key's attributes has a meaning (partition first) that canonical JSON would lose.
    return digest_of({"document": document, "targets": [target.to_json() for target in targets]})


def _families(document: Document) -> dict[str, frozenset[str] | None]:
    chosen: dict[str, frozenset[str] | None] = {
        family: None if categories == "all" else frozenset(categories)
        for family, categories in document.families.items()
    }
    return {**FAMILY_CATEGORIES, **chosen}


def _identifiers(document: Document, targets: tuple[TargetSpec, ...]) -> tuple[IdentifierRule, ...]:
    by_name = {target.name: target for target in targets}
    return tuple(
        IdentifierRule(name, by_name[each.source], each.attribute, optional=each.if_missing == "absent")
        for name, each in document.identifiers.items()
    )


def _specs(document: Document) -> tuple[TargetSpec, ...]:
    by_name = {target.name: target for target in document.targets}

    def spec_of(target: Target) -> TargetSpec:
        parent = None if target.for_each is None else spec_of(by_name[target.for_each])
        return replace(_of_its_subjects(_spec(target)), for_each=parent)

    return tuple(map(spec_of, document.targets))


def _with_neighbours(spec: TargetSpec, targets: tuple[TargetSpec, ...]) -> TargetSpec:
    """``spec`` with what its values have to be compared with when items have been read. How its neighbours are found
    by others does not matter for that."""
    if spec.for_each is None:
        return spec
    beside = tuple(replace(other, for_each=None) for other in neighbours(spec, targets))
    return replace(spec, for_each=_with_neighbours(spec.for_each, targets), beside=beside)


def _with_rules_of_age(document: Document, targets: tuple[TargetSpec, ...]) -> tuple[TargetSpec, ...]:
    rules = {
        rule.target: AgeRule(rule.older_than, rule.attribute, only_report=rule.mode == "report")
        for rule in document.retention
    }
    return tuple(replace(spec, retention=rules.get(spec.name)) for spec in targets)


def _spec(target: Target) -> TargetSpec:
    detach: DetachRule | None = None
    redact: tuple[RedactRule, ...] = ()
    if isinstance(target.action, DetachAction):
        detach = DetachRule(target.action.detach.attribute, value_of(target.action, target), target.action.detach.key)
    elif isinstance(target.action, RedactAction):
        redact = tuple(_redact_rule(path, form) for path, form in target.action.redact.items())
    retain = target.retain
    return TargetSpec(
        target.name,
        target.category,
        dynamodb=None if target.dynamodb is None else _dynamodb_rule(target.dynamodb),
        s3=None if target.s3 is None else S3Rule(target.s3.bucket, target.s3.prefix, target.s3.key),
        subjects=tuple(target.subjects),
        detach=detach,
        redact=redact,
        retain=None if retain is None else RetainRule(retain.basis, retain.period, retain.attribute),
        role=None if target.role_arn is None else RoleRule(target.role_arn, target.external_id),
        window_hours=int((target.window or DEFAULT_WINDOW).removesuffix("h")) if target.is_scan else 0,
    )


def _of_its_subjects(spec: TargetSpec) -> TargetSpec:
    """``spec``, in which what stands for an organization that is erased has a name of its own."""
    if spec.subjects != (ORGANIZATION_TYPE,):
        return spec

    def own(template: str) -> str:
        return template.replace(f"{{{ORGANIZATION}}}", f"{{{OWN_PLACEHOLDERS[ORGANIZATION_TYPE]}}}")

    def own_key(rule: KeyRule) -> KeyRule:
        return replace(rule, template=own(rule.template))

    table, bucket, detach = spec.dynamodb, spec.s3, spec.detach
    if table is not None:
        sort = None if table.sort is None else own_key(table.sort)
        table = replace(table, partition=own_key(table.partition), sort=sort)
    if bucket is not None:
        prefix, key = (None if text is None else own(text) for text in (bucket.prefix, bucket.key))
        bucket = replace(bucket, prefix=prefix, key=key)
    if detach is not None:
        detach = replace(detach, value=own(detach.value))
    return replace(spec, dynamodb=table, s3=bucket, detach=detach)


def _dynamodb_rule(rule: DynamoDB) -> DynamoDBRule:
    partition, *sort = [
        KeyRule(attribute, match.prefix, prefix=True) if isinstance(match, Prefix) else KeyRule(attribute, match)
        for attribute, match in rule.matches.items()
    ]
    return DynamoDBRule(rule.table, partition, sort[0] if sort else None, rule.index, scan=rule.scan is not None)


def _redact_rule(path: str, form: str | Constant | None) -> RedactRule:
    if isinstance(form, Constant):
        return RedactRule(path, CONSTANT, form.constant)
    return RedactRule(path, NULL if form is None else form)
