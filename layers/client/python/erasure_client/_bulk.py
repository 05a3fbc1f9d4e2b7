"""``client.bulk``: any number of subjects, call by call.

The subjects are taken in chunks of consecutive ones, and every chunk is one call. Its idempotency key is made of the
run's id, the chunk's number and all that is asked for, so the same bulk, run again with the same ``run_id`` within 24
hours, makes nothing twice, and another one never meets its keys. Only digests of the subjects are remembered, to tell
those that come again: some 130 bytes each.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from erasure_client._flow import Flow, Retries
from erasure_client._models_others import BulkResult
from erasure_client._models_requests import REFUSED
from erasure_client._request_flows import create, erasure_body
from erasure_client._subjects import Subject, SubjectLike, each_subject
from erasure_client.errors import ConfigurationError, InvalidRequestError

MOST_SUBJECTS = 1000
"""In a call. With ids that the service takes, 1,000 of them never come near the 4 MiB that a body may have."""

MOST_ORGANIZATION_BYTES = 2 * 1024 * 1024
"""In a call, those of one subject times the subjects: every request keeps its own."""

DUPLICATE = "duplicate"
INVALID_IDENTIFIER, INVALID_TYPE = "invalid_identifier", "invalid_type"

_FIELD = re.compile(r"subjects\[([0-9]{1,4})\](?:\.(id|type))?")

_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_ID = 256

Results: TypeAlias = tuple[BulkResult, ...]


class Refusal(NamedTuple):
    """``position``: of the subject in the call."""

    position: int
    reason: str


def refusal_of(error: InvalidRequestError) -> Refusal | None:
    """Which subject it is for which the service has refused a whole call, and why; ``None``: it is not one subject."""
    field = _FIELD.fullmatch(error.errors[0].field) if len(error.errors) == 1 else None
    if field is None:
        return None
    return Refusal(int(field[1]), error.errors[0].reason or (INVALID_IDENTIFIER if field[2] == "id" else INVALID_TYPE))


class _Entry(NamedTuple):
    position: int
    subject: Subject


@dataclass(slots=True)
class _Chunk:
    """``entries``: to be sent. ``told``: what is known without asking."""

    number: int
    entries: list[_Entry]
    told: list[BulkResult]

    def __len__(self) -> int:
        return len(self.entries) + len(self.told)


class _Chunks:
    """Makes chunks of what it is given, one subject after the other."""

    def __init__(self, terms: Mapping[str, Any], run_id: str | None, chunk_size: int) -> None:
        if not 1 <= chunk_size <= MOST_SUBJECTS:
            raise ConfigurationError(f"chunk_size must be from 1 to {MOST_SUBJECTS}")
        self.terms = terms
        self.run_id = run_id or uuid.uuid4().hex
        named = terms.get("scope", {}).get("organization_ids", [])
        copied = sum(len(organization_id.encode()) for organization_id in dict.fromkeys(named))
        self._size = max(1, min(chunk_size, MOST_ORGANIZATION_BYTES // max(1, copied)))
        self._seen: set[bytes] = set()
        self._given = 0
        self._chunk = _Chunk(0, [], [])

    def add(self, value: SubjectLike) -> _Chunk | None:
        """The chunk, when it is full. Raises :class:`ConfigurationError` for what is no subject at all."""
        entry = _Entry(self._given, Subject.user(value) if isinstance(value, str) else value)
        if not isinstance(entry.subject, Subject) or not isinstance(entry.subject.type, str):
            raise ConfigurationError(f"a subject must be a text or a Subject (position {self._given})")
        self._given += 1
        if not _is_identifier(entry.subject.id):
            self._tell(entry, REFUSED, INVALID_IDENTIFIER)
        elif self._is_new(entry.subject):
            self._chunk.entries.append(entry)
        else:
            self._tell(entry, DUPLICATE)
        return self.take() if len(self._chunk) == self._size else None

    def take(self) -> _Chunk:
        """What there is, full or not."""
        chunk, self._chunk = self._chunk, _Chunk(self._chunk.number + 1, [], [])
        return chunk

    def _tell(self, entry: _Entry, status: str, reason: str | None = None) -> None:
        self._chunk.told.append(BulkResult(entry.position, entry.subject, status, reason=reason))

    def _is_new(self, subject: Subject) -> bool:
        text = json.dumps([subject.type, subject.id])
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


def _is_identifier(value: object) -> bool:
    """The service's rule. It would refuse the whole call for one that breaks it, and tell of one at a time."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= _LONGEST_ID
        and not value.isspace()
        and _UNUSABLE.search(value) is None
    )


