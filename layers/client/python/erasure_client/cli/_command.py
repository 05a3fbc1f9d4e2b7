"""What all commands have in common: ``--json``, errors as text and exit code, a session and an output."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import update_wrapper
from typing import Any, TypeAlias

import click

from erasure_client.cli._exits import CommandError, command_error_of
from erasure_client.cli._output import Output
from erasure_client.cli._session import Session, pass_session
from erasure_client.errors import ErasureClientError

CommandFunction: TypeAlias = Callable[..., int | None]
_NOTICED = 1.0
"""Seconds without a sign of life that nobody minds."""
_HELP_WIDTH = 150
"""Of what a group says of a command: it is folded, never cut off."""


class CommandGroup(click.Group):
    """A group that tells all of what its commands are for, and which of them is meant by a name that it has not."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            alike = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not alike or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{alike[0]}'?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.write_commands(ctx, formatter, "Commands", self.list_commands(ctx))

    def write_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter, heading: str, names: Iterable[str]
    ) -> None:
        """A section of the help, with what each of the commands is for."""
        found = [(name, self.get_command(ctx, name)) for name in names]
        rows = [(name, command.get_short_help_str(_HELP_WIDTH)) for name, command in found if command is not None]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


class _Repetitions(logging.Handler):
    """Says that a call is sent again, where people would wonder why nothing happens."""

    def __init__(self, out: Output) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        seconds = getattr(record, "seconds", 0.0)
        if seconds >= _NOTICED:
            self._out.note(f"The service gives no good answer. Trying again in {seconds:.0f} s …", "dim")


@contextmanager
def _repetitions_told(out: Output) -> Iterator[None]:
    log, handler = logging.getLogger("erasure_client"), _Repetitions(out)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def erasure_command(name: str | None = None, **attributes: Any) -> Callable[[CommandFunction], click.Command]:
    """Make a command of ``function(session, out, **options) -> exit code or None``, decorated with click's options.
    ``attributes``: of :class:`click.Command`. Its help is the function's docstring."""

    def decorate(function: CommandFunction) -> click.Command:
        @pass_session
        def run(session: Session, /, as_json: bool, **values: Any) -> int:
            out = Output(as_json=as_json, is_interactive=session.is_interactive)
            try:
                with _repetitions_told(out):
                    return int(function(session, out, **values) or 0)
            except CommandError as error:
                return out.error(error)
            except ErasureClientError as error:
                return out.error(command_error_of(error))

        called: CommandFunction = update_wrapper(run, function)
        option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text for people.")
        return click.command(name, cls=click.Command, **attributes)(option(called))

    return decorate
