"""The sweep that sends off requests which were to wait until now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock

import pytest

from erasure.domain.request import CANCELLED, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.errors import UnavailableError
from erasure.services.release_due import ROUND, Sweep, release_due
from erasure.targets.protocol import Deadline

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def waiting_request(number: int, not_before: datetime = NOW) -> ErasureRequest:
    return ErasureRequest(
        request_id=f"er_{number:026d}",
        subject=Subject("acme", f"user-{number}"),
        subject_digest=f"{number:064d}",
        family="native",
        state=REQUESTED,
        requested_at=NOW - timedelta(days=30),
        due_at=not_before + timedelta(hours=72),
        purged_by=not_before + timedelta(days=90),
        not_before=not_before,
    )


@dataclass
class World:
    """The store and the queue. ``log`` has what was done, in order; ``broken`` requests cannot be released."""

    requests: dict[str, ErasureRequest] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    messages: list[list[str]] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    queue_is_up: bool = True
    lock: Lock = field(default_factory=Lock)

    def add(self, *requests: ErasureRequest) -> None:
        for request in requests:
            self.requests[request.request_id] = request
            self.waiting.add(request.request_id)

    def due(self, now: datetime, limit: int) -> list[str]:
        due = [request_id for request_id in self.waiting if self.requests[request_id].not_before <= now]  # type: ignore[operator]
        return sorted(due)[:limit]

    def get_many(self, request_ids: Sequence[str]) -> dict[str, ErasureRequest]:
        return {request_id: self.requests[request_id] for request_id in request_ids if request_id in self.requests}

    def release(self, request: ErasureRequest, now: datetime) -> bool:
        assert request.not_before is not None
        assert request.not_before <= now
        with self.lock:
            self.log.append(("release", request.request_id))
            if request.request_id in self.broken:
                raise UnavailableError("the store did not answer")
            if request.request_id not in self.waiting:
                return False
            self.waiting.remove(request.request_id)
            return True

    def send(self, request_ids: Sequence[str], attempt: int, *, delay_seconds: int = 0) -> None:
        if not self.queue_is_up:
            raise UnavailableError("the queue did not take the message")
        assert (attempt, delay_seconds) == (1, 0)
        self.messages.append(list(request_ids))
        self.log += [("send", request_id) for request_id in request_ids]

    def sweep(self, deadline: Deadline | None = None) -> Sweep:
        return release_due(self, self, lambda: NOW, deadline or Deadline(60))  # type: ignore[arg-type]


def test_what_is_due_is_sent_and_released() -> None:
    """One message with all of them; what is not due yet goes on waiting."""
    world = World()
    world.add(*(waiting_request(number) for number in range(3)), waiting_request(9, NOW + timedelta(seconds=1)))
    assert world.sweep() == Sweep(sent=3, released=3)
    assert world.messages == [[f"er_{number:026d}" for number in range(3)]]
    assert world.waiting == {f"er_{9:026d}"}


def test_each_is_sent_before_it_is_released() -> None:
    """What is released and not sent would be lost."""
    world = World()
    world.add(*(waiting_request(number) for number in range(20)))
    world.sweep()
    for request_id in world.requests:
        assert world.log.index(("send", request_id)) < world.log.index(("release", request_id))


def test_nothing_due_sends_nothing() -> None:
    """No empty message."""
    world = World()
    assert world.sweep() == Sweep()
    assert world.messages == []


def test_many_go_in_messages_of_a_thousand() -> None:
    """A job takes up to 1,000 requests; each request is in one message."""
    world = World()
    world.add(*(waiting_request(number) for number in range(2 * ROUND + 5)))
    assert world.sweep() == Sweep(sent=2 * ROUND + 5, released=2 * ROUND + 5)
    assert [len(message) for message in world.messages] == [ROUND, ROUND, 5]
    assert len({request_id for message in world.messages for request_id in message}) == 2 * ROUND + 5
    assert world.waiting == set()


def test_a_full_queue_releases_nothing() -> None:
    """What could not be sent waits for the next sweep."""
    world = World(queue_is_up=False)
    world.add(waiting_request(1), waiting_request(2))
    with pytest.raises(UnavailableError):
        world.sweep()
    assert len(world.waiting) == 2
    world.queue_is_up = True
    assert world.sweep() == Sweep(sent=2, released=2)


def test_one_that_cannot_be_released_does_not_hold_up_others() -> None:
    """The sweep fails, so that somebody is told, and all the others are released; the next one tries again."""
    world = World(broken={f"er_{0:026d}"})
    world.add(*(waiting_request(number) for number in range(50)))
    with pytest.raises(UnavailableError):
        world.sweep()
    assert world.waiting == world.broken
    world.broken = set()
    assert world.sweep() == Sweep(sent=1, released=1)


def test_what_a_dead_sweep_sent_is_only_released() -> None:
    """Its job has taken it by now; a second job for it would have nothing to do."""
    world = World()
    world.add(
        waiting_request(1), replace(waiting_request(2), state=STARTED), replace(waiting_request(3), state=CANCELLED)
    )
    assert world.sweep() == Sweep(sent=1, released=3)
    assert world.messages == [[f"er_{1:026d}"]]


def test_what_cannot_be_taken_off_the_list_does_not_go_round_in_circles() -> None:
    """Another sweep works on the same ones: each is sent once by this one, and the sweep ends."""

    class Shared(World):
        def release(self, request: ErasureRequest, now: datetime) -> bool:
            self.waiting.remove(request.request_id)
            super().release(request, now)
            self.waiting.add(request.request_id)
            return False

    world = Shared()
    world.add(waiting_request(1), waiting_request(2))
    assert world.sweep() == Sweep(sent=2, released=0)
    assert len(world.messages) == 1


def test_what_is_stuck_does_not_stand_in_the_way() -> None:
    """More than a round of requests that cannot be released, all of them older: the others are sent all the same."""

    class Held(World):
        def release(self, request: ErasureRequest, now: datetime) -> bool:
            return request.request_id > f"er_{ROUND:026d}" and super().release(request, now)

    world = Held()
    world.add(*(waiting_request(number) for number in range(ROUND + 10)))
    assert world.sweep() == Sweep(sent=ROUND + 10, released=9)
    assert {request_id for request_id in world.requests if request_id > f"er_{ROUND:026d}"}.isdisjoint(world.waiting)


def test_a_sweep_ends_with_its_time() -> None:
    """Rounds begin while there is time; what is left is the next sweep's."""
    world = World()
    world.add(*(waiting_request(number) for number in range(3 * ROUND)))
    ticks = iter([0.0, 5.0, 15.0])
    assert world.sweep(Deadline(10, clock=lambda: next(ticks))) == Sweep(sent=ROUND, released=ROUND)
    assert len(world.waiting) == 2 * ROUND
