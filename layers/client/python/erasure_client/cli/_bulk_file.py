"""Files that list whom to erase: CSV with a header, or JSON lines. Read as a stream, each line checked by itself.

What could be understood in two ways is a problem, not a guess: an id that is cut at a comma, a first id that is taken
for the header, or a quote that is never closed would be somebody else's erasure, or nobody's. Texts about problems name
lines and rules, never what stands there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._people_arguments import SUBJECT_TYPES

CSV, JSONL = "csv", "jsonl"
FORMATS = (CSV, JSONL)
OWN_COLUMNS = ("user_id", "id")
"""Columns that are taken for the ids' without being named. A file that has both has to be told which it is."""

TYPE_COLUMNS = ("type", "subject_type")
"""What says of whom an id is. The second is a bulk's own word: its results, sorted out, may be the next one's input."""

MAX_ID_LENGTH = 256
MAX_LINE_LENGTH = 1 << 20
"""In characters. A longer one is no list of ids."""

_SUFFIXES = {".csv": CSV, ".jsonl": JSONL, ".ndjson": JSONL}
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# What bytes that are no UTF-8 are read as.
_UNDECODED = re.compile("[\udc80-\udcff]")
_OTHER_SEPARATORS = re.compile("[;\t|]")
# A first line that is an id and no header would be passed over: only what is named like ids is taken unasked. A small
# letter before ID: DAVID is somebody.
_NAMED_LIKE_IDS = re.compile(r"[A-Za-z]+[_ ](id|ID|Id)|[A-Za-z]*[a-z]I[dD]")
_NOT_LETTERS = re.compile(r"[\W_]+")
_TYPE_WORDS = frozenset({"type", "subjecttype"})


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is read. ``column``: that of the ids; ``None``: the one that is theirs beyond doubt."""

    format: str
    column: str | None = None
    subject_type: str = "user"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the input. ``line``: on which it begins, from 1. ``problem``: why it cannot be sent; type and id are
    empty then."""

    line: int
    subject_type: str
    id: str
    problem: str | None = None

    def digest(self) -> bytes:
        return hashlib.blake2b(f"{self.subject_type}\0{self.id}".encode(), digest_size=16).digest()


@dataclass(slots=True)
class Survey:
    """What a file holds. ``repeated``: digests of the subjects that it names more than once."""

    entries: int = 0
    different: int = 0
    duplicates: int = 0
    problems: dict[str, list[int]] = field(default_factory=dict)
    repeated: set[bytes] = field(default_factory=set)

    @property
    def invalid(self) -> int:
        return sum(map(len, self.problems.values()))

    def told(self) -> list[tuple[str, str]]:
        """Each rule that was broken, after all lines that break it."""
        return [(_ranges(lines), problem) for problem, lines in self.problems.items()]


def format_of(path: str) -> str | None:
    return _SUFFIXES.get(Path(path).suffix.lower())


def open_input(path: Path) -> io.BufferedReader:
    """Raises :class:`CommandError` for what is no file that can be read, and read again."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unusable(
            f"The input cannot be read: {error.strerror}.", "Name a file, or - for what is piped in."
        ) from None
    if not path.is_file():
        file.close()
        raise _unusable("The input is no file.", "Pipe it in, and name it as -.")
    return file


def digest_of(file: io.BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def survey(entries: Iterable[Entry]) -> Survey:
    """Go through all lines once. Remembers 16 bytes of each subject, and nothing of who it is."""
    found, seen = Survey(), set[bytes]()
    for entry in entries:
        found.entries += 1
        if entry.problem is not None:
            found.problems.setdefault(entry.problem, []).append(entry.line)
            continue
        digest = entry.digest()
        if digest in seen:
            found.duplicates += 1
            found.repeated.add(digest)
        seen.add(digest)
    found.different = len(seen)
    return found


def read_entries(file: io.BufferedReader, layout: Layout) -> Generator[Entry, None, None]:
    """All lines in their order, from the beginning; lines with nothing on them are none.

    Raises :class:`CommandError` for a file that cannot be taken apart into lines: none of it can be trusted then.
    Close it before the file.
    """
    file.seek(0)
    # Closing the wrapper would close the file.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _read_csv(text, layout) if layout.format == CSV else _read_json_lines(text, layout)
    finally:
        text.detach()


def _read_csv(text: io.TextIOWrapper, layout: Layout) -> Iterator[Entry]:
    rows = csv.reader(_lines(text), strict=True)
    last_line = 0
    try:
        header = next((row for row in rows if row), None)
        if header is None:
            return
        at, type_at = _columns(header, layout)
        last_line = rows.line_num
        for row in rows:
            line, last_line = last_line + 1, rows.line_num
            if not row:
                continue
            if row == header:
                yield _bad(line, "repeats the header")
            elif len(row) != len(header):
                yield _bad(line, f"must have as many fields as the header, which has {len(header)}")
            elif _UNDECODED.search("".join(row)):
                yield _bad(line, "is not UTF-8 text")
            elif row[at].strip() and row[at] != row[at].strip():
                # "acme, ann" would be the user " ann", of whom there is nothing: ann would be told to be gone.
                yield _bad(line, "the id begins or ends with a blank; if it really does, use JSON lines")
            else:
                yield _entry(line, row[at], layout.subject_type if type_at is None else row[type_at])
    except csv.Error:
        what = f"Line {last_line + 1} is not good CSV, so what follows it cannot be told apart. Nothing was sent."
        raise _unusable(what, "Mend it: is there a quote that is not closed?") from None


def _columns(header: Sequence[str], layout: Layout) -> tuple[int, int | None]:
    """The places of id and type. Names are not repeated: without a header, they would be somebody's ids."""
    if _UNDECODED.search("".join(header)):
        raise _unusable("The input is not UTF-8 text.", "Save it as UTF-8.")
    if len(header) == 1 and _OTHER_SEPARATORS.search(header[0]):
        raise _unusable("The columns are not separated by commas.", "Save it with commas.")
    own = [name for name in OWN_COLUMNS if name in header]
    name = layout.column
    if name is None and len(own) == 1:
        name = own[0]
    if name is None and len(header) == 1 and _NAMED_LIKE_IDS.fullmatch(header[0]):
        name = header[0]
    if name is None:
        what = "has both user_id and id" if own else "names no column user_id or id"
        raise _unusable(
            f"The first line {what}.", "Have the first line name the columns, and name the ids' one with --column."
        )
    for each in (name, *TYPE_COLUMNS):
        if header.count(each) > 1:
            raise _unusable("The first line names a column twice.", "Give each a name of its own.")
    if name not in header:
        raise _unusable(
            "The first line does not name the column of --column.", "The first line has to name the columns."
        )
    type_name, problem = _type_name([each for each in header if each != name])
    if problem is not None:
        raise _unusable(f"The first line {problem}.", "Have one column for it, named type, or none.")
    return header.index(name), None if type_name is None else header.index(type_name)


