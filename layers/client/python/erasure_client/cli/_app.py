"""The command ``erasure``, and where its commands are. They are imported when they are used."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from erasure_client._version import __version__
from erasure_client.cli._command import CommandGroup
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output
from erasure_client.cli._profiles import complete_profile
from erasure_client.cli._session import Session

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Signing in": {"login": "_login", "profiles": "_login"},
    "Erasures": {
        "request": "_requests",
        "status": "_requests",
        "list": "_requests",
        "cancel": "_requests",
        "retry": "_requests",
        "expedite": "_requests",
        "audit": "_requests",
        "preview": "_requests",
        "bulk": "_bulk",
    },
    "People": {"hold": "_people", "suppress": "_people", "users": "_people"},
    "The service": {
        "sla": "_figures",
        "retention": "_figures",
        "doctor": "_doctor",
        "data-map": "_setup",
        "keys": "_setup",
        "replay": "_operator",
        "operator": "_operator",
        "completion": "_setup",
    },
}
"""Headings of the help, each with its commands, and the modules in whose ``COMMANDS`` they are."""

_MODULES = {name: module for section in SECTIONS.values() for name, module in section.items()}


_HELP_ASKED_FOR = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What newer versions of click raise for a group without a command."""


class _App(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = _MODULES.get(cmd_name)
        return None if module is None else commands(module).get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, section in SECTIONS.items():
            self.write_commands(ctx, formatter, heading, section)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run, and exit with one of :class:`Exit`."""
        given = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Of a terminal that does not know a letter, or a broken id, nothing may come to an end half-way.
                stream.reconfigure(errors="backslashreplace")
        out = Output(as_json="--json" in given)
        try:
            code = super().main(given, prog_name, **{**extra, "standalone_mode": False})
        except click.UsageError as error:
            code = _misused(error, out)
        except click.ClickException as error:
            code = out.error(CommandError(error.format_message(), None, Exit.REFUSED, "failed"))
        except click.Abort:
            code = out.error(CommandError("Interrupted.", _LOOK_FIRST, Exit.INTERRUPTED, "interrupted"))
        except OSError as error:
            code = out.error(
                CommandError(f"{error.strerror or 'A file cannot be used'}.", _LOOK_FIRST, Exit.REFUSED, "failed")
            )
        except Exception as error:  # its text and its trace may show what must not be shown
            what = f"This program has a defect ({type(error).__name__})."
            code = out.error(CommandError(what, _LOOK_FIRST, Exit.REFUSED, "defect"))
        sys.exit(code if isinstance(code, int) else Exit.DONE)


_OF_COMMANDS = ("--json", "--yes", "-y")
"""What most commands take, and no group does."""

_LOOK_FIRST = "Look with `erasure list` what was requested, before you run it again."


def _misused(error: click.UsageError, out: Output) -> int:
    if isinstance(error, _HELP_ASKED_FOR):
        error.show()
        return Exit.USAGE
    path = error.ctx.command_path if error.ctx is not None else "erasure"
    # On one line: click puts what there is to choose from below each other.
    message, advice = " ".join(error.format_message().split()), f"See `{path} --help`."
    is_early = error.ctx is not None and isinstance(error.ctx.command, click.Group)
    if is_early and isinstance(error, click.NoSuchOption) and error.option_name in _OF_COMMANDS:
        option = error.option_name
        message, advice = f"{option} goes behind the command.", f"Write `{path} COMMAND {option}`."
    return out.error(CommandError(message, advice, Exit.USAGE, "usage"))


def commands(module: str) -> dict[str, click.Command]:
    """The commands of a module of this package, by name."""
    found = importlib.import_module(f"erasure_client.cli.{module}").COMMANDS
    return {command.name: command for command in found}


@click.group(cls=_App, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=complete_profile,
    help="Use this profile. See `erasure profiles list`.",
)
@click.version_option(__version__, prog_name="erasure", message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context, profile: str | None) -> None:
    """Erase people's data, see how far it is, and see to the service that does it.

    What is erased cannot be brought back. Every command has --help, and --json for programs.
    """
    session = context.ensure_object(Session)
    session.profile_name = profile or session.profile_name
    context.call_on_close(session.close)
