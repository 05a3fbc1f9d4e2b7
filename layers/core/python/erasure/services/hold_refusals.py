"""Say no to a deletion that would have to take effect at once, of somebody whom a legal hold concerns."""

from __future__ import annotations

from erasure.domain.times import format_time
from erasure.errors import HeldError
from erasure.ports import AuditLog, Clock, HoldReader


def trail_of(subject_digest: str) -> str:
    """Under which name the trail of a subject's holds is kept, in the place of a request's id."""
    return f"HOLD#{subject_digest}"


def check_not_held(
    subject_digest: str, family: str, message: str, *, holds: HoldReader, audit: AuditLog, now: Clock
) -> None:
    """Raises :class:`HeldError` with the ``message`` if a hold concerns the subject; the hold's trail has it then."""
    hold_id = holds.held([subject_digest]).get(subject_digest)
    if hold_id is None:
        return
    at = now()
    details: dict[str, object] = {"hold_id": hold_id, "family": family}
    audit.append(trail_of(subject_digest), "refused", at, details, event_id=f"refused:{family}:{format_time(at)}")
    raise HeldError(message)
