"""The data map: the team's declaration of where personal data lies.

:func:`parse_data_map` takes the document (from YAML or JSON, as plain data) and returns a :class:`DataMap`, or raises
:class:`erasure.errors.DataMapError` that names every path and the rule it breaks. The rules exist so that no
target can ever match anybody else:

- every target names the subject (``{user_id}``) in what it matches;
- a prefix ends in a separator after its last placeholder (``{user_id}/``), so that user ``1`` never takes ``10`` along;
- what separates inside a prefix is one of ``/ # : |``, characters that ids of people do not hold;
- nothing unknown is accepted: a misspelt rule is an error, not a rule that silently does not apply.

Only this module and the operator's commands load pydantic; functions work on :class:`TargetSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from erasure.domain.canonical import digest_of
from erasure.domain.collisions import PREFIX_SEPARATORS, covers, covers_others, scope_of
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.domain.templates import Template, parse_template
from erasure.errors import DataMapError, InvalidInputError

KNOWN_PLACEHOLDERS = frozenset({"tenant_id", "user_id"})
MAX_TARGETS = 200
_ANYBODY = {"tenant_id": "0t0", "user_id": "0u0"}
"""Ids that stand for all ids: they occur in no template."""

_Category = Literal["account", "session", "credential", "membership", "content", "preference", "record"]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
_AttributeName = Annotated[str, Field(min_length=1, max_length=255)]
_TemplateText = Annotated[str, Field(min_length=1, max_length=1024)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class _Prefix(_Model):
    prefix: _TemplateText


def _match_kind(value: object) -> str:
    """Which of the two forms a match has; only that one's rules are told when it is wrong."""
    return "prefix" if isinstance(value, dict | _Prefix) else "text"


_Match = Annotated[
    Annotated[_TemplateText, Tag("text")] | Annotated[_Prefix, Tag("prefix")],
    Discriminator(_match_kind),
]
_MATCH_BRANCH_AT = 5
"""Where in an error's location the tag stands: targets, number, dynamodb, key, attribute, tag."""


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
    category: _Category
    dynamodb: _DynamoDB | None = None
    s3: _S3 | None = None
    action: Literal["delete"] = "delete"


class _Document(_Model):
    version: Literal[1]
    targets: Annotated[list[_Target], Field(min_length=1, max_length=MAX_TARGETS)]


@dataclass(frozen=True, slots=True)
class DataMap:
    """A checked data map. ``digest`` is over the document, so a job's audit can name exactly what it went by.

    ``warnings``: ``(path, text)`` of what is allowed but deserves a second look.
    """

    document: Mapping[str, Any]
    targets: tuple[TargetSpec, ...]
    digest: str
    warnings: tuple[tuple[str, str], ...] = ()


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
    return DataMap(document, targets, _digest(document, targets), tuple(_warnings(targets)))


def _digest(document: Mapping[str, Any], targets: tuple[TargetSpec, ...]) -> str:
    # The order of a key's attributes has a meaning (partition first) that canonical JSON would lose.
    return digest_of({"document": document, "targets": [target.to_json() for target in targets]})


def _problem(error: Any) -> tuple[str, str]:
    """One pydantic error as path and rule, in words that name no Python type."""
    path = ""
    for position, part in enumerate(error["loc"]):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part == "[key]" or (position == _MATCH_BRANCH_AT and error["loc"][2:4] == ("dynamodb", "key")):
            continue  # pydantic's own signposts, not places in the document
        else:
            path += f".{part}" if path else str(part)
    if error["type"] == "extra_forbidden":
        return path, "is not a known key here"
    return path or "data map", error["msg"][0].lower() + error["msg"][1:]


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
            yield from _dynamodb_problems(target.dynamodb, f"{path}.dynamodb")
        elif target.s3 is not None:
            yield from _s3_problems(target.s3, f"{path}.s3")


def _dynamodb_problems(rule: _DynamoDB, path: str) -> Iterator[tuple[str, str]]:
    names: set[str] = set()
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
        yield from _placeholder_problems(template, here)
        if is_prefix:
            yield from _prefix_problems(template, here)
        names.update(template.names)
    if "user_id" not in names:
        yield f"{path}.key", "must hold {user_id}: a rule that does not name the subject matches everybody"


def _s3_problems(rule: _S3, path: str) -> Iterator[tuple[str, str]]:
    if (rule.prefix is None) == (rule.key is None):
        yield path, "needs exactly one of prefix and key"
        return
    here = f"{path}.prefix" if rule.prefix is not None else f"{path}.key"
    try:
        template = parse_template(rule.prefix or rule.key or "", here)
    except InvalidInputError as error:
        yield here, error.rule
        return
    yield from _placeholder_problems(template, here)
    if rule.prefix is not None:
        yield from _prefix_problems(template, here)
    if "user_id" not in template.names:
        yield here, "must hold {user_id}: a rule that does not name the subject matches everybody"


def _placeholder_problems(template: Template, path: str) -> Iterator[tuple[str, str]]:
    for name in template.names:
        if name not in KNOWN_PLACEHOLDERS:
            known = ", ".join(f"{{{known}}}" for known in sorted(KNOWN_PLACEHOLDERS))
            yield path, f"{{{name}}} is not a known placeholder; known are {known}"


def _prefix_problems(template: Template, path: str) -> Iterator[tuple[str, str]]:
    if template.ends_in_placeholder:
        yield path, "a prefix needs a separator after its last placeholder, or it would match ids that begin alike"
    for following in template.parts[2::2]:
        if following and following[0] not in PREFIX_SEPARATORS:
            yield path, f"in a prefix, what follows a placeholder must begin with one of {' '.join(PREFIX_SEPARATORS)}"


def _spec(target: _Target) -> TargetSpec:
    if target.s3 is not None:
        return TargetSpec(target.name, target.category, s3=S3Rule(target.s3.bucket, target.s3.prefix, target.s3.key))
    assert target.dynamodb is not None  # noqa: S101 - checked by the rules above
    rules = [
        KeyRule(attribute, match.prefix, prefix=True) if isinstance(match, _Prefix) else KeyRule(attribute, match)
        for attribute, match in target.dynamodb.key.items()
    ]
    rule = DynamoDBRule(target.dynamodb.table, rules[0], rules[1] if len(rules) > 1 else None, target.dynamodb.index)
    return TargetSpec(target.name, target.category, dynamodb=rule)


def _collisions(targets: tuple[TargetSpec, ...]) -> Iterator[tuple[str, str]]:
    """Pairs of targets that meet whatever the ids are. Those that meet for some ids are refused subject by subject.

    Meeting in one person's own data matters too: the category decides which requests erase it.
    """
    for number, target in enumerate(targets):
        scope = scope_of(target)
        text = scope.template.render(_ANYBODY)
        for other_number, other in enumerate(targets):
            if covers_others(scope, text, _ANYBODY, scope_of(other)):
                yield (
                    f"targets[{number}]",
                    f"may match data of others that targets[{other_number}] keeps in the same place: "
                    "begin the two with different text",
                )
            elif target.category != other.category and covers(scope, text, scope_of(other)):
                yield (
                    f"targets[{number}]",
                    f"matches what targets[{other_number}] keeps under another category: a request that leaves that "
                    "one alone would erase it",
                )


def _warnings(targets: tuple[TargetSpec, ...]) -> Iterator[tuple[str, str]]:
    for number, target in enumerate(targets):
        if not any("tenant_id" in template.names for template in target.templates()):
            yield (
                f"targets[{number}]",
                "does not hold {tenant_id}: right only if user ids are unique across all tenants",
            )
