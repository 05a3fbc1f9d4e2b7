"""The form of the data map's document: which keys there are and what stands in each by itself.

What the parts have to do with each other is in :mod:`erasure.domain.data_map_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

MAX_TARGETS = 200
MAX_IDENTIFIERS = 20
MAX_REDACTED = 50
"""Attributes of one target: what becomes of them is said in one expression of at most 4 KB."""
DEFAULT_WINDOW = "24h"

_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
_ATTRIBUTE_PATH = r"[^.\[\]]+(\[\])?"

Category = Literal["account", "session", "credential", "membership", "content", "preference", "record"]
_Family = Literal["h2o", "hellojohn", "velt", "june", "native"]
_Subject = Literal["user", "group", "organization"]
_Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]
_IdentifierName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
_AttributeName = Annotated[str, Field(min_length=1, max_length=255)]
_AttributePath = Annotated[str, Field(pattern=rf"^{_ATTRIBUTE_PATH}(\.{_ATTRIBUTE_PATH})*$", max_length=1024)]
_TemplateText = Annotated[str, Field(min_length=1, max_length=1024)]
_TableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")]
_Period = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[ymwdh]$")]
_Window = Annotated[str, Field(pattern=r"^([1-9]|[1-3][0-9]|4[0-8])h$")]
_RoleArn = Annotated[str, Field(pattern=r"^arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}$")]
_ExternalId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Prefix(_Model):
    prefix: _TemplateText


class Detach(_Model):
    attribute: _AttributeName
    value: _TemplateText = ""
    """Left out: the subject's id."""
    key: _AttributeName = ""


class DetachAction(_Model):
    detach: Detach


class Constant(_Model):
    constant: Annotated[str, Field(max_length=1024)]


def _form(value: object) -> str:
    """Which of its two forms a value has; only that one's rules are told when it is wrong."""
    return "structure" if isinstance(value, dict | _Model) else "text"


def _action_form(value: object) -> str:
    if isinstance(value, RedactAction) or (isinstance(value, dict) and "redact" in value):
        return "redacting"
    return _form(value)


def _selection_form(value: object) -> str:
    return "structure" if isinstance(value, list) else "text"


_Redacted = Annotated[
    Annotated[Literal["remove", "null", "digest", None], Tag("text")] | Annotated[Constant, Tag("structure")],
    Discriminator(_form),
]


class RedactAction(_Model):
    redact: Annotated[dict[_AttributePath, _Redacted], Field(min_length=1, max_length=MAX_REDACTED)]


Match = Annotated[
    Annotated[_TemplateText, Tag("text")] | Annotated[Prefix, Tag("structure")],
    Discriminator(_form),
]
_Action = Annotated[
    Annotated[Literal["delete"], Tag("text")]
    | Annotated[DetachAction, Tag("structure")]
    | Annotated[RedactAction, Tag("redacting")],
    Discriminator(_action_form),
]
_Categories = Annotated[
    Annotated[Literal["all"], Tag("text")] | Annotated[list[Category], Field(min_length=1), Tag("structure")],
    Discriminator(_selection_form),
]


class DynamoDB(_Model):
    table: _TableName
    key: Annotated[dict[_AttributeName, Match], Field(min_length=1, max_length=2)] | None = None
    index: _TableName | None = None
    scan: Annotated[dict[_AttributeName, _TemplateText], Field(min_length=1, max_length=2)] | None = None

    @property
    def matches(self) -> Mapping[str, str | Prefix]:
        """By attribute, of the key or of what is scanned for."""
        return self.key or self.scan or {}


class S3(_Model):
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: _TemplateText | None = None
    key: _TemplateText | None = None


class Retain(_Model):
    basis: Annotated[str, Field(min_length=1, max_length=200)]
    period: _Period = Field(alias="for")
    attribute: _AttributeName = Field(alias="from")


class Target(_Model):
    name: _Name
    # Left out beside for_each, these two are those of the target that leads to it.
    category: Category = "content"
    subjects: Annotated[list[_Subject], Field(min_length=1, max_length=1)] = ["user"]
    for_each: _Name | None = None
    dynamodb: DynamoDB | None = None
    s3: S3 | None = None
    action: _Action = "delete"
    retain: Retain | None = None
    window: _Window | None = None
    role_arn: _RoleArn | None = None
    external_id: _ExternalId | None = None

    @property
    def is_scan(self) -> bool:
        return self.dynamodb is not None and self.dynamodb.scan is not None


class Identifier(_Model):
    source: _Name = Field(alias="from")
    attribute: _AttributeName
    if_missing: Literal["fail", "absent"] = "fail"


class AgeRule(_Model):
    """Things of a target go when they are old, whosever they are."""

    target: _Name
    older_than: _Period
    attribute: _AttributeName | None = None
    mode: Literal["erase", "report"] = "erase"


class Document(_Model):
    version: Literal[1]
    identifiers: Annotated[dict[_IdentifierName, Identifier], Field(max_length=MAX_IDENTIFIERS)] = {}
    targets: Annotated[list[Target], Field(min_length=1, max_length=MAX_TARGETS)]
    families: dict[_Family, _Categories] = {}
    retention: Annotated[list[AgeRule], Field(max_length=MAX_TARGETS)] = []


def problem_of(error: Any) -> tuple[str, str]:
    """One pydantic error as path and rule, in words that name no Python type."""
    path = ""
    location = error["loc"]
    for position, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part == "[key]" or _is_form(position, location):
            continue  # pydantic's own signposts, not places in the document
        else:
            path += f".{part}" if path else str(part)
    if error["type"] == "extra_forbidden":
        return path, "is not a known key here"
    message = error["msg"].replace("or None", "or null")
    return path or "data map", message[0].lower() + message[1:]


def _is_form(position: int, location: tuple[Any, ...]) -> bool:
    """Whether an error's location has the name of a form there, as :func:`_form` gives it."""
    if location[0] == "families":
        return position == 2
    if location[2:3] == ("action",):
        return position == 3 or (position == 6 and location[3] == "redacting")
    return location[2:4] == ("dynamodb", "key") and position == 5
