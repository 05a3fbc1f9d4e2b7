"""The benchmark runner: every bench is run, a miss is told and not hidden, a broken bench does not stop the others."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import botocore.session
import moto
import pytest

from tests.bench import __main__ as runner
from tests.bench import capacity, prices
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
    assert {"accept_backend", "accept_calls", "batch", "cold_start", "job"} <= set(names)
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


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"pk": {"S": "ab"}}, 4),
        ({"é": {"S": "é"}}, 4),
        ({"n": {"N": "1234"}}, 4),
        ({"b": {"BOOL": True}}, 2),
        ({"l": {"L": [{"S": "ab"}, {"N": "1"}]}}, 1 + 3 + (1 + 2) + (1 + 2)),
        ({"m": {"M": {"k": {"S": "v"}}}}, 1 + 3 + (1 + 1 + 1)),
        ({"s": {"SS": ["ab", "c"]}}, 4),
    ],
)
def test_sizes_follow_the_documented_rules(item: dict[str, Any], size: int) -> None:
    """Names and values in UTF-8, two digits a byte, three bytes for a list or map and one for each of its entries."""
    assert capacity.size_of(item) == size


def test_units_are_by_the_larger_form_of_an_item() -> None:
    """A kilobyte costs one unit, a byte more two, whichever of both forms has it; an equal index entry none."""
    small, large = {"a": {"S": "x" * 1023}}, {"a": {"S": "x" * 1024}}
    assert [capacity.kilobytes(None, small), capacity.kilobytes(small, large), capacity.kilobytes(large, None)] == [
        1,
        2,
        2,
    ]
    assert [capacity.index_units(small, dict(small)), capacity.index_units(None, small)] == [0, 1]
    assert [capacity.read_units(4096, consistent=True), capacity.read_units(4097, consistent=False)] == [1, 1]


def test_meter_counts_transactions_twice_and_moved_index_entries_twice() -> None:
    """Of a table with one index, the units of a put, of a transaction that moves the item in the index, and of what is
    read of it."""
    with moto.mock_aws():
        client: Any = botocore.session.Session().create_client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        names = {"pk": "HASH", "state": "HASH"}
        client.create_table(
            TableName="Requests",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-state",
                    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        )
        meter = capacity.Meter(client)
        item = {"pk": {"S": "1"}, "state": {"S": "open"}}
        client.put_item(TableName="Requests", Item=item)
        assert meter.take()[0] == {("Requests", "write"): 1, ("Requests", "index"): 1}
        put = {"TableName": "Requests", "Item": {**item, "state": {"S": "closed"}}}
        client.transact_write_items(TransactItems=[{"Put": put}])
        assert meter.take()[0] == {("Requests", "write"): 2, ("Requests", "index"): 4}
        client.get_item(TableName="Requests", Key={"pk": {"S": "1"}})
        assert meter.take() == ({("Requests", "read"): 0.5}, {("Requests", "GetItem"): 1})


def test_cost_is_by_the_price_table() -> None:
    """The irreducible of the typical erasure is what its units and lists cost, $143 a million."""
    dollars = prices.dollars_a_million(prices.IRREDUCIBLE)
    assert dollars == pytest.approx({"write units": 125, "read units": 3.125, "lists": 15})
