"""The functions that run by the clock. Nothing here logs more than numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from erasure.services.release_due import release_due
from erasure.targets.protocol import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.logging.logger import Logger

    from erasure.ports import Clock, JobQueue, RequestStore
    from erasure.services.follow_ups import FollowUps

MARGIN_SECONDS = 30.0
"""No round begins this long before the function's time is up: one of 1,000 requests takes a few seconds."""


def make_retention_sweep(
    *, requests: RequestStore, queue: JobQueue, follow_ups: FollowUps, now: Clock, logger: Logger
) -> Callable[[Any, Any], dict[str, int]]:
    """``queue``: the batch lane."""

    def handle(_event: Any, context: Any) -> dict[str, int]:
        deadline = Deadline(context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS)
        sweep = release_due(requests, queue, now, deadline)
        # After the others: nobody waits for these.
        followed = follow_ups.take_up(sweep.finished, deadline)
        logger.info("requests released", sent=sweep.sent, released=sweep.released, followed=followed)
        return {"sent": sweep.sent, "released": sweep.released, "followed": followed}

    return handle
