"""The two functions that run by the clock: what they answer, log and count, and that one step's failure is its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from erasure.domain.clock import ClockPolicy
from erasure.domain.sla import SlaFigures
from erasure.entry.sweeps import Sweeps, make_retention_sweep, make_sla_watch
from erasure.errors import UnavailableError, UnexpectedError
from erasure.services.retention_runs import SettledRuns
from erasure.services.second_look import SecondLookFigures
from erasure.services.sla_watch import SlaReport
from tests.unit.services.test_release_due import NOW, World, waiting_request
from tests.unit.translated_template import ROOT

CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)


class Log:
    """What a handler logs, as text."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, **fields: Any) -> None:
        self.lines.append(json.dumps({"message": text, **fields}))

    error = info


def schedule(function: str) -> Any:
    return json.loads((ROOT / "events" / function / "schedule.json").read_text(encoding="utf-8"))


def raising(error: Exception) -> Any:
    def fail(*_arguments: Any) -> Any:
        raise error

    return fail


class Steps:
    """A sweep whose steps answer numbers, with one waiting request; any step can be made to fail."""

    def __init__(self) -> None:
        self.world = World()
        self.world.add(waiting_request(1))
        self.clock = SimpleNamespace(ended_due=lambda _now, _limit: [], open_due=lambda _now, _limit: [])
        self.follow_ups = SimpleNamespace(take_up=lambda requests, _deadline: len(requests))
        self.second_looks = SimpleNamespace(look=lambda _deadline: SecondLookFigures(3, 2, 1))
        self.retention = SimpleNamespace(settle=lambda: SettledRuns(5, 4), start_due=lambda _deadline: 6)

    def sweeps(self) -> Sweeps:
        stores: Any = self.world
        others: Any = self
        return Sweeps(
            requests=stores,
            clock=others.clock,
            audit=stores,
            queue=stores,
            now=lambda: NOW,
            policy=ClockPolicy(patience=timedelta(minutes=1)),
            follow_ups=others.follow_ups,
            second_looks=others.second_looks,
            retention=others.retention,
        )


ALL = {
    "sent": 1,
    "released": 1,
    "purged": 0,
    "followed": 0,
    "rules_finished": 5,
    "rules_given_up": 4,
    "rules_started": 6,
    "looked": 3,
    "late": 2,
    "not_looked": 1,
}


@pytest.fixture(autouse=True)
def _namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tests")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "tests")


def test_the_sweep_answers_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule's event in, numbers out, in the log and in the metrics; and no id anywhere."""
    log: Any = Log()
    sweep = make_retention_sweep(Steps().sweeps(), log)
    assert sweep(schedule("retention_sweep"), CONTEXT) == ALL
    assert json.loads(log.lines[0])["extra"] == ALL
    metrics = json.loads(capsys.readouterr().out)
    counts = {name: metrics[name] for name in ("RequestsPurged", "SecondLooks", "LateSubjects", "RetentionRunsGivenUp")}
    assert counts == {"RequestsPurged": [0], "SecondLooks": [3], "LateSubjects": [2], "RetentionRunsGivenUp": [4]}
    assert "er_" not in "".join(log.lines)


FAILING: dict[str, tuple[tuple[str, ...], Callable[[Any], None]]] = {
    "release": (("sent", "released"), lambda steps: setattr(steps.world, "due", raising(UnavailableError("x")))),
    "purge": (("purged",), lambda steps: setattr(steps.clock, "ended_due", raising(ValueError("secret")))),
    "follow up": (("followed",), lambda steps: setattr(steps.follow_ups, "take_up", raising(UnavailableError("x")))),
    "settle": (
        ("rules_finished", "rules_given_up"),
        lambda steps: setattr(steps.retention, "settle", raising(KeyError("secret"))),
    ),
    "start": (("rules_started",), lambda steps: setattr(steps.retention, "start_due", raising(UnavailableError("x")))),
    "look": (
        ("looked", "late", "not_looked"),
        lambda steps: setattr(steps.second_looks, "look", raising(UnavailableError("x"))),
    ),
}


@pytest.mark.parametrize("step", FAILING)
def test_a_step_that_fails_keeps_no_other_from_running(step: str) -> None:
    """All the rest is done and told; the call fails after that, and says what kind of error it was and no more."""
    missing, damage = FAILING[step]
    steps, log = Steps(), Log()
    damage(steps)
    logger: Any = log
    with pytest.raises(UnexpectedError) as caught:
        make_retention_sweep(steps.sweeps(), logger)(schedule("retention_sweep"), CONTEXT)
    told = json.loads(log.lines[0])["extra"]
    assert told.keys() == ALL.keys() - set(missing)
    assert str(caught.value) in ("UnavailableError", "ValueError", "KeyError")
    assert "secret" not in "".join([str(caught.value), *log.lines])


def watched(report: SlaReport) -> Any:
    return SimpleNamespace(run=lambda _deadline: report)


def test_the_watch_counts_what_it_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Gauges of the open requests, and alarms by level."""
    figures = SlaFigures(open=7, held=2, overdue=1, oldest_age_seconds=90_000, seconds_to_deadline=-5)
    report = SlaReport(
        figures, looked_at=4, told=Counter({50: 3, 75: 2, 100: 1}), resent=8, parked=1, held=1, resumed=2
    )
    log: Any = Log()
    answer = make_sla_watch(watched(report), log)(schedule("sla_watch"), CONTEXT)
    assert answer == {"looked_at": 4, "alerts": 6, "resent": 8, "parked": 1, "held": 1, "resumed": 2}
    metrics = json.loads(capsys.readouterr().out)
    names = [metric["Name"] for metric in metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    assert {name: metrics[name][0] for name in names} == {
        "OpenRequests": 7,
        "HeldRequests": 2,
        "OverdueRequests": 1,
        "OldestRequestAge": 90_000,
        "TimeToDeadline": -5,
        "SlaAtRisk50": 3,
        "SlaAtRisk75": 2,
        "SlaAtRisk90": 0,
        "SlaBreached": 1,
        "RequestsResent": 8,
        "RequestsParked": 1,
    }


def test_a_watch_that_saw_no_index_tells_of_no_open_requests(capsys: pytest.CaptureFixture[str]) -> None:
    """No gauge, so that its alarm hears of the silence; and the call fails."""
    log: Any = Log()
    with pytest.raises(UnexpectedError, match="UnavailableError"):
        make_sla_watch(watched(SlaReport(errors=[UnavailableError("x")])), log)(schedule("sla_watch"), CONTEXT)
    metrics = json.loads(capsys.readouterr().out)
    assert "OpenRequests" not in metrics
    assert metrics["SlaBreached"] == [0]
