"""``client.users``: users of an application, as its backend sees them."""

from __future__ import annotations

from collections.abc import Iterable

from erasure_client._face import AsyncFace, Face
from erasure_client._flow import Flow, Retries, send, with_key
from erasure_client._models_others import Deletion, User
from erasure_client._models_requests import Batch
from erasure_client._request_flows import check_subjects
from erasure_client._subjects import Subject, check_id, each_subject
from erasure_client._wire import Answer, Call, segment
from erasure_client.errors import (
    ConfigurationError,
    NeedsAttentionError,
    RefusedError,
    ServiceError,
    UnexpectedAnswerError,
)

PATH = "/v1/users"
_ONE = f"{PATH}/{{user_id}}"

SLOW_SECONDS = 30.0
"""To wait for an answer before which the service erases: it works for 18 seconds, the gateway gives up after 29."""

_OPERATORS = "operators"
"""What the message of a deletion says that does not go on by itself; there is no code for it."""


def get(user_id: str, retries: Retries) -> Flow[User]:
    answer = yield from send(_call("GET", user_id), retries)
    return _same(User.of(answer.json()), user_id, answer)


def delete(user_id: str, retries: Retries, idempotency_key: str | None = None) -> Flow[Deletion]:
    call = with_key(_call("DELETE", user_id, is_slow=True), idempotency_key)
    try:
        answer = yield from send(call, retries, is_final=_needs_operators)
    except ServiceError as error:
        if error.request_id is None or not _needs_operators(error):
            raise
        message = "The user counts as deleted, but account, sessions and credentials could not all be erased."
        raise NeedsAttentionError(message, error.request_id) from error
    if answer.status != 204 or answer.request_id is None:
        raise UnexpectedAnswerError("The answer does not say that the user is deleted.", answer.status)
    return Deletion(user_id, answer.request_id)


def _needs_operators(refusal: RefusedError) -> bool:
    return refusal.request_id is not None and _OPERATORS in refusal.message


def disable(
    user_id: str,
    retries: Retries,
    *,
    revoke_sessions: bool,
    delete_after_days: int | None,
    idempotency_key: str | None = None,
) -> Flow[User]:
    body: dict[str, object] = {"revoke_sessions": revoke_sessions}
    if delete_after_days is not None:
        body["delete_after_days"] = delete_after_days
    call = with_key(_call("POST", user_id, "/disable", body=body, is_slow=True), idempotency_key)
    answer = yield from send(call, retries)
    return User.of(answer.json(), user_id=user_id, request_id=answer.request_id)


def enable(user_id: str, retries: Retries, idempotency_key: str | None = None) -> Flow[User]:
    answer = yield from send(with_key(_call("POST", user_id, "/enable"), idempotency_key), retries)
    return User.of(answer.json(), user_id=user_id)


def delete_many(user_ids: str | Iterable[str], retries: Retries, idempotency_key: str | None = None) -> Flow[Batch]:
    named = [_user_id(user_id) for user_id in each_subject(user_ids)]
    path = f"{PATH}/bulk-delete"
    call = with_key(Call("POST", path, f"POST {path}", body={"user_ids": named}), idempotency_key)
    answer = yield from send(call, retries)
    batch = Batch.of_users(answer.json())
    check_subjects([each.subject for each in batch], [Subject.user(user_id) for user_id in named], answer)
    return batch


def _user_id(value: object) -> str:
    if isinstance(value, Subject):
        raise ConfigurationError("users are named by their ids here")
    return check_id(value, "a user's id")


def _call(method: str, user_id: str, action: str = "", *, body: object = None, is_slow: bool = False) -> Call:
    path = f"{PATH}/{segment(_user_id(user_id))}{action}"
    return Call(method, path, f"{method} {_ONE}{action}", body=body, read_timeout=SLOW_SECONDS if is_slow else None)


def _same(user: User, user_id: str, answer: Answer) -> User:
    if user.id != user_id:
        raise UnexpectedAnswerError("The answer is about another user than the call.", answer.status)
    return user


class Users(Face):
    """Every method raises :class:`~erasure_client.errors.ErasureClientError`. ``NotFoundError``: there is no such
    user, or they have been deleted before."""

    def get(self, user_id: str) -> User:
        """Whether there is such a user, and whether they are disabled."""
        return self._run(get(user_id, self._retries))

    def delete(self, user_id: str, *, idempotency_key: str | None = None) -> Deletion:
        """Delete one user **at once**: when this returns, account, sessions and credentials are gone. The rest goes
        within the promised time.

        ``HeldError``: a legal hold; ``ConflictError`` and ``HeldError`` with a ``request_id`` were accepted and wait.
        ``ServiceError`` with a ``request_id``: accepted, and not all of it seen gone yet; call again.
        ``NeedsAttentionError``: accepted, and operators have to look.
        """
        return self._run(delete(user_id, self._retries, idempotency_key))

    def disable(
        self,
        user_id: str,
        *,
        revoke_sessions: bool = False,
        delete_after_days: int | None = None,
        idempotency_key: str | None = None,
    ) -> User:
        """Write down that a user is disabled. ``revoke_sessions``: erase their sessions before this returns.
        ``delete_after_days``: delete them then, unless they are enabled before; ``request_id`` is that erasure's."""
        flow = disable(
            user_id,
            self._retries,
            revoke_sessions=revoke_sessions,
            delete_after_days=delete_after_days,
            idempotency_key=idempotency_key,
        )
        return self._run(flow)

    def enable(self, user_id: str, *, idempotency_key: str | None = None) -> User:
        """Undo :meth:`disable`, and call a deletion off that waits. ``ConflictError``: that has begun, or is held."""
        return self._run(enable(user_id, self._retries, idempotency_key))

    def delete_many(self, user_ids: str | Iterable[str], *, idempotency_key: str | None = None) -> Batch:
        """Delete up to 1,000 users, sessions and accounts not at once, but with everything else. A disposition for
        each different id: ``accepted`` with its ``request_id``, ``not_found`` (deleted before) or ``refused``."""
        return self._run(delete_many(user_ids, self._retries, idempotency_key))


class AsyncUsers(AsyncFace):
    """:class:`Users`, awaited."""

    async def get(self, user_id: str) -> User:
        """As :meth:`Users.get`."""
        return await self._run(get(user_id, self._retries))

    async def delete(self, user_id: str, *, idempotency_key: str | None = None) -> Deletion:
        """As :meth:`Users.delete`."""
        return await self._run(delete(user_id, self._retries, idempotency_key))

    async def disable(
        self,
        user_id: str,
        *,
        revoke_sessions: bool = False,
        delete_after_days: int | None = None,
        idempotency_key: str | None = None,
    ) -> User:
        """As :meth:`Users.disable`."""
        flow = disable(
            user_id,
            self._retries,
            revoke_sessions=revoke_sessions,
            delete_after_days=delete_after_days,
            idempotency_key=idempotency_key,
        )
        return await self._run(flow)

    async def enable(self, user_id: str, *, idempotency_key: str | None = None) -> User:
        """As :meth:`Users.enable`."""
        return await self._run(enable(user_id, self._retries, idempotency_key))

    async def delete_many(self, user_ids: str | Iterable[str], *, idempotency_key: str | None = None) -> Batch:
        """As :meth:`Users.delete_many`."""
        return await self._run(delete_many(user_ids, self._retries, idempotency_key))
