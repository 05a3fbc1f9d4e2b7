"""From a rule and a table's description to what exactly is read, and what is done to it.

A plan exists only if the rule names the table's (or the index's) own key attributes and all of them are
strings. Numbers are refused: DynamoDB stores ``01`` and ``1`` as one number, so two subjects could meet.
A rule that scans may name any attributes; items that hold something other than a string there are nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erasure.domain.retention import parse_period
from erasure.domain.target_spec import CONSTANT, DIGEST, NULL, DetachRule, DynamoDBRule, KeyRule, RetainRule
from erasure.domain.templates import Template, names_subject, parse_template
from erasure.errors import InvalidInputError, TargetError
from erasure.targets.dynamodb_redact import Redaction

Attributes = dict[str, Any]
"""An item or a key in DynamoDB's own form: ``{"pk": {"S": "..."}}``."""

# AWS does not say what a dot or a sign inside of a quoted PartiQL name means (in expressions, a dot is a path's).
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


def mismatch(detail: str, *, permanent: bool = True) -> TargetError:
    return TargetError("map_mismatch", permanent=permanent, detail=detail)


@dataclass(frozen=True, slots=True)
class Match:
    """One key attribute and the text that it must equal, or begin with."""

    attribute: str
    text: str
    prefix: bool

    def holds(self, item: Attributes) -> bool:
        found = item.get(self.attribute, {}).get("S")
        if not isinstance(found, str):
            return False
        return found.startswith(self.text) if self.prefix else found == self.text


@dataclass(frozen=True, slots=True)
class Detachment:
    """What is taken out of items that stay: ``value`` out of ``attribute``, and the matched attributes ``naming``.

    ``key``: the attribute is a list of maps, of which those go that hold the value under this name.
    """

    attribute: str
    value: str
    naming: frozenset[str]
    key: str = ""

    def holds(self, item: Attributes) -> bool:
        """Whether the value is in the attribute: as a member of a set, an element of a list, or the string itself; or
        in one of its maps."""
        found = item.get(self.attribute, {})
        if self.key:
            return any(self.named_by(element) == {"S": self.value} for element in found.get("L", ()))
        return (
            found.get("S") == self.value or self.value in found.get("SS", ()) or {"S": self.value} in found.get("L", ())
        )

    def named_by(self, element: Attributes) -> Any:
        """What an element of the list holds under ``key``; ``None``: nothing, or it is no map."""
        return element.get("M", {}).get(self.key)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of items instead of being deleted: the subject is taken out of them, or they are redacted; and how
    long they are kept. Without any of these they are deleted."""

    detachment: Detachment | None = None
    redaction: Redaction | None = None
    retention: RetainRule | None = None


DELETION = Treatment()


@dataclass(frozen=True, slots=True)
class ErasePlan:
    """What to read and delete, to detach, redact or keep, for one subject in one table.

    ``key``: the table's own key attributes, partition first. ``matches``: what makes an item the subject's.
    ``consistent``: reads see every write before them (the table itself and its local indexes; never a global index).
    """

    table: str
    index: str | None
    consistent: bool
    key: tuple[str, ...]
    matches: tuple[Match, ...]
    treatment: Treatment = DELETION

    @property
    def detachment(self) -> Detachment | None:
        return self.treatment.detachment

    @property
    def redaction(self) -> Redaction | None:
        return self.treatment.redaction

    @property
    def retention(self) -> RetainRule | None:
        return self.treatment.retention

    @property
    def deletes(self) -> bool:
        """Whether every item that matches is deleted, whatever else it holds."""
        return self.treatment == DELETION

    @property
    def looked_at(self) -> tuple[str, ...]:
        """The attributes, besides keys and matches, on which it depends what happens to an item."""
        names = set(self.redaction.attributes) if self.redaction is not None else set()
        if self.detachment is not None:
            names.add(self.detachment.attribute)
        if self.retention is not None:
            names.add(self.retention.attribute)
        return tuple(sorted(names))

    @property
    def told_by_pages(self) -> bool:
        """Whether the Query itself can tell, for certain, all on which it depends what happens to an item."""
        return self.index is None and not self.deletes

    @property
    def matched(self) -> tuple[str, ...]:
        """The attributes that tell whose an item is."""
        return tuple(match.attribute for match in self.matches)

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Those of them that are not of the item's key: they may have changed since the item was found."""
        return tuple(name for name in self.matched if name not in self.key)

    @property
    def conditions(self) -> tuple[Match, ...]:
        """Matches that the item's key does not settle."""
        return tuple(match for match in self.matches if match.attribute not in self.key)

    @property
    def fits_statement(self) -> bool:
        """Whether table and attributes can be quoted in a PartiQL statement without any escaping."""
        names = (self.table, *self.key, *self.matched)
        return all(_PLAIN_NAME.fullmatch(name) for name in names)

    def covers(self, item: Attributes) -> bool:
        """Whether an item that was read is the subject's by every match."""
        return all(match.holds(item) for match in self.matches)

    def attached(self, item: Attributes) -> bool:
        """Whether an item, as the table has it, is still the subject's: by every match, or (if it is to be detached)
        because it holds the value and has not gone over to somebody else."""
        if self.detachment is None or self.covers(item):
            return self.covers(item)
        naming = self.detachment.naming
        return self.detachment.holds(item) and all(
            match.holds(item) or (match.attribute in naming and match.attribute not in item) for match in self.matches
        )

    def key_of(self, item: Attributes) -> Attributes:
        return {name: item[name] for name in self.key}

    def query(self) -> dict[str, Any]:
        """Arguments of a Query that finds the subject's items, without projection."""
        arguments: dict[str, Any] = {"TableName": self.table, "ConsistentRead": self.consistent}
        if self.index is not None:
            arguments["IndexName"] = self.index
        arguments["KeyConditionExpression"] = condition_expression(self.matches)
        arguments["ExpressionAttributeNames"] = placeholders(self.matches)
        arguments["ExpressionAttributeValues"] = condition_values(self.matches)
        return arguments

    def key_query(self) -> dict[str, Any]:
        """The Query, restricted to the key attributes of table and index."""
        return self._projected(*self.projection())

    def item_query(self, *more: str) -> dict[str, Any]:
        """The Query, restricted to what decides over items, and ``more``."""
        return self._projected(*self.projection(*self.looked_at, *more))

    def _projected(self, names: dict[str, str], expression: str) -> dict[str, Any]:
        arguments = self.query()
        arguments["ExpressionAttributeNames"] = arguments["ExpressionAttributeNames"] | names
        arguments["ProjectionExpression"] = expression
        return arguments

    def projection(self, *more: str) -> tuple[dict[str, str], str]:
        """Placeholders and expression for the table's key attributes, the matched ones, and ``more``."""
        attributes = dict.fromkeys((*self.key, *self.matched, *more))
        names = {f"#p{position}": name for position, name in enumerate(attributes)}
        return names, ", ".join(names)


