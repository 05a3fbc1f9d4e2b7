"""One slice of erasing from a bucket: listing for several subjects and deleting for all of them overlap.

One thread decides, the others make calls. What is in memory is two pages for each listing under way, what waits to be
deleted and what is under way, however many subjects and objects there are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, OnErased, SliceResult
from erasure.targets.s3_calls import Call, Outcome, Share, abort_upload, delete_version, delete_versions
from erasure.targets.s3_client import fits_xml
from erasure.targets.s3_errors import DENIED, MISSING, PASSING, REJECTED, THROTTLED, UNAVAILABLE, error_for
from erasure.targets.s3_pages import (
    PAGE_ENTRIES,
    Entry,
    NotSharedError,
    OutOfTimeError,
    one_behind,
    upload_pages,
    version_pages,
)
from erasure.targets.s3_scope import Scope

MAX_ATTEMPTS = 6
"""Calls for the same entries, each after botocore's own retries."""

MOST_REFUSED = 3
"""Subjects given up one after the other, with nothing erased in between, after which the bucket is."""

LISTS_BESIDE = 2
"""Calls that may be under way beside as many deletes as allowed, so that listing goes on."""

# What another slice may heal is told first; it comes across the rest again.
_TOLD_FIRST = (THROTTLED, UNAVAILABLE, REJECTED, DENIED)


@dataclass(frozen=True, slots=True)
class Work:
    """Entries for one call; ``attempt`` counts from 1, ``reason`` says why there is more than one."""

    call: Call
    shares: Sequence[Share]
    attempt: int = 1
    reason: str | None = None

    @property
    def owners(self) -> set[int]:
        return {share.owner for share in self.shares}


Page = Mapping[int, list[Entry]]
"""What a listing found, by owner."""

Uploads = Callable[[], Page]
"""Raises :class:`NotSharedError`, and what listing raises."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A listing, and the subjects who are not done before it has ended."""

    owners: tuple[int, ...]
    pages: Iterator[Page]
    is_versions: bool


@dataclass(slots=True)
class _Account:
    """What has become of one subject. ``failure``: its listing's, for good. ``cut``: something was not worked on."""

    erased: int = 0
    problems: set[str] = field(default_factory=set)
    failure: TargetError | None = None
    uploads_denied: bool = False
    cut: bool = False
    gave_up: bool = False

    def give_up(self) -> None:
        self.cut = self.gave_up = True

    def result(self, stopped_by: TargetError | None) -> SliceResult:
        failure = self.failure or (stopped_by if self.cut else None)
        if failure is not None and failure.permanent:
            return SliceResult(self.erased, done=False, problem=failure.code, permanent=True)
        problems = self.problems | ({failure.code} if failure else set())
        if self.uploads_denied and not self.cut:
            problems.add(DENIED)
        if DENIED in problems and problems.isdisjoint(PASSING) and not (self.cut and self.erased):
            return SliceResult(self.erased, done=False, problem=DENIED, permanent=True)
        problem = next((code for code in _TOLD_FIRST if code in problems), None)
        return SliceResult(self.erased, done=not self.cut and not problems, problem=problem)


def _once(uploads: Uploads) -> Iterator[Page]:
    yield uploads()


class _Filling:
    """Entries of several subjects on their way into full calls: :data:`PAGE_ENTRIES` each."""

    def __init__(self) -> None:
        self._shares: list[Share] = []
        self._room = PAGE_ENTRIES

    def add(self, owner: int, scope: Scope, entries: list[Entry]) -> Iterator[Work]:
        """The calls that these entries make full."""
        while entries:
            share = Share(owner, scope, entries[: self._room])
            self._shares.append(share)
            entries = entries[self._room :]
            self._room -= len(share.entries)
            if not self._room:
                yield from self.rest()

    def rest(self) -> Iterator[Work]:
        """What is left, in a call that need not be full."""
        if self._shares:
            yield Work(delete_versions, self._shares)
        self._shares, self._room = [], PAGE_ENTRIES

    @property
    def owners(self) -> set[int]:
        return {share.owner for share in self._shares}


