"""Whose a thing is, by what it is called: templates read backwards.

``TENANT#a#USER#b`` is what ``TENANT#{tenant_id}#USER#{user_id}`` renders to for tenant ``a`` and user ``b``, and for
nobody else, so these are the values. A text for which that does not hold is nobody's: there are no values then.
"""

from __future__ import annotations

from collections.abc import Iterable

from erasure.domain.collisions import bound_values
from erasure.domain.identifiers import check_identifier
from erasure.domain.templates import Template
from erasure.errors import InvalidInputError, TargetError

Values = dict[str, str]


def capture(template: Template, text: str, *, prefix: bool = False) -> Values | None:
    """The values with which ``template`` renders to ``text``, or (``prefix``) to what it begins with.

    ``None`` unless every value may be somebody's id and they render to exactly this text again.
    """
    values = bound_values(text, template, may_go_on=prefix)
    if values is None:
        return None
    try:
        for name, value in values.items():
            check_identifier(value, name)
        rendered = template.render(values)
    except (InvalidInputError, TargetError):
        return None
    return values if (text.startswith(rendered) if prefix else text == rendered) else None


def capture_all(parts: Iterable[tuple[Template, str, bool]]) -> Values | None:
    """The values of several templates, each with its text and whether it is a prefix. ``None`` if one has none, or if
    two do not agree."""
    together: Values = {}
    for template, text, prefix in parts:
        values = capture(template, text, prefix=prefix)
        if values is None or any(together.setdefault(name, value) != value for name, value in values.items()):
            return None
    return together
