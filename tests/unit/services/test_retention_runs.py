"""When runs by age begin, what they are, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import moto
import pytest

from erasure.adapters.retention_store import DynamoDBRetentionStore
from erasure.domain.clock import ClockPolicy
from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import REPORTED, Kept, TargetOutcome, merge_outcomes, outcome_of_erasure
from erasure.domain.plan import VERIFIED, Part, plan_units, targets_for
from erasure.domain.request import CANCELLED, FINISHED, RETENTION, ErasureRequest
from erasure.domain.retention import RETENTION_UNKNOWN
from erasure.domain.retention_runs import RULE_CHANGED, EndedRun, KnownRule, RetentionRun
from erasure.domain.subject import Subject
from erasure.domain.target_spec import ERASING, REPORTING, TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import Acceptance, PinnedMap
from erasure.services.retention_rules import RetentionPolicy, RuleStore, request_id_of, rules_of
from erasure.services.retention_runs import RetentionRuns, SettledRuns
from erasure.targets.protocol import Deadline
from tests.contract.dynamodb_engines import Engine, make_client

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
POLICY = RetentionPolicy(ClockPolicy())


class MemoryRules:
    """A :class:`RuleStore` in memory."""

    def __init__(self) -> None:
        self.rules: dict[str, KnownRule] = {}

    def list(self) -> list[KnownRule]:
        return [self.rules[digest] for digest in sorted(self.rules)]

    def put(self, rule: KnownRule) -> bool:
        if self._revision(rule) != rule.revision:
            return False
        self.rules[rule.rule_digest] = replace(rule, revision=rule.revision + 1)
        return True

    def forget(self, rule: KnownRule) -> bool:
        if self._revision(rule) != rule.revision:
            return False
        del self.rules[rule.rule_digest]
        return True

    def _revision(self, rule: KnownRule) -> int:
        known = self.rules.get(rule.rule_digest)
        return 0 if known is None else known.revision


@pytest.fixture
def real_rules() -> Iterator[RuleStore]:
    with moto.mock_aws():
        engine = Engine("moto", make_client(), "single")
        yield DynamoDBRetentionStore(lambda: engine.client, engine.create_table(["pk", "sk"]))


@pytest.fixture(params=["memory", "moto"])
def rules(request: pytest.FixtureRequest) -> RuleStore:
    return MemoryRules() if request.param == "memory" else request.getfixturevalue("real_rules")


def document(*rules: dict[str, Any], prefix: str = "SESSION#") -> dict[str, Any]:
    return {
        "version": 1,
        "targets": [
            {
                "name": "sessions",
                "category": "session",
                "dynamodb": {"table": "app-data", "key": {"pk": "U#{user_id}", "sk": {"prefix": prefix}}},
            },
            {"name": "uploads", "category": "content", "s3": {"bucket": "app-uploads", "prefix": "{user_id}/"}},
        ],
        "retention": list(rules),
    }


SESSIONS = {"target": "sessions", "older_than": "30d", "attribute": "seen_at"}
UPLOADS = {"target": "uploads", "older_than": "1y"}


@dataclass
class World:
    """All that :class:`RetentionRuns` uses, in memory."""

    store: RuleStore
    now: datetime = NOW
    made: dict[str, ErasureRequest] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    targets: tuple[TargetSpec, ...] = ()
    fail_at: str = ""

    def put(self, *rules: dict[str, Any], **more: str) -> None:
        self.targets = parse_data_map(document(*rules, **more)).targets

    def current(self) -> PinnedMap | None:
        return PinnedMap(1, "digest", self.targets) if self.targets else None

    def accept(self, acceptance: Acceptance, _now: datetime) -> None:
        self._fail("accept")
        if self.made.setdefault(acceptance.request.request_id, acceptance.request) is acceptance.request:
            self.entries.append(acceptance.entry)

    def send(self, request_ids: list[str], attempt: int, **_: Any) -> None:
        self._fail("send")
        assert attempt == 1
        self.sent += request_ids

    def get(self, request_id: str) -> ErasureRequest | None:
        return self.made.get(request_id)

    def get_many(self, request_ids: list[str]) -> dict[str, ErasureRequest]:
        return {request_id: self.made[request_id] for request_id in request_ids if request_id in self.made}

    def _fail(self, where: str) -> None:
        if self.fail_at == where:
            raise UnavailableError("no answer")

    def runs(self) -> RetentionRuns:
        own: Any = self
        return RetentionRuns(
            requests=own,
            acceptance=own,
            rules=self.store,
            data_maps=own,
            queue=own,
            now=lambda: self.now,
            policy=POLICY,
        )

    def sweep(self) -> int:
        runs = self.runs()
        runs.settle()
        return runs.start_due(Deadline(60))

    def newest(self) -> ErasureRequest:
        return list(self.made.values())[-1]

    def finish(self, count: int = 3, **more: Any) -> None:
        """The latest run finishes now."""
        request = self.newest()
        outcome = TargetOutcome(request.only_targets[0], "session", "erased", count, **more)
        self.made[request.request_id] = replace(request, state=FINISHED, finished_at=self.now, outcomes=(outcome,))


@pytest.fixture
def world(rules: RuleStore) -> World:
    world = World(rules)
    world.put(SESSIONS)
    return world


def mode_of(request: ErasureRequest) -> str:
    run = RetentionRun.of(request.subject)
    assert run is not None
    return run.mode


def test_a_report_comes_first_and_then_runs_by_the_day(world: World) -> None:
    """A report at once, its first run a day after that has ended, and then one run a day."""
    begun = []
    for hour in range(0, 5 * 24, 6):
        world.now = NOW + hour * HOUR
        if world.sweep():
            begun.append((hour, mode_of(world.newest())))
            world.now += HOUR
            world.finish()
    assert begun == [(0, REPORTING), (30, ERASING), (54, ERASING), (78, ERASING), (102, ERASING)]
    (rule,) = world.store.list()
    assert rule.report == EndedRun(request_id_of(RetentionRun(REPORTING, rule.rule_digest, NOW)), NOW + HOUR, 3)
    assert rule.run is not None
    assert rule.run.ended_at == NOW + 103 * HOUR


def test_a_run_is_a_request_of_its_own(world: World) -> None:
    """Nobody's tenant and a subject that says which run; scanned at once; limited to its target; with its trail."""
    assert world.sweep() == 1
    request = world.newest()
    assert request.subject.tenant_id == "*"
    assert (request.family, request.purpose, request.subject.type) == (RETENTION, RETENTION, RETENTION)
    assert request.only_targets == ("sessions",)
    assert request.scan_at == NOW
    assert request.due_at == NOW + timedelta(hours=72)
    assert request.clock_at == NOW + timedelta(minutes=15)
    (entry,) = world.entries
    assert entry.event == "requested"
    assert entry.details["target"] == "sessions"
    assert entry.details["mode"] == REPORTING
    assert world.sent == [request.request_id]


