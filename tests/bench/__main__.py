"""``python -m tests.bench [NAME …] [--strict] [--list]``: measure, print one table, write bench-results/latest.json.

Every module ``tests/bench/bench_<name>.py`` has ``run() -> list[dict]``: rows with ``goal``, ``what``, ``measured``,
``bound``, ``ratio`` and ``verdict`` (``pass``, ``miss``, ``info`` or ``skipped``). A bench that fails is a row too, and
the others still run. Exit codes: 0, also with misses; with ``--strict`` 1 if anything was missed or failed; 2 for wrong
usage. The table goes to standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent.parent / "bench-results" / "latest.json"
COLUMNS = ("goal", "what", "measured", "bound", "ratio", "verdict")
STYLES = {"pass": "green", "miss": "bold red", "failed": "bold red", "info": "cyan", "skipped": "yellow"}
Row = dict[str, Any]


def bench_names() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure against the goals.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benches (default: all)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal was missed or a bench failed")
    parser.add_argument("--list", action="store_true", help="print the names of the benches")
    options = parser.parse_args(arguments)
    known = bench_names()
    if options.list:
        print("\n".join(known))
        return 0
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    rows = [row for name in options.names or known for row in measure(name)]
    rows.sort(key=_by_goal)
    show(rows)
    write(rows)
    return int(options.strict and any(row["verdict"] in ("miss", "failed") for row in rows))


def measure(name: str) -> list[Row]:
    """The rows of one bench; each gets the bench's name as ``bench``."""
    began = time.monotonic()
    print(f"{name} …", end="", file=sys.stderr, flush=True)
    try:
        rows = [dict(row) for row in importlib.import_module(f"tests.bench.bench_{name}").run()]
    except Exception as error:
        traceback.print_exc()
        what = f"{name} failed: {type(error).__name__}"
        rows = [{"goal": "-", "what": what, "measured": None, "bound": None, "ratio": None, "verdict": "failed"}]
    print(f" {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return [{**row, "bench": name} for row in rows]


def _by_goal(row: Row) -> tuple[bool, int]:
    goal = str(row["goal"])
    return (not goal.isdigit(), int(goal) if goal.isdigit() else 0)


def show(rows: Sequence[Row]) -> None:
    table = Table(title="Goals and what was measured")
    for column in COLUMNS:
        right = column in ("goal", "measured", "bound", "ratio")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        style = STYLES.get(str(row["verdict"]), "")
        table.add_row(*(_shown(row[column]) for column in COLUMNS[:-1]), f"[{style}]{row['verdict']}[/]")
    # A table in a pipe or a log is as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)


def write(rows: Sequence[Row]) -> None:
    machine = {"python": platform.python_version(), "processor": platform.machine(), "system": platform.system()}
    content = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **machine, "rows": list(rows)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
