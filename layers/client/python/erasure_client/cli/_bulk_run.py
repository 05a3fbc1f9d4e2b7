"""A bulk at work: from entries of the input to requests, chunk by chunk. The order of what is written, and why every id
gets exactly one request, is told in :mod:`erasure_client.cli._journal`."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from erasure_client import Subject
from erasure_client._bulk import refusal_of
from erasure_client.cli._bulk_doubt import Terms, requests_of
from erasure_client.cli._bulk_file import Entry
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._journal import CLOCKS_APART, Intent, Journal
from erasure_client.errors import InvalidRequestError, UnexpectedAnswerError

if TYPE_CHECKING:
    from erasure_client import Disposition, ErasureClient

ACCEPTED, REFUSED, DUPLICATE, INVALID = "accepted", "refused", "duplicate", "invalid"
STATUSES = (ACCEPTED, REFUSED, DUPLICATE, INVALID)
MOST_ENTRIES = 20
"""A chunk holds so many times its number of subjects in entries, at most: the others are duplicates."""


class Fate(NamedTuple):
    """What became of a subject."""

    status: str
    request_id: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Counts:
    """Entries that have a result, by status. ``sent``: of them, those that this process has asked the service for."""

    by_status: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    sent: int = 0

    @property
    def done(self) -> int:
        return sum(self.by_status.values())


class _Once(NamedTuple):
    """The first line that names a subject which others name again."""

    line: int
    fate: Fate


@dataclass(slots=True)
class _Chunk:
    """``own``: by place among ``entries``, the position among ``subjects``, or None of what is not sent."""

    first: int
    entries: list[Entry] = field(default_factory=list)
    own: list[int | None] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)

    @property
    def through(self) -> int:
        return self.first + len(self.entries)

    def subjects_digest(self) -> str:
        digest = hashlib.sha256()
        for subject in self.subjects:
            for text in (subject.type, subject.id or ""):
                data = text.encode()
                digest.update(len(data).to_bytes(4, "big") + data)
        return digest.hexdigest()


class BulkRun:
    """``repeated``: digests of subjects that stand in the input more than once. ``size``: subjects in a chunk.
    ``is_unchanged``: whether the input is still what it was."""

    def __init__(
        self,
        client: ErasureClient,
        journal: Journal,
        *,
        repeated: set[bytes],
        size: int,
        terms: Terms,
        is_unchanged: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counts = Counts()
        self._client = client
        self._journal = journal
        self._repeated = repeated
        self._size = size
        self._terms = terms
        self._is_unchanged = is_unchanged
        self._now = now
        self._once: dict[bytes, _Once] = {}
        if journal.heading is None:
            raise ValueError("the journal has no heading")
        self._run_id, self._not_before = journal.heading.run_id, journal.heading.not_before

    def take_up(self, entries: Iterator[Entry]) -> None:
        """Go through the entries that have their results already, and count these. Raises :class:`CommandError` if the
        results are not those of the entries."""
        kept = self._journal.take_back()
        for _, result in zip(range(kept), self._journal.read_results(), strict=False):
            entry = next(entries, None)
            if entry is None or result.get("line") != entry.line or (result.get("id") or "") != entry.id:
                raise _changed("The results' file was changed.")
            fate = Fate(str(result.get("status")), result.get("request_id"), result.get("reason"))
            if fate.status not in self.counts.by_status:
                raise _changed("The results' file was changed.")
            self.counts.by_status[fate.status] += 1
            if fate.status in (ACCEPTED, REFUSED):
                self._remember(entry, fate)

    def chunks(self, entries: Iterator[Entry]) -> Iterator[Counts]:
        """Send what is left, chunk by chunk; tells the counts after each. The iteration may be left at any time.

        Raises :class:`CommandError` and :class:`~erasure_client.errors.ErasureClientError`; also then, the run can be
        taken up again."""
        last = self._journal.last
        doubt = last if last is not None and last.through > self.counts.done else None
        number = 0 if last is None else last.chunk + (doubt is None)
        first = self.counts.done
        while chunk := self._next_chunk(entries, first, doubt):
            if not self._is_unchanged():
                raise _changed("The input was changed while it was read.")
            fates = self._fates(chunk, number, doubt) if chunk.subjects else []
            self._journal.append_results(self._results(chunk, fates))
            first, number, doubt = chunk.through, number + 1, None
            yield self.counts

    def _next_chunk(self, entries: Iterator[Entry], first: int, doubt: Intent | None) -> _Chunk | None:
        """The next entries; if a chunk is in doubt, exactly its."""
        chunk, here = _Chunk(first), set[bytes]()
        most = MOST_ENTRIES * self._size if doubt is None else doubt.through - first
        for entry in entries:
            chunk.entries.append(entry)
            chunk.own.append(None)
            if entry.problem is None and not self._is_known(entry, here):
                chunk.own[-1] = len(chunk.subjects)
                chunk.subjects.append(Subject(entry.subject_type, entry.id))
            if len(chunk.entries) == most or (doubt is None and len(chunk.subjects) == self._size):
                break
        if doubt is not None and chunk.subjects_digest() != doubt.subjects_digest:
            raise _changed("The chunk that is in doubt is not what the journal says.")
        return chunk if chunk.entries else None

    def _is_known(self, entry: Entry, here: set[bytes]) -> bool:
        """Whether it stood before, in an earlier chunk or in this one (``here``)."""
        digest = entry.digest()
        if digest not in self._repeated:
            return False
        if digest in self._once or digest in here:
            return True
        here.add(digest)
        return False

    def _fates(self, chunk: _Chunk, number: int, doubt: Intent | None) -> Sequence[Fate]:
        intent = self._intent(chunk, number, doubt)
        self._journal.intend(intent)
        try:
            return self._send(chunk, intent)
        except InvalidRequestError as error:
            if not self._is_too_late(intent, error):
                raise
        # The service does not know the key, or it would have answered as before: nothing was made of this chunk. Its
        # time has come, so it may begin.
        self._not_before = None
        intent = self._new_intent(chunk, number)
        self._journal.intend(intent)
        return self._send(chunk, intent)

    def _intent(self, chunk: _Chunk, number: int, doubt: Intent | None) -> Intent:
        if doubt is None:
            return self._new_intent(chunk, number)
        if doubt.is_remembered(self._now()):
            return replace(doubt, at=self._now())
        found = requests_of(self._client, doubt, chunk.subjects, self._terms)
        return self._new_intent(chunk, number, {**doubt.found, **found})

    def _new_intent(self, chunk: _Chunk, number: int, found: Mapping[int, str] | None = None) -> Intent:
        now = self._now()
        return Intent(
            chunk=number,
            first=chunk.first,
            through=chunk.through,
            subjects_digest=chunk.subjects_digest(),
            key=f"{self._run_id}-{number}-{uuid.uuid4().hex[:8]}",
            first_at=now,
            at=now,
            not_before=self._not_before,
            found=found or {},
        )

    def _send(self, chunk: _Chunk, intent: Intent) -> Sequence[Fate]:
        """By position among the chunk's subjects."""
        fates = {position: Fate(ACCEPTED, request_id) for position, request_id in intent.found.items()}
        left = [position for position in range(len(chunk.subjects)) if position not in fates]
        if left:
            told = self._ask_for([chunk.subjects[position] for position in left], intent)
            fates.update(zip(left, told, strict=True))
            self.counts.sent += len(left)
        return [fates[position] for position in range(len(chunk.subjects))]

    def _ask_for(self, subjects: Sequence[Subject], intent: Intent) -> Sequence[Fate]:
        not_before = None if intent.not_before is None else datetime.fromisoformat(intent.not_before)
        try:
            batch = self._client.requests.create(
                subjects, **self._terms.arguments(), not_before=not_before, idempotency_key=intent.key
            )
        except InvalidRequestError as error:
            refusal = refusal_of(error) if len(subjects) == 1 else None
            if refusal is None:
                raise
            return [Fate(REFUSED, reason=refusal.reason)]
        return [_fate(each) for each in batch.dispositions]

    def _is_too_late(self, intent: Intent, error: InvalidRequestError) -> bool:
        if intent.not_before is None or not any(each.field == "not_before" for each in error.errors):
            return False
        return datetime.fromisoformat(intent.not_before) <= self._now() + CLOCKS_APART

    def _results(self, chunk: _Chunk, fates: Sequence[Fate]) -> Iterable[Mapping[str, Any]]:
        results = []
        for entry, position in zip(chunk.entries, chunk.own, strict=True):
            result = _result(entry)
            if entry.problem is not None:
                fate = Fate(INVALID, reason=entry.problem)
            elif position is not None:
                fate = fates[position]
                self._remember(entry, fate)
            else:
                once = self._once[entry.digest()]
                fate = Fate(DUPLICATE, once.fate.request_id, once.fate.reason)
                result["first_line"] = once.line
            self.counts.by_status[fate.status] += 1
            results.append({**result, "status": fate.status, "request_id": fate.request_id, "reason": fate.reason})
        return results

    def _remember(self, entry: Entry, fate: Fate) -> None:
        digest = entry.digest()
        if digest in self._repeated:
            self._once[digest] = _Once(entry.line, fate)


def new_run_id() -> str:
    return f"bulk_{uuid.uuid4().hex}"


def _result(entry: Entry) -> dict[str, Any]:
    return {"line": entry.line, "subject_type": entry.subject_type or None, "id": entry.id or None}


def _fate(disposition: Disposition) -> Fate:
    if not disposition.is_accepted:
        return Fate(REFUSED, reason=disposition.reason or disposition.status)
    if disposition.request_id is None:
        raise UnexpectedAnswerError("The service has accepted a subject without naming its request.", 202)
    return Fate(ACCEPTED, disposition.request_id)


def _changed(what: str) -> CommandError:
    return CommandError(what, "Run it again with another --results file.", Exit.CONFLICT, "conflict")
