"""``erasure sla`` and ``erasure retention``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from erasure_client.cli._command import erasure_command
from erasure_client.cli._output import Output, clean, document_of, plain, table
from erasure_client.cli._session import Session
from erasure_client.cli._times import moment, now, number, relative, span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erasure_client import RetentionRule, SlaFigures


@erasure_command("sla")
def sla(session: Session, out: Output) -> None:
    """Show how the promise is kept: what is open, at risk, late, and when the next is due."""
    figures = session.client().sla()
    out.result(document_of(figures), _sla_view(figures))


def _sla_view(figures: SlaFigures) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    at = now()
    rows = Table.grid(padding=(0, 2))
    rows.add_row("promise", f"within {figures.sla_hours} h")
    parts = ", ".join(f"{number(getattr(figures, each))} {each}" for each in ("requested", "started", "held"))
    rows.add_row("open", f"{number(figures.open)} ({parts})")
    rows.add_row("late", Text(number(figures.overdue), "bold red" if figures.overdue else "green"))
    levels = ", ".join(f"{number(count)} past {level} %" for level, count in sorted(figures.at_risk.items()))
    rows.add_row("at risk", Text(levels, "yellow" if any(figures.at_risk.values()) else ""))
    if figures.oldest_age_seconds:
        rows.add_row("oldest", f"{span(figures.oldest_age_seconds)} old")
    if figures.next_due_at is not None:
        rows.add_row("next due", moment(figures.next_due_at, at))
    ended = f"{number(figures.finished)} of the newest: {number(figures.finished_within)} in time, "
    rows.add_row("finished", f"{ended}{number(figures.finished_late)} late")
    note = [Text("There are more than could be counted: these are of the newest 20,000 of each state.", "yellow")]
    return Group(rows, *(note if figures.more else []))


@erasure_command("retention")
def retention(session: Session, out: Output) -> None:
    """Show the rules by which data goes when it is old, and what came of them. Needs a platform key."""
    rules = session.client().retention()
    if not rules and not out.as_json:
        out.note("The data map has no rules of retention.")
        return
    out.result({"rules": document_of(rules)}, _retention_view(rules))


def _retention_view(rules: tuple[RetentionRule, ...]) -> RenderableType:
    at = now()
    rows = table(
        "TARGET", "OLDER THAN", "STATE", "LAST", "COUNT", "NEXT", right=("COUNT",), whole=("OLDER THAN", "STATE")
    )
    for rule in rules:
        last = rule.last_run or rule.last_report
        kind = "erased" if rule.last_run is not None else "would go"
        rows.add_row(
            plain(rule.target),
            clean(rule.older_than),
            clean(rule.state),
            plain("" if last is None else f"{kind} {relative(last.at, at)}"),
            "" if last is None else number(last.count),
            plain("" if rule.next_at is None else relative(rule.next_at, at)),
        )
    return rows


COMMANDS: tuple[click.Command, ...] = (sla, retention)
