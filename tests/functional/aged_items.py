"""A table for everything, of people whose things grow old, for the tests of runs by age."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from erasure.domain.collisions import neighbours
from erasure.domain.holds import marks_of
from erasure.domain.subject import Subject
from erasure.domain.target_spec import (
    ERASING,
    REPORTING,
    AgeRule,
    DynamoDBRule,
    KeyRule,
    RedactRule,
    TargetSpec,
)
from erasure.domain.times import format_time
from erasure.ports import Hold
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, ScanRange, SliceResult, VerifyResult
from tests.fake_clock_stores import FakeHoldStore

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=31), NOW - timedelta(days=29)
KEY = b"a key of marks"
RUN = [{"retention": "erase#0123456789abcdef#2026-06-01T12:00:00.000Z"}]


def hold_of(subject: Subject, *aliases: str, key: bytes = KEY) -> Hold:
    marks = marks_of(key, subject, aliases)
    return Hold("lh_1", subject.tenant_id, subject.type, marks[0], "a case", "legal", NOW, "key", marks=marks)


def in_a_run(
    spec: TargetSpec, *others: TargetSpec, mode: str = ERASING, attribute: str | None = "seen_at"
) -> TargetSpec:
    """The target as a run has it that takes what is older than 30 days."""
    rule = AgeRule("30d", attribute, mode=mode, moment=format_time(NOW))
    return replace(spec, retention=rule, beside=neighbours(spec, (spec, *others)))


@dataclass
class AgedItems:
    """Sessions and orders of people, by tenant, in one table with an index by owner."""

    engine: Engine
    holds: FakeHoldStore = field(default_factory=FakeHoldStore)
    segments: int = 4

    def __post_init__(self) -> None:
        self.table = self.engine.create_table(["pk", "sk"], indexes={"by-owner": ["owner"]})

    def target(self, client: Any = None, **options: Any) -> DynamoDBTarget:
        return self.engine.target(client, holds=self.holds, digest_key=lambda: KEY, **options)

    def spec(self, sort: str = "SESSION#", redact: tuple[RedactRule, ...] = ()) -> TargetSpec:
        rule = DynamoDBRule(self.table, KeyRule("pk", "T#{tenant_id}#U#{user_id}"), KeyRule("sk", sort, prefix=True))
        return TargetSpec(sort.strip("#").lower(), "session", dynamodb=rule, redact=redact)

    def by_owner(self) -> TargetSpec:
        rule = DynamoDBRule(self.table, KeyRule("owner", "{tenant_id}#{user_id}"), index="by-owner")
        return TargetSpec("owned", "content", dynamodb=rule)

    def put(self, user: str, sort: str, seen_at: Any = OLD, **more: Any) -> Item:
        item = {"pk": {"S": f"T#acme#U#{user}"}, "sk": {"S": sort}, **more}
        if isinstance(seen_at, datetime):
            item["seen_at"] = {"S": format_time(seen_at)}
        elif seen_at is not None:
            item["seen_at"] = seen_at
        self.engine.put(self.table, [item])
        return item

    def sorts(self) -> set[str]:
        return {item["sk"]["S"] for item in self.engine.everything(self.table)}

    def scan(self) -> ScanRange:
        return ScanRange(self.segments, 0, self.segments)

    def erase(self, spec: TargetSpec, target: DynamoDBTarget | None = None) -> SliceResult:
        (result,) = (target or self.target()).erase(spec, RUN, Deadline(60), scan=self.scan())
        return result

    def verify(self, spec: TargetSpec, target: DynamoDBTarget | None = None) -> VerifyResult:
        (result,) = (target or self.target()).verify(spec, RUN, Deadline(60), scan=self.scan())
        return result


def reporting(spec: TargetSpec) -> TargetSpec:
    assert spec.retention is not None
    return replace(spec, retention=replace(spec.retention, mode=REPORTING))