def _type_name(names: Iterable[str]) -> tuple[str | None, str | None]:
    """Which of the names is that of the types, or why that cannot be told: taken for something else, it would turn an
    organization's id into a user's."""
    found = [name for name in names if _NOT_LETTERS.sub("", name).casefold() in _TYPE_WORDS]
    if len(found) > 1:
        return None, "names the types twice"
    if found and found[0] not in TYPE_COLUMNS:
        return None, "has types under a name that is not quite type"
    return (found[0] if found else None), None


def _read_json_lines(text: io.TextIOWrapper, layout: Layout) -> Iterator[Entry]:
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        if _UNDECODED.search(line):
            yield _bad(number, "is not UTF-8 text")
            continue
        try:
            value = json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            yield _bad(number, "is not JSON")
            continue
        yield _json_entry(number, value, layout)


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands there: of a key that stands there twice, one would be lost."""


def _json_entry(line: int, value: Any, layout: Layout) -> Entry:
    if isinstance(value, str):
        return _entry(line, value, layout.subject_type)
    if not isinstance(value, _Pairs):
        return _bad(line, "must be text, or an object with id")
    found = dict(value)
    names = [name for name in (OWN_COLUMNS if layout.column is None else (layout.column,)) if name in found]
    if len(found) != len(value):
        return _bad(line, "has a key twice")
    if len(names) != 1:
        return _bad(line, "has both user_id and id: name one with --column" if names else "has no id")
    type_name, problem = _type_name([name for name in found if name != names[0]])
    if problem is not None:
        return _bad(line, problem)
    return _entry(line, found[names[0]], layout.subject_type if type_name is None else found[type_name])


def _entry(line: int, subject_id: Any, subject_type: Any) -> Entry:
    """By the service's rules for ids: what it would refuse must not stop a chunk of others."""
    if not isinstance(subject_type, str) or subject_type not in SUBJECT_TYPES:
        return _bad(line, f"the type must be one of {', '.join(SUBJECT_TYPES)}")
    if not isinstance(subject_id, str):
        return _bad(line, "the id must be text")
    if not subject_id or subject_id.isspace():
        return _bad(line, "the id is empty")
    if len(subject_id) > MAX_ID_LENGTH:
        return _bad(line, f"the id must have at most {MAX_ID_LENGTH} characters")
    if _FORBIDDEN.search(subject_id):
        return _bad(line, "the id must not hold control characters or unpaired surrogates")
    return Entry(line, subject_type, subject_id)


def _bad(line: int, problem: str) -> Entry:
    return Entry(line, "", "", problem)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE_LENGTH):
        number += 1
        if len(line) == MAX_LINE_LENGTH:
            raise _unusable(f"Line {number} is too long for a list of ids.", "Is it the right file?")
        yield line


def _unusable(what: str, advice: str) -> CommandError:
    return CommandError(what, advice, Exit.USAGE, "bad_input")


def _ranges(numbers: Sequence[int]) -> str:
    """``lines 3, 7-9``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] + 1 == number:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    words = ", ".join("-".join(map(str, part)) for part in parts)
    return f"line {words}" if len(numbers) == 1 else f"lines {words}"
