"""Independent pieces of work, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def side_by_side(work: Callable[[_Item], _Result], items: Sequence[_Item], workers: int) -> list[_Result]:
    """``work`` on each item; results in their order. All items are worked on whatever becomes of one of them, then the
    first exception is raised, if there was any."""
    if len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(workers, len(items))) as pool:
        futures = [pool.submit(work, item) for item in items]
    return [future.result() for future in futures]


def each_for_itself(
    work: Callable[[_Item], _Result], items: Sequence[_Item], workers: int, errors: list[Exception]
) -> list[_Result | None]:
    """The same where what goes wrong with one is no other's matter: it gets ``None``, and its exception goes to
    ``errors``."""

    def attempt(item: _Item) -> _Result | None:
        try:
            return work(item)
        except Exception as error:
            errors.append(error)
            return None

    return side_by_side(attempt, items, workers)
