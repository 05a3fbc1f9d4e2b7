"""Templates of the data map: literal substitution that cannot name anybody else.

``TENANT#{tenant_id}#USER#{user_id}`` with tenant ``a`` and user ``b`` is ``TENANT#a#USER#b``. Substituted
text is data: braces in a value stay braces, and nothing is expanded twice.

Two different subjects must never render to the same text, and no prefix may be the beginning of a
neighbour's. Hence one rule on values: **what follows a placeholder is a separator, and its first character
may not occur in the value** (tenant ``a#USER#b`` would otherwise be able to name tenant ``a``'s user).
The last placeholder of an exact text has nothing after it and may hold anything.
A value that breaks the rule is refused (``ambiguous_identifier``), never escaped or shortened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from erasure.errors import InvalidInputError, TargetError

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*|[a-z0-9][a-z0-9_-]*\.[A-Za-z0-9_:.-]+)\}")

_NAMES_NO_SUBJECT = frozenset({"tenant_id", "organization_id"})
"""A rule that holds nothing but these would match everybody, in an organization or in all."""


def names_subject(names: Iterable[str]) -> bool:
    """Whether one of these placeholders stands for a subject: its id, one of its further identifiers, or an attribute
    of an item that is the subject's."""
    return not _NAMES_NO_SUBJECT.issuperset(names)


@dataclass(frozen=True, slots=True)
class Template:
    """``parts`` alternates literal text and placeholder names: text, name, text, name, ..., text."""

    source: str
    parts: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.parts[1::2]

    @property
    def ends_in_placeholder(self) -> bool:
        return len(self.parts) > 1 and self.parts[-1] == ""

    def render(self, values: Mapping[str, str]) -> str:
        """The text for these values.

        Raises :class:`TargetError` ``missing_value`` (absent or empty) or ``ambiguous_identifier``.
        """
        parts = self.parts
        rendered = [parts[0]]
        for position in range(1, len(parts), 2):
            value = values.get(parts[position])
            if not value:
                raise TargetError("missing_value", permanent=True, detail=f"no value for {{{parts[position]}}}")
            # Ids have no control characters. What stands in items may hold anything, and this one ends a key's text.
            if "\x00" in value:
                raise TargetError("ambiguous_identifier", permanent=True, detail="a value holds a control character")
            separator = parts[position + 1]
            if separator and separator[0] in value:
                raise TargetError(
                    "ambiguous_identifier",
                    permanent=True,
                    detail=f"the value of {{{parts[position]}}} holds the separator that follows it",
                )
            rendered.append(value)
            rendered.append(separator)
        return "".join(rendered)


@lru_cache(maxsize=1024)
def parse_template(source: str, field: str) -> Template:
    """Parse ``source``; ``field`` names it in errors.

    Raises :class:`InvalidInputError` for a brace that is no placeholder, or two placeholders without a
    separator between them (``{a}{b}`` cannot be told apart).
    """
    parts = _PLACEHOLDER.split(source)
    if any("{" in text or "}" in text for text in parts[::2]):
        raise InvalidInputError(field, "braces are only for placeholders such as {user_id}")
    if any(text == "" for text in parts[2:-1:2]):
        raise InvalidInputError(field, "two placeholders need a separator between them")
    return Template(source, tuple(parts))
