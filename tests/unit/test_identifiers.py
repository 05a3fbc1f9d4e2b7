"""Identifiers are taken as they are or refused; request ids are unique and sort by time."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.identifiers import (
    check_idempotency_key,
    check_identifier,
    derived_request_id,
    is_batch_id,
    is_request_id,
    milliseconds_of,
    new_batch_id,
    new_request_id,
)
from erasure.errors import InvalidInputError

ENCODABLE = st.characters(exclude_categories=("Cc", "Cs"))
ANYTHING = st.characters(exclude_categories=())


def follows_the_rule(text: str) -> bool:
    """The rule once more, from its words: 1 to 256 characters, not blank, no control characters, encodable."""
    return (
        1 <= len(text) <= 256
        and text.strip() != ""
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    )


@given(st.text(ENCODABLE, min_size=1, max_size=256).filter(str.strip))
def test_an_identifier_comes_back_untouched(text: str) -> None:
    """Byte for byte: not stripped, folded or normalised."""
    assert check_identifier(text, "user id").encode() == text.encode()


@given(st.text(ANYTHING, max_size=300))
def test_exactly_what_breaks_the_rule_is_refused(text: str) -> None:
    """Over arbitrary text, surrogates and controls included, the check agrees with the rule's words."""
    if follows_the_rule(text):
        assert check_identifier(text, "user id") == text
    else:
        with pytest.raises(InvalidInputError):
            check_identifier(text, "user id")


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "%",
        "../",
        "a/",
        "/",
        ".",
        " a",
        "a ",
        "é",
        "e\u0301",
        "\u200b",
        "\u2028x",
        "\u202eevil",
        "🧑‍🚀",
        "NULL",
        "x" * 256,
    ],
)
def test_odd_identifiers_are_ordinary_data(text: str) -> None:
    """Wildcard-looking, composed, invisible and bidirectional ones stay what they are."""
    assert check_identifier(text, "user id") == text


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "must have 1 to 256 characters"),
        ("x" * 257, "must have 1 to 256 characters"),
        (" ", "must not be blank"),
        ("\u2003\u00a0", "must not be blank"),
        ("secret\x00", "must not hold control characters or unpaired surrogates"),
        ("secret\x9f", "must not hold control characters or unpaired surrogates"),
        ("secret\x7f", "must not hold control characters or unpaired surrogates"),
        ("secret\n", "must not hold control characters or unpaired surrogates"),
        ("secret\ud800", "must not hold control characters or unpaired surrogates"),
        (7, "must be text"),
        (None, "must be text"),
        (b"secret", "must be text"),
        (["secret"], "must be text"),
    ],
)
def test_a_refusal_names_field_and_rule_but_not_the_value(value: object, rule: str) -> None:
    """What is wrong, without echoing an id into answers and logs."""
    with pytest.raises(InvalidInputError) as caught:
        check_identifier(value, "user id")
    assert str(caught.value) == f"user id: {rule}"


def test_no_idempotency_key_is_fine() -> None:
    """It is optional."""
    assert check_idempotency_key(None) is None


def test_an_idempotency_key_follows_the_rule_of_identifiers() -> None:
    """Kept as it is, or refused by the name of its header."""
    assert check_idempotency_key(" key-1 ") == " key-1 "
    with pytest.raises(InvalidInputError, match=r"^Idempotency-Key: "):
        check_idempotency_key("")


@given(st.integers(min_value=0, max_value=2**48 - 1), st.integers(min_value=0, max_value=2**48 - 1))
def test_request_ids_sort_by_time(one: int, other: int) -> None:
    """As text, ids of different milliseconds have the order of the milliseconds."""
    if one != other:
        assert (new_request_id(one) < new_request_id(other)) == (one < other)


@given(st.integers(min_value=0, max_value=2**48 - 1))
def test_a_request_id_holds_its_time(milliseconds: int) -> None:
    """The first ten digits are the time, read back by the alphabet's definition."""
    digits = new_request_id(milliseconds).removeprefix("er_")[:10]
    value = 0
    for digit in digits:
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    assert value == milliseconds


def test_request_ids_of_one_moment_differ() -> None:
    """80 random bits."""
    ids = {new_request_id(1_760_000_000_000) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_request_id(request_id) for request_id in ids)


@pytest.mark.parametrize(
    "value",
    [
        "", "er_", "01K7PC3T8F0000000000000000", "er_01K7PC3T8F000000000000000", "er_01K7PC3T8F00000000000000000",
        "er_81K7PC3T8F0000000000000000", "er_01k7pc3t8f0000000000000000", "er_01K7PC3T8F000000000000000I",
        "er_01K7PC3T8F000000000000000U", "er_01K7PC3T8F0000000000000000\n", " er_01K7PC3T8F0000000000000000",
        "er_٠1K7PC3T8F0000000000000000", "ER_01K7PC3T8F0000000000000000", None, 5, b"er_01K7PC3T8F0000000000000000",
    ],
)  # fmt: skip
def test_what_is_no_request_id_is_not_taken_for_one(value: object) -> None:
    """Length, alphabet, range and prefix all count."""
    assert not is_request_id(value)


@given(st.integers(min_value=0, max_value=2**48 - 1))
def test_the_time_of_an_id_can_be_read(milliseconds: int) -> None:
    """Request and batch ids give back the time that they were made with."""
    for own_id in (
        new_request_id(milliseconds),
        new_batch_id(milliseconds),
        derived_request_id("eb_1", 7, milliseconds),
    ):
        assert milliseconds_of(own_id) == milliseconds


def test_a_batch_id_is_no_request_id() -> None:
    """The two are told apart by their beginning."""
    batch_id, request_id = new_batch_id(), new_request_id()
    assert is_batch_id(batch_id)
    assert not is_request_id(batch_id)
    assert is_request_id(request_id)
    assert not is_batch_id(request_id)
    assert not is_batch_id(f"{batch_id}\n")
    assert not is_batch_id(None)


def test_derived_ids_are_the_same_again_and_different_from_each_other() -> None:
    """An id follows from batch, position and time alone, and every one of the three counts."""
    batch_id = new_batch_id()
    ids = [derived_request_id(batch_id, position, 5) for position in range(1000)]
    assert ids == [derived_request_id(batch_id, position, 5) for position in range(1000)]
    others = [derived_request_id(new_batch_id(), 0, 5), derived_request_id(batch_id, 0, 6)]
    assert len({*ids, *others}) == 1002
    assert all(is_request_id(request_id) for request_id in ids)
