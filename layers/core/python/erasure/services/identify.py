"""Find a subject's further ids: what an attribute holds in items that are the subject's. Reads only."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from erasure.domain.collisions import check_alone, neighbours
from erasure.domain.item_values import texts_of
from erasure.domain.scope import for_all_organizations, value_sets
from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.errors import TargetError, UnavailableError
from erasure.ports import PinnedMap
from erasure.services.side_by_side import side_by_side
from erasure.targets.protocol import Deadline, ItemReader

MAX_ITEMS = 1000
"""Items of one source that are read for one subject."""

MAX_VALUES_BYTES = 64 * 1024
"""Of one subject's values of all identifiers together, as JSON: its request's record keeps them, and holds 400 KB; and
an answer of the function that reads them, of up to 6 MB, has those of several subjects."""

TIMED_OUT = "timed_out"
TOO_MANY_VALUES = "too_many_values"
PARALLEL_SUBJECTS = 8


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why an identifier of a subject could not be read. ``code``: fixed word; ``permanent``: reading again will not
    help."""

    code: str
    permanent: bool


@dataclass(slots=True)
class Identified:
    """``values``: by name, each once, none at all if the subject has none. ``unknown``: what could not be read."""

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: dict[str, Unknown] = field(default_factory=dict)


def rules_for(data_map: PinnedMap, names: Collection[str]) -> list[IdentifierRule]:
    """The map's rules of these names. Their sources know their neighbours among the map's targets: what would be
    somebody else's item must not be read for an id either."""
    return [
        replace(rule, source=replace(rule.source, beside=neighbours_to_tell(rule.source, data_map.targets)))
        for rule in data_map.identifiers
        if rule.name in names
    ]


def neighbours_to_tell(spec: TargetSpec, targets: Sequence[TargetSpec]) -> tuple[TargetSpec, ...]:
    """The target's neighbours among the map's, for a question to the verifier. How they are found through others does
    not matter beside it, and would make the question many times as long: a function takes 6 MB."""
    return tuple(replace(other, for_each=None, beside=()) for other in neighbours(spec, targets))


def identify_all(
    subjects: Sequence[Subject], rules: Sequence[IdentifierRule], reader: ItemReader, deadline: Deadline
) -> list[dict[str, tuple[str, ...]]]:
    """For each subject, what :meth:`erasure.ports.DataReader.identify` tells: an identifier that will not become
    readable by reading again is left out. Raises ``UnavailableError`` for one that may."""
    found = side_by_side(lambda subject: identify(subject, rules, reader, deadline), subjects, PARALLEL_SUBJECTS)
    if any(not unknown.permanent for identified in found for unknown in identified.unknown.values()):
        raise UnavailableError("an identifier could not be read")
    return [identified.values for identified in found]


def identify(subject: Subject, rules: Sequence[IdentifierRule], reader: ItemReader, deadline: Deadline) -> Identified:
    """Read each rule's source for the subject. ``rules``: from :func:`rules_for`."""
    identified, room = Identified(), MAX_VALUES_BYTES
    for rule in rules:
        try:
            found = identified.values[rule.name] = _values(subject, rule, reader, deadline, room)
            room -= sum(map(_size, found))
        except _TooManyValuesError:
            identified.unknown[rule.name] = Unknown(TOO_MANY_VALUES, permanent=True)
        except TargetError as error:
            code = TIMED_OUT if deadline.expired() and not error.permanent else error.code
            identified.unknown[rule.name] = Unknown(code, error.permanent)
    return identified


class _TooManyValuesError(Exception):
    """A source holds more for one subject than can be kept with a request."""


def _values(
    subject: Subject, rule: IdentifierRule, reader: ItemReader, deadline: Deadline, room: int
) -> tuple[str, ...]:
    if subject.type not in rule.source.subjects:
        return ()
    source = for_all_organizations(rule.source)
    values: dict[str, None] = {}
    items = size = 0
    for of_subject in value_sets(subject, (), source):
        check_alone(source, source.beside, of_subject)
        for page in reader.items(source, of_subject, (rule.attribute,), deadline):
            items += len(page)
            for value in (text for item in page for text in texts_of(item.get(rule.attribute))):
                if value not in values:
                    values[value] = None
                    size += _size(value)
            # A part of them must not pass for all of them.
            if items > MAX_ITEMS or size > room:
                raise _TooManyValuesError
    return tuple(values)


def _size(value: str) -> int:
    return len(json.dumps(value)) + len(", ")