def test_a_rule_for_reports_never_erases(world: World) -> None:
    """``mode: report`` reports once a day, for ever."""
    world.put({**SESSIONS, "mode": "report"})
    for day in range(4):
        world.now = NOW + day * DAY
        assert world.sweep() == 1
        assert mode_of(world.newest()) == REPORTING
        world.finish()


def test_one_run_at_a_time(world: World) -> None:
    """As long as a run is under way there is no other, however long that takes."""
    world.sweep()
    for day in range(1, 10):
        world.now = NOW + day * DAY
        assert world.sweep() == 0
    assert len(world.made) == 1


def test_two_sweeps_at_once_begin_one_run(world: World) -> None:
    """Both find the rule due: one of them begins the run."""
    first, second = world.runs(), world.runs()
    listed = world.store.list()

    class Late:
        """The store as the second sweep has read it before the first one wrote."""

        def __getattr__(self, name: str) -> Any:
            return (lambda: listed) if name == "list" else getattr(world.store, name)

    assert first.start_due(Deadline(60)) == 1
    assert replace(second, rules=Late()).start_due(Deadline(60)) == 0
    assert len(world.made) == 1
    assert len(set(world.sent)) == 1


@pytest.mark.parametrize("where", ["accept", "send"])
def test_what_a_sweep_that_died_left_out_is_done_by_the_next(world: World, where: str) -> None:
    """It died before the run was made: the next sweep makes the same one. It died before sending: the clock's watch
    sends what is open, and no second run begins."""
    world.fail_at = where
    with pytest.raises(UnavailableError):
        world.sweep()
    world.fail_at, world.now = "", NOW + 2 * DAY
    assert world.sweep() == 0
    (request,) = world.made.values()
    assert RetentionRun.of(request.subject) == RetentionRun(REPORTING, world.store.list()[0].rule_digest, NOW)
    assert world.sent == ([request.request_id] if where == "accept" else [])


def test_a_rule_that_fails_keeps_no_other(world: World) -> None:
    """One run that cannot be made: the other rules' runs begin all the same."""
    world.put(SESSIONS, UPLOADS)
    world.fail_at = "send"
    with pytest.raises(UnavailableError):
        world.sweep()
    assert {request.only_targets for request in world.made.values()} == {("sessions",), ("uploads",)}


def test_a_rule_that_changes_begins_with_a_report_again(world: World) -> None:
    """Another period: another rule, and what was known of the old one is forgotten; so it is if that one returns."""
    world.sweep()
    world.finish()
    world.put({**SESSIONS, "older_than": "31d"})
    world.now += 2 * DAY
    assert world.sweep() == 1
    assert mode_of(world.newest()) == REPORTING
    world.finish()
    world.put(SESSIONS)
    world.now += 2 * DAY
    world.sweep()
    world.sweep()
    assert mode_of(world.newest()) == REPORTING
    assert [rule.rule_digest for rule in world.store.list()] == list(rules_of(world.targets))


