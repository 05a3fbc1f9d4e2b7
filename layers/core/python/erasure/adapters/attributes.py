"""Plain values to DynamoDB's attribute values and back. (boto3 has this too, and is not loaded here.)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]
"""An item as the low-level API has it: ``{"pk": {"S": "…"}, …}``."""


def to_attribute(value: Any) -> dict[str, Any]:
    """One value. Knows text, whole numbers, truth values, ``None``, lists and mappings."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if value is None:
        return {"NULL": True}
    if isinstance(value, list | tuple):
        return {"L": [to_attribute(element) for element in value]}
    if isinstance(value, Mapping):
        return {"M": {name: to_attribute(element) for name, element in value.items()}}
    raise TypeError(f"no attribute value for {type(value).__name__}")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    if kind == "N":
        return int(value) if value.lstrip("-").isdigit() else float(value)
    if kind == "NULL":
        return None
    if kind == "L":
        return [from_attribute(element) for element in value]
    if kind == "M":
        return from_item(value)
    if kind == "SS":
        return frozenset(value)
    return value


def to_item(values: Mapping[str, Any]) -> Item:
    """A whole item; ``None`` values are left out."""
    return {name: to_attribute(value) for name, value in values.items() if value is not None}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: from_attribute(attribute) for name, attribute in item.items()}
