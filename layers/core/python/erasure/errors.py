"""The errors of the service.

::

    ErasureError
    ├── InvalidInputError          a value breaks a rule; ``field`` and ``rule`` say which
    │   ├── DataMapError           the data map breaks a rule; ``problems`` lists path and rule
    │   ├── MalformedBodyError     the body is not what its content type says
    │   └── SubjectRefusedError    a subject that cannot be erased safely; ``position``, ``reason``
    ├── DeleteIdRejectedError      wrong, reused, expired, malformed or unknown: deliberately not told apart
    ├── AuthenticationError        no token or key, or one that does not check out
    │   └── KeyRefusedError        a backend without an API key, or with one that is not taken
    ├── ForbiddenError             the key may not do this; ``reason`` says why
    ├── RateLimitedError           too many calls with this key; ``retry_after`` in seconds
    ├── NotFoundError
    ├── ConflictError              the call contradicts an earlier one
    │   ├── HeldError                  a legal hold concerns the subject
    │   ├── PlanChangedError           what would be erased is not what the caller has seen
    │   ├── IdempotencyKeyUsedError    the key is taken; the store found out while writing
    │   └── IdempotencyMismatchError   the key came with another body before
    ├── AlreadyOpenError           a request for this is open; ``request_id``
    ├── AlreadyDeletedError        the subject has a tombstone
    ├── TransitionError            the request is not in a state that allows this
    ├── UnavailableError           a dependency did not answer; trying again may help
    │   ├── WithdrawnError             what had been accepted was taken back; trying again starts afresh
    │   └── UnfinishedError            accepted, but not done within this call; ``request_id``
    ├── SliceLostError             another slice has taken this task over
    ├── UnexpectedError            stands for a foreign error, whose text may hold anything
    └── TargetError                one target cannot be erased or verified; ``code``, ``permanent``

No message of any of them may hold a subject identifier, a table or a bucket name: they end up in
answers, logs and audit entries.
"""

from __future__ import annotations

import traceback


class ErasureError(Exception):
    """Root of all errors that the service raises on purpose."""


class InvalidInputError(ErasureError):
    """A value breaks a rule. ``str(error)`` is ``"<field>: <rule>"`` and safe to show."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class DataMapError(InvalidInputError):
    """The data map breaks rules. ``problems`` holds ``(path, rule)`` pairs, in document order."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        path, rule = problems[0]
        super().__init__(path, rule)
        self.problems = problems


class MalformedBodyError(InvalidInputError):
    """The body cannot be read at all, so no field of it can be named."""

    def __init__(self, rule: str) -> None:
        super().__init__("body", rule)


class SubjectRefusedError(InvalidInputError):
    """A subject whose data cannot be named safely. ``field``: the caller's name for it; ``reason``: a fixed code."""

    def __init__(self, field: str, rule: str, position: int, reason: str) -> None:
        super().__init__(field, rule)
        self.position = position
        self.reason = reason


class DeleteIdRejectedError(ErasureError):
    """The delete id does not allow this deletion. Why is deliberately not kept."""


class AuthenticationError(ErasureError):
    """Who is calling could not be established. ``reason`` is a fixed code, safe to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeyRefusedError(AuthenticationError):
    """The same, of a backend. ``reason``: ``missing_token`` or ``invalid_api_key``."""


class ForbiddenError(ErasureError):
    """The caller is known and may not do this. ``reason``: ``insufficient_permissions`` or ``tenant_mismatch``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RateLimitedError(ErasureError):
    """Too many calls. ``retry_after``: whole seconds until the next may succeed."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests with this key.")
        self.retry_after = retry_after


class NotFoundError(ErasureError):
    """There is no such thing, or it belongs to somebody else: the caller cannot tell."""


class ConflictError(ErasureError):
    """The call contradicts an earlier one (same idempotency key, another body)."""


class HeldError(ConflictError):
    """A legal hold concerns the subject: nothing of it may be erased. ``str(error)`` is safe to show."""


class PlanChangedError(ConflictError):
    """The plan that the call names is not the one by which the subject would be erased now."""


class IdempotencyKeyUsedError(ConflictError):
    """The idempotency key stands for an earlier call already; whether with the same body is for the caller to see."""


class IdempotencyMismatchError(ConflictError):
    """The idempotency key came with another body before."""


class AlreadyOpenError(ErasureError):
    """There is an open request for this already. ``request_id``: which."""

    def __init__(self, request_id: str) -> None:
        super().__init__("a request for this is open already")
        self.request_id = request_id


class AlreadyDeletedError(ErasureError):
    """The subject has a tombstone: for the outside it does not exist any more."""


class SliceLostError(ErasureError):
    """Another slice works on this task now. Whatever this one still does is not counted."""


class TransitionError(ErasureError):
    """The request is not in a state that allows this change."""


class UnavailableError(ErasureError):
    """Something that the service needs did not answer. Nothing was promised."""


class WithdrawnError(UnavailableError):
    """What the call had accepted already was taken back, as far as that could be done."""


class UnfinishedError(UnavailableError):
    """The call was accepted, and what it promises is not done yet. ``str(error)`` says how it goes on, safe to show."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class UnexpectedError(ErasureError):
    """A foreign error ended a function's call. ``str(error)`` is its kind and nothing that it said."""


class TargetError(ErasureError):
    """A target could not be erased or verified.

    ``code`` is a fixed word (``target_missing``, ``access_denied``, ``map_mismatch``,
    ``ambiguous_identifier``, ``missing_value``, ``throttled``, ``unavailable``, ``rejected``);
    ``permanent`` tells whether another slice may help. ``detail`` is a fixed text without names.
    """

    def __init__(self, code: str, *, permanent: bool, detail: str = "") -> None:
        super().__init__(code if not detail else f"{code}: {detail}")
        self.code = code
        self.permanent = permanent
        self.detail = detail


def places_of(error: BaseException) -> list[str]:
    """Where an unexpected error came from, innermost last: ``file:line:function``, and not what it says.

    The message of a foreign exception may hold anything, identifiers and table names included; this is safe to log.
    """
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}" for frame in frames]
