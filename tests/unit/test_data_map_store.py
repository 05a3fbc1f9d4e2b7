"""Maps that were put by an earlier version of the service can still be read."""

from __future__ import annotations

import json
from typing import Any

from erasure.adapters.attributes import to_item
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.domain.request import FAMILY_CATEGORIES
from erasure.domain.target_spec import S3Rule, TargetSpec

FILES = TargetSpec("files", "content", s3=S3Rule("files", "{tenant_id}/{user_id}/"))


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
