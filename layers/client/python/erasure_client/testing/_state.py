"""All that the fake knows, and its clock."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from erasure_client.testing._checks import MismatchRefused, Refused, not_found
from erasure_client.testing._exchange import Whom
from erasure_client.testing._maps import DataMap, parse_map
from erasure_client.testing._records import (
    DeleteId,
    Disabled,
    FakeUser,
    Hold,
    Keep,
    Key,
    Record,
    Remembered,
    Tombstone,
)

SLA, PURGE = timedelta(hours=72), timedelta(days=90)
REMEMBERED_FOR = timedelta(hours=24)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class State:
    """``failing``: reason by target. ``keeping``: what stays, by target. ``suppressed``: request's id and moment."""

    def __init__(self, document: Mapping[str, Any], clock: Callable[[], datetime], *, calls_per_minute: int) -> None:
        self._clock = clock
        self._later = timedelta()
        self._numbers = count(1)
        self._secret = secrets.token_bytes(32)
        self.calls_per_minute = calls_per_minute
        self.maps: list[DataMap] = [parse_map(document, 1)]
        self.users: dict[Whom, FakeUser] = {}
        self.requests: dict[str, Record] = {}
        self.tombstones: dict[Whom, Tombstone] = {}
        self.disabled: dict[Whom, Disabled] = {}
        self.holds: dict[Whom, Hold] = {}
        self.suppressed: dict[Whom, tuple[str, datetime]] = {}
        self.keys: dict[str, Key] = {}
        self.tokens: dict[str, tuple[Whom, datetime]] = {}
        self.delete_ids: dict[str, DeleteId] = {}
        self.remembered: dict[tuple[str, str, str], Remembered] = {}
        self.counted: Counter[tuple[str, int]] = Counter()
        self.failing: dict[str, str] = {}
        self.keeping: dict[str, Keep] = {}

    @property
    def map(self) -> DataMap:
        return self.maps[-1]

    def now(self) -> datetime:
        """To the millisecond, as the service writes moments."""
        moment = self._clock().astimezone(UTC) + self._later
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def advance(self, time: timedelta) -> None:
        self._later += time

    def new_id(self, prefix: str) -> str:
        """``er_`` or the like and a ULID; later ones sort behind earlier ones, in the same millisecond too."""
        moment = (self.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        number = (moment << 80) | (next(self._numbers) << 48) | secrets.randbits(48)
        return prefix + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))

    def digest(self, *fields: str) -> str:
        mac = hmac.new(self._secret, digestmod=hashlib.sha256)
        for text in fields:
            data = text.encode()
            mac.update(len(data).to_bytes(8, "big") + data)
        return mac.hexdigest()

    def user(self, whom: Whom) -> FakeUser:
        return self.users.setdefault(whom, FakeUser(whom.id))

    def own(self, tenant_id: str, request_id: str) -> Record:
        """Raises :class:`Refused` for another tenant's, as for what does not exist."""
        record = self.requests.get(request_id)
        if record is None or record.whom.tenant_id != tenant_id:
            raise not_found()
        return record

    def hold_of(self, whom: Whom) -> Hold | None:
        """One that concerns the subject."""
        return next((hold for hold in self.holds.values() if hold.concerns(whom)), None)

    def once(self, owner: str, operation: str, key: str | None, body: str, action: Callable[[], Any]) -> Any:
        """``action``'s result; the earlier one when the key comes again with the same body."""
        if key is None:
            return action()
        now, place = self.now(), (owner, operation, key)
        known = self.remembered.get(place)
        if known is None or known.until <= now:
            known = self.remembered[place] = Remembered(body, now + REMEMBERED_FOR)
        if known.body != body:
            raise MismatchRefused
        if not known.is_done:
            try:
                known.result = action()
            except Refused as error:
                if error.frees_key:
                    self.remembered.pop(place, None)
                raise
            known.is_done = True
        return known.result
