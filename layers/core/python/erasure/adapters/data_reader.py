"""What is known of the application's data, by asking the verifier, whose role may read it and cannot change it.

What goes over names subjects and comes back with their ids. Nothing of it is kept or logged on either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from erasure.domain.outcome import Kept
from erasure.domain.plan import Shard
from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import Functions, PinnedMap, Preview

SUBJECTS_OF_A_CALL = 50
"""A function's answer holds 6 MB: so many subjects with as many ids as anybody may have."""


class LambdaDataReader:
    """:class:`erasure.ports.DataReader` on the verifier. ``seconds``: how long it may take for one answer, if a caller
    waits; otherwise as long as the function has."""

    def __init__(self, functions: Functions, seconds: float | None = None) -> None:
        self._functions = functions
        self._seconds = seconds

    def identify(
        self, subjects: Sequence[Subject], rules: Sequence[IdentifierRule]
    ) -> list[dict[str, tuple[str, ...]]]:
        if not rules:
            return [{} for _ in subjects]
        asked = [_rule(rule) for rule in rules]
        found: list[dict[str, tuple[str, ...]]] = []
        for start in range(0, len(subjects), SUBJECTS_OF_A_CALL):
            some = subjects[start : start + SUBJECTS_OF_A_CALL]
            answer = self._ask("identify", {"subjects": [_subject(subject) for subject in some], "rules": asked})
            found += [_identified(entry) for entry in _list(answer, "identified", len(some))]
        return found

    def preview(self, subject: Subject, organization_ids: Sequence[str], data_map: PinnedMap) -> list[Preview]:
        if not data_map.targets:
            return []
        asked = {
            "subject": _subject(subject),
            "organization_ids": list(organization_ids),
            "targets": [target.to_dict() for target in data_map.targets],
            "rules": [_rule(rule) for rule in data_map.identifiers],
        }
        answer = self._ask("preview", asked)
        return [_preview(entry) for entry in _list(answer, "previews", len(data_map.targets))]

    def shards(self, specs: Sequence[TargetSpec]) -> dict[str, tuple[Shard, ...]]:
        if not specs:
            return {}
        answer = self._ask("shards", {"specs": [spec.to_dict() for spec in specs]})
        shards = answer.get("shards")
        if not isinstance(shards, dict) or shards.keys() != {spec.name for spec in specs}:
            raise UnavailableError("a function did not answer")
        return {name: tuple(Shard(*shard) for shard in found) for name, found in shards.items()}

    def _ask(self, what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        event = {what: asked} if self._seconds is None else {what: asked, "seconds": self._seconds}
        return self._functions.call("verify_target", event)


def _list(answer: Mapping[str, Any], name: str, length: int) -> list[Any]:
    """An answer that does not tell of everything that was asked for is none."""
    found = answer.get(name)
    if not isinstance(found, list) or len(found) != length:
        raise UnavailableError("a function did not answer")
    return found


def _subject(subject: Subject) -> dict[str, str]:
    return {"tenant_id": subject.tenant_id, "type": subject.type, "id": subject.id}


def _rule(rule: IdentifierRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "source": rule.source.to_dict(),
        "attribute": rule.attribute,
        "optional": rule.optional,
    }


def _identified(entry: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in entry.items()}


def _preview(entry: Mapping[str, Any]) -> Preview:
    return Preview(**{**entry, "kept": Kept(**entry["kept"])})
