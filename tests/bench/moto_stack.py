"""A :class:`tests.functional.job_stack.JobStack` for benches: on moto, quiet, with calls counted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from typing import Any

import moto
import pytest
from moto.dynamodb.models.table import Table

from erasure.domain.data_map import parse_data_map
from tests.bench.counting import CallCounter
from tests.functional.job_stack import JobStack
from tests.moto_calls import one_at_a_time

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "POWERTOOLS_METRICS_NAMESPACE": "Bench",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_LOG_LEVEL": "ERROR",
}

EIGHT_TARGETS: dict[str, Any] = {
    "version": 1,
    "targets": [
        *(
            {
                "name": f"notes-{number}",
                "category": "content",
                "dynamodb": {"table": "app-notes", "key": {"pk": f"{number}#{{tenant_id}}#{{user_id}}"}},
            }
            for number in range(5)
        ),
        *(
            {
                "name": f"files-{number}",
                "category": "content",
                "s3": {"bucket": "app-files", "prefix": f"{number}/{{tenant_id}}/{{user_id}}/"},
            }
            for number in range(3)
        ),
    ],
}


@contextmanager
def counted_stack(data_map: dict[str, Any] = EIGHT_TARGETS) -> Iterator[tuple[JobStack, CallCounter]]:
    """A stack of its own with this data map, and a counter of all its calls."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        _without_copies(patch)
        # The functions' metrics go to standard output.
        with one_at_a_time(), moto.mock_aws(), redirect_stdout(io.StringIO()):
            stack, counter = JobStack(), CallCounter()
            stack.maps.put(parse_data_map(data_map), datetime.now(UTC))
            for client in (stack.dynamodb, stack.sqs, stack.stepfunctions, stack.targets["s3"]._client):
                counter.watch_client(client)
            yield stack, counter


def _without_copies(patch: pytest.MonkeyPatch) -> None:
    """Moto copies a table for each action of a transaction, and sorts it for each query: hours, for 1,000 subjects.

    Without copies a cancelled transaction is not undone, so :class:`tests.bench.capacity.Meter` lets none pass.
    """

    def items_of(table: Any) -> list[Any]:
        if not table.range_key_attr:
            return list(table.items.values())
        return [item for by_sort_key in table.items.values() for item in by_sort_key.values()]

    patch.setattr(Table, "__deepcopy__", lambda table, _memo: table, raising=False)
    patch.setattr(Table, "all_items", items_of)
