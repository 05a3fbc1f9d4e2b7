"""How the operator's commands show what they have found, to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def print_figures(figures: Mapping[str, object]) -> None:
    """A line for each: its name, and what it is. What is not there is shown as ``-``."""
    width = max(map(len, figures), default=0)
    for name, value in figures.items():
        print(f"{name:<{width}}  {_text(value)}")


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """``rows``: by column. The columns are as wide as what stands in them."""
    lines = [list(columns), *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    return "-" if value is None else str(value)
