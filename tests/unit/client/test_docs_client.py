"""The client's page says what there is: its examples run; every public name, parameter, number and error is told."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import erasure_client
from erasure_client import AsyncErasureClient, ErasureClient, ErasureClientError, _self_deletion, errors, testing
from erasure_client._bulk import MOST_SUBJECTS
from erasure_client._client import MOST_RETRIES
from erasure_client._flow import LONGEST_PAUSE, Retries
from erasure_client._http import LONGEST_ANSWER
from erasure_client._plans import SLOW_SECONDS
from erasure_client._settings import LONGEST_TIMEOUT
from erasure_client._waiting import FIRST_INTERVAL, LONGEST_INTERVAL, RESTING_INTERVAL
from erasure_client.testing import FakeService
from tests.unit.client.docs_examples import Block, World, blocks, matcher, page, run_block, section

PAGE = page("client.md")
BLOCKS = list(blocks(PAGE))
EXAMPLES = [block for block in BLOCKS if block.language == "python"]
HEADINGS = list(dict.fromkeys(block.heading for block in EXAMPLES))


# --- examples ----------------------------------------------------------------------------------------------------


def somebody(world: World, names: dict[str, Any]) -> None:
    world.service.add_user("usr_1", documents=3, files=2, invoices=4)
    world.service.add_user("usr_2", documents=1)
    names["token_of_the_person"] = world.service.token("usr_1")


def with_platform_key(world: World, names: dict[str, Any]) -> None:
    names["platform_key"] = world.service.make_key(is_platform=True)


def with_a_failed_request(world: World, names: dict[str, Any]) -> None:
    world.service.fail("documents")
    failed = world.service.client().requests.create("usr_2").request.id
    world.service.finish(failed)
    world.service.mend("documents")
    names["failed_id"] = failed


def with_somebody_suppressed(world: World, _: dict[str, Any]) -> None:
    world.service.suppress("usr_1")


def with_somewhere_to_keep_keys(world: World, names: dict[str, Any]) -> None:
    with_platform_key(world, names)
    names["hand_over"] = lambda _: None


BEFORE: dict[str, Callable[[World, dict[str, Any]], None]] = {
    "Who calls": with_platform_key,
    "Look, list, cancel": with_a_failed_request,
    "Who must not be collected again": with_somebody_suppressed,
    "The data map, keys, figures": with_somewhere_to_keep_keys,
}
"""What there is before the examples of a section begin, besides two users."""


@pytest.mark.parametrize("heading", HEADINGS)
def test_examples_do_what_they_say(
    heading: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python example of the page runs, and prints and returns what the page shows."""
    world = World(monkeypatch)
    names: dict[str, Any] = dict(vars(erasure_client)) | {"os": os}
    exec("from datetime import UTC, datetime, timedelta", names)  # noqa: S102
    somebody(world, names)
    if heading in BEFORE:
        BEFORE[heading](world, names)
    with ErasureClient() as client:
        names["client"] = client
        for block in (each for each in EXAMPLES if each.heading == heading):
            run_block(block, names)
            printed = capsys.readouterr().out
            assert matcher(block.said or "").fullmatch(printed), f"line {block.line}: {printed}"


def test_examples_have_been_found() -> None:
    """Of both clients, with what they print, and with tests of their own."""
    assert len(EXAMPLES) >= 20
    assert sum(block.said is not None for block in EXAMPLES) >= 10
    assert sum("# -> " in block.code for block in EXAMPLES) >= 6
    assert any("AsyncErasureClient" in block.code for block in EXAMPLES)
    assert any("def test_" in block.code for block in EXAMPLES)
    assert len(re.findall("^```", PAGE, re.MULTILINE)) == 2 * len(BLOCKS)


def test_every_text_belongs_to_an_example() -> None:
    """A shown output that no example prints would be held against nothing. The tree of errors is held otherwise."""
    shown = [block for block in BLOCKS if block.language == "text" and block.heading != "Errors"]
    assert [block.code for block in shown] == [
        each.said for each in EXAMPLES if each.said is not None and each.heading != "Errors"
    ]


