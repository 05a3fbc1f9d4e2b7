"""What can go wrong, as exceptions. None of their texts holds the id of a person.

::

    ErasureClientError
    ├── ConfigurationError          the client was made, or called, in a way that cannot work; nothing was sent
    ├── NoAnswerError               the service was not reached, or did not answer; whether it did the work is not known
    ├── UnexpectedAnswerError       an answer that this service does not give: is the address right?
    ├── RefusedError                the service said no, with a status
    │   ├── InvalidRequestError     400 and 422: a value breaks a rule; ``errors`` names fields and rules
    │   ├── NotSignedInError        401: no key or token, or a bad one
    │   ├── NotAllowedError         403: the key's scopes or tenant do not allow it
    │   ├── NotFoundError           404: no such thing, or another tenant's
    │   ├── ConflictError           409: not in this state, or the idempotency key came with another body
    │   │   ├── HeldError           409: a legal hold
    │   │   └── PlanChangedError    409: the plan that was named is not the one that would be carried out now
    │   ├── TooManyCallsError       429, after the client has waited as often as it may
    │   └── ServiceError            5xx: something is not available, or went wrong
    └── UnfinishedError             an erasure that was waited for is not finished; ``request_id`` says which
        ├── StillRunningError       the time to wait is over; the erasure goes on by itself
        ├── NeedsAttentionError     something could not be erased; operators have to look
        └── StoppedError            it was cancelled, or waits under a legal hold
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class BrokenRule(NamedTuple):
    """One thing that is wrong with a call: which field, and the rule that it breaks. ``reason``: of a subject that is
    refused, the service's word for it."""

    field: str
    rule: str
    reason: str | None = None


class ErasureClientError(Exception):
    """Of everything that this package raises."""

    request_id: str | None = None
    """The erasure request that it is about, as far as that is known."""


class ConfigurationError(ErasureClientError):
    """The client was made, or called, in a way that cannot work. Nothing was sent."""


class NoAnswerError(ErasureClientError):
    """The service could not be reached, or did not answer in time. Whether it has done the work is not known: call
    again with the same ``idempotency_key``."""

    def __init__(self, message: str, *, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class UnexpectedAnswerError(ErasureClientError):
    """An answer that this service does not give. ``status``: of the answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RefusedError(ErasureClientError):
    """The service answered with an error.

    ``status``: of the answer. ``code``: the service's word for it, such as ``invalid_request``. ``message``: its text.
    ``errors``: what is wrong with the call, field by field, if that is known. ``call_id``: the answer's
    ``X-Request-Id``, by which operators find the call in the logs. ``retry_after``: seconds, if the service said so.
    ``request_id``: the erasure request that the call led to all the same. ``idempotency_key``: that the call was sent
    with; repeat it with the same.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        errors: Sequence[BrokenRule] = (),
        call_id: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(f"{message} (status {status}, {code})")
        self.message = message
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.call_id = call_id
        self.request_id = request_id
        self.retry_after = retry_after
        self.idempotency_key = idempotency_key


class InvalidRequestError(RefusedError):
    """400 or 422: a value breaks a rule."""


class NotSignedInError(RefusedError):
    """401: no key or token, or one that is unknown, wrong, expired or revoked."""


class NotAllowedError(RefusedError):
    """403: the key lacks the scope, or is another tenant's."""


class NotFoundError(RefusedError):
    """404: there is no such thing, or it is another tenant's."""


class ConflictError(RefusedError):
    """409: not in this state; or the idempotency key came with another body before."""


class HeldError(ConflictError):
    """409: a legal hold concerns the subject."""


class PlanChangedError(ConflictError):
    """409: the subject would not be erased by the plan that was named. Look at a new one."""


class TooManyCallsError(RefusedError):
    """429: the key's calls of this minute are used up, and the client has waited as often as it may."""


class ServiceError(RefusedError):
    """5xx: something is not available, or went wrong. Repeat with the same ``idempotency_key``."""


class UnfinishedError(ErasureClientError):
    """An erasure that was waited for is not finished. ``request_id``: which."""

    def __init__(self, message: str, request_id: str) -> None:
        super().__init__(f"{message} (erasure request {request_id})")
        self.request_id: str = request_id


class StillRunningError(UnfinishedError):
    """The time to wait is over. The erasure goes on by itself."""


class NeedsAttentionError(UnfinishedError):
    """Something could not be erased. It is tried again by itself, and may need operators."""


class StoppedError(UnfinishedError):
    """It was cancelled, or waits under a legal hold."""
