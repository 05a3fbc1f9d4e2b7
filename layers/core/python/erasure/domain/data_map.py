"""The data map: the team's declaration of where personal data lies.

:func:`parse_data_map` takes the document (from YAML or JSON, as plain data) and returns a :class:`DataMap`, or raises
:class:`erasure.errors.DataMapError` that names every path and the rule it breaks. The rules exist so that no
target can ever match anybody else:

- every target names its subject (``{user_id}``, or ``{group_id}`` of a group) in what it matches;
- a prefix ends in a separator after its last placeholder (``{user_id}/``), so that user ``1`` never takes ``10`` along;
- what separates inside a prefix is one of ``/ # : |``, characters that ids of people do not hold;
- ``{organization_id}`` comes last, so that what is left without it still names the subject and nothing is erased
  that the map does not name;
- nothing unknown is accepted: a misspelt rule is an error, not a rule that silently does not apply.

Only this module and the operator's commands load pydantic; functions work on :class:`TargetSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from erasure.domain.canonical import digest_of
from erasure.domain.collisions import OF_OTHERS, PREFIX_SEPARATORS, broken_finds, conflict, namesake
from erasure.domain.request import FAMILY_CATEGORIES
from erasure.domain.scope import ORGANIZATION, for_all_organizations, names_organization
from erasure.domain.target_spec import DetachRule, DynamoDBRule, IdentifierRule, KeyRule, S3Rule, TargetSpec
from erasure.domain.templates import Template, parse_template
from erasure.errors import DataMapError, InvalidInputError

MAX_TARGETS = 200
_ANYBODY = {"tenant_id": "0t0", "user_id": "0u0", "group_id": "0g0", ORGANIZATION: "0o0"}
"""Ids that stand for all ids: they occur in no template."""
_SEPARATORS = " ".join(PREFIX_SEPARATORS)
_ORGANIZATION_PLACES = (
    "{organization_id} can stand in an S3 prefix or a sort key only: a request for all organizations matches what "
    "begins with the text before it"
)

_Category = Literal["account", "session", "credential", "membership", "content", "preference", "record"]
_Family = Literal["h2o", "hellojohn", "velt", "june", "native"]
_Subject = Literal["user", "group"]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
_AttributeName = Annotated[str, Field(min_length=1, max_length=255)]
_TemplateText = Annotated[str, Field(min_length=1, max_length=1024)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class _Prefix(_Model):
    prefix: _TemplateText


class _Detach(_Model):
    attribute: _AttributeName
    value: _TemplateText = ""
    """Left out: the subject's id."""


class _DetachAction(_Model):
    detach: _Detach


def _form(value: object) -> str:
    """Which of its two forms a value has; only that one's rules are told when it is wrong."""
    return "structure" if isinstance(value, dict | _Model) else "text"


def _selection_form(value: object) -> str:
    return "structure" if isinstance(value, list) else "text"


_Match = Annotated[
    Annotated[_TemplateText, Tag("text")] | Annotated[_Prefix, Tag("structure")],
    Discriminator(_form),
]
_Action = Annotated[
    Annotated[Literal["delete"], Tag("text")] | Annotated[_DetachAction, Tag("structure")],
    Discriminator(_form),
]
_Categories = Annotated[
    Annotated[Literal["all"], Tag("text")] | Annotated[list[_Category], Field(min_length=1), Tag("structure")],
    Discriminator(_selection_form),
]


class _DynamoDB(_Model):
    table: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")]
    key: Annotated[dict[_AttributeName, _Match], Field(min_length=1, max_length=2)]
    index: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")] | None = None


class _S3(_Model):
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: _TemplateText | None = None
    key: _TemplateText | None = None


class _Target(_Model):
    name: _Name
    category: _Category = "content"
    subjects: Annotated[list[_Subject], Field(min_length=1, max_length=1)] = ["user"]
    dynamodb: _DynamoDB | None = None
    s3: _S3 | None = None
    action: _Action = "delete"


class _Document(_Model):
    version: Literal[1]
    targets: Annotated[list[_Target], Field(min_length=1, max_length=MAX_TARGETS)]
    families: dict[_Family, _Categories] = {}


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
        parsed = _Document.model_validate(document)
    except ValidationError as error:
        raise DataMapError([_problem(item) for item in error.errors()]) from None
    problems = list(_rule_problems(parsed))
    if problems:
        raise DataMapError(problems)
    targets = tuple(_spec(target) for target in parsed.targets)
    problems = list(_collisions(targets))
    if problems:
        raise DataMapError(problems)
    return DataMap(document, targets, _digest(document, targets), tuple(_warnings(targets)), _families(parsed))


def _digest(document: Mapping[str, Any], targets: tuple[TargetSpec, ...]) -> str:
    # The order of a key's attributes has a meaning (partition first) that canonical JSON would lose.
    return digest_of({"document": document, "targets": [target.to_json() for target in targets]})


