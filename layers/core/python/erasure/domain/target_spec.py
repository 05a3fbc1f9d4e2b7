"""One target of the data map, as plain data: what the erasers need and nothing else.

A task carries its target in this form (templates, never substituted text), so that the functions that erase
load neither the data map nor a validation library. :mod:`erasure.domain.data_map` makes and checks them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

    With an index the rules name the index's key attributes, and items are deleted by the table's own key.
    """

    table: str
    partition: KeyRule
    sort: KeyRule | None = None
    index: str | None = None


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
    where they name the subject, so that nothing keeps pointing at it.
    """

    attribute: str
    value: str = "{user_id}"


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A target: exactly one of ``dynamodb`` and ``s3`` is set.

    ``subjects``: types of subjects that it holds data of. ``detach``: items stay, only the subject is taken out
    (DynamoDB, through an index); otherwise what is matched is deleted.
    """

    name: str
    category: str
    dynamodb: DynamoDBRule | None = None
    s3: S3Rule | None = None
    subjects: tuple[str, ...] = (USER,)
    detach: DetachRule | None = None

    @property
    def kind(self) -> str:
        """``"dynamodb"`` or ``"s3"``: which eraser works on it."""
        return "dynamodb" if self.dynamodb is not None else "s3"

    def templates(self) -> tuple[Template, ...]:
        """Every template of what the target matches, parsed."""
        if self.dynamodb is not None:
            rules = (self.dynamodb.partition, self.dynamodb.sort)
            return tuple(rule.parsed() for rule in rules if rule is not None)
        assert self.s3 is not None
        return (parse_template(self.s3.prefix or self.s3.key or "", self.name),)

    def check_values(self, values: Mapping[str, str]) -> None:
        """Raise :class:`erasure.errors.TargetError` if the target cannot be rendered safely for these values."""
        for template in self.templates():
            template.render(values)
        if self.detach is not None:
            parse_template(self.detach.value, self.name).render(values)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> TargetSpec:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TargetSpec:
        dynamodb, s3, detach = data.get("dynamodb"), data.get("s3"), data.get("detach")
        return cls(
            name=data["name"],
            category=data["category"],
            dynamodb=None
            if dynamodb is None
            else DynamoDBRule(
                table=dynamodb["table"],
                partition=KeyRule(**dynamodb["partition"]),
                sort=KeyRule(**dynamodb["sort"]) if dynamodb["sort"] else None,
                index=dynamodb["index"],
            ),
            s3=None if s3 is None else S3Rule(**s3),
            subjects=tuple(data.get("subjects", (USER,))),  # kept data maps of before there were groups have none
            detach=None if detach is None else DetachRule(**detach),
        )
