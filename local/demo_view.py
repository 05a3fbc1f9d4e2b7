"""How the demo looks: headings, tables and progress bars. It decides nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from local.inventory import Change, Thing
from local.sample import Person
from local.watching import JobView

_WIDTH_FOR_PLACES = 108
_WIDTH_WITHOUT_TERMINAL = 112
_STATUS = {
    "pending": "[dim]waiting[/]",
    "running": "[yellow]erasing[/]",
    "erased": "[cyan]verifying[/]",
    "verified": "[green]✓ verified[/]",
    "failed": "[red]✗ failed[/]",
}
_OUTCOME = {
    "erased": "[green]✓ erased[/]",
    "already_absent": "[dim]✓ already absent[/]",
    "detached": "[green]✓ detached[/]",
    "failed": "[red]✗ failed[/]",
}


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target of the data map and what the independent reader found there of the person."""

    name: str
    category: str
    place: str
    found: Counter[str]
    erased_now: bool


@dataclass(frozen=True, slots=True)
class PersonRow:
    """How many things of somebody there were and are, and how many of them changed."""

    label: str
    before: int
    after: int
    changed: int
    expected: str


class DemoView:
    def __init__(self, console: Console | None = None) -> None:
        width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
        self.console = console or Console(width=width, highlight=False)
        self._step = 0
        self._began = time.monotonic()

    def title(self) -> None:
        text = Text.from_markup(
            "A person deletes their data: through the API, down to every version of every file, "
            "checked afterwards by a reader that shares no code with the service."
        )
        self.console.print(Panel(text, title="[bold]the erasure service[/]", border_style="blue", padding=(1, 3)))

    def step(self, title: str) -> None:
        self._step += 1
        seconds = time.monotonic() - self._began
        self.console.print()
        self.console.rule(
            f"[bold blue]{self._step}[/]  [bold]{title}[/]  [dim]{seconds:.0f} s[/]", align="left", style="blue"
        )

    def say(self, text: str) -> None:
        self.console.print(Padding(Text.from_markup(text), (0, 0, 0, 2)))

    @contextmanager
    def working(self, text: str) -> Iterator[Callable[[str], None]]:
        """A spinner with a text that changes; each text is left behind with the seconds that it took."""
        began, current = time.monotonic(), text

        def change(following: str) -> None:
            nonlocal began, current
            self._done(current, began)
            began, current = time.monotonic(), following
            status.update(f"{following} …")

        with self.console.status(f"{text} …") as status:
            yield change
        self._done(current, began)

    def _done(self, text: str, began: float) -> None:
        self.say(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]")

    @contextmanager
    def counting(self, names: Sequence[str]) -> Iterator[Callable[[str, int, int], None]]:
        """One bar for each name; the callable takes name, done and total."""
        columns = (_spinner(), TextColumn("{task.description}"), _bar(36))
        progress = Progress(TextColumn(" "), *columns, MofNCompleteColumn(), TimeElapsedColumn(), console=self.console)
        with progress:
            tasks = {name: progress.add_task(name, total=None) for name in names}
            yield lambda name, done, total: progress.update(tasks[name], completed=done, total=total)

    def found(self, person: Person, rows: Sequence[TargetRow]) -> None:
        wide = self.console.width >= _WIDTH_FOR_PLACES
        table = _table("target", *(["where"] if wide else []), "category")
        # On a narrow terminal names give way, numbers never.
        for column in ("items", "versions", "markers", "uploads"):
            table.add_column(column, justify="right", no_wrap=True, min_width=len("13,200"))
        table.add_column("will be", no_wrap=True)
        for row in rows:
            numbers = [row.found[kind] for kind in ("item", "version", "delete marker", "upload")]
            fate = "[bold red]erased[/]" if row.erased_now else "kept"
            style = "" if row.erased_now else "dim"
            cells = [f"{number:,}" if number else "[dim]·[/]" for number in numbers]
            places = [row.place] if wide else []
            table.add_row(row.name, *places, row.category, *cells, fate, style=style)
        self.say(f"Of [bold]{escape(str(person))}[/] there is:")
        self._show(table)

    def request(self, text: str) -> None:
        self._marked("[bold cyan]→[/]", text)

    def answer(self, text: str) -> None:
        self._marked("[bold green]←[/]", text)

    def _marked(self, mark: str, text: str) -> None:
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(mark, escape(text))
        self.console.print(Padding(line, (0, 0, 0, 2)))

    def _show(self, table: Table) -> None:
        self.console.print(Padding(table, (1, 0, 0, 2)))

    @contextmanager
    def fan_out(self, totals: Mapping[str, int]) -> Iterator[Callable[[JobView], None]]:
        """A bar for each target of the job; the callable takes the job as it is now."""
        progress = Progress(
            TextColumn("  {task.description:<15}"),
            _bar(28),
            TextColumn("{task.fields[erased]:>6,} of {task.fields[found]:<6,}"),
            TextColumn("{task.fields[status]}"),
            console=self.console,
        )
        path = Progress(TextColumn(" "), _spinner(), TextColumn("{task.description}"), console=self.console)

        def show(job: JobView) -> None:
            for task in job.tasks:
                status = _STATUS["running" if task.running else task.status]
                if task.rounds:
                    status += f" [yellow](round {task.rounds + 1})[/]"
                # Where nothing was found, the bar is empty until that is verified.
                completed = task.erased if totals.get(task.target) else task.status == "verified"
                progress.update(bars[task.target], completed=completed, erased=task.erased, status=status)
            path.update(steps, description=states_text(job))

        bars = {
            name: progress.add_task(name, total=found or 1, erased=0, found=found, status=_STATUS["pending"])
            for name, found in totals.items()
        }
        steps = path.add_task("queued", total=None)
        with Live(Group(path, progress), console=self.console, refresh_per_second=8):
            yield show
            path.update(steps, total=1, completed=1)
        if not self.console.is_terminal:
            self.console.print()  # there, a live display ends without the end of its line

    def outcomes(self, outcomes: Sequence[Mapping[str, Any]], found: Mapping[str, int]) -> None:
        table = _table("target", "outcome")
        for column in ("found before", "confirmed as deleted"):
            table.add_column(column, justify="right", no_wrap=True)
        for outcome in outcomes:
            label = _OUTCOME.get(outcome["outcome"], outcome["outcome"])
            reason = f" [red]{escape(str(outcome['reason']))}[/]" if outcome.get("reason") else ""
            count = ("≥ " if outcome.get("at_least") else "") + f"{int(outcome['count']):,}"
            table.add_row(outcome["target"], label + reason, f"{found.get(outcome['target'], 0):,}", count)
        self._show(table)
        self.console.print()

    def people(self, rows: Sequence[PersonRow]) -> None:
        table = _table("whose")
        for column in ("before", "after", "changed"):
            table.add_column(column, justify="right", no_wrap=True, min_width=len("17,153"))
        table.add_column("expected", no_wrap=True, min_width=len("nothing left"))
        for row in rows:
            changed = f"[red]{row.changed:,}[/]" if row.changed else "[green]0[/]"
            table.add_row(escape(row.label), f"{row.before:,}", f"{row.after:,}", changed, row.expected)
        self._show(table)

    def wrong(self, left: Sequence[Thing], changed: Sequence[Change]) -> None:
        """The first few of what should not be."""
        for thing in left[:5]:
            self.say(f"[red]still there:[/] {thing.kind} in {thing.container}")
        for change in changed[:5]:
            self.say(f"[red]{change.what}:[/] {change.thing.kind} of {escape(str(change.thing.owner))}")

    def audit(self, entries: Sequence[Mapping[str, Any]]) -> None:
        table = _table("#", "event", "at (UTC)", "of the one before", "digest")
        for entry in entries:
            digests = (f"{entry[name][:16]}…" for name in ("previous_digest", "digest"))
            at = entry["at"][: len("2026-01-01T12:00:00")].replace("T", " ")
            table.add_row(str(entry["sequence"]), entry["event"], at, *digests)
        self._show(table)
        self.console.print()

    def verdict(self, problems: Sequence[str]) -> None:
        seconds = time.monotonic() - self._began
        if problems:
            text, style = "\n".join(f"✗ {problem}" for problem in problems), "red"
        else:
            text, style = "Nothing of the person is left. Nobody else lost or gained a byte.", "green"
        self.console.print()
        self.console.print(Panel(f"[bold {style}]{text}[/]\n[dim]{seconds:.0f} s in all[/]", border_style=style))


def states_text(job: JobView) -> str:
    """The states of the state machine that the job has been in: ``Plan ▸ Erase ×2 ▸ Verify``."""
    names = [f"[bold]{name}[/]" + (f" ×{count}" if count > 1 else "") for name, count in job.states.items()]
    return " ▸ ".join(names) if names else "queued"


def _spinner() -> SpinnerColumn:
    return SpinnerColumn("dots", finished_text="[green]✓[/]")


def _bar(width: int) -> BarColumn:
    """Without rich's red, which looks like something going wrong."""
    return BarColumn(width, complete_style="blue", finished_style="green", pulse_style="blue")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
