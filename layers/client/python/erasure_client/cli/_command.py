"""What all commands have in common: ``--json``, errors as text and exit code, a session and an output."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeAlias

import click

from erasure_client.cli._exits import CommandError, command_error_of
from erasure_client.cli._output import Output
from erasure_client.cli._session import Session, pass_session
from erasure_client.errors import ErasureClientError

CommandFunction: TypeAlias = Callable[..., int | None]


def erasure_command(name: str | None = None, **attributes: Any) -> Callable[[CommandFunction], click.Command]:
    """Make a command of ``function(session, out, **options) -> exit code or None``, decorated with click's options.
    ``attributes``: of :class:`click.Command`. Its help is the function's docstring."""

    def decorate(function: CommandFunction) -> click.Command:
        @pass_session
        def run(session: Session, /, as_json: bool, **values: Any) -> int:
            out = Output(as_json=as_json, is_interactive=session.is_interactive)
            try:
                return int(function(session, out, **values) or 0)
            except CommandError as error:
                return out.error(error)
            except ErasureClientError as error:
                return out.error(command_error_of(error))

        called: CommandFunction = update_wrapper(run, function)
        option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text for people.")
        return click.command(name, cls=click.Command, **attributes)(option(called))

    return decorate