def _send(chunk: _Chunk, chunks: _Chunks, retries: Retries) -> Flow[Results]:
    """What became of the chunk's subjects, in their order. One for whom the service refuses the whole call is told,
    and the others are sent without it."""
    left, results = list(chunk.entries), list(chunk.told)
    while left:
        body = {**erasure_body([entry.subject for entry in left]), **chunks.terms}
        try:
            batch = yield from create(body, retries, _key(chunks.run_id, chunk.number, body))
        except InvalidRequestError as error:
            refusal = refusal_of(error)
            if refusal is None or refusal.position >= len(left):
                raise
            position, subject = left.pop(refusal.position)
            results.append(BulkResult(position, subject, REFUSED, reason=refusal.reason, chunk=chunk.number))
            continue
        results += [
            BulkResult(entry.position, entry.subject, each.status, each.request_id, each.reason, chunk.number)
            for entry, each in zip(left, batch, strict=True)
        ]
        break
    return tuple(sorted(results, key=lambda result: result.position))


def _key(run_id: str, number: int, body: Mapping[str, Any]) -> str:
    text = json.dumps([run_id, number, body], sort_keys=True)
    return f"ecb_{hashlib.sha256(text.encode()).hexdigest()}"


def _chunks(
    run_id: str | None,
    chunk_size: int,
    categories: Iterable[str] | None,
    organization_ids: Iterable[str] | None,
    not_before: datetime | None,
) -> _Chunks:
    terms = erasure_body([], categories=categories, organization_ids=organization_ids, not_before=not_before)
    del terms["subjects"]
    return _Chunks(terms, run_id, chunk_size)


def bulk(
    subjects: SubjectLike | Iterable[SubjectLike],
    retries: Retries,
    run: Callable[[Flow[Results]], Results],
    *,
    chunk_size: int = 500,
    categories: Iterable[str] | None = None,
    organization_ids: Iterable[str] | None = None,
    not_before: datetime | None = None,
    run_id: str | None = None,
) -> Iterator[BulkResult]:
    """One result for each subject that was given, in their order. Subjects are taken, and calls made, as results are
    asked for. Raises what a call raises; what was told until then is done."""
    chunks = _chunks(run_id, chunk_size, categories, organization_ids, not_before)
    given = each_subject(subjects)

    def results() -> Iterator[BulkResult]:
        for value in given:
            if (chunk := chunks.add(value)) is not None:
                yield from run(_send(chunk, chunks, retries))
        yield from run(_send(chunks.take(), chunks, retries))

    return results()


def bulk_async(
    subjects: SubjectLike | Iterable[SubjectLike] | AsyncIterable[SubjectLike],
    retries: Retries,
    run: Callable[[Flow[Results]], Awaitable[Results]],
    *,
    chunk_size: int = 500,
    categories: Iterable[str] | None = None,
    organization_ids: Iterable[str] | None = None,
    not_before: datetime | None = None,
    run_id: str | None = None,
) -> AsyncIterator[BulkResult]:
    """As :func:`bulk`. The subjects may come from an asynchronous iterable."""
    chunks = _chunks(run_id, chunk_size, categories, organization_ids, not_before)
    given = subjects if isinstance(subjects, AsyncIterable) else _one_by_one(each_subject(subjects))

    async def results() -> AsyncIterator[BulkResult]:
        async for value in given:
            if (chunk := chunks.add(value)) is not None:
                for result in await run(_send(chunk, chunks, retries)):
                    yield result
        for result in await run(_send(chunks.take(), chunks, retries)):
            yield result

    return results()


async def _one_by_one(values: Iterable[SubjectLike]) -> AsyncIterator[SubjectLike]:
    for value in values:
        yield value
