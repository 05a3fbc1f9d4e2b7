"""What the verifier tells of the application's data to those who ask before anything is erased.

``{"identify": {"subjects", "rules"}}``    ``{"identified": [{name: [value, …]}, …]}``, one for each subject
``{"preview": {"subject", "organization_ids", "targets", "rules"}}``    ``{"previews": […]}``, one for each target
``{"shards": {"specs"}}``    ``{"shards": {name: [[total, first, end], …]}}``, one for a table that nobody can read

Subjects are in what comes in, and their ids in what goes out: nothing of either is logged. Raises ``UnavailableError``
where there is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.errors import TargetError, UnavailableError

if TYPE_CHECKING:
    from erasure.domain.plan import Shard
    from erasure.targets.protocol import Deadline, ItemReader, Target


@runtime_checkable
class Sharder(Protocol):
    """Knows how large tables are."""

    def shards(self, spec: TargetSpec, deadline: Deadline) -> Sequence[Shard]:
        """The shards in which the target is scanned. Raises :class:`erasure.errors.TargetError`."""


QUESTIONS = frozenset({"identify", "preview", "shards"})


def answer(
    event: Mapping[str, Any], targets: Mapping[str, Target], items: ItemReader | None, deadline: Deadline
) -> dict[str, Any]:
    """``event`` has one of :data:`QUESTIONS`. ``targets``: by kind; ``items``: reads items, and knows the shards of
    tables that are scanned."""
    if items is None:
        raise UnavailableError("nobody reads items here")
    # The services are loaded by whoever asks: verifying a unit needs none of them.
    if "identify" in event:
        return _identify(event["identify"], items, deadline)
    if "preview" in event:
        return _preview(event["preview"], targets, items, deadline)
    return _shards(event["shards"], items, deadline)


def _identify(asked: Mapping[str, Any], items: ItemReader, deadline: Deadline) -> dict[str, Any]:
    from erasure.services.identify import identify_all

    subjects = [_subject(subject) for subject in asked["subjects"]]
    return {"identified": identify_all(subjects, _rules(asked), items, deadline)}


def _preview(
    asked: Mapping[str, Any], targets: Mapping[str, Target], items: ItemReader, deadline: Deadline
) -> dict[str, Any]:
    from erasure.services.previews import Look, preview

    specs = [TargetSpec.from_dict(spec) for spec in asked["targets"]]
    look = Look(targets, items)
    found = preview(_subject(asked["subject"]), asked["organization_ids"], specs, _rules(asked), look, deadline)
    return {"previews": [asdict(one) for one in found]}


def _shards(asked: Mapping[str, Any], sharder: object, deadline: Deadline) -> dict[str, Any]:
    if not isinstance(sharder, Sharder):
        raise UnavailableError("nobody knows the sizes of tables here")
    shards: dict[str, Any] = {}
    for spec in map(TargetSpec.from_dict, asked["specs"]):
        try:
            shards[spec.name] = [[shard.total, shard.first, shard.end] for shard in sharder.shards(spec, deadline)]
            may_pass = False
        except TargetError as error:
            # A table that is gone must not keep everybody else's job from being planned: who scans it says what is
            # wrong with it.
            shards[spec.name], may_pass = [[1, 0, 1]], not error.permanent
        if may_pass:
            raise UnavailableError("a table's size could not be read")
    return {"shards": shards}


def _subject(asked: Mapping[str, str]) -> Subject:
    return Subject(asked["tenant_id"], asked["id"], asked["type"])


def _rules(asked: Mapping[str, Any]) -> list[IdentifierRule]:
    return [
        IdentifierRule(rule["name"], TargetSpec.from_dict(rule["source"]), rule["attribute"], rule["optional"])
        for rule in asked["rules"]
    ]
