"""``client.suppressions``: whose data must not be collected again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Flow, Retries, carry_out, send, with_key
from erasure_client._models_others import Suppression
from erasure_client._paging import LONGEST_PAGE, Listing, entries, entries_async
from erasure_client._subject_calls import call_about
from erasure_client._subjects import SubjectLike
from erasure_client._wire import Call

PATH = "/v1/suppressions"


def get(subject: SubjectLike, retries: Retries) -> Flow[Suppression]:
    answer = yield from send(call_about(PATH, "GET", subject), retries)
    return Suppression.of(answer.json())


def lift(subject: SubjectLike, retries: Retries, idempotency_key: str | None = None) -> Flow[None]:
    yield from carry_out(with_key(call_about(PATH, "DELETE", subject), idempotency_key), retries)


def listing(limit: int | None, page_size: int) -> Listing[Suppression]:
    return Listing(Call("GET", PATH, f"GET {PATH}"), "suppressions", Suppression.of, page_size, limit)


class Suppressions(Face):
    """The suppression list. It knows digests only, so it cannot tell whom it holds: ask it about somebody, where data
    comes in."""

    def get(self, subject: SubjectLike) -> Suppression:
        """``NotFoundError``: the subject is not on the list."""
        return self._run(get(subject, self._retries))

    def lift(self, subject: SubjectLike, *, idempotency_key: str | None = None) -> None:
        """Take a subject off the list: it may be collected again. ``NotFoundError``: it was not on it."""
        self._run(lift(subject, self._retries, idempotency_key))

    def list(self, *, limit: int | None = None, page_size: int = LONGEST_PAGE) -> Iterator[Suppression]:
        """In the order of their digests. ``limit``: at most so many in all."""
        return entries(listing(limit, page_size), self._retries, self._run)


class AsyncSuppressions(AsyncFace):
    """:class:`Suppressions`, awaited. :meth:`list` is an asynchronous iterator."""

    async def get(self, subject: SubjectLike) -> Suppression:
        """As :meth:`Suppressions.get`."""
        return await self._run(get(subject, self._retries))

    async def lift(self, subject: SubjectLike, *, idempotency_key: str | None = None) -> None:
        """As :meth:`Suppressions.lift`."""
        await self._run(lift(subject, self._retries, idempotency_key))

    def list(self, *, limit: int | None = None, page_size: int = LONGEST_PAGE) -> AsyncIterator[Suppression]:
        """As :meth:`Suppressions.list`."""
        return entries_async(listing(limit, page_size), self._retries, self._run)
