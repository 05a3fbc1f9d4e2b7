"""Whom a call is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from erasure_client._reading import Body
from erasure_client.errors import ConfigurationError

USER, GROUP, ORGANIZATION = "user", "group", "organization"


@dataclass(frozen=True, slots=True)
class Subject:
    """``type``: ``user``, ``group`` or ``organization``. ``id``: yours, compared byte for byte; ``None`` in answers
    about a request that has forgotten its subject."""

    type: str
    id: str | None

    @classmethod
    def user(cls, user_id: str) -> Subject:
        return cls(USER, user_id)

    @classmethod
    def group(cls, group_id: str) -> Subject:
        return cls(GROUP, group_id)

    @classmethod
    def organization(cls, organization_id: str) -> Subject:
        return cls(ORGANIZATION, organization_id)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Subject:
        read = Body(body)
        return cls(read.text("type"), read.text_if_any("id"))

    def to_body(self) -> dict[str, Any]:
        return {"type": self.type, "id": self.id}


SubjectLike: TypeAlias = str | Subject
"""A text by itself is a user's id."""


def as_subject(value: SubjectLike) -> Subject:
    """Raises :class:`ConfigurationError` for what names nobody, or cannot be sent. All else the service judges."""
    subject = Subject.user(value) if isinstance(value, str) else value
    if not isinstance(subject, Subject):
        raise ConfigurationError("a subject must be a text (a user's id) or a Subject")
    check_id(subject.id, "a subject's id")
    if not isinstance(subject.type, str):
        raise ConfigurationError("a subject's type must be a text")
    return subject


def as_subjects(values: SubjectLike | Iterable[SubjectLike]) -> list[Subject]:
    """One, or several. A text is one user, never its letters. Raises :class:`ConfigurationError`."""
    return [as_subject(value) for value in each_subject(values)]


def each_subject(values: SubjectLike | Iterable[SubjectLike]) -> Iterable[SubjectLike]:
    """Those that are meant, as they were given. Raises :class:`ConfigurationError`."""
    if isinstance(values, str | Subject):
        return (values,)
    # A mapping's keys, and the numbers in bytes, are nobody that the caller has named.
    if isinstance(values, bytes | bytearray | memoryview | Mapping) or not isinstance(values, Iterable):
        raise ConfigurationError("subjects must be a text, a Subject, or an iterable of these")
    return values


def check_id(value: object, what: str) -> str:
    """Raises :class:`ConfigurationError` for no text, an empty one, and one that no encoding knows."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} must be a text")
    if not value:
        raise ConfigurationError(f"{what} must not be empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ConfigurationError(f"{what} must not hold unpaired surrogates")
    return value
