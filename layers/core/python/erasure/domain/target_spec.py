"""One target of the data map, as plain data: what the erasers need and nothing else.

A task carries its target in this form (templates, never substituted text), so that the functions that erase
load neither the data map nor a validation library. :mod:`erasure.domain.data_map` makes and checks them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from erasure.domain.subject import USER
from erasure.domain.templates import Template, parse_template


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How one key attribute is matched: equal to the rendered template, or beginning with it."""

    attribute: str
    template: str
    prefix: bool = False

    def parsed(self) -> Template:
        return parse_template(self.template, self.attribute)


@dataclass(frozen=True, slots=True)
class DynamoDBRule:
    """Items of ``table`` whose ``partition`` (and ``sort``) match; through ``index`` if there is one.

    With an index the rules name the index's key attributes, and items are deleted by the table's own key. ``scan``: no
    key and no index leads to the items; the rules name one or two attributes of any kind, matched whole, and the whole
    table is read.
    """

    table: str
    partition: KeyRule
    sort: KeyRule | None = None
    index: str | None = None
    scan: bool = False


@dataclass(frozen=True, slots=True)
class S3Rule:
    """Objects of ``bucket`` under ``prefix``, or exactly ``key``; one of the two is set. Both are templates."""

    bucket: str
    prefix: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class DetachRule:
    """Take a value out of ``attribute`` (a string set, a list of strings or a string) of items that others own.

    ``value``: template of what is taken out. The key attributes of the index through which the items are found go too
    where they name the subject, so that nothing keeps pointing at it. ``key``: the attribute holds a list of maps, and
    those go whose own attribute of this name is the value.
    """

    attribute: str
    value: str = "{user_id}"
    key: str = ""


REMOVE, NULL, CONSTANT, DIGEST = "remove", "null", "constant", "digest"
"""What redacting makes of an attribute."""


@dataclass(frozen=True, slots=True)
class RedactRule:
    """What becomes of one attribute. ``path``: names joined by dots, ``[]`` behind a name for each element of a list
    (``contacts[].email``). ``how``: ``remove``, ``null``, ``constant`` (then ``constant`` is the text) or
    ``digest``."""

    path: str
    how: str
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class RetainRule:
    """Items are kept until ``period`` (``10y``; see :mod:`erasure.domain.retention`) after the moment in ``attribute``,
    by the legal ``basis``; then they go like any other."""

    basis: str
    period: str
    attribute: str


ERASING, REPORTING, VOID = "erase", "report", "void"
"""What a run by a rule of age does: erase, only count, or nothing at all, for the rule is another one by now."""


@dataclass(frozen=True, slots=True)
class AgeRule:
    """Whosever they are, things go when the period ``older_than`` (``30d``; see :mod:`erasure.domain.retention`) has
    passed since the moment in ``attribute``, or, of objects, since they were written. ``only_report``: they are counted
    and stay.

    That is what the map says. Of a target as a run has it, ``mode`` says what the run does and ``moment`` (RFC 3339)
    when the period must have passed by.
    """

    older_than: str
    attribute: str | None = None
    only_report: bool = False
    mode: str = ""
    moment: str = ""


@dataclass(frozen=True, slots=True)
class RoleRule:
    """The role that is assumed for data in another account."""

    arn: str
    external_id: str | None = None


