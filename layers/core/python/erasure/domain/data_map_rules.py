"""Rules on one target of the data map, and on what its parts say of each other.

:func:`rule_problems` yields each broken one as ``(path, rule)``, in the document's order. Rules on targets that lead to
others and on further identifiers are in :mod:`erasure.domain.data_map_links`; targets that meet are compared when there
are specs (:mod:`erasure.domain.collisions`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from erasure.domain.collisions import PREFIX_SEPARATORS, binds
from erasure.domain.data_map_schema import (
    S3,
    Constant,
    DetachAction,
    Document,
    DynamoDB,
    Prefix,
    RedactAction,
    Target,
)
from erasure.domain.scope import ORGANIZATION
from erasure.domain.templates import Template, parse_template
from erasure.errors import InvalidInputError

Problems = Iterator[tuple[str, str]]

_AT_ONCE = frozenset({"account", "session", "credential"})
_SEPARATORS = " ".join(PREFIX_SEPARATORS)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_ORGANIZATION_PLACES = (
    "{organization_id} can stand in an S3 prefix or a sort key only: a request for all organizations matches what "
    "begins with the text before it"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the templates of a target may hold. ``subject``: the placeholder of its subjects; ``identifiers``: further
    ids of theirs; ``parent``: the target whose items lead to it."""

    subject: str
    identifiers: tuple[str, ...] = ()
    parent: str | None = None

    def holds(self, name: str) -> bool:
        if "." in name:
            return name.partition(".")[0] == self.parent
        return name in {"tenant_id", self.subject, ORGANIZATION, *self.identifiers}

    def is_limited_by(self, template: Template) -> bool:
        """Whether the template names an organization to which erasing others can be limited. Of an organization's own
        data it names the subject."""
        return ORGANIZATION in template.names and self.subject != ORGANIZATION

    def names_subject(self, names: Collection[str]) -> bool:
        if self.parent is not None:
            return any(name.startswith(f"{self.parent}.") for name in names)
        return not {self.subject, *self.identifiers}.isdisjoint(names)

    @property
    def naming(self) -> str:
        """The placeholders of which one has to be there, in words."""
        if self.parent is not None:
            return f"an attribute of {self.parent} such as {{{self.parent}.id}}"
        return " or ".join(f"{{{name}}}" for name in (self.subject, *self.identifiers))

    @property
    def told(self) -> str:
        return ", ".join(f"{{{name}}}" for name in sorted({"tenant_id", self.subject, ORGANIZATION, *self.identifiers}))


def subject_of(target: Target) -> str:
    """The placeholder of the target's subjects, as the document has it."""
    return f"{target.subjects[0]}_id"


def value_of(action: DetachAction, target: Target) -> str:
    return action.detach.value or f"{{{subject_of(target)}}}"


def known_to(target: Target, document: Document) -> Known:
    types = {other.name: other.subjects for other in document.targets}
    identifiers = [name for name, each in document.identifiers.items() if types.get(each.source) == target.subjects]
    return Known(subject_of(target), tuple(identifiers), target.for_each)


def rule_problems(document: Document) -> Problems:
    seen: dict[str, int] = {}
    for number, target in enumerate(document.targets):
        path = f"targets[{number}]"
        if target.name in seen:
            yield f"{path}.name", f"is already the name of targets[{seen[target.name]}]"
        seen.setdefault(target.name, number)
        known = known_to(target, document)
        if (target.dynamodb is None) == (target.s3 is None):
            yield path, "needs exactly one of dynamodb and s3"
        elif target.dynamodb is not None:
            yield from _dynamodb_problems(target.dynamodb, f"{path}.dynamodb", known)
        elif target.s3 is not None:
            yield from _s3_problems(target.s3, f"{path}.s3", known)
        if isinstance(target.action, DetachAction):
            yield from _detach_problems(target.action, target, f"{path}.action", known)
        elif isinstance(target.action, RedactAction):
            yield from _redact_problems(target.action, target, f"{path}.action")
        yield from _retain_problems(target, f"{path}.retain")
        yield from _scan_problems(target, path)
        if target.external_id is not None and target.role_arn is None:
            yield f"{path}.external_id", "is for a role_arn, and there is none"


