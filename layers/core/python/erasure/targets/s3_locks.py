"""Object Lock: which of the versions that are still there are held by their bucket, and until when.

Only who verifies asks. The eraser leaves a locked version alone when S3 refuses to delete it, never asks for
governance to be bypassed, and decides nothing: what S3's refusal says is no proof that the version is locked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from erasure.targets.s3_errors import (
    CALL_ERRORS,
    DENIED,
    MISSING,
    PASSING,
    REJECTED,
    UNAVAILABLE,
    error_for,
    meaning_of,
)
from erasure.targets.s3_pages import Entry
from erasure.targets.s3_scope import Scope

_NO_LOCKS = frozenset({"InvalidRequest", "NotImplemented"})
"""What a bucket without Object Lock answers."""


class NoLocksError(Exception):
    """The bucket has no Object Lock: nothing in it is held."""


@dataclass(frozen=True, slots=True)
class Lock:
    """``until``: when the retention ends; ``None`` under a legal hold, which ends when somebody takes it away."""

    until: datetime | None


def lock_of(client: Any, scope: Scope, entry: Entry, now: datetime) -> Lock | None:
    """The lock of a version, in either mode; ``None`` if there is none, no more, or no version.

    Raises :class:`NoLocksError`, and :class:`erasure.errors.TargetError` if it cannot be told: ``access_denied``,
    ``target_missing``, ``throttled``, ``unavailable``.
    """
    retention = _ask(client.get_object_retention, scope, entry).get("Retention") or {}
    hold = _ask(client.get_object_legal_hold, scope, entry).get("LegalHold") or {}
    if hold.get("Status") == "ON":
        return Lock(None)
    until = retention.get("RetainUntilDate")
    return Lock(until) if isinstance(until, datetime) and until > now else None


def _ask(call: Callable[..., dict[str, Any]], scope: Scope, entry: Entry) -> dict[str, Any]:
    try:
        return call(**scope.location, **entry)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _NO_LOCKS:
            raise NoLocksError from None
        meaning = meaning_of(code, "", otherwise=REJECTED)  # any message here speaks of locks
        if meaning in (*PASSING, DENIED, MISSING):
            raise error_for(meaning) from None
        return {}  # this version has none, is a delete marker, or is gone
    except CALL_ERRORS:
        raise error_for(UNAVAILABLE) from None