def identity(key: Attributes) -> tuple[str, ...]:
    """A hashable stand-in for a key; equal exactly for equal keys."""
    return tuple(f"{name}={key[name]!r}" for name in sorted(key))


def condition_expression(matches: tuple[Match, ...]) -> str:
    """``#m0 = :m0 AND begins_with(#m1, :m1)``: names and values stay placeholders."""
    return " AND ".join(
        f"begins_with(#m{position}, :m{position})" if match.prefix else f"#m{position} = :m{position}"
        for position, match in enumerate(matches)
    )


def placeholders(matches: tuple[Match, ...]) -> dict[str, str]:
    return {f"#m{position}": match.attribute for position, match in enumerate(matches)}


def condition_values(matches: tuple[Match, ...]) -> dict[str, Any]:
    return {f":m{position}": {"S": match.text} for position, match in enumerate(matches)}


def render_matches(rule: DynamoDBRule, values: Mapping[str, str]) -> tuple[Match, ...]:
    """The rule with the subject's values. Raises :class:`TargetError`; needs no call."""
    return tuple(
        Match(key_rule.attribute, _rendered(template, values), key_rule.prefix)
        for key_rule, template in zip(key_rules(rule), checked_templates(rule), strict=True)
    )


def checked_templates(rule: DynamoDBRule) -> list[Template]:
    """The templates of the rule's attributes, in their order. Raises :class:`TargetError` for a rule that could match
    anybody else's items."""
    if rule.partition.prefix:
        raise mismatch("a partition key can only be matched as a whole")
    rules = key_rules(rule)
    if rule.scan and any(key_rule.prefix for key_rule in rules):
        raise mismatch("a scan matches attributes as a whole only")
    templates = [_parsed(key_rule) for key_rule in rules]
    if not any(map(_names_subject, templates)):
        raise mismatch("the rule names no subject and would match everybody")
    if rule.sort is not None and rule.sort.prefix:
        if templates[-1].ends_in_placeholder:
            raise mismatch("a sort key prefix needs a separator after its last placeholder")
        if not rule.sort.template:
            raise mismatch("a sort key prefix is empty")
    return templates


def render_detachment(rule: DynamoDBRule, detach: DetachRule, values: Mapping[str, str]) -> Detachment:
    """What the subject's values say is to be taken out. Raises :class:`TargetError`; needs no call."""
    if rule.index is None:
        raise mismatch("only items found through an index can be detached")
    value = _parse(detach.value, detach.attribute)
    if not _names_subject(value):
        raise mismatch("the value to detach names no subject and would be everybody's")
    naming = frozenset(key_rule.attribute for key_rule in key_rules(rule) if _names_subject(_parsed(key_rule)))
    return Detachment(detach.attribute, _rendered(value, values), naming, detach.key)


def key_rules(rule: DynamoDBRule) -> tuple[KeyRule, ...]:
    return (rule.partition,) if rule.sort is None else (rule.partition, rule.sort)


def _names_subject(template: Template) -> bool:
    return names_subject(template.names)


def _parsed(rule: KeyRule) -> Template:
    return _parse(rule.template, rule.attribute)


def _parse(source: str, field: str) -> Template:
    try:
        return parse_template(source, field)
    except InvalidInputError:
        pass
    raise mismatch("a template cannot be read")


