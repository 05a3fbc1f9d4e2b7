"""How the functions get at the targets: with clients of their own, in whatever account they are, and only when needed.

An eraser makes the target of its own kind, and what reads the other kind only for units whose targets lead to each
other: most of its life it needs no more than one client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config

from erasure.adapters.aws import Clients, client_config
from erasure.domain.permissions import ERASE, VERIFY
from erasure.services.erase_unit import PARALLEL_TASKS
from erasure.targets.assumed import AssumedTables, AssumedTargets, ByAccount, Tables

if TYPE_CHECKING:
    from erasure.adapters.sessions import AssumedSessions
    from erasure.domain.plan import Shard
    from erasure.domain.target_spec import TargetSpec
    from erasure.ports import HoldReader
    from erasure.targets.protocol import Deadline, Item, Target, Values

S3_CONCURRENCY = 8
"""Deleting calls of one S3 task in flight."""


class Made(Mapping[str, "Target"]):
    """Targets by kind, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Target]]) -> None:
        self._makers = makers
        self._made: dict[str, Target] = {}

    def __getitem__(self, kind: str) -> Target:
        # Two threads may make one each. Both work, and one of them is kept.
        if kind not in self._made:
            self._made[kind] = self._makers[kind]()
        return self._made[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def make_targets(
    clients: Clients,
    sessions: AssumedSessions,
    purpose: Mapping[str, str],
    *,
    capacity_share: int,
    digest_key: Callable[[], bytes] | None = None,
    holds: HoldReader | None = None,
) -> Made:
    """The targets of one function. ``purpose``: by kind, what the function's role may do with targets of that kind.
    ``capacity_share``: percent. ``digest_key``: of functions that redact, or that make runs by age; those ask ``holds``
    before anything goes."""

    def make_tables(session: Any, _account: str | None = None) -> Tables:
        # The application's tables get a client of their own: there the target itself retries and paces.
        from erasure.targets.dynamodb import DynamoDBTarget
        from erasure.targets.dynamodb_calls import client_options

        client = session.create_client("dynamodb", config=Config(**client_options(tasks=PARALLEL_TASKS)))
        return DynamoDBTarget(client, digest_key=digest_key, holds=holds, capacity_share=capacity_share / 100)

    def make_buckets(session: Any, account: str | None = None) -> Target:
        # Another account's buckets have to be that account's; our own role is limited to our own.
        from erasure.targets.s3 import S3Target
        from erasure.targets.s3_client import make_s3_client

        config = client_config(max_pool_connections=PARALLEL_TASKS * (S3_CONCURRENCY + 2))
        return S3Target(
            make_s3_client(session, config),
            concurrency=S3_CONCURRENCY,
            expected_owner=account,
            holds=holds,
            digest_key=digest_key,
        )

    def tables() -> Target:
        own, use = make_tables(clients.session), purpose.get("dynamodb", VERIFY)
        return AssumedTables(ByAccount(own, make_tables, sessions, use))

    def buckets() -> Target:
        own, use = make_buckets(clients.session), purpose.get("s3", VERIFY)
        return AssumedTargets(ByAccount(own, make_buckets, sessions, use))

    return Made({"dynamodb": tables, "s3": buckets})


class MadeReader:
    """An :class:`erasure.targets.protocol.ItemReader` by the tables among ``targets``, made when it is first asked."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets

    def items(
        self, spec: TargetSpec, values: Values, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[Sequence[Item]]:
        return self._tables().items(spec, values, attributes, deadline)

    def shards(self, spec: TargetSpec, deadline: Deadline) -> Sequence[Shard]:
        """The shards in which the target is scanned. Raises :class:`erasure.errors.TargetError`."""
        return self._tables().shards(spec, deadline)

    def _tables(self) -> Tables:
        tables: Any = self._targets["dynamodb"]
        return cast("Tables", tables)


ERASES_ITEMS, ERASES_OBJECTS, READS = {"dynamodb": ERASE}, {"s3": ERASE}, dict[str, str]()
"""What the functions may do with targets, by kind; reading where nothing is said."""
