"""DynamoDB's condition and update expressions, as far as the service uses them, read once and then evaluated often."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Condition = Callable[[Item, Names, Values], bool]
Update = Callable[[Item, Names, Values], Item]
_Operand = Callable[[Item, Names, Values], Any]

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[#:]?\w+)")
_CLAUSE = re.compile(r"\b(SET|REMOVE|ADD|DELETE)\b")
_ASSIGNMENT = re.compile(r"([#\w]+) = (?:if_not_exists\(([#\w]+), (:\w+)\)|(:\w+))")
_PAIR = re.compile(r"([#\w]+) (:\w+)")


@cache
def condition_of(text: str) -> Condition:
    """Raises :class:`ValueError` for what it does not know."""
    parser = _Parser(text)
    condition = parser.either()
    if parser.tokens:
        raise ValueError(text)
    return condition


@cache
def update_of(text: str) -> Update:
    """The item after the update; what it was given stays as it is."""
    words = _CLAUSE.split(text)[1:]
    steps = [step for kind, body in zip(words[::2], words[1::2], strict=True) for step in _steps(kind, body.strip())]

    def update(item: Item, names: Names, values: Values) -> Item:
        new = dict(item)
        for step in steps:
            step(item, new, names, values)
        return new

    return update


def _steps(kind: str, body: str) -> list[Callable[[Item, Item, Names, Values], None]]:
    if kind == "SET":
        return [_setting(*found) for found in _all(_ASSIGNMENT, body)]
    if kind == "REMOVE":
        return [_removing(name.strip()) for name in body.split(",")]
    return [_changing_set(kind, *found) for found in _all(_PAIR, body)]


def _all(pattern: re.Pattern[str], body: str) -> list[tuple[str, ...]]:
    if pattern.sub("", body).strip(", "):
        raise ValueError(body)
    return [tuple(group or "" for group in found.groups()) for found in pattern.finditer(body)]


def _setting(name: str, known: str, default: str, value: str) -> Callable[[Item, Item, Names, Values], None]:
    def step(old: Item, new: Item, names: Names, values: Values) -> None:
        kept = old.get(names.get(known, known)) if known else None
        new[names.get(name, name)] = kept if kept is not None else values[default or value]

    return step


def _removing(name: str) -> Callable[[Item, Item, Names, Values], None]:
    return lambda _old, new, names, _values: new.pop(names.get(name, name), None) and None


def _changing_set(kind: str, name: str, value: str) -> Callable[[Item, Item, Names, Values], None]:
    """``ADD`` and ``DELETE`` of sets of texts; a set from which the last one goes is no attribute any more."""

    def step(old: Item, new: Item, names: Names, values: Values) -> None:
        held, given = set(old.get(names.get(name, name), {}).get("SS", ())), set(values[value]["SS"])
        left = sorted(held | given if kind == "ADD" else held - given)
        if left:
            new[names.get(name, name)] = {"SS": left}
        else:
            new.pop(names.get(name, name), None)

    return step


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != "".join(text.split()):
            raise ValueError(text)

    def take(self, *wanted: str) -> str:
        token: str = self.tokens.pop(0)
        if wanted and token not in wanted:
            raise ValueError(token)
        return token

    def next_is(self, token: str) -> bool:
        return bool(self.tokens) and self.tokens[0] == token

    def either(self) -> Condition:
        parts = [self.both()]
        while self.next_is("OR"):
            self.take()
            parts.append(self.both())
        return lambda item, names, values: any(part(item, names, values) for part in parts)

    def both(self) -> Condition:
        parts = [self.one()]
        while self.next_is("AND"):
            self.take()
            parts.append(self.one())
        return lambda item, names, values: all(part(item, names, values) for part in parts)

    def one(self) -> Condition:
        token = self.take()
        if token == "NOT":
            inner = self.one()
            return lambda item, names, values: not inner(item, names, values)
        if token == "(":
            inner = self.either()
            self.take(")")
            return inner
        if self.next_is("("):
            return self.function(token)
        return self.comparison(_operand(token))

    def arguments(self) -> list[_Operand]:
        self.take("(")
        found = [_operand(self.take())]
        while self.take(",", ")") == ",":
            found.append(_operand(self.take()))
        return found

    def function(self, name: str) -> Condition:
        place, *more = self.arguments()
        if name == "attribute_exists":
            return lambda item, names, values: place(item, names, values) is not None
        if name == "attribute_not_exists":
            return lambda item, names, values: place(item, names, values) is None
        if name == "contains":
            wanted = more[0]
            return lambda item, names, values: (
                wanted(item, names, values)["S"] in (place(item, names, values) or {}).get("SS", ())
            )
        raise ValueError(name)

    def comparison(self, left: _Operand) -> Condition:
        sign = self.take("=", "<>", "<", "<=", ">", ">=", "IN")
        if sign == "IN":
            known = self.arguments()
            return lambda item, names, values: (
                left(item, names, values) in [each(item, names, values) for each in known]
            )
        right, compare = _operand(self.take()), _COMPARISONS[sign]
        return lambda item, names, values: compare(left(item, names, values), right(item, names, values))


def _operand(token: str) -> _Operand:
    if token.startswith(":"):
        return lambda _item, _names, values: values[token]
    return lambda item, names, _values: item.get(names.get(token, token))


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def of_attributes(left: Any, right: Any) -> bool:
        if left is None or right is None or left.keys() != right.keys():
            return False
        ((kind, one),), ((_, other),) = left.items(), right.items()
        return compare(float(one), float(other)) if kind == "N" else compare(one, other)

    return of_attributes


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "<>": lambda left, right: left != right,
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}
