"""Empties the dead-letter queue of messages about which nothing is left to know.

The records are the truth, a message only leads to them: one whose requests are all taken care of is dropped. Requests
that its attempt has not reached are sent off again, with the same attempt, right away. What is none of our messages
stays, and with it the alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from erasure.domain.clock import MAX_TRIES, ClockPolicy
from erasure.domain.request import REQUESTED, STARTED, ErasureRequest
from erasure.errors import InvalidInputError
from erasure.ports import ClockStore, DeadLetters, JobQueue, RequestStore
from erasure.services.lost_requests import LostRequests
from erasure.services.side_by_side import each_for_itself, side_by_side
from erasure.services.start_jobs import Message, read_message
from erasure.targets.protocol import Deadline

PARALLEL_REQUESTS = 8
BATCHES = 20
"""Of messages that are received at most: what cannot be read comes again and again."""


@dataclass(frozen=True, slots=True)
class DeadLetterDesk:
    """``queue``: the batch lane."""

    clock: ClockStore
    requests: RequestStore
    queue: JobQueue
    letters: DeadLetters
    lost: LostRequests
    policy: ClockPolicy

    def clear(self, now: datetime, deadline: Deadline, errors: list[Exception]) -> int:
        """How many messages were dropped. What goes wrong with one goes to ``errors``, and it stays."""
        dropped = 0
        seen: set[str] = set()
        for _ in range(BATCHES):
            letters = [] if deadline.expired() else self.letters.receive()
            fresh = [letter for letter in letters if letter[0] not in seen]
            if not fresh:
                break
            seen.update(handle for handle, _ in fresh)
            dropped += sum(
                done is True for done in each_for_itself(lambda letter: self._clear(*letter, now), fresh, 1, errors)
            )
        return dropped

    def _clear(self, handle: str, body: str, now: datetime) -> bool:
        try:
            message = read_message(handle, body)
        except InvalidInputError:
            return False
        found = self.requests.get_many(message.request_ids)
        if len(found) < len(message.request_ids):
            # A record that is not there may come back with a restored table: somebody has to look at this.
            return False
        self._send_again([request for request in found.values() if _is_missed(request, message, now)], message, now)
        self.letters.drop(handle)
        return True

    def _send_again(self, missed: list[ErasureRequest], message: Message, now: datetime) -> None:
        errors: list[Exception] = []
        living = self.lost.living_jobs(missed, errors)
        if errors:
            raise errors[0]
        # What has come back so often waits for its next look, which is longer away each time.
        sent = [request for request in missed if request.job_id not in living and request.tries < MAX_TRIES]
        if not sent:
            return
        side_by_side(
            lambda request: self.lost.resend(request, message.attempt, now, f"dead_letter:{request.tries}"),
            sent,
            PARALLEL_REQUESTS,
        )
        self.queue.send([request.request_id for request in sent], message.attempt)
        side_by_side(lambda request: self._note(request, now), sent, PARALLEL_REQUESTS)

    def _note(self, request: ErasureRequest, now: datetime) -> bool:
        tries = request.tries + 1
        clock_at = self.policy.next_look(request, now, now + self.policy.pause_after(tries))
        return self.clock.look_again(request, clock_at, tries=tries)


def _is_missed(request: ErasureRequest, message: Message, now: datetime) -> bool:
    """Whether the message's attempt has not reached the request, which may be worked on."""
    is_to_wait = request.not_before is not None and request.not_before > now
    may_be_sent = request.state in (REQUESTED, STARTED) and request.purged_at is None and not is_to_wait
    return may_be_sent and request.attempt < message.attempt
