"""The chain of a request's audit trail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from erasure.domain.audit import GENESIS, AuditEntry, broken_at, next_entry

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DETAILS = st.dictionaries(st.text(max_size=4), st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)))


@st.composite
def trails(draw: st.DrawFn) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(draw(st.integers(1, 6))):
        previous, event = entries[-1] if entries else None, draw(st.sampled_from(["requested", "planned"]))
        at = START + timedelta(seconds=number)
        entries.append(next_entry("er_1", previous, event, at, draw(DETAILS), event_id=f"event:{number}"))
    return entries


def test_the_first_entry_begins_the_chain() -> None:
    """A first entry has number 1 and follows the genesis digest; its event stands for its id."""
    entry = next_entry("er_1", None, "requested", START, {})
    assert (entry.sequence, entry.previous_digest, entry.event_id) == (1, GENESIS, "requested")
    assert entry.at == "2026-03-01T12:00:00.000Z"


@given(trails())
def test_an_untouched_trail_is_whole(entries: list[AuditEntry]) -> None:
    """A trail as it was written is whole, and so is every beginning of it: an end that was cut off cannot be seen."""
    for length in range(len(entries) + 1):
        assert broken_at(entries[:length]) is None


CHANGES: dict[str, Any] = {
    "request_id": "er_2",
    "sequence": 99,
    "event_id": "other",
    "event": "other",
    "at": "2026-03-01T12:00:00.001Z",
    "previous_digest": "f" * 64,
    "digest": "e" * 64,
}


@given(st.data(), trails())
def test_a_changed_entry_breaks_the_chain(data: st.DataObject, entries: list[AuditEntry]) -> None:
    """Changing any field of any entry is seen at that entry."""
    position = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from([*CHANGES, "details"]))
    value: Any = CHANGES.get(name) or data.draw(DETAILS)
    assume(getattr(entries[position], name) != value or repr(getattr(entries[position], name)) != repr(value))
    changed = [*entries]
    changed[position] = replace(entries[position], **{name: value})
    assert broken_at(changed) == position + 1


@given(st.data(), trails())
def test_a_forged_digest_breaks_the_next_link(data: st.DataObject, entries: list[AuditEntry]) -> None:
    """An entry that is changed together with its own digest breaks the chain at the entry after it."""
    assume(len(entries) > 1)
    position = data.draw(st.integers(0, len(entries) - 2))
    forged = replace(entries[position], event="forged")
    changed = [*entries]
    changed[position] = replace(forged, digest=forged.computed_digest())
    assert broken_at(changed) == position + 2


@given(st.data(), trails())
def test_a_removed_entry_breaks_the_chain(data: st.DataObject, entries: list[AuditEntry]) -> None:
    """Dropping any entry but the last is seen where it stood."""
    assume(len(entries) > 1)
    position = data.draw(st.integers(0, len(entries) - 2))
    assert broken_at(entries[:position] + entries[position + 1 :]) == position + 1


@given(st.data(), trails())
def test_an_inserted_entry_breaks_the_chain(data: st.DataObject, entries: list[AuditEntry]) -> None:
    """An entry slipped in is seen there or right after it, even one that follows the chain so far."""
    position = data.draw(st.integers(0, len(entries) - 1))
    slipped_in = next_entry("er_1", entries[position - 1] if position else None, "forged", START, {})
    assert broken_at([*entries[:position], slipped_in, *entries[position:]]) == position + 2
    copy = entries[position]
    assert broken_at([*entries[: position + 1], copy, *entries[position + 1 :]]) == position + 2


@given(st.data(), trails())
def test_reordered_entries_break_the_chain(data: st.DataObject, entries: list[AuditEntry]) -> None:
    """Any other order is seen at the first entry that is not in its place."""
    order = data.draw(st.permutations(range(len(entries))))
    assume(order != list(range(len(entries))))
    first_wrong = next(position for position, number in enumerate(order) if position != number)
    assert broken_at([entries[number] for number in order]) == first_wrong + 1