def _families(document: _Document) -> dict[str, frozenset[str] | None]:
    chosen: dict[str, frozenset[str] | None] = {
        family: None if categories == "all" else frozenset(categories)
        for family, categories in document.families.items()
    }
    return {**FAMILY_CATEGORIES, **chosen}


def _problem(error: Any) -> tuple[str, str]:
    """One pydantic error as path and rule, in words that name no Python type."""
    path = ""
    for position, part in enumerate(error["loc"]):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part == "[key]" or _is_form(position, error["loc"]):
            continue  # pydantic's own signposts, not places in the document
        else:
            path += f".{part}" if path else str(part)
    if error["type"] == "extra_forbidden":
        return path, "is not a known key here"
    return path or "data map", error["msg"][0].lower() + error["msg"][1:]


def _is_form(position: int, location: tuple[Any, ...]) -> bool:
    """Whether an error's location has the name of a form there, as :func:`_form` gives it."""
    if location[0] == "families":
        return position == 2
    return (location[2:3] == ("action",) and position == 3) or (location[2:4] == ("dynamodb", "key") and position == 5)


def _rule_problems(document: _Document) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    for number, target in enumerate(document.targets):
        path = f"targets[{number}]"
        if target.name in seen:
            yield f"{path}.name", f"is already the name of targets[{seen[target.name]}]"
        seen.setdefault(target.name, number)
        if (target.dynamodb is None) == (target.s3 is None):
            yield path, "needs exactly one of dynamodb and s3"
        elif target.dynamodb is not None:
            yield from _dynamodb_problems(target.dynamodb, f"{path}.dynamodb", _subject_of(target))
        elif target.s3 is not None:
            yield from _s3_problems(target.s3, f"{path}.s3", _subject_of(target))
        if isinstance(target.action, _DetachAction):
            if target.dynamodb is None or target.dynamodb.index is None:
                yield f"{path}.action", "detach needs a dynamodb rule with an index, through which the items are found"
            yield from _value_problems(_value_of(target.action, target), f"{path}.action.detach.value", target)


def _subject_of(target: _Target) -> str:
    """The placeholder of the target's subjects."""
    return f"{target.subjects[0]}_id"


def _dynamodb_problems(rule: _DynamoDB, path: str, subject: str) -> Iterator[tuple[str, str]]:
    names: tuple[str, ...] = ()
    for position, (attribute, match) in enumerate(rule.key.items()):
        here = f"{path}.key.{attribute}"
        is_prefix = isinstance(match, _Prefix)
        if is_prefix and position == 0:
            yield here, "a partition key is matched whole; only the sort key (the second attribute) can be a prefix"
        try:
            template = parse_template(match.prefix if isinstance(match, _Prefix) else match, here)
        except InvalidInputError as error:
            yield here, error.rule
            return
        yield from _placeholder_problems(template, here, {"tenant_id", subject, ORGANIZATION})
        if is_prefix:
            yield from _prefix_problems(template, here)
        if ORGANIZATION in template.names:
            if position == 0:
                yield here, _ORGANIZATION_PLACES
            else:
                yield from _organization_problems(template, here)
                if subject not in names:
                    yield here, f"{{organization_id}} needs {{{subject}}} in the partition key"
        names += template.names
    if subject not in names:
        yield f"{path}.key", _must_hold(subject)


def _s3_problems(rule: _S3, path: str, subject: str) -> Iterator[tuple[str, str]]:
    if (rule.prefix is None) == (rule.key is None):
        yield path, "needs exactly one of prefix and key"
        return
    here = f"{path}.prefix" if rule.prefix is not None else f"{path}.key"
    try:
        template = parse_template(rule.prefix or rule.key or "", here)
    except InvalidInputError as error:
        yield here, error.rule
        return
    yield from _placeholder_problems(template, here, {"tenant_id", subject, ORGANIZATION})
    if rule.prefix is not None:
        yield from _prefix_problems(template, here)
    if subject not in template.names:
        yield here, _must_hold(subject)
    elif ORGANIZATION in template.names:
        if rule.key is not None:
            yield here, _ORGANIZATION_PLACES
        else:
            yield from _organization_problems(template, here)


def _value_of(action: _DetachAction, target: _Target) -> str:
    return action.detach.value or f"{{{_subject_of(target)}}}"


def _value_problems(value: str, path: str, target: _Target) -> Iterator[tuple[str, str]]:
    """What is taken out is the subject's alone. Without an organization: it is not known when all are erased."""
    subject = _subject_of(target)
    try:
        template = parse_template(value, path)
    except InvalidInputError as error:
        yield path, error.rule
        return
    yield from _placeholder_problems(template, path, {"tenant_id", subject})
    if subject not in template.names:
        yield path, f"must hold {{{subject}}}: what does not name the subject is everybody's"


def _must_hold(subject: str) -> str:
    return f"must hold {{{subject}}}: a rule that does not name the subject matches everybody"


def _placeholder_problems(template: Template, path: str, known: set[str]) -> Iterator[tuple[str, str]]:
    for name in template.names:
        if name not in known:
            told = ", ".join(f"{{{known_name}}}" for known_name in sorted(known))
            yield path, f"{{{name}}} is not a known placeholder; known are {told}"


