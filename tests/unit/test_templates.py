"""Rendering never lets one subject name another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from erasure.domain.templates import Template, parse_template
from erasure.errors import InvalidInputError, TargetError

# Few characters, among them all that separate, so that collisions are tried and not left to luck.
VALUES = st.text(alphabet="ab1/#:|-{}é", min_size=1, max_size=6)
LITERALS = st.text(alphabet="ab1/#:|-é", min_size=1, max_size=4)
PREFIX_SEPARATORS = st.builds(str.__add__, st.sampled_from("/#:|"), st.text(alphabet="ab/#", max_size=2))
NAMES = st.sampled_from(["tenant_id", "user_id"])


@st.composite
def templates(draw: st.DrawFn, *, prefix: bool) -> Template:
    """What the data map accepts as an exact text or as a prefix; both placeholders are in it, at least once."""
    names = draw(st.permutations(["tenant_id", "user_id"])) + draw(st.lists(NAMES, max_size=1))
    separators = PREFIX_SEPARATORS if prefix else LITERALS
    source = draw(st.one_of(st.just(""), LITERALS))
    for position, name in enumerate(names):
        source += f"{{{name}}}"
        if position < len(names) - 1 or prefix or draw(st.booleans()):
            source += draw(separators)
    return parse_template(source, "field")


def rendered(template: Template, values: dict[str, str]) -> str | None:
    try:
        return template.render(values)
    except TargetError:
        return None


SUBJECTS = st.fixed_dictionaries({"tenant_id": VALUES, "user_id": VALUES})


@given(templates(prefix=False), SUBJECTS, SUBJECTS)
def test_different_subjects_never_render_to_the_same_text(
    template: Template, one: dict[str, str], other: dict[str, str]
) -> None:
    """Two subjects that differ in tenant or user have different texts, for every template that holds both."""
    assume(one != other)
    text = rendered(template, one)
    assert text is None or text != rendered(template, other)


TEXTS = ["".join(text) for length in (1, 2, 3) for text in itertools.product("a#/", repeat=length)]
EVERYBODY = [{"tenant_id": tenant, "user_id": user} for tenant in TEXTS for user in TEXTS]
"""All subjects with ids of up to three characters, most of them separators: whoever could collide is among them."""


@pytest.mark.parametrize(
    "source",
    [
        "{tenant_id}#{user_id}",
        "{user_id}#{tenant_id}",
        "{tenant_id}#a#{user_id}",
        "{tenant_id}a{user_id}",
        "#{tenant_id}##{user_id}#",
        "{user_id}/{tenant_id}#{user_id}",
        "{user_id}#{user_id}/{tenant_id}",
        "{tenant_id}/{user_id}/",
        "a/{tenant_id}#{user_id}/",
        "{tenant_id}//{user_id}/#",
        "{user_id}#a{tenant_id}/a",
        "{tenant_id}#{tenant_id}/{user_id}#",
    ],
)
def test_nobody_collides(source: str) -> None:
    """Among all subjects with short ids, no two render to the same text; with a separator at the end, no text
    begins another's."""
    template = parse_template(source, "field")
    texts = sorted(text for subject in EVERYBODY if (text := rendered(template, subject)) is not None)
    assert len(texts) > 20
    assert len(set(texts)) == len(texts)
    if not template.ends_in_placeholder:
        # Sorted, a text that begins others stands right before one of them.
        assert not [pair for pair in itertools.pairwise(texts) if pair[1].startswith(pair[0])]


@given(templates(prefix=True), SUBJECTS, SUBJECTS)
def test_no_prefix_reaches_a_neighbour(template: Template, one: dict[str, str], other: dict[str, str]) -> None:
    """A subject's rendered prefix never begins another one's."""
    assume(one != other)
    first, second = rendered(template, one), rendered(template, other)
    assert first is None or second is None or not second.startswith(first)


@given(VALUES)
def test_substituted_text_is_data(value: str) -> None:
    """Braces in a value are not expanded, and a value at the end of an exact text may hold anything."""
    assert parse_template("U#{user_id}", "field").render({"user_id": value}) == f"U#{value}"
    assert parse_template("{user_id}", "field").render({"user_id": "{tenant_id}", "tenant_id": "x"}) == "{tenant_id}"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"tenant_id": "a"}, "missing_value"),
        ({"tenant_id": "a", "user_id": ""}, "missing_value"),
        ({"user_id": "b"}, "missing_value"),
        ({"tenant_id": "a#b", "user_id": "c"}, "ambiguous_identifier"),
        ({"tenant_id": "a", "user_id": "b/c"}, "ambiguous_identifier"),
    ],
)
def test_values_that_cannot_be_rendered_are_refused(values: dict[str, str], code: str) -> None:
    """A missing value and one that holds the separator after it are permanent errors that do not tell the value."""
    with pytest.raises(TargetError) as caught:
        parse_template("{tenant_id}#USER#{user_id}/", "field").render(values)
    assert (caught.value.code, caught.value.permanent) == (code, True)
    assert not any(value and f"'{value}'" in str(caught.value) for value in values.values())


def test_the_separator_may_stand_in_other_places() -> None:
    """Only the separator that follows counts: tenants with ``/`` and users with ``#`` are fine here."""
    template = parse_template("{tenant_id}#{user_id}/", "field")
    assert template.render({"tenant_id": "a/b", "user_id": "c#d"}) == "a/b#c#d/"


@pytest.mark.parametrize(
    "source",
    [
        "{",
        "}",
        "{}",
        "{user_id",
        "user_id}",
        "{{user_id}}",
        "{User}",
        "{1}",
        "{user id}",
        "{user_id}{tenant_id}",
        "a{b",
    ],
)
def test_what_is_no_template_is_refused(source: str) -> None:
    """Stray braces and placeholders without anything between them are errors that name the field."""
    with pytest.raises(InvalidInputError, match=r"^the field: "):
        parse_template(source, "the field")


@given(st.text(alphabet="{}ab_#", max_size=12))
def test_parsing_loses_nothing(source: str) -> None:
    """What is parsed is the source, piece by piece; everything else is refused."""
    try:
        template = parse_template(source, "field")
    except InvalidInputError:
        return
    pieces = [f"{{{part}}}" if position % 2 else part for position, part in enumerate(template.parts)]
    assert "".join(pieces) == source
    assert "{" not in "".join(template.parts)
