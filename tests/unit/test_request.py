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
    sources_of,
)

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
def test_sources_are_the_table_from_the_other_side(before: str, after: str) -> None:
    """``sources_of`` names a state exactly if the table leads from it: what the stores require before they write."""
    assert (before in sources_of(after)) is (after in TRANSITIONS[before])
