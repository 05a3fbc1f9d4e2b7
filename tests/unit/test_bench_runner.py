"""The benchmark runner: every bench is run, a miss is told and not hidden, a broken bench does not stop the others."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as runner
from tests.bench.bench_cold_start import has_unchecked_bytecode
from tests.bench.cold_start.artefacts import load_builder


def a_row(goal: object, verdict: str) -> dict[str, Any]:
    return {"goal": goal, "what": f"what {goal}", "measured": 2.5, "bound": 2, "ratio": 1.25, "verdict": verdict}


def bench(*rows: dict[str, Any]) -> Any:
    return types.SimpleNamespace(run=lambda: list(rows))


def broken() -> Any:
    def run() -> None:
        raise ZeroDivisionError

    return types.SimpleNamespace(run=run)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results" / "latest.json")
    return tmp_path / "results" / "latest.json"


def offer(monkeypatch: pytest.MonkeyPatch, **benches: Any) -> None:
    monkeypatch.setattr(runner, "bench_names", lambda: sorted(benches))
    monkeypatch.setattr(
        runner.importlib, "import_module", lambda name: benches[name.removeprefix("tests.bench.bench_")]
    )


def test_every_bench_is_found() -> None:
    """The runner knows each bench file, and each has a run()."""
    names = runner.bench_names()
    assert {"accept_calls", "cold_start", "job"} <= set(names)
    assert all("def run(" in (runner.HERE / f"bench_{name}.py").read_text() for name in names)


def test_rows_are_shown_and_written_by_goal(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table and the file hold every row, goals in order, rows without a goal last."""
    offer(monkeypatch, a=bench(a_row("-", "info"), a_row(10, "pass")), b=bench(a_row(2, "pass")))
    assert runner.main([]) == 0
    rows = json.loads(results.read_text())["rows"]
    assert [(row["goal"], row["bench"]) for row in rows] == [(2, "b"), (10, "a"), ("-", "a")]
    shown = capsys.readouterr().out
    assert shown.index("what 2") < shown.index("what 10") < shown.index("what -")


@pytest.mark.parametrize(("verdict", "strict"), [("pass", 0), ("info", 0), ("skipped", 0), ("miss", 1)])
@pytest.mark.usefixtures("results")
def test_misses_fail_strict_runs_only(monkeypatch: pytest.MonkeyPatch, verdict: str, strict: int) -> None:
    """A miss is an exit code of 1 with --strict and of 0 without."""
    offer(monkeypatch, a=bench(a_row(1, verdict)))
    assert runner.main([]) == 0
    assert runner.main(["--strict"]) == strict


def test_broken_bench_is_a_row(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench that raises is told as failed, and the others still run."""
    offer(monkeypatch, a=broken(), b=bench(a_row(2, "pass")))
    assert runner.main(["--strict"]) == 1
    verdicts = {row["bench"]: row["verdict"] for row in json.loads(results.read_text())["rows"]}
    assert verdicts == {"a": "failed", "b": "pass"}


def test_only_chosen_benches_run(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names choose; an unknown one is wrong usage and nothing is measured."""
    offer(monkeypatch, a=broken(), b=bench(a_row(2, "pass")))
    assert runner.main(["b", "--strict"]) == 0
    results.unlink()
    with pytest.raises(SystemExit) as stopped:
        runner.main(["c"])
    assert stopped.value.code == 2
    assert not results.exists()


def test_bytecode_is_told_from_what_is_checked_or_missing(tmp_path: Path) -> None:
    """Goal 2's count takes neither a missing nor a timestamped .pyc for one that is used as it is."""
    import compileall

    module = tmp_path / "module.py"
    module.write_text("answer = 42\n")
    assert not has_unchecked_bytecode(module)
    compileall.compile_file(str(module), quiet=1)
    assert not has_unchecked_bytecode(module)
    load_builder().compile_all(tmp_path, "/opt/python")
    assert has_unchecked_bytecode(module)
