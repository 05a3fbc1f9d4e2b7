"""A target for a single subject, for tests that claim something about one: shorter to write and to read."""

from __future__ import annotations

from collections.abc import Callable

from erasure.domain.target_spec import TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline, SliceResult, Target, Values, VerifyResult


class OneSubject:
    """``target`` with one subject. What no other slice can help raises ``TargetError``; in ``verify``, any problem."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def erase(
        self,
        spec: TargetSpec,
        values: Values,
        deadline: Deadline,
        on_erased: Callable[[int], None] | None = None,
    ) -> SliceResult:
        def tell(position: int, count: int) -> None:
            assert position == 0
            assert on_erased is not None
            on_erased(count)

        (result,) = self._target.erase(spec, [values], deadline, None if on_erased is None else tell)
        assert not (result.done and result.problem), result
        if result.permanent:
            assert result.problem is not None
            raise TargetError(result.problem, permanent=True)
        return result

    def verify(self, spec: TargetSpec, values: Values, deadline: Deadline) -> VerifyResult:
        (result,) = self._target.verify(spec, [values], deadline)
        if result.problem is not None:
            assert not result.complete
            raise TargetError(result.problem, permanent=result.permanent)
        assert not result.permanent
        return result
