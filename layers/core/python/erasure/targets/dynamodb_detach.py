"""Take a subject out of items that others own: the items stay, and what others write to them is never lost.

Each item is read with strong consistency and changed by one UpdateItem whose conditions say that all on which it was
based is still so; otherwise the item is read anew. The same update takes away the index's key attributes that name the
subject, so that the item leaves the index exactly when the value has left the attribute.
"""

from __future__ import annotations

from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import REJECTED
from erasure.targets.dynamodb_plan import Attributes, ErasePlan
from erasure.targets.dynamodb_update import Update

POSITIONS = 100
"""List elements that one update removes: an expression holds 4 KB."""


def make_update(plan: ErasePlan, item: Attributes) -> Update | None:
    """What detaches the subject from ``item`` as it was read; ``None``: it has nothing of the subject.

    Raises :class:`TargetError` ``rejected`` if the attribute is of a type of which nobody can say what it holds.
    """
    detachment = plan.detachment
    assert detachment is not None  # noqa: S101 - plans without are deleted
    if not plan.attached(item):
        return None
    update = Update.of(plan, item)
    naming = [
        f"#m{position}"
        for position, match in enumerate(plan.conditions)
        if match.attribute in detachment.naming and match.attribute in item
    ]
    if detachment.attribute not in detachment.naming:
        update.names["#a"] = detachment.attribute
        _take_out(update, item.get(detachment.attribute), detachment.value)
    if update.complete:
        update.removals += naming
    return update


def _take_out(update: Update, found: Any, value: str) -> None:
    """Let ``update`` take ``value`` out of the attribute ``#a``, which was ``found``."""
    if found is None:
        update.conditions.append("attribute_not_exists(#a)")
        return
    ((kind, content),) = found.items()
    if kind == "SS":
        # Others may add to the set and take from it meanwhile: only this one member matters.
        update.values |= {":a": {"S": value}, ":t": {"S": "SS"}}
        update.conditions.append("attribute_type(#a, :t)")
        if value in content:
            update.values[":s"] = {"SS": [value]}
            update.deletion = "#a :s"
        update.conditions.append("contains(#a, :a)" if value in content else "NOT contains(#a, :a)")
        return
    if kind not in ("S", "L") or (kind == "L" and any("S" not in element for element in content)):
        raise TargetError(REJECTED, permanent=True, detail="the attribute holds neither strings nor a string")
    # The whole of it: a position holds the value only as long as nobody puts anything before it, and the value may
    # come in at another place.
    update.values[":a"] = found
    update.conditions.append("#a = :a")
    if kind == "S":
        update.removals += ["#a"] if content == value else []
        return
    positions = [position for position, element in enumerate(content) if element["S"] == value]
    # From the end, so that it does not matter whether an engine counts anew after each.
    update.removals += [f"#a[{position}]" for position in reversed(positions[-POSITIONS:])]
    update.complete = len(positions) <= POSITIONS
