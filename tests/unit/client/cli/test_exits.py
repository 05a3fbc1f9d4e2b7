"""Errors of the client as text, advice and exit code."""

from __future__ import annotations

import pytest

from erasure_client import errors
from erasure_client.cli._exits import CommandError, Exit, command_error_of
from erasure_client.errors import BrokenRule, ErasureClientError, RefusedError, UnfinishedError

EXITS = {
    "ConfigurationError": Exit.USAGE,
    "NoAnswerError": Exit.NOT_AVAILABLE,
    "UnexpectedAnswerError": Exit.REFUSED,
    "RefusedError": Exit.REFUSED,
    "InvalidRequestError": Exit.REFUSED,
    "NotSignedInError": Exit.NOT_ALLOWED,
    "NotAllowedError": Exit.NOT_ALLOWED,
    "NotFoundError": Exit.NOT_FOUND,
    "ConflictError": Exit.CONFLICT,
    "HeldError": Exit.CONFLICT,
    "PlanChangedError": Exit.CONFLICT,
    "TooManyCallsError": Exit.NOT_AVAILABLE,
    "ServiceError": Exit.NOT_AVAILABLE,
    "StillRunningError": Exit.STILL_RUNNING,
    "NeedsAttentionError": Exit.PARTLY,
    "StoppedError": Exit.PARTLY,
}


def raised(name: str) -> ErasureClientError:
    kind = getattr(errors, name)
    if issubclass(kind, RefusedError):
        rules = (BrokenRule("subjects", "at most 1,000"),)
        refused: RefusedError = kind("No.", status=418, code="teapot", errors=rules, call_id="c1", request_id="er_1")
        return refused
    if issubclass(kind, UnfinishedError):
        return UnfinishedError("Not yet.", "er_1") if kind is UnfinishedError else kind("Not yet.", "er_1")
    if name == "UnexpectedAnswerError":
        return errors.UnexpectedAnswerError("What?", 200)
    return kind("No.")  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", EXITS)
def test_every_error_has_its_exit_code(name: str) -> None:
    """Scripts can go by the exit code, people by the advice."""
    error = command_error_of(raised(name))
    assert error.exit_code == EXITS[name]
    assert error.message
    assert error.next
    assert error.code


def test_no_error_was_forgotten() -> None:
    """An error that the client gets in future needs an exit code."""
    known = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ErasureClientError)
    }
    assert known - {"ErasureClientError", "UnfinishedError"} == set(EXITS)


def test_the_document_has_all_that_is_known() -> None:
    """With ``--json`` an error says what the text says, and which call and request it is about."""
    assert command_error_of(raised("InvalidRequestError")).document() == {
        "error": {
            "code": "teapot",
            "message": "No.",
            "errors": [{"field": "subjects", "rule": "at most 1,000"}],
            "request_id": "er_1",
            "call_id": "c1",
            "next": "Correct what is named, and run it again.",
        }
    }


def test_what_goes_on_can_be_followed() -> None:
    """The advice for an erasure that goes on is a command with its id."""
    error = command_error_of(raised("StillRunningError"))
    assert "`erasure status er_1 --watch`" in (error.next or "")


def test_codes_do_not_mean_two_things() -> None:
    """Each exit code is one meaning, and none is what shells use themselves for signals but 130."""
    assert len(set(Exit)) == len(list(Exit)) == 10
    assert CommandError("No.").exit_code == Exit.REFUSED
