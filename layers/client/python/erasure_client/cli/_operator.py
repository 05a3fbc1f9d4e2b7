"""``erasure operator``, ``replay`` and the part of ``data-map`` that works in the account: handed over to the service's
own operator program, if that is installed in the same environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TypeAlias

import click

from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output
from erasure_client.cli._session import Session, pass_session

GROUP, NAME = "erasure_client.operator", "main"
"""The entry point by which the service's package tells of its program."""

Program: TypeAlias = Callable[[Sequence[str]], int | None]

STACK_OPTION = "--stack-name"
STACK_VARIABLE = "REGISTRY_TABLE"
"""If it is set, the environment says which stack is meant, table by table."""

_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


def operator_command(name: str, *before: str, text: str) -> click.Command:
    """A command that hands its arguments over as they are, behind ``before``. Its help is the program's."""

    @click.command(
        name,
        help=text,
        short_help=text,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @pass_session
    def command(session: Session, arguments: tuple[str, ...]) -> int:
        try:
            return hand_over(session, [*before, *arguments])
        except CommandError as error:
            return Output(as_json="--json" in arguments).error(error)

    return command


def hand_over(session: Session, arguments: Sequence[str]) -> int:
    """Run the program; returns its exit code. Raises :class:`CommandError` if it is not installed."""
    program = _program()
    given = [*arguments]
    if not arguments:
        given = ["--help"]
    elif _lacks_stack(session, arguments):
        profile = session.profile
        if profile.stack_name:
            given += [STACK_OPTION, profile.stack_name]
            # The profile's stack is where the profile says, not one of its name elsewhere.
            os.environ.update(dict.fromkeys(_REGION_VARIABLES, profile.region) if profile.region else {})
    try:
        return program(given) or Exit.DONE
    except SystemExit as end:  # how argparse ends after its help, and after wrong usage
        return end.code if isinstance(end.code, int) else Exit.DONE if end.code is None else Exit.REFUSED


def _program() -> Program:
    found = next(iter(entry_points(group=GROUP, name=NAME)), None)
    try:
        if found is not None:
            program: Program = found.load()
            return program
    except ImportError as error:
        raise CommandError(
            f"The service's operator program is installed, but not {error.name or 'all that it needs'}.",
            "Install the project itself with its extra operator, from a clone: pip install '.[operator]'.",
            Exit.USAGE,
            "not_installed",
        ) from None
    raise CommandError(
        "This works in the account, with the service's operator program, which is not installed here.",
        "Install the project itself beside the client, from a clone: pip install '.[operator]'.",
        Exit.USAGE,
        "not_installed",
    )


def _lacks_stack(session: Session, arguments: Sequence[str]) -> bool:
    """Whether nobody but the profile says which stack is meant."""
    if {"-h", "--help"} & set(arguments):
        return False
    if STACK_VARIABLE in os.environ and session.profile_name is None:
        return False
    # The program takes abbreviations.
    options = [argument.partition("=")[0] for argument in arguments]
    return not any(len(option) > 2 and STACK_OPTION.startswith(option) for option in options)


replay = operator_command(
    "replay", "replay", text="After tables or buckets were restored, erase again whom was erased since."
)
operator = operator_command("operator", text="All else that works in the account: the operator program.")
MAP_COMMANDS: tuple[click.Command, ...] = (
    operator_command("validate", "data-map", "validate", text="Say what is wrong with a data map, by line and path."),
    operator_command("check", "data-map", "check", text="Hold a data map against the account that it names."),
    operator_command("parameters", "data-map", "parameters", text="The stack's parameters that a data map needs."),
    operator_command("diff", "data-map", "diff", text="What a data map would change, and what that means."),
)
"""Of ``erasure data-map``."""

COMMANDS: tuple[click.Command, ...] = (replay, operator)