DELETE_ACTION, DETACH_ACTION, REDACT_ACTION, REPORT_ACTION = "delete", "detach", "redact", "report"


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A target: exactly one of ``dynamodb`` and ``s3`` is set.

    ``subjects``: types of subjects that it holds data of. ``detach``: items stay, only the subject is taken out
    (DynamoDB, through an index). ``redact``: items stay, these attributes are changed. Neither: what is matched is
    deleted. ``retain``: items are kept until their time has passed, redacted meanwhile if there is ``redact``.
    ``window_hours``: a scan is made once for all requests of so many hours. ``role``: for another account.
    ``retention``: the rule by which things of it go because they are old.

    ``for_each``: the target whose items lead to this one's: their attributes are values of its templates, by
    ``{name.attribute}``. ``beside``: of such a target, and in a run by age, the neighbours among the map's
    (:mod:`erasure.domain.collisions`), with which its values have to be compared when they are known.
    """

    name: str
    category: str
    dynamodb: DynamoDBRule | None = None
    s3: S3Rule | None = None
    subjects: tuple[str, ...] = (USER,)
    detach: DetachRule | None = None
    redact: tuple[RedactRule, ...] = ()
    retain: RetainRule | None = None
    role: RoleRule | None = None
    window_hours: int = 0
    for_each: TargetSpec | None = None
    beside: tuple[TargetSpec, ...] = ()
    retention: AgeRule | None = None

    @property
    def kind(self) -> str:
        """``"dynamodb"`` or ``"s3"``: which eraser works on it."""
        return "dynamodb" if self.dynamodb is not None else "s3"

    @property
    def action(self) -> str:
        """``delete``, ``detach`` or ``redact``; ``report`` in a run that erases nothing."""
        if self.retention is not None and self.retention.mode in (REPORTING, VOID):
            return REPORT_ACTION
        if self.detach is not None:
            return DETACH_ACTION
        return REDACT_ACTION if self.redact else DELETE_ACTION

    @property
    def goes_by_age(self) -> bool:
        """Whether this is the target as a run by its rule of age has it: about everybody's things."""
        return self.retention is not None and bool(self.retention.mode)

    @property
    def is_scan(self) -> bool:
        return self.dynamodb is not None and (self.dynamodb.scan or self.goes_by_age)

    def ancestors(self) -> Iterator[TargetSpec]:
        """The targets whose items lead to this one's, the nearest first."""
        parent = self.for_each
        while parent is not None:
            yield parent
            parent = parent.for_each

    def templates(self) -> tuple[Template, ...]:
        """Every template of what the target matches, parsed."""
        if self.dynamodb is not None:
            rules = (self.dynamodb.partition, self.dynamodb.sort)
            return tuple(rule.parsed() for rule in rules if rule is not None)
        assert self.s3 is not None
        return (parse_template(self.s3.prefix or self.s3.key or "", self.name),)

    def names(self) -> frozenset[str]:
        """The placeholders of what it matches and takes out, those of the targets that lead to it included, but not
        the attributes of their items. None in a run by age: whose things they are, nobody has to know before."""
        if self.goes_by_age:
            return frozenset()
        templates = [template for spec in (self, *self.ancestors()) for template in spec.templates()]
        if self.detach is not None:
            templates.append(parse_template(self.detach.value, self.name))
        return frozenset(name for template in templates for name in template.names if "." not in name)

    def check_values(self, values: Mapping[str, str]) -> None:
        """Raise :class:`erasure.errors.TargetError` if the target cannot be rendered safely for these values."""
        for template in self.templates():
            template.render(values)
        if self.detach is not None:
            parse_template(self.detach.value, self.name).render(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what is as it would be anyway: a task's record costs by its size."""
        data: dict[str, Any] = _plain(self)
        return data

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> TargetSpec:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TargetSpec:
        """From :meth:`to_dict`, or from the longer form in which earlier versions kept targets."""

        def rule(make: Any, name: str) -> Any:
            return None if data.get(name) is None else make(**data[name])

        return cls(
            name=data["name"],
            category=data["category"],
            dynamodb=_dynamodb_rule(data["dynamodb"]) if data.get("dynamodb") else None,
            s3=rule(S3Rule, "s3"),
            subjects=tuple(data.get("subjects", (USER,))),
            detach=rule(DetachRule, "detach"),
            redact=tuple(RedactRule(**redact) for redact in data.get("redact", ())),
            retain=rule(RetainRule, "retain"),
            role=rule(RoleRule, "role"),
            window_hours=data.get("window_hours", 0),
            for_each=cls.from_dict(data["for_each"]) if data.get("for_each") else None,
            beside=tuple(cls.from_dict(other) for other in data.get("beside", ())),
            retention=rule(AgeRule, "retention"),
        )


def _dynamodb_rule(data: Mapping[str, Any]) -> DynamoDBRule:
    return DynamoDBRule(
        table=data["table"],
        partition=KeyRule(**data["partition"]),
        sort=KeyRule(**data["sort"]) if data.get("sort") else None,
        index=data.get("index"),
        scan=data.get("scan", False),
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in fields(value)
            if field.default is MISSING or getattr(value, field.name) != field.default
        }
    return [_plain(element) for element in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """A further id of a subject: the values of ``attribute`` in the items that the target ``source`` matches.

    ``optional``: a subject without a value has nothing in the targets that need one. Otherwise nobody can tell, and
    those targets fail.
    """

    name: str
    source: TargetSpec
    attribute: str
    optional: bool = False
