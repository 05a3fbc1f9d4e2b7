"""A repeated call does its work once and answers alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from erasure.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    WithdrawnError,
)
from erasure.services.idempotent import Idempotency
from tests.fakes import FakeClock, FakeIdempotencyStore


class Calls:
    """An action that remembers under which runs it was done. ``error``: what it raises instead of a result."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = FakeIdempotencyStore()
        self.idempotency = Idempotency(self.store, lambda: b"key", self.clock)
        self.runs: list[str] = []
        self.error: BaseException | None = None

    def __call__(self, run_id: str, key: str | None = "k", body: str = "{}", **scope: str) -> Any:
        tenant_id, operation = scope.get("tenant_id", "acme"), scope.get("operation", "create")
        return self.idempotency.run(tenant_id, operation, key, body, run_id, self._act)

    def _act(self, run_id: str) -> Any:
        self.runs.append(run_id)
        if self.error is not None:
            raise self.error
        return {"run": run_id, "ids": ["a", 1, None]}


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_the_work_is_done_once(calls: Calls) -> None:
    """The second call gets the first one's result, and does nothing."""
    assert calls("run-1") == calls("run-2") == {"run": "run-1", "ids": ["a", 1, None]}
    assert calls.runs == ["run-1"]


def test_without_a_key_every_call_counts(calls: Calls) -> None:
    """Nothing is remembered of a call without a key."""
    assert [calls(run_id, None)["run"] for run_id in ("run-1", "run-2")] == ["run-1", "run-2"]
    assert not calls.store.records


def test_another_body_is_refused(calls: Calls) -> None:
    """The same key with another body is refused, and not worked on."""
    calls("run-1")
    with pytest.raises(IdempotencyMismatchError):
        calls("run-2", body="{ }")
    assert calls.runs == ["run-1"]


@pytest.mark.parametrize("other", [{"tenant_id": "other"}, {"operation": "delete"}, {"key": "K"}])
def test_a_key_means_something_in_its_place_only(calls: Calls, other: dict[str, str]) -> None:
    """Another tenant's, another operation's and another spelling of a key are other keys."""
    calls("run-1")
    assert calls("run-2", **other)["run"] == "run-2"


def test_a_key_is_forgotten_after_a_day(calls: Calls) -> None:
    """A day later, the key stands for a new call."""
    calls("run-1")
    calls.clock.advance(24 * 3600 - 1)
    assert calls("run-2")["run"] == "run-1"
    calls.clock.advance(2)
    assert calls("run-3", body="other")["run"] == "run-3"


@pytest.mark.parametrize("error", [UnavailableError("x"), RuntimeError("x"), KeyboardInterrupt()])
def test_what_died_goes_on_under_its_run(calls: Calls, error: BaseException) -> None:
    """A call that died half-way is repeated under the id that it worked under, and with its body only."""
    calls.error = error
    with pytest.raises(type(error)):
        calls("run-1")
    calls.error = None
    with pytest.raises(IdempotencyMismatchError):
        calls("run-2", body="other")
    assert calls("run-3")["run"] == "run-1"


@pytest.mark.parametrize(
    "make_error",
    [
        lambda: InvalidInputError("field", "rule"),
        lambda: NotFoundError("x"),
        lambda: ConflictError("x"),
        lambda: WithdrawnError("x"),
    ],
)
def test_what_came_to_nothing_frees_the_key(calls: Calls, make_error: Callable[[], Exception]) -> None:
    """A refused call, and one whose work was taken back, leaves its key to the next, whatever body that has."""
    calls.error = make_error()
    with pytest.raises(type(calls.error)):
        calls("run-1")
    calls.error = None
    assert calls("run-2", body="corrected")["run"] == "run-2"


def test_neither_key_nor_body_is_kept(calls: Calls) -> None:
    """Of key and body only digests are written down."""
    calls("run-1", "the-key-of-ann", '{"user": "ann"}')
    assert "ann" not in repr(calls.store.records)
