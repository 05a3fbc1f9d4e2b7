"""What redacting makes of an item: rules to the places that they change, and an item as read to what it should be.

Nothing here knows a table. Whatever is of a form that redacting leaves behind counts as done, so redacting twice
changes nothing, and nobody has to remember which items were redacted.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from erasure.domain.canonical import canonical_json
from erasure.domain.target_spec import CONSTANT, DIGEST, NULL, REMOVE, RedactRule
from erasure.errors import TargetError

ONLY_LOOKING = b""
"""The digest key of those who only look: what is done already is told by its form."""

_EACH = "[]"
_NULL = {"NULL": True}
_DIGEST_FORM = re.compile(r"erased:[0-9a-f]{64}")
_SETS = frozenset({"SS", "NS", "BS"})


@dataclass(frozen=True, slots=True)
class Place:
    """What is written as a whole: the value at the end of ``names`` (an attribute, and names within maps), or the list
    there, because a position in a list is another element's as soon as somebody puts one before it.

    ``rules``: those that change something in it, each with the rest of its path.
    """

    names: tuple[str, ...]
    rules: tuple[tuple[tuple[str, ...], RedactRule], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A place in an item. ``names``: how far its path leads there; ``old``: what is there; ``new``: what should be.
    ``None``: nothing."""

    names: tuple[str, ...]
    old: dict[str, Any] | None
    new: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Redaction:
    """Rules that do not get into each other's way; see :func:`make_redaction`."""

    places: tuple[Place, ...]
    digest_key: bytes = field(default=ONLY_LOOKING, repr=False)

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes of items in which something may be changed."""
        return frozenset(place.names[0] for place in self.places)

    def find(self, item: dict[str, Any]) -> list[Found]:
        """Every place in ``item`` (DynamoDB's own form), changed or not.

        Raises :class:`TargetError` ``rejected`` if a path leads through something that is neither a map nor, with
        ``[]``, a list: nobody can say what that holds.
        """
        return [self._find(item, place) for place in self.places]

    def _find(self, item: dict[str, Any], place: Place) -> Found:
        old = item.get(place.names[0])
        for depth, name in enumerate(place.names[1:], 1):
            if old is None or old == _NULL:
                return Found(place.names[:depth], old, old)
            old = _content(old, "M").get(name)
        new = old
        for rest, rule in place.rules:
            new = None if new is None else self._redacted(new, rest, rule)
        return Found(place.names, old, new)

    def _redacted(self, value: dict[str, Any], rest: tuple[str, ...], rule: RedactRule) -> dict[str, Any] | None:
        """``value`` with what lies at ``rest`` redacted."""
        if not rest:
            return self._replacement(value, rule)
        if value == _NULL:
            return value
        name, *further = rest
        if name == _EACH:
            elements = [self._redacted(element, tuple(further), rule) for element in _content(value, "L")]
            return {"L": [element for element in elements if element is not None]}
        content = _content(value, "M")
        if name not in content:
            return value
        new = self._redacted(content[name], tuple(further), rule)
        others = {other: held for other, held in content.items() if other != name}
        return {"M": others if new is None else others | {name: new}}

    def _replacement(self, value: dict[str, Any], rule: RedactRule) -> dict[str, Any] | None:
        if rule.how == REMOVE:
            return None
        if rule.how == NULL:
            return _NULL
        if rule.how == CONSTANT:
            return {"S": rule.constant}
        text = value.get("S")
        if isinstance(text, str) and _DIGEST_FORM.fullmatch(text):
            return value
        message = canonical_json([rule.path, _as_json(value)])
        return {"S": f"erased:{hmac.new(self.digest_key, message.encode(), 'sha256').hexdigest()}"}


def make_redaction(rules: Sequence[RedactRule], digest_key: bytes = ONLY_LOOKING) -> Redaction:
    """Raises :class:`TargetError` ``map_mismatch`` for a path that cannot be read, or that lies within another's."""
    paths = [_steps(rule.path) for rule in rules]
    if any(rule.how not in (REMOVE, NULL, CONSTANT, DIGEST) for rule in rules):
        raise _mismatch("an attribute is to be redacted in a way that does not exist")
    if any(rule.how == CONSTANT and rule.constant is None for rule in rules):
        raise _mismatch("a constant is missing")
    by_place: dict[tuple[str, ...], list[tuple[tuple[str, ...], RedactRule]]] = {}
    for path, rule in zip(paths, rules, strict=True):
        end = path.index(_EACH) if _EACH in path else len(path)
        by_place.setdefault(path[:end], []).append((path[end:], rule))
    if _any_within_another(paths) or _any_within_another(list(by_place)):
        raise _mismatch("what is redacted lies within something else that is")
    return Redaction(tuple(Place(names, tuple(own)) for names, own in by_place.items()), digest_key)


def _steps(path: str) -> tuple[str, ...]:
    """``contacts[].email`` as ``("contacts", "[]", "email")``."""
    steps: list[str] = []
    for word in path.split("."):
        name = word.removesuffix(_EACH)
        if not name or "[" in name or "]" in name:
            raise _mismatch("the path of an attribute cannot be read")
        steps += [name] if name == word else [name, _EACH]
    return tuple(steps)


def _any_within_another(paths: Sequence[tuple[str, ...]]) -> bool:
    return any(
        one[: len(other)] == other
        for number, one in enumerate(paths)
        for place, other in enumerate(paths)
        if number != place
    )


def _content(value: dict[str, Any], kind: str) -> Any:
    if kind not in value:
        raise TargetError("rejected", permanent=True, detail="a path leads through something of another type")
    return value[kind]


def _as_json(value: Any) -> Any:
    """A value in DynamoDB's own form, the same for equal values: sets have no order, and binary no form in JSON."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_as_json(element) for element in value]
    if isinstance(value, dict):
        return {
            name: sorted(_as_json(held)) if name in _SETS and isinstance(held, list) else _as_json(held)
            for name, held in value.items()
        }
    return value


def _mismatch(detail: str) -> TargetError:
    return TargetError("map_mismatch", permanent=True, detail=detail)
