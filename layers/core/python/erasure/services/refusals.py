"""Why an id is refused, in words that callers understand."""

from __future__ import annotations

from erasure.errors import TargetError

UNNAMEABLE = "holds a character that separates ids where this service's data is kept"
"""The rule that an id breaks if the data map's templates cannot name its owner alone."""


def whose_id(error: TargetError) -> str | None:
    """``"tenant id"`` or ``"organization id"`` if it is that one which cannot be used; ``None``: the subject's own."""
    for name in ("tenant", "organization"):
        if f"{{{name}_id}}" in error.detail:
            return f"{name} id"
    return None
