"""What became of targets, over attempts, and when that is "finished"."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.outcome import (
    ALREADY_ABSENT,
    BLOCKED,
    DETACHED,
    ERASED,
    FAILED,
    REDACTED,
    RETAINED,
    Kept,
    TargetOutcome,
    add_up,
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
        kept = draw(st.sampled_from([Kept(), Kept(2, "2031-01-01T00:00:00.000Z"), Kept(1, None, more=True)]))
        if draw(st.booleans()):
            basis = draw(st.sampled_from([None, "tax law"]))
            made.append(outcome_of_erasure(name, "content", count, at_least=at_least, kept=kept, basis=basis))
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


def test_what_is_kept_is_called_so() -> None:
    """By the law it is retained, with its basis; without one it is blocked. What was redacted meanwhile is counted."""
    kept = Kept(2, "2031-01-01T00:00:00.000Z")
    retained = outcome_of_erasure("bills", "record", 3, at_least=False, done=REDACTED, kept=kept, basis="tax law")
    blocked = outcome_of_erasure("files", "content", 0, at_least=False, kept=kept)
    assert (retained.outcome, retained.count, retained.kept, retained.basis) == (RETAINED, 3, 2, "tax law")
    assert (blocked.outcome, blocked.count, blocked.until, blocked.basis) == (BLOCKED, 0, kept.until, None)
    assert is_finished([retained, blocked])
    nothing = outcome_of_erasure("bills", "record", 0, at_least=False, done=REDACTED, basis="tax law")
    assert (nothing.outcome, nothing.basis) == (ALREADY_ABSENT, None)


def test_what_was_kept_and_is_gone_is_erased() -> None:
    """A later attempt that finds nothing of what was kept says erased, if anything ever was done."""
    kept = Kept(2, "2031-01-01T00:00:00.000Z")
    before = outcome_of_erasure("bills", "record", 3, at_least=False, done=REDACTED, kept=kept, basis="tax law")
    after = outcome_of_erasure("bills", "record", 0, at_least=False, done=REDACTED, basis="tax law")
    (merged,) = merge_outcomes([before], [after], {"bills": REDACTED})
    assert (merged.outcome, merged.count, merged.kept, merged.until) == (REDACTED, 3, 0, None)


@given(st.lists(outcomes(names=["notes"]), min_size=1, max_size=4))
def test_pieces_of_a_target_add_up(pieces: list[list[TargetOutcome]]) -> None:
    """Counts are added, nothing better than the worst piece is told, and a date only if it is known of all."""
    parts = [outcome for (outcome,) in pieces]
    whole = add_up(parts)
    assert (whole.count, whole.kept) == (sum(part.count for part in parts), sum(part.kept for part in parts))
    assert (whole.outcome == FAILED) is any(part.outcome == FAILED for part in parts)
    assert is_finished([whole]) is is_finished(parts)
    dates = [part.until for part in parts if part.kept]
    assert whole.until == (None if None in dates or not dates else max(filter(None, dates)))


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
    assert not is_finished([TargetOutcome("notes", "content", "forgotten")])


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
        settled = seen[-1].outcome in (FAILED, RETAINED, BLOCKED)
        assert result.outcome == (seen[-1].outcome if settled else ERASED if erased else ALREADY_ABSENT)
        assert (result.kept, result.until) == (seen[-1].kept, seen[-1].until)


@given(outcomes(), outcomes())
def test_a_failure_is_healed_by_its_own_target_only(earlier: list[TargetOutcome], latest: list[TargetOutcome]) -> None:
    """A request with a failed target is not finished until that very target has a final outcome."""
    healed = {outcome.target for outcome in latest}
    if any(outcome.outcome == FAILED and outcome.target not in healed for outcome in earlier):
        assert not is_finished(merge_outcomes(earlier, latest))
