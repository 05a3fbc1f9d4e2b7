"""What is put can be read, also what an earlier version of the service has put."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from erasure.adapters.attributes import to_item
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.domain.data_map import parse_data_map
from erasure.domain.request import FAMILY_CATEGORIES
from erasure.domain.target_spec import S3Rule, TargetSpec
from tests.unit.test_data_map_full import FULL

FILES = TargetSpec("files", "content", s3=S3Rule("files", "{tenant_id}/{user_id}/"))


class Registry:
    """A client that keeps what one transaction puts, as items."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}

    def get_item(self, *, Key: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        item = self.items.get(Key["sk"]["S"])
        return {} if item is None else {"Item": item}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        for action in TransactItems:
            self.items[action["Put"]["Item"]["sk"]["S"]] = action["Put"]["Item"]


class KeptMap:
    """A client that knows one map."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": to_item({"version": 1, "digest": "d", **self._values})}


def test_map_of_before_there_were_groups_and_families() -> None:
    """Its targets are people's and are deleted; families erase what they do by default."""
    target = json.loads(FILES.to_json())
    assert not {"subjects", "detach"} & target.keys()
    store = DynamoDBDataMapStore(lambda: KeptMap(targets=json.dumps([target])), "registry")
    kept = store.current()
    assert kept is not None
    assert (kept.targets, kept.families) == ((FILES,), FAMILY_CATEGORIES)


def test_family_that_a_kept_map_does_not_know_has_its_default() -> None:
    """A wire family that came later than the map erases what it does by default; the others what the map says."""
    values = {"targets": "[]", "families": json.dumps({"june": ["content"], "h2o": None})}
    kept = DynamoDBDataMapStore(lambda: KeptMap(**values), "registry").version(1)
    assert kept is not None
    assert kept.families == {**FAMILY_CATEGORIES, "june": frozenset({"content"}), "h2o": None}


def test_a_full_map_is_kept_whole() -> None:
    """Targets with all that they lead to, identifiers with the targets that they are read from, and the document: what
    was put is what a job reads, by its version and as the current one."""
    store = DynamoDBDataMapStore(lambda: registry, "registry")
    registry, data_map = Registry(), parse_data_map(FULL)
    version = store.put(data_map, datetime(2026, 1, 1, tzinfo=UTC))
    for kept in (store.current(), store.version(version)):
        assert kept is not None
        assert (kept.targets, kept.identifiers) == (data_map.targets, data_map.identifiers)
        assert (kept.digest, kept.optional) == (data_map.digest, frozenset({"phone"}))
    assert store.document(version) == FULL
    assert store.put(parse_data_map(FULL), datetime(2026, 1, 2, tzinfo=UTC)) == version


def test_map_of_before_there_were_identifiers_has_none() -> None:
    """A version that was put without identifiers is read without any."""
    kept = DynamoDBDataMapStore(lambda: KeptMap(targets=json.dumps([])), "registry").current()
    assert kept is not None
    assert (kept.identifiers, kept.optional) == ((), frozenset())
