"""Take a subject out of items that others own: the items stay, and what others write to them is never lost.

Each item is read with strong consistency and changed by one UpdateItem whose conditions say that all on which it was
based is still so; otherwise the item is read anew. The same update takes away the index's key attributes that name the
subject, so that the item leaves the index exactly when the value has left the attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import REJECTED
from erasure.targets.dynamodb_plan import Attributes, Detachment, ErasePlan
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
        _take_out(update, item.get(detachment.attribute), detachment)
    if update.complete:
        update.removals += naming
    return update


def _take_out(update: Update, found: Any, detachment: Detachment) -> None:
    """Let ``update`` take the value out of the attribute ``#a``, which was ``found``."""
    if found is None:
        update.conditions.append("attribute_not_exists(#a)")
        return
    ((kind, content),) = found.items()
    if detachment.key:
        if kind != "L":
            raise _rejected("the attribute holds no list")
        _take_elements(update, found, _maps(content, detachment))
    elif kind == "SS":
        _take_member(update, detachment.value, held=detachment.value in content)
    elif kind == "S":
        _expect_all(update, found)
        update.removals += ["#a"] if content == detachment.value else []
    elif kind == "L" and all("S" in element for element in content):
        value = {"S": detachment.value}
        _take_elements(update, found, [position for position, element in enumerate(content) if element == value])
    else:
        raise _rejected("the attribute holds neither strings nor a string")


def _maps(content: Sequence[Attributes], detachment: Detachment) -> list[int]:
    """The positions of the maps that hold the value. What is no map, or has nothing under the key, names nobody."""
    named = [detachment.named_by(element) for element in content]
    if any(name is not None and "S" not in name and "NULL" not in name for name in named):
        raise _rejected("the key of a map is no string")
    return [position for position, name in enumerate(named) if name == {"S": detachment.value}]


def _take_member(update: Update, value: str, *, held: bool) -> None:
    # Others may add to the set and take from it meanwhile: only this one member matters.
    update.values |= {":a": {"S": value}, ":t": {"S": "SS"}}
    update.conditions.append("attribute_type(#a, :t)")
    if held:
        update.values[":s"] = {"SS": [value]}
        update.deletion = "#a :s"
    update.conditions.append("contains(#a, :a)" if held else "NOT contains(#a, :a)")


def _take_elements(update: Update, found: Any, positions: list[int]) -> None:
    _expect_all(update, found)
    # From the end, so that it does not matter whether an engine counts anew after each.
    update.removals += [f"#a[{position}]" for position in reversed(positions[-POSITIONS:])]
    update.complete = len(positions) <= POSITIONS


def _expect_all(update: Update, found: Any) -> None:
    # The whole of it: a position holds the value only as long as nobody puts anything before it, and the value may
    # come in at another place.
    update.values[":a"] = found
    update.conditions.append("#a = :a")


def _rejected(detail: str) -> TargetError:
    return TargetError(REJECTED, permanent=True, detail=detail)
