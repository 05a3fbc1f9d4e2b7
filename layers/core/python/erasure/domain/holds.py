"""By which digests a legal hold and a request find each other.

A hold names a subject and further ids of theirs, by marks: keyed digests of each id for each of the ways in which
somebody may come upon it. As a subject's own id; as a further id of somebody whose own one is another; and wherever the
tenant is not known, as in items that a retention rule reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject, keyed_digest, subject_digest

MAX_ALIASES = 20


def marks_of(key: bytes, subject: Subject, aliases: Iterable[str] = ()) -> tuple[str, ...]:
    """The marks of a hold. First the digests of the subject and of each alias as the id of a subject of the same type,
    the subject's own leading; then those as further ids; then those for wherever the tenant is not known."""
    values = tuple(dict.fromkeys([subject.id, *aliases]))
    return (
        *[subject_digest(key, Subject(subject.tenant_id, value, subject.type)) for value in values],
        *[alias_digest(key, subject.tenant_id, value) for value in values],
        *[anywhere_digest(key, value) for value in values],
    )


def alias_digest(key: bytes, tenant_id: str, value: str) -> str:
    """What marks a value as a further id of somebody of the tenant."""
    return keyed_digest(key, "alias", tenant_id, value)


def anywhere_digest(key: bytes, value: str) -> str:
    """What marks a value as an id of somebody, of whatever tenant and type."""
    return keyed_digest(key, "held-anywhere", value)


def digests_of_identifiers(key: bytes, tenant_id: str, identifiers: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The marks by which a hold may name a subject with these further ids, in the order of the digests: it tells
    nothing of which identifier has how many."""
    values = {value for known in identifiers.values() for value in known}
    return tuple(sorted(alias_digest(key, tenant_id, value) for value in values))


def marks_of_request(request: ErasureRequest) -> tuple[str, ...]:
    """The marks of holds that concern the request."""
    return (request.subject_digest, *request.hold_digests)


def mentions(text: str, ids: Iterable[str]) -> bool:
    """Whether the text has one of the ids as a whole word, in whatever case and however its characters are composed: it
    is kept in clear, they must not be."""
    folded = _folded(text)
    return any(re.search(rf"(?<!\w){re.escape(_folded(value))}(?!\w)", folded) for value in ids)


def _folded(text: str) -> str:
    # Folding may take composed characters apart, so it is followed by composing.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
