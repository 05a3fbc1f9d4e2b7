"""The model's worlds on moto, erased by the service's functions as they are deployed: queues, stores and all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.adapters.acceptance_store import DynamoDBAcceptanceStore
from erasure.adapters.messaging import SQSJobQueue
from erasure.domain.audit import next_entry
from erasure.domain.data_map import DataMap
from erasure.domain.request import ErasureRequest
from erasure.entry import wiring
from erasure.ports import Acceptance
from erasure.targets.dynamodb import DynamoDBTarget
from tests.functional.job_stack import JobStack, stack_on_moto
from tests.functional.model import Wish
from tests.functional.model_rules import DIGEST_KEY, Item, Place, State
from tests.functional.model_runs import World, prepare, request_of
from tests.functional.model_tables import Table


class MotoService:
    """A :class:`tests.functional.model_runs.Service`. Without Object Lock: moto holds all versions of a key of which
    one is held. Nor is versioning ever suspended: there, moto takes a key away with all its versions whichever of them
    is deleted, or fails, if one of them is a delete marker."""

    def __init__(self, stack: JobStack, data_map: DataMap, world: World) -> None:
        self.stack = stack
        self.ahead = timedelta()
        self._world = replace(
            world,
            buckets={name: ("Enabled" if versioning else "", False) for name, (versioning, _) in world.buckets.items()},
            uploads=[replace(upload, lock=None) for upload in world.uploads],
        )
        stack.targets["dynamodb"] = DynamoDBTarget(stack.dynamodb, conditional="single", digest_key=lambda: DIGEST_KEY)
        stack.maps.put(data_map, self.now())
        for table in world.tables.values():
            stack.dynamodb.create_table(**_creation(table))
        for name, item in world.items:
            stack.dynamodb.put_item(TableName=name, Item=item)
        prepare(stack.s3, self._world)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def state(self) -> State:
        schemas = {table.name: (table.key, dict(table.indexes)) for table in self._world.tables.values()}
        state = State(schemas, frozenset(self._world.buckets))
        for table in self._world.tables.values():
            state.items |= {(table.name, *table.place_of(item)): _sorted(item) for item in self.stack.items(table.name)}
        for bucket in self._world.buckets:
            state.objects |= dict.fromkeys(self._places(bucket))
        return state

    def _places(self, bucket: str) -> Iterator[Place]:
        found = self.stack.s3.list_object_versions(Bucket=bucket)
        for each in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
            yield bucket, each["Key"], each["VersionId"]
        for each in self.stack.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            yield bucket, each["Key"], each["UploadId"]

    def accept(self, wishes: Sequence[Wish]) -> list[str]:
        store = DynamoDBAcceptanceStore(
            lambda: self.stack.dynamodb,
            delete_ids_table="DeleteIds",
            requests_table="Requests",
            audit_table="Audit",
            registry_table="Registry",
        )
        requests = [request_of(wish, self.now()) for wish in wishes]
        for request in requests:
            entry = next_entry(request.request_id, None, "requested", request.requested_at, {})
            store.accept(Acceptance(request, entry), self.now())
        return [request.request_id for request in requests]

    def run(self, request_ids: Sequence[str]) -> None:
        SQSJobQueue(lambda: self.stack.sqs, self.stack.batch_queue_url).send(request_ids, 1)
        self.stack.work()

    def scan(self) -> bool:
        self.ahead += timedelta(hours=49)
        sent = self.stack.call("retention_sweep", {})["sent"]
        self.stack.work()
        return bool(sent)

    def request(self, request_id: str) -> ErasureRequest:
        return self.stack.request(request_id)


@contextmanager
def on_moto(data_map: DataMap, world: World) -> Iterator[MotoService]:
    """A stack of its own for each world. Its functions' time can be set forward."""
    with pytest.MonkeyPatch.context() as patch, contextmanager(stack_on_moto)(patch) as stack:
        service = MotoService(stack, data_map, world)
        patch.setattr(wiring, "utc_now", service.now)
        yield service


def _creation(table: Table) -> dict[str, Any]:
    described = table.description()
    creation = {name: described[name] for name in ("TableName", "KeySchema", "AttributeDefinitions")}
    for kind in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        indexes = [
            {
                "IndexName": index["IndexName"],
                "KeySchema": index["KeySchema"],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for index in described[kind]
        ]
        creation |= {kind: indexes} if indexes else {}
    return {**creation, "BillingMode": "PAY_PER_REQUEST"}


def _sorted(item: Item) -> Item:
    """Sets have no order."""
    return {
        name: {kind: sorted(content) if kind in ("SS", "NS") else content for kind, content in value.items()}
        for name, value in item.items()
    }
