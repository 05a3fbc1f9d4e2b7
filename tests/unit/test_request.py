"""The one table of a request's states."""

from __future__ import annotations

import pytest

from erasure.domain.request import (
    CANCELLED,
    FINISHED,
    HELD,
    OPEN_STATES,
    REQUESTED,
    STARTED,
    TRANSITIONS,
    check_transition,
    sources_of,
)
from erasure.errors import TransitionError

STATES = (REQUESTED, STARTED, FINISHED, CANCELLED, HELD)


def test_the_table_is_the_agreed_one() -> None:
    """The table has exactly the agreed transitions."""
    assert {(before, after) for before, following in TRANSITIONS.items() for after in following} == {
        (REQUESTED, STARTED),
        (REQUESTED, CANCELLED),
        (REQUESTED, HELD),
        (STARTED, FINISHED),
        (STARTED, HELD),
        (HELD, REQUESTED),
    }
    assert set(TRANSITIONS) == set(STATES)


def test_ends_are_ends_and_everything_else_is_open() -> None:
    """Nothing follows a finished or cancelled request; all other states are open."""
    assert {state for state in STATES if not TRANSITIONS[state]} == {FINISHED, CANCELLED}
    assert set(STATES) - OPEN_STATES == {FINISHED, CANCELLED}


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_checking_goes_by_the_table(before: str, after: str) -> None:
    """A transition passes if the table has it, and ``sources_of`` says the same from the other side."""
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(TransitionError):
            check_transition(before, after)
    assert (before in sources_of(after)) is (after in TRANSITIONS[before])