def _dynamodb_problems(rule: DynamoDB, path: str, known: Known) -> Problems:
    if (rule.key is None) == (rule.scan is None):
        yield path, "needs exactly one of key and scan"
        return
    if rule.scan is not None and rule.index is not None:
        yield f"{path}.index", "a scan reads the table itself, not an index"
    matched = f"{path}.{'scan' if rule.key is None else 'key'}"
    names: tuple[str, ...] = ()
    for position, (attribute, match) in enumerate(rule.matches.items()):
        here = f"{matched}.{attribute}"
        is_prefix = isinstance(match, Prefix)
        if is_prefix and position == 0:
            yield here, "a partition key is matched whole; only the sort key (the second attribute) can be a prefix"
        try:
            template = parsed(match.prefix if isinstance(match, Prefix) else match, here)
        except InvalidInputError as error:
            yield here, error.rule
            return
        yield from _placeholder_problems(template, here, known)
        if is_prefix:
            yield from _prefix_problems(template, here)
        if known.is_limited_by(template):
            if position == 0 or rule.scan is not None:
                yield here, _ORGANIZATION_PLACES
            else:
                yield from _organization_problems(template, here)
                if not known.names_subject(names):
                    yield here, f"{{organization_id}} needs {known.naming} in the partition key"
        names += template.names
    if not known.names_subject(names):
        yield matched, _must_hold(known)


def _s3_problems(rule: S3, path: str, known: Known) -> Problems:
    if (rule.prefix is None) == (rule.key is None):
        yield path, "needs exactly one of prefix and key"
        return
    here = f"{path}.prefix" if rule.prefix is not None else f"{path}.key"
    try:
        template = parsed(rule.prefix or rule.key or "", here)
    except InvalidInputError as error:
        yield here, error.rule
        return
    yield from _placeholder_problems(template, here, known)
    if rule.prefix is not None:
        yield from _prefix_problems(template, here)
    if not known.names_subject(template.names):
        yield here, _must_hold(known)
    elif known.is_limited_by(template):
        if rule.key is not None:
            yield here, _ORGANIZATION_PLACES
        else:
            yield from _organization_problems(template, here)
            before = template.names[: template.names.index(ORGANIZATION)]
            if not known.names_subject(before) and known.names_subject(template.names[len(before) :]):
                yield here, f"{{organization_id}} needs {known.naming} before it"


def _detach_problems(action: DetachAction, target: Target, path: str, known: Known) -> Problems:
    """What is taken out is the subject's alone. Without an organization: it is not known when all are erased."""
    if target.dynamodb is None or target.dynamodb.index is None:
        yield path, "detach needs a dynamodb rule with an index, through which the items are found"
    elif action.detach.key and action.detach.attribute in target.dynamodb.matches:
        yield f"{path}.detach.key", "is for a list of maps, which a key attribute of the index cannot hold"
    here = f"{path}.detach.value"
    try:
        template = parsed(value_of(action, target), here)
    except InvalidInputError as error:
        yield here, error.rule
        return
    if known.is_limited_by(template):
        told = known.told.replace(f"{{{ORGANIZATION}}}, ", "")
        yield here, f"{{{ORGANIZATION}}} is not a known placeholder; known are {told}"
    yield from _placeholder_problems(template, here, known)
    if not known.names_subject(template.names):
        yield here, f"must hold {known.naming}: what does not name the subject is everybody's"


def _redact_problems(action: RedactAction, target: Target, path: str) -> Problems:
    if target.dynamodb is None:
        yield path, "redact needs a dynamodb rule: objects have no attributes"
        return
    paths = list(action.redact)
    for position, text in enumerate(paths):
        here = f"{path}.redact.{text}"
        others = [other for other in paths[:position] if _overlap(text, other)]
        if others:
            yield here, f"is within {others[0]}, or the other way round: say once what becomes of it"
        if top_attribute(text) in target.dynamodb.matches:
            yield from _found_by_problems(text, action.redact[text], target.dynamodb, here)
            if target.retain is not None:
                yield here, "items that are retained are found by it again when their time has passed"
        if target.retain is not None and top_attribute(text) == target.retain.attribute:
            yield here, "tells how long items are retained"


def top_attribute(path: str) -> str:
    """The attribute of the item in which a path lies."""
    return _steps(path)[0]


