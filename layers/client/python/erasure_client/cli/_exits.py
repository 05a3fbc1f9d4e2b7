"""How a command ends: its exit code, and what it says when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from erasure_client.errors import (
    BrokenRule,
    ConfigurationError,
    ConflictError,
    ErasureClientError,
    HeldError,
    InvalidRequestError,
    NeedsAttentionError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    PlanChangedError,
    RefusedError,
    ServiceError,
    StillRunningError,
    StoppedError,
    TooManyCallsError,
    UnexpectedAnswerError,
)


class Exit(IntEnum):
    """What scripts go by."""

    DONE = 0
    REFUSED = 1
    """Refused or failed in a way that no other code is for; of ``doctor``: there are problems."""
    USAGE = 2
    PARTLY = 3
    """Some ids were refused; or an erasure needs attention, is held or cancelled."""
    NOT_ALLOWED = 4
    """Not signed in, or the key does not allow it."""
    NOT_FOUND = 5
    CONFLICT = 6
    """Not in this state, under a legal hold, or the plan has changed."""
    STILL_RUNNING = 7
    """The time to wait is over; it goes on."""
    NOT_AVAILABLE = 8
    """The service was not reached, or is not available: run it again."""
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on. ``message``: what is wrong; ``next``: what to do now; neither holds an id of a person.
    ``code``: a word for scripts. ``call_id``: by which operators find the call in the service's logs."""

    def __init__(
        self,
        message: str,
        next: str | None = None,  # noqa: A002
        exit_code: int = Exit.REFUSED,
        code: str = "refused",
        *,
        errors: Sequence[BrokenRule] = (),
        request_id: str | None = None,
        call_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next = next
        self.exit_code = int(exit_code)
        self.code = code
        self.errors = tuple(errors)
        self.request_id = request_id
        self.call_id = call_id

    def document(self) -> dict[str, Any]:
        """With ``--json``, on stderr."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "errors": [{"field": each.field, "rule": each.rule} for each in self.errors],
                "request_id": self.request_id,
                "call_id": self.call_id,
                "next": self.next,
            }
        }


_AGAIN = "Run the same command again."
_FOLLOW = "erasure status {request_id} --watch"
_LOOK = "erasure status {request_id}"


class _End(NamedTuple):
    exit_code: Exit
    code: str
    advice: str


_ENDS: Sequence[tuple[type[ErasureClientError], _End]] = (
    (
        ConfigurationError,
        _End(Exit.USAGE, "usage", "Correct it: see the command's --help, and `erasure profiles list`."),
    ),
    (NoAnswerError, _End(Exit.NOT_AVAILABLE, "no_answer", f"{_AGAIN} If it stays so: `erasure doctor`.")),
    (UnexpectedAnswerError, _End(Exit.REFUSED, "unexpected_answer", "Look at the address: `erasure profiles list`.")),
    (NotSignedInError, _End(Exit.NOT_ALLOWED, "", "Sign in with a good key: `erasure login`.")),
    (NotAllowedError, _End(Exit.NOT_ALLOWED, "", "Sign in with a key that may do this: `erasure login`.")),
    (NotFoundError, _End(Exit.NOT_FOUND, "", "Look at the id, and at the tenant: `erasure profiles list`.")),
    (PlanChangedError, _End(Exit.CONFLICT, "", "Look at the plan that holds now: `erasure preview`.")),
    (HeldError, _End(Exit.CONFLICT, "legal_hold", "Look at the legal hold: `erasure hold show ID`.")),
    (ConflictError, _End(Exit.CONFLICT, "", "Look what was requested: `erasure list`.")),
    (TooManyCallsError, _End(Exit.NOT_AVAILABLE, "", "Run the same command again in a minute.")),
    (ServiceError, _End(Exit.NOT_AVAILABLE, "", f"{_AGAIN} If it stays so: `erasure doctor`.")),
    (InvalidRequestError, _End(Exit.REFUSED, "", "Correct what is named, and run it again.")),
    (StillRunningError, _End(Exit.STILL_RUNNING, "still_running", f"It goes on by itself. Watch again: `{_FOLLOW}`.")),
    (NeedsAttentionError, _End(Exit.PARTLY, "needs_attention", f"Look what failed: `{_LOOK}`.")),
    (StoppedError, _End(Exit.PARTLY, "stopped", f"Look how it stands: `{_LOOK}`.")),
)
"""From the special to the general. An empty code: the service's own word."""

_OTHERWISE = _End(Exit.REFUSED, "refused", "Look at the service: `erasure doctor`.")


def command_error_of(error: ErasureClientError) -> CommandError:
    """What a command says of an error of the client."""
    end = next((end for kind, end in _ENDS if isinstance(error, kind)), _OTHERWISE)
    if not isinstance(error, RefusedError):
        advice = end.advice.format(request_id=error.request_id)
        return CommandError(str(error), advice, end.exit_code, end.code, request_id=error.request_id)
    return CommandError(
        error.message,
        end.advice,
        end.exit_code,
        end.code or error.code,
        errors=error.errors,
        request_id=error.request_id,
        call_id=error.call_id,
    )
