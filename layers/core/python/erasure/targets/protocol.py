"""What every kind of target can do: erase one subject's data in slices, and look again.

A *slice* is one call of :meth:`Target.erase`. It works until it is done or until
``deadline.expired()``, and may be repeated at any point: it always starts from what is still
there, so no cursor (which would carry the subject's id) is ever stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from erasure.domain.target_spec import TargetSpec


class Deadline:
    """A moment on the monotonic clock after which no new work is begun.

    ``seconds``: how long from now. ``clock`` returns seconds and can be replaced in tests.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - self._clock())

    def expired(self) -> bool:
        return self._clock() >= self._at


@dataclass(frozen=True, slots=True)
class SliceResult:
    """What one slice did.

    ``erased``: items, or object versions, delete markers and unfinished uploads, that the engine
    confirmed as deleted. ``done``: the slice reached the end and nothing that it saw is left.
    ``done=False`` with ``problem=None`` only means that time ran out.
    ``problem``: a fixed code of what kept it from finishing (``throttled``, ``unavailable``,
    ``rejected`` for per-key errors of S3, ...), without names or ids.
    """

    erased: int
    done: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What is still there. ``left`` counts up to some bound; ``complete=False``: time ran out before the end."""

    left: int
    complete: bool


class Target(Protocol):
    """One kind of target. Implementations raise :class:`erasure.errors.TargetError` for what they cannot do.

    ``values`` maps placeholder names (``tenant_id``, ``user_id``, ...) to the subject's values.
    ``on_erased`` is told the number of things deleted since it was last called, now and then, so that
    progress shows and survives the death of the process.
    """

    def erase(
        self,
        spec: TargetSpec,
        values: Mapping[str, str],
        deadline: Deadline,
        on_erased: Callable[[int], None] | None = None,
    ) -> SliceResult: ...

    def verify(self, spec: TargetSpec, values: Mapping[str, str], deadline: Deadline) -> VerifyResult: ...