def _steps(path: str) -> tuple[str, ...]:
    """``contacts[].email`` as ``("contacts", "[]", "email")``."""
    return tuple(step for name in path.split(".") for step in ((name[:-2], "[]") if name.endswith("[]") else (name,)))


def _overlap(path: str, other: str) -> bool:
    """Whether one lies within the other, or within a list that the other goes through: lists are written as a whole."""
    one, two = _steps(path), _steps(other)
    lists = [steps[: steps.index("[]")] if "[]" in steps else steps for steps in (one, two)]
    return _is_within(one, two) or (lists[0] != lists[1] and _is_within(*lists))


def _is_within(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    shorter = min(len(one), len(two))
    return one[:shorter] == two[:shorter]


def _found_by_problems(text: str, form: str | Constant | None, rule: DynamoDB, path: str) -> Problems:
    """Redacting an attribute by which the items are found."""
    if rule.index is None and rule.scan is None:
        yield path, "is a key attribute of the table: it cannot be changed"
    elif text != top_attribute(text):
        yield path, "is matched as a text, and has no parts"
    elif rule.index is not None and form in ("null", None):
        yield path, "is a key attribute of the index, which cannot be null: remove it"
    elif isinstance(form, Constant) and _is_found(form.constant, rule.matches[text]):
        yield path, "somebody may be called like this constant, whose items these would be: remove it"
    elif rule.index is not None and isinstance(form, Constant) and not form.constant:
        yield path, "is a key attribute of the index, which cannot be empty: remove it"


def _is_found(constant: str, match: str | Prefix) -> bool:
    try:
        template = parsed(match.prefix if isinstance(match, Prefix) else match, "constant")
    except InvalidInputError:
        return False  # told where the template stands
    return binds(constant, template, may_go_on=isinstance(match, Prefix))


def _retain_problems(target: Target, path: str) -> Problems:
    if target.retain is None:
        return
    if target.dynamodb is None:
        yield path, "needs a dynamodb rule: objects are kept by the bucket's own Object Lock"
    if isinstance(target.action, DetachAction):
        yield path, "what is detached stays: there is nothing to retain"


def _scan_problems(target: Target, path: str) -> Problems:
    if not target.is_scan:
        if target.window is not None:
            yield f"{path}.window", "is for scans, and this target is none"
        return
    if target.category in _AT_ONCE:
        yield (
            f"{path}.category",
            f"{target.category} data has to go at once, which no scan does: give the table an index",
        )


def _must_hold(known: Known) -> str:
    return f"must hold {known.naming}: a rule that does not name the subject matches everybody"


def parsed(text: str, field: str) -> Template:
    """Raises :class:`InvalidInputError`."""
    if _UNPRINTABLE.search(text):
        raise InvalidInputError(field, "must not hold control characters")
    return parse_template(text, field)


def _placeholder_problems(template: Template, path: str, known: Known) -> Problems:
    for name in template.names:
        if known.holds(name):
            continue
        if "." in name:
            leading = name.partition(".")[0]
            yield path, f"{{{name}}} stands for an attribute of {leading}: the target needs for_each: {leading}"
        else:
            yield path, f"{{{name}}} is not a known placeholder; known are {known.told}"


def _prefix_problems(template: Template, path: str) -> Problems:
    if template.ends_in_placeholder:
        yield path, "a prefix needs a separator after its last placeholder, or it would match ids that begin alike"
    for following in template.parts[2::2]:
        if following and following[0] not in PREFIX_SEPARATORS:
            yield path, f"in a prefix, what follows a placeholder must begin with one of {_SEPARATORS}"


def _organization_problems(template: Template, path: str) -> Problems:
    """What :func:`erasure.domain.scope.for_all_organizations` leaves must be a safe prefix, of nothing but what the
    target names."""
    start = 2 * template.names.index(ORGANIZATION)
    before, behind = template.parts[: start + 1], template.parts[start + 2 :]
    if before != ("",) and not before[-1].endswith(tuple(PREFIX_SEPARATORS)):
        yield path, f"{{organization_id}} needs one of {_SEPARATORS} before it, unless it begins a sort key"
    if behind not in {("",), *((separator,) for separator in PREFIX_SEPARATORS)}:
        yield (
            path,
            f"behind {{organization_id}} only one of {_SEPARATORS} may stand: a request for all organizations erases "
            "all that begins with what stands before it",
        )
    yield from _prefix_problems(Template("", before), path)
