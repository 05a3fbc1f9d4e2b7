"""One UpdateItem in the making."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from erasure.targets.dynamodb_plan import Attributes, ErasePlan


@dataclass(slots=True)
class Update:
    """An update that rests on the item as it was read. ``complete``: nothing is left to do to the item after it."""

    settings: list[str] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    deletion: str | None = None
    conditions: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    complete: bool = True

    @classmethod
    def of(cls, plan: ErasePlan, item: Attributes) -> Update:
        """An update of an item that still exists, and whose attributes that make it the subject's, beyond its key, are
        as in ``item``. Their placeholders are ``#m0``, ``#m1`` in the order of ``plan.unsettled``."""
        # UpdateItem would bring an item that has gone back to life.
        update = cls(conditions=["attribute_exists(#k)"], names={"#k": plan.key[0]})
        for position, attribute in enumerate(plan.unsettled):
            update.names[f"#m{position}"] = attribute
            update.expect(f"#m{position}", f":m{position}", item.get(attribute))
        return update

    def expect(self, path: str, value: str, found: Any) -> None:
        """Make it a condition that ``found`` is what stands at ``path`` (``None``: nothing does). ``value``: the
        placeholder for it."""
        if found is None:
            self.conditions.append(f"attribute_not_exists({path})")
        else:
            self.values[value] = found
            self.conditions.append(f"{path} = {value}")

    def arguments(self, plan: ErasePlan, key: Attributes) -> dict[str, Any]:
        clauses = [f"SET {', '.join(self.settings)}"] if self.settings else []
        clauses += [f"REMOVE {', '.join(self.removals)}"] if self.removals else []
        clauses += [f"DELETE {self.deletion}"] if self.deletion else []
        return {
            "TableName": plan.table,
            "Key": key,
            "UpdateExpression": " ".join(clauses),
            "ConditionExpression": " AND ".join(self.conditions),
            "ExpressionAttributeNames": self.names,
            "ExpressionAttributeValues": self.values,
            "ReturnConsumedCapacity": "INDEXES",
        }
