"""What the fake remembers: requests, holds, keys and the like, each as plain as it can be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from erasure_client.testing._checks import format_time
from erasure_client.testing._exchange import Whom

REQUESTED, STARTED, HELD, FINISHED, CANCELLED = "requested", "started", "held", "finished", "cancelled"
STATES = (REQUESTED, STARTED, HELD, FINISHED, CANCELLED)
OPEN = (REQUESTED, STARTED, HELD)
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a target. ``until``: as it is told, ``None`` if nobody knows."""

    name: str
    category: str
    state: str
    count: int = 0
    reason: str | None = None
    kept: int = 0
    until: str | None = None
    basis: str | None = None

    def rest(self) -> dict[str, Any]:
        """What is told besides name, category and outcome."""
        shown: dict[str, Any] = {"count": self.count}
        if self.reason is not None:
            shown["reason"] = self.reason
        if self.kept:
            shown |= {"kept": self.kept, "until": self.until}
            if self.basis is not None:
                shown["basis"] = self.basis
        return shown

    def to_dict(self) -> dict[str, Any]:
        """As people and trails are told of it."""
        return {"target": self.name, "category": self.category, "outcome": self.state, **self.rest()}


@dataclass(slots=True)
class Record:
    """A request. ``working``: state and count of the targets that a job has under way; ``sent``: somebody has asked for
    another try; ``is_partial``: a deletion at once has erased what it had to, and the rest is to come."""

    request_id: str
    whom: Whom
    subject_digest: str
    family: str
    requested_at: datetime
    due_at: datetime
    purged_by: datetime
    key_id: str | None = None
    state: str = REQUESTED
    attention: bool = False
    not_before: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ended_at: datetime | None = None
    purged_at: datetime | None = None
    held_at: datetime | None = None
    hold_id: str | None = None
    paused_seconds: int = 0
    categories: tuple[str, ...] | None = None
    organization_ids: tuple[str, ...] = ()
    batch_id: str | None = None
    leaves_tombstone: bool = False
    attempt: int = 0
    job_id: str = ""
    is_partial: bool = False
    sent: bool = False
    looked_at: datetime | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    working: dict[str, tuple[str, int]] = field(default_factory=dict)
    trail: list[dict[str, Any]] = field(default_factory=list)

    @property
    def begin(self) -> datetime:
        """From when the promise counts."""
        return self.not_before or self.requested_at

    def waits(self, now: datetime) -> bool:
        return self.not_before is not None and self.not_before > now

    def pause_until(self, now: datetime) -> int:
        """Seconds for which it has been held by now; until it may begin, a hold takes no time from it."""
        if self.held_at is None:
            return 0
        return max(int((now - max(self.held_at, self.not_before or self.held_at)).total_seconds()), 0)

    def note(self, event: str, at: datetime, details: Mapping[str, Any], event_id: str | None = None) -> None:
        """Write an entry into the trail, chained to the one before as the service chains them."""
        entry = {
            "request_id": self.request_id,
            "sequence": len(self.trail) + 1,
            "event_id": event_id or event,
            "event": event,
            "at": format_time(at),
            "details": dict(details),
            "previous_digest": self.trail[-1]["digest"] if self.trail else "0" * 64,
        }
        self.trail.append({**entry, "digest": digest_of(entry)})


@dataclass(slots=True)
class Hold:
    hold_id: str
    whom: Whom
    subject_digest: str
    reason: str
    author: str
    set_at: datetime
    until: datetime | None
    aliases: tuple[str, ...]

    def concerns(self, whom: Whom) -> bool:
        return whom[:2] == self.whom[:2] and whom.id in (self.whom.id, *self.aliases)


@dataclass(slots=True)
class Key:
    """An API key. ``tenant_id``: ``*`` for a platform key."""

    key_id: str
    text: str
    tenant_id: str
    scopes: frozenset[str]
    name: str
    created_at: datetime
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_on: str | None = None
    calls_per_minute: int | None = None

    @property
    def mode(self) -> str:
        return self.text.split("_")[1]


@dataclass(slots=True)
class Disabled:
    disabled_at: datetime
    delete_at: datetime | None = None
    deletion_id: str | None = None


@dataclass(slots=True)
class Tombstone:
    """``is_effective``: the deletion has been answered with 204."""

    request_id: str
    is_effective: bool = False


@dataclass(slots=True)
class DeleteId:
    whom: Whom
    expires_at: datetime
    is_used: bool = False


@dataclass(slots=True)
class Remembered:
    """What a call with an idempotency key was, and what it came to. ``is_done``: ``result`` is its answer."""

    body: str
    until: datetime
    is_done: bool = False
    result: Any = None


@dataclass(frozen=True, slots=True)
class Keep:
    """Things of a target that stay: by the law's ``basis``, or without one because the bucket does not let them go."""

    basis: str | None
    until: datetime | None
    most: int | None


class FakeUser:
    """A subject of the fake: what the application keeps of it. A new one has nothing."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self._things: dict[tuple[str, str | None], int] = {}

    @property
    def things(self) -> dict[str, int]:
        """How many things there are, by target; without those that have none."""
        found: dict[str, int] = {}
        for (target, _), count in self._things.items():
            found[target] = found.get(target, 0) + count
        return {target: count for target, count in found.items() if count}

    def put(self, target: str, count: int, *, organization_id: str | None = None) -> None:
        """So many things more in the target; of an organization, if the target tells them apart."""
        place = (target, organization_id)
        self._things[place] = self._things.get(place, 0) + count

    def count(self, target: str, organization_ids: Sequence[str] = ()) -> int:
        """How many there are, limited to the organizations if any are given."""
        return sum(
            count
            for (name, organization_id), count in self._things.items()
            if name == target and (not organization_ids or organization_id in organization_ids)
        )

    def take(self, target: str, count: int, organization_ids: Sequence[str] = ()) -> None:
        """Take so many away."""
        for place in list(self._things):
            if place[0] == target and (not organization_ids or place[1] in organization_ids):
                taken = min(count, self._things[place])
                self._things[place] -= taken
                count -= taken


def digest_of(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
