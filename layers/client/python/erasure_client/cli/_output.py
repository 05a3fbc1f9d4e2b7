"""What is printed, and where: results on stdout, all else on stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from erasure_client.cli._exits import CommandError, Exit

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

Document: TypeAlias = Mapping[str, Any] | Sequence[Any]

_UNSEEN = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"}
"""Unicode's categories of what moves the cursor, turns the direction of writing, or is not seen at all."""


def clean(text: object) -> str:
    """Text from elsewhere as it may be shown: what a terminal would obey, or nobody would see, is escaped."""
    return "".join(_escaped(each) if unicodedata.category(each) in _UNSEEN else each for each in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: object, style: str = "") -> Text:
    """Text from elsewhere for a line or a cell: cleaned, without markup, on one line, with … where it is cut off."""
    from rich.text import Text

    return Text(clean(text), style=style, no_wrap=True, overflow="ellipsis")


def table(*columns: str, right: Sequence[str] = (), whole: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table. ``right``: columns of numbers. ``whole``: columns that are never cut off, such as ids that have
    to be copied. Give :func:`plain` for the cells of the others, which are cut where it gets narrow."""
    from rich.table import Table

    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
    for each in columns:
        # no_wrap is for those that must not shrink: rich takes the room that it lacks from the others.
        made.add_column(each, justify="right" if each in right else "left", no_wrap=each in whole or each in right)
    return made


def document_of(result: object) -> Any:
    """A result of the client for ``--json``: as the service has told it where that is known (``raw``), else its
    fields; times in ISO 8601, UTC, with milliseconds."""
    if isinstance(result, datetime):
        return result.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(result, date):
        return result.isoformat()
    if is_dataclass(result) and not isinstance(result, type):
        raw = getattr(result, "raw", None)
        if raw:
            return document_of(raw)
        return {each.name: document_of(getattr(result, each.name)) for each in fields(result) if each.name != "raw"}
    if isinstance(result, Mapping):
        return {str(name): document_of(value) for name, value in result.items()}
    if isinstance(result, list | tuple):
        return [document_of(each) for each in result]
    return result


class Output:
    """One command's. ``is_interactive``: whether somebody can be asked; None: look at the terminal."""

    def __init__(self, *, as_json: bool = False, is_interactive: bool | None = None) -> None:
        self.as_json = as_json
        self._is_interactive = is_interactive

    @cached_property
    def console(self) -> Console:
        """Writes to stdout."""
        return _console(stderr=False)

    @cached_property
    def error_console(self) -> Console:
        """Writes to stderr: progress, questions, remarks."""
        return _console(stderr=True)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at stdout, and no program."""
        return sys.stdout.isatty() and not self.as_json

    @property
    def is_interactive(self) -> bool:
        """Whether somebody can be asked."""
        return self._is_interactive if self._is_interactive is not None else sys.stdin.isatty() and sys.stderr.isatty()

    def result(self, document: Document, human: RenderableType) -> None:
        """The command's result: the document with ``--json``, else what is for people; a str is printed as it is, but
        cleaned."""
        if self.as_json:
            self._write(json.dumps(document, indent=2))
        else:
            self._show(human)

    def stream(self, document: Document, human: RenderableType) -> None:
        """One of many results: the document on a line of its own with ``--json``."""
        if self.as_json:
            self._write(json.dumps(document))
        else:
            self._show(human)

    def note(self, text: str, style: str = "") -> None:
        """A remark for people, on stderr; none with ``--json``, where stderr is kept for an error's document."""
        if not self.as_json:
            self.error_console.print(_lines(text, style), soft_wrap=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before what cannot be undone, unless ``yes`` was given. Raises :class:`CommandError` if the answer is
        no, or nobody can be asked."""
        if yes:
            return
        if not self.is_interactive:
            raise CommandError(
                "This asks first, and there is no terminal to ask on. Nothing was done.",
                "Give --yes if it is meant.",
                Exit.USAGE,
                "not_confirmed",
            )
        try:
            meant = click.confirm("\n".join(clean(line) for line in question.split("\n")), err=True)
        except click.Abort:
            self.note("")
            raise CommandError("Nothing was done.", None, Exit.INTERRUPTED, "interrupted") from None
        if not meant:
            raise CommandError("Nothing was done.", None, Exit.REFUSED, "not_confirmed")

    def error(self, error: CommandError) -> int:
        """Tell what went wrong, on stderr. Returns the exit code."""
        if self.as_json:
            click.echo(json.dumps(error.document()), err=True)
            return error.exit_code
        from rich.text import Text

        told = [Text.assemble(("error: ", "bold red"), clean(error.message))]
        rules = [clean(f"{each.field}: {each.rule}") for each in error.errors]
        told += [Text(f"  {rule}") for rule in rules if rule != clean(error.message)]
        if error.call_id and error.exit_code == Exit.NOT_AVAILABLE:
            told.append(Text(f"  the call's id, for the service's logs: {clean(error.call_id)}"))
        if error.next:
            told.append(Text.assemble(("next: ", "bold"), clean(error.next)))
        for line in told:
            self.error_console.print(line, soft_wrap=True)
        return error.exit_code

    def _show(self, human: RenderableType) -> None:
        if isinstance(human, str):
            self.console.print(_lines(human), soft_wrap=True)
        else:
            self.console.print(human)

    def _write(self, line: str) -> None:
        # JSON in ASCII: nothing in it is obeyed by a terminal, and every encoding has it.
        click.echo(line)


def _lines(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text("\n".join(clean(line) for line in text.split("\n")), style=style)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
