"""What is asked about plans, and how much of it there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from erasure.adapters.data_reader import LambdaDataReader
from erasure.domain.data_map import parse_data_map
from erasure.domain.subject import Subject
from erasure.ports import PinnedMap, Preview
from erasure.services.commands import ErasureCommand
from erasure.services.current_map import CurrentMap
from erasure.services.erasure_plans import ErasurePlans
from tests.fake_jobs import FakeFunctions
from tests.fakes import FakeDataMapStore

INVOCATION = 6 * 1024 * 1024
"""Lambda: 6 MB for what a synchronous call is given, and for what it answers."""
KINDS = 50


def test_the_largest_map_fits_into_a_question() -> None:
    """Targets that all lead into one bucket are each other's neighbours: as many as the registry takes can be asked
    about, with identifiers read out of the same table."""
    owner = {"pk": "{tenant_id}#{user_id}"}
    kinds = {f"kind-{number}": f"KIND{number}#" for number in range(KINDS)}
    document = {
        "version": 1,
        "identifiers": {f"id_{number}": {"from": "kind-0", "attribute": f"id_{number}"} for number in range(20)},
        "targets": [
            *({"name": name, "dynamodb": {"table": "app", "key": owner | {"sk": {"prefix": start}}}}
              for name, start in kinds.items()),
            *({"name": f"file-{name}", "for_each": name, "s3": {"bucket": "app-files", "key": f"{{{name}.file}}"}}
              for name in kinds),
            *({"name": f"id-{number}", "s3": {"bucket": "by-id", "prefix": f"{number}/{{tenant_id}}/{{id_{number}}}/"}}
              for number in range(20)),
        ],
    }  # fmt: skip
    data_map = parse_data_map(document)
    pinned = PinnedMap(1, data_map.digest, data_map.targets, data_map.families, data_map.identifiers)
    asked: list[int] = []

    def answer(event: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(len(json.dumps(event)))
        return {"previews": [asdict(Preview(spec.name, spec.category, spec.action, 0)) for spec in data_map.targets]}

    reader = LambdaDataReader(FakeFunctions({"verify_target": answer}), 18.0)
    plans = ErasurePlans(CurrentMap(FakeDataMapStore(pinned)), reader, lambda: b"key", lambda: datetime.now(UTC))
    command = ErasureCommand("acme", "native", (Subject("acme", "ann"),), "key", lambda _: "subject")
    (plan,) = plans.make(command)
    assert len(plan.targets) == len(data_map.targets)
    (size,) = asked
    assert size < INVOCATION / 4
