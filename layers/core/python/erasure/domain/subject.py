"""Who is erased."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from erasure.errors import TargetError

USER = "user"
GROUP = "group"
ORGANIZATION = "organization"
RETENTION = "retention"
"""Not somebody but a run by one of the map's rules of age (:mod:`erasure.domain.retention_runs`): what it erases is
whosever it is."""
SUBJECT_TYPES = (USER, GROUP, ORGANIZATION)
OWN_PLACEHOLDERS = {USER: "user_id", GROUP: "group_id", ORGANIZATION: "subject_organization_id"}
"""What stands for a subject's own id in specs, by its type. An organization that is erased is not one to which somebody
else's erasure is limited (``{organization_id}``): of one name, the two could be taken for each other."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A person (``type`` ``"user"``), a group (``"group"``) or an organization (``"organization"``) of a tenant. ``id``
    is opaque, compared byte for byte; empty when a purged record does not know it any more.

    ``repr`` shows neither tenant nor id, so that a subject in a traceback or a log line tells nothing.
    """

    tenant_id: str
    id: str
    type: str = USER

    def __repr__(self) -> str:
        return f"Subject(type={self.type!r})"

    def values(self) -> dict[str, str]:
        """The values of the placeholders of a spec for this subject.

        Raises :class:`TargetError` ``missing_value`` without an id, which a record has lost that was purged: nothing
        may be looked for, let alone erased, by what is left of it."""
        if not self.id:
            raise TargetError("missing_value", permanent=True, detail="the subject's id is not known any more")
        if self.type == RETENTION:
            return {RETENTION: self.id}
        return {"tenant_id": self.tenant_id, OWN_PLACEHOLDERS[self.type]: self.id}


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
