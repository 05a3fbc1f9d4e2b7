"""The two clients. They hold nothing but the carrier and the faces: what they do is in the flows."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from erasure_client import _figures, _plans, _self_deletion
from erasure_client._api_keys import ApiKeys, AsyncApiKeys
from erasure_client._bulk import bulk, bulk_async
from erasure_client._data_map import AsyncDataMaps, DataMaps
from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Retries
from erasure_client._holds import AsyncHolds, Holds
from erasure_client._models_others import BulkResult, Health, RetentionRule, SelfDeletion, SlaFigures
from erasure_client._models_plans import DeletionPreview, Plan
from erasure_client._requests import AsyncRequests, Requests
from erasure_client._settings import Secret, Settings, make_settings
from erasure_client._subjects import SubjectLike
from erasure_client._suppressions import AsyncSuppressions, Suppressions
from erasure_client._users import AsyncUsers, Users
from erasure_client.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

MOST_RETRIES = 20


class ErasureClient(Face):
    """A backend's client, with ``api_key``, or a person's, with ``token``.

    ``base_url``: the service's address, ``https://…``, or ``http://`` of this machine. ``tenant_id``: which tenant a
    platform key acts for; any other key knows its own. Without them, ``ERASURE_URL``, ``ERASURE_API_KEY`` and
    ``ERASURE_TENANT`` of the environment. ``api_key`` and ``token`` may be functions that give one.
    ``timeout``: seconds for each of connecting, sending and waiting for the answer; calls that take longer than that
    by their nature have more. ``retries``: how often a call is sent again that got no answer, a 429, or a 5xx; what
    changes something has an idempotency key, so it is done once. ``transport``: an ``httpx`` transport, for tests.

    It may be shared by threads. Close it, or use it in a ``with`` block. Raises :class:`ConfigurationError`.
    """

    requests: Requests
    users: Users
    holds: Holds
    suppressions: Suppressions
    data_map: DataMaps
    api_keys: ApiKeys

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: Secret | None = None,
        token: Secret | None = None,
        tenant_id: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        # httpx takes as long to import as all else together: programs that only name the client's types do without.
        from erasure_client._http import HTTPCarrier

        most = _retries(retries)
        self._settings = make_settings(base_url, api_key=api_key, token=token, tenant_id=tenant_id, timeout=timeout)
        carrier = HTTPCarrier(self._settings, transport)
        super().__init__(carrier, most)
        self._close = carrier.close
        self.requests = Requests(carrier, most)
        self.users = Users(carrier, most)
        self.holds = Holds(carrier, most)
        self.suppressions = Suppressions(carrier, most)
        self.data_map = DataMaps(carrier, most)
        self.api_keys = ApiKeys(carrier, most)

    def __repr__(self) -> str:
        return _shown(self, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls are refused from then on. Twice is fine."""
        self._close()

    def request_current_user_deletion(self, *, idempotency_key: str | None = None) -> str:
        """Step one of deleting oneself: a delete id, which has to be confirmed within five minutes. Nothing has been
        deleted so far. ``HeldError``: the person is under a legal hold."""
        return self._run(_self_deletion.ask(self._retries, idempotency_key=idempotency_key))

    def confirm_current_user_deletion(
        self, delete_id: str, timeout: float | None = None, *, idempotency_key: str | None = None
    ) -> SelfDeletion:
        """Step two: delete, and wait until it is done. **It cannot be undone.**

        ``timeout``: seconds to wait, 300 if not given; an answer that is on its way then has 6 more. 0: have it
        accepted, and follow nothing. What is returned has finished; ``is_complete`` says whether nothing is left:
        the law may keep some of it (``kept``). The confirmation has one idempotency key for all its repetitions.

        Raises ``StillRunningError`` when the time is over (the erasure goes on; ask :meth:`current_user_deletion` with
        its ``request_id``), ``NeedsAttentionError`` when something could not be erased, ``StoppedError`` when it was
        cancelled or waits under a legal hold; all three: it is accepted, do not confirm again. ``InvalidRequestError``:
        the delete id is wrong, used or expired. ``NoAnswerError``: it is not known whether it is accepted; confirm
        again with the error's ``idempotency_key``.
        """
        return self._run(
            _self_deletion.confirm(delete_id, self._retries, timeout=timeout, idempotency_key=idempotency_key)
        )

    def current_user_deletion(self, request_id: str) -> SelfDeletion:
        """How far one of the person's own deletions is. ``NotFoundError``: it is nobody's, or somebody else's."""
        return self._run(_self_deletion.look(request_id, self._retries))

    def preview_current_user_deletion(self) -> DeletionPreview:
        """What a deletion would find now. Nothing is written."""
        return self._run(_self_deletion.preview(self._retries))

    def preview(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
    ) -> tuple[Plan, ...]:
        """What erasures of up to 10 subjects would find now. Nothing is written. A plan's ``plan_hash`` makes sure that
        :meth:`Requests.create` goes by it."""
        return self._run(
            _plans.preview(subjects, self._retries, categories=categories, organization_ids=organization_ids)
        )

    def bulk(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        chunk_size: int = 500,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        not_before: datetime | None = None,
        run_id: str | None = None,
    ) -> Iterator[BulkResult]:
        """Have any number of subjects erased, in calls of ``chunk_size``. **It cannot be undone once it has begun.**

        ``subjects`` may be a generator, even one without an end: they are taken, and calls made, as the results are
        asked for, one for each subject, in their order. ``accepted``, ``refused`` with a reason, or ``duplicate``.
        ``run_id``: your name for this bulk. The same bulk under the same name makes nothing twice within 24 hours, so
        it may be run again after whatever has ended it. The rest as for :meth:`Requests.create`.
        """
        return bulk(
            subjects,
            self._retries,
            self._run,
            chunk_size=chunk_size,
            categories=categories,
            organization_ids=organization_ids,
            not_before=not_before,
            run_id=run_id,
        )

    def sla(self) -> SlaFigures:
        """How the promise is kept."""
        return self._run(_figures.sla(self._retries))

    def retention(self) -> tuple[RetentionRule, ...]:
        """The rules by which things go when they are old, and what came of them. With a platform key only."""
        return self._run(_figures.retention(self._retries))

    def health(self) -> Health:
        """Whether the service answers, and its version. The key is not looked at."""
        return self._run(_figures.health(self._retries))


