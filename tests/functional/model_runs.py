"""Erasures of a small world by the service's own planner, erasers, verifier and closer: on fakes of the engines, many a
second, and on moto as it is deployed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import botocore.session
from aws_lambda_powertools.logging.logger import Logger
from botocore.config import Config

from erasure.adapters.data_reader import LambdaDataReader
from erasure.adapters.manifests import S3Manifests
from erasure.adapters.sessions import SessionName
from erasure.domain.data_map import DataMap
from erasure.domain.identifiers import new_request_id
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import due_at, purged_by
from erasure.entry.workers import make_eraser, make_plan_job, make_verify_target
from erasure.ports import PinnedMap
from erasure.services.close_job import close_job
from erasure.services.erase_unit import EraseUnitDependencies
from erasure.services.plan_job import PlanJobDependencies
from erasure.services.release_due import release_due
from erasure.services.verify_unit import VerifyUnitDependencies
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, Target
from erasure.targets.s3 import S3Target, make_s3_client
from tests import fake_jobs, fakes
from tests.contract.s3_fake import ENDPOINT, FakeS3
from tests.fake_clock_stores import FakeClockStore, FakeHoldStore
from tests.functional.model import Wish
from tests.functional.model_rules import DIGEST_KEY, HOLD, Item, Place, State
from tests.functional.model_tables import FakeDynamoDB, Table

_LOGGER = Logger(service="model", level="CRITICAL")
_ERASERS = {"dynamodb": "dynamodb", "s3": "s3"}
_PASSES = 60
_Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Upload:
    """What an application puts into a bucket: ``"object"``, ``"marker"`` or ``"upload"``. ``lock``: the end of its
    retention, or :data:`HOLD`."""

    bucket: str
    key: str
    kind: str = "object"
    lock: str | None = None


@dataclass
class World:
    """An application's tables and buckets, and what is in them. ``buckets``: by name, the versioning, and whether there
    is Object Lock."""

    tables: dict[str, Table]
    buckets: dict[str, tuple[str, bool]]
    items: list[tuple[str, Item]] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    seed: int = 0


class Service(Protocol):
    """The service, with a world's things in place."""

    def state(self) -> State:
        """Everything that is there now."""

    def accept(self, wishes: Sequence[Wish]) -> list[str]:
        """The ids of requests that are made of them."""

    def run(self, request_ids: Sequence[str]) -> None:
        """One job for all of them."""

    def scan(self) -> bool:
        """After the longest of windows: the jobs that scan, if there are any; whether there were."""

    def request(self, request_id: str) -> ErasureRequest: ...


class _Context:
    aws_request_id = "slice"

    def __init__(self, number: int) -> None:
        self.aws_request_id = f"slice-{number}"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


def _s3_client() -> Any:
    session = botocore.session.Session()
    session.set_credentials("test", "test")
    session.set_config_variable("region", "us-east-1")
    return make_s3_client(session, Config(s3={"addressing_style": "path"}), endpoint_url=ENDPOINT)


