"""What a bulk has to know of itself when it is started again: a journal beside its results.

Every id gets exactly one request, wherever the process ends, because of the order of what is written:

1. The heading: an id of the run, the digest of the input, what was asked for. Before anything is sent.
2. For each chunk an *intent*: which entries, under which idempotency key, since when. Written through to the disk
   (``fsync``) **before** the chunk is sent.
3. The chunk's results, one line for each entry of the input, written through **before** the next intent.

So at most one chunk is in doubt: that of the last intent, if not all of its results are there. Of all others it is
known what became of them. Started again, a run

* cuts off a torn last line of the journal: what it would have said was not sent,
* takes results back to where the chunk in doubt begins, and sends that again: the same entries, under the same key,
  so that the service answers as it did the first time. It remembers keys for 24 hours; of a chunk that is older than
  :data:`REMEMBERED`, its requests are looked for first (:mod:`erasure_client.cli._bulk_doubt`), and only the others
  are sent, under a new key. What was found is in the new intent, so that this can be repeated as well,
* goes on behind it.

A run that is complete has as many results as the input has entries. The journal stays, so that it can tell.

Two processes cannot work on one run: the journal is locked (``flock``) for as long as it is open. Both files hold ids,
and are their owner's only (0600).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from erasure_client.cli._exits import CommandError, Exit

REMEMBERED = timedelta(hours=23)
"""How long after a chunk was first sent its key may be relied upon: the service's 24 hours, less one to be sure."""

CLOCKS_APART = timedelta(minutes=15)
"""How far this machine's clock may be from the service's, or from what it was."""

_VERSION = 1
_BEGINNING = b'{"journal":'
_AGAIN = "Run it again with another --results file, or as it was begun."


@dataclass(frozen=True, slots=True)
class Heading:
    """``asked``: everything that decides what is sent, so that it is not continued with something else.
    ``not_before``: the moment that was meant when the run began, which a repeated "in two days" would not name."""

    run_id: str
    input_digest: str
    entries: int
    asked: Mapping[str, Any]
    not_before: str | None


@dataclass(frozen=True, slots=True)
class Intent:
    """Entries ``first`` to ``through`` (not included) of the input, counted from 0, are about to be sent.

    ``subjects_digest``: of the subjects among them, in order. ``first_at``, ``at``: when they were sent first, and
    last, under this key. ``not_before``: that the call names. ``found``: those of the subjects, by position, that need
    not be sent, with their requests."""

    chunk: int
    first: int
    through: int
    subjects_digest: str
    key: str
    first_at: datetime
    at: datetime
    not_before: str | None = None
    found: Mapping[int, str] = field(default_factory=dict)

    def is_remembered(self, now: datetime) -> bool:
        """Whether the service still knows the key. Raises :class:`CommandError` if the clock was set back: nobody can
        tell then how long ago that was."""
        if now < self.first_at - CLOCKS_APART:
            raise CommandError(
                "This machine's clock is behind the time at which the last chunk was sent. Nothing was sent.",
                "Set the clock, and run the same command again.",
            )
        return now - self.first_at < REMEMBERED

    def to_line(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "first_at": self.first_at.isoformat(),
            "at": self.at.isoformat(),
            "found": {str(position): request_id for position, request_id in self.found.items()},
        }

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Intent:
        """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what is none."""
        return cls(
            chunk=int(line["chunk"]),
            first=int(line["first"]),
            through=int(line["through"]),
            subjects_digest=str(line["subjects_digest"]),
            key=str(line["key"]),
            first_at=_moment(line["first_at"]),
            at=_moment(line["at"]),
            not_before=line["not_before"],
            found={int(position): str(request_id) for position, request_id in line["found"].items()},
        )


