"""``erasure bulk``: everybody who is listed in a file, each exactly once, however often it is interrupted."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from types import FrameType
from typing import IO, Any

import click

from erasure_client.cli._bulk_doubt import Terms
from erasure_client.cli._bulk_file import (
    FORMATS,
    Layout,
    Survey,
    digest_of,
    format_of,
    open_input,
    read_entries,
    survey,
)
from erasure_client.cli._bulk_progress import Progress, make_progress
from erasure_client.cli._bulk_run import ACCEPTED, INVALID, REFUSED, BulkRun, Counts, new_run_id
from erasure_client.cli._command import erasure_command
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._journal import Heading, Journal
from erasure_client.cli._output import Output
from erasure_client.cli._people_arguments import When, scope_options, type_option, yes_option
from erasure_client.cli._requests import whereabouts
from erasure_client.cli._session import Session
from erasure_client.cli._times import counted, local
from erasure_client.errors import BrokenRule, ErasureClientError

STDIN = "-"
LARGEST_CHUNK = 1_000
GO_ON = "Run the same command again to go on."


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as it was given, by which a run is known again, and as it was meant."""

    text: str
    at: datetime


class _GivenWhen(When):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Moment):
            return value
        at = super().convert(value, param, ctx)
        # The service keeps milliseconds.
        return Moment(str(value), at.replace(microsecond=at.microsecond // 1000 * 1000))


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. ``input``: None is what is piped in."""

    input: Path | None
    results: Path
    layout: Layout
    chunk: int
    not_before: Moment | None
    categories: tuple[str, ...]
    organization_ids: tuple[str, ...]
    skip_bad_lines: bool
    yes: bool

    def terms(self) -> Terms:
        return Terms(self.categories or None, self.organization_ids or None)

    def asked(self, session: Session) -> dict[str, Any]:
        """All that decides what is sent, to whom, and as whose: by the names of options, for those who are told that
        one of them differs."""
        profile = session.profile
        return {
            "the address": (profile.url or "").rstrip("/"),
            "the tenant": _whose(profile.tenant, profile.key or ""),
            "--format": self.layout.format,
            "--column": self.layout.column,
            "--type": self.layout.subject_type,
            "--chunk": self.chunk,
            "--not-before": None if self.not_before is None else self.not_before.text,
            "--category": sorted(self.categories),
            "--organization": sorted(self.organization_ids),
            "--skip-bad-lines": self.skip_bad_lines,
        }


def _whose(tenant: str | None, key: str) -> list[str | None]:
    """The tenant; if none is named it is the key's, so the key must be the same one: by its id, which is no secret."""
    if tenant is not None:
        return [tenant, None]
    parts = key.split("_", 3)
    return [None, parts[2] if len(parts) == 4 else None]


@erasure_command("bulk", short_help="Erase all who are listed in a file.")
@click.argument("file", metavar="FILE")
@click.option(
    "--results",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a line for each line of FILE here. Its journal is kept beside it.",
)
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Of FILE; by default, by how its name ends.")
@click.option("--column", metavar="NAME", help="Where the ids are; by default user_id or id.")
@type_option
@click.option(
    "--chunk",
    type=click.IntRange(1, LARGEST_CHUNK),
    default=500,
    show_default=True,
    metavar="N",
    help="How many are sent in one call.",
)
@click.option(
    "--not-before",
    type=_GivenWhen(),
    metavar="WHEN",
    help="Begin then, not earlier: a time with its offset, or +90m, +36h, +7d.",
)
@scope_options
@click.option("--skip-bad-lines", is_flag=True, help="Leave out lines that cannot be sent, and say so in the results.")
@yes_option
def bulk(
    session: Session,
    out: Output,
    file: str,
    results: Path,
    format_: str | None,
    column: str | None,
    subject_type: str,
    chunk: int,
    not_before: Moment | None,
    categories: tuple[str, ...],
    organization_ids: tuple[str, ...],
    skip_bad_lines: bool,
    yes: bool,
) -> int:
    """Erase all who are listed in FILE: CSV whose first line names the columns, or JSON lines, such as
    {"id": "usr_1", "type": "user"} or "usr_1". FILE may be - for what is piped in.

    Lines that cannot be sent are told before anything is sent. Each id gets exactly one request, also if this is
    interrupted or killed: run the same command again, and it goes on where it was. Who stands there twice is told as
    a duplicate.

    The results are JSON lines, one for each line of FILE, in its order: line, subject_type, id, status (accepted,
    refused, duplicate, invalid), request_id, reason. They hold the ids, and so does the journal: keep both to
    yourself.
    """
    known_format = format_ or format_of(file)
    if known_format is None:
        raise CommandError("What kind of file is it?", "Give --format csv or --format jsonl.", Exit.USAGE, "usage")
    options = Options(
        None if file == STDIN else Path(file),
        results.absolute(),
        Layout(known_format, column, subject_type),
        chunk,
        not_before,
        categories,
        organization_ids,
        skip_bad_lines,
        yes,
    )
    client = session.client()
    with Journal.open(options.results) as journal:
        try:
            with _input(options, journal) as source:
                found = _prepare(session, out, options, journal, source)
                run = BulkRun(
                    client,
                    journal,
                    repeated=found.repeated,
                    size=options.chunk,
                    terms=options.terms(),
                    is_unchanged=_Unchanged(source),
                )
                with closing(read_entries(source, options.layout)) as entries:
                    return _work(out, options, run, found, entries)
        finally:
            if journal.heading is None:
                journal.forget()
                _copy_of(options.results).unlink(missing_ok=True)


@contextmanager
def _input(options: Options, journal: Journal) -> Iterator[BufferedReader]:
    """The input, as a file that can be read again. What is piped in is kept beside the results."""
    path = options.input
    if path is None:
        path = _copy_of(options.results)
        if journal.heading is None:
            _copy(click.get_binary_stream("stdin"), path)
        elif not sys.stdin.isatty():
            _check_same(click.get_binary_stream("stdin"), journal.heading)
    source = open_input(path)
    try:
        yield source
    finally:
        source.close()


def _copy_of(results: Path) -> Path:
    return results.with_name(f"{results.name}.input")


def _copy(stream: IO[bytes], path: Path) -> None:
    # It holds ids: made anew, so that nobody else may read it.
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(stream, file)
        file.flush()
        os.fsync(file.fileno())


def _check_same(stream: IO[bytes], heading: Heading) -> None:
    """What is piped in again must be what was copied; nothing at all is fine."""
    digest, is_empty = hashlib.sha256(), True
    while data := stream.read(1 << 20):
        digest.update(data)
        is_empty = False
    if not is_empty and digest.hexdigest() != heading.input_digest:
        raise _begun_otherwise(["the input"])


class _Unchanged:
    """Whether a file is still as it was when this was made."""

    def __init__(self, file: BufferedReader) -> None:
        self._descriptor = file.fileno()
        self._was = self._state()

    def __call__(self) -> bool:
        return self._state() == self._was

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns


def _prepare(session: Session, out: Output, options: Options, journal: Journal, source: BufferedReader) -> Survey:
    """Look at all of the input, ask, and write the heading. Nothing is sent before that."""
    asked, digest, heading = options.asked(session), digest_of(source), journal.heading
    if heading is not None:
        wrong = [name for name, value in asked.items() if heading.asked.get(name) != value]
        if heading.input_digest != digest:
            wrong.insert(0, "the input")
        if wrong:
            raise _begun_otherwise(wrong)
    found = survey(read_entries(source, options.layout))
    if found.problems and not options.skip_bad_lines:
        raise _bad_lines(found)
    if heading is None:
        if not found.different:
            raise CommandError("Nobody is listed in the input.", None, Exit.USAGE, "bad_input")
        moment = options.not_before
        if moment is not None and moment.at <= datetime.now(UTC):
            raise CommandError("The time of --not-before has passed.", None, Exit.USAGE, "usage")
        out.confirm(_question(session, options, found), yes=options.yes)
        journal.begin(
            Heading(new_run_id(), digest, found.entries, asked, None if moment is None else moment.at.isoformat())
        )
    else:
        out.note("This bulk was begun before: it goes on where it was.")
    return found


def _question(session: Session, options: Options, found: Survey) -> str:
    begins = "" if options.not_before is None else f", not before {local(options.not_before.at)}"
    head = (
        f"This erases the data of {counted(found.different, 'subject', 'subjects')}{begins}. It cannot be brought back."
    )
    lines = [head, *whereabouts(session)]
    if options.categories:
        lines.append(f"  of these categories only: {', '.join(options.categories)}")
    if options.organization_ids:
        lines.append(f"  within {counted(len(options.organization_ids), 'organization', 'organizations')} only")
    if found.duplicates or found.invalid:
        duplicates = counted(found.duplicates, "duplicate", "duplicates")
        lines.append(f"  left out: {duplicates}, {found.invalid:,} that cannot be sent")
    return "\n".join([*lines, "Go on?"])


def _work(out: Output, options: Options, run: BulkRun, found: Survey, entries: Iterator[Any]) -> int:
    run.take_up(entries)
    was_complete = run.counts.done == found.entries
    if not was_complete:
        progress = make_progress(out, found.entries, run.counts)
        with _Interrupts(out) as interrupts, progress:
            _send_all(out, run, entries, progress, interrupts)
            if interrupts.asked and run.counts.done < found.entries:
                raise CommandError("Stopped after the chunk at work.", GO_ON, Exit.INTERRUPTED, "interrupted")
    if run.counts.done != found.entries:
        raise CommandError("The input was changed while it was read.", None, Exit.CONFLICT, "conflict")
    return _summary(out, options, run.counts, was_complete=was_complete)


def _send_all(out: Output, run: BulkRun, entries: Iterator[Any], progress: Progress, interrupts: _Interrupts) -> None:
    try:
        for counts in run.chunks(entries):
            progress.show(counts)
            if interrupts.asked:
                return
    except ErasureClientError:
        out.note(f"Nothing is lost. {GO_ON}")
        raise
    except KeyboardInterrupt:
        raise CommandError("Stopped.", GO_ON, Exit.INTERRUPTED, "interrupted") from None


class _Interrupts:
    """The first Ctrl-C asks to stop after the chunk at work, the second one does so at once. Both are safe."""

    def __init__(self, out: Output) -> None:
        self.asked = False
        self._out = out
        self._before: Any = None

    def __enter__(self) -> _Interrupts:
        self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._out.note("Stopping after the chunk at work. Ctrl-C again stops at once.")


def _summary(out: Output, options: Options, counts: Counts, *, was_complete: bool) -> int:
    document: Mapping[str, Any] = {
        "results": str(options.results),
        "lines": counts.done,
        **counts.by_status,
        "sent": counts.sent,
        "was_complete": was_complete,
    }
    told = ", ".join(f"{number:,} {status}" for status, number in counts.by_status.items() if number)
    before = "This bulk was complete before: nothing was sent. " if was_complete else ""
    lines = [f"{before}{counted(counts.done, 'line', 'lines')}: {told}.", f"One line for each: {options.results}"]
    if counts.by_status[ACCEPTED]:
        lines.append("Accepted is not gone: `erasure sla` tells how many are open.")
    out.result(document, "\n".join(lines))
    return Exit.PARTLY if counts.by_status[REFUSED] or counts.by_status[INVALID] else Exit.DONE


def _bad_lines(found: Survey) -> CommandError:
    return CommandError(
        f"{found.invalid:,} of {found.entries:,} lines cannot be sent. Nothing was sent.",
        "Mend them, or leave them out with --skip-bad-lines.",
        Exit.USAGE,
        "bad_input",
        errors=[BrokenRule(lines, rule) for lines, rule in found.told()],
    )


def _begun_otherwise(what: Sequence[str]) -> CommandError:
    return CommandError(
        f"These results were begun with something else: {', '.join(what)}. Nothing was sent.",
        "Run it as it was begun, or with another --results file.",
        Exit.CONFLICT,
        "conflict",
    )


COMMANDS: tuple[click.Command, ...] = (bulk,)
