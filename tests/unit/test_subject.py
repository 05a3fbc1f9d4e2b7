"""Who is erased, and what stands for them where their id may not."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from erasure.domain.scope import value_sets
from erasure.domain.subject import SUBJECT_TYPES, Subject, keyed_digest, subject_digest
from erasure.domain.target_spec import DynamoDBRule, KeyRule, TargetSpec
from erasure.errors import TargetError

TEXT = st.text(alphabet="ab\x00#é", max_size=5)
KEY = b"key"


@given(TEXT, TEXT, TEXT, TEXT)
def test_different_subjects_have_different_digests(tenant: str, user: str, other_tenant: str, other_user: str) -> None:
    """Tenant and id cannot be shifted against each other, and nothing is normalised."""
    assume((tenant, user) != (other_tenant, other_user))
    assert subject_digest(KEY, Subject(tenant, user)) != subject_digest(KEY, Subject(other_tenant, other_user))


@given(st.lists(TEXT), st.lists(TEXT))
def test_fields_keep_their_borders(fields: list[str], others: list[str]) -> None:
    """Digests over different lists of fields differ, also in how many there are."""
    assert (keyed_digest(KEY, *fields) == keyed_digest(KEY, *others)) is (fields == others)


def test_the_key_and_the_type_count() -> None:
    """Another key or another type of subject gives another digest; the same gives the same."""
    subject = Subject("acme", "ann")
    digest = subject_digest(KEY, subject)
    assert digest == subject_digest(KEY, Subject("acme", "ann"))
    assert digest != subject_digest(b"other", subject)
    assert digest != subject_digest(KEY, Subject("acme", "ann", "group"))
    assert re.fullmatch("[0-9a-f]{64}", digest)


def test_looks_alike_are_different_people() -> None:
    """Composed and decomposed letters, and case, make different subjects with different digests."""
    ids = ["j\u00fcrgen", "ju\u0308rgen", "J\u00fcrgen", "j\u00fcrgen "]
    assert len({subject_digest(KEY, Subject("acme", user_id)) for user_id in ids}) == len(ids)
    assert len({Subject("acme", user_id) for user_id in ids}) == len(ids)


def test_a_subject_shows_nothing_of_itself() -> None:
    """Neither tenant nor id is in what a traceback or a log line would show."""
    shown = f"{Subject('secret-tenant', 'secret-user')!r} {Subject('secret-tenant', 'secret-user')}"
    assert "secret" not in shown


def test_values_name_the_type() -> None:
    """A user's placeholders are tenant_id and user_id and nothing else."""
    assert Subject("acme", "ann").values() == {"tenant_id": "acme", "user_id": "ann"}
    assert Subject("acme", "crew", "group").values() == {"tenant_id": "acme", "group_id": "crew"}


def test_an_organization_is_not_what_others_are_limited_to() -> None:
    """Its id does not stand for the organization to which somebody else's erasure is limited."""
    assert Subject("acme", "north", "organization").values() == {
        "tenant_id": "acme",
        "subject_organization_id": "north",
    }


@pytest.mark.parametrize("type_", SUBJECT_TYPES)
def test_without_an_id_nothing_can_be_looked_for(type_: str) -> None:
    """What is left of a subject in a purged record gives no values, from which keys could be made: it is an error."""
    nobody = Subject("acme", "", type_)
    with pytest.raises(TargetError) as caught:
        nobody.values()
    assert (caught.value.code, caught.value.permanent) == ("missing_value", True)
    target = TargetSpec("all", "content", DynamoDBRule("app-all", KeyRule("pk", "{tenant_id}")), subjects=(type_,))
    with pytest.raises(TargetError):
        value_sets(nobody, ("north",), target, {"email": ("a@example.org",)})
