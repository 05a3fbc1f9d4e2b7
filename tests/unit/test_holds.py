"""By which digests holds and requests find each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.holds import (
    alias_digest,
    anywhere_digest,
    digests_of_identifiers,
    marks_of,
    marks_of_request,
    mentions,
)
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject, subject_digest

KEY = b"a key of the tests"
ANN = Subject("acme", "ann")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXTS = st.text(min_size=1, max_size=8)


def a_request(subject: Subject, **identifiers: tuple[str, ...]) -> ErasureRequest:
    request = ErasureRequest("er_1", subject, subject_digest(KEY, subject), "native", NOW, NOW, NOW)
    digests = digests_of_identifiers(KEY, subject.tenant_id, identifiers)
    return replace(request, identifiers=identifiers, hold_digests=digests)


def is_held(request: ErasureRequest, marks: tuple[str, ...]) -> bool:
    return not set(marks).isdisjoint(marks_of_request(request))


def test_a_hold_concerns_its_subject_and_whom_its_further_ids_name() -> None:
    """As their own id, of the same type, or as an id that was found for them; and nobody else."""
    marks = marks_of(KEY, ANN, ["ann@example.com", "ann-2"])
    assert is_held(a_request(ANN), marks)
    assert is_held(a_request(Subject("acme", "ann-2")), marks)
    assert is_held(a_request(Subject("acme", "bob"), email=("bob@example.com", "ann@example.com")), marks)
    assert is_held(a_request(Subject("acme", "bob"), account=("ann",)), marks)
    for other in (Subject("acme", "bob"), Subject("globex", "ann"), Subject("acme", "ann", "group")):
        assert not is_held(a_request(other, email=("bob@example.com",)), marks)
    assert not is_held(a_request(Subject("globex", "bob"), email=("ann@example.com",)), marks)


def test_the_marks_of_a_hold_are_in_their_order() -> None:
    """The subject's digest first, then those of its further ids as ids; an id that is named twice counts once."""
    marks = marks_of(KEY, ANN, ["b", "ann", "b"])
    other = replace(ANN, id="b")
    assert marks == (
        subject_digest(KEY, ANN),
        subject_digest(KEY, other),
        alias_digest(KEY, "acme", "ann"),
        alias_digest(KEY, "acme", "b"),
        anywhere_digest(KEY, "ann"),
        anywhere_digest(KEY, "b"),
    )


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=2, max_size=2, unique=True))
def test_no_mark_is_anothers(pairs: list[tuple[str, str]]) -> None:
    """Of two people, in whatever tenants, only what does not know the tenant is shared, and only for the same id."""
    first, second = (Subject(tenant_id, user_id) for tenant_id, user_id in pairs)
    shared = set(marks_of(KEY, first)) & set(marks_of(KEY, second))
    assert shared == ({anywhere_digest(KEY, first.id)} if first.id == second.id else set())


def test_digests_of_identifiers_tell_nothing_of_their_names() -> None:
    """The same values under other names, in another order and twice are the same digests."""
    one = digests_of_identifiers(KEY, "acme", {"email": ("a", "b"), "phone": ("a",)})
    assert one == digests_of_identifiers(KEY, "acme", {"other": ("b", "a")})
    assert len(one) == 2
    assert digests_of_identifiers(KEY, "acme", {"email": ()}) == ()


@pytest.mark.parametrize(
    ("text", "is_mentioned"),
    [
        ("about ann.", True),
        ("ANN v. Acme", True),
        ("ann", True),
        ("annotations of joann", False),
        ("see ann_2", False),
        ("mail to ann@example.com", True),
        ("mail to Ann@Example.COM!", True),
        ("id -x- is meant", True),
        ("id -x-y", False),
        ("nobody", False),
    ],
)
def test_a_text_mentions_an_id_as_a_whole_word(text: str, is_mentioned: bool) -> None:
    """In whatever case, next to any punctuation, and whatever characters the id has."""
    assert mentions(text, ["ann", "ann@example.com", "-x-"]) is is_mentioned
    assert not mentions(text, [".*"])
