"""What the wire families read from a call in the same way. Every refusal names the field as the family calls it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from erasure.domain.canonical import canonical_json
from erasure.domain.identifiers import check_idempotency_key, check_identifier
from erasure.domain.times import parse_time
from erasure.errors import InvalidInputError
from erasure.services.erasures import IdempotencyClaim

if TYPE_CHECKING:
    from erasure.entry.exchange import Call

# What fromisoformat() would take besides (week dates, hours alone) is not what anybody means.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


MAX_ORGANIZATIONS_BYTES = 25 * 1024
"""Of one request. Lists show a hundred requests, and a function's answer holds 6 MB."""

MAX_COPIED_BYTES = 2 * 1024 * 1024
"""Of one call: every request keeps the organizations, and all of them are written within seconds."""


class ListTooLongError(InvalidInputError):
    """A list that names more than one call may. It is refused whole, never cut."""


def check_identifiers(value: object, field: str, most: int) -> tuple[str, ...]:
    """The identifiers in ``value``, a list of 1 to ``most`` different ones. Raises :class:`InvalidInputError`."""
    if not isinstance(value, list):
        raise InvalidInputError(field, "must be a list of texts")
    if not value:
        raise InvalidInputError(field, "must not be empty")
    identifiers = tuple([check_identifier(entry, f"{field}[{position}]") for position, entry in enumerate(value)])
    if len(set(identifiers)) > most:
        raise ListTooLongError(field, f"must not name more than {most} different ones")
    return identifiers


def check_organizations(value: object, field: str, most: int, subjects: int) -> tuple[str, ...]:
    """The different organizations to which the requests for so many ``subjects`` are limited, at least one: an empty
    list must not come to mean all of them. Raises :class:`InvalidInputError`."""
    organization_ids = tuple(dict.fromkeys(check_identifiers(value, field, most)))
    longest = min(MAX_ORGANIZATIONS_BYTES, MAX_COPIED_BYTES // max(1, subjects))
    if sum(len(organization_id.encode()) for organization_id in organization_ids) > longest:
        raise ListTooLongError(field, f"must not be longer than {longest} bytes together for so many subjects")
    return organization_ids


def check_moment(value: object, field: str) -> datetime:
    """The moment in ``value``, RFC 3339 with its offset; in UTC. Raises :class:`InvalidInputError`."""
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return parse_time(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInputError(field, "must be a time with its offset, such as 2030-01-31T12:00:00Z")


def claim_of(call: Call, operation: str, body: object) -> IdempotencyClaim | None:
    """What the call's ``Idempotency-Key``, if it has one, was sent for. ``body``: as it was parsed."""
    key = check_idempotency_key(call.header("Idempotency-Key"))
    return None if key is None else IdempotencyClaim(key, operation, canonical_json(body))
