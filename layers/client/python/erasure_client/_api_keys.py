"""``client.api_keys``: keys of the tenant's backends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from erasure_client._arguments import moment_text, texts_of
from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Flow, Retries, carry_out, send, with_key
from erasure_client._models_others import ApiKey
from erasure_client._reading import Body
from erasure_client._subjects import check_id
from erasure_client._wire import Call, segment

PATH = "/v1/api-keys"


def create(
    scopes: Iterable[str],
    retries: Retries,
    *,
    name: str,
    valid_until: datetime | None,
    calls_per_minute: int | None,
    idempotency_key: str | None = None,
) -> Flow[ApiKey]:
    body: dict[str, Any] = {"scopes": texts_of(scopes, "scopes"), "name": name}
    if valid_until is not None:
        body["valid_until"] = moment_text(valid_until, "valid_until")
    if calls_per_minute is not None:
        body["calls_per_minute"] = calls_per_minute
    answer = yield from send(with_key(Call("POST", PATH, f"POST {PATH}", body=body), idempotency_key), retries)
    return ApiKey.of(answer.json())


def all_keys(retries: Retries) -> Flow[tuple[ApiKey, ...]]:
    answer = yield from send(Call("GET", PATH, f"GET {PATH}"), retries)
    return tuple([ApiKey.of(each) for each in Body(answer.json()).each("keys")])


def revoke(key_id: str, retries: Retries, idempotency_key: str | None = None) -> Flow[None]:
    path = f"{PATH}/{segment(check_id(key_id, 'key_id'))}"
    yield from carry_out(with_key(Call("DELETE", path, f"DELETE {PATH}/{{key_id}}"), idempotency_key), retries)


class ApiKeys(Face):
    """Keys of the caller's tenant. A key's text is shown once, by :meth:`create`."""

    def create(
        self,
        scopes: Iterable[str],
        *,
        name: str = "",
        valid_until: datetime | None = None,
        calls_per_minute: int | None = None,
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """A new key; ``text`` is what its owner needs, and nobody can tell it later. ``scopes``: only those that the
        calling key has itself, else ``NotAllowedError``. ``valid_until``: a time with its offset."""
        flow = create(
            scopes,
            self._retries,
            name=name,
            valid_until=valid_until,
            calls_per_minute=calls_per_minute,
            idempotency_key=idempotency_key,
        )
        return self._run(flow)

    def list(self) -> tuple[ApiKey, ...]:
        """Oldest first, revoked ones included."""
        return self._run(all_keys(self._retries))

    def revoke(self, key_id: str, *, idempotency_key: str | None = None) -> None:
        """End a key within seconds. A key may end itself. ``NotFoundError``."""
        self._run(revoke(key_id, self._retries, idempotency_key))


class AsyncApiKeys(AsyncFace):
    """:class:`ApiKeys`, awaited."""

    async def create(
        self,
        scopes: Iterable[str],
        *,
        name: str = "",
        valid_until: datetime | None = None,
        calls_per_minute: int | None = None,
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """As :meth:`ApiKeys.create`."""
        flow = create(
            scopes,
            self._retries,
            name=name,
            valid_until=valid_until,
            calls_per_minute=calls_per_minute,
            idempotency_key=idempotency_key,
        )
        return await self._run(flow)

    async def list(self) -> tuple[ApiKey, ...]:
        """As :meth:`ApiKeys.list`."""
        return await self._run(all_keys(self._retries))

    async def revoke(self, key_id: str, *, idempotency_key: str | None = None) -> None:
        """As :meth:`ApiKeys.revoke`."""
        await self._run(revoke(key_id, self._retries, idempotency_key))
