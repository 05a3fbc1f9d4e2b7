"""What the wire families read from a call in the same way. Every refusal names the field as the family calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from erasure.domain.canonical import canonical_json
from erasure.domain.identifiers import check_idempotency_key, check_identifier
from erasure.errors import InvalidInputError
from erasure.services.erasures import IdempotencyClaim

if TYPE_CHECKING:
    from erasure.entry.exchange import Call


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


def claim_of(call: Call, operation: str, body: object) -> IdempotencyClaim | None:
    """What the call's ``Idempotency-Key``, if it has one, was sent for. ``body``: as it was parsed."""
    key = check_idempotency_key(call.header("Idempotency-Key"))
    return None if key is None else IdempotencyClaim(key, operation, canonical_json(body))