# --- names -------------------------------------------------------------------------------------------------------


def shown_signature(function: Callable[..., Any]) -> str:
    """Parameters with their defaults, without types."""
    signature = inspect.signature(function)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values() if each.name != "self"]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def public_methods(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """``requests.get``, and its parameters; of the faces too, by the names of the client's attributes."""
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            yield prefix + name, shown_signature(function)
    for name, face in inspect.get_annotations(kind, eval_str=True).items():
        yield from public_methods(face, f"{name}.")


def told_methods() -> dict[str, str]:
    rows = re.findall(r"^\| `([\w.]+)(\(.*?\))` \|", section(PAGE, "All methods"), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_every_method_is_told_with_its_parameters() -> None:
    """The table has each public method of the client with its parameters and defaults, and no other."""
    assert told_methods() == dict(public_methods(ErasureClient))


def test_both_clients_have_the_same_methods() -> None:
    """What the page says of one client holds for the other, but for how it is closed."""
    blocking, awaited = dict(public_methods(ErasureClient)), dict(public_methods(AsyncErasureClient))
    assert blocking.pop("close") == awaited.pop("aclose")
    assert blocking == awaited
    assert "`aclose()`" in PAGE


def test_every_public_name_is_told() -> None:
    """Each name of ``erasure_client`` and of ``erasure_client.testing`` is on the page, in code."""
    words = {word for text in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"\w+", text)}
    assert set(erasure_client.__all__) <= words
    assert set(testing.__all__) <= words


def test_arguments_of_the_client_are_told() -> None:
    """Each argument of the client has its row, and the defaults are the page's."""
    told = re.findall(r"^\| `(\w+)` \|", section(PAGE, "Who calls"), re.MULTILINE)
    parameters = inspect.signature(ErasureClient.__init__).parameters
    assert told == [name for name in parameters if name != "self"]
    assert (parameters["timeout"].default, parameters["retries"].default) == (30.0, 4)


def public_names(kind: type) -> tuple[list[str], list[str]]:
    """Fields and properties of a result."""
    own = [name for name, value in vars(kind).items() if isinstance(value, property)]
    return [field.name for field in dataclasses.fields(kind)], own


def test_every_result_is_told_with_its_fields() -> None:
    """The table has each result with its fields and properties in their order, and no other."""
    table = section(PAGE, "All results")
    told = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    results = {
        name: kind
        for name in erasure_client.__all__
        if isinstance(kind := getattr(erasure_client, name), type) and dataclasses.is_dataclass(kind)
    }
    assert set(told) == set(results)
    for name, row in told.items():
        bare = re.sub(r"\([^)]*\)", "", row).partition(". Made by")[0]
        fields, properties = public_names(results[name])
        plain, _, own = bare.partition("*")
        assert sorted(re.findall(r"`(\w+)`", plain)) == sorted(fields), name
        assert re.findall(r"`(\w+)`", own) == properties, name


def test_the_fake_service_is_told() -> None:
    """Each public method and attribute of the service in memory is on the page, with its parameters."""
    text = section(PAGE, "Your own tests")
    for name, function in inspect.getmembers(FakeService, inspect.isfunction):
        if name.startswith("_"):
            continue
        shown = re.search(rf"`{name}(\([^`]*\))?`", text)
        assert shown is not None, name
        if shown[1]:
            own = re.findall(r"\*{0,2}(\w+)(?:=[^,)]+)?(?=[,)])", shown_signature(function))
            for each in own:
                assert each in shown[1], f"{name}: {each}"
    (made,) = re.findall(r"`FakeService(\(.*?\))`", text)
    assert re.findall(r"(\w+)(?:=[^,)]+)?(?=[,)])", made) == list(inspect.signature(FakeService).parameters)


def test_every_error_is_told() -> None:
    """The tree is that of the module, and each error says what to do."""
    (tree,) = [
        block.code for block in BLOCKS if block.heading == "Errors" and block.code.startswith("ErasureClientError")
    ]
    assert inspect.cleandoc(tree) in inspect.cleandoc(errors.__doc__ or "").replace("\n    ", "\n")
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ErasureClientError)
    }
    advised = set(re.findall(r"^\| `(\w+Error)` \|", section(PAGE, "Errors"), re.MULTILINE))
    assert advised == kinds - {"ErasureClientError", "RefusedError", "UnfinishedError"}


