"""``client.requests``: erasure requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import datetime

from erasure_client import _request_flows as flows
from erasure_client._face import AsyncFace, Face
from erasure_client._models_plans import DryRun
from erasure_client._models_requests import Attempt, AuditTrail, Batch, ErasureRequest
from erasure_client._paging import LONGEST_PAGE, entries, entries_async
from erasure_client._subjects import SubjectLike, check_id
from erasure_client._waiting import wait


class Requests(Face):
    """Erasure requests of the tenant, whatever family of calls they came through. Every method raises
    :class:`~erasure_client.errors.ErasureClientError`; the tree is in :mod:`erasure_client.errors`."""

    def create(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        not_before: datetime | None = None,
        plan_hash: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Have one subject erased, or up to 1,000. **It cannot be undone once it has begun.**

        ``subjects``: a text is a user's id. ``categories``: erase only these. ``organization_ids``: within these only.
        ``not_before``: a time with its offset. ``plan_hash``: of :meth:`ErasureClient.preview`, with one subject.

        The batch has one disposition for each different subject: of several, some may be ``refused``. A single one
        that is refused raises ``InvalidRequestError``. ``PlanChangedError``: it would go by another plan now.
        """
        body = flows.subjects_body(
            subjects,
            categories=categories,
            organization_ids=organization_ids,
            not_before=not_before,
            plan_hash=plan_hash,
        )
        return self._run(flows.create(body, self._retries, idempotency_key))

    def dry_run(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        not_before: datetime | None = None,
        plan_hash: str | None = None,
    ) -> tuple[DryRun, ...]:
        """What :meth:`create` would cover, for each different subject. Nothing is written, and nothing counted."""
        body = flows.subjects_body(
            subjects,
            categories=categories,
            organization_ids=organization_ids,
            not_before=not_before,
            plan_hash=plan_hash,
        )
        return self._run(flows.dry_run(body, self._retries))

    def list(
        self,
        *,
        state: str | None = None,
        subject: SubjectLike | None = None,
        limit: int | None = None,
        page_size: int = LONGEST_PAGE,
    ) -> Iterator[ErasureRequest]:
        """Newest first, without targets. Pages of ``page_size`` are asked for as the iteration gets to them; ``limit``:
        at most so many requests in all. ``state``: ``requested``, ``started``, ``held``, ``finished``, ``cancelled``.
        """
        listing = flows.listing(state=state, subject=subject, limit=limit, page_size=page_size)
        return entries(listing, self._retries, self._run)

    def get(self, request_id: str) -> ErasureRequest:
        """One request with its targets. ``NotFoundError``."""
        return self._run(flows.get(request_id, self._retries))

    def wait(
        self,
        request_id: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[ErasureRequest], object] | None = None,
        poll: float | None = None,
        attempt: int | None = None,
    ) -> ErasureRequest:
        """Follow a request until it is finished; look at ``is_complete`` then, since the law may keep some of it.

        ``timeout``: seconds; ``None``: as long as it takes. ``on_progress`` is called with the request whenever a look
        shows something new. ``poll``: seconds between looks, chosen by itself if not given. ``attempt``: that
        :meth:`retry` has given; what an earlier one has left is not taken for its result then. Raises
        ``StillRunningError`` (the time is over, the erasure goes on), ``NeedsAttentionError``, ``StoppedError``.
        """
        flow = wait(
            check_id(request_id, "request_id"),
            self._retries,
            timeout=timeout,
            on_progress=on_progress,
            poll=poll,
            attempt=attempt,
        )
        return self._run(flow)

    def cancel(self, request_id: str, *, idempotency_key: str | None = None) -> ErasureRequest:
        """Take a request back that has not begun. Twice is fine. ``ConflictError``: it has begun; ``HeldError``."""
        return self._run(flows.cancel(request_id, self._retries, idempotency_key))

    def retry(self, request_id: str, *, idempotency_key: str | None = None) -> Attempt:
        """Have another job work on a request. ``ConflictError``: it is finished, cancelled, held, purged, or waits."""
        return self._run(flows.retry(request_id, self._retries, idempotency_key))

    def expedite(self, request_id: str, *, idempotency_key: str | None = None) -> ErasureRequest:
        """Have a request begin at once that waits for its ``not_before``. ``ConflictError``: it does not wait."""
        return self._run(flows.expedite(request_id, self._retries, idempotency_key))

    def audit(self, request_id: str) -> AuditTrail:
        """What has happened to a request, oldest first. ``NotFoundError``."""
        return self._run(flows.audit(request_id, self._retries))


class AsyncRequests(AsyncFace):
    """:class:`Requests`, awaited. :meth:`list` is an asynchronous iterator, and ``on_progress`` may be a coroutine
    function."""

    async def create(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        not_before: datetime | None = None,
        plan_hash: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """As :meth:`Requests.create`."""
        body = flows.subjects_body(
            subjects,
            categories=categories,
            organization_ids=organization_ids,
            not_before=not_before,
            plan_hash=plan_hash,
        )
        return await self._run(flows.create(body, self._retries, idempotency_key))

    async def dry_run(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        not_before: datetime | None = None,
        plan_hash: str | None = None,
    ) -> tuple[DryRun, ...]:
        """As :meth:`Requests.dry_run`."""
        body = flows.subjects_body(
            subjects,
            categories=categories,
            organization_ids=organization_ids,
            not_before=not_before,
            plan_hash=plan_hash,
        )
        return await self._run(flows.dry_run(body, self._retries))

    def list(
        self,
        *,
        state: str | None = None,
        subject: SubjectLike | None = None,
        limit: int | None = None,
        page_size: int = LONGEST_PAGE,
    ) -> AsyncIterator[ErasureRequest]:
        """As :meth:`Requests.list`."""
        listing = flows.listing(state=state, subject=subject, limit=limit, page_size=page_size)
        return entries_async(listing, self._retries, self._run)

    async def get(self, request_id: str) -> ErasureRequest:
        """As :meth:`Requests.get`."""
        return await self._run(flows.get(request_id, self._retries))

    async def wait(
        self,
        request_id: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[ErasureRequest], Awaitable[object] | object] | None = None,
        poll: float | None = None,
        attempt: int | None = None,
    ) -> ErasureRequest:
        """As :meth:`Requests.wait`."""
        flow = wait(
            check_id(request_id, "request_id"),
            self._retries,
            timeout=timeout,
            on_progress=on_progress,
            poll=poll,
            attempt=attempt,
        )
        return await self._run(flow)

    async def cancel(self, request_id: str, *, idempotency_key: str | None = None) -> ErasureRequest:
        """As :meth:`Requests.cancel`."""
        return await self._run(flows.cancel(request_id, self._retries, idempotency_key))

    async def retry(self, request_id: str, *, idempotency_key: str | None = None) -> Attempt:
        """As :meth:`Requests.retry`."""
        return await self._run(flows.retry(request_id, self._retries, idempotency_key))

    async def expedite(self, request_id: str, *, idempotency_key: str | None = None) -> ErasureRequest:
        """As :meth:`Requests.expedite`."""
        return await self._run(flows.expedite(request_id, self._retries, idempotency_key))

    async def audit(self, request_id: str) -> AuditTrail:
        """As :meth:`Requests.audit`."""
        return await self._run(flows.audit(request_id, self._retries))
