"""Templates read backwards: whose a text is, or that it is nobody's."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from erasure.domain.captures import capture, capture_all
from erasure.domain.identifiers import check_identifier
from erasure.domain.templates import parse_template
from erasure.errors import InvalidInputError, TargetError

NAMES = ("tenant_id", "user_id", "organization_id")
TEMPLATES = st.sampled_from(
    [
        "TENANT#{tenant_id}#USER#{user_id}",
        "{user_id}",
        "{tenant_id}/{user_id}/{organization_id}/",
        "USER#{user_id}#",
        "{tenant_id}#{user_id}",
        "a{user_id}b{tenant_id}",
        "{user_id}/{user_id}/",
    ]
)
GOOD = st.text(st.sampled_from("cdUSE1\u00e9-. "), min_size=1, max_size=8).filter(str.strip)
VALUES = st.one_of(
    GOOD, GOOD, GOOD, GOOD, GOOD, st.text(st.sampled_from("ab#/\x00\n\ud800") | st.characters(), max_size=8)
)
PREFIXES = TEMPLATES.filter(lambda source: not source.endswith("}"))


@given(TEMPLATES, st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_what_a_template_renders_to_gives_the_values_back(source: str, values: dict[str, str]) -> None:
    """Whoever's text it is, their values are captured from it, and no others."""
    template = parse_template(source, "template")
    try:
        for name in template.names:
            check_identifier(values[name], name)
        text = template.render(values)
    except (InvalidInputError, TargetError):
        assume(False)
    assert capture(template, text) == {name: values[name] for name in template.names}


@given(PREFIXES, st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), VALUES)
def test_a_prefix_gives_the_values_back_whatever_follows(source: str, values: dict[str, str], rest: str) -> None:
    """Behind a prefix anything may stand: the values are those of the prefix."""
    template = parse_template(source, "template")
    try:
        for name in template.names:
            check_identifier(values[name], name)
        text = template.render(values)
    except (InvalidInputError, TargetError):
        assume(False)
    assert capture(template, text + rest, prefix=True) == {name: values[name] for name in template.names}


@given(TEMPLATES, st.text(st.sampled_from("ab#/USERTENANT1\u00e9 \x00\n"), max_size=30), st.booleans())
def test_what_is_captured_renders_back(source: str, text: str, prefix: bool) -> None:
    """Of any text at all: there are no values, or acceptable ones that render to exactly this text again."""
    template = parse_template(source, "template")
    values = capture(template, text, prefix=prefix)
    if values is None:
        return
    for name, value in values.items():
        check_identifier(value, name)
    rendered = template.render(values)
    assert text.startswith(rendered) if prefix else text == rendered


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("USER#{user_id}", "USER#"),
        ("USER#{user_id}", "USERS#1"),
        ("USER#{user_id}", "user#1"),
        ("USER#{user_id}", "USER# "),
        ("USER#{user_id}", "USER#a\x00b"),
        ("USER#{user_id}", "USER#" + "a" * 257),
        ("{tenant_id}#{user_id}", "acme"),
        ("{tenant_id}#{user_id}", "#ann"),
        ("{tenant_id}#{user_id}#", "acme#ann#more"),
        ("{user_id}/{user_id}", "ann/bob"),
        ("T#{tenant_id}#USER#{user_id}", "T#a#b#USER#ann"),
    ],
)
def test_what_is_not_of_the_form_is_nobodys(source: str, text: str) -> None:
    """An empty, blank, overlong or unprintable value, other words, another end, two values of one name: no values."""
    assert capture(parse_template(source, "template"), text) is None


def test_two_texts_of_different_people_are_nobodys() -> None:
    """A partition key of one person and a sort key of another belong to nobody."""
    partition, sort = parse_template("USER#{user_id}", "pk"), parse_template("OF#{user_id}#", "sk")
    assert capture_all([(partition, "USER#ann", False), (sort, "OF#ann#1", True)]) == {"user_id": "ann"}
    assert capture_all([(partition, "USER#ann", False), (sort, "OF#bob#1", True)]) is None
    assert capture_all([(partition, "USER#ann", False), (sort, "of#ann#1", True)]) is None
