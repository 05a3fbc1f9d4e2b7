"""``client.holds``: of whom nothing may be erased."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any

from erasure_client._arguments import moment_text, texts_of
from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Flow, Retries, carry_out, send, with_key
from erasure_client._models_others import Hold
from erasure_client._paging import LONGEST_PAGE, Listing, entries, entries_async
from erasure_client._subject_calls import call_about
from erasure_client._subjects import SubjectLike
from erasure_client._wire import Call

PATH = "/v1/legal-holds"


def put(
    subject: SubjectLike,
    retries: Retries,
    *,
    reason: str,
    author: str,
    until: datetime | None,
    aliases: Iterable[str],
    idempotency_key: str | None = None,
) -> Flow[Hold]:
    body: dict[str, Any] = {"reason": reason, "author": author}
    if until is not None:
        body["until"] = moment_text(until, "until")
    named = texts_of(aliases, "aliases")
    if named:
        body["aliases"] = named
    answer = yield from send(with_key(call_about(PATH, "PUT", subject, body), idempotency_key), retries)
    return Hold.of(answer.json(), is_new=answer.status == 201)


def get(subject: SubjectLike, retries: Retries) -> Flow[Hold]:
    answer = yield from send(call_about(PATH, "GET", subject), retries)
    return Hold.of(answer.json())


def lift(subject: SubjectLike, retries: Retries, idempotency_key: str | None = None) -> Flow[None]:
    yield from carry_out(with_key(call_about(PATH, "DELETE", subject), idempotency_key), retries)


def listing(limit: int | None, page_size: int) -> Listing[Hold]:
    return Listing(Call("GET", PATH, f"GET {PATH}"), "legal_holds", Hold.of, page_size, limit)


class Holds(Face):
    """Legal holds. They are kept by digests: the list cannot tell whom it holds, it can be asked about somebody."""

    def put(
        self,
        subject: SubjectLike,
        *,
        reason: str,
        author: str,
        until: datetime | None = None,
        aliases: Iterable[str] = (),
        idempotency_key: str | None = None,
    ) -> Hold:
        """Hold a subject, or **replace** all that its hold said before, ``until`` and aliases too.

        ``reason`` and ``author`` are kept in clear and must not name the subject. ``until``: a time with its offset at
        which it ends by itself. ``aliases``: further ids of the subject, up to 20.
        """
        flow = put(
            subject,
            self._retries,
            reason=reason,
            author=author,
            until=until,
            aliases=aliases,
            idempotency_key=idempotency_key,
        )
        return self._run(flow)

    def get(self, subject: SubjectLike) -> Hold:
        """``NotFoundError``: the subject has none."""
        return self._run(get(subject, self._retries))

    def lift(self, subject: SubjectLike, *, idempotency_key: str | None = None) -> None:
        """End a hold: what it held, and no other does, goes on. ``NotFoundError``."""
        self._run(lift(subject, self._retries, idempotency_key))

    def list(self, *, limit: int | None = None, page_size: int = LONGEST_PAGE) -> Iterator[Hold]:
        """In the order of their digests. ``limit``: at most so many in all."""
        return entries(listing(limit, page_size), self._retries, self._run)


class AsyncHolds(AsyncFace):
    """:class:`Holds`, awaited. :meth:`list` is an asynchronous iterator."""

    async def put(
        self,
        subject: SubjectLike,
        *,
        reason: str,
        author: str,
        until: datetime | None = None,
        aliases: Iterable[str] = (),
        idempotency_key: str | None = None,
    ) -> Hold:
        """As :meth:`Holds.put`."""
        flow = put(
            subject,
            self._retries,
            reason=reason,
            author=author,
            until=until,
            aliases=aliases,
            idempotency_key=idempotency_key,
        )
        return await self._run(flow)

    async def get(self, subject: SubjectLike) -> Hold:
        """As :meth:`Holds.get`."""
        return await self._run(get(subject, self._retries))

    async def lift(self, subject: SubjectLike, *, idempotency_key: str | None = None) -> None:
        """As :meth:`Holds.lift`."""
        await self._run(lift(subject, self._retries, idempotency_key))

    def list(self, *, limit: int | None = None, page_size: int = LONGEST_PAGE) -> AsyncIterator[Hold]:
        """As :meth:`Holds.list`."""
        return entries_async(listing(limit, page_size), self._retries, self._run)