def test_attributes_of_errors_are_told() -> None:
    """What a refusal knows is named."""
    text = section(PAGE, "Errors")
    refusal = errors.RefusedError("No.", status=400, code="invalid_request")
    assert all(f"`{name}`" in text for name in vars(refusal))


# --- numbers -----------------------------------------------------------------------------------------------------

WHOLE = " ".join(PAGE.split())
NUMBERS = [
    ("at most {} |", MOST_RETRIES),
    ("4 if not given, at most {}", MOST_RETRIES),
    ("up to {} seconds, or `timeout`", _self_deletion.DEFAULT_TIMEOUT),
    ("answers after {} seconds at the latest", _self_deletion._LONGEST_ANSWER_SECONDS),
    ("waits {} seconds longer than", _self_deletion._ON_THE_WAY_SECONDS),
    ("never more than {} for one answer", _self_deletion._LONGEST_ANSWER_SECONDS + _self_deletion._ON_THE_WAY_SECONDS),
    ("One call names up to {:,} subjects", MOST_SUBJECTS),
    ("for each 500 (`chunk_size`, at most {:,})", MOST_SUBJECTS),
    ("looks after {} second, then", FIRST_INTERVAL),
    ("more and more, up to {};", LONGEST_INTERVAL),
    ("up to {} while the request waits", RESTING_INTERVAL),
    ("asks for more than {} seconds, the error", LONGEST_PAUSE),
    ("more than 0, at most {:,}.", LONGEST_TIMEOUT),
    ("wait up to {} seconds for the answer", SLOW_SECONDS),
    ("more than {} MiB", LONGEST_ANSWER // 1024**2),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_numbers_are_those_of_the_code(text: str, number: float) -> None:
    """How much and how long the page says is what the code has."""
    assert text.format(int(number)) in WHOLE


def test_pauses_between_retries_are_told() -> None:
    """The bounds of each pause, without and with what the service asks for."""
    least, most = Retries(chance=lambda: 0.0), Retries(chance=lambda: 1.0)
    bounds = [(least.pause(attempt, None), most.pause(attempt, None)) for attempt in range(1, 7)]
    assert bounds == [(0.25, 0.5), (0.5, 1), (1, 2), (2, 4), (4, 8), (4, 8)]
    assert "by chance 0.25 to 0.5 s, then 0.5 to 1, 1 to 2, 2 to 4, and 4 to 8 from the fifth on" in WHOLE
    assert [(least.pause(1, asked), most.pause(1, asked)) for asked in (5.0, 100.0)] == [(5.0, 6.0), (100.0, 101.0)]
    assert sum(most.pause(attempt, None) for attempt in range(1, 5)) == pytest.approx(7, abs=1)


def test_keys_made_by_the_client_begin_as_told() -> None:
    """A call's own idempotency key begins with ``ec_``, and comes with each call that changes something."""
    service = FakeService()
    client = service.client()
    client.requests.create("usr_1")
    assert [(call.idempotency_key or "")[:3] for call in service.calls] == ["ec_"]
    assert "(`ec_…`)" in PAGE


def test_no_example_is_dead() -> None:
    """Every section that prepares something is one of the page."""
    assert set(BEFORE) <= set(HEADINGS)
    assert all(isinstance(block, Block) for block in EXAMPLES)
