"""The values in an item's attributes, which lead to other data of the same person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from erasure.errors import TargetError


def texts_of(attribute: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The values in an attribute: a string or a number, or those of a set or a list, each once; none if it is absent or
    empty. Raises :class:`TargetError` for an attribute of any other type: what it stands for cannot be told."""
    if attribute is None:
        return ()
    ((kind, value),) = attribute.items()
    if kind in ("S", "N"):
        return (value,) if value else ()
    if kind in ("SS", "NS"):
        return tuple(sorted(text for text in value if text))
    if kind == "L":
        return tuple(dict.fromkeys(text for element in value for text in texts_of(element)))
    if kind == "NULL":
        return ()
    raise TargetError("map_mismatch", permanent=True, detail="an attribute holds neither text nor numbers")
