"""Self-deletion in memory: small enough to be obviously right, so that tests of the API need no stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NoReturn

from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import TargetOutcome
from erasure.domain.subject import Subject
from erasure.errors import ConflictError, DeleteIdRejectedError, NotFoundError, UnavailableError
from erasure.services.self_deletion import IssuedDeleteId, RequestView


def no_plans() -> NoReturn:
    """Nobody can tell here what a deletion would find."""
    raise UnavailableError("no previews here")


class MemorySelfDeletion:
    """``erased`` lists the subjects that were erased. ``state`` and ``attention``: what becomes of a new request.

    ``now`` can be set; ``waits`` and ``confirmed`` record the calls.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self.state = "finished"
        self.attention = False
        self.outcomes: tuple[TargetOutcome, ...] = ()
        self.erased: list[Subject] = []
        self.waits: list[float] = []
        self.confirmed: list[object] = []
        self.keys: list[str | None] = []
        self._numbers = count()
        self._ids: dict[str, tuple[Subject, datetime]] = {}
        self._requests: dict[str, tuple[Subject, RequestView]] = {}
        self._by_key: dict[str, tuple[object, str]] = {}

    def issue_delete_id(self, subject: Subject, *, idempotency_key: str | None = None) -> IssuedDeleteId:
        self.keys.append(idempotency_key)
        issued = IssuedDeleteId(f"delete-id-{next(self._numbers)}", self.now() + timedelta(minutes=5))
        self._ids[issued.delete_id] = (subject, issued.expires_at)
        return issued

    def confirm(self, subject: Subject, delete_id: object, *, idempotency_key: str | None = None) -> str:
        self.confirmed.append(delete_id)
        self.keys.append(idempotency_key)
        if idempotency_key in self._by_key:
            body, request_id = self._by_key[idempotency_key]
            if body != delete_id:
                raise ConflictError("Idempotency-Key: was used with another body")
            return request_id
        owner, expires_at = self._ids.get(delete_id, (None, self.now())) if isinstance(delete_id, str) else (None, None)
        if owner != subject or expires_at is None or self.now() >= expires_at:
            raise DeleteIdRejectedError
        del self._ids[str(delete_id)]
        request_id = self._accept(subject)
        if idempotency_key is not None:
            self._by_key[idempotency_key] = (delete_id, request_id)
        return request_id

    def wait(self, subject: Subject, request_id: str, seconds: float) -> RequestView:
        self.waits.append(seconds)
        return self.status(subject, request_id)

    def status(self, subject: Subject, request_id: str) -> RequestView:
        owner, view = self._requests.get(request_id, (None, None))
        if view is None or owner != subject:
            raise NotFoundError("there is no such erasure request")
        return view

    def settle(self, request_id: str, state: str, *, attention: bool = False) -> None:
        """Let a request move on."""
        owner, view = self._requests[request_id]
        self._requests[request_id] = (owner, replace(view, state=state, attention=attention))

    def _accept(self, subject: Subject) -> str:
        now = self.now()
        request_id = new_request_id()
        finished_at = now if self.state == "finished" else None
        view = RequestView(
            request_id, self.state, self.attention, now, now + timedelta(hours=72), finished_at, self.outcomes
        )
        self._requests[request_id] = (subject, view)
        if finished_at is not None:
            self.erased.append(subject)
        return request_id
