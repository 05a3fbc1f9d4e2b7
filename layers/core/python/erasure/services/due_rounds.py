"""Work on all requests whose time has come, as an index lists them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from erasure.domain.request import ErasureRequest
from erasure.errors import UnavailableError, places_of
from erasure.ports import RequestStore
from erasure.services.side_by_side import each_for_itself
from erasure.targets.protocol import Deadline

ROUND = 1000
PARALLEL = 8

_logger = logging.getLogger(__name__)


def work_through(
    due: Callable[[int], list[str]],
    requests: RequestStore,
    work: Callable[[ErasureRequest], bool],
    deadline: Deadline,
) -> int:
    """``work`` on each request that is ``due`` (up to so many of them, oldest first), as its record is now, in rounds
    of :data:`ROUND`, until none is left that was not worked on or the time is up.

    ``work`` returns whether the request is dealt with, and not due any more; returns how many were. Any other is left
    for the next sweep, and stands in nobody's way. One that fails keeps none of the others from being worked on: raises
    ``UnavailableError`` after them.
    """
    stuck: set[str] = set()
    errors: list[Exception] = []
    dealt_with = 0

    def attempt(request: ErasureRequest) -> bool:
        return not deadline.expired() and work(request)

    while not deadline.expired():
        listed = [request_id for request_id in due(ROUND + len(stuck)) if request_id not in stuck][:ROUND]
        if not listed:
            break
        found = list(requests.get_many(listed).values())
        results = each_for_itself(attempt, found, PARALLEL, errors)
        done = {request.request_id for request, result in zip(found, results, strict=True) if result}
        dealt_with += len(done)
        # What is dealt with may be listed for a moment longer, since the index lags: then it is found not to be due.
        stuck.update(set(listed) - done)
    for error in errors:
        # Its text may hold anything. Which request it was, is in no log: its time and its trail tell.
        _logger.error("a due request failed: %s at %s", type(error).__name__, places_of(error))
    if errors:
        raise UnavailableError(f"{len(errors)} of the requests that are due could not be worked on")
    return dealt_with
