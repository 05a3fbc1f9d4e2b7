"""Why an id is refused, in words that callers understand."""

from __future__ import annotations

from erasure.errors import TargetError

UNNAMEABLE = "holds a character that separates ids where this service's data is kept"
"""The rule that an id breaks if the data map's templates cannot name its owner alone."""

UNCOVERED = "is covered by no target of the data map as it is asked for, so nothing could be erased"
"""The rule that a subject breaks of whose type, categories or organizations the data map knows nothing."""
NOT_COVERED = "not_covered"
"""The reason of a subject that is refused for it."""


def whose_id(error: TargetError) -> str | None:
    """``"tenant id"`` or ``"organization id"`` if it is that one which cannot be used; ``None``: the subject's own."""
    for name in ("tenant", "organization"):
        if f"{{{name}_id}}" in error.detail:
            return f"{name} id"
    return None