@pytest.mark.parametrize("change", [{"parked_at": NOW}, {"state": CANCELLED}, {"purged_at": NOW}])
def test_a_run_that_is_given_up_is_no_report(world: World, change: dict[str, Any]) -> None:
    """Parked, cancelled or purged: told, and the next one of the same kind comes with the next day."""
    world.sweep()
    request = world.newest()
    world.made[request.request_id] = replace(request, **change)
    assert world.runs().settle() == SettledRuns(given_up=1)
    assert world.runs().settle() == SettledRuns()
    assert world.sweep() == 0
    world.now = NOW + DAY
    assert world.sweep() == 1
    assert mode_of(world.newest()) == REPORTING


def test_a_run_of_another_rule_is_no_report(world: World) -> None:
    """A run that found its rule changed has reported nothing."""
    world.sweep()
    world.finish(0, reason=RULE_CHANGED)
    world.runs().settle()
    assert world.store.list()[0].report is None


def test_what_runs_came_to_is_added_up(world: World) -> None:
    """Of runs: what went and what stayed because its age cannot be read. Of reports: the latter."""
    world.sweep()
    world.finish(7, unreadable=2, kept=1)
    assert world.runs().settle() == SettledRuns(finished=1, unreadable=2)
    world.now = NOW + 2 * DAY
    world.sweep()
    world.finish(5)
    assert world.runs().settle() == SettledRuns(finished=1, erased=5)
    (rule,) = world.store.list()
    assert rule.report is not None
    assert (rule.report.count, rule.report.unreadable, rule.report.kept) == (7, 2, 1)


def test_without_a_map_there_is_nothing_to_do(world: World) -> None:
    """Before the first map is put, and with one without rules."""
    world.targets = ()
    assert world.sweep() == 0
    world.put()
    assert world.sweep() == 0
    assert world.store.list() == []


# What a run covers


def request_of(subject: Subject, *only: str) -> ErasureRequest:
    family = RETENTION if subject.type == RETENTION else "native"
    return ErasureRequest("er_1", subject, "digest", family, NOW, NOW, NOW, only_targets=only)


def test_nobody_elses_request_covers_a_rule_and_a_run_covers_nothing_else(world: World) -> None:
    """A person's request covers the targets as if there were no rule, and a run its own target, over everybody."""
    world.put(SESSIONS, UPLOADS)
    without = parse_data_map(document()).targets
    assert targets_for(request_of(Subject("acme", "ann")), world.targets) == list(without)
    world.sweep()
    request = next(each for each in world.made.values() if each.only_targets == ("sessions",))
    (spec,) = targets_for(request, world.targets)
    assert spec.name == "sessions"
    assert spec.is_scan
    assert spec.goes_by_age
    assert spec.action == "report"
    assert spec.names() == frozenset()
    assert TargetSpec.from_json(spec.to_json()) == spec
    assert targets_for(replace(request, only_targets=()), world.targets) == []


@pytest.mark.parametrize("change", ["period", "place", "no rule", "no target", "record lost"])
def test_a_run_whose_rule_is_another_one_does_nothing(world: World, change: str) -> None:
    """The rule or its target has changed since, or is gone: the part is done at once, and says why."""
    world.sweep()
    request, targets = world.newest(), world.targets
    if change == "period":
        targets = parse_data_map(document({**SESSIONS, "older_than": "1d"})).targets
    elif change == "place":
        targets = parse_data_map(document(SESSIONS, prefix="S#")).targets
    elif change == "no rule":
        targets = parse_data_map(document()).targets
    elif change == "no target":
        targets = targets[1:]
    else:
        request = replace(request, subject=replace(request.subject, id=""))
    (unit,) = plan_units("job", [request], targets, scanning=[request.request_id])
    (task,) = unit.tasks
    assert task.parts == (Part(request.request_id, VERIFIED, reason=RULE_CHANGED),)
    assert task.spec.dynamodb is None
    assert TargetSpec.from_json(task.spec.to_json()) == task.spec


def test_reports_are_final_and_count_anew() -> None:
    """A report is an outcome of its own, also of nothing; what an earlier attempt had counted is not added."""
    told = outcome_of_erasure("t", "session", 0, at_least=False, done=REPORTED)
    assert told.outcome == REPORTED
    before = TargetOutcome("t", "session", "failed", 40, reason="not_finished")
    after = outcome_of_erasure("t", "session", 100, at_least=False, done=REPORTED)
    assert merge_outcomes([before], [after], {"t": REPORTED})[0].count == 100


def test_what_was_left_alone_is_told() -> None:
    """Things whose age cannot be read are in the outcome, with the reason, and survive its text form."""
    told = outcome_of_erasure("t", "session", 2, at_least=False, kept=Kept(1, unreadable=3))
    assert (told.outcome, told.kept, told.unreadable, told.reason) == ("blocked", 1, 3, RETENTION_UNKNOWN)
    assert TargetOutcome.from_dict(told.to_dict()) == told
