"""Who is erased."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

USER = "user"
GROUP = "group"
SUBJECT_TYPES = (USER, GROUP)


@dataclass(frozen=True, slots=True)
class Subject:
    """A person (``type`` ``"user"``) or a group (``"group"``) of a tenant. ``id`` is opaque, compared byte for byte.

    ``repr`` shows neither tenant nor id, so that a subject in a traceback or a log line tells nothing.
    """

    tenant_id: str
    id: str
    type: str = USER

    def __repr__(self) -> str:
        return f"Subject(type={self.type!r})"

    def values(self) -> dict[str, str]:
        """The values of the data map's placeholders for this subject."""
        return {"tenant_id": self.tenant_id, f"{self.type}_id": self.id}


def keyed_digest(key: bytes, *fields: str) -> str:
    """HMAC-SHA-256 over ``fields``, hex. Each goes in with its length: ``("a", "bc")`` and ``("ab", "c")`` differ."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for field in fields:
        data = field.encode()
        mac.update(len(data).to_bytes(8, "big"))
        mac.update(data)
    return mac.hexdigest()


def subject_digest(key: bytes, subject: Subject) -> str:
    """What stands for the subject wherever its id may not: keyed, so that nobody can try ids against it."""
    return keyed_digest(key, "subject", subject.tenant_id, subject.type, subject.id)
