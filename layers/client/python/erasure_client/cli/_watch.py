"""Follow an erasure: a live view on a terminal, a line for each change elsewhere."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output, clean, document_of
from erasure_client.cli._render import (
    AT_WORK,
    advice,
    due_text,
    heading,
    request_view,
    said,
    standing,
    target_note,
    targets_table,
)
from erasure_client.cli._session import Session
from erasure_client.cli._times import counted, local, now, number, span
from erasure_client.errors import NeedsAttentionError, StoppedError

if TYPE_CHECKING:
    from erasure_client import ErasureRequest, Target

_ENDED = frozenset({"erased", "detached", "redacted", "retained", "blocked", "already_absent", "reported"})
_KEPT = frozenset({"retained", "blocked"})
_STEPS_BEFORE = {"erasing": 1, "verifying": 2}
_STEPS = 3
"""Of a target to its end: it is begun, erased as far as is known, verified."""
_HEAD_LINES = 13
"""Of the view and the terminal's prompt, beside the targets' rows."""
_FEWEST_ROWS = 4


def exit_code(request: ErasureRequest) -> Exit:
    """Of a request that nobody waits for any more. Done is what is known to be: each target is gone, or tells what
    stays of it by law or lock."""
    if request.is_finished:
        is_told = bool(request.targets) and all(each.is_gone or each.state in _KEPT for each in request.targets)
        return Exit.DONE if is_told and not request.attention and not request.late_arrivals else Exit.PARTLY
    if request.attention or request.state in ("held", "cancelled"):
        return Exit.PARTLY
    return Exit.STILL_RUNNING


def watch_request(session: Session, out: Output, request_id: str, timeout: float | None = None) -> int:
    """Follow one to its end; seconds. Returns the exit code; raises what :meth:`client.requests.wait` raises, but for
    requests that need attention, are held or cancelled: of those the last look is shown."""
    client = session.client()
    is_screen = out.is_terminal and not out.console.is_dumb_terminal
    follower: _Lines | _Screen = _Screen(out.console) if is_screen else _Lines(out)
    try:
        with follower:
            client.requests.wait(request_id, timeout=timeout, on_progress=follower.show)
    except (NeedsAttentionError, StoppedError):
        pass
    except KeyboardInterrupt:
        raise CommandError(
            "Stopped watching. The erasure is still going on.",
            f"Watch again with `erasure status {request_id} --watch`.",
            Exit.INTERRUPTED,
            "interrupted",
            request_id=request_id,
        ) from None
    seen = follower.seen
    if seen is None:
        seen = client.requests.get(request_id)
    if text := advice(seen):
        out.note(f"next: {text}")
    return exit_code(seen)


class _Lines:
    """A line for each change; with ``--json`` the request as it is then."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.seen: ErasureRequest | None = None

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, request: ErasureRequest) -> None:
        before, self.seen, at = self.seen, request, now()
        if self._out.as_json:
            self._out.stream(document_of(request), "")
            return
        stamp = local(at, seconds=True)
        known = {} if before is None else {target.name: target for target in before.targets}
        lines = [
            f"{stamp}  {_target_line(target)}"
            for target in request.targets
            if known.get(target.name) != target and (before is not None or target.state != "waiting")
        ]
        if before is None or standing(before, at) != standing(request, at):
            lines.append(f"{stamp}  {said(standing(request, at)).plain}")
        if lines:
            self._out.stream({}, "\n".join(lines))


def _target_line(target: Target) -> str:
    note = target_note(target)
    count = f", {number(target.count)}" if target.count else ""
    return clean(f"{target.name}: {target.state.replace('_', ' ')}{count}" + (f" ({note})" if note else ""))


class _Screen:
    """A view that stays in its place, and is drawn anew between the looks, since time goes on."""

    def __init__(self, console: Console) -> None:
        self.seen: ErasureRequest | None = None
        self._console = console
        self._spinner = Spinner("line" if console.options.ascii_only else "dots")
        self._live = Live(get_renderable=self._view, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> None:
        self._live.start(refresh=True)

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self.seen is not None:
            self._console.print(request_view(self.seen, now()))

    def show(self, request: ErasureRequest) -> None:
        self.seen = request

    def _view(self) -> RenderableType:
        request, at = self.seen, now()
        if request is None:
            return Text("Asking the service …")
        parts: list[RenderableType] = [heading(request), said(standing(request, at)), "", self._bar(request, at)]
        if request.targets:
            rows, rest = self._rows(request.targets)
            frame = self._frame()
            parts += ["", targets_table(rows, [frame if each.state in AT_WORK else " " for each in rows])]
            parts += [Text(f"  and {rest}", "dim")] if rest else []
        return Group(*parts, "", Text("Ctrl-C stops watching, not the erasure.", "dim"))

    def _frame(self) -> str:
        """Of the spinner, as it looks now."""
        frames = self._spinner.frames
        return frames[int(self._console.get_time() * 1000 / self._spinner.interval) % len(frames)]

    def _bar(self, request: ErasureRequest, at: datetime) -> Table:
        ended = sum(target.state in _ENDED for target in request.targets)
        age = span((at - request.requested_at).total_seconds())
        grid = Table.grid(padding=(0, 2))
        if request.targets:
            of = f"{ended} of {counted(len(request.targets), 'target', 'targets')} at their end"
            bar = Table.grid(padding=(0, 2))
            done = sum(_steps_done(target) for target in request.targets)
            # Rich's own colour, a red, looks like something going wrong.
            bar.add_row(ProgressBar(_STEPS * len(request.targets), done, 24, complete_style="blue"), of)
            grid.add_row("progress", bar)
        grid.add_row("age", age)
        grid.add_row("due", due_text(request, at))
        return grid

    def _rows(self, targets: tuple[Target, ...]) -> tuple[list[Target], str]:
        """As many as there is room for, those that are not at their end first; and what the others are."""
        room = max(_FEWEST_ROWS, self._console.height - _HEAD_LINES)
        if len(targets) <= room:
            return list(targets), ""
        urgency = {"failed": 0, "erasing": 1, "verifying": 1, "waiting": 2}
        order = sorted(targets, key=lambda target: urgency.get(target.state, 3))
        rest = Counter(clean(target.state.replace("_", " ")) for target in order[room - 1 :])
        return order[: room - 1], ", ".join(f"{number(count)} {state}" for state, count in rest.items())


def _steps_done(target: Target) -> int:
    return _STEPS if target.state in _ENDED else _STEPS_BEFORE.get(target.state, 0)