def _prefix_problems(template: Template, path: str) -> Iterator[tuple[str, str]]:
    if template.ends_in_placeholder:
        yield path, "a prefix needs a separator after its last placeholder, or it would match ids that begin alike"
    for following in template.parts[2::2]:
        if following and following[0] not in PREFIX_SEPARATORS:
            yield path, f"in a prefix, what follows a placeholder must begin with one of {_SEPARATORS}"


def _organization_problems(template: Template, path: str) -> Iterator[tuple[str, str]]:
    """What :func:`erasure.domain.scope.for_all_organizations` leaves must be a safe prefix, of nothing but what the
    target names."""
    start = 2 * template.names.index(ORGANIZATION)
    before, behind = template.parts[: start + 1], template.parts[start + 2 :]
    if before != ("",) and not before[-1].endswith(tuple(PREFIX_SEPARATORS)):
        yield path, f"{{organization_id}} needs one of {_SEPARATORS} before it, unless it begins a sort key"
    if behind not in {("",), *((separator,) for separator in PREFIX_SEPARATORS)}:
        yield (
            path,
            f"behind {{organization_id}} only one of {_SEPARATORS} may stand: a request for all organizations erases "
            "all that begins with what stands before it",
        )
    yield from _prefix_problems(Template("", before), path)


def _spec(target: _Target) -> TargetSpec:
    subjects: tuple[str, ...] = tuple(target.subjects)
    if target.s3 is not None:
        s3 = S3Rule(target.s3.bucket, target.s3.prefix, target.s3.key)
        return TargetSpec(target.name, target.category, s3=s3, subjects=subjects)
    assert target.dynamodb is not None  # noqa: S101 - checked by the rules above
    rules = [
        KeyRule(attribute, match.prefix, prefix=True) if isinstance(match, _Prefix) else KeyRule(attribute, match)
        for attribute, match in target.dynamodb.key.items()
    ]
    rule = DynamoDBRule(target.dynamodb.table, rules[0], rules[1] if len(rules) > 1 else None, target.dynamodb.index)
    detach = None
    if isinstance(target.action, _DetachAction):
        detach = DetachRule(target.action.detach.attribute, _value_of(target.action, target))
    return TargetSpec(target.name, target.category, dynamodb=rule, subjects=subjects, detach=detach)


def _collisions(targets: tuple[TargetSpec, ...]) -> Iterator[tuple[str, str]]:
    """Pairs of targets that meet whatever the ids are. Those that meet for some ids are refused subject by subject.

    Meeting in one person's own data matters too: the category decides which requests erase it, the action what is
    left of it.
    """
    for number, target in enumerate(targets):
        for other_number, other in enumerate(targets):
            found = _conflicts(target, other)
            if OF_OTHERS in found:
                yield (
                    f"targets[{number}]",
                    f"may match data of others that targets[{other_number}] keeps in the same place: "
                    "begin the two with different text",
                )
            elif found and (target.detach is not None or other.detach is not None):
                yield (
                    f"targets[{number}]",
                    f"matches what targets[{other_number}] matches, and one of them detaches: an item that is detached "
                    "leaves the index, and one that is deleted may be somebody else's",
                )
            elif found:
                yield (
                    f"targets[{number}]",
                    f"matches what targets[{other_number}] keeps under another category: a request that leaves that "
                    "one alone would erase it",
                )
    for number, other_number in broken_finds(targets):
        yield (
            f"targets[{number}]",
            f"takes away an attribute by which targets[{other_number}] finds its items",
        )


def _conflicts(target: TargetSpec, other: TargetSpec) -> set[str]:
    """What is wrong between the two in any form of the first, whoever the subject is."""
    values = {name: _ANYBODY[name] for name in ("tenant_id", f"{target.subjects[0]}_id")}
    found = {conflict(for_all_organizations(target), values, other)}
    if names_organization(target):
        found.add(conflict(target, {**values, ORGANIZATION: _ANYBODY[ORGANIZATION]}, other))
    return {problem for problem in found if problem is not None}


def _warnings(targets: tuple[TargetSpec, ...]) -> Iterator[tuple[str, str]]:
    for number, target in enumerate(targets):
        values = {name: _ANYBODY[name] for name in ("tenant_id", f"{target.subjects[0]}_id")}
        for other_number, other in enumerate(targets):
            found = namesake(for_all_organizations(target), values, other)
            if found is not None and found[1] not in _ANYBODY.values():
                yield (
                    f"targets[{number}]",
                    f"lies within what targets[{other_number}] matches if a {{{found[0]}}} is called {found[1]}: keep "
                    "the two apart unless nobody is",
                )
        if not any("tenant_id" in template.names for template in target.templates()):
            yield (
                f"targets[{number}]",
                f"does not hold {{tenant_id}}: right only if {target.subjects[0]} ids are unique across all tenants",
            )
