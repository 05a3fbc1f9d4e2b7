"""From an item as it was read to what has to happen to it, for one subject. Calls nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure.domain.retention import RETENTION_UNKNOWN, keep_until, moment_of
from erasure.errors import TargetError
from erasure.targets.dynamodb_detach import make_update
from erasure.targets.dynamodb_plan import (
    Attributes,
    ErasePlan,
    condition_expression,
    condition_values,
    placeholders,
)
from erasure.targets.dynamodb_update import Update


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has to happen to an item for one subject.

    ``operation``: ``delete_item`` or ``update_item``, with its ``arguments``, which hold conditions: the item is as it
    was read, in all on which the verdict rests; ``None``: it stays as it is. ``complete``: nothing is left to do after
    it. ``kept_until``: the law keeps the item until then, changed or not. ``problem``: why something of it is not, or
    not yet, done: ``rejected`` or ``retention_unknown``, of this item alone.
    """

    operation: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = True
    kept_until: datetime | None = None
    problem: TargetError | None = None


NOTHING = Verdict()


def judge(plan: ErasePlan, item: Attributes, now: datetime) -> Verdict:
    """``item``: with key, matched attributes and ``plan.looked_at``, as far as it has them; ``now``: aware."""
    if plan.detachment is None and not plan.covers(item):
        return NOTHING
    kept_until, problem = None, None
    if plan.retention is not None:
        kept_until = _end_of_retention(plan, item)
        if kept_until is None:
            problem = TargetError(RETENTION_UNKNOWN, permanent=True)
        elif kept_until <= now:
            return Verdict("delete_item", _deletion(plan, item))
    elif plan.deletes:
        return Verdict("delete_item", _deletion(plan, item))
    try:
        update = make_update(plan, item) if plan.detachment is not None else redacting(plan, item)
    except TargetError as error:
        return Verdict(kept_until=kept_until, problem=error)
    if update is None:
        return Verdict(kept_until=kept_until, problem=problem)
    arguments = update.arguments(plan, plan.key_of(item))
    return Verdict("update_item", arguments, update.complete, kept_until, problem)


def _end_of_retention(plan: ErasePlan, item: Attributes) -> datetime | None:
    assert plan.retention is not None  # noqa: S101 - the caller asks
    moment = moment_of(item.get(plan.retention.attribute, {}))
    return None if moment is None else keep_until(moment, plan.retention.period)


def _deletion(plan: ErasePlan, item: Attributes) -> dict[str, Any]:
    """Arguments of a DeleteItem for the item, as long as it is the subject's and no law keeps it."""
    conditions = plan.conditions
    clauses = ["attribute_exists(#k)"]
    names = {"#k": plan.key[0], **placeholders(conditions)}
    values = condition_values(conditions)
    if conditions:
        clauses.append(condition_expression(conditions))
    if plan.retention is not None:
        clauses.append("#r = :r")
        names["#r"] = plan.retention.attribute
        values[":r"] = item[plan.retention.attribute]
    arguments: dict[str, Any] = {
        "TableName": plan.table,
        "Key": plan.key_of(item),
        "ConditionExpression": " AND ".join(clauses),
        "ExpressionAttributeNames": names,
        "ReturnConsumedCapacity": "INDEXES",
    }
    return arguments | ({"ExpressionAttributeValues": values} if values else {})


def redacting(plan: ErasePlan, item: Attributes) -> Update | None:
    """What redacts ``item``; ``None``: there is nothing to redact. Raises :class:`TargetError` ``rejected``.

    Places that need no change are conditions too: one of the others may be what the item is found by.
    """
    found = () if plan.redaction is None else plan.redaction.find(item)
    if all(place.new == place.old for place in found):
        return None
    update = Update.of(plan, item)
    known: dict[str, str] = {}
    for number, place in enumerate(found):
        path = ".".join(known.setdefault(name, f"#r{len(known)}") for name in place.names)
        update.expect(path, f":o{number}", place.old)
        if place.new == place.old:
            continue
        if place.new is None:
            update.removals.append(path)
        else:
            update.values[f":n{number}"] = place.new
            update.settings.append(f"{path} = :n{number}")
    update.names |= {placeholder: name for name, placeholder in known.items()}
    return update
