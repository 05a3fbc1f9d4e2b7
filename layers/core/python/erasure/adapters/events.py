"""What is told to the outside, on EventBridge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.domain.times import format_time
from erasure.errors import UnavailableError
from erasure.ports import Event

SOURCE = "erasure"
_ENTRIES_OF_A_CALL = 10


class EventBridgeBus:
    """:class:`erasure.ports.EventBus` on EventBridge: the event's kind as ``detail-type``; in ``detail`` its details
    with ``event_id`` and ``at``."""

    def __init__(self, client: Callable[[], Any], bus: str) -> None:
        self._client = client
        self._bus = bus

    def put(self, events: Sequence[Event]) -> None:
        entries = [self._entry(event) for event in events]
        for start in range(0, len(entries), _ENTRIES_OF_A_CALL):
            try:
                answer = self._client().put_events(Entries=entries[start : start + _ENTRIES_OF_A_CALL])
            except (ClientError, BotoCoreError) as error:
                raise UnavailableError("the bus did not take the events") from error
            if answer["FailedEntryCount"]:
                raise UnavailableError("the bus did not take all of the events")

    def _entry(self, event: Event) -> dict[str, Any]:
        detail = {"event_id": event.event_id, "at": format_time(event.at), **event.details}
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": event.kind,
            "Time": event.at,
            "Detail": json.dumps(detail, separators=(",", ":")),
        }
