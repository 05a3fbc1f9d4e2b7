"""What the errors of S3 mean for a target: one fixed word each."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from erasure.errors import TargetError

THROTTLED = "throttled"
UNAVAILABLE = "unavailable"
DENIED = "access_denied"
MISSING = "target_missing"
REJECTED = "rejected"
BLOCKED = "blocked"
"""The version is under Object Lock."""
GONE = "gone"
"""Somebody else removed it first: neither a problem nor something to count."""

PASSING = frozenset({THROTTLED, UNAVAILABLE})
"""Trying again may help."""

CALL_ERRORS = (ClientError, BotoCoreError, ResponseParserError)
"""What a call of a botocore client raises; the last one when an answer cannot be understood."""

_MEANINGS = {
    **dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests", "RequestThrottled",
         "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "503", "429"),
        THROTTLED,
    ),
    **dict.fromkeys(
        ("InternalError", "InternalServerError", "InternalFailure", "OperationAborted", "RequestTimeout", "500", "502",
         "504"),
        UNAVAILABLE,
    ),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "Forbidden", "403"), DENIED),
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion", "NoSuchUpload"), GONE),
    "NoSuchBucket": MISSING,
    "ObjectLocked": BLOCKED,
}  # fmt: skip

# S3 itself refuses a locked version with AccessDenied, and only the message tells why.
_NOT_ALLOWED = "not authorized to perform"
"""How a policy refuses. What follows names the object, which may be called after any of the words below."""
_LOCK_WORDS = ("object lock", "worm", "legal hold", "retention")


def meaning_of(code: str, message: str, otherwise: str) -> str:
    """The meaning of an error code; ``otherwise`` for an unknown one."""
    meaning = _MEANINGS.get(code, otherwise)
    words = message.lower()
    if _NOT_ALLOWED in words:
        return meaning
    if meaning in (DENIED, REJECTED) and any(word in words for word in _LOCK_WORDS):
        return BLOCKED
    return meaning


def meaning_of_exception(error: BaseException) -> str:
    """The meaning of one of :data:`CALL_ERRORS`, raised for a whole call."""
    if isinstance(error, ParamValidationError):
        return REJECTED
    if isinstance(error, ClientError):
        details: dict[str, Any] = dict(error.response.get("Error", {}))
        return meaning_of(str(details.get("Code", "")), str(details.get("Message", "")), otherwise=UNAVAILABLE)
    return UNAVAILABLE


def error_for(meaning: str, detail: str = "") -> TargetError:
    return TargetError(meaning, permanent=meaning not in PASSING, detail=detail)