class AsyncErasureClient(AsyncFace):
    """:class:`ErasureClient` for coroutines of one event loop of asyncio: the same methods, awaited; what iterates,
    iterates asynchronously. A task that is cancelled stops at once; what the service has accepted goes on."""

    requests: AsyncRequests
    users: AsyncUsers
    holds: AsyncHolds
    suppressions: AsyncSuppressions
    data_map: AsyncDataMaps
    api_keys: AsyncApiKeys

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: Secret | None = None,
        token: Secret | None = None,
        tenant_id: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        from erasure_client._http import AsyncHTTPCarrier

        most = _retries(retries)
        self._settings = make_settings(base_url, api_key=api_key, token=token, tenant_id=tenant_id, timeout=timeout)
        carrier = AsyncHTTPCarrier(self._settings, transport)
        super().__init__(carrier, most)
        self._close = carrier.close
        self.requests = AsyncRequests(carrier, most)
        self.users = AsyncUsers(carrier, most)
        self.holds = AsyncHolds(carrier, most)
        self.suppressions = AsyncSuppressions(carrier, most)
        self.data_map = AsyncDataMaps(carrier, most)
        self.api_keys = AsyncApiKeys(carrier, most)

    def __repr__(self) -> str:
        return _shown(self, self._settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """As :meth:`ErasureClient.close`."""
        await self._close()

    async def request_current_user_deletion(self, *, idempotency_key: str | None = None) -> str:
        """As :meth:`ErasureClient.request_current_user_deletion`."""
        return await self._run(_self_deletion.ask(self._retries, idempotency_key=idempotency_key))

    async def confirm_current_user_deletion(
        self, delete_id: str, timeout: float | None = None, *, idempotency_key: str | None = None
    ) -> SelfDeletion:
        """As :meth:`ErasureClient.confirm_current_user_deletion`."""
        return await self._run(
            _self_deletion.confirm(delete_id, self._retries, timeout=timeout, idempotency_key=idempotency_key)
        )

    async def current_user_deletion(self, request_id: str) -> SelfDeletion:
        """As :meth:`ErasureClient.current_user_deletion`."""
        return await self._run(_self_deletion.look(request_id, self._retries))

    async def preview_current_user_deletion(self) -> DeletionPreview:
        """As :meth:`ErasureClient.preview_current_user_deletion`."""
        return await self._run(_self_deletion.preview(self._retries))

    async def preview(
        self,
        subjects: SubjectLike | Iterable[SubjectLike],
        *,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
    ) -> tuple[Plan, ...]:
        """As :meth:`ErasureClient.preview`."""
        return await self._run(
            _plans.preview(subjects, self._retries, categories=categories, organization_ids=organization_ids)
        )

    def bulk(
        self,
        subjects: SubjectLike | Iterable[SubjectLike] | AsyncIterable[SubjectLike],
        *,
        chunk_size: int = 500,
        categories: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        not_before: datetime | None = None,
        run_id: str | None = None,
    ) -> AsyncIterator[BulkResult]:
        """As :meth:`ErasureClient.bulk`. ``subjects`` may be an asynchronous iterable."""
        return bulk_async(
            subjects,
            self._retries,
            self._run,
            chunk_size=chunk_size,
            categories=categories,
            organization_ids=organization_ids,
            not_before=not_before,
            run_id=run_id,
        )

    async def sla(self) -> SlaFigures:
        """As :meth:`ErasureClient.sla`."""
        return await self._run(_figures.sla(self._retries))

    async def retention(self) -> tuple[RetentionRule, ...]:
        """As :meth:`ErasureClient.retention`."""
        return await self._run(_figures.retention(self._retries))

    async def health(self) -> Health:
        """As :meth:`ErasureClient.health`."""
        return await self._run(_figures.health(self._retries))


def _retries(most: int) -> Retries:
    if not isinstance(most, int) or not 0 <= most <= MOST_RETRIES:
        raise ConfigurationError(f"retries must be a whole number from 0 to {MOST_RETRIES}")
    return Retries(most)


def _shown(client: object, settings: Settings) -> str:
    return f"{type(client).__name__}({settings.base_url!r})"
