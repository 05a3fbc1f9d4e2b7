"""API keys as text and as records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.domain.api_key import ApiKey, is_right, new_key, parse_key, secret_digest

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def record(text: str) -> ApiKey:
    presented = parse_key(text)
    assert presented is not None
    return ApiKey(presented.key_id, presented.mode, secret_digest(presented.secret), "acme", frozenset(), "", NOW)


@pytest.mark.parametrize("mode", ["live", "test"])
def test_a_new_key_is_read_back_from_its_text(mode: str) -> None:
    """What is handed out is what is recognised."""
    key = new_key(mode)
    assert key.text.startswith(f"sk_{mode}_")
    assert parse_key(key.text) == key
    assert is_right(key, record(key.text))


def test_two_new_keys_differ() -> None:
    """In id and in secret."""
    one, two = new_key("live"), new_key("live")
    assert one.key_id != two.key_id
    assert one.secret != two.secret


@given(position=st.integers(0, 42), other=st.sampled_from("abcXYZ019_-"))
def test_a_secret_that_differs_in_one_character_is_wrong(position: int, other: str) -> None:
    """Near misses are misses."""
    key = new_key("live")
    wrong = replace(key, secret=key.secret[:position] + other + key.secret[position + 1 :])
    assert is_right(wrong, record(key.text)) == (wrong == key)


def test_a_test_key_is_not_the_live_key_of_the_same_secret() -> None:
    """The mode is part of the key."""
    key = new_key("live")
    assert not is_right(replace(key, mode="test"), record(key.text))


@pytest.mark.parametrize(
    "text",
    ["", "sk_live_", "sk_live_abc123", "sk_prod_" + "a" * 16 + "_" + "b" * 43, " sk_live_" + "a" * 16 + "_" + "b" * 43,
     "sk_live_" + "a" * 16 + "_" + "b" * 44, "sk_live_" + "A" * 16 + "_" + "b" * 43,
     "sk_live_" + "a" * 16 + "_" + "b" * 43 + "\n"],
)  # fmt: skip
def test_other_texts_are_no_keys(text: str) -> None:
    """Only the exact form is looked up at all."""
    assert parse_key(text) is None


def test_a_key_does_not_show_its_secret_by_accident() -> None:
    """A traceback or a log line with the object in it gives nothing away."""
    key = new_key("live")
    assert key.secret not in repr(key)


def test_a_key_ends_by_revocation_and_by_its_time() -> None:
    """The end is exclusive."""
    key = record(new_key("live").text)
    assert key.is_usable(NOW)
    assert not replace(key, revoked_at=NOW).is_usable(NOW)
    until = replace(key, valid_until=NOW + timedelta(seconds=1))
    assert until.is_usable(NOW)
    assert not until.is_usable(NOW + timedelta(seconds=1))