class Journal:
    """The journal of the bulk whose results are in ``results``, and those results. Open it with :meth:`open`.

    ``heading``: ``None`` until the run has begun. ``last``: the last intent.
    """

    def __init__(self, results: Path, descriptor: int) -> None:
        self.results = results
        self.path = journal_path(results)
        self.heading: Heading | None = None
        self.last: Intent | None = None
        self._journal = descriptor
        self._results: int | None = None

    @classmethod
    def open(cls, results: Path) -> Journal:
        """Lock it, and read what there is. Raises :class:`CommandError` if another process has it, if it cannot be
        read, and if there are results without it: they are another program's, and are not written over."""
        if results.exists() and not journal_path(results).exists():
            raise _foreign("The results' file is there already, and is not that of a bulk.")
        try:
            descriptor = os.open(journal_path(results), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommandError(f"The journal beside the results cannot be opened: {error.strerror}.") from None
        journal = cls(results, descriptor)
        try:
            _lock(descriptor, journal.path)
            journal._read()
        except BaseException:
            journal.close()
            raise
        return journal

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for descriptor in (self._results, self._journal):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._results, self._journal = None, -1

    def begin(self, heading: Heading) -> None:
        """Write the heading; from then on, the run may be continued."""
        if self.results.exists():
            raise _foreign("The results' file is there already, and is not that of this bulk.")
        _append(self._journal, [{"journal": _VERSION, **asdict(heading)}])
        _sync_directory(self.path.parent)
        self.heading = heading

    def forget(self) -> None:
        """Remove a journal that has nothing in it."""
        if self.heading is None:
            self.path.unlink(missing_ok=True)

    def intend(self, intent: Intent) -> None:
        """Write an intent through to the disk: what it names may be sent when this has returned."""
        _append(self._journal, [intent.to_line()])
        self.last = intent

    def take_back(self) -> int:
        """Take results back to where what is known ends, and return how many lines those are: all entries before the
        chunk in doubt, if there is one, else all that there are. Raises :class:`CommandError` if some are missing."""
        descriptor, last = self._results_descriptor(), self.last
        with self.results.open("rb") as file:
            kept = sum(1 for line in file if line.endswith(b"\n"))
            if last is not None and kept < last.first:
                raise _foreign("Results are missing that this bulk has written.")
            if last is not None and kept < last.through:
                kept = last.first
            file.seek(0)
            size = sum(map(len, islice(file, kept)))
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
        return kept

    def read_results(self) -> Iterator[dict[str, Any]]:
        """The results that there are. Raises :class:`CommandError` for what was not written by a bulk."""
        self._results_descriptor()
        with self.results.open("rb") as file:
            for line in file:
                yield _read_line(line)

    def append_results(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Write results through to the disk."""
        _append(self._results_descriptor(), results)

    def _results_descriptor(self) -> int:
        if self._results is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            try:
                self._results = os.open(self.results, flags, 0o600)
            except OSError as error:
                raise CommandError(f"The results' file cannot be opened: {error.strerror}.") from None
            _sync_directory(self.results.parent)
        return self._results

    def _read(self) -> None:
        with open(self._journal, "rb", closefd=False) as file:
            data = file.read()
        if not data.startswith(_BEGINNING) and not _BEGINNING.startswith(data):
            raise _foreign("What should be the journal beside the results is another file.")
        lines, whole = data.splitlines(keepends=True), 0
        for number, line in enumerate(lines, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                if number < len(lines):
                    raise _foreign("The journal beside the results was changed.") from None
                break
            whole += len(line)
        os.ftruncate(self._journal, whole)
        os.lseek(self._journal, 0, os.SEEK_END)

    def _take(self, line: Mapping[str, Any]) -> None:
        if self.heading is not None:
            self.last = Intent.of(line)
            return
        values = dict(line)
        if values.pop("journal") != _VERSION:
            raise _foreign("The journal beside the results is another version's.")
        self.heading = Heading(**values)


def journal_path(results: Path) -> Path:
    return results.with_name(f"{results.name}.journal")


def _lock(descriptor: int, path: Path) -> None:
    busy = CommandError(
        "Another process is at work on these results.", "Wait for it to end.", Exit.CONFLICT, "conflict"
    )
    try:
        import fcntl
    except ImportError:
        raise CommandError("bulk needs locks on files, which this system does not have.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed the file since it was opened here.
        if os.fstat(descriptor).st_ino != path.stat().st_ino:
            raise busy
    except (BlockingIOError, FileNotFoundError):
        raise busy from None


def _append(descriptor: int, lines: Iterable[Mapping[str, Any]]) -> None:
    data = memoryview("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode())
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError as error:
        raise CommandError(
            f"The results, or the journal beside them, cannot be written: {error.strerror}.",
            "Make room, and run the same command again: it goes on where it was.",
        ) from None


def _sync_directory(path: Path) -> None:
    """A file that was made is in its directory for good."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_line(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _foreign("The results' file was changed.")
    return value


def _foreign(what: str) -> CommandError:
    return CommandError(what, _AGAIN, Exit.CONFLICT, "conflict")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