class Slice:
    """The deciding thread's view: what waits, what is under way, what has become of the rest.

    ``scopes``: all of one bucket, by owner. ``uploads``: lists the unfinished uploads of all of them at once (``None``:
    each subject's are listed). ``perform`` makes a deleting call, in a thread of ``pool``, which has
    threads for ``concurrency`` deletes and :data:`LISTS_BESIDE`.
    """

    def __init__(
        self,
        client: Any,
        pool: ThreadPoolExecutor,
        scopes: Mapping[int, Scope],
        deadline: Deadline,
        on_erased: OnErased,
        concurrency: int,
        uploads: Uploads | None,
        perform: Callable[[Work], Outcome],
    ) -> None:
        self._client = client
        self._pool = pool
        self._scopes = scopes
        self._deadline = deadline
        self._on_erased = on_erased
        self._concurrency = concurrency
        self._uploads = uploads
        self._perform = perform
        self._limit = concurrency
        self._sources: deque[_Source] = deque()
        self._listing: dict[Future[Page | None], _Source] = {}
        self._unlisted = len(scopes)
        self._filling = _Filling()
        self._waiting: deque[Work] = deque()
        self._deleting: dict[Future[Outcome], Work] = {}
        self._accounts = {owner: _Account() for owner in scopes}
        self._refused = 0
        self._stopped_by: TargetError | None = None

    def run(self) -> dict[int, SliceResult]:
        """Work until everything is done or nothing more may be begun. Raises what ``on_erased`` raises."""
        if self._uploads is not None:  # first, for it is a listing for all
            self._sources.append(_Source(tuple(self._scopes), _once(self._uploads), is_versions=False))
        for owner in self._scopes:
            self._sources.append(_Source((owner,), self._pages(version_pages, owner), is_versions=True))
        if self._uploads is None:
            self._list_uploads_of_each()
        while self._begin():
            self._collect()
        for owners in (*(source.owners for source in self._sources), *(work.owners for work in self._waiting)):
            self._cut(owners)
        self._cut(self._filling.owners)
        return {owner: account.result(self._stopped_by) for owner, account in self._accounts.items()}

    def _cut(self, owners: Iterable[int]) -> None:
        for owner in owners:
            self._accounts[owner].cut = True

    # -- listing ------------------------------------------------------------------------------------------------

    def _pages(self, kind: Callable[[Any, Scope, Deadline], Iterator[list[Entry]]], owner: int) -> Iterator[Page]:
        for page in one_behind(kind(self._client, self._scopes[owner], self._deadline)):
            yield {owner: page}

    def _list_uploads_of_each(self) -> None:
        for owner in self._scopes:
            self._sources.append(_Source((owner,), self._pages(upload_pages, owner), is_versions=False))

    def _take_page(self, source: _Source, future: Future[Page | None]) -> None:
        try:
            page = future.result()
        except OutOfTimeError:
            self._cut(source.owners)
        except NotSharedError:
            self._list_uploads_of_each()
        except TargetError as error:
            self._take_failure(source, error)
        else:
            if page is not None:
                for owner, entries in page.items():
                    self._waiting.extend(self._works(owner, entries, source.is_versions))
                self._sources.appendleft(source)
                return
        self._unlisted -= source.is_versions

    def _take_failure(self, source: _Source, error: TargetError) -> None:
        if error.code == THROTTLED:
            self._limit = max(1, self._limit // 2)
        if error.code == MISSING:
            self._stop(error)
            self._cut(source.owners)
            return
        for owner in source.owners:
            account = self._accounts[owner]
            if not error.permanent:
                account.problems.add(error.code)
            elif error.code == DENIED and not source.is_versions:
                account.uploads_denied = True  # its versions can go all the same
            else:
                account.failure = account.failure or error
                account.give_up()

    def _works(self, owner: int, entries: list[Entry], are_versions: bool) -> Iterator[Work]:
        scope = self._scopes[owner]
        if not are_versions:
            for upload in entries:
                yield Work(abort_upload, [Share(owner, scope, [upload])])
            return
        if not fits_xml("".join(entry["Key"] for entry in entries)):
            for entry in entries:
                if not fits_xml(entry["Key"]):
                    yield Work(delete_version, [Share(owner, scope, [entry])])
            entries = [entry for entry in entries if fits_xml(entry["Key"])]
        yield from self._filling.add(owner, scope, entries)

    # -- deciding -----------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Begin what may be begun; returns whether anything is under way."""
        self._begin_deletes()
        # Nothing is listed while there is enough to delete: what was found has to be kept.
        while self._sources and not self._waiting and self._has_room() and not self._is_stopping():
            source = self._sources.popleft()
            if len(source.owners) == 1 and self._accounts[source.owners[0]].gave_up:
                self._unlisted -= source.is_versions
                continue
            self._listing[self._pool.submit(next, source.pages, None)] = source
        if not self._unlisted:
            self._waiting.extend(self._filling.rest())
            self._begin_deletes()
        return bool(self._listing or self._deleting)

    def _has_room(self) -> bool:
        return len(self._listing) + len(self._deleting) < self._limit + LISTS_BESIDE

    def _begin_deletes(self) -> None:
        while self._waiting and len(self._deleting) < self._limit and not self._is_stopping():
            work = self._waiting.popleft()
            shares = [share for share in work.shares if not self._accounts[share.owner].gave_up]
            if shares:
                work = replace(work, shares=shares)
                self._deleting[self._pool.submit(self._perform, work)] = work

    def _is_stopping(self) -> bool:
        return self._stopped_by is not None or self._deadline.expired()

    def _stop(self, error: TargetError) -> None:
        """Begin nothing more, for anybody."""
        self._stopped_by = self._stopped_by or error

    def _collect(self) -> None:
        under_way: list[Future[Any]] = [*self._listing, *self._deleting]
        ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
        erased = Counter[int]()
        for future in ended:
            if future in self._listing:
                self._take_page(self._listing.pop(future), future)
            else:
                erased.update(self._take_outcome(self._deleting.pop(future), future))
        for owner, number in erased.items():
            self._on_erased(owner, number)

    # -- what deleting came to ----------------------------------------------------------------------------------

    def _take_outcome(self, work: Work, future: Future[Outcome]) -> Counter[int]:
        try:
            outcome = future.result()
        except TargetError as error:  # the guard: a defect, so nothing more is deleted
            outcome = Outcome(failure=error)
        for owner, number in outcome.erased.items():
            self._accounts[owner].erased += number
            self._refused = 0
        for owner, problem in outcome.problems:
            self._accounts[owner].problems.add(problem)
        if outcome.failure is not None:
            self._stop(outcome.failure)
            self._cut(work.owners)
        if outcome.reason == THROTTLED:
            self._limit = max(1, self._limit // 2)
        elif outcome.reason is None:
            self._limit = min(self._concurrency, self._limit + 1)
        if outcome.again:
            self._repeat(work, outcome.again, outcome.reason or UNAVAILABLE, refused=outcome.refused)
        return outcome.erased

    def _repeat(self, work: Work, shares: Sequence[Share], reason: str, *, refused: bool) -> None:
        if reason in PASSING and work.attempt < MAX_ATTEMPTS:
            self._waiting.append(Work(work.call, shares, work.attempt + 1, reason))
            return
        owners = sorted({share.owner for share in shares})
        if refused and reason != THROTTLED and len(owners) > 1:
            # Whose entries they are that S3 does not take cannot be told: once more, each subject's alone.
            for owner in owners:
                alone = [share for share in shares if share.owner == owner]
                self._waiting.append(Work(work.call, alone, work.attempt, reason))
            return
        for owner in owners:
            account = self._accounts[owner]
            account.problems.add(reason)
            # One stubborn key is no reason to leave the others; who gets no answer any more is left alone.
            if reason == THROTTLED or (refused and reason in PASSING):
                account.give_up()
        if refused and reason in PASSING:
            self._refused += 1
            if reason == THROTTLED or self._refused >= MOST_REFUSED:
                self._stop(error_for(reason))
