"""How a bulk is watched: a bar on a terminal, a line now and then elsewhere, nothing for programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from erasure_client.cli._bulk_run import ACCEPTED, REFUSED, Counts
from erasure_client.cli._output import Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""


class Progress(Protocol):
    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, counts: Counts) -> None: ...


def make_progress(out: Output, total: int, counts: Counts) -> Progress:
    """``counts``: what was done before."""
    if out.as_json:
        return _Silent()
    return _BarProgress(out, total, counts) if out.error_console.is_terminal else LineProgress(out, total, counts)


class _Silent:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, counts: Counts) -> None: ...


class LineProgress:
    """A line every :data:`LINE_SECONDS`."""

    def __init__(self, out: Output, total: int, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._total, self._before, self._clock = out, total, counts.done, clock
        self._began_at = self._told_at = clock()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, counts: Counts) -> None:
        now = self._clock()
        if now - self._told_at < LINE_SECONDS:
            return
        self._told_at = now
        rate = (counts.done - self._before) / (now - self._began_at)
        left = (self._total - counts.done) / rate
        self._out.note(
            f"{counts.done:,} of {self._total:,} lines, {_shares(counts)}, {rate:,.0f} a second, {_duration(left)} left"
        )


class _BarProgress:
    def __init__(self, out: Output, total: int, counts: Counts) -> None:
        self._bar = _bar(out)
        self._task = self._bar.add_task("", total=total, completed=counts.done, shares=_shares(counts), rate="")
        self._before, self._began_at = counts.done, time.monotonic()

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, counts: Counts) -> None:
        rate = (counts.done - self._before) / max(0.001, time.monotonic() - self._began_at)
        self._bar.update(self._task, completed=counts.done, shares=_shares(counts), rate=f"{rate:,.0f}/s")


def _bar(out: Output) -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        # Rich's own colour, a red, looks like something going wrong.
        BarColumn(bar_width=None, complete_style="blue", finished_style="green"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[shares]}"),
        console=out.error_console,
    )


def _shares(counts: Counts) -> str:
    return f"{counts.by_status[ACCEPTED]:,} accepted, {counts.by_status[REFUSED]:,} refused"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
