"""Lists that the service tells page by page: each page is a flow, asked for when somebody wants what is on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from erasure_client._flow import Flow, Retries, send
from erasure_client._reading import Body
from erasure_client._wire import Call
from erasure_client.errors import ConfigurationError, UnexpectedAnswerError

T = TypeVar("T")

LONGEST_PAGE = 100


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """``call``: for the first page, without ``cursor`` and ``limit``. ``field``: of the answer. ``limit``: at most so
    many entries in all. Raises :class:`ConfigurationError`."""

    call: Call
    field: str
    make: Callable[[Mapping[str, Any]], T]
    page_size: int = LONGEST_PAGE
    limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= LONGEST_PAGE:
            raise ConfigurationError(f"page_size must be from 1 to {LONGEST_PAGE}")
        if self.limit is not None and self.limit < 0:
            raise ConfigurationError("limit must be 0 or more")


class _Pages(Generic[T]):
    """Where somebody is in a list."""

    def __init__(self, listing: Listing[T]) -> None:
        self._listing = listing
        self._told = 0
        self._cursor: str | None = None
        self._cursors: set[str] = set()
        self.is_over = listing.limit == 0

    def next_page(self, retries: Retries) -> Flow[tuple[T, ...]]:
        listing = self._listing
        left = None if listing.limit is None else listing.limit - self._told
        size = listing.page_size if left is None else min(left, listing.page_size)
        query = {**listing.call.query, "limit": str(size)}
        if self._cursor is not None:
            query["cursor"] = self._cursor
        answer = yield from send(replace(listing.call, query=query), retries)
        body = Body(answer.json())
        entries = tuple([listing.make(each) for each in body.each(listing.field)][:left])
        self._told += len(entries)
        self._go_on(body.text_if_any("cursor"), answer.status)
        self.is_over = self._cursor is None or self._told == listing.limit
        return entries

    def _go_on(self, cursor: str | None, status: int) -> None:
        if cursor is not None:
            if cursor in self._cursors:
                raise UnexpectedAnswerError("The service's list goes round in a circle.", status)
            self._cursors.add(cursor)
        self._cursor = cursor


def entries(listing: Listing[T], retries: Retries, run: Callable[[Flow[tuple[T, ...]]], tuple[T, ...]]) -> Iterator[T]:
    """One by one. Whoever stops asking has no further page called for."""
    pages = _Pages(listing)
    while not pages.is_over:
        yield from run(pages.next_page(retries))


async def entries_async(
    listing: Listing[T], retries: Retries, run: Callable[[Flow[tuple[T, ...]]], Awaitable[tuple[T, ...]]]
) -> AsyncIterator[T]:
    pages = _Pages(listing)
    while not pages.is_over:
        for entry in await run(pages.next_page(retries)):
            yield entry