def _rendered(template: Template, values: Mapping[str, str]) -> str:
    text = template.render(values)
    _check_text(text)
    return text


def _check_text(text: str) -> None:
    # Half a surrogate pair has no UTF-8 form; an engine may store a replacement that other ids share.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise TargetError("ambiguous_identifier", permanent=True, detail="a value is not valid Unicode")


def make_plan(
    rule: DynamoDBRule,
    matches: tuple[Match, ...],
    description: Mapping[str, Any],
    treatment: Treatment = DELETION,
) -> ErasePlan:
    """Check the rule against DescribeTable's ``Table``.

    Raises :class:`TargetError` ``map_mismatch``; not permanent for an index that is still being built (what is not
    yet in it would be missed).
    """
    consistent, key = check_place(rule, description)
    plan = ErasePlan(rule.table, rule.index, consistent, key, matches, treatment)
    if plan.detachment is not None:
        _check_detachment(plan, plan.detachment)
    if plan.redaction is not None:
        check_redaction(plan, plan.redaction, description["AttributeDefinitions"])
    if plan.retention is not None:
        _check_retention(plan.retention)
    return plan


def check_place(rule: DynamoDBRule, description: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether what the rule names is read with strong consistency, and the table's own key attributes, partition first.
    Raises :class:`TargetError` if the table, or its index, has not the keys that the rule says."""
    schema, consistent = description["KeySchema"], True
    if rule.scan:
        if rule.index is not None:
            raise mismatch("a scan reads the table itself")
        # Attributes that are no index's keys have no definition: each item may have another type there.
        types = {part["AttributeName"]: part["AttributeType"] for part in description["AttributeDefinitions"]}
        if any(types.get(key_rule.attribute, "S") != "S" for key_rule in key_rules(rule)):
            raise mismatch("a matched key attribute is not a string")
    else:
        if rule.index is not None:
            index, consistent = _find_index(rule.index, description)
            schema = index["KeySchema"]
        _check_keys(rule, schema, description["AttributeDefinitions"])
    return consistent, tuple(
        part["AttributeName"] for part in sorted(description["KeySchema"], key=lambda part: part["KeyType"])
    )


def _check_detachment(plan: ErasePlan, detachment: Detachment) -> None:
    if not detachment.naming.union({detachment.attribute}).isdisjoint(plan.key):
        raise mismatch("the table's own key cannot be taken out of an item")
    if plan.redaction is not None or plan.retention is not None:
        raise mismatch("items that are detached are neither redacted nor retained")


def check_redaction(plan: ErasePlan, redaction: Redaction, definitions: Sequence[Mapping[str, str]]) -> None:
    if not redaction.attributes.isdisjoint(plan.key):
        raise mismatch("the table's own key cannot be redacted")
    if plan.retention is not None:
        # Otherwise nobody would find the item again when its time has come, or know when that is.
        lasting = {plan.retention.attribute, *plan.matched}
        if not redaction.attributes.isdisjoint(lasting):
            raise mismatch("what a retained item is found and kept by cannot be redacted")
    # Attributes have definitions only as keys of the table or of an index, which take no other type.
    types = {definition["AttributeName"]: definition["AttributeType"] for definition in definitions}
    for place in redaction.places:
        kind = types.get(place.names[0])
        for _, rule in place.rules:
            if kind is not None and (rule.how == NULL or (rule.how in (CONSTANT, DIGEST) and kind != "S")):
                raise mismatch("an index's key attribute cannot hold what redacting puts there")


def _check_retention(retention: RetainRule) -> None:
    try:
        parse_period(retention.period)
    except InvalidInputError:
        pass
    else:
        return
    raise mismatch("a period cannot be read")


def _find_index(name: str, description: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The index, and whether it can be read with strong consistency."""
    for index in description.get("LocalSecondaryIndexes") or ():
        if index["IndexName"] == name:
            return index, True
    for index in description.get("GlobalSecondaryIndexes") or ():
        if index["IndexName"] == name:
            status = index.get("IndexStatus", "ACTIVE")
            if status == "CREATING" or index.get("Backfilling"):
                raise mismatch("the index is still being built", permanent=False)
            if status not in {"ACTIVE", "UPDATING"}:  # UPDATING: its capacity changes, it answers as before
                raise mismatch("the index is not active")
            return index, False
    raise mismatch("the table has no such index")


def _check_keys(rule: DynamoDBRule, schema: list[dict[str, str]], definitions: list[dict[str, str]]) -> None:
    hashes = [part["AttributeName"] for part in schema if part["KeyType"] == "HASH"]
    ranges = [part["AttributeName"] for part in schema if part["KeyType"] == "RANGE"]
    if hashes != [rule.partition.attribute]:
        raise mismatch("the partition attribute is not the partition key")
    if rule.sort is not None and ranges != [rule.sort.attribute]:
        raise mismatch("the sort attribute is not the sort key")
    types = {definition["AttributeName"]: definition["AttributeType"] for definition in definitions}
    matched = hashes if rule.sort is None else hashes + ranges
    if any(types.get(name) != "S" for name in matched):
        raise mismatch("a matched key attribute is not a string")
