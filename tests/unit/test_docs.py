"""The documentation says what is there: links, commands, parameters, reasons and examples are checked."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erasure.entry import operator
from tests.unit.translated_template import ROOT, source

PACKAGE = ROOT / "layers" / "core" / "python" / "erasure"
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- links -------------------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    """Where the page's links lead, code left aside."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:", target)]


def anchors(page: Path) -> set[str]:
    """Fragments by which the page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to another page or heading of the project has its file and its heading."""
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_every_page_can_be_reached() -> None:
    """From the README, link by link, one gets to every page."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and page not in seen:
            seen.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"]
    assert set(DOCS) <= seen


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_named_files_exist(page: Path) -> None:
    """A path in code marks that begins with one of the project's folders is a file or folder of it."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:docs|tests|layers|functions|local|events)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_named_tests_exist(page: Path) -> None:
    """A test module that is named as holding a promise is there."""
    known = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"\btest_\w+\.py", page.read_text(encoding="utf-8"))) <= known


# --- commands ----------------------------------------------------------------------------------------------------


MAKE = r"(?:^|`|\(|[A-Z]=\S+ )make ([a-z][a-z-]*)"
"""A make command at the beginning of a line or of code, within `$(…)`, or behind a variable."""


def make_targets() -> set[str]:
    found = re.findall(r"^([a-z][\w-]*):", read("Makefile") + read("build.mk"), re.MULTILINE)
    return set(found)


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_make_commands_exist(page: Path) -> None:
    """Every `make something` of the pages is a target of the Makefile."""
    code = re.findall(r"```.*?```|`[^`\n]*`", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = {name for text in code for name in re.findall(MAKE, text, re.MULTILINE)}
    assert named <= make_targets()


def test_readme_tells_how_to_test() -> None:
    """The README's test command is `make test`, alone in its block."""
    assert "```\nmake test\n```" in read("README.md")
    assert {"demo", "up", "seed", "token", "test", "down"} <= make_targets()


def operator_commands(parser: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The operator's commands as the parser knows them: ("data-map", "put"), ("retry",), ..."""
    parser = parser or operator._parser()
    nested = [action for action in parser._actions if getattr(action, "choices", None)]
    if not nested:
        yield words
    for action in nested:
        for name, below in action.choices.items():
            yield from operator_commands(below, (*words, name))


def test_operator_commands_are_documented() -> None:
    """Each command has its row in the operations page, and the page names no other."""
    table = set(re.findall(r"^\| `((?:data-map|retry|audit)[a-z -]*)", read("docs/operations.md"), re.MULTILINE))
    commands = {" ".join(command) for command in operator_commands()}
    assert len(commands) >= 5
    assert {row.strip() for row in table} == commands


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_operator_commands_of_examples_are_taken(page: Path) -> None:
    """Every command line with the operator's module is one that the parser takes."""
    pattern = r"-m erasure\.entry\.operator ((?:data-map|retry|audit)[^`#\n]*)"
    for line in re.findall(pattern, page.read_text(encoding="utf-8")):
        operator._parser().parse_args(re.sub(r"<[^>]*>", "id", line).split())


# --- parameters --------------------------------------------------------------------------------------------------


def test_parameters_are_documented_with_their_defaults() -> None:
    """Each parameter of the template has its row in the deploying page, with its default; no other is named there."""
    section = read("docs/deploying.md").partition("\n## All parameters\n")[2]
    documented: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", section, re.MULTILINE):
        found = re.findall(r"`(\w+)`", names)
        values = [defaults.strip()] if len(found) == 1 else [value.strip() for value in defaults.split(",")]
        documented |= dict(zip(found, values, strict=True))
    parameters = source()["Parameters"]
    assert set(documented) == set(parameters)
    for name, shown in documented.items():
        default = str(parameters[name]["Default"])
        words = {"": "empty", "erasure-no-table-yet": "none", "erasure-no-bucket-yet": "none"}
        assert shown.strip("`") == words.get(default, default), name


def test_alarms_are_documented() -> None:
    """Each alarm of the template is in the operations page; those of single functions share a row."""
    page = read("docs/operations.md")
    resources = source()["Resources"]
    alarms = {name for name, resource in resources.items() if resource["Type"] == "AWS::CloudWatch::Alarm"}
    own_row = {name for name in alarms if resources[name]["Properties"].get("Namespace") != "AWS/Lambda"}
    assert own_row
    assert {name for name in own_row if f"| `{name}` |" not in page} == set()
    assert all(name.endswith("ErrorsAlarm") for name in alarms - own_row)
    assert "| `…ErrorsAlarm`, one for each function |" in page


def test_routes_are_documented() -> None:
    """Each route of the template is in the API page."""
    page = read("docs/api.md")
    events = source()["Resources"]["SubjectApi"]["Properties"]["Events"].values()
    for route in (event["Properties"] for event in events):
        assert f"`{route['Method']} {route['Path'].removeprefix('/api/v1')}`" in page


# --- reasons -----------------------------------------------------------------------------------------------------

CODE = re.compile(r"[a-z]+(_[a-z]+)*")
CALLS_WITH_REASONS = {"TargetError", "error_for", "_stalled", "_Verdict", "mismatch"}
NO_REASONS = {
    "gone",  # somebody else removed it first: neither a problem nor an outcome
    "pending", "erased", "verified", "failed",  # states of tasks, beside their reasons
}  # fmt: skip


def words_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and CODE.fullmatch(part.value):
            yield part.value


def is_reason(target: ast.AST) -> bool:
    """Whether something is assigned to a reason: a name, an attribute or a key of that name, also among others."""
    return any(
        (isinstance(part, ast.Name) and part.id == "reason")
        or (isinstance(part, ast.Constant) and part.value == "reason")
        for part in ast.walk(target)
    )


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """Fixed codes that a module can give as the reason of an outcome."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS_WITH_REASONS:
            for argument in node.args:
                yield from words_in(argument)
        elif isinstance(node, ast.Assign) and any(map(is_reason, node.targets)):
            yield from words_in(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "reason":
                    yield from words_in(value)


def constants_of(tree: ast.Module) -> Iterator[str]:
    """Texts of upper-case names at the top of a module: ``THROTTLED = "throttled"``."""
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            yield from words_in(node.value)


def reasons() -> set[str]:
    found: set[str] = set()
    for folder in ("services", "targets", "domain"):
        for path in (PACKAGE / folder).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= set(reasons_in(tree))
            if path.name in ("s3_errors.py", "dynamodb_calls.py", "dynamodb_plan.py"):
                found |= set(constants_of(tree))
    return found - NO_REASONS


def test_reasons_are_explained() -> None:
    """Every reason that an outcome can have is explained in the operations page, and nothing else is."""
    page = read("docs/operations.md").partition("\n## Reasons\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    found = reasons()
    assert {"throttled", "blocked", "target_missing", "no_targets", "not_finished", "still_present"} <= found
    assert explained == found


def test_reasons_of_refused_tokens_are_explained() -> None:
    """Every word that a refused token leaves in the log is in the security page."""
    page = read("docs/security.md")
    found = {f"{how}_{what}_claim" for how in ("missing", "invalid") for what in ("user", "tenant")}
    for name in ("tokens.py", "signing_keys.py"):
        for node in ast.walk(ast.parse((PACKAGE / "entry" / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AuthenticationError":
                found |= {word for argument in node.args for word in words_in(argument) if word not in ("missing", "_")}
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_REASONS":
                assert isinstance(node.value, ast.Dict)
                found |= {word for value in node.value.values for word in words_in(value)}
    assert {"missing_token", "signature", "expired", "unknown_key"} <= found
    assert {word for word in found if f"`{word}`" not in page} == set()


# --- examples ----------------------------------------------------------------------------------------------------

EXAMPLES = [
    pytest.param(page, example, said, id=f"{name_of(page)}-{number}")
    for page in DOCS
    for number, (example, said) in enumerate(
        re.findall(r"```yaml\n(.*?)```\n(?:\n```text\n(.*?)```)?", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize(("page", "example", "said"), EXAMPLES)
def test_data_maps_are_as_described(
    page: Path, example: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `data-map check` says about an example is the text below it; without one it finds nothing wrong."""
    file = tmp_path / "data-map.yaml"
    file.write_text(example, encoding="utf-8")
    code = operator.main(["data-map", "check", str(file)], {})
    told = capsys.readouterr().err
    if said:
        assert told == said
    else:
        assert re.fullmatch(r"\d+ targets, no errors\n", told)
    assert code == (0 if told.endswith("no errors\n") else 1)


def test_there_are_examples() -> None:
    """Of good maps, of bad ones, and in the README."""
    pages = {name_of(example.values[0]) for example in EXAMPLES}  # type: ignore[arg-type]
    assert pages == {"README.md", "docs/data-map.md"}
    assert sum(1 for example in EXAMPLES if example.values[2]) >= 15


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_json_is_json(page: Path) -> None:
    """Every JSON example can be read."""
    for example in re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        json.loads(example)
