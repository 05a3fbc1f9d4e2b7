"""What became of targets, over attempts, and when that is "finished"."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.outcome import (
    ALREADY_ABSENT,
    DETACHED,
    ERASED,
    FAILED,
    TargetOutcome,
    is_finished,
    merge_outcomes,
    outcome_of_erasure,
)

NAMES = ["notes", "files", "avatar"]


@st.composite
def outcomes(draw: st.DrawFn, names: list[str] | None = None) -> list[TargetOutcome]:
    """Outcomes as a job makes them: one for each target."""
    chosen = names if names is not None else draw(st.lists(st.sampled_from(NAMES), unique=True))
    made = []
    for name in chosen:
        count, at_least = draw(st.integers(0, 5)), draw(st.booleans())
        if draw(st.booleans()):
            made.append(outcome_of_erasure(name, "content", count, at_least=at_least))
        else:
            made.append(TargetOutcome(name, "content", FAILED, count, at_least, "still_present"))
    return made


def test_nothing_found_is_already_absent() -> None:
    """Only what was counted, or may have been by a slice that died, is called erased."""
    assert outcome_of_erasure("notes", "content", 0, at_least=False).outcome == ALREADY_ABSENT
    assert outcome_of_erasure("notes", "content", 0, at_least=True).outcome == ERASED
    assert outcome_of_erasure("notes", "content", 3, at_least=False) == TargetOutcome("notes", "content", ERASED, 3)


def test_detached_is_called_so() -> None:
    """What was taken out of others' items is detached, over attempts too, and is final."""
    detached = outcome_of_erasure("mentions", "content", 2, at_least=False, done=DETACHED)
    nothing = outcome_of_erasure("mentions", "content", 0, at_least=False, done=DETACHED)
    assert (detached.outcome, nothing.outcome) == (DETACHED, ALREADY_ABSENT)
    assert outcome_of_erasure("mentions", "content", 0, at_least=True, done=DETACHED).outcome == DETACHED
    assert merge_outcomes([detached], [nothing]) == (detached,)
    assert is_finished([detached, nothing])


@given(outcomes())
def test_outcomes_survive_their_stored_form(made: list[TargetOutcome]) -> None:
    """An outcome is read back as it was written."""
    assert [TargetOutcome.from_dict(outcome.to_dict()) for outcome in made] == made


@given(outcomes())
def test_never_finished_with_a_failure_or_with_nothing(made: list[TargetOutcome]) -> None:
    """Finished means: there are outcomes, and each is final."""
    assert is_finished(made) is (bool(made) and not any(outcome.outcome == FAILED for outcome in made))
    assert not is_finished([])


def test_unknown_outcomes_are_not_final() -> None:
    """An outcome that this version does not know does not finish a request."""
    assert not is_finished([TargetOutcome("notes", "content", "blocked")])


@given(st.lists(outcomes(), max_size=4))
def test_merging_over_attempts(attempts: list[list[TargetOutcome]]) -> None:
    """After any number of attempts: the latest that knew a target decides, counts add up, no target is forgotten."""
    merged: tuple[TargetOutcome, ...] = ()
    for attempt in attempts:
        merged = merge_outcomes(merged, attempt)
    by_name = {outcome.target: outcome for outcome in merged}
    assert len(by_name) == len(merged)
    for name in NAMES:
        seen = [outcome for attempt in attempts for outcome in attempt if outcome.target == name]
        assert bool(seen) is (name in by_name)
        if not seen:
            continue
        result = by_name[name]
        assert result.count == sum(outcome.count for outcome in seen)
        assert result.at_least is any(outcome.at_least for outcome in seen)
        assert (result.outcome == FAILED) is (seen[-1].outcome == FAILED)
        assert result.reason == seen[-1].reason
        erased = result.count > 0 or result.at_least
        assert result.outcome == (FAILED if seen[-1].outcome == FAILED else ERASED if erased else ALREADY_ABSENT)


@given(outcomes(), outcomes())
def test_a_failure_is_healed_by_its_own_target_only(earlier: list[TargetOutcome], latest: list[TargetOutcome]) -> None:
    """A request with a failed target is not finished until that very target has a final outcome."""
    healed = {outcome.target for outcome in latest}
    if any(outcome.outcome == FAILED and outcome.target not in healed for outcome in earlier):
        assert not is_finished(merge_outcomes(earlier, latest))
