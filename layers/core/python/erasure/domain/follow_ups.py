"""When what a request had to leave is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from erasure.domain.outcome import TargetOutcome
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import USER
from erasure.domain.times import parse_time

MARGIN = timedelta(hours=1)
"""A lock's or a retention's end is left behind by so much before anything is tried."""
UNKNOWN_END = timedelta(days=30)
"""After so long it is tried whether a legal hold is still there."""


def follow_up_at(request: ErasureRequest, outcomes: Sequence[TargetOutcome], now: datetime) -> datetime | None:
    """When the first of what is kept may be gone. ``None``: nothing is kept, or not while the subject's id is known, or
    the subject is nobody who has an account: see :mod:`erasure.services.follow_ups`."""
    ends = [
        now + UNKNOWN_END if outcome.until is None else parse_time(outcome.until)
        for outcome in outcomes
        if outcome.kept
    ]
    if not ends or request.subject.type != USER:
        return None
    moment = max(min(ends), now) + MARGIN
    return moment if moment < request.purged_by else None
