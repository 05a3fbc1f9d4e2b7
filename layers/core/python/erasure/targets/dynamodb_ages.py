"""Items that go because they are old: which they are, and what has to happen to one. Calls nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from erasure.domain.retention import moment_of
from erasure.domain.retention_runs import is_old
from erasure.domain.target_spec import VOID, AgeRule, TargetSpec
from erasure.targets.dynamodb_plan import (
    Attributes,
    ErasePlan,
    Treatment,
    check_place,
    check_redaction,
    checked_templates,
    key_rules,
    mismatch,
)
from erasure.targets.dynamodb_redact import Redaction
from erasure.targets.dynamodb_update import Update
from erasure.targets.dynamodb_verdict import redacting
from erasure.targets.protocol import Values
from erasure.targets.whose import Form, Whose

OTHERS, YOUNG, UNREADABLE, OLD = "others", "young", "unreadable", "old"
"""What an item is to the run: not certainly one of the target's; not old enough, whosever it is; of an age that nobody
can tell; old enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgePlan(ErasePlan):
    """The same for one run by age: ``matches`` is empty, for the items are everybody's. ``attributes``: those that tell
    whose an item is, in the order in which ``whose`` wants their texts."""

    rule: AgeRule
    attribute: str
    attributes: tuple[str, ...]
    whose: Whose
    subject_type: str

    @property
    def matched(self) -> tuple[str, ...]:
        return self.attributes

    @property
    def looked_at(self) -> tuple[str, ...]:
        redacted = self.redaction.attributes if self.redaction is not None else frozenset[str]()
        return tuple(sorted({self.attribute, *redacted}))

    @property
    def deletes(self) -> bool:
        return False

    def covers(self, item: Attributes) -> bool:
        return self.values_of(item) is not None

    def values_of(self, item: Attributes) -> Values | None:
        """The values of the target's placeholders for whom the item is; ``None``: it is not certainly anybody's."""
        texts = tuple(item.get(name, {}).get("S") for name in self.attributes)
        if not all(isinstance(text, str) for text in texts):
            return None
        return self.whose.of(texts)

    def age_of(self, item: Attributes) -> str:
        """``young``, ``others``, ``unreadable`` or ``old``."""
        since = moment_of(item.get(self.attribute, {}))
        # Whose it is takes longer to find out, and most are young.
        if since is not None and not is_old(self.rule, since):
            return YOUNG
        if self.values_of(item) is None:
            return OTHERS
        return UNREADABLE if since is None else OLD


def make_age_plan(spec: TargetSpec, description: Mapping[str, Any], redaction: Redaction | None) -> AgePlan:
    """Check the target against DescribeTable's ``Table``. Raises :class:`TargetError`."""
    rule, age = spec.dynamodb, spec.retention
    if rule is None or age is None or age.attribute is None or age.mode == VOID:
        raise mismatch("the target has no rule by which its items grow old")
    forms = [
        Form(template, key_rule.prefix)
        for key_rule, template in zip(key_rules(rule), checked_templates(rule), strict=True)
    ]
    _, key = check_place(rule, description)
    plan = AgePlan(
        rule.table,
        None,
        True,
        key,
        (),
        Treatment(redaction=redaction),
        rule=age,
        attribute=age.attribute,
        attributes=tuple(key_rule.attribute for key_rule in key_rules(rule)),
        whose=Whose(spec, forms),
        subject_type=spec.subjects[0],
    )
    if redaction is not None:
        check_redaction(plan, redaction, description["AttributeDefinitions"])
        if age.attribute in redaction.attributes:
            raise mismatch("what tells the age of an item cannot be redacted")
    return plan


@dataclass(frozen=True, slots=True)
class Change:
    """``operation``: ``delete_item`` or ``update_item``, on the condition that the item is as it was read in all that
    tells whose it is and how old."""

    operation: str
    arguments: Mapping[str, Any]


def change_of(plan: AgePlan, item: Attributes) -> Change | None:
    """What has to happen to an item that is old enough; ``None``: nothing any more, it is redacted.

    ``item``: with key, matched attributes and ``plan.looked_at``, as far as it has them. Raises :class:`TargetError`
    ``rejected`` if it cannot be redacted."""
    if plan.age_of(item) != OLD:
        raise mismatch("an item that is not old enough was about to be changed")
    update = Update.of(plan, item) if plan.redaction is None else redacting(plan, item)
    if update is None:
        return None
    update.names["#age"] = plan.attribute
    update.expect("#age", ":age", item.get(plan.attribute))
    arguments = update.arguments(plan, plan.key_of(item))
    if plan.redaction is not None:
        return Change("update_item", arguments)
    del arguments["UpdateExpression"]
    return Change("delete_item", arguments)
