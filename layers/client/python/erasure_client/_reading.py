"""Reads the body of an answer. What the service cannot have sent is no result."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from erasure_client.errors import UnexpectedAnswerError

T = TypeVar("T")


class Body:
    """A JSON object of an answer. A field that is null counts as absent. Every method raises
    :class:`UnexpectedAnswerError`, which names the field and never its value."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, Mapping):
            raise UnexpectedAnswerError("The answer holds something else where an object should be.", 200)
        self._fields = fields

    def has(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str) -> str:
        return self._needed(name, self.text_if_any(name))

    def text_if_any(self, name: str) -> str | None:
        return self._of_kind(name, str)

    def number(self, name: str) -> int:
        return self._needed(name, self.number_if_any(name))

    def number_if_any(self, name: str) -> int | None:
        if isinstance(self._fields.get(name), bool):
            raise _wrong(name)
        return self._of_kind(name, int)

    def flag(self, name: str) -> bool:
        return self._needed(name, self._of_kind(name, bool))

    def flag_if_any(self, name: str) -> bool:
        return bool(self._of_kind(name, bool))

    def moment(self, name: str) -> datetime:
        return self._needed(name, self.moment_if_any(name))

    def moment_if_any(self, name: str) -> datetime | None:
        """In UTC."""
        text = self.text_if_any(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise _wrong(name)

    def day_if_any(self, name: str) -> date | None:
        text = self.text_if_any(name)
        try:
            return None if text is None else date.fromisoformat(text)
        except ValueError:
            raise _wrong(name) from None

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise _wrong(name)
        return tuple(values)

    def each(self, name: str) -> list[Any]:
        """The entries of a list that must be there. Whoever reads them makes a :class:`Body` of each."""
        return self._needed(name, self._of_kind(name, list))

    def each_if_any(self, name: str) -> list[Any]:
        return self._list(name)

    def inner(self, name: str) -> Mapping[str, Any]:
        return self._needed(name, self.inner_if_any(name))

    def inner_if_any(self, name: str) -> Mapping[str, Any] | None:
        return self._of_kind(name, Mapping)  # type: ignore[type-abstract]

    def _list(self, name: str) -> list[Any]:
        return self._of_kind(name, list) or []

    def _of_kind(self, name: str, kind: type[T]) -> T | None:
        value = self._fields.get(name)
        if value is None or isinstance(value, kind):
            return value
        raise _wrong(name)

    def _needed(self, name: str, value: T | None) -> T:
        if value is None:
            raise UnexpectedAnswerError(f"The answer lacks the field {name}.", 200)
        return value


def _wrong(name: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(f"The answer's field {name} holds something that the service does not send.", 200)
