"""Objects that go because they are old: which versions they are, key by key. Deletes nothing.

A delete marker hides what is beneath it. It goes only when nothing is: with a version that is younger, or that a lock
holds, it stays, or that version would be there for everybody again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from erasure.domain.retention_runs import is_old
from erasure.domain.target_spec import VOID, AgeRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.held import Holds
from erasure.targets.protocol import Deadline, Values
from erasure.targets.s3_pages import DatedEntry, Entry, dated_version_pages
from erasure.targets.s3_scope import Scope, checked_template
from erasure.targets.whose import Form, Whose


@dataclass(frozen=True, slots=True)
class AgeScope:
    """What one run by age looks at. ``scope``: fit for listing, and as the outermost bound of what is deleted."""

    scope: Scope
    rule: AgeRule
    whose: Whose
    subject_type: str


def age_scope_of(spec: TargetSpec, owner: str | None) -> AgeScope:
    """Raises :class:`TargetError` ``map_mismatch``."""
    bucket, template, exact = checked_template(spec)
    rule = spec.retention
    if rule is None or rule.mode == VOID:
        raise TargetError("map_mismatch", permanent=True, detail="the target has no rule by which objects grow old")
    # Everybody's keys begin with what stands before the first placeholder, and others' may too.
    scope = Scope(bucket, template.parts[0], exact=False, owner=owner)
    return AgeScope(scope, rule, Whose(spec, [Form(template, prefix=not exact)]), spec.subjects[0])


@dataclass(slots=True)
class Aged:
    """What one key has. ``versions``: that are old; ``markers``: delete markers that are, and beneath which nothing is
    that stays. ``beneath``: whether there is a version at all."""

    values: Values
    versions: list[Entry] = field(default_factory=list)
    markers: list[Entry] = field(default_factory=list)
    beneath: bool = False


def aged_pages(client: Any, of: AgeScope, deadline: Deadline) -> Iterator[list[Aged]]:
    """Key by key, what is old of somebody's, page by page, each once the next one is there. Raises what listing
    raises."""
    carried: list[DatedEntry] = []
    pages = dated_version_pages(client, of.scope, deadline)
    for page, following in pairwise(_with_end(pages)):
        # A key that goes on in the next page is looked at with it.
        going_on = {entry["Key"] for entry in following}
        entries = [*carried, *page]
        carried = [entry for entry in entries if entry["Key"] in going_on]
        yield _aged([entry for entry in entries if entry["Key"] not in going_on], of)


def _with_end(pages: Iterator[list[DatedEntry]]) -> Iterator[list[DatedEntry]]:
    yield from pages
    yield []


def _aged(entries: Sequence[DatedEntry], of: AgeScope) -> list[Aged]:
    by_key: dict[str, list[DatedEntry]] = {}
    for entry in entries:
        by_key.setdefault(entry["Key"], []).append(entry)
    found = []
    for key, own in by_key.items():
        values = of.whose.of((key,))
        if values is not None:
            aged = _of_key(values, own, of.rule)
            if aged.versions or aged.markers:
                found.append(aged)
    return found


def _of_key(values: Values, entries: Sequence[DatedEntry], rule: AgeRule) -> Aged:
    old = [entry for entry in entries if is_old(rule, entry["LastModified"])]
    versions = [entry for entry in entries if not entry["IsMarker"]]
    aged = Aged(values, [_entry(entry) for entry in old if not entry["IsMarker"]], beneath=bool(versions))
    if len(aged.versions) == len(versions):
        aged.markers = [_entry(entry) for entry in old if entry["IsMarker"]]
    return aged


def _entry(entry: DatedEntry) -> Entry:
    return {"Key": entry["Key"], "VersionId": entry["VersionId"]}


def free_and_held(aged: Sequence[Aged], of: AgeScope, holds: Holds) -> tuple[list[Aged], int]:
    """Those of nobody who is under a legal hold, and how many things the others are. Raises :class:`TargetError` if
    nobody can say so."""
    people = list({tuple(sorted(each.values.items())): each.values for each in aged}.values())
    held = [values for values, is_held in zip(people, holds.are_held(of.subject_type, people), strict=True) if is_held]
    free = [each for each in aged if each.values not in held]
    return free, sum(len(each.versions) + len(each.markers) for each in aged if each.values in held)
