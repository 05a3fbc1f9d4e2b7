"""A person's own deletion, in two steps, and how far it is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from erasure_client._flow import Flow, Now, Retries, send, with_key
from erasure_client._models_others import SelfDeletion
from erasure_client._models_plans import DeletionPreview
from erasure_client._plans import SLOW_SECONDS
from erasure_client._waiting import Waiting, check_same, checked_seconds, follow, raise_if_stopped
from erasure_client._wire import Answer, Call, segment
from erasure_client.errors import (
    ConfigurationError,
    ErasureClientError,
    NeedsAttentionError,
    RefusedError,
    ServiceError,
    StoppedError,
    UnexpectedAnswerError,
)

DEFAULT_TIMEOUT = 300.0
_LONGEST_ANSWER_SECONDS = 24.0
"""A confirmation is answered after that at the latest, whatever time it allows."""
_ON_THE_WAY_SECONDS = 6.0
"""That an answer may take beyond the service's own waiting, and a call beyond the caller's."""


def ask(retries: Retries, *, idempotency_key: str | None = None) -> Flow[str]:
    """Step one: the delete id, good for some minutes. Raises :class:`HeldError` for a person under a legal hold."""
    call = with_key(Call("DELETE", "/users/current", "DELETE /users/current"), idempotency_key)
    answer = yield from send(call, retries)
    delete_id = answer.json().get("delete_id")
    if not isinstance(delete_id, str) or not delete_id:
        raise UnexpectedAnswerError("The answer holds no delete id.", answer.status)
    return delete_id


def look(request_id: str, retries: Retries) -> Flow[SelfDeletion]:
    """How far one of the person's own deletions is."""
    return _read(request_id, (yield from send(_status_call(request_id), retries)))


def preview(retries: Retries) -> Flow[DeletionPreview]:
    path = "/users/current/deletion-preview"
    answer = yield from send(Call("GET", path, f"GET {path}", read_timeout=SLOW_SECONDS), retries)
    return DeletionPreview.of(answer.json())


def confirm(
    delete_id: str, retries: Retries, *, timeout: float | None = None, idempotency_key: str | None = None
) -> Flow[SelfDeletion]:
    """Step two, and wait until everything is erased and verified. See ``confirm_current_user_deletion``."""
    if not isinstance(delete_id, str) or not delete_id:
        raise ConfigurationError("delete_id must be the text that the first step gave")
    seconds = checked_seconds(timeout, "timeout")
    seconds = DEFAULT_TIMEOUT if seconds is None else seconds
    now: float = yield Now()
    ends_at = now + seconds
    path = "/users/current/confirm-delete"
    call = with_key(Call("POST", path, f"POST {path}", body={"delete_id": delete_id}), idempotency_key)
    answer = yield from _confirmed(call, retries, ends_at)
    request_id = answer.request_id
    # A stranger's 204 or 202 must not count: the service's own come with the request.
    if answer.status not in (202, 204) or not request_id:
        raise UnexpectedAnswerError("The answer to the confirmation is none of the service's.", answer.status)
    if answer.status == 204:
        return (yield from _told(request_id, retries, ends_at))
    waiting = _waiting(request_id, ends_at)
    return (yield from follow(waiting, retries, known=True, asked=answer.retry_after or 0.0))


def _confirmed(call: Call, retries: Retries, ends_at: float) -> Flow[Answer]:
    """The answer that says that the confirmation is accepted. The key stays the same for all repetitions: the first
    that gets through uses the delete id up."""
    try:
        return (yield from send(call, retries, ends_at=ends_at, fitted=_patient, is_final=_is_about_a_request))
    except ServiceError as error:
        if error.request_id is None:
            raise
        raise NeedsAttentionError(error.message, error.request_id) from error
    except RefusedError as error:
        if error.status != 409 or error.request_id is None:
            raise
        raise StoppedError(error.message, error.request_id) from error


def _patient(call: Call, left: float) -> Call:
    """The service is told how long it may wait for the erasure; the answer gets some seconds more."""
    seconds = min(max(0.0, left), _LONGEST_ANSWER_SECONDS)
    longest = seconds + _ON_THE_WAY_SECONDS
    return replace(call, query={"timeout": f"{seconds:.3f}"}, read_timeout=longest, within=longest)


def _is_about_a_request(refusal: RefusedError) -> bool:
    """It is accepted, and something could not be erased: asking again is not what helps."""
    return refusal.request_id is not None


def _told(request_id: str, retries: Retries, ends_at: float) -> Flow[SelfDeletion]:
    """What there is to tell of a deletion that is known to be complete. That it is does not depend on being told."""
    known = SelfDeletion(request_id, "finished", attention=False)
    now: float = yield Now()
    if now >= ends_at:
        return known
    try:
        told = _read(request_id, (yield from send(_status_call(request_id), retries, ends_at=ends_at)))
    except ErasureClientError:
        return known
    return told if told.is_finished and told.targets else known


def _waiting(request_id: str, ends_at: float) -> Waiting[SelfDeletion]:
    return Waiting(
        request_id,
        _status_call(request_id),
        read=partial(_read, request_id),
        is_over=partial(_is_over, request_id),
        rests=lambda deletion: deletion.scan_at is not None,
        essence=lambda deletion: deletion,
        ends_at=ends_at,
    )


def _is_over(request_id: str, deletion: SelfDeletion, _: float) -> bool:
    if deletion.attention:
        message = "Not everything could be erased yet. The operators have been told; nothing needs to be sent again."
        raise NeedsAttentionError(message, request_id)
    raise_if_stopped(deletion.state, request_id)
    return deletion.is_finished


def _status_call(request_id: str) -> Call:
    # By the id: an address that an answer names could be anybody's, and the token would go there.
    path = "/users/current/erasure-requests/"
    return Call("GET", path + segment(request_id), f"GET {path}{{request_id}}")


def _read(request_id: str, answer: Answer) -> SelfDeletion:
    deletion = SelfDeletion.of(answer.json())
    check_same(deletion.request_id, request_id, answer)
    return deletion
