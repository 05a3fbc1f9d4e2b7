"""The data map as calls are answered by it: read once a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

from erasure.errors import UnavailableError
from erasure.ports import DataMapStore, PinnedMap

CACHE_SECONDS = 60.0


class CurrentMap:
    """``monotonic`` returns seconds and can be replaced in tests."""

    def __init__(self, data_maps: DataMapStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._data_maps = data_maps
        self._monotonic = monotonic
        self._known: tuple[float, PinnedMap] | None = None

    def get(self, *, now: bool = False) -> PinnedMap:
        """The current map, or (unless ``now``) one that was current a minute ago. Raises :class:`UnavailableError` if
        there is none."""
        read_at = self._monotonic()
        if now or self._known is None or read_at - self._known[0] > CACHE_SECONDS:
            data_map = self._data_maps.current()
            if data_map is None:
                raise UnavailableError("no data map has been put yet: nothing could be erased")
            self._known = (read_at, data_map)
        return self._known[1]
