"""Users as a backend sees them (the HelloJohn family): look up, delete at once, disable, enable.

A deletion is effective before the call returns: the tombstone is written with the request, then the erasers are called
for the categories :data:`ACCESS_CATEGORIES`, and only when the verifier has seen those gone the call succeeds. The
rest follows through the batch lane, whose message was sent before the erasers were called: nothing gets lost if this
function dies in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from erasure.services.erasures import IdempotencyClaim

FAMILY = "hellojohn"
ACCESS_CATEGORIES = ("session", "credential", "account")

ACTIVE = "active"
DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Account:
    """``status``: ``active`` or ``disabled``; the other two only when disabled."""

    user_id: str
    status: str
    disabled_at: datetime | None = None
    delete_at: datetime | None = None


class AccountService:
    def show(self, tenant_id: str, user_id: str) -> Account:
        """Raises ``NotFoundError`` for a user with a tombstone, and for one of whom the data map's targets of category
        account hold nothing."""
        raise NotImplementedError

    def delete(
        self, tenant_id: str, user_id: str, key_id: str, idempotency: IdempotencyClaim | None = None
    ) -> str:
        """Returns the request's id once account, sessions and credentials are gone. ``NotFoundError`` as for ``show``.

        Raises ``UnavailableError`` if they are not gone: the request is accepted and goes on, the tombstone stays;
        calling again takes the same request up again.
        """
        raise NotImplementedError

    def disable(
        self,
        tenant_id: str,
        user_id: str,
        key_id: str,
        *,
        revoke_sessions: bool,
        delete_after_days: int | None,
        idempotency: IdempotencyClaim | None = None,
    ) -> Account:
        """``delete_after_days``: erase the user after so many days, unless enabled again."""
        raise NotImplementedError

    def enable(
        self, tenant_id: str, user_id: str, key_id: str, idempotency: IdempotencyClaim | None = None
    ) -> Account:
        """Raises ``ConflictError`` if its deletion has begun."""
        raise NotImplementedError