class FakeService:
    """The handlers of the functions, on stores in memory and fakes of the engines."""

    def __init__(self, data_map: DataMap, world: World) -> None:
        self.clock = fakes.FakeClock(datetime.now(UTC).replace(microsecond=0))
        self.audit = fakes.FakeAuditLog()
        self.requests = fakes.FakeRequestStore(self.audit)
        self.tasks = fake_jobs.FakeTaskStore()
        self.queue = fake_jobs.FakeJobQueue()
        maps = fakes.FakeDataMapStore(
            PinnedMap(1, data_map.digest, data_map.targets, data_map.families, data_map.identifiers)
        )
        self.world = world
        for table, item in world.items:
            world.tables[table].put(item)
        self.s3 = _Bucket(world)
        chance = random.Random(world.seed)  # noqa: S311 - where pages end
        items = DynamoDBTarget(
            FakeDynamoDB(world.tables, chance),
            workers=2,
            digest_key=lambda: DIGEST_KEY,
            now=self.clock,
            sleep=lambda _: None,
            random=lambda: 0.5,
        )
        targets: dict[str, Target] = {"dynamodb": items, "s3": S3Target(self.s3.client, concurrency=2, now=self.clock)}
        holds = FakeHoldStore()
        name, slices = SessionName(), iter(range(10**6))
        verify = make_verify_target(
            VerifyUnitDependencies(self.requests, self.tasks, targets, reader=items, holds=holds), 0, name, _LOGGER
        )
        answer = {"verify_target": lambda event: _as_json(verify(_as_json(event), _Context(0)))}
        reader = LambdaDataReader(fake_jobs.FakeFunctions(answer))
        by_clock = FakeClockStore(self.requests)
        plan = PlanJobDependencies(
            self.requests, self.tasks, maps, self.audit, reader, self.clock, holds, by_clock, lambda: DIGEST_KEY
        )
        self._plan = make_plan_job(plan, _ERASERS, S3Manifests(lambda: None, "none"), 1000, _LOGGER)
        erasing = EraseUnitDependencies(self.requests, self.tasks, targets, items, holds=holds)
        erase = make_eraser(erasing, 0, name, _LOGGER)
        self._erase: _Function = lambda event: erase(event, _Context(next(slices)))
        self._verify: _Function = lambda event: verify(event, _Context(0))

    def state(self) -> State:
        schemas = {table.name: (table.key, dict(table.indexes)) for table in self.world.tables.values()}
        state = State(schemas, frozenset(self.world.buckets))
        for table in self.world.tables.values():
            state.items |= {(table.name, *place): item for place, item in table.items.items()}
        state.objects |= self.s3.objects()
        return state

    def accept(self, wishes: Sequence[Wish]) -> list[str]:
        accepted = []
        for wish in wishes:
            request = request_of(wish, self.clock())
            self.requests.records[request.request_id] = request
            self.audit.append(request.request_id, "requested", self.clock(), {})
            accepted.append(request.request_id)
        return accepted

    def run(self, request_ids: Sequence[str], attempt: int = 1) -> None:
        event = {"job_id": f"jb_{request_ids[0]}-{attempt}", "request_ids": list(request_ids), "attempt": attempt}
        planned = _as_json(self._plan(event, _Context(0)))
        for unit in planned["units"]:
            unit["again"] = True
            for _ in range(_PASSES):
                if not unit["again"]:
                    break
                unit = _as_json(self._verify(_as_json(self._erase(unit))))
        close_job(
            planned["job_id"],
            planned["request_ids"],
            requests=self.requests,
            tasks=self.tasks,
            audit=self.audit,
            now=self.clock,
        )

    def scan(self) -> bool:
        self.clock.advance(timedelta(hours=49).total_seconds())
        self.queue.messages.clear()
        release_due(self.requests, self.queue, self.clock, Deadline(60))
        for request_ids, attempt in list(self.queue.messages):
            self.run(request_ids, attempt)
        return bool(self.queue.messages)

    def request(self, request_id: str) -> ErasureRequest:
        return self.requests.records[request_id]


def _as_json(event: Any) -> Any:
    """As it comes over from another function."""
    return json.loads(json.dumps(event))


_CLIENT: list[Any] = []
"""One for all worlds, each of which has a fake of its own behind it: to make one takes a quarter of a second."""


class _Bucket:
    def __init__(self, world: World) -> None:
        if not _CLIENT:
            _CLIENT.append(_s3_client())
        self.client = _CLIENT[0]
        self.engine = FakeS3()
        self.client.meta.events.unregister("before-send.s3", unique_id="model")
        self.client.meta.events.register("before-send.s3", self.engine._serve, unique_id="model")
        prepare(self.client, world)

    def objects(self) -> dict[Place, str | None]:
        found: dict[Place, str | None] = {}
        for name, bucket in self.engine.buckets.items():
            for key, versions in bucket.keys.items():
                for version in versions:
                    found[name, key, version.version_id] = HOLD if version.hold else _until(version.until)
            found |= {(name, key, upload): None for key, upload in bucket.uploads}
        return found


def prepare(client: Any, world: World) -> None:
    """Make the buckets and fill them. One that is suspended has versions from before."""
    for bucket, (versioning, has_locks) in world.buckets.items():
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=has_locks)
        if versioning == "Suspended":
            _version(client, bucket, "Enabled")
    half = len(world.uploads) // 2
    _put(client, world.uploads[:half])
    for bucket, (versioning, _) in world.buckets.items():
        if versioning:
            _version(client, bucket, versioning)
    _put(client, world.uploads[half:])


def _version(client: Any, bucket: str, status: str) -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def _until(retained: str) -> str | None:
    return f"{retained[:19]}.000Z" if retained else None


def _put(client: Any, uploads: Sequence[Upload]) -> None:
    for each in uploads:
        place = {"Bucket": each.bucket, "Key": each.key}
        if each.kind == "upload":
            client.create_multipart_upload(**place)
        elif each.kind == "marker":
            client.delete_object(**place)
        else:
            lock: dict[str, Any] = {}
            if each.lock == HOLD:
                lock = {"ObjectLockLegalHoldStatus": "ON"}
            elif each.lock:
                until = datetime.fromisoformat(each.lock.replace("Z", "+00:00"))
                lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
            client.put_object(**place, Body=b"x", **lock)


def request_of(wish: Wish, now: datetime) -> ErasureRequest:
    subject = Subject(wish.person.tenant, wish.person.id, wish.person.kind)
    return ErasureRequest(
        new_request_id(),
        subject,
        subject_digest(DIGEST_KEY, subject),
        "native",
        now,
        due_at(now, 72),
        purged_by(now, 90),
        categories=wish.categories,
        organization_ids=wish.organizations,
    )
