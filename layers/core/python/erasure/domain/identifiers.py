"""Identifiers from outside are opaque text; ids of requests and batches are our own and sort by time.

The rule for identifiers (wire contracts, "Rules for every family"): 1 to 256 characters, not blank, no control
characters, compared byte for byte. Nothing is stripped, folded or normalised: two spellings that look alike are two
people. Invisible characters that are not controls (zero-width and bidirectional marks, line and paragraph
separators) are data for the same reason: to refuse them would leave their owners without a way to be erased.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time

from erasure.errors import InvalidInputError

MAX_IDENTIFIER_LENGTH = 256
"""In characters (Unicode code points); up to 1,024 bytes as UTF-8."""

# Unicode's category Cc is exactly these two ranges. Lone surrogates (a JSON "\ud800" gives one) cannot be
# encoded: no store could compare them byte for byte.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# The first digit carries the top 3 of 128 bits, hence at most 7.
_ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_REQUEST_ID = re.compile(f"er_{_ULID}")
_BATCH_ID = re.compile(f"eb_{_ULID}")
_RANDOM_BITS = 80


def check_identifier(value: object, field: str) -> str:
    """``value`` itself, untouched, when it is an identifier.

    Raises :class:`InvalidInputError` with ``field`` and the rule that it breaks, never with the value.
    """
    if not isinstance(value, str):
        raise InvalidInputError(field, "must be text")
    if not 1 <= len(value) <= MAX_IDENTIFIER_LENGTH:
        raise InvalidInputError(field, f"must have 1 to {MAX_IDENTIFIER_LENGTH} characters")
    if value.isspace():
        raise InvalidInputError(field, "must not be blank")
    if _FORBIDDEN.search(value):
        raise InvalidInputError(field, "must not hold control characters or unpaired surrogates")
    return value


def check_idempotency_key(value: object, field: str = "Idempotency-Key") -> str | None:
    """The key, or None when there is none. The same rule as for identifiers; it is compared byte for byte too.

    Raises :class:`InvalidInputError`.
    """
    return None if value is None else check_identifier(value, field)


def new_request_id(milliseconds: int | None = None) -> str:
    """``er_`` and a ULID in Crockford's Base32: 48 bits of Unix time in ``milliseconds`` (default: now), 80 random.

    Ids of different milliseconds sort by time; within one millisecond their order is random.
    """
    return "er_" + _ulid(milliseconds, secrets.randbits(_RANDOM_BITS))


def new_batch_id(milliseconds: int | None = None) -> str:
    """``eb_`` and a ULID, as for requests."""
    return "eb_" + _ulid(milliseconds, secrets.randbits(_RANDOM_BITS))


def derived_request_id(batch_id: str, position: int, milliseconds: int) -> str:
    """The request id of the subject at ``position`` of a batch: the same whenever the batch is accepted again, so that
    repeating a call which died half-way makes no second request of any."""
    digest = hashlib.sha256(f"{batch_id}:{position}".encode()).digest()
    return "er_" + _ulid(milliseconds, int.from_bytes(digest[: _RANDOM_BITS // 8], "big"))


def milliseconds_of(own_id: str) -> int:
    """The Unix time in milliseconds that an id of a request or a batch holds."""
    value = 0
    for digit in own_id[3:13]:
        value = value * 32 + _CROCKFORD.index(digit)
    return value


def is_request_id(value: object) -> bool:
    """Whether ``value`` has the form of a request id; whether there is such a request is another question."""
    return isinstance(value, str) and _REQUEST_ID.fullmatch(value) is not None


def is_batch_id(value: object) -> bool:
    """Whether ``value`` has the form of a batch id."""
    return isinstance(value, str) and _BATCH_ID.fullmatch(value) is not None


def _ulid(milliseconds: int | None, rest: int) -> str:
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << _RANDOM_BITS) | rest
    return "".join([_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5)])
