"""What an erasure has to come to, said as simply as possible: sets of things, one after the other, in memory.

Two questions the model does not answer by itself. Which subjects are refused because another target may keep somebody
else's data there, whoever that is: it takes the service's word for it, but only where an id looks like a path or like a
word of the map. And to whom a thing counts that is found for several subjects or by several targets: to any of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.functional.model_rules import (
    AMBIGUOUS,
    HOLD,
    MISMATCH,
    ORGANIZATION,
    Item,
    Place,
    RefusedError,
    Rule,
    State,
    Values,
    rules_of,
    texts_of,
)

FINAL = frozenset({"erased", "already_absent", "detached", "redacted", "retained", "blocked"})
CHILDREN_FAILED, MISSING_VALUE = "children_failed", "missing_value"


@dataclass(frozen=True)
class Person:
    """Somebody (or a group) of a tenant."""

    tenant: str
    kind: str
    id: str

    def values(self) -> dict[str, str]:
        return {"tenant_id": self.tenant, f"{self.kind}_id": self.id}


@dataclass(frozen=True)
class Wish:
    """A request. ``categories``: ``None`` for all; ``organizations``: none for all."""

    person: Person
    categories: tuple[str, ...] | None = None
    organizations: tuple[str, ...] = ()


@dataclass
class Result:
    """What has to become of one target for one request. ``failed``: reasons, of which one is told; none: it does not
    fail. ``sure``, ``possible``: things done, at least and at most. ``kept_places``, ``until``: what stays, by
    ``basis`` or because its bucket does not let it go; ``until`` is :data:`HOLD` if nobody knows. What several items
    lead to may count for each of them (``kept_at_most``)."""

    word: str
    failed: set[str] = field(default_factory=set)
    sure: int = 0
    possible: int = 0
    kept_places: set[Place] = field(default_factory=set)
    kept_at_most: int = 0
    until: str | None = None
    basis: str | None = None

    def keep(self, place: Place, until: str) -> None:
        self.kept_places.add(place)
        self.kept_at_most += 1
        self.until = max(self.until or "", until)

    def disagreement(self, told: Mapping[str, Any]) -> str | None:
        """What is wrong with the outcome that was told, if anything."""
        outcome, count = told["outcome"], told["count"]
        if told.get("at_least") or told.get("kept_more"):
            return "nothing was lost or too much to count"
        if not self.sure <= count <= self.possible:
            return f"count: {self.sure} to {self.possible} expected"
        if self.failed:
            is_told = outcome == "failed" and told.get("reason") in self.failed
            return None if is_told else f"failed expected: {self.failed}"
        expected = self.word if count else "already_absent"
        if self.kept_places:
            expected = "retained" if self.basis else "blocked"
        until = None if self.until == HOLD else self.until
        basis = self.basis if self.kept_places else None
        if outcome != expected:
            return f"{expected} expected"
        if not len(self.kept_places) <= told.get("kept", 0) <= self.kept_at_most:
            return f"kept: {len(self.kept_places)} to {self.kept_at_most} expected"
        if (told.get("until"), told.get("basis")) != (until, basis):
            return f"until {until} by {basis} expected"
        return None


def after(before: Result | None, latest: Result) -> Result:
    """What is told after another job: the latest decides, and what was done before still counts."""
    if before is not None:
        latest.sure += before.sure
        latest.possible += before.possible
    return latest


Reasons = Mapping[tuple[int, str], str | None]
"""The reason with which the service has failed a target (by name) of a request (by number); ``None``: it has not."""


class Model:
    """``words``: of which the map's templates are made."""

    def __init__(self, document: Mapping[str, Any], now: datetime) -> None:
        self.rules = rules_of(document)
        self.identifiers: Mapping[str, Mapping[str, str]] = document.get("identifiers", {})
        self.now = now
        self.words = {
            word
            for rule in self.rules.values()
            for template in rule.templates()
            for word in re.split(r"[^A-Za-z0-9]+", re.sub(r"\{[^{}]+\}", "/", template))
        }

    def covered(self, wish: Wish) -> list[Rule]:
        found = []
        for rule in self.rules.values():
            is_wanted = wish.categories is None or rule.category in wish.categories
            if rule.subject == wish.person.kind and is_wanted:
                if not wish.organizations:
                    found.append(rule.for_all_organizations())
                elif rule.names_organization:
                    found.append(rule)
        return found

    def values(self, wish: Wish, rule: Rule, known: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
        sets = [wish.person.values()]
        for name in sorted(rule.names() - sets[0].keys()):
            several = wish.organizations if name == ORGANIZATION else known.get(name, ())
            sets = [{**values, name: value} for values in sets for value in several]
        return sets

    def known(self, state: State, wish: Wish, noted: Iterable[str] | None = None) -> dict[str, list[str]]:
        """The further ids of the subject, as its items say; without those that nobody can read. ``noted``: those that
        the service could read."""
        found: dict[str, list[str]] = {}
        wanted = self.wanted(wish)
        for name, each in self.identifiers.items():
            source = self.rules[each["from"]].for_all_organizations()
            if name not in wanted:
                continue
            if source.subject != wish.person.kind:
                found[name] = []
            elif source.broken(state) is None:
                try:
                    places = source.places(state, wish.person.values())
                    values = [text for place in places for text in texts_of(state.items[place].get(each["attribute"]))]
                except RefusedError:
                    continue
                if noted is None or name in noted or not self.is_odd(wish.person.values()):
                    found[name] = sorted(set(values))
        return found

    def wanted(self, wish: Wish) -> set[str]:
        """The identifiers that the request has to note: those that its targets need, and those that may be called
        absent one day, and are read out of what it erases."""
        covered = self.covered(wish)
        erased = {rule.name for rule in covered}
        last = {n for n, each in self.identifiers.items() if each["if_missing"] == "absent" and each["from"] in erased}
        return last | {name for rule in covered for name in rule.names() & self.identifiers.keys()}

    def is_odd(self, values: Values) -> bool:
        """Whether the values are such that another target might mean somebody else by them."""
        return any(re.search(r"[^A-Za-z0-9]", value) or value in self.words for value in values.values())


@dataclass
class Told:
    """What the service has told of a request: its record, as far as it matters here."""

    wish: Wish
    finished: bool
    known: Mapping[str, Sequence[str]]
    outcomes: Mapping[str, Mapping[str, Any]]

    def casts_doubt(self, name: str, users: Iterable[str]) -> bool:
        """Whether it knows a value of the identifier, and has not erased all that it leads to."""
        gone = {t for t, each in self.outcomes.items() if each["outcome"] in FINAL and not each.get("kept")}
        return bool(self.known.get(name)) and not (self.finished and gone.issuperset(users))

    def has_lost(self, name: str, source: str) -> bool:
        """Whether it has erased something of which the identifier should have been read, and could not read it."""
        return name not in self.known and bool(self.outcomes.get(source, {}).get("count"))


@dataclass
class Job:
    """One job. ``only``: by request, the targets that it is about. Afterwards ``results`` has what each has to come to,
    ``state`` what is there, ``open_places`` what may be there or not: things of a target that has failed."""

    model: Model
    state: State
    wishes: Sequence[Wish]
    known: Sequence[Mapping[str, Sequence[str]]]
    told: Reasons
    only: Sequence[Iterable[str] | None]
    with_scans: bool = False
    results: dict[tuple[int, str], Result] = field(default_factory=dict)
    open_places: set[Place] = field(default_factory=set)
    _own: dict[int, dict[str, Rule]] = field(default_factory=dict)
    _done: dict[Place, set[tuple[int, str]]] = field(default_factory=dict)
    _new: dict[Place, Item | None] = field(default_factory=dict)

    def run(self) -> None:
        for number, wish in enumerate(self.wishes):
            self._own[number] = {rule.name: rule for rule in self.model.covered(wish)}
            names = self.only[number]
            rules = [rule for rule in self._own[number].values() if names is None or rule.name in names]
            # The children first.
            for rule in sorted(rules, key=_depth, reverse=True):
                if self.with_scans or not rule.is_scan:
                    self.results[number, rule.name] = self._result(number, wish, rule)
        for place, doers in self._done.items():
            for doer in doers:
                self.results[doer].possible += 1
                self.results[doer].sure += len(doers) == 1 and place not in self.open_places
        for place, item in self._new.items():
            if item is not None:
                self.state.items[place] = item
            else:
                self.state.items.pop(place, None)
                self.state.objects.pop(place, None)

    def _children(self, number: int, rule: Rule) -> list[Rule]:
        return [child for child in self._own[number].values() if child.parent and child.parent.name == rule.name]

    def _result(self, number: int, wish: Wish, rule: Rule) -> Result:
        result = Result(rule.word, basis=rule.retain["basis"] if rule.retain else None)
        sets = self.model.values(wish, rule, self.known[number])
        if not sets:
            known = self.known[number]
            missing = {name for name in rule.names() & self.model.identifiers.keys() if not known.get(name)}
            optional = {name for name, each in self.model.identifiers.items() if each.get("if_missing") == "absent"}
            if not missing <= optional & known.keys():
                result.failed.add(MISSING_VALUE)
            return result
        if self._is_refused(number, rule, sets):
            result.failed.add(AMBIGUOUS)
        elif any(self.results[number, child.name].failed for child in self._children(number, rule)):
            result.failed.add(CHILDREN_FAILED)
        elif rule.parent is None and (reason := rule.broken(self.state)):
            result.failed.add(reason)
        else:
            for values in sets:
                self._work(number, rule, values, result)
        return result

    def _is_refused(self, number: int, rule: Rule, sets: Sequence[Values]) -> bool:
        """Before anything is looked at, by what the subject's ids are."""
        root = rule.root
        try:
            for values in sets:
                root.check(values)
        except RefusedError:
            return True
        if rule.parent is not None and self.told.get((number, root.name)) != AMBIGUOUS:
            return False
        return self.told.get((number, rule.name)) == AMBIGUOUS and any(map(self.model.is_odd, sets))

    def _work(self, number: int, rule: Rule, values: Values, result: Result) -> None:
        doer = (number, rule.name)
        # Of several reasons one is told.
        may_refuse = rule.parent is not None and self.told.get(doer) is not None
        for leading in rule.leading():
            reason = leading.broken(self.state)
            if reason and any(not isinstance(found, RefusedError) for found in leading.lookups(self.state, values)):
                result.failed.add(reason)
                return
        for found in rule.lookups(self.state, values):
            if isinstance(found, RefusedError):
                result.failed.add(found.reason)
                continue
            if reason := rule.broken(self.state):
                result.failed.add(reason)
                return
            places = rule.places(self.state, found)
            if may_refuse and self.model.is_odd(found):
                result.failed.add(AMBIGUOUS)
                self.open_places.update(places)
            if rule.is_scan and rule.mistakable(self.state, found):
                result.failed.add(MISMATCH)
                self.open_places.update(places)
            for place in places:
                self._do(doer, rule, place, found, result)

    def _do(self, doer: tuple[int, str], rule: Rule, place: Place, values: Values, result: Result) -> None:
        if rule.deletes:
            # It goes, unless it is locked, or something that it leads to.
            if locks := self._locks(doer[0], rule, place, values):
                result.keep(place, max(locks))
            else:
                self._write(doer, place, None)
            return
        item = self.state.items[place]
        new: Item | None = item
        try:
            if rule.retain:
                until = rule.kept_until(item)
                if until <= self.model.now:
                    self._write(doer, place, None)
                    return
                result.keep(place, until.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        except RefusedError as error:
            result.failed.add(error.reason)
        try:
            new = rule.changed(item, values)
        except RefusedError as error:
            result.failed.add(error.reason)
        if new != item:
            self._write(doer, place, new)

    def _locks(self, number: int, rule: Rule, place: Place, values: Values) -> list[str]:
        """The locks of a thing, and of all that it leads to. (A hold is later than any date.)"""
        if place in self.state.objects:
            lock = self.state.objects[place]
            return [] if lock is None or lock <= self.model.now.strftime("%Y-%m-%d") else [lock]
        locks: list[str] = []
        for child in self._children(number, rule):
            # The person's values for what is found may be more than those for what leads there.
            for own in self.model.values(self.wishes[number], child, self.known[number]):
                if own.items() >= {each for each in values.items() if each[0] in own}:
                    for found in child.through(self.state.items[place], own):
                        if not isinstance(found, RefusedError):
                            for lower in child.places(self.state, found):
                                locks += self._locks(number, child, lower, found)
        return locks

    def _write(self, doer: tuple[int, str], place: Place, item: Item | None) -> None:
        self._done.setdefault(place, set()).add(doer)
        self._new[place] = item


def _depth(rule: Rule) -> int:
    return 1 + _depth(rule.parent) if rule.parent else 0


def disputed(model: Model, state: State, people: Iterable[Person]) -> set[Place]:
    """Items over which the map says two things, or that it would let go for two reasons of which one may have to wait:
    of them, only a warning speaks (they are found in different ways), and nobody can say what becomes of them. Nor of
    those out of which two people are taken although one entry of the index leads to both."""
    reasons: dict[Place, set[tuple[str, Person | None]]] = {}
    leading = {rule.parent.name for rule in model.rules.values() if rule.parent}
    for person, rule in itertools.product(people, model.rules.values()):
        wish = Wish(person)
        if rule.subject != person.kind or any(each.broken(state) for each in (rule, *rule.leading())):
            continue
        rule = rule.for_all_organizations()
        known = model.known(state, wish)
        for values in model.values(wish, rule, known):
            try:
                rule.root.check(values)
            except RefusedError:
                continue
            for found in rule.lookups(state, values):
                for place in [] if isinstance(found, RefusedError) else rule.places(state, found):
                    plain = rule.deletes and rule.name not in leading
                    is_alone = rule.detach is not None or rule.name in leading
                    reason = ("plain", None) if plain else (rule.name, person if is_alone else None)
                    reasons.setdefault(place, set()).add(reason)
    return {place for place, several in reasons.items() if len(several) > 1 and place in state.items}
